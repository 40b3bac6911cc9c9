/* SPDX-License-Identifier: Apache-2.0 */
/* UUIDs of RFC 9562: version 7 for jobs (time-ordered), version 8 for names (stable over attempts).
 */
#ifndef COMMON_BASE_UUID_H
#define COMMON_BASE_UUID_H
#include <stdbool.h>
#include <stdint.h>
#include <stddef.h>

#include "common/base/check.h"

#define UUID_TEXT 37 /* "0193abcd-....", NUL included */

struct uuid {
	uint8_t b[16];
};

/* A new version 7 id of the current wall time; strictly ascending within a thread (RFC 9562
 * section 6.2, method 2). */
void uuid_v7(struct uuid *id_r);
/* A version 8 id of namespace and name: first 16 bytes of SHA-256(ns || name) with version and
 * variant set. */
void uuid_named(const struct uuid *ns, const char *name, size_t name_bytes, struct uuid *id_r);
/* The same, but with the 48-bit millisecond time of `ns` kept in front, so that it lands in the
 * same day's partition. */
void uuid_named_dated(const struct uuid *ns, const char *name, size_t name_bytes,
		      struct uuid *id_r);
/* Accepts exactly the canonical 36-character form, upper or lower case. */
bool must_check uuid_parse(const char *text, struct uuid *id_r);
bool must_check uuid_parse_n(const char *text, size_t bytes, struct uuid *id_r);
char *uuid_format(const struct uuid *id, char text_r[UUID_TEXT]); /* lower case; returns text_r */
void uuid_hex(const struct uuid *id, char text_r[33]);            /* 32 digits without dashes */
bool must_check uuid_parse_hex(const char text[32], struct uuid *id_r);
int uuid_version(const struct uuid *id);
int64_t uuid_time_ms(const struct uuid *id); /* the 48-bit time of versions 7 and of ours of 8 */
int uuid_compare(const struct uuid *a, const struct uuid *b);
bool uuid_equal(const struct uuid *a, const struct uuid *b);
bool uuid_is_nil(const struct uuid *id);
/* The smallest id of the UTC day that `ms` lies in (for partitions). */
void uuid_day_floor(int64_t ms, struct uuid *id_r);

#endif
