/* SPDX-License-Identifier: Apache-2.0 */
/* What goes in: literals of the document and variables of the request, by the rules of their types.
 * Two steps, as graphql-core does it: take the value; if it is none of its type, look again and
 * complain about everything that is wrong with it. */
#ifndef PRODUCERS_GRAPHQL_COERCE_H
#define PRODUCERS_GRAPHQL_COERCE_H
#include <jansson.h>

#include "producers/graphql/faults.h"
#include "producers/graphql/types.h"

struct coercion {
	const struct types *types;
	struct arena *arena;
	json_t *kept;            /* an array that holds every value made here */
	const json_t *variables; /* object of those that have a value; NULL: none are known */
	bool hide_suggestions;
};

/* Hears what is wrong. node: the literal at fault, or NULL. */
typedef void complaint_fn(void *ctx, const struct node *node, const struct fault_path *path,
			  const char *message);
struct complaints {
	complaint_fn *take;
	void *ctx;
};

/* Values are lent: `kept` holds them. NULL: none of the type (Undefined). */
json_t *coerce_literal(const struct coercion *c, const struct node *node, const struct type *type);
json_t *coerce_value(const struct coercion *c, json_t *value, const struct type *type);
json_t *coerce_default(const struct coercion *c, const struct input *input); /* NULL: none */
/* What is wrong with it. Without c->variables, variables are right anywhere. */
void coerce_check_literal(const struct coercion *c, const struct node *node,
			  const struct type *type, const struct complaints *complaints);
void coerce_check_value(const struct coercion *c, const json_t *value, const struct type *type,
			const struct complaints *complaints);

/* The arguments of a field or directive as an object by name. NULL: refused with one fault (its
 * path is up to the caller). */
json_t *coerce_arguments(const struct coercion *c, const struct input *inputs, size_t count,
			 const struct node *node, struct faults *faults);
/* The variables of an operation as an object by name; `given` an object or NULL. NULL: refused. */
json_t *coerce_variables(const struct coercion *c, const struct node *operation, json_t *given,
			 struct faults *faults);

#endif
