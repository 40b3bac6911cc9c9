/* SPDX-License-Identifier: Apache-2.0 */
/* Handlers that misbehave, each in its own way, beside one that does not. Built as a module by
 * pool_test.c. */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "workers/handlers/windlass.h"

static enum wl_outcome fine(struct wl_job *job)
{
	usleep((useconds_t)wl_int(job, "us", 0));
	return wl_done(job, "{\"n\":%lld}", (long long)wl_int(job, "n", -1));
}

static enum wl_outcome null(struct wl_job *job)
{
	volatile int *volatile nowhere = NULL;

	*nowhere = wl_attempt(job);
	return wl_done(job, NULL);
}

static enum wl_outcome aborts(struct wl_job *job)
{
	(void)job;
	abort();
}

static int deeper(volatile char *above, int n)
{
	volatile char here[4096];

	here[0] = above[0];
	return n < 0 ? 0 : deeper(here, n + 1) + here[0];
}

static enum wl_outcome stack(struct wl_job *job)
{
	char top = 1;

	return wl_done(job, "%d", deeper(&top, 1));
}

static enum wl_outcome exits(struct wl_job *job)
{
	(void)job;
	exit(0);
}

static enum wl_outcome loops(struct wl_job *job)
{
	for (volatile int n = 0;; n++)
		if (n == -1)
			return wl_done(job, NULL);
}

static enum wl_outcome memory(struct wl_job *job)
{
	for (;;) {
		char *p = malloc(1 << 20);

		memset(p, 1, 1 << 20);
		if (p[1] == 2)
			return wl_done(job, NULL);
	}
}

/* The engine's pipe is not at 1, but a determined handler finds it. */
static int engine_fd(void)
{
	for (int fd = 10; fd < 64; fd++) {
		struct stat st;

		if (fstat(fd, &st) == 0 && S_ISFIFO(st.st_mode) &&
		    (fcntl(fd, F_GETFL) & O_ACCMODE) == O_WRONLY)
			return fd;
	}
	abort();
}

static void put(const char *text)
{
	if (write(engine_fd(), text, strlen(text)) < 0)
		abort();
}

static enum wl_outcome garbage(struct wl_job *job)
{
	put("{this is not JSON}\n");
	usleep(1000);
	return wl_done(job, NULL);
}

static enum wl_outcome partial(struct wl_job *job)
{
	(void)job;
	put("{\"job\":\"0193");
	_exit(0);
}

static enum wl_outcome huge(struct wl_job *job)
{
	static char block[65537];

	memset(block, 'x', sizeof(block) - 1);
	put("{");
	for (int i = 0; i < 64; i++)
		put(block);
	return wl_done(job, NULL);
}

static enum wl_outcome stranger(struct wl_job *job)
{
	put("{\"job\":\"01930000-0000-7000-8000-000000000000\",\"done\":1}\n");
	return wl_done(job, NULL);
}

static enum wl_outcome prints(struct wl_job *job)
{
	printf("{\"a stray\":\"print\"}\n");
	fprintf(stderr, "and another\n");
	return wl_done(job, NULL);
}

static enum wl_outcome kills(struct wl_job *job)
{
	kill(getpid(), SIGKILL);
	return wl_done(job, NULL);
}

WL_MODULE({ "fine", fine, 0 }, { "null", null, 0 }, { "abort", aborts, 0 }, { "stack", stack, 0 },
	  { "exit", exits, 0 }, { "loop", loops, 0 }, { "memory", memory, 0 },
	  { "garbage", garbage, 0 }, { "partial", partial, 0 }, { "huge", huge, 0 },
	  { "stranger", stranger, 0 }, { "print", prints, 0 }, { "kill", kills, 0 })
