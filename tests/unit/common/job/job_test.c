/* SPDX-License-Identifier: Apache-2.0 */
/* Names of states, outcomes and priorities both ways, and the rule for names. Stored numbers must
 * not move. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/check.h"
#include "common/job/job.h"

static void states(void **state)
{
	static const struct {
		enum job_state value;
		int number;
		const char *name;
		bool terminal;
	} cases[] = {
		{ JOB_SCHEDULED, 1, "scheduled", false }, { JOB_AVAILABLE, 2, "available", false },
		{ JOB_QUEUED, 3, "queued", false },       { JOB_RUNNING, 4, "running", false },
		{ JOB_RETRYABLE, 5, "retryable", false }, { JOB_WAITING, 6, "waiting", false },
		{ JOB_PARKED, 7, "parked", false },       { JOB_COMPLETED, 8, "completed", true },
		{ JOB_DISCARDED, 9, "discarded", true },  { JOB_CANCELLED, 10, "cancelled", true },
	};
	enum job_state parsed;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		assert_int_equal(cases[i].value, cases[i].number);
		assert_string_equal(job_state_name(cases[i].value), cases[i].name);
		assert_true(job_state_parse(cases[i].name, &parsed));
		assert_int_equal(parsed, cases[i].value);
		assert_int_equal(job_state_terminal(cases[i].value), cases[i].terminal);
	}
	assert_false(job_state_parse("", &parsed));
	assert_false(job_state_parse("Running", &parsed));
	assert_false(job_state_parse("done", &parsed));
}

static void outcomes(void **state)
{
	static const char *const names[] = { "done",   "retry",     "crashed", "discard",
					     "snooze", "cancelled", "released" };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		assert_string_equal(job_outcome_name((enum job_outcome)(OUTCOME_DONE + i)),
				    names[i]);
	assert_int_equal(OUTCOME_RELEASED, OUTCOME_DONE + ARRAY_LEN(names) - 1);
}

static void priorities(void **state)
{
	enum job_priority priority;

	(void)state;
	for (int i = 0; i < PRIORITY_COUNT; i++) {
		assert_true(job_priority_parse(job_priority_name((enum job_priority)i), &priority));
		assert_int_equal(priority, i);
	}
	assert_string_equal(job_priority_name(PRIORITY_HIGH), "high");
	assert_false(job_priority_parse("urgent", &priority));
	assert_false(job_priority_parse("", &priority));
}

static void names(void **state)
{
	static const struct {
		const char *text;
		bool ok;
	} cases[] = {
		{ "a", true },          { "email.send", true }, { "Order_2:x-y", true },
		{ "9", true },          { "", false },          { ".a", false },
		{ "-a", false },        { "_a", false },        { "a b", false },
		{ "a/b", false },       { "a\n", false },       { "\xc3\xa9", false },
		{ "a\xc3\xa9", false }, { "a;drop", false },    { "a'", false },
		{ ":a", false },
	};
	char text[JOB_TYPE_MAX + 2];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		if (job_name_valid(cases[i].text) != cases[i].ok)
			fail_msg("\"%s\": want %d", cases[i].text, cases[i].ok);
	}
	memset(text, 'a', sizeof(text));
	text[JOB_TYPE_MAX] = '\0';
	assert_true(job_name_valid(text));
	text[JOB_TYPE_MAX] = 'a';
	text[JOB_TYPE_MAX + 1] = '\0';
	assert_false(job_name_valid(text));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(states),
		cmocka_unit_test(outcomes),
		cmocka_unit_test(priorities),
		cmocka_unit_test(names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
