/* SPDX-License-Identifier: Apache-2.0 */
/* The pool with programs of other languages as handlers: the one-liner of PROTOCOL.md, several jobs
 * at once, batches, and programs that do not do as they should. */
#include "workers/pool/pool.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "tests/unit/workers/pool/pool_fixture.h"

static const char one_liner[] =
	"import sys, json\n"
	"for line in sys.stdin:\n"
	"    j = json.loads(line)\n"
	"    \"payload\" in j and print(json.dumps({\"job\": j[\"job\"], \"done\": {\"got\": j[\"payload\"]}}), flush=True)\n";

static const char many_handed[] =
	"import sys, json, threading, time, os\n"
	"lock = threading.Lock()\n"
	"def say(x):\n"
	"    with lock: print(json.dumps(x), flush=True)\n"
	"def work(j):\n"
	"    say({'job': j['job'], 'started': True})\n"
	"    if j['payload'].get('crash'): time.sleep(0.05); os._exit(3)\n"
	"    time.sleep(0.2)\n"
	"    say({'job': j['job'], 'done': {}})\n"
	"say({'ready': 1, 'concurrency': 4})\n"
	"for line in sys.stdin:\n"
	"    j = json.loads(line)\n"
	"    if 'payload' in j: threading.Thread(target=work, args=(j,), daemon=True).start()\n"
	"time.sleep(0.3)\n";

static const char batch_reader[] =
	"import sys, json, os\n"
	"for line in sys.stdin:\n"
	"    j = json.loads(line)\n"
	"    for one in j.get('batch', []):\n"
	"        if one['payload'].get('crash'): os._exit(3)\n"
	"        if one['payload'].get('ask'):\n"
	"            print(json.dumps({'job': one['job'], 'ask': 1, 'query': 'SELECT 1', 'args': []}), flush=True)\n"
	"            assert json.loads(sys.stdin.readline())['rows'] == [[5, 'tea']]\n"
	"    for one in j.get('batch', []):\n"
	"        print(json.dumps({'job': one['job'], 'done': len(j['batch'])}), flush=True)\n";

static const char once[] =
	"#!/bin/sh\n"
	"read hello; read job; id=${job#*:\\\"}; id=${id%%\\\"*}\n"
	"echo hello from sh\n"
	"echo \"{\\\"job\\\":\\\"$id\\\",\\\"done\\\":\\\"$SECRET$GIVEN\\\"}\"\n";

static void programs_write_one_line(void **state)
{
	static struct fixture fixture;

	(void)state;
	fixture_file("one.py", one_liner, 0644);
	fixture_open(&fixture, "jobs:\n  one: {exec: [python3, one.py]}\n", 2);
	for (int i = 0; i < 50; i++)
		fixture_run(&fixture, "one", "{\"x\": 1}");
	assert_true(fixture_wait(&fixture, 50, 20000));
	for (int i = 0; i < 50; i++)
		fixture_expect(fixture.tasks[i].task, OUTCOME_DONE, "{\"got\": {\"x\": 1}}");
	fixture_close(&fixture);
}

static void programs_that_exit_after_each_job_are_no_strike(void **state)
{
	static struct fixture fixture;

	(void)state;
	setenv("SECRET", "engine's", 1);
	setenv("GIVEN", "given", 1);
	fixture_file("once.sh", once, 0755);
	fixture_open(&fixture, "jobs:\n  once: {exec: [./once.sh], env: [GIVEN]}\n", 1);
	for (int i = 0; i < 10; i++)
		fixture_run(&fixture, "once", "{}");
	assert_true(fixture_wait(&fixture, 10, 20000));
	for (int i = 0; i < 10; i++)
		fixture_expect(fixture.tasks[i].task, OUTCOME_DONE, "\"given\"");
	fixture_close(&fixture);
}

static void programs_work_at_several_jobs(void **state)
{
	static struct fixture fixture;
	struct task *guilty;
	int64_t began_ms;

	(void)state;
	fixture_file("many.py", many_handed, 0644);
	fixture_open(&fixture, "jobs:\n  four: {exec: [python3, many.py]}\n", 1);
	fixture_run(&fixture, "four", "{}");
	assert_true(fixture_wait(&fixture, 1, 10000));
	began_ms = clock_mono_ms();
	for (int i = 0; i < 8; i++)
		fixture_run(&fixture, "four", "{}");
	assert_true(fixture_wait(&fixture, 9, 10000));
	if (!SANITIZED)
		assert_true(clock_mono_ms() - began_ms <
			    1200); /* one after the other it would be 1.6 s */
	for (int i = 0; i < 6; i++)
		fixture_run(&fixture, "four", "{}");
	guilty = fixture_run(&fixture, "four", "{\"crash\":true}");
	assert_true(fixture_wait(&fixture, 16, 20000));
	for (size_t i = 0; i < fixture.task_count; i++)
		fixture_expect(fixture.tasks[i].task,
			       fixture.tasks[i].task == guilty ? OUTCOME_CRASHED : OUTCOME_DONE,
			       NULL);
	fixture_close(&fixture);
}

static void programs_take_batches(void **state)
{
	static struct fixture fixture;
	struct task *guilty = NULL;

	(void)state;
	fixture_file("batch.py", batch_reader, 0644);
	fixture_open(&fixture, "jobs:\n  many: {exec: [python3, batch.py], batch: 5}\n", 1);
	fixture.ask = fixture_answer;
	for (int i = 0; i < 10; i++) {
		struct task *task = fixture_run(&fixture, "many",
						i == 3   ? "{\"crash\":1}"
						: i == 6 ? "{\"ask\":1}"
							 : "{}");

		guilty = i == 3 ? task : guilty;
	}
	assert_true(fixture_wait(&fixture, 10, 20000));
	for (size_t i = 0; i < fixture.task_count; i++)
		fixture_expect(fixture.tasks[i].task,
			       fixture.tasks[i].task == guilty ? OUTCOME_CRASHED : OUTCOME_DONE,
			       NULL);
	fixture_expect(guilty, OUTCOME_CRASHED, "exited with 3 while running");
	fixture_close(&fixture);
}

static void bad_programs_harm_only_their_job(void **state)
{
	static struct fixture fixture;
	static const struct {
		const char *type;
		enum job_outcome kind;
		const char *reason;
	} cases[] = {
		{ "missing", OUTCOME_RETRY, "cannot start" },
		{ "silent", OUTCOME_RETRY, "exited with 0 before it was ready" },
		{ "deaf", OUTCOME_RETRY, "timed out after 500ms" },
		{ "babbler", OUTCOME_CRASHED, "broke the protocol" },
		{ "good", OUTCOME_DONE, NULL },
	};

	(void)state;
	fixture_file("one.py", one_liner, 0644);
	fixture_file("missing.sh", "#!/no/such/interpreter\n", 0755);
	fixture_open(&fixture,
		     "jobs:\n"
		     "  missing: {exec: [./missing.sh]}\n"
		     "  silent: {exec: [\"true\"]}\n"
		     "  deaf: {exec: [sleep, \"100\"], timeout: 500ms}\n"
		     "  babbler: {exec: [sh, -c, \"read a; read b; echo '{]'; sleep 100\"]}\n"
		     "  good: {exec: [python3, one.py]}\n",
		     8);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		fixture_run(&fixture, cases[i].type, "{}");
	assert_true(fixture_wait(&fixture, ARRAY_LEN(cases), 20000));
	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		fixture_expect(fixture.tasks[i].task, cases[i].kind, cases[i].reason);
	fixture_close(&fixture);
}

/* A host that does not read must not stop the loop, nor cost more than its own. */
static void a_slow_reader_blocks_nobody(void **state)
{
	static struct fixture fixture;
	char *payload = malloc(200 * 1024 + 16);
	size_t bytes = 200 * 1024;

	(void)state;
	fixture_file("one.py", one_liner, 0644);
	fixture_open(&fixture,
		     "jobs:\n"
		     "  slow: {exec: [sh, -c, \"sleep 1; exec python3 one.py\"], batch: 1}\n"
		     "  good: {exec: [python3, one.py]}\n",
		     2);
	memset(payload, 'x', bytes);
	memcpy(payload, "{\"s\":\"", 6);
	memcpy(payload + bytes, "\"}", 3);
	for (int i = 0; i < 4; i++)
		fixture_run(&fixture, "slow", payload);
	for (int i = 0; i < 20; i++)
		fixture_run(&fixture, "good", "{}");
	assert_true(fixture_wait(&fixture, 24, 20000));
	for (size_t i = 0; i < fixture.task_count; i++)
		fixture_expect(fixture.tasks[i].task, OUTCOME_DONE, NULL);
	free(payload);
	fixture_close(&fixture);
}

static void groups_share_the_hosts(void **state)
{
	static struct fixture fixture;

	(void)state;
	fixture_file("one.py", one_liner, 0644);
	fixture_open(
		&fixture,
		"jobs:\n  sleep: {module: @/plain.so}\n  one: {exec: [python3, one.py]}\n  fine: {module: @/poison.so}\n",
		1);
	for (int i = 0; i < 30; i++)
		fixture_run(&fixture, "sleep", "{\"us\":30000}");
	fixture_run(&fixture, "one", "{}");
	fixture_run(&fixture, "fine", "{}");
	assert_true(fixture_wait(&fixture, 32, 30000));
	for (size_t i = 0; i < fixture.task_count; i++)
		fixture_expect(fixture.tasks[i].task, OUTCOME_DONE, NULL);
	fixture_close(&fixture);
}

static void reload_replaces_hosts(void **state)
{
	static struct fixture fixture;
	char path[160];
	struct task *before, *after;

	(void)state;
	setenv("GIVEN", "one", 1);
	fixture_file(
		"say.py",
		"import sys, json, os\n"
		"for line in sys.stdin:\n"
		"    j = json.loads(line)\n"
		"    if 'payload' in j: print(json.dumps({'job': j['job'], 'done': os.environ.get('GIVEN', 'none')}), flush=True)\n",
		0644);
	fixture_open(&fixture, "jobs:\n  say: {exec: [python3, say.py]}\n", 2);
	before = fixture_run(&fixture, "say", "{}");
	assert_true(fixture_wait(&fixture, 1, 10000));
	fixture_expect(before, OUTCOME_DONE, "\"none\"");
	fixture_file("jobs.yaml", "jobs:\n  say: {exec: [python3, say.py], env: [GIVEN]}\n", 0644);
	snprintf(path, sizeof(path), "%s/jobs.yaml", fixture_directory());
	definitions_unref(&fixture.defs);
	fixture.defs = definitions_load(path, stderr);
	pool_reload(fixture.pool, fixture.defs);
	after = fixture_run(&fixture, "say", "{}");
	assert_true(fixture_wait(&fixture, 2, 10000));
	fixture_expect(after, OUTCOME_DONE, "\"one\"");
	fixture_close(&fixture);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(programs_write_one_line),
		cmocka_unit_test(programs_that_exit_after_each_job_are_no_strike),
		cmocka_unit_test(programs_work_at_several_jobs),
		cmocka_unit_test(programs_take_batches),
		cmocka_unit_test(bad_programs_harm_only_their_job),
		cmocka_unit_test(a_slow_reader_blocks_nobody),
		cmocka_unit_test(groups_share_the_hosts),
		cmocka_unit_test(reload_replaces_hosts),
	};
	int failed;

	fixture_be_host(argc, argv);
	signal(SIGPIPE, SIG_IGN);
	log_init("test", LOG_FATAL);
	fixture_build();
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	fixture_remove();
	return failed;
}
