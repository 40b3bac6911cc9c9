/* SPDX-License-Identifier: Apache-2.0 */
/* Cron expressions as sets of bits, and the search for the next time. */
#include "common/schedule/cron.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "common/schedule/civil.h"

#define CRON_BYTES_MAX 200
#define FIELDS_MAX     6
#define YEARS_AHEAD    9 /* 29 February may be eight years away */

enum { SECOND, MINUTE, HOUR, DAY, MONTH, WEEKDAY };

static const char *const month_names[] = { "JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL",
					   "AUG", "SEP", "OCT", "NOV", "DEC", NULL };
static const char *const weekday_names[] = {
	"SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT", NULL
};

static const struct field {
	const char *name;
	int min, max;
	const char *const *names; /* of min, min + 1, ... */
} fields[FIELDS_MAX] = {
	[SECOND] = { "second", 0, 59, NULL },
	[MINUTE] = { "minute", 0, 59, NULL },
	[HOUR] = { "hour", 0, 23, NULL },
	[DAY] = { "day of the month", 1, 31, NULL },
	[MONTH] = { "month", 1, 12, month_names },
	[WEEKDAY] = { "day of the week", 0, 7, weekday_names }, /* 0 and 7 are Sunday */
};

/* ---- parsing. An item is *, a, a-b, and any of these with /step. */

struct item {
	const char *text;
	int from, to, step;
};

static int refuse(const struct field *field, const char *text, const char *why, struct error *err_r)
{
	return error_set(err_r, ERROR_INVALID, "%s `%s`: %s", field->name, text, why);
}

static const char *take_value(const struct field *field, const char *at, int *value_r)
{
	int n = 0;

	for (int i = 0; field->names && field->names[i]; i++) {
		if (strncasecmp(at, field->names[i], 3) == 0 && !isalnum((unsigned char)at[3])) {
			*value_r = field->min + i;
			return at + 3;
		}
	}
	if (!isdigit((unsigned char)*at))
		return NULL;
	for (; isdigit((unsigned char)*at); at++) {
		n = n * 10 + (*at - '0');
		if (n > 99)
			return NULL;
	}
	*value_r = n;
	return at;
}

static const char *take_range(const struct field *field, const char *at, struct item *item)
{
	if (*at == '*') {
		item->from = field->min;
		item->to = field == &fields[WEEKDAY] ? 6 : field->max;
		return at + 1;
	}
	at = take_value(field, at, &item->from);
	item->to = item->from;
	if (at && *at == '-')
		return take_value(field, at + 1, &item->to);
	/* "5/15": from there to the end */
	if (at && *at == '/')
		item->to = field == &fields[WEEKDAY] ? 6 : field->max;
	return at;
}

static int parse_item(const struct field *field, struct item *item, struct error *err_r)
{
	const char *at = take_range(field, item->text, item);

	item->step = 1;
	if (at && *at == '/') {
		const struct field steps = { field->name, 1, 99, NULL };

		at = take_value(&steps, at + 1, &item->step);
	}
	if ((!at || *at) && strpbrk(item->text, "LWlw#HhRr") && !strchr(item->text, '-'))
		return refuse(
			field, item->text,
			"L (but as the day alone), W, #, H and R are not available in this version",
			err_r);
	if (!at || *at)
		return refuse(field, item->text,
			      "expected *, a value, a range a-b, and /step behind it", err_r);
	if (item->from < field->min || item->to > field->max || item->from > field->max) {
		char why[64];

		snprintf(why, sizeof(why), "expected %d to %d", field->min, field->max);
		return refuse(field, item->text, why, err_r);
	}
	if (item->from > item->to)
		return refuse(field, item->text, "the range goes backwards; write two", err_r);
	if (item->step < 1)
		return refuse(field, item->text, "the step is 0", err_r);
	return 0;
}

static int parse_field(const struct field *field, char *text, bool *last_day, uint64_t *bits_r,
		       struct error *err_r)
{
	char *rest = text, *word;
	struct item item;

	*bits_r = 0;
	while ((word = strsep(&rest, ",")) != NULL) {
		item.text = word;
		if (field == &fields[DAY] && strcasecmp(word, "L") == 0) {
			*last_day = true;
			continue;
		}
		if (parse_item(field, &item, err_r) < 0)
			return -1;
		for (int n = item.from; n <= item.to; n += item.step)
			*bits_r |= UINT64_C(1) << n;
	}
	return 0;
}

static bool is_any(const char *text)
{
	return strcmp(text, "*") == 0 || strcmp(text, "?") == 0;
}

static int parse_fields(char *words[FIELDS_MAX], struct cron *cron, struct error *err_r)
{
	static char any[] = "*";
	uint64_t bits[FIELDS_MAX];

	cron->any_day = is_any(words[DAY]);
	cron->any_weekday = is_any(words[WEEKDAY]);
	cron->elapsed = strpbrk(words[HOUR], "*/") != NULL;
	for (int i = 0; i < FIELDS_MAX; i++) {
		char copy[] = "*";
		bool may = i == DAY || i == WEEKDAY;
		char *text = may && is_any(words[i]) ? memcpy(copy, any, sizeof(any)) : words[i];

		if (parse_field(&fields[i], text, &cron->last_day, &bits[i], err_r) < 0)
			return -1;
	}
	cron->seconds = bits[SECOND];
	cron->minutes = bits[MINUTE];
	cron->hours = (uint32_t)bits[HOUR];
	cron->days = (uint32_t)bits[DAY];
	cron->months = (uint32_t)bits[MONTH];
	cron->weekdays = (uint32_t)((bits[WEEKDAY] | bits[WEEKDAY] >> 7) & 0x7f);
	return 0;
}

static const char *expand(const char *text)
{
	static const struct {
		const char *name, *text;
	} names[] = {
		{ "@yearly", "0 0 1 1 *" },  { "@annually", "0 0 1 1 *" },
		{ "@monthly", "0 0 1 * *" }, { "@weekly", "0 0 * * 0" },
		{ "@daily", "0 0 * * *" },   { "@midnight", "0 0 * * *" },
		{ "@hourly", "0 * * * *" },
	};

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		if (strcasecmp(text, names[i].name) == 0)
			return names[i].text;
	}
	return text;
}

int cron_parse(const char *text, struct cron *cron_r, struct error *err_r)
{
	char copy[CRON_BYTES_MAX + 1], zero[] = "0", *words[FIELDS_MAX + 1], *rest = copy, *word;
	size_t count = 0, bytes;

	*cron_r = (struct cron){ 0 };
	text = expand(text);
	bytes = strlen(text);
	if (bytes > CRON_BYTES_MAX)
		return error_set(err_r, ERROR_INVALID, "longer than %d bytes", CRON_BYTES_MAX);
	if (text[0] == '@')
		return error_set(err_r, ERROR_INVALID,
				 "unknown word %s; expected @yearly, @monthly, @weekly, @daily, "
				 "@hourly or @every DURATION",
				 text);
	memcpy(copy, text, bytes + 1);
	while ((word = strsep(&rest, " \t")) != NULL) {
		if (*word && count < ARRAY_LEN(words))
			words[count++] = word;
	}
	if (count != 5 && count != 6)
		return error_set(
			err_r, ERROR_INVALID,
			"expected five fields (minute hour day month weekday), or six with "
			"seconds in front");
	if (count == 5) {
		memmove(words + 1, words, 5 * sizeof(words[0]));
		words[SECOND] = zero;
	}
	if (parse_fields(words, cron_r, err_r) < 0)
		return -1;
	if (cron_fit(cron_r, 0) == CRON_NEVER)
		return error_set(err_r, ERROR_INVALID, "no date fits it");
	return 0;
}

/* ---- wall clock times */

/* The lowest bit from `from` on, or -1. */
static int next_bit(uint64_t bits, int from)
{
	bits = from < 64 ? bits >> from << from : 0;
	return bits ? __builtin_ctzll(bits) : -1;
}

static bool day_fits(const struct cron *cron, const struct civil_day *day, int64_t days)
{
	bool by_day = cron->days >> day->day & 1 ||
		      (cron->last_day && day->day == civil_month_days(day->year, day->month));
	bool by_weekday = cron->weekdays >> civil_weekday(days) & 1;

	if (cron->any_day || cron->any_weekday)
		return (cron->any_day || by_day) && (cron->any_weekday || by_weekday);
	return by_day || by_weekday;
}

/* The first day that fits, from this one on, or -1 as a year. */
static int64_t fit_day(const struct cron *cron, int64_t days)
{
	struct civil_day day = civil_from_days(days);
	int last_year = day.year + YEARS_AHEAD;

	while (day.year <= last_year) {
		if (!(cron->months >> day.month & 1)) {
			day.day = 1;
			if (++day.month > 12) {
				day.month = 1;
				day.year++;
			}
			days = civil_to_days(day.year, day.month, 1);
			continue;
		}
		if (day_fits(cron, &day, days))
			return days;
		day = civil_from_days(++days);
	}
	return CRON_NEVER;
}

/* The first second of a day that fits, from `second` on, or -1. */
static int fit_second(const struct cron *cron, int second)
{
	int hour = second / 3600, minute = second / 60 % 60;
	int h = next_bit(cron->hours, hour), m, s;

	second %= 60;
	if (h == hour) {
		m = next_bit(cron->minutes, minute);
		if (m == minute) {
			s = next_bit(cron->seconds, second);
			if (s >= 0)
				return h * 3600 + m * 60 + s;
			m = next_bit(cron->minutes, minute + 1);
		}
		if (m >= 0)
			return h * 3600 + m * 60 + next_bit(cron->seconds, 0);
		h = next_bit(cron->hours, hour + 1);
	}
	if (h < 0)
		return -1;
	return h * 3600 + next_bit(cron->minutes, 0) * 60 + next_bit(cron->seconds, 0);
}

int64_t cron_fit(const struct cron *cron, int64_t wall_s)
{
	int64_t today = civil_day_of(wall_s), days = fit_day(cron, today);
	int second = 0;

	if (days == today) {
		second = fit_second(cron, (int)(wall_s - today * DAY_S));
		if (second >= 0)
			return today * DAY_S + second;
		days = fit_day(cron, today + 1);
	}
	return days == CRON_NEVER ? CRON_NEVER : days * DAY_S + fit_second(cron, 0);
}

/* ---- zones */

static int64_t next_elapsed(const struct cron *cron, const struct zone *zone, int64_t unix_s)
{
	int64_t at = unix_s + 1, until = unix_s + (YEARS_AHEAD + 1) * 366 * DAY_S, wall;
	struct zone_span span;

	while (at < until) {
		zone_span_at(zone, at, &span);
		wall = cron_fit(cron, at + span.offset_s);
		if (wall == CRON_NEVER)
			return CRON_NEVER;
		if (span.end_s == INT64_MAX || wall - span.offset_s < span.end_s)
			return wall - span.offset_s;
		at = span.end_s;
	}
	return CRON_NEVER;
}

/* The moments of later wall clock times are never earlier, so the first one after unix_s is it. */
static int64_t next_by_clock(const struct cron *cron, const struct zone *zone, int64_t unix_s)
{
	struct zone_span span;
	int64_t wall, moment;

	zone_span_at(zone, unix_s, &span);
	wall = unix_s + span.offset_s;
	do {
		wall = cron_fit(cron, wall + 1);
		if (wall == CRON_NEVER)
			return CRON_NEVER;
		moment = zone_moment(zone, wall, NULL);
	} while (moment <= unix_s);
	return moment;
}

int64_t cron_next(const struct cron *cron, const struct zone *zone, int64_t unix_s)
{
	return cron->elapsed ? next_elapsed(cron, zone, unix_s) : next_by_clock(cron, zone, unix_s);
}
