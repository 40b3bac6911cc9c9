/* SPDX-License-Identifier: Apache-2.0 */
/* The contract of a store, the part for what comes from a broker and goes to one: messages of
 * somebody else, results, positions in logs. Every case runs on every store. The effects table has
 * no unique constraint: a doubled effect would show. */
#include "tests/integration/store_broker_words.h"

/* ---- jobs that came as messages */

static void completed_message_leaves_one_row(struct fixture *fx)
{
	struct claimed_job *job = new_message(fx), *again = a_message(fx, &job->id);
	struct completion item = a_finish(job, JOB_COMPLETED), twin;
	struct job_view view, finished;
	bool found;

	assert_int_equal(admit_foreign(fx, &job->id), ADMISSION_RUN);
	item.result = "{\"ok\":true}";
	with_effect(fx, &item, "paid");
	assert_int_equal(commit_one(fx, &item), COMPLETION_COMMITTED);
	assert_int_equal(commit_one(fx, &item), COMPLETION_COMMITTED); /* unanswered COMMIT */
	twin = a_finish(again, JOB_COMPLETED);
	with_effect(fx, &twin, "paid");
	assert_int_equal(commit_one(fx, &twin), COMPLETION_LOST);
	assert_int_equal(effects(fx, "paid"), 1);
	assert_int_equal(admit_foreign(fx, &job->id), ADMISSION_KNOWN);
	view = view_of(fx, &job->id);
	assert_int_equal(view.state, JOB_COMPLETED);
	assert_string_equal(view.source, "partner");
	assert_string_equal(view.type, "order");
	assert_string_equal(view.owner, "source:partner");
	assert_string_equal(view.tenant, "");
	assert_string_equal(view.result, "{\"ok\":true}");
	assert_null(view.payload);
	assert_true(view.finished_ms > 0 && view.created_ms > 0);
	assert_int_equal(queue_of(fx, "q").available, 0);
	check_store(fx, query_finished(fx->other, &job->id, 1, fx->arena, &found, &finished,
				       &fx->error));
	assert_true(found);
	assert_int_equal(finished.state, JOB_COMPLETED);
	assert_string_equal(finished.type, "order");
	assert_string_equal(finished.source, "partner");
	assert_string_equal(finished.owner, "source:partner");
	assert_non_null(finished.queue);
}

static void foreign_jobs_have_the_default_tenant(struct fixture *fx)
{
	static const struct reach_rule order[] = { { .type = "ord*" } },
				       other[] = { { .type = "x" } };
	const struct reach ours = { .tenant = "", .rules = order, .rule_count = 1 },
			   acme = { .tenant = "acme" }, others = { .owner = "web" },
			   rules = { .rules = other, .rule_count = 1 };
	struct claimed_job *job = new_message(fx);
	struct job_view view;

	finish_job(fx, job, JOB_COMPLETED);
	assert_int_equal(query_job(fx->other, &others, &job->id, fx->arena, &view, &fx->error), -1);
	assert_int_equal(query_job(fx->other, &rules, &job->id, fx->arena, &view, &fx->error), -1);
	check_store(fx, query_job(fx->other, &ours, &job->id, fx->arena, &view, &fx->error));
	assert_int_equal(query_job(fx->other, &acme, &job->id, fx->arena, &view, &fx->error), -1);
	assert_int_equal(fx->error.code, ERROR_NOT_FOUND);
}

static void failed_message_becomes_a_job(struct fixture *fx)
{
	struct claimed_job *job = new_message(fx), *again = a_message(fx, &job->id), *retried;
	struct completion item = a_retry(job, 50), twin = a_retry(again, 50);
	struct job_view view;

	assert_int_equal(commit_one(fx, &item), COMPLETION_COMMITTED);
	assert_int_equal(commit_one(fx, &item), COMPLETION_COMMITTED); /* unanswered COMMIT */
	assert_int_equal(commit_one(fx, &twin), COMPLETION_LOST);
	twin = a_finish(again, JOB_DISCARDED);
	assert_int_equal(commit_one(fx, &twin), COMPLETION_LOST);
	view = view_of(fx, &job->id);
	assert_int_equal(view.state, JOB_RETRYABLE);
	assert_int_equal(view.attempt, 1);
	assert_string_equal(view.payload, job->payload);
	assert_string_equal(view.owner, "source:partner");
	assert_string_equal(view.type, "order");
	assert_string_equal(view.tags, "[\"a\"]");
	assert_int_equal(view.max_attempts, 4);
	assert_null(view.source);
	assert_int_equal(view.attempt_count, 1);
	assert_int_equal(queue_of(fx, "q").scheduled, 1);
	assert_int_equal(admit_foreign(fx, &job->id), ADMISSION_KNOWN);
	pause_ms(100);
	promote(fx, 1);
	retried = claim_this(fx, &job->id);
	assert_int_equal(retried->attempt, 2);
	assert_int_equal(retried->failures, 1);
	assert_true(retried->unchecked);
	assert_null(retried->source);
	assert_string_equal(retried->traceparent, "00-1-2-01");
	finish_job(fx, retried, JOB_COMPLETED);
	assert_int_equal(state_of(fx, &job->id), JOB_COMPLETED);
}

/* A redelivery that has run meanwhile may complete it: nobody runs it once more. */
static void redelivery_may_win(struct fixture *fx)
{
	struct claimed_job *job = new_message(fx), *again = a_message(fx, &job->id);
	struct completion item = a_retry(job, 0), twin = a_finish(again, JOB_COMPLETED);

	assert_int_equal(commit_one(fx, &item), COMPLETION_COMMITTED);
	assert_int_equal(commit_one(fx, &twin), COMPLETION_COMMITTED);
	assert_int_equal(state_of(fx, &job->id), JOB_COMPLETED);
	assert_int_equal(claim_some(fx, 10).count, 0);
	twin = a_retry(again, 0);
	assert_int_equal(commit_one(fx, &twin), COMPLETION_LOST);
}

static void released_message_is_stored(struct fixture *fx)
{
	struct claimed_job *job = new_message(fx);
	struct completion item = a_retry(job, 0);

	item.outcome = OUTCOME_RELEASED;
	item.counts = false;
	item.reason = NULL;
	assert_int_equal(commit_one(fx, &item), COMPLETION_COMMITTED);
	assert_int_equal(state_of(fx, &job->id), JOB_AVAILABLE);
	assert_int_equal(view_of(fx, &job->id).attempt_count, 0);
	assert_int_equal(queue_of(fx, "q").available, 1);
	assert_int_equal(claim_this(fx, &job->id)->failures, 0);
}

static void dead_letters_are_discarded_jobs(struct fixture *fx)
{
	struct job_filter filter = { .queue = "q", .limit = 10 };

	for (int mode = COMPLETION_OPTIMISTIC; mode <= COMPLETION_CAREFUL; mode++) {
		struct claimed_job *job = new_message(fx);
		struct completion item = a_finish(job, JOB_DISCARDED);
		struct claimed_job *again;
		int64_t moved;

		item.reason = "not JSON";
		check_store(fx, commit_items(fx, fx->store, mode, &item, 1));
		assert_int_equal(item.fate, COMPLETION_COMMITTED);
		check_store(fx, commit_items(fx, fx->store, mode, &item, 1));
		assert_int_equal(item.fate, COMPLETION_COMMITTED);
		assert_int_equal(state_of(fx, &job->id), JOB_DISCARDED);
		assert_string_equal(view_of(fx, &job->id).reason, "not JSON");
		assert_string_equal(view_of(fx, &job->id).payload, job->payload);
		assert_int_equal(view_of(fx, &job->id).attempt_count, 1);
		check_store(fx, control_redrive(fx->other, &filter, 0, false, NULL, &moved,
						&fx->error));
		assert_int_equal(moved, 1);
		again = claim_this(fx, &job->id);
		assert_int_equal(again->attempt, 2);
		finish_job(fx, again, JOB_COMPLETED);
	}
}

static void adopted_message_is_the_workers(struct fixture *fx)
{
	struct claimed_job *job = new_message(fx), *again = a_message(fx, &job->id);
	struct completion item = an_adoption(job), twin = an_adoption(again);

	assert_int_equal(adopt(fx, COMPLETION_OPTIMISTIC, &item), COMPLETION_COMMITTED);
	assert_int_equal(adopt(fx, COMPLETION_OPTIMISTIC, &item), COMPLETION_COMMITTED);
	assert_int_equal(adopt(fx, COMPLETION_OPTIMISTIC, &twin), COMPLETION_LOST);
	assert_int_equal(admit_foreign(fx, &job->id), ADMISSION_KNOWN);
	assert_int_equal(state_of(fx, &job->id), JOB_RUNNING);
	job->batch = item.adopted;
	job->source = NULL;
	item = a_step(job, "one", "1");
	assert_int_equal(commit_one(fx, &item), COMPLETION_COMMITTED);
	item = a_retry(job, 0);
	assert_int_equal(commit_one(fx, &item), COMPLETION_COMMITTED);
	assert_string_equal(claim_this(fx, &job->id)->steps, "{\"one\":1}");
}

/* In one transaction: of each kind one that wins and one that has lost already. */
static void messages_in_one_batch(struct fixture *fx)
{
	for (int mode = COMPLETION_OPTIMISTIC; mode <= COMPLETION_CAREFUL; mode++) {
		struct completion items[8];
		struct completion *list[8];
		struct completion_batch batch = {
			.items = list, .count = 8, .mode = mode, .session = fx->session
		};
		struct claim claim;

		for (size_t i = 0; i < 8; i++) {
			struct claimed_job *job = new_message(fx);

			if (i % 2)
				finish_job(fx, a_message(fx, &job->id), JOB_DISCARDED);
			items[i] = i < 2   ? a_finish(job, JOB_COMPLETED)
				   : i < 4 ? a_finish(job, JOB_DISCARDED)
				   : i < 6 ? a_retry(job, 0)
					   : an_adoption(job);
			list[i] = &items[i];
		}
		with_effect(fx, &items[0], "won");
		with_effect(fx, &items[1], "lost");
		check_store(fx,
			    completion_commit(fx->store, &batch, fx->arena, &claim, &fx->error));
		for (size_t i = 0; i < 8; i++)
			assert_int_equal(items[i].fate,
					 i % 2 ? COMPLETION_LOST : COMPLETION_COMMITTED);
		assert_int_equal(state_of(fx, &items[2].job->id), JOB_DISCARDED);
		assert_int_equal(state_of(fx, &items[4].job->id), JOB_AVAILABLE);
		assert_int_equal(state_of(fx, &items[6].job->id), JOB_RUNNING);
		claim_this(fx, &items[4].job->id);
	}
	assert_int_equal(effects(fx, "won"), 2);
	assert_int_equal(effects(fx, "lost"), 0);
}

static void old_messages_are_refused(struct fixture *fx)
{
	struct uuid id;
	struct claimed_job *job;
	struct completion item;

	uuid_day_floor(1700000000000, &id);
	id.b[15] = 7;
	assert_int_equal(admit_foreign(fx, &id), ADMISSION_TOO_OLD);
	job = a_message(fx, &id);
	item = a_finish(job, JOB_DISCARDED);
	assert_int_equal(commit_one(fx, &item), COMPLETION_COMMITTED);
	assert_int_equal(admit_foreign(fx, &id), ADMISSION_KNOWN);
	check_store(fx, maintenance_retention(fx->store, KEEP_MS, 2 * KEEP_MS, &fx->error));
	assert_int_equal(state_of(fx, &id), JOB_DISCARDED);
}

/* ---- results on their way out */

static const struct result_target target = { .topic = "orders.done", .key = "customer-1" };

static struct completion with_target(struct fixture *fx, enum job_state state)
{
	struct completion item;

	accept_job(fx, a_job("mail"));
	item = a_finish(claim_one(fx), state);
	item.result = "{\"n\":1}";
	item.target = &target;
	return item;
}

static size_t read_outbox(struct fixture *fx, const struct uuid *holder, int64_t hold_ms,
			  struct outbox_item **items_r, bool *held_r)
{
	struct outbox_request request = { .holder = *holder, .hold_ms = hold_ms, .max = 100 };
	size_t count;

	check_store(fx, outbox_read(fx->store, &request, fx->arena, items_r, &count, held_r,
				    &fx->error));
	return count;
}

static int64_t outbox_waits(struct fixture *fx)
{
	int64_t depth;

	check_store(fx, outbox_depth(fx->other, &depth, &fx->error));
	return depth;
}

static void results_go_with_their_job(struct fixture *fx)
{
	struct completion done = with_target(fx, JOB_COMPLETED),
			  bad = with_target(fx, JOB_DISCARDED), message;
	struct result_target routed = { .topic = "r", .exchange = "x", .key = "k" };
	struct outbox_item *items;
	bool held;

	assert_int_equal(commit_one(fx, &done), COMPLETION_COMMITTED);
	assert_int_equal(commit_one(fx, &done), COMPLETION_COMMITTED); /* unanswered COMMIT */
	assert_int_equal(commit_one(fx, &bad), COMPLETION_COMMITTED);
	message = a_finish(new_message(fx), JOB_COMPLETED);
	message.target = &routed;
	assert_int_equal(commit_one(fx, &message), COMPLETION_COMMITTED);
	assert_int_equal(outbox_waits(fx), 2);
	assert_int_equal(read_outbox(fx, &fx->session, 60000, &items, &held), 2);
	assert_true(held);
	assert_true(items[0].n < items[1].n);
	assert_uuid(&items[0].id, &done.job->id);
	assert_string_equal(items[0].type, "mail");
	assert_string_equal(items[0].topic, "orders.done");
	assert_null(items[0].exchange);
	assert_string_equal(items[0].key, "customer-1");
	assert_string_equal(items[0].result, "{\"n\":1}");
	assert_true(items[0].finished_ms > 0);
	assert_string_equal(items[1].exchange, "x");
	assert_string_equal(items[1].type, "order");
	assert_string_equal(items[1].traceparent, "00-1-2-01");
	assert_null(items[1].result);
	check_store(fx, outbox_delete(fx->store, &items[0].n, 1, &fx->error));
	check_store(fx, outbox_delete(fx->store, &items[0].n, 1, &fx->error));
	assert_int_equal(outbox_waits(fx), 1);
	assert_int_equal(read_outbox(fx, &fx->session, 60000, &items, &held), 1);
	assert_uuid(&items[0].id, &message.job->id);
}

/* Nothing is told of what did not happen. */
static void no_result_without_commit(struct fixture *fx)
{
	struct completion lost = with_target(fx, JOB_COMPLETED), items[2];

	check_store(fx, session_release_batch(fx->other, &lost.job->batch, &fx->error));
	finish_job(fx, claim_this(fx, &lost.job->id), JOB_DISCARDED);
	assert_int_equal(commit_one(fx, &lost), COMPLETION_LOST);
	items[0] = with_target(fx, JOB_COMPLETED);
	items[1] = with_target(fx, JOB_COMPLETED);
	with_write(fx, &items[0], 1, "UPDATE effects SET what = 'x' WHERE what = 'none'", NULL,
		   NULL);
	check_store(fx, commit_items(fx, fx->store, COMPLETION_CAREFUL, items, 2));
	assert_int_equal(items[0].fate, COMPLETION_UNMET);
	assert_int_equal(items[1].fate, COMPLETION_COMMITTED);
	assert_int_equal(outbox_waits(fx), 1);
}

static void one_relays_at_a_time(struct fixture *fx)
{
	struct completion item = with_target(fx, JOB_COMPLETED);
	struct outbox_item *items;
	bool held;

	assert_int_equal(commit_one(fx, &item), COMPLETION_COMMITTED);
	assert_int_equal(read_outbox(fx, &fx->session, 300, &items, &held), 1);
	assert_true(held);
	assert_int_equal(read_outbox(fx, &fx->rival, 60000, &items, &held), 0);
	assert_false(held);
	pause_ms(200);
	assert_int_equal(read_outbox(fx, &fx->session, 300, &items, &held), 1);
	pause_ms(200); /* renewed */
	assert_int_equal(read_outbox(fx, &fx->rival, 60000, &items, &held), 0);
	pause_ms(200); /* not heard of */
	assert_int_equal(read_outbox(fx, &fx->rival, 60000, &items, &held), 1);
	assert_true(held);
	assert_int_equal(read_outbox(fx, &fx->session, 300, &items, &held), 0);
	assert_false(held);
}

/* ---- positions */

static int64_t position_of(struct fixture *fx, const char *topic, int partition)
{
	struct position list[2] = { { .group = "g", .topic = "unknown" },
				    { .group = "g", .topic = topic, .partition = partition } };

	check_store(fx, position_load(fx->other, list, 2, &fx->error));
	assert_int_equal(list[0].offset, -1);
	return list[1].offset;
}

static void positions_ride_with_completions(struct fixture *fx)
{
	struct position places[2] = { { "g", "t", 0, 10 }, { "g", "t", 1, 20 } };
	struct completion item = a_finish(new_message(fx), JOB_COMPLETED), *list[] = { &item };
	struct completion_batch batch = { .items = list,
					  .count = 1,
					  .mode = COMPLETION_OPTIMISTIC,
					  .positions = places,
					  .position_count = 2 };
	struct claim claim;

	assert_int_equal(position_of(fx, "t", 0), -1);
	check_store(fx, completion_commit(fx->store, &batch, fx->arena, &claim, &fx->error));
	assert_int_equal(position_of(fx, "t", 0), 10);
	assert_int_equal(position_of(fx, "t", 1), 20);
	places[0].offset = 11;
	item = a_finish(new_message(fx), JOB_COMPLETED);
	with_write(fx, &item, SQL_ROWS_ANY, "INSERT INTO nowhere VALUES (1)", NULL, NULL);
	assert_int_equal(completion_commit(fx->store, &batch, fx->arena, &claim, &fx->error), -1);
	assert_int_equal(position_of(fx, "t", 0), 10);
	batch.mode = COMPLETION_CAREFUL;
	check_store(fx, completion_commit(fx->store, &batch, fx->arena, &claim, &fx->error));
	assert_int_equal(item.fate, COMPLETION_FAILED);
	assert_int_equal(position_of(fx, "t", 0), 11);
}

static void newest_position_counts(struct fixture *fx)
{
	static const int64_t places[] = { 5, 900, 7 }; /* back again: a seek */

	for (size_t i = 0; i < ARRAY_LEN(places); i++) {
		struct position list[2] = { { "g", "t", 0, places[i] }, { "h", "t", 0, 1 } };

		check_store(fx, position_save(fx->store, list, 2, &fx->error));
		assert_int_equal(position_of(fx, "t", 0), places[i]);
	}
	check_store(fx, maintenance_fold(fx->other, &fx->error));
	assert_int_equal(position_of(fx, "t", 0), 7);
	assert_int_equal(position_of(fx, "t", 1), -1);
}

int main(void)
{
	static const struct store_case cases[] = {
		{ "completed_message_leaves_one_row", completed_message_leaves_one_row },
		{ "foreign_jobs_have_the_default_tenant", foreign_jobs_have_the_default_tenant },
		{ "failed_message_becomes_a_job", failed_message_becomes_a_job },
		{ "redelivery_may_win", redelivery_may_win },
		{ "released_message_is_stored", released_message_is_stored },
		{ "dead_letters_are_discarded_jobs", dead_letters_are_discarded_jobs },
		{ "adopted_message_is_the_workers", adopted_message_is_the_workers },
		{ "messages_in_one_batch", messages_in_one_batch },
		{ "old_messages_are_refused", old_messages_are_refused },
		{ "results_go_with_their_job", results_go_with_their_job },
		{ "no_result_without_commit", no_result_without_commit },
		{ "one_relays_at_a_time", one_relays_at_a_time },
		{ "positions_ride_with_completions", positions_ride_with_completions },
		{ "newest_position_counts", newest_position_counts },
	};

	return store_cases_run("store_foreign", cases, ARRAY_LEN(cases));
}
