/* SPDX-License-Identifier: Apache-2.0 */
/* Delays double up to the cap, with the draw chosen by the test. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <limits.h>

#include <cmocka.h>

#include "common/base/check.h"
#include "common/base/clock.h"
#include "common/job/retry_policy.h"

static uint64_t highest(uint64_t bound)
{
	assert_true(bound > 0);
	return bound - 1;
}

static uint64_t lowest(uint64_t bound)
{
	assert_true(bound > 0);
	return 0;
}

static const struct {
	struct retry_policy policy;
	int failures;
	int64_t want_ms; /* the longest */
} cases[] = {
	{ RETRY_POLICY_DEFAULT, 1, 2000 },
	{ RETRY_POLICY_DEFAULT, 2, 4000 },
	{ RETRY_POLICY_DEFAULT, 11, 2048000 },
	{ RETRY_POLICY_DEFAULT, 12, 3600000 },
	{ RETRY_POLICY_DEFAULT, 19, 3600000 },
	{ RETRY_POLICY_DEFAULT, INT_MAX, 3600000 },
	{ { .max_attempts = 1, .base_ms = 5000, .cap_ms = 1000 }, 1, 1000 },
	{ { .max_attempts = 1, .base_ms = 0, .cap_ms = 1000 }, INT_MAX, 0 },
	{ { .max_attempts = 1, .base_ms = 10, .cap_ms = 0 }, 5, 0 },
	{ { .max_attempts = 1, .base_ms = 1, .cap_ms = INT64_MAX - 1 }, 63, (int64_t)1 << 62 },
	{ { .max_attempts = 1, .base_ms = 1, .cap_ms = INT64_MAX - 1 }, 64, INT64_MAX - 1 },
	{ { .max_attempts = 1, .base_ms = 3, .cap_ms = 12 }, 3, 12 },
	{ { .max_attempts = 1, .base_ms = 3, .cap_ms = 13 }, 4, 13 },
};

static void caps_at_max(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		int64_t got = retry_policy_delay_ms(&cases[i].policy, cases[i].failures, highest);

		if (got != cases[i].want_ms)
			fail_msg("case %zu: got %lld want %lld", i, (long long)got,
				 (long long)cases[i].want_ms);
		assert_int_equal(retry_policy_delay_ms(&cases[i].policy, cases[i].failures, lowest),
				 0);
	}
}

static void full_jitter(void **state)
{
	const struct retry_policy policy = RETRY_POLICY_DEFAULT;
	int64_t sum_ms = 0;

	(void)state;
	for (int i = 0; i < 10000; i++) {
		int64_t delay_ms = retry_policy_delay_ms(&policy, 3, random_below);

		assert_in_range(delay_ms, 0, 8000);
		sum_ms += delay_ms;
	}
	assert_in_range(sum_ms / 10000, 3800, 4200);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(caps_at_max),
		cmocka_unit_test(full_jitter),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
