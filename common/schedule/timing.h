/* SPDX-License-Identifier: Apache-2.0 */
/* When a schedule is due: by a cron expression, at an interval, or once. Its times ("ticks") follow
 * from the definition alone, so that whoever computes them gets the same ones. */
#ifndef COMMON_SCHEDULE_TIMING_H
#define COMMON_SCHEDULE_TIMING_H
#include "common/schedule/cron.h"

#define TIMING_NEVER        INT64_MAX
#define TIMING_EVERY_MIN_MS INT64_C(1000)
#define TIMING_EVERY_MAX_MS (INT64_C(366) * 86400000)

enum timing_kind { TIMING_CRON = 1, TIMING_EVERY, TIMING_AT };

struct timing {
	enum timing_kind kind;
	struct cron cron;
	int64_t every_ms; /* ticks are its multiples since 1970 in UTC */
	int64_t at_ms;
};

/* A cron expression, or "@every 5m". */
int timing_parse_cron(const char *text, struct timing *timing_r, struct error *err_r) must_check;
int timing_parse_every(const char *text, struct timing *timing_r, struct error *err_r) must_check;
/* The first tick after after_ms (Unix ms); TIMING_NEVER. zone is for cron alone. */
int64_t timing_next(const struct timing *timing, const struct zone *zone, int64_t after_ms);
/* The last tick in (after_ms, until_ms], or TIMING_NEVER. */
int64_t timing_last(const struct timing *timing, const struct zone *zone, int64_t after_ms,
		    int64_t until_ms);

#endif
