/* SPDX-License-Identifier: Apache-2.0 */
/* Where references lead: to a place in a document that is known, or to a problem. Nothing is
 * fetched: documents come with the options, or are built in. */
#include <stdlib.h>
#include <string.h>

#include "common/json/json_text.h"
#include "common/schema/metaschemas.h"
#include "common/schema/schema_compile.h"
#include "common/schema/schema_uri.h"

#define VOCABULARY_URI "https://json-schema.org/draft/2020-12/vocab/"

struct document {
	struct document *next;
	json_t *json;
};

/* ---- nodes by their JSON */

static size_t find_place(const struct node_place *places, size_t room, const json_t *json)
{
	size_t at = (size_t)(((uintptr_t)json >> 4) * UINT64_C(0x9e3779b97f4a7c15) >> 32);

	for (at &= room - 1; places[at].json && places[at].json != json; at = (at + 1) & (room - 1))
		;
	return at;
}

struct node *node_map_find(const struct node_map *map, const json_t *json)
{
	return map->room ? map->places[find_place(map->places, map->room, json)].node : NULL;
}

static void grow(struct node_map *map)
{
	size_t room = map->room ? map->room * 2 : 64;
	struct node_place *places = xcalloc(room, sizeof(*places));

	for (size_t i = 0; i < map->room; i++) {
		if (map->places[i].json)
			places[find_place(places, room, map->places[i].json)] = map->places[i];
	}
	free(map->places);
	map->places = places;
	map->room = room;
}

void node_map_add(struct node_map *map, const json_t *json, struct node *node)
{
	if (map->count * 2 >= map->room)
		grow(map);
	map->places[find_place(map->places, map->room, json)] =
		(struct node_place){ .json = json, .node = node };
	map->count++;
}

/* ---- documents */

static unsigned depth_of(const json_t *json, unsigned most)
{
	json_t *walked = (json_t *)(uintptr_t)json;
	unsigned deepest = 0, depth;

	if (!most || !(json_is_array(json) || json_is_object(json)))
		return json_is_array(json) || json_is_object(json);
	for (size_t i = 0; i < json_array_size(json); i++) {
		depth = depth_of(json_array_get(json, i), most - 1);
		deepest = depth > deepest ? depth : deepest;
	}
	for (void *at = json_object_iter(walked); at; at = json_object_iter_next(walked, at)) {
		depth = depth_of(json_object_iter_value(at), most - 1);
		deepest = depth > deepest ? depth : deepest;
	}
	return deepest + 1;
}

const json_t *compiler_keep(struct compiler *compiler, const json_t *json, const char *uri)
{
	struct document *document;
	struct resource resource = { .document = uri };
	const struct node node = { .resource = &resource };

	if (depth_of(json, SCHEMA_DEPTH_MAX) > SCHEMA_DEPTH_MAX) {
		compiler_problem(compiler, &node, NULL, "is nested too deeply");
		return NULL;
	}
	document = ARENA_NEW(compiler->schema->arena, struct document);
	document->json = json_deep_copy(json);
	CHECK(document->json);
	document->next = compiler->schema->documents;
	compiler->schema->documents = document;
	return document->json;
}

void schema_free_documents(struct document *documents)
{
	for (; documents; documents = documents->next)
		json_decref(documents->json);
}

/* The JSON of a known document; *owned_r: to be released. */
static const json_t *find_document(struct compiler *compiler, const char *uri, json_t **owned_r)
{
	const struct schema_options *options = compiler->options;
	const struct metaschema *meta = metaschemas;
	struct json_error error;

	*owned_r = NULL;
	for (size_t i = 0; i < options->document_count; i++) {
		const char *name = options->documents[i].uri;

		if (strncmp(name, uri, strlen(uri)) == 0 &&
		    (!name[strlen(uri)] || strcmp(name + strlen(uri), "#") == 0))
			return options->documents[i].json;
	}
	while (meta->uri && strcmp(meta->uri, uri) != 0)
		meta++;
	if (meta->uri) {
		*owned_r = json_text_parse(meta->text, strlen(meta->text), &error);
		CHECK(*owned_r);
	}
	return *owned_r;
}

static struct resource *find_resource(struct compiler *compiler, const char *uri)
{
	struct resource *resource = compiler->resources;

	while (resource && strcmp(resource->uri, uri) != 0)
		resource = resource->next;
	return resource;
}

/* The resource with this URI, after adding its document when it is known. What a document calls
 * itself may differ from what it is known as. */
static struct resource *get_resource(struct compiler *compiler, const char *uri)
{
	struct resource *resource = find_resource(compiler, uri);
	const json_t *json;
	json_t *owned;

	if (resource)
		return resource->root ? (struct resource *)(uintptr_t)resource->root->resource
				      : resource;
	json = find_document(compiler, uri, &owned);
	if (json)
		json = compiler_keep(compiler, json, uri);
	json_decref(owned);
	if (!json)
		return NULL;
	resource = resource_new(compiler, NULL, uri);
	resource->root = compiler_document(compiler, json, uri, uri);
	return (struct resource *)(uintptr_t)resource->root->resource;
}

/* ---- drafts and vocabularies */

static unsigned vocabulary_of(const char *uri)
{
	static const struct {
		const char *name;
		unsigned bits;
	} names[] = {
		{ "core", VOCABULARY_CORE },
		{ "applicator", VOCABULARY_APPLICATOR },
		{ "unevaluated", VOCABULARY_UNEVALUATED },
		{ "validation", VOCABULARY_VALIDATION },
		{ "meta-data", VOCABULARY_META_DATA },
		{ "format-annotation", VOCABULARY_FORMAT_ANNOTATION },
		{ "format-assertion", VOCABULARY_FORMAT_ASSERTION },
		{ "content", VOCABULARY_CONTENT },
	};

	if (strncmp(uri, VOCABULARY_URI, strlen(VOCABULARY_URI)) != 0)
		return 0;
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		if (strcmp(uri + strlen(VOCABULARY_URI), names[i].name) == 0)
			return names[i].bits;
	}
	return 0;
}

/* Those that a metaschema lists; one that it demands and that is not known is a problem. */
static unsigned read_vocabularies(struct compiler *compiler, const struct node *node,
				  const json_t *metaschema)
{
	json_t *list = json_object_get(metaschema, "$vocabulary"), *demanded;
	unsigned bits = VOCABULARY_CORE;
	const char *uri;

	if (!json_is_object(list))
		return VOCABULARY_ALL;
	json_object_foreach(list, uri, demanded)
	{
		unsigned bit = vocabulary_of(uri);

		bits |= bit;
		if (!bit && json_is_true(demanded))
			compiler_problem(compiler, node, "$schema",
					 "it demands a vocabulary that is not known: %.200s", uri);
	}
	return bits;
}

/* Sets draft and vocabularies from $schema. A metaschema of one's own leads to the draft by its own
 * $schema. */
static void set_dialect(struct compiler *compiler, const struct node *node,
			struct resource *resource)
{
	const json_t *schema = json_object_get(node->json, "$schema"), *metaschema = NULL;
	const char *uri = json_string_value(schema);
	json_t *owned = NULL;

	for (unsigned hops = 0; uri && hops < 8; hops++) {
		uri = schema_uri_resolve("", uri, compiler->schema->arena);
		if (strcmp(uri, "http://json-schema.org/draft-07/schema") == 0)
			resource->draft = SCHEMA_DRAFT_7;
		else if (strcmp(uri, "https://json-schema.org/draft/2020-12/schema") == 0)
			resource->draft = SCHEMA_2020_12;
		else {
			metaschema = find_document(compiler, uri, &owned);
			if (hops == 0)
				resource->vocabularies =
					read_vocabularies(compiler, node, metaschema);
			uri = arena_strdup(
				compiler->schema->arena,
				json_string_value(json_object_get(metaschema, "$schema")));
			json_decref(owned);
			if (metaschema && uri)
				continue;
			compiler_problem(
				compiler, node, "$schema",
				"\"%.200s\" is not a draft that is known; expected draft 7 or 2020-12",
				json_string_value(schema));
		}
		return;
	}
	if (schema)
		compiler_problem(compiler, node, "$schema", "must be the URI of a draft");
}

struct resource *resource_new(struct compiler *compiler, struct node *root, const char *uri)
{
	struct resource *resource = find_resource(compiler, uri);
	const struct resource *outer = compiler->resource;

	if (resource && (!root || resource->root)) {
		if (root) {
			root->resource = resource; /* its place is told by way of it */
			compiler_problem(compiler, root, "$id", "\"%.200s\" is there twice", uri);
		}
		return resource;
	}
	if (!resource) {
		resource = ARENA_NEW(compiler->schema->arena, struct resource);
		resource->uri = uri;
		resource->next = compiler->resources;
		compiler->resources = resource;
	}
	resource->document = compiler->document;
	resource->draft = outer ? outer->draft : compiler->options->draft;
	resource->vocabularies = outer ? outer->vocabularies : VOCABULARY_ALL;
	resource->root = root;
	if (root) {
		root->resource = resource;
		set_dialect(compiler, root, resource);
	}
	return resource;
}

/* ---- references */

/* A place that is no keyword's subschema, as in "#/components/address". */
static struct node *node_at(struct compiler *compiler, struct node *root, const char *pointer,
			    const struct check *check)
{
	json_t *json = json_pointer_get((json_t *)(uintptr_t)root->json, pointer);
	struct node *node = NULL;

	if (json && (json_is_object(json) || json_is_boolean(json))) {
		compiler->resource = (struct resource *)(uintptr_t)root->resource;
		compiler->document = root->resource->document;
		node = compiler_node(compiler, root, json,
				     arena_strdup(compiler->schema->arena, pointer), NULL,
				     SIZE_MAX);
		if (node && node->parent == root && node->keyword && *node->keyword == '/')
			node->raw = true;
		return node;
	}
	compiler_problem(compiler, check->node, check->keyword->name,
			 json ? "\"%.200s\" leads to something that is no schema"
			      : "\"%.200s\" leads nowhere",
			 json_string_value(check->value));
	return NULL;
}

static const struct anchor *find_anchor(const struct resource *resource, const char *name)
{
	const struct anchor *anchor = resource->anchors;

	while (anchor && strcmp(anchor->name, name) != 0)
		anchor = anchor->next;
	return anchor;
}

static struct node *find_target(struct compiler *compiler, struct check *check)
{
	const char *text = json_string_value(check->value);
	const char *uri =
		schema_uri_resolve(check->node->resource->uri, text, compiler->schema->arena);
	const char *fragment = schema_uri_fragment(text, compiler->schema->arena);
	struct resource *resource = *text == '#' || !*text
					    ? (struct resource *)(uintptr_t)check->node->resource
					    : get_resource(compiler, uri);
	const struct anchor *anchor;

	if (!resource || !resource->root) {
		compiler_problem(compiler, check->node, check->keyword->name,
				 "\"%.200s\" is not known, and nothing is fetched", uri);
		return NULL;
	}
	if (fragment && !*fragment)
		return resource->root;
	if (fragment && *fragment == '/')
		return node_at(compiler, resource->root, fragment, check);
	anchor = fragment ? find_anchor(resource, fragment) : NULL;
	if (!anchor) {
		compiler_problem(compiler, check->node, check->keyword->name,
				 "\"%.200s\" leads nowhere", text);
		return NULL;
	}
	if (anchor->dynamic && strcmp(check->keyword->name, "$dynamicRef") == 0) {
		check->anchor = anchor->name;
		compiler->schema->dynamic = true;
	}
	return anchor->node;
}

void compiler_resolve(struct compiler *compiler)
{
	while (compiler->references) {
		struct reference *reference = compiler->references;
		struct check *check = reference->check;

		compiler->references = reference->next;
		check->nodes = ARENA_ARRAY(compiler->schema->arena, struct node *, 1);
		check->nodes[0] = find_target(compiler, check);
		check->count = check->nodes[0] ? 1 : 0;
	}
}
