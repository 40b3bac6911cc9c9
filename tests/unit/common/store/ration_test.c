/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/arena.h"
#include "common/store/ration.h"

#define NOW INT64_C(1700000000000000)

/* What waits in queue "q": so many jobs of these keys, "" for none. */
struct waiting {
	const char *key;
	size_t count;
};

static struct limits some(int64_t concurrency, double rate, int64_t key_concurrency, int fair)
{
	return (struct limits){ { concurrency, rate }, { key_concurrency, 0 }, fair, NULL };
}

/* One claim; the taken jobs' keys as letters. */
static const char *claim(struct ration *ration, const struct limits *limits, size_t max,
			 struct waiting *waiting, size_t count, int64_t now_us)
{
	static char taken[256];
	const char *keys[1024];
	size_t lane_count, rows = 0, chosen_count;
	bool typed;

	ration_begin(ration, max, now_us);
	ration_rule(ration, LIMITS_QUEUE, "q", limits);
	ration_queue(ration, "q", true, false);
	for (size_t i = 0; i < count; i++)
		if (*waiting[i].key && waiting[i].count)
			ration_key(ration, "q", PRIORITY_NORMAL, waiting[i].key);
	const struct ration_lane *lanes = ration_plan(ration, &lane_count, &typed);

	for (size_t n = 0; n < lane_count; n++)
		for (size_t i = 0; i < count; i++) {
			if (lanes[n].priority != PRIORITY_NORMAL ||
			    strcmp(lanes[n].key ? lanes[n].key : "", waiting[i].key) != 0)
				continue;
			for (size_t k = 0; k < waiting[i].count && k < lanes[n].max; k++) {
				struct uuid id = { { 0 } };

				keys[rows++] = waiting[i].key;
				ration_row(ration, n, &id, (int64_t)k + 1, NULL,
					   *waiting[i].key ? waiting[i].key : NULL, true);
			}
		}
	const size_t *chosen = ration_choose(ration, &chosen_count);

	for (size_t i = 0; i < chosen_count; i++) {
		taken[i] = *keys[chosen[i]] ? *keys[chosen[i]] : '-';
		for (size_t k = 0; k < count; k++)
			waiting[k].count -= waiting[k].key == keys[chosen[i]];
	}
	taken[chosen_count] = '\0';
	ration_took(ration);
	return taken;
}

static void turns_go_round(void **state)
{
	struct ration *ration = ration_new();
	struct limits fair = some(0, 0, 0, 1);
	struct waiting waiting[] = { { "a", 9 }, { "b", 3 }, { "", 3 } };

	(void)state;
	assert_string_equal(claim(ration, &fair, 6, waiting, 3, NOW), "ab-ab-");
	assert_string_equal(claim(ration, &fair, 2, waiting, 3, NOW), "ab");
	/* the one that has waited longest */
	assert_string_equal(claim(ration, &fair, 1, waiting, 3, NOW), "-");
	assert_string_equal(claim(ration, &fair, 5, waiting, 3, NOW), "aaaaa");
	ration_free(&ration);
}

static void a_pause_earns_nothing(void **state)
{
	struct ration *ration = ration_new();
	struct limits fair = some(0, 0, 0, 1);
	struct waiting one[] = { { "a", 50 } }, both[] = { { "a", 50 }, { "b", 50 } };
	size_t b = 0;

	(void)state;
	claim(ration, &fair, 40, one, 1, NOW);
	for (const char *at = claim(ration, &fair, 10, both, 2, NOW); *at; at++)
		b += *at == 'b';
	assert_in_range(b, 5, 6);
	ration_free(&ration);
}

static void weights_are_shares(void **state)
{
	struct ration *ration = ration_new();
	struct limits fair = some(0, 0, 0, 1);
	struct waiting waiting[] = { { "a", 100 }, { "b", 100 }, { "c", 100 } };
	size_t count[3] = { 0 };

	(void)state;
	fair.weights = "{\"a\": 4, \"b\": 2}";
	for (int i = 0; i < 7; i++)
		for (const char *at = claim(ration, &fair, 10, waiting, 3, NOW); *at; at++)
			count[*at - 'a']++;
	assert_in_range(count[0], 39, 41);
	assert_in_range(count[1], 19, 21);
	assert_in_range(count[2], 9, 11);
	ration_free(&ration);
}

static void keys_have_room_of_their_own(void **state)
{
	struct ration *ration = ration_new();
	struct limits limits = some(0, 0, 2, 0);
	struct waiting waiting[] = { { "a", 9 }, { "b", 1 }, { "", 4 } };

	(void)state;
	assert_string_equal(claim(ration, &limits, 10, waiting, 3, NOW), "ab-a---");
	assert_string_equal(ration_slots(ration), "k 2 q a\nk 1 q b\n");
	ration_free(&ration);
}

/* What may be handed out at a moment, with this rate paid up to then. */
static void rates_are_accounts_of_time(void **state)
{
	static const struct {
		const char *name;
		double rate;
		int64_t paid_ago_us; /* negative: the clock was put back */
		size_t want;
		int64_t left_us; /* what is unpaid then */
	} rows[] = {
		{ "never used: a fifth of a second", 100, 10000000, 20, 0 },
		{ "just now", 100, 0, 0, 0 },
		{ "three parts and a half", 100, 35000, 3, 5000 },
		{ "slow: one at least", 0.5, 100000000, 1, 0 },
		{ "slow: not yet", 0.5, 1500000, 0, 1500000 },
		{ "slow: now", 0.5, 2000000, 1, 0 },
		{ "put back", 100, -3600000000, 0, 0 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct ration *ration = ration_new();
		struct limits limits = some(0, rows[i].rate, 0, 0);
		size_t lanes, taken, rates;
		struct uuid id = { { 0 } };
		bool typed;

		ration_begin(ration, 50, NOW);
		ration_rule(ration, LIMITS_QUEUE, "q", &limits);
		ration_paid(ration, LIMITS_QUEUE, "q", NULL, NOW - rows[i].paid_ago_us);
		ration_queue(ration, "q", false, false);
		const struct ration_lane *lane = ration_plan(ration, &lanes, &typed);

		for (size_t k = 0; lanes && k < lane[PRIORITY_NORMAL].max; k++)
			ration_row(ration, PRIORITY_NORMAL, &id, (int64_t)k + 1, NULL, NULL, true);
		ration_choose(ration, &taken);
		if (taken != rows[i].want)
			fail_msg("%s: %zu, not %zu", rows[i].name, taken, rows[i].want);
		const struct ration_rate *rate = ration_rates(ration, &rates);

		assert_int_equal(rates, taken > 0);
		if (rates && rate->paid_us != NOW - rows[i].left_us)
			fail_msg("%s: %lld us are unpaid", rows[i].name,
				 (long long)(NOW - rate->paid_us));
		assert_true(ration_retry_ms(ration) > 0);
		ration_free(&ration);
	}
}

static void leases_say_what_they_hold(void **state)
{
	struct ration *ration = ration_new();
	struct limits limits = some(3, 0, 0, 0);
	struct waiting waiting[] = { { "a b", 9 } };

	(void)state;
	ration_begin(ration, 5, NOW);
	ration_rule(ration, LIMITS_QUEUE, "q", &limits);
	ration_lease(ration, "q 2 q\nt 7 other\nk 1 q a b\n");
	assert_true(ration_tight(ration));
	ration_recount(ration);
	assert_false(ration_tight(ration));
	ration_job(ration, "q", "t", "a b", 2);
	assert_true(ration_tight(ration));
	assert_string_equal(claim(ration, &limits, 5, waiting, 1, NOW), "aaa");
	assert_string_equal(ration_slots(ration), "q 3 q\n");
	ration_free(&ration);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(turns_go_round),
		cmocka_unit_test(a_pause_earns_nothing),
		cmocka_unit_test(weights_are_shares),
		cmocka_unit_test(keys_have_room_of_their_own),
		cmocka_unit_test(rates_are_accounts_of_time),
		cmocka_unit_test(leases_say_what_they_hold),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
