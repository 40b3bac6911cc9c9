/* SPDX-License-Identifier: Apache-2.0 */
/* Rules about fragments: section 5.5 of the specification. */
#include <string.h>

#include "common/base/strbuf.h"
#include "producers/graphql/validator.h"

bool rule_unique_fragment_names(struct validator *v, const struct frame *at)
{
	const struct node *node = at->node, *before;

	if (node->kind != NODE_FRAGMENT_DEFINITION)
		return node->kind != NODE_OPERATION;
	before = validator_seen(v, &v->fragments, node->name);
	if (before) {
		const struct node *const places[] = { before, node->name };
		faults_at_nodes(v->faults, places, 2, "There can be only one fragment named '%s'.",
				node->text);
	}
	return false;
}

bool rule_known_fragment_names(struct validator *v, const struct frame *at)
{
	const struct node *node = at->node;

	if (node->kind == NODE_FRAGMENT_SPREAD && !document_fragment(v->document, node->text))
		faults_at(v->faults, node->name, "Unknown fragment '%s'.", node->text);
	return true;
}

static bool is_referenced(const struct spread_list *fragments, const struct node *fragment)
{
	for (size_t i = 0; i < fragments->count; i++) {
		if (strcmp(fragments->spreads[i]->text, fragment->text) == 0)
			return true;
	}
	return false;
}

void rule_no_unused_fragments(struct validator *v, const struct frame *at)
{
	const struct node **operations = NULL;
	size_t count = 0, room = 0;
	struct spread_list used;

	if (at->node->kind != NODE_DOCUMENT)
		return;
	for (const struct node *d = at->node->items; d; d = d->next) {
		if (d->kind != NODE_OPERATION)
			continue;
		operations = validator_grown(v, operations, count, &room);
		operations[count++] = d;
	}
	validator_referenced(v, operations, count, &used);
	for (const struct node *d = at->node->items; d; d = d->next) {
		if (d->kind == NODE_FRAGMENT_DEFINITION && !is_referenced(&used, d))
			faults_at(v->faults, d, "Fragment '%s' is never used.", d->text);
	}
}

static void check_inline(struct validator *v, const struct node *node)
{
	const struct type *type = info_output(&v->info), *parent = info_parent(&v->info);

	if (types_is_composite(type) && types_is_composite(parent) && !types_overlap(type, parent))
		faults_at(v->faults, node,
			  "Fragment cannot be spread here as objects of type '%s' can never be of "
			  "type '%s'.",
			  parent->text, type->text);
}

static void check_spread(struct validator *v, const struct node *node)
{
	const struct node *fragment = document_fragment(v->document, node->text);
	const struct type *parent = info_parent(&v->info), *type;

	type = fragment ? types_find(v->types, fragment->type->text) : NULL;
	if (types_is_composite(type) && parent && !types_overlap(type, parent))
		faults_at(v->faults, node,
			  "Fragment '%s' cannot be spread here as objects of type '%s' can never "
			  "be of type '%s'.",
			  node->text, parent->text, type->text);
}

bool rule_possible_fragment_spreads(struct validator *v, const struct frame *at)
{
	if (at->node->kind == NODE_INLINE_FRAGMENT)
		check_inline(v, at->node);
	else if (at->node->kind == NODE_FRAGMENT_SPREAD)
		check_spread(v, at->node);
	return true;
}

/* ---- cycles */

struct cycles {
	struct names visited;
	struct spread_list path;    /* spreads from one fragment to the next */
	struct spread_list entered; /* fragments whose spreads the path goes through */
};

static void report_cycle(struct validator *v, size_t from)
{
	struct cycles *cycles = v->cycles;
	const struct node **path = cycles->path.spreads + from;
	size_t count = cycles->path.count - from;
	struct strbuf via;

	strbuf_init(&via);
	for (size_t i = 0; i + 1 < count; i++)
		strbuf_printf(&via, "%s'%s'", i ? ", " : " via ", path[i]->text);
	faults_at_nodes(v->faults, path, count, "Cannot spread fragment '%s' within itself%s.",
			path[count - 1]->text, via.data);
	strbuf_release(&via);
}

/* Where in the path the fragment of that name was entered; -1: it was not. */
static ptrdiff_t entered_at(const struct cycles *cycles, const char *name)
{
	for (size_t i = 0; i < cycles->entered.count; i++) {
		if (strcmp(cycles->entered.spreads[i]->text, name) == 0)
			return (ptrdiff_t)i;
	}
	return -1;
}

static void push(struct validator *v, struct spread_list *list, const struct node *node)
{
	list->spreads = validator_grown(v, list->spreads, list->count, &list->room);
	list->spreads[list->count++] = node;
}

/* Every fragment that was entered stands for one spread in the path, except the first. */
static void detect(struct validator *v, const struct node *fragment)
{
	struct cycles *cycles = v->cycles;
	struct spread_list spreads;

	if (validator_seen(v, &cycles->visited, fragment->name))
		return;
	validator_spreads(v, fragment->selection_set, &spreads);
	push(v, &cycles->entered, fragment);
	for (size_t i = 0; i < spreads.count && !v->faults->aborted; i++) {
		const struct node *spread = spreads.spreads[i];
		const struct node *next = document_fragment(v->document, spread->text);
		ptrdiff_t entered = entered_at(cycles, spread->text);

		push(v, &cycles->path, spread);
		if (entered >= 0)
			report_cycle(v, (size_t)entered);
		else if (next)
			detect(v, next);
		cycles->path.count--;
	}
	cycles->entered.count--;
}

bool rule_no_fragment_cycles(struct validator *v, const struct frame *at)
{
	if (!v->cycles)
		v->cycles = ARENA_NEW(v->arena, struct cycles);
	if (at->node->kind == NODE_FRAGMENT_DEFINITION)
		detect(v, at->node);
	return at->node->kind != NODE_FRAGMENT_DEFINITION && at->node->kind != NODE_OPERATION;
}
