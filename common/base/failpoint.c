/* SPDX-License-Identifier: Apache-2.0 */
/* The test build's way to die, fail or wait at a chosen place. Called through FAILPOINT only.
 * Nothing of it is in the normal build. One point is armed per process, by the environment, and
 * passages are counted over all threads. */
#include "common/base/failpoint.h"

#ifdef WINDLASS_FAILPOINTS
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/base/check.h"

#define DELAY_DEFAULT_MS 1000

static void failpoint_delay(long ms)
{
	struct timespec left = { .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000 };

	while (nanosleep(&left, &left) != 0)
		continue;
}

/* A misspelt mode would make a test pass for the wrong reason, hence the check. */
static bool failpoint_act(const char *mode)
{
	if (strcmp(mode, "kill") == 0)
		kill(getpid(), SIGKILL);
	else if (strncmp(mode, "delay", 5) == 0)
		failpoint_delay(mode[5] == '=' ? atol(mode + 6) : DELAY_DEFAULT_MS);
	else
		CHECK(strcmp(mode, "err") == 0);
	return strcmp(mode, "err") == 0;
}

bool failpoint_hit(const char *name)
{
	static atomic_long passages;
	const char *armed = getenv("WINDLASS_FAILPOINT");
	size_t len = strlen(name);
	char *mode;
	long k;

	if (!armed || strncmp(armed, name, len) != 0 || armed[len] != ':')
		return false;
	k = strtol(armed + len + 1, &mode, 10);
	CHECK(k > 0 && *mode == ':');
	if (atomic_fetch_add(&passages, 1) + 1 != k)
		return false;
	return failpoint_act(mode + 1);
}
#endif
