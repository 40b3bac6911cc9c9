/* SPDX-License-Identifier: Apache-2.0 */
/* Keywords for lists. */
#include <stdlib.h>

#include "common/schema/schema_impl.h"

#define NO_ELEMENT "is one element more than is allowed"

static bool apply_max(struct run *run, const struct check *check, json_t *value,
		      const struct spot *spot, struct marks *marks)
{
	(void)marks;
	return json_array_size(value) <= check->limit || run_fail(run, check, spot, NULL);
}

static bool apply_min(struct run *run, const struct check *check, json_t *value,
		      const struct spot *spot, struct marks *marks)
{
	(void)marks;
	return json_array_size(value) >= check->limit || run_fail(run, check, spot, NULL);
}

/* ---- uniqueItems: sorted by hash, so that a long list is not compared pair by pair */

struct element {
	uint64_t hash;
	size_t index;
};

static int compare_elements(const void *a, const void *b)
{
	const struct element *x = a, *y = b;

	if (x->hash != y->hash)
		return x->hash < y->hash ? -1 : 1;
	return x->index < y->index ? -1 : x->index > y->index;
}

static bool is_repeated(struct run *run, const struct check *check, const json_t *value,
			const struct element *elements, size_t i, const struct spot *spot)
{
	for (size_t j = i; j-- > 0 && elements[j].hash == elements[i].hash;) {
		if (!run_step(run, check, spot) ||
		    schema_equal(json_array_get(value, elements[i].index),
				 json_array_get(value, elements[j].index)))
			return true;
	}
	return false;
}

static bool apply_unique(struct run *run, const struct check *check, json_t *value,
			 const struct spot *spot, struct marks *marks)
{
	size_t count = json_array_size(value);
	struct element *elements;
	bool valid = true;

	(void)marks;
	if (count < 2)
		return true;
	elements = xcalloc(count, sizeof(*elements));
	for (size_t i = 0; i < count; i++)
		elements[i] = (struct element){ .hash = schema_hash(json_array_get(value, i)),
						.index = i };
	qsort(elements, count, sizeof(*elements), compare_elements);
	for (size_t i = 1; i < count && valid; i++)
		valid = !is_repeated(run, check, value, elements, i, spot);
	free(elements);
	return valid || run_fail(run, check, spot, NULL);
}

static int build_unique(struct compiler *compiler, struct check *check)
{
	(void)compiler;
	return json_is_true(check->value);
}

/* ---- elements */

static bool apply_to_element(struct run *run, const struct node *node, const struct check *check,
			     json_t *value, size_t index, const struct spot *spot,
			     struct marks *marks)
{
	const struct spot at = { .up = spot, .index = index };

	if (marks)
		marks_add_element(marks, index);
	return run_node(run, node, check, json_array_get(value, index), &at, NULL);
}

static bool apply_prefix(struct run *run, const struct check *check, json_t *value,
			 const struct spot *spot, struct marks *marks)
{
	bool valid = true;

	for (size_t i = 0; i < check->count && i < json_array_size(value) && (valid || !run->quiet);
	     i++)
		valid = apply_to_element(run, check->nodes[i], check, value, i, spot, marks) &&
			valid;
	return valid;
}

/* Those from check->start on. */
static bool apply_rest(struct run *run, const struct check *check, json_t *value,
		       const struct spot *spot, struct marks *marks)
{
	size_t count = json_array_size(value);
	bool valid = true;

	for (size_t i = check->start; i < count && (valid || !run->quiet); i++)
		valid = apply_to_element(run, check->nodes[0], check, value, i, spot, NULL) &&
			valid;
	if (marks)
		marks->all_elements = true;
	return valid;
}

static int build_items(struct compiler *compiler, struct check *check)
{
	const struct check *prefix = compiler_sibling(check, "prefixItems");

	(void)compiler;
	check->start = prefix ? prefix->count : 0;
	return 1;
}

/* Draft 7: one schema for all elements, or a list of them for the first ones. */
static int build_items_7(struct compiler *compiler, struct check *check)
{
	size_t count = json_array_size(check->value);
	bool list = json_is_array(check->value);

	check->count = list ? count : 1;
	check->nodes = ARENA_ARRAY(compiler_arena(compiler), struct node *, check->count + 1);
	for (size_t i = 0; i < check->count; i++) {
		check->nodes[i] =
			compiler_node(compiler, check->node,
				      list ? json_array_get(check->value, i) : check->value,
				      "items", NULL, list ? i : SIZE_MAX);
		if (!check->nodes[i])
			return -1;
	}
	return 1;
}

static bool apply_items_7(struct run *run, const struct check *check, json_t *value,
			  const struct spot *spot, struct marks *marks)
{
	bool valid = true;

	if (json_is_array(check->value))
		return apply_prefix(run, check, value, spot, marks);
	for (size_t i = 0; i < json_array_size(value) && (valid || !run->quiet); i++)
		valid = apply_to_element(run, check->nodes[0], check, value, i, spot, marks) &&
			valid;
	return valid;
}

static int build_additional(struct compiler *compiler, struct check *check)
{
	const struct check *items = compiler_sibling(check, "items");

	(void)compiler;
	check->start = items ? items->count : 0;
	return items && json_is_array(items->value);
}

/* ---- contains */

static size_t sibling_count(const struct check *check, const char *keyword, size_t otherwise)
{
	const json_t *value = json_object_get(check->node->json, keyword);

	if (check->node->resource->draft == SCHEMA_DRAFT_7 || !json_is_number(value) ||
	    json_number_value(value) < 0)
		return otherwise;
	return (size_t)json_number_value(value);
}

static int build_contains(struct compiler *compiler, struct check *check)
{
	check->range.min = sibling_count(check, "minContains", 1);
	check->range.max = sibling_count(check, "maxContains", SIZE_MAX);
	if (check->range.max == SIZE_MAX)
		check->message = arena_printf(compiler_arena(compiler),
					      "must have at least %zu elements of the kind wanted",
					      check->range.min);
	else
		check->message = arena_printf(compiler_arena(compiler),
					      "must have %zu to %zu elements of the kind wanted",
					      check->range.min, check->range.max);
	if (check->range.min == 1 && check->range.max == SIZE_MAX)
		check->message = "must have an element of the kind wanted";
	return 1;
}

static bool apply_contains(struct run *run, const struct check *check, json_t *value,
			   const struct spot *spot, struct marks *marks)
{
	size_t found = 0;

	for (size_t i = 0; i < json_array_size(value); i++) {
		const struct spot at = { .up = spot, .index = i };

		if (!run_quietly(run, check->nodes[0], check, json_array_get(value, i), &at, NULL))
			continue;
		found++;
		if (marks)
			marks_add_element(marks, i);
	}
	return (found >= check->range.min && found <= check->range.max) ||
	       run_fail(run, check, spot, NULL);
}

#define ROW(word, which, kind, form, ...)                                             \
	{                                                                             \
		.name = (word), .drafts = (which), .vocabularies = VOCABULARY_##kind, \
		.shape = (form), .on = ON_ARRAY, __VA_ARGS__                          \
	}

static const struct keyword rows[] = {
	ROW("maxItems", DRAFTS_BOTH, VALIDATION, SHAPE_COUNT, .apply = apply_max,
	    .says = "must have at most % elements"),
	ROW("minItems", DRAFTS_BOTH, VALIDATION, SHAPE_COUNT, .apply = apply_min,
	    .says = "must have at least % elements"),
	ROW("uniqueItems", DRAFTS_BOTH, VALIDATION, SHAPE_FLAG, .build = build_unique,
	    .apply = apply_unique, .says = "must have no element twice"),
	ROW("prefixItems", DRAFT_2020_12, APPLICATOR, SHAPE_SCHEMAS, .apply = apply_prefix,
	    .refusal = NO_ELEMENT),
	ROW("items", DRAFT_2020_12, APPLICATOR, SHAPE_SCHEMA, .build = build_items,
	    .apply = apply_rest, .refusal = NO_ELEMENT),
	ROW("items", DRAFT_7, APPLICATOR, SHAPE_ANY, .build = build_items_7, .apply = apply_items_7,
	    .refusal = NO_ELEMENT),
	ROW("additionalItems", DRAFT_7, APPLICATOR, SHAPE_SCHEMA, .build = build_additional,
	    .apply = apply_rest, .refusal = NO_ELEMENT),
	ROW("maxContains", DRAFT_2020_12, VALIDATION, SHAPE_COUNT),
	ROW("minContains", DRAFT_2020_12, VALIDATION, SHAPE_COUNT),
	ROW("contains", DRAFTS_BOTH, APPLICATOR, SHAPE_SCHEMA, .build = build_contains,
	    .apply = apply_contains),
};
const struct keywords schema_array_keywords = { .rows = rows, .count = ARRAY_LEN(rows) };
