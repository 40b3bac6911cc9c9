/* SPDX-License-Identifier: Apache-2.0 */
/* A type system that was read from its text: what a request may ask for. Never changes once it is
 * built, so that all threads may look at it. The introspection types are types like any others. */
#ifndef PRODUCERS_GRAPHQL_TYPES_H
#define PRODUCERS_GRAPHQL_TYPES_H
#include "common/base/error.h"
#include "producers/graphql/document.h"

enum type_kind {
	TYPE_SCALAR,
	TYPE_OBJECT,
	TYPE_INTERFACE,
	TYPE_UNION,
	TYPE_ENUM,
	TYPE_INPUT_OBJECT,
	TYPE_LIST,
	TYPE_NON_NULL,
};

enum scalar_kind {
	SCALAR_CUSTOM,
	SCALAR_INT,
	SCALAR_FLOAT,
	SCALAR_STRING,
	SCALAR_BOOLEAN,
	SCALAR_ID,
	SCALAR_DATE_TIME
};

struct input { /* an argument, or a field of an input object */
	const char *name, *description, *deprecated; /* the last two: or NULL */
	const struct type *type;
	const struct node *value; /* default; NULL: none */
};

struct field {
	const char *name, *description, *deprecated;
	const struct type *type;
	const struct input *args;
	size_t arg_count;
};

struct enum_value {
	const char *name, *description, *deprecated;
};

struct type {
	enum type_kind kind;
	enum scalar_kind scalar;
	bool one_of;
	bool builtin;          /* a scalar of the specification, or an introspection type */
	const char *name;      /* NULL of lists and non-nulls */
	const char *text;      /* "[Int!]" */
	const struct type *of; /* of lists and non-nulls */
	const char *description, *specified_by; /* or NULL */
	struct field *fields;
	size_t field_count;
	struct input *inputs;
	size_t input_count;
	struct enum_value *values;
	size_t value_count;
	const struct type **interfaces; /* of objects and interfaces */
	size_t interface_count;
	const struct type **possible; /* objects that a union or an interface stands for */
	size_t possible_count;
};

struct directive_type {
	const char *name, *description;
	bool repeatable;
	const char **locations;
	size_t location_count;
	struct input *args;
	size_t arg_count;
};

struct types {
	struct arena *arena;
	struct type **list; /* all that have a name */
	size_t count;
	struct directive_type *directives;
	size_t directive_count;
	const struct type *roots[3]; /* by operation; NULL: none */
	const char *description;
	/* the fields that are everywhere, or in queries */
	struct field typename_field, schema_field, type_field;
};

/* Reads a type system. NULL: *err_r says what is wrong with the text. */
struct types *types_build(const char *text, size_t bytes, struct error *err_r);
void types_free(struct types **types); /* NULL-safe */

struct type *types_find(const struct types *types, const char *name); /* NULL: none */
const struct directive_type *types_directive(const struct types *types, const char *name);
/* With __typename, and in queries __schema and __type. NULL: none. */
const struct field *types_field(const struct types *types, const struct type *parent,
				const char *name);
const struct input *types_input(const struct input *inputs, size_t count, const char *name);
/* The type that a type's node names; lists and non-nulls are made in the arena. NULL: unknown. */
const struct type *types_of_node(const struct types *types, struct arena *arena,
				 const struct node *node);

const struct type *
types_named(const struct type *type); /* without lists and non-nulls; NULL-safe */
const struct type *types_nullable(const struct type *type);
bool types_is_input(const struct type *type); /* these five: NULL-safe */
bool types_is_output(const struct type *type);
bool types_is_leaf(const struct type *type);
bool types_is_composite(const struct type *type);
bool types_is_abstract(const struct type *type);
bool types_is_required(const struct input *input); /* non-null without a default */
bool types_same(const struct type *a, const struct type *b);
/* Is an object or interface one of those that an abstract type stands for? */
bool types_stands_for(const struct type *abstract, const struct type *type);
bool types_is_subtype(const struct type *type, const struct type *super);
bool types_overlap(const struct type *a, const struct type *b);

#endif
