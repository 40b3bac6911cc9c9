/* SPDX-License-Identifier: Apache-2.0 */
/* Who calls: joins the keys and the issuer's tokens. The keys may be read again while requests run.
 */
#ifndef PRODUCERS_GATEWAY_ACCESS_H
#define PRODUCERS_GATEWAY_ACCESS_H
#include "common/config/settings.h"
#include "producers/gateway/caller.h"

enum access_verdict {
	ACCESS_GRANTED,
	ACCESS_NO_KEY,    /* nothing, or no key or token that would be known */
	ACCESS_BAD_TOKEN, /* a token that is refused, *why_r says for what */
	ACCESS_AWAY,      /* nobody can say: the issuer's keys were never there */
};

struct access;

/* What the settings say. NULL: *err_r, the message of a configuration error. */
struct access *access_new(const struct settings *settings, struct error *err_r);
void access_free(struct access **access); /* NULL-safe */
/* Does nobody need a key? */
bool access_open(const struct access *access);
/* The caller of an Authorization header's value (or NULL), as a reference. Any thread; does not
 * block. */
enum access_verdict access_find(struct access *access, const char *authorization, int64_t now_ms,
				const struct caller **caller_r, const char **why_r);
/* Takes these keys instead of the old ones, which stay when the text is wrong, or would open to
 * everybody what was not. */
int access_reload(struct access *access, const char *api_keys, struct error *err_r) must_check;

#endif
