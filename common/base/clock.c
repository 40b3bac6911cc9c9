/* SPDX-License-Identifier: Apache-2.0 */
/* The two clocks, and date-times of RFC 3339. All calendar arithmetic is done here on the proleptic
 * Gregorian calendar, in UTC; the time zone of the machine is never asked. */
#include "common/base/clock.h"

#include <stdbool.h>
#include <string.h>
#include <time.h>

#include "common/base/check.h"

#define DAY_MS       86400000
#define YEAR_0_MS    (-62167219200000) /* 0000-01-01T00:00:00.000Z */
#define YEAR_9999_MS (253402300799999) /* 9999-12-31T23:59:59.999Z */

static struct timespec clock_get(clockid_t clock)
{
	struct timespec now;

	CHECK(clock_gettime(clock, &now) == 0);
	return now;
}

int64_t clock_mono_ns(void)
{
	struct timespec now = clock_get(CLOCK_MONOTONIC);

	return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

int64_t clock_mono_ms(void)
{
	return clock_mono_ns() / 1000000;
}

int64_t clock_wall_us(void)
{
	struct timespec now = clock_get(CLOCK_REALTIME);

	return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

int64_t clock_wall_ms(void)
{
	return clock_wall_us() / 1000;
}

/* Days since 1970-01-01; years are counted from March, so that the leap day is the last of its
 * year. */
static int64_t days_from_date(int year, int month, int day)
{
	int64_t shifted = month <= 2 ? year - 1 : year;
	int64_t era = (shifted >= 0 ? shifted : shifted - 399) / 400;
	int64_t year_of_era = shifted - era * 400;
	int64_t day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;

	return era * 146097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 +
	       day_of_year - 719468;
}

static void date_from_days(int64_t days, int *year_r, int *month_r, int *day_r)
{
	int64_t shifted = days + 719468;
	int64_t era = (shifted >= 0 ? shifted : shifted - 146096) / 146097;
	int64_t day_of_era = shifted - era * 146097;
	int64_t year_of_era =
		(day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
	int64_t day_of_year =
		day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
	int64_t shifted_month = (5 * day_of_year + 2) / 153;

	*day_r = (int)(day_of_year - (153 * shifted_month + 2) / 5 + 1);
	*month_r = (int)(shifted_month < 10 ? shifted_month + 3 : shifted_month - 9);
	*year_r = (int)(year_of_era + era * 400 + (*month_r <= 2));
}

static void put_digits(char *at, int n, int digits)
{
	for (int i = digits - 1; i >= 0; i--, n /= 10)
		at[i] = (char)('0' + n % 10);
}

/* Times outside the years 0000 to 9999, which RFC 3339 cannot write, become the nearest that it
 * can. */
char *clock_format(int64_t wall_ms, char text_r[CLOCK_TEXT])
{
	int64_t at_least = wall_ms < YEAR_0_MS ? YEAR_0_MS : wall_ms;
	int64_t ms = at_least > YEAR_9999_MS ? YEAR_9999_MS : at_least;
	int64_t of_day = (ms % DAY_MS + DAY_MS) % DAY_MS;
	int year, month, day, second = (int)(of_day / 1000);

	date_from_days((ms - of_day) / DAY_MS, &year, &month, &day);
	memcpy(text_r, "0000-00-00T00:00:00.000Z", CLOCK_TEXT);
	put_digits(text_r, year, 4);
	put_digits(text_r + 5, month, 2);
	put_digits(text_r + 8, day, 2);
	put_digits(text_r + 11, second / 3600, 2);
	put_digits(text_r + 14, second / 60 % 60, 2);
	put_digits(text_r + 17, second % 60, 2);
	put_digits(text_r + 20, (int)(of_day % 1000), 3);
	return text_r;
}

/* Reads exactly `digits` digits, at most `max`, and moves on; false when they are not there. */
static bool take_digits(const char **at, int digits, int max, int *n_r)
{
	int n = 0;

	for (int i = 0; i < digits; i++, (*at)++) {
		if (**at < '0' || **at > '9')
			return false;
		n = n * 10 + (**at - '0');
	}
	*n_r = n;
	return n <= max;
}

static bool take_char(const char **at, char c)
{
	if (**at != c)
		return false;
	(*at)++;
	return true;
}

static bool leap_year(int year)
{
	return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

static bool take_date(const char **at, int64_t *days_r)
{
	static const int lengths[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
	int year, month, day;

	if (!take_digits(at, 4, 9999, &year) || !take_char(at, '-') ||
	    !take_digits(at, 2, 12, &month) || !take_char(at, '-') ||
	    !take_digits(at, 2, 31, &day) || month < 1 || day < 1)
		return false;
	if (day > lengths[month - 1] + (month == 2 && leap_year(year)))
		return false;
	*days_r = days_from_date(year, month, day);
	return true;
}

/* "HH:MM:SS" and an optional fraction, of which milliseconds are kept. */
static bool take_time(const char **at, int *minutes_r, int *second_r, int *ms_r)
{
	int hour, minute, unit = 100;

	if (!take_digits(at, 2, 23, &hour) || !take_char(at, ':') ||
	    !take_digits(at, 2, 59, &minute) || !take_char(at, ':') ||
	    !take_digits(at, 2, 60, second_r))
		return false;
	*minutes_r = hour * 60 + minute;
	*ms_r = 0;
	if (!take_char(at, '.'))
		return true;
	if (**at < '0' || **at > '9')
		return false;
	for (; **at >= '0' && **at <= '9'; (*at)++, unit /= 10)
		*ms_r += (**at - '0') * unit;
	return true;
}

/* "Z", or an offset in minutes. */
static bool take_zone(const char **at, int *offset_r)
{
	int hour, minute, sign;

	if (take_char(at, 'Z') || take_char(at, 'z')) {
		*offset_r = 0;
		return true;
	}
	sign = take_char(at, '-') ? -1 : take_char(at, '+') ? 1 : 0;
	if (sign == 0 || !take_digits(at, 2, 23, &hour) || !take_char(at, ':') ||
	    !take_digits(at, 2, 59, &minute))
		return false;
	*offset_r = sign * (hour * 60 + minute);
	return true;
}

/* A leap second counts as the first second after it, and is one only in the last minute of a UTC
 * day. */
int clock_parse(const char *text, int64_t *wall_ms_r)
{
	int minutes, second, ms, offset;
	int64_t days, utc_minutes, wall_ms;

	if (!take_date(&text, &days) || !(take_char(&text, 'T') || take_char(&text, 't')) ||
	    !take_time(&text, &minutes, &second, &ms) || !take_zone(&text, &offset) ||
	    *text != '\0')
		return -1;
	utc_minutes = days * 1440 + minutes - offset;
	if (second == 60 && (utc_minutes % 1440 + 1440) % 1440 != 1439)
		return -1;
	wall_ms = (utc_minutes * 60 + second) * 1000 + ms;
	if (wall_ms < YEAR_0_MS || wall_ms > YEAR_9999_MS)
		return -1;
	*wall_ms_r = wall_ms;
	return 0;
}
