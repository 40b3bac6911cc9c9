/* SPDX-License-Identifier: Apache-2.0 */
/* Days of the Gregorian calendar, proleptic, as numbers since 1970-01-01. Wall clock times are
 * seconds since 1970-01-01 00:00 of the same clock. */
#ifndef COMMON_SCHEDULE_CIVIL_H
#define COMMON_SCHEDULE_CIVIL_H
#include <stdint.h>

#define DAY_S INT64_C(86400)

struct civil_day {
	int year, month, day; /* month and day from 1 */
};

int64_t civil_to_days(int year, int month, int day);
struct civil_day civil_from_days(int64_t days);
int civil_month_days(int year, int month);
/* 0 is Sunday */
int civil_weekday(int64_t days);
/* rounds towards the past */
int64_t civil_day_of(int64_t wall_s);

#endif
