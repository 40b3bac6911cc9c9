/* SPDX-License-Identifier: Apache-2.0 */
/* Formats of dates and times, RFC 3339, and of durations, ISO 8601 as its appendix A has them. */
#include <ctype.h>
#include <string.h>

#include "common/schema/schema_format.h"

/* So many digits at *at: their number, or -1. */
static int read_digits(const char **at, const char *end, int digits)
{
	int n = 0;

	for (int i = 0; i < digits; i++, (*at)++) {
		if (*at == end || !isdigit((unsigned char)**at))
			return -1;
		n = n * 10 + (**at - '0');
	}
	return n;
}

static bool read_char(const char **at, const char *end, const char *wanted)
{
	if (*at == end || !strchr(wanted, **at) || !**at)
		return false;
	(*at)++;
	return true;
}

static bool read_date(const char **at, const char *end)
{
	static const int days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
	int year = read_digits(at, end, 4), month, day;
	bool leap;

	if (year < 0 || !read_char(at, end, "-"))
		return false;
	month = read_digits(at, end, 2);
	if (month < 1 || month > 12 || !read_char(at, end, "-"))
		return false;
	day = read_digits(at, end, 2);
	leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
	return day >= 1 && day <= days[month - 1] + (month == 2 && leap);
}

/* Minutes that the offset says, or -1. */
static int read_offset(const char **at, const char *end)
{
	int hours, minutes;
	bool minus;

	if (read_char(at, end, "Zz"))
		return 0;
	minus = *at < end && **at == '-';
	if (!read_char(at, end, "+-"))
		return -1;
	hours = read_digits(at, end, 2);
	if (hours < 0 || hours > 23 || !read_char(at, end, ":"))
		return -1;
	minutes = read_digits(at, end, 2);
	if (minutes < 0 || minutes > 59)
		return -1;
	minutes += hours * 60;
	return minus ? (24 * 60 - minutes) % (24 * 60) : minutes;
}

static bool read_time(const char **at, const char *end)
{
	int hour = read_digits(at, end, 2), minute, second, offset;

	if (hour < 0 || hour > 23 || !read_char(at, end, ":"))
		return false;
	minute = read_digits(at, end, 2);
	if (minute < 0 || minute > 59 || !read_char(at, end, ":"))
		return false;
	second = read_digits(at, end, 2);
	if (second < 0 || second > 60)
		return false;
	if (read_char(at, end, ".")) {
		if (read_digits(at, end, 1) < 0)
			return false;
		while (*at < end && isdigit((unsigned char)**at))
			(*at)++;
	}
	offset = read_offset(at, end);
	/* Leap seconds come at the end of a day of UTC. */
	return offset >= 0 &&
	       (second < 60 || (hour * 60 + minute - offset + 24 * 60) % (24 * 60) == 24 * 60 - 1);
}

bool schema_format_date(const char *text, size_t bytes)
{
	const char *end = text + bytes;

	return read_date(&text, end) && text == end;
}

bool schema_format_time(const char *text, size_t bytes)
{
	const char *end = text + bytes;

	return read_time(&text, end) && text == end;
}

bool schema_format_date_time(const char *text, size_t bytes)
{
	const char *end = text + bytes;

	return read_date(&text, end) && read_char(&text, end, "Tt") && read_time(&text, end) &&
	       text == end;
}

/* Units in this order, each at most once and with none left out between two: how many there are, or
 * -1. */
static int read_units(const char **at, const char *end, const char *units)
{
	int count = 0;

	while (*at < end && isdigit((unsigned char)**at)) {
		const char *unit;

		while (*at < end && isdigit((unsigned char)**at))
			(*at)++;
		unit = *at < end && **at ? strchr(units, **at) : NULL;
		if (!unit || (count && unit != units))
			return -1;
		units = unit + 1;
		(*at)++;
		count++;
	}
	return count;
}

bool schema_format_duration(const char *text, size_t bytes)
{
	const char *end = text + bytes;
	int days, times = 1;

	if (!read_char(&text, end, "P"))
		return false;
	if (bytes > 2 && end[-1] == 'W')
		return read_units(&text, end, "W") == 1 && text == end;
	days = read_units(&text, end, "YMD");
	if (read_char(&text, end, "T"))
		times = read_units(&text, end, "HMS");
	else if (days == 0)
		return false;
	return days >= 0 && times > 0 && text == end;
}
