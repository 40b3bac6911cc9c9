/* SPDX-License-Identifier: Apache-2.0 */
/* The breaker with a clock of its own: when it opens, that it lets one call through a cooldown,
 * what closes it, and what leaves it as it is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "workers/remote/breaker.h"

#define S INT64_C(1000000000)

static const struct breaker_limits limits = {
	.failures = 4, .percent = 50, .window_ns = 8 * S, .cooldown_ns = 5 * S
};

static void end_some(struct breaker *breaker, int count, bool failed, int64_t now_ns)
{
	for (int i = 0; i < count; i++)
		breaker_end(breaker, false, failed, now_ns);
}

static struct breaker opened(int64_t now_ns)
{
	struct breaker breaker;

	breaker_init(&breaker, &limits);
	end_some(&breaker, 4, true, now_ns);
	assert_int_equal(breaker.state, BREAKER_OPEN);
	return breaker;
}

static void needs_both_number_and_part(void **state)
{
	struct breaker breaker;

	(void)state;
	breaker_init(&breaker, &limits);
	end_some(&breaker, 3, true, 100 * S);
	assert_int_equal(breaker.state, BREAKER_CLOSED);
	breaker_init(&breaker, &limits);
	end_some(&breaker, 5, false, 100 * S);
	end_some(&breaker, 4, true, 100 * S);
	assert_int_equal(breaker.state, BREAKER_CLOSED); /* 4 of 9 */
	end_some(&breaker, 1, true, 100 * S);
	assert_int_equal(breaker.state, BREAKER_OPEN); /* 5 of 10 */
	assert_int_equal(breaker.opened_count, 1);
}

static void forgets_what_is_older_than_the_window(void **state)
{
	struct breaker breaker;

	(void)state;
	breaker_init(&breaker, &limits);
	for (int i = 0; i < 40; i++) /* three in any window */
		end_some(&breaker, 1, true, (100 + 3 * i) * S);
	assert_int_equal(breaker.state, BREAKER_CLOSED);
	end_some(&breaker, 3, true, 1000 * S);
	assert_int_equal(breaker.state, BREAKER_CLOSED);
	end_some(&breaker, 1, true, 1007 * S);
	assert_int_equal(breaker.state, BREAKER_OPEN);
}

static void lets_one_through_a_cooldown(void **state)
{
	struct breaker breaker = opened(100 * S);

	(void)state;
	assert_int_equal(breaker_wait_ns(&breaker, 100 * S), 5 * S);
	assert_int_equal(breaker_wait_ns(&breaker, 104 * S), 1 * S);
	assert_int_equal(breaker_wait_ns(&breaker, 105 * S), 0);
	assert_true(breaker_begin(&breaker, 105 * S));
	assert_int_equal(breaker.state, BREAKER_HALF_OPEN);
	assert_int_equal(breaker_wait_ns(&breaker, 105 * S), 5 * S);
	assert_int_equal(breaker_wait_ns(&breaker, 110 * S), 0); /* the probe hangs: another */
}

static void a_probe_decides(void **state)
{
	struct breaker breaker = opened(100 * S);

	(void)state;
	assert_true(breaker_begin(&breaker, 105 * S));
	breaker_end(&breaker, true, true, 106 * S);
	assert_int_equal(breaker.state, BREAKER_OPEN);
	assert_int_equal(breaker_wait_ns(&breaker, 106 * S), 5 * S);
	assert_true(breaker_begin(&breaker, 111 * S));
	breaker_end(&breaker, true, false, 112 * S);
	assert_int_equal(breaker.state, BREAKER_CLOSED);
	assert_false(breaker_begin(&breaker, 112 * S));
	end_some(&breaker, 3, true, 112 * S); /* what was before is forgotten */
	assert_int_equal(breaker.state, BREAKER_CLOSED);
}

static void latecomers_decide_nothing(void **state)
{
	struct breaker breaker = opened(100 * S);

	(void)state;
	end_some(&breaker, 3, false, 101 * S);
	end_some(&breaker, 9, true, 102 * S);
	assert_int_equal(breaker.state, BREAKER_OPEN);
	assert_int_equal(breaker_wait_ns(&breaker, 102 * S), 3 * S);
	assert_true(breaker_begin(&breaker, 105 * S));
	end_some(&breaker, 3, false, 105 * S);
	assert_int_equal(breaker.state, BREAKER_HALF_OPEN);
}

static void a_probe_that_says_nothing_is_made_again(void **state)
{
	struct breaker breaker = opened(100 * S);

	(void)state;
	assert_true(breaker_begin(&breaker, 105 * S));
	breaker_forget(&breaker, true);
	assert_int_equal(breaker.state, BREAKER_OPEN);
	assert_int_equal(breaker_wait_ns(&breaker, 105 * S), 0);
	assert_true(breaker_begin(&breaker, 105 * S));
}

static void may_be_off(void **state)
{
	const struct breaker_limits off = { .off = true };
	struct breaker breaker;

	(void)state;
	breaker_init(&breaker, &off);
	end_some(&breaker, 1000, true, 100 * S);
	assert_int_equal(breaker_wait_ns(&breaker, 100 * S), 0);
	assert_false(breaker_begin(&breaker, 100 * S));
	assert_int_equal(breaker.state, BREAKER_CLOSED);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(needs_both_number_and_part),
		cmocka_unit_test(forgets_what_is_older_than_the_window),
		cmocka_unit_test(lets_one_through_a_cooldown),
		cmocka_unit_test(a_probe_decides),
		cmocka_unit_test(latecomers_decide_nothing),
		cmocka_unit_test(a_probe_that_says_nothing_is_made_again),
		cmocka_unit_test(may_be_off),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
