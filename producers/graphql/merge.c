/* SPDX-License-Identifier: Apache-2.0 */
/* The rule that fields of one name in the answer can be merged: section 5.3.2 of the specification.
 * Selection sets and pairs of fragments are compared once; what a document may cost is bounded. */
#include <stdlib.h>
#include <string.h>

#include "common/base/strbuf.h"
#include "producers/graphql/same_value.h"
#include "producers/graphql/validator.h"

#define BUDGET          500000
#define DETAIL_MAX      1000
#define CONFLICT_PLACES 20

struct entry { /* a field, and what it is a field of */
	struct entry *next;
	const struct type *parent; /* or NULL */
	const struct node *node;
	const struct field *field; /* or NULL */
};

struct response { /* fields of one name */
	struct response *next;
	const char *key;
	struct entry *first, *last;
};

struct fields { /* of a selection set on a type, without its spreads */
	struct fields *next;
	const struct type *type;
	const struct node *set;
	struct response *first, *last;
	struct spread_list spreads; /* fragments */
};

struct pair {
	const void *a, *b;
	bool exclusive;
};

struct pairs { /* open addressing; a NULL: free */
	struct pair *slots;
	size_t count, room;
};

struct merge {
	struct fields *collected;
	struct pairs fields_and_fragments, fragments;
	long budget;
};

struct conflict {
	struct conflict *next;
	const char *key, *reason;
	const struct node *nodes1[CONFLICT_PLACES], *nodes2[CONFLICT_PLACES];
	size_t count1, count2;
};

struct conflicts {
	struct conflict *first, *last;
};

static void compare_sets(struct validator *v, struct conflicts *found, bool exclusive,
			 struct fields *a, struct fields *b);

/* False: given up. */
static bool spend(struct validator *v, long cost)
{
	v->merge->budget -= cost;
	if (v->merge->budget < 0 && !v->faults->aborted)
		faults_abort(v->faults, "Validation aborted.");
	return !v->faults->aborted;
}

/* ---- pairs that were compared */

static struct pair *slot_of(struct pair *slots, size_t room, const void *a, const void *b)
{
	size_t at = ((uintptr_t)a * 31 + (uintptr_t)b) / 16 * 0x9e3779b97f4a7c15u % room;

	while (slots[at].a && (slots[at].a != a || slots[at].b != b))
		at = (at + 1) % room;
	return &slots[at];
}

static void make_room(struct validator *v, struct pairs *pairs)
{
	size_t room = pairs->room ? pairs->room * 2 : 64;
	struct pair *slots;

	if (pairs->count * 2 < pairs->room)
		return;
	slots = ARENA_ARRAY(v->arena, struct pair, room);
	for (size_t i = 0; i < pairs->room; i++) {
		const struct pair *pair = &pairs->slots[i];
		if (pair->a)
			*slot_of(slots, room, pair->a, pair->b) = *pair;
	}
	pairs->slots = slots;
	pairs->room = room;
}

/* Was this pair compared, as strictly at least? Notes it if it was not. */
static bool was_compared(struct validator *v, struct pairs *pairs, const void *a, const void *b,
			 bool exclusive)
{
	struct pair *pair;

	make_room(v, pairs);
	pair = slot_of(pairs->slots, pairs->room, a, b);
	if (pair->a && (exclusive || !pair->exclusive))
		return true;
	pairs->count += !pair->a;
	*pair = (struct pair){ a, b, exclusive };
	return false;
}

/* ---- what a selection set says */

static struct response *response_of(struct validator *v, struct fields *fields, const char *key)
{
	struct response *response = fields->first;

	while (response && strcmp(response->key, key) != 0)
		response = response->next;
	if (response)
		return response;
	response = ARENA_NEW(v->arena, struct response);
	response->key = key;
	if (fields->last)
		fields->last->next = response;
	else
		fields->first = response;
	fields->last = response;
	return response;
}

static void add_field(struct validator *v, struct fields *fields, const struct type *parent,
		      const struct node *node)
{
	struct response *response = response_of(v, fields, document_key(node));
	struct entry *entry = ARENA_NEW(v->arena, struct entry);

	entry->parent = parent;
	entry->node = node;
	for (size_t i = 0; parent && i < parent->field_count; i++) {
		if (strcmp(parent->fields[i].name, node->text) == 0)
			entry->field = &parent->fields[i];
	}
	if (response->last)
		response->last->next = entry;
	else
		response->first = entry;
	response->last = entry;
}

static void add_spread(struct validator *v, struct fields *fields, const struct node *node)
{
	const struct node *fragment = document_fragment(v->document, node->text);
	struct spread_list *list = &fields->spreads;

	for (size_t i = 0; i < list->count; i++) {
		if (list->spreads[i] == fragment)
			return;
	}
	if (!fragment)
		return;
	list->spreads = validator_grown(v, list->spreads, list->count, &list->room);
	list->spreads[list->count++] = fragment;
}

static void collect(struct validator *v, struct fields *fields, const struct type *type,
		    const struct node *set)
{
	for (const struct node *s = set->items; s; s = s->next) {
		if (s->kind == NODE_FIELD)
			add_field(v, fields, type, s);
		else if (s->kind == NODE_FRAGMENT_SPREAD)
			add_spread(v, fields, s);
		else
			collect(v, fields, s->type ? types_find(v->types, s->type->text) : type,
				s->selection_set);
	}
}

static struct fields *fields_of(struct validator *v, const struct type *type,
				const struct node *set)
{
	struct fields *fields = v->merge->collected;

	while (fields && (fields->set != set || fields->type != type))
		fields = fields->next;
	if (fields)
		return fields;
	fields = ARENA_NEW(v->arena, struct fields);
	fields->type = type;
	fields->set = set;
	collect(v, fields, type, set);
	fields->next = v->merge->collected;
	v->merge->collected = fields;
	return fields;
}

static struct fields *fragment_fields(struct validator *v, const struct node *fragment)
{
	return fields_of(v, types_find(v->types, fragment->type->text), fragment->selection_set);
}

/* ---- conflicts */

static const char *brief(struct validator *v, const char *text)
{
	return strlen(text) > DETAIL_MAX ? arena_printf(v->arena, "%.*s...", DETAIL_MAX, text)
					 : text;
}

static struct conflict *add_conflict(struct validator *v, struct conflicts *found, const char *key,
				     const char *reason, const struct entry *a,
				     const struct entry *b)
{
	struct conflict *conflict = ARENA_NEW(v->arena, struct conflict);

	conflict->key = key;
	conflict->reason = reason;
	conflict->nodes1[conflict->count1++] = a->node;
	conflict->nodes2[conflict->count2++] = b->node;
	if (found->last)
		found->last->next = conflict;
	else
		found->first = conflict;
	found->last = conflict;
	return conflict;
}

/* The last of them, as many as there is room for. */
static void add_places(const struct node **nodes, size_t *count, const struct node *const *more,
		       size_t more_count)
{
	size_t room = CONFLICT_PLACES - *count;
	size_t skipped = more_count > room ? more_count - room : 0;

	for (size_t i = skipped; i < more_count; i++)
		nodes[(*count)++] = more[i];
}

static void add_sub_conflicts(struct validator *v, struct conflicts *found, const char *key,
			      const struct entry *a, const struct entry *b,
			      const struct conflicts *inner)
{
	struct conflict *conflict = add_conflict(v, found, key, NULL, a, b);
	struct strbuf reason;

	strbuf_init(&reason);
	for (const struct conflict *c = inner->first; c && reason.len <= DETAIL_MAX; c = c->next)
		strbuf_printf(&reason, "%ssubfields '%s' conflict because %s",
			      reason.len ? " and " : "", brief(v, c->key), c->reason);
	conflict->reason = brief(v, arena_strndup(v->arena, reason.data, reason.len));
	strbuf_release(&reason);
	for (const struct conflict *c = inner->first; c; c = c->next) {
		add_places(conflict->nodes1, &conflict->count1, c->nodes1, c->count1);
		add_places(conflict->nodes2, &conflict->count2, c->nodes2, c->count2);
	}
}

static bool types_conflict(const struct type *a, const struct type *b)
{
	while (a != b && (a->of || b->of)) {
		if (a->kind != b->kind)
			return true;
		a = a->of;
		b = b->of;
	}
	return a != b && (types_is_leaf(a) || types_is_leaf(b));
}

static void compare_inner(struct validator *v, struct conflicts *found, bool exclusive,
			  const char *key, const struct entry *a, const struct entry *b)
{
	const struct type *type_a = a->field ? types_named(a->field->type) : NULL;
	const struct type *type_b = b->field ? types_named(b->field->type) : NULL;
	struct conflicts inner = { 0 };

	compare_sets(v, &inner, exclusive, fields_of(v, type_a, a->node->selection_set),
		     fields_of(v, type_b, b->node->selection_set));
	if (inner.first)
		add_sub_conflicts(v, found, key, a, b, &inner);
}

static bool may_differ(const struct entry *a, const struct entry *b)
{
	return a->parent != b->parent && a->parent && b->parent && a->parent->kind == TYPE_OBJECT &&
	       b->parent->kind == TYPE_OBJECT;
}

static void compare(struct validator *v, struct conflicts *found, bool exclusive, const char *key,
		    const struct entry *a, const struct entry *b)
{
	const struct type *type_a = a->field ? a->field->type : NULL;
	const struct type *type_b = b->field ? b->field->type : NULL;

	exclusive = exclusive || may_differ(a, b);
	if (!spend(v, 2))
		return;
	if (!exclusive && strcmp(a->node->text, b->node->text) != 0)
		add_conflict(v, found, key,
			     arena_printf(v->arena, "'%s' and '%s' are different fields",
					  brief(v, a->node->text), brief(v, b->node->text)),
			     a, b);
	else if (!exclusive && !same_arguments(v->arena, a->node, b->node))
		add_conflict(v, found, key, "they have differing arguments", a, b);
	else if (type_a && type_b && types_conflict(type_a, type_b))
		add_conflict(v, found, key,
			     arena_printf(v->arena, "they return conflicting types '%s' and '%s'",
					  type_a->text, type_b->text),
			     a, b);
	else if (a->node->selection_set && b->node->selection_set)
		compare_inner(v, found, exclusive, key, a, b);
}

/* ---- sets of fields */

static void compare_within(struct validator *v, struct conflicts *found,
			   const struct fields *fields)
{
	for (const struct response *r = fields->first; r; r = r->next) {
		for (const struct entry *a = r->first; a && !v->faults->aborted; a = a->next) {
			for (const struct entry *b = a->next; b; b = b->next)
				compare(v, found, false, r->key, a, b);
		}
	}
}

static void compare_responses(struct validator *v, struct conflicts *found, bool exclusive,
			      const struct response *x, const struct response *y)
{
	for (const struct entry *a = x->first; a && !v->faults->aborted; a = a->next) {
		for (const struct entry *b = y->first; b; b = b->next)
			compare(v, found, exclusive, x->key, a, b);
	}
}

static void compare_between(struct validator *v, struct conflicts *found, bool exclusive,
			    const struct fields *a, const struct fields *b)
{
	for (const struct response *x = a->first; x && spend(v, 1); x = x->next) {
		for (const struct response *y = b->first; y; y = y->next) {
			if (strcmp(x->key, y->key) == 0)
				compare_responses(v, found, exclusive, x, y);
		}
	}
}

static void compare_with_fragment(struct validator *v, struct conflicts *found, bool exclusive,
				  struct fields *fields, const struct node *fragment)
{
	struct fields *inside;

	if (!spend(v, 1) || !fields->first ||
	    was_compared(v, &v->merge->fields_and_fragments, fields, fragment, exclusive))
		return;
	inside = fragment_fields(v, fragment);
	if (inside == fields)
		return;
	compare_between(v, found, exclusive, fields, inside);
	for (size_t i = 0; i < inside->spreads.count; i++)
		compare_with_fragment(v, found, exclusive, fields, inside->spreads.spreads[i]);
}

static void compare_fragments(struct validator *v, struct conflicts *found, bool exclusive,
			      const struct node *a, const struct node *b)
{
	const void *low = a < b ? a : b, *high = a < b ? b : a;
	struct fields *in_a, *in_b;

	if (!spend(v, 2) || a == b || was_compared(v, &v->merge->fragments, low, high, exclusive))
		return;
	in_a = fragment_fields(v, a);
	in_b = fragment_fields(v, b);
	compare_between(v, found, exclusive, in_a, in_b);
	for (size_t i = 0; i < in_b->spreads.count; i++)
		compare_fragments(v, found, exclusive, a, in_b->spreads.spreads[i]);
	for (size_t i = 0; i < in_a->spreads.count; i++)
		compare_fragments(v, found, exclusive, in_a->spreads.spreads[i], b);
}

static void compare_sets(struct validator *v, struct conflicts *found, bool exclusive,
			 struct fields *a, struct fields *b)
{
	compare_between(v, found, exclusive, a, b);
	for (size_t i = 0; i < b->spreads.count; i++)
		compare_with_fragment(v, found, exclusive, a, b->spreads.spreads[i]);
	for (size_t i = 0; i < a->spreads.count; i++)
		compare_with_fragment(v, found, exclusive, b, a->spreads.spreads[i]);
	for (size_t i = 0; i < a->spreads.count; i++) {
		for (size_t j = 0; j < b->spreads.count; j++)
			compare_fragments(v, found, exclusive, a->spreads.spreads[i],
					  b->spreads.spreads[j]);
	}
}

static void compare_inside(struct validator *v, struct conflicts *found, struct fields *fields)
{
	const struct spread_list *spreads = &fields->spreads;

	compare_within(v, found, fields);
	if (!fields->first && spreads->count < 2)
		return;
	for (size_t i = 0; i < spreads->count; i++) {
		compare_with_fragment(v, found, false, fields, spreads->spreads[i]);
		for (size_t j = i + 1; j < spreads->count; j++)
			compare_fragments(v, found, false, spreads->spreads[i],
					  spreads->spreads[j]);
	}
}

static void report(struct validator *v, const struct conflict *conflict)
{
	const struct node *places[2 * CONFLICT_PLACES];
	size_t count = 0;

	for (size_t i = 0; i < conflict->count1; i++)
		places[count++] = conflict->nodes1[i];
	for (size_t i = 0; i < conflict->count2; i++)
		places[count++] = conflict->nodes2[i];
	faults_at_nodes(
		v->faults, places, count,
		"Fields '%s' conflict because %s. Use different aliases on the fields to fetch "
		"both if this was intentional.",
		brief(v, conflict->key), conflict->reason);
}

bool rule_overlapping_fields(struct validator *v, const struct frame *at)
{
	const struct node *first = at->node->items;
	struct conflicts found = { 0 };

	if (at->node->kind != NODE_SELECTION_SET || at->up->node->kind == NODE_INLINE_FRAGMENT ||
	    !first || (!first->next && first->kind != NODE_INLINE_FRAGMENT))
		return true;
	if (!v->merge) {
		v->merge = ARENA_NEW(v->arena, struct merge);
		v->merge->budget = BUDGET;
	}
	compare_inside(v, &found, fields_of(v, info_parent(&v->info), at->node));
	for (const struct conflict *c = found.first; c && !v->faults->aborted; c = c->next)
		report(v, c);
	return true;
}
