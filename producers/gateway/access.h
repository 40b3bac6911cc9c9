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

/* Are the settings about access right? *open_r: nobody would need a key. -1: the message of a
 * configuration error. Reads no URL. */
int access_check(const struct settings *settings, bool *open_r, struct error *err_r) must_check;
/* Reads the keys, and starts to look for the issuer's. NULL: *err_r as access_check. */
struct access *access_new(const struct settings *settings, struct error *err_r);
void access_free(struct access **access); /* NULL-safe */
/* Does nobody need a key? The same as long as it lives. Any thread. */
bool access_open(const struct access *access);
/* The caller of an Authorization header's value (or NULL), as a reference. Any thread; does not
 * block. */
enum access_verdict access_find(struct access *access, const char *authorization, int64_t now_ms,
				const struct caller **caller_r, const char **why_r);
/* Takes these keys instead of the old ones, which stay when the text is wrong, or would begin or
 * end that anybody needs one. One thread at a time. */
int access_reload(struct access *access, const char *api_keys, struct error *err_r) must_check;
void access_look(struct access *access); /* for newer keys of the issuer, as an operator asks */

#endif
