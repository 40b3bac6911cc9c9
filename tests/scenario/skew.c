/* SPDX-License-Identifier: Apache-2.0 */
/* Preloaded: this process's wall clock is SKEW_S seconds ahead of the machine's. */
#include <dlfcn.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>

static long skew(void)
{
	const char *text = getenv("SKEW_S");

	return text ? atol(text) : 0;
}

int clock_gettime(clockid_t clock, struct timespec *now_r)
{
	static int (*real)(clockid_t, struct timespec *);

	if (!real)
		*(void **)&real = dlsym(RTLD_NEXT, "clock_gettime");
	int rc = real(clock, now_r);

	if (rc == 0 && clock == CLOCK_REALTIME)
		now_r->tv_sec += skew();
	return rc;
}

int gettimeofday(struct timeval *restrict now_r, void *restrict zone)
{
	struct timespec now;

	(void)zone;
	clock_gettime(CLOCK_REALTIME, &now);
	*now_r = (struct timeval){ now.tv_sec, now.tv_nsec / 1000 };
	return 0;
}

time_t time(time_t *now_r)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	if (now_r)
		*now_r = now.tv_sec;
	return now.tv_sec;
}
