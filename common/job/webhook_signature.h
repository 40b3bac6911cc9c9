/* SPDX-License-Identifier: Apache-2.0 */
/* Signatures of the Standard Webhooks specification: HMAC-SHA256 of "id.timestamp.body" in base64,
 * one entry a live key, so that receivers can change to a new key while both are in force. */
#ifndef COMMON_JOB_WEBHOOK_SIGNATURE_H
#define COMMON_JOB_WEBHOOK_SIGNATURE_H
#include <stddef.h>
#include <stdint.h>

#include "common/base/arena.h"
#include "common/base/error.h"

#define WEBHOOK_KEYS_MAX      2
#define WEBHOOK_KEY_BYTES_MIN 24
#define WEBHOOK_KEY_BYTES_MAX 64

struct webhook_keys {
	struct {
		uint8_t data[WEBHOOK_KEY_BYTES_MAX];
		size_t bytes;
	} keys[WEBHOOK_KEYS_MAX];
	size_t count;
};

/* One or two keys "whsec_<base64>" of 24 to 64 bytes, separated by blanks or commas; an empty text
 * has none. 0, or -1: ERROR_INVALID; the message never holds a key. */
int webhook_keys_parse(const char *text, struct webhook_keys *keys_r,
		       struct error *err_r) must_check;
void webhook_keys_wipe(struct webhook_keys *keys);

/* The value of the header webhook-signature: "v1,… v1,…". At least one key. */
char *webhook_sign(struct arena *arena, const struct webhook_keys *keys, const char *id,
		   int64_t timestamp_s, const char *body, size_t body_bytes);

#endif
