/* SPDX-License-Identifier: Apache-2.0 */
/* `targets:` of a definitions file: its table of keys, and what they mean together. For
 * definitions.c only. */
#ifndef COMMON_CONFIG_DEFINITIONS_TARGETS_H
#define COMMON_CONFIG_DEFINITIONS_TARGETS_H
#include "common/config/definitions_keys.h"

/* Reads one target; its name is the key's. Says all that is wrong. */
void definitions_read_target(struct key_reader *reader, const struct yaml_node *key,
			     const struct yaml_node *map, const char *directory,
			     struct target_definition *target);

/* One that a type has for itself: every default, this rate, and the URL's scheme, host and port. */
void definitions_make_target(struct key_reader *reader, const char *name, const char *url,
			     double rate_per_s, struct target_definition *target);

#endif
