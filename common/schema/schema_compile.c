/* SPDX-License-Identifier: Apache-2.0 */
/* Makes nodes and checks of a document: goes through its subschemas, keyword by keyword of the
 * tables, and lists everything that is wrong. Where references lead is schema_resolve.c. */
#include "common/schema/schema_compile.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/strbuf.h"
#include "common/schema/schema_uri.h"

static const struct keywords *const tables[] = {
	&schema_logic_keywords,  &schema_scalar_keywords,      &schema_array_keywords,
	&schema_object_keywords, &schema_unevaluated_keywords,
};

/* ---- for build functions */

struct arena *compiler_arena(struct compiler *compiler)
{
	return compiler->schema->arena;
}

struct schema *compiler_schema(struct compiler *compiler)
{
	return compiler->schema;
}

void compiler_problem(struct compiler *compiler, const struct node *node, const char *keyword,
		      const char *fmt, ...)
{
	struct arena *arena = compiler->faults_arena;
	struct schema_fault fault = { .keyword = keyword ? keyword : "" };
	va_list args;

	compiler->failed = true;
	if (compiler->faults->count == SCHEMA_FAULTS_MAX) {
		compiler->faults->more++;
		return;
	}
	va_start(args, fmt);
	fault.message = arena_vprintf(arena, fmt, args);
	va_end(args);
	fault.pointer = node_pointer(node, keyword, arena);
	fault.location = node_location(node, keyword, arena);
	schema_fault_add(compiler->faults, arena, fault);
}

const struct check *compiler_sibling(const struct check *check, const char *keyword)
{
	for (const struct check *other = check->node->checks; other < check; other++) {
		if (strcmp(other->keyword->name, keyword) == 0)
			return other;
	}
	return NULL;
}

struct schema_regex *compiler_regex(struct compiler *compiler, const struct check *check,
				    const char *pattern)
{
	struct kept_regex *kept = ARENA_NEW(compiler->schema->arena, struct kept_regex);
	const char *why;

	kept->regex = schema_regex_compile(pattern, compiler->schema->arena, &why);
	if (!kept->regex) {
		compiler_problem(compiler, check->node, check->keyword->name,
				 "\"%.80s\" is not a pattern that can be used: %s", pattern, why);
		return NULL;
	}
	kept->next = compiler->schema->regexes;
	compiler->schema->regexes = kept;
	return kept->regex;
}

void compiler_refer(struct compiler *compiler, struct check *check)
{
	struct reference *reference = ARENA_NEW(compiler->schema->arena, struct reference);

	reference->check = check;
	reference->next = compiler->references;
	compiler->references = reference;
}

/* ---- the shape of a keyword's value */

static bool names_are_good(const json_t *list)
{
	size_t count = json_array_size(list);

	for (size_t i = 0; i < count; i++) {
		if (!json_is_string(json_array_get(list, i)))
			return false;
		for (size_t j = 0; j < i && count <= 1000; j++) {
			if (json_equal(json_array_get(list, i), json_array_get(list, j)))
				return false;
		}
	}
	return json_is_array(list);
}

/* What was expected, or NULL. */
static const char *shape_fault(enum shape shape, const json_t *value)
{
	double number = json_number_value(value);

	switch (shape) {
	case SHAPE_FLAG:
		return json_is_boolean(value) ? NULL : "must be true or false";
	case SHAPE_COUNT:
		return json_is_number(value) && number >= 0 && number < 9e18 &&
				       schema_number_whole(value)
			       ? NULL
			       : "must be a whole number, not negative";
	case SHAPE_NUMBER:
		return json_is_number(value) ? NULL : "must be a number";
	case SHAPE_DIVISOR:
		return json_is_number(value) && number > 0 ? NULL : "must be a number above 0";
	case SHAPE_TEXT:
		return json_is_string(value) ? NULL : "must be a text";
	case SHAPE_LIST:
		return json_is_array(value) ? NULL : "must be a list";
	case SHAPE_NAMES:
		return names_are_good(value) ? NULL : "must be a list of texts, all different";
	case SHAPE_SCHEMAS:
		return json_array_size(value) ? NULL : "must be a list of schemas, not empty";
	case SHAPE_MAP:
	case SHAPE_SCHEMA_MAP:
		return json_is_object(value) ? NULL : "must be an object";
	default:
		return NULL;
	}
}

static int build_map(struct compiler *compiler, struct check *check)
{
	const char *key;
	json_t *value;
	size_t i = 0;

	json_object_foreach(check->value, key, value)
	{
		check->nodes[i] = compiler_node(compiler, check->node, value, check->keyword->name,
						key, SIZE_MAX);
		if (!check->nodes[i++])
			return -1;
	}
	return 0;
}

static int build_nodes(struct compiler *compiler, struct check *check)
{
	enum shape shape = check->keyword->shape;

	if (shape == SHAPE_COUNT)
		check->limit = (size_t)json_number_value(check->value);
	if (shape != SHAPE_SCHEMA && shape != SHAPE_SCHEMAS && shape != SHAPE_SCHEMA_MAP)
		return 0;
	check->count = shape == SHAPE_SCHEMA    ? 1
		       : shape == SHAPE_SCHEMAS ? json_array_size(check->value)
						: json_object_size(check->value);
	check->nodes = ARENA_ARRAY(compiler->schema->arena, struct node *, check->count + 1);
	if (shape == SHAPE_SCHEMA_MAP)
		return build_map(compiler, check);
	for (size_t i = 0; i < check->count; i++) {
		bool one = shape == SHAPE_SCHEMA;

		check->nodes[i] = compiler_node(
			compiler, check->node, one ? check->value : json_array_get(check->value, i),
			check->keyword->name, NULL, one ? SIZE_MAX : i);
		if (!check->nodes[i])
			return -1;
	}
	return 0;
}

/* ---- checks of a node */

/* A keyword's sentence with its value in the place of "%"; a list without its brackets. */
static const char *say(struct compiler *compiler, const struct check *check)
{
	const char *says = check->keyword->says, *mark = says ? strchr(says, '%') : NULL;
	const char *value;
	size_t bytes;

	if (!mark)
		return says;
	value = json_brief(check->value, 160, compiler->schema->arena);
	bytes = strlen(value);
	if (*value == '[' && bytes > 2 && check->keyword->shape == SHAPE_LIST)
		value = arena_strndup(compiler->schema->arena, value + 1,
				      bytes - 1 - (value[bytes - 1] == ']'));
	return arena_printf(compiler->schema->arena, "%.*s%s%s", (int)(mark - says), says, value,
			    mark + 1);
}

static void add_check(struct compiler *compiler, struct node *node, const struct keyword *keyword,
		      json_t *value)
{
	struct check *check = &node->checks[node->count];
	const char *fault = shape_fault(keyword->shape, value);
	int kept = 1;

	*check = (struct check){ .keyword = keyword, .node = node, .value = value };
	if (fault) {
		compiler_problem(compiler, node, keyword->name, "%s", fault);
		return;
	}
	if (build_nodes(compiler, check) < 0)
		return;
	check->message = say(compiler, check);
	if (keyword->build)
		kept = keyword->build(compiler, check);
	if (kept > 0 && keyword->apply)
		node->count++;
}

static bool is_of(const struct keyword *keyword, const struct resource *resource, bool only_ref)
{
	/* In draft 7 nothing beside a $ref counts. */
	if (only_ref && strcmp(keyword->name, "$ref") != 0 &&
	    strcmp(keyword->name, "definitions") != 0)
		return false;
	return keyword->drafts & 1u << resource->draft &&
	       keyword->vocabularies & resource->vocabularies;
}

static void add_checks(struct compiler *compiler, struct node *node)
{
	bool only_ref = node->resource->draft == SCHEMA_DRAFT_7 &&
			json_is_string(json_object_get(node->json, "$ref"));

	/* Rows that stay are at most its members, and one more is written before it is dropped. */
	node->checks = ARENA_ARRAY(compiler->schema->arena, struct check,
				   json_object_size(node->json) + 1);
	for (size_t t = 0; t < ARRAY_LEN(tables); t++) {
		for (size_t i = 0; i < tables[t]->count; i++) {
			const struct keyword *keyword = &tables[t]->rows[i];
			json_t *value;

			if (!is_of(keyword, node->resource, only_ref))
				continue;
			value = json_object_get(node->json, keyword->name);
			if (value)
				add_check(compiler, node, keyword, value);
		}
	}
}

/* ---- nodes */

/* $anchor, $dynamicAnchor and, in draft 7, "$id": "#name". */
static void add_anchor(struct compiler *compiler, struct node *node, const char *keyword,
		       const char *name)
{
	struct resource *resource = compiler->resource;
	struct anchor *anchor = ARENA_NEW(compiler->schema->arena, struct anchor);

	for (const struct anchor *other = resource->anchors; other; other = other->next) {
		if (strcmp(other->name, name) == 0 && other->node != node)
			compiler_problem(compiler, node, keyword, "\"%.80s\" is there twice", name);
	}
	*anchor = (struct anchor){ .next = resource->anchors,
				   .name = name,
				   .node = node,
				   .dynamic = strcmp(keyword, "$dynamicAnchor") == 0 };
	resource->anchors = anchor;
}

static void add_anchors(struct compiler *compiler, struct node *node)
{
	static const char *const keywords[] = { "$anchor", "$dynamicAnchor" };

	for (size_t i = 0; i < ARRAY_LEN(keywords); i++) {
		const json_t *name = json_object_get(node->json, keywords[i]);

		if (!name || compiler->resource->draft == SCHEMA_DRAFT_7)
			continue;
		if (json_is_string(name) && json_string_length(name) &&
		    !strpbrk(json_string_value(name), "/#"))
			add_anchor(compiler, node, keywords[i], json_string_value(name));
		else
			compiler_problem(compiler, node, keywords[i],
					 "must be a name without / and #");
	}
}

/* The node becomes the root of a resource when it has an $id, or is a document's root (uri set). */
static void enter_resource(struct compiler *compiler, struct node *node, const char *uri)
{
	const json_t *value = json_object_get(node->json, "$id");
	const char *id = json_string_value(value);
	const char *base = uri ? uri : compiler->resource->uri;
	bool hidden = compiler->resource && compiler->resource->draft == SCHEMA_DRAFT_7 &&
		      json_object_get(node->json, "$ref"); /* in draft 7 beside a $ref */

	if (id && !hidden && *id != '#')
		uri = schema_uri_resolve(base, id, compiler->schema->arena);
	if (uri)
		compiler->resource = resource_new(compiler, node, uri);
	if (value && !id)
		compiler_problem(compiler, node, "$id", "must be a text");
	if (!id || hidden || !strchr(id, '#') || !strchr(id, '#')[1])
		return;
	if (compiler->resource->draft == SCHEMA_DRAFT_7)
		add_anchor(compiler, node, "$id", strchr(id, '#') + 1);
	else
		compiler_problem(compiler, node, "$id", "must have no fragment; use $anchor");
}

struct node *compiler_node(struct compiler *compiler, struct node *parent, const json_t *json,
			   const char *keyword, const char *token, size_t index)
{
	struct node *node = node_map_find(&compiler->nodes, json);
	struct resource *outer = compiler->resource;

	if (node)
		return node;
	node = ARENA_NEW(compiler->schema->arena, struct node);
	*node = (struct node){ .kind = json_is_true(json)    ? NODE_TRUE
				       : json_is_false(json) ? NODE_FALSE
							     : NODE_CHECKS,
			       .resource = outer,
			       .json = json,
			       .parent = parent,
			       .keyword = keyword,
			       .token = token,
			       .index = index };
	if (node->kind != NODE_CHECKS)
		return node; /* jansson has only one `true`: it is at many places */
	if (!json_is_object(json)) {
		compiler_problem(compiler, node, NULL,
				 "must be a schema: an object, true or false");
		return NULL;
	}
	node_map_add(&compiler->nodes, json, node);
	enter_resource(compiler, node, NULL);
	node->resource = compiler->resource;
	add_anchors(compiler, node);
	add_checks(compiler, node);
	compiler->resource = outer;
	return node;
}

struct node *compiler_document(struct compiler *compiler, const json_t *json, const char *uri,
			       const char *document)
{
	struct node *node = ARENA_NEW(compiler->schema->arena, struct node);

	*node = (struct node){ .kind = json_is_true(json)    ? NODE_TRUE
				       : json_is_false(json) ? NODE_FALSE
							     : NODE_CHECKS,
			       .json = json };
	compiler->document = document;
	compiler->resource = NULL;
	enter_resource(compiler, node, uri);
	node->resource = compiler->resource;
	if (node->kind == NODE_CHECKS && !json_is_object(json))
		compiler_problem(compiler, node, NULL,
				 "must be a schema: an object, true or false");
	else if (node->kind == NODE_CHECKS) {
		node_map_add(&compiler->nodes, json, node);
		add_anchors(compiler, node);
		add_checks(compiler, node);
	}
	return node;
}
