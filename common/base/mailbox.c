/* SPDX-License-Identifier: Apache-2.0 */
/* The way from thread to thread. Senders signal only when the box was empty; a taker that leaves
 * something behind wakes the next one, so a burst costs one wake-up and nothing is left lying while
 * a taker sleeps. The eventfd exists only once somebody asked for it and is non-zero exactly while
 * there is something to see. */
#include "common/base/mailbox.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "common/base/arena.h"
#include "common/base/clock.h"

struct mailbox {
	pthread_mutex_t lock; /* guards everything below; count may be read without */
	pthread_cond_t wake;
	_Atomic size_t count;
	size_t head; /* index of the oldest item */
	size_t capacity;
	size_t waiting; /* takers inside the condition variable */
	uint64_t pokes; /* so far */
	bool poked;     /* nobody has seen the last poke (or the close) yet */
	bool closed;
	bool raised; /* the eventfd is readable */
	int fd;      /* -1 until asked for */
	void *items[];
};

struct mailbox *mailbox_new(size_t capacity)
{
	struct mailbox *box;
	pthread_condattr_t attr;

	CHECK(capacity > 0 && capacity < SIZE_MAX / 2 / sizeof(void *));
	box = xcalloc(1, sizeof(*box) + capacity * sizeof(box->items[0]));
	box->capacity = capacity;
	box->fd = -1;
	CHECK(pthread_mutex_init(&box->lock, NULL) == 0);
	CHECK(pthread_condattr_init(&attr) == 0);
	CHECK(pthread_condattr_setclock(&attr, CLOCK_MONOTONIC) == 0);
	CHECK(pthread_cond_init(&box->wake, &attr) == 0);
	pthread_condattr_destroy(&attr);
	return box;
}

void mailbox_free(struct mailbox **box)
{
	if (!*box)
		return;
	CHECK((*box)->count == 0 || (*box)->closed);
	CHECK((*box)->waiting == 0);
	if ((*box)->fd >= 0)
		close((*box)->fd);
	pthread_cond_destroy(&(*box)->wake);
	pthread_mutex_destroy(&(*box)->lock);
	free(*box);
	*box = NULL;
}

/* Makes the eventfd agree with the box. Called with the lock held after every change. */
static void mailbox_show(struct mailbox *box)
{
	bool want = box->count > 0 || box->poked;
	uint64_t n = 1;

	if (box->fd < 0 || want == box->raised)
		return;
	if (want)
		CHECK(write(box->fd, &n, sizeof(n)) == sizeof(n));
	else
		CHECK(read(box->fd, &n, sizeof(n)) == sizeof(n));
	box->raised = want;
}

bool mailbox_send(struct mailbox *box, void *item)
{
	bool sent = false, wake = false;
	size_t at;

	pthread_mutex_lock(&box->lock);
	if (!box->closed && box->count < box->capacity) {
		at = box->head + box->count;
		box->items[at < box->capacity ? at : at - box->capacity] = item;
		wake = box->count++ == 0 && box->waiting > 0;
		mailbox_show(box);
		sent = true;
		/* Signalled under the lock: once it is released, the taker may already have freed
		 * the box. */
		if (wake)
			pthread_cond_signal(&box->wake);
	}
	pthread_mutex_unlock(&box->lock);
	return sent;
}

static struct timespec deadline_in(int timeout_ms)
{
	int64_t ns = clock_mono_ns() + (int64_t)timeout_ms * 1000000;

	return (struct timespec){ .tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000 };
}

/* Waits until there is an item, a poke, the close or the deadline. A poke that came while nobody
 * waited counts, so that a taker which looked at its stop flag just before is not left asleep. */
static void mailbox_wait(struct mailbox *box, int timeout_ms)
{
	struct timespec deadline;
	uint64_t pokes = box->pokes;
	int result = 0;

	if (timeout_ms > 0)
		deadline = deadline_in(timeout_ms);
	box->waiting++;
	while (box->count == 0 && !box->closed && !box->poked && box->pokes == pokes &&
	       result != ETIMEDOUT) {
		if (timeout_ms > 0)
			result = pthread_cond_timedwait(&box->wake, &box->lock, &deadline);
		else
			result = pthread_cond_wait(&box->wake, &box->lock);
		CHECK(result == 0 || result == ETIMEDOUT);
	}
	box->waiting--;
}

size_t mailbox_take(struct mailbox *box, void **items_r, size_t max, int timeout_ms)
{
	size_t taken = 0, count;

	pthread_mutex_lock(&box->lock);
	if (box->count == 0 && timeout_ms != 0)
		mailbox_wait(box, timeout_ms);
	count = box->count;
	for (; taken < count && taken < max; taken++) {
		items_r[taken] = box->items[box->head];
		if (++box->head == box->capacity)
			box->head = 0;
	}
	box->count = count - taken;
	if (taken == 0)
		box->poked = false;
	else if (box->count > 0 && box->waiting > 0)
		pthread_cond_signal(&box->wake);
	mailbox_show(box);
	pthread_mutex_unlock(&box->lock);
	return taken;
}

size_t mailbox_count(const struct mailbox *box)
{
	return atomic_load_explicit(&box->count, memory_order_relaxed);
}

int mailbox_fd(struct mailbox *box)
{
	int fd;

	pthread_mutex_lock(&box->lock);
	if (box->fd < 0) {
		box->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		CHECK(box->fd >= 0);
		mailbox_show(box);
	}
	fd = box->fd;
	pthread_mutex_unlock(&box->lock);
	return fd;
}

void mailbox_poke(struct mailbox *box)
{
	pthread_mutex_lock(&box->lock);
	box->pokes++;
	box->poked = true;
	pthread_cond_broadcast(&box->wake);
	mailbox_show(box);
	pthread_mutex_unlock(&box->lock);
}

/* Counts as a poke as well, so that a taker which waits on the eventfd sees it once. */
void mailbox_close(struct mailbox *box)
{
	pthread_mutex_lock(&box->lock);
	box->closed = true;
	box->poked = true;
	pthread_cond_broadcast(&box->wake);
	mailbox_show(box);
	pthread_mutex_unlock(&box->lock);
}
