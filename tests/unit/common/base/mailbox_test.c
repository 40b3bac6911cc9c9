/* SPDX-License-Identifier: Apache-2.0 */
/* Order, bounds, waking and closing of a mailbox, alone and with threads; the thread sanitizer runs
 * this file too. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#include "common/base/clock.h"
#include "common/base/mailbox.h"

#define SENDERS    3
#define TAKERS     3
#define ITEMS_EACH 20000

static void *item(uintptr_t n)
{
	return (void *)n;
}

static bool readable(int fd)
{
	struct pollfd poll_fd = { .fd = fd, .events = POLLIN };

	return poll(&poll_fd, 1, 0) == 1;
}

static void in_order_and_bounded(void **state)
{
	struct mailbox *box = mailbox_new(5);
	uintptr_t next_in = 1, next_out = 1;
	void *items[8];

	(void)state;
	for (int round = 0; round < 100; round++) {
		while (mailbox_send(box, item(next_in)))
			next_in++;
		assert_int_equal(mailbox_count(box), 5);
		for (size_t n = mailbox_take(box, items, (size_t)(round % 8 + 1), -1), i = 0; i < n;
		     i++)
			assert_int_equal((uintptr_t)items[i], next_out++);
	}
	while (mailbox_take(box, items, 1, 0) == 1)
		assert_int_equal((uintptr_t)items[0], next_out++);
	assert_int_equal(next_in, next_out);
	mailbox_free(&box);
	assert_null(box);
	mailbox_free(&box);
}

static void times_out(void **state)
{
	struct mailbox *box = mailbox_new(1);
	int64_t start_ms = clock_mono_ms();
	void *items[1];

	(void)state;
	assert_int_equal(mailbox_take(box, items, 1, 0), 0);
	assert_true(clock_mono_ms() - start_ms < 50);
	assert_int_equal(mailbox_take(box, items, 1, 60), 0);
	assert_true(clock_mono_ms() - start_ms >= 60);
	mailbox_free(&box);
}

static void fd_follows(void **state)
{
	struct mailbox *box = mailbox_new(4);
	void *items[4];
	int fd;

	(void)state;
	assert_true(mailbox_send(box, item(1)));
	fd = mailbox_fd(box);
	assert_int_equal(mailbox_fd(box), fd);
	assert_true(readable(fd));
	assert_true(mailbox_send(box, item(2)));
	assert_int_equal(mailbox_take(box, items, 1, 0), 1);
	assert_true(readable(fd));
	assert_int_equal(mailbox_take(box, items, 1, 0), 1);
	assert_false(readable(fd));
	assert_true(mailbox_send(box, item(3)));
	assert_true(readable(fd));
	assert_int_equal(mailbox_take(box, items, 4, 0), 1);
	mailbox_poke(box);
	assert_true(readable(fd));
	assert_int_equal(mailbox_take(box, items, 4, 0), 0);
	assert_false(readable(fd));
	mailbox_close(box);
	assert_true(readable(fd));
	assert_int_equal(mailbox_take(box, items, 4, 0), 0);
	assert_false(readable(fd));
	mailbox_free(&box);
}

static void close_drains(void **state)
{
	struct mailbox *box = mailbox_new(4);
	void *items[4];

	(void)state;
	assert_true(mailbox_send(box, item(1)));
	mailbox_close(box);
	mailbox_close(box);
	assert_false(mailbox_send(box, item(2)));
	assert_int_equal(mailbox_take(box, items, 4, -1), 1);
	assert_int_equal(mailbox_take(box, items, 4, -1), 0);
	mailbox_free(&box);
	box = mailbox_new(1);
	assert_true(mailbox_send(box, item(1)));
	mailbox_close(box);
	mailbox_free(&box);
}

/* The poke may come before the taker waits: it must not sleep for ever then. */
static void poke_is_kept(void **state)
{
	struct mailbox *box = mailbox_new(4);
	int64_t start_ms = clock_mono_ms();
	void *items[4];

	(void)state;
	mailbox_poke(box);
	assert_int_equal(mailbox_take(box, items, 4, -1), 0);
	assert_int_equal(mailbox_take(box, items, 4, 30), 0);
	assert_true(clock_mono_ms() - start_ms >= 30);
	mailbox_poke(box);
	assert_true(mailbox_send(box, item(1)));
	assert_int_equal(mailbox_take(box, items, 4, -1), 1);
	assert_int_equal(mailbox_take(box, items, 4, -1), 0);
	mailbox_free(&box);
}

struct sleeper {
	struct mailbox *box;
	_Atomic int started;
	_Atomic size_t woken;
};

static void *sleep_once(void *arg)
{
	struct sleeper *sleeper = arg;
	void *items[1];

	sleeper->started++;
	if (mailbox_take(sleeper->box, items, 1, -1) == 0)
		sleeper->woken++;
	return NULL;
}

static void wake_all(void (*wake)(struct mailbox *box))
{
	struct sleeper sleeper = { .box = mailbox_new(1) };
	struct timespec settle = { .tv_nsec = 50000000 };
	pthread_t ids[TAKERS];

	for (int i = 0; i < TAKERS; i++)
		assert_int_equal(pthread_create(&ids[i], NULL, sleep_once, &sleeper), 0);
	while (sleeper.started < TAKERS)
		sched_yield();
	nanosleep(&settle, NULL);
	assert_int_equal(sleeper.woken, 0);
	wake(sleeper.box);
	for (int i = 0; i < TAKERS; i++)
		pthread_join(ids[i], NULL);
	assert_int_equal(sleeper.woken, TAKERS);
	mailbox_free(&sleeper.box);
}

static void poke_wakes_all(void **state)
{
	(void)state;
	wake_all(mailbox_poke);
}

static void close_wakes_all(void **state)
{
	(void)state;
	wake_all(mailbox_close);
}

struct crowd {
	struct mailbox *box;
	size_t max; /* items per take */
	bool by_fd; /* takers wait on the eventfd */
	_Atomic int closed;
	_Atomic unsigned char seen[SENDERS * ITEMS_EACH];
};

struct sender {
	struct crowd *crowd;
	uintptr_t first;
};

static void *send_all(void *arg)
{
	struct sender *sender = arg;

	for (uintptr_t i = 0; i < ITEMS_EACH; i++) {
		while (!mailbox_send(sender->crowd->box, item(sender->first + i)))
			sched_yield();
	}
	return NULL;
}

static void *take_all(void *arg)
{
	struct crowd *crowd = arg;
	struct pollfd fd = { .fd = crowd->by_fd ? mailbox_fd(crowd->box) : -1, .events = POLLIN };
	void *items[16];
	size_t n;

	for (;;) {
		int closed = crowd->closed;

		if (crowd->by_fd)
			poll(&fd, 1, 20);
		n = mailbox_take(crowd->box, items, crowd->max, crowd->by_fd ? 0 : -1);
		for (size_t i = 0; i < n; i++)
			crowd->seen[(uintptr_t)items[i]]++;
		if (n == 0 && closed)
			return NULL;
	}
}

/* Every item arrives exactly once, and nobody is left asleep. */
static void run_crowd(size_t capacity, size_t max, bool by_fd)
{
	struct crowd *crowd = calloc(1, sizeof(*crowd));
	struct sender senders[SENDERS];
	pthread_t sender_ids[SENDERS], taker_ids[TAKERS];

	assert_non_null(crowd);
	crowd->box = mailbox_new(capacity);
	crowd->max = max;
	crowd->by_fd = by_fd;
	for (int i = 0; i < TAKERS; i++)
		assert_int_equal(pthread_create(&taker_ids[i], NULL, take_all, crowd), 0);
	for (int i = 0; i < SENDERS; i++) {
		senders[i] = (struct sender){ .crowd = crowd, .first = (uintptr_t)i * ITEMS_EACH };
		assert_int_equal(pthread_create(&sender_ids[i], NULL, send_all, &senders[i]), 0);
	}
	for (int i = 0; i < SENDERS; i++)
		pthread_join(sender_ids[i], NULL);
	crowd->closed = 1;
	mailbox_close(crowd->box);
	for (int i = 0; i < TAKERS; i++)
		pthread_join(taker_ids[i], NULL);
	for (int i = 0; i < SENDERS * ITEMS_EACH; i++) {
		if (crowd->seen[i] != 1)
			fail_msg("item %d was seen %d times", i, crowd->seen[i]);
	}
	mailbox_free(&crowd->box);
	free(crowd);
}

static void many_threads(void **state)
{
	(void)state;
	run_crowd(1, 1, false);
	run_crowd(64, 1, false);
	run_crowd(1000, 16, false);
	run_crowd(64, 16, true);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(in_order_and_bounded), cmocka_unit_test(times_out),
		cmocka_unit_test(fd_follows),           cmocka_unit_test(close_drains),
		cmocka_unit_test(poke_is_kept),         cmocka_unit_test(poke_wakes_all),
		cmocka_unit_test(close_wakes_all),      cmocka_unit_test(many_threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
