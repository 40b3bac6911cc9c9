/* SPDX-License-Identifier: Apache-2.0 */
/* The variables of a request, and the arguments of its fields and directives. */
#include <string.h>

#include "producers/graphql/coerce_impl.h"
#include "producers/graphql/printer.h"

#define TOO_MANY "Too many errors processing variables, error limit reached. Execution aborted."

struct listener { /* turns complaints into faults of one variable or argument */
	const struct coercion *c;
	struct faults *faults;
	const struct node *node; /* where the fault is, when the complaint does not say */
	const char *what;        /* "Argument 'a' has invalid value" */
	bool first_only, heard;
};

static void hear(void *listener_, const struct node *node, const struct fault_path *path,
		 const char *message)
{
	struct listener *listener = listener_;
	struct faults *faults = listener->faults;

	if (listener->first_only && listener->heard)
		return;
	listener->heard = true;
	if (faults->max && faults->count == faults->max && !faults->aborted)
		faults_abort(faults, TOO_MANY);
	faults_at(faults, listener->first_only ? node : listener->node, "%s%s: %s", listener->what,
		  faults_path_text(listener->c->arena, path), message);
}

/* ---- arguments */

static bool take_argument(const struct coercion *c, const struct input *input,
			  const struct node *node, json_t *values, struct faults *faults)
{
	const struct node *argument = document_argument(node, input->name);
	struct listener listener = { .c = c, .faults = faults, .first_only = true };
	struct complaints complaints = { hear, &listener };
	json_t *value;

	if (!argument && types_is_required(input)) {
		faults_at(faults, node, "Argument '%s' of required type '%s' was not provided.",
			  input->name, input->type->text);
		return false;
	}
	if (!argument || (argument->value->kind == NODE_VARIABLE && !types_is_required(input) &&
			  !json_object_get(c->variables, argument->value->text))) {
		value = coerce_default(c, input);
		if (value)
			json_object_set_nocheck(values, input->name, value);
		return true;
	}
	value = coerce_literal(c, argument->value, input->type);
	if (value) {
		json_object_set_nocheck(values, input->name, value);
		return true;
	}
	listener.what = arena_printf(c->arena, "Argument '%s' has invalid value", input->name);
	coerce_check_literal(c, argument->value, input->type, &complaints);
	if (!listener.heard)
		faults_at(faults, argument->value, "Invalid argument");
	return false;
}

json_t *coerce_arguments(const struct coercion *c, const struct input *inputs, size_t count,
			 const struct node *node, struct faults *faults)
{
	json_t *values = coerce_keep(c, json_object());

	for (size_t i = 0; i < count; i++) {
		if (!take_argument(c, &inputs[i], node, values, faults))
			return NULL;
	}
	return values;
}

/* ---- variables */

static void take_default(const struct coercion *c, const struct node *definition,
			 const struct type *type, json_t *values, struct faults *faults)
{
	struct listener listener = {
		.c = c,
		.faults = faults,
		.node = definition,
		.what = arena_printf(c->arena, "Variable '$%s' has invalid default value",
				     definition->text),
	};
	struct complaints complaints = { hear, &listener };
	json_t *value = coerce_literal(c, definition->value, type);

	if (value)
		json_object_set_nocheck(values, definition->text, value);
	else
		coerce_check_literal(c, definition->value, type, &complaints);
}

static void take_given(const struct coercion *c, const struct node *definition,
		       const struct type *type, json_t *given, json_t *values,
		       struct faults *faults)
{
	struct listener listener = {
		.c = c,
		.faults = faults,
		.node = definition,
		.what = arena_printf(c->arena, "Variable '$%s' has invalid value",
				     definition->text),
	};
	struct complaints complaints = { hear, &listener };
	json_t *value = given ? coerce_value(c, given, type) : NULL;

	if (value)
		json_object_set_nocheck(values, definition->text, value);
	else
		coerce_check_value(c, given, type, &complaints);
}

json_t *coerce_variables(const struct coercion *c, const struct node *operation, json_t *given,
			 struct faults *faults)
{
	json_t *values = coerce_keep(c, json_object());

	for (const struct node *d = operation->variables; d; d = d->next) {
		const struct type *type = types_of_node(c->types, c->arena, d->type);
		json_t *value = json_object_get(given, d->text);

		if (!types_is_input(type)) {
			faults_at(faults, d->type,
				  "Variable '$%s' expected value of type '%s' which cannot be used "
				  "as an input type.",
				  d->text, printer_type(c->arena, d->type));
		} else if (!value && d->value) {
			take_default(c, d, type, values, faults);
		} else if (value || type->kind == TYPE_NON_NULL) {
			take_given(c, d, type, value, values, faults);
		}
	}
	return faults->count > 0 ? NULL : values;
}
