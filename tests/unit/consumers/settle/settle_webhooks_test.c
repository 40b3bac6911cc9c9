/* SPDX-License-Identifier: Apache-2.0 */
/* What settling makes of those who are to be told of a job's end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/arena.h"
#include "common/job/webhook.h"
#include "consumers/settle/settle.h"

static const struct settle_rules rules = { .result_bytes_max = 8, .publishes = true };
static const struct job_type type = {
	.name = "t",
	.retry = { .max_attempts = 3, .base_ms = 1000, .cap_ms = 60000 },
};

static void completed_jobs_tell(void **state)
{
	static const struct webhook_hook hooks[] = {
		{ .url = "https://a", .on = 1u << JOB_COMPLETED },
		{ .url = "https://b", .on = 1u << JOB_DISCARDED },
	};
	const struct job_type told = { .name = "t",
				       .retry = type.retry,
				       .hooks = { hooks, ARRAY_LEN(hooks) } };
	struct claimed_job job = { .arena = arena_new(0), .tenant = "", .type = "t" };
	struct attempt_end end = { .job = &job, .type = &told, .outcome = OUTCOME_DONE };
	struct completion got;

	(void)state;
	end.result = "{}";
	assert_true(settle_attempt(&end, &rules, &got));
	assert_int_equal(got.webhook_count, 1);
	assert_non_null(strstr(got.webhooks[0].payload, "\"url\":\"https://a\""));
	assert_non_null(strstr(got.webhooks[0].payload, "\"result\":{},"));
	job.callback = "https://c";
	assert_true(settle_attempt(&end, &rules, &got));
	assert_int_equal(got.webhook_count, 2);
	end.type = NULL; /* of another version of the file */
	assert_true(settle_attempt(&end, &rules, &got));
	assert_int_equal(got.webhook_count, 1);
	/* Other ends are the store's, and attempts that are no ends nobody's. */
	end.type = &told;
	end.outcome = OUTCOME_DISCARD;
	assert_true(settle_attempt(&end, &rules, &got));
	assert_int_equal(got.webhook_count, 0);
	end.outcome = OUTCOME_RETRY;
	assert_true(settle_attempt(&end, &rules, &got));
	assert_int_equal(got.webhook_count, 0);
	arena_free(&job.arena);
}

static void a_gone_address_is_passed_on(void **state)
{
	struct claimed_job job = { .arena = arena_new(0), .tenant = "", .type = WEBHOOK_TYPE };
	struct attempt_end end = {
		.job = &job, .type = &type, .outcome = OUTCOME_DISCARD, .disables = "https://a"
	};
	struct completion got;

	(void)state;
	assert_true(settle_attempt(&end, &rules, &got));
	assert_int_equal(got.state, JOB_DISCARDED);
	assert_string_equal(got.disables, "https://a");
	arena_free(&job.arena);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(completed_jobs_tell),
		cmocka_unit_test(a_gone_address_is_passed_on),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
