/* SPDX-License-Identifier: Apache-2.0 */
/* How long a client wants to wait for the end of its job: ?wait=30s, or Prefer: wait=30 (RFC 7240).
 */
#ifndef PRODUCERS_GATEWAY_WAIT_TIME_H
#define PRODUCERS_GATEWAY_WAIT_TIME_H
#include <stdbool.h>
#include <stdint.h>

#define WAIT_MAX_MS (300 * 1000)

/* query: the parameter's value or NULL; prefer: the header's or NULL. The parameter wins.
 * *preferred_r: it came from the header and shall be confirmed with Preference-Applied. A
 * preference that makes no sense is ignored, as the RFC says, and one above WAIT_MAX_MS is cut; a
 * parameter like that is refused: false. */
bool wait_time_parse(const char *query, const char *prefer, int64_t *wait_ms_r, bool *preferred_r);

#endif
