/* SPDX-License-Identifier: Apache-2.0 */
/* The contract of a store, part three: what operators and housekeeping do (control, sessions,
 * maintenance) and what is shown (lists, queues). Every case runs on every store. */
#include <stdlib.h>

#include "tests/integration/store_fixture.h"

static const struct reach t1 = { .tenant = "t1" }, t2 = { .tenant = "t2" };

/* ---- control */

static int cancel(struct fixture *fx, const struct uuid *id, enum job_state *state_r)
{
	return control_cancel(fx->other, NULL, id, "changed my mind", state_r, &fx->error);
}

static void cancel_of_the_waiting(struct fixture *fx)
{
	struct new_job available = a_job("mail"), scheduled = a_job("mail"),
		       retryable = a_job("mail");
	const struct uuid *ids[] = { &available.id, &scheduled.id, &retryable.id };
	struct completion item;
	enum job_state state;

	accept_job(fx, retryable);
	item = a_retry(claim_one(fx), 60000);
	assert_int_equal(commit_one(fx, &item), COMPLETION_COMMITTED);
	scheduled.delay_ms = 60000;
	accept_job(fx, scheduled);
	accept_job(fx, available);
	for (size_t i = 0; i < ARRAY_LEN(ids); i++) {
		check_store(fx, cancel(fx, ids[i], &state));
		assert_int_equal(state, JOB_CANCELLED);
		assert_int_equal(state_of(fx, ids[i]), JOB_CANCELLED);
		assert_string_equal(view_of(fx, ids[i]).reason, "changed my mind");
		assert_int_equal(cancel(fx, ids[i], &state), -1);
		assert_int_equal(fx->error.code, ERROR_CONFLICT);
		assert_int_equal(state, JOB_CANCELLED);
	}
	assert_int_equal(claim_some(fx, 10).count, 0);
	assert_int_equal(queue_of(fx, "q").available, 0);
	assert_int_equal(queue_of(fx, "q").scheduled, 0);
}

static void cancel_of_the_running(struct fixture *fx)
{
	struct new_job job = a_job("mail");
	struct claimed_job *got;
	enum job_state state;
	bool asked[2];
	struct uuid ids[2];

	accept_job(fx, job);
	got = claim_one(fx);
	check_store(fx, cancel(fx, &job.id, &state));
	assert_int_equal(state, JOB_RUNNING);
	ids[0] = fx->session;
	ids[1] = job.id;
	check_store(fx, control_cancels(fx->store, ids, 2, asked, &fx->error));
	assert_false(asked[0]);
	assert_true(asked[1]);
	assert_true(view_of(fx, &job.id).cancel_asked);
	finish_job(fx, got, JOB_CANCELLED);
	assert_int_equal(state_of(fx, &job.id), JOB_CANCELLED);
	check_store(fx, maintenance_fold(fx->other, &fx->error));
	check_store(fx, control_cancels(fx->store, ids, 2, asked, &fx->error));
	assert_false(asked[1]);
}

static void cancel_of_the_ended_and_unknown(struct fixture *fx)
{
	struct new_job job = a_job("mail"), theirs = a_job("mail");
	struct uuid nobody;
	enum job_state state;

	accept_job(fx, job);
	finish_job(fx, claim_one(fx), JOB_COMPLETED);
	assert_int_equal(cancel(fx, &job.id, &state), -1);
	assert_int_equal(fx->error.code, ERROR_CONFLICT);
	assert_int_equal(state, JOB_COMPLETED);
	uuid_v7(&nobody);
	assert_int_equal(cancel(fx, &nobody, &state), -1);
	assert_int_equal(fx->error.code, ERROR_NOT_FOUND);
	theirs.tenant = "t1";
	accept_job(fx, theirs);
	assert_int_equal(control_cancel(fx->store, &t2, &theirs.id, NULL, &state, &fx->error), -1);
	assert_int_equal(fx->error.code, ERROR_NOT_FOUND);
	assert_int_equal(control_retry(fx->store, &t2, &theirs.id, &state, &fx->error), -1);
	assert_int_equal(fx->error.code, ERROR_NOT_FOUND);
	check_store(fx, control_cancel(fx->store, &t1, &theirs.id, NULL, &state, &fx->error));
}

/* Asked while it ran, but it went back to wait: nobody needs to run it to end it. */
static void cancel_that_raced_with_a_retry(struct fixture *fx)
{
	struct new_job job = a_job("mail");
	struct claimed_job *got;
	struct completion item;
	enum job_state state;
	int64_t released;

	accept_job(fx, job);
	got = claim_one(fx);
	check_store(fx, cancel(fx, &job.id, &state));
	item = a_retry(got, 60000);
	assert_int_equal(commit_one(fx, &item), COMPLETION_COMMITTED);
	check_store(fx, maintenance_release(fx->other, &released, &fx->error));
	assert_int_equal(state_of(fx, &job.id), JOB_CANCELLED);
	assert_string_equal(view_of(fx, &job.id).reason, "changed my mind");
	assert_int_equal(claim_some(fx, 10).count, 0);
}

static void cancel_compensates(struct fixture *fx)
{
	static const struct store_type types[] = {
		{ .name = "order",
		  .queue = "q",
		  .priority = PRIORITY_NORMAL,
		  .on_discard = "order.release" },
		{ .name = "order.release", .queue = "repair", .priority = PRIORITY_HIGH },
	};
	struct claimed_job *got;
	struct completion item;
	enum job_state state;

	check_store(fx, store_sync_types(fx->store, types, 2, &fx->error));
	accept_job(fx, a_job("order"));
	got = claim_one(fx);
	item = a_step(got, "reserve", "1");
	assert_int_equal(commit_one(fx, &item), COMPLETION_COMMITTED);
	item = a_retry(got, 60000);
	assert_int_equal(commit_one(fx, &item), COMPLETION_COMMITTED);
	check_store(fx, cancel(fx, &got->id, &state));
	assert_int_equal(state, JOB_CANCELLED);
	assert_int_equal(claim_as(fx, fx->store, &fx->session, "repair", 10).count, 1);
}

static void retry_by_hand(struct fixture *fx)
{
	struct new_job job = a_job("mail"), later = a_job("mail");
	struct claimed_job *got;
	enum job_state state;

	accept_job(fx, job);
	got = claim_one(fx);
	assert_int_equal(control_retry(fx->other, NULL, &job.id, &state, &fx->error), -1);
	assert_int_equal(fx->error.code, ERROR_CONFLICT);
	assert_int_equal(state, JOB_RUNNING);
	finish_job(fx, got, JOB_DISCARDED);
	check_store(fx, control_retry(fx->other, NULL, &job.id, &state, &fx->error));
	assert_int_equal(state_of(fx, &job.id), JOB_AVAILABLE);
	got = claim_this(fx, &job.id);
	assert_int_equal(got->attempt, 2);
	assert_int_equal(got->failures, 0);
	assert_int_equal(view_of(fx, &job.id).attempt_count, 1);
	finish_job(fx, got, JOB_COMPLETED);
	assert_int_equal(control_retry(fx->other, NULL, &job.id, &state, &fx->error), -1);
	assert_int_equal(state, JOB_COMPLETED);
	later.delay_ms = 60000;
	accept_job(fx, later);
	check_store(fx, control_retry(fx->other, NULL, &later.id, &state, &fx->error));
	claim_this(fx, &later.id);
}

/* The lease that held it must not hand it out a second time when its session ends. */
static void retry_and_the_old_lease(struct fixture *fx)
{
	struct uuid dying;
	struct claim claim;
	enum job_state state;
	int64_t released;

	uuid_v7(&dying);
	renew(fx, &dying, 60000);
	accept_job(fx, a_job("mail"));
	accept_job(fx, a_job("mail"));
	claim = claim_as(fx, fx->store, &dying, "q", 2);
	finish_job(fx, claim.jobs[0], JOB_DISCARDED);
	check_store(fx, control_retry(fx->other, NULL, &claim.jobs[0]->id, &state, &fx->error));
	claim_this(fx, &claim.jobs[0]->id);
	check_store(fx, session_end(fx->store, &dying, &released, &fx->error));
	assert_int_equal(released, 1);
	claim_this(fx, &claim.jobs[1]->id);
	assert_int_equal(claim_some(fx, 10).count, 0);
}

static void discard_some(struct fixture *fx, const char *type, size_t count)
{
	struct claim claim;

	for (size_t i = 0; i < count; i++)
		accept_job(fx, a_job(type));
	claim = claim_some(fx, count);
	assert_int_equal(claim.count, count);
	for (size_t i = 0; i < count; i++)
		finish_job(fx, claim.jobs[i], JOB_DISCARDED);
}

static void redrive(struct fixture *fx)
{
	struct job_filter filter = { .type = "mail" };
	int64_t count;

	discard_some(fx, "mail", 4);
	discard_some(fx, "other", 2);
	check_store(fx, control_redrive(fx->other, &filter, 0, true, NULL, &count, &fx->error));
	assert_int_equal(count, 4);
	assert_int_equal(claim_some(fx, 10).count, 0);
	filter.limit = 3;
	check_store(fx, control_redrive(fx->other, &filter, 0, false, NULL, &count, &fx->error));
	assert_int_equal(count, 3);
	assert_int_equal(claim_some(fx, 10).count, 3);
	filter = (struct job_filter){ 0 };
	check_store(fx, control_redrive(fx->other, &filter, 1, false, NULL, &count, &fx->error));
	assert_int_equal(count, 3);
	assert_true(claim_some(fx, 10).count <= 1); /* one a second */
	assert_true(queue_of(fx, "q").scheduled >= 2);
	check_store(fx, control_redrive(fx->other, &filter, 0, false, NULL, &count, &fx->error));
	assert_int_equal(count, 0);
}

/* ---- sessions */

static void expired_sessions_are_released(struct fixture *fx)
{
	struct session_info info = { .host = "here", .pid = 1, .lease_ms = 300 };
	struct claimed_job *job;
	struct claim claim;
	int64_t released;
	bool fresh;

	uuid_v7(&info.id);
	check_store(fx, session_renew(fx->store, &info, &fresh, &fx->error));
	assert_true(fresh);
	check_store(fx, session_renew(fx->store, &info, &fresh, &fx->error));
	assert_false(fresh);
	for (int i = 0; i < 3; i++)
		accept_job(fx, a_job("mail"));
	claim = claim_as(fx, fx->store, &info.id, "q", 2);
	assert_int_equal(claim.count, 2);
	finish_job(fx, claim.jobs[0], JOB_COMPLETED);
	check_store(fx, maintenance_release(fx->other, &released, &fx->error));
	assert_int_equal(released, 0);
	pause_ms(350);
	check_store(fx, maintenance_release(fx->other, &released, &fx->error));
	assert_int_equal(released, 1);
	check_store(fx, maintenance_release(fx->other, &released, &fx->error));
	assert_int_equal(released, 0);
	check_store(fx, session_renew(fx->store, &info, &fresh, &fx->error));
	assert_true(fresh);
	claim = claim_some(fx, 10);
	assert_int_equal(claim.count, 2);
	job = claim.jobs[0]->attempt == 2 ? claim.jobs[0] : claim.jobs[1];
	assert_int_equal(job->attempt, 2);
	assert_int_equal(job->failures, 0);
}

static void released_when_cancel_was_asked(struct fixture *fx)
{
	struct new_job job = a_job("mail");
	struct uuid dying;
	enum job_state state;
	int64_t released;

	uuid_v7(&dying);
	renew(fx, &dying, 200);
	accept_job(fx, job);
	claim_as(fx, fx->store, &dying, "q", 1);
	check_store(fx, cancel(fx, &job.id, &state));
	pause_ms(250);
	check_store(fx, maintenance_release(fx->other, &released, &fx->error));
	assert_int_equal(state_of(fx, &job.id), JOB_CANCELLED);
	assert_int_equal(claim_some(fx, 10).count, 0);
}

static void lost_claims_come_back(struct fixture *fx)
{
	struct claim claim;
	int64_t released;

	accept_job(fx, a_job("mail"));
	claim = claim_some(fx, 1);
	/* Younger than ten seconds: it may be a claim that is only just being answered. */
	check_store(fx, session_sweep(fx->store, &fx->session, NULL, 0, &released, &fx->error));
	assert_int_equal(released, 0);
	check_store(fx, session_release_batch(fx->store, &claim.jobs[0]->batch, &fx->error));
	check_store(fx, session_release_batch(fx->store, &claim.jobs[0]->batch, &fx->error));
	assert_int_equal(claim_one(fx)->attempt, 2);
	assert_int_equal(queue_of(fx, "q").running, 1);
}

static void sweep_spares_the_known(struct fixture *fx)
{
	struct claim known, orphan;
	int64_t released;

	accept_job(fx, a_job("mail"));
	accept_job(fx, a_job("mail"));
	known = claim_some(fx, 1);
	orphan = claim_some(fx, 1);
	pause_ms(10200);
	check_store(fx, session_sweep(fx->other, &fx->session, &known.jobs[0]->batch, 1, &released,
				      &fx->error));
	assert_int_equal(released, 1);
	claim_this(fx, &orphan.jobs[0]->id);
	finish_job(fx, known.jobs[0], JOB_COMPLETED);
}

static void sessions_are_counted(struct fixture *fx)
{
	struct uuid brief;
	struct session_info reader = {
		.host = "there", .pid = 1, .lease_ms = 60000, .broker = true
	};
	int64_t count, released;
	bool fresh;

	check_store(fx, query_sessions(fx->store, false, &count, &fx->error));
	assert_int_equal(count, 2);
	check_store(fx, query_sessions(fx->store, true, &count, &fx->error));
	assert_int_equal(count, 0);
	uuid_v7(&reader.id);
	for (int i = 0; i < 2; i++)
		check_store(fx, session_renew(fx->store, &reader, &fresh, &fx->error));
	check_store(fx, query_sessions(fx->store, true, &count, &fx->error));
	assert_int_equal(count, 1);
	check_store(fx, session_end(fx->store, &reader.id, &released, &fx->error));
	check_store(fx, query_sessions(fx->store, true, &count, &fx->error));
	assert_int_equal(count, 0);
	uuid_v7(&brief);
	renew(fx, &brief, 200);
	check_store(fx, query_sessions(fx->store, false, &count, &fx->error));
	assert_int_equal(count, 3);
	pause_ms(250);
	check_store(fx, session_end(fx->store, &fx->rival, &released, &fx->error));
	check_store(fx, session_end(fx->store, &fx->rival, &released, &fx->error));
	check_store(fx, query_sessions(fx->store, false, &count, &fx->error));
	assert_int_equal(count, 1);
}

static void workers_say_what_they_call(struct fixture *fx)
{
	struct worker_view *workers;
	size_t count, found = 0;
	struct uuid gone;

	uuid_v7(&gone);
	check_store(fx, session_report(fx->store, &fx->session, "[{\"name\":\"a\"}]", &fx->error));
	check_store(fx, session_report(fx->store, &fx->session, "[{\"name\":\"b\"}]", &fx->error));
	check_store(fx, session_report(fx->store, &gone, "[]", &fx->error));
	check_store(fx, query_workers(fx->other, fx->arena, &workers, &count, &fx->error));
	assert_int_equal(count, 2);
	for (size_t i = 0; i < count; i++) {
		bool ours = uuid_equal(&workers[i].session, &fx->session);

		assert_true(workers[i].host[0] && workers[i].pid > 0);
		assert_int_equal(workers[i].targets != NULL, ours);
		if (ours)
			assert_string_equal(workers[i].targets, "[{\"name\":\"b\"}]");
		found += ours;
	}
	assert_int_equal(found, 1);
}

/* ---- what is shown */

static void queues_and_depth(struct fixture *fx)
{
	struct queue_view queue;
	int64_t depth;

	for (int i = 0; i < 5; i++) {
		struct new_job job = a_job("mail");

		job.delay_ms = i < 2 ? 60000 : 0;
		accept_job(fx, job);
	}
	claim_some(fx, 1);
	pause_ms(20);
	queue = queue_of(fx, "q");
	assert_int_equal(queue.available, 2);
	assert_int_equal(queue.scheduled, 2);
	assert_int_equal(queue.running, 1);
	assert_true(queue.oldest_ms >= 15 && queue.oldest_ms < 60000);
	assert_false(queue.paused);
	check_store(fx, query_depth(fx->other, "q", &depth, &fx->error));
	assert_int_equal(depth, 4);
	check_store(fx, query_depth(fx->other, "unheard-of", &depth, &fx->error));
	assert_int_equal(depth, 0);
	claim_some(fx, 10);
	assert_int_equal(queue_of(fx, "q").oldest_ms, -1);
}

static size_t list(struct fixture *fx, const struct job_filter *filter, struct job_view **views_r)
{
	size_t count;

	check_store(fx, query_jobs(fx->other, filter, fx->arena, views_r, &count, &fx->error));
	return count;
}

static void lists_by_state(struct fixture *fx)
{
	static const enum job_state states[] = { JOB_AVAILABLE, JOB_SCHEDULED, JOB_RETRYABLE,
						 JOB_RUNNING,   JOB_COMPLETED, JOB_DISCARDED,
						 JOB_CANCELLED };
	struct new_job jobs[ARRAY_LEN(states)];
	struct claim claim;
	struct completion items[2];
	enum job_state state;

	for (size_t i = 0; i < ARRAY_LEN(states); i++) {
		jobs[i] = a_job("listed");
		jobs[i].delay_ms = states[i] == JOB_SCHEDULED ? 60000 : 0;
		jobs[i].priority = states[i] == JOB_AVAILABLE || states[i] == JOB_CANCELLED
					   ? PRIORITY_LOW
					   : PRIORITY_HIGH;
		accept_job(fx, jobs[i]);
	}
	claim = claim_some(fx, 4);
	assert_int_equal(claim.count, 4);
	items[0] = a_retry(claim.jobs[0], 60000);
	assert_int_equal(commit_one(fx, &items[0]), COMPLETION_COMMITTED);
	finish_job(fx, claim.jobs[2], JOB_COMPLETED);
	finish_job(fx, claim.jobs[3], JOB_DISCARDED);
	check_store(fx, cancel(fx, &jobs[6].id, &state));
	for (size_t i = 0; i < ARRAY_LEN(states); i++) {
		struct job_filter filter = { .state = states[i], .type = "listed", .limit = 10 };
		struct job_view *views;

		if (list(fx, &filter, &views) != 1)
			fail_msg("not one is %s", job_state_name(states[i]));
		assert_uuid(&views[0].id, &jobs[i].id);
		assert_int_equal(views[0].state, states[i]);
		assert_null(views[0].payload);
	}
}

static void lists_by_filter(struct fixture *fx)
{
	struct new_job jobs[3] = { a_job("one"), a_job("two"), a_job("two") };
	struct job_filter none = { .limit = 100 };
	struct job_view *views;

	jobs[0].tenant = "acme";
	jobs[1].owner = "key-1";
	jobs[1].tags = "[\"blue\",\"green\"]";
	jobs[2].queue = "q2";
	jobs[2].tags = "[\"red\"]";
	for (size_t i = 0; i < 3; i++)
		accept_job(fx, jobs[i]);

	const struct {
		struct job_filter filter;
		size_t want;
	} table[] = {
		{ { .reach.tenant = "acme", .limit = 10 }, 0 },
		{ { .reach.owner = "key-1", .limit = 10 }, 1 },
		{ { .queue = "q2", .limit = 10 }, 2 },
		{ { .tag = "green", .limit = 10 }, 1 },
		{ { .type = "one", .limit = 10 }, 0 },
		{ { .type = "two", .queue = "q2", .state = JOB_AVAILABLE, .limit = 10 }, 2 },
	};
	for (size_t i = 0; i < ARRAY_LEN(table); i++) {
		if (list(fx, &table[i].filter, &views) != 1)
			fail_msg("filter %zu does not find one", i);
		assert_uuid(&views[0].id, &jobs[table[i].want].id);
	}
	none.tag = "gree";
	assert_int_equal(list(fx, &none, &views), 0);
}

static void lists_by_keyset(struct fixture *fx)
{
	enum { COUNT = 25 };
	struct job_filter filter = { .type = "listed", .limit = 10 };
	struct uuid seen[COUNT];
	size_t total = 0, count;

	for (int i = 0; i < COUNT; i++)
		accept_job(fx, a_job("listed"));
	do {
		struct job_view *views;

		count = list(fx, &filter, &views);
		for (size_t i = 0; i < count; i++) {
			assert_true(total < COUNT);
			seen[total++] = views[i].id;
			if (total > 1)
				assert_true(uuid_compare(&seen[total - 2], &views[i].id) > 0);
		}
		if (count)
			filter.before = views[count - 1].id;
	} while (count == filter.limit);
	assert_int_equal(total, COUNT);
}

static void finished_ones(struct fixture *fx)
{
	struct new_job done = a_job("mail"), waits = a_job("mail");
	struct uuid ids[2];
	struct job_view views[2];
	struct completion item;
	bool found[2];

	accept_job(fx, done);
	accept_job(fx, waits);
	item = a_finish(claim_one(fx), JOB_COMPLETED);
	item.result = "7";
	assert_int_equal(commit_one(fx, &item), COMPLETION_COMMITTED);
	ids[0] = waits.id;
	ids[1] = done.id;
	check_store(fx, query_finished(fx->other, ids, 2, fx->arena, found, views, &fx->error));
	assert_false(found[0]);
	assert_true(found[1]);
	assert_uuid(&views[1].id, &done.id);
	assert_int_equal(views[1].state, JOB_COMPLETED);
	assert_string_equal(views[1].result, "7");
	assert_string_equal(views[1].type, "mail");
	assert_string_equal(views[1].queue, "q");
	assert_string_equal(views[1].tenant, "");
	assert_int_equal(views[1].attempt, 1);
	assert_true(views[1].finished_ms >= views[1].created_ms && views[1].created_ms > 0);
}

static void tenants_do_not_see_each_other(struct fixture *fx)
{
	static const struct reach nobody = { .tenant = "" };
	struct new_job job = a_job("mail");
	struct job_view view;

	job.tenant = "t1";
	accept_job(fx, job);
	check_store(fx, query_job(fx->store, &t1, &job.id, fx->arena, &view, &fx->error));
	assert_int_equal(query_job(fx->store, &t2, &job.id, fx->arena, &view, &fx->error), -1);
	assert_int_equal(fx->error.code, ERROR_NOT_FOUND);
	finish_job(fx, claim_this(fx, &job.id), JOB_COMPLETED);
	check_store(fx, query_job(fx->store, &t1, &job.id, fx->arena, &view, &fx->error));
	assert_int_equal(query_job(fx->store, &nobody, &job.id, fx->arena, &view, &fx->error), -1);
	assert_int_equal(fx->error.code, ERROR_NOT_FOUND);
}

/* ---- maintenance */

static void aged(struct new_job *job, int64_t age_ms)
{
	uint64_t at = (uint64_t)(clock_wall_ms() - age_ms);

	for (int i = 0; i < 6; i++)
		job->id.b[i] = (uint8_t)(at >> (40 - 8 * i));
}

static void retention(struct fixture *fx)
{
	enum { DAY = 24 * 3600 * 1000 };
	struct new_job old = a_job("mail"), dead = a_job("mail"), waits = a_job("mail"),
		       young = a_job("mail");
	struct job_view view;

	aged(&old, 20 * (int64_t)3600 * 1000);
	aged(&dead, 20 * (int64_t)3600 * 1000);
	aged(&waits, 20 * (int64_t)3600 * 1000);
	accept_job(fx, old);
	finish_job(fx, claim_this(fx, &old.id), JOB_COMPLETED);
	accept_job(fx, dead);
	finish_job(fx, claim_this(fx, &dead.id), JOB_DISCARDED);
	accept_job(fx, young);
	finish_job(fx, claim_this(fx, &young.id), JOB_COMPLETED);
	accept_job(fx, waits);
	for (int i = 0; i < 2; i++)
		check_store(fx, maintenance_retention(fx->store, 7 * (int64_t)DAY,
						      30 * (int64_t)DAY, &fx->error));
	assert_int_equal(state_of(fx, &old.id), JOB_COMPLETED);
	if (!store_is_sqlite(fx->store))
		return; /* PostgreSQL's goes by whole days: its own test ages them */
	pause_ms(20);
	for (int i = 0; i < 2; i++)
		check_store(fx,
			    maintenance_retention(fx->store, 10, 30 * (int64_t)DAY, &fx->error));
	assert_int_equal(query_job(fx->store, NULL, &old.id, fx->arena, &view, &fx->error), -1);
	assert_int_equal(fx->error.code, ERROR_NOT_FOUND);
	assert_int_equal(state_of(fx, &dead.id), JOB_DISCARDED);
	assert_int_equal(state_of(fx, &waits.id), JOB_AVAILABLE);
	check_store(fx, maintenance_retention(fx->store, 10, 10, &fx->error));
	assert_int_equal(query_job(fx->store, NULL, &dead.id, fx->arena, &view, &fx->error), -1);
	claim_this(fx, &waits.id);
}

static void fold_keeps_what_holds(struct fixture *fx)
{
	struct new_job first = a_job("sync"), second = a_job("sync");

	first.unique_key = second.unique_key = "k";
	accept_job(fx, first);
	for (int i = 0; i < 3; i++)
		check_store(fx, maintenance_fold(fx->other, &fx->error));
	assert_true(accept_job(fx, second).unique_conflict);
	finish_job(fx, claim_one(fx), JOB_COMPLETED);
	for (int i = 0; i < 3; i++)
		check_store(fx, maintenance_fold(fx->other, &fx->error));
	assert_false(accept_job(fx, second).unique_conflict);
	assert_int_equal(queue_of(fx, "q").available, 1);
}

static void migrating_again(struct fixture *fx)
{
	int applied, have, want;

	check_store(fx, store_migrate(fx->other, &applied, &fx->error));
	assert_int_equal(applied, 0);
	check_store(fx, store_schema(fx->other, &have, &want, &fx->error));
	assert_int_equal(have, want);
	assert_true(have > 0);
	check_store(fx, store_ping(fx->other, &fx->error));
	assert_non_null(strstr(store_label(fx->store),
			       store_is_sqlite(fx->store) ? "sqlite:" : "postgresql://"));
}

static void job_states_for_audits(struct fixture *fx)
{
	struct new_job job = a_job("mail");
	char id[UUID_TEXT];
	const char *view =
		store_is_sqlite(fx->store) ? "windlass_job_states" : "windlass.job_states";
	const char *sql;

	accept_job(fx, job);
	sql = arena_printf(fx->arena, "SELECT state FROM %s WHERE job_id = '%s'", view,
			   uuid_format(&job.id, id));
	assert_string_equal(read_value(fx, sql), "\"available\"");
	finish_job(fx, claim_one(fx), JOB_DISCARDED);
	assert_string_equal(read_value(fx, sql), "\"discarded\"");
}

static const struct store_case cases[] = {
	{ "cancel_of_the_waiting", cancel_of_the_waiting },
	{ "cancel_of_the_running", cancel_of_the_running },
	{ "cancel_of_the_ended_and_unknown", cancel_of_the_ended_and_unknown },
	{ "cancel_that_raced_with_a_retry", cancel_that_raced_with_a_retry },
	{ "cancel_compensates", cancel_compensates },
	{ "retry_by_hand", retry_by_hand },
	{ "retry_and_the_old_lease", retry_and_the_old_lease },
	{ "redrive", redrive },
	{ "expired_sessions_are_released", expired_sessions_are_released },
	{ "released_when_cancel_was_asked", released_when_cancel_was_asked },
	{ "lost_claims_come_back", lost_claims_come_back },
	{ "sweep_spares_the_known", sweep_spares_the_known },
	{ "sessions_are_counted", sessions_are_counted },
	{ "workers_say_what_they_call", workers_say_what_they_call },
	{ "queues_and_depth", queues_and_depth },
	{ "lists_by_state", lists_by_state },
	{ "lists_by_filter", lists_by_filter },
	{ "lists_by_keyset", lists_by_keyset },
	{ "finished_ones", finished_ones },
	{ "tenants_do_not_see_each_other", tenants_do_not_see_each_other },
	{ "retention", retention },
	{ "fold_keeps_what_holds", fold_keeps_what_holds },
	{ "migrating_again", migrating_again },
	{ "job_states_for_audits", job_states_for_audits },
};

int main(void)
{
	return store_cases_run("store_upkeep", cases, ARRAY_LEN(cases));
}
