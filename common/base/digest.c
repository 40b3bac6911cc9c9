/* SPDX-License-Identifier: Apache-2.0 */
/* Fingerprints, names and their text forms. Called for idempotency fingerprints, API keys, derived
 * ids and payloads in base64. Uses OpenSSL's plain SHA256 calls: they neither allocate nor fail,
 * and EVP costs a look-up of the algorithm on every call that is several times the price of hashing
 * a short key. */
#define OPENSSL_API_COMPAT 0x10100000L
#include "common/base/digest.h"

#include <openssl/crypto.h>
#include <openssl/sha.h>
#include <string.h>

void digest_sha1(const void *data, size_t bytes, uint8_t digest_r[SHA1_BYTES])
{
	CHECK(SHA1(data, bytes, digest_r));
}

void digest_sha256(const void *data, size_t bytes, uint8_t digest_r[SHA256_BYTES])
{
	SHA256_CTX ctx;

	CHECK(SHA256_Init(&ctx) == 1);
	CHECK(SHA256_Update(&ctx, data, bytes) == 1);
	CHECK(SHA256_Final(digest_r, &ctx) == 1);
}

/* RFC 2104 on the plain calls, for the same reason. */
void digest_hmac_sha256(const void *key, size_t key_bytes, const void *data, size_t bytes,
			uint8_t mac_r[SHA256_BYTES])
{
	uint8_t inner[SHA256_CBLOCK] = { 0 }, outer[SHA256_CBLOCK];
	SHA256_CTX ctx;

	if (key_bytes > sizeof(inner))
		digest_sha256(key, key_bytes, inner);
	else
		memcpy(inner, key, key_bytes);
	for (size_t i = 0; i < sizeof(inner); i++) {
		outer[i] = inner[i] ^ 0x5c;
		inner[i] ^= 0x36;
	}
	CHECK(SHA256_Init(&ctx) == 1 && SHA256_Update(&ctx, inner, sizeof(inner)) == 1);
	CHECK(SHA256_Update(&ctx, data, bytes) == 1 && SHA256_Final(mac_r, &ctx) == 1);
	CHECK(SHA256_Init(&ctx) == 1 && SHA256_Update(&ctx, outer, sizeof(outer)) == 1);
	CHECK(SHA256_Update(&ctx, mac_r, SHA256_BYTES) == 1 && SHA256_Final(mac_r, &ctx) == 1);
	OPENSSL_cleanse(inner, sizeof(inner));
	OPENSSL_cleanse(outer, sizeof(outer));
	OPENSSL_cleanse(&ctx, sizeof(ctx));
}

void digest_hex(const uint8_t *data, size_t bytes, char *text_r)
{
	static const char hex[] = "0123456789abcdef";

	for (size_t i = 0; i < bytes; i++) {
		*text_r++ = hex[data[i] >> 4];
		*text_r++ = hex[data[i] & 15];
	}
	*text_r = '\0';
}

static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

bool digest_unhex(const char *text, size_t text_bytes, uint8_t *data_r)
{
	if (text_bytes % 2 != 0)
		return false;
	for (size_t i = 0; i < text_bytes; i += 2) {
		int high = hex_value(text[i]), low = hex_value(text[i + 1]);

		if (high < 0 || low < 0)
			return false;
		data_r[i / 2] = (uint8_t)(high << 4 | low);
	}
	return true;
}

bool digest_equal(const void *a, const void *b, size_t bytes)
{
	return CRYPTO_memcmp(a, b, bytes) == 0;
}

static size_t base64_bytes(size_t bytes)
{
	CHECK(bytes < SIZE_MAX / 4);
	return (bytes + 2) / 3 * 4;
}

/* Returns the end of the text, which it does not terminate. */
static char *encode(const void *data, size_t bytes, char *at)
{
	static const char digits[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	const uint8_t *p = data;

	for (size_t i = 0; i < bytes; i += 3) {
		size_t left = bytes - i;
		uint32_t group = (uint32_t)p[i] << 16 | (left > 1 ? (uint32_t)p[i + 1] << 8 : 0) |
				 (left > 2 ? p[i + 2] : 0);

		*at++ = digits[group >> 18];
		*at++ = digits[group >> 12 & 63];
		*at++ = left > 1 ? digits[group >> 6 & 63] : '=';
		*at++ = left > 2 ? digits[group & 63] : '=';
	}
	return at;
}

char *base64_encode(struct arena *arena, const void *data, size_t bytes)
{
	char *text = arena_alloc(arena, base64_bytes(bytes) + 1);

	*encode(data, bytes, text) = '\0';
	return text;
}

void base64_json(struct strbuf *out, const void *data, size_t bytes)
{
	strbuf_addstr(out, "{\"base64\":\"");
	strbuf_reserve(out, base64_bytes(bytes));
	encode(data, bytes, out->data + out->len);
	out->len += base64_bytes(bytes);
	strbuf_addstr(out, "\"}");
}

static int base64_value(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* Four characters of which the last `pads` are padding. Bits that the padding leaves over must be
 * zero: one text, one value. Returns the 24 bits, or -1. */
static int32_t base64_group(const char *text, int pads)
{
	int32_t group = 0;

	for (int i = 0; i < 4; i++) {
		int value = i < 4 - pads ? base64_value(text[i]) : 0;

		if (value < 0)
			return -1;
		group = group << 6 | value;
	}
	return group & ((1 << 8 * pads) - 1) ? -1 : group;
}

int base64_decode(struct arena *arena, const char *text, size_t text_bytes, void **data_r,
		  size_t *bytes_r)
{
	uint8_t *data;
	size_t bytes = 0;

	if (text_bytes % 4 != 0)
		return -1;
	data = arena_alloc(arena, text_bytes / 4 * 3 + 1);
	for (size_t i = 0; i < text_bytes; i += 4) {
		int pads = i + 4 < text_bytes || text[i + 3] != '=' ? 0
			   : text[i + 2] == '='                     ? 2
								    : 1;
		int32_t group = base64_group(text + i, pads);

		if (group < 0)
			return -1;
		for (int k = 0; k < 3 - pads; k++)
			data[bytes++] = (uint8_t)(group >> (16 - 8 * k));
	}
	data[bytes] = '\0';
	*data_r = data;
	*bytes_r = bytes;
	return 0;
}
