/* SPDX-License-Identifier: Apache-2.0 */
/* The contract of a store, the part for its own jobs on a broker: dispatch, admission, adoption,
 * cancel. Every case runs on every store. */
#include "tests/integration/store_broker_words.h"

/* ---- dispatch */

static void dispatched_jobs_are_queued(struct fixture *fx)
{
	static const enum job_priority priorities[] = { PRIORITY_LOW, PRIORITY_NORMAL,
							PRIORITY_HIGH };
	struct new_job jobs[3];
	struct claim claim;

	for (size_t i = 0; i < 3; i++) {
		jobs[i] = a_job("mail");
		jobs[i].priority = priorities[i];
		accept_job(fx, jobs[i]);
	}
	claim = dispatch_some(fx, "q", 2, 60000);
	assert_int_equal(claim.count, 2);
	assert_uuid(&claim.jobs[0]->id, &jobs[2].id);
	assert_uuid(&claim.jobs[1]->id, &jobs[1].id);
	assert_string_equal(claim.jobs[0]->payload, "{}");
	assert_int_equal(claim.jobs[0]->attempt, 1);
	assert_int_equal(state_of(fx, &jobs[2].id), JOB_QUEUED);
	assert_int_equal(view_of(fx, &jobs[2].id).attempt, 1);
	assert_int_equal(queue_of(fx, "q").available, 1);
	assert_int_equal(queue_of(fx, "q").queued, 2);
	assert_int_equal(queue_of(fx, "q").running, 0);
	assert_int_equal(listed(fx, JOB_QUEUED), 2);
	assert_int_equal(listed(fx, JOB_RUNNING), 0);
	claim_this(fx, &jobs[0].id);
	assert_int_equal(listed(fx, JOB_RUNNING), 1);
	assert_int_equal(queue_of(fx, "q").running, 1);
	assert_int_equal(dispatch_some(fx, "q", 10, 60000).count, 0);
}

static void paused_queues_are_not_dispatched(struct fixture *fx)
{
	accept_job(fx, a_job("mail"));
	assert_int_equal(dispatch_some(fx, "other", 10, 60000).count, 0);
	check_store(fx, control_pause(fx->other, "q", true, NULL, &fx->error));
	assert_int_equal(dispatch_some(fx, "q", 10, 60000).count, 0);
	check_store(fx, control_pause(fx->other, "q", false, NULL, &fx->error));
	assert_int_equal(dispatch_some(fx, "q", 10, 60000).count, 1);
}

static void those_to_be_cancelled_stay(struct fixture *fx)
{
	struct new_job job = a_job("mail");
	struct completion item;
	int64_t released;

	accept_job(fx, job);
	item = a_retry(claim_one(fx), 0);
	assert_int_equal(cancel_job(fx, &job.id), JOB_RUNNING);
	assert_int_equal(commit_one(fx, &item), COMPLETION_COMMITTED);
	assert_int_equal(dispatch_some(fx, "q", 10, 60000).count, 0);
	check_store(fx, maintenance_release(fx->other, &released, &fx->error));
	assert_int_equal(state_of(fx, &job.id), JOB_CANCELLED);
}

static void returned_as_if_never_out(struct fixture *fx)
{
	struct new_job jobs[4] = { a_job("mail"), a_job("mail"), a_job("mail"), a_job("mail") };
	struct uuid back[4];
	struct claim claim;

	for (size_t i = 0; i < 4; i++)
		accept_job(fx, jobs[i]);
	claim = dispatch_some(fx, "q", 3, 60000);
	assert_int_equal(claim.count, 3);
	finish_job(fx, claim.jobs[2], JOB_COMPLETED);
	back[0] = jobs[2].id; /* has ended */
	back[1] = jobs[1].id;
	back[2] = jobs[0].id;
	back[3] = jobs[3].id; /* is not in this lease */
	check_store(fx, dispatch_return(fx->other, &claim.jobs[0]->batch, back, 4, &fx->error));
	/* repeated: the lease has them no more */
	check_store(fx, dispatch_return(fx->other, &claim.jobs[0]->batch, back, 4, &fx->error));
	assert_int_equal(jobs_out(fx, "q"), 0);
	assert_int_equal(state_of(fx, &jobs[2].id), JOB_COMPLETED);
	assert_int_equal(state_of(fx, &jobs[0].id), JOB_AVAILABLE);
	assert_int_equal(view_of(fx, &jobs[0].id).attempt, 0);
	assert_int_equal(queue_of(fx, "q").available, 3);
	claim = claim_some(fx, 10);
	assert_int_equal(claim.count, 3);
	assert_uuid(&claim.jobs[0]->id, &jobs[0].id);
	assert_uuid(&claim.jobs[1]->id, &jobs[1].id);
	assert_int_equal(claim.jobs[0]->attempt, 1);
}

/* Not confirmed, but delivered all the same. */
static void returned_with_what_came_of_it(struct fixture *fx)
{
	struct receipt receipt = { .step = "charge", .status = 201, .body = "{}", .body_bytes = 2 };
	struct claimed_job *job = dispatched_job(fx), *again;
	struct completion item = a_step(job, "reserve", "7");

	item.receipts = &receipt;
	item.receipt_count = 1;
	assert_int_equal(commit_one(fx, &item), COMPLETION_COMMITTED);
	check_store(fx, dispatch_return(fx->other, &job->batch, &job->id, 1, &fx->error));
	again = claim_one(fx);
	assert_int_equal(again->attempt, 2);
	assert_string_equal(again->steps, "{\"reserve\":7}");
	assert_int_equal(again->receipt_count, 1);
}

static void unanswered_dispatch_is_released(struct fixture *fx)
{
	struct claimed_job *job = dispatched_job(fx);

	check_store(fx, session_release_batch(fx->other, &job->batch, &fx->error));
	assert_int_equal(state_of(fx, &job->id), JOB_AVAILABLE);
	assert_int_equal(admit_one(fx, delivery(job)), ADMISSION_KNOWN);
}

static void leases_run_out(struct fixture *fx)
{
	struct claim first;
	struct claimed_job *again;

	accept_job(fx, a_job("mail"));
	first = dispatch_some(fx, "q", 10, 150);
	accept_job(fx, a_job("mail"));
	release_leases(fx, 0);
	pause_ms(200);
	release_leases(fx, 1);
	assert_int_equal(state_of(fx, &first.jobs[0]->id), JOB_AVAILABLE);
	pause_ms(1100); /* a claim looks for what has come back once a second */
	again = dispatch_some(fx, "q", 1, 60000).jobs[0];
	assert_uuid(&again->id, &first.jobs[0]->id); /* it has kept its place */
	assert_int_equal(again->attempt, 2);
	assert_int_equal(again->failures, 0);
	assert_int_equal(admit_one(fx, delivery(first.jobs[0])), ADMISSION_KNOWN);
	assert_int_equal(admit_one(fx, delivery(again)), ADMISSION_RUN);
}

static void survey_counts_what_is_out(struct fixture *fx)
{
	struct new_job elsewhere = a_job("mail");
	struct completion item;
	struct claim claim;

	elsewhere.queue = "other";
	for (int i = 0; i < 4; i++)
		accept_job(fx, a_job("mail"));
	accept_job(fx, elsewhere);
	assert_int_equal(jobs_out(fx, "q"), 0);
	claim = dispatch_some(fx, "q", 10, 60000);
	dispatch_some(fx, "other", 10, 60000);
	assert_int_equal(jobs_out(fx, "q"), 4);
	assert_int_equal(jobs_out(fx, "other"), 1);
	finish_job(fx, claim.jobs[0], JOB_COMPLETED);
	assert_int_equal(jobs_out(fx, "q"), 3);
	item = a_retry(claim.jobs[1], 60000);
	assert_int_equal(commit_one(fx, &item), COMPLETION_COMMITTED);
	assert_int_equal(jobs_out(fx, "q"), 2);
	item = an_adoption(claim.jobs[2]);
	assert_int_equal(adopt(fx, COMPLETION_OPTIMISTIC, &item), COMPLETION_COMMITTED);
	assert_int_equal(jobs_out(fx, "q"), 1);
	finish_job(fx, claim.jobs[3], JOB_DISCARDED);
	assert_int_equal(jobs_out(fx, "q"), 0);
	assert_int_equal(jobs_out(fx, "other"), 1);
	assert_int_equal(admit_one(fx, delivery(claim.jobs[0])), ADMISSION_KNOWN);
}

/* ---- admission of what was dispatched */

static void admitted_job_is_the_stores(struct fixture *fx)
{
	struct new_job job = a_job("mail");
	struct claimed_job *sent;
	struct admission item;

	job.payload = "{\"n\": 1}";
	job.payload_bytes = strlen(job.payload);
	job.tenant = "acme";
	job.tags = "[\"x\"]";
	job.order_key = "o";
	job.traceparent = "00-1-2-01";
	job.timeout_ms = 900;
	accept_job(fx, job);
	sent = dispatch_one(fx);
	item = delivery(sent);
	admit_all(fx, &item, 1);
	assert_int_equal(item.verdict, ADMISSION_RUN);
	assert_uuid(&item.job->id, &job.id);
	assert_uuid(&item.job->batch, &sent->batch);
	assert_string_equal(item.job->payload, job.payload);
	assert_int_equal(item.job->payload_bytes, job.payload_bytes);
	assert_string_equal(item.job->tenant, "acme");
	assert_string_equal(item.job->owner, "test");
	assert_string_equal(item.job->queue, "q");
	assert_string_equal(item.job->type, "mail");
	assert_string_equal(item.job->tags, job.tags);
	assert_string_equal(item.job->order_key, "o");
	assert_string_equal(item.job->traceparent, job.traceparent);
	assert_int_equal(item.job->timeout_ms, 900);
	assert_int_equal(item.job->attempt, 1);
	assert_int_equal(item.job->priority, PRIORITY_NORMAL);
	assert_true(item.job->created_ms > 0 && item.job->due_ms >= item.job->created_ms);
	assert_null(item.job->steps);
	assert_null(item.job->source);
	finish_job(fx, item.job, JOB_COMPLETED);
	assert_int_equal(state_of(fx, &job.id), JOB_COMPLETED);
}

static void admitted_job_has_its_history(struct fixture *fx)
{
	struct receipt receipt = { .step = "charge", .status = 201, .body = "{}", .body_bytes = 2 };
	struct completion item;
	struct admission again;
	struct claimed_job *job;

	accept_job(fx, a_job("mail"));
	job = claim_one(fx);
	item = a_step(job, "reserve", "7");
	assert_int_equal(commit_one(fx, &item), COMPLETION_COMMITTED);
	item = a_retry(job, 0);
	item.receipts = &receipt;
	item.receipt_count = 1;
	assert_int_equal(commit_one(fx, &item), COMPLETION_COMMITTED);
	again = delivery(dispatch_one(fx));
	admit_all(fx, &again, 1);
	assert_int_equal(again.verdict, ADMISSION_RUN);
	assert_int_equal(again.job->attempt, 2);
	assert_int_equal(again.job->failures, 1);
	assert_string_equal(again.job->steps, "{\"reserve\":7}");
	assert_int_equal(again.job->receipt_count, 1);
	assert_int_equal(again.job->receipts[0].status, 201);
}

static void other_deliveries_are_known(struct fixture *fx)
{
	struct claimed_job *job = dispatched_job(fx);
	struct admission item = delivery(job);
	struct completion later;

	item.attempt = 2;
	assert_int_equal(admit_one(fx, item), ADMISSION_KNOWN);
	item = delivery(job);
	uuid_v7(&item.batch);
	assert_int_equal(admit_one(fx, item), ADMISSION_KNOWN);
	item = delivery(job);
	uuid_v7(&item.id);
	assert_int_equal(admit_one(fx, item), ADMISSION_KNOWN);
	assert_int_equal(admit_one(fx, delivery(job)), ADMISSION_RUN);
	later = a_retry(job, 60000);
	assert_int_equal(commit_one(fx, &later), COMPLETION_COMMITTED);
	assert_int_equal(admit_one(fx, delivery(job)), ADMISSION_KNOWN);
	job = dispatched_job(fx);
	finish_job(fx, job, JOB_COMPLETED);
	assert_int_equal(admit_one(fx, delivery(job)), ADMISSION_KNOWN);
}

/* Many at once, of several leases, each with its own answer. */
static void whole_batches_are_admitted(struct fixture *fx)
{
	enum { COUNT = 120 };
	struct admission items[2 * COUNT];
	size_t n = 0;

	for (int i = 0; i < COUNT; i++)
		accept_job(fx, a_job("mail"));
	for (int lease = 0; lease < 3; lease++) {
		struct claim claim = dispatch_some(fx, "q", COUNT / 3, 60000);

		assert_int_equal(claim.count, COUNT / 3);
		for (size_t i = 0; i < claim.count; i++) {
			struct claimed_job *message = new_message(fx);

			if (n % 3 == 0)
				finish_job(fx, claim.jobs[i], JOB_COMPLETED);
			if (n % 4 == 0)
				finish_job(fx, message, JOB_COMPLETED);
			items[COUNT + n] = (struct admission){ .id = message->id };
			items[n++] = delivery(claim.jobs[i]);
		}
	}
	admit_all(fx, items, ARRAY_LEN(items));
	for (size_t i = 0; i < COUNT; i++) {
		assert_int_equal(items[i].verdict, i % 3 ? ADMISSION_RUN : ADMISSION_KNOWN);
		if (items[i].job)
			assert_uuid(&items[i].job->id, &items[i].id);
		assert_int_equal(items[COUNT + i].verdict, i % 4 ? ADMISSION_RUN : ADMISSION_KNOWN);
	}
}

/* ---- adoption */

static void adopted_jobs_are_the_workers(struct fixture *fx)
{
	for (int mode = COMPLETION_OPTIMISTIC; mode <= COMPLETION_CAREFUL; mode++) {
		struct claimed_job *job, old;
		struct completion item;

		accept_job(fx, a_job("mail"));
		job = dispatch_some(fx, "q", 1, 150).jobs[0];
		old = *job;
		item = an_adoption(job);
		assert_int_equal(adopt(fx, mode, &item), COMPLETION_COMMITTED);
		assert_int_equal(state_of(fx, &job->id), JOB_RUNNING);
		assert_int_equal(view_of(fx, &job->id).attempt, 1);
		assert_int_equal(admit_one(fx, delivery(job)), ADMISSION_KNOWN);
		pause_ms(200);
		release_leases(fx, 0); /* the broker's lease is nothing to it any more */
		job->batch = item.adopted;
		item = a_retry(&old, 0);
		assert_int_equal(commit_one(fx, &item), COMPLETION_LOST);
		item = a_step(job, "one", "1");
		assert_int_equal(commit_one(fx, &item), COMPLETION_COMMITTED);
		item = a_retry(job, 60000);
		assert_int_equal(commit_one(fx, &item), COMPLETION_COMMITTED);
		assert_int_equal(state_of(fx, &job->id), JOB_RETRYABLE);
	}
}

static void adopted_jobs_end_with_their_session(struct fixture *fx)
{
	struct claimed_job *job = dispatched_job(fx);
	struct completion item = an_adoption(job);
	int64_t released;

	assert_int_equal(adopt(fx, COMPLETION_OPTIMISTIC, &item), COMPLETION_COMMITTED);
	check_store(fx, session_end(fx->other, &fx->session, &released, &fx->error));
	assert_int_equal(released, 1);
	assert_int_equal(state_of(fx, &job->id), JOB_AVAILABLE);
}

static void adoption_is_fenced(struct fixture *fx)
{
	struct claimed_job *job = dispatched_job(fx), *gone = dispatched_job(fx),
			   *ended = dispatched_job(fx);
	struct completion item = an_adoption(job), twin = an_adoption(job);

	assert_int_equal(adopt(fx, COMPLETION_OPTIMISTIC, &item), COMPLETION_COMMITTED);
	/* the same once more, as after a COMMIT that was not answered */
	assert_int_equal(adopt(fx, COMPLETION_OPTIMISTIC, &item), COMPLETION_COMMITTED);
	assert_int_equal(adopt(fx, COMPLETION_CAREFUL, &item), COMPLETION_COMMITTED);
	assert_int_equal(adopt(fx, COMPLETION_OPTIMISTIC, &twin), COMPLETION_LOST);
	check_store(fx, session_release_batch(fx->other, &gone->batch, &fx->error));
	item = an_adoption(gone);
	assert_int_equal(adopt(fx, COMPLETION_OPTIMISTIC, &item), COMPLETION_LOST);
	assert_int_equal(state_of(fx, &gone->id), JOB_AVAILABLE);
	finish_job(fx, ended, JOB_COMPLETED);
	item = an_adoption(ended);
	assert_int_equal(adopt(fx, COMPLETION_OPTIMISTIC, &item), COMPLETION_LOST);
}

/* ---- cancel */

static void queued_jobs_are_cancelled_at_once(struct fixture *fx)
{
	struct claimed_job *job = dispatched_job(fx);
	struct completion item = a_finish(job, JOB_COMPLETED);
	enum job_state state;

	with_effect(fx, &item, "late");
	assert_int_equal(cancel_job(fx, &job->id), JOB_CANCELLED);
	assert_int_equal(state_of(fx, &job->id), JOB_CANCELLED);
	assert_string_equal(view_of(fx, &job->id).reason, "no more");
	assert_int_equal(admit_one(fx, delivery(job)), ADMISSION_KNOWN);
	check_store(fx, maintenance_fold(fx->other, &fx->error));
	/* it may have been taken from the broker just before */
	assert_true(cancel_asked(fx, &job->id));
	assert_int_equal(commit_one(fx, &item), COMPLETION_LOST);
	assert_int_equal(effects(fx, "late"), 0);
	assert_int_equal(jobs_out(fx, "q"), 0);
	check_store(fx, control_retry(fx->other, NULL, &job->id, &state, &fx->error));
	assert_false(cancel_asked(fx, &job->id));
	assert_int_equal(claim_this(fx, &job->id)->attempt, 2);
}

static void known_progress_means_running(struct fixture *fx)
{
	struct claimed_job *job = dispatched_job(fx);
	struct progress progress = { .id = job->id, .attempt = 1, .part = 0.5 };

	check_store(fx, progress_save(fx->other, &progress, 1, &fx->error));
	assert_int_equal(state_of(fx, &job->id), JOB_RUNNING);
	assert_int_equal(listed(fx, JOB_RUNNING), 1);
	assert_int_equal(listed(fx, JOB_QUEUED), 0);
	assert_int_equal(cancel_job(fx, &job->id), JOB_RUNNING);
	assert_true(cancel_asked(fx, &job->id));
	finish_job(fx, job, JOB_CANCELLED);
}

int main(void)
{
	static const struct store_case cases[] = {
		{ "dispatched_jobs_are_queued", dispatched_jobs_are_queued },
		{ "paused_queues_are_not_dispatched", paused_queues_are_not_dispatched },
		{ "those_to_be_cancelled_stay", those_to_be_cancelled_stay },
		{ "returned_as_if_never_out", returned_as_if_never_out },
		{ "unanswered_dispatch_is_released", unanswered_dispatch_is_released },
		{ "returned_with_what_came_of_it", returned_with_what_came_of_it },
		{ "leases_run_out", leases_run_out },
		{ "survey_counts_what_is_out", survey_counts_what_is_out },
		{ "admitted_job_is_the_stores", admitted_job_is_the_stores },
		{ "admitted_job_has_its_history", admitted_job_has_its_history },
		{ "other_deliveries_are_known", other_deliveries_are_known },
		{ "whole_batches_are_admitted", whole_batches_are_admitted },
		{ "adopted_jobs_are_the_workers", adopted_jobs_are_the_workers },
		{ "adopted_jobs_end_with_their_session", adopted_jobs_end_with_their_session },
		{ "adoption_is_fenced", adoption_is_fenced },
		{ "queued_jobs_are_cancelled_at_once", queued_jobs_are_cancelled_at_once },
		{ "known_progress_means_running", known_progress_means_running },
	};

	return store_cases_run("store_broker", cases, ARRAY_LEN(cases));
}
