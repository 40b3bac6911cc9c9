/* SPDX-License-Identifier: Apache-2.0 */
/* Ends attempts by the class of an answer: good, for good, worth another try, not sent, unknown.
 * What an unknown fate means for the next attempt was settled in calls.c before; here it only fails
 * the attempt. */
#include "workers/engine/http_job.h"

#include <string.h>

#include "common/base/arena.h"
#include "common/base/clock.h"
#include "common/json/json_text.h"
#include "workers/handlers/http_handler.h"

#define STEP          "http"
#define HELD_DELAY_MS 1000
/* What was not sent costs no attempt, but a host that is never there must not keep a job for ever:
 * from this many hand-outs a permitted attempt on it does. */
#define FREE_PER_ATTEMPT 5

const struct http_rules http_rules_default = {
	/* bit n of word w: status 100 + 64 * w + n */
	.ok = { .bits = { [1] = ~UINT64_C(0) << 36, [2] = ~UINT64_C(0), [3] = 0xff } },
	.retry = { .bits = { [4] = UINT64_C(1) << 52,
			     [5] = UINT64_C(1) << 5 | UINT64_C(1) << 9,
			     [6] = ~UINT64_C(0) << 16,
			     [7] = 0xfffffffffffff } },
	.retry_network = true,
};

/* ---- the result */

static void add_text(struct strbuf *out, const struct answer *answer)
{
	if (json_text_check(answer->body, answer->body_bytes)) {
		json_slice_add_line(out, (struct json_slice){ .text = answer->body,
							      .bytes = answer->body_bytes });
	} else {
		calls_add_body(out, answer->body, answer->body_bytes);
	}
}

/* The call has been made, so an answer that is too large for a result must not fail the job. */
static const char *result_of(const struct hand *hand, const struct answer *answer,
			     const struct http_rules *rules, size_t bytes_max)
{
	struct arena *arena = hand->task.job->arena;
	const char *result;
	struct strbuf out;

	strbuf_init(&out);
	if (!rules->result_body)
		strbuf_printf(&out, "{\"status\":%d,\"body\":", answer->status);
	if (answer->body_bytes)
		add_text(&out, answer);
	else
		strbuf_addstr(&out, "null");
	if (!rules->result_body)
		strbuf_addch(&out, '}');
	if (out.len > bytes_max) {
		strbuf_clear(&out);
		strbuf_printf(&out, "{\"status\":%d,\"body\":null,\"body_bytes\":%zu}",
			      answer->status, answer->body_bytes);
	}
	result = out.len <= bytes_max ? arena_strndup(arena, out.data, out.len) : NULL;
	strbuf_release(&out);
	return result;
}

/* ---- the class */

static void end_as(struct task_outcome *outcome_r, enum job_outcome kind, int64_t after_ms,
		   const char *reason)
{
	*outcome_r = (struct task_outcome){ .kind = kind, .after_ms = after_ms, .reason = reason };
}

/* Nothing of it has reached anybody. */
static void judge_not_sent(const struct hand *hand, const struct http_answer *answer,
			   struct task_outcome *outcome_r)
{
	const struct claimed_job *job = hand->task.job;
	const struct retry_policy *policy = &hand->task.type->retry;
	const char *reason = arena_printf(job->arena, "not sent: %s", answer->error);
	int max_attempts = job->max_attempts ? job->max_attempts : policy->max_attempts;
	int outs = job->attempt > job->failures ? job->attempt - job->failures : 1;

	if (answer->held) /* given back: that leaves no row in the job's history */
		end_as(outcome_r, OUTCOME_RELEASED,
		       answer->retry_after_ms > 0 ? answer->retry_after_ms : HELD_DELAY_MS, reason);
	else if (answer->refused)
		end_as(outcome_r, OUTCOME_DISCARD, 0, reason);
	else if (outs >= FREE_PER_ATTEMPT * max_attempts)
		end_as(outcome_r, OUTCOME_RETRY, -1, reason);
	else
		end_as(outcome_r, OUTCOME_SNOOZE,
		       1 + retry_policy_delay_ms(policy, outs, random_below), reason);
}

/* An earlier request with the same key is still being worked on there. */
static bool is_key_conflict(const struct http_answer *answer)
{
	return answer->status == 409 && answer->again;
}

static void judge_status(const struct hand *hand, const struct http_rules *rules,
			 const struct http_answer *answer, struct task_outcome *outcome_r)
{
	const char *reason = arena_printf(hand->task.job->arena, "status %d", answer->status);

	if (answer->found || status_set_has(&rules->ok, answer->status))
		end_as(outcome_r, OUTCOME_DONE, 0, NULL);
	else if (status_set_has(&rules->retry, answer->status) || is_key_conflict(answer))
		end_as(outcome_r, OUTCOME_RETRY,
		       answer->retry_after_ms > 0 ? answer->retry_after_ms : -1, reason);
	else
		end_as(outcome_r, OUTCOME_DISCARD, 0, reason);
}

static void judge(const struct hand *hand, const struct http_rules *rules,
		  const struct http_answer *answer, struct task_outcome *outcome_r)
{
	const char *error = arena_strdup(hand->task.job->arena, answer->error);

	if (answer->fate == REMOTE_ANSWERED)
		judge_status(hand, rules, answer, outcome_r);
	else if (hand->task.cancel)
		end_as(outcome_r, OUTCOME_CANCELLED, 0, NULL);
	else if (answer->fate == REMOTE_NOT_SENT)
		judge_not_sent(hand, answer, outcome_r);
	else if (answer->fate == REMOTE_UNKNOWN && rules->retry_network)
		end_as(outcome_r, OUTCOME_RETRY, -1, error);
	else
		end_as(outcome_r, answer->fate ? OUTCOME_DISCARD : OUTCOME_RETRY, -1, error);
}

void http_job_answered(struct engine *engine, struct open_ask *open, const struct answer *answer)
{
	struct hand *hand = open->hand;
	const struct http_call *call = open->http;
	const struct http_answer seen = {
		.fate = answer->fate,
		.status = answer->status,
		.body = answer->body ? answer->body : "",
		.body_bytes = answer->body_bytes,
		.error = answer->error ? answer->error : "",
		.retry_after_ms = answer->retry_after_ms,
		.found = answer->found,
		.held = answer->held,
		.refused = answer->refused,
		.again = hand->task.job->failures > 0,
	};
	struct task_outcome *outcome = &hand->task.outcome;

	list_remove(&hand->http_link);
	engine->http_count--;
	if (!call->judge || !call->judge(hand, &seen, outcome))
		judge(hand, call->rules, &seen, outcome);
	if (outcome->kind == OUTCOME_DONE && !outcome->result)
		outcome->result = result_of(hand, answer, call->rules,
					    (size_t)engine->o.service->settings->result_bytes_max);
	endings_add(engine, &hand->task);
}

/* ---- beginning and stopping */

bool http_job_is(const struct hand *hand)
{
	return !list_empty(&hand->http_link);
}

void http_job_start(struct engine *engine, struct hand *hand, const struct http_call *call)
{
	struct arena *arena = hand->task.job->arena;
	struct http_call *mine = arena_dup(arena, call, sizeof(*call));
	struct task_ask *ask = ARENA_NEW(arena, struct task_ask);
	struct open_ask *open;

	if (!mine->rules)
		mine->rules = &http_rules_default;
	CHECK(mine->rules->ambiguous != CALL_LOOKUP || mine->lookup_url);
	*ask = (struct task_ask){
		.task = &hand->task,
		.kind = TASK_ASK_CALL,
		.call = { .step = call->step,
			  .method = call->method,
			  .url = call->url,
			  .headers = call->headers,
			  .body = call->body,
			  .body_bytes = call->body_bytes,
			  .timeout_ms = call->timeout_ms },
	};
	hand->task.started_ns = clock_mono_ns();
	list_append(&engine->https, &hand->http_link);
	engine->http_count++;
	open = asks_add(engine, ask);
	open->http = mine;
	calls_start(engine, open);
}

/* It cannot be made at all. */
static void refuse(struct engine *engine, struct hand *hand, const struct error *error)
{
	hand->task.started_ns = clock_mono_ns();
	end_as(&hand->task.outcome, error->code == ERROR_INVALID ? OUTCOME_DISCARD : OUTCOME_RETRY,
	       -1, arena_strdup(hand->task.job->arena, error->message));
	endings_add(engine, &hand->task);
}

void http_job_run(struct engine *engine, struct hand *hand)
{
	const struct http_definition *http = &hand->task.type->http;
	const struct claimed_job *job = hand->task.job;
	struct http_parts parts;
	struct error error;

	if (http_handler_parts(http, job, calls_key(job->arena, &job->id, STEP), &parts, &error) <
	    0) {
		refuse(engine, hand, &error);
		return;
	}
	http_job_start(
		engine, hand,
		&(struct http_call){
			.step = STEP,
			.method = http->method,
			.url = parts.url,
			.headers = parts.headers,
			.body = parts.body,
			.body_bytes = parts.body_bytes,
			.target = http->target,
			.guarded = http->url_from_payload && !hand->task.type->calls_anywhere,
			.plain_http = hand->task.type->plain_http,
			.timeout_ms = (int)http->timeout_ms,
			.rules = &http->rules,
			.lookup_url = parts.lookup_url,
			.lookup_headers = parts.lookup_headers,
		});
}

void http_job_cancel(struct engine *engine, struct hand *hand, enum task_cancel why)
{
	CHECK(http_job_is(hand));
	hand->task.cancel = why;
	asks_abort(engine, hand);
}

void http_job_cancel_all(struct engine *engine)
{
	for (struct list *at = engine->https.next; at != &engine->https; at = at->next)
		http_job_cancel(engine, list_entry(at, struct hand, http_link), TASK_CANCEL_DRAIN);
}
