/* SPDX-License-Identifier: Apache-2.0 */
/* The only place that knows libcjose. It takes the algorithm from a token's header and asks only
 * for the right kind of key, not for the right curve or length: both are settled here before. */
#include "common/http/jws.h"

#include <stdlib.h>
#include <string.h>

#include <cjose/cjose.h>
#include <jansson.h>

#include "common/base/arena.h"

#define RSA_BITS_MIN 2048
#define RSA_BITS_MAX 8192 /* a check takes time by the square of this */

struct jws_key {
	cjose_jwk_t *jwk;
	char *kid; /* or NULL */
	const char *alg;
	size_t signature_bytes;
};

struct jws_keys {
	struct jws_key keys[JWS_KEYS_MAX];
	size_t count;
};

/* The first row of a kind is what a key without `alg` is for. */
static const struct algorithm {
	const char *name, *kty, *crv;
	size_t signature_bytes; /* 0: as long as the key */
} algorithms[] = {
	{ "RS256", "RSA", NULL, 0 },        { "RS384", "RSA", NULL, 0 },
	{ "RS512", "RSA", NULL, 0 },        { "PS256", "RSA", NULL, 0 },
	{ "PS384", "RSA", NULL, 0 },        { "PS512", "RSA", NULL, 0 },
	{ "ES256", "EC", "P-256", 2 * 32 }, { "ES384", "EC", "P-384", 2 * 48 },
	{ "ES512", "EC", "P-521", 2 * 66 },
};

static const char *text_of(const json_t *jwk, const char *name)
{
	return json_string_value(json_object_get(jwk, name));
}

static const struct algorithm *algorithm_of(const json_t *jwk)
{
	const char *kty = text_of(jwk, "kty"), *crv = text_of(jwk, "crv");
	const json_t *alg = json_object_get(jwk, "alg");

	for (size_t i = 0; kty && i < ARRAY_LEN(algorithms); i++) {
		const struct algorithm *row = &algorithms[i];
		bool kind = strcmp(row->kty, kty) == 0 &&
			    (!row->crv || (crv && strcmp(row->crv, crv) == 0));
		if (kind && (!alg || (json_is_string(alg) &&
				      strcmp(json_string_value(alg), row->name) == 0)))
			return row;
	}
	return NULL;
}

/* Is it a public key for checking signatures? */
static bool is_for_checking(const json_t *jwk)
{
	const json_t *use = json_object_get(jwk, "use"), *ops = json_object_get(jwk, "key_ops");
	bool verifies = !ops;

	for (size_t i = 0; i < json_array_size(ops); i++) {
		const char *op = json_string_value(json_array_get(ops, i));
		verifies |= op && strcmp(op, "verify") == 0;
	}
	return verifies && !json_object_get(jwk, "d") &&
	       (!use || (json_is_string(use) && strcmp(json_string_value(use), "sig") == 0));
}

static bool kid_fits(const struct jws_keys *keys, const json_t *kid)
{
	if (!kid)
		return true;
	if (!json_is_string(kid) || json_string_length(kid) == 0 ||
	    json_string_length(kid) > JWS_KID_BYTES_MAX)
		return false;
	for (size_t i = 0; i < keys->count; i++) {
		if (keys->keys[i].kid && strcmp(keys->keys[i].kid, json_string_value(kid)) == 0)
			return false;
	}
	return true;
}

/* libcjose asserts where it should refuse, so it gets nothing but what it needs, well-formed. */
static bool copy_member(json_t *copy, const json_t *jwk, const char *name)
{
	const char *text = text_of(jwk, name);
	size_t bytes = text ? strlen(text) : 0;

	if (bytes == 0 || bytes % 4 == 1 ||
	    text[strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")])
		return false;
	CHECK(json_object_set_new(copy, name, json_string(text)) == 0);
	return true;
}

static char *essence_of(const json_t *jwk, const struct algorithm *algorithm)
{
	json_t *copy = json_object();
	char *text = NULL;
	bool good;

	CHECK(copy && json_object_set_new(copy, "kty", json_string(algorithm->kty)) == 0);
	if (algorithm->crv) {
		CHECK(json_object_set_new(copy, "crv", json_string(algorithm->crv)) == 0);
		good = copy_member(copy, jwk, "x") && copy_member(copy, jwk, "y");
	} else {
		good = copy_member(copy, jwk, "n") && copy_member(copy, jwk, "e");
	}
	if (good)
		text = json_dumps(copy, JSON_COMPACT);
	json_decref(copy);
	return text;
}

static cjose_jwk_t *import(const json_t *jwk, const struct algorithm *algorithm, size_t *bits_r)
{
	char *text = essence_of(jwk, algorithm);
	cjose_jwk_t *key;
	cjose_err error;

	if (!text)
		return NULL;
	key = cjose_jwk_import(text, strlen(text), &error);
	free(text);
	if (!key)
		return NULL;
	*bits_r = cjose_jwk_get_keysize(key, &error);
	if (strcmp(algorithm->kty, "RSA") != 0 ||
	    (*bits_r >= RSA_BITS_MIN && *bits_r <= RSA_BITS_MAX))
		return key;
	cjose_jwk_release(key);
	return NULL;
}

static bool add_key(struct jws_keys *keys, const json_t *jwk)
{
	const struct algorithm *algorithm = algorithm_of(jwk);
	const json_t *kid = json_object_get(jwk, "kid");
	struct jws_key *key = &keys->keys[keys->count];
	size_t bits = 0;

	if (!algorithm || !is_for_checking(jwk) || !kid_fits(keys, kid))
		return false;
	key->jwk = import(jwk, algorithm, &bits);
	if (!key->jwk)
		return false;
	key->alg = algorithm->name;
	key->kid = kid ? xstrdup(json_string_value(kid)) : NULL;
	key->signature_bytes =
		algorithm->signature_bytes ? algorithm->signature_bytes : (bits + 7) / 8;
	keys->count++;
	return true;
}

struct jws_keys *jws_keys_parse(const char *text, size_t bytes, size_t *skipped_r,
				struct error *err_r)
{
	json_t *root = bytes > JWS_SET_BYTES_MAX
			       ? NULL
			       : json_loadb(text, bytes, JSON_REJECT_DUPLICATES, NULL);
	const json_t *list = json_object_get(root, "keys");
	struct jws_keys *keys = xcalloc(1, sizeof(*keys));

	*skipped_r = 0;
	for (size_t i = 0; i < json_array_size(list); i++) {
		if (keys->count == JWS_KEYS_MAX || !add_key(keys, json_array_get(list, i)))
			++*skipped_r;
	}
	if (!json_is_array(list))
		error_set(err_r, ERROR_INVALID, "not a JWK set: expected {\"keys\": [...]}");
	else if (!keys->count)
		error_set(
			err_r, ERROR_INVALID,
			"no key of the set can be used: expected RSA of 2048 bits or more, or EC");
	json_decref(root);
	if (!keys->count)
		jws_keys_free(&keys);
	return keys;
}

void jws_keys_free(struct jws_keys **keys_)
{
	struct jws_keys *keys = *keys_;

	*keys_ = NULL;
	for (size_t i = 0; keys && i < keys->count; i++) {
		cjose_jwk_release(keys->keys[i].jwk);
		free(keys->keys[i].kid);
	}
	free(keys);
}

size_t jws_keys_count(const struct jws_keys *keys)
{
	return keys->count;
}

const struct jws_key *jws_keys_find(const struct jws_keys *keys, const char *kid)
{
	if (!kid)
		return keys->count == 1 ? &keys->keys[0] : NULL;
	for (size_t i = 0; i < keys->count; i++) {
		if (keys->keys[i].kid && strcmp(keys->keys[i].kid, kid) == 0)
			return &keys->keys[i];
	}
	return NULL;
}

const char *jws_key_alg(const struct jws_key *key)
{
	return key->alg;
}

bool jws_key_verify(const struct jws_key *key, const char *token, size_t bytes,
		    size_t signature_bytes)
{
	cjose_err error;
	cjose_jws_t *jws;
	bool good;

	if (signature_bytes != key->signature_bytes)
		return false;
	jws = cjose_jws_import(token, bytes, &error);
	if (!jws)
		return false;
	good = cjose_jws_verify(jws, key->jwk, &error);
	cjose_jws_release(jws);
	return good;
}
