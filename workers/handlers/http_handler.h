/* SPDX-License-Identifier: Apache-2.0 */
/* Jobs of `http:` types have no handler process: their one call is made from the definition's
 * templates. */
#ifndef WORKERS_HANDLERS_HTTP_HANDLER_H
#define WORKERS_HANDLERS_HTTP_HANDLER_H
#include "common/config/definitions.h"
#include "common/store/claim.h"

struct http_parts { /* all of it in the job's arena */
	const char *url;
	const char *const *headers; /* "Name: value", NULL-terminated */
	const char *body;           /* NULL: none */
	size_t body_bytes;
	const char *lookup_url; /* NULL: none */
	const char *const *lookup_headers;
};

/* Fills in the templates for this job; `key` is what ${call.key} stands for. 0, or -1:
 * ERROR_INVALID: the payload does not give what is needed; ERROR_UNAVAILABLE: a variable is not set
 * here. */
int http_handler_parts(const struct http_definition *http, const struct claimed_job *job,
		       const char *key, struct http_parts *parts_r, struct error *err_r) must_check;

/* One text of that kind, in the job's arena; NULL: as above. */
const char *http_handler_text(const struct text_template *template, const struct claimed_job *job,
			      const char *key, struct error *err_r);

#endif
