/* SPDX-License-Identifier: Apache-2.0 */
/* OAuth 2.0 client credentials (RFC 6749 section 4.4) of one target: when a token is needed, the
 * request for one, and what its answer means. Sends nothing: that is remote.c. Time is an input,
 * monotonic. The remote's thread only. */
#ifndef WORKERS_REMOTE_TOKEN_H
#define WORKERS_REMOTE_TOKEN_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/error.h"
#include "common/base/list.h"
#include "common/base/strbuf.h"

struct token_source {
	char *url, *client_id, *client_secret, *scope; /* scope NULL: none asked for */
	char *header; /* "Authorization: Bearer …" of the token; NULL: none yet */
	int64_t refresh_ns, expires_ns; /* of the token */
	uint64_t number;                /* of the token: how many came so far */
	bool fetching;                  /* at most one request at a time */
	int64_t forced_ns;              /* the last time that a token was thrown away */
	struct list waiting;            /* struct remote_call: until there is a token */
};

struct token_source *token_source_new(const char *url, const char *client_id,
				      const char *client_secret, const char *scope);
void token_source_free(struct token_source **source);
/* Is there a token that is good still? */
bool token_good(const struct token_source *source, int64_t now_ns);
/* Should one be asked for now? Also while the old one is good, shortly before it expires. */
bool token_wanted(const struct token_source *source, int64_t now_ns);
/* The request: a form, and the header with the client's credentials. */
void token_request(const struct token_source *source, struct strbuf *form_r,
		   struct strbuf *authorization_r);
/* Takes the answer's token. -1: it has none; *err_r never quotes the answer. */
int token_take(struct token_source *source, int status, const char *body, size_t bytes,
	       int64_t now_ns, struct error *err_r) must_check;
/* A call with this token (its number) got 401. True: the token is thrown away and the call may be
 * made once more; at most once in 10 s, and not when a newer one has come meanwhile already. */
bool token_refused(struct token_source *source, uint64_t number, int64_t now_ns);

#endif
