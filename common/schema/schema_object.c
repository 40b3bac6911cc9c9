/* SPDX-License-Identifier: Apache-2.0 */
/* Keywords for objects. A member that is wanted and is not there is told at the place where it
 * would be. */
#include <string.h>

#include "common/schema/schema_impl.h"

#define NO_MEMBER "is not a member that is allowed here"

static bool has_member(const json_t *object, const json_t *name)
{
	return json_object_getn(object, json_string_value(name), json_string_length(name)) != NULL;
}

static bool apply_max(struct run *run, const struct check *check, json_t *value,
		      const struct spot *spot, struct marks *marks)
{
	(void)marks;
	return json_object_size(value) <= check->limit || run_fail(run, check, spot, NULL);
}

static bool apply_min(struct run *run, const struct check *check, json_t *value,
		      const struct spot *spot, struct marks *marks)
{
	(void)marks;
	return json_object_size(value) >= check->limit || run_fail(run, check, spot, NULL);
}

/* ---- names that must be there */

static bool require(struct run *run, const struct check *check, const json_t *names,
		    const json_t *value, const struct spot *spot, const char *message)
{
	bool valid = true;

	for (size_t i = 0; i < json_array_size(names) && (valid || !run->quiet); i++) {
		const json_t *name = json_array_get(names, i);
		const struct spot at = { .up = spot, .key = json_string_value(name) };

		if (!has_member(value, name))
			valid = run_fail(run, check, &at, message);
	}
	return valid;
}

static bool apply_required(struct run *run, const struct check *check, json_t *value,
			   const struct spot *spot, struct marks *marks)
{
	(void)marks;
	return require(run, check, check->value, value, spot, "is missing");
}

static const char *say_beside(struct run *run, const char *key)
{
	return run->quiet
		       ? NULL
		       : arena_printf(run->arena, "is missing; it is wanted beside \"%.80s\"", key);
}

static bool apply_dependent_required(struct run *run, const struct check *check, json_t *value,
				     const struct spot *spot, struct marks *marks)
{
	bool valid = true;
	void *at;

	(void)marks;
	for (at = json_object_iter(check->value); at && (valid || !run->quiet);
	     at = json_object_iter_next(check->value, at)) {
		const char *key = json_object_iter_key(at);

		if (json_object_getn(value, key, json_object_iter_key_len(at)))
			valid = require(run, check, json_object_iter_value(at), value, spot,
					say_beside(run, key)) &&
				valid;
	}
	return valid;
}

static int build_dependent_required(struct compiler *compiler, struct check *check)
{
	const char *key;
	json_t *names;

	json_object_foreach(check->value, key, names)
	{
		size_t texts = 0;

		for (size_t i = 0; i < json_array_size(names); i++)
			texts += json_is_string(json_array_get(names, i));
		if (json_is_array(names) && texts == json_array_size(names))
			continue;
		compiler_problem(compiler, check->node, check->keyword->name,
				 "\"%.80s\" must be a list of texts", key);
		return -1;
	}
	return 1;
}

/* ---- members */

static bool apply_to_member(struct run *run, const struct node *node, const struct check *check,
			    json_t *member, const char *key, const struct spot *spot,
			    struct marks *marks)
{
	const struct spot at = { .up = spot, .key = key };

	if (marks)
		marks_add_member(marks, key);
	return run_node(run, node, check, member, &at, NULL);
}

static bool apply_properties(struct run *run, const struct check *check, json_t *value,
			     const struct spot *spot, struct marks *marks)
{
	size_t i = 0;
	bool valid = true;

	for (void *at = json_object_iter(check->value); at && (valid || !run->quiet);
	     at = json_object_iter_next(check->value, at), i++) {
		const char *key = json_object_iter_key(at);
		json_t *member = json_object_getn(value, key, json_object_iter_key_len(at));

		if (member)
			valid = apply_to_member(run, check->nodes[i], check, member, key, spot,
						marks) &&
				valid;
	}
	return valid;
}

static int build_patterns(struct compiler *compiler, struct check *check)
{
	size_t i = 0;
	const char *key;
	json_t *value;

	check->regexes =
		ARENA_ARRAY(compiler_arena(compiler), struct schema_regex *, check->count + 1);
	json_object_foreach(check->value, key, value)
	{
		check->regexes[i] = compiler_regex(compiler, check, key);
		if (!check->regexes[i++])
			return -1;
	}
	return 1;
}

static bool apply_patterns(struct run *run, const struct check *check, json_t *value,
			   const struct spot *spot, struct marks *marks)
{
	bool valid = true;

	for (void *at = json_object_iter(value); at; at = json_object_iter_next(value, at)) {
		const char *key = json_object_iter_key(at);

		for (size_t i = 0; i < check->count && (valid || !run->quiet); i++) {
			if (run_matches(run, check, check->regexes[i], key,
					json_object_iter_key_len(at), spot))
				valid = apply_to_member(run, check->nodes[i], check,
							json_object_iter_value(at), key, spot,
							marks) &&
					valid;
		}
	}
	return valid;
}

static int build_additional(struct compiler *compiler, struct check *check)
{
	const struct check *properties = compiler_sibling(check, "properties");

	(void)compiler;
	check->beside.members = properties ? properties->value : NULL;
	check->beside.patterns = compiler_sibling(check, "patternProperties");
	return 1;
}

static bool is_additional(struct run *run, const struct check *check, const char *key, size_t bytes,
			  const struct spot *spot)
{
	const struct check *patterns = check->beside.patterns;

	if (json_object_getn(check->beside.members, key, bytes))
		return false;
	for (size_t i = 0; patterns && i < patterns->count; i++) {
		if (run_matches(run, check, patterns->regexes[i], key, bytes, spot))
			return false;
	}
	return true;
}

static bool apply_additional(struct run *run, const struct check *check, json_t *value,
			     const struct spot *spot, struct marks *marks)
{
	bool valid = true;

	for (void *at = json_object_iter(value); at && (valid || !run->quiet);
	     at = json_object_iter_next(value, at)) {
		const char *key = json_object_iter_key(at);

		if (is_additional(run, check, key, json_object_iter_key_len(at), spot))
			valid = apply_to_member(run, check->nodes[0], check,
						json_object_iter_value(at), key, spot, marks) &&
				valid;
	}
	return valid;
}

static bool apply_names(struct run *run, const struct check *check, json_t *value,
			const struct spot *spot, struct marks *marks)
{
	bool valid = true;

	(void)marks;
	for (void *at = json_object_iter(value); at && (valid || !run->quiet);
	     at = json_object_iter_next(value, at)) {
		const struct spot place = { .up = spot, .key = json_object_iter_key(at) };
		json_t *name = json_stringn_nocheck(place.key, json_object_iter_key_len(at));

		CHECK(name);
		if (!run_quietly(run, check->nodes[0], check, name, &place, NULL))
			valid = run_fail(run, check, &place, NULL);
		json_decref(name);
	}
	return valid;
}

/* ---- schemas for the whole object, because of a member */

static bool apply_dependent_schemas(struct run *run, const struct check *check, json_t *value,
				    const struct spot *spot, struct marks *marks)
{
	size_t i = 0;
	bool valid = true;

	for (void *at = json_object_iter(check->value); at && (valid || !run->quiet);
	     at = json_object_iter_next(check->value, at), i++) {
		if (json_object_getn(value, json_object_iter_key(at), json_object_iter_key_len(at)))
			valid = run_node(run, check->nodes[i], check, value, spot, marks) && valid;
	}
	return valid;
}

/* Draft 7: of each member a schema, or names that must be there too; nodes: NULL for names. */
static int build_dependencies(struct compiler *compiler, struct check *check)
{
	size_t i = 0;
	const char *key;
	json_t *value;

	check->count = json_object_size(check->value);
	check->nodes = ARENA_ARRAY(compiler_arena(compiler), struct node *, check->count + 1);
	json_object_foreach(check->value, key, value)
	{
		if (!json_is_array(value)) {
			check->nodes[i] = compiler_node(compiler, check->node, value,
							"dependencies", key, SIZE_MAX);
			if (!check->nodes[i])
				return -1;
		}
		for (size_t n = 0; n < json_array_size(value); n++) {
			if (json_is_string(json_array_get(value, n)))
				continue;
			compiler_problem(compiler, check->node, "dependencies",
					 "\"%.80s\" must be a schema or a list of texts", key);
			return -1;
		}
		i++;
	}
	return 1;
}

static bool apply_dependencies(struct run *run, const struct check *check, json_t *value,
			       const struct spot *spot, struct marks *marks)
{
	size_t i = 0;
	bool valid = true;

	for (void *at = json_object_iter(check->value); at && (valid || !run->quiet);
	     at = json_object_iter_next(check->value, at), i++) {
		const char *key = json_object_iter_key(at);

		if (!json_object_getn(value, key, json_object_iter_key_len(at)))
			continue;
		if (check->nodes[i])
			valid = run_node(run, check->nodes[i], check, value, spot, marks) && valid;
		else
			valid = require(run, check, json_object_iter_value(at), value, spot,
					say_beside(run, key)) &&
				valid;
	}
	return valid;
}

#define ROW(word, which, kind, form, ...)                                             \
	{                                                                             \
		.name = (word), .drafts = (which), .vocabularies = VOCABULARY_##kind, \
		.shape = (form), .on = ON_OBJECT, __VA_ARGS__                         \
	}

static const struct keyword rows[] = {
	ROW("required", DRAFTS_BOTH, VALIDATION, SHAPE_NAMES, .apply = apply_required),
	ROW("maxProperties", DRAFTS_BOTH, VALIDATION, SHAPE_COUNT, .apply = apply_max,
	    .says = "must have at most % members"),
	ROW("minProperties", DRAFTS_BOTH, VALIDATION, SHAPE_COUNT, .apply = apply_min,
	    .says = "must have at least % members"),
	ROW("dependentRequired", DRAFT_2020_12, VALIDATION, SHAPE_MAP,
	    .build = build_dependent_required, .apply = apply_dependent_required),
	ROW("properties", DRAFTS_BOTH, APPLICATOR, SHAPE_SCHEMA_MAP, .apply = apply_properties,
	    .refusal = NO_MEMBER),
	ROW("patternProperties", DRAFTS_BOTH, APPLICATOR, SHAPE_SCHEMA_MAP, .build = build_patterns,
	    .apply = apply_patterns, .refusal = NO_MEMBER),
	ROW("additionalProperties", DRAFTS_BOTH, APPLICATOR, SHAPE_SCHEMA,
	    .build = build_additional, .apply = apply_additional, .refusal = NO_MEMBER),
	ROW("propertyNames", DRAFTS_BOTH, APPLICATOR, SHAPE_SCHEMA, .apply = apply_names,
	    .says = "has a name that is not allowed here"),
	ROW("dependentSchemas", DRAFT_2020_12, APPLICATOR, SHAPE_SCHEMA_MAP,
	    .apply = apply_dependent_schemas),
	ROW("dependencies", DRAFTS_BOTH, APPLICATOR, SHAPE_MAP, .build = build_dependencies,
	    .apply = apply_dependencies),
};
const struct keywords schema_object_keywords = { .rows = rows, .count = ARRAY_LEN(rows) };
