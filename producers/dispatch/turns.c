/* SPDX-License-Identifier: Apache-2.0 */
/* The thread of dispatcher.c and of relay.c. */
#include "producers/dispatch/turns.h"

void turns_init(struct turns *turns, struct bell *bell, struct definitions *defs)
{
	*turns = (struct turns){ .bell = bell };
	definitions_slot_put(&turns->defs, defs);
}

static void *run(void *arg)
{
	struct turns *turns = arg;

	turns->loop(turns->ctx);
	atomic_store(&turns->ended, true);
	return NULL;
}

void turns_start(struct turns *turns, void (*loop)(void *ctx), void *ctx)
{
	CHECK(turns->bell && !turns->running);
	turns->loop = loop;
	turns->ctx = ctx;
	CHECK(pthread_create(&turns->thread, NULL, run, turns) == 0);
	turns->running = true;
}

void turns_serve(struct turns *turns, struct definitions *defs)
{
	definitions_slot_put(&turns->defs, defs);
	if (turns->bell)
		bell_wake(turns->bell);
}

void turns_close(struct turns *turns)
{
	atomic_store(&turns->closed, true);
	if (turns->bell)
		bell_wake(turns->bell);
}

bool turns_ended(const struct turns *turns)
{
	return !turns->running || atomic_load(&turns->ended);
}

void turns_release(struct turns *turns)
{
	if (turns->running) {
		turns_close(turns);
		pthread_join(turns->thread, NULL);
		turns->running = false;
	}
	definitions_slot_release(&turns->defs);
}
