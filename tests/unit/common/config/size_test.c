/* SPDX-License-Identifier: Apache-2.0 */
/* Sizes: what is read, what is refused, and that what is written is read back the same. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/config/size.h"

static void parses(void **state)
{
	static const struct {
		const char *text;
		int64_t bytes;
	} cases[] = {
		{ "0", 0 },
		{ "1", 1 },
		{ "12B", 12 },
		{ "256KiB", 262144 },
		{ "16MiB", 16777216 },
		{ "2GiB", INT64_C(2147483648) },
		{ "4294967296GiB", INT64_C(1) << 62 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		int64_t bytes = -1, again = -1;
		char text[24];

		if (size_parse(cases[i].text, &bytes) != 0 || bytes != cases[i].bytes)
			fail_msg("%s: got %lld", cases[i].text, (long long)bytes);
		assert_int_equal(size_parse(size_format(bytes, text), &again), 0);
		assert_int_equal(again, bytes);
	}
}

static void refuses(void **state)
{
	static const char *const cases[] = { "",
					     "KiB",
					     "-1",
					     "+1",
					     " 1",
					     "1 KiB",
					     "1kB",
					     "1MB",
					     "1K",
					     "1.5MiB",
					     "0x10",
					     "4294967297GiB",
					     "99999999999999999999" };
	int64_t bytes;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		if (size_parse(cases[i], &bytes) == 0)
			fail_msg("%s was taken", cases[i]);
	}
}

static void formats_the_largest_exact_unit(void **state)
{
	char text[24];

	(void)state;
	assert_string_equal(size_format(1024, text), "1KiB");
	assert_string_equal(size_format(1025, text), "1025");
	assert_string_equal(size_format(3 * 1024 * 1024, text), "3MiB");
	assert_string_equal(size_format(0, text), "0");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(parses),
		cmocka_unit_test(refuses),
		cmocka_unit_test(formats_the_largest_exact_unit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
