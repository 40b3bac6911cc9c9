/* SPDX-License-Identifier: Apache-2.0 */
/* API keys: who may call. A key is shown to its owner once, as wl_<id>_<secret>; here only its
 * SHA-256 is known. One key a line (or between semicolons): id=web hash=<64 hex> tenant=acme
 * scopes=enqueue:order.*,read expires=2027-01-01T00:00:00Z rate=100/s burst=200 waiting=10000. Two
 * keys of one id may live side by side while the secret is being changed. */
#ifndef PRODUCERS_GATEWAY_KEYRING_H
#define PRODUCERS_GATEWAY_KEYRING_H
#include <stdint.h>

#include "producers/gateway/caller.h"

struct keyring;

/* NULL: *err_r names the line and what is wrong with it. Empty text gives an empty ring. */
struct keyring *keyring_parse(const char *text, struct error *err_r);
void keyring_free(struct keyring **ring);
bool keyring_empty(const struct keyring *ring);
/* Has a key this id, whether it has expired or not? */
bool keyring_has(const struct keyring *ring, const char *id);
/* The caller of an Authorization header's value, the ring's own; or NULL: none, malformed, unknown,
 * wrong or expired. Takes the same time for an unknown id as for a wrong secret. */
const struct caller *keyring_find(const struct keyring *ring, const char *authorization,
				  int64_t now_ms);
/* "100/s", "6000/m" -> requests a second. False: it is none. */
bool keyring_rate(const char *text, double *per_s_r);

#endif
