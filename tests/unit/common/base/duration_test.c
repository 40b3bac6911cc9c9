/* SPDX-License-Identifier: Apache-2.0 */
/* Every form of a duration, the forms that are refused, and that what is written is read back the
 * same. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/check.h"
#include "common/base/clock.h"

#define MAX_MS 315360000000

static void parses(void **state)
{
	static const struct {
		const char *text;
		int64_t ms;
	} cases[] = {
		{ "90s", 90000 },
		{ "5m", 300000 },
		{ "1h", 3600000 },
		{ "7d", 604800000 },
		{ "250ms", 250 },
		{ "30", 30000 },
		{ "0", 0 },
		{ "0ms", 0 },
		{ "1.5", 1500 },
		{ "1.5h", 5400000 },
		{ "0.25s", 250 },
		{ "0.0005", 1 },
		{ "0.0004", 0 },
		{ "0.5ms", 1 },
		{ "007s", 7000 },
		{ "3650d", MAX_MS },
		{ "315360000", MAX_MS },
		{ "315360000000ms", MAX_MS },
		{ "0.99999999999999999999", 1000 },
	};
	int64_t ms;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		ms = -1;
		if (duration_parse(cases[i].text, &ms) != 0 || ms != cases[i].ms)
			fail_msg("%s: got %lld want %lld", cases[i].text, (long long)ms,
				 (long long)cases[i].ms);
	}
}

static void refuses(void **state)
{
	static const char *const cases[] = {
		"",
		"s",
		".5s",
		"5.",
		"5.s",
		"-1s",
		"+1s",
		" 1s",
		"1 s",
		"1s ",
		"1S",
		"1sec",
		"1h30m",
		"1e3",
		"0x10",
		"inf",
		"nan",
		"3651d",
		"3650.1d",
		"315360000.001",
		"1w",
		"1,5s",
		"1..5s",
		"1.5.5",
		"99999999999999999999999999",
		"18446744073709551616ms",
	};
	int64_t ms;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		if (duration_parse(cases[i], &ms) != -1)
			fail_msg("%s was accepted as %lld", cases[i], (long long)ms);
	}
}

static void formats(void **state)
{
	static const struct {
		int64_t ms;
		const char *want;
	} cases[] = {
		{ 0, "0s" },          { 1, "1ms" },        { 1500, "1500ms" },
		{ 1000, "1s" },       { 90000, "90s" },    { 60000, "1m" },
		{ 3600000, "1h" },    { 5400000, "90m" },  { 86400000, "1d" },
		{ 129600000, "36h" }, { MAX_MS, "3650d" }, { INT64_MAX, "9223372036854775807ms" },
	};
	char text[24];
	int64_t ms;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		assert_string_equal(duration_format(cases[i].ms, text), cases[i].want);
		if (cases[i].ms <= MAX_MS) {
			assert_int_equal(duration_parse(text, &ms), 0);
			assert_int_equal(ms, cases[i].ms);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(parses),
		cmocka_unit_test(refuses),
		cmocka_unit_test(formats),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
