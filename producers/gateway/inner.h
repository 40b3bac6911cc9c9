/* SPDX-License-Identifier: Apache-2.0 */
/* Requests of the doors that do not speak HTTP requests (WebSocket, gRPC) or make several of one
 * (GraphQL). A door turns what its client says into a method, a target, an Authorization and a JSON
 * body, and the answer into its own protocol. In between it is a request like any other: same route
 * table, same key, scope, rate, quota and size, same refusals, counted alike. Only Host and Origin
 * are not looked at: those are the door's. One thread runs the steps of all of them. */
#ifndef PRODUCERS_GATEWAY_INNER_H
#define PRODUCERS_GATEWAY_INNER_H
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#include "common/base/strbuf.h"
#include "common/http/server.h"
#include "producers/gateway/gateway.h"

#define INNER_WAITING_MAX 20000 /* asked and not done; waiting for a job to end counts */

struct inner;
struct inner_request;
struct request;

/* Once, on the inner thread; must not block: it hands the request to the door's own loop. */
typedef void inner_done_fn(struct inner_request *request);

enum inner_door { DOOR_WS, DOOR_GRPC, DOOR_GRAPHQL, DOOR_COUNT };

/* Lies in the door's memory, zeroed first; it and all it points to stay as they are until done().
 */
struct inner_request {
	enum inner_door door;      /* whose figures it counts among */
	const char *method;        /* "GET" or "POST" */
	const char *target;        /* "/v1/jobs/0192…?wait=30s"; see inner_escape */
	const char *authorization; /* these four: the value of that header, or NULL */
	const char *idempotency_key;
	const char *traceparent;
	const char *prefer;
	const char *content_type; /* NULL: application/json */
	const char *body;         /* body[body_bytes] is 0; NULL: none */
	size_t body_bytes;
	inner_done_fn *done;
	void *owner; /* the door's */
	/* the answer: valid from done() until inner_request_release */
	int status;
	const char *answer; /* JSON or a problem document; NUL-terminated; NULL: none */
	size_t answer_bytes;
	bool replayed;     /* an earlier answer for the same Idempotency-Key */
	int retry_after_s; /* 0: nothing was said */
	/* the carrier's */
	_Atomic bool cancelled;
	struct inner *inner;
	struct request *carried;
	char *memory;
};

/* The gateway's other parts must be there. */
struct inner *inner_start(struct gateway *gateway);
/* Any thread, never blocks. False: too many wait, or it is being stopped; done() will not come and
 * the door answers "too busy" (503) itself. */
bool must_check inner_ask(struct inner *inner, struct inner_request *request);
/* The door's client is gone. What was not begun is not done (status 499), a wait ends within about
 * a second, anything else goes its way; done() comes in any case. Any thread, before done(). */
void inner_cancel(struct inner_request *request);
/* Frees the answer; the request may be filled in and asked again after zeroing. */
void inner_request_release(struct inner_request *request);
size_t inner_pending(const struct inner *inner); /* asked and not done; any thread */
/* Refuses what is asked from now on and ends the thread. All that was asked must be done.
 * NULL-safe.
 */
void inner_stop(struct inner **inner);

/* Appends text so that it may stand for a path segment or a query value in a target. */
void inner_escape(struct strbuf *target, const char *text);

#endif
