/* SPDX-License-Identifier: Apache-2.0 */
/* The contract of a store, the part for chains: a job that waits for others runs when they have
 * completed, with their results; what becomes of it when they do not; and nothing of it gets lost
 * between two who sweep. Every case runs on every store. */
#include "common/job/chain.h"
#include "common/store/chain.h"

#include "tests/integration/store_fixture.h"

static struct job_after waits_for(const struct uuid *id, const char *name,
				  enum edge_failure on_failure)
{
	return (struct job_after){ .id = *id, .name = name, .on_failure = on_failure };
}

static struct new_job waiter(const struct job_after *after, size_t count, const char *payload)
{
	struct new_job job = a_job("plain");

	job.after = after;
	job.after_count = count;
	job.after_any = true;
	job.payload = payload;
	job.payload_bytes = strlen(payload);
	return job;
}

/* Sweeps until nothing is left to do; returns how many were freed and discarded. */
static int64_t sweep(struct fixture *fx, struct store *store, int64_t *discarded_r)
{
	struct chain_swept swept;
	int64_t freed = 0, discarded = 0, moved = 1;

	while (moved) {
		check_store(fx, chain_sweep(store, NULL, 0, fx->arena, &swept, &fx->error));
		moved = swept.freed + (int64_t)swept.ended_count;
		freed += swept.freed;
		discarded += (int64_t)swept.ended_count;
	}
	if (discarded_r)
		*discarded_r = discarded;
	return freed;
}

static void complete(struct fixture *fx, const struct uuid *id, const char *result)
{
	struct completion item = a_finish(claim_this(fx, id), JOB_COMPLETED);

	item.result = result;
	assert_int_equal(commit_one(fx, &item), COMPLETION_COMMITTED);
}

static void discard(struct fixture *fx, const struct uuid *id)
{
	struct completion item = a_finish(claim_this(fx, id), JOB_DISCARDED);

	item.outcome = OUTCOME_DISCARD;
	item.reason = "bad luck";
	assert_int_equal(commit_one(fx, &item), COMPLETION_COMMITTED);
}

static void nobody_waits_for_nothing(struct fixture *fx)
{
	struct chain_swept swept;

	accept_job(fx, a_job("plain"));
	check_store(fx, chain_sweep(fx->store, NULL, 0, fx->arena, &swept, &fx->error));
	assert_false(swept.pending);
	assert_int_equal(swept.freed, 0);
}

static void runs_when_all_have_completed(struct fixture *fx)
{
	struct new_job a = a_job("plain"), b = a_job("plain"), w;
	struct job_after after[2];
	struct claimed_job *got;

	accept_job(fx, a);
	accept_job(fx, b);
	after[0] = waits_for(&a.id, "left", EDGE_DISCARD);
	after[1] = waits_for(&b.id, "right", EDGE_DISCARD);
	w = waiter(after, 2,
		   "{\"x\":\"${after.left.result.n}\",\"y\":\"<${after.right.result}>\",\"z\":1}");
	assert_int_equal(accept_job(fx, w).state, JOB_WAITING);
	assert_int_equal(state_of(fx, &w.id), JOB_WAITING);
	assert_int_equal(queue_of(fx, "q").waiting, 1);
	assert_int_equal(queue_of(fx, "q").parked, 0);
	assert_non_null(strstr(view_of(fx, &w.id).after, "\"left\""));
	complete(fx, &a.id, "{\"n\":[1,{\"a\":2}]}");
	assert_int_equal(sweep(fx, fx->store, NULL), 0);
	assert_int_equal(state_of(fx, &w.id), JOB_WAITING);
	promote(fx, 0);
	complete(fx, &b.id, "\"ok\"");
	assert_int_equal(sweep(fx, fx->store, NULL), 1);
	assert_int_equal(state_of(fx, &w.id), JOB_AVAILABLE);
	assert_null(view_of(fx, &w.id).after);
	got = claim_this(fx, &w.id);
	assert_string_equal(got->payload, "{\"x\":[1,{\"a\":2}],\"y\":\"<ok>\",\"z\":1}");
	assert_true(got->unchecked);
	assert_int_equal(got->attempt, 1);
	finish_job(fx, got, JOB_COMPLETED);
	assert_int_equal(queue_of(fx, "q").waiting, 0);
	assert_int_equal(queue_of(fx, "q").scheduled, 0);
}

/* The job is there already: no order of acceptance and end loses anything. */
static void one_that_ended_before_counts(struct fixture *fx)
{
	struct new_job a = a_job("plain"), w;
	struct job_after after;

	accept_job(fx, a);
	complete(fx, &a.id, NULL);
	after = waits_for(&a.id, "0", EDGE_DISCARD);
	w = waiter(&after, 1, "{\"r\":\"${after.0.result}\"}");
	accept_job(fx, w);
	assert_int_equal(sweep(fx, fx->other, NULL), 1);
	assert_string_equal(claim_this(fx, &w.id)->payload, "{\"r\":null}");
}

static void failure_is_a_matter_of_policy(struct fixture *fx)
{
	static const struct {
		enum edge_failure on_failure;
		enum job_state state;
	} cases[] = { { EDGE_DISCARD, JOB_DISCARDED },
		      { EDGE_RUN, JOB_AVAILABLE },
		      { EDGE_WAIT, JOB_WAITING } };

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct new_job a = a_job("plain"), w;
		struct job_after after;
		int64_t discarded;

		accept_job(fx, a);
		after = waits_for(&a.id, "a", cases[i].on_failure);
		w = waiter(&after, 1, "{\"s\":\"${after.a.state}: ${after.a.reason}\"}");
		accept_job(fx, w);
		discard(fx, &a.id);
		sweep(fx, fx->store, &discarded);
		assert_int_equal(state_of(fx, &w.id), cases[i].state);
		assert_int_equal(discarded, cases[i].state == JOB_DISCARDED);
		if (cases[i].state == JOB_DISCARDED)
			assert_non_null(strstr(view_of(fx, &w.id).reason, "discarded: bad luck"));
		if (cases[i].state == JOB_AVAILABLE)
			assert_string_equal(claim_this(fx, &w.id)->payload,
					    "{\"s\":\"discarded: bad luck\"}");
	}
}

/* A discard is an end like others: those that wait for it learn it too. */
static void failure_goes_down_the_chain(struct fixture *fx)
{
	struct new_job a = a_job("plain"), b, c;
	struct job_after to_a, to_b;
	int64_t discarded;

	accept_job(fx, a);
	to_a = waits_for(&a.id, "a", EDGE_DISCARD);
	b = waiter(&to_a, 1, "{}");
	accept_job(fx, b);
	to_b = waits_for(&b.id, "b", EDGE_DISCARD);
	c = waiter(&to_b, 1, "{}");
	accept_job(fx, c);
	discard(fx, &a.id);
	assert_int_equal(sweep(fx, fx->store, &discarded), 0);
	assert_int_equal(discarded, 2);
	assert_int_equal(state_of(fx, &c.id), JOB_DISCARDED);
	assert_int_equal(queue_of(fx, "q").scheduled, 0);
	assert_int_equal(queue_of(fx, "q").waiting, 0);
}

static void a_retry_waits_again(struct fixture *fx)
{
	struct new_job a = a_job("plain"), w;
	struct job_after after;
	enum job_state state;

	accept_job(fx, a);
	after = waits_for(&a.id, "a", EDGE_DISCARD);
	w = waiter(&after, 1, "{\"r\":\"${after.a.result}\"}");
	accept_job(fx, w);
	discard(fx, &a.id);
	sweep(fx, fx->store, NULL);
	assert_int_equal(state_of(fx, &w.id), JOB_DISCARDED);
	check_store(fx, control_retry(fx->store, NULL, &a.id, &state, &fx->error));
	check_store(fx, control_retry(fx->store, NULL, &w.id, &state, &fx->error));
	assert_int_equal(state, JOB_WAITING);
	assert_int_equal(state_of(fx, &w.id), JOB_WAITING);
	assert_int_equal(sweep(fx, fx->store, NULL), 0);
	complete(fx, &a.id, "7");
	assert_int_equal(sweep(fx, fx->store, NULL), 1);
	assert_string_equal(claim_this(fx, &w.id)->payload, "{\"r\":7}");
}

static void a_waiting_job_can_be_cancelled(struct fixture *fx)
{
	struct new_job a = a_job("plain"), w;
	struct job_after after;
	enum job_state state;

	accept_job(fx, a);
	after = waits_for(&a.id, "a", EDGE_DISCARD);
	w = waiter(&after, 1, "{}");
	accept_job(fx, w);
	check_store(fx, control_cancel(fx->store, NULL, &w.id, "enough", &state, &fx->error));
	assert_int_equal(state, JOB_CANCELLED);
	complete(fx, &a.id, NULL);
	assert_int_equal(sweep(fx, fx->store, NULL), 0);
	assert_int_equal(state_of(fx, &w.id), JOB_CANCELLED);
	assert_int_equal(queue_of(fx, "q").scheduled, 0);
}

static void what_is_not_in_the_result_discards(struct fixture *fx)
{
	struct new_job a = a_job("plain"), w;
	struct job_after after;
	int64_t discarded;

	accept_job(fx, a);
	after = waits_for(&a.id, "a", EDGE_DISCARD);
	w = waiter(&after, 1, "{\"r\":\"${after.a.result.none.here}\"}");
	accept_job(fx, w);
	complete(fx, &a.id, "{\"none\":{}}");
	sweep(fx, fx->store, &discarded);
	assert_int_equal(discarded, 1);
	assert_non_null(strstr(view_of(fx, &w.id).reason, "after.a.result.none.here"));
}

/* ---- what is refused */

static void unknown_jobs_are_refused(struct fixture *fx)
{
	struct new_job a = a_job("plain"), w;
	struct job_after after[2];
	struct acceptance request;
	struct uuid nobody;

	uuid_v7(&nobody);
	accept_job(fx, a);
	after[0] = waits_for(&a.id, "a", EDGE_DISCARD);
	after[1] = waits_for(&nobody, "b", EDGE_DISCARD);
	w = waiter(after, 2, "{}");
	request = a_request(fx, &w, 1);
	request.idempotency_scope = "s";
	request.idempotency_key = "k";
	assert_int_equal(accept_request(fx, &request), ACCEPTANCE_NO_SUCH_JOB);
	assert_int_equal(request.bad_index, 0);
	assert_int_equal(request.bad_after, 1);
	/* the key was not used up */
	after[1] = waits_for(&a.id, "b", EDGE_DISCARD);
	w.after_count = 1;
	assert_int_equal(accept_request(fx, &request), ACCEPTANCE_ACCEPTED);
	assert_int_equal(accept_request(fx, &request), ACCEPTANCE_REPLAYED);
}

static void jobs_of_others_are_unknown(struct fixture *fx)
{
	struct new_job a = a_job("plain"), w;
	struct job_after after;
	struct acceptance request;

	a.owner = "somebody";
	accept_job(fx, a);
	after = waits_for(&a.id, "a", EDGE_DISCARD);
	w = waiter(&after, 1, "{}");
	w.after_any = false;
	request = a_request(fx, &w, 1);
	assert_int_equal(accept_request(fx, &request), ACCEPTANCE_NO_SUCH_JOB);
	w.owner = "somebody";
	w.tenant = "elsewhere";
	assert_int_equal(accept_request(fx, &request), ACCEPTANCE_NO_SUCH_JOB);
	w.tenant = a.tenant;
	assert_int_equal(accept_request(fx, &request), ACCEPTANCE_ACCEPTED);
}

static void circles_are_refused(struct fixture *fx)
{
	struct new_job jobs[3] = { a_job("plain"), a_job("plain"), a_job("plain") };
	struct job_after after[3];
	struct acceptance request;

	for (size_t i = 0; i < 3; i++) {
		after[i] = waits_for(&jobs[(i + 1) % 3].id, "a", EDGE_DISCARD);
		jobs[i].after = &after[i];
		jobs[i].after_count = 1;
	}
	request = a_request(fx, jobs, 3);
	assert_int_equal(accept_request(fx, &request), ACCEPTANCE_CIRCLE);
	assert_int_equal(claim_some(fx, 10).count, 0);
	jobs[2].after_count = 0;
	assert_int_equal(accept_request(fx, &request), ACCEPTANCE_ACCEPTED);
	complete(fx, &jobs[2].id, NULL);
	assert_int_equal(sweep(fx, fx->store, NULL), 1);
	complete(fx, &jobs[1].id, NULL);
	assert_int_equal(sweep(fx, fx->store, NULL), 1);
	complete(fx, &jobs[0].id, NULL);
}

/* ---- then */

static void then_follows(struct fixture *fx)
{
	struct new_job first = a_job("plain"), then[2] = { a_job("plain"), a_job("plain") };
	struct job_after after[2];
	struct acceptance request;

	for (size_t i = 0; i < 2; i++) {
		chain_then_id(&first.id, i, &then[i].id);
		after[i] = waits_for(&first.id, CHAIN_PREVIOUS, EDGE_DISCARD);
		then[i] = (struct new_job){ .id = then[i].id,
					    .tenant = "",
					    .owner = "o",
					    .queue = "q",
					    .type = "plain",
					    .payload = "\"${after.previous.result}\"",
					    .payload_bytes = 26,
					    .priority = PRIORITY_NORMAL,
					    .after = &after[i],
					    .after_count = 1,
					    .after_any = true };
	}
	first.then = then;
	first.then_count = 2;
	first.client_id = true;
	request = a_request(fx, &first, 1);
	assert_int_equal(accept_request(fx, &request), ACCEPTANCE_ACCEPTED);
	assert_int_equal(accept_request(fx, &request), ACCEPTANCE_REPLAYED);
	assert_int_equal(state_of(fx, &then[1].id), JOB_WAITING);
	complete(fx, &first.id, "[1]");
	assert_int_equal(sweep(fx, fx->store, NULL), 2);
	struct claim claim = claim_some(fx, 10);

	assert_int_equal(claim.count, 2);
	assert_string_equal(claim.jobs[0]->payload, "[1]");
	assert_string_equal(claim.jobs[1]->payload, "[1]");
}

/* Fan-in: many ends, two who sweep by turns, one job that runs once. */
static void many_into_one(struct fixture *fx)
{
	enum { MANY = 60 };
	struct job_after after[MANY];
	struct new_job jobs[MANY], w;
	int64_t freed = 0;

	for (size_t i = 0; i < MANY; i++) {
		jobs[i] = a_job("plain");
		accept_job(fx, jobs[i]);
		after[i] = waits_for(&jobs[i].id, "a", EDGE_DISCARD);
	}
	w = waiter(after, MANY, "{}");
	accept_job(fx, w);
	for (size_t i = 0; i < MANY; i++) {
		struct chain_swept swept;

		assert_int_equal(freed, 0);
		finish_job(fx, claim_one(fx), JOB_COMPLETED);
		check_store(fx, chain_sweep(i % 2 ? fx->store : fx->other, &jobs[i].id, i % 3 != 0,
					    fx->arena, &swept, &fx->error));
		freed += swept.freed;
	}
	freed += sweep(fx, fx->other, NULL);
	assert_int_equal(freed, 1);
	claim_this(fx, &w.id);
}

#define CASE(name)          \
	{                   \
#name, name \
	}

int main(void)
{
	static const struct store_case cases[] = {
		CASE(nobody_waits_for_nothing),
		CASE(runs_when_all_have_completed),
		CASE(one_that_ended_before_counts),
		CASE(failure_is_a_matter_of_policy),
		CASE(failure_goes_down_the_chain),
		CASE(a_retry_waits_again),
		CASE(a_waiting_job_can_be_cancelled),
		CASE(what_is_not_in_the_result_discards),
		CASE(unknown_jobs_are_refused),
		CASE(jobs_of_others_are_unknown),
		CASE(circles_are_refused),
		CASE(then_follows),
		CASE(many_into_one),
	};

	return store_cases_run("store_chain", cases, ARRAY_LEN(cases));
}
