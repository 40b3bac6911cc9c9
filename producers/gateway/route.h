/* SPDX-License-Identifier: Apache-2.0 */
/* Routes: an array that can be read, and how a request finds its row. */
#ifndef PRODUCERS_GATEWAY_ROUTE_H
#define PRODUCERS_GATEWAY_ROUTE_H
#include "common/http/target.h"
#include "producers/gateway/caller.h"

struct exchange;

typedef void route_handler_fn(struct exchange *exchange);

enum route_body { BODY_NONE, BODY_OPTIONAL, BODY_JOB, BODY_BATCH };

enum route_access {
	ACCESS_KEY,   /* a key or token with the scope */
	ACCESS_WATCH, /* the same, or ?watch_token= for the job {id} */
	/* as these two, and ?token= takes what is in Authorization otherwise, or a watch token:
	 * with an EventSource or a WebSocket a browser sends no such header */
	ACCESS_KEY_PARAM,
	ACCESS_WATCH_PARAM,
	ACCESS_ADMIN, /* the same; on a separate loopback admin listener no key is asked for */
	/* as ACCESS_ADMIN, and the key must not be bound to a tenant: it concerns all of them */
	ACCESS_OPERATOR,
	ACCESS_PUBLIC, /* everybody */
};

struct route {
	const char *method;  /* GET answers HEAD as well */
	const char *pattern; /* "/v1/jobs/{id}"; at most one {part} */
	enum route_access access;
	enum scope scope;
	enum route_body body;
	route_handler_fn *handler;
};

#define ROUTE_ALLOW_BYTES 64

struct route_match {
	const struct route *route; /* NULL: no such path, or not with this method */
	const char *part;          /* what {part} stands for, or NULL */
	/* "GET, HEAD, POST, OPTIONS"; "" when there is no such path */
	char allow[ROUTE_ALLOW_BYTES];
};

void route_find(const struct route *routes, size_t count, const char *method,
		const struct target *target, struct route_match *match_r);

#endif
