/* SPDX-License-Identifier: Apache-2.0 */
/* Keywords that look at what all others have left; applied last. A node that has one keeps marks of
 * its own. */
#include "common/schema/schema_impl.h"

static int build(struct compiler *compiler, struct check *check)
{
	(void)compiler;
	check->node->own_marks = true;
	return 1;
}

static bool apply_items(struct run *run, const struct check *check, json_t *value,
			const struct spot *spot, struct marks *marks)
{
	bool valid = true;

	for (size_t i = 0; i < json_array_size(value) && (valid || !run->quiet); i++) {
		const struct spot at = { .up = spot, .index = i };

		if (!marks_have_element(marks, i))
			valid = run_node(run, check->nodes[0], check, json_array_get(value, i), &at,
					 NULL) &&
				valid;
	}
	marks->all_elements = true;
	return valid;
}

static bool apply_properties(struct run *run, const struct check *check, json_t *value,
			     const struct spot *spot, struct marks *marks)
{
	bool valid = true;

	for (void *at = json_object_iter(value); at && (valid || !run->quiet);
	     at = json_object_iter_next(value, at)) {
		const struct spot place = { .up = spot, .key = json_object_iter_key(at) };

		if (!marks_have_member(marks, place.key))
			valid = run_node(run, check->nodes[0], check, json_object_iter_value(at),
					 &place, NULL) &&
				valid;
	}
	marks->all_members = true;
	return valid;
}

static const struct keyword rows[] = {
	{ .name = "unevaluatedItems",
	  .drafts = DRAFT_2020_12,
	  .vocabularies = VOCABULARY_UNEVALUATED,
	  .shape = SHAPE_SCHEMA,
	  .on = ON_ARRAY,
	  .build = build,
	  .apply = apply_items,
	  .refusal = "is one element more than is allowed" },
	{ .name = "unevaluatedProperties",
	  .drafts = DRAFT_2020_12,
	  .vocabularies = VOCABULARY_UNEVALUATED,
	  .shape = SHAPE_SCHEMA,
	  .on = ON_OBJECT,
	  .build = build,
	  .apply = apply_properties,
	  .refusal = "is not a member that is allowed here" },
};
const struct keywords schema_unevaluated_keywords = { .rows = rows, .count = ARRAY_LEN(rows) };
