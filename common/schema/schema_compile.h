/* SPDX-License-Identifier: Apache-2.0 */
/* A compilation under way: what schema_compile.c (nodes and checks), schema_resolve.c (documents,
 * resources and references) and schema.c (the whole) share. */
#ifndef COMMON_SCHEMA_SCHEMA_COMPILE_H
#define COMMON_SCHEMA_SCHEMA_COMPILE_H
#include "common/schema/schema_impl.h"

struct kept_regex {
	struct kept_regex *next;
	struct schema_regex *regex;
};

struct reference { /* a $ref or $dynamicRef whose node is not known yet */
	struct reference *next;
	struct check *check;
};

struct node_map { /* JSON object → node; a hash table */
	struct node_place {
		const json_t *json;
		struct node *node;
	} * places;
	size_t count, room;
};

struct compiler {
	struct schema *schema;
	const struct schema_options *options;
	struct arena *faults_arena;
	struct schema_faults *faults;
	bool failed;
	struct node_map nodes;
	struct resource *resources;
	struct reference *references;
	/* where it is */
	struct resource *resource;
	const char *document;
};

/* ---- schema_compile.c: the nodes of one document. `document`: what locations begin with. */
struct node *compiler_document(struct compiler *compiler, const json_t *json, const char *uri,
			       const char *document);

/* ---- schema_resolve.c */
struct resource *resource_new(struct compiler *compiler, struct node *root, const char *uri);
/* Until none is left; documents that are needed are added. */
void compiler_resolve(struct compiler *compiler);
struct node *node_map_find(const struct node_map *map, const json_t *json);
void node_map_add(struct node_map *map, const json_t *json, struct node *node);
/* Copies a document for the schema to keep. NULL after a problem: too deep. */
const json_t *compiler_keep(struct compiler *compiler, const json_t *json, const char *uri);
void schema_free_documents(struct document *documents);

#endif
