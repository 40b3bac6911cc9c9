/* SPDX-License-Identifier: Apache-2.0 */
/* A type system from its text: first every type by name, then what they are made of. Its text is
 * ours, so what the specification asks of it beyond known names is left to the tests. */
#include <stdlib.h>
#include <string.h>

#include "producers/graphql/parser.h"
#include "producers/graphql/types.h"

/* What every type system has, in the file beside this one. */
__asm__(".pushsection .rodata\n"
	"graphql_builtin:\n"
	".incbin \"producers/graphql/builtin.graphql\"\n"
	"graphql_builtin_end:\n"
	".byte 0\n"
	".popsection\n");
extern const char graphql_builtin[] __attribute__((visibility("hidden")));
extern const char graphql_builtin_end[] __attribute__((visibility("hidden")));

struct build {
	struct types *types;
	struct arena *arena;
	const struct node *document, *builtin;
	struct error *err_r;
	bool failed;
};

static size_t list_length(const struct node *list)
{
	size_t count = 0;

	for (; list; list = list->next)
		count++;
	return count;
}

static const char *description_of(const struct node *node)
{
	return node->description ? node->description->text : NULL;
}

static const char *deprecation_of(const struct node *node)
{
	const struct node *directive = document_directive(node, "deprecated");
	const struct node *reason = directive ? document_argument(directive, "reason") : NULL;

	return !directive ? NULL : reason ? reason->value->text : "No longer supported";
}

static const struct type *resolve(struct build *build, const struct node *node)
{
	const struct type *type = types_of_node(build->types, build->arena, node);

	if (!type && !build->failed) {
		build->failed = true;
		while (node->type)
			node = node->type;
		error_set(build->err_r, ERROR_INVALID, "unknown type %s", node->text);
	}
	return type;
}

/* ---- names */

static bool is_type_definition(const struct node *node)
{
	switch (node->kind) {
	case NODE_SCALAR_DEFINITION:
	case NODE_OBJECT_DEFINITION:
	case NODE_INTERFACE_DEFINITION:
	case NODE_UNION_DEFINITION:
	case NODE_ENUM_DEFINITION:
	case NODE_INPUT_OBJECT_DEFINITION:
		return !node->flag;
	default:
		return false;
	}
}

static enum scalar_kind scalar_of(const char *name)
{
	static const char *const names[] = {
		[SCALAR_INT] = "Int",       [SCALAR_FLOAT] = "Float",
		[SCALAR_STRING] = "String", [SCALAR_BOOLEAN] = "Boolean",
		[SCALAR_ID] = "ID",         [SCALAR_DATE_TIME] = "DateTime",
	};

	for (size_t i = 1; i < ARRAY_LEN(names); i++) {
		if (strcmp(names[i], name) == 0)
			return (enum scalar_kind)i;
	}
	return SCALAR_CUSTOM;
}

static struct type *declare(struct build *build, const struct node *node)
{
	static const enum type_kind kinds[NODE_KINDS] = {
		[NODE_SCALAR_DEFINITION] = TYPE_SCALAR,
		[NODE_OBJECT_DEFINITION] = TYPE_OBJECT,
		[NODE_INTERFACE_DEFINITION] = TYPE_INTERFACE,
		[NODE_UNION_DEFINITION] = TYPE_UNION,
		[NODE_ENUM_DEFINITION] = TYPE_ENUM,
		[NODE_INPUT_OBJECT_DEFINITION] = TYPE_INPUT_OBJECT,
	};
	struct type *type = ARENA_NEW(build->arena, struct type);

	type->kind = kinds[node->kind];
	type->name = type->text = node->text;
	type->description = description_of(node);
	if (type->kind == TYPE_SCALAR)
		type->scalar = scalar_of(type->name);
	return type;
}

static void declare_all(struct build *build, const struct node *document, bool builtin)
{
	struct types *types = build->types;

	for (const struct node *d = document->items; d; d = d->next) {
		if (!is_type_definition(d))
			continue;
		struct type *type = declare(build, d);
		type->builtin = builtin;
		types->list[types->count++] = type;
	}
}

/* ---- contents */

static struct input *read_inputs(struct build *build, const struct node *list, size_t *count_r)
{
	struct input *inputs = ARENA_ARRAY(build->arena, struct input, list_length(list) + 1);

	*count_r = 0;
	for (; list; list = list->next) {
		inputs[(*count_r)++] = (struct input){
			.name = list->text,
			.description = description_of(list),
			.deprecated = deprecation_of(list),
			.type = resolve(build, list->type),
			.value = list->value,
		};
	}
	return inputs;
}

static void read_fields(struct build *build, struct type *type, const struct node *list)
{
	type->fields = ARENA_ARRAY(build->arena, struct field, list_length(list) + 1);
	for (; list; list = list->next) {
		struct field *field = &type->fields[type->field_count++];

		field->name = list->text;
		field->description = description_of(list);
		field->deprecated = deprecation_of(list);
		field->type = resolve(build, list->type);
		field->args = read_inputs(build, list->arguments, &field->arg_count);
	}
}

static const struct type **read_types(struct build *build, const struct node *list, size_t *count_r)
{
	const struct type **types =
		arena_zalloc(build->arena, sizeof(*types) * (list_length(list) + 1));

	*count_r = 0;
	for (; list; list = list->next)
		types[(*count_r)++] = resolve(build, list);
	return types;
}

static void read_values(struct build *build, struct type *type, const struct node *list)
{
	type->values = ARENA_ARRAY(build->arena, struct enum_value, list_length(list) + 1);
	for (; list; list = list->next) {
		type->values[type->value_count++] = (struct enum_value){
			.name = list->text,
			.description = description_of(list),
			.deprecated = deprecation_of(list),
		};
	}
}

static void fill(struct build *build, struct type *type, const struct node *node)
{
	const struct node *url = document_directive(node, "specifiedBy");

	switch (type->kind) {
	case TYPE_SCALAR:
		type->specified_by = url ? document_argument(url, "url")->value->text : NULL;
		break;
	case TYPE_OBJECT:
	case TYPE_INTERFACE:
		type->interfaces = read_types(build, node->interfaces, &type->interface_count);
		read_fields(build, type, node->items);
		break;
	case TYPE_UNION:
		type->possible = read_types(build, node->items, &type->possible_count);
		break;
	case TYPE_ENUM:
		read_values(build, type, node->items);
		break;
	case TYPE_INPUT_OBJECT:
		type->one_of = document_directive(node, "oneOf") != NULL;
		type->inputs = read_inputs(build, node->items, &type->input_count);
		break;
	case TYPE_LIST:
	case TYPE_NON_NULL:
		break;
	}
}

static void fill_all(struct build *build, const struct node *document)
{
	for (const struct node *d = document->items; d; d = d->next) {
		if (is_type_definition(d))
			fill(build, types_find(build->types, d->text), d);
	}
}

static void find_possible(struct types *types, struct type *interface)
{
	interface->possible =
		arena_zalloc(types->arena, sizeof(*interface->possible) * types->count);
	for (size_t i = 0; i < types->count; i++) {
		const struct type *type = types->list[i];
		for (size_t j = 0; type->kind == TYPE_OBJECT && j < type->interface_count; j++) {
			if (type->interfaces[j] == interface)
				interface->possible[interface->possible_count++] = type;
		}
	}
}

/* ---- directives and roots */

static void read_directives(struct build *build, const struct node *document)
{
	struct types *types = build->types;

	for (const struct node *d = document->items; d; d = d->next) {
		if (d->kind != NODE_DIRECTIVE_DEFINITION || types_directive(types, d->text))
			continue;
		struct directive_type *directive = &types->directives[types->directive_count++];
		directive->name = d->text;
		directive->description = description_of(d);
		directive->repeatable = d->flag;
		directive->args = read_inputs(build, d->arguments, &directive->arg_count);
		directive->locations = arena_zalloc(
			build->arena, sizeof(*directive->locations) * (list_length(d->items) + 1));
		for (const struct node *l = d->items; l; l = l->next)
			directive->locations[directive->location_count++] = l->text;
	}
}

static void read_roots(struct build *build)
{
	static const char *const names[] = { "Query", "Mutation", "Subscription" };
	struct types *types = build->types;
	const struct node *schema = build->document->items;

	while (schema && schema->kind != NODE_SCHEMA_DEFINITION)
		schema = schema->next;
	if (schema)
		types->description = description_of(schema);
	for (const struct node *o = schema ? schema->items : NULL; o; o = o->next)
		types->roots[o->operation] = resolve(build, o->type);
	for (int i = 0; !schema && i <= OPERATION_SUBSCRIPTION; i++)
		types->roots[i] = types_find(types, names[i]);
}

/* The fields that no type declares are those of a type of our own that nobody sees. */
static void take_meta_fields(struct types *types)
{
	struct type *meta = types_find(types, "Meta_");
	size_t kept = 0;

	CHECK(meta && meta->field_count == 3);
	types->typename_field = meta->fields[0];
	types->schema_field = meta->fields[1];
	types->type_field = meta->fields[2];
	for (size_t i = 0; i < types->count; i++) {
		if (types->list[i] != meta)
			types->list[kept++] = types->list[i];
	}
	types->count = kept;
}

/* ---- the order in which introspection lists them: types as they are written, each built-in one
 * behind the first that needs it */

struct order {
	struct type **list;
	size_t count;
};

static void order_add(const struct types *types, struct order *order, const struct type *type);

static void order_inputs(const struct types *types, struct order *order, const struct input *inputs,
			 size_t count)
{
	for (size_t i = 0; i < count; i++)
		order_add(types, order, types_named(inputs[i].type));
}

static void order_parts(const struct types *types, struct order *order, const struct type *type)
{
	for (size_t i = 0; i < type->field_count; i++) {
		order_add(types, order, types_named(type->fields[i].type));
		order_inputs(types, order, type->fields[i].args, type->fields[i].arg_count);
	}
	order_inputs(types, order, type->inputs, type->input_count);
}

static void order_add(const struct types *types, struct order *order, const struct type *type)
{
	for (size_t i = 0; i < order->count; i++) {
		if (order->list[i] == type)
			return;
	}
	if (!type->builtin) /* in its own turn */
		return;
	order->list[order->count++] = types_find(types, type->name);
	order_parts(types, order, type);
}

static void put_in_order(struct types *types)
{
	struct order order = { arena_zalloc(types->arena, sizeof(*order.list) * types->count), 0 };

	for (size_t i = 0; i < types->count; i++) {
		if (types->list[i]->builtin)
			continue;
		order.list[order.count++] = types->list[i];
		order_parts(types, &order, types->list[i]);
	}
	for (size_t i = 0; i < types->directive_count; i++)
		order_inputs(types, &order, types->directives[i].args,
			     types->directives[i].arg_count);
	order_add(types, &order, types_named(types->schema_field.type));
	types->list = order.list;
	types->count = order.count;
}

/* ---- all of it */

static struct node *parse(struct build *build, const char *text, size_t bytes)
{
	struct faults faults;
	struct node *document;
	int line = 1, column = 1;

	faults_init(&faults, build->arena, 0);
	text = arena_strndup(build->arena, text, bytes);
	document = parser_document(build->arena, text, bytes, 0, &faults);
	if (document)
		return document;
	document_place(text, faults.first->places[0], &line, &column);
	error_set(build->err_r, ERROR_INVALID, "line %d, column %d: %s", line, column,
		  faults.first->message);
	return NULL;
}

static bool make(struct build *build)
{
	struct types *types = build->types;
	size_t most = list_length(build->document->items) + list_length(build->builtin->items);

	types->list = arena_zalloc(build->arena, sizeof(*types->list) * most);
	types->directives = ARENA_ARRAY(build->arena, struct directive_type, most);
	declare_all(build, build->document, false);
	declare_all(build, build->builtin, true);
	fill_all(build, build->document);
	fill_all(build, build->builtin);
	read_directives(build, build->document);
	read_directives(build, build->builtin);
	read_roots(build);
	if (build->failed)
		return false;
	take_meta_fields(types);
	for (size_t i = 0; i < types->count; i++) {
		if (types->list[i]->kind == TYPE_INTERFACE)
			find_possible(types, types->list[i]);
	}
	put_in_order(types);
	return true;
}

struct types *types_build(const char *text, size_t bytes, struct error *err_r)
{
	struct arena *arena = arena_new(64 * 1024);
	struct build build = { .types = ARENA_NEW(arena, struct types),
			       .arena = arena,
			       .err_r = err_r };

	build.types->arena = arena;
	build.document = parse(&build, text, bytes);
	build.builtin =
		parse(&build, graphql_builtin, (size_t)(graphql_builtin_end - graphql_builtin));
	if (build.document && build.builtin && make(&build))
		return build.types;
	arena_free(&arena);
	return NULL;
}

void types_free(struct types **types)
{
	struct arena *arena = *types ? (*types)->arena : NULL;

	*types = NULL;
	arena_free(&arena);
}
