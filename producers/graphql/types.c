/* SPDX-License-Identifier: Apache-2.0 */
/* Asking a type system. Pure; types_build.c makes it. */
#include "producers/graphql/types.h"

#include <string.h>

struct type *types_find(const struct types *types, const char *name)
{
	for (size_t i = 0; i < types->count; i++) {
		if (strcmp(types->list[i]->name, name) == 0)
			return types->list[i];
	}
	return NULL;
}

const struct directive_type *types_directive(const struct types *types, const char *name)
{
	for (size_t i = 0; i < types->directive_count; i++) {
		if (strcmp(types->directives[i].name, name) == 0)
			return &types->directives[i];
	}
	return NULL;
}

const struct field *types_field(const struct types *types, const struct type *parent,
				const char *name)
{
	bool query = parent == types->roots[OPERATION_QUERY];

	if (query && strcmp(name, "__schema") == 0)
		return &types->schema_field;
	if (query && strcmp(name, "__type") == 0)
		return &types->type_field;
	if (strcmp(name, "__typename") == 0)
		return &types->typename_field;
	for (size_t i = 0; i < parent->field_count; i++) {
		if (strcmp(parent->fields[i].name, name) == 0)
			return &parent->fields[i];
	}
	return NULL;
}

const struct input *types_input(const struct input *inputs, size_t count, const char *name)
{
	for (size_t i = 0; i < count; i++) {
		if (strcmp(inputs[i].name, name) == 0)
			return &inputs[i];
	}
	return NULL;
}

const struct type *types_of_node(const struct types *types, struct arena *arena,
				 const struct node *node)
{
	const struct type *of;
	struct type *type;

	if (node->kind == NODE_NAMED_TYPE)
		return types_find(types, node->text);
	of = types_of_node(types, arena, node->type);
	if (!of)
		return NULL;
	type = ARENA_NEW(arena, struct type);
	type->kind = node->kind == NODE_LIST_TYPE ? TYPE_LIST : TYPE_NON_NULL;
	type->of = of;
	type->text = arena_printf(arena, type->kind == TYPE_LIST ? "[%s]" : "%s!", of->text);
	return type;
}

const struct type *types_named(const struct type *type)
{
	while (type && type->of)
		type = type->of;
	return type;
}

const struct type *types_nullable(const struct type *type)
{
	return type && type->kind == TYPE_NON_NULL ? type->of : type;
}

bool types_is_input(const struct type *type)
{
	const struct type *named = types_named(type);

	return named && (named->kind == TYPE_SCALAR || named->kind == TYPE_ENUM ||
			 named->kind == TYPE_INPUT_OBJECT);
}

bool types_is_output(const struct type *type)
{
	const struct type *named = types_named(type);

	return named && named->kind != TYPE_INPUT_OBJECT;
}

bool types_is_leaf(const struct type *type)
{
	return type && (type->kind == TYPE_SCALAR || type->kind == TYPE_ENUM);
}

bool types_is_composite(const struct type *type)
{
	return type && (type->kind == TYPE_OBJECT || types_is_abstract(type));
}

bool types_is_abstract(const struct type *type)
{
	return type && (type->kind == TYPE_INTERFACE || type->kind == TYPE_UNION);
}

bool types_is_required(const struct input *input)
{
	return input->type->kind == TYPE_NON_NULL && !input->value;
}

bool types_same(const struct type *a, const struct type *b)
{
	while (a != b && a && b && a->of && a->kind == b->kind) {
		a = a->of;
		b = b->of;
	}
	return a == b;
}

static bool has_type(const struct type *const *list, size_t count, const struct type *type)
{
	for (size_t i = 0; i < count; i++) {
		if (list[i] == type)
			return true;
	}
	return false;
}

bool types_stands_for(const struct type *abstract, const struct type *type)
{
	return has_type(abstract->possible, abstract->possible_count, type) ||
	       has_type(type->interfaces, type->interface_count, abstract);
}

bool types_is_subtype(const struct type *type, const struct type *super)
{
	for (;;) {
		if (type == super)
			return true;
		if (super->kind == TYPE_NON_NULL) {
			if (type->kind != TYPE_NON_NULL)
				return false;
			super = super->of;
		} else if (super->kind == TYPE_LIST && type->kind == TYPE_LIST) {
			super = super->of;
		} else if (type->kind != TYPE_NON_NULL) {
			break;
		}
		type = type->of;
	}
	return types_is_abstract(super) && types_is_composite(type) &&
	       types_stands_for(super, type);
}

bool types_overlap(const struct type *a, const struct type *b)
{
	if (a == b)
		return true;
	if (types_is_abstract(a) && types_is_abstract(b)) {
		for (size_t i = 0; i < a->possible_count; i++) {
			if (types_stands_for(b, a->possible[i]))
				return true;
		}
		return false;
	}
	if (types_is_abstract(a))
		return types_stands_for(a, b);
	return types_is_abstract(b) && types_stands_for(b, a);
}
