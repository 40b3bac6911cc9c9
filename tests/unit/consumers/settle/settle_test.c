/* SPDX-License-Identifier: Apache-2.0 */
/* What every outcome means for its job, as a table: the first lines are the everyday, the later
 * ones the rules that beat each other. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/arena.h"
#include "consumers/settle/settle.h"

#define ANY     (-2) /* delay: what the backoff draws */
#define BACKOFF (-1) /* after_ms: the type's */

static const struct settle_rules rules = { .result_bytes_max = 8, .publishes = true };
static const struct job_type type = {
	.name = "t",
	.retry = { .max_attempts = 3, .base_ms = 1000, .cap_ms = 60000 },
};

static const struct {
	const char *name;
	struct claimed_job job;
	struct attempt_end end; /* without job and type */
	bool unknown_type;
	struct completion want;
} cases[] = {
	{ "done",
	  { 0 },
	  { .outcome = OUTCOME_DONE, .result = "{}" },
	  false,
	  { .kind = COMPLETION_FINISH,
	    .state = JOB_COMPLETED,
	    .outcome = OUTCOME_DONE,
	    .result = "{}" } },
	{ "done without result",
	  { 0 },
	  { .outcome = OUTCOME_DONE },
	  false,
	  { .kind = COMPLETION_FINISH, .state = JOB_COMPLETED, .outcome = OUTCOME_DONE } },
	{ "result as large as allowed",
	  { 0 },
	  { .outcome = OUTCOME_DONE, .result = "12345678" },
	  false,
	  { .kind = COMPLETION_FINISH,
	    .state = JOB_COMPLETED,
	    .outcome = OUTCOME_DONE,
	    .result = "12345678" } },
	{ "result too large",
	  { 0 },
	  { .outcome = OUTCOME_DONE, .result = "123456789" },
	  false,
	  { .kind = COMPLETION_FINISH,
	    .state = JOB_DISCARDED,
	    .outcome = OUTCOME_DISCARD,
	    .reason = "its result is larger than WINDLASS_RESULT_MAX" } },
	{ "discard",
	  { 0 },
	  { .outcome = OUTCOME_DISCARD, .reason = "no such product" },
	  false,
	  { .kind = COMPLETION_FINISH,
	    .state = JOB_DISCARDED,
	    .outcome = OUTCOME_DISCARD,
	    .reason = "no such product" } },
	{ "snooze",
	  { 0 },
	  { .outcome = OUTCOME_SNOOZE, .after_ms = 600000 },
	  false,
	  { .kind = COMPLETION_LATER, .outcome = OUTCOME_SNOOZE, .delay_ms = 600000 } },
	{ "released",
	  { .failures = 2 },
	  { .outcome = OUTCOME_RELEASED, .after_ms = BACKOFF },
	  false,
	  { .kind = COMPLETION_LATER, .outcome = OUTCOME_RELEASED } },
	{ "released for later",
	  { 0 },
	  { .outcome = OUTCOME_RELEASED, .after_ms = 5000 },
	  true,
	  { .kind = COMPLETION_LATER, .outcome = OUTCOME_RELEASED, .delay_ms = 5000 } },
	{ "cancelled",
	  { 0 },
	  { .outcome = OUTCOME_CANCELLED, .cancel_asked = true },
	  false,
	  { .kind = COMPLETION_FINISH, .state = JOB_CANCELLED, .outcome = OUTCOME_CANCELLED } },
	{ "retry by the backoff",
	  { 0 },
	  { .outcome = OUTCOME_RETRY, .after_ms = BACKOFF, .reason = "away" },
	  false,
	  { .kind = COMPLETION_LATER,
	    .outcome = OUTCOME_RETRY,
	    .delay_ms = ANY,
	    .counts = true,
	    .reason = "away" } },
	{ "retry as it says",
	  { .failures = 1 },
	  { .outcome = OUTCOME_RETRY, .after_ms = 30000 },
	  false,
	  { .kind = COMPLETION_LATER,
	    .outcome = OUTCOME_RETRY,
	    .delay_ms = 30000,
	    .counts = true } },
	{ "retry at once",
	  { 0 },
	  { .outcome = OUTCOME_RETRY, .after_ms = 0 },
	  false,
	  { .kind = COMPLETION_LATER, .outcome = OUTCOME_RETRY, .counts = true } },
	{ "last attempt",
	  { .failures = 2 },
	  { .outcome = OUTCOME_RETRY, .after_ms = 30000, .reason = "away" },
	  false,
	  { .kind = COMPLETION_FINISH,
	    .state = JOB_DISCARDED,
	    .outcome = OUTCOME_RETRY,
	    .reason = "away" } },
	{ "last attempt by the job's own maximum",
	  { .max_attempts = 1 },
	  { .outcome = OUTCOME_RETRY, .after_ms = BACKOFF },
	  false,
	  { .kind = COMPLETION_FINISH, .state = JOB_DISCARDED, .outcome = OUTCOME_RETRY } },
	{ "more attempts than the type's",
	  { .failures = 5, .max_attempts = 9 },
	  { .outcome = OUTCOME_RETRY, .after_ms = BACKOFF },
	  false,
	  { .kind = COMPLETION_LATER, .outcome = OUTCOME_RETRY, .delay_ms = ANY, .counts = true } },
	{ "first crash",
	  { 0 },
	  { .outcome = OUTCOME_CRASHED, .after_ms = BACKOFF, .reason = "SIGSEGV" },
	  false,
	  { .kind = COMPLETION_LATER,
	    .outcome = OUTCOME_CRASHED,
	    .delay_ms = ANY,
	    .counts = true,
	    .reason = "SIGSEGV" } },
	{ "third strike",
	  { .failures = 2, .strikes = 2, .max_attempts = 100 },
	  { .outcome = OUTCOME_CRASHED, .after_ms = BACKOFF },
	  false,
	  { .kind = COMPLETION_FINISH, .state = JOB_DISCARDED, .outcome = OUTCOME_CRASHED } },
	{ "second strike",
	  { .failures = 7, .strikes = 1, .max_attempts = 100 },
	  { .outcome = OUTCOME_CRASHED, .after_ms = BACKOFF },
	  false,
	  { .kind = COMPLETION_LATER,
	    .outcome = OUTCOME_CRASHED,
	    .delay_ms = ANY,
	    .counts = true } },
	{ "strikes do not end a retry",
	  { .failures = 2, .strikes = 2, .max_attempts = 100 },
	  { .outcome = OUTCOME_RETRY, .after_ms = 5 },
	  false,
	  { .kind = COMPLETION_LATER, .outcome = OUTCOME_RETRY, .delay_ms = 5, .counts = true } },
	{ "cancel beats retry",
	  { 0 },
	  { .outcome = OUTCOME_RETRY, .after_ms = 1, .reason = "away", .cancel_asked = true },
	  false,
	  { .kind = COMPLETION_FINISH,
	    .state = JOB_CANCELLED,
	    .outcome = OUTCOME_CANCELLED,
	    .reason = "away" } },
	{ "cancel beats snooze",
	  { 0 },
	  { .outcome = OUTCOME_SNOOZE, .after_ms = 1, .cancel_asked = true },
	  false,
	  { .kind = COMPLETION_FINISH, .state = JOB_CANCELLED, .outcome = OUTCOME_CANCELLED } },
	{ "cancel beats a crash",
	  { 0 },
	  { .outcome = OUTCOME_CRASHED, .after_ms = BACKOFF, .cancel_asked = true },
	  false,
	  { .kind = COMPLETION_FINISH, .state = JOB_CANCELLED, .outcome = OUTCOME_CANCELLED } },
	{ "done beats cancel",
	  { 0 },
	  { .outcome = OUTCOME_DONE, .cancel_asked = true },
	  false,
	  { .kind = COMPLETION_FINISH, .state = JOB_COMPLETED, .outcome = OUTCOME_DONE } },
	{ "discard beats cancel",
	  { 0 },
	  { .outcome = OUTCOME_DISCARD, .cancel_asked = true },
	  false,
	  { .kind = COMPLETION_FINISH, .state = JOB_DISCARDED, .outcome = OUTCOME_DISCARD } },
	{ "parked beats what the handler made of it",
	  { .failures = 9 },
	  { .outcome = OUTCOME_DONE, .again = true, .result = "{}", .park = "call `pay`" },
	  false,
	  { .kind = COMPLETION_LATER,
	    .outcome = OUTCOME_SNOOZE,
	    .delay_ms = COMPLETION_PARKED,
	    .reason = "call `pay`" } },
	{ "cancel beats parked",
	  { 0 },
	  { .outcome = OUTCOME_RETRY, .cancel_asked = true, .park = "call `pay`" },
	  false,
	  { .kind = COMPLETION_FINISH, .state = JOB_CANCELLED, .outcome = OUTCOME_CANCELLED } },
	{ "again too often",
	  { 0 },
	  { .outcome = OUTCOME_RETRY, .again = true, .again_count = 5, .after_ms = BACKOFF },
	  false,
	  { .kind = COMPLETION_LATER, .outcome = OUTCOME_RETRY, .delay_ms = ANY, .counts = true } },
	{ "cancel beats again",
	  { 0 },
	  { .outcome = OUTCOME_RETRY, .again = true, .after_ms = BACKOFF, .cancel_asked = true },
	  false,
	  { .kind = COMPLETION_FINISH, .state = JOB_CANCELLED, .outcome = OUTCOME_CANCELLED } },
};

static bool same_text(const char *a, const char *b)
{
	return a == b || (a && b && !strcmp(a, b));
}

static void outcomes(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		const struct completion *want = &cases[i].want;
		struct attempt_end end = cases[i].end;
		struct completion got;
		bool delay;

		end.job = &cases[i].job;
		end.type = cases[i].unknown_type ? NULL : &type;
		if (!settle_attempt(&end, &rules, &got))
			fail_msg("%s: nothing to store", cases[i].name);
		delay = want->delay_ms == ANY ? got.delay_ms >= 0 && got.delay_ms < 60000
					      : got.delay_ms == want->delay_ms;
		if (got.kind != want->kind || got.state != want->state ||
		    got.outcome != want->outcome || got.counts != want->counts || !delay ||
		    !same_text(got.result, want->result) || !same_text(got.reason, want->reason))
			fail_msg(
				"%s: kind %d state %d outcome %d counts %d delay %lld result %s reason %s",
				cases[i].name, got.kind, got.state, got.outcome, got.counts,
				(long long)got.delay_ms, got.result ? got.result : "-",
				got.reason ? got.reason : "-");
		assert_ptr_equal(got.job, &cases[i].job);
	}
}

static void writes_go_with_done_only(void **state)
{
	struct sql_statement statement = { .sql = "DELETE FROM t" };
	struct receipt receipt = { .step = "charge" };
	struct claimed_job job = { 0 };
	struct attempt_end end = {
		.job = &job,
		.type = &type,
		.outcome = OUTCOME_DONE,
		.writes = { .statements = &statement, .statement_count = 1 },
		.receipts = &receipt,
		.receipt_count = 1,
	};
	struct completion got;

	(void)state;
	assert_true(settle_attempt(&end, &rules, &got));
	assert_int_equal(got.writes.statement_count, 1);
	assert_int_equal(got.receipt_count, 1);
	end.outcome = OUTCOME_RETRY;
	assert_true(settle_attempt(&end, &rules, &got));
	assert_int_equal(got.writes.statement_count, 0);
	assert_int_equal(got.receipt_count, 1);
	end.outcome = OUTCOME_DONE;
	end.result = "123456789";
	assert_true(settle_attempt(&end, &rules, &got));
	assert_int_equal(got.writes.statement_count, 0);
}

/* Nobody asks for the answers to its calls once it is completed: but writes may fail, and then the
 * next attempt does. */
static void receipts_are_for_another_attempt(void **state)
{
	static const struct {
		enum job_outcome outcome;
		size_t follow_ups, want;
	} ends[] = {
		{ OUTCOME_DONE, 0, 0 },   { OUTCOME_DONE, 1, 1 },    { OUTCOME_RETRY, 0, 1 },
		{ OUTCOME_SNOOZE, 0, 1 }, { OUTCOME_DISCARD, 0, 1 }, { OUTCOME_CANCELLED, 0, 1 },
	};
	struct receipt receipt = { .step = "charge", .status = 200 };
	struct claimed_job job = { 0 };
	struct completion got;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(ends); i++) {
		struct attempt_end end = { .job = &job,
					   .type = &type,
					   .outcome = ends[i].outcome,
					   .writes.follow_up_count = ends[i].follow_ups,
					   .receipts = &receipt,
					   .receipt_count = 1 };

		assert_true(settle_attempt(&end, &rules, &got));
		assert_int_equal(got.receipt_count, ends[i].want);
	}
}

static void again_runs_again(void **state)
{
	struct claimed_job job = { 0 };
	struct attempt_end end = { .job = &job,
				   .type = &type,
				   .outcome = OUTCOME_RETRY,
				   .again = true,
				   .again_count = 4 };
	struct completion got;

	(void)state;
	assert_false(settle_attempt(&end, &rules, &got));
}

static void refusals(void **state)
{
	struct claimed_job job = { .arena = arena_new(0) };
	struct attempt_end end = { .job = &job,
				   .type = &type,
				   .outcome = OUTCOME_DONE,
				   .result = "{}",
				   .writes = { .statement_count = 1 } };
	struct completion refused = { .fate = COMPLETION_UNMET }, got;

	(void)state;
	settle_refused(&refused, &end);
	assert_false(settle_attempt(&end, &rules, &got));

	refused.fate = COMPLETION_FAILED;
	error_set(&refused.error, ERROR_SQL, "duplicate key");
	settle_refused(&refused, &end);
	refused.error.message[0] =
		'X'; /* the reason must not point there: the completion is used again */
	assert_true(settle_attempt(&end, &rules, &got));
	assert_int_equal(got.kind, COMPLETION_LATER);
	assert_int_equal(got.outcome, OUTCOME_RETRY);
	assert_true(got.counts);
	assert_string_equal(got.reason, "duplicate key");
	assert_null(got.result);

	error_set(&refused.error, ERROR_CONTENTION, "deadlock");
	settle_refused(&refused, &end);
	assert_true(settle_attempt(&end, &rules, &got));
	assert_int_equal(got.outcome, OUTCOME_RELEASED);
	assert_false(got.counts);
	assert_true(got.delay_ms > 0);
	arena_free(&job.arena);
}

static const struct {
	struct completion completion;
	enum settle_verb want;
} verbs[] = {
	{ { .kind = COMPLETION_FINISH, .state = JOB_COMPLETED, .fate = COMPLETION_COMMITTED },
	  SETTLE_ACK },
	{ { .kind = COMPLETION_FINISH, .state = JOB_CANCELLED, .fate = COMPLETION_COMMITTED },
	  SETTLE_ACK },
	{ { .kind = COMPLETION_FINISH, .state = JOB_DISCARDED, .fate = COMPLETION_COMMITTED },
	  SETTLE_DEAD },
	{ { .kind = COMPLETION_FINISH, .state = JOB_DISCARDED, .fate = COMPLETION_LOST },
	  SETTLE_ACK },
	{ { .kind = COMPLETION_LATER, .fate = COMPLETION_COMMITTED }, SETTLE_LATER },
	{ { .kind = COMPLETION_LATER, .fate = COMPLETION_LOST }, SETTLE_ACK },
	{ { .kind = COMPLETION_ADOPT, .fate = COMPLETION_COMMITTED }, SETTLE_LATER },
	{ { .kind = COMPLETION_ADOPT, .fate = COMPLETION_LOST }, SETTLE_ACK },
	{ { .kind = COMPLETION_NOTHING, .outcome = OUTCOME_RELEASED, .fate = COMPLETION_COMMITTED },
	  SETTLE_RETURN },
	{ { .kind = COMPLETION_NOTHING, .outcome = OUTCOME_DONE, .fate = COMPLETION_COMMITTED },
	  SETTLE_ACK },
	{ { .kind = COMPLETION_NOTHING,
	    .outcome = OUTCOME_CANCELLED,
	    .fate = COMPLETION_COMMITTED },
	  SETTLE_ACK },
};

static void queue_verbs(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(verbs); i++)
		assert_int_equal(settle_verb(&verbs[i].completion), verbs[i].want);
}

/* What becomes of messages: of the store there may be no trace, and sometimes must not be. */
static const struct {
	const char *name;
	struct claimed_job job;
	struct attempt_end end; /* without job and type */
	bool records_failures;
	enum completion_kind want_kind;
	enum job_outcome want_outcome;
	bool want_reason;
} messages[] = {
	{ "released at a drain",
	  { .source = "s" },
	  { .outcome = OUTCOME_RELEASED },
	  false,
	  COMPLETION_NOTHING,
	  OUTCOME_RELEASED,
	  false },
	{ "released, but the store has it",
	  { 0 },
	  { .outcome = OUTCOME_RELEASED },
	  false,
	  COMPLETION_LATER,
	  OUTCOME_RELEASED,
	  false },
	{ "released for later",
	  { .source = "s" },
	  { .outcome = OUTCOME_RELEASED, .after_ms = 5000 },
	  false,
	  COMPLETION_LATER,
	  OUTCOME_RELEASED,
	  false },
	{ "stored behind its key",
	  { .source = "s", .behind = true },
	  { .outcome = OUTCOME_RELEASED },
	  false,
	  COMPLETION_LATER,
	  OUTCOME_RELEASED,
	  false },
	{ "released after a call was made",
	  { .source = "s" },
	  { .outcome = OUTCOME_RELEASED, .receipt_count = 1 },
	  false,
	  COMPLETION_LATER,
	  OUTCOME_RELEASED,
	  false },
	{ "done, and that is stored",
	  { .source = "s" },
	  { .outcome = OUTCOME_DONE },
	  false,
	  COMPLETION_FINISH,
	  OUTCOME_DONE,
	  false },
	{ "done, and only failures are stored",
	  { .source = "s" },
	  { .outcome = OUTCOME_DONE },
	  true,
	  COMPLETION_NOTHING,
	  OUTCOME_DONE,
	  false },
	{ "done, but it was accepted here",
	  { 0 },
	  { .outcome = OUTCOME_DONE },
	  true,
	  COMPLETION_FINISH,
	  OUTCOME_DONE,
	  false },
	{ "failed, and that is stored",
	  { .source = "s" },
	  { .outcome = OUTCOME_RETRY, .after_ms = 5 },
	  true,
	  COMPLETION_LATER,
	  OUTCOME_RETRY,
	  false },
	{ "a result although only failures are stored",
	  { .source = "s" },
	  { .outcome = OUTCOME_DONE, .result = "{}" },
	  true,
	  COMPLETION_FINISH,
	  OUTCOME_DISCARD,
	  true },
	{ "writes although only failures are stored",
	  { .source = "s" },
	  { .outcome = OUTCOME_DONE, .writes = { .statement_count = 1 } },
	  true,
	  COMPLETION_FINISH,
	  OUTCOME_DISCARD,
	  true },
	{ "a follow-up although only failures are stored",
	  { .source = "s" },
	  { .outcome = OUTCOME_DONE, .writes = { .follow_up_count = 1 } },
	  true,
	  COMPLETION_FINISH,
	  OUTCOME_DISCARD,
	  true },
	{ "a call although only failures are stored",
	  { .source = "s" },
	  { .outcome = OUTCOME_DONE, .receipt_count = 1 },
	  true,
	  COMPLETION_FINISH,
	  OUTCOME_DISCARD,
	  true },
	{ "something forbidden",
	  { .source = "s" },
	  { .outcome = OUTCOME_RETRY, .forbidden = "no steps" },
	  true,
	  COMPLETION_FINISH,
	  OUTCOME_DISCARD,
	  true },
	{ "somebody else's",
	  { 0 },
	  { .outcome = OUTCOME_DONE, .lost = true, .writes = { .statement_count = 1 } },
	  false,
	  COMPLETION_NOTHING,
	  OUTCOME_CANCELLED,
	  false },
	{ "somebody else's does not run again",
	  { 0 },
	  { .outcome = OUTCOME_RETRY, .lost = true, .again = true },
	  false,
	  COMPLETION_NOTHING,
	  OUTCOME_CANCELLED,
	  false },
};

static void ends_of_messages(void **state)
{
	struct job_type failures = type;

	(void)state;
	failures.record_failures = true;
	for (size_t i = 0; i < ARRAY_LEN(messages); i++) {
		struct attempt_end end = messages[i].end;
		struct completion got;

		end.job = &messages[i].job;
		end.type = messages[i].records_failures ? &failures : &type;
		assert_true(settle_attempt(&end, &rules, &got));
		if (got.kind != messages[i].want_kind || got.outcome != messages[i].want_outcome ||
		    (got.reason != NULL) != messages[i].want_reason ||
		    got.writes.statement_count != 0)
			fail_msg("%s: kind %d outcome %d reason %s", messages[i].name, got.kind,
				 got.outcome, got.reason ? got.reason : "-");
	}
}

static const struct {
	const char *payload, *key, *order_key, *want; /* want NULL: the job's id */
} targets[] = {
	{ "{}", NULL, NULL, NULL },
	{ "{}", NULL, "k", "k" },
	{ "{\"a\":{\"b\":\"x\\u0041\"}}", "payload.a.b", "k", "xA" },
	{ "{\"a\":17}", "payload.a", "k", "17" },
	{ "{\"a\":true}", "payload.a", NULL, "true" },
	{ "{\"a\":null}", "payload.a", "k", "k" },
	{ "{\"a\":{}}", "payload.a", "k", "k" },
	{ "{\"a\":\"\"}", "payload.a", "k", "k" },
	{ "{\"a\":\"x\"}", "payload.a.b", "k", "k" },
	{ "[1]", "payload.a", NULL, NULL },
};

static void results_go_where_the_type_says(void **state)
{
	struct job_type sends = type;

	(void)state;
	sends.result_topic = "results";
	sends.result_exchange = "x";
	for (size_t i = 0; i < ARRAY_LEN(targets); i++) {
		struct claimed_job job = { .arena = arena_new(0),
					   .payload = targets[i].payload,
					   .payload_bytes = strlen(targets[i].payload),
					   .order_key = targets[i].order_key };
		struct attempt_end end = { .job = &job, .type = &sends, .outcome = OUTCOME_DONE };
		struct completion got;
		char id[UUID_TEXT];

		uuid_v7(&job.id);
		sends.result_key = targets[i].key;
		assert_true(settle_attempt(&end, &rules, &got));
		assert_non_null(got.target);
		assert_string_equal(got.target->topic, "results");
		assert_string_equal(got.target->exchange, "x");
		assert_string_equal(got.target->key,
				    targets[i].want ? targets[i].want : uuid_format(&job.id, id));
		end.outcome = OUTCOME_DISCARD; /* committed effects only */
		assert_true(settle_attempt(&end, &rules, &got));
		assert_null(got.target);
		arena_free(&job.arena);
	}
}

/* Nobody would ever send them. */
static void results_go_nowhere_without_a_broker(void **state)
{
	const struct settle_rules alone = { .result_bytes_max = 8 };
	struct job_type sends = type;
	struct claimed_job job = { .arena = arena_new(0), .payload = "{}", .payload_bytes = 2 };
	struct attempt_end end = {
		.job = &job, .type = &sends, .outcome = OUTCOME_DONE, .result = "{}"
	};
	struct completion got;

	(void)state;
	sends.result_topic = "results";
	assert_true(settle_attempt(&end, &alone, &got));
	assert_int_equal(got.state, JOB_COMPLETED);
	assert_string_equal(got.result, "{}");
	assert_null(got.target);
	arena_free(&job.arena);
}

/* ---- result_schema */

static void results_must_fit_the_schema(void **state)
{
	static const struct {
		const char *result;
		int failures;
		enum job_state want;
		const char *reason; /* NULL: done */
	} refused[] = {
		{ "{\"n\":1}", 0, JOB_COMPLETED, NULL },
		{ "{\"n\":0}", 0, 0, "result/n: must be at least 1 (minimum)" },
		{ "{\"n\":0}", 2, JOB_DISCARDED, "result/n: must be at least 1 (minimum)" },
		{ NULL, 0, 0, "result: must be an object (type)" },
	};
	static const char text[] =
		"jobs: {t: {exec: [sh], retry: {max_attempts: 3}, result_schema: {required: [n], properties: {n: {minimum: 1}}}}}";
	struct definitions *defs = definitions_parse(text, sizeof(text) - 1, "f.yaml", stderr);

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(refused); i++) {
		struct arena *arena = arena_new(0);
		struct claimed_job job = { .arena = arena, .failures = refused[i].failures };
		struct sql_statement statement = { .sql = "S" };
		struct attempt_end end = { .job = &job,
					   .type = definitions_type(defs, "t"),
					   .outcome = OUTCOME_DONE,
					   .result = refused[i].result,
					   .writes = { .statements = &statement,
						       .statement_count = 1 } };
		struct completion completion;

		assert_true(settle_attempt(&end, &rules, &completion));
		assert_int_equal(completion.state, refused[i].want);
		if (!refused[i].reason) {
			assert_int_equal(completion.writes.statement_count, 1);
			assert_string_equal(completion.result, refused[i].result);
		} else {
			assert_string_equal(completion.reason, refused[i].reason);
			assert_int_equal(completion.outcome, OUTCOME_RETRY);
			assert_int_equal(completion.writes.statement_count, 0);
			assert_null(completion.result);
			if (!refused[i].want)
				assert_true(completion.kind == COMPLETION_LATER &&
					    completion.counts);
		}
		arena_free(&arena);
	}
	definitions_unref(&defs);
}

/* Who is asked to stop does not run again because of its result. */
static void cancels_beat_results_that_do_not_fit(void **state)
{
	static const char text[] = "jobs: {t: {exec: [sh], result_schema: {type: object}}}";
	struct definitions *defs = definitions_parse(text, sizeof(text) - 1, "f.yaml", stderr);
	struct arena *arena = arena_new(0);
	struct claimed_job job = { .arena = arena };
	struct attempt_end end = { .job = &job,
				   .type = definitions_type(defs, "t"),
				   .outcome = OUTCOME_DONE,
				   .cancel_asked = true,
				   .result = "1" };
	struct completion completion;

	(void)state;
	assert_true(settle_attempt(&end, &rules, &completion));
	assert_int_equal(completion.state, JOB_CANCELLED);
	arena_free(&arena);
	definitions_unref(&defs);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(outcomes),
		cmocka_unit_test(writes_go_with_done_only),
		cmocka_unit_test(receipts_are_for_another_attempt),
		cmocka_unit_test(again_runs_again),
		cmocka_unit_test(refusals),
		cmocka_unit_test(queue_verbs),
		cmocka_unit_test(ends_of_messages),
		cmocka_unit_test(results_go_where_the_type_says),
		cmocka_unit_test(results_go_nowhere_without_a_broker),
		cmocka_unit_test(results_must_fit_the_schema),
		cmocka_unit_test(cancels_beat_results_that_do_not_fit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
