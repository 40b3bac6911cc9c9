/* SPDX-License-Identifier: Apache-2.0 */
/* Cron expressions: five fields (minute hour day month weekday), or six with seconds in front.
 * Names, lists, ranges, steps, `?`, `L` as the day. When both the day and the weekday are given,
 * either will do. What is here knows wall clocks; cron_next knows zones, too. */
#ifndef COMMON_SCHEDULE_CRON_H
#define COMMON_SCHEDULE_CRON_H
#include <stdbool.h>
#include <stdint.h>

#include "common/base/error.h"
#include "common/schedule/zone.h"

#define CRON_NEVER INT64_MAX

struct cron { /* a bit each */
	uint64_t seconds, minutes;
	uint32_t hours, days, months, weekdays;
	bool last_day;             /* of the month, beside `days` */
	bool any_day, any_weekday; /* the field is * or ? */
	/* The hour is written with * or a step: it means time that passes, so that an hour that
	 * comes twice counts twice and one that is left out does not count. Otherwise it means the
	 * clock: once a day, whatever clocks do. */
	bool elapsed;
};

/* ERROR_INVALID: what is wrong with which field. An expression that no date meets is wrong, too.
 * @yearly @annually @monthly @weekly @daily @midnight @hourly are expressions; other words with @
 * are not (timing.h). */
int cron_parse(const char *text, struct cron *cron_r, struct error *err_r) must_check;
/* The first wall clock time that fits, from wall_s on; CRON_NEVER. */
int64_t cron_fit(const struct cron *cron, int64_t wall_s);
/* The first moment after unix_s, in Unix seconds. A time that clocks leave out is at the first
 * moment after; one that they show twice is the first of the two; see `elapsed`. */
int64_t cron_next(const struct cron *cron, const struct zone *zone, int64_t unix_s);

#endif
