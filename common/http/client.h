/* SPDX-License-Identifier: Apache-2.0 */
/* A plain HTTP client for Windlass's own API and the keys of the tokens' issuer: one request, one
 * answer, on libcurl. Not for what jobs call: that is workers/remote/, with its guards. Follows no
 * redirects and never sends a request twice. */
#ifndef COMMON_HTTP_CLIENT_H
#define COMMON_HTTP_CLIENT_H
#include <stddef.h>
#include <stdint.h>

#include "common/base/error.h"
#include "common/base/strbuf.h"

struct client_request {
	const char *method;
	const char *url;
	const char *key;  /* sent as a bearer token; NULL or "": none */
	const char *body; /* JSON, or NULL */
	size_t body_bytes;
	int64_t timeout_ms; /* of the whole exchange */
	size_t answer_bytes_max;
	const char *ca_file; /* NULL or "": the system's */
	const char *etag;    /* If-None-Match; NULL or "": none */
};

struct client_answer {
	int status;
	struct strbuf body; /* to be released by the caller, also after a failure */
	char etag[128];     /* "" when there is none, or a longer one */
	int64_t max_age_s;  /* of Cache-Control; -1: it says nothing */
};

/* 0: there is an answer, whatever its status. -1: ERROR_INVALID (URL), ERROR_UNAVAILABLE (not
 * reached: nothing was done), ERROR_UNKNOWN (sent, but no answer came, or not in time), ERROR_FULL
 * (answer too large). Blocks up to timeout_ms. */
int client_call(const struct client_request *request, struct client_answer *answer_r,
		struct error *err_r) must_check;
/* What a problem document (or any other answer) says, in one line for people: "unknown job type
 * \"x\" (/type)". */
void client_problem(const struct client_answer *answer, struct strbuf *out);

#endif
