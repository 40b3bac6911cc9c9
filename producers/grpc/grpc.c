/* SPDX-License-Identifier: Apache-2.0 */
/* Builds the door and takes it down. Called by gateway_main. */
#include "producers/grpc/grpc.h"

#include <stdlib.h>
#include <unistd.h>

#include "common/base/arena.h"
#include "common/http/server.h"
#include "producers/grpc/grpc_call.h"
#include "producers/grpc/grpc_counts.h"
#include "producers/grpc/grpc_loop.h"
#include "producers/grpc/grpc_methods.h"

struct grpc {
	struct grpc_loop loop;
	struct grpc_note drain;
	int port;
};

/* ---- drain, on the loop's thread */

static void drain_calls(struct grpc_link *link)
{
	struct list *calls = grpc_link_calls(link);

	for (struct list *at = calls->next, *next; at != calls; at = next) {
		struct grpc_call *call = list_entry(at, struct grpc_call, in_link);
		next = at->next;
		if (call->method && call->method->draining && !call->ended)
			call->method->draining(call);
	}
}

static void drain_links(struct grpc_note *note)
{
	struct grpc *grpc = list_entry(note, struct grpc, drain);
	struct list *links = &grpc->loop.links;

	grpc->loop.draining = true;
	for (struct list *at = links->next; at != links; at = at->next) {
		struct grpc_link *link = grpc_link_at(at);
		drain_calls(link);
		grpc_link_drain(link);
	}
}

void grpc_drain(struct grpc *grpc)
{
	grpc_loop_send(&grpc->loop, &grpc->drain);
}

/* ---- life */

static void release(struct grpc *grpc)
{
	if (grpc->loop.listener >= 0)
		close(grpc->loop.listener);
	grpc_tls_free(&grpc->loop.tls);
	grpc_counts_free(&grpc->loop.counts);
	free(grpc);
}

static int open_door(struct grpc *grpc, const struct grpc_options *options, struct error *err_r)
{
	struct grpc_loop *loop = &grpc->loop;

	if (*options->cert_file) {
		loop->tls = grpc_tls_new(options->cert_file, options->key_file, err_r);
		if (!loop->tls)
			return -1;
	}
	if (server_open_listener(options->listen, &loop->listener, &grpc->port, err_r) < 0)
		return -1;
	return grpc_loop_start(loop, err_r);
}

struct grpc *grpc_start(struct gateway *gateway, const struct grpc_options *options,
			struct error *err_r)
{
	struct grpc *grpc = xcalloc(1, sizeof(*grpc));
	struct grpc_loop *loop = &grpc->loop;

	loop->listener = -1;
	loop->gateway = gateway;
	loop->inner = options->inner;
	loop->watch = options->watch;
	loop->connections_max = options->connections_max;
	loop->counts = grpc_counts_new(gateway->metrics);
	loop->connection_gauge =
		metrics_series(gateway->metrics, METRIC_GRPC_CONNECTIONS, NULL, NULL);
	loop->stream_gauge = metrics_series(gateway->metrics, METRIC_GRPC_STREAMS, NULL, NULL);
	grpc->drain.fn = drain_links;
	if (open_door(grpc, options, err_r) == 0)
		return grpc;
	release(grpc);
	return NULL;
}

int grpc_port(const struct grpc *grpc)
{
	return grpc->port;
}

size_t grpc_pending(const struct grpc *grpc)
{
	return atomic_load(&grpc->loop.pending);
}

int grpc_reload(struct grpc *grpc, struct error *err_r)
{
	return grpc->loop.tls ? grpc_tls_reload(grpc->loop.tls, err_r) : 0;
}

void grpc_stop(struct grpc **grpc_)
{
	struct grpc *grpc = *grpc_;

	*grpc_ = NULL;
	if (!grpc)
		return;
	grpc_loop_stop(&grpc->loop);
	release(grpc);
}
