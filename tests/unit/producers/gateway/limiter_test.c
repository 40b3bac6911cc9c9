/* SPDX-License-Identifier: Apache-2.0 */
/* Buckets and counts, with a clock of the test's own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "producers/gateway/limiter.h"

#define SECOND_NS INT64_C(1000000000)

static struct caller *caller_of(const char *id, double rate, double burst, int64_t waiting)
{
	struct caller *caller = caller_new();

	caller->id = arena_strdup(caller->arena, id);
	caller->limits = (struct caller_limits){ .rate_per_s = rate,
						 .burst = burst,
						 .waiting_max = waiting };
	caller_seal(caller);
	return caller;
}

static void drop(struct caller *caller)
{
	const struct caller *gone = caller;

	caller_unref(&gone);
}

static int take_all(struct limiter *limiter, const struct caller *caller, int64_t now_ns)
{
	struct limiter_room room;
	int taken = 0;

	while (limiter_take(limiter, caller, now_ns, &room))
		taken++;
	assert_int_equal(room.remaining, 0);
	assert_true(room.retry_after_s >= 1);
	return taken;
}

static void bucket(void **state)
{
	struct limiter *limiter = limiter_new();
	struct caller *a = caller_of("a", 10, 5, 0), *twin = caller_of("a", 10, 5, 0);
	struct caller *b = caller_of("b", 0.1, 0, 0), *fast = caller_of("c", 20, 0, 0);

	(void)state;
	assert_int_equal(take_all(limiter, a, SECOND_NS), 5);
	assert_int_equal(take_all(limiter, twin, SECOND_NS), 0);
	assert_int_equal(take_all(limiter, b, SECOND_NS), 1);
	assert_int_equal(take_all(limiter, fast, SECOND_NS), 20);
	assert_int_equal(take_all(limiter, a, SECOND_NS + SECOND_NS / 5), 2);
	assert_int_equal(take_all(limiter, a, SECOND_NS), 0); /* a clock of another thread */
	assert_int_equal(take_all(limiter, a, 100 * SECOND_NS), 5);
	assert_int_equal(take_all(limiter, b, 9 * SECOND_NS), 0);
	assert_int_equal(take_all(limiter, b, 11 * SECOND_NS), 1);
	drop(a);
	drop(twin);
	drop(b);
	drop(fast);
	limiter_free(&limiter);
}

static void jobs(void **state)
{
	struct limiter *limiter = limiter_new();
	struct caller *a = caller_of("a", 0, 0, 3), *b = caller_of("b", 0, 0, 3);
	struct uuid ids[3], seen[2], unknown;

	(void)state;
	uuid_v7(&unknown);
	for (size_t i = 0; i < 3; i++) {
		assert_true(limiter_has_room(limiter, a, 1));
		uuid_v7(&ids[i]);
		limiter_accepted(limiter, a, &ids[i]);
		limiter_accepted(limiter, a, &ids[i]); /* told twice is one job */
	}
	assert_false(limiter_has_room(limiter, a, 1));
	assert_true(limiter_has_room(limiter, b, 3));
	assert_false(limiter_has_room(limiter, b, 4));
	assert_int_equal(limiter_next(limiter, seen, 2), 2);
	assert_int_equal(limiter_next(limiter, seen, 2), 1);
	assert_int_equal(limiter_next(limiter, seen, 2), 2);
	limiter_ended(limiter, &unknown, 1);
	limiter_ended(limiter, ids, 2);
	limiter_ended(limiter, ids, 2);
	assert_true(limiter_has_room(limiter, a, 2));
	assert_false(limiter_has_room(limiter, a, 3));
	drop(a);
	drop(b);
	limiter_free(&limiter);
}

/* More callers than are remembered: whoever has unfinished jobs is not forgotten. */
static void many_callers(void **state)
{
	struct limiter *limiter = limiter_new();
	struct caller *held = caller_of("held", 0, 0, 1);
	struct limiter_room room;
	struct uuid id;

	(void)state;
	uuid_v7(&id);
	limiter_accepted(limiter, held, &id);
	for (int i = 0; i < LIMITER_ACCOUNTS + 100; i++) {
		char name[16];
		snprintf(name, sizeof(name), "c%d", i);
		struct caller *caller = caller_of(name, 1, 1, 0);
		assert_true(limiter_take(limiter, caller, SECOND_NS, &room));
		drop(caller);
	}
	assert_false(limiter_has_room(limiter, held, 1));
	limiter_ended(limiter, &id, 1);
	assert_true(limiter_has_room(limiter, held, 1));
	drop(held);
	limiter_free(&limiter);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bucket),
		cmocka_unit_test(jobs),
		cmocka_unit_test(many_callers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
