/* SPDX-License-Identifier: Apache-2.0 */
/* A GraphQL document as a tree in an arena: one kind of node for operations, fragments, values and
 * type definitions, so that one walk visits them all in the order of the text. */
#ifndef PRODUCERS_GRAPHQL_DOCUMENT_H
#define PRODUCERS_GRAPHQL_DOCUMENT_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/arena.h"

#define DOCUMENT_NESTING_MAX 200 /* of selections and of values */

enum node_kind {
	NODE_DOCUMENT,
	NODE_NAME,
	NODE_OPERATION,
	NODE_VARIABLE_DEFINITION,
	NODE_VARIABLE,
	NODE_SELECTION_SET,
	NODE_FIELD,
	NODE_ARGUMENT,
	NODE_FRAGMENT_SPREAD,
	NODE_INLINE_FRAGMENT,
	NODE_FRAGMENT_DEFINITION,
	NODE_INT,
	NODE_FLOAT,
	NODE_STRING,
	NODE_BOOLEAN,
	NODE_NULL,
	NODE_ENUM,
	NODE_LIST,
	NODE_OBJECT,
	NODE_OBJECT_FIELD,
	NODE_DIRECTIVE,
	NODE_NAMED_TYPE,
	NODE_LIST_TYPE,
	NODE_NON_NULL_TYPE,
	/* the type system */
	NODE_SCHEMA_DEFINITION,
	NODE_OPERATION_TYPE,
	NODE_SCALAR_DEFINITION,
	NODE_OBJECT_DEFINITION,
	NODE_FIELD_DEFINITION,
	NODE_INPUT_VALUE_DEFINITION,
	NODE_INTERFACE_DEFINITION,
	NODE_UNION_DEFINITION,
	NODE_ENUM_DEFINITION,
	NODE_ENUM_VALUE_DEFINITION,
	NODE_INPUT_OBJECT_DEFINITION,
	NODE_DIRECTIVE_DEFINITION,
	NODE_KINDS,
};

enum operation { OPERATION_QUERY, OPERATION_MUTATION, OPERATION_SUBSCRIPTION };

struct node {
	enum node_kind kind;
	enum operation operation; /* of operations and operation types */
	uint32_t start;           /* byte in the text */
	bool flag;                /* string: a block; boolean: true; directive: repeatable */
	/* of a value: as it is read (a string may hold NUL); of all that has a name: the name */
	const char *text;
	size_t text_bytes;
	struct node *next; /* in the list that it is an entry of */
	struct node *alias, *name;
	struct node *variables;  /* operation: definitions */
	struct node *interfaces; /* object, interface */
	struct node *arguments;  /* fields, directives and their definitions */
	struct node *type;  /* condition of a fragment; of a variable, field, input value; inner */
	struct node *value; /* of an argument, object field; default */
	struct node *directives;
	struct node *selection_set;
	/* definitions, selections, list values, object fields, fields, enum values, union members,
	 * locations of a directive (names) */
	struct node *items;
	struct node *description;
};

/* Its children in the order of the text, as a flat walk: start with *step = 0; NULL at the end. The
 * entries of a list come one by one. */
struct node *document_child(const struct node *node, const struct node *last, int *step);
/* What a field is called in the answer: its alias, or its name. */
const char *document_key(const struct node *field);
/* The directive of that name, or NULL. */
const struct node *document_directive(const struct node *node, const char *name);
const struct node *document_argument(const struct node *node, const char *name); /* or NULL */
/* The operation to run: the one of that name, or the only one. NULL: *why_r is a sentence. */
const struct node *document_operation(struct arena *arena, const struct node *document,
				      const char *name, const char **why_r);
const struct node *document_fragment(const struct node *document, const char *name); /* last one */
/* A directive that the document itself defines, where no definition belongs; or NULL. */
const struct node *document_directive_definition(const struct node *document, const char *name);
const char *document_operation_word(enum operation operation); /* "query" ... */
bool document_is_value(const struct node *node);
/* Type definitions and extensions, schema and directive definitions. */
bool document_is_sdl(const struct node *node);
/* Line and column from 1 of a byte; lines end with LF, CR or both, columns count characters. */
void document_place(const char *text, size_t at, int *line_r, int *column_r);

#endif
