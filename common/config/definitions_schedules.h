/* SPDX-License-Identifier: Apache-2.0 */
/* `schedules:` of a definitions file: its table of keys, and what they mean together. For
 * definitions.c only. */
#ifndef COMMON_CONFIG_DEFINITIONS_SCHEDULES_H
#define COMMON_CONFIG_DEFINITIONS_SCHEDULES_H
#include "common/config/definitions_impl.h"
#include "common/config/definitions_keys.h"

/* Reads the section's map into defs, whose types are there and can be looked up. Says all that is
 * wrong. */
void definitions_read_schedules(struct key_reader *reader, const struct yaml_node *map,
				struct definitions *defs);

#endif
