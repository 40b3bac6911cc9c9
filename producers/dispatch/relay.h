/* SPDX-License-Identifier: Apache-2.0 */
/* The relay: a thread that sends the results that job types name a place for, out of the store's
 * outbox, oldest first; a row goes when the broker has confirmed it. One relay at a time sends, the
 * others stand by. */
#ifndef PRODUCERS_DISPATCH_RELAY_H
#define PRODUCERS_DISPATCH_RELAY_H
#include "common/broker/publisher.h"
#include "common/config/definitions.h"
#include "common/service/metrics.h"
#include "common/store/bell.h"
#include "common/store/store.h"

struct relay;

struct relay_options { /* all but the definitions are borrowed, and the thread's alone */
	struct store *store;
	struct bell *bell; /* listens to BELL_ENDED; NULL: the caller makes the turns */
	struct publisher *publisher;
	struct definitions *defs; /* a reference is taken */
	struct metrics *metrics;
};

struct relay *relay_new(const struct relay_options *options);
void relay_start(struct relay *relay);
/* From the next turn on results have the places of these definitions. Any thread; takes a
 * reference. */
void relay_serve(struct relay *relay, struct definitions *defs);
/* One round. Returns how long nothing is to be done, in ms, unless the bell rings. For the thread,
 * and for tests without one. */
int relay_turn(struct relay *relay, int64_t now_mono_ms);
/* The thread ends after the round that it is in. Does not block. */
void relay_close(struct relay *relay);
bool relay_ended(const struct relay *relay); /* has it, or was it never started? */
void relay_free(struct relay **relay);       /* NULL-safe; closes it and waits for its end */

#endif
