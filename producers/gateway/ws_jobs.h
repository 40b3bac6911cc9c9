/* SPDX-License-Identifier: Apache-2.0 */
/* Our own protocol over WebSockets: one JSON object a message, see docs/websocket.md. Here is what
 * its two halves share: ws_jobs.c (the operations) and ws_subscriptions.c (what is watched). */
#ifndef PRODUCERS_GATEWAY_WS_JOBS_H
#define PRODUCERS_GATEWAY_WS_JOBS_H
#include "common/base/uuid.h"
#include "common/http/problem.h"
#include "producers/gateway/ws_protocol.h"

#define WS_REF_BYTES         80 /* of the JSON text of a ref, NUL included */
#define WS_SUBSCRIPTIONS_MAX 1000
#define WS_AUTHENTICATE_MS   10000

struct ws_jobs { /* of a socket */
	struct list asks, subscriptions;
	size_t subscription_count;
	char *watch_token; /* from the handshake or a message; or NULL */
	bool known;        /* it may stay: no key is needed, or it has brought one */
	int64_t opened_ms;
	int64_t admitted_ms; /* when its key or token was looked at last */
};

/* What a client wants to watch; strings live during the call. */
struct ws_wish {
	const char *ref; /* JSON text */
	struct uuid id;  /* nil: by the others */
	const char *type, *queue, *tag;
	const char *watch_token;   /* or NULL */
	const char *last_event_id; /* or NULL */
};

extern const struct ws_protocol ws_jobs;

/* {"op":…,"ref":…}; with a JSON value under `name` unless that is NULL. */
void ws_jobs_say(struct ws_socket *socket, const char *op, const char *ref, const char *name,
		 const char *json, size_t json_bytes);
void ws_jobs_refuse(struct ws_socket *socket, const char *ref, const struct problem *problem,
		    int retry_after_s);

/* Begins to watch, or refuses. */
void ws_subscribe(struct ws_socket *socket, const struct ws_wish *wish);
bool ws_subscribed(struct ws_socket *socket, const char *ref); /* is the ref in use? */
bool ws_unsubscribe(struct ws_socket *socket, const char *ref);
void ws_subscriptions_go_on(struct ws_socket *socket); /* there is room to send again */
void ws_subscriptions_end(struct ws_socket *socket);

#endif
