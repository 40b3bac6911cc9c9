/* SPDX-License-Identifier: Apache-2.0 */
/* What the autoscaler decides: out when it presses, in after a time of calm, never beyond its
 * bounds, and never back and forth under a load that stays the same. */
#include "workers/supervisor/autoscale.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/base/check.h"

static const struct pool_definition pool = {
	.name = "x",
	.autoscale = { .min = 1, .max = 16, .age_ms = 5000, .calm_ms = 60000, .utilisation = 0.8 },
};

struct look {
	const char *name;
	int workers, there, leaving, hosts, busy;
	int64_t available, oldest_ms, calm_ms;
	int want;
	bool calm;
};

static struct autoscale_verdict decide(const struct look *look)
{
	struct pool_state state = {
		.pool = &pool,
		.all = { .workers = look->workers },
		.common = { .workers = look->there + look->leaving,
			    .leaving = look->leaving,
			    .hosts = look->hosts,
			    .busy = look->busy,
			    .nodes = 1 },
		.available = look->available,
		.oldest_ms = look->oldest_ms,
	};

	return autoscale_decide(&state, look->calm_ms);
}

static void decides(void **state)
{
	static const struct look looks[] = {
		{ "nothing to do", 1, 1, 0, 8, 0, 0, -1, -1, POOL_KEEP, false },
		{ "busy, and all is well", 4, 4, 0, 32, 25, 3, 100, -1, POOL_KEEP, false },
		{ "too busy", 4, 4, 0, 32, 30, 0, -1, -1, 5, false },
		{ "full", 8, 8, 0, 64, 64, 9, 100, -1, 10, false },
		{ "too old", 4, 4, 0, 32, 20, 900, 6000, -1, 6, false },
		{ "too old, and one", 1, 1, 0, 8, 1, 900, 6000, -1, 2, false },
		{ "those asked for are not there yet", 6, 4, 0, 32, 32, 900, 9000, -1, POOL_KEEP,
		  false },
		{ "who leaves is not there", 6, 5, 3, 40, 40, 900, 9000, -1, POOL_KEEP, false },
		{ "at the most", 16, 16, 0, 128, 128, 900, 60000, -1, POOL_KEEP, false },
		{ "not beyond the most", 15, 15, 0, 120, 120, 900, 60000, -1, 16, false },
		{ "calm begins", 8, 8, 0, 64, 4, 0, -1, -1, POOL_KEEP, true },
		{ "calm goes on", 8, 8, 0, 64, 4, 0, -1, 59000, POOL_KEEP, true },
		{ "calm has lasted", 8, 8, 0, 64, 4, 0, -1, 60000, 4, true },
		{ "in, as far as the load lets it", 8, 8, 0, 64, 36, 0, -1, 60000, 6, true },
		{ "in would press", 4, 4, 0, 32, 23, 0, -1, 90000, POOL_KEEP, false },
		{ "idle, but the oldest is not young", 8, 8, 0, 64, 4, 1, 3000, 90000, POOL_KEEP,
		  false },
		{ "at the least", 1, 1, 0, 8, 0, 0, -1, 600000, POOL_KEEP, false },
		{ "nobody is there, and nothing waits", 0, 0, 0, 0, 0, 0, -1, -1, POOL_KEEP,
		  false },
		{ "nobody is there for it", 0, 0, 0, 0, 0, 1, 10, -1, 1, false },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(looks); i++) {
		struct autoscale_verdict got = decide(&looks[i]);

		if (got.workers != looks[i].want || got.calm != looks[i].calm)
			fail_msg("%s: got %d%s, want %d%s", looks[i].name, got.workers,
				 got.calm ? ", calm" : "", looks[i].want,
				 looks[i].calm ? ", calm" : "");
	}
}

/* Whatever the load is, once it stays the same the number comes to rest. */
static void comes_to_rest(void **state)
{
	(void)state;
	for (int load = 0; load <= 160; load++) {
		int workers = 1 + load % 16, changes = 0, last = 0;

		for (int turn = 0; turn < 100; turn++) {
			int hosts = workers * 8, busy = load < hosts ? load : hosts;
			struct look look = { .workers = workers,
					     .there = workers,
					     .hosts = hosts,
					     .busy = busy,
					     .oldest_ms = load > hosts ? 9000 : -1,
					     .available = load > hosts,
					     .calm_ms = 60000 };
			int want = decide(&look).workers;

			assert_true(want == POOL_KEEP || (want >= 1 && want <= 16));
			assert_true(want != workers);
			if (want == POOL_KEEP)
				continue;
			changes++;
			last = turn;
			workers = want;
		}
		if (changes > 12 || last > 12)
			fail_msg("a load of %d never rests: %d changes", load, changes);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(decides),
		cmocka_unit_test(comes_to_rest),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
