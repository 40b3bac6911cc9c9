/* SPDX-License-Identifier: Apache-2.0 */
/* The pool with real hosts: modules and programs that behave, and every way of misbehaving, each of
 * which must cost its own job exactly one strike and no neighbour anything. */
#include "workers/pool/pool.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "tests/unit/workers/pool/pool_fixture.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED true /* signals end as exit codes, memory has no limit, and everything is slow \
			*/
#else
#define SANITIZED false
#endif

static const char module_yaml[] = "jobs:\n"
				  "  noop: {module: @/plain.so}\n"
				  "  echo: {module: @/plain.so}\n"
				  "  sleep: {module: @/plain.so}\n"
				  "  write: {module: @/plain.so}\n"
				  "  ask: {module: @/plain.so}\n"
				  "  wait: {module: @/plain.so, timeout: 300ms}\n"
				  "  say: {module: @/plain.so}\n"
				  "  many: {module: @/plain.so, batch: 10}\n";

static const char poison_yaml[] = "jobs:\n"
				  "  fine: {module: @/poison.so, memory: 128MiB}\n"
				  "  null: {module: @/poison.so, memory: 128MiB}\n"
				  "  abort: {module: @/poison.so, memory: 128MiB}\n"
				  "  stack: {module: @/poison.so, memory: 128MiB}\n"
				  "  exit: {module: @/poison.so, memory: 128MiB}\n"
				  "  loop: {module: @/poison.so, memory: 128MiB, timeout: 200ms}\n"
				  "  memory: {module: @/poison.so, memory: 128MiB}\n"
				  "  garbage: {module: @/poison.so, memory: 128MiB}\n"
				  "  partial: {module: @/poison.so, memory: 128MiB}\n"
				  "  huge: {module: @/poison.so, memory: 128MiB}\n"
				  "  stranger: {module: @/poison.so, memory: 128MiB}\n"
				  "  print: {module: @/poison.so, memory: 128MiB}\n"
				  "  kill: {module: @/poison.so, memory: 128MiB}\n";

static void assert_outcome(const struct task *task, enum job_outcome want,
			   const char *result_or_reason)
{
	const char *got =
		task->outcome.kind == OUTCOME_DONE ? task->outcome.result : task->outcome.reason;

	if (task->outcome.kind != want ||
	    (result_or_reason && (!got || !strstr(got, result_or_reason))))
		fail_msg("%s: outcome %d (%s), wanted %d (%s)", task->job->type, task->outcome.kind,
			 got ? got : "NULL", want,
			 result_or_reason ? result_or_reason : "anything");
}

/* ---- modules */
static void module_jobs_end(void **state)
{
	static struct fixture fixture;
	struct task *echo, *noop;

	(void)state;
	fixture_open(&fixture, module_yaml, 2);
	assert_int_equal(pool_room(fixture.pool), 2);
	echo = fixture_run(&fixture, "echo", "{\"a\":[1,2,\"\\u00e9\"],\n \"b\":1.50}");
	noop = fixture_run(&fixture, "noop", "{}");
	assert_int_equal(pool_in_hand(fixture.pool), 2);
	assert_true(fixture_wait(&fixture, 2, 10000));
	assert_int_equal(pool_in_hand(fixture.pool), 0);
	assert_outcome(echo, OUTCOME_DONE, NULL);
	assert_string_equal(echo->outcome.result, "{\"a\":[1,2,\"\\u00e9\"],  \"b\":1.50}");
	assert_outcome(noop, OUTCOME_DONE, NULL);
	assert_null(noop->outcome.result);
	assert_true(noop->started_ns > 0 && noop->ended_ns >= noop->started_ns);
	fixture_close(&fixture);
}

static void outcomes_arrive(void **state)
{
	static struct fixture fixture;
	static const struct {
		const char *payload;
		enum job_outcome kind;
		int64_t after_ms;
		const char *reason;
	} cases[] = {
		{ "{\"what\":\"retry\"}", OUTCOME_RETRY, 30000, "because of 7" },
		{ "{\"what\":\"discard\"}", OUTCOME_DISCARD, -1, "never" },
		{ "{\"what\":\"snooze\"}", OUTCOME_SNOOZE, 600000, NULL },
		{ "{\"what\":\"bad result\"}", OUTCOME_RETRY, -1, "the result is not JSON" },
		{ "{\"what\":\"bad enqueue\"}", OUTCOME_RETRY, -1, "wl_enqueue: not JSON" },
		{ "{\"what\":\"unknown type\"}", OUTCOME_RETRY, -1,
		  "follow-up job nobody.knows refused" },
		{ "{\"what\":\"nothing\"}", OUTCOME_RETRY, -1, "the handler returned 3" },
		{ "{\"what\":\"done\"}", OUTCOME_DONE, -1, NULL },
	};
	struct task *tasks[ARRAY_LEN(cases)];

	(void)state;
	fixture_open(&fixture, module_yaml, 2);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		tasks[i] = fixture_run(&fixture, "say", cases[i].payload);
	assert_true(fixture_wait(&fixture, ARRAY_LEN(cases), 20000));
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		assert_outcome(tasks[i], cases[i].kind, cases[i].reason);
		assert_int_equal(tasks[i]->outcome.after_ms, cases[i].after_ms);
	}
	fixture_close(&fixture);
}

static void write_sets_arrive(void **state)
{
	static struct fixture fixture;
	const struct write_set *writes;
	struct task *task, *again;
	char *result;

	(void)state;
	fixture_open(&fixture, module_yaml, 1);
	task = fixture_run(&fixture, "write", "{}");
	assert_true(fixture_wait(&fixture, 1, 10000));
	assert_outcome(task, OUTCOME_DONE, "{\"id\":\"");
	writes = &task->outcome.writes;
	assert_int_equal(writes->statement_count, 2);
	assert_int_equal(writes->statements[0].rows, 1);
	assert_int_equal(writes->statements[0].arg_count, 6);
	assert_string_equal(writes->statements[0].args[0].data, "a\"b");
	assert_true(writes->statements[0].args[1].kind == SQL_INT &&
		    writes->statements[0].args[1].i == INT64_MIN);
	assert_true(writes->statements[0].args[2].kind == SQL_FLOAT &&
		    writes->statements[0].args[2].d == 0.1);
	assert_true(writes->statements[0].args[3].kind == SQL_BOOL &&
		    writes->statements[0].args[3].i == 1);
	assert_true(writes->statements[0].args[4].kind == SQL_BLOB &&
		    writes->statements[0].args[4].bytes == 2);
	assert_true(writes->statements[0].args[5].kind == SQL_NULL);
	assert_int_equal(writes->statements[1].rows, SQL_ROWS_ANY);
	assert_int_equal(writes->lock_count, 1);
	assert_string_equal(writes->locks[0], "product:1");
	assert_int_equal(writes->follow_up_count, 1);
	assert_string_equal(writes->follow_ups[0].type, "noop");
	assert_int_equal(writes->follow_ups[0].priority, PRIORITY_HIGH);
	result = strdup(task->outcome.result);
	again = fixture_again(&fixture, task);
	assert_true(fixture_wait(&fixture, 1, 10000));
	assert_string_equal(again->outcome.result,
			    result); /* wl_new_id: the same on every attempt */
	free(result);
	fixture_close(&fixture);
}

static bool answer_asks(struct fixture *fixture, struct task_ask *ask)
{
	const char *members = "\"columns\":[\"price\",\"name\"],\"rows\":[[5,\"tea\"]]";

	if (ask->kind == TASK_ASK_STEP)
		members = ask->step_value[0] == '{' ? "\"value\":{\"price\":5}"
						    : "\"error\":\"no value\"";
	else if (ask->kind == TASK_ASK_CALL)
		members =
			"\"fate\":\"answered\",\"status\":200,\"body\":\"{\\\"ok\\\":1}\",\"error\":\"\"";
	pool_answer(fixture->pool, ask, members, strlen(members));
	return true;
}

static bool answer_unmet(struct fixture *fixture, struct task_ask *ask)
{
	if (ask->kind != TASK_ASK_STEP)
		return answer_asks(fixture, ask);
	pool_answer(fixture->pool, ask, "\"unmet\":0", 9);
	return true;
}

static bool answer_error(struct fixture *fixture, struct task_ask *ask)
{
	pool_answer(fixture->pool, ask, "\"error\":\"no such table\"", 23);
	return true;
}

static void questions_are_answered(void **state)
{
	static struct fixture fixture;
	struct task *task, *noop;

	(void)state;
	fixture_open(&fixture, module_yaml, 1);
	fixture.ask = answer_asks;
	task = fixture_run(&fixture, "ask", "{}");
	assert_true(fixture_wait(&fixture, 1, 10000));
	assert_outcome(
		task, OUTCOME_DONE,
		"{\"price\":5,\"name\":\"tea\",\"before\":null,\"value\":{\"price\":5},\"fate\":1,"
		"\"status\":200,\"body\":\"{\\\"ok\\\":1}\"}");
	task->steps = "{\"reserve\":{\"price\":4}}";
	fixture_again(&fixture, task);
	assert_true(fixture_wait(&fixture, 1, 10000));
	assert_outcome(task, OUTCOME_DONE, "\"before\":{\"price\":4},\"value\":{\"price\":4}");
	task->steps = NULL;
	fixture.ask = answer_unmet;
	fixture_again(&fixture, task);
	noop = fixture_run(&fixture, "noop", "{}"); /* behind it in the host that leaves */
	assert_true(fixture_wait(&fixture, 2, 10000));
	assert_outcome(task, OUTCOME_RETRY, "step reserve");
	assert_true(task->outcome.again);
	assert_outcome(noop, OUTCOME_DONE, NULL);
	fixture.ask = answer_error;
	fixture_again(&fixture, task);
	assert_true(fixture_wait(&fixture, 2, 10000));
	assert_outcome(task, OUTCOME_RETRY, "wl_query: no such table");
	assert_false(task->outcome.again);
	fixture_close(&fixture);
}

static void answers_after_the_end_are_dropped(void **state)
{
	static struct fixture fixture;
	struct task *task;

	(void)state;
	fixture_open(&fixture, module_yaml, 1);
	task = fixture_run(&fixture, "ask", "{}");
	while (!fixture.open_ask)
		loop_once(fixture.loop, 10);
	pool_abort(fixture.pool);
	assert_outcome(task, OUTCOME_RELEASED, NULL);
	pool_answer(fixture.pool, fixture.open_ask, "\"rows\":[]", 9);
	fixture_close(&fixture);
}

static void running_and_waiting_jobs_are_cancelled(void **state)
{
	static struct fixture fixture;
	struct task *running, *waiting;

	(void)state;
	fixture_open(&fixture, module_yaml, 1);
	running = fixture_run(&fixture, "wait", "{}");
	running->timeout_ms = 60000;
	while (fixture.progress_count == 0)
		loop_once(fixture.loop, 10);
	assert_true(fixture.progress == 0.5 && strcmp(fixture.note, "half") == 0);
	waiting = fixture_run(&fixture, "noop", "{}");
	fixture_spin(&fixture, 20);
	pool_cancel(fixture.pool, waiting, TASK_CANCEL_REQUESTED);
	assert_int_equal(fixture.ended, 1);
	assert_outcome(waiting, OUTCOME_CANCELLED, NULL);
	pool_cancel(fixture.pool, running, TASK_CANCEL_REQUESTED);
	assert_true(fixture_wait(&fixture, 2, 5000));
	assert_outcome(running, OUTCOME_CANCELLED, NULL);
	fixture_close(&fixture);
}

static void time_out_is_told_and_is_a_retry(void **state)
{
	static struct fixture fixture;
	struct task *task, *after;
	int64_t began_ms = clock_mono_ms();

	(void)state;
	fixture_open(&fixture, module_yaml, 1);
	task = fixture_run(&fixture, "wait", "{}");
	after = fixture_run(&fixture, "noop", "{}");
	assert_true(fixture_wait(&fixture, 2, 10000));
	assert_outcome(task, OUTCOME_RETRY, "timed out after 300ms");
	assert_outcome(after, OUTCOME_DONE, NULL);
	if (!SANITIZED)
		assert_true(clock_mono_ms() - began_ms <
			    1800); /* the handler polls: nobody waited for SIGKILL */
	fixture_close(&fixture);
}

static void drain_releases_what_has_not_started(void **state)
{
	static struct fixture fixture;
	struct task *running, *waiting[5];

	(void)state;
	fixture_open(&fixture, module_yaml, 1);
	running = fixture_run(&fixture, "sleep", "{\"us\":300000}");
	fixture_spin(&fixture, 150);
	for (size_t i = 0; i < ARRAY_LEN(waiting); i++)
		waiting[i] = fixture_run(&fixture, "noop", "{}");
	fixture_spin(&fixture, 10);
	pool_drain(fixture.pool);
	assert_int_equal(fixture.ended, 5);
	for (size_t i = 0; i < ARRAY_LEN(waiting); i++)
		assert_outcome(waiting[i], OUTCOME_RELEASED, NULL);
	assert_int_equal(pool_room(fixture.pool), 0);
	assert_true(fixture_wait(&fixture, 6, 5000));
	assert_outcome(running, OUTCOME_DONE, NULL);
	fixture_close(&fixture);
}

static void short_jobs_do_not_wait_behind_a_long_one(void **state)
{
	static struct fixture fixture;
	struct task *slow;
	int64_t began_ms;

	(void)state;
	fixture_open(&fixture, module_yaml, 2);
	for (int i = 0; i < 200; i++)
		fixture_run(&fixture, "sleep", "{}");
	assert_true(fixture_wait(&fixture, 200, 10000));
	began_ms = clock_mono_ms();
	slow = fixture_run(&fixture, "sleep", "{\"us\":1500000}");
	for (int i = 0; i < 100; i++)
		fixture_run(&fixture, "sleep", "{}");
	assert_true(fixture_wait(&fixture, 300, 10000));
	if (!SANITIZED)
		assert_true(clock_mono_ms() - began_ms < 1000);
	assert_int_equal(slow->outcome.kind, 0);
	assert_true(fixture_wait(&fixture, 301, 10000));
	for (size_t i = 0; i < fixture.task_count; i++)
		assert_outcome(fixture.tasks[i].task, OUTCOME_DONE, NULL);
	fixture_close(&fixture);
}

static void batches_are_taken_together_and_judged_alone(void **state)
{
	static struct fixture fixture;
	struct task *guilty = NULL, *tasks[25];

	(void)state;
	fixture_open(&fixture, module_yaml, 2);
	for (int i = 0; i < 25; i++)
		tasks[i] = fixture_run(&fixture, "many", "{}");
	assert_true(fixture_wait(&fixture, 25, 10000));
	assert_string_equal(tasks[0]->outcome.result, "10");
	for (int i = 0; i < 25; i++) {
		struct task *task = fixture_run(&fixture, "many", i == 7 ? "{\"crash\":1}" : "{}");

		guilty = i == 7 ? task : guilty;
	}
	assert_true(fixture_wait(&fixture, 50, 20000));
	for (size_t i = 0; i < fixture.task_count; i++)
		assert_outcome(fixture.tasks[i].task,
			       fixture.tasks[i].task == guilty ? OUTCOME_CRASHED : OUTCOME_DONE,
			       NULL);
	fixture_close(&fixture);
}

/* ---- poison */
static const struct {
	const char *type, *reason;
	enum job_outcome kind;
	bool plain_only; /* not under a sanitizer */
} poisons[] = {
	{ "null", "killed by signal 11 (Segmentation fault)", OUTCOME_CRASHED, false },
	{ "abort", "killed by signal 6 (Aborted)", OUTCOME_CRASHED, false },
	{ "stack", "killed by signal 11", OUTCOME_CRASHED, false },
	{ "exit", "exited with 0 while running", OUTCOME_CRASHED, false },
	{ "loop", "timed out after 200ms", OUTCOME_RETRY, false },
	{ "memory", "at its memory limit of 128 MiB", OUTCOME_CRASHED, true },
	{ "garbage", "broke the protocol: not JSON", OUTCOME_CRASHED, false },
	{ "partial", "exited with 0 while running", OUTCOME_CRASHED, false },
	{ "huge", "wrote a line longer than", OUTCOME_CRASHED, false },
	{ "stranger", "broke the protocol: an unknown job id", OUTCOME_CRASHED, false },
	{ "kill", "killed by signal 9 (Killed)", OUTCOME_CRASHED, false },
	{ "print", NULL, OUTCOME_DONE, false },
};

static bool words_hold(size_t i)
{
	return !SANITIZED || i >= 3;
}

static void every_poison_costs_its_own_job_one_strike(void **state)
{
	static struct fixture fixture;
	struct task *guilty[ARRAY_LEN(poisons)] = { NULL };
	size_t count = 0;

	(void)state;
	fixture_open(&fixture, poison_yaml, 2);
	for (size_t i = 0; i < ARRAY_LEN(poisons); i++) {
		for (int n = 0; n < 40; n++, count++)
			fixture_run(&fixture, "fine",
				    n % 10 ? "{\"n\":1}" : "{\"n\":1,\"us\":2000}");
		if (SANITIZED && poisons[i].plain_only)
			continue;
		guilty[i] = fixture_run(&fixture, poisons[i].type, "{}");
		count++;
	}
	assert_true(fixture_wait(&fixture, count, 60000));
	for (size_t i = 0; i < ARRAY_LEN(poisons); i++) {
		if (guilty[i])
			assert_outcome(guilty[i], poisons[i].kind,
				       words_hold(i) ? poisons[i].reason : NULL);
	}
	for (size_t i = 0; i < fixture.task_count; i++) {
		if (strcmp(fixture.tasks[i].task->job->type, "fine") == 0)
			assert_outcome(fixture.tasks[i].task, OUTCOME_DONE, "{\"n\":1}");
	}
	fixture_close(&fixture);
}

static void hosts_killed_from_outside_lose_nothing(void **state)
{
	static struct fixture fixture;
	size_t crashed = 0;

	(void)state;
	fixture_open(&fixture, poison_yaml, 2);
	for (int i = 0; i < 600; i++)
		fixture_run(&fixture, i % 100 == 50 ? "kill" : "fine", "{\"n\":1,\"us\":100}");
	assert_true(fixture_wait(&fixture, 600, 60000));
	for (size_t i = 0; i < fixture.task_count; i++)
		crashed += fixture.tasks[i].task->outcome.kind == OUTCOME_CRASHED;
	assert_int_equal(crashed, 6);
	fixture_close(&fixture);
}

/* ---- handlers that cannot work */
static void a_module_that_cannot_be_loaded_is_a_retry(void **state)
{
	static struct fixture fixture;
	struct task *task;

	(void)state;
	fixture_open(&fixture,
		     "jobs:\n  broken: {module: @/stranger.so}\n  noop: {module: @/plain.so}\n", 2);
	task = fixture_run(&fixture, "broken", "{}");
	fixture_run(&fixture, "noop", "{}");
	assert_true(fixture_wait(&fixture, 2, 10000));
	assert_outcome(task, OUTCOME_RETRY, "is not a handler module");
	assert_outcome(fixture.tasks[1].task, OUTCOME_DONE, NULL);
	fixture_close(&fixture);
}

/* ---- programs */
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
		assert_outcome(fixture.tasks[i].task, OUTCOME_DONE, "{\"got\": {\"x\": 1}}");
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
		assert_outcome(fixture.tasks[i].task, OUTCOME_DONE, "\"given\"");
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
		assert_outcome(fixture.tasks[i].task,
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
	fixture.ask = answer_asks;
	for (int i = 0; i < 10; i++) {
		struct task *task = fixture_run(&fixture, "many",
						i == 3   ? "{\"crash\":1}"
						: i == 6 ? "{\"ask\":1}"
							 : "{}");

		guilty = i == 3 ? task : guilty;
	}
	assert_true(fixture_wait(&fixture, 10, 20000));
	for (size_t i = 0; i < fixture.task_count; i++)
		assert_outcome(fixture.tasks[i].task,
			       fixture.tasks[i].task == guilty ? OUTCOME_CRASHED : OUTCOME_DONE,
			       NULL);
	assert_outcome(guilty, OUTCOME_CRASHED, "exited with 3 while running");
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
		assert_outcome(fixture.tasks[i].task, cases[i].kind, cases[i].reason);
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
		assert_outcome(fixture.tasks[i].task, OUTCOME_DONE, NULL);
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
		assert_outcome(fixture.tasks[i].task, OUTCOME_DONE, NULL);
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
	assert_outcome(before, OUTCOME_DONE, "\"none\"");
	fixture_file("jobs.yaml", "jobs:\n  say: {exec: [python3, say.py], env: [GIVEN]}\n", 0644);
	snprintf(path, sizeof(path), "%s/jobs.yaml", fixture_directory());
	definitions_unref(&fixture.defs);
	fixture.defs = definitions_load(path, stderr);
	pool_reload(fixture.pool, fixture.defs);
	after = fixture_run(&fixture, "say", "{}");
	assert_true(fixture_wait(&fixture, 2, 10000));
	assert_outcome(after, OUTCOME_DONE, "\"one\"");
	fixture_close(&fixture);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(module_jobs_end),
		cmocka_unit_test(outcomes_arrive),
		cmocka_unit_test(write_sets_arrive),
		cmocka_unit_test(questions_are_answered),
		cmocka_unit_test(answers_after_the_end_are_dropped),
		cmocka_unit_test(running_and_waiting_jobs_are_cancelled),
		cmocka_unit_test(time_out_is_told_and_is_a_retry),
		cmocka_unit_test(drain_releases_what_has_not_started),
		cmocka_unit_test(short_jobs_do_not_wait_behind_a_long_one),
		cmocka_unit_test(batches_are_taken_together_and_judged_alone),
		cmocka_unit_test(every_poison_costs_its_own_job_one_strike),
		cmocka_unit_test(hosts_killed_from_outside_lose_nothing),
		cmocka_unit_test(a_module_that_cannot_be_loaded_is_a_retry),
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
