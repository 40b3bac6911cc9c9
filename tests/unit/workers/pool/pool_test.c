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
	fixture_expect(echo, OUTCOME_DONE, NULL);
	assert_string_equal(echo->outcome.result, "{\"a\":[1,2,\"\\u00e9\"],  \"b\":1.50}");
	fixture_expect(noop, OUTCOME_DONE, NULL);
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
		fixture_expect(tasks[i], cases[i].kind, cases[i].reason);
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
	fixture_expect(task, OUTCOME_DONE, "{\"id\":\"");
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

static bool answer_unmet(struct fixture *fixture, struct task_ask *ask)
{
	if (ask->kind != TASK_ASK_STEP)
		return fixture_answer(fixture, ask);
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
	fixture.ask = fixture_answer;
	task = fixture_run(&fixture, "ask", "{}");
	assert_true(fixture_wait(&fixture, 1, 10000));
	fixture_expect(
		task, OUTCOME_DONE,
		"{\"price\":5,\"name\":\"tea\",\"before\":null,\"value\":{\"price\":5},\"fate\":1,"
		"\"status\":200,\"body\":\"{\\\"ok\\\":1}\"}");
	task->steps = "{\"reserve\":{\"price\":4}}";
	fixture_again(&fixture, task);
	assert_true(fixture_wait(&fixture, 1, 10000));
	fixture_expect(task, OUTCOME_DONE, "\"before\":{\"price\":4},\"value\":{\"price\":4}");
	task->steps = NULL;
	fixture.ask = answer_unmet;
	fixture_again(&fixture, task);
	noop = fixture_run(&fixture, "noop", "{}"); /* behind it in the host that leaves */
	assert_true(fixture_wait(&fixture, 2, 10000));
	fixture_expect(task, OUTCOME_RETRY, "step reserve");
	assert_true(task->outcome.again);
	fixture_expect(noop, OUTCOME_DONE, NULL);
	fixture.ask = answer_error;
	fixture_again(&fixture, task);
	assert_true(fixture_wait(&fixture, 2, 10000));
	fixture_expect(task, OUTCOME_RETRY, "wl_query: no such table");
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
	fixture_expect(task, OUTCOME_RELEASED, NULL);
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
	fixture_expect(waiting, OUTCOME_CANCELLED, NULL);
	pool_cancel(fixture.pool, running, TASK_CANCEL_REQUESTED);
	assert_true(fixture_wait(&fixture, 2, 5000));
	fixture_expect(running, OUTCOME_CANCELLED, NULL);
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
	fixture_expect(task, OUTCOME_RETRY, "timed out after 300ms");
	fixture_expect(after, OUTCOME_DONE, NULL);
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
		fixture_expect(waiting[i], OUTCOME_RELEASED, NULL);
	assert_int_equal(pool_room(fixture.pool), 0);
	assert_true(fixture_wait(&fixture, 6, 5000));
	fixture_expect(running, OUTCOME_DONE, NULL);
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
		fixture_expect(fixture.tasks[i].task, OUTCOME_DONE, NULL);
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
		fixture_expect(fixture.tasks[i].task,
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
			fixture_expect(guilty[i], poisons[i].kind,
				       words_hold(i) ? poisons[i].reason : NULL);
	}
	for (size_t i = 0; i < fixture.task_count; i++) {
		if (strcmp(fixture.tasks[i].task->job->type, "fine") == 0)
			fixture_expect(fixture.tasks[i].task, OUTCOME_DONE, "{\"n\":1}");
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

/* One of our children, by turns. */
static pid_t some_child(int turn)
{
	char path[64], text[4096] = { 0 };
	pid_t pids[64];
	int count = 0;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/self/task/%d/children", getpid());
	file = fopen(path, "r");
	assert_non_null(file);
	assert_true(fread(text, 1, sizeof(text) - 1, file) < sizeof(text));
	fclose(file);
	for (char *at = strtok(text, " "); at && count < 64; at = strtok(NULL, " "))
		pids[count++] = atoi(at);
	return count ? pids[turn % count] : 0;
}

static void hosts_killed_at_any_moment_cost_at_most_one_job_each(void **state)
{
	static struct fixture fixture;
	size_t crashed = 0;
	int kills = 0;
	char want[64];

	(void)state;
	fixture_open(&fixture, poison_yaml, 3);
	for (int i = 0; i < 4000; i++) {
		snprintf(want, sizeof(want), "{\"n\":%d,\"us\":%d}", i, i % 50 == 0 ? 3000 : 0);
		fixture_run(&fixture, "fine", want);
	}
	while (fixture.ended < 4000 && kills < 60) {
		pid_t pid = some_child(kills);

		/* Something must get done in between, or no host ever becomes ready. */
		fixture_wait(&fixture, fixture.ended + 1, 10000);
		fixture_spin(&fixture, kills % 7);
		if (pid > 0 && kill(pid, SIGKILL) == 0)
			kills++;
	}
	assert_true(fixture_wait(&fixture, 4000, 60000));
	for (int i = 0; i < 4000; i++) {
		const struct task *task = fixture.tasks[i].task;

		snprintf(want, sizeof(want), "{\"n\":%d}", i);
		crashed += task->outcome.kind == OUTCOME_CRASHED;
		if (task->outcome.kind != OUTCOME_CRASHED)
			fixture_expect(task, OUTCOME_DONE, want);
	}
	assert_true(kills > 10 && crashed <= (size_t)kills);
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
	fixture_expect(task, OUTCOME_RETRY, "is not a handler module");
	fixture_expect(fixture.tasks[1].task, OUTCOME_DONE, NULL);
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
		cmocka_unit_test(hosts_killed_at_any_moment_cost_at_most_one_job_each),
		cmocka_unit_test(a_module_that_cannot_be_loaded_is_a_retry),
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
