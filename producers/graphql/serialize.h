/* SPDX-License-Identifier: Apache-2.0 */
/* What goes out: JSON by the rules of scalars and enums. */
#ifndef PRODUCERS_GRAPHQL_SERIALIZE_H
#define PRODUCERS_GRAPHQL_SERIALIZE_H
#include <jansson.h>

#include "producers/graphql/types.h"

/* A new reference. NULL: *why_r says that it is none of the type. */
json_t *serialize_leaf(struct arena *arena, const struct type *type, const json_t *value,
		       const char **why_r);

#endif
