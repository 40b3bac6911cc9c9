/* SPDX-License-Identifier: Apache-2.0 */
/* Random numbers from the kernel, fetched a pool at a time per thread, because ids and jitter want
 * a few bytes often. Bytes are wiped from the pool as they are handed out. A forked child starts
 * with an empty pool: it must not repeat its parent's numbers. */
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/random.h>

#include "common/base/check.h"
#include "common/base/clock.h"

#define POOL_BYTES 512

static _Thread_local struct {
	size_t left; /* unused bytes, at the end of data */
	unsigned char data[POOL_BYTES];
} pool;

static void pool_forget(void)
{
	pool.left = 0;
}

static void pool_watch_forks(void)
{
	CHECK(pthread_atfork(NULL, NULL, pool_forget) == 0);
}

static void kernel_bytes(void *p, size_t bytes)
{
	while (bytes > 0) {
		ssize_t got = getrandom(p, bytes, 0);

		if (got < 0) {
			CHECK(errno == EINTR);
			continue;
		}
		p = (char *)p + got;
		bytes -= (size_t)got;
	}
}

static void pool_fill(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, pool_watch_forks);
	kernel_bytes(pool.data, sizeof(pool.data));
	pool.left = sizeof(pool.data);
}

void random_bytes(void *p, size_t bytes)
{
	unsigned char *from;

	if (bytes > POOL_BYTES / 4) {
		kernel_bytes(p, bytes);
		return;
	}
	if (bytes > pool.left)
		pool_fill();
	from = pool.data + sizeof(pool.data) - pool.left;
	memcpy(p, from, bytes);
	memset(from, 0, bytes);
	pool.left -= bytes;
}

/* Multiply and shift; the few values that would make some results likelier than others are drawn
 * again. */
uint64_t random_below(uint64_t bound)
{
	unsigned __int128 wide;
	uint64_t draw;

	CHECK(bound > 0);
	do {
		random_bytes(&draw, sizeof(draw));
		wide = (unsigned __int128)draw * bound;
	} while ((uint64_t)wide < bound && (uint64_t)wide < -bound % bound);
	return (uint64_t)(wide >> 64);
}
