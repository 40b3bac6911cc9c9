/* SPDX-License-Identifier: Apache-2.0 */
/* Watch tokens: whoever has one may read one job for an hour, without a key. They go into the query
 * of a URL, as EventSource and WebSocket of a browser can send no header. Text: the Unix second of
 * expiry (8 hex digits), then half of the HMAC-SHA256 over the job's id and that (32). */
#ifndef PRODUCERS_GATEWAY_WATCH_TOKEN_H
#define PRODUCERS_GATEWAY_WATCH_TOKEN_H
#include <stdbool.h>
#include <stdint.h>

#include "common/base/digest.h"
#include "common/base/error.h"
#include "common/base/uuid.h"

#define WATCH_TOKEN_TEXT       41 /* NUL included */
#define WATCH_TOKEN_MS         INT64_C(3600000)
#define WATCH_SECRET_BYTES_MIN 32
#define WATCH_SECRETS_MAX      2

struct watch_keys {
	uint8_t keys[WATCH_SECRETS_MAX][SHA256_BYTES]; /* the first one signs */
	size_t count;
};

/* One secret, or two separated by a comma while they are changed. Empty text: none. -1:
 * ERROR_INVALID. */
int watch_keys_parse(const char *text, struct watch_keys *keys_r, struct error *err_r) must_check;
void watch_token_make(const struct watch_keys *keys, const struct uuid *id, int64_t now_ms,
		      char text_r[WATCH_TOKEN_TEXT]);
/* Is it one of ours for this job, and not expired? Takes the same time whatever differs. */
bool watch_token_check(const struct watch_keys *keys, const struct uuid *id, const char *text,
		       int64_t now_ms);

#endif
