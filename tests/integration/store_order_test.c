/* SPDX-License-Identifier: Apache-2.0 */
/* The contract of a store, the part for ordered queues: of the jobs of one key at most one is
 * handed out, the first that was accepted, to workers and brokers alike. Every case runs on every
 * store. */
#include <pthread.h>

#include "tests/integration/store_broker_words.h"

static void set_order(struct fixture *fx, bool ordered)
{
	struct store_queue queues[] = { { "q", ordered }, { "never-seen", true } };

	check_store(fx, store_sync_queues(fx->store, queues, ARRAY_LEN(queues), &fx->error));
}

/* An accepted job of this key; NULL: of none. */
static struct uuid keyed(struct fixture *fx, const char *key)
{
	struct new_job job = a_job("mail");

	job.order_key = key;
	accept_job(fx, job);
	return job.id;
}

/* Exactly these are there to be taken, in any order; returns them in the order of `ids`. */
static struct claimed_job **claim_these(struct fixture *fx, const struct uuid *ids, size_t count)
{
	struct claim claim = claim_some(fx, 100);
	struct claimed_job **jobs = ARENA_ARRAY(fx->arena, struct claimed_job *, count + 1);

	assert_int_equal(claim.count, count);
	for (size_t i = 0; i < count; i++)
		for (size_t k = 0; k < count; k++)
			if (uuid_equal(&claim.jobs[k]->id, &ids[i]))
				jobs[i] = claim.jobs[k];
	for (size_t i = 0; i < count; i++)
		assert_non_null(jobs[i]);
	return jobs;
}

static struct claimed_job *claim_only(struct fixture *fx, const struct uuid *id)
{
	return claim_these(fx, id, 1)[0];
}

static void claim_nothing(struct fixture *fx)
{
	assert_int_equal(claim_some(fx, 100).count, 0);
	assert_int_equal(dispatch_some(fx, "q", 100, 60000).count, 0);
}

static void retry(struct fixture *fx, const struct claimed_job *job, int64_t delay_ms)
{
	struct completion item = a_retry(job, delay_ms);

	assert_int_equal(commit_one(fx, &item), COMPLETION_COMMITTED);
}

/* ---- one at a time */

static void keys_run_side_by_side(struct fixture *fx)
{
	struct uuid a[3], b[2], free[2], first[4];
	struct claimed_job **jobs;

	set_order(fx, true);
	for (int i = 0; i < 3; i++) {
		a[i] = keyed(fx, "a");
		if (i < 2) {
			b[i] = keyed(fx, "b");
			free[i] = keyed(fx, NULL);
		}
	}
	memcpy(first, (struct uuid[]){ a[0], b[0], free[0], free[1] }, sizeof(first));
	jobs = claim_these(fx, first, 4);
	claim_nothing(fx);
	finish_job(fx, jobs[2], JOB_COMPLETED);
	claim_nothing(fx);
	finish_job(fx, jobs[0], JOB_COMPLETED);
	jobs[0] = claim_only(fx, &a[1]);
	finish_job(fx, jobs[1], JOB_DISCARDED);
	claim_only(fx, &b[1]);
	finish_job(fx, jobs[0], JOB_CANCELLED);
	claim_only(fx, &a[2]);
}

static void other_queues_are_not_ordered(struct fixture *fx)
{
	for (int i = 0; i < 3; i++)
		keyed(fx, "a");
	assert_int_equal(claim_some(fx, 2).count, 2);
	set_order(fx, true);
	set_order(fx, false);
	assert_int_equal(claim_some(fx, 2).count, 1);
}

/* A queue becomes ordered with jobs in it. */
static void order_begins(struct fixture *fx)
{
	struct uuid a[2] = { keyed(fx, "a"), keyed(fx, "a") };

	set_order(fx, true);
	finish_job(fx, claim_only(fx, &a[0]), JOB_COMPLETED);
	claim_only(fx, &a[1]);
}

static void priorities_do_not_overtake(struct fixture *fx)
{
	struct uuid first, alone;
	struct new_job job = a_job("mail");

	set_order(fx, true);
	first = keyed(fx, "a");
	job.order_key = "a";
	job.priority = PRIORITY_HIGH;
	accept_job(fx, job);
	alone = keyed(fx, "b");
	finish_job(fx, claim_these(fx, (struct uuid[]){ first, alone }, 2)[0], JOB_COMPLETED);
	claim_only(fx, &job.id);
}

/* The next one of a key is taken by the transaction that ends the one before. */
static void next_comes_with_the_end(struct fixture *fx)
{
	const char *queue = "q";
	struct claim_cursor *cursor = claim_cursor_new();
	struct claim_request request = { .session = fx->session,
					 .queues = &queue,
					 .queue_count = 1,
					 .max = 10,
					 .cursor = cursor };
	struct uuid a[3];
	struct completion item, *list[] = { &item };
	struct completion_batch batch = {
		.items = list, .count = 1, .claim = &request, .mode = COMPLETION_OPTIMISTIC
	};
	struct claim claim;
	struct claimed_job *job;

	set_order(fx, true);
	for (int i = 0; i < 3; i++)
		a[i] = keyed(fx, "a");
	job = claim_only(fx, &a[0]);
	for (int i = 1; i < 3; i++) {
		item = a_finish(job, JOB_COMPLETED);
		uuid_v7(&request.batch);
		check_store(fx,
			    completion_commit(fx->store, &batch, fx->arena, &claim, &fx->error));
		hold(fx, &claim);
		assert_int_equal(claim.count, 1);
		assert_uuid(&claim.jobs[0]->id, &a[i]);
		job = claim.jobs[0];
	}
	claim_cursor_free(&cursor);
}

/* ---- a first one that does not end */

static void first_waits_for_a_retry(struct fixture *fx)
{
	struct uuid a[3];
	struct claimed_job *job;

	set_order(fx, true);
	for (int i = 0; i < 3; i++)
		a[i] = keyed(fx, "a");
	job = claim_only(fx, &a[0]);
	retry(fx, job, 150);
	claim_nothing(fx);
	pause_ms(200);
	promote(fx, 1);
	job = claim_only(fx, &a[0]);
	assert_int_equal(job->attempt, 2);
	retry(fx, job, 0);
	job = claim_only(fx, &a[0]);
	assert_int_equal(job->attempt, 3);
	claim_nothing(fx);
	finish_job(fx, job, JOB_COMPLETED);
	claim_only(fx, &a[1]);
}

static void retry_by_hand_keeps_the_place(struct fixture *fx)
{
	struct uuid a[2];
	enum job_state state;

	set_order(fx, true);
	for (int i = 0; i < 2; i++)
		a[i] = keyed(fx, "a");
	retry(fx, claim_only(fx, &a[0]), 60000);
	check_store(fx, control_retry(fx->other, NULL, &a[0], &state, &fx->error));
	finish_job(fx, claim_only(fx, &a[0]), JOB_COMPLETED);
	claim_only(fx, &a[1]);
}

static void released_first_is_first_again(struct fixture *fx)
{
	struct uuid a[2];
	struct claimed_job *job;
	int64_t released;

	set_order(fx, true);
	for (int i = 0; i < 2; i++)
		a[i] = keyed(fx, "a");
	job = claim_only(fx, &a[0]);
	check_store(fx, session_release_batch(fx->other, &job->batch, &fx->error));
	claim_only(fx, &a[0]);
	check_store(fx, session_end(fx->other, &fx->session, &released, &fx->error));
	assert_int_equal(released, 1);
	renew(fx, &fx->session, 60000);
	finish_job(fx, claim_only(fx, &a[0]), JOB_COMPLETED);
	claim_only(fx, &a[1]);
}

static void scheduled_holds_up_the_later(struct fixture *fx)
{
	struct new_job job = a_job("mail");
	struct uuid later;

	set_order(fx, true);
	job.order_key = "a";
	job.delay_ms = 150;
	accept_job(fx, job);
	later = keyed(fx, "a");
	claim_nothing(fx);
	pause_ms(200);
	promote(fx, 1);
	finish_job(fx, claim_only(fx, &job.id), JOB_COMPLETED);
	claim_only(fx, &later);
}

static void cancelled_first_lets_go(struct fixture *fx)
{
	struct uuid a[4];

	set_order(fx, true);
	for (int i = 0; i < 4; i++)
		a[i] = keyed(fx, "a");
	assert_int_equal(cancel_job(fx, &a[0]), JOB_CANCELLED);
	assert_int_equal(dispatch_some(fx, "q", 10, 60000).count, 1);
	claim_nothing(fx);
	assert_int_equal(cancel_job(fx, &a[1]), JOB_CANCELLED);
	retry(fx, claim_only(fx, &a[2]), 60000);
	claim_nothing(fx);
	assert_int_equal(cancel_job(fx, &a[2]), JOB_CANCELLED);
	claim_only(fx, &a[3]);
}

static void redriven_goes_before_the_later(struct fixture *fx)
{
	struct job_filter filter = { .queue = "q", .limit = 10 };
	struct uuid a[3];
	struct claimed_job *job;
	int64_t moved;

	set_order(fx, true);
	for (int i = 0; i < 3; i++)
		a[i] = keyed(fx, "a");
	finish_job(fx, claim_only(fx, &a[0]), JOB_DISCARDED);
	job = claim_only(fx, &a[1]);
	check_store(fx, control_redrive(fx->other, &filter, 0, false, NULL, &moved, &fx->error));
	assert_int_equal(moved, 1);
	claim_nothing(fx);
	finish_job(fx, job, JOB_COMPLETED);
	finish_job(fx, claim_only(fx, &a[0]), JOB_COMPLETED);
	claim_only(fx, &a[2]);
}

/* An attempt that has lost its lease ends the job while it waits: the key must not stay closed. */
static void zombie_ends_the_first(struct fixture *fx)
{
	struct uuid a[2];
	struct claimed_job *zombie;
	size_t count = 0;

	set_order(fx, true);
	for (int i = 0; i < 2; i++)
		a[i] = keyed(fx, "a");
	zombie = claim_only(fx, &a[0]);
	check_store(fx, session_release_batch(fx->other, &zombie->batch, &fx->error));
	finish_job(fx, zombie, JOB_COMPLETED);
	for (int tries = 0; tries < 60 && !count; tries++) {
		struct claim claim = claim_some(fx, 10);

		count = claim.count;
		if (count)
			assert_uuid(&claim.jobs[0]->id, &a[1]);
		else
			pause_ms(100);
		check_store(fx, maintenance_fold(fx->other, &fx->error));
	}
	assert_int_equal(count, 1);
}

/* ---- brokers */

static void brokers_get_one_at_a_time(struct fixture *fx)
{
	struct uuid a[3], b;
	struct claim claim;
	struct completion item;

	set_order(fx, true);
	for (int i = 0; i < 3; i++)
		a[i] = keyed(fx, "a");
	b = keyed(fx, "b");
	claim = dispatch_some(fx, "q", 10, 60000);
	assert_int_equal(claim.count, 2);
	assert_uuid(&claim.jobs[0]->id, &a[0]);
	assert_uuid(&claim.jobs[1]->id, &b);
	claim_nothing(fx);
	check_store(fx, dispatch_return(fx->other, &claim.jobs[0]->batch, &a[0], 1, &fx->error));
	claim = dispatch_some(fx, "q", 10, 60000);
	assert_int_equal(claim.count, 1);
	assert_uuid(&claim.jobs[0]->id, &a[0]);
	assert_int_equal(claim.jobs[0]->attempt, 1);
	item = an_adoption(claim.jobs[0]);
	assert_int_equal(adopt(fx, COMPLETION_OPTIMISTIC, &item), COMPLETION_COMMITTED);
	claim_nothing(fx);
	claim.jobs[0]->batch = item.adopted;
	finish_job(fx, claim.jobs[0], JOB_COMPLETED);
	claim = dispatch_some(fx, "q", 10, 150);
	assert_uuid(&claim.jobs[0]->id, &a[1]);
	pause_ms(200);
	release_leases(fx, 1);
	claim_only(fx, &a[1]);
}

static struct claimed_job *keyed_message(struct fixture *fx, const char *key)
{
	struct claimed_job *job = new_message(fx);

	job->order_key = key;
	return job;
}

static enum admission_verdict verdict_of(struct fixture *fx, const struct claimed_job *job)
{
	return admit_one(fx, (struct admission){ .id = job->id,
						 .queue = job->queue,
						 .order_key = job->order_key });
}

/* The first message of a key fails: the later ones are stored behind it, in the order of the batch,
 * whatever their ids. */
static void messages_stay_behind(struct fixture *fx)
{
	for (int mode = COMPLETION_OPTIMISTIC; mode <= COMPLETION_CAREFUL; mode++) {
		struct claimed_job *first = keyed_message(fx, "a"), *other = keyed_message(fx, "b"),
				   *behind[3];
		struct completion items[3];

		set_order(fx, true);
		for (size_t i = 3; i-- > 0;)
			behind[i] = keyed_message(fx, "a");
		assert_int_equal(verdict_of(fx, behind[0]), ADMISSION_RUN);
		retry(fx, first, 100);
		assert_int_equal(verdict_of(fx, first), ADMISSION_KNOWN);
		assert_int_equal(verdict_of(fx, other), ADMISSION_RUN);
		for (size_t i = 0; i < 3; i++) {
			assert_int_equal(verdict_of(fx, behind[i]), ADMISSION_BEHIND);
			items[i] = a_retry(behind[i], 0);
			items[i].outcome = OUTCOME_RELEASED;
			items[i].counts = false;
		}
		check_store(fx, commit_items(fx, fx->store, mode, items, 3));
		claim_nothing(fx);
		pause_ms(150);
		promote(fx, 1);
		finish_job(fx, claim_only(fx, &first->id), JOB_COMPLETED);
		for (size_t i = 0; i < 3; i++) {
			struct claimed_job *job = claim_only(fx, &behind[i]->id);

			assert_int_equal(verdict_of(fx, other), ADMISSION_RUN);
			assert_int_equal(verdict_of(fx, keyed_message(fx, "a")), ADMISSION_BEHIND);
			finish_job(fx, job, JOB_COMPLETED);
		}
		assert_int_equal(verdict_of(fx, keyed_message(fx, "a")), ADMISSION_RUN);
	}
}

static void adopted_message_closes_its_key(struct fixture *fx)
{
	struct claimed_job *job = keyed_message(fx, "a"), *later = keyed_message(fx, "a");
	struct completion item = an_adoption(job);
	struct uuid own;

	set_order(fx, true);
	assert_int_equal(adopt(fx, COMPLETION_OPTIMISTIC, &item), COMPLETION_COMMITTED);
	assert_int_equal(verdict_of(fx, later), ADMISSION_BEHIND);
	own = keyed(fx, "a");
	claim_nothing(fx);
	job->batch = item.adopted;
	job->source = NULL;
	finish_job(fx, job, JOB_COMPLETED);
	claim_only(fx, &own);
}

/* ---- many */

static void accept_many(struct fixture *fx, size_t count, const char *const *keys, size_t key_count)
{
	struct new_job *jobs = ARENA_ARRAY(fx->arena, struct new_job, count);
	struct acceptance request;

	for (size_t i = 0; i < count; i++) {
		jobs[i] = a_job("mail");
		jobs[i].order_key = keys[i % key_count];
	}
	request = a_request(fx, jobs, count);
	assert_int_equal(accept_request(fx, &request), ACCEPTANCE_ACCEPTED);
}

/* Behind thousands of jobs of a few keys there is one of another. */
static void deep_queues_are_searched(struct fixture *fx)
{
	static const char *const keys[] = { "a", "b", "c" };
	struct uuid last;
	struct claim claim;
	bool found = false;

	set_order(fx, true);
	accept_many(fx, 6000, keys, 3);
	last = keyed(fx, "d");
	claim = claim_some(fx, 100);
	assert_int_equal(claim.count, 4);
	for (size_t i = 0; i < claim.count; i++)
		found = found || uuid_equal(&claim.jobs[i]->id, &last);
	assert_true(found);
	claim_nothing(fx);
}

#define RACE_JOBS 400
#define RACE_KEYS 8

struct race {
	pthread_mutex_t lock;
	const char *url;
	const char *const *keys;
	int64_t last[RACE_KEYS]; /* seq of the last one that was taken */
	bool runs[RACE_KEYS];
	int done, faults;
};

static size_t key_of(const struct race *race, const char *key)
{
	size_t k = 0;

	while (strcmp(race->keys[k], key) != 0)
		k++;
	return k;
}

static void note_taken(struct race *race, const struct claim *claim, bool begins)
{
	pthread_mutex_lock(&race->lock);
	for (size_t i = 0; i < claim->count; i++) {
		size_t k = key_of(race, claim->jobs[i]->order_key);

		if (race->runs[k] == begins || (begins && claim->jobs[i]->seq <= race->last[k]))
			race->faults++;
		race->runs[k] = begins;
		race->last[k] = claim->jobs[i]->seq;
		race->done += !begins;
	}
	pthread_mutex_unlock(&race->lock);
}

static bool raced(struct race *race)
{
	pthread_mutex_lock(&race->lock);
	bool over = race->done == RACE_JOBS || race->faults;

	pthread_mutex_unlock(&race->lock);
	return over;
}

/* Ends what it has. Its commit is not answered before the next worker may begin. */
static void end_all(struct race *race, struct store *store, struct arena *arena,
		    const struct claim *claim)
{
	struct completion items[RACE_KEYS], *list[RACE_KEYS];
	struct completion_batch batch = { .items = list, .mode = COMPLETION_OPTIMISTIC };
	struct claim none;
	struct error err;

	for (size_t i = 0; i < claim->count; i++) {
		items[i] = a_finish(claim->jobs[i], JOB_COMPLETED);
		list[i] = &items[i];
	}
	batch.count = claim->count;
	note_taken(race, claim, false);
	while (completion_commit(store, &batch, arena, &none, &err))
		if (err.code != ERROR_CONTENTION) {
			race->faults++;
			return;
		}
	for (size_t i = 0; i < claim->count; i++) {
		struct arena *own = claim->jobs[i]->arena;

		arena_free(&own);
	}
}

static void *race_worker(void *arg)
{
	struct race *race = arg;
	const char *queue = "q";
	struct claim_request request = { .queues = &queue, .queue_count = 1, .max = RACE_KEYS };
	struct arena *arena = arena_new(0);
	struct store *store;
	struct error err;
	struct claim claim;
	bool fresh;

	uuid_v7(&request.session);
	if (store_open(race->url, STORE_WRITE, "race", &store, &err) ||
	    session_renew(store,
			  &(struct session_info){
				  .id = request.session, .host = "here", .lease_ms = 60000 },
			  &fresh, &err))
		race->faults++;
	while (!raced(race)) {
		uuid_v7(&request.batch);
		if (claim_take(store, &request, arena, &claim, &err)) {
			race->faults += err.code != ERROR_CONTENTION;
			continue;
		}
		if (!claim.count) {
			pause_ms(1);
			continue;
		}
		note_taken(race, &claim, true);
		end_all(race, store, arena, &claim);
	}
	store_close(&store);
	arena_free(&arena);
	return NULL;
}

static void workers_race(struct fixture *fx)
{
	static const char *const keys[RACE_KEYS] = { "a", "b", "c", "d", "e", "f", "g", "h" };
	struct race race = { .lock = PTHREAD_MUTEX_INITIALIZER, .url = fx->url, .keys = keys };
	pthread_t threads[3];

	set_order(fx, true);
	accept_many(fx, RACE_JOBS, keys, RACE_KEYS);
	for (size_t i = 0; i < ARRAY_LEN(threads); i++)
		assert_int_equal(pthread_create(&threads[i], NULL, race_worker, &race), 0);
	for (size_t i = 0; i < ARRAY_LEN(threads); i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(race.faults, 0);
	assert_int_equal(race.done, RACE_JOBS);
}

int main(void)
{
	static const struct store_case cases[] = {
		{ "keys_run_side_by_side", keys_run_side_by_side },
		{ "other_queues_are_not_ordered", other_queues_are_not_ordered },
		{ "order_begins", order_begins },
		{ "priorities_do_not_overtake", priorities_do_not_overtake },
		{ "next_comes_with_the_end", next_comes_with_the_end },
		{ "first_waits_for_a_retry", first_waits_for_a_retry },
		{ "retry_by_hand_keeps_the_place", retry_by_hand_keeps_the_place },
		{ "released_first_is_first_again", released_first_is_first_again },
		{ "scheduled_holds_up_the_later", scheduled_holds_up_the_later },
		{ "cancelled_first_lets_go", cancelled_first_lets_go },
		{ "redriven_goes_before_the_later", redriven_goes_before_the_later },
		{ "zombie_ends_the_first", zombie_ends_the_first },
		{ "brokers_get_one_at_a_time", brokers_get_one_at_a_time },
		{ "messages_stay_behind", messages_stay_behind },
		{ "adopted_message_closes_its_key", adopted_message_closes_its_key },
		{ "deep_queues_are_searched", deep_queues_are_searched },
		{ "workers_race", workers_race },
	};

	return store_cases_run("store_order", cases, ARRAY_LEN(cases));
}
