/* SPDX-License-Identifier: Apache-2.0 */
/* What an answer means for a delivery, also when the worker is being stopped. Deliveries themselves
 * are tests/scenario. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/arena.h"
#include "workers/engine/http_job.h"
#include "workers/engine/webhook_job.h"

static const char payload[] = "{\"url\":\"https://a.example/\",\"event\":{}}";

static const struct row {
	enum task_cancel cancel;
	enum remote_fate fate;
	int status;
	bool held;
	enum job_outcome outcome; /* 0: the rules decide */
} rows[] = {
	{ TASK_GO_ON, REMOTE_ANSWERED, 200, false, OUTCOME_DONE },
	{ TASK_GO_ON, REMOTE_ANSWERED, 410, false, OUTCOME_DISCARD },
	{ TASK_GO_ON, REMOTE_ANSWERED, 404, false, OUTCOME_RETRY },
	{ TASK_GO_ON, REMOTE_UNKNOWN, 0, false, OUTCOME_RETRY },
	{ TASK_GO_ON, REMOTE_NOT_SENT, 0, true, 0 },
	/* the answer was on its way when the call was aborted */
	{ TASK_CANCEL_DRAIN, REMOTE_ANSWERED, 200, false, OUTCOME_DONE },
	{ TASK_CANCEL_DRAIN, REMOTE_ANSWERED, 500, false, OUTCOME_RETRY },
	{ TASK_CANCEL_REQUESTED, REMOTE_ANSWERED, 204, false, OUTCOME_DONE },
	{ TASK_CANCEL_DRAIN, REMOTE_UNKNOWN, 0, false, 0 },
};

static void answers_are_judged(void **state)
{
	struct arena *arena = arena_new(0);
	struct claimed_job job = { .arena = arena,
				   .payload = payload,
				   .payload_bytes = strlen(payload) };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const struct row *row = &rows[i];
		const struct http_answer answer = {
			.fate = row->fate, .status = row->status, .held = row->held, .error = "x"
		};
		struct hand hand = { .task = { .job = &job, .cancel = row->cancel } };
		struct task_outcome outcome;
		bool judged = webhook_job_judge(&hand, &answer, &outcome);

		if (judged != (row->outcome != 0) || (judged && outcome.kind != row->outcome))
			fail_msg("row %zu: judged %d as %d", i, judged, outcome.kind);
	}
	arena_free(&arena);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(answers_are_judged) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
