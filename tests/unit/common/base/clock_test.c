/* SPDX-License-Identifier: Apache-2.0 */
/* Date-times of RFC 3339 both ways, at the edges of the calendar, and the sanity of the two clocks.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/check.h"
#include "common/base/clock.h"

static void clocks_run(void **state)
{
	int64_t mono_ns = clock_mono_ns(), wall_us = clock_wall_us();

	(void)state;
	assert_true(clock_mono_ns() >= mono_ns);
	assert_in_range(clock_mono_ms(), mono_ns / 1000000, mono_ns / 1000000 + 1000);
	assert_in_range(clock_wall_ms(), wall_us / 1000, wall_us / 1000 + 1000);
	assert_true(wall_us > 1700000000000000);
}

static void formats(void **state)
{
	static const struct {
		int64_t ms;
		const char *want;
	} cases[] = {
		{ 0, "1970-01-01T00:00:00.000Z" },
		{ -1, "1969-12-31T23:59:59.999Z" },
		{ 951782400000, "2000-02-29T00:00:00.000Z" },
		{ 4107542400000, "2100-03-01T00:00:00.000Z" },
		{ 1795416000123, "2026-11-23T06:40:00.123Z" },
		{ -62167219200000, "0000-01-01T00:00:00.000Z" },
		{ -62167219200001, "0000-01-01T00:00:00.000Z" },
		{ 253402300799999, "9999-12-31T23:59:59.999Z" },
		{ INT64_MAX, "9999-12-31T23:59:59.999Z" },
		{ INT64_MIN, "0000-01-01T00:00:00.000Z" },
	};
	char text[CLOCK_TEXT];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		assert_string_equal(clock_format(cases[i].ms, text), cases[i].want);
}

static void parses(void **state)
{
	static const struct {
		const char *text;
		int64_t ms;
	} cases[] = {
		{ "1970-01-01T00:00:00Z", 0 },
		{ "1969-12-31T23:59:59.999Z", -1 },
		{ "2026-11-23t06:40:00.123z", 1795416000123 },
		{ "2026-11-23T06:40:00.1239999Z", 1795416000123 },
		{ "2026-11-23T06:40:00.1Z", 1795416000100 },
		{ "2026-11-23T08:10:00+01:30", 1795416000000 },
		{ "2026-11-22T22:40:00-08:00", 1795416000000 },
		{ "2000-02-29T00:00:00-00:00", 951782400000 },
		{ "2016-12-31T23:59:60Z", 1483228800000 },
		{ "2016-12-31T15:59:60.500-08:00", 1483228800500 },
		{ "0000-01-01T00:00:00Z", -62167219200000 },
		{ "9999-12-31T23:59:59.999Z", 253402300799999 },
	};
	int64_t ms;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		ms = INT64_MIN;
		if (clock_parse(cases[i].text, &ms) != 0 || ms != cases[i].ms)
			fail_msg("%s: got %lld want %lld", cases[i].text, (long long)ms,
				 (long long)cases[i].ms);
	}
}

static void refuses(void **state)
{
	static const char *const cases[] = {
		"",
		"2026-11-23",
		"2026-11-23T06:40:00",
		"2026-11-23 06:40:00Z",
		"2026-11-23T06:40Z",
		"2026-11-23T06:40:00.Z",
		"2026-11-23T06:40:00,5Z",
		"2026-11-23T06:40:00Z ",
		"2026-11-23T24:00:00Z",
		"2026-11-23T06:60:00Z",
		"2026-11-23T06:40:61Z",
		"2026-11-23T06:40:60Z",
		"2026-00-01T00:00:00Z",
		"2026-13-01T00:00:00Z",
		"2026-04-31T00:00:00Z",
		"2026-01-00T00:00:00Z",
		"2025-02-29T00:00:00Z",
		"2100-02-29T00:00:00Z",
		"26-11-23T06:40:00Z",
		"+2026-11-23T06:40:00Z",
		"2026-11-23T06:40:00+0130",
		"2026-11-23T06:40:00+24:00",
		"2026-11-23T06:40:00+01:60",
		"2026-11-23T06:40:00ZZ",
		"0000-01-01T00:00:00+00:01",
		"9999-12-31T23:59:59-00:01",
		"9999-12-31T23:59:60Z",
	};
	int64_t ms;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		if (clock_parse(cases[i], &ms) != -1)
			fail_msg("%s was accepted as %lld", cases[i], (long long)ms);
	}
}

static void round_trip(void **state)
{
	char text[CLOCK_TEXT], again[CLOCK_TEXT];
	int64_t ms;

	(void)state;
	for (int64_t day = -719528; day < 2932896; day += 13) {
		int64_t want = day * 86400000 + (day & 0xffff) * 1000 + 7;

		clock_format(want, text);
		assert_int_equal(clock_parse(text, &ms), 0);
		if (ms != want)
			fail_msg("%s: got %lld want %lld (%s)", text, (long long)ms,
				 (long long)want, clock_format(ms, again));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(clocks_run), cmocka_unit_test(formats),
		cmocka_unit_test(parses),     cmocka_unit_test(refuses),
		cmocka_unit_test(round_trip),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
