/* SPDX-License-Identifier: Apache-2.0 */
/* The dispatcher: a thread that moves due jobs from the store to the broker, a bounded window of
 * each queue at a time. The store stays the truth: what is sent is leased to the broker, what is
 * not confirmed goes back, and what nothing comes of is released and sent again. A broker that is
 * away, blocked or slow stops the thread and nobody else. */
#ifndef PRODUCERS_DISPATCH_DISPATCHER_H
#define PRODUCERS_DISPATCH_DISPATCHER_H
#include "common/broker/publisher.h"
#include "common/config/definitions.h"
#include "common/service/metrics.h"
#include "common/store/bell.h"
#include "common/store/store.h"

struct dispatcher;

struct dispatcher_options { /* all but the definitions are borrowed, and the thread's alone */
	struct store *store;
	/* listens to BELL_READY | BELL_PAUSE | BELL_ENDED; NULL: the caller makes the turns */
	struct bell *bell;
	struct publisher *publisher;
	enum broker_kind kind;
	const char *prefix; /* of names on the broker */
	struct uuid owner;  /* of the leases: stands for the broker, the same in all dispatchers */
	int64_t lease_ms;   /* WINDLASS_DISPATCH_LEASE */
	struct definitions *defs; /* a reference is taken */
	struct metrics *metrics;
};

struct dispatcher *dispatcher_new(const struct dispatcher_options *options);
void dispatcher_start(struct dispatcher *dispatcher);
/* Serves the queues of these definitions from the next turn on. Any thread; takes a reference. */
void dispatcher_serve(struct dispatcher *dispatcher, struct definitions *defs);
/* One round: looks, takes, sends, and gives back what was not confirmed. Returns how long nothing
 * is to be done, in ms, unless the bell rings. For the thread, and for tests without one. */
int dispatcher_turn(struct dispatcher *dispatcher, int64_t now_mono_ms);
/* Somewhere a job has ended, so a worker has room: queues that stalled because all hands were full
 * for long are tried again at once. True: there are some. For the thread, and for tests. */
bool dispatcher_job_ended(struct dispatcher *dispatcher, int64_t now_mono_ms);
/* Does the broker take what is sent? Else the reason is appended. Any thread. */
bool dispatcher_ready(struct dispatcher *dispatcher, struct strbuf *why_r);
/* The thread ends after the round that it is in. Does not block. */
void dispatcher_close(struct dispatcher *dispatcher);
bool dispatcher_ended(const struct dispatcher *dispatcher); /* has it, or was it never started? */
void dispatcher_free(
	struct dispatcher **dispatcher); /* NULL-safe; closes it and waits for its end */

#endif
