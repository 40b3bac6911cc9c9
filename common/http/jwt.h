/* SPDX-License-Identifier: Apache-2.0 */
/* JSON Web Tokens of one issuer, checked as RFC 8725 wants it: which key and which algorithm is
 * ours to say, never the token's. */
#ifndef COMMON_HTTP_JWT_H
#define COMMON_HTTP_JWT_H
#include <stdint.h>

#include <jansson.h>

#include "common/http/jws.h"

#define JWT_BYTES_MAX (8 * 1024)
#define JWT_LEEWAY_MS INT64_C(60000) /* how far clocks may be apart */

struct jwt_policy {
	const char *issuer;   /* iss is exactly this */
	const char *audience; /* aud is this, or has it in its list */
};

enum jwt_verdict {
	JWT_GOOD,
	JWT_REFUSED,
	JWT_UNKNOWN_KEY, /* the set has no such kid: perhaps a newer one has */
};

/* Does this look like a compact token at all (two dots)? */
bool jwt_looks_like_one(const char *text);
/* JWT_GOOD: *claims_r is a new reference, *until_ms_r the time from which on it is no longer good.
 * Otherwise *why_r is one static sentence. Pure but for the CPU time of a signature (40 to 160 us).
 */
enum jwt_verdict jwt_check(const struct jwt_policy *policy, const struct jws_keys *keys,
			   const char *token, int64_t now_ms, json_t **claims_r,
			   int64_t *until_ms_r, const char **why_r);

#endif
