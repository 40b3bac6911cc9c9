/* SPDX-License-Identifier: Apache-2.0 */
/* The Gregorian calendar in whole days. A year begins in March here, so that the leap day is its
 * last; 400 years are one era of 146097 days. */
#include "common/schedule/civil.h"

#define ERA_DAYS   146097
#define EPOCH_DAYS 719468 /* from 0000-03-01 to 1970-01-01 */

static int64_t divide_down(int64_t n, int64_t by)
{
	return n / by - (n % by < 0);
}

int64_t civil_to_days(int year, int month, int day)
{
	int64_t y = (int64_t)year - (month <= 2), era = divide_down(y, 400);
	int64_t of_era = y - era * 400;
	int64_t of_year = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;

	return era * ERA_DAYS + of_era * 365 + of_era / 4 - of_era / 100 + of_year - EPOCH_DAYS;
}

struct civil_day civil_from_days(int64_t days)
{
	int64_t era = divide_down(days + EPOCH_DAYS, ERA_DAYS);
	int64_t of_era = days + EPOCH_DAYS - era * ERA_DAYS;
	int64_t year = (of_era - of_era / 1460 + of_era / 36524 - of_era / (ERA_DAYS - 1)) / 365;
	int64_t of_year = of_era - (365 * year + year / 4 - year / 100);
	int month = (int)((5 * of_year + 2) / 153);
	struct civil_day day = { .month = month < 10 ? month + 3 : month - 9 };

	day.day = (int)(of_year - (153 * month + 2) / 5 + 1);
	day.year = (int)(year + era * 400 + (day.month <= 2));
	return day;
}

int civil_month_days(int year, int month)
{
	static const int days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
	int leap = month == 2 && year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);

	return days[month - 1] + leap;
}

int civil_weekday(int64_t days)
{
	int64_t week = days + 4;

	return (int)(week - divide_down(week, 7) * 7);
}

int64_t civil_day_of(int64_t wall_s)
{
	return divide_down(wall_s, DAY_S);
}
