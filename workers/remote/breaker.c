/* SPDX-License-Identifier: Apache-2.0 */
/* The window is a ring of slices, so that old failures leave it little by little. A target that
 * only sometimes fails stays closed: the part of its calls decides too. Called by target.c. */
#include "workers/remote/breaker.h"

#include <string.h>

#include "common/base/check.h"

void breaker_init(struct breaker *breaker, const struct breaker_limits *limits)
{
	CHECK(limits->off || (limits->window_ns >= BREAKER_SLICES && limits->cooldown_ns > 0));
	*breaker = (struct breaker){ .limits = *limits, .state = BREAKER_CLOSED };
}

static void clear(struct breaker *breaker)
{
	memset(breaker->calls, 0, sizeof(breaker->calls));
	memset(breaker->failures, 0, sizeof(breaker->failures));
}

/* Empties the slices that time has passed over. */
static unsigned slice_at(struct breaker *breaker, int64_t now_ns)
{
	int64_t slice = now_ns / (breaker->limits.window_ns / BREAKER_SLICES);

	if (slice - breaker->slice >= BREAKER_SLICES) {
		clear(breaker);
		breaker->slice = slice;
	}
	while (breaker->slice < slice) {
		breaker->slice++;
		breaker->calls[breaker->slice % BREAKER_SLICES] = 0;
		breaker->failures[breaker->slice % BREAKER_SLICES] = 0;
	}
	return (unsigned)(slice % BREAKER_SLICES);
}

static void open_it(struct breaker *breaker, int64_t now_ns)
{
	breaker->state = BREAKER_OPEN;
	breaker->since_ns = now_ns;
	breaker->opened_count++;
	clear(breaker);
}

static bool too_many(const struct breaker *breaker)
{
	uint64_t calls = 0, failures = 0;

	for (int i = 0; i < BREAKER_SLICES; i++) {
		calls += breaker->calls[i];
		failures += breaker->failures[i];
	}
	return failures >= (uint64_t)breaker->limits.failures &&
	       failures * 100 >= calls * (uint64_t)breaker->limits.percent;
}

int64_t breaker_wait_ns(const struct breaker *breaker, int64_t now_ns)
{
	int64_t until_ns = breaker->since_ns + breaker->limits.cooldown_ns;

	if (breaker->limits.off || breaker->state == BREAKER_CLOSED || now_ns >= until_ns)
		return 0;
	return until_ns - now_ns;
}

bool breaker_begin(struct breaker *breaker, int64_t now_ns)
{
	if (breaker->limits.off || breaker->state == BREAKER_CLOSED)
		return false;
	CHECK(breaker_wait_ns(breaker, now_ns) == 0);
	breaker->state = BREAKER_HALF_OPEN;
	breaker->since_ns = now_ns;
	return true;
}

void breaker_end(struct breaker *breaker, bool probe, bool failed, int64_t now_ns)
{
	if (breaker->limits.off)
		return;
	if (probe && breaker->state == BREAKER_HALF_OPEN) {
		if (failed) {
			open_it(breaker, now_ns);
		} else {
			breaker->state = BREAKER_CLOSED;
			clear(breaker);
		}
	}
	if (probe || breaker->state != BREAKER_CLOSED)
		return;
	unsigned slice = slice_at(breaker, now_ns);

	breaker->calls[slice]++;
	breaker->failures[slice] += failed;
	if (failed && too_many(breaker))
		open_it(breaker, now_ns);
}

void breaker_forget(struct breaker *breaker, bool probe)
{
	/* the next call is the probe; nothing was learnt, so the cooldown has passed still */
	if (probe && breaker->state == BREAKER_HALF_OPEN) {
		breaker->state = BREAKER_OPEN;
		breaker->since_ns -= breaker->limits.cooldown_ns;
	}
}

const char *breaker_state_name(enum breaker_state state)
{
	static const char *const names[] = {
		[BREAKER_CLOSED] = "closed",
		[BREAKER_OPEN] = "open",
		[BREAKER_HALF_OPEN] = "half_open",
	};

	return names[state];
}
