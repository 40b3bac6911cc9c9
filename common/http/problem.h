/* SPDX-License-Identifier: Apache-2.0 */
/* Problem documents, RFC 9457 (application/problem+json): how every refusal of the HTTP API looks.
 */
#ifndef COMMON_HTTP_PROBLEM_H
#define COMMON_HTTP_PROBLEM_H
#include <stddef.h>

#include "common/base/strbuf.h"

#define PROBLEM_CONTENT_TYPE "application/problem+json"

struct problem_place {
	const char *pointer; /* RFC 6901 into the request's body */
	const char *keyword; /* of a JSON Schema: "minimum"; or NULL */
	const char *detail;
};

struct problem {
	int status;
	/* "unknown-type"; the type is urn:windlass:problem:<slug>. NULL: about:blank */
	const char *slug;
	const char *title;                  /* NULL: the status code's own words */
	const char *detail;                 /* or NULL */
	const char *instance;               /* or NULL */
	const struct problem_place *places; /* `errors` */
	size_t place_count;
	size_t places_more; /* `more_errors`: beside those; 0: absent */
	int line, column;   /* of malformed JSON; 0: absent */
};

void problem_write(const struct problem *problem, struct strbuf *out);
const char *
problem_status_title(int status); /* "Not Found"; "Error" for codes that we do not use */

#endif
