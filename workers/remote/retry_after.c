/* SPDX-License-Identifier: Apache-2.0 */
/* The three forms of an HTTP date and a number of seconds; nothing else is guessed at. A locale
 * never matters: the names are those of the standard. Called by remote_call.c. */
#include "workers/remote/retry_after.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "common/base/check.h"

static bool only_blanks(const char *text)
{
	return text[strspn(text, " \t\r\n")] == '\0';
}

static int month_of(const char *name)
{
	static const char *const names[] = { "Jan", "Feb", "Mar", "Apr", "May", "Jun",
					     "Jul", "Aug", "Sep", "Oct", "Nov", "Dec" };

	for (int i = 0; i < (int)ARRAY_LEN(names); i++) {
		if (!strcasecmp(name, names[i]))
			return i;
	}
	return -1;
}

/* RFC 9110: a year of two digits that seems more than 50 years ahead is in the past. */
static int year_of(int year, int64_t now_wall_ms)
{
	time_t now = (time_t)(now_wall_ms / 1000);
	struct tm today;

	if (year >= 100 || !gmtime_r(&now, &today))
		return year;
	year += (today.tm_year + 1900) / 100 * 100;
	return year > today.tm_year + 1950 ? year - 100 : year;
}

static bool date_parse(const char *text, int64_t now_wall_ms, int64_t *wall_ms_r)
{
	struct tm date = { .tm_mday = 0 };
	char month[4] = "";
	int year, end = 0;

	if (sscanf(text, "%*3[A-Za-z], %2d %3[A-Za-z] %4d %2d:%2d:%2d GMT%n", &date.tm_mday, month,
		   &year, &date.tm_hour, &date.tm_min, &date.tm_sec, &end) != 6 &&
	    sscanf(text, "%*[A-Za-z], %2d-%3[A-Za-z]-%2d %2d:%2d:%2d GMT%n", &date.tm_mday, month,
		   &year, &date.tm_hour, &date.tm_min, &date.tm_sec, &end) != 6 &&
	    sscanf(text, "%*3[A-Za-z] %3[A-Za-z] %2d %2d:%2d:%2d %4d%n", month, &date.tm_mday,
		   &date.tm_hour, &date.tm_min, &date.tm_sec, &year, &end) != 6)
		return false;
	date.tm_mon = month_of(month);
	date.tm_year = year_of(year, now_wall_ms) - 1900;
	if (!end || !only_blanks(text + end) || date.tm_mon < 0 || date.tm_mday < 1 ||
	    date.tm_mday > 31 || date.tm_hour < 0 || date.tm_hour > 23 || date.tm_min < 0 ||
	    date.tm_min > 59 || date.tm_sec < 0 || date.tm_sec > 60 || year < 0)
		return false;
	*wall_ms_r = (int64_t)timegm(&date) * 1000;
	return true;
}

int64_t retry_after_ms(const char *value, int64_t now_wall_ms)
{
	size_t digits;
	int64_t at_ms;

	value += strspn(value, " \t");
	digits = strspn(value, "0123456789");
	if (digits && only_blanks(value + digits)) {
		int64_t seconds = 0;

		for (size_t i = 0; i < digits && seconds < RETRY_AFTER_MAX_MS; i++)
			seconds = seconds * 10 + (value[i] - '0');
		return seconds < RETRY_AFTER_MAX_MS / 1000 ? seconds * 1000 : RETRY_AFTER_MAX_MS;
	}
	if (!date_parse(value, now_wall_ms, &at_ms))
		return -1;
	if (at_ms <= now_wall_ms)
		return 0;
	return at_ms - now_wall_ms < RETRY_AFTER_MAX_MS ? at_ms - now_wall_ms : RETRY_AFTER_MAX_MS;
}
