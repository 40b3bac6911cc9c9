/* SPDX-License-Identifier: Apache-2.0 */
/* The key `hooks` of a job type. For definitions_keys.c and definitions_schema.c only. */
#ifndef COMMON_CONFIG_DEFINITIONS_HOOKS_H
#define COMMON_CONFIG_DEFINITIONS_HOOKS_H
#include <jansson.h>

#include "common/config/definitions_keys.h"

/* Says all that is wrong. */
void definitions_read_hooks(struct key_reader *reader, const struct yaml_node *node,
			    struct webhook_hooks *hooks_r);
/* Adds the built-in type and its queue to what has just been read and nobody else has yet. http:
 * callback_url may be plain http. */
void definitions_add_webhooks(struct definitions *defs, bool http);
json_t *definitions_hooks_schema(void); /* a new reference */

#endif
