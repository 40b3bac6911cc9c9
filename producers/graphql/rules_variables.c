/* SPDX-License-Identifier: Apache-2.0 */
/* Rules about variables: section 5.8 of the specification. */
#include <string.h>

#include "producers/graphql/validator.h"

bool rule_unique_variable_names(struct validator *v, const struct frame *at)
{
	if (at->node->kind == NODE_OPERATION)
		validator_repeated(v, at->node->variables, "variable named '$");
	return true;
}

/* The last definition of that name. */
static const struct node *definition_of(const struct node *operation, const char *name)
{
	const struct node *found = NULL;

	for (const struct node *d = operation->variables; d; d = d->next) {
		if (strcmp(d->text, name) == 0)
			found = d;
	}
	return found;
}

bool rule_no_undefined_variables(struct validator *v, const struct frame *at)
{
	const struct node *operation = at->node;
	struct usage_list usages;

	if (operation->kind != NODE_OPERATION)
		return true;
	validator_usages(v, operation, &usages);
	for (const struct usage *u = usages.first; u; u = u->next) {
		const struct node *const places[] = { u->node, operation };

		if (definition_of(operation, u->node->text))
			continue;
		if (operation->name)
			faults_at_nodes(v->faults, places, 2,
					"Variable '$%s' is not defined by operation '%s'.",
					u->node->text, operation->text);
		else
			faults_at_nodes(v->faults, places, 2, "Variable '$%s' is not defined.",
					u->node->text);
	}
	return true;
}

static bool is_used(const struct usage_list *usages, const char *name)
{
	for (const struct usage *u = usages->first; u; u = u->next) {
		if (strcmp(u->node->text, name) == 0)
			return true;
	}
	return false;
}

bool rule_no_unused_variables(struct validator *v, const struct frame *at)
{
	const struct node *operation = at->node;
	struct usage_list usages;

	if (operation->kind != NODE_OPERATION)
		return true;
	validator_usages(v, operation, &usages);
	for (const struct node *d = operation->variables; d; d = d->next) {
		if (is_used(&usages, d->text))
			continue;
		if (operation->name)
			faults_at(v->faults, d, "Variable '$%s' is never used in operation '%s'.",
				  d->text, operation->text);
		else
			faults_at(v->faults, d, "Variable '$%s' is never used.", d->text);
	}
	return true;
}

static bool is_allowed(const struct type *type, const struct node *value, const struct usage *usage)
{
	bool never_null = value && value->kind != NODE_NULL;

	if (usage->type->kind == TYPE_NON_NULL && type->kind != TYPE_NON_NULL)
		return (never_null || usage->has_default) &&
		       types_is_subtype(type, usage->type->of);
	return types_is_subtype(type, usage->type);
}

static void check_usage(struct validator *v, const struct node *definition,
			const struct usage *usage)
{
	const struct type *type = types_of_node(v->types, v->arena, definition->type);
	const struct node *const places[] = { definition, usage->node };
	const struct type *outer = usage->outer;

	if (type && !is_allowed(type, definition->value, usage))
		faults_at_nodes(v->faults, places, 2,
				"Variable '$%s' of type '%s' used in position expecting type '%s'.",
				usage->node->text, type->text, usage->type->text);
	if (outer && outer->kind == TYPE_INPUT_OBJECT && outer->one_of && type &&
	    type->kind != TYPE_NON_NULL)
		faults_at_nodes(
			v->faults, places, 2,
			"Variable '$%s' is of type '%s' but must be non-nullable to be used for "
			"OneOf Input Object '%s'.",
			usage->node->text, type->text, outer->text);
}

void rule_variables_in_allowed_position(struct validator *v, const struct frame *at)
{
	struct usage_list usages;

	if (at->node->kind != NODE_OPERATION)
		return;
	validator_usages(v, at->node, &usages);
	for (const struct usage *u = usages.first; u; u = u->next) {
		const struct node *definition = definition_of(at->node, u->node->text);

		if (definition && u->type)
			check_usage(v, definition, u);
	}
}
