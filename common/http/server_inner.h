/* SPDX-License-Identifier: Apache-2.0 */
/* A request without a connection: another door than HTTP has taken it in and goes through the same
 * steps with it. Whoever carries it (producers/gateway/inner.c) runs its steps one after the other
 * on a thread of its own; steps see no difference. No socket and no libmicrohttpd here. */
#ifndef COMMON_HTTP_SERVER_INNER_H
#define COMMON_HTTP_SERVER_INNER_H
#include "common/http/server.h"

#define INNER_FIELDS_MAX 8

struct inner_field {
	const char *name, *value;
};

struct inner_head { /* the strings live until request_inner_end */
	const char *method, *target;
	struct inner_field fields[INNER_FIELDS_MAX];
	size_t field_count;
	const char *body; /* NUL-terminated as well; NULL: none */
	size_t body_bytes;
	const _Atomic bool *gone; /* the client is: what request_gone says */
};

struct inner_answer {
	int status;
	const char *content_type; /* static; NULL: no body */
	char *body;               /* free() it, unless body_static; may be NULL */
	size_t bytes;
	bool body_static;
};

/* A parked request was woken: the carrier has its next step run, on the carrier's thread. Called on
 * any thread; must not block. */
typedef void request_woken_fn(struct request *request, void *owner);

/* Steps, user_bytes and ctx are taken of the options, nothing else. May be used for one request
 * after the other. */
struct request *request_inner_new(const struct server_options *options, request_woken_fn *woken);
void request_inner_free(struct request **request); /* not while one is open; NULL-safe */
/* Takes the head in and runs the first steps. True: answered; false: parked. */
bool request_inner_begin(struct request *request, const struct inner_head *head, void *owner);
/* Runs the next step of a request that was woken. True: answered. */
bool request_inner_step(struct request *request);
/* Of an answered request: one of the answer's header fields, or NULL. */
const char *request_inner_header(const struct request *request, const char *name);
/* Runs on_end, hands the answer over and forgets the request. */
void request_inner_end(struct request *request, struct inner_answer *answer_r);

#endif
