/* SPDX-License-Identifier: Apache-2.0 */
/* Makes calls and waits for what comes of them: for the tests of the remote. */
#ifndef TESTS_UNIT_WORKERS_REMOTE_ASKER_H
#define TESTS_UNIT_WORKERS_REMOTE_ASKER_H
#include <pthread.h>

#include "workers/remote/remote.h"

struct asked { /* a reply that may be kept */
	enum remote_fate fate;
	int status;
	bool refused, held;
	int64_t retry_after_ms, ended_ms;
	size_t body_bytes;
	char body[64], error[256];
};

struct asking {               /* one call under way: stays where it is until it has ended */
	pthread_mutex_t lock; /* guards what follows */
	pthread_cond_t wake;
	int ends;
	struct asked asked;
};

/* The call's handle. */
uint64_t ask_begin(struct remote *remote, const struct remote_request *request,
		   struct asking *asking);
/* Fails the test when it does not end within 30 s, or ends twice. */
struct asked ask_wait(struct asking *asking);
/* Both. */
struct asked ask(struct remote *remote, const struct remote_request *request);

#endif
