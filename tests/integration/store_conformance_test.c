/* SPDX-License-Identifier: Apache-2.0 */
/* The contract of a store, part one: acceptance, claims, reads of handlers. Every case runs on
 * every store (store_fixture.h). The effects table has no unique constraint: a doubled effect would
 * show.
 */

#include "tests/integration/store_fixture.h"

/* ---- acceptance */

static void accepted_and_visible(struct fixture *fx)
{
	struct new_job job = a_job("mail");
	struct accepted_job accepted;
	struct job_view view;

	job.payload = "{\"to\": \"ä\"}";
	job.payload_bytes = strlen(job.payload);
	job.tags = "[\"a\",\"b\"]";
	job.max_attempts = 7;
	job.timeout_ms = 1500;
	job.order_key = "o";
	job.fair_key = "f";
	job.traceparent = "00-1-2-01";
	accepted = accept_job(fx, job);
	assert_uuid(&accepted.id, &job.id);
	assert_int_equal(accepted.state, JOB_AVAILABLE);
	view = view_of(fx, &job.id);
	assert_int_equal(view.state, JOB_AVAILABLE);
	assert_string_equal(view.payload, job.payload);
	assert_int_equal(view.payload_bytes, job.payload_bytes);
	assert_string_equal(view.type, "mail");
	assert_string_equal(view.queue, "q");
	assert_string_equal(view.owner, "test");
	assert_int_equal(view.max_attempts, 7);
	assert_int_equal(view.timeout_ms, 1500);
	assert_string_equal(view.order_key, "o");
	assert_string_equal(view.fair_key, "f");
	assert_string_equal(view.traceparent, "00-1-2-01");
	assert_int_equal(view.attempt, 0);
	assert_true(view.progress < 0);
	assert_true(view.created_ms > 0);
}

/* One job of three differs in one thing, as a store may treat what all jobs share as one value. */
static bool vary(struct new_job *job, int what)
{
	const char **const texts[] = { &job->tenant,   &job->owner,      &job->queue,
				       &job->type,     &job->tags,       &job->order_key,
				       &job->fair_key, &job->unique_key, &job->traceparent };
	const int texts_count = (int)ARRAY_LEN(texts);

	if (what < texts_count)
		*texts[what] = what == 4 ? "[\"a\"]" : "other";
	else if (what == texts_count)
		job->priority = PRIORITY_LOW;
	else if (what == texts_count + 1)
		job->delay_ms = 60000;
	else if (what == texts_count + 2)
		job->due_ms = 32503680000000;
	else if (what == texts_count + 3)
		job->max_attempts = 7;
	else if (what == texts_count + 4)
		job->timeout_ms = 1500;
	else if (what == texts_count + 5)
		job->client_id = true;
	else
		return false;
	return true;
}

static void check_text(const char *got, const char *want)
{
	assert_string_equal(got ? got : "none", want ? want : "none");
}

static void check_view(struct fixture *fx, const struct new_job *job)
{
	struct job_view view = view_of(fx, &job->id);
	bool later = job->delay_ms || job->due_ms;

	check_text(view.tenant, job->tenant);
	check_text(view.owner, job->owner);
	check_text(view.queue, job->queue);
	check_text(view.type, job->type);
	check_text(view.tags, job->tags);
	check_text(view.order_key, job->order_key);
	check_text(view.fair_key, job->fair_key);
	check_text(view.unique_key, job->unique_key);
	check_text(view.traceparent, job->traceparent);
	assert_int_equal(view.priority, job->priority);
	assert_int_equal(view.max_attempts, job->max_attempts);
	assert_int_equal(view.timeout_ms, job->timeout_ms);
	assert_int_equal(view.state, later ? JOB_SCHEDULED : JOB_AVAILABLE);
}

static void batches_of_different_jobs(struct fixture *fx)
{
	for (int what = 0;; what++) {
		struct new_job jobs[3] = { a_job("mail"), a_job("mail"), a_job("mail") };
		bool more = vary(&jobs[1], what);
		struct acceptance request = a_request(fx, jobs, 3);

		assert_int_equal(accept_request(fx, &request), ACCEPTANCE_ACCEPTED);
		for (size_t i = 0; i < 3; i++) {
			check_view(fx, &jobs[i]);
			assert_int_equal(request.accepted[i].state, view_of(fx, &jobs[i].id).state);
		}
		if (!more)
			break;
	}
	assert_int_equal(queue_of(fx, "other").available, 1);
	assert_int_equal(queue_of(fx, "q").scheduled, 2);
}

static struct acceptance keyed(struct fixture *fx, struct new_job *jobs, size_t count,
			       const char *key, uint8_t body)
{
	struct acceptance request = a_request(fx, jobs, count);

	request.idempotency_scope = "tenant/key/route";
	request.idempotency_key = key;
	memset(request.fingerprint, body, sizeof(request.fingerprint));
	return request;
}

static void key_is_replayed(struct fixture *fx)
{
	struct new_job first[2] = { a_job("mail"), a_job("mail") },
		       again[2] = { a_job("mail"), a_job("mail") };
	struct acceptance one = keyed(fx, first, 2, "k", 1), two = keyed(fx, again, 2, "k", 1),
			  other = keyed(fx, again, 2, "k", 2);
	struct acceptance elsewhere = keyed(fx, again, 2, "k", 2);

	assert_int_equal(accept_request(fx, &one), ACCEPTANCE_ACCEPTED);
	finish_job(fx, claim_this(fx, &first[0].id), JOB_COMPLETED);
	assert_int_equal(accept_request(fx, &two), ACCEPTANCE_REPLAYED);
	assert_uuid(&two.accepted[0].id, &first[0].id);
	assert_uuid(&two.accepted[1].id, &first[1].id);
	assert_int_equal(two.accepted[0].state, JOB_COMPLETED);
	assert_int_equal(two.accepted[1].state, JOB_AVAILABLE);
	assert_int_equal(accept_request(fx, &other), ACCEPTANCE_KEY_REUSED);
	assert_int_equal(queue_of(fx, "q").available, 1);
	elsewhere.idempotency_scope = "tenant/other/route";
	assert_int_equal(accept_request(fx, &elsewhere), ACCEPTANCE_ACCEPTED);
}

static void client_ids(struct fixture *fx)
{
	struct new_job job = a_job("mail"), other = a_job("mail");
	struct acceptance first, again, changed, foreign;

	job.client_id = true;
	memset(job.fingerprint, 1, sizeof(job.fingerprint));
	first = a_request(fx, &job, 1);
	assert_int_equal(accept_request(fx, &first), ACCEPTANCE_ACCEPTED);
	again = a_request(fx, &job, 1);
	assert_int_equal(accept_request(fx, &again), ACCEPTANCE_REPLAYED);
	assert_uuid(&again.accepted[0].id, &job.id);
	assert_int_equal(again.accepted[0].state, JOB_AVAILABLE);

	struct new_job pair[2] = { other, job };
	memset(pair[1].fingerprint, 2, sizeof(job.fingerprint));
	changed = a_request(fx, pair, 2);
	assert_int_equal(accept_request(fx, &changed), ACCEPTANCE_ID_TAKEN);
	assert_int_equal(changed.bad_index, 1);
	job.owner = "somebody-else"; /* of the same tenant */
	foreign = a_request(fx, &job, 1);
	assert_int_equal(accept_request(fx, &foreign), ACCEPTANCE_ID_TAKEN);
	job.owner = other.owner;
	job.tenant = "somebody-else";
	foreign = a_request(fx, &job, 1);
	assert_int_equal(accept_request(fx, &foreign), ACCEPTANCE_ID_TAKEN);
	assert_int_equal(claim_some(fx, 10).count, 1);
}

static void unique_returns(struct fixture *fx)
{
	struct new_job first = a_job("sync"), second = a_job("sync"), type = a_job("else"),
		       tenant = a_job("sync");
	struct accepted_job got;

	first.unique_key = second.unique_key = type.unique_key = tenant.unique_key = "customer-1";
	tenant.tenant = "t2";
	accept_job(fx, first);
	got = accept_job(fx, second);
	assert_true(got.unique_conflict);
	assert_uuid(&got.id, &first.id);
	assert_int_equal(got.state, JOB_AVAILABLE);
	assert_false(accept_job(fx, type).unique_conflict);
	assert_false(accept_job(fx, tenant).unique_conflict);
	finish_job(fx, claim_this(fx, &first.id), JOB_COMPLETED);
	got = accept_job(fx, second);
	assert_false(got.unique_conflict);
	assert_uuid(&got.id, &second.id);

	/* another's job stays another's when the answer is repeated */
	struct new_job foreign = a_job("sync");
	struct acceptance keyed_one = keyed(fx, &foreign, 1, "u", 1),
			  again = keyed(fx, &foreign, 1, "u", 1);

	foreign.unique_key = "customer-1";
	foreign.owner = "somebody-else";
	assert_int_equal(accept_request(fx, &keyed_one), ACCEPTANCE_ACCEPTED);
	assert_true(keyed_one.accepted[0].unique_conflict);
	assert_int_equal(accept_request(fx, &again), ACCEPTANCE_REPLAYED);
	assert_uuid(&again.accepted[0].id, &second.id);
	assert_true(again.accepted[0].unique_conflict);
}

static void unique_replaces(struct fixture *fx)
{
	struct new_job first = a_job("sync"), second = a_job("sync"), third = a_job("sync");
	struct accepted_job got;

	first.unique_key = second.unique_key = third.unique_key = "customer-1";
	second.unique_conflict = third.unique_conflict = UNIQUE_REPLACE;
	accept_job(fx, first);
	got = accept_job(fx, second);
	assert_false(got.unique_conflict);
	assert_uuid(&got.id, &second.id);
	assert_uuid(&got.replaced, &first.id);
	assert_int_equal(state_of(fx, &first.id), JOB_CANCELLED);
	claim_this(fx, &second.id);
	got = accept_job(fx, third); /* one that runs is not replaced */
	assert_true(got.unique_conflict);
	assert_uuid(&got.id, &second.id);
	assert_true(uuid_is_nil(&got.replaced));
}

static void unique_for_a_time(struct fixture *fx)
{
	struct new_job first = a_job("sync"), second = a_job("sync");

	first.unique_key = second.unique_key = "customer-1";
	first.unique_for_ms = second.unique_for_ms = 400;
	accept_job(fx, first);
	finish_job(fx, claim_this(fx, &first.id), JOB_COMPLETED);
	assert_true(accept_job(fx, second).unique_conflict);
	pause_ms(450);
	assert_false(accept_job(fx, second).unique_conflict);
}

static void batches_are_whole(struct fixture *fx)
{
	enum { COUNT = 3000 };
	struct new_job *jobs = ARENA_ARRAY(fx->arena, struct new_job, COUNT);
	struct acceptance request;

	for (size_t i = 0; i < COUNT; i++)
		jobs[i] = a_job("mail");
	request = a_request(fx, jobs, COUNT);
	assert_int_equal(accept_request(fx, &request), ACCEPTANCE_ACCEPTED);
	assert_int_equal(queue_of(fx, "q").available, COUNT);
	assert_uuid(&claim_one(fx)->id, &jobs[0].id);
}

static void many_requests_one_commit(struct fixture *fx)
{
	struct new_job jobs[4] = { a_job("mail"), a_job("mail"), a_job("mail"), a_job("mail") };
	struct acceptance requests[4];
	struct acceptance *list[4];

	for (size_t i = 0; i < 4; i++) {
		requests[i] = keyed(fx, &jobs[i], 1,
				    i == 0   ? "a"
				    : i == 1 ? "b"
				    : i == 2 ? "c"
					     : "d",
				    1);
		list[i] = &requests[i];
	}
	check_store(fx, acceptance_commit(fx->store, list, 2, &fx->error));
	check_store(fx, acceptance_commit(fx->other, list, 4, &fx->error));
	assert_int_equal(requests[0].verdict, ACCEPTANCE_REPLAYED);
	assert_int_equal(requests[3].verdict, ACCEPTANCE_ACCEPTED);
	assert_int_equal(claim_some(fx, 10).count, 4);
}

/* An id that is there already, not the client's: this request alone is at fault. */
static void one_bad_request(struct fixture *fx)
{
	struct new_job good = a_job("mail"), more = a_job("mail"), twin = a_job("mail");
	struct acceptance requests[3];
	struct acceptance *list[3] = { &requests[0], &requests[1], &requests[2] };

	accept_job(fx, twin);
	requests[0] = a_request(fx, &good, 1);
	requests[1] = a_request(fx, &twin, 1);
	requests[2] = a_request(fx, &more, 1);
	check_store(fx, acceptance_commit(fx->store, list, 3, &fx->error));
	assert_int_equal(requests[0].verdict, ACCEPTANCE_ACCEPTED);
	assert_int_equal(requests[1].verdict, ACCEPTANCE_FAILED);
	assert_int_equal(requests[2].verdict, ACCEPTANCE_ACCEPTED);
	assert_int_equal(claim_some(fx, 10).count, 3);
}

static void probe_tells(struct fixture *fx)
{
	struct new_job stored = a_job("mail"), missing = a_job("mail");
	struct acceptance done = a_request(fx, &stored, 1), never = a_request(fx, &missing, 1);
	struct acceptance *list[] = { &done };
	bool yes = false;

	assert_int_equal(accept_request(fx, &done), ACCEPTANCE_ACCEPTED);
	check_store(fx, acceptance_probe(fx->other, list, 1, &yes, &fx->error));
	assert_true(yes);
	never.verdict = ACCEPTANCE_ACCEPTED;
	never.accepted[0].id = missing.id;
	list[0] = &never;
	check_store(fx, acceptance_probe(fx->other, list, 1, &yes, &fx->error));
	assert_false(yes);
}

/* A batch may name jobs that an earlier one has stored: they prove nothing about this one. */
static void probe_asks_for_every_job(struct fixture *fx)
{
	struct new_job jobs[2] = { a_job("mail"), a_job("mail") };
	struct acceptance half = a_request(fx, jobs, 2);
	struct acceptance *list[] = { &half };
	bool yes = true;

	accept_job(fx, jobs[0]);
	half.verdict = ACCEPTANCE_ACCEPTED;
	half.accepted[0].id = jobs[0].id;
	half.accepted[1].id = jobs[1].id;
	check_store(fx, acceptance_probe(fx->other, list, 1, &yes, &fx->error));
	assert_false(yes);
}

/* ---- claims */

static void order_of_claims(struct fixture *fx)
{
	struct new_job jobs[6];
	static const enum job_priority priorities[] = { PRIORITY_LOW,  PRIORITY_NORMAL,
							PRIORITY_HIGH, PRIORITY_LOW,
							PRIORITY_HIGH, PRIORITY_NORMAL };
	static const size_t want[] = { 2, 4, 1, 5, 0, 3 };
	struct claim claim;

	for (size_t i = 0; i < 6; i++) {
		jobs[i] = a_job("mail");
		jobs[i].priority = priorities[i];
		accept_job(fx, jobs[i]);
	}
	claim = claim_some(fx, 10);
	assert_int_equal(claim.count, 6);
	for (size_t i = 0; i < 6; i++)
		assert_uuid(&claim.jobs[i]->id, &jobs[want[i]].id);
	assert_int_equal(claim.jobs[0]->attempt, 1);
	assert_null(claim.jobs[0]->steps);
	assert_int_equal(claim_some(fx, 10).count, 0);
}

static void claimed_job_is_whole(struct fixture *fx)
{
	struct new_job job = a_job("mail");
	struct claimed_job *got;

	job.payload = "{\"n\": 1}";
	job.payload_bytes = strlen(job.payload);
	job.tenant = "acme";
	job.max_attempts = 3;
	job.timeout_ms = 900;
	job.tags = "[\"x\"]";
	job.traceparent = "00-1-2-01";
	job.order_key = "o";
	job.fair_key = "f";
	accept_job(fx, job);
	got = claim_one(fx);
	assert_string_equal(got->payload, job.payload);
	assert_int_equal(got->payload_bytes, job.payload_bytes);
	assert_string_equal(got->tenant, "acme");
	assert_string_equal(got->owner, "test");
	assert_string_equal(got->queue, "q");
	assert_string_equal(got->type, "mail");
	assert_string_equal(got->traceparent, "00-1-2-01");
	assert_string_equal(got->order_key, "o");
	assert_string_equal(got->fair_key, "f");
	assert_int_equal(got->max_attempts, 3);
	assert_int_equal(got->timeout_ms, 900);
	assert_int_equal(got->priority, PRIORITY_NORMAL);
	assert_true(got->created_ms > 0 && got->due_ms >= got->created_ms);
	assert_false(got->unchecked);
	assert_false(got->cancel_asked);
	assert_int_equal(state_of(fx, &job.id), JOB_RUNNING);
	assert_int_equal(view_of(fx, &job.id).attempt, 1);
}

static void paused_queues_are_skipped(struct fixture *fx)
{
	accept_job(fx, a_job("mail"));
	check_store(fx, control_pause(fx->other, "q", true, NULL, &fx->error));
	assert_true(queue_of(fx, "q").paused);
	assert_int_equal(claim_some(fx, 10).count, 0);
	check_store(fx, control_pause(fx->other, "q", false, NULL, &fx->error));
	assert_int_equal(claim_some(fx, 10).count, 1);
	check_store(fx, control_pause(fx->other, "never-seen", true, NULL, &fx->error));
	assert_true(queue_of(fx, "never-seen").paused);
}

static void queues_share(struct fixture *fx)
{
	static const char *const queues[] = { "big", "small" };
	struct claim_cursor *cursor = claim_cursor_new();
	struct claim_request request = { .session = fx->session,
					 .queues = queues,
					 .queue_count = 2,
					 .max = 10,
					 .cursor = cursor };
	struct claim claim;
	size_t small = 0;

	for (int i = 0; i < 40; i++) {
		struct new_job job = a_job("mail");

		job.queue = i < 30 ? "big" : "small";
		accept_job(fx, job);
	}
	uuid_v7(&request.batch);
	check_store(fx, claim_take(fx->store, &request, fx->arena, &claim, &fx->error));
	hold(fx, &claim);
	claim_cursor_free(&cursor);
	assert_int_equal(claim.count, 10);
	for (size_t i = 0; i < claim.count; i++)
		small += strcmp(claim.jobs[i]->queue, "small") == 0;
	if (small < 3 || small > 7)
		fail_msg("%zu of 10 came from the small queue", small);
}

static void scheduled_until_due(struct fixture *fx)
{
	struct new_job job = a_job("mail"), at = a_job("mail");
	struct accepted_job accepted;
	int64_t promoted, next_ms;

	job.delay_ms = 300;
	accepted = accept_job(fx, job);
	assert_int_equal(accepted.state, JOB_SCHEDULED);
	at.due_ms = clock_wall_ms() + 3600000;
	assert_int_equal(accept_job(fx, at).state, JOB_SCHEDULED);
	assert_int_equal(state_of(fx, &job.id), JOB_SCHEDULED);
	assert_int_equal(claim_some(fx, 10).count, 0);
	check_store(fx, maintenance_promote(fx->other, &promoted, &next_ms, &fx->error));
	assert_int_equal(promoted, 0);
	assert_true(next_ms >= 0 && next_ms <= 300);
	pause_ms(350);
	promote(fx, 1);
	assert_int_equal(state_of(fx, &job.id), JOB_AVAILABLE);
	claim_this(fx, &job.id);
	assert_int_equal(queue_of(fx, "q").scheduled, 1);
}

/* What was due later runs after what was available first. */
static void promotion_draws_a_new_place(struct fixture *fx)
{
	struct new_job early = a_job("mail"), now = a_job("mail");

	early.delay_ms = 50;
	accept_job(fx, early);
	accept_job(fx, now);
	pause_ms(80);
	promote(fx, 1);
	claim_this(fx, &now.id);
	claim_this(fx, &early.id);
}

/* ---- reads of handlers */

static void reads_are_only_reads(struct fixture *fx)
{
	static const char *const refused[] = {
		"INSERT INTO effects VALUES ('a', 'b')",
		"UPDATE effects SET what = 'x'",
		"DELETE FROM effects",
		"DROP TABLE effects",
		"SELECT 1 FROM no_such_table",
		"SELECT 1; DELETE FROM effects",
		"CREATE TABLE more (a TEXT)",
		"selct",
	};
	struct strbuf out;

	strbuf_init(&out);
	for (size_t i = 0; i < ARRAY_LEN(refused); i++) {
		struct sql_statement statement = { .sql = refused[i], .rows = SQL_ROWS_ANY };

		if (!reader_query(fx->reader, &statement, 1000, &out, &fx->error))
			fail_msg("%s was let through", refused[i]);
		if (fx->error.code != ERROR_SQL)
			fail_msg("%s: %s %s", refused[i], error_code_name(fx->error.code),
				 fx->error.message);
		assert_int_equal(out.len, 0);
	}
	strbuf_release(&out);
	assert_int_equal(effects(fx, NULL), 0);
}

static void reads_keep_kinds(struct fixture *fx)
{
	static const struct sql_value arg = { .kind = SQL_TEXT, .data = "a\"b", .bytes = 3 };
	struct sql_statement rows = { .sql = "SELECT job, what FROM effects ORDER BY what",
				      .rows = SQL_ROWS_ANY };
	struct sql_statement text = { .sql = "SELECT CAST($1 AS TEXT) AS t",
				      .args = &arg,
				      .arg_count = 1,
				      .rows = SQL_ROWS_ANY };
	struct strbuf out;

	strbuf_init(&out);
	check_store(fx, reader_query(fx->reader, &rows, 1000, &out, &fx->error));
	assert_string_equal(out.data, "{\"columns\":[\"job\",\"what\"],\"rows\":[]}");
	strbuf_clear(&out);
	check_store(fx, reader_query(fx->reader, &text, 1000, &out, &fx->error));
	assert_string_equal(out.data, "{\"columns\":[\"t\"],\"rows\":[[\"a\\\"b\"]]}");
	strbuf_clear(&out);
	assert_int_equal(reader_query(fx->reader, &text, 20, &out, &fx->error), -1);
	assert_int_equal(fx->error.code, ERROR_FULL);
	strbuf_release(&out);
	assert_string_equal(read_value(fx, "SELECT 42"), "42");
	assert_string_equal(read_value(fx, "SELECT CAST(1.5 AS double precision)"), "1.5");
}

static const struct store_case cases[] = {
	{ "accepted_and_visible", accepted_and_visible },
	{ "batches_of_different_jobs", batches_of_different_jobs },
	{ "key_is_replayed", key_is_replayed },
	{ "client_ids", client_ids },
	{ "unique_returns", unique_returns },
	{ "unique_replaces", unique_replaces },
	{ "unique_for_a_time", unique_for_a_time },
	{ "batches_are_whole", batches_are_whole },
	{ "many_requests_one_commit", many_requests_one_commit },
	{ "one_bad_request", one_bad_request },
	{ "probe_tells", probe_tells },
	{ "probe_asks_for_every_job", probe_asks_for_every_job },
	{ "order_of_claims", order_of_claims },
	{ "claimed_job_is_whole", claimed_job_is_whole },
	{ "paused_queues_are_skipped", paused_queues_are_skipped },
	{ "queues_share", queues_share },
	{ "scheduled_until_due", scheduled_until_due },
	{ "promotion_draws_a_new_place", promotion_draws_a_new_place },
	{ "reads_are_only_reads", reads_are_only_reads },
	{ "reads_keep_kinds", reads_keep_kinds },
};

int main(void)
{
	return store_cases_run("store_conformance", cases, ARRAY_LEN(cases));
}
