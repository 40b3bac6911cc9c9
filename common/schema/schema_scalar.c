/* SPDX-License-Identifier: Apache-2.0 */
/* Keywords for a value of any type, for numbers and for texts. */
#include <string.h>

#include "common/base/strbuf.h"
#include "common/schema/schema_impl.h"

/* ---- any type */

static const struct {
	const char *name;
	unsigned types;
	const char *says;
} types[] = {
	{ "string", ON_STRING, "a text" },    { "integer", ON(JSON_INTEGER), "a whole number" },
	{ "number", ON_NUMBER, "a number" },  { "boolean", ON_BOOLEAN, "true or false" },
	{ "object", ON_OBJECT, "an object" }, { "array", ON_ARRAY, "a list" },
	{ "null", ON(JSON_NULL), "null" },
};

static size_t find_type(const json_t *name)
{
	size_t i = 0;

	while (i < ARRAY_LEN(types) &&
	       (!json_is_string(name) || strcmp(types[i].name, json_string_value(name)) != 0))
		i++;
	return i;
}

static int build_type(struct compiler *compiler, struct check *check)
{
	bool list = json_is_array(check->value);
	size_t count = list ? json_array_size(check->value) : 1;
	struct strbuf says;

	strbuf_init(&says);
	for (size_t i = 0; i < count; i++) {
		size_t type = find_type(list ? json_array_get(check->value, i) : check->value);

		if (type == ARRAY_LEN(types)) {
			count = 0;
			break;
		}
		check->types |= types[type].types;
		strbuf_printf(&says, "%s%s", i ? " or " : "must be ", types[type].says);
	}
	if (count)
		check->message = arena_strndup(compiler_arena(compiler), says.data, says.len);
	else
		compiler_problem(
			compiler, check->node, check->keyword->name,
			"must be one or a list of string, integer, number, boolean, object, array, null");
	strbuf_release(&says);
	return count ? 1 : -1;
}

static bool apply_type(struct run *run, const struct check *check, json_t *value,
		       const struct spot *spot, struct marks *marks)
{
	(void)marks;
	if (check->types & ON(json_typeof(value)))
		return true;
	return (check->types & ON(JSON_INTEGER) && schema_number_whole(value)) ||
	       run_fail(run, check, spot, NULL);
}

static bool apply_const(struct run *run, const struct check *check, json_t *value,
			const struct spot *spot, struct marks *marks)
{
	(void)marks;
	return schema_equal(check->value, value) || run_fail(run, check, spot, NULL);
}

static bool apply_enum(struct run *run, const struct check *check, json_t *value,
		       const struct spot *spot, struct marks *marks)
{
	(void)marks;
	for (size_t i = 0; i < json_array_size(check->value); i++) {
		if (schema_equal(json_array_get(check->value, i), value))
			return true;
	}
	return run_fail(run, check, spot, NULL);
}

/* ---- numbers */

static bool apply_multiple(struct run *run, const struct check *check, json_t *value,
			   const struct spot *spot, struct marks *marks)
{
	(void)marks;
	return schema_number_multiple(value, check->value) || run_fail(run, check, spot, NULL);
}

static bool apply_maximum(struct run *run, const struct check *check, json_t *value,
			  const struct spot *spot, struct marks *marks)
{
	(void)marks;
	return schema_number_compare(value, check->value) <= 0 || run_fail(run, check, spot, NULL);
}

static bool apply_minimum(struct run *run, const struct check *check, json_t *value,
			  const struct spot *spot, struct marks *marks)
{
	(void)marks;
	return schema_number_compare(value, check->value) >= 0 || run_fail(run, check, spot, NULL);
}

static bool apply_below(struct run *run, const struct check *check, json_t *value,
			const struct spot *spot, struct marks *marks)
{
	(void)marks;
	return schema_number_compare(value, check->value) < 0 || run_fail(run, check, spot, NULL);
}

static bool apply_above(struct run *run, const struct check *check, json_t *value,
			const struct spot *spot, struct marks *marks)
{
	(void)marks;
	return schema_number_compare(value, check->value) > 0 || run_fail(run, check, spot, NULL);
}

/* ---- texts */

static size_t count_characters(const json_t *text)
{
	const char *at = json_string_value(text), *end = at + json_string_length(text);
	size_t count = 0;

	for (; at < end; at++)
		count += ((unsigned char)*at & 0xc0) != 0x80;
	return count;
}

static bool apply_max_length(struct run *run, const struct check *check, json_t *value,
			     const struct spot *spot, struct marks *marks)
{
	(void)marks;
	return json_string_length(value) <= check->limit ||
	       count_characters(value) <= check->limit || run_fail(run, check, spot, NULL);
}

static bool apply_min_length(struct run *run, const struct check *check, json_t *value,
			     const struct spot *spot, struct marks *marks)
{
	(void)marks;
	return count_characters(value) >= check->limit || run_fail(run, check, spot, NULL);
}

static int build_pattern(struct compiler *compiler, struct check *check)
{
	check->regexes = ARENA_ARRAY(compiler_arena(compiler), struct schema_regex *, 1);
	check->regexes[0] = compiler_regex(compiler, check, json_string_value(check->value));
	return check->regexes[0] ? 1 : -1;
}

static bool apply_pattern(struct run *run, const struct check *check, json_t *value,
			  const struct spot *spot, struct marks *marks)
{
	(void)marks;
	return run_matches(run, check, check->regexes[0], json_string_value(value),
			   json_string_length(value), spot) ||
	       run_fail(run, check, spot, NULL);
}

static int build_format(struct compiler *compiler, struct check *check)
{
	if (!compiler_schema(compiler)->formats &&
	    !(check->node->resource->vocabularies & VOCABULARY_FORMAT_ASSERTION))
		return 0;
	check->format = schema_format(json_string_value(check->value));
	return check->format != NULL;
}

static bool apply_format(struct run *run, const struct check *check, json_t *value,
			 const struct spot *spot, struct marks *marks)
{
	(void)marks;
	return check->format(json_string_value(value), json_string_length(value)) ||
	       run_fail(run, check, spot, NULL);
}

#define ROW(word, form, what, fn, text)                                                       \
	{                                                                                     \
		.name = (word), .drafts = DRAFTS_BOTH, .vocabularies = VOCABULARY_VALIDATION, \
		.shape = (form), .on = (what), .apply = (fn), .says = (text)                  \
	}

static const struct keyword rows[] = {
	{ .name = "type",
	  .drafts = DRAFTS_BOTH,
	  .vocabularies = VOCABULARY_VALIDATION,
	  .shape = SHAPE_ANY,
	  .on = ON_ALL,
	  .build = build_type,
	  .apply = apply_type },
	ROW("const", SHAPE_ANY, ON_ALL, apply_const, "must be %"),
	ROW("enum", SHAPE_LIST, ON_ALL, apply_enum, "must be one of %"),
	ROW("multipleOf", SHAPE_DIVISOR, ON_NUMBER, apply_multiple, "must be a multiple of %"),
	ROW("maximum", SHAPE_NUMBER, ON_NUMBER, apply_maximum, "must be at most %"),
	ROW("exclusiveMaximum", SHAPE_NUMBER, ON_NUMBER, apply_below, "must be less than %"),
	ROW("minimum", SHAPE_NUMBER, ON_NUMBER, apply_minimum, "must be at least %"),
	ROW("exclusiveMinimum", SHAPE_NUMBER, ON_NUMBER, apply_above, "must be more than %"),
	ROW("maxLength", SHAPE_COUNT, ON_STRING, apply_max_length,
	    "must have at most % characters"),
	ROW("minLength", SHAPE_COUNT, ON_STRING, apply_min_length,
	    "must have at least % characters"),
	{ .name = "pattern",
	  .drafts = DRAFTS_BOTH,
	  .vocabularies = VOCABULARY_VALIDATION,
	  .shape = SHAPE_TEXT,
	  .on = ON_STRING,
	  .build = build_pattern,
	  .apply = apply_pattern,
	  .says = "must match the pattern %" },
	{ .name = "format",
	  .drafts = DRAFTS_BOTH,
	  .vocabularies = VOCABULARY_FORMAT_ANNOTATION | VOCABULARY_FORMAT_ASSERTION,
	  .shape = SHAPE_TEXT,
	  .on = ON_STRING,
	  .build = build_format,
	  .apply = apply_format,
	  .says = "must be in the format %" },
};
const struct keywords schema_scalar_keywords = { .rows = rows, .count = ARRAY_LEN(rows) };
