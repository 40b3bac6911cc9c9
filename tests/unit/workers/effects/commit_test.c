/* SPDX-License-Identifier: Apache-2.0 */
/* The group commit's policy against a store that is made up: which jobs it may refuse, in which
 * mode, and what the policy makes of it. The fake keeps the store's promise: all of a transaction
 * or nothing, and what has committed shows as committed again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/arena.h"
#include "common/store/store_impl.h"
#include "consumers/settle/settle.h"
#include "workers/effects/commit.h"

#define JOBS 120

/* How a job behaves in the made-up store. */
enum behaviour {
	GOOD,
	BAD_SQL,      /* fails, and the store knows whose fault it is */
	BAD_HIDDEN,   /* fails, and only a transaction of its own or a savepoint shows it */
	BAD_DEFERRED, /* makes a whole transaction fail, savepoints or not */
	UNMET,
	CONTENDED, /* as long as fake.contended is > 0 */
	LOST,
};

static struct {
	struct store store;
	enum behaviour job[JOBS];
	int applied[JOBS];
	int transactions, careful, contended, largest;
	enum error_code
		weather; /* for the next `weather_count` transactions after `weather_after` */
	int weather_after, weather_count;
	bool commits_unknown; /* an unanswered COMMIT did commit */
	int claims, orphans;
	struct uuid claim_ids[16];
	int settled;
	int pauses;
} fake;

static struct claimed_job jobs[JOBS];
static struct completion completions[JOBS];
static struct effect effects[JOBS];

static int fault_of(struct completion *completion, enum completion_fate fate)
{
	completion->fate = fate;
	if (fate == COMPLETION_FAILED)
		error_set(&completion->error, ERROR_SQL, "job %d", completion->job->attempt);
	return -1;
}

/* 0: goes in; -1: spoils the transaction, *err_r says how. */
static int apply(struct completion *item, const struct completion_batch *batch, struct error *err_r)
{
	bool careful = batch->mode == COMPLETION_CAREFUL;
	int n = item->job->attempt;

	switch (fake.job[n]) {
	case GOOD:
		break;
	case BAD_SQL:
		error_set(err_r, ERROR_SQL, "bad");
		return fault_of(item, COMPLETION_FAILED) + careful;
	case BAD_HIDDEN:
		error_set(err_r, ERROR_SQL, "bad");
		return careful ? fault_of(item, COMPLETION_FAILED) + 1 : -1;
	case BAD_DEFERRED:
		return error_set(err_r, ERROR_SQL, "deferred");
	case UNMET:
		error_set(err_r, ERROR_CONFLICT, "unmet");
		return fault_of(item, COMPLETION_UNMET) + careful;
	case CONTENDED:
		if (fake.contended-- > 0)
			return error_set(err_r, ERROR_CONTENTION, "deadlock");
		break;
	case LOST:
		item->fate = COMPLETION_LOST;
		return 0;
	}
	item->fate = COMPLETION_COMMITTED;
	return 0;
}

static void keep(const struct completion_batch *batch)
{
	for (size_t i = 0; i < batch->count; i++) {
		int n = batch->items[i]->job->attempt;

		if (batch->items[i]->fate == COMPLETION_COMMITTED && !fake.applied[n])
			fake.applied[n] = 1;
	}
}

static int fake_commit(struct store *store, const struct completion_batch *batch,
		       struct arena *arena, struct claim *claim_r, struct error *err_r)
{
	bool storm = fake.weather_after-- <= 0 && fake.weather_count > 0;

	(void)store;
	(void)arena;
	fake.transactions++;
	fake.careful += batch->mode == COMPLETION_CAREFUL;
	if (batch->mode == COMPLETION_CAREFUL)
		assert_true(batch->count <= COMMIT_CAREFUL_MAX);
	if ((int)batch->count > fake.largest)
		fake.largest = (int)batch->count;
	for (size_t i = 0; i < batch->count; i++) {
		assert_int_equal(batch->items[i]->fate, 0);
		if (apply(batch->items[i], batch, err_r) < 0)
			return -1;
	}
	if (storm) {
		fake.weather_count--;
		if (fake.commits_unknown)
			keep(batch);
		return error_set(err_r, fake.weather, "weather");
	}
	keep(batch);
	claim_r->count = batch->claim ? 7 : 0;
	return 0;
}

static const struct store_ops fake_ops = { .scheme = "fake", .completion_commit = fake_commit };

/* ---- a subscriber that counts */

static struct claim_request request = { .max = 100, .queue_count = 1 };

static void count_ride(struct subscriber *subscriber, struct completion_batch *batch, size_t max)
{
	(void)subscriber;
	if (!max)
		return;
	uuid_v7(&request.session);
	uuid_v7(&request.batch);
	fake.claim_ids[fake.claims++ % 16] = request.batch;
	batch->claim = &request;
}

static void count_rode(struct subscriber *subscriber, const struct completion_batch *batch,
		       const struct claim *claim, const struct error *error)
{
	(void)subscriber;
	(void)claim;
	fake.orphans += error && error->code == ERROR_UNKNOWN && batch->claim;
}

static void count_settle(struct subscriber *subscriber, const struct claimed_job *job,
			 enum settle_verb verb)
{
	(void)subscriber;
	assert_true(verb == SETTLE_ACK && fake.job[job->attempt] != UNMET);
	fake.settled++;
}

static const struct subscriber_ops count_ops = {
	.name = "count", .ride = count_ride, .rode = count_rode, .settle = count_settle
};
static const struct consumer_ops consumers = { .verb = settle_verb };

static void no_pause(int ms)
{
	assert_true(ms > 0);
	fake.pauses++;
}

struct run {
	struct committer committer;
	struct commit_round round;
	struct subscriber subscriber;
	struct effect *items[JOBS];
	struct error error;
	int rc;
};

static void prepare(void)
{
	memset(&fake, 0, sizeof(fake));
	fake.store.ops = &fake_ops;
	for (int i = 0; i < JOBS; i++) {
		jobs[i] = (struct claimed_job){ .attempt = i };
		completions[i] = (struct completion){ .kind = COMPLETION_FINISH,
						      .job = &jobs[i],
						      .state = JOB_COMPLETED };
		effects[i] = (struct effect){ .completion = &completions[i] };
	}
}

static void run(struct run *r, size_t count, double failure_rate)
{
	struct metrics *metrics = metrics_open("test");

	*r = (struct run){ .subscriber = { .ops = &count_ops } };
	r->committer = (struct committer){
		.store = &fake.store,
		.subscriber = &r->subscriber,
		.consumers = &consumers,
		.metrics = metrics,
		.pause = no_pause,
		.failure_rate = failure_rate,
	};
	for (size_t i = 0; i < count; i++)
		r->items[i] = &effects[i];
	r->round = (struct commit_round){
		.items = r->items, .count = count, .claim_max = 100, .arena = arena_new(0)
	};
	r->rc = commit_round(&r->committer, &r->round, &r->error);
	arena_free(&r->round.arena);
	metrics_close(&metrics);
}

static int fates(size_t count, enum completion_fate fate)
{
	int n = 0;

	for (size_t i = 0; i < count; i++)
		n += completions[i].fate == fate;
	return n;
}

static const struct {
	const char *name;
	size_t count;
	enum behaviour bad; /* of those listed */
	int which[6], bad_count;
	int contended;
	double failure_rate;
	/* want */
	int committed, failed, unmet, lost, pending, transactions_max, careful_min;
} cases[] = {
	{ "all good: one transaction", 120, GOOD, { 0 }, 0, 0, 0, 120, 0, 0, 0, 0, 1, 0 },
	{ "one alone", 1, GOOD, { 0 }, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0 },
	{ "one alone, bad", 1, BAD_SQL, { 0 }, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0 },
	{ "one alone, fault not named", 1, BAD_HIDDEN, { 0 }, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0 },
	{ "known faults are taken out", 120, BAD_SQL, { 3 }, 1, 0, 0, 119, 1, 0, 0, 0, 2, 0 },
	{ "two of them", 120, BAD_SQL, { 3, 99 }, 2, 0, 0, 118, 2, 0, 0, 0, 3, 0 },
	{ "more than that: savepoints",
	  120,
	  BAD_SQL,
	  { 3, 40, 99, 100 },
	  4,
	  0,
	  0,
	  116,
	  4,
	  0,
	  0,
	  0,
	  6,
	  3 },
	{ "hidden fault: savepoints", 120, BAD_HIDDEN, { 60 }, 1, 0, 0, 119, 1, 0, 0, 0, 4, 3 },
	{ "deferred: one by one", 60, BAD_DEFERRED, { 10 }, 1, 0, 0, 59, 1, 0, 0, 0, 53, 2 },
	{ "unmet", 120, UNMET, { 0, 119 }, 2, 0, 0, 118, 0, 2, 0, 0, 3, 0 },
	{ "all are bad", 3, BAD_SQL, { 0, 1, 2 }, 3, 0, 0, 0, 3, 0, 0, 0, 4, 0 },
	{ "lost is nobody's fault", 120, LOST, { 5, 6 }, 2, 0, 0, 118, 0, 0, 2, 0, 1, 0 },
	{ "contention passes", 120, CONTENDED, { 50 }, 1, 1, 0, 120, 0, 0, 0, 0, 3, 0 },
	{ "contention passes late", 120, CONTENDED, { 50 }, 1, 5, 0, 120, 0, 0, 0, 0, 11, 0 },
	{ "contention stays", 120, CONTENDED, { 50 }, 1, 1000, 0, 116, 0, 0, 0, 4, 12, 0 },
	{ "contention of one", 1, CONTENDED, { 0 }, 1, 1000, 0, 0, 0, 0, 0, 1, 1, 0 },
	{ "much failed lately: savepoints at once",
	  120,
	  BAD_HIDDEN,
	  { 1 },
	  1,
	  0,
	  0.02,
	  119,
	  1,
	  0,
	  0,
	  0,
	  3,
	  3 },
	{ "contention among savepoints", 50, CONTENDED, { 1 }, 1, 1, 0.02, 50, 0, 0, 0, 0, 3, 3 },
};

static void policy(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct run r;
		int got[5];

		prepare();
		for (int k = 0; k < cases[i].bad_count; k++)
			fake.job[cases[i].which[k]] = cases[i].bad;
		fake.contended = cases[i].contended;
		run(&r, cases[i].count, cases[i].failure_rate);
		got[0] = fates(cases[i].count, COMPLETION_COMMITTED);
		got[1] = fates(cases[i].count, COMPLETION_FAILED);
		got[2] = fates(cases[i].count, COMPLETION_UNMET);
		got[3] = fates(cases[i].count, COMPLETION_LOST);
		got[4] = fates(cases[i].count, 0);
		if (r.rc != 0 || got[0] != cases[i].committed || got[1] != cases[i].failed ||
		    got[2] != cases[i].unmet || got[3] != cases[i].lost ||
		    got[4] != cases[i].pending || fake.transactions > cases[i].transactions_max ||
		    fake.careful < cases[i].careful_min)
			fail_msg(
				"%s: rc %d committed %d failed %d unmet %d lost %d pending %d transactions %d careful %d",
				cases[i].name, r.rc, got[0], got[1], got[2], got[3], got[4],
				fake.transactions, fake.careful);
		assert_int_equal(fake.settled, got[0] + got[3]);
		if (got[0] > 0 && (!r.round.claimed || r.round.claim.count != 7))
			fail_msg("%s: no claim rode along", cases[i].name);
	}
}

static void unknown_repeats_with_another_claim(void **state)
{
	struct run r;

	(void)state;
	for (int committed = 0; committed < 2; committed++) {
		prepare();
		fake.weather = ERROR_UNKNOWN;
		fake.weather_count = 1;
		fake.commits_unknown = committed;
		run(&r, 50, 0);
		assert_int_equal(r.rc, 0);
		assert_int_equal(fates(50, COMPLETION_COMMITTED), 50);
		assert_int_equal(fake.transactions, 2);
		assert_int_equal(fake.orphans, 1);
		assert_int_equal(fake.claims, 2);
		assert_false(uuid_equal(&fake.claim_ids[0], &fake.claim_ids[1]));
	}
}

static void weather_keeps_everything(void **state)
{
	static const enum error_code codes[] = { ERROR_UNAVAILABLE, ERROR_FULL, ERROR_UNKNOWN };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(codes); i++) {
		struct run r;

		prepare();
		fake.weather = codes[i];
		fake.weather_count = 1000;
		run(&r, 50, 0);
		assert_int_equal(r.rc, -1);
		assert_int_equal(r.error.code, codes[i]);
		assert_int_equal(fates(50, 0), 50);
		assert_int_equal(fake.settled, 0);
		assert_false(r.round.claimed);
	}
}

static void weather_in_the_middle(void **state)
{
	struct run r;

	(void)state;
	prepare();
	fake.weather = ERROR_UNAVAILABLE;
	fake.weather_after = 1; /* the first of three transactions with savepoints gets through */
	fake.weather_count = 1000;
	run(&r, 120, 0.5);
	assert_int_equal(r.rc, -1);
	assert_int_equal(fates(120, COMPLETION_COMMITTED), 50);
	assert_int_equal(fates(120, 0), 70);
	assert_int_equal(fake.settled, 50);
	assert_true(r.round.claimed);
}

static void contention_has_an_end(void **state)
{
	struct run r;
	int rounds = 0;

	(void)state;
	prepare();
	fake.job[0] = CONTENDED;
	fake.contended = 1000;
	do {
		run(&r, 1, 0);
		assert_int_equal(r.rc, 0);
		rounds++;
	} while (!completions[0].fate && rounds < 100);
	assert_int_equal(completions[0].fate, COMPLETION_FAILED);
	assert_int_equal(completions[0].error.code, ERROR_CONTENTION);
	assert_int_equal(rounds, COMMIT_CONTENTIONS_MAX);
}

static void failure_rate_is_remembered(void **state)
{
	struct run r;

	(void)state;
	prepare();
	for (int i = 0; i < 30; i++)
		fake.job[i] = BAD_SQL;
	run(&r, 120, 0);
	assert_true(r.committer.failure_rate > 0.01);
	prepare();
	run(&r, 120, 0.011);
	assert_true(r.committer.failure_rate < 0.01);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(policy),
		cmocka_unit_test(unknown_repeats_with_another_claim),
		cmocka_unit_test(weather_keeps_everything),
		cmocka_unit_test(weather_in_the_middle),
		cmocka_unit_test(contention_has_an_end),
		cmocka_unit_test(failure_rate_is_remembered),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
