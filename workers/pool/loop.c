/* SPDX-License-Identifier: Apache-2.0 */
/* epoll and a binary heap of timers. What callbacks remove is freed only when the round is over, so
 * an event that was already fetched for it finds a corpse and not a hole. Timers that move later or
 * are disarmed stay where they are in the heap and are looked at again when they come up: setting
 * one per job costs a store. */
#include "workers/pool/loop.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "common/base/arena.h"
#include "common/base/check.h"
#include "common/base/clock.h"

#define EVENTS_A_ROUND 64

struct loop_watch {
	int fd; /* -1: removed, waits for the end of the round */
	uint32_t events;
	loop_ready_fn *ready;
	void *ctx;
	struct loop_watch *next_dead;
};

struct loop_timer {
	struct loop *loop;
	loop_due_fn *due;
	void *ctx;
	int64_t due_ns;  /* 0: disarmed */
	int64_t heap_ns; /* where it stands in the heap: never later than due_ns */
	size_t place;    /* in the heap, from 1; 0: not in it */
	bool freed;      /* while in the heap: to be freed when it comes up */
};

struct loop {
	int epoll_fd;
	struct loop_timer **heap; /* heap[1] is the next one */
	size_t heap_count, heap_cap;
	struct loop_watch *dead;
};

struct loop *loop_new(void)
{
	struct loop *loop = xcalloc(1, sizeof(*loop));

	loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	CHECK(loop->epoll_fd >= 0);
	return loop;
}

static void bury(struct loop *loop)
{
	while (loop->dead) {
		struct loop_watch *watch = loop->dead;

		loop->dead = watch->next_dead;
		free(watch);
	}
}

void loop_free(struct loop **loop)
{
	if (!*loop)
		return;
	bury(*loop);
	for (size_t i = 1; i <= (*loop)->heap_count; i++)
		if ((*loop)->heap[i]->freed)
			free((*loop)->heap[i]);
		else
			(*loop)->heap[i]->place = 0;
	free((*loop)->heap);
	close((*loop)->epoll_fd);
	free(*loop);
	*loop = NULL;
}

struct loop_watch *loop_add(struct loop *loop, int fd, uint32_t epoll_events, loop_ready_fn *ready,
			    void *ctx)
{
	struct loop_watch *watch = xcalloc(1, sizeof(*watch));
	struct epoll_event event = { .events = epoll_events, .data.ptr = watch };

	*watch =
		(struct loop_watch){ .fd = fd, .events = epoll_events, .ready = ready, .ctx = ctx };
	CHECK(epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, fd, &event) == 0);
	return watch;
}

void loop_change(struct loop *loop, struct loop_watch *watch, uint32_t epoll_events)
{
	struct epoll_event event = { .events = epoll_events, .data.ptr = watch };

	if (watch->events == epoll_events)
		return;
	watch->events = epoll_events;
	CHECK(epoll_ctl(loop->epoll_fd, EPOLL_CTL_MOD, watch->fd, &event) == 0);
}

void loop_remove(struct loop *loop, struct loop_watch **watch)
{
	if (!*watch)
		return;
	CHECK((*watch)->fd >= 0);
	CHECK(epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, (*watch)->fd, NULL) == 0);
	(*watch)->fd = -1;
	(*watch)->next_dead = loop->dead;
	loop->dead = *watch;
	*watch = NULL;
}

/* ---- the heap */
static void put(struct loop *loop, size_t place, struct loop_timer *timer)
{
	loop->heap[place] = timer;
	timer->place = place;
}

static void sift_up(struct loop *loop, struct loop_timer *timer, size_t place)
{
	while (place > 1 && loop->heap[place / 2]->heap_ns > timer->heap_ns) {
		put(loop, place, loop->heap[place / 2]);
		place /= 2;
	}
	put(loop, place, timer);
}

static void sift_down(struct loop *loop, struct loop_timer *timer, size_t place)
{
	for (;;) {
		size_t child = place * 2;

		if (child > loop->heap_count)
			break;
		if (child < loop->heap_count &&
		    loop->heap[child + 1]->heap_ns < loop->heap[child]->heap_ns)
			child++;
		if (loop->heap[child]->heap_ns >= timer->heap_ns)
			break;
		put(loop, place, loop->heap[child]);
		place = child;
	}
	put(loop, place, timer);
}

static void heap_insert(struct loop *loop, struct loop_timer *timer)
{
	if (loop->heap_count + 2 > loop->heap_cap) {
		loop->heap_cap = loop->heap_cap ? loop->heap_cap * 2 : 32;
		loop->heap = xrealloc(loop->heap, loop->heap_cap * sizeof(struct loop_timer *));
	}
	timer->heap_ns = timer->due_ns;
	sift_up(loop, timer, ++loop->heap_count);
}

static struct loop_timer *heap_take_first(struct loop *loop)
{
	struct loop_timer *first = loop->heap[1];
	struct loop_timer *last = loop->heap[loop->heap_count--];

	if (last != first)
		sift_down(loop, last, 1);
	first->place = 0;
	return first;
}

struct loop_timer *loop_timer_new(struct loop *loop, loop_due_fn *due, void *ctx)
{
	struct loop_timer *timer = xcalloc(1, sizeof(*timer));

	*timer = (struct loop_timer){ .loop = loop, .due = due, .ctx = ctx };
	return timer;
}

void loop_timer_set(struct loop_timer *timer, int64_t due_mono_ns)
{
	timer->due_ns = due_mono_ns;
	if (due_mono_ns == 0)
		return;
	if (timer->place == 0) {
		heap_insert(timer->loop, timer);
	} else if (due_mono_ns < timer->heap_ns) {
		timer->heap_ns = due_mono_ns;
		sift_up(timer->loop, timer, timer->place);
	}
}

void loop_timer_free(struct loop_timer **timer)
{
	if (!*timer)
		return;
	(*timer)->due_ns = 0;
	if ((*timer)->place)
		(*timer)->freed = true;
	else
		free(*timer);
	*timer = NULL;
}

/* Drops what is disarmed and puts what has moved where it belongs, until the first one is really
 * the next. */
static struct loop_timer *next_timer(struct loop *loop)
{
	while (loop->heap_count > 0) {
		struct loop_timer *first = loop->heap[1];

		if (first->due_ns == first->heap_ns && !first->freed)
			return first;
		heap_take_first(loop);
		if (first->freed)
			free(first);
		else if (first->due_ns)
			heap_insert(loop, first);
	}
	return NULL;
}

static int wait_ms(struct loop *loop, int timeout_ms)
{
	struct loop_timer *next = next_timer(loop);
	int64_t left_ns, left_ms;

	if (!next)
		return timeout_ms;
	left_ns = next->due_ns - clock_mono_ns();
	if (left_ns <= 0)
		return 0;
	left_ms = (left_ns + 999999) / 1000000;
	if (timeout_ms >= 0 && left_ms > timeout_ms)
		return timeout_ms;
	return left_ms > 3600000 ? 3600000 : (int)left_ms;
}

/* Runs those that were due when this began: one that arms itself again for now waits for the next
 * round. */
static void run_due(struct loop *loop)
{
	int64_t now_ns;
	struct loop_timer *timer = next_timer(loop);

	if (!timer)
		return;
	now_ns = clock_mono_ns();
	for (size_t bound = loop->heap_count; bound > 0 && timer && timer->due_ns <= now_ns;
	     bound--) {
		heap_take_first(loop);
		timer->due_ns = 0;
		timer->due(timer->ctx);
		timer = next_timer(loop);
	}
}

void loop_once(struct loop *loop, int timeout_ms)
{
	struct epoll_event events[EVENTS_A_ROUND];
	int n = epoll_wait(loop->epoll_fd, events, EVENTS_A_ROUND, wait_ms(loop, timeout_ms));

	CHECK(n >= 0 || errno == EINTR);
	for (int i = 0; i < n; i++) {
		struct loop_watch *watch = events[i].data.ptr;

		if (watch->fd >= 0)
			watch->ready(watch->ctx, events[i].events);
	}
	run_due(loop);
	bury(loop);
}
