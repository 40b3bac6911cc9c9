/* SPDX-License-Identifier: Apache-2.0 */
/* Windows over simulated time: how they grow with workers that are fast, shrink, stay bounded when
 * those stop, and when a queue counts as stalled. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/base/check.h"
#include "producers/dispatch/window.h"

#define LEASE_MS INT64_C(60000)

struct world { /* a queue with endless work, and workers of a certain speed */
	struct window window;
	int64_t now_ms, out, most_out;
	double per_second, ended;
};

static struct world world_new(double per_second)
{
	struct world world = { .now_ms = 1000, .per_second = per_second };

	window_init(&world.window, world.now_ms);
	return world;
}

/* A dispatcher that fills the window every 10 ms and looks every 100. Returns jobs ended. */
static int64_t run(struct world *world, int64_t ms)
{
	int64_t total = 0;

	for (int64_t end_ms = world->now_ms + ms; world->now_ms < end_ms; world->now_ms += 10) {
		int64_t room = window_room(&world->window, world->now_ms), ended;

		window_sent(&world->window, room);
		world->out += room;
		if (world->out > world->most_out)
			world->most_out = world->out;
		world->ended += world->per_second / 100;
		ended = (int64_t)world->ended < world->out ? (int64_t)world->ended : world->out;
		world->ended -= (double)(int64_t)world->ended;
		world->out -= ended;
		total += ended;
		if (world->now_ms % 100 == 0)
			assert_false(window_look(&world->window, world->out, world->out ? 50 : -1,
						 LEASE_MS, world->now_ms));
	}
	return total;
}

static void follows_the_workers(void **state)
{
	static const struct {
		double per_second;
		int64_t size_min, size_max;
	} cases[] = {
		{ 0.5, 100, 100 },     { 20, 100, 100 },        { 1000, 1500, 4000 },
		{ 4000, 6000, 10000 }, { 30000, 10000, 10000 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct world world = world_new(cases[i].per_second);
		int64_t ended;

		run(&world, 5000);
		ended = run(&world, 10000);
		if (world.window.size < cases[i].size_min || world.window.size > cases[i].size_max)
			fail_msg("%g/s: a window of %lld", cases[i].per_second,
				 (long long)world.window.size);
		if ((double)ended < 9 * cases[i].per_second)
			fail_msg("%g/s: only %lld in 10 s", cases[i].per_second, (long long)ended);
	}
}

static void stays_bounded(void **state)
{
	struct world world = world_new(20000);

	(void)state;
	run(&world, 5000);
	world.per_second = 0;
	run(&world, 10000);
	/* what the rate of before promised between two looks, on top of a full window */
	assert_true(world.most_out <= WINDOW_MAX + 20000 / 5);
	world.per_second = 100;
	run(&world, 120000);
	assert_true(world.window.size < 500);
}

static void starts_small(void **state)
{
	struct world world = world_new(0);

	(void)state;
	run(&world, 3000);
	assert_int_equal(world.most_out, WINDOW_MIN);
	assert_int_equal(world.window.size, WINDOW_MIN);
}

/* One look a second; what is out never ends, and runs out with its lease. */
static bool look_at(struct window *window, int64_t out, int64_t now_s, int64_t since_s)
{
	return window_look(window, out, out ? (now_s - since_s) * 1000 : -1, LEASE_MS,
			   now_s * 1000);
}

static void stalls_when_a_lease_runs_out(void **state)
{
	struct window window;
	int64_t pause_s = 60, now_s = 0;

	(void)state;
	window_init(&window, 0);
	for (int round = 0; round < 9; round++) {
		int64_t since_s = now_s;
		bool stalled = false;

		window_sent(&window, window_room(&window, now_s * 1000));
		assert_int_equal(window.sent, WINDOW_MIN);
		for (int i = 0; i < 70 && !stalled; i++) {
			now_s++;
			stalled = look_at(&window, now_s - since_s < 61 ? 100 : 0, now_s, since_s);
		}
		assert_true(stalled);
		assert_in_range(now_s - since_s, 60, 62);
		if (window.pause_ms != pause_s * 1000)
			fail_msg("round %d: pause of %lld s", round,
				 (long long)window.pause_ms / 1000);
		assert_int_equal(window_room(&window, now_s * 1000 + 100), 0);
		assert_int_equal(window_wait_ms(&window, 500, now_s * 1000 + 100), 500);
		now_s += pause_s;
		assert_false(look_at(&window, 0, now_s, now_s));
		assert_int_equal(window_room(&window, now_s * 1000), WINDOW_MIN);
		pause_s = 2 * pause_s < 3600 ? 2 * pause_s : 3600;
	}
	/* one that ends is enough */
	window_sent(&window, 100);
	assert_false(look_at(&window, 99, now_s + 1, now_s));
	assert_int_equal(window.pause_ms, 0);
}

static void is_no_stall_while_something_ends(void **state)
{
	struct window window;

	(void)state;
	window_init(&window, 0);
	window_sent(&window, 100);
	for (int64_t now_s = 1; now_s < 300; now_s++) {
		/* slow workers: one a second, and a lease that is as old as it may be */
		assert_false(window_look(&window, 99, now_s % 60 * 1000, LEASE_MS, now_s * 1000));
		window_sent(&window, 1);
	}
	assert_true(window_room(&window, 300000) <= 10);
}

static void gives_short_leases_a_minute(void **state)
{
	struct window window;
	int64_t now_s = 1;

	(void)state;
	window_init(&window, 0);
	for (; now_s < 60; now_s++) {
		window_sent(&window, window_room(&window, now_s * 1000));
		assert_false(window_look(&window, now_s % 4 ? 100 : 0, now_s % 4 * 1000 - 1, 3000,
					 now_s * 1000));
	}
	assert_false(window_look(&window, 100, 3000, 3000, 59500));
	assert_true(window_look(&window, 0, -1, 3000, 60500));
}

static void forgives(void **state)
{
	struct window window;

	(void)state;
	window_init(&window, 0);
	window_sent(&window, 100);
	assert_false(look_at(&window, 100, 1, 0));
	assert_true(look_at(&window, 0, 61, 0));
	assert_int_equal(window_room(&window, 61001), 0);
	window_forgive(&window, 61002);
	assert_int_equal(window_room(&window, 61003), WINDOW_MIN);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(follows_the_workers),
		cmocka_unit_test(stays_bounded),
		cmocka_unit_test(starts_small),
		cmocka_unit_test(stalls_when_a_lease_runs_out),
		cmocka_unit_test(is_no_stall_while_something_ends),
		cmocka_unit_test(gives_short_leases_a_minute),
		cmocka_unit_test(forgives),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
