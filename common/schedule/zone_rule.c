/* SPDX-License-Identifier: Apache-2.0 */
/* Reads and applies the TZ rule of a zone. */
#include "common/schedule/zone_rule.h"

#include <ctype.h>
#include <string.h>

#include "common/schedule/civil.h"

/* "CET" or "<+03>": at least three characters. */
static const char *skip_name(const char *at)
{
	const char *start = at;

	if (*at == '<') {
		at = strchr(at, '>');
		return at && at - start >= 4 ? at + 1 : NULL;
	}
	while (isalpha((unsigned char)*at))
		at++;
	return at - start >= 3 ? at : NULL;
}

static const char *take_number(const char *at, int max, int *n_r)
{
	int n = 0;

	if (!at || !isdigit((unsigned char)*at))
		return NULL;
	for (; isdigit((unsigned char)*at); at++) {
		n = n * 10 + (*at - '0');
		if (n > max)
			return NULL;
	}
	*n_r = n;
	return at;
}

/* [+-]h[h[h]][:mm[:ss]], up to a week's hours. */
static const char *take_time(const char *at, int64_t *s_r)
{
	int sign = 1, part[3] = { 0 };

	if (*at == '+' || *at == '-')
		sign = *at++ == '-' ? -1 : 1;
	at = take_number(at, 167, &part[0]);
	for (int i = 1; at && i < 3 && *at == ':'; i++)
		at = take_number(at + 1, 59, &part[i]);
	*s_r = sign * (part[0] * INT64_C(3600) + part[1] * 60 + part[2]);
	return at;
}

static const char *take_weekday(const char *at, struct zone_rule_day *day)
{
	at = take_number(at, 12, &day->month);
	at = at && *at == '.' ? take_number(at + 1, 5, &day->week) : NULL;
	at = at && *at == '.' ? take_number(at + 1, 6, &day->wday) : NULL;
	return at && day->month >= 1 && day->week >= 1 ? at : NULL;
}

static const char *take_day(const char *at, struct zone_rule_day *day)
{
	if (*at != ',')
		return NULL;
	at++;
	day->kind = *at == 'M' || *at == 'J' ? *at : '0';
	day->time_s = 2 * 3600;
	if (day->kind == 'M')
		at = take_weekday(at + 1, day);
	else
		at = take_number(at + (day->kind == 'J'), 365, &day->day);
	return at && *at == '/' ? take_time(at + 1, &day->time_s) : at;
}

bool zone_rule_parse(const char *text, struct zone_rule *rule_r)
{
	const char *at = skip_name(text);
	int64_t west;

	*rule_r = (struct zone_rule){ 0 };
	at = at ? take_time(at, &west) : NULL;
	if (!at)
		return false;
	rule_r->standard_s = -west;
	if (!*at)
		return true;
	rule_r->changes = true;
	rule_r->summer_s = rule_r->standard_s + 3600;
	at = skip_name(at);
	if (at && *at && *at != ',') {
		at = take_time(at, &west);
		rule_r->summer_s = -west;
	}
	at = at ? take_day(at, &rule_r->to_summer) : NULL;
	at = at ? take_day(at, &rule_r->to_standard) : NULL;
	return at && !*at;
}

static int64_t day_of(const struct zone_rule_day *day, int year)
{
	int64_t january = civil_to_days(year, 1, 1), first;
	int ahead, last;

	if (day->kind == '0')
		return january + day->day;
	if (day->kind == 'J') /* the 60th is always the first of March */
		return january + day->day - 1 + (day->day >= 60 && civil_month_days(year, 2) == 29);
	first = civil_to_days(year, day->month, 1);
	ahead = (day->wday - civil_weekday(first) + 7) % 7 + 7 * (day->week - 1);
	last = civil_month_days(year, day->month);
	return first + (ahead < last ? ahead : ahead - 7); /* week 5 is the last one */
}

int64_t zone_rule_to_summer(const struct zone_rule *rule, int year)
{
	const struct zone_rule_day *day = &rule->to_summer;

	return day_of(day, year) * DAY_S + day->time_s - rule->standard_s;
}

int64_t zone_rule_to_standard(const struct zone_rule *rule, int year)
{
	const struct zone_rule_day *day = &rule->to_standard;

	return day_of(day, year) * DAY_S + day->time_s - rule->summer_s;
}
