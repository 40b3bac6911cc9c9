/* SPDX-License-Identifier: Apache-2.0 */
/* What fields find: JSON that came from elsewhere, or parts of the type system itself. */
#ifndef PRODUCERS_GRAPHQL_INTROSPECT_H
#define PRODUCERS_GRAPHQL_INTROSPECT_H
#include <jansson.h>

#include "producers/graphql/types.h"

enum found_kind {
	FOUND_NULL,
	FOUND_JSON,
	FOUND_TEXT,
	FOUND_BOOL,
	FOUND_LIST,
	FOUND_TYPE,
	FOUND_FIELD,
	FOUND_INPUT,
	FOUND_ENUM_VALUE,
	FOUND_DIRECTIVE,
	FOUND_SCHEMA,
};

struct found {
	enum found_kind kind;
	const void *what; /* json_t, text, or the part */
	bool yes;
	const struct found *items;
	size_t count;
};

/* A field of the introspection types. */
struct found introspect_field(const struct types *types, struct arena *arena,
			      const struct found *source, const char *name, const json_t *args);
/* __schema and __type of a query. */
struct found introspect_root(const struct types *types, const char *name, const json_t *args);

#endif
