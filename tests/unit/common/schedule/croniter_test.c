/* SPDX-License-Identifier: Apache-2.0 */
/* croniter as the oracle: expressions in zones, around the changes of their clocks and far from
 * them, give the same times. croniter_oracle.py asks it. Says how many windows there were, and in
 * how many of them croniter's own treatment of zones is another one. */
#include <setjmp.h>
#include <spawn.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
#include <jansson.h>

#include "common/schedule/cron.h"

#define HERE      "tests/unit/common/schedule/"
#define CASES_MIN 150

extern char **environ;

static const char *python(void)
{
	const char *named = getenv("TEST_PYTHON");

	return named ? named : "build/venv/bin/python";
}

/* What croniter_oracle.py wrote, or NULL when there is no Python with croniter. CRON_CASES names a
 * file that it wrote before. */
static json_t *ask_oracle(void)
{
	char out[] = "/tmp/windlass-croniter-XXXXXX";
	char *argv[] = { (char *)(uintptr_t)python(), HERE "croniter_oracle.py", out, NULL };
	const char *made = getenv("CRON_CASES");
	int fd, status = -1;
	json_t *cases = NULL;
	pid_t pid;

	if (made)
		return json_load_file(made, 0, NULL);
	fd = mkstemp(out);
	assert_true(fd >= 0);
	close(fd);
	if (posix_spawnp(&pid, argv[0], NULL, NULL, argv, environ) == 0)
		waitpid(pid, &status, 0);
	if (status == 0)
		cases = json_load_file(out, 0, NULL);
	unlink(out);
	return cases;
}

static void check_case(struct zones *zones, const json_t *each)
{
	const char *text = json_string_value(json_object_get(each, "cron"));
	const char *name = json_string_value(json_object_get(each, "zone"));
	const json_t *ticks = json_object_get(each, "ticks");
	int64_t at = json_integer_value(json_object_get(each, "start")), want;
	const struct zone *zone;
	struct cron cron;
	struct error err;

	zone = zones_find(zones, name, &err);
	if (!zone || cron_parse(text, &cron, &err) < 0)
		fail_msg("\"%s\" in %s: %s", text, name, err.message);
	assert_true(json_array_size(ticks) > 0);
	for (size_t i = 0; i < json_array_size(ticks); i++) {
		int64_t before = at;

		at = cron_next(&cron, zone, at);
		want = json_integer_value(json_array_get(ticks, i));
		if (at != want)
			fail_msg("\"%s\" in %s after %lld: got %lld, want %lld", text, name,
				 (long long)before, (long long)at, (long long)want);
	}
}

static void agrees_with_croniter(void **state)
{
	json_t *answer = ask_oracle(), *cases = json_object_get(answer, "cases");
	struct zones *zones = zones_new();

	(void)state;
	if (!answer)
		skip();
	assert_true(json_array_size(cases) >= CASES_MIN);
	for (size_t i = 0; i < json_array_size(cases); i++)
		check_case(zones, json_array_get(cases, i));
	print_message("%zu windows; croniter itself differs in %lld, all at changes of clocks\n",
		      json_array_size(cases),
		      (long long)json_integer_value(json_object_get(answer, "differ")));
	zones_free(&zones);
	json_decref(answer);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(agrees_with_croniter) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
