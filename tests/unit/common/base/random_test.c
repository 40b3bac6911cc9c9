/* SPDX-License-Identifier: Apache-2.0 */
/* Random numbers stay below their bound, reach every value, and are handed out once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/clock.h"

static void below_bound(void **state)
{
	int hits[10] = { 0 };

	(void)state;
	for (int i = 0; i < 100000; i++) {
		uint64_t n = random_below(10);

		assert_in_range(n, 0, 9);
		hits[n]++;
	}
	/* Ten thousand each; 600 is more than six standard deviations. */
	for (int i = 0; i < 10; i++)
		assert_in_range(hits[i], 9400, 10600);
	for (int i = 0; i < 1000; i++) {
		assert_int_equal(random_below(1), 0);
		assert_true(random_below(UINT64_MAX) < UINT64_MAX);
		assert_true(random_below((UINT64_MAX >> 1) + 2) < (UINT64_MAX >> 1) + 2);
	}
}

static void bytes_differ(void **state)
{
	unsigned char zero[2000] = { 0 }, one[2000], other[2000];

	(void)state;
	for (size_t bytes = 16; bytes <= sizeof(one); bytes += 31) {
		memset(one, 0, sizeof(one));
		random_bytes(one, bytes);
		random_bytes(other, bytes);
		assert_memory_not_equal(one, other, bytes);
		assert_memory_not_equal(one + bytes - 16, zero, 16);
		assert_memory_equal(one + bytes, zero, sizeof(one) - bytes);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(below_bound),
		cmocka_unit_test(bytes_differ),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
