/* SPDX-License-Identifier: Apache-2.0 */
/* Follow-up jobs with a unique key: whether they are stored is decided in the transaction that
 * completes their parent, as acceptance decides it. Every case runs on every store. */
#include "tests/integration/store_fixture.h"

static struct new_job a_unique(const char *payload, enum unique_conflict conflict)
{
	struct new_job job = a_job("sync");

	job.queue = "q2";
	job.unique_key = "k";
	job.unique_conflict = conflict;
	job.payload = payload;
	job.payload_bytes = strlen(payload);
	return job;
}

static struct claimed_job *a_parent(struct fixture *fx)
{
	struct new_job job = a_job("parent");

	accept_job(fx, job);
	return claim_this(fx, &job.id);
}

/* A parent completes with these follow-ups. */
static void enqueue(struct fixture *fx, struct new_job *next, size_t count)
{
	struct completion item = a_finish(a_parent(fx), JOB_COMPLETED);

	item.writes = (struct write_set){ .follow_ups = next, .follow_up_count = count };
	assert_int_equal(commit_one(fx, &item), COMPLETION_COMMITTED);
	/* As after an answer that was lost. */
	assert_int_equal(commit_one(fx, &item), COMPLETION_COMMITTED);
}

static bool is_stored(struct fixture *fx, const struct new_job *job)
{
	struct job_view view;

	if (query_job(fx->store, NULL, &job->id, fx->arena, &view, &fx->error) == 0)
		return true;
	assert_int_equal(fx->error.code, ERROR_NOT_FOUND);
	return false;
}

static void the_waiting_one_stays(struct fixture *fx)
{
	struct new_job first = a_unique("1", UNIQUE_RETURN), second = a_unique("2", UNIQUE_RETURN),
		       third = a_unique("3", UNIQUE_RETURN);
	struct claim claim;

	enqueue(fx, &first, 1);
	enqueue(fx, &second, 1);
	assert_int_equal(state_of(fx, &first.id), JOB_AVAILABLE);
	assert_false(is_stored(fx, &second));
	assert_true(accept_job(fx, a_unique("", UNIQUE_RETURN)).unique_conflict);
	assert_int_equal(queue_of(fx, "q2").available, 1);
	claim = claim_as(fx, fx->store, &fx->session, "q2", 10);
	assert_int_equal(claim.count, 1);
	enqueue(fx, &third, 1); /* it runs: still its key */
	assert_false(is_stored(fx, &third));
	finish_job(fx, claim.jobs[0], JOB_COMPLETED);
	enqueue(fx, &third, 1);
	assert_int_equal(state_of(fx, &third.id), JOB_AVAILABLE);
}

static void the_waiting_one_is_replaced(struct fixture *fx)
{
	struct new_job first = a_unique("1", UNIQUE_RETURN), second = a_unique("2", UNIQUE_REPLACE),
		       third = a_unique("3", UNIQUE_REPLACE);
	struct claim claim;

	accept_job(fx, first);
	enqueue(fx, &second, 1);
	assert_int_equal(state_of(fx, &first.id), JOB_CANCELLED);
	assert_int_equal(state_of(fx, &second.id), JOB_AVAILABLE);
	assert_int_equal(queue_of(fx, "q2").available, 1);
	claim = claim_as(fx, fx->store, &fx->session, "q2", 10);
	assert_int_equal(claim.count, 1);
	assert_string_equal(claim.jobs[0]->payload, "2");
	enqueue(fx, &third, 1); /* one that runs is not replaced */
	assert_false(is_stored(fx, &third));
	assert_int_equal(state_of(fx, &second.id), JOB_RUNNING);
}

/* A job may enqueue its own successor: its key is free when it has ended. */
static void a_successor(struct fixture *fx)
{
	struct new_job first = a_unique("1", UNIQUE_RETURN), next = a_unique("2", UNIQUE_RETURN);
	struct completion item;

	accept_job(fx, first);
	item = a_finish(claim_as(fx, fx->store, &fx->session, "q2", 1).jobs[0], JOB_COMPLETED);
	item.writes = (struct write_set){ .follow_ups = &next, .follow_up_count = 1 };
	assert_int_equal(commit_one(fx, &item), COMPLETION_COMMITTED);
	assert_int_equal(state_of(fx, &next.id), JOB_AVAILABLE);
}

/* As if they had come one after the other. */
static void twins_of_one_job(struct fixture *fx)
{
	struct new_job returned[3] = { a_unique("1", UNIQUE_RETURN), a_unique("2", UNIQUE_RETURN),
				       a_unique("3", UNIQUE_RETURN) };
	struct new_job replaced[3] = { a_unique("4", UNIQUE_REPLACE), a_unique("5", UNIQUE_REPLACE),
				       a_unique("6", UNIQUE_RETURN) };
	struct claim claim;

	returned[2].unique_key = "other";
	enqueue(fx, returned, 3);
	assert_true(is_stored(fx, &returned[0]));
	assert_false(is_stored(fx, &returned[1]));
	assert_true(is_stored(fx, &returned[2]));
	enqueue(fx, replaced, 3);
	assert_int_equal(state_of(fx, &returned[0].id), JOB_CANCELLED);
	assert_int_equal(state_of(fx, &replaced[1].id), JOB_AVAILABLE);
	assert_false(is_stored(fx, &replaced[2]));
	claim = claim_as(fx, fx->store, &fx->session, "q2", 10);
	assert_int_equal(claim.count, 2);
	assert_string_equal(claim.jobs[0]->payload, "3");
	assert_string_equal(claim.jobs[1]->payload, "5");
}

static void twins_of_two_jobs(struct fixture *fx, enum completion_mode mode)
{
	struct new_job next[2] = { a_unique("1", UNIQUE_RETURN), a_unique("2", UNIQUE_RETURN) };
	struct completion items[2];

	for (size_t i = 0; i < 2; i++) {
		items[i] = a_finish(a_parent(fx), JOB_COMPLETED);
		with_effect(fx, &items[i], "done");
		items[i].writes.follow_ups = &next[i];
		items[i].writes.follow_up_count = 1;
	}
	check_store(fx, commit_items(fx, fx->store, mode, items, 2));
	assert_int_equal(effects(fx, "done"), 2);
	assert_int_equal(is_stored(fx, &next[0]) + is_stored(fx, &next[1]), 1);
	assert_int_equal(queue_of(fx, "q2").available, 1);
}

static void twins_at_once(struct fixture *fx)
{
	twins_of_two_jobs(fx, COMPLETION_OPTIMISTIC);
}

static void twins_carefully(struct fixture *fx)
{
	twins_of_two_jobs(fx, COMPLETION_CAREFUL);
}

/* What is undone with its parent leaves the key free; what its parent's loser wanted is nothing. */
static void only_with_their_parent(struct fixture *fx)
{
	struct new_job next = a_unique("1", UNIQUE_REPLACE), waits = a_unique("2", UNIQUE_RETURN);
	struct completion item;

	accept_job(fx, waits);
	item = a_finish(a_parent(fx), JOB_COMPLETED);
	with_write(fx, &item, 1, "INSERT INTO nowhere VALUES (1)", NULL, NULL);
	item.writes.follow_ups = &next;
	item.writes.follow_up_count = 1;
	check_store(fx, commit_items(fx, fx->store, COMPLETION_CAREFUL, &item, 1));
	assert_int_equal(item.fate, COMPLETION_FAILED);
	assert_false(is_stored(fx, &next));
	assert_int_equal(state_of(fx, &waits.id), JOB_AVAILABLE);
	item = a_finish(item.job, JOB_DISCARDED);
	item.writes = (struct write_set){ .follow_ups = &next, .follow_up_count = 1 };
	assert_int_equal(commit_one(fx, &item), COMPLETION_COMMITTED);
	assert_int_equal(state_of(fx, &waits.id), JOB_AVAILABLE);
}

/* A second step of the same job names the same follow-up: it is there, and must not replace itself.
 */
static void of_steps(struct fixture *fx)
{
	struct new_job next = a_unique("1", UNIQUE_REPLACE);
	struct claimed_job *parent = a_parent(fx);
	static const char *const steps[] = { "one", "two" };

	for (size_t i = 0; i < 2; i++) {
		struct completion item = a_step(parent, steps[i], "1");

		item.writes = (struct write_set){ .follow_ups = &next, .follow_up_count = 1 };
		assert_int_equal(commit_one(fx, &item), COMPLETION_COMMITTED);
		assert_int_equal(state_of(fx, &next.id), JOB_AVAILABLE);
	}
	assert_int_equal(queue_of(fx, "q2").available, 1);
}

static void for_a_while(struct fixture *fx)
{
	struct new_job first = a_unique("1", UNIQUE_RETURN), second = a_unique("2", UNIQUE_RETURN);

	first.unique_for_ms = 60000;
	enqueue(fx, &first, 1);
	finish_job(fx, claim_as(fx, fx->store, &fx->session, "q2", 1).jobs[0], JOB_COMPLETED);
	enqueue(fx, &second, 1);
	assert_false(is_stored(fx, &second));
}

static const struct store_case cases[] = {
	{ "the_waiting_one_stays", the_waiting_one_stays },
	{ "the_waiting_one_is_replaced", the_waiting_one_is_replaced },
	{ "a_successor", a_successor },
	{ "twins_of_one_job", twins_of_one_job },
	{ "twins_at_once", twins_at_once },
	{ "twins_carefully", twins_carefully },
	{ "only_with_their_parent", only_with_their_parent },
	{ "of_steps", of_steps },
	{ "for_a_while", for_a_while },
};

int main(void)
{
	return store_cases_run("store_follow_up", cases, ARRAY_LEN(cases));
}
