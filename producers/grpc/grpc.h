/* SPDX-License-Identifier: Apache-2.0 */
/* The gRPC door: windlass.v1.Jobs, health and reflection over HTTP/2 on a listener of its own. What
 * a client says becomes inner requests of the HTTP API, and their answers what it hears. */
#ifndef PRODUCERS_GRPC_GRPC_H
#define PRODUCERS_GRPC_GRPC_H
#include <stddef.h>

#include "common/base/error.h"
#include "producers/gateway/gateway.h"

struct inner;
struct watch;
struct grpc;

struct grpc_options {
	const char *listen;               /* "127.0.0.1:9090" */
	const char *cert_file, *key_file; /* "": no TLS */
	size_t connections_max;
	struct inner *inner; /* these two outlive it */
	struct watch *watch;
};

/* Binds, listens and starts the thread. NULL: ERROR_INVALID (address, certificate),
 * ERROR_UNAVAILABLE (cannot bind). */
struct grpc *grpc_start(struct gateway *gateway, const struct grpc_options *options,
			struct error *err_r);
int grpc_port(const struct grpc *grpc);
size_t grpc_pending(const struct grpc *grpc); /* calls that somebody waits for; any thread */
/* Certificate and key once more; without TLS nothing. -1: the old ones stay. */
int grpc_reload(struct grpc *grpc, struct error *err_r) must_check;
/* Takes no new connections; those that are there are told to go (GOAWAY), streams end. Any thread,
 * does not block. */
void grpc_drain(struct grpc *grpc);
/* Closes everything. No inner request may be under way any more. NULL-safe. */
void grpc_stop(struct grpc **grpc);

#endif
