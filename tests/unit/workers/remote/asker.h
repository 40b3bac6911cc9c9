/* SPDX-License-Identifier: Apache-2.0 */
/* Makes one call and waits for what comes of it: for the tests of the remote. */
#ifndef TESTS_UNIT_WORKERS_REMOTE_ASKER_H
#define TESTS_UNIT_WORKERS_REMOTE_ASKER_H
#include "workers/remote/remote.h"

struct asked { /* a reply that may be kept */
	enum remote_fate fate;
	int status;
	bool refused;
	char body[64], error[256];
};

/* Fails the test when nothing comes within 20 s. */
struct asked ask(struct remote *remote, const struct remote_request *request);

#endif
