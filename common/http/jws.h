/* SPDX-License-Identifier: Apache-2.0 */
/* The public keys of an issuer (a JWK set, RFC 7517) and the check of a signature by one of them:
 * libcjose behind plain types. The algorithm is the key's: what its `alg` says, else RS256 for RSA
 * and the curve's own for EC. Never HMAC, never `none`; no EdDSA, which libcjose does not have. */
#ifndef COMMON_HTTP_JWS_H
#define COMMON_HTTP_JWS_H
#include <stdbool.h>
#include <stddef.h>

#include "common/base/error.h"

#define JWS_SET_BYTES_MAX (256 * 1024)
#define JWS_KEYS_MAX      64
#define JWS_KID_BYTES_MAX 256

struct jws_keys; /* never changes; may be used by several threads at once */
struct jws_key;

/* The usable keys of a set; *skipped_r others are left out: of another use, kind or algorithm, RSA
 * below 2048 bits, private, or with a kid that is taken. NULL: ERROR_INVALID, also when none is
 * left. */
struct jws_keys *jws_keys_parse(const char *text, size_t bytes, size_t *skipped_r,
				struct error *err_r);
void jws_keys_free(struct jws_keys **keys); /* NULL-safe */
size_t jws_keys_count(const struct jws_keys *keys);
/* The key of this kid, compared as it stands; kid NULL: the only one of the set. NULL: none. */
const struct jws_key *jws_keys_find(const struct jws_keys *keys, const char *kid);
const char *jws_key_alg(const struct jws_key *key);
/* Is the signature of a compact token right? Its header was checked to name the key's algorithm,
 * without duplicate members. */
bool jws_key_verify(const struct jws_key *key, const char *token, size_t bytes,
		    size_t signature_bytes);

#endif
