/* SPDX-License-Identifier: Apache-2.0 */
/* API keys: who may call. A key is shown to its owner once, as wl_<id>_<secret>; here only its
 * SHA-256 is known. One key a line (or between semicolons): id=web hash=<64 hex> tenant=acme
 * scopes=enqueue:order.*,read expires=2027-01-01T00:00:00Z. Two keys of one id may live side by
 * side while the secret is being changed. */
#ifndef PRODUCERS_GATEWAY_KEYRING_H
#define PRODUCERS_GATEWAY_KEYRING_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/error.h"

/* bits */
enum scope {
	SCOPE_NONE = 0,
	SCOPE_ENQUEUE = 1, /* of the types that match */
	SCOPE_READ = 2,    /* jobs of the own tenant, queues */
	SCOPE_CANCEL = 4,
	/* all of these, and retry and redrive in the own tenant; without tenant=: everything */
	SCOPE_ADMIN = 8,
};

#define CALLER_GLOBS_MAX 16

struct caller {
	const char *id;     /* the key's; becomes the owner of jobs */
	const char *tenant; /* "" : the default tenant */
	unsigned scopes;
	const char *globs[CALLER_GLOBS_MAX]; /* types that may be enqueued; "order.*", "*" */
	size_t glob_count;
	bool everywhere; /* sees all tenants, pauses queues, reads metrics */
};

struct keyring;

/* NULL: *err_r names the line and what is wrong with it. Empty text gives an empty ring. */
struct keyring *keyring_parse(const char *text, struct error *err_r);
void keyring_free(struct keyring **ring);
bool keyring_empty(const struct keyring *ring);
/* The caller of an Authorization header's value, or NULL: none, malformed, unknown, wrong or
 * expired. Takes the same time for an unknown id as for a wrong secret. */
const struct caller *keyring_find(const struct keyring *ring, const char *authorization,
				  int64_t now_ms);
/* Who calls when there are no keys: everything is allowed, on loopback. */
const struct caller *keyring_anybody(void);

bool caller_may(const struct caller *caller, enum scope scope);
bool caller_may_enqueue(const struct caller *caller, const char *type);
/* The tenant for store queries: NULL sees all. */
const char *caller_view(const struct caller *caller);

#endif
