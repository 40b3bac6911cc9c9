/* SPDX-License-Identifier: Apache-2.0 */
/* See pool_fixture.h. The test program is its own host: it is started again as `PROGRAM host …`. */
#include "tests/unit/workers/pool/pool_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/base/clock.h"
#include "workers/handlers/host_main.h"

static char scratch[64];

const char *fixture_directory(void)
{
	if (!scratch[0]) {
		snprintf(scratch, sizeof(scratch), "/tmp/windlass-pool-XXXXXX");
		CHECK(mkdtemp(scratch));
	}
	return scratch;
}

void fixture_be_host(int argc, char **argv)
{
	if (argc > 1 && strcmp(argv[1], "host") == 0)
		exit(host_main(argc - 1, argv + 1));
}

static void build(const char *name)
{
	const char *compiler = getenv("CC") ? getenv("CC") : "cc";
	char command[512];

	snprintf(
		command, sizeof(command),
		"%s -O1 -g -I. -D_GNU_SOURCE -shared -fPIC -o %s/%s.so tests/unit/workers/pool/modules/%s.c",
		compiler, fixture_directory(), name, name);
	CHECK(system(command) == 0);
}

void fixture_build(void)
{
	build("plain");
	build("poison");
	build("stranger");
}

void fixture_remove(void)
{
	char command[128];

	if (!scratch[0])
		return;
	snprintf(command, sizeof(command), "rm -rf %s", scratch);
	CHECK(system(command) == 0);
}

void fixture_file(const char *name, const char *text, int mode)
{
	char path[160];
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s", fixture_directory(), name);
	file = fopen(path, "w");
	CHECK(file);
	for (; *text; text++) {
		if (*text == '@')
			fputs(fixture_directory(), file);
		else
			fputc(*text, file);
	}
	CHECK(fclose(file) == 0 && chmod(path, (mode_t)mode) == 0);
}

/* ---- the engine's side */
static struct fixture_task *find(struct fixture *fixture, const struct task *task)
{
	for (size_t i = 0; i < fixture->task_count; i++) {
		if (fixture->tasks[i].task == task)
			return &fixture->tasks[i];
	}
	CHECK(!"a task that nobody knows");
	return NULL;
}

static void on_ended(void *ctx, struct task *task)
{
	struct fixture *fixture = ctx;
	struct fixture_task *known = find(fixture, task);

	CHECK(!known->ended);
	known->ended = true;
	known->ends++;
	fixture->ended++;
}

static void on_ask(void *ctx, struct task_ask *ask)
{
	struct fixture *fixture = ctx;

	if (!fixture->ask || !fixture->ask(fixture, ask))
		fixture->open_ask = ask;
}

static void on_progress(void *ctx, struct task *task, double part, const char *note)
{
	struct fixture *fixture = ctx;

	(void)task;
	fixture->progress_count++;
	fixture->progress = part;
	snprintf(fixture->note, sizeof(fixture->note), "%s", note ? note : "");
}

static const struct pool_ops ops = { .ended = on_ended, .ask = on_ask, .progress = on_progress };

/* ---- life */
void fixture_open(struct fixture *fixture, const char *yaml, int hosts_max)
{
	char program[256] = { 0 }, path[160];
	struct pool_options options = { .hosts_max = hosts_max,
					.payload_bytes_max = 256 * 1024,
					.result_bytes_max = 256 * 1024 };

	CHECK(readlink("/proc/self/exe", program, sizeof(program) - 1) > 0);
	memset(fixture, 0, sizeof(*fixture));
	fixture_file("jobs.yaml", yaml, 0644);
	snprintf(path, sizeof(path), "%s/jobs.yaml", fixture_directory());
	fixture->defs = definitions_load(path, stderr);
	CHECK(fixture->defs);
	fixture->loop = loop_new();
	options.loop = fixture->loop;
	options.program = program;
	options.ops = &ops;
	options.ctx = fixture;
	fixture->pool = pool_new(&options);
}

void fixture_close(struct fixture *fixture)
{
	pool_abort(fixture->pool);
	pool_free(&fixture->pool);
	loop_free(&fixture->loop);
	for (size_t i = 0; i < fixture->task_count; i++) {
		struct arena *arena = fixture->tasks[i].task->job->arena;

		CHECK(fixture->tasks[i].ends == 1);
		definitions_unref(&fixture->tasks[i].task->defs);
		arena_free(&arena);
	}
	definitions_unref(&fixture->defs);
}

struct task *fixture_run(struct fixture *fixture, const char *type, const char *payload)
{
	struct arena *arena = arena_new(0);
	struct claimed_job *job = ARENA_NEW(arena, struct claimed_job);
	struct task *task = ARENA_NEW(arena, struct task);

	CHECK(fixture->task_count < FIXTURE_TASKS_MAX);
	*job = (struct claimed_job){
		.arena = arena, .tenant = "", .owner = "test", .queue = "default", .attempt = 1
	};
	uuid_v7(&job->id);
	job->type = arena_strdup(arena, type);
	job->payload = arena_strdup(arena, payload);
	job->payload_bytes = strlen(payload);
	*task = (struct task){ .job = job, .defs = definitions_ref(fixture->defs) };
	task->type = definitions_type(fixture->defs, type);
	CHECK(task->type);
	task->timeout_ms = task->type->timeout_ms;
	fixture->tasks[fixture->task_count++] = (struct fixture_task){ .task = task };
	pool_run(fixture->pool, task);
	return task;
}

struct task *fixture_again(struct fixture *fixture, struct task *task)
{
	struct fixture_task *known = find(fixture, task);

	CHECK(known->ended);
	known->ended = false;
	known->ends = 0;
	fixture->ended--;
	task->job->attempt++;
	task->cancel = TASK_GO_ON;
	pool_run(fixture->pool, task);
	return task;
}

bool fixture_wait(struct fixture *fixture, size_t ended, int timeout_ms)
{
	int64_t until_ms = clock_mono_ms() + timeout_ms;

	while (fixture->ended < ended && clock_mono_ms() < until_ms)
		loop_once(fixture->loop, 50);
	return fixture->ended >= ended;
}

void fixture_spin(struct fixture *fixture, int ms)
{
	int64_t until_ms = clock_mono_ms() + ms;

	while (clock_mono_ms() < until_ms)
		loop_once(fixture->loop, 5);
}

void fixture_expect(const struct task *task, enum job_outcome want, const char *result_or_reason)
{
	const char *got =
		task->outcome.kind == OUTCOME_DONE ? task->outcome.result : task->outcome.reason;

	if (task->outcome.kind != want ||
	    (result_or_reason && (!got || !strstr(got, result_or_reason))))
		fail_msg("%s: outcome %d (%s), wanted %d (%s)", task->job->type, task->outcome.kind,
			 got ? got : "NULL", want,
			 result_or_reason ? result_or_reason : "anything");
}

bool fixture_answer(struct fixture *fixture, struct task_ask *ask)
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
