/* SPDX-License-Identifier: Apache-2.0 */
/* The front door: what every request passes before its handler, in this order: Host and Origin,
 * route and method, key and scope, content type, size. One front for each listener. */
#ifndef PRODUCERS_GATEWAY_FRONT_H
#define PRODUCERS_GATEWAY_FRONT_H
#include "common/http/server.h"
#include "producers/gateway/gateway.h"

struct front_options {
	const char *listen;
	int threads;
	int connections_max;
	bool admin;           /* a separate admin listener */
	struct tls_pair *tls; /* NULL: none */
};

struct front;

/* NULL: *err_r as in server_start. */
struct front *front_start(struct gateway *gateway, const struct front_options *options,
			  struct error *err_r);
/* For handshakes from now on; nothing when the listener has no TLS. Any thread. */
void front_change_pair(struct front *front, struct tls_pair *pair);
/* A front without a listener, for inner.h; *steps_r is what runs each request through it. */
struct front *front_new_inner(struct gateway *gateway, struct server_options *steps_r);
int front_port(const struct front *front);
size_t front_pending(const struct front *front);
size_t front_connections(const struct front *front);
void front_drain(struct front *front);
void front_stop(struct front **front); /* nothing may be parked any more; NULL-safe */

#endif
