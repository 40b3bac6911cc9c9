/* SPDX-License-Identifier: Apache-2.0 */
/* Retry-After (RFC 9110, section 10.2.3): seconds, or an HTTP date. Pure. */
#ifndef WORKERS_REMOTE_RETRY_AFTER_H
#define WORKERS_REMOTE_RETRY_AFTER_H
#include <stdint.h>

#define RETRY_AFTER_MAX_MS INT64_C(3600000)

/* The value of the header, surrounding blanks allowed -> ms from now on, 0 to RETRY_AFTER_MAX_MS (a
 * date that has passed: 0). -1: it is neither. */
int64_t retry_after_ms(const char *value, int64_t now_wall_ms);

#endif
