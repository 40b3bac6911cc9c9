/* SPDX-License-Identifier: Apache-2.0 */
/* The contract of a store, about calls whose fate is unknown: what overwrites what, that an intent
 * has the fence of a step, and what becomes of parked jobs. Every case runs on every store. */
#include "tests/integration/store_fixture.h"

/* A step without a name: only this is stored of it. */
static struct completion a_note(const struct claimed_job *job, const struct receipt *receipt)
{
	return (struct completion){
		.kind = COMPLETION_STEP, .job = job, .receipts = receipt, .receipt_count = 1
	};
}

static const struct receipt intent = { .step = "pay", .status = RECEIPT_INTENT },
			    none = { .step = "pay", .status = RECEIPT_NOT_SENT },
			    answer = {
				    .step = "pay", .status = 201, .body = "ok", .body_bytes = 2
			    };

static struct completion a_parking(const struct claimed_job *job)
{
	struct completion item = a_retry(job, 0);

	item.outcome = OUTCOME_SNOOZE;
	item.counts = false;
	item.delay_ms = COMPLETION_PARKED;
	item.reason = "call `pay` was sent";
	return item;
}

/* Stores it, gives the job back and claims it again; the status that is known then, -2: none. */
static int status_after(struct fixture *fx, struct claimed_job **job, const struct receipt *receipt,
			const struct receipt *at_end)
{
	struct completion item = a_note(*job, receipt);

	if (receipt)
		assert_int_equal(commit_one(fx, &item), COMPLETION_COMMITTED);
	item = a_retry(*job, 0);
	item.receipts = at_end;
	item.receipt_count = at_end != NULL;
	assert_int_equal(commit_one(fx, &item), COMPLETION_COMMITTED);
	*job = claim_one(fx);
	return (*job)->receipt_count ? (*job)->receipts[0].status : -2;
}

static void what_overwrites_what(struct fixture *fx)
{
	struct claimed_job *job;

	accept_job(fx, a_job("mail"));
	job = claim_one(fx);
	assert_int_equal(status_after(fx, &job, NULL, NULL), -2);
	assert_int_equal(status_after(fx, &job, &intent, NULL), RECEIPT_INTENT);
	assert_int_equal(status_after(fx, &job, NULL, &none), RECEIPT_NOT_SENT);
	assert_int_equal(status_after(fx, &job, &intent, &none), RECEIPT_NOT_SENT);
	assert_int_equal(status_after(fx, &job, &intent, &answer), 201);
	assert_int_equal(status_after(fx, &job, &intent, &none), 201);
	assert_int_equal(job->receipt_count, 1);
	assert_string_equal(job->receipts[0].body, "ok");
	finish_job(fx, job, JOB_COMPLETED);
}

static void has_the_fence_of_a_step(struct fixture *fx)
{
	struct new_job job = a_job("mail");
	struct claimed_job *first;
	struct completion item;

	accept_job(fx, job);
	first = claim_one(fx);
	item = a_note(first, &intent);
	assert_int_equal(commit_one(fx, &item), COMPLETION_COMMITTED);
	assert_int_equal(commit_one(fx, &item), COMPLETION_COMMITTED); /* its answer was lost */
	item = a_retry(first, 0);
	assert_int_equal(commit_one(fx, &item), COMPLETION_COMMITTED);
	item = a_note(first, &intent); /* it is somebody else's, or nobody's */
	assert_int_equal(commit_one(fx, &item), COMPLETION_LOST);
	finish_job(fx, claim_one(fx), JOB_COMPLETED);
	item = a_note(first, &intent);
	assert_int_equal(commit_one(fx, &item), COMPLETION_LOST);
}

static struct claimed_job *park(struct fixture *fx, struct new_job *job)
{
	struct claimed_job *got;
	struct completion item;

	accept_job(fx, *job);
	got = claim_this(fx, &job->id);
	item = a_note(got, &intent);
	assert_int_equal(commit_one(fx, &item), COMPLETION_COMMITTED);
	item = a_parking(got);
	assert_int_equal(commit_one(fx, &item), COMPLETION_COMMITTED);
	assert_int_equal(state_of(fx, &job->id), JOB_PARKED);
	return got;
}

static size_t listed(struct fixture *fx, enum job_state state)
{
	struct job_filter filter = { .state = state, .limit = 10 };
	struct job_view *views;
	size_t count;

	check_store(fx, query_jobs(fx->other, &filter, fx->arena, &views, &count, &fx->error));
	return count;
}

static void waits_for_a_person(struct fixture *fx)
{
	struct new_job job = a_job("mail");
	struct job_view view;
	enum job_state state;

	park(fx, &job);
	promote(fx, 0);
	assert_int_equal(claim_some(fx, 5).count, 0);
	view = view_of(fx, &job.id);
	assert_int_equal(view.due_ms, 0);
	assert_string_equal(view.reason, "call `pay` was sent");
	assert_int_equal(listed(fx, JOB_PARKED), 1);
	assert_int_equal(listed(fx, JOB_RETRYABLE), 0);
	assert_int_equal(listed(fx, JOB_SCHEDULED), 0);
	assert_int_equal(queue_of(fx, "q").scheduled, 0);
	assert_int_equal(queue_of(fx, "q").parked, 1);
	assert_string_equal(view.open_calls, "[\"pay\"]");
	assert_int_equal(control_retry(fx->other, NULL, &job.id, &state, &fx->error), -1);
	assert_int_equal(fx->error.code, ERROR_CONFLICT);
	assert_int_equal(state, JOB_PARKED);
	check_store(fx, maintenance_fold(fx->store, &fx->error));
	check_store(fx, maintenance_retention(fx->store, 1, 1, &fx->error));
	assert_int_equal(state_of(fx, &job.id), JOB_PARKED);
}

static int resolve(struct fixture *fx, const struct uuid *id, const char *step, int status,
		   enum job_state *state_r)
{
	const struct call_verdict verdict = {
		.step = step, .status = status, .body = "{}", .body_bytes = 2
	};

	return control_resolve(fx->other, NULL, id, &verdict, state_r, &fx->error);
}

static void is_resolved(struct fixture *fx)
{
	struct new_job job = a_job("mail");
	struct claimed_job *got;
	enum job_state state;

	park(fx, &job);
	assert_int_equal(resolve(fx, &job.id, "other", 200, &state), -1);
	assert_int_equal(fx->error.code, ERROR_INVALID);
	check_store(fx, resolve(fx, &job.id, "pay", 202, &state));
	assert_int_equal(state, JOB_AVAILABLE);
	assert_int_equal(queue_of(fx, "q").available, 1);
	assert_int_equal(resolve(fx, &job.id, "pay", 200, &state), -1);
	assert_int_equal(fx->error.code, ERROR_CONFLICT);
	got = claim_this(fx, &job.id);
	assert_int_equal(got->receipts[0].status, 202);
	assert_string_equal(got->receipts[0].body, "{}");
	assert_int_equal(got->failures, 0);
	finish_job(fx, got, JOB_COMPLETED);
}

static void is_resolved_call_by_call(struct fixture *fx)
{
	static const struct receipt two[] = { { .step = "pay" }, { .step = "ship" } };
	struct new_job job = a_job("mail");
	struct completion item;
	enum job_state state;

	accept_job(fx, job);
	item = a_parking(claim_one(fx));
	item.receipts = two;
	item.receipt_count = 2;
	assert_int_equal(commit_one(fx, &item), COMPLETION_COMMITTED);
	check_store(fx, resolve(fx, &job.id, "ship", RECEIPT_NOT_SENT, &state));
	assert_int_equal(state, JOB_PARKED);
	assert_int_equal(claim_some(fx, 5).count, 0);
	check_store(fx, resolve(fx, &job.id, "pay", 200, &state));
	assert_int_equal(state, JOB_AVAILABLE);
	assert_int_equal(claim_this(fx, &job.id)->receipt_count, 2);
}

static void is_cancelled(struct fixture *fx)
{
	struct new_job job = a_job("mail");
	enum job_state state;

	park(fx, &job);
	check_store(fx, control_cancel(fx->other, NULL, &job.id, "enough", &state, &fx->error));
	assert_int_equal(state, JOB_CANCELLED);
	assert_int_equal(listed(fx, JOB_PARKED), 0);
	assert_int_equal(queue_of(fx, "q").scheduled, 0);
}

/* The attempt that sent the call had lost its job, and completes it after all. */
static void a_late_end_wins(struct fixture *fx)
{
	struct new_job job = a_job("mail");
	struct claimed_job *late = park(fx, &job);
	enum job_state state;

	finish_job(fx, late, JOB_COMPLETED);
	assert_int_equal(state_of(fx, &job.id), JOB_COMPLETED);
	assert_int_equal(listed(fx, JOB_PARKED), 0);
	assert_int_equal(resolve(fx, &job.id, "pay", 200, &state), -1);
	assert_int_equal(fx->error.code, ERROR_CONFLICT);
	check_store(fx, maintenance_fold(fx->store, &fx->error));
	assert_int_equal(queue_of(fx, "q").scheduled, 0);
}

static const struct store_case cases[] = {
	{ "what_overwrites_what", what_overwrites_what },
	{ "has_the_fence_of_a_step", has_the_fence_of_a_step },
	{ "waits_for_a_person", waits_for_a_person },
	{ "is_resolved", is_resolved },
	{ "is_resolved_call_by_call", is_resolved_call_by_call },
	{ "is_cancelled", is_cancelled },
	{ "a_late_end_wins", a_late_end_wins },
};

int main(void)
{
	return store_cases_run("store_intent", cases, ARRAY_LEN(cases));
}
