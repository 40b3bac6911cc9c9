/* SPDX-License-Identifier: Apache-2.0 */
/* Complaining about values: the thorough way, for those that the quick one refused, and for the
 * validation of documents, where variables have no value yet. */
#include <string.h>

#include "producers/graphql/coerce_impl.h"
#include "producers/graphql/printer.h"
#include "producers/graphql/show.h"
#include "producers/graphql/suggest.h"

static void complain(const struct coercion *c, const struct complaints *complaints,
		     const struct node *node, const struct fault_path *path, const char *fmt, ...)
	printf_like(5, 6);

static void complain(const struct coercion *c, const struct complaints *complaints,
		     const struct node *node, const struct fault_path *path, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	complaints->take(complaints->ctx, node, path, arena_vprintf(c->arena, fmt, args));
	va_end(args);
}

/* Paths outlive the walk: an error may keep them. */
static const struct fault_path *below(const struct coercion *c, const struct fault_path *up,
				      const char *key, size_t index)
{
	struct fault_path *path = ARENA_NEW(c->arena, struct fault_path);

	*path = (struct fault_path){ .up = up, .key = key, .index = index };
	return path;
}

const char *coerce_unknown_field(const struct coercion *c, const struct type *type,
				 const char *name, const char *shown)
{
	const char **names = arena_zalloc(c->arena, sizeof(*names) * (type->input_count + 1));
	const char *near = "";

	for (size_t i = 0; i < type->input_count; i++)
		names[i] = type->inputs[i].name;
	if (!c->hide_suggestions)
		near = suggest(c->arena, NULL, name, names, type->input_count);
	return arena_printf(
		c->arena,
		"Expected value of type '%s' not to include unknown field '%s'%s%s%s: %s.",
		type->text, name, *near ? "." : "", near, *near ? " Found" : ", found", shown);
}

const char *coerce_one_of_text(const struct coercion *c, const struct type *type)
{
	return arena_printf(c->arena,
			    "Within OneOf Input Object type '%s', exactly one field must be "
			    "specified, and the value for that field must be non-null.",
			    type->text);
}

/* ---- literals */

static void check_literal(const struct coercion *c, const struct node *node,
			  const struct type *type, const struct fault_path *path,
			  const struct complaints *complaints);

static void check_variable(const struct coercion *c, const struct node *node,
			   const struct type *type, const struct fault_path *path,
			   const struct complaints *complaints)
{
	json_t *value = json_object_get(c->variables, node->text);

	if (!c->variables || json_object_size(c->variables) == 0 || type->kind != TYPE_NON_NULL)
		return;
	if (!value)
		complain(
			c, complaints, node, path,
			"Expected variable '$%s' provided to type '%s' to provide a runtime value.",
			node->text, type->text);
	else if (json_is_null(value))
		complain(c, complaints, node, path,
			 "Expected variable '$%s' provided to non-null type '%s' not to be None.",
			 node->text, type->text);
}

static const struct node *field_of(const struct node *object, const char *name)
{
	const struct node *found = NULL;

	for (const struct node *f = object->items; f; f = f->next) {
		if (strcmp(f->text, name) == 0)
			found = f;
	}
	return found;
}

/* Nothing more is said of a variable of a field that may be left out. True: look at the value. */
static bool check_field_variable(const struct coercion *c, const struct node *object,
				 const struct node *value, const struct type *type,
				 const struct input *input, const struct fault_path *path,
				 const struct complaints *complaints)
{
	const json_t *given = json_object_get(c->variables, value->text);

	if (value->kind != NODE_VARIABLE || !c->variables || json_object_size(c->variables) == 0)
		return true;
	if (type->one_of && (!given || json_is_null(given)))
		complain(c, complaints, object, path,
			 "Expected variable '$%s' provided to field '%s' for OneOf Input Object "
			 "type '%s' %s.",
			 value->text, input->name, type->text,
			 given ? "not to be None" : "to provide a runtime value");
	return type->one_of || given || types_is_required(input);
}

static void check_one_of(const struct coercion *c, const struct node *node, const struct type *type,
			 const struct fault_path *path, const struct complaints *complaints)
{
	const struct node *known = NULL;
	size_t count = 0;

	for (const struct node *f = node->items; f; f = f->next) {
		if (!types_input(type->inputs, type->input_count, f->text))
			continue;
		if (!known)
			known = f;
		count++;
	}
	if (count != 1)
		complain(c, complaints, node, path, "%s", coerce_one_of_text(c, type));
	else if (known->value->kind == NODE_NULL)
		complain(c, complaints, node, below(c, path, known->text, 0), "%s",
			 coerce_one_of_text(c, type));
}

static void check_object_literal(const struct coercion *c, const struct node *node,
				 const struct type *type, const struct fault_path *path,
				 const struct complaints *complaints)
{
	if (node->kind != NODE_OBJECT) {
		complain(c, complaints, node, path,
			 "Expected value of type '%s' to be an object, found: %s.", type->text,
			 printer_value(c->arena, node));
		return;
	}
	for (size_t i = 0; i < type->input_count; i++) {
		const struct input *input = &type->inputs[i];
		const struct node *field = field_of(node, input->name);

		if (field &&
		    check_field_variable(c, node, field->value, type, input, path, complaints))
			check_literal(c, field->value, input->type, below(c, path, input->name, 0),
				      complaints);
		else if (!field && types_is_required(input))
			complain(c, complaints, node, path,
				 "Expected value of type '%s' to include required field '%s', "
				 "found: %s.",
				 type->text, input->name, printer_value(c->arena, node));
	}
	for (const struct node *f = node->items; f; f = f->next) {
		if (!types_input(type->inputs, type->input_count, f->text))
			complain(c, complaints, f, path, "%s",
				 coerce_unknown_field(c, type, f->text,
						      printer_value(c->arena, node)));
	}
	if (type->one_of)
		check_one_of(c, node, type, path, complaints);
}

static void check_literal(const struct coercion *c, const struct node *node,
			  const struct type *type, const struct fault_path *path,
			  const struct complaints *complaints)
{
	const struct node *at;
	const char *why;
	size_t index = 0;

	if (node->kind == NODE_VARIABLE) {
		check_variable(c, node, type, path, complaints);
	} else if (type->kind == TYPE_NON_NULL) {
		if (node->kind == NODE_NULL)
			complain(c, complaints, node, path,
				 "Expected value of non-null type '%s' not to be None.",
				 type->text);
		else
			check_literal(c, node, type->of, path, complaints);
	} else if (node->kind == NODE_NULL) {
		return;
	} else if (type->kind == TYPE_LIST && node->kind != NODE_LIST) {
		check_literal(c, node, type->of, path, complaints);
	} else if (type->kind == TYPE_LIST) {
		for (const struct node *i = node->items; i; i = i->next)
			check_literal(c, i, type->of, below(c, path, NULL, index++), complaints);
	} else if (type->kind == TYPE_INPUT_OBJECT) {
		check_object_literal(c, node, type, path, complaints);
	} else if (!coerce_leaf_literal(c, node, type, &why, &at)) {
		complaints->take(complaints->ctx, at, path, why);
	}
}

void coerce_check_literal(const struct coercion *c, const struct node *node,
			  const struct type *type, const struct complaints *complaints)
{
	check_literal(c, node, type, NULL, complaints);
}

/* ---- JSON */

static void check_value(const struct coercion *c, const json_t *value, const struct type *type,
			const struct fault_path *path, const struct complaints *complaints);

static void check_one_of_value(const struct coercion *c, const json_t *value,
			       const struct type *type, const struct fault_path *path,
			       const struct complaints *complaints)
{
	const char *name, *known = NULL;
	json_t *member, *first = NULL;
	size_t count = 0;

	json_object_foreach((json_t *)value, name, member)
	{
		if (!types_input(type->inputs, type->input_count, name))
			continue;
		if (count++ == 0) {
			known = name;
			first = member;
		}
	}
	if (count != 1)
		complain(c, complaints, NULL, path, "%s", coerce_one_of_text(c, type));
	if (first && json_is_null(first))
		complain(c, complaints, NULL, below(c, path, known, 0), "%s",
			 coerce_one_of_text(c, type));
}

static void check_object_value(const struct coercion *c, const json_t *value,
			       const struct type *type, const struct fault_path *path,
			       const struct complaints *complaints)
{
	const char *name, *shown = show_value(c->arena, value);
	json_t *member;

	if (!json_is_object(value)) {
		complain(c, complaints, NULL, path,
			 "Expected value of type '%s' to be an object, found: %s.", type->text,
			 shown);
		return;
	}
	for (size_t i = 0; i < type->input_count; i++) {
		const struct input *input = &type->inputs[i];

		member = json_object_get(value, input->name);
		if (member)
			check_value(c, member, input->type, below(c, path, input->name, 0),
				    complaints);
		else if (types_is_required(input))
			complain(c, complaints, NULL, path,
				 "Expected value of type '%s' to include required field '%s', "
				 "found: %s.",
				 type->text, input->name, shown);
	}
	json_object_foreach((json_t *)value, name, member)
	{
		if (!types_input(type->inputs, type->input_count, name))
			complain(c, complaints, NULL, path, "%s",
				 coerce_unknown_field(c, type, name, shown));
	}
	if (type->one_of)
		check_one_of_value(c, value, type, path, complaints);
}

static void check_value(const struct coercion *c, const json_t *value, const struct type *type,
			const struct fault_path *path, const struct complaints *complaints)
{
	const char *why;

	if (type->kind == TYPE_NON_NULL && !value)
		complain(c, complaints, NULL, path,
			 "Expected a value of non-null type '%s' to be provided.", type->text);
	else if (type->kind == TYPE_NON_NULL && json_is_null(value))
		complain(c, complaints, NULL, path,
			 "Expected value of non-null type '%s' not to be None.", type->text);
	else if (type->kind == TYPE_NON_NULL)
		check_value(c, value, type->of, path, complaints);
	else if (!value || json_is_null(value))
		return;
	else if (type->kind == TYPE_LIST && !json_is_array(value))
		check_value(c, value, type->of, path, complaints);
	else if (type->kind == TYPE_LIST)
		for (size_t i = 0; i < json_array_size(value); i++)
			check_value(c, json_array_get(value, i), type->of, below(c, path, NULL, i),
				    complaints);
	else if (type->kind == TYPE_INPUT_OBJECT)
		check_object_value(c, value, type, path, complaints);
	else if (!coerce_leaf_value(c, value, type, &why))
		complaints->take(complaints->ctx, NULL, path, why);
}

void coerce_check_value(const struct coercion *c, const json_t *value, const struct type *type,
			const struct complaints *complaints)
{
	check_value(c, value, type, NULL, complaints);
}
