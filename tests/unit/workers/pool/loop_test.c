/* SPDX-License-Identifier: Apache-2.0 */
/* The loop: order of timers, timers that move, watches and timers removed by the callbacks of
 * others. */
#include "workers/pool/loop.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/base/check.h"
#include "common/base/clock.h"

#define MS INT64_C(1000000)

struct order {
	int list[64];
	size_t count;
};

struct mark {
	struct order *order;
	struct loop_timer *timer;
	int number;
};

static void note(void *ctx)
{
	struct mark *mark = ctx;

	mark->order->list[mark->order->count++] = mark->number;
}

static void timers_come_in_order(void **state)
{
	struct loop *loop = loop_new();
	struct order order = { .count = 0 };
	struct mark marks[20];
	int64_t now = clock_mono_ns();

	(void)state;
	for (int i = 0; i < 20; i++) {
		marks[i] = (struct mark){ .order = &order, .number = (i * 7) % 20 };
		marks[i].timer = loop_timer_new(loop, note, &marks[i]);
		loop_timer_set(marks[i].timer, now - 20 * MS + marks[i].number * MS / 2);
	}
	loop_once(loop, 0);
	assert_int_equal(order.count, 20);
	for (int i = 0; i < 20; i++)
		assert_int_equal(order.list[i], i);
	for (int i = 0; i < 20; i++)
		loop_timer_free(&marks[i].timer);
	loop_free(&loop);
}

static void timers_move_both_ways(void **state)
{
	struct loop *loop = loop_new();
	struct order order = { .count = 0 };
	struct mark later = { &order, NULL, 1 }, sooner = { &order, NULL, 2 },
		    never = { &order, NULL, 3 };
	int64_t now = clock_mono_ns();

	(void)state;
	later.timer = loop_timer_new(loop, note, &later);
	sooner.timer = loop_timer_new(loop, note, &sooner);
	never.timer = loop_timer_new(loop, note, &never);
	loop_timer_set(later.timer, now - MS);
	loop_timer_set(later.timer, now + 30 * MS);
	loop_timer_set(sooner.timer, now + 10000 * MS);
	loop_timer_set(sooner.timer, now + 5 * MS);
	loop_timer_set(never.timer, now - MS);
	loop_timer_set(never.timer, 0);
	loop_once(loop, 0);
	assert_int_equal(order.count, 0);
	while (order.count < 2)
		loop_once(loop, -1);
	assert_int_equal(order.list[0], 2);
	assert_int_equal(order.list[1], 1);
	assert_true(clock_mono_ns() - now >= 30 * MS);
	loop_timer_set(never.timer, now + 3600000 * MS);
	loop_timer_free(&never.timer); /* while in the heap */
	loop_timer_free(&later.timer);
	loop_timer_free(&sooner.timer);
	loop_once(loop, 0);
	loop_free(&loop);
}

struct again {
	struct loop_timer *timer;
	int count;
};

static void rearm(void *ctx)
{
	struct again *again = ctx;

	again->count++;
	loop_timer_set(again->timer, 1);
}

static void a_timer_that_rearms_itself_does_not_starve_the_loop(void **state)
{
	struct loop *loop = loop_new();
	struct again again = { .count = 0 };

	(void)state;
	again.timer = loop_timer_new(loop, rearm, &again);
	loop_timer_set(again.timer, 1);
	for (int round = 1; round <= 3; round++) {
		loop_once(loop, 1000);
		assert_int_equal(again.count, round);
	}
	loop_timer_free(&again.timer);
	loop_free(&loop);
}

struct pair {
	struct loop *loop;
	struct loop_watch *watches[2];
	int fds[2][2], called;
};

static void remove_both(void *ctx, uint32_t events)
{
	struct pair *pair = ctx;

	assert_true(events & EPOLLIN);
	pair->called++;
	loop_remove(pair->loop, &pair->watches[0]);
	loop_remove(pair->loop, &pair->watches[1]);
}

static void a_removed_watch_is_not_called(void **state)
{
	struct pair pair = { .loop = loop_new() };

	(void)state;
	for (int i = 0; i < 2; i++) {
		CHECK(pipe(pair.fds[i]) == 0 && write(pair.fds[i][1], "x", 1) == 1);
		pair.watches[i] = loop_add(pair.loop, pair.fds[i][0], EPOLLIN, remove_both, &pair);
	}
	loop_once(pair.loop, 1000);
	loop_once(pair.loop, 0);
	assert_int_equal(pair.called, 1);
	for (int i = 0; i < 2; i++) {
		close(pair.fds[i][0]);
		close(pair.fds[i][1]);
	}
	loop_free(&pair.loop);
}

static void count(void *ctx, uint32_t events)
{
	(void)events;
	++*(int *)ctx;
}

static void watches_change(void **state)
{
	struct loop *loop = loop_new();
	int fds[2], calls = 0;
	struct loop_watch *watch;

	(void)state;
	CHECK(pipe(fds) == 0);
	watch = loop_add(loop, fds[1], 0, count, &calls);
	loop_once(loop, 0);
	assert_int_equal(calls, 0);
	loop_change(loop, watch, EPOLLOUT);
	loop_once(loop, 1000);
	assert_int_equal(calls, 1);
	loop_change(loop, watch, 0);
	loop_once(loop, 0);
	assert_int_equal(calls, 1);
	loop_remove(loop, &watch);
	loop_remove(loop, &watch);
	close(fds[0]);
	close(fds[1]);
	loop_free(&loop);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(timers_come_in_order),
		cmocka_unit_test(timers_move_both_ways),
		cmocka_unit_test(a_timer_that_rearms_itself_does_not_starve_the_loop),
		cmocka_unit_test(a_removed_watch_is_not_called),
		cmocka_unit_test(watches_change),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
