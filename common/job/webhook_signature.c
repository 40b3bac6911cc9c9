/* SPDX-License-Identifier: Apache-2.0 */
/* Keys and signatures of webhooks. The settings check the text of the keys, workers sign with them;
 * a key is held nowhere but in struct webhook_keys. */
#include "common/job/webhook_signature.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/base/digest.h"
#include "common/base/strbuf.h"

#define PREFIX     "whsec_"
#define SEPARATORS " ,\t\r\n"

static int add_key(struct webhook_keys *keys, const char *text, size_t bytes, struct error *err_r)
{
	struct arena *arena;
	void *data = NULL;
	size_t data_bytes = 0;
	bool good;

	if (keys->count == WEBHOOK_KEYS_MAX)
		return error_set(err_r, ERROR_INVALID, "expected at most two keys");
	if (bytes < strlen(PREFIX) || strncmp(text, PREFIX, strlen(PREFIX)) != 0)
		return error_set(err_r, ERROR_INVALID,
				 "a key does not begin with whsec_; expected whsec_ and base64");
	arena = arena_new(0);
	good = base64_decode(arena, text + strlen(PREFIX), bytes - strlen(PREFIX), &data,
			     &data_bytes) == 0 &&
	       data_bytes >= WEBHOOK_KEY_BYTES_MIN && data_bytes <= WEBHOOK_KEY_BYTES_MAX;
	if (good) {
		memcpy(keys->keys[keys->count].data, data, data_bytes);
		keys->keys[keys->count++].bytes = data_bytes;
	}
	if (data)
		explicit_bzero(data, data_bytes);
	arena_free(&arena);
	return good ? 0
		    : error_set(err_r, ERROR_INVALID,
				"a key is not %d to %d bytes in base64 after whsec_",
				WEBHOOK_KEY_BYTES_MIN, WEBHOOK_KEY_BYTES_MAX);
}

int webhook_keys_parse(const char *text, struct webhook_keys *keys_r, struct error *err_r)
{
	*keys_r = (struct webhook_keys){ 0 };
	for (text += strspn(text, SEPARATORS); *text; text += strspn(text, SEPARATORS)) {
		size_t bytes = strcspn(text, SEPARATORS);

		if (add_key(keys_r, text, bytes, err_r) < 0) {
			webhook_keys_wipe(keys_r);
			return -1;
		}
		text += bytes;
	}
	return 0;
}

void webhook_keys_wipe(struct webhook_keys *keys)
{
	explicit_bzero(keys, sizeof(*keys));
}

char *webhook_sign(struct arena *arena, const struct webhook_keys *keys, const char *id,
		   int64_t timestamp_s, const char *body, size_t body_bytes)
{
	struct strbuf content, signatures;
	uint8_t mac[SHA256_BYTES];
	char *text;

	CHECK(keys->count > 0);
	strbuf_init(&content);
	strbuf_init(&signatures);
	strbuf_printf(&content, "%s.%" PRId64 ".", id, timestamp_s);
	strbuf_add(&content, body, body_bytes);
	for (size_t i = 0; i < keys->count; i++) {
		digest_hmac_sha256(keys->keys[i].data, keys->keys[i].bytes, content.data,
				   content.len, mac);
		strbuf_printf(&signatures, "%sv1,%s", i ? " " : "",
			      base64_encode(arena, mac, sizeof(mac)));
	}
	text = arena_strndup(arena, signatures.data, signatures.len);
	strbuf_release(&content);
	strbuf_release(&signatures);
	return text;
}
