/* SPDX-License-Identifier: Apache-2.0 */
/* Cron expressions: what is refused and why, what wall clock times fit, and what clocks that change
 * mean (the policy of docs/schedules.md). croniter_test.c compares many more. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/clock.h"
#include "common/schedule/timing.h"

static int64_t at(const char *text)
{
	int64_t ms;

	assert_int_equal(clock_parse(text, &ms), 0);
	return ms;
}

static void refuses(void **state)
{
	static const struct {
		const char *cron, *why;
	} cases[] = {
		{ "", "expected five fields" },
		{ "* * * *", "expected five fields" },
		{ "* * * * * * *", "expected five fields" },
		{ "60 * * * *", "minute `60`: expected 0 to 59" },
		{ "* 24 * * *", "hour `24`: expected 0 to 23" },
		{ "* * 0 * *", "day of the month `0`: expected 1 to 31" },
		{ "* * * 13 *", "month `13`: expected 1 to 12" },
		{ "* * * * 8", "day of the week `8`: expected 0 to 7" },
		{ "5-1 * * * *", "goes backwards" },
		{ "*/0 * * * *", "step is 0" },
		{ "1,,2 * * * *", "expected *, a value" },
		{ "x * * * *", "minute `x`: expected *" },
		{ "* * * FOO *", "month `FOO`" },
		{ "* * 15W * *", "not available" },
		{ "* * * * 5#2", "not available" },
		{ "* * * * 5L", "not available" },
		{ "H * * * *", "not available" },
		{ "? * * * *", "minute `?`" },
		{ "0 0 31 2 *", "no date fits" },
		{ "0 0 30 FEB *", "no date fits" },
		{ "@fortnightly", "unknown word" },
		{ "@every", "unknown word" },
		{ "@every 0s", "expected a duration" },
		{ "@every x", "expected a duration" },
	};
	struct timing timing;
	struct error err;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		if (timing_parse_cron(cases[i].cron, &timing, &err) == 0)
			fail_msg("\"%s\" was taken", cases[i].cron);
		if (!strstr(err.message, cases[i].why))
			fail_msg("\"%s\": got \"%s\", want \"%s\"", cases[i].cron, err.message,
				 cases[i].why);
	}
}

struct next_case {
	const char *cron, *zone, *after, *ticks[4];
};

static void check_next(struct zones *zones, const struct next_case *each)
{
	const struct zone *zone;
	char text[CLOCK_TEXT];
	struct timing timing;
	int64_t tick = at(each->after);
	struct error err;

	zone = zones_find(zones, each->zone, &err);
	if (!zone || timing_parse_cron(each->cron, &timing, &err) < 0)
		fail_msg("\"%s\" in %s: %s", each->cron, each->zone, err.message);
	for (size_t i = 0; i < ARRAY_LEN(each->ticks) && each->ticks[i]; i++) {
		tick = timing_next(&timing, zone, tick);
		if (tick != at(each->ticks[i]))
			fail_msg("\"%s\" in %s: got %s, want %s", each->cron, each->zone,
				 clock_format(tick, text), each->ticks[i]);
	}
}

static void fits(void **state)
{
	static const struct next_case cases[] = {
		{ "*/20 * * * *",
		  "UTC",
		  "2026-01-01T00:00:00Z",
		  { "2026-01-01T00:20:00Z", "2026-01-01T00:40:00Z", "2026-01-01T01:00:00Z" } },
		{ "59/30 23 31 12 *",
		  "UTC",
		  "2026-01-01T00:00:00Z",
		  { "2026-12-31T23:59:00Z", "2027-12-31T23:59:00Z" } },
		{ "0 0 29 2 *", "UTC", "2096-03-01T00:00:00Z", { "2104-02-29T00:00:00Z" } },
		{ "0 0 L * *",
		  "UTC",
		  "2024-02-01T00:00:00Z",
		  { "2024-02-29T00:00:00Z", "2024-03-31T00:00:00Z", "2024-04-30T00:00:00Z" } },
		{ "0 0 13 * FRI",
		  "UTC",
		  "2026-03-01T00:00:00Z", /* either will do */
		  { "2026-03-06T00:00:00Z", "2026-03-13T00:00:00Z", "2026-03-20T00:00:00Z" } },
		{ "0 0 ? * 7", "UTC", "2026-11-23T00:00:00Z", { "2026-11-29T00:00:00Z" } },
		{ "0 0 * jan,Mar-may sun",
		  "UTC",
		  "2026-01-26T00:00:00Z",
		  { "2026-03-01T00:00:00Z" } },
		{ "30 10 5 * * *",
		  "UTC",
		  "2026-01-01T05:10:29.999Z",
		  { "2026-01-01T05:10:30Z", "2026-01-02T05:10:30Z" } },
		{ "@hourly", "Asia/Kolkata", "2026-01-01T00:00:00Z", { "2026-01-01T00:30:00Z" } },
		{ "@weekly", "UTC", "2026-11-23T00:00:00Z", { "2026-11-29T00:00:00Z" } },
		{ "@YEARLY", "UTC", "2026-11-23T00:00:00Z", { "2027-01-01T00:00:00Z" } },
		{ "@every 90s",
		  "UTC",
		  "1970-01-01T00:00:01Z",
		  { "1970-01-01T00:01:30Z", "1970-01-01T00:03:00Z" } },
	};
	struct zones *zones = zones_new();

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		check_next(zones, &cases[i]);
	zones_free(&zones);
}

static void clocks_change(void **state)
{
	static const struct next_case cases[] = {
		/* left out: the first moment after, once */
		{ "30 2 * * *",
		  "Europe/Paris",
		  "2026-03-28T12:00:00Z",
		  { "2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z" } },
		{ "*/10 2 * * *",
		  "Europe/Paris",
		  "2026-03-28T12:00:00Z",
		  { "2026-03-29T01:00:00Z", "2026-03-30T00:00:00Z" } },
		{ "0 2,3 * * *",
		  "Europe/Paris",
		  "2026-03-28T12:00:00Z",
		  { "2026-03-29T01:00:00Z", "2026-03-30T00:00:00Z" } },
		{ "@daily",
		  "America/Sao_Paulo",
		  "2018-11-03T12:00:00Z",
		  { "2018-11-04T03:00:00Z", "2018-11-05T02:00:00Z" } },
		/* a whole day: 30 December 2011 was not in Samoa */
		{ "0 12 * * *",
		  "Pacific/Apia",
		  "2011-12-29T23:00:00Z",
		  { "2011-12-30T10:00:00Z", "2011-12-30T22:00:00Z" } },
		/* twice: the first, once */
		{ "30 2 * * *",
		  "Europe/Paris",
		  "2026-10-24T12:00:00Z",
		  { "2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z" } },
		{ "30 2 * * *",
		  "Europe/Paris",
		  "2026-10-25T01:10:00Z",
		  { "2026-10-26T01:30:00Z" } },
		/* elapsed: what passes counts */
		{ "30 * * * *",
		  "Europe/Paris",
		  "2026-10-25T00:00:00Z",
		  { "2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z", "2026-10-25T02:30:00Z" } },
		{ "0 */2 * * *",
		  "Europe/Paris",
		  "2026-03-28T23:30:00Z",
		  { "2026-03-29T02:00:00Z", "2026-03-29T04:00:00Z" } },
		{ "0 */2 * * *",
		  "Europe/Paris",
		  "2026-10-24T23:30:00Z",
		  { "2026-10-25T00:00:00Z", "2026-10-25T01:00:00Z", "2026-10-25T03:00:00Z" } },
		/* half an hour, and after the end of any table */
		{ "15 2 * * *",
		  "Australia/Lord_Howe",
		  "2026-10-03T12:00:00Z",
		  { "2026-10-03T15:30:00Z" } },
		{ "30 2 * * *",
		  "Europe/Paris",
		  "2099-03-28T12:00:00Z",
		  { "2099-03-29T01:00:00Z" } },
		{ "30 1 * * *",
		  "Europe/Dublin",
		  "2099-03-28T12:00:00Z",
		  { "2099-03-29T01:00:00Z" } },
	};
	struct zones *zones = zones_new();

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		check_next(zones, &cases[i]);
	zones_free(&zones);
}

static void zones_by_name(void **state)
{
	static const char *const bad[] = {
		"",       "Europe/Pari", "../../etc/passwd", "/etc/localtime", "right/UTC",
		"Europe", "Europe/",     "zone.tab",         "UTC+1!"
	};
	struct zones *zones = zones_new();
	struct error err;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		if (zones_find(zones, bad[i], &err))
			fail_msg("%s was taken", bad[i]);
		assert_int_equal(err.code, ERROR_INVALID);
	}
	assert_ptr_equal(zones_find(zones, "Asia/Tokyo", &err),
			 zones_find(zones, "Asia/Tokyo", &err));
	zones_free(&zones);
}

/* The last tick, found from any distance, is the one before the next. */
static void last_ticks(void **state)
{
	static const char *const crons[] = { "*/7 * * * *", "0 3 * * 1", "@every 45m",
					     "0 0 29 2 *" };
	int64_t until = at("2026-11-23T10:00:00Z"), from = at("2016-01-01T00:00:00Z");
	struct zones *zones = zones_new();
	struct timing timing;
	struct error err;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(crons); i++) {
		const struct zone *zone = zones_find(zones, "Europe/Paris", &err);
		int64_t last;

		assert_int_equal(timing_parse_cron(crons[i], &timing, &err), 0);
		last = timing_last(&timing, zone, from, until);
		assert_true(last <= until && last > from);
		assert_true(timing_next(&timing, zone, last) > until);
		assert_true(timing_next(&timing, zone, last - 1) == last);
		assert_true(timing_last(&timing, zone, last, until) == TIMING_NEVER);
		assert_true(timing_last(&timing, zone, last - 1, until) == last);
	}
	timing = (struct timing){ .kind = TIMING_AT, .at_ms = until };
	assert_true(timing_last(&timing, NULL, from, until) == until);
	assert_true(timing_next(&timing, NULL, until) == TIMING_NEVER);
	zones_free(&zones);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(refuses),       cmocka_unit_test(fits),
		cmocka_unit_test(clocks_change), cmocka_unit_test(zones_by_name),
		cmocka_unit_test(last_ticks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
