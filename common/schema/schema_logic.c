/* SPDX-License-Identifier: Apache-2.0 */
/* Keywords that apply other schemas to the same value, and those that only hold schemas. */
#include <string.h>

#include "common/schema/schema_impl.h"

/* ---- references */

static int build_ref(struct compiler *compiler, struct check *check)
{
	compiler_refer(compiler, check);
	return 1;
}

static bool apply_ref(struct run *run, const struct check *check, json_t *value,
		      const struct spot *spot, struct marks *marks)
{
	return run_node(run, check->nodes[0], check, value, spot, marks);
}

static const struct node *find_dynamic(const struct resource *resource, const char *name)
{
	for (const struct anchor *anchor = resource->anchors; anchor; anchor = anchor->next) {
		if (anchor->dynamic && strcmp(anchor->name, name) == 0)
			return anchor->node;
	}
	return NULL;
}

/* The outermost schema that is being applied and has such an anchor. */
static bool apply_dynamic_ref(struct run *run, const struct check *check, json_t *value,
			      const struct spot *spot, struct marks *marks)
{
	const struct node *node = NULL;

	for (size_t i = 0; check->anchor && !node && i < run->scope_count; i++)
		node = find_dynamic(run->scopes[i], check->anchor);
	return run_node(run, node ? node : check->nodes[0], check, value, spot, marks);
}

/* ---- combinations */

static bool apply_all(struct run *run, const struct check *check, json_t *value,
		      const struct spot *spot, struct marks *marks)
{
	bool valid = true;

	for (size_t i = 0; i < check->count && (valid || !run->quiet); i++)
		valid = run_node(run, check->nodes[i], check, value, spot, marks) && valid;
	return valid;
}

/* With marks every branch is tried: each may evaluate something. */
static bool apply_any(struct run *run, const struct check *check, json_t *value,
		      const struct spot *spot, struct marks *marks)
{
	bool valid = false;

	for (size_t i = 0; i < check->count && (!valid || marks); i++)
		valid = run_quietly(run, check->nodes[i], check, value, spot, marks) || valid;
	return valid || run_fail(run, check, spot, NULL);
}

static bool apply_one(struct run *run, const struct check *check, json_t *value,
		      const struct spot *spot, struct marks *marks)
{
	size_t valid = 0;

	for (size_t i = 0; i < check->count && valid < 2; i++)
		valid += run_quietly(run, check->nodes[i], check, value, spot, marks);
	if (valid == 1)
		return true;
	return run_fail(run, check, spot,
			valid ? "must match only one of the alternatives, not several" : NULL);
}

static bool apply_not(struct run *run, const struct check *check, json_t *value,
		      const struct spot *spot, struct marks *marks)
{
	(void)marks; /* what is refused evaluates nothing */
	return !run_quietly(run, check->nodes[0], check, value, spot, NULL) ||
	       run_fail(run, check, spot, NULL);
}

/* nodes: if, then, else; the last two may be NULL. */
static int build_if(struct compiler *compiler, struct check *check)
{
	static const char *const names[] = { "then", "else" };
	struct node **nodes = ARENA_ARRAY(compiler_arena(compiler), struct node *, 3);

	nodes[0] = check->nodes[0];
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		const json_t *branch = json_object_get(check->node->json, names[i]);

		if (branch)
			nodes[i + 1] = compiler_node(compiler, check->node, branch, names[i], NULL,
						     SIZE_MAX);
	}
	check->nodes = nodes;
	check->count = 3;
	return 1;
}

static bool apply_if(struct run *run, const struct check *check, json_t *value,
		     const struct spot *spot, struct marks *marks)
{
	bool holds = run_quietly(run, check->nodes[0], check, value, spot, marks);
	const struct node *branch = check->nodes[holds ? 1 : 2];

	return !branch || run_node(run, branch, check, value, spot, marks);
}

/* `then` and `else` belong to `if`; without it they only hold schemas. */
static int build_nothing(struct compiler *compiler, struct check *check)
{
	(void)compiler;
	(void)check;
	return 0;
}

static const struct keyword rows[] = {
	{ .name = "$defs",
	  .drafts = DRAFT_2020_12,
	  .vocabularies = VOCABULARY_CORE,
	  .shape = SHAPE_SCHEMA_MAP,
	  .build = build_nothing },
	{ .name = "definitions",
	  .drafts = DRAFTS_BOTH,
	  .vocabularies = VOCABULARY_CORE,
	  .shape = SHAPE_SCHEMA_MAP,
	  .build = build_nothing },
	{ .name = "$ref",
	  .drafts = DRAFTS_BOTH,
	  .vocabularies = VOCABULARY_CORE,
	  .shape = SHAPE_TEXT,
	  .on = ON_ALL,
	  .build = build_ref,
	  .apply = apply_ref },
	{ .name = "$dynamicRef",
	  .drafts = DRAFT_2020_12,
	  .vocabularies = VOCABULARY_CORE,
	  .shape = SHAPE_TEXT,
	  .on = ON_ALL,
	  .build = build_ref,
	  .apply = apply_dynamic_ref },
	{ .name = "allOf",
	  .drafts = DRAFTS_BOTH,
	  .vocabularies = VOCABULARY_APPLICATOR,
	  .shape = SHAPE_SCHEMAS,
	  .on = ON_ALL,
	  .apply = apply_all },
	{ .name = "anyOf",
	  .drafts = DRAFTS_BOTH,
	  .vocabularies = VOCABULARY_APPLICATOR,
	  .shape = SHAPE_SCHEMAS,
	  .on = ON_ALL,
	  .apply = apply_any,
	  .says = "must match at least one of the alternatives" },
	{ .name = "oneOf",
	  .drafts = DRAFTS_BOTH,
	  .vocabularies = VOCABULARY_APPLICATOR,
	  .shape = SHAPE_SCHEMAS,
	  .on = ON_ALL,
	  .apply = apply_one,
	  .says = "must match one of the alternatives" },
	{ .name = "not",
	  .drafts = DRAFTS_BOTH,
	  .vocabularies = VOCABULARY_APPLICATOR,
	  .shape = SHAPE_SCHEMA,
	  .on = ON_ALL,
	  .apply = apply_not,
	  .says = "must not match what is excluded here" },
	{ .name = "if",
	  .drafts = DRAFTS_BOTH,
	  .vocabularies = VOCABULARY_APPLICATOR,
	  .shape = SHAPE_SCHEMA,
	  .on = ON_ALL,
	  .build = build_if,
	  .apply = apply_if },
	{ .name = "then",
	  .drafts = DRAFTS_BOTH,
	  .vocabularies = VOCABULARY_APPLICATOR,
	  .shape = SHAPE_SCHEMA,
	  .build = build_nothing },
	{ .name = "else",
	  .drafts = DRAFTS_BOTH,
	  .vocabularies = VOCABULARY_APPLICATOR,
	  .shape = SHAPE_SCHEMA,
	  .build = build_nothing },
	{ .name = "contentSchema",
	  .drafts = DRAFT_2020_12,
	  .vocabularies = VOCABULARY_CONTENT,
	  .shape = SHAPE_SCHEMA,
	  .build = build_nothing },
};
const struct keywords schema_logic_keywords = { .rows = rows, .count = ARRAY_LEN(rows) };
