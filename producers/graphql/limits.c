/* SPDX-License-Identifier: Apache-2.0 */
/* Counts with a walk that gives up at the first limit, so that a document costs no more than the
 * limits allow, however it repeats itself. Pure. */
#include "producers/graphql/limits.h"

#include <string.h>

struct count {
	const struct limits *limits;
	const struct node *document;
	int nodes, aliases;
	const char *code; /* of the limit that was met */
};

struct inside { /* the fragments around this place */
	const struct node *fragment;
	const struct inside *up;
};

static void meet(struct count *count, bool over, const char *code)
{
	if (over && !count->code)
		count->code = code;
}

static bool is_inside(const struct inside *inside, const struct node *fragment)
{
	while (inside && inside->fragment != fragment)
		inside = inside->up;
	return inside != NULL;
}

static void walk(struct count *count, const struct node *set, int depth, int depth_max,
		 const struct inside *inside);

static void walk_field(struct count *count, const struct node *field, int depth, int depth_max,
		       const struct inside *inside)
{
	if (depth == 0 &&
	    (strcmp(field->text, "__schema") == 0 || strcmp(field->text, "__type") == 0))
		depth_max = LIMITS_INTROSPECTION_DEPTH;
	meet(count, field->alias && ++count->aliases > count->limits->aliases, "too-many-aliases");
	meet(count, depth + 1 > depth_max, "too-deep");
	if (field->selection_set)
		walk(count, field->selection_set, depth + 1, depth_max, inside);
}

static void walk_spread(struct count *count, const struct node *spread, int depth, int depth_max,
			const struct inside *inside)
{
	const struct node *fragment = document_fragment(count->document, spread->text);
	const struct inside here = { fragment, inside };

	if (fragment && !is_inside(inside, fragment))
		walk(count, fragment->selection_set, depth, depth_max, &here);
}

static void walk(struct count *count, const struct node *set, int depth, int depth_max,
		 const struct inside *inside)
{
	for (const struct node *s = set->items; s && !count->code; s = s->next) {
		meet(count, ++count->nodes > count->limits->nodes, "too-many-nodes");
		if (s->kind == NODE_FIELD)
			walk_field(count, s, depth, depth_max, inside);
		else if (s->kind == NODE_FRAGMENT_SPREAD)
			walk_spread(count, s, depth, depth_max, inside);
		else
			walk(count, s->selection_set, depth, depth_max, inside);
	}
}

const char *limits_exceeded(const struct limits *limits, struct arena *arena,
			    const struct node *document, const char **code_r)
{
	struct count count = { .limits = limits, .document = document };

	for (const struct node *d = document->items; d && !count.code; d = d->next) {
		if (d->kind == NODE_OPERATION)
			walk(&count, d->selection_set, 0, limits->depth, NULL);
	}
	*code_r = count.code;
	if (!count.code)
		return NULL;
	if (strcmp(count.code, "too-deep") == 0)
		return arena_printf(arena, "Fields are nested more than %d deep.", limits->depth);
	if (strcmp(count.code, "too-many-aliases") == 0)
		return arena_printf(arena, "There are more than %d aliases.", limits->aliases);
	return arena_printf(arena, "More than %d fields and fragments are asked for.",
			    limits->nodes);
}
