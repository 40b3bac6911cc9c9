/* SPDX-License-Identifier: Apache-2.0 */
/* Each fragment is spread once for an object, so cycles end. */
#include "producers/graphql/collect.h"

#include <string.h>

/* Appends to an array in the arena that doubles. */
static void *grown(struct arena *arena, const void *array, size_t count, size_t *room)
{
	void *bigger;

	if (count < *room)
		return (void *)array;
	*room = *room ? *room * 2 : 4;
	bigger = arena_alloc(arena, *room * sizeof(void *));
	if (count > 0)
		memcpy(bigger, array, count * sizeof(void *));
	return bigger;
}

static struct group *group_of(struct collection *collection, const char *key)
{
	struct group *group = collection->first;

	while (group && strcmp(group->key, key) != 0)
		group = group->next;
	if (group)
		return group;
	group = ARENA_NEW(collection->coercion->arena, struct group);
	group->key = key;
	if (collection->last)
		collection->last->next = group;
	else
		collection->first = group;
	collection->last = group;
	return group;
}

static void add_field(struct collection *collection, const struct node *field)
{
	struct group *group = group_of(collection, document_key(field));

	group->nodes = grown(collection->coercion->arena, group->nodes, group->count, &group->room);
	group->nodes[group->count++] = field;
}

/* 1, 0: what the directive's condition says; `absent` without one; -1: refused. */
static int condition(struct collection *collection, const struct node *node, const char *name,
		     int absent, struct faults *faults)
{
	const struct coercion *c = collection->coercion;
	const struct directive_type *type = types_directive(c->types, name);
	const struct node *directive = document_directive(node, name);
	json_t *args;

	if (!directive)
		return absent;
	if (collection->forbid) {
		collection->forbidden =
			grown(c->arena, collection->forbidden, collection->forbidden_count,
			      &collection->forbidden_room);
		collection->forbidden[collection->forbidden_count++] = directive;
		return !absent;
	}
	args = coerce_arguments(c, type->args, type->arg_count, directive, faults);
	return args ? json_is_true(json_object_get(args, "if")) : -1;
}

/* 1: in, 0: out, -1: refused. */
static int is_included(struct collection *collection, const struct node *node,
		       struct faults *faults)
{
	int skipped = condition(collection, node, "skip", 0, faults);

	if (skipped != 0)
		return skipped < 0 ? -1 : 0;
	return condition(collection, node, "include", 1, faults);
}

static bool fits(const struct collection *collection, const struct node *condition)
{
	const struct type *type;

	if (!condition)
		return true;
	type = types_find(collection->coercion->types, condition->text);
	return type == collection->type ||
	       (types_is_abstract(type) && types_stands_for(type, collection->type));
}

static bool was_spread(struct collection *collection, const char *name)
{
	for (size_t i = 0; i < collection->spread_count; i++) {
		if (strcmp(collection->spread[i], name) == 0)
			return true;
	}
	return false;
}

static bool spread(struct collection *collection, const struct node *node, struct faults *faults)
{
	const struct node *fragment = document_fragment(collection->document, node->text);

	if (!fragment || !fits(collection, fragment->type) || was_spread(collection, node->text))
		return true;
	collection->spread = grown(collection->coercion->arena, collection->spread,
				   collection->spread_count, &collection->spread_room);
	collection->spread[collection->spread_count++] = node->text;
	return collect_selections(collection, fragment->selection_set, faults);
}

bool collect_selections(struct collection *collection, const struct node *selection_set,
			struct faults *faults)
{
	bool fine = true;

	for (const struct node *s = selection_set->items; s && fine; s = s->next) {
		int included = is_included(collection, s, faults);

		if (included <= 0) {
			fine = included == 0;
			continue;
		}
		if (s->kind == NODE_FIELD)
			add_field(collection, s);
		else if (s->kind == NODE_FRAGMENT_SPREAD)
			fine = spread(collection, s, faults);
		else if (fits(collection, s->type))
			fine = collect_selections(collection, s->selection_set, faults);
	}
	return fine;
}
