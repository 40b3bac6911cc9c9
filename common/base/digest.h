/* SPDX-License-Identifier: Apache-2.0 */
/* SHA-256 and HMAC (OpenSSL's), hex, base64 (RFC 4648), and a comparison that takes the same time
 * whatever it finds. */
#ifndef COMMON_BASE_DIGEST_H
#define COMMON_BASE_DIGEST_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/arena.h"
#include "common/base/strbuf.h"

#define SHA1_BYTES   20
#define SHA256_BYTES 32

/* for protocols that name it (WebSocket's handshake); it keeps no secret */
void digest_sha1(const void *data, size_t bytes, uint8_t digest_r[SHA1_BYTES]);
void digest_sha256(const void *data, size_t bytes, uint8_t digest_r[SHA256_BYTES]);
void digest_hmac_sha256(const void *key, size_t key_bytes, const void *data, size_t bytes,
			uint8_t mac_r[SHA256_BYTES]);
void digest_hex(const uint8_t *data, size_t bytes, char *text_r); /* 2 * bytes + 1 */
/* exact; false when not hex */
bool digest_unhex(const char *text, size_t text_bytes, uint8_t *data_r);
bool digest_equal(const void *a, const void *b, size_t bytes); /* constant time */
/* standard alphabet, padded */
char *base64_encode(struct arena *arena, const void *data, size_t bytes);
/* Appends {"base64":"…"}: what bytes that are no text are in JSON. */
void base64_json(struct strbuf *out, const void *data, size_t bytes);
/* 0, or -1 */
int base64_decode(struct arena *arena, const char *text, size_t text_bytes, void **data_r,
		  size_t *bytes_r);

#endif
