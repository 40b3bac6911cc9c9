/* SPDX-License-Identifier: Apache-2.0 */
/* Values for messages, in the words of graphql-core: 'text', True, None, {'a': [1, 2.5]}. */
#ifndef PRODUCERS_GRAPHQL_SHOW_H
#define PRODUCERS_GRAPHQL_SHOW_H
#include <jansson.h>

#include "common/base/arena.h"

const char *show_value(struct arena *arena, const json_t *value); /* NULL: Undefined */

#endif
