/* SPDX-License-Identifier: Apache-2.0 */
/* The type system as its own types show it. Pure. */
#include "producers/graphql/introspect.h"

#include <string.h>

#include "producers/graphql/printer.h"

struct listing {
	struct arena *arena;
	struct found *items;
	size_t count;
};

static struct found text(const char *words)
{
	return (struct found){ .kind = words ? FOUND_TEXT : FOUND_NULL, .what = words };
}

static struct found flag(bool yes)
{
	return (struct found){ .kind = FOUND_BOOL, .yes = yes };
}

static struct found part(enum found_kind kind, const void *what)
{
	return (struct found){ .kind = what ? kind : FOUND_NULL, .what = what };
}

static struct listing listing(struct arena *arena, size_t room)
{
	return (struct listing){ arena, ARENA_ARRAY(arena, struct found, room + 1), 0 };
}

static void add(struct listing *list, enum found_kind kind, const void *what)
{
	list->items[list->count++] = part(kind, what);
}

static struct found listed(const struct listing *list)
{
	return (struct found){ .kind = FOUND_LIST, .items = list->items, .count = list->count };
}

static struct found type_list(struct arena *arena, const struct type *const *types, size_t count)
{
	struct listing list = listing(arena, count);

	for (size_t i = 0; i < count; i++)
		add(&list, FOUND_TYPE, types[i]);
	return listed(&list);
}

/* Deprecated ones only when they are asked for. */
static struct found input_list(struct arena *arena, const struct input *inputs, size_t count,
			       bool all)
{
	struct listing list = listing(arena, count);

	for (size_t i = 0; i < count; i++) {
		if (all || !inputs[i].deprecated)
			add(&list, FOUND_INPUT, &inputs[i]);
	}
	return listed(&list);
}

static struct found field_list(struct arena *arena, const struct type *type, bool all)
{
	struct listing list = listing(arena, type->field_count);

	if (type->kind != TYPE_OBJECT && type->kind != TYPE_INTERFACE)
		return part(FOUND_NULL, NULL);
	for (size_t i = 0; i < type->field_count; i++) {
		if (all || !type->fields[i].deprecated)
			add(&list, FOUND_FIELD, &type->fields[i]);
	}
	return listed(&list);
}

static struct found value_list(struct arena *arena, const struct type *type, bool all)
{
	struct listing list = listing(arena, type->value_count);

	if (type->kind != TYPE_ENUM)
		return part(FOUND_NULL, NULL);
	for (size_t i = 0; i < type->value_count; i++) {
		if (all || !type->values[i].deprecated)
			add(&list, FOUND_ENUM_VALUE, &type->values[i]);
	}
	return listed(&list);
}

/* ---- by type */

static struct found schema_field(const struct types *types, struct arena *arena, const char *name)
{
	struct listing list = listing(arena, types->directive_count);

	if (strcmp(name, "description") == 0)
		return text(types->description);
	if (strcmp(name, "types") == 0)
		return type_list(arena, (const struct type *const *)types->list, types->count);
	if (strcmp(name, "queryType") == 0)
		return part(FOUND_TYPE, types->roots[OPERATION_QUERY]);
	if (strcmp(name, "mutationType") == 0)
		return part(FOUND_TYPE, types->roots[OPERATION_MUTATION]);
	if (strcmp(name, "subscriptionType") == 0)
		return part(FOUND_TYPE, types->roots[OPERATION_SUBSCRIPTION]);
	for (size_t i = 0; i < types->directive_count; i++)
		add(&list, FOUND_DIRECTIVE, &types->directives[i]);
	return listed(&list);
}

static const char *kind_text(const struct type *type)
{
	static const char *const texts[] = {
		[TYPE_SCALAR] = "SCALAR",       [TYPE_OBJECT] = "OBJECT",
		[TYPE_INTERFACE] = "INTERFACE", [TYPE_UNION] = "UNION",
		[TYPE_ENUM] = "ENUM",           [TYPE_INPUT_OBJECT] = "INPUT_OBJECT",
		[TYPE_LIST] = "LIST",           [TYPE_NON_NULL] = "NON_NULL",
	};

	return texts[type->kind];
}

static struct found type_field(struct arena *arena, const struct type *type, const char *name,
			       bool all)
{
	if (strcmp(name, "kind") == 0)
		return text(kind_text(type));
	if (strcmp(name, "name") == 0)
		return text(type->name);
	if (strcmp(name, "description") == 0)
		return text(type->description);
	if (strcmp(name, "specifiedByURL") == 0)
		return text(type->specified_by);
	if (strcmp(name, "ofType") == 0)
		return part(FOUND_TYPE, type->of);
	if (strcmp(name, "fields") == 0)
		return field_list(arena, type, all);
	if (strcmp(name, "enumValues") == 0)
		return value_list(arena, type, all);
	if (strcmp(name, "inputFields") == 0 && type->kind == TYPE_INPUT_OBJECT)
		return input_list(arena, type->inputs, type->input_count, all);
	if (strcmp(name, "interfaces") == 0 &&
	    (type->kind == TYPE_OBJECT || type->kind == TYPE_INTERFACE))
		return type_list(arena, type->interfaces, type->interface_count);
	if (strcmp(name, "possibleTypes") == 0 && types_is_abstract(type))
		return type_list(arena, type->possible, type->possible_count);
	if (strcmp(name, "isOneOf") == 0 && type->kind == TYPE_INPUT_OBJECT)
		return flag(type->one_of);
	return part(FOUND_NULL, NULL);
}

/* What fields, inputs and enum values have in common. */
static struct found common_field(const char *of_name, const char *description,
				 const char *deprecated, const char *name)
{
	if (strcmp(name, "name") == 0)
		return text(of_name);
	if (strcmp(name, "description") == 0)
		return text(description);
	if (strcmp(name, "isDeprecated") == 0)
		return flag(deprecated != NULL);
	return text(deprecated);
}

static struct found field_field(struct arena *arena, const struct field *field, const char *name,
				bool all)
{
	if (strcmp(name, "type") == 0)
		return part(FOUND_TYPE, field->type);
	if (strcmp(name, "args") == 0)
		return input_list(arena, field->args, field->arg_count, all);
	return common_field(field->name, field->description, field->deprecated, name);
}

static struct found input_field(struct arena *arena, const struct input *input, const char *name)
{
	if (strcmp(name, "type") == 0)
		return part(FOUND_TYPE, input->type);
	if (strcmp(name, "defaultValue") == 0)
		return text(input->value ? printer_value(arena, input->value) : NULL);
	return common_field(input->name, input->description, input->deprecated, name);
}

static struct found directive_field(struct arena *arena, const struct directive_type *directive,
				    const char *name, bool all)
{
	struct listing list = listing(arena, directive->location_count);

	if (strcmp(name, "args") == 0)
		return input_list(arena, directive->args, directive->arg_count, all);
	if (strcmp(name, "isRepeatable") == 0)
		return flag(directive->repeatable);
	if (strcmp(name, "locations") != 0)
		return common_field(directive->name, directive->description, NULL, name);
	for (size_t i = 0; i < directive->location_count; i++)
		add(&list, FOUND_TEXT, directive->locations[i]);
	return listed(&list);
}

struct found introspect_field(const struct types *types, struct arena *arena,
			      const struct found *source, const char *name, const json_t *args)
{
	bool all = json_is_true(json_object_get(args, "includeDeprecated"));
	const struct enum_value *value = source->what;

	switch (source->kind) {
	case FOUND_SCHEMA:
		return schema_field(types, arena, name);
	case FOUND_TYPE:
		return type_field(arena, source->what, name, all);
	case FOUND_FIELD:
		return field_field(arena, source->what, name, all);
	case FOUND_INPUT:
		return input_field(arena, source->what, name);
	case FOUND_ENUM_VALUE:
		return common_field(value->name, value->description, value->deprecated, name);
	case FOUND_DIRECTIVE:
		return directive_field(arena, source->what, name, all);
	default:
		return part(FOUND_NULL, NULL);
	}
}

struct found introspect_root(const struct types *types, const char *name, const json_t *args)
{
	const char *type = json_string_value(json_object_get(args, "name"));

	if (strcmp(name, "__schema") == 0)
		return (struct found){ .kind = FOUND_SCHEMA, .what = types };
	return part(FOUND_TYPE, type ? types_find(types, type) : NULL);
}
