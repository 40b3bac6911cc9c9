/* SPDX-License-Identifier: Apache-2.0 */
/* Between the parts of the coercion. */
#ifndef PRODUCERS_GRAPHQL_COERCE_IMPL_H
#define PRODUCERS_GRAPHQL_COERCE_IMPL_H
#include "producers/graphql/coerce.h"

json_t *coerce_keep(const struct coercion *c, json_t *value); /* takes the reference, lends it */
/* Leaves. NULL: *why_r is the message; *at_r the place of a literal, or NULL. */
json_t *coerce_leaf_literal(const struct coercion *c, const struct node *node,
			    const struct type *type, const char **why_r, const struct node **at_r);
json_t *coerce_leaf_value(const struct coercion *c, const json_t *value, const struct type *type,
			  const char **why_r);
/* " Did you mean 'x'? Found: ..." of an unknown field of an input object. */
const char *coerce_unknown_field(const struct coercion *c, const struct type *type,
				 const char *name, const char *shown);
const char *coerce_one_of_text(const struct coercion *c, const struct type *type);

#endif
