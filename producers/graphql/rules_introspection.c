/* SPDX-License-Identifier: Apache-2.0 */
/* How deep introspection may go, and whether there is any. */
#include <string.h>

#include "producers/graphql/validator.h"

#define LIST_DEPTH_MAX 3

static bool is_list_field(const char *name)
{
	static const char *const names[] = { "fields", "interfaces", "possibleTypes",
					     "inputFields" };

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		if (strcmp(names[i], name) == 0)
			return true;
	}
	return false;
}

struct checked { /* fragments, and how deep they were looked at */
	struct names fragments;
	int *depths;
	size_t room;
};

/* False: it was looked at from there or deeper. */
static bool must_look(struct validator *v, struct checked *checked, const struct node *fragment,
		      int depth)
{
	for (size_t i = 0; i < checked->fragments.count; i++) {
		if (checked->fragments.nodes[i] != fragment)
			continue;
		if (checked->depths[i] >= depth)
			return false;
		checked->depths[i] = depth;
		return true;
	}
	if (checked->fragments.count == checked->room) {
		int *bigger = ARENA_ARRAY(v->arena, int, checked->room * 2 + 8);
		if (checked->room)
			memcpy(bigger, checked->depths, checked->room * sizeof(int));
		checked->room = checked->room * 2 + 8;
		checked->depths = bigger;
	}
	checked->depths[checked->fragments.count] = depth;
	return !validator_seen(v, &checked->fragments, fragment);
}

static bool is_too_deep(struct validator *v, const struct node *set, int depth,
			struct checked *checked)
{
	for (const struct node *s = set ? set->items : NULL; s; s = s->next) {
		const struct node *below = s->selection_set;
		int deeper = depth;

		if (s->kind == NODE_FRAGMENT_SPREAD) {
			const struct node *fragment = document_fragment(v->document, s->text);
			if (!fragment || !must_look(v, checked, fragment, depth))
				continue;
			below = fragment->selection_set;
		} else if (s->kind == NODE_FIELD && is_list_field(s->text)) {
			deeper++;
		}
		if (deeper >= LIST_DEPTH_MAX || is_too_deep(v, below, deeper, checked))
			return true;
	}
	return false;
}

static bool is_introspection(const struct node *node)
{
	return node->kind == NODE_FIELD &&
	       (strcmp(node->text, "__schema") == 0 || strcmp(node->text, "__type") == 0);
}

bool rule_introspection_depth(struct validator *v, const struct frame *at)
{
	struct checked checked = { 0 };

	if (!is_introspection(at->node) || !is_too_deep(v, at->node->selection_set, 0, &checked))
		return true;
	faults_at(v->faults, at->node, "Maximum introspection depth exceeded");
	return false;
}

bool rule_no_introspection(struct validator *v, const struct frame *at)
{
	const struct type *type = types_named(info_output(&v->info));

	if (v->options->introspection || at->node->kind != NODE_FIELD || !type ||
	    strncmp(type->text, "__", 2) != 0)
		return true;
	faults_at(v->faults, at->node,
		  "GraphQL introspection has been disabled, but the requested query contained the "
		  "field '%s'.",
		  at->node->text);
	return true;
}
