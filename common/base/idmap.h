/* SPDX-License-Identifier: Apache-2.0 */
/* UUID -> pointer. Open addressing, not thread-safe. Used for jobs in flight and for waiters. */
#ifndef COMMON_BASE_IDMAP_H
#define COMMON_BASE_IDMAP_H
#include <stddef.h>

#include "common/base/uuid.h"

struct idmap;

struct idmap *idmap_new(void);
void idmap_free(struct idmap **map); /* does not free the values */
size_t idmap_count(const struct idmap *map);
void *idmap_get(const struct idmap *map, const struct uuid *id); /* NULL when absent */
/* returns the former value or NULL */
void *idmap_put(struct idmap *map, const struct uuid *id, void *value);
/* removes and returns it, or NULL */
void *idmap_take(struct idmap *map, const struct uuid *id);
/* Iterates in no order: start with *cursor = 0; false at the end. The map must not change
 * meanwhile. */
bool idmap_next(const struct idmap *map, size_t *cursor, struct uuid *id_r, void **value_r);

#endif
