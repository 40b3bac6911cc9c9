/* SPDX-License-Identifier: Apache-2.0 */
/* Policies for missed ticks: which of those that are due run, and what is next. Times are minutes;
 * the schedule's ticks are every minute or every ten. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "producers/schedule/plan.h"

#define MINUTE INT64_C(60000)

static const struct policy_case {
	const char *name;
	enum missed_policy missed;
	double every, max_late, next, now; /* minutes */
	size_t count;
	double first, last, after;
	bool passed_over;
} cases[] = {
	{ "on time", MISSED_SKIP, 10, 1440, 10, 10.1, 1, 10, 10, 20, false },
	{ "at the very moment", MISSED_RUN_ONCE, 10, 1440, 10, 10, 1, 10, 10, 20, false },
	{ "a minute late is on time", MISSED_SKIP, 10, 1440, 10, 11, 1, 10, 10, 20, false },
	{ "skip: more is not", MISSED_SKIP, 10, 1440, 10, 11.1, 0, 0, 0, 20, true },
	{ "run_once: late", MISSED_RUN_ONCE, 10, 1440, 10, 19, 1, 10, 10, 20, false },
	{ "skip: ten missed, the last is on time", MISSED_SKIP, 10, 1440, 10, 100.5, 1, 100, 100,
	  110, true },
	{ "skip: ten missed", MISSED_SKIP, 10, 1440, 10, 105, 0, 0, 0, 110, true },
	{ "run_once: ten missed", MISSED_RUN_ONCE, 10, 1440, 10, 105, 1, 100, 100, 110, true },
	{ "run_all: ten missed", MISSED_RUN_ALL, 10, 1440, 10, 105, 10, 10, 100, 110, false },
	{ "run_all: too late ones", MISSED_RUN_ALL, 10, 30, 10, 105, 3, 80, 100, 110, true },
	{ "run_once: too late", MISSED_RUN_ONCE, 10, 4, 10, 105, 0, 0, 0, 110, true },
	{ "max_late under a minute", MISSED_SKIP, 10, 0.5, 10, 10.6, 0, 0, 0, 20, true },
	{ "run_all: a hundred at a time", MISSED_RUN_ALL, 1, 1440, 1, 500, 100, 1, 100, 101,
	  false },
	{ "run_once: years", MISSED_RUN_ONCE, 1, 1440, 1, 5000000.5, 1, 5000000, 5000000, 5000001,
	  true },
};

static int64_t ms(double minutes)
{
	return (int64_t)(minutes * (double)MINUTE);
}

static void policies(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		const struct policy_case *each = &cases[i];
		struct schedule_definition definition = {
			.timing = { .kind = TIMING_EVERY, .every_ms = ms(each->every) },
			.missed = each->missed,
			.max_late_ms = ms(each->max_late),
		};
		struct plan plan;

		print_message("%s\n", each->name);
		plan_make(&definition, ms(each->next), ms(each->now), &plan);
		assert_int_equal(plan.count, each->count);
		if (plan.count) {
			assert_int_equal(plan.ticks_ms[0], ms(each->first));
			assert_int_equal(plan.ticks_ms[plan.count - 1], ms(each->last));
		}
		assert_int_equal(plan.next_ms, ms(each->after));
		assert_int_equal(plan.passed_over, each->passed_over);
	}
}

static void once(void **state)
{
	struct schedule_definition definition = {
		.timing = { .kind = TIMING_AT, .at_ms = ms(10) },
		.missed = MISSED_RUN_ONCE,
		.max_late_ms = ms(60),
	};
	struct plan plan;

	(void)state;
	plan_make(&definition, ms(10), ms(50), &plan);
	assert_int_equal(plan.count, 1);
	assert_int_equal(plan.ticks_ms[0], ms(10));
	assert_true(plan.next_ms == TIMING_NEVER);
	plan_make(&definition, ms(10), ms(80), &plan);
	assert_int_equal(plan.count, 0);
	assert_true(plan.next_ms == TIMING_NEVER);
}

/* A zone's rules changed after the next tick was worked out: what was promised is kept. */
static void tick_of_old_rules(void **state)
{
	struct schedule_definition definition = {
		.timing = { .kind = TIMING_EVERY, .every_ms = ms(10) },
		.max_late_ms = ms(60),
	};
	struct plan plan;

	(void)state;
	plan_make(&definition, ms(13), ms(14), &plan);
	assert_int_equal(plan.count, 1);
	assert_int_equal(plan.ticks_ms[0], ms(13));
	assert_int_equal(plan.next_ms, ms(20));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(policies),
		cmocka_unit_test(once),
		cmocka_unit_test(tick_of_old_rules),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
