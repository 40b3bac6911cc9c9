/* SPDX-License-Identifier: Apache-2.0 */
/* Rules about operations: section 5.2 of the specification. */
#include <string.h>

#include "producers/graphql/collect.h"
#include "producers/graphql/validator.h"

bool rule_executable_definitions(struct validator *v, const struct frame *at)
{
	if (at->node->kind != NODE_DOCUMENT)
		return true;
	for (const struct node *d = at->node->items; d; d = d->next) {
		if (!document_is_sdl(d))
			continue;
		if (d->kind == NODE_SCHEMA_DEFINITION)
			faults_at(v->faults, d, "The schema definition is not executable.");
		else
			faults_at(v->faults, d, "The '%s' definition is not executable.", d->text);
	}
	return false;
}

bool rule_known_operation_types(struct validator *v, const struct frame *at)
{
	const struct node *node = at->node;

	if (node->kind == NODE_OPERATION && !v->types->roots[node->operation])
		faults_at(v->faults, node, "The %s operation is not supported by the schema.",
			  document_operation_word(node->operation));
	return true;
}

bool rule_unique_operation_names(struct validator *v, const struct frame *at)
{
	const struct node *node = at->node, *before;

	if (node->kind != NODE_OPERATION)
		return node->kind != NODE_FRAGMENT_DEFINITION;
	before = node->name ? validator_seen(v, &v->operations, node->name) : NULL;
	if (before) {
		const struct node *const places[] = { before, node->name };
		faults_at_nodes(v->faults, places, 2, "There can be only one operation named '%s'.",
				node->text);
	}
	return false;
}

bool rule_lone_anonymous_operation(struct validator *v, const struct frame *at)
{
	size_t count = 0;

	if (at->node->kind != NODE_OPERATION || at->node->name)
		return true;
	for (const struct node *d = v->document->items; d; d = d->next)
		count += d->kind == NODE_OPERATION;
	if (count > 1)
		faults_at(v->faults, at->node,
			  "This anonymous operation must be the only defined operation.");
	return true;
}

static void check_group(struct validator *v, const char *name, const struct collection *fields)
{
	const struct node **extra = NULL;
	size_t count = 0, room = 0;

	for (const struct group *g = fields->first->next; g; g = g->next) {
		for (size_t i = 0; i < g->count; i++) {
			extra = validator_grown(v, extra, count, &room);
			extra[count++] = g->nodes[i];
		}
	}
	if (count > 0)
		faults_at_nodes(v->faults, extra, count, "%s must select only one top level field.",
				name);
	for (const struct group *g = fields->first; g; g = g->next) {
		if (strncmp(g->nodes[0]->text, "__", 2) == 0)
			faults_at_nodes(v->faults, g->nodes, g->count,
					"%s must not select an introspection top level field.",
					name);
	}
}

bool rule_single_field_subscriptions(struct validator *v, const struct frame *at)
{
	const struct node *node = at->node;
	const struct type *type = v->types->roots[OPERATION_SUBSCRIPTION];
	struct collection fields = {
		.coercion = &v->coercion, .document = v->document, .type = type, .forbid = true
	};
	const char *name;

	if (node->kind != NODE_OPERATION || node->operation != OPERATION_SUBSCRIPTION || !type)
		return true;
	name = node->name ? arena_printf(v->arena, "Subscription '%s'", node->text)
			  : "Anonymous Subscription";
	collect_selections(&fields, node->selection_set, v->faults);
	if (fields.forbidden_count > 0)
		faults_at_nodes(v->faults, fields.forbidden, fields.forbidden_count,
				"%s must not use `@skip` or `@include` directives in the top level "
				"selection.",
				name);
	else if (!fields.first)
		faults_at(v->faults, node->selection_set, "%s must select one top level field.",
			  name);
	else
		check_group(v, name, &fields);
	return true;
}
