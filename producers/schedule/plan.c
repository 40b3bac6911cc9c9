/* SPDX-License-Identifier: Apache-2.0 */
/* The three policies for missed ticks. */
#include "producers/schedule/plan.h"

#include "common/base/check.h"

static void run_all(const struct schedule_definition *definition, int64_t next_ms, int64_t now_ms,
		    struct plan *plan)
{
	int64_t oldest_ms = now_ms - definition->max_late_ms, tick = next_ms;

	if (tick < oldest_ms) {
		tick = timing_next(&definition->timing, definition->zone, oldest_ms - 1);
		plan->passed_over = true;
	}
	for (; tick <= now_ms && plan->count < PLAN_TICKS_MAX;
	     tick = timing_next(&definition->timing, definition->zone, tick))
		plan->ticks_ms[plan->count++] = tick;
	plan->next_ms = tick;
}

void plan_make(const struct schedule_definition *definition, int64_t next_ms, int64_t now_ms,
	       struct plan *plan_r)
{
	int64_t last, late_max_ms = definition->max_late_ms;

	CHECK(next_ms <= now_ms);
	*plan_r = (struct plan){ 0 };
	if (definition->missed == MISSED_RUN_ALL) {
		run_all(definition, next_ms, now_ms, plan_r);
		return;
	}
	if (definition->missed == MISSED_SKIP && late_max_ms > PLAN_ON_TIME_MS)
		late_max_ms = PLAN_ON_TIME_MS;
	last = timing_last(&definition->timing, definition->zone, next_ms - 1, now_ms);
	/* The zone's rules may have changed since next_ms was worked out: it stands. */
	if (last == TIMING_NEVER)
		last = next_ms;
	if (now_ms - last <= late_max_ms)
		plan_r->ticks_ms[plan_r->count++] = last;
	plan_r->passed_over = last != next_ms || !plan_r->count;
	plan_r->next_ms = timing_next(&definition->timing, definition->zone, now_ms);
}
