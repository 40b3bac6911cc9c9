/* SPDX-License-Identifier: Apache-2.0 */
/* Do two fields say the same arguments? */
#ifndef PRODUCERS_GRAPHQL_SAME_VALUE_H
#define PRODUCERS_GRAPHQL_SAME_VALUE_H
#include "producers/graphql/document.h"

bool same_arguments(struct arena *arena, const struct node *a, const struct node *b);

#endif
