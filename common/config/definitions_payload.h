/* SPDX-License-Identifier: Apache-2.0 */
/* Schemas of payloads and results, as definitions give them: the path of a JSON Schema file, or the
 * schema itself as a map. For definitions.c only. */
#ifndef COMMON_CONFIG_DEFINITIONS_PAYLOAD_H
#define COMMON_CONFIG_DEFINITIONS_PAYLOAD_H
#include "common/config/definitions_keys.h"
#include "common/schema/schema.h"

#define SCHEMA_FILE_BYTES_MAX (1024 * 1024)

/* Compiles the value of this key, formats checked. A path is relative to `directory`. NULL after
 * saying all that is wrong with it. */
struct schema *definitions_schema_compile(struct key_reader *reader, const char *key,
					  const struct yaml_node *value, const char *directory);

#endif
