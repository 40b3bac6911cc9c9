/* SPDX-License-Identifier: Apache-2.0 */
/* Rules about arguments and values: sections 5.4 and 5.6 of the specification. */
#include <string.h>

#include "producers/graphql/suggest.h"
#include "producers/graphql/validator.h"

static const char *near_inputs(struct validator *v, const char *name, const struct input *inputs,
			       size_t count)
{
	const char **names = arena_zalloc(v->arena, sizeof(*names) * (count + 1));

	if (v->options->hide_suggestions)
		return "";
	for (size_t i = 0; i < count; i++)
		names[i] = inputs[i].name;
	return suggest(v->arena, NULL, name, names, count);
}

/* What a directive takes: by the document's own definition, should it have one, or the type
 * system's. False: there is no such directive. */
static bool inputs_of_directive(struct validator *v, const char *name, struct input **inputs_r,
				size_t *count_r)
{
	const struct node *here = document_directive_definition(v->document, name);
	const struct directive_type *type = types_directive(v->types, name);
	size_t count = 0;

	*inputs_r = type ? type->args : NULL;
	*count_r = type ? type->arg_count : 0;
	if (!here)
		return type != NULL;
	for (const struct node *a = here->arguments; a; a = a->next)
		count++;
	*inputs_r = ARENA_ARRAY(v->arena, struct input, count + 1);
	*count_r = 0;
	for (const struct node *a = here->arguments; a; a = a->next)
		(*inputs_r)[(*count_r)++].name = a->text;
	return true;
}

static void check_directive_arguments(struct validator *v, const struct node *node)
{
	struct input *inputs;
	size_t count;

	if (!inputs_of_directive(v, node->text, &inputs, &count))
		return;
	for (const struct node *a = node->arguments; a; a = a->next) {
		if (!types_input(inputs, count, a->text))
			faults_at(v->faults, a, "Unknown argument '%s' on directive '@%s'.%s",
				  a->text, node->text, near_inputs(v, a->text, inputs, count));
	}
}

bool rule_known_argument_names(struct validator *v, const struct frame *at)
{
	const struct field *field = info_field(&v->info);
	const struct type *parent = info_parent(&v->info);
	const struct node *node = at->node;

	if (node->kind == NODE_DIRECTIVE) {
		check_directive_arguments(v, node);
		return false;
	}
	if (node->kind == NODE_ARGUMENT && !v->info.argument && field && parent)
		faults_at(v->faults, node, "Unknown argument '%s' on field '%s.%s'.%s", node->text,
			  parent->text, at->up->node->text,
			  near_inputs(v, node->text, field->args, field->arg_count));
	return true;
}

bool rule_unique_argument_names(struct validator *v, const struct frame *at)
{
	if (at->node->kind == NODE_FIELD || at->node->kind == NODE_DIRECTIVE)
		validator_repeated(v, at->node->arguments, "argument named '");
	return true;
}

static void hear(void *v_, const struct node *node, const struct fault_path *path,
		 const char *message)
{
	struct validator *v = v_;

	(void)path;
	faults_at(v->faults, node, "%s", message);
}

bool rule_values_of_correct_type(struct validator *v, const struct frame *at)
{
	const struct complaints complaints = { hear, v };
	const struct type *type = info_input(&v->info);

	if (!document_is_value(at->node) || at->node->kind == NODE_VARIABLE)
		return true;
	if (at->node->kind == NODE_LIST)
		type = info_outer_input(&v->info);
	if (type)
		coerce_check_literal(&v->coercion, at->node, type, &complaints);
	return false;
}

/* ---- what must be there */

static void check_required_of_directive(struct validator *v, const struct node *node)
{
	const struct directive_type *type = types_directive(v->types, node->text);

	for (size_t i = 0; type && i < type->arg_count; i++) {
		const struct input *arg = &type->args[i];

		if (types_is_required(arg) && !document_argument(node, arg->name))
			faults_at(v->faults, node,
				  "Argument '@%s(%s:)' of type '%s' is required, but it was not "
				  "provided.",
				  node->text, arg->name, arg->type->text);
	}
}

static const char *parent_text(struct validator *v)
{
	const struct type *type = types_named(info_output(&v->info));
	const struct type *parent = info_parent(&v->info);

	if (type && strncmp(type->text, "__", 2) == 0)
		return "<meta>.";
	return parent ? arena_printf(v->arena, "%s.", parent->text) : "";
}

static void check_required_of_field(struct validator *v, const struct node *node)
{
	const struct field *field = info_field(&v->info);

	for (size_t i = 0; field && i < field->arg_count; i++) {
		const struct input *arg = &field->args[i];

		if (types_is_required(arg) && !document_argument(node, arg->name))
			faults_at(v->faults, node,
				  "Argument '%s%s(%s:)' of type '%s' is required, but it was not "
				  "provided.",
				  parent_text(v), node->text, arg->name, arg->type->text);
	}
}

void rule_provided_required_arguments(struct validator *v, const struct frame *at)
{
	if (at->node->kind == NODE_DIRECTIVE)
		check_required_of_directive(v, at->node);
	else if (at->node->kind == NODE_FIELD)
		check_required_of_field(v, at->node);
}

/* ---- input objects */

bool rule_unique_input_field_names(struct validator *v, const struct frame *at)
{
	const struct node *node = at->node;

	if (node->kind != NODE_OBJECT_FIELD)
		return true;
	for (const struct node *f = at->up->node->items; f != node; f = f->next) {
		if (strcmp(f->text, node->text) == 0) {
			const struct node *const places[] = { f->name, node->name };
			faults_at_nodes(v->faults, places, 2,
					"There can be only one input field named '%s'.",
					node->text);
			break;
		}
	}
	return true;
}
