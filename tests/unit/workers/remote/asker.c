/* SPDX-License-Identifier: Apache-2.0 */
/* See asker.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "common/base/clock.h"
#include "tests/unit/workers/remote/asker.h"

static void on_done(void *ctx, const struct remote_reply *reply)
{
	struct asking *asking = ctx;

	pthread_mutex_lock(&asking->lock);
	asking->ends++;
	asking->asked = (struct asked){
		.fate = reply->fate,
		.status = reply->status,
		.refused = reply->refused,
		.held = reply->held,
		.retry_after_ms = reply->retry_after_ms,
		.ended_ms = clock_mono_ms(),
		.body_bytes = reply->body_bytes,
	};
	snprintf(asking->asked.body, sizeof(asking->asked.body), "%s", reply->body);
	snprintf(asking->asked.error, sizeof(asking->asked.error), "%s", reply->error);
	pthread_cond_signal(&asking->wake);
	pthread_mutex_unlock(&asking->lock);
}

uint64_t ask_begin(struct remote *remote, const struct remote_request *request,
		   struct asking *asking)
{
	uint64_t handle;

	memset(asking, 0, sizeof(*asking));
	pthread_mutex_init(&asking->lock, NULL);
	pthread_cond_init(&asking->wake, NULL);
	remote_start(remote, request, on_done, asking, &handle);
	return handle;
}

struct asked ask_wait(struct asking *asking)
{
	struct timespec until;
	struct asked asked;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += 30;
	pthread_mutex_lock(&asking->lock);
	while (!asking->ends)
		assert_int_equal(pthread_cond_timedwait(&asking->wake, &asking->lock, &until), 0);
	assert_int_equal(asking->ends, 1);
	asked = asking->asked;
	pthread_mutex_unlock(&asking->lock);
	return asked;
}

struct asked ask(struct remote *remote, const struct remote_request *request)
{
	struct asking asking;

	ask_begin(remote, request, &asking);
	return ask_wait(&asking);
}
