/* SPDX-License-Identifier: Apache-2.0 */
/* The contract of a store, the part for webhooks: every end of a job that asks for it makes each of
 * its webhook jobs exactly once, in the transaction that ends it, whatever ends it; endpoints that
 * are disabled. Every case runs on every store. */
#include "common/job/webhook.h"
#include "common/store/endpoint.h"

#include "tests/integration/store_broker_words.h"
#include "tests/integration/store_fixture.h"

#define CALLBACK "https://app.example/told"
#define HOOK     "${env.HOOK_URL}"

/* "order" tells of bad ends, "plain" of nothing. */
static void know_types(struct fixture *fx)
{
	static const struct store_type types[] = {
		{ .name = "order",
		  .queue = "q",
		  .priority = PRIORITY_NORMAL,
		  .on_discard = "order.release",
		  .hooks = "[[\"" HOOK "\",1536]]" }, /* discarded, cancelled */
		{ .name = "order.release", .queue = "repair", .priority = PRIORITY_HIGH },
		{ .name = "plain", .queue = "q", .priority = PRIORITY_NORMAL },
		{ .name = WEBHOOK_TYPE, .queue = WEBHOOK_QUEUE, .priority = PRIORITY_NORMAL },
	};

	check_store(fx, store_sync_types(fx->store, types, ARRAY_LEN(types), &fx->error));
	check_store(fx, store_sync_types(fx->other, types, ARRAY_LEN(types), &fx->error));
}

static struct new_job told_job(const char *type)
{
	struct new_job job = a_job(type);

	job.callback = CALLBACK;
	return job;
}

/* What settling makes of a completed job. */
static struct completion completed(struct fixture *fx, const struct claimed_job *job)
{
	struct completion item = a_finish(job, JOB_COMPLETED);
	struct webhook_source source = {
		.id = job->id,
		.tenant = job->tenant,
		.type = job->type,
		.attempt = job->attempt,
		.state = JOB_COMPLETED,
		.callback = job->callback ? job->callback : CALLBACK,
		.finished_ms = 1,
	};

	item.webhook_count = webhook_jobs(fx->arena, &source, &item.webhooks);
	assert_int_equal(item.webhook_count, 1);
	return item;
}

/* The webhooks that wait are handed out: these many, each with these words in its payload, and no
 * two with one id. */
static struct claim told(struct fixture *fx, size_t count, const char *const *words)
{
	struct claim claim = claim_as(fx, fx->other, &fx->rival, WEBHOOK_QUEUE, 100);

	if (claim.count != count)
		fail_msg("%zu webhooks, want %zu", claim.count, count);
	for (size_t i = 0; i < count; i++) {
		const struct claimed_job *job = claim.jobs[i];

		assert_string_equal(job->type, WEBHOOK_TYPE);
		assert_null(job->callback);
		for (const char *const *word = words; word && *word; word++)
			if (!strstr(job->payload, *word))
				fail_msg("no %s in %s", *word, job->payload);
		for (size_t k = 0; k < i; k++)
			assert_false(uuid_equal(&claim.jobs[k]->id, &job->id));
	}
	return claim;
}

static void told_once(struct fixture *fx, const char *first, const char *second)
{
	told(fx, 1, (const char *const[]){ first, second, NULL });
	told(fx, 0, NULL);
}

/* ---- completed */

static void completed_jobs_tell(struct fixture *fx)
{
	for (int mode = COMPLETION_OPTIMISTIC; mode <= COMPLETION_CAREFUL; mode++) {
		struct new_job job = told_job("plain");
		struct claimed_job *got;
		struct completion item;

		know_types(fx);
		accept_job(fx, job);
		got = claim_this(fx, &job.id);
		assert_string_equal(got->callback, CALLBACK);
		assert_string_equal(view_of(fx, &job.id).callback, CALLBACK);
		item = completed(fx, got);
		check_store(fx, commit_items(fx, fx->store, mode, &item, 1));
		check_store(fx, commit_items(fx, fx->store, mode, &item, 1)); /* unanswered */
		assert_int_equal(item.fate, COMPLETION_COMMITTED);
		told_once(fx, "\"url\":\"" CALLBACK "\"", "\"type\":\"job.completed\"");
	}
}

static void a_rolled_back_end_tells_nobody(struct fixture *fx)
{
	for (int mode = COMPLETION_OPTIMISTIC; mode <= COMPLETION_CAREFUL; mode++) {
		struct new_job job = told_job("plain");
		struct completion item;

		accept_job(fx, job);
		item = completed(fx, claim_this(fx, &job.id));
		with_write(fx, &item, SQL_ROWS_ANY, "INSERT INTO nowhere VALUES (1)", NULL, NULL);
		(void)commit_items(fx, fx->store, mode, &item, 1);
		assert_int_equal(item.fate, COMPLETION_FAILED);
		told(fx, 0, NULL);
		item.writes = (struct write_set){ 0 };
		assert_int_equal(commit_one(fx, &item), COMPLETION_COMMITTED);
		told_once(fx, CALLBACK, "completed");
	}
}

/* Somebody else was first: the end that counts has told. */
static void a_lost_end_tells_nobody(struct fixture *fx)
{
	struct new_job job = told_job("plain");
	struct claimed_job *got;
	struct completion item, late;
	struct claimed_job rival;

	accept_job(fx, job);
	got = claim_this(fx, &job.id);
	rival = *got;
	uuid_v7(&rival.batch);
	item = completed(fx, got);
	assert_int_equal(commit_one(fx, &item), COMPLETION_COMMITTED);
	late = completed(fx, &rival);
	assert_int_equal(commit_one(fx, &late), COMPLETION_LOST);
	late = a_finish(&rival, JOB_DISCARDED);
	assert_int_equal(commit_one(fx, &late), COMPLETION_LOST);
	told_once(fx, CALLBACK, "job.completed");
}

static void completed_messages_tell(struct fixture *fx)
{
	struct claimed_job *job = new_message(fx);
	struct completion item = completed(fx, job);

	assert_int_equal(commit_one(fx, &item), COMPLETION_COMMITTED);
	assert_int_equal(commit_one(fx, &item), COMPLETION_COMMITTED); /* unanswered COMMIT */
	told_once(fx, CALLBACK, "job.completed");
}

static void many_in_one_transaction(struct fixture *fx)
{
	struct completion items[20];

	know_types(fx);
	for (int i = 0; i < 20; i++) {
		struct new_job job = told_job(i % 2 ? "plain" : "order");

		accept_job(fx, job);
	}
	struct claim claim = claim_some(fx, 20);

	assert_int_equal(claim.count, 20);
	for (size_t i = 0; i < 20; i++)
		items[i] = i % 4 < 2 ? completed(fx, claim.jobs[i])
				     : a_finish(claim.jobs[i], JOB_DISCARDED);
	check_store(fx, commit_items(fx, fx->store, COMPLETION_OPTIMISTIC, items, 20));
	/* one each; the five discarded orders one more, by their hook */
	told(fx, 25, NULL);
}

/* ---- other ends */

static void discarded_and_cancelled_jobs_tell(struct fixture *fx)
{
	static const enum job_state states[] = { JOB_DISCARDED, JOB_CANCELLED };

	know_types(fx);
	for (size_t i = 0; i < ARRAY_LEN(states); i++) {
		struct new_job job = told_job("plain");
		struct completion item;

		accept_job(fx, job);
		item = a_finish(claim_this(fx, &job.id), states[i]);
		item.reason = "no \"such\" card";
		assert_int_equal(commit_one(fx, &item), COMPLETION_COMMITTED);
		assert_int_equal(commit_one(fx, &item), COMPLETION_COMMITTED);
		told_once(fx, job_state_name(states[i]), "\"reason\":\"no \\\"such\\\" card\"");
	}
}

static void hooks_tell_of_their_ends_only(struct fixture *fx)
{
	struct new_job job = a_job("order"), bad = a_job("order");
	struct completion item;

	know_types(fx);
	accept_job(fx, job);
	item = a_finish(claim_this(fx, &job.id), JOB_COMPLETED);
	assert_int_equal(commit_one(fx, &item), COMPLETION_COMMITTED);
	told(fx, 0, NULL);
	accept_job(fx, bad);
	item = a_finish(claim_this(fx, &bad.id), JOB_DISCARDED);
	assert_int_equal(commit_one(fx, &item), COMPLETION_COMMITTED);
	told_once(fx, "\"url\":\"" HOOK "\",\"of\":\"order\"", "job.discarded");
}

static void compensated_jobs_tell_too(struct fixture *fx)
{
	struct new_job job = told_job("order");
	struct claimed_job *got;
	struct completion item;

	know_types(fx);
	accept_job(fx, job);
	got = claim_this(fx, &job.id);
	item = a_step(got, "reserve", "1");
	assert_int_equal(commit_one(fx, &item), COMPLETION_COMMITTED);
	told(fx, 0, NULL);
	finish_job(fx, got, JOB_DISCARDED);
	told(fx, 2, (const char *const[]){ "job.discarded", NULL });
	assert_int_equal(claim_as(fx, fx->store, &fx->session, "repair", 10).count, 1);
}

static void cancelled_while_waiting(struct fixture *fx)
{
	struct new_job job = told_job("plain");
	enum job_state state;

	know_types(fx);
	accept_job(fx, job);
	check_store(fx, control_cancel(fx->other, NULL, &job.id, "changed", &state, &fx->error));
	assert_int_equal(state, JOB_CANCELLED);
	assert_int_equal(control_cancel(fx->other, NULL, &job.id, "x", &state, &fx->error), -1);
	told_once(fx, "job.cancelled", "\"reason\":\"changed\"");
}

static void replaced_by_a_unique_twin(struct fixture *fx)
{
	struct new_job job = told_job("plain"), twin = a_job("plain");

	know_types(fx);
	job.unique_key = twin.unique_key = "k";
	twin.unique_conflict = UNIQUE_REPLACE;
	accept_job(fx, job);
	accept_job(fx, twin);
	assert_int_equal(state_of(fx, &job.id), JOB_CANCELLED);
	told_once(fx, CALLBACK, "job.cancelled");
	finish_job(fx, claim_this(fx, &twin.id), JOB_COMPLETED);
}

/* Asked to stop, and its worker died before it did. */
static void cancelled_by_a_released_lease(struct fixture *fx)
{
	struct new_job job = told_job("plain");
	struct claimed_job *got;
	enum job_state state;
	int64_t released;

	know_types(fx);
	accept_job(fx, job);
	got = claim_this(fx, &job.id);
	check_store(fx, control_cancel(fx->other, NULL, &job.id, "stop", &state, &fx->error));
	assert_int_equal(state, JOB_RUNNING);
	told(fx, 0, NULL);
	check_store(fx, session_release_batch(fx->store, &got->batch, &fx->error));
	check_store(fx, maintenance_release(fx->other, &released, &fx->error));
	assert_int_equal(state_of(fx, &job.id), JOB_CANCELLED);
	told_once(fx, "job.cancelled", "\"reason\":\"stop\"");
}

static void discarded_messages_tell(struct fixture *fx)
{
	struct claimed_job *job = new_message(fx);
	struct completion item = a_finish(job, JOB_DISCARDED);

	know_types(fx);
	item.reason = "not JSON";
	assert_int_equal(commit_one(fx, &item), COMPLETION_COMMITTED);
	assert_int_equal(commit_one(fx, &item), COMPLETION_COMMITTED);
	told_once(fx, "\"of\":\"order\"", "not JSON");
}

/* Each end of a job that is driven again is an end of its own. */
static void redriven_jobs_tell_again(struct fixture *fx)
{
	struct new_job job = told_job("plain");
	enum job_state state;
	struct claim first, second;

	know_types(fx);
	accept_job(fx, job);
	finish_job(fx, claim_this(fx, &job.id), JOB_DISCARDED);
	first = told(fx, 1, NULL);
	check_store(fx, control_retry(fx->other, NULL, &job.id, &state, &fx->error));
	told(fx, 0, NULL);
	finish_job(fx, claim_this(fx, &job.id), JOB_DISCARDED);
	second = told(fx, 1, NULL);
	assert_false(uuid_equal(&first.jobs[0]->id, &second.jobs[0]->id));
}

/* A dead letter about a webhook would go the same way. */
static void webhooks_have_no_webhooks(struct fixture *fx)
{
	struct new_job job = told_job("plain");
	enum job_state state;
	struct claim claim;

	know_types(fx);
	accept_job(fx, job);
	check_store(fx, control_cancel(fx->other, NULL, &job.id, NULL, &state, &fx->error));
	claim = told(fx, 1, NULL);
	finish_job(fx, claim.jobs[0], JOB_DISCARDED);
	told(fx, 0, NULL);
}

/* ---- endpoints */

static size_t disabled(struct fixture *fx, struct endpoint_view **views_r)
{
	size_t count;

	check_store(fx, endpoint_disabled(fx->other, fx->arena, views_r, &count, &fx->error));
	return count;
}

/* A webhook job that was answered 410. */
static struct uuid disable(struct fixture *fx, const char *url)
{
	struct new_job job = a_job(WEBHOOK_TYPE);
	struct completion item;

	accept_job(fx, job);
	item = a_finish(claim_this(fx, &job.id), JOB_DISCARDED);
	item.disables = url;
	assert_int_equal(commit_one(fx, &item), COMPLETION_COMMITTED);
	return job.id;
}

static void endpoints_are_remembered(struct fixture *fx)
{
	struct endpoint_view *views;
	struct uuid id;

	assert_int_equal(disabled(fx, &views), 0);
	disable(fx, CALLBACK);
	pause_ms(5);
	disable(fx, HOOK);
	pause_ms(5);
	id = disable(fx, CALLBACK); /* two were on their way */
	assert_int_equal(disabled(fx, &views), 2);
	assert_string_equal(views[0].url, CALLBACK);
	assert_uuid(&views[0].job, &id);
	assert_true(views[0].since_ms >= views[1].since_ms && views[1].since_ms > 0);
	assert_string_equal(views[1].url, HOOK);
	check_store(fx, endpoint_enable(fx->other, CALLBACK, NULL, &fx->error));
	assert_int_equal(endpoint_enable(fx->other, CALLBACK, NULL, &fx->error), -1);
	assert_int_equal(fx->error.code, ERROR_NOT_FOUND);
	assert_int_equal(disabled(fx, &views), 1);
	assert_string_equal(views[0].url, HOOK);
}

static void a_lost_end_disables_nothing(struct fixture *fx)
{
	struct new_job job = a_job(WEBHOOK_TYPE);
	struct endpoint_view *views;
	struct completion item;
	struct claimed_job *got, rival;

	accept_job(fx, job);
	got = claim_this(fx, &job.id);
	rival = *got;
	uuid_v7(&rival.batch);
	finish_job(fx, got, JOB_COMPLETED);
	item = a_finish(&rival, JOB_DISCARDED);
	item.disables = CALLBACK;
	assert_int_equal(commit_one(fx, &item), COMPLETION_LOST);
	assert_int_equal(disabled(fx, &views), 1); /* what was there */
	assert_string_equal(views[0].url, HOOK);
}

/* ---- the cases: a fresh store is dear */

static void completed_jobs(struct fixture *fx)
{
	completed_jobs_tell(fx);
	a_rolled_back_end_tells_nobody(fx);
	a_lost_end_tells_nobody(fx);
	completed_messages_tell(fx);
}

static void jobs_that_end_badly(struct fixture *fx)
{
	discarded_and_cancelled_jobs_tell(fx);
	hooks_tell_of_their_ends_only(fx);
	compensated_jobs_tell_too(fx);
	discarded_messages_tell(fx);
	redriven_jobs_tell_again(fx);
	webhooks_have_no_webhooks(fx);
}

static void jobs_that_are_stopped(struct fixture *fx)
{
	cancelled_while_waiting(fx);
	replaced_by_a_unique_twin(fx);
	cancelled_by_a_released_lease(fx);
}

static void endpoints(struct fixture *fx)
{
	endpoints_are_remembered(fx);
	a_lost_end_disables_nothing(fx);
}

static const struct store_case cases[] = {
	{ "completed_jobs", completed_jobs },
	{ "many_in_one_transaction", many_in_one_transaction },
	{ "jobs_that_end_badly", jobs_that_end_badly },
	{ "jobs_that_are_stopped", jobs_that_are_stopped },
	{ "endpoints", endpoints },
};

int main(void)
{
	return store_cases_run("store_webhook", cases, ARRAY_LEN(cases));
}
