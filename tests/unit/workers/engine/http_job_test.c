/* SPDX-License-Identifier: Apache-2.0 */
/* What answers mean when a definition says nothing else, and that a definition that says the same
 * gives the same sets. What attempts end in is tests/scenario/test_http_jobs.py. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/config/definitions.h"
#include "workers/engine/http_job.h"

static bool is_retried(int status)
{
	return status == 408 || status == 425 || status == 429 || status >= 500;
}

static void check_rules(const struct http_rules *rules)
{
	for (int status = 100; status < 600; status++) {
		if (status_set_has(&rules->ok, status) != (status / 100 == 2))
			fail_msg("ok: %d", status);
		if (status_set_has(&rules->retry, status) != is_retried(status))
			fail_msg("retry: %d", status);
	}
	for (size_t i = 0; i < 3; i++) {
		static const int none[] = { 0, 99, 600 };

		assert_false(status_set_has(&rules->ok, none[i]));
		assert_false(status_set_has(&rules->retry, none[i]));
	}
	assert_true(rules->retry_network);
	assert_int_equal(rules->ambiguous, CALL_RESEND_SAME_KEY);
}

static const struct http_rules *rules_of(const char *members, struct definitions **defs_r)
{
	char text[512];

	snprintf(text, sizeof(text), "jobs: {a: {http: {url: https://h/%s}}}\n", members);
	*defs_r = definitions_parse(text, strlen(text), "t.yaml", stderr);
	assert_non_null(*defs_r);
	return &definitions_type(*defs_r, "a")->http.rules;
}

static void default_rules(void **state)
{
	struct definitions *defs;

	(void)state;
	check_rules(&http_rules_default);
	check_rules(rules_of("", &defs));
	definitions_unref(&defs);
	check_rules(rules_of(", ok: [2xx], retry_on: [408, 425, 429, 5xx, network]", &defs));
	definitions_unref(&defs);
}

static void own_rules(void **state)
{
	struct definitions *defs;
	const struct http_rules *rules = rules_of(", ok: [201, 404], retry_on: []", &defs);

	(void)state;
	assert_true(status_set_has(&rules->ok, 201) && status_set_has(&rules->ok, 404));
	assert_false(status_set_has(&rules->ok, 200) || status_set_has(&rules->retry, 500));
	assert_false(rules->retry_network);
	definitions_unref(&defs);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(default_rules),
		cmocka_unit_test(own_rules),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
