/* SPDX-License-Identifier: Apache-2.0 */
/* What the dispatcher and the relay are as threads: they make turns until they are closed, sleep on
 * a bell in between, and are handed new definitions. What a turn does is theirs. */
#ifndef PRODUCERS_DISPATCH_TURNS_H
#define PRODUCERS_DISPATCH_TURNS_H
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "common/config/definitions_slot.h"
#include "common/store/bell.h"

struct turns {
	struct bell *bell;            /* borrowed; NULL: the caller makes the turns */
	struct definitions_slot defs; /* for the next turn */
	void (*loop)(void *ctx);      /* makes turns while turns_go_on */
	void *ctx;
	pthread_t thread;
	bool running;
	atomic_bool closed, ended;
};

void turns_init(struct turns *turns, struct bell *bell, struct definitions *defs);
void turns_start(struct turns *turns, void (*loop)(void *ctx), void *ctx);
static inline bool turns_go_on(const struct turns *turns)
{
	return !atomic_load(&turns->closed);
}
/* The next turn takes these definitions. Any thread; takes a reference. */
void turns_serve(struct turns *turns, struct definitions *defs);
/* The thread ends after the turn that it is in. Does not block. */
void turns_close(struct turns *turns);
bool turns_ended(const struct turns *turns); /* has it, or was it never started? */
void turns_release(struct turns *turns);     /* closes it and waits for its end */

#endif
