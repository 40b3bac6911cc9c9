/* SPDX-License-Identifier: Apache-2.0 */
/* Compares values as they are written; the order of an object's fields does not matter. Pure. */
#include "producers/graphql/same_value.h"

#include <stdlib.h>
#include <string.h>

static int name_order(const void *a, const void *b)
{
	const struct node *const *x = a, *const *y = b;
	int order = strcmp((*x)->text, (*y)->text);

	if (order != 0)
		return order;
	return (*x)->start < (*y)->start ? -1 : (*x)->start > (*y)->start;
}

static size_t sorted(struct arena *arena, const struct node *list, const struct node ***nodes_r)
{
	size_t count = 0;

	for (const struct node *n = list; n; n = n->next)
		count++;
	*nodes_r = arena_alloc(arena, (count + 1) * sizeof(**nodes_r));
	count = 0;
	for (const struct node *n = list; n; n = n->next)
		(*nodes_r)[count++] = n;
	qsort(*nodes_r, count, sizeof(**nodes_r), name_order);
	return count;
}

static bool same(struct arena *arena, const struct node *a, const struct node *b)
{
	const struct node **fields_a, **fields_b, *x, *y;
	size_t count;

	if (a->kind != b->kind)
		return false;
	switch (a->kind) {
	case NODE_LIST:
		for (x = a->items, y = b->items; x && y; x = x->next, y = y->next) {
			if (!same(arena, x, y))
				return false;
		}
		return !x && !y;
	case NODE_OBJECT:
		count = sorted(arena, a->items, &fields_a);
		if (count != sorted(arena, b->items, &fields_b))
			return false;
		for (size_t i = 0; i < count; i++) {
			if (strcmp(fields_a[i]->text, fields_b[i]->text) != 0 ||
			    !same(arena, fields_a[i]->value, fields_b[i]->value))
				return false;
		}
		return true;
	case NODE_BOOLEAN:
		return a->flag == b->flag;
	case NODE_STRING:
		return a->flag == b->flag && a->text_bytes == b->text_bytes &&
		       memcmp(a->text, b->text, a->text_bytes) == 0;
	case NODE_NULL:
		return true;
	default:
		return strcmp(a->text, b->text) == 0;
	}
}

bool same_arguments(struct arena *arena, const struct node *a, const struct node *b)
{
	size_t count_a = 0, count_b = 0;

	for (const struct node *x = a->arguments; x; x = x->next)
		count_a++;
	for (const struct node *y = b->arguments; y; y = y->next)
		count_b++;
	if (count_a != count_b)
		return false;
	for (const struct node *x = a->arguments; x; x = x->next) {
		const struct node *y = document_argument(b, x->text);

		if (!y || !same(arena, x->value, y->value))
			return false;
	}
	return true;
}
