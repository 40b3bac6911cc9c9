/* SPDX-License-Identifier: Apache-2.0 */
/* Reading `pools:`; for definitions.c. What roles ask is in definitions.h. */
#ifndef COMMON_CONFIG_DEFINITIONS_POOLS_H
#define COMMON_CONFIG_DEFINITIONS_POOLS_H
#include "common/config/definitions_keys.h"

/* Fills defs->pools when all queues are known. `node` NULL: there are none. */
void definitions_read_pools(struct key_reader *reader, struct definitions *defs,
			    const struct yaml_node *node);
/* A queue has come that no pool names: the pool `default` takes it. */
void definitions_cover_pools(struct definitions *defs);

#endif
