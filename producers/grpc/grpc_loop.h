/* SPDX-License-Identifier: Apache-2.0 */
/* The one thread of the gRPC door: it accepts, reads, writes, keeps the time, and is the only one
 * that touches links and calls. Other threads reach it by notes. Everything that is counted or
 * bounded over all connections is here. */
#ifndef PRODUCERS_GRPC_GRPC_LOOP_H
#define PRODUCERS_GRPC_GRPC_LOOP_H
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "common/base/list.h"
#include "producers/gateway/gateway.h"
#include "producers/grpc/grpc_tls.h"
#include "producers/grpc/grpc_wheel.h"

/* Of all calls: what has come and is no whole request yet, and answers that nobody has read. */
#define GRPC_BYTES_IN_HAND_MAX (256u << 20)

struct grpc_counts;
struct inner;
struct watch;

/* Something for the loop to do, from another thread. Lies in the sender's memory, is carried once
 * at a time, and is no longer touched when fn is called. */
struct grpc_note {
	struct list in_notes;
	void (*fn)(struct grpc_note *note);
	bool sent; /* guarded by notes_lock */
};

struct grpc_loop {
	struct gateway *gateway;
	struct inner *inner;
	struct watch *watch;
	struct grpc_tls *tls; /* NULL: none */
	struct grpc_counts *counts;
	struct metric_series *connection_gauge, *stream_gauge;
	pthread_t thread;
	int epoll, listener, wake;
	pthread_mutex_t notes_lock; /* guards notes */
	struct list notes;
	struct grpc_wheel wheel;
	struct list links;
	struct list dirty; /* links with something to send, or to be closed, at the turn's end */
	size_t connections_max;
	size_t bytes_in_hand;
	int64_t accept_again_ms; /* descriptors ran out: not before */
	bool accepting;
	bool draining;
	_Atomic size_t connections;
	_Atomic size_t pending; /* calls that somebody waits for: not idle streams */
	_Atomic bool stop;
};

int grpc_loop_start(struct grpc_loop *loop, struct error *err_r) must_check;
/* Ends the thread and closes what is open; calls must have no inner request any more. */
void grpc_loop_stop(struct grpc_loop *loop);
/* Any thread. A note that is on its way already is not sent again. */
void grpc_loop_send(struct grpc_loop *loop, struct grpc_note *note);
/* Loop's thread: takes back a note that is on its way. */
void grpc_loop_unsend(struct grpc_loop *loop, struct grpc_note *note);

#endif
