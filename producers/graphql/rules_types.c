/* SPDX-License-Identifier: Apache-2.0 */
/* Rules about the types that a document names, and the fields that it asks of them. */
#include <stdlib.h>
#include <string.h>

#include "producers/graphql/printer.h"
#include "producers/graphql/suggest.h"
#include "producers/graphql/validator.h"

static bool is_definition(const struct node *node)
{
	return document_is_sdl(node) && !node->flag && node->name &&
	       node->kind != NODE_DIRECTIVE_DEFINITION;
}

static bool defines(const struct node *document, const char *name)
{
	for (const struct node *d = document->items; d; d = d->next) {
		if (is_definition(d) && strcmp(d->text, name) == 0)
			return true;
	}
	return false;
}

static const char *near_types(struct validator *v, const char *name)
{
	size_t count = v->types->count;
	const char **names;

	if (v->options->hide_suggestions)
		return "";
	for (const struct node *d = v->document->items; d; d = d->next)
		count += is_definition(d);
	names = arena_zalloc(v->arena, sizeof(*names) * (count + 1));
	count = 0;
	for (size_t i = 0; i < v->types->count; i++)
		names[count++] = v->types->list[i]->name;
	for (const struct node *d = v->document->items; d; d = d->next) {
		if (is_definition(d) && !types_find(v->types, d->text))
			names[count++] = d->text;
	}
	return suggest(v->arena, NULL, name, names, count);
}

static bool is_inside_sdl(const struct frame *at)
{
	while (at->up && at->up->up)
		at = at->up;
	return document_is_sdl(at->node);
}

bool rule_known_type_names(struct validator *v, const struct frame *at)
{
	static const char *const scalars[] = { "String", "Int", "Float", "Boolean", "ID" };
	const char *name = at->node->text;

	if (at->node->kind != NODE_NAMED_TYPE || types_find(v->types, name) ||
	    defines(v->document, name))
		return true;
	for (size_t i = 0; i < ARRAY_LEN(scalars) && is_inside_sdl(at); i++) {
		if (strcmp(scalars[i], name) == 0)
			return true;
	}
	faults_at(v->faults, at->node, "Unknown type '%s'.%s", name, near_types(v, name));
	return true;
}

bool rule_fragments_on_composite_types(struct validator *v, const struct frame *at)
{
	const struct node *node = at->node;
	const struct type *type;

	if ((node->kind != NODE_INLINE_FRAGMENT && node->kind != NODE_FRAGMENT_DEFINITION) ||
	    !node->type)
		return true;
	type = types_find(v->types, node->type->text);
	if (!type || types_is_composite(type))
		return true;
	if (node->kind == NODE_INLINE_FRAGMENT)
		faults_at(v->faults, node->type,
			  "Fragment cannot condition on non composite type '%s'.",
			  node->type->text);
	else
		faults_at(v->faults, node->type,
			  "Fragment '%s' cannot condition on non composite type '%s'.", node->text,
			  node->type->text);
	return true;
}

bool rule_variables_are_input_types(struct validator *v, const struct frame *at)
{
	const struct node *node = at->node;
	const struct type *type;

	if (node->kind != NODE_VARIABLE_DEFINITION)
		return true;
	type = types_of_node(v->types, v->arena, node->type);
	if (type && !types_is_input(type))
		faults_at(v->faults, node->type, "Variable '$%s' cannot be non-input type '%s'.",
			  node->text, printer_type(v->arena, node->type));
	return true;
}

bool rule_scalar_leafs(struct validator *v, const struct frame *at)
{
	const struct node *node = at->node;
	const struct type *type = info_output(&v->info);

	if (node->kind != NODE_FIELD || !type)
		return true;
	if (types_is_leaf(types_named(type)) && node->selection_set)
		faults_at(v->faults, node->selection_set,
			  "Field '%s' must not have a selection since type '%s' has no subfields.",
			  node->text, type->text);
	else if (!types_is_leaf(types_named(type)) && !node->selection_set)
		faults_at(v->faults, node,
			  "Field '%s' of type '%s' must have a selection of subfields. Did you "
			  "mean '%s { ... }'?",
			  node->text, type->text, node->text);
	return true;
}

/* ---- fields */

struct candidate {
	const struct type *type;
	size_t uses;
};

static void use(struct candidate *found, size_t *count, const struct type *type)
{
	size_t i = 0;

	while (i < *count && found[i].type != type)
		i++;
	if (i == *count)
		found[(*count)++] = (struct candidate){ .type = type };
	found[i].uses++;
}

static bool has_field(const struct type *type, const char *name)
{
	for (size_t i = 0; i < type->field_count; i++) {
		if (strcmp(type->fields[i].name, name) == 0)
			return true;
	}
	return false;
}

static int candidate_order(const void *a_, const void *b_)
{
	const struct candidate *a = a_, *b = b_;

	if (a->uses != b->uses)
		return a->uses > b->uses ? -1 : 1;
	if (a->type->kind == TYPE_INTERFACE && types_stands_for(a->type, b->type))
		return -1;
	if (b->type->kind == TYPE_INTERFACE && types_stands_for(b->type, a->type))
		return 1;
	return strcmp(a->type->name, b->type->name);
}

/* Types below an abstract one that have the field. */
static const char *near_parents(struct validator *v, const struct type *type, const char *name)
{
	struct candidate *found = ARENA_ARRAY(v->arena, struct candidate, v->types->count + 1);
	const char **names = arena_zalloc(v->arena, sizeof(*names) * (v->types->count + 1));
	size_t count = 0;

	for (size_t i = 0; types_is_abstract(type) && i < type->possible_count; i++) {
		const struct type *object = type->possible[i];

		if (!has_field(object, name))
			continue;
		use(found, &count, object);
		for (size_t j = 0; j < object->interface_count; j++) {
			if (has_field(object->interfaces[j], name))
				use(found, &count, object->interfaces[j]);
		}
	}
	qsort(found, count, sizeof(*found), candidate_order);
	for (size_t i = 0; i < count; i++)
		names[i] = found[i].type->name;
	return suggest_text(v->arena, "to use an inline fragment on", names, count);
}

static const char *near_fields(struct validator *v, const struct type *type, const char *name)
{
	const char **names = arena_zalloc(v->arena, sizeof(*names) * (type->field_count + 1));

	for (size_t i = 0; i < type->field_count; i++)
		names[i] = type->fields[i].name;
	return suggest(v->arena, NULL, name, names, type->field_count);
}

bool rule_fields_on_correct_type(struct validator *v, const struct frame *at)
{
	const struct type *parent = info_parent(&v->info);
	const char *name = at->node->text, *near = "";

	if (at->node->kind != NODE_FIELD || !parent || info_field(&v->info))
		return true;
	if (!v->options->hide_suggestions)
		near = near_parents(v, parent, name);
	if (!v->options->hide_suggestions && !*near)
		near = near_fields(v, parent, name);
	faults_at(v->faults, at->node, "Cannot query field '%s' on type '%s'.%s", name,
		  parent->text, near);
	return true;
}
