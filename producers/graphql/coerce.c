/* SPDX-License-Identifier: Apache-2.0 */
/* Taking values: the quick way, which says only whether it worked. */
#include "producers/graphql/coerce.h"

#include <string.h>

#include "producers/graphql/coerce_impl.h"

json_t *coerce_keep(const struct coercion *c, json_t *value)
{
	if (value)
		json_array_append_new(c->kept, value);
	return value;
}

json_t *coerce_default(const struct coercion *c, const struct input *input)
{
	struct coercion constant = *c;

	constant.variables = NULL;
	return input->value ? coerce_literal(&constant, input->value, input->type) : NULL;
}

static json_t *variable_of(const struct coercion *c, const struct node *node)
{
	return json_object_get(c->variables, node->text);
}

/* ---- literals */

static json_t *list_literal(const struct coercion *c, const struct node *node,
			    const struct type *type)
{
	json_t *list = coerce_keep(c, json_array());

	if (node->kind != NODE_LIST) {
		json_t *item = coerce_literal(c, node, type->of);
		return item && json_array_append(list, item) == 0 ? list : NULL;
	}
	for (const struct node *i = node->items; i; i = i->next) {
		json_t *item = coerce_literal(c, i, type->of);
		if (!item && i->kind == NODE_VARIABLE && type->of->kind != TYPE_NON_NULL)
			item = coerce_keep(c, json_null());
		if (!item)
			return NULL;
		json_array_append(list, item);
	}
	return list;
}

static const struct node *last_field(const struct node *object, const char *name)
{
	const struct node *found = NULL;

	for (const struct node *f = object->items; f; f = f->next) {
		if (strcmp(f->text, name) == 0)
			found = f;
	}
	return found;
}

/* The value of one field of an input object, or its default. False: Undefined, and so is all. */
static bool field_literal(const struct coercion *c, const struct node *field,
			  const struct input *input, json_t *object)
{
	json_t *value;

	if (!field || (field->value->kind == NODE_VARIABLE && !variable_of(c, field->value))) {
		if (types_is_required(input))
			return false;
		value = coerce_default(c, input);
		if (value)
			json_object_set_nocheck(object, input->name, value);
		return true;
	}
	value = coerce_literal(c, field->value, input->type);
	return value && json_object_set_nocheck(object, input->name, value) == 0;
}

static bool has_one(json_t *object, size_t given)
{
	void *entry = json_object_iter(object);

	return given == 1 && json_object_size(object) == 1 &&
	       !json_is_null(json_object_iter_value(entry));
}

static json_t *object_literal(const struct coercion *c, const struct node *node,
			      const struct type *type)
{
	json_t *object = coerce_keep(c, json_object());
	size_t given = 0;

	if (node->kind != NODE_OBJECT)
		return NULL;
	for (const struct node *f = node->items; f; f = f->next) {
		if (!types_input(type->inputs, type->input_count, f->text))
			return NULL;
		given += last_field(node, f->text) == f;
	}
	for (size_t i = 0; i < type->input_count; i++) {
		const struct input *input = &type->inputs[i];
		if (!field_literal(c, last_field(node, input->name), input, object))
			return NULL;
	}
	return !type->one_of || has_one(object, given) ? object : NULL;
}

json_t *coerce_literal(const struct coercion *c, const struct node *node, const struct type *type)
{
	const struct node *at;
	const char *why;
	json_t *value;

	if (node->kind == NODE_VARIABLE) {
		value = variable_of(c, node);
		return json_is_null(value) && type->kind == TYPE_NON_NULL ? NULL : value;
	}
	if (type->kind == TYPE_NON_NULL)
		return node->kind == NODE_NULL ? NULL : coerce_literal(c, node, type->of);
	if (node->kind == NODE_NULL)
		return coerce_keep(c, json_null());
	if (type->kind == TYPE_LIST)
		return list_literal(c, node, type);
	if (type->kind == TYPE_INPUT_OBJECT)
		return object_literal(c, node, type);
	return coerce_leaf_literal(c, node, type, &why, &at);
}

/* ---- JSON */

static json_t *list_value(const struct coercion *c, json_t *value, const struct type *type)
{
	json_t *list = coerce_keep(c, json_array());
	size_t count = json_is_array(value) ? json_array_size(value) : 1;

	for (size_t i = 0; i < count; i++) {
		json_t *item = json_is_array(value) ? json_array_get(value, i) : value;
		item = coerce_value(c, item, type->of);
		if (!item)
			return NULL;
		json_array_append(list, item);
	}
	return list;
}

static json_t *object_value(const struct coercion *c, json_t *value, const struct type *type)
{
	json_t *object = coerce_keep(c, json_object()), *member;
	const char *name;

	if (!json_is_object(value))
		return NULL;
	json_object_foreach(value, name, member)
	{
		if (!types_input(type->inputs, type->input_count, name))
			return NULL;
	}
	for (size_t i = 0; i < type->input_count; i++) {
		const struct input *input = &type->inputs[i];
		member = json_object_get(value, input->name);
		if (!member && types_is_required(input))
			return NULL;
		json_t *taken =
			member ? coerce_value(c, member, input->type) : coerce_default(c, input);
		if (member && !taken)
			return NULL;
		if (taken)
			json_object_set_nocheck(object, input->name, taken);
	}
	return !type->one_of || has_one(object, json_object_size(value)) ? object : NULL;
}

json_t *coerce_value(const struct coercion *c, json_t *value, const struct type *type)
{
	const char *why;

	if (type->kind == TYPE_NON_NULL)
		return json_is_null(value) ? NULL : coerce_value(c, value, type->of);
	if (json_is_null(value))
		return value;
	if (type->kind == TYPE_LIST)
		return list_value(c, value, type);
	if (type->kind == TYPE_INPUT_OBJECT)
		return object_value(c, value, type);
	return coerce_leaf_value(c, value, type, &why);
}
