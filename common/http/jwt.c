/* SPDX-License-Identifier: Apache-2.0 */
/* Takes a token apart, strictly: three parts of unpadded base64url with nothing left over, objects
 * without duplicate members. Nothing of the payload is looked at before the signature is right. */
#include "common/http/jwt.h"

#include <string.h>
#include <strings.h>

#include "common/base/arena.h"
#include "common/base/digest.h"

#define SECONDS_MAX 1e11 /* later than any date that anybody means */

struct parts {
	const char *token;
	size_t bytes;
	json_t *header;
	const char *payload; /* its JSON text */
	size_t payload_bytes, signature_bytes;
};

bool jwt_looks_like_one(const char *text)
{
	const char *dot = strchr(text, '.');

	return dot && strchr(dot + 1, '.');
}

/* Strict base64url to bytes: by way of the padded alphabet, whose decoder is as strict. */
static int decode(struct arena *arena, const char *text, size_t bytes, void **data_r,
		  size_t *bytes_r)
{
	size_t pads = (4 - bytes % 4) % 4;
	char *padded = arena_alloc(arena, bytes + 4);

	if (pads == 3)
		return -1;
	for (size_t i = 0; i < bytes; i++) {
		if (text[i] == '+' || text[i] == '/' || text[i] == '=')
			return -1;
		padded[i] = text[i] == '-' ? '+' : text[i] == '_' ? '/' : text[i];
	}
	memset(padded + bytes, '=', pads);
	return base64_decode(arena, padded, bytes + pads, data_r, bytes_r);
}

static const char *split(struct arena *arena, struct parts *parts)
{
	const char *first = strchr(parts->token, '.'),
		   *second = first ? strchr(first + 1, '.') : NULL;
	const char *end = parts->token + parts->bytes;
	void *header, *payload, *signature;
	size_t header_bytes;

	if (!second || strchr(second + 1, '.'))
		return "the token does not have three parts";
	if (decode(arena, parts->token, (size_t)(first - parts->token), &header, &header_bytes) <
		    0 ||
	    decode(arena, first + 1, (size_t)(second - first - 1), &payload,
		   &parts->payload_bytes) < 0 ||
	    decode(arena, second + 1, (size_t)(end - second - 1), &signature,
		   &parts->signature_bytes) < 0)
		return "the token is not base64url";
	parts->payload = payload;
	parts->header = json_loadb(header, header_bytes, JSON_REJECT_DUPLICATES, NULL);
	return json_is_object(parts->header) ? NULL : "the token's header is not one JSON object";
}

static bool type_fits(const json_t *typ)
{
	static const char *const types[] = { "JWT", "at+jwt", "application/at+jwt" };
	const char *text = json_string_value(typ);

	for (size_t i = 0; text && i < ARRAY_LEN(types); i++) {
		if (strcasecmp(text, types[i]) == 0)
			return true;
	}
	return !typ;
}

/* What a token may not bring along: keys of its own, or demands that we do not know. */
static const char *check_header(const json_t *header)
{
	static const char *const refused[] = { "crit", "jwk", "jku", "x5c", "x5u", "b64", "zip" };
	const json_t *kid = json_object_get(header, "kid");

	for (size_t i = 0; i < ARRAY_LEN(refused); i++) {
		if (json_object_get(header, refused[i]))
			return "the token's header has a member that is refused";
	}
	if (!type_fits(json_object_get(header, "typ")))
		return "the token is not an access token";
	if (!json_is_string(json_object_get(header, "alg")))
		return "the token names no algorithm";
	if (kid && (!json_is_string(kid) || json_string_length(kid) > JWS_KID_BYTES_MAX))
		return "the token's kid is not a name";
	return NULL;
}

static enum jwt_verdict check_signature(const struct jws_keys *keys, const struct parts *parts,
					const char **why_r)
{
	const struct jws_key *key =
		jws_keys_find(keys, json_string_value(json_object_get(parts->header, "kid")));

	*why_r = "no key of the issuer has the token's kid";
	if (!key)
		return JWT_UNKNOWN_KEY;
	*why_r = "the token's algorithm is not that of its key";
	if (strcmp(json_string_value(json_object_get(parts->header, "alg")), jws_key_alg(key)) != 0)
		return JWT_REFUSED;
	*why_r = "the token's signature is wrong";
	return jws_key_verify(key, parts->token, parts->bytes, parts->signature_bytes)
		       ? JWT_GOOD
		       : JWT_REFUSED;
}

static bool has_audience(const json_t *aud, const char *wanted)
{
	if (json_is_string(aud))
		return strcmp(json_string_value(aud), wanted) == 0;
	for (size_t i = 0; i < json_array_size(aud); i++) {
		const char *one = json_string_value(json_array_get(aud, i));
		if (one && strcmp(one, wanted) == 0)
			return true;
	}
	return false;
}

/* A NumericDate in ms. 1; 0: absent; -1: it is none. */
static int date_of(const json_t *claims, const char *name, int64_t *ms_r)
{
	const json_t *value = json_object_get(claims, name);
	double seconds = json_number_value(value);

	if (!value)
		return 0;
	if (!json_is_number(value) || !(seconds >= 0 && seconds < SECONDS_MAX))
		return -1;
	*ms_r = (int64_t)(seconds * 1000);
	return 1;
}

static const char *check_claims(const struct jwt_policy *policy, const json_t *claims,
				int64_t now_ms, int64_t *until_ms_r)
{
	const char *issuer = json_string_value(json_object_get(claims, "iss"));
	int64_t exp_ms = 0, nbf_ms = 0, iat_ms = 0;

	if (!json_is_object(claims))
		return "the token's payload is not one JSON object";
	if (!issuer || strcmp(issuer, policy->issuer) != 0)
		return "the token is of another issuer";
	if (!has_audience(json_object_get(claims, "aud"), policy->audience))
		return "the token is for another audience";
	if (date_of(claims, "exp", &exp_ms) != 1)
		return "the token has no time of expiry";
	if (date_of(claims, "nbf", &nbf_ms) < 0 || date_of(claims, "iat", &iat_ms) < 0)
		return "a time in the token is no number";
	*until_ms_r = exp_ms + JWT_LEEWAY_MS;
	if (now_ms >= *until_ms_r)
		return "the token has expired";
	if (nbf_ms - JWT_LEEWAY_MS > now_ms || iat_ms - JWT_LEEWAY_MS > now_ms)
		return "the token is not valid yet";
	return NULL;
}

enum jwt_verdict jwt_check(const struct jwt_policy *policy, const struct jws_keys *keys,
			   const char *token, int64_t now_ms, json_t **claims_r,
			   int64_t *until_ms_r, const char **why_r)
{
	struct parts parts = { .token = token, .bytes = strnlen(token, JWT_BYTES_MAX + 1) };
	enum jwt_verdict verdict = JWT_REFUSED;
	struct arena *arena;

	*claims_r = NULL;
	*why_r = "the token is too long";
	if (parts.bytes > JWT_BYTES_MAX)
		return JWT_REFUSED;
	arena = arena_new(0);
	*why_r = split(arena, &parts);
	if (!*why_r)
		*why_r = check_header(parts.header);
	if (!*why_r)
		verdict = check_signature(keys, &parts, why_r);
	if (verdict == JWT_GOOD) {
		*claims_r = json_loadb(parts.payload, parts.payload_bytes, JSON_REJECT_DUPLICATES,
				       NULL);
		*why_r = check_claims(policy, *claims_r, now_ms, until_ms_r);
		if (*why_r) {
			json_decref(*claims_r);
			*claims_r = NULL;
			verdict = JWT_REFUSED;
		}
	}
	json_decref(parts.header);
	arena_free(&arena);
	return verdict;
}
