/* SPDX-License-Identifier: Apache-2.0 */
/* The verdict on jobs that come in: known, unknown here, unchecked, cancelled; and the alarm about
 * types that stay unknown. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/base/arena.h"
#include "consumers/receive/receive.h"

static struct definitions *definitions;

static int setup(void **state)
{
	char path[] = "/tmp/receive_test_XXXXXX";
	int fd = mkstemp(path);
	FILE *file = fd < 0 ? NULL : fdopen(fd, "w");

	(void)state;
	if (!file)
		return -1;
	fputs("jobs:\n"
	      "  plain: {sql: \"DELETE FROM t\"}\n"
	      "  strict: {sql: \"DELETE FROM t\", payload: {required: [who]}}\n",
	      file);
	fclose(file);
	definitions = definitions_load(path, stderr);
	unlink(path);
	return definitions ? 0 : -1;
}

static int teardown(void **state)
{
	(void)state;
	definitions_unref(&definitions);
	return 0;
}

static const struct {
	const char *name, *type, *payload;
	bool unchecked, cancel_asked;
	enum job_outcome want;
	int64_t want_after_ms;
	bool want_silent, want_reason;
} cases[] = {
	{ "runs", "plain", "{}", false, false, 0, -1, false, false },
	{ "checked at acceptance", "strict", "{}", false, false, 0, -1, false, false },
	{ "unchecked and good", "strict", "{\"who\":1}", true, false, 0, -1, false, false },
	{ "unchecked and bad", "strict", "{}", true, false, OUTCOME_DISCARD, -1, false, true },
	{ "unknown type", "other", "{}", false, false, OUTCOME_RELEASED, 5000, true, true },
	{ "unknown and unchecked", "other", "{}", true, false, OUTCOME_RELEASED, 5000, true, true },
	{ "cancelled meanwhile", "plain", "{}", false, true, OUTCOME_CANCELLED, -1, false, false },
	{ "cancelled and unknown", "other", "{}", false, true, OUTCOME_CANCELLED, -1, false,
	  false },
};

static void verdicts(void **state)
{
	struct receive *receive = receive_new();

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct claimed_job job = {
			.arena = arena_new(0),
			.type = cases[i].type,
			.queue = "default",
			.payload = cases[i].payload,
			.payload_bytes = strlen(cases[i].payload),
			.unchecked = cases[i].unchecked,
			.cancel_asked = cases[i].cancel_asked,
		};
		struct receive_verdict got;

		receive_arrive(receive, definitions, &job, 1000, &got);
		if (got.end != cases[i].want || got.after_ms != cases[i].want_after_ms ||
		    got.silent != cases[i].want_silent ||
		    (got.reason != NULL) != cases[i].want_reason ||
		    (got.type != NULL) != (strcmp(cases[i].type, "other") != 0))
			fail_msg("%s: end %d after %lld silent %d reason %s", cases[i].name,
				 got.end, (long long)got.after_ms, got.silent,
				 got.reason ? got.reason : "-");
		arena_free(&job.arena);
	}
	receive_free(&receive);
	assert_null(receive);
}

static size_t alarms_after(struct receive *receive, const char *type, int64_t now_ms)
{
	struct claimed_job job = {
		.type = type, .queue = "default", .payload = "{}", .payload_bytes = 2
	};
	struct receive_verdict got;

	receive_arrive(receive, definitions, &job, now_ms, &got);
	return receive_alarms(receive);
}

static void unknown_types_raise_an_alarm(void **state)
{
	struct receive *receive = receive_new();

	(void)state;
	for (int64_t ms = 0; ms < RECEIVE_UNKNOWN_ALARM_MS; ms += 5000)
		assert_int_equal(alarms_after(receive, "other", ms), 0);
	assert_int_equal(alarms_after(receive, "other", RECEIVE_UNKNOWN_ALARM_MS), 1);
	assert_int_equal(alarms_after(receive, "other", RECEIVE_UNKNOWN_ALARM_MS + 5000), 1);
	/* Not seen for a while, another worker took it: counted from the beginning. */
	assert_int_equal(alarms_after(receive, "other", 2 * RECEIVE_UNKNOWN_ALARM_MS), 0);
	receive_free(&receive);
}

static void unknown_types_are_bounded(void **state)
{
	struct receive *receive = receive_new();
	char name[16];

	(void)state;
	for (int i = 0; i < 1000; i++) {
		snprintf(name, sizeof(name), "type%d", i);
		assert_int_equal(alarms_after(receive, name, i), 0);
	}
	receive_free(&receive);
}

/* What a broker brought may be no job, or one whose place is in the store. */
static const struct {
	const char *name;
	struct claimed_job job;
	enum job_outcome want;
	const char *want_reason;
	bool want_silent;
} deliveries[] = {
	{ "a dead letter",
	  { .type = "plain", .refusal = "too-old" },
	  OUTCOME_DISCARD,
	  "too-old",
	  false },
	{ "of a type that nobody knows",
	  { .type = "windlass.undecodable", .refusal = "no JSON" },
	  OUTCOME_DISCARD,
	  "no JSON",
	  false },
	{ "a dead letter that was cancelled",
	  { .type = "plain", .refusal = "x", .cancel_asked = true },
	  OUTCOME_CANCELLED,
	  NULL,
	  false },
	{ "behind its key", { .type = "plain", .behind = true }, OUTCOME_RELEASED, NULL, true },
	{ "behind its key and unknown",
	  { .type = "other", .behind = true },
	  OUTCOME_RELEASED,
	  NULL,
	  true },
};

static void messages(void **state)
{
	struct receive *receive = receive_new();

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(deliveries); i++) {
		struct receive_verdict got;

		receive_arrive(receive, definitions, &deliveries[i].job, 1000, &got);
		if (got.end != deliveries[i].want || got.silent != deliveries[i].want_silent ||
		    (got.end == OUTCOME_RELEASED && got.after_ms != 0) ||
		    (got.reason != deliveries[i].want_reason &&
		     strcmp(got.reason, deliveries[i].want_reason) != 0))
			fail_msg("%s: end %d after %lld silent %d reason %s", deliveries[i].name,
				 got.end, (long long)got.after_ms, got.silent,
				 got.reason ? got.reason : "-");
	}
	assert_int_equal(receive_alarms(receive), 0);
	receive_free(&receive);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(verdicts),
		cmocka_unit_test(messages),
		cmocka_unit_test(unknown_types_raise_an_alarm),
		cmocka_unit_test(unknown_types_are_bounded),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
