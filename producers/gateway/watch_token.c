/* SPDX-License-Identifier: Apache-2.0 */
/* Makes and checks watch tokens. Pure; about a microsecond each. */
#include "producers/gateway/watch_token.h"

#include <stdio.h>
#include <string.h>

#define EXPIRY_TEXT 8
#define MAC_BYTES   16

/* In the new form of such a token another first byte, so that one cannot be taken for the other. */
#define PURPOSE 'w'

int watch_keys_parse(const char *text, struct watch_keys *keys_r, struct error *err_r)
{
	*keys_r = (struct watch_keys){ 0 };
	while (*text) {
		size_t bytes = strcspn(text, ",");

		if (bytes < WATCH_SECRET_BYTES_MIN || keys_r->count == WATCH_SECRETS_MAX)
			return error_set(
				err_r, ERROR_INVALID,
				"WINDLASS_WATCH_SECRET: expected one secret, or two separated by a comma, of %d characters or more",
				WATCH_SECRET_BYTES_MIN);
		digest_sha256(text, bytes, keys_r->keys[keys_r->count++]);
		text += bytes + (text[bytes] == ',');
	}
	return 0;
}

static void write_token(const uint8_t key[SHA256_BYTES], const struct uuid *id, uint32_t expiry_s,
			char text_r[WATCH_TOKEN_TEXT])
{
	uint8_t said[1 + sizeof(id->b) + 4], mac[SHA256_BYTES];
	uint8_t expiry[4] = { (uint8_t)(expiry_s >> 24), (uint8_t)(expiry_s >> 16),
			      (uint8_t)(expiry_s >> 8), (uint8_t)expiry_s };

	said[0] = PURPOSE;
	memcpy(said + 1, id->b, sizeof(id->b));
	memcpy(said + 1 + sizeof(id->b), expiry, sizeof(expiry));
	digest_hmac_sha256(key, SHA256_BYTES, said, sizeof(said), mac);
	digest_hex(expiry, sizeof(expiry), text_r);
	digest_hex(mac, MAC_BYTES, text_r + EXPIRY_TEXT);
}

void watch_token_make(const struct watch_keys *keys, const struct uuid *id, int64_t now_ms,
		      char text_r[WATCH_TOKEN_TEXT])
{
	CHECK(keys->count > 0);
	write_token(keys->keys[0], id, (uint32_t)((now_ms + WATCH_TOKEN_MS) / 1000), text_r);
}

bool watch_token_check(const struct watch_keys *keys, const struct uuid *id, const char *text,
		       int64_t now_ms)
{
	char expected[WATCH_TOKEN_TEXT];
	uint8_t expiry[4];
	uint32_t expiry_s;
	bool good = false;

	if (strnlen(text, WATCH_TOKEN_TEXT) != WATCH_TOKEN_TEXT - 1 ||
	    !digest_unhex(text, EXPIRY_TEXT, expiry))
		return false;
	expiry_s = (uint32_t)expiry[0] << 24 | (uint32_t)expiry[1] << 16 |
		   (uint32_t)expiry[2] << 8 | expiry[3];
	/* as text: of upper and lower case only one is ours */
	for (size_t i = 0; i < keys->count; i++) {
		write_token(keys->keys[i], id, expiry_s, expected);
		good |= digest_equal(expected, text, WATCH_TOKEN_TEXT - 1);
	}
	return good && now_ms < (int64_t)expiry_s * 1000;
}
