/* SPDX-License-Identifier: Apache-2.0 */
/* What is to be done with a schedule that is due: which of its ticks run, and which one is next. A
 * tick is missed when the one after it is due as well, or when it is more than a minute late; the
 * schedule's policy says what becomes of those. Knows no store and no clock. */
#ifndef PRODUCERS_SCHEDULE_PLAN_H
#define PRODUCERS_SCHEDULE_PLAN_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/config/schedule_definition.h"

#define PLAN_TICKS_MAX  100 /* what is left is due again at once */
#define PLAN_ON_TIME_MS INT64_C(60000)

struct plan {
	int64_t ticks_ms[PLAN_TICKS_MAX];
	size_t count;
	bool passed_over; /* there were ticks that do not run */
	int64_t next_ms;  /* TIMING_NEVER */
};

/* next_ms: its next tick as the store has it, not after now_ms. */
void plan_make(const struct schedule_definition *definition, int64_t next_ms, int64_t now_ms,
	       struct plan *plan_r);

#endif
