/* SPDX-License-Identifier: Apache-2.0 */
/* From outcome to what is stored. The order of the rules matters: a row expectation that may still
 * come true runs again, a cancel request beats another attempt, a strike beats max_attempts, and
 * only then the backoff decides. Called by the engine through consumer_ops; knows no store and no
 * broker. */
#include "consumers/settle/settle.h"

#include <string.h>

#include "common/base/arena.h"
#include "common/base/clock.h"

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

static void settle_done(const struct attempt_end *end, size_t result_bytes_max,
			struct completion *completion_r)
{
	if (end->result && strlen(end->result) > result_bytes_max) {
		finish(end, JOB_DISCARDED, completion_r);
		completion_r->outcome = OUTCOME_DISCARD;
		completion_r->reason = "its result is larger than WINDLASS_RESULT_MAX";
		return;
	}
	finish(end, JOB_COMPLETED, completion_r);
	completion_r->result = end->result;
	completion_r->writes = end->writes;
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

bool settle_attempt(const struct attempt_end *end, size_t result_bytes_max,
		    struct completion *completion_r)
{
	bool fails = end->outcome == OUTCOME_RETRY || end->outcome == OUTCOME_CRASHED;

	if (end->again && !end->cancel_asked && end->again_count < JOB_AGAIN_MAX)
		return false;
	*completion_r = (struct completion){
		.job = end->job,
		.outcome = end->outcome,
		.reason = end->reason,
		.receipts = end->receipts,
		.receipt_count = end->receipt_count,
	};
	if (end->outcome == OUTCOME_DONE) {
		settle_done(end, result_bytes_max, completion_r);
	} else if (end->outcome == OUTCOME_DISCARD) {
		finish(end, JOB_DISCARDED, completion_r);
	} else if (end->outcome == OUTCOME_CANCELLED || end->cancel_asked) {
		finish(end, JOB_CANCELLED, completion_r);
		completion_r->outcome = OUTCOME_CANCELLED;
	} else if (fails) {
		settle_failure(end, completion_r);
	} else {
		CHECK(end->outcome == OUTCOME_SNOOZE || end->outcome == OUTCOME_RELEASED);
		later(end->after_ms, false, completion_r);
	}
	return true;
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
	if (completion->kind == COMPLETION_LATER)
		return SETTLE_LATER;
	return completion->state == JOB_DISCARDED ? SETTLE_DEAD : SETTLE_ACK;
}
