/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP for SQS and for the places that hand out its credentials: many requests at once over kept
 * connections, each with time-outs and a largest answer, signed when asked. Knows neither SQS nor
 * its errors. The only file of SQS that sees libcurl. One thread, but for the wake-up. Used by
 * sqs_client.c and sqs_credentials.c. */
#ifndef COMMON_BROKER_SQS_HTTP_H
#define COMMON_BROKER_SQS_HTTP_H
#include <stdbool.h>
#include <stddef.h>

#include "common/base/check.h"

struct sqs_http;

struct sqs_http_request {
	const char *method; /* GET, PUT, POST */
	const char *url;    /* no query, no escapes in the path: libcurl would sign it wrongly */
	const char *const *headers; /* "Name: value", NULL at the end; signed too */
	const char *body;           /* POST; lives until the end of the request */
	size_t body_bytes;
	const char *region, *key_id, *secret; /* signature version 4 for sqs; NULL: none */
	int timeout_ms;
	size_t answer_bytes_max;
};

struct sqs_http_answer {
	int status; /* 0: none came; the request may have been carried out */
	const char *body;
	size_t body_bytes;
	const char *why; /* status 0 */
};

/* Records, and may start other requests; must not poll. What `answer` points to is gone after. */
typedef void sqs_http_done_fn(void *ctx, const struct sqs_http_answer *answer);

struct sqs_http *sqs_http_new(const char *ca_file); /* NULL: the system's */
void sqs_http_free(struct sqs_http **http);         /* ends what is open: status 0 */
void sqs_http_start(struct sqs_http *http, const struct sqs_http_request *request,
		    sqs_http_done_fn *done, void *ctx);
/* Goes on with all requests; waits up to timeout_ms unless one ends, or wake is called. */
void sqs_http_poll(struct sqs_http *http, int timeout_ms);
void sqs_http_wake(struct sqs_http *http); /* any thread */
size_t sqs_http_open(const struct sqs_http *http);

#endif
