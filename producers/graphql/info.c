/* SPDX-License-Identifier: Apache-2.0 */
/* Which types a place in the document has: of the field, of the object around it, of the value. */
#include "producers/graphql/validator.h"

static void push(const struct type **stack, size_t *count, const struct type *type)
{
	CHECK(*count < INFO_STACK);
	stack[(*count)++] = type;
}

static void push_output(struct info *info, const struct type *type)
{
	push(info->output, &info->output_count, types_is_output(type) ? type : NULL);
}

static void push_input(struct info *info, const struct type *type)
{
	push(info->input, &info->input_count, types_is_input(type) ? type : NULL);
}

static void push_default(struct info *info, bool has_default)
{
	CHECK(info->default_count < INFO_STACK);
	info->has_default[info->default_count++] = has_default;
}

const struct type *info_output(const struct info *info)
{
	return info->output_count ? info->output[info->output_count - 1] : NULL;
}

const struct type *info_parent(const struct info *info)
{
	return info->parent_count ? info->parent[info->parent_count - 1] : NULL;
}

const struct type *info_input(const struct info *info)
{
	return info->input_count ? info->input[info->input_count - 1] : NULL;
}

const struct type *info_outer_input(const struct info *info)
{
	return info->input_count > 1 ? info->input[info->input_count - 2] : NULL;
}

const struct field *info_field(const struct info *info)
{
	return info->field_count ? info->field[info->field_count - 1] : NULL;
}

static void enter_field(struct info *info, const struct node *node)
{
	const struct type *parent = info_parent(info);
	const struct field *field = parent ? types_field(info->types, parent, node->text) : NULL;

	CHECK(info->field_count < INFO_STACK);
	info->field[info->field_count++] = field;
	push_output(info, field ? field->type : NULL);
}

static void enter_argument(struct info *info, const struct node *node)
{
	const struct field *field = info_field(info);
	const struct input *input = NULL;

	if (info->directive)
		input = types_input(info->directive->args, info->directive->arg_count, node->text);
	else if (field)
		input = types_input(field->args, field->arg_count, node->text);
	info->argument = input;
	push_default(info, input && input->value);
	push_input(info, input ? input->type : NULL);
}

static void enter_list(struct info *info)
{
	const struct type *list = types_nullable(info_input(info));

	push_default(info, false);
	push_input(info, list && list->kind == TYPE_LIST ? list->of : NULL);
}

static void enter_object_field(struct info *info, const struct node *node)
{
	const struct type *object = types_named(info_input(info));
	const struct input *input = NULL;

	if (object && object->kind == TYPE_INPUT_OBJECT)
		input = types_input(object->inputs, object->input_count, node->text);
	push_default(info, input && input->value);
	push_input(info, input ? input->type : NULL);
}

void info_enter(struct info *info, const struct node *node)
{
	const struct type *type;

	switch (node->kind) {
	case NODE_SELECTION_SET:
		type = types_named(info_output(info));
		push(info->parent, &info->parent_count, types_is_composite(type) ? type : NULL);
		break;
	case NODE_FIELD:
		enter_field(info, node);
		break;
	case NODE_DIRECTIVE:
		info->directive = types_directive(info->types, node->text);
		break;
	case NODE_OPERATION:
		push_output(info, info->types->roots[node->operation]);
		break;
	case NODE_INLINE_FRAGMENT:
	case NODE_FRAGMENT_DEFINITION:
		push_output(info, node->type ? types_find(info->types, node->type->text)
					     : types_named(info_output(info)));
		break;
	case NODE_VARIABLE_DEFINITION:
		push_input(info, types_of_node(info->types, info->arena, node->type));
		break;
	case NODE_ARGUMENT:
		enter_argument(info, node);
		break;
	case NODE_LIST:
		enter_list(info);
		break;
	case NODE_OBJECT_FIELD:
		enter_object_field(info, node);
		break;
	default:
		break;
	}
}

void info_leave(struct info *info, const struct node *node)
{
	switch (node->kind) {
	case NODE_SELECTION_SET:
		info->parent_count--;
		break;
	case NODE_FIELD:
		info->field_count--;
		info->output_count--;
		break;
	case NODE_DIRECTIVE:
		info->directive = NULL;
		break;
	case NODE_OPERATION:
	case NODE_INLINE_FRAGMENT:
	case NODE_FRAGMENT_DEFINITION:
		info->output_count--;
		break;
	case NODE_VARIABLE_DEFINITION:
		info->input_count--;
		break;
	case NODE_ARGUMENT:
		info->argument = NULL;
		/* fall through */
	case NODE_LIST:
	case NODE_OBJECT_FIELD:
		info->default_count--;
		info->input_count--;
		break;
	default:
		break;
	}
}
