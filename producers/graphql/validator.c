/* SPDX-License-Identifier: Apache-2.0 */
/* What several rules ask of the document. */
#include "producers/graphql/validator.h"

#include <string.h>

void *validator_grown(struct validator *v, const void *array, size_t count, size_t *room)
{
	void *bigger;

	if (count < *room)
		return (void *)array;
	*room = *room ? *room * 2 : 8;
	bigger = arena_alloc(v->arena, *room * sizeof(void *));
	if (count > 0)
		memcpy(bigger, array, count * sizeof(void *));
	return bigger;
}

static void add_node(struct validator *v, struct spread_list *list, const struct node *node)
{
	list->spreads = validator_grown(v, list->spreads, list->count, &list->room);
	list->spreads[list->count++] = node;
}

/* Inner sets come after all of the outer one's spreads, the last set first: places in messages
 * follow this order. */
void validator_spreads(struct validator *v, const struct node *set, struct spread_list *list_r)
{
	struct spread_list sets = { 0 };

	*list_r = (struct spread_list){ 0 };
	add_node(v, &sets, set);
	while (sets.count > 0) {
		const struct node *visited = sets.spreads[--sets.count];

		for (const struct node *s = visited->items; s; s = s->next) {
			if (s->kind == NODE_FRAGMENT_SPREAD)
				add_node(v, list_r, s);
			else if (s->selection_set)
				add_node(v, &sets, s->selection_set);
		}
	}
}

static bool has_fragment(const struct spread_list *fragments, const struct node *fragment)
{
	for (size_t i = 0; i < fragments->count; i++) {
		if (fragments->spreads[i] == fragment)
			return true;
	}
	return false;
}

static void add_referenced(struct validator *v, const struct node *set,
			   struct spread_list *fragments)
{
	struct spread_list spreads;

	validator_spreads(v, set, &spreads);
	for (size_t i = 0; i < spreads.count; i++) {
		const struct node *fragment =
			document_fragment(v->document, spreads.spreads[i]->text);
		if (fragment && !has_fragment(fragments, fragment))
			add_node(v, fragments, fragment);
	}
}

void validator_referenced(struct validator *v, const struct node *const *operations, size_t count,
			  struct spread_list *fragments_r)
{
	*fragments_r = (struct spread_list){ 0 };
	for (size_t i = 0; i < count; i++)
		add_referenced(v, operations[i]->selection_set, fragments_r);
	for (size_t i = 0; i < fragments_r->count; i++)
		add_referenced(v, fragments_r->spreads[i]->selection_set, fragments_r);
}

static void add_usage(struct arena *arena, const struct info *info, const struct node *node,
		      struct usage_list *list)
{
	struct usage *usage = ARENA_NEW(arena, struct usage);

	usage->node = node;
	usage->type = info_input(info);
	usage->outer = info_outer_input(info);
	usage->has_default = info->default_count && info->has_default[info->default_count - 1];
	if (list->last)
		list->last->next = usage;
	else
		list->first = usage;
	list->last = usage;
}

static void find_usages(struct validator *v, struct info *info, const struct node *node,
			struct usage_list *list)
{
	struct node *child = NULL;
	int step = 0;

	if (node->kind == NODE_VARIABLE_DEFINITION)
		return;
	info_enter(info, node);
	if (node->kind == NODE_VARIABLE)
		add_usage(v->arena, info, node, list);
	while ((child = document_child(node, child, &step)))
		find_usages(v, info, child, list);
	info_leave(info, node);
}

void validator_usages(struct validator *v, const struct node *operation, struct usage_list *list_r)
{
	struct info *info = &v->scratch;
	struct spread_list fragments;

	*list_r = (struct usage_list){ 0 };
	find_usages(v, info, operation, list_r);
	validator_referenced(v, &operation, 1, &fragments);
	for (size_t i = 0; i < fragments.count; i++)
		find_usages(v, info, fragments.spreads[i], list_r);
}

const struct node *validator_seen(struct validator *v, struct names *names, const struct node *node)
{
	for (size_t i = 0; i < names->count; i++) {
		if (strcmp(names->nodes[i]->text, node->text) == 0)
			return names->nodes[i];
	}
	names->nodes = validator_grown(v, names->nodes, names->count, &names->room);
	names->nodes[names->count++] = node;
	return NULL;
}

static bool came_before(const struct node *list, const struct node *node)
{
	for (; list != node; list = list->next) {
		if (strcmp(list->text, node->text) == 0)
			return true;
	}
	return false;
}

/* The place of a variable's definition is that of its name, without the sign. */
static const struct node *place_of(const struct node *node)
{
	return node->name->kind == NODE_VARIABLE ? node->name->name : node->name;
}

void validator_repeated(struct validator *v, const struct node *list, const char *what)
{
	for (const struct node *n = list; n; n = n->next) {
		struct spread_list same = { 0 };

		if (came_before(list, n))
			continue;
		for (const struct node *m = n; m; m = m->next) {
			if (strcmp(m->text, n->text) == 0)
				add_node(v, &same, place_of(m));
		}
		if (same.count > 1)
			faults_at_nodes(v->faults, same.spreads, same.count,
					"There can be only one %s%s'.", what, n->text);
	}
}
