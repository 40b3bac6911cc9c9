/* SPDX-License-Identifier: Apache-2.0 */
/* The contract of a store, the part for batch runs: chunks are stored once, by one feeder, whatever
 * is repeated; figures are exact however jobs end; the end is told exactly once. Every case runs on
 * every store. */
#include "common/store/batch.h"

#include "tests/integration/store_fixture.h"

#define DEFINITION                                                                             \
	"{\"job\":{\"type\":\"plain\"},\"on_complete\":{\"type\":\"told\",\"queue\":\"ends\"," \
	"\"priority\":\"high\",\"payload\":{\"x\":1}},\"on_failure\":{\"type\":\"warned\","    \
	"\"queue\":\"ends\",\"priority\":\"normal\"}}"

enum { LEASE_MS = 30000 };

static struct batch_new a_batch(void)
{
	struct batch_new batch = { .tenant = "",
				   .owner = "o",
				   .queue = "q",
				   .type = "plain",
				   .name = "nightly",
				   .definition = DEFINITION };

	uuid_v7(&batch.id);
	return batch;
}

static void begin(struct fixture *fx, const struct batch_new *batch)
{
	struct uuid id;
	bool is_new;

	check_store(fx, batch_begin(fx->store, batch, NULL, &id, &is_new, &fx->error));
	assert_true(is_new);
	assert_uuid(&id, &batch->id);
}

static bool take(struct fixture *fx, const struct uuid *feeder, struct batch_work *work_r)
{
	int rc = batch_take(fx->store, feeder, LEASE_MS, fx->arena, work_r, &fx->error);

	check_store(fx, rc < 0);
	return rc == 1;
}

static enum acceptance_verdict feed(struct fixture *fx, struct batch_chunk chunk, size_t count)
{
	struct new_job jobs[8];
	struct acceptance request;

	chunk.lease_ms = LEASE_MS;
	for (size_t i = 0; i < count; i++) {
		jobs[i] = a_job("plain");
		jobs[i].run = chunk.id;
	}
	request = a_request(fx, jobs, count);
	request.chunk = &chunk;
	return accept_request(fx, &request);
}

static struct batch_view look(struct fixture *fx, const struct uuid *id)
{
	struct batch_view view;

	check_store(fx, batch_get(fx->other, NULL, id, fx->arena, &view, &fx->error));
	return view;
}

static struct batch_swept sweep(struct fixture *fx)
{
	struct batch_swept swept;

	check_store(fx, batch_sweep(fx->store, fx->arena, &swept, &fx->error));
	return swept;
}

static void counts_are(struct fixture *fx, const struct uuid *id, int64_t done, int64_t failed,
		       int64_t cancelled)
{
	struct batch_view view = look(fx, id);

	assert_int_equal(view.counts.done, done);
	assert_int_equal(view.counts.failed, failed);
	assert_int_equal(view.counts.cancelled, cancelled);
}

/* A batch of three jobs, all fed. */
static struct uuid three_jobs(struct fixture *fx)
{
	struct batch_new batch = a_batch();
	struct batch_work work;
	struct uuid feeder;

	uuid_v7(&feeder);
	begin(fx, &batch);
	assert_true(take(fx, &feeder, &work));
	assert_int_equal(
		feed(fx,
		     (struct batch_chunk){
			     .id = batch.id, .feeder = feeder, .position = "3", .last = true },
		     3),
		ACCEPTANCE_ACCEPTED);
	return batch.id;
}

static void end_one(struct fixture *fx, enum job_state state)
{
	finish_job(fx, claim_one(fx), state);
}

/* ---- feeding */

static void a_chunk_is_stored_once(struct fixture *fx)
{
	struct batch_new batch = a_batch();
	struct batch_work work;
	struct batch_chunk chunk;
	struct uuid feeder;

	uuid_v7(&feeder);
	begin(fx, &batch);
	assert_true(take(fx, &feeder, &work));
	assert_uuid(&work.id, &batch.id);
	assert_null(work.position);
	assert_string_equal(work.definition, DEFINITION);
	chunk = (struct batch_chunk){ .id = batch.id, .feeder = feeder, .position = "a" };
	assert_int_equal(feed(fx, chunk, 2), ACCEPTANCE_ACCEPTED);
	assert_int_equal(feed(fx, chunk, 2), ACCEPTANCE_STALE);
	chunk.position_before = "a";
	chunk.position = "b";
	chunk.rejected = 4;
	chunk.error = "row 7";
	assert_int_equal(feed(fx, chunk, 0), ACCEPTANCE_ACCEPTED);
	assert_int_equal(feed(fx, chunk, 0), ACCEPTANCE_STALE);
	struct batch_view view = look(fx, &batch.id);

	assert_int_equal(view.state, BATCH_FEEDING);
	assert_int_equal(view.counts.total, 2);
	assert_int_equal(view.counts.rejected, 4);
	assert_string_equal(view.error, "row 7");
	assert_string_equal(view.position, "b");
	assert_int_equal(queue_of(fx, "q").available, 2);
}

static void one_feeds_at_a_time(struct fixture *fx)
{
	struct batch_new batch = a_batch();
	struct uuid feeder, rival;
	struct batch_work work;

	uuid_v7(&feeder), uuid_v7(&rival);
	begin(fx, &batch);
	assert_true(take(fx, &feeder, &work));
	assert_false(take(fx, &rival, &work));
	assert_int_equal(
		feed(fx, (struct batch_chunk){ .id = batch.id, .feeder = rival, .position = "a" },
		     1),
		ACCEPTANCE_STALE);
	assert_int_equal(
		feed(fx, (struct batch_chunk){ .id = batch.id, .feeder = feeder, .position = "a" },
		     1),
		ACCEPTANCE_ACCEPTED);
	check_store(fx, batch_leave(fx->store, &batch.id, &feeder, &fx->error));
	assert_true(take(fx, &rival, &work));
	assert_string_equal(work.position, "a");
	assert_int_equal(feed(fx,
			      (struct batch_chunk){ .id = batch.id,
						    .feeder = feeder,
						    .position_before = "a",
						    .position = "b" },
			      1),
			 ACCEPTANCE_STALE);
	assert_int_equal(look(fx, &batch.id).counts.total, 1);
}

static void a_lease_runs_out(struct fixture *fx)
{
	struct batch_new batch = a_batch();
	struct batch_work work;
	struct uuid feeder;
	int rc = 0;

	uuid_v7(&feeder);
	begin(fx, &batch);
	check_store(fx, batch_take(fx->store, &feeder, 1, fx->arena, &work, &fx->error) < 0);
	uuid_v7(&feeder);
	while (rc == 0) {
		rc = batch_take(fx->store, &feeder, LEASE_MS, fx->arena, &work, &fx->error);
		check_store(fx, rc < 0);
	}
}

static void rows_may_be_pushed(struct fixture *fx)
{
	struct batch_new batch = a_batch();
	struct batch_work work;
	struct uuid feeder;

	uuid_v7(&feeder);
	batch.pushed = true;
	begin(fx, &batch);
	assert_false(take(fx, &feeder, &work));
	assert_int_equal(feed(fx,
			      (struct batch_chunk){ .id = batch.id,
						    .position_before = "0",
						    .position = "1",
						    .last = true },
			      1),
			 ACCEPTANCE_ACCEPTED);
	assert_int_equal(look(fx, &batch.id).state, BATCH_RUNNING);
}

static void a_tick_has_one_batch(struct fixture *fx)
{
	struct batch_new batch = a_batch(), again = a_batch();
	struct uuid id;
	bool is_new;

	batch.schedule = again.schedule = "nightly";
	batch.tick_ms = again.tick_ms = 1795415000000;
	begin(fx, &batch);
	check_store(fx, batch_begin(fx->other, &again, NULL, &id, &is_new, &fx->error));
	assert_false(is_new);
	assert_uuid(&id, &batch.id);
	again.tick_ms++;
	begin(fx, &again);
	batch.owner = "another";
	batch.schedule = NULL;
	assert_int_equal(batch_begin(fx->store, &batch, NULL, &id, &is_new, &fx->error), -1);
	assert_int_equal(fx->error.code, ERROR_CONFLICT);
}

/* ---- ends */

static void the_end_is_told_once(struct fixture *fx)
{
	struct uuid id = three_jobs(fx);
	struct claim claim;

	end_one(fx, JOB_COMPLETED);
	end_one(fx, JOB_COMPLETED);
	assert_int_equal(sweep(fx).ended, 0);
	end_one(fx, JOB_COMPLETED);
	counts_are(fx, &id, 3, 0, 0);
	check_store(fx, maintenance_fold(fx->store, &fx->error));
	assert_int_equal(sweep(fx).ended, 1);
	assert_int_equal(sweep(fx).ended, 0);
	assert_false(sweep(fx).open);
	counts_are(fx, &id, 3, 0, 0);
	assert_int_equal(look(fx, &id).state, BATCH_COMPLETED);
	claim = claim_as(fx, fx->store, &fx->session, "ends", 10);
	assert_int_equal(claim.count, 1);
	assert_string_equal(claim.jobs[0]->type, "told");
	assert_int_equal(claim.jobs[0]->priority, PRIORITY_HIGH);
	assert_non_null(strstr(claim.jobs[0]->payload, "\"total\":3,\"done\":3"));
	assert_non_null(strstr(claim.jobs[0]->payload, ",\"x\":1}"));
}

static void the_failed_are_retried(struct fixture *fx)
{
	struct uuid id = three_jobs(fx);
	int64_t count;

	end_one(fx, JOB_COMPLETED);
	end_one(fx, JOB_DISCARDED);
	end_one(fx, JOB_DISCARDED);
	counts_are(fx, &id, 1, 2, 0);
	assert_int_equal(sweep(fx).ended, 1);
	assert_int_equal(look(fx, &id).state, BATCH_FAILED);
	assert_int_equal(claim_as(fx, fx->store, &fx->session, "ends", 10).count, 1);
	check_store(fx, batch_retry(fx->store, NULL, &id, NULL, &count, &fx->error));
	assert_int_equal(count, 2);
	counts_are(fx, &id, 1, 0, 0);
	assert_int_equal(look(fx, &id).state, BATCH_RUNNING);
	assert_int_equal(sweep(fx).ended, 0);
	end_one(fx, JOB_COMPLETED);
	end_one(fx, JOB_COMPLETED);
	assert_int_equal(sweep(fx).ended, 1);
	counts_are(fx, &id, 3, 0, 0);
	assert_int_equal(look(fx, &id).state, BATCH_COMPLETED);
	assert_int_equal(claim_as(fx, fx->store, &fx->session, "ends", 10).count, 1);
	check_store(fx, batch_retry(fx->store, NULL, &id, NULL, &count, &fx->error));
	assert_int_equal(count, 0);
	assert_int_equal(look(fx, &id).state, BATCH_COMPLETED);
}

/* Every way that a job ends or comes back is counted. */
static void single_jobs_are_counted(struct fixture *fx)
{
	struct uuid id = three_jobs(fx), one;
	enum job_state state;
	struct claimed_job *got = claim_one(fx);
	struct completion item = a_retry(got, 0);

	assert_int_equal(commit_one(fx, &item), COMPLETION_COMMITTED);
	counts_are(fx, &id, 0, 0, 0);
	one = got->id;
	check_store(fx, control_cancel(fx->store, NULL, &one, "x", &state, &fx->error));
	counts_are(fx, &id, 0, 0, 1);
	check_store(fx, control_retry(fx->store, NULL, &one, &state, &fx->error));
	counts_are(fx, &id, 0, 0, 0);
	for (int i = 0; i < 3; i++) {
		item = a_finish(claim_one(fx), JOB_COMPLETED);
		check_store(fx, commit_items(fx, fx->store, COMPLETION_CAREFUL, &item, 1));
		check_store(fx, commit_items(fx, fx->store, COMPLETION_CAREFUL, &item, 1));
	}
	counts_are(fx, &id, 3, 0, 0);
}

static void a_batch_can_be_cancelled(struct fixture *fx)
{
	struct uuid id = three_jobs(fx);
	struct claimed_job *running = claim_one(fx);
	struct batch_swept swept;
	bool asked = false;
	int64_t count;

	check_store(fx, batch_cancel(fx->store, NULL, &id, NULL, &fx->error));
	swept = sweep(fx);
	assert_int_equal(swept.cancelled_count, 2);
	assert_true(swept.told);
	counts_are(fx, &id, 0, 0, 2);
	check_store(fx, control_cancels(fx->store, &running->id, 1, &asked, &fx->error));
	assert_true(asked);
	finish_job(fx, running, JOB_CANCELLED);
	counts_are(fx, &id, 0, 0, 3);
	assert_int_equal(look(fx, &id).state, BATCH_CANCELLED);
	assert_true(look(fx, &id).finished_ms > 0);
	assert_int_equal(sweep(fx).cancelled_count, 0);
	assert_int_equal(claim_as(fx, fx->store, &fx->session, "ends", 10).count, 0);
	assert_int_equal(batch_cancel(fx->store, NULL, &id, NULL, &fx->error), -1);
	assert_int_equal(fx->error.code, ERROR_CONFLICT);
	assert_int_equal(batch_retry(fx->store, NULL, &id, NULL, &count, &fx->error), -1);
	assert_int_equal(fx->error.code, ERROR_CONFLICT);
}

static void a_cancelled_one_is_not_fed(struct fixture *fx)
{
	struct batch_new batch = a_batch();
	struct batch_work work;
	struct uuid feeder;

	uuid_v7(&feeder);
	begin(fx, &batch);
	assert_true(take(fx, &feeder, &work));
	check_store(fx, batch_cancel(fx->store, NULL, &batch.id, NULL, &fx->error));
	assert_int_equal(
		feed(fx, (struct batch_chunk){ .id = batch.id, .feeder = feeder, .position = "a" },
		     1),
		ACCEPTANCE_STALE);
	assert_false(take(fx, &feeder, &work));
}

static void an_empty_one_ends(struct fixture *fx)
{
	struct batch_new batch = a_batch();

	batch.pushed = true;
	begin(fx, &batch);
	assert_int_equal(feed(fx,
			      (struct batch_chunk){ .id = batch.id,
						    .position_before = "0",
						    .position = "1",
						    .last = true },
			      0),
			 ACCEPTANCE_ACCEPTED);
	assert_int_equal(sweep(fx).ended, 1);
	assert_int_equal(look(fx, &batch.id).state, BATCH_COMPLETED);
}

static void lists_have_a_reach(struct fixture *fx)
{
	struct batch_filter filter = { .limit = 10 };
	struct batch_view *views;
	struct uuid id = three_jobs(fx);
	struct batch_new other = a_batch();
	size_t count;

	other.tenant = "acme";
	begin(fx, &other);
	check_store(fx, batch_list(fx->store, &filter, fx->arena, &views, &count, &fx->error));
	assert_int_equal(count, 2);
	assert_uuid(&views[0].id, &other.id);
	filter.reach.tenant = "";
	check_store(fx, batch_list(fx->store, &filter, fx->arena, &views, &count, &fx->error));
	assert_int_equal(count, 1);
	assert_uuid(&views[0].id, &id);
	filter.before = id;
	check_store(fx, batch_list(fx->store, &filter, fx->arena, &views, &count, &fx->error));
	assert_int_equal(count, 0);
	filter = (struct batch_filter){ .state = BATCH_FEEDING, .limit = 10 };
	check_store(fx, batch_list(fx->store, &filter, fx->arena, &views, &count, &fx->error));
	assert_int_equal(count, 1);
	assert_int_equal(batch_get(fx->store, &(struct reach){ .tenant = "" }, &other.id, fx->arena,
				   views, &fx->error),
			 -1);
	assert_int_equal(fx->error.code, ERROR_NOT_FOUND);
}

#define CASE(name)          \
	{                   \
#name, name \
	}

int main(void)
{
	static const struct store_case cases[] = {
		CASE(a_chunk_is_stored_once),   CASE(one_feeds_at_a_time),
		CASE(a_lease_runs_out),         CASE(rows_may_be_pushed),
		CASE(a_tick_has_one_batch),     CASE(the_end_is_told_once),
		CASE(the_failed_are_retried),   CASE(single_jobs_are_counted),
		CASE(a_batch_can_be_cancelled), CASE(a_cancelled_one_is_not_fed),
		CASE(an_empty_one_ends),        CASE(lists_have_a_reach),
	};

	return store_cases_run("store_batch", cases, ARRAY_LEN(cases));
}
