/* SPDX-License-Identifier: Apache-2.0 */
/* Tokens of the application's own issuer as callers: sub owns the jobs, a claim names the tenant,
 * scope or scp say what is allowed. Tokens that were good are remembered until they expire. */
#ifndef PRODUCERS_GATEWAY_ISSUER_H
#define PRODUCERS_GATEWAY_ISSUER_H
#include "common/config/settings.h"
#include "common/http/jwt.h"
#include "producers/gateway/caller.h"

#define ISSUER_CACHE 4096 /* tokens remembered */

enum issuer_verdict {
	ISSUER_GOOD,
	ISSUER_REFUSED,
	ISSUER_AWAY, /* its keys were never there */
};

struct issuer;

/* Are the settings complete and right, as far as can be seen without looking for keys? */
int issuer_check(const struct settings *settings, struct error *err_r) must_check;
/* NULL: *err_r names the setting. */
struct issuer *issuer_start(const struct settings *settings, struct error *err_r);
void issuer_stop(struct issuer **issuer); /* NULL-safe */
/* ISSUER_GOOD: *caller_r is a reference. ISSUER_REFUSED: *why_r is a static sentence. Any thread;
 * does not block. */
enum issuer_verdict issuer_find(struct issuer *issuer, const char *token, int64_t now_ms,
				const struct caller **caller_r, const char **why_r);
void issuer_look(struct issuer *issuer); /* for newer keys, as an operator asks */

/* The caller that good claims make, or NULL: *why_r. Pure; for issuer.c and its tests. */
const struct caller *issuer_caller(const json_t *claims, const char *tenant_claim,
				   const struct caller_limits *limits, const char **why_r);

#endif
