/* SPDX-License-Identifier: Apache-2.0 */
/* Ticks of the three kinds of timing. */
#include "common/schedule/timing.h"

#include <string.h>
#include <strings.h>

#include "common/base/clock.h"

int timing_parse_every(const char *text, struct timing *timing_r, struct error *err_r)
{
	*timing_r = (struct timing){ .kind = TIMING_EVERY };
	if (duration_parse(text, &timing_r->every_ms) < 0 ||
	    timing_r->every_ms < TIMING_EVERY_MIN_MS || timing_r->every_ms > TIMING_EVERY_MAX_MS)
		return error_set(err_r, ERROR_INVALID,
				 "expected a duration of 1s to 366d, as in 90s, 5m or 1h");
	return 0;
}

int timing_parse_cron(const char *text, struct timing *timing_r, struct error *err_r)
{
	if (strncasecmp(text, "@every ", 7) == 0)
		return timing_parse_every(text + 7 + strspn(text + 7, " "), timing_r, err_r);
	*timing_r = (struct timing){ .kind = TIMING_CRON };
	return cron_parse(text, &timing_r->cron, err_r);
}

static int64_t divide_down(int64_t n, int64_t by)
{
	return n / by - (n % by < 0);
}

int64_t timing_next(const struct timing *timing, const struct zone *zone, int64_t after_ms)
{
	int64_t next_s;

	switch (timing->kind) {
	case TIMING_EVERY:
		return (divide_down(after_ms, timing->every_ms) + 1) * timing->every_ms;
	case TIMING_AT:
		return timing->at_ms > after_ms ? timing->at_ms : TIMING_NEVER;
	case TIMING_CRON:
		break;
	}
	next_s = cron_next(&timing->cron, zone, divide_down(after_ms, 1000));
	return next_s == CRON_NEVER ? TIMING_NEVER : next_s * 1000;
}

/* Goes back in doubling steps until there is a tick, then forward to the last one. */
int64_t timing_last(const struct timing *timing, const struct zone *zone, int64_t after_ms,
		    int64_t until_ms)
{
	int64_t tick = TIMING_NEVER, next, from = until_ms;

	for (int64_t step = 1000; tick > until_ms && from > after_ms; step *= 2) {
		from = until_ms - after_ms > step ? until_ms - step : after_ms;
		tick = timing_next(timing, zone, from);
	}
	if (tick > until_ms)
		return TIMING_NEVER;
	while ((next = timing_next(timing, zone, tick)) <= until_ms)
		tick = next;
	return tick;
}
