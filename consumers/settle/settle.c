/* SPDX-License-Identifier: Apache-2.0 */
/* From outcome to what is stored. The order of the rules matters: what is somebody else's is left
 * alone, a row expectation that may still come true runs again, a cancel request beats another
 * attempt and a call that a person has to decide about beats what its handler made of it, a strike
 * beats max_attempts, and only then the backoff decides. Called by the engine through consumer_ops;
 * knows no store and no broker. */
#include "consumers/settle/settle.h"

#include <string.h>

#include "common/base/arena.h"
#include "common/base/clock.h"
#include "common/job/webhook.h"
#include "common/json/json_text.h"

#define CONTENTION_DELAY_MS 1000 /* given back because its rows are fought for */

static void finish(const struct attempt_end *end, enum job_state state,
		   struct completion *completion_r)
{
	completion_r->kind = COMPLETION_FINISH;
	completion_r->state = state;
	completion_r->reason = state == JOB_COMPLETED ? NULL : end->reason;
}

static void later(int64_t delay_ms, bool counts, struct completion *completion_r)
{
	completion_r->kind = COMPLETION_LATER;
	completion_r->delay_ms = delay_ms > 0 ? delay_ms : 0;
	completion_r->counts = counts;
}

/* Whatever its handler made of it: the next attempt knows more. */
static void park(const struct attempt_end *end, struct completion *completion_r)
{
	completion_r->kind = COMPLETION_LATER;
	completion_r->outcome = OUTCOME_SNOOZE;
	completion_r->delay_ms = COMPLETION_PARKED;
	completion_r->reason = end->park;
}

/* Its queue is told, and that is all. */
static void nothing(enum job_outcome outcome, struct completion *completion_r)
{
	completion_r->kind = COMPLETION_NOTHING;
	completion_r->outcome = outcome;
	completion_r->state = outcome == OUTCOME_DONE ? JOB_COMPLETED : 0;
}

/* "payload.a.b": the text of that member, in the job's arena; NULL when there is none to take. */
static const char *payload_text(const struct claimed_job *job, const char *path)
{
	struct json_slice value = { .text = job->payload, .bytes = job->payload_bytes };
	char *names = arena_strdup(job->arena, path), *rest = NULL;

	for (char *name = strtok_r(names, ".", &rest); name; name = strtok_r(NULL, ".", &rest)) {
		if (name != names) /* the first one is "payload" */
			value = json_slice_get(value, name);
	}
	if (!value.bytes || strchr("{[n", value.text[0]))
		return NULL;
	return value.text[0] == '"' ? json_slice_string(job->arena, value)
				    : arena_strndup(job->arena, value.text, value.bytes);
}

/* Where the type says that its results go; NULL: they stay in the store. */
static const struct result_target *target_of(const struct attempt_end *end)
{
	const struct claimed_job *job = end->job;
	struct result_target *target;
	char id[UUID_TEXT];

	if (!end->type || !end->type->result_topic)
		return NULL;
	target = ARENA_NEW(job->arena, struct result_target);
	target->topic = end->type->result_topic;
	target->exchange = end->type->result_exchange;
	target->key = end->type->result_key ? payload_text(job, end->type->result_key) : NULL;
	if (!target->key || !*target->key)
		target->key = job->order_key;
	if (!target->key)
		target->key = arena_strdup(job->arena, uuid_format(&job->id, id));
	return target;
}

/* The jobs that tell of a completed one. */
static void add_webhooks(const struct attempt_end *end, struct completion *completion_r)
{
	const struct claimed_job *job = end->job;
	struct webhook_source source = {
		.id = job->id,
		.tenant = job->tenant,
		.type = job->type,
		.attempt = job->attempt,
		.state = JOB_COMPLETED,
		.result = end->result,
		.traceparent = job->traceparent,
		.callback = job->callback,
	};

	if (end->type)
		source.hooks = end->type->hooks;
	if (!source.callback && !source.hooks.count)
		return;
	source.finished_ms = clock_wall_ms();
	completion_r->webhook_count = webhook_jobs(job->arena, &source, &completion_r->webhooks);
}

/* What a type that records failures only must not leave behind; NULL: it did not. */
static const char *forbidden_trace(const struct attempt_end *end)
{
	if (!end->type || !end->type->record_failures)
		return NULL;
	if (end->result)
		return "it returned a result, and its type says record: failures";
	if (end->writes.statement_count || end->writes.follow_up_count)
		return "it wrote something, and its type says record: failures";
	return end->receipt_count ? "it made a call, and its type says record: failures" : NULL;
}

/* What the type's schema says against the result, in the job's arena; NULL: nothing. A result that
 * is not there is null. */
static const char *result_fault(const struct attempt_end *end)
{
	const char *text = end->result ? end->result : "null", *reason = NULL;
	struct schema_faults faults;
	struct json_error error;
	json_t *result;

	if (end->outcome != OUTCOME_DONE || !end->type || !end->type->result_schema)
		return NULL;
	result = json_text_parse(text, strlen(text), &error);
	if (!result)
		reason = arena_printf(end->job->arena, "its result is not JSON: %s", error.message);
	else if (!schema_validate(end->type->result_schema, result, end->job->arena, &faults))
		reason = schema_faults_brief(&faults, "result", end->job->arena);
	json_decref(result);
	return reason;
}

static void discard(const struct attempt_end *end, const char *reason,
		    struct completion *completion_r)
{
	finish(end, JOB_DISCARDED, completion_r);
	completion_r->outcome = OUTCOME_DISCARD;
	completion_r->reason = reason;
}

static void settle_done(const struct attempt_end *end, const struct settle_rules *rules,
			struct completion *completion_r)
{
	const char *forbidden = forbidden_trace(end);

	if (forbidden) {
		discard(end, forbidden, completion_r);
		return;
	}
	if (end->result && strlen(end->result) > rules->result_bytes_max) {
		discard(end, "its result is larger than WINDLASS_RESULT_MAX", completion_r);
		return;
	}
	if (end->type && end->type->record_failures && end->job->source) {
		nothing(OUTCOME_DONE, completion_r);
		return;
	}
	finish(end, JOB_COMPLETED, completion_r);
	completion_r->result = end->result;
	completion_r->writes = end->writes;
	/* for another attempt, which there is only when a write fails */
	if (!end->writes.statement_count && !end->writes.follow_up_count)
		completion_r->receipt_count = 0;
	add_webhooks(end, completion_r);
	if (rules->publishes)
		completion_r->target = target_of(end);
}

/* A failed attempt that counts. */
static void settle_failure(const struct attempt_end *end, struct completion *completion_r)
{
	const struct retry_policy none = RETRY_POLICY_DEFAULT;
	const struct retry_policy *policy = end->type ? &end->type->retry : &none;
	int max_attempts = end->job->max_attempts ? end->job->max_attempts : policy->max_attempts;
	int failures = end->job->failures + 1;
	bool struck_out =
		end->outcome == OUTCOME_CRASHED && end->job->strikes + 1 >= JOB_STRIKES_MAX;

	if (failures >= max_attempts || struck_out) {
		finish(end, JOB_DISCARDED, completion_r);
		return;
	}
	later(end->after_ms >= 0 ? end->after_ms
				 : retry_policy_delay_ms(policy, failures, random_below),
	      true, completion_r);
}

/* A message that somebody else may as well have right now: there is nothing to store about it. */
static bool goes_back(const struct attempt_end *end)
{
	return end->outcome == OUTCOME_RELEASED && end->after_ms <= 0 && end->job->source &&
	       !end->job->behind && !end->receipt_count;
}

static bool decide(const struct attempt_end *end, const struct settle_rules *rules,
		   struct completion *completion_r)
{
	bool fails = end->outcome == OUTCOME_RETRY || end->outcome == OUTCOME_CRASHED;

	if (end->again && !end->cancel_asked && !end->lost && !end->park &&
	    end->again_count < JOB_AGAIN_MAX)
		return false;
	*completion_r = (struct completion){
		.job = end->job,
		.outcome = end->outcome,
		.reason = end->reason,
		.receipts = end->receipts,
		.receipt_count = end->receipt_count,
		.disables = end->disables,
	};
	if (end->lost) {
		nothing(OUTCOME_CANCELLED, completion_r);
	} else if (end->forbidden) {
		discard(end, end->forbidden, completion_r);
	} else if (end->park && !end->cancel_asked) {
		park(end, completion_r);
	} else if (end->outcome == OUTCOME_DONE) {
		settle_done(end, rules, completion_r);
	} else if (end->outcome == OUTCOME_DISCARD) {
		finish(end, JOB_DISCARDED, completion_r);
	} else if (end->outcome == OUTCOME_CANCELLED || end->cancel_asked) {
		finish(end, JOB_CANCELLED, completion_r);
		completion_r->outcome = OUTCOME_CANCELLED;
	} else if (fails) {
		settle_failure(end, completion_r);
	} else if (goes_back(end)) {
		nothing(OUTCOME_RELEASED, completion_r);
	} else {
		CHECK(end->outcome == OUTCOME_SNOOZE || end->outcome == OUTCOME_RELEASED);
		later(end->after_ms, false, completion_r);
	}
	return true;
}

bool settle_attempt(const struct attempt_end *end, const struct settle_rules *rules,
		    struct completion *completion_r)
{
	const char *fault = result_fault(end);
	struct attempt_end failed = *end;

	if (!fault)
		return decide(end, rules, completion_r);
	failed.outcome = OUTCOME_RETRY;
	failed.after_ms = -1;
	failed.reason = fault;
	failed.result = NULL;
	failed.writes = (struct write_set){ 0 };
	return decide(&failed, rules, completion_r);
}

void settle_refused(const struct completion *completion, struct attempt_end *end)
{
	CHECK(completion->fate == COMPLETION_FAILED || completion->fate == COMPLETION_UNMET);
	end->result = NULL;
	end->writes = (struct write_set){ 0 };
	end->again = completion->fate == COMPLETION_UNMET;
	end->outcome = OUTCOME_RETRY;
	end->after_ms = -1;
	end->reason = arena_strdup(end->job->arena, completion->error.message);
	if (completion->fate == COMPLETION_UNMET) {
		end->reason = "a row expectation was not met";
	} else if (completion->error.code == ERROR_CONTENTION) {
		end->outcome = OUTCOME_RELEASED; /* nobody's fault */
		end->after_ms =
			CONTENTION_DELAY_MS / 2 + (int64_t)random_below(CONTENTION_DELAY_MS);
	}
}

enum settle_verb settle_verb(const struct completion *completion)
{
	CHECK(completion->fate == COMPLETION_COMMITTED || completion->fate == COMPLETION_LOST);
	if (completion->fate == COMPLETION_LOST)
		return SETTLE_ACK; /* somebody else has given it its end */
	if (completion->kind == COMPLETION_NOTHING && completion->outcome == OUTCOME_RELEASED)
		return SETTLE_RETURN;
	if (completion->kind == COMPLETION_LATER || completion->kind == COMPLETION_ADOPT)
		return SETTLE_LATER;
	return completion->state == JOB_DISCARDED ? SETTLE_DEAD : SETTLE_ACK;
}
