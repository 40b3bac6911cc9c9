/* SPDX-License-Identifier: Apache-2.0 */
/* Time zones by name, from the machine's time zone data (TZif files, RFC 8536). A zone never
 * changes; a collection keeps those that were asked for and belongs to one thread at a time. */
#ifndef COMMON_SCHEDULE_ZONE_H
#define COMMON_SCHEDULE_ZONE_H
#include <stdint.h>

#include "common/base/error.h"

#define ZONE_NAME_MAX 64

struct zone;
struct zones;

/* A stretch of time in which clocks keep one distance from UTC: start <= t < end, in Unix seconds.
 * INT64_MIN, INT64_MAX: no end. */
struct zone_span {
	int64_t start_s, end_s;
	int64_t offset_s; /* wall clock minus UTC */
};

struct zones *zones_new(void);
void zones_free(struct zones **zones); /* NULL-safe; with its zones */
/* NULL: *err_r is ERROR_INVALID (no such zone) or ERROR_UNAVAILABLE (no time zone data here, or not
 * readable). "UTC" is always there. Lives as long as the collection. */
const struct zone *zones_find(struct zones *zones, const char *name, struct error *err_r);
/* A zone from the bytes of a TZif file, for tests. To be freed; NULL: ERROR_INVALID. */
struct zone *zone_parse(const void *bytes, size_t count, struct error *err_r);
void zone_free(struct zone **zone);

void zone_span_at(const struct zone *zone, int64_t unix_s, struct zone_span *span_r);
/* When the clocks show `wall_s`: the first time if they do it twice; if they leave it out, the
 * first moment after. *exists_r (or NULL): they show it. */
int64_t zone_moment(const struct zone *zone, int64_t wall_s, bool *exists_r);

#endif
