/* SPDX-License-Identifier: Apache-2.0 */
/* See asker.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <pthread.h>
#include <stdio.h>
#include <time.h>

#include <cmocka.h>

#include "tests/unit/workers/remote/asker.h"

struct waiter {
	pthread_mutex_t lock; /* guards what follows */
	pthread_cond_t wake;
	bool done;
	struct asked asked;
};

static void on_done(void *ctx, const struct remote_reply *reply)
{
	struct waiter *waiter = ctx;

	pthread_mutex_lock(&waiter->lock);
	waiter->asked = (struct asked){
		.fate = reply->fate,
		.status = reply->status,
		.refused = reply->refused,
	};
	snprintf(waiter->asked.body, sizeof(waiter->asked.body), "%s", reply->body);
	snprintf(waiter->asked.error, sizeof(waiter->asked.error), "%s", reply->error);
	waiter->done = true;
	pthread_cond_signal(&waiter->wake);
	pthread_mutex_unlock(&waiter->lock);
}

struct asked ask(struct remote *remote, const struct remote_request *request)
{
	struct waiter waiter = { .lock = PTHREAD_MUTEX_INITIALIZER,
				 .wake = PTHREAD_COND_INITIALIZER };
	struct timespec until;
	uint64_t handle;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += 20;
	remote_start(remote, request, on_done, &waiter, &handle);
	pthread_mutex_lock(&waiter.lock);
	while (!waiter.done)
		assert_int_equal(pthread_cond_timedwait(&waiter.wake, &waiter.lock, &until), 0);
	pthread_mutex_unlock(&waiter.lock);
	return waiter.asked;
}
