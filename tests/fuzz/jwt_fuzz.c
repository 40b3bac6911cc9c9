/* SPDX-License-Identifier: Apache-2.0 */
/* Tokens and key sets as anybody may send them. The first byte says which: a token against a fixed
 * set (nobody has its private key, so none is good), a key set, or claims that become a caller. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/arena.h"
#include "common/base/check.h"
#include "common/http/jwt.h"
#include "producers/gateway/issuer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static const char set[] =
	"{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\",\"kid\":\"e\",\"x\":\"axfR8uEsQkf4vOblY6RA8ncDfYEt6zOg9KE5RdiYwpY\","
	"\"y\":\"T-NC4v4af5uO5-tKfA-eFivOM1drMV7Oy7ZAaDe_UfU\"}]}";

static void try_token(const char *text)
{
	static const struct jwt_policy policy = { .issuer = "i", .audience = "a" };
	static struct jws_keys *keys;
	const char *why = NULL;
	struct error err;
	json_t *claims;
	int64_t until_ms;
	size_t skipped;

	if (!keys)
		keys = jws_keys_parse(set, strlen(set), &skipped, &err);
	CHECK(keys && jws_keys_count(keys) == 1);
	(void)jwt_looks_like_one(text);
	CHECK(jwt_check(&policy, keys, text, 0, &claims, &until_ms, &why) != JWT_GOOD);
	CHECK(why && !claims);
}

static void try_set(const char *text)
{
	struct error err;
	size_t skipped;
	struct jws_keys *keys = jws_keys_parse(text, strlen(text), &skipped, &err);

	CHECK(!keys || (jws_keys_count(keys) > 0 && jws_keys_count(keys) <= JWS_KEYS_MAX));
	if (keys && jws_keys_find(keys, "e"))
		CHECK(jws_key_alg(jws_keys_find(keys, "e")));
	jws_keys_free(&keys);
}

static void try_claims(const char *text)
{
	static const struct caller_limits limits = { .rate_per_s = 1 };
	json_t *claims = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
	const struct caller *caller;
	const char *why;

	if (!json_is_object(claims)) {
		json_decref(claims);
		return;
	}
	caller = issuer_caller(claims, "tenant", &limits, &why);
	if (caller) {
		CHECK(caller->id[0] && strncmp(caller->id, "source:", 7) != 0);
		CHECK(!caller->everywhere && caller->own_only == !(caller->scopes & SCOPE_ADMIN));
		CHECK(!caller->own_only || caller_may(caller, SCOPE_READ) == false ||
		      caller_reach(caller, SCOPE_READ).owner);
	} else {
		CHECK(why);
	}
	caller_unref(&caller);
	json_decref(claims);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	static void (*const tries[])(const char *) = { try_token, try_set, try_claims };
	char *text;

	if (bytes == 0 || bytes > 16384)
		return 0;
	text = xmalloc(bytes);
	memcpy(text, data + 1, bytes - 1);
	text[bytes - 1] = 0;
	tries[data[0] % ARRAY_LEN(tries)](text);
	free(text);
	return 0;
}
