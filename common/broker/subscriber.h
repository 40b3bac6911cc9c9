/* SPDX-License-Identifier: Apache-2.0 */
/* A subscriber brings jobs from one queue system into an engine and is told what became of them:
 * the store itself, or a broker. It belongs to one thread, which makes every call below that does
 * not say otherwise. What a completion transaction has to carry for it (finished leases and the
 * next claim; a log's offsets) rides along. For implementers and for workers/effects. */
#ifndef COMMON_BROKER_SUBSCRIBER_H
#define COMMON_BROKER_SUBSCRIBER_H
#include "common/broker/delivery.h"

struct subscriber;

struct subscriber_ops {
	const char *name;
	/* Takes up to max (1..1000) jobs that are there now; count 0: none. The claim's array lives
	 * in `arena`. -1: weather. */
	int (*take)(struct subscriber *subscriber, size_t max, struct arena *arena,
		    struct claim *claim_r, struct error *err_r);
	/* Adds to a batch that is about to be committed: what is finished, and a claim of up to max
	 * jobs (0: none). What it adds stays the subscriber's and is good until `rode`. */
	void (*ride)(struct subscriber *subscriber, struct completion_batch *batch, size_t max);
	/* That batch's end, exactly once per `ride`: error NULL when it is committed. */
	void (*rode)(struct subscriber *subscriber, const struct completion_batch *batch,
		     const struct claim *claim, const struct error *error);
	/* The store has the truth about a job that came from here: ack it, leave it to the store,
	 * call it dead, or give it back. Also when it was adopted (SETTLE_LATER): its lease is
	 * another one from then on. */
	void (*settle)(struct subscriber *subscriber, const struct claimed_job *job,
		       enum settle_verb verb);
	/* Does what is due of its own (idle flushes, repair). *next_ms_r: when it wants to be
	 * called again; -1: not. -1: weather. */
	int (*tend)(struct subscriber *subscriber, int64_t now_mono_ms, int64_t *next_ms_r,
		    struct error *err_r);
	/* Serves the queues and sources of these definitions from now on. Any thread; takes a
	 * reference. */
	void (*serve)(struct subscriber *subscriber, struct definitions *defs);
	/* Jobs come by themselves: `ring` is called (any thread, cheap) when there may be some to
	 * take; `take` is then called between commits, since claims do not ride. NULL: they are
	 * looked for in the store (bell.h, ride). Called once, before the first take, and once more
	 * with NULL before what `ring` rings goes away. */
	void (*on_ready)(struct subscriber *subscriber, void (*ring)(void *ctx), void *ctx);
	/* Takes no more; what has not been taken goes back. Any thread. NULL: nothing to do. */
	void (*drain)(struct subscriber *subscriber);
	/* Connected? Else the reason is appended. Any thread. NULL: always. */
	bool (*ready)(struct subscriber *subscriber, struct strbuf *why_r);
	void (*free)(struct subscriber *subscriber);
};

/* Every implementation's struct begins with this. */
struct subscriber {
	const struct subscriber_ops *ops;
};

#endif
