/* SPDX-License-Identifier: Apache-2.0 */
/* The contract of a store, the part for limits: how many jobs of a queue, a type or a key are in
 * hand at once, how many are handed out in a second, and whose turn it is, to workers and brokers
 * alike. Every case runs on every store. */
#include "common/base/clock.h"
#include "common/store/limits.h"
#include "tests/integration/store_broker_words.h"

static const struct limits unset = LIMITS_UNSET;

static void say(struct fixture *fx, bool operator, enum limits_kind kind, const char *name,
		struct limits limits)
{
	struct limits_row row = { kind, name, limits };

	check_store(fx, operator? limits_set(fx->store, &row, NULL, &fx->error)
				: limits_sync(fx->store, &row, 1, &fx->error));
}

static void limit_queue(struct fixture *fx, int64_t concurrency, double rate)
{
	struct limits limits = unset;

	limits.all = (struct limit){ concurrency, rate };
	say(fx, false, LIMITS_QUEUE, "q", limits);
}

static void limit_keys(struct fixture *fx, int64_t concurrency, double rate)
{
	struct limits limits = unset;

	limits.key = (struct limit){ concurrency, rate };
	say(fx, false, LIMITS_QUEUE, "q", limits);
}

static void take_turns(struct fixture *fx, const char *weights)
{
	struct limits limits = unset;

	limits.fair = 1;
	limits.weights = weights;
	say(fx, false, LIMITS_QUEUE, "q", limits);
}

/* Types are known by their queue. */
static void limit_type(struct fixture *fx, const char *name, int64_t concurrency)
{
	struct store_type type = { .name = name, .queue = "q", .priority = PRIORITY_NORMAL };
	struct limits limits = unset;

	check_store(fx, store_sync_types(fx->store, &type, 1, &fx->error));
	limits.all.concurrency = concurrency;
	say(fx, false, LIMITS_TYPE, name, limits);
}

/* Accepts so many jobs of a type and a key (or NULL). */
static void accept_many(struct fixture *fx, size_t count, const char *type, const char *key)
{
	struct new_job *jobs = ARENA_ARRAY(fx->arena, struct new_job, count);

	for (size_t i = 0; i < count; i++) {
		jobs[i] = a_job(type);
		jobs[i].fair_key = key;
	}
	struct acceptance request = a_request(fx, jobs, count);

	assert_int_equal(accept_request(fx, &request), ACCEPTANCE_ACCEPTED);
}

static struct claim take(struct fixture *fx, size_t max)
{
	return claim_some(fx, max);
}

static struct claim take_as_rival(struct fixture *fx, size_t max)
{
	return claim_as(fx, fx->other, &fx->rival, "q", max);
}

static size_t count_key(const struct claim *claim, const char *key)
{
	size_t count = 0;

	for (size_t i = 0; i < claim->count; i++)
		count += !strcmp(claim->jobs[i]->fair_key ? claim->jobs[i]->fair_key : "", key);
	return count;
}

static size_t count_type(const struct claim *claim, const char *type)
{
	size_t count = 0;

	for (size_t i = 0; i < claim->count; i++)
		count += !strcmp(claim->jobs[i]->type, type);
	return count;
}

static void end_all(struct fixture *fx, const struct claim *claim)
{
	for (size_t i = 0; i < claim->count; i++)
		finish_job(fx, claim->jobs[i], JOB_COMPLETED);
}

/* ---- how many at once */

static void concurrency_of_a_queue(struct fixture *fx)
{
	struct uuid third = fx->session;
	struct claim first, claim;

	third.b[0] ^= 1;
	renew(fx, &third, 60000);
	limit_queue(fx, 3, LIMIT_UNSET);
	accept_many(fx, 10, "mail", NULL);
	first = take(fx, 2);
	assert_int_equal(first.count, 2);
	assert_int_equal(take_as_rival(fx, 10).count, 1);
	claim = claim_as(fx, fx->store, &third, "q", 10);
	assert_int_equal(claim.count, 0);
	assert_true(claim.retry_ms > 0);
	finish_job(fx, first.jobs[0], JOB_COMPLETED);
	finish_job(fx, first.jobs[1], JOB_DISCARDED);
	assert_int_equal(claim_as(fx, fx->store, &third, "q", 10).count, 2);
	assert_int_equal(take_as_rival(fx, 10).count, 0);
}

static void room_comes_with_the_end(struct fixture *fx)
{
	const char *queue = "q";
	struct claim_request request = {
		.session = fx->session, .queues = &queue, .queue_count = 1, .max = 10
	};
	struct completion item, *list[] = { &item };
	struct completion_batch batch = {
		.items = list, .count = 1, .claim = &request, .mode = COMPLETION_OPTIMISTIC
	};
	struct claim claim;

	limit_queue(fx, 1, LIMIT_UNSET);
	accept_many(fx, 4, "mail", NULL);
	claim = take(fx, 10);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(claim.count, 1);
		assert_true(claim.jobs[0]->limited);
		item = a_finish(claim.jobs[0], JOB_COMPLETED);
		uuid_v7(&request.batch);
		check_store(fx,
			    completion_commit(fx->store, &batch, fx->arena, &claim, &fx->error));
		hold(fx, &claim);
	}
}

static void whatever_leaves_makes_room(struct fixture *fx)
{
	struct completion item;
	struct claim claim;

	limit_queue(fx, 1, LIMIT_UNSET);
	accept_many(fx, 3, "mail", NULL);
	claim = take(fx, 10);
	item = a_retry(claim.jobs[0], 60000);
	assert_int_equal(commit_one(fx, &item), COMPLETION_COMMITTED);
	claim = take(fx, 10);
	assert_int_equal(claim.count, 1);
	check_store(fx, session_release_batch(fx->other, &claim.jobs[0]->batch, &fx->error));
	assert_int_equal(take(fx, 10).count, 1);
}

static void dead_workers_hold_until_their_lease_ends(struct fixture *fx)
{
	limit_queue(fx, 2, LIMIT_UNSET);
	accept_many(fx, 5, "mail", NULL);
	renew(fx, &fx->session, 100);
	assert_int_equal(take(fx, 10).count, 2);
	pause_ms(150);
	assert_int_equal(take_as_rival(fx, 10).count, 0);
	release_leases(fx, 2);
	assert_int_equal(take_as_rival(fx, 10).count, 2);
	assert_int_equal(take_as_rival(fx, 10).count, 0);
}

static void types_do_not_hold_up_others(struct fixture *fx)
{
	struct claim claim;

	limit_type(fx, "slow", 2);
	accept_many(fx, 5, "slow", NULL);
	accept_many(fx, 3, "mail", NULL);
	claim = take(fx, 20);
	assert_int_equal(count_type(&claim, "slow"), 2);
	assert_int_equal(count_type(&claim, "mail"), 3);
	accept_many(fx, 1, "mail", NULL);
	assert_int_equal(take_as_rival(fx, 20).count, 1);
	for (size_t i = 0; i < claim.count; i++)
		if (!strcmp(claim.jobs[i]->type, "slow"))
			finish_job(fx, claim.jobs[i], JOB_COMPLETED);
	claim = take_as_rival(fx, 20);
	assert_int_equal(count_type(&claim, "slow"), 2);
}

/* A lane of jobs that may not run is looked through portion by portion. */
static void job_behind_many_of_a_full_type(struct fixture *fx)
{
	struct claim claim = { 0 };

	limit_type(fx, "slow", 1);
	accept_many(fx, 4000, "slow", NULL);
	accept_many(fx, 1, "mail", NULL);
	assert_int_equal(take(fx, 10).count, 1);
	for (int tries = 0; tries < 12 && !claim.count; tries++) {
		claim = take(fx, 10);
		assert_true(claim.count || claim.retry_ms > 0);
	}
	assert_int_equal(claim.count, 1);
	assert_string_equal(claim.jobs[0]->type, "mail");
}

static void concurrency_of_each_key(struct fixture *fx)
{
	struct claim claim;

	limit_keys(fx, 2, LIMIT_UNSET);
	accept_many(fx, 5, "mail", "a");
	accept_many(fx, 5, "mail", "b");
	accept_many(fx, 3, "mail", NULL);
	claim = take(fx, 20);
	assert_int_equal(count_key(&claim, "a"), 2);
	assert_int_equal(count_key(&claim, "b"), 2);
	assert_int_equal(count_key(&claim, ""), 3);
	assert_int_equal(take_as_rival(fx, 20).count, 0);
	end_all(fx, &claim);
	claim = take_as_rival(fx, 3);
	assert_int_equal(count_key(&claim, "a") + count_key(&claim, "b"), 3);
	assert_int_equal(take(fx, 20).count, 1);
}

/* ---- how many a second */

/* Takes so many, one claim after the other; how long that took. */
static int64_t take_for(struct fixture *fx, size_t count)
{
	int64_t start_ms = clock_mono_ms();

	for (size_t taken = 0; taken < count;) {
		struct claim claim = taken % 2 ? take_as_rival(fx, 100) : take(fx, 100);

		taken += claim.count;
		if (taken < count) {
			assert_true(claim.retry_ms > 0 && claim.retry_ms <= 100);
			pause_ms((int)claim.retry_ms);
		}
		assert_true(taken <= count);
	}
	return clock_mono_ms() - start_ms;
}

/* A fifth of a second's may come at once, the others when their time is. */
static void rate_of_a_queue(struct fixture *fx)
{
	limit_queue(fx, LIMIT_UNSET, 50);
	accept_many(fx, 60, "mail", NULL);
	assert_true(take_for(fx, 60) >= 980);
	assert_int_equal(take(fx, 1).count, 0);
}

static void rate_of_each_key(struct fixture *fx)
{
	struct claim claim;

	limit_keys(fx, LIMIT_UNSET, 5);
	accept_many(fx, 3, "mail", "a");
	accept_many(fx, 3, "mail", "b");
	claim = take(fx, 100);
	assert_int_equal(claim.count, 2);
	assert_int_equal(count_key(&claim, "a"), 1);
	assert_true(claim.retry_ms > 0 && claim.retry_ms <= 200);
	claim = take_as_rival(fx, 100);
	assert_true(claim.count == 0 || claim.count == 2); /* it took long to get here */
}

/* ---- whose turn it is */

static void keys_take_turns(struct fixture *fx)
{
	take_turns(fx, NULL);
	accept_many(fx, 12, "mail", "a");
	accept_many(fx, 4, "mail", "b");
	accept_many(fx, 4, "mail", "c");
	for (int i = 0; i < 4; i++) {
		struct claim claim = take(fx, 3);

		assert_int_equal(claim.count, 3);
		assert_int_equal(count_key(&claim, "a"), 1);
		assert_int_equal(count_key(&claim, "b"), 1);
	}
	assert_int_equal(take(fx, 20).count, 8);
}

static void one_at_a_time_they_take_turns_too(struct fixture *fx)
{
	size_t a = 0;

	take_turns(fx, NULL);
	accept_many(fx, 10, "mail", "a");
	accept_many(fx, 4, "mail", "b");
	for (int i = 0; i < 8; i++)
		a += !strcmp(claim_one(fx)->fair_key, "a");
	assert_int_equal(a, 4);
}

static void turns_have_weights(struct fixture *fx)
{
	struct claim claim;

	take_turns(fx, "{\"a\": 3, \"*\": 1}");
	accept_many(fx, 40, "mail", "a");
	accept_many(fx, 40, "mail", "b");
	claim = take(fx, 40);
	assert_in_range(count_key(&claim, "a"), 29, 31);
	assert_in_range(count_key(&claim, "b"), 9, 11);
}

static void one_behind_many_is_next(struct fixture *fx)
{
	struct claim claim;

	take_turns(fx, NULL);
	accept_many(fx, 5000, "mail", "noisy");
	assert_int_equal(take(fx, 100).count, 100);
	accept_many(fx, 1, "mail", "quiet");
	claim = take(fx, 2);
	assert_int_equal(count_key(&claim, "quiet"), 1);
}

static void jobs_without_a_key_are_one_key(struct fixture *fx)
{
	struct claim claim = { 0 };

	take_turns(fx, NULL);
	accept_many(fx, 4000, "mail", "noisy");
	accept_many(fx, 1, "mail", NULL);
	for (int tries = 0; tries < 40 && !count_key(&claim, ""); tries++) {
		claim = take(fx, 10);
		pause_ms(25); /* between two portions */
	}
	assert_int_equal(count_key(&claim, ""), 1);
}

static void more_keys_than_are_looked_at(struct fixture *fx)
{
	size_t taken = 0;

	take_turns(fx, NULL);
	for (int i = 0; i < 600; i++) {
		struct new_job job = a_job("mail");

		job.fair_key = arena_printf(fx->arena, "key%d", i);
		accept_job(fx, job);
	}
	for (int tries = 0; tries < 10; tries++)
		taken += take(fx, 200).count;
	assert_int_equal(taken, 600);
}

static void priorities_come_first(struct fixture *fx)
{
	struct new_job job = a_job("mail");
	struct claim claim;

	take_turns(fx, NULL);
	accept_many(fx, 5, "mail", "a");
	job.priority = PRIORITY_HIGH;
	job.fair_key = "b";
	accept_job(fx, job);
	claim = take(fx, 1);
	assert_uuid(&claim.jobs[0]->id, &job.id);
}

/* ---- what is in force */

static struct limits_view view_limits(struct fixture *fx, const char *name)
{
	struct limits_view *views;
	size_t count;

	check_store(fx, limits_list(fx->store, fx->arena, &views, &count, &fx->error));
	for (size_t i = 0; i < count; i++)
		if (!strcmp(views[i].name, name))
			return views[i];
	fail_msg("nothing is said of %s", name);
	return views[0];
}

static void operators_have_the_last_word(struct fixture *fx)
{
	struct limits limits = unset;

	limit_queue(fx, 2, LIMIT_UNSET);
	limits.all.concurrency = 4;
	say(fx, true, LIMITS_QUEUE, "q", limits);
	accept_many(fx, 20, "mail", NULL);
	assert_int_equal(take(fx, 20).count, 4);
	assert_int_equal(view_limits(fx, "q").file.all.concurrency, 2);
	assert_int_equal(view_limits(fx, "q").set.all.concurrency, 4);
	assert_int_equal(view_limits(fx, "q").in_hand, 4);
	limits.all.concurrency = 7;
	say(fx, true, LIMITS_QUEUE, "q", limits);
	assert_int_equal(take(fx, 20).count, 3);
	limit_queue(fx, 3, LIMIT_UNSET); /* the file is read again */
	assert_int_equal(take(fx, 20).count, 0);
	limits.all.concurrency = LIMIT_NONE;
	say(fx, true, LIMITS_QUEUE, "q", limits);
	assert_int_equal(take(fx, 5).count, 5);
	say(fx, true, LIMITS_QUEUE, "q", unset);
	assert_int_equal(take(fx, 5).count, 0);
	limit_queue(fx, LIMIT_UNSET, LIMIT_UNSET);
	assert_int_equal(take(fx, 20).count, 8);
}

static void limits_begin_and_end_with_jobs_there(struct fixture *fx)
{
	struct claim claim;

	accept_many(fx, 10, "mail", "a");
	take_turns(fx, NULL);
	accept_many(fx, 1, "mail", "b");
	claim = take(fx, 2);
	assert_int_equal(count_key(&claim, "b"), 1);
	say(fx, false, LIMITS_QUEUE, "q", unset);
	assert_int_equal(take(fx, 20).count, 9);
}

/* ---- beside others */

static void other_queues_are_served_beside(struct fixture *fx)
{
	const char *queues[] = { "q", "free" };
	struct claim_request request = {
		.session = fx->session, .queues = queues, .queue_count = 2, .max = 10
	};
	struct new_job job = a_job("mail");
	struct claim claim;

	limit_queue(fx, 2, LIMIT_UNSET);
	accept_many(fx, 10, "mail", NULL);
	job.queue = "free";
	for (int i = 0; i < 20; i++) {
		uuid_v7(&job.id);
		accept_job(fx, job);
	}
	uuid_v7(&request.batch);
	check_store(fx, claim_take(fx->store, &request, fx->arena, &claim, &fx->error));
	hold(fx, &claim);
	assert_int_equal(claim.count, 10);
	end_all(fx, &claim);
	uuid_v7(&request.batch);
	check_store(fx, claim_take(fx->store, &request, fx->arena, &claim, &fx->error));
	hold(fx, &claim);
	assert_int_equal(claim.count, 10);
}

static void order_is_kept_under_a_limit(struct fixture *fx)
{
	struct store_queue ordered = { "q", true };
	struct uuid ids[3];
	struct claimed_job *job;

	check_store(fx, store_sync_queues(fx->store, &ordered, 1, &fx->error));
	limit_queue(fx, 5, LIMIT_UNSET);
	for (int i = 0; i < 3; i++) {
		struct new_job one = a_job("mail");

		one.order_key = "k";
		ids[i] = one.id;
		accept_job(fx, one);
	}
	for (int i = 0; i < 3; i++) {
		job = claim_this(fx, &ids[i]);
		assert_int_equal(take_as_rival(fx, 10).count, 0);
		finish_job(fx, job, JOB_COMPLETED);
	}
}

static void pause_stops_a_limited_queue(struct fixture *fx)
{
	limit_queue(fx, 5, LIMIT_UNSET);
	accept_many(fx, 3, "mail", NULL);
	check_store(fx, control_pause(fx->store, "q", true, NULL, &fx->error));
	assert_int_equal(take(fx, 10).count, 0);
	check_store(fx, control_pause(fx->store, "q", false, NULL, &fx->error));
	assert_int_equal(take(fx, 10).count, 3);
}

/* ---- brokers */

static void brokers_get_no_more(struct fixture *fx)
{
	struct claim claim;

	limit_queue(fx, 3, LIMIT_UNSET);
	accept_many(fx, 10, "mail", NULL);
	claim = dispatch_some(fx, "q", 10, 60000);
	assert_int_equal(claim.count, 3);
	assert_int_equal(dispatch_some(fx, "q", 10, 60000).count, 0);
	check_store(fx, dispatch_return(fx->store, &claim.jobs[0]->batch, &claim.jobs[0]->id, 1,
					&fx->error));
	assert_int_equal(take(fx, 10).count, 1);
	finish_job(fx, claim.jobs[1], JOB_COMPLETED);
	assert_int_equal(dispatch_some(fx, "q", 10, 60000).count, 1);
}

/* A job that takes long becomes its worker's, and goes on to count when its broker's lease is gone.
 */
static void long_jobs_go_on_to_count(struct fixture *fx)
{
	struct dispatch_view *views;
	struct completion item;
	struct claim claim;
	size_t count;

	limit_queue(fx, 2, LIMIT_UNSET);
	accept_many(fx, 10, "mail", NULL);
	claim = dispatch_some(fx, "q", 10, 60000);
	assert_int_equal(claim.count, 2);
	item = an_adoption(claim.jobs[0]);
	assert_int_equal(adopt(fx, COMPLETION_OPTIMISTIC, &item), COMPLETION_COMMITTED);
	finish_job(fx, claim.jobs[1], JOB_COMPLETED);
	check_store(fx, dispatch_survey(fx->store, &broker, fx->arena, &views, &count, &fx->error));
	assert_int_equal(dispatch_some(fx, "q", 10, 60000).count, 1);
	assert_int_equal(dispatch_some(fx, "q", 10, 60000).count, 0);
}

static void brokers_take_turns(struct fixture *fx)
{
	struct claim claim;

	take_turns(fx, NULL);
	accept_many(fx, 50, "mail", "a");
	accept_many(fx, 1, "mail", "b");
	claim = dispatch_some(fx, "q", 2, 60000);
	assert_int_equal(count_key(&claim, "b"), 1);
}

int main(void)
{
	static const struct store_case cases[] = {
#define CASE(name) { #name, name }
		CASE(concurrency_of_a_queue),
		CASE(room_comes_with_the_end),
		CASE(whatever_leaves_makes_room),
		CASE(dead_workers_hold_until_their_lease_ends),
		CASE(types_do_not_hold_up_others),
		CASE(job_behind_many_of_a_full_type),
		CASE(concurrency_of_each_key),
		CASE(rate_of_a_queue),
		CASE(rate_of_each_key),
		CASE(keys_take_turns),
		CASE(one_at_a_time_they_take_turns_too),
		CASE(turns_have_weights),
		CASE(one_behind_many_is_next),
		CASE(jobs_without_a_key_are_one_key),
		CASE(more_keys_than_are_looked_at),
		CASE(priorities_come_first),
		CASE(operators_have_the_last_word),
		CASE(limits_begin_and_end_with_jobs_there),
		CASE(other_queues_are_served_beside),
		CASE(order_is_kept_under_a_limit),
		CASE(pause_stops_a_limited_queue),
		CASE(brokers_get_no_more),
		CASE(long_jobs_go_on_to_count),
		CASE(brokers_take_turns),
	};

	return store_cases_run("limits", cases, ARRAY_LEN(cases));
}
