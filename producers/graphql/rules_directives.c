/* SPDX-License-Identifier: Apache-2.0 */
/* Rules about directives: section 5.7 of the specification. */
#include <ctype.h>
#include <string.h>

#include "producers/graphql/validator.h"

static const char *const locations[NODE_KINDS] = {
	[NODE_FIELD] = "FIELD",
	[NODE_FRAGMENT_SPREAD] = "FRAGMENT_SPREAD",
	[NODE_INLINE_FRAGMENT] = "INLINE_FRAGMENT",
	[NODE_FRAGMENT_DEFINITION] = "FRAGMENT_DEFINITION",
	[NODE_VARIABLE_DEFINITION] = "VARIABLE_DEFINITION",
	[NODE_SCHEMA_DEFINITION] = "SCHEMA",
	[NODE_SCALAR_DEFINITION] = "SCALAR",
	[NODE_OBJECT_DEFINITION] = "OBJECT",
	[NODE_FIELD_DEFINITION] = "FIELD_DEFINITION",
	[NODE_INTERFACE_DEFINITION] = "INTERFACE",
	[NODE_UNION_DEFINITION] = "UNION",
	[NODE_ENUM_DEFINITION] = "ENUM",
	[NODE_ENUM_VALUE_DEFINITION] = "ENUM_VALUE",
	[NODE_INPUT_OBJECT_DEFINITION] = "INPUT_OBJECT",
	[NODE_DIRECTIVE_DEFINITION] = "DIRECTIVE_DEFINITION",
};

static const char *location_of(const struct frame *at)
{
	static const char *const operations[] = { "QUERY", "MUTATION", "SUBSCRIPTION" };
	const struct node *node = at->node;

	if (node->kind == NODE_OPERATION)
		return operations[node->operation];
	if (node->kind == NODE_INPUT_VALUE_DEFINITION)
		return at->up->node->kind == NODE_INPUT_OBJECT_DEFINITION ? "INPUT_FIELD_DEFINITION"
									  : "ARGUMENT_DEFINITION";
	return locations[node->kind];
}

/* -1: there is no such directive. */
static int may_stand(struct validator *v, const char *name, const char *location)
{
	const struct node *here = document_directive_definition(v->document, name);
	const struct directive_type *type = types_directive(v->types, name);

	if (!here && !type)
		return -1;
	for (const struct node *l = here ? here->items : NULL; l; l = l->next) {
		if (strcmp(l->text, location) == 0)
			return 1;
	}
	for (size_t i = 0; !here && i < type->location_count; i++) {
		if (strcmp(type->locations[i], location) == 0)
			return 1;
	}
	return 0;
}

/* FIELD_DEFINITION is "field definition" in messages. */
static const char *location_words(struct validator *v, const char *location)
{
	char *words = arena_strdup(v->arena, location);

	for (char *at = words; *at; at++)
		*at = *at == '_' ? ' ' : (char)tolower((unsigned char)*at);
	return words;
}

bool rule_known_directives(struct validator *v, const struct frame *at)
{
	const struct node *node = at->node;
	const char *location;
	int verdict;

	if (node->kind != NODE_DIRECTIVE)
		return true;
	location = location_of(at->up);
	verdict = may_stand(v, node->text, location);
	if (verdict < 0)
		faults_at(v->faults, node, "Unknown directive '@%s'.", node->text);
	else if (verdict == 0)
		faults_at(v->faults, node, "Directive '@%s' may not be used on %s.", node->text,
			  location_words(v, location));
	return true;
}

static bool is_unique(struct validator *v, const char *name)
{
	const struct node *here = document_directive_definition(v->document, name);
	const struct directive_type *type = types_directive(v->types, name);

	return here ? !here->flag : type && !type->repeatable;
}

bool rule_unique_directives_per_location(struct validator *v, const struct frame *at)
{
	struct names seen = { 0 };

	for (const struct node *d = at->node->directives; d; d = d->next) {
		const struct node *before =
			is_unique(v, d->text) ? validator_seen(v, &seen, d) : NULL;
		const struct node *const places[] = { before, d };

		if (before)
			faults_at_nodes(
				v->faults, places, 2,
				"The directive '@%s' can only be used once at this location.",
				d->text);
	}
	return true;
}
