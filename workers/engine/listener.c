/* SPDX-License-Identifier: Apache-2.0 */
/* The thread that waits on the bell. Says only what it heard; what that means is the engine's. */
#include "workers/engine/listener.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "common/base/arena.h"

#define WAIT_MS 1000

struct listener {
	struct bell *bell;
	listener_heard_fn *heard;
	void *ctx;
	atomic_bool stop;
	pthread_t thread;
};

static void *listener_main(void *arg)
{
	struct listener *listener = arg;
	struct bell_event event;

	while (!atomic_load(&listener->stop)) {
		if (bell_wait(listener->bell, WAIT_MS, &event) == 1)
			listener->heard(listener->ctx, event.missed ? ~0u : event.what);
	}
	return NULL;
}

struct listener *listener_new(struct bell *bell, listener_heard_fn *heard, void *ctx)
{
	struct listener *listener = xcalloc(1, sizeof(*listener));

	listener->bell = bell;
	listener->heard = heard;
	listener->ctx = ctx;
	CHECK(pthread_create(&listener->thread, NULL, listener_main, listener) == 0);
	return listener;
}

void listener_free(struct listener **listener)
{
	if (!*listener)
		return;
	atomic_store(&(*listener)->stop, true);
	bell_wake((*listener)->bell);
	CHECK(pthread_join((*listener)->thread, NULL) == 0);
	free(*listener);
	*listener = NULL;
}
