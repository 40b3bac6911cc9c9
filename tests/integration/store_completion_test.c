/* SPDX-License-Identifier: Apache-2.0 */
/* The contract of a store, part two: completions. Who wins, what is undone with whom, what
 * survives, and that repeating a commit whose answer was lost is harmless. Every case runs on every
 * store (store_fixture.h). The effects table has no unique constraint: a doubled effect would show.
 */
#include "tests/integration/store_fixture.h"

static void done_with_result(struct fixture *fx)
{
	struct new_job job = a_job("mail");
	struct completion item;
	struct job_view view;

	accept_job(fx, job);
	item = a_finish(claim_one(fx), JOB_COMPLETED);
	item.result = "{\"sent\":true}";
	with_effect(fx, &item, "sent");
	assert_int_equal(commit_one(fx, &item), COMPLETION_COMMITTED);
	view = view_of(fx, &job.id);
	assert_int_equal(view.state, JOB_COMPLETED);
	assert_string_equal(view.result, "{\"sent\":true}");
	assert_int_equal(view.attempt, 1);
	assert_true(view.finished_ms > 0);
	assert_int_equal(effects(fx, "sent"), 1);
}

static void attempts_count(struct fixture *fx)
{
	struct new_job job = a_job("mail");
	struct claimed_job *got;
	struct completion item;
	struct job_view view;

	accept_job(fx, job);
	item = a_retry(claim_one(fx), 0);
	assert_int_equal(commit_one(fx, &item), COMPLETION_COMMITTED);
	got = claim_one(fx);
	assert_int_equal(got->attempt, 2);
	assert_int_equal(got->failures, 1);
	assert_int_equal(got->strikes, 0);
	item = a_retry(got, 0);
	item.outcome = OUTCOME_CRASHED;
	assert_int_equal(commit_one(fx, &item), COMPLETION_COMMITTED);
	got = claim_one(fx);
	assert_int_equal(got->failures, 2);
	assert_int_equal(got->strikes, 1);
	item = a_retry(got, 0);
	item.outcome = OUTCOME_SNOOZE;
	item.counts = false;
	assert_int_equal(commit_one(fx, &item), COMPLETION_COMMITTED);
	got = claim_one(fx);
	assert_int_equal(got->attempt, 4);
	assert_int_equal(got->failures, 2);
	item = a_retry(got, 0);
	item.outcome = OUTCOME_RELEASED;
	item.counts = false;
	assert_int_equal(commit_one(fx, &item), COMPLETION_COMMITTED);
	view = view_of(fx, &job.id);
	assert_int_equal(view.attempt, 4);
	assert_int_equal(view.attempt_count, 3); /* a release leaves no row */
	assert_int_equal(view.attempts[1].outcome, OUTCOME_CRASHED);
	assert_string_equal(view.attempts[0].reason, "not now");
}

static void retry_waits(struct fixture *fx)
{
	struct new_job job = a_job("mail");
	struct completion item;

	accept_job(fx, job);
	item = a_retry(claim_one(fx), 200);
	assert_int_equal(commit_one(fx, &item), COMPLETION_COMMITTED);
	assert_int_equal(state_of(fx, &job.id), JOB_RETRYABLE);
	assert_string_equal(view_of(fx, &job.id).reason, "not now");
	assert_int_equal(claim_some(fx, 1).count, 0);
	pause_ms(250);
	promote(fx, 1);
	assert_int_equal(claim_this(fx, &job.id)->attempt, 2);
}

/* A session ran out, its job was handed to another; the first one comes back. */
static struct claimed_job *zombie(struct fixture *fx, struct claimed_job **second_r)
{
	struct uuid dead;
	struct claim claim;
	int64_t released;

	uuid_v7(&dead);
	renew(fx, &dead, 60000);
	claim = claim_as(fx, fx->other, &dead, "q", 1);
	assert_int_equal(claim.count, 1);
	check_store(fx, session_end(fx->store, &dead, &released, &fx->error));
	assert_int_equal(released, 1);
	*second_r = claim_one(fx);
	assert_uuid(&(*second_r)->id, &claim.jobs[0]->id);
	assert_int_equal((*second_r)->attempt, 2);
	return claim.jobs[0];
}

static void first_to_finish_wins(struct fixture *fx)
{
	struct new_job job = a_job("mail");
	struct claimed_job *first, *second;
	struct completion items[2];

	accept_job(fx, job);
	first = zombie(fx, &second);
	items[0] = a_finish(second, JOB_COMPLETED);
	with_effect(fx, &items[0], "second");
	assert_int_equal(commit_one(fx, &items[0]), COMPLETION_COMMITTED);
	items[1] = a_finish(first, JOB_COMPLETED);
	with_effect(fx, &items[1], "first");
	check_store(fx, commit_items(fx, fx->other, COMPLETION_OPTIMISTIC, &items[1], 1));
	assert_int_equal(items[1].fate, COMPLETION_LOST);
	assert_int_equal(effects(fx, NULL), 1);
	assert_int_equal(effects(fx, "second"), 1);
}

static void zombie_may_win(struct fixture *fx)
{
	struct new_job job = a_job("mail");
	struct claimed_job *first, *second;
	struct completion items[3];

	accept_job(fx, job);
	first = zombie(fx, &second);
	items[0] = a_finish(first, JOB_COMPLETED);
	with_effect(fx, &items[0], "first");
	assert_int_equal(commit_one(fx, &items[0]), COMPLETION_COMMITTED);
	items[1] = a_retry(second, 0);
	assert_int_equal(commit_one(fx, &items[1]), COMPLETION_LOST);
	items[2] = a_step(second, "reserve", "1");
	with_effect(fx, &items[2], "step");
	assert_int_equal(commit_one(fx, &items[2]), COMPLETION_LOST);
	assert_int_equal(state_of(fx, &job.id), JOB_COMPLETED);
	assert_int_equal(claim_some(fx, 10).count, 0);
	assert_int_equal(effects(fx, NULL), 1);
}

/* It waits again when its former holder finishes it: it must not be handed out afterwards. */
static void finished_while_waiting(struct fixture *fx)
{
	struct new_job job = a_job("mail");
	struct claimed_job *got;
	struct completion item;
	int64_t released;

	accept_job(fx, job);
	got = claim_one(fx);
	check_store(fx, session_end(fx->other, &fx->session, &released, &fx->error));
	renew(fx, &fx->session, 60000);
	assert_int_equal(state_of(fx, &job.id), JOB_AVAILABLE);
	item = a_finish(got, JOB_COMPLETED);
	with_effect(fx, &item, "late");
	assert_int_equal(commit_one(fx, &item), COMPLETION_COMMITTED);
	assert_int_equal(claim_some(fx, 10).count, 0);
	assert_int_equal(queue_of(fx, "q").available, 0);
	assert_int_equal(queue_of(fx, "q").running, 0);
}

static void later_is_fenced_by_the_lease(struct fixture *fx)
{
	struct new_job job = a_job("mail");
	struct claimed_job *first, *second;
	struct completion item;

	accept_job(fx, job);
	first = zombie(fx, &second);
	item = a_retry(first, 0);
	assert_int_equal(commit_one(fx, &item), COMPLETION_LOST);
	assert_int_equal(state_of(fx, &job.id), JOB_RUNNING);
	assert_int_equal(view_of(fx, &job.id).attempt, 2);
	finish_job(fx, second, JOB_COMPLETED);
}

static void steps_commit_once(struct fixture *fx)
{
	struct new_job job = a_job("order");
	struct claimed_job *got;
	struct completion step, again, retry;

	accept_job(fx, job);
	got = claim_one(fx);
	step = a_step(got, "reserve", "{\"n\": 1}");
	with_effect(fx, &step, "reserved");
	assert_int_equal(commit_one(fx, &step), COMPLETION_COMMITTED);
	assert_null(step.stored_step_value);
	assert_int_equal(state_of(fx, &job.id), JOB_RUNNING);
	retry = a_retry(got, 0);
	assert_int_equal(commit_one(fx, &retry), COMPLETION_COMMITTED);
	got = claim_one(fx);
	assert_non_null(got->steps);
	assert_non_null(strstr(got->steps, "\"reserve\""));
	again = a_step(got, "reserve", "2");
	with_effect(fx, &again, "reserved");
	assert_int_equal(commit_one(fx, &again), COMPLETION_COMMITTED);
	assert_non_null(again.stored_step_value);
	assert_non_null(strstr(again.stored_step_value, "1"));
	assert_int_equal(effects(fx, "reserved"), 1);
	assert_non_null(strstr(view_of(fx, &job.id).steps, "\"reserve\""));
}

static void step_of_a_zombie(struct fixture *fx)
{
	struct claimed_job *first, *second;
	struct completion step;

	accept_job(fx, a_job("order"));
	first = zombie(fx, &second);
	step = a_step(first, "reserve", "1");
	with_effect(fx, &step, "reserved");
	assert_int_equal(commit_one(fx, &step), COMPLETION_LOST);
	step = a_step(second, "reserve", "2");
	with_effect(fx, &step, "reserved");
	assert_int_equal(commit_one(fx, &step), COMPLETION_COMMITTED);
	assert_int_equal(effects(fx, "reserved"), 1);
}

static void optimistic_undoes_all(struct fixture *fx)
{
	struct completion items[3];
	struct claim claim;

	for (int i = 0; i < 3; i++)
		accept_job(fx, a_job("mail"));
	claim = claim_some(fx, 3);
	for (size_t i = 0; i < 3; i++) {
		items[i] = a_finish(claim.jobs[i], JOB_COMPLETED);
		with_effect(fx, &items[i], "done");
	}
	with_write(fx, &items[1], SQL_ROWS_ANY, "INSERT INTO no_such_table VALUES (1)", NULL, NULL);
	assert_int_equal(commit_items(fx, fx->store, COMPLETION_OPTIMISTIC, items, 3), -1);
	assert_int_equal(fx->error.code, ERROR_SQL);
	assert_int_equal(items[1].fate, COMPLETION_FAILED);
	assert_int_not_equal(items[0].fate, COMPLETION_COMMITTED);
	assert_int_equal(effects(fx, NULL), 0);
	assert_int_equal(state_of(fx, &claim.jobs[0]->id), JOB_RUNNING);
}

static void optimistic_expectation(struct fixture *fx)
{
	struct completion item;

	accept_job(fx, a_job("mail"));
	item = a_finish(claim_one(fx), JOB_COMPLETED);
	with_effect(fx, &item, "done");
	with_write(fx, &item, 1, "UPDATE effects SET what = 'x' WHERE what = 'nothing'", NULL,
		   NULL);
	assert_int_equal(commit_items(fx, fx->store, COMPLETION_OPTIMISTIC, &item, 1), -1);
	assert_int_equal(fx->error.code, ERROR_CONFLICT);
	assert_int_equal(item.fate, COMPLETION_UNMET);
	assert_int_equal(item.bad_statement, 1);
	assert_int_equal(effects(fx, NULL), 0);
}

static void careful_fates(struct fixture *fx)
{
	struct completion items[5];
	struct claim claim;

	for (int i = 0; i < 5; i++)
		accept_job(fx, a_job("mail"));
	claim = claim_some(fx, 5);
	for (size_t i = 0; i < 5; i++) {
		items[i] = a_finish(claim.jobs[i], JOB_COMPLETED);
		with_effect(fx, &items[i], "done");
	}
	with_write(fx, &items[1], SQL_ROWS_ANY, "INSERT INTO no_such_table VALUES (1)", NULL, NULL);
	with_write(fx, &items[2], 2, "UPDATE effects SET what = what WHERE what = 'nothing'", NULL,
		   NULL);
	with_write(fx, &items[3], SQL_ROWS_ANY, "UPDATE effects SET", NULL, NULL);
	check_store(fx, commit_items(fx, fx->store, COMPLETION_CAREFUL, items, 5));
	assert_int_equal(items[0].fate, COMPLETION_COMMITTED);
	assert_int_equal(items[1].fate, COMPLETION_FAILED);
	assert_int_equal(items[1].bad_statement, 1);
	assert_true(items[1].error.message[0] && items[1].error.sqlstate[0]);
	assert_int_equal(items[2].fate, COMPLETION_UNMET);
	assert_int_equal(items[2].bad_statement, 1);
	assert_int_equal(items[3].fate, COMPLETION_FAILED);
	assert_int_equal(items[4].fate, COMPLETION_COMMITTED);
	assert_int_equal(effects(fx, "done"), 2);
	assert_int_equal(state_of(fx, &claim.jobs[1]->id), JOB_RUNNING);
	assert_int_equal(state_of(fx, &claim.jobs[4]->id), JOB_COMPLETED);
	assert_int_equal(queue_of(fx, "q").running, 3);
	items[1] = a_retry(claim.jobs[1], 0); /* the lease still stands */
	assert_int_equal(commit_one(fx, &items[1]), COMPLETION_COMMITTED);
}

static void deferred_constraints(struct fixture *fx)
{
	struct completion items[3];
	struct claim claim;

	for (int i = 0; i < 4; i++)
		accept_job(fx, a_job("mail"));
	items[0] = a_finish(claim_one(fx), JOB_COMPLETED);
	with_write(fx, &items[0], SQL_ROWS_ANY, "CREATE TABLE parents (id TEXT PRIMARY KEY)", NULL,
		   NULL);
	with_write(
		fx, &items[0], SQL_ROWS_ANY,
		"CREATE TABLE children (parent TEXT REFERENCES parents (id) DEFERRABLE INITIALLY DEFERRED)",
		NULL, NULL);
	assert_int_equal(commit_one(fx, &items[0]), COMPLETION_COMMITTED);
	claim = claim_some(fx, 3);
	for (size_t i = 0; i < 3; i++) {
		items[i] = a_finish(claim.jobs[i], JOB_COMPLETED);
		with_effect(fx, &items[i], "done");
	}
	with_write(fx, &items[0], 1, "INSERT INTO children VALUES ($1)", "missing", NULL);
	with_write(fx, &items[1], 1, "INSERT INTO children VALUES ($1)", "p1", NULL);
	with_write(fx, &items[1], 1, "INSERT INTO parents VALUES ($1)", "p1", NULL);
	assert_int_equal(commit_items(fx, fx->store, COMPLETION_OPTIMISTIC, items, 3), -1);
	assert_int_equal(fx->error.code, ERROR_SQL);
	assert_int_equal(effects(fx, "done"), 0);
	check_store(fx, commit_items(fx, fx->store, COMPLETION_CAREFUL, items, 3));
	assert_int_equal(items[0].fate, COMPLETION_FAILED);
	assert_string_equal(items[0].error.sqlstate, "23503");
	assert_int_equal(items[1].fate, COMPLETION_COMMITTED);
	assert_int_equal(items[2].fate, COMPLETION_COMMITTED);
	assert_int_equal(effects(fx, "done"), 2);
}

static void write_sets_of_all_kinds(struct fixture *fx)
{
	static const struct sql_value args[] = {
		{ .kind = SQL_BLOB, .data = "\0\1\2", .bytes = 3 },
		{ .kind = SQL_BOOL, .i = 1 },
		{ .kind = SQL_INT, .i = INT64_MIN },
		{ .kind = SQL_FLOAT, .d = 0.1 },
		{ .kind = SQL_NULL },
		{ .kind = SQL_TEXT, .data = "it's", .bytes = 4 },
	};
	const char *create =
		store_is_sqlite(fx->store)
			? "CREATE TABLE parents (b BLOB, t BOOLEAN, i INTEGER, f REAL, n INTEGER, s TEXT)"
			: "CREATE TABLE parents (b bytea, t boolean, i bigint, f double precision, n int, s text)";
	struct sql_statement insert = {
		.sql = "INSERT INTO parents (s, n, f, i, t, b) VALUES ($6, $5, $4, $3, $2, $1)",
		.args = args,
		.arg_count = 6,
		.rows = 1
	};
	struct completion item;

	accept_job(fx, a_job("mail"));
	accept_job(fx, a_job("mail"));
	item = a_finish(claim_one(fx), JOB_COMPLETED);
	with_write(fx, &item, SQL_ROWS_ANY, create, NULL, NULL);
	assert_int_equal(commit_one(fx, &item), COMPLETION_COMMITTED);
	item = a_finish(claim_one(fx), JOB_COMPLETED);
	item.writes = (struct write_set){ .statements = &insert, .statement_count = 1 };
	assert_int_equal(commit_one(fx, &item), COMPLETION_COMMITTED);
	assert_string_equal(read_value(fx, "SELECT i FROM parents"), "-9223372036854775808");
	assert_string_equal(read_value(fx, "SELECT f FROM parents"), "0.1");
	assert_string_equal(read_value(fx, "SELECT n FROM parents"), "null");
	assert_string_equal(read_value(fx, "SELECT s FROM parents"), "\"it's\"");
	assert_string_equal(read_value(fx, "SELECT b FROM parents"), "{\"base64\":\"AAEC\"}");
	assert_string_equal(read_value(fx, "SELECT count(*) FROM parents WHERE t AND n IS NULL"),
			    "1");
}

/* Each job counts up and then writes down what it has counted: no job sees what another one, whose
 * turn is later, has done. */
static void write_sets_are_not_mixed(struct fixture *fx)
{
	static const struct sql_statement statements[] = {
		{ .sql = "UPDATE effects SET what = CAST(CAST(what AS INTEGER) + 1 AS TEXT) WHERE job = "
			 "'counter'",
		  .rows = 1 },
		{ .sql = "INSERT INTO effects SELECT 'invoice', what FROM effects WHERE job = 'counter'",
		  .rows = 1 },
	};
	struct completion items[4];
	struct claim claim;

	accept_job(fx, a_job("mail"));
	items[0] = a_finish(claim_one(fx), JOB_COMPLETED);
	with_write(fx, &items[0], 1, "INSERT INTO effects VALUES ($1, $2)", "counter", "0");
	assert_int_equal(commit_one(fx, &items[0]), COMPLETION_COMMITTED);
	for (size_t i = 0; i < ARRAY_LEN(items); i++)
		accept_job(fx, a_job("mail"));
	claim = claim_some(fx, ARRAY_LEN(items));
	assert_int_equal(claim.count, ARRAY_LEN(items));
	for (size_t i = 0; i < ARRAY_LEN(items); i++) {
		items[i] = a_finish(claim.jobs[i], JOB_COMPLETED);
		items[i].writes = (struct write_set){ .statements = statements,
						      .statement_count = ARRAY_LEN(statements) };
	}
	check_store(fx,
		    commit_items(fx, fx->store, COMPLETION_OPTIMISTIC, items, ARRAY_LEN(items)));
	for (size_t i = 0; i < ARRAY_LEN(items); i++)
		assert_int_equal(items[i].fate, COMPLETION_COMMITTED);
	assert_string_equal(read_value(fx, "SELECT count(DISTINCT what) FROM effects WHERE job = "
					   "'invoice'"),
			    "4");
}

static void receipts_survive(struct fixture *fx)
{
	static const struct receipt receipt = {
		.step = "charge", .status = 200, .body = "{\"id\":7}", .body_bytes = 8
	};
	struct claimed_job *got;
	struct completion item;

	accept_job(fx, a_job("order"));
	got = claim_one(fx);
	item = a_finish(got, JOB_COMPLETED);
	with_write(fx, &item, SQL_ROWS_ANY, "INSERT INTO no_such_table VALUES (1)", NULL, NULL);
	item.receipts = &receipt;
	item.receipt_count = 1;
	check_store(fx, commit_items(fx, fx->store, COMPLETION_CAREFUL, &item, 1));
	assert_int_equal(item.fate, COMPLETION_FAILED);
	item = a_retry(got, 0);
	assert_int_equal(commit_one(fx, &item), COMPLETION_COMMITTED);
	got = claim_one(fx);
	assert_int_equal(got->receipt_count, 1);
	assert_string_equal(got->receipts[0].step, "charge");
	assert_int_equal(got->receipts[0].status, 200);
	assert_int_equal(got->receipts[0].body_bytes, 8);
	assert_memory_equal(got->receipts[0].body, "{\"id\":7}", 8);
}

static void follow_ups(struct fixture *fx)
{
	struct new_job next[2] = { a_job("next"), a_job("next") };
	struct completion item;

	next[0].queue = "q2";
	next[1].queue = "q2";
	next[1].delay_ms = 60000;
	accept_job(fx, a_job("mail"));
	item = a_finish(claim_one(fx), JOB_COMPLETED);
	item.writes = (struct write_set){ .follow_ups = next, .follow_up_count = 2 };
	assert_int_equal(commit_one(fx, &item), COMPLETION_COMMITTED);
	assert_int_equal(commit_one(fx, &item), COMPLETION_COMMITTED);
	assert_int_equal(state_of(fx, &next[0].id), JOB_AVAILABLE);
	assert_int_equal(state_of(fx, &next[1].id), JOB_SCHEDULED);
	assert_int_equal(claim_as(fx, fx->store, &fx->session, "q2", 10).count, 1);
}

static void follow_ups_of_a_failure(struct fixture *fx)
{
	struct new_job next = a_job("next");
	struct completion item;
	struct job_view view;

	accept_job(fx, a_job("mail"));
	item = a_finish(claim_one(fx), JOB_DISCARDED);
	item.writes = (struct write_set){ .follow_ups = &next, .follow_up_count = 1 };
	assert_int_equal(commit_one(fx, &item), COMPLETION_COMMITTED);
	assert_int_equal(query_job(fx->store, NULL, &next.id, fx->arena, &view, &fx->error), -1);
	assert_int_equal(fx->error.code, ERROR_NOT_FOUND);
}

static void with_types(struct fixture *fx)
{
	static const struct store_type types[] = {
		{ .name = "order",
		  .queue = "q",
		  .priority = PRIORITY_NORMAL,
		  .on_discard = "order.release" },
		{ .name = "order.release", .queue = "repair", .priority = PRIORITY_HIGH },
	};

	check_store(fx, store_sync_types(fx->store, types, 2, &fx->error));
	check_store(fx, store_sync_types(fx->store, types, 2, &fx->error));
}

static void on_discard_after_a_step(struct fixture *fx)
{
	static const struct receipt receipt = {
		.step = "charge", .status = 201, .body = "ok", .body_bytes = 2
	};
	struct new_job job = a_job("order");
	struct claimed_job *got;
	struct completion item;
	struct claim claim;
	char id[UUID_TEXT];

	with_types(fx);
	job.payload = "{\"n\": 5}";
	job.payload_bytes = strlen(job.payload);
	accept_job(fx, job);
	got = claim_one(fx);
	item = a_step(got, "reserve", "{\"units\": 5}");
	item.receipts = &receipt;
	item.receipt_count = 1;
	assert_int_equal(commit_one(fx, &item), COMPLETION_COMMITTED);
	finish_job(fx, got, JOB_DISCARDED);
	claim = claim_as(fx, fx->store, &fx->session, "repair", 10);
	assert_int_equal(claim.count, 1);
	assert_string_equal(claim.jobs[0]->type, "order.release");
	assert_int_equal(claim.jobs[0]->priority, PRIORITY_HIGH);
	assert_non_null(strstr(claim.jobs[0]->payload, uuid_format(&job.id, id)));
	assert_non_null(strstr(claim.jobs[0]->payload, "\"reserve\""));
	assert_non_null(strstr(claim.jobs[0]->payload, "\"charge\""));
	assert_non_null(strstr(claim.jobs[0]->payload, "\"discarded\""));
	assert_non_null(strstr(claim.jobs[0]->payload, "no good"));
	/* The answer may get lost: the same end makes no second one. */
	item = a_finish(got, JOB_DISCARDED);
	assert_int_equal(commit_one(fx, &item), COMPLETION_COMMITTED);
	assert_int_equal(claim_as(fx, fx->store, &fx->session, "repair", 10).count, 0);
}

/* What the last attempt called is in the same transaction as its end, and part of what has to be
 * undone. */
static void on_discard_knows_the_last_calls(struct fixture *fx)
{
	static const struct receipt receipt = {
		.step = "charge", .status = 201, .body = "ok", .body_bytes = 2
	};
	static const enum completion_mode modes[] = { COMPLETION_OPTIMISTIC, COMPLETION_CAREFUL };

	with_types(fx);
	for (size_t i = 0; i < ARRAY_LEN(modes); i++) {
		struct claimed_job *got;
		struct completion item;
		struct claim claim;

		accept_job(fx, a_job("order"));
		got = claim_one(fx);
		item = a_step(got, "reserve", "{}");
		assert_int_equal(commit_one(fx, &item), COMPLETION_COMMITTED);
		item = a_finish(got, i ? JOB_CANCELLED : JOB_DISCARDED);
		item.receipts = &receipt;
		item.receipt_count = 1;
		check_store(fx, commit_items(fx, fx->store, modes[i], &item, 1));
		assert_int_equal(item.fate, COMPLETION_COMMITTED);
		claim = claim_as(fx, fx->store, &fx->session, "repair", 10);
		assert_int_equal(claim.count, 1);
		assert_non_null(strstr(claim.jobs[0]->payload, "\"charge\""));
	}
}

static void no_on_discard_without_a_step(struct fixture *fx)
{
	with_types(fx);
	accept_job(fx, a_job("order"));
	finish_job(fx, claim_one(fx), JOB_DISCARDED);
	assert_int_equal(claim_as(fx, fx->store, &fx->session, "repair", 10).count, 0);
}

static void no_on_discard_when_completed(struct fixture *fx)
{
	struct claimed_job *got;
	struct completion item;

	with_types(fx);
	accept_job(fx, a_job("order"));
	got = claim_one(fx);
	item = a_step(got, "reserve", "1");
	assert_int_equal(commit_one(fx, &item), COMPLETION_COMMITTED);
	finish_job(fx, got, JOB_COMPLETED);
	assert_int_equal(claim_as(fx, fx->store, &fx->session, "repair", 10).count, 0);
}

/* What the caller does after ERROR_UNKNOWN when the commit had in truth happened. */
static void repeating_is_harmless(struct fixture *fx)
{
	struct completion items[3];
	struct claim claim;

	for (int i = 0; i < 3; i++)
		accept_job(fx, a_job("mail"));
	claim = claim_some(fx, 3);
	items[0] = a_finish(claim.jobs[0], JOB_COMPLETED);
	with_effect(fx, &items[0], "done");
	items[1] = a_retry(claim.jobs[1], 0);
	items[2] = a_step(claim.jobs[2], "reserve", "1");
	with_effect(fx, &items[2], "step");
	for (int i = 0; i < 3; i++) {
		check_store(fx, commit_items(fx, i == 1 ? fx->other : fx->store,
					     COMPLETION_OPTIMISTIC, items, 3));
		for (size_t k = 0; k < 3; k++)
			assert_int_equal(items[k].fate, COMPLETION_COMMITTED);
	}
	assert_int_equal(effects(fx, "done"), 1);
	assert_int_equal(effects(fx, "step"), 1);
	assert_int_equal(view_of(fx, &claim.jobs[1]->id).attempt_count, 1);
	assert_int_equal(claim_some(fx, 10).count, 1);
}

static void next_claim_in_the_same_commit(struct fixture *fx)
{
	const char *queue = "q";
	struct claim_cursor *cursor = claim_cursor_new();
	struct claim_request request = { .session = fx->session,
					 .queues = &queue,
					 .queue_count = 1,
					 .max = 2,
					 .cursor = cursor };
	struct claim first, second, nothing;
	struct completion items[2];
	struct completion *list[2] = { &items[0], &items[1] };
	struct completion_batch batch = {
		.items = list, .count = 2, .finished_lease_count = 1, .claim = &request
	};

	for (int i = 0; i < 4; i++)
		accept_job(fx, a_job("mail"));
	first = claim_some(fx, 2);
	for (size_t i = 0; i < 2; i++)
		items[i] = a_finish(first.jobs[i], JOB_COMPLETED);
	batch.finished_leases = &first.jobs[0]->batch;
	uuid_v7(&request.batch);
	check_store(fx, completion_commit(fx->store, &batch, fx->arena, &second, &fx->error));
	hold(fx, &second);
	assert_int_equal(second.count, 2);
	assert_uuid(&second.jobs[0]->batch, &request.batch);
	for (size_t i = 0; i < 2; i++)
		items[i] = a_finish(second.jobs[i], JOB_COMPLETED);
	batch.finished_leases = &second.jobs[0]->batch;
	uuid_v7(&request.batch);
	check_store(fx, completion_commit(fx->store, &batch, fx->arena, &nothing, &fx->error));
	assert_int_equal(nothing.count, 0);
	assert_int_equal(queue_of(fx, "q").running, 0);
	claim_cursor_free(&cursor);
}

static void progress_newest_wins(struct fixture *fx)
{
	struct progress progress = { .attempt = 1, .part = 0.25, .note = "a quarter" };
	struct claimed_job *got;
	struct job_view view;

	accept_job(fx, a_job("mail"));
	got = claim_one(fx);
	progress.id = got->id;
	check_store(fx, progress_save(fx->store, &progress, 1, &fx->error));
	progress.part = 0.5;
	progress.note = NULL;
	check_store(fx, progress_save(fx->store, &progress, 1, &fx->error));
	view = view_of(fx, &got->id);
	assert_true(view.progress == 0.5);
	assert_null(view.progress_note);
	progress.attempt = 0;
	progress.part = 0.9;
	check_store(fx, progress_save(fx->store, &progress, 1, &fx->error));
	assert_true(view_of(fx, &got->id).progress == 0.5);
}

static const struct store_case cases[] = {
	{ "done_with_result", done_with_result },
	{ "attempts_count", attempts_count },
	{ "retry_waits", retry_waits },
	{ "first_to_finish_wins", first_to_finish_wins },
	{ "zombie_may_win", zombie_may_win },
	{ "finished_while_waiting", finished_while_waiting },
	{ "later_is_fenced_by_the_lease", later_is_fenced_by_the_lease },
	{ "steps_commit_once", steps_commit_once },
	{ "step_of_a_zombie", step_of_a_zombie },
	{ "optimistic_undoes_all", optimistic_undoes_all },
	{ "optimistic_expectation", optimistic_expectation },
	{ "careful_fates", careful_fates },
	{ "deferred_constraints", deferred_constraints },
	{ "write_sets_of_all_kinds", write_sets_of_all_kinds },
	{ "write_sets_are_not_mixed", write_sets_are_not_mixed },
	{ "receipts_survive", receipts_survive },
	{ "follow_ups", follow_ups },
	{ "follow_ups_of_a_failure", follow_ups_of_a_failure },
	{ "on_discard_after_a_step", on_discard_after_a_step },
	{ "on_discard_knows_the_last_calls", on_discard_knows_the_last_calls },
	{ "no_on_discard_without_a_step", no_on_discard_without_a_step },
	{ "no_on_discard_when_completed", no_on_discard_when_completed },
	{ "repeating_is_harmless", repeating_is_harmless },
	{ "next_claim_in_the_same_commit", next_claim_in_the_same_commit },
	{ "progress_newest_wins", progress_newest_wins },
};

int main(void)
{
	return store_cases_run("store_completion", cases, ARRAY_LEN(cases));
}
