/* SPDX-License-Identifier: Apache-2.0 */
/* No-op jobs through the pool alone: lines to module hosts, answers back, no store. The limit of
 * what an engine can drain through a module. Usage: pool_bench MODULE.so TYPE [HOSTS=2]
 * [JOBS=300000]; the module exports a handler TYPE, `windlass` lies one folder up. Prints one JSON
 * line. */
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "workers/pool/pool.h"

struct bench {
	struct loop *loop;
	struct pool *pool;
	struct definitions *defs;
	const struct job_type *type;
	long started, ended, wanted;
};

static void on_ended(void *ctx, struct task *task)
{
	struct bench *bench = ctx;
	struct arena *arena = task->job->arena;

	CHECK(task->outcome.kind == OUTCOME_DONE);
	bench->ended++;
	arena_free(&arena);
}

static void on_ask(void *ctx, struct task_ask *ask)
{
	(void)ctx;
	(void)ask;
}

static void on_progress(void *ctx, struct task *task, double part, const char *note)
{
	(void)ctx;
	(void)task;
	(void)part;
	(void)note;
}

static const struct pool_ops ops = { .ended = on_ended, .ask = on_ask, .progress = on_progress };

static void start_job(struct bench *bench)
{
	static char payload[201];
	struct arena *arena = arena_new(0);
	struct claimed_job *job = ARENA_NEW(arena, struct claimed_job);
	struct task *task = ARENA_NEW(arena, struct task);

	if (!payload[0])
		snprintf(payload, sizeof(payload), "{\"text\":\"%0*d\"}", 189, 0);
	*job = (struct claimed_job){
		.arena = arena, .tenant = "", .owner = "", .queue = "default", .attempt = 1
	};
	uuid_v7(&job->id);
	job->type = bench->type->name;
	job->payload = payload;
	job->payload_bytes = strlen(payload);
	*task = (struct task){
		.job = job, .defs = bench->defs, .type = bench->type, .timeout_ms = 60000
	};
	pool_run(bench->pool, task);
	bench->started++;
}

static void run(struct bench *bench, long jobs)
{
	bench->started = bench->ended = 0;
	bench->wanted = jobs;
	while (bench->ended < jobs) {
		for (size_t room = pool_room(bench->pool); room > 0 && bench->started < jobs;
		     room--)
			start_job(bench);
		loop_once(bench->loop, 100);
	}
}

static void open_bench(struct bench *bench, const char *module, const char *type, int hosts)
{
	char program[512] = { 0 }, text[PATH_MAX + 256], *slash;
	struct pool_options options = { .hosts_max = hosts,
					.payload_bytes_max = 262144,
					.result_bytes_max = 262144 };

	CHECK(readlink("/proc/self/exe", program, sizeof(program) - 32) > 0);
	slash = strrchr(program, '/');
	CHECK(slash);
	strcpy(slash, "/../windlass");
	snprintf(text, sizeof(text), "jobs: {\"%s\": {module: \"%s\"}}\n", type, module);
	bench->defs = definitions_parse(text, strlen(text), "bench.yaml", stderr);
	CHECK(bench->defs);
	bench->type = definitions_type(bench->defs, type);
	bench->loop = loop_new();
	options.loop = bench->loop;
	options.program = program;
	options.ops = &ops;
	options.ctx = bench;
	bench->pool = pool_new(&options);
}

static double seconds_of(struct timeval t)
{
	return (double)t.tv_sec + (double)t.tv_usec / 1e6;
}

int main(int argc, char **argv)
{
	struct bench bench = { 0 };
	int hosts = argc > 3 ? atoi(argv[3]) : 2;
	long jobs = argc > 4 ? atol(argv[4]) : 300000;
	struct rusage before, after;
	int64_t began_ns;
	double took_s;
	char module[PATH_MAX];

	if (argc < 3 || !realpath(argv[1], module)) {
		fprintf(stderr, "usage: pool_bench MODULE.so TYPE [HOSTS] [JOBS]\n");
		return 64;
	}
	signal(SIGPIPE, SIG_IGN);
	log_init("bench", LOG_WARN);
	open_bench(&bench, module, argv[2], hosts);
	run(&bench, jobs / 20);
	getrusage(RUSAGE_SELF, &before);
	began_ns = clock_mono_ns();
	run(&bench, jobs);
	took_s = (double)(clock_mono_ns() - began_ns) / 1e9;
	getrusage(RUSAGE_SELF, &after);
	printf("{\"bench\":\"pool\",\"hosts\":%d,\"jobs\":%ld,\"jobs_per_s\":%.0f,\"engine_cpu_us_per_job\":%.2f}\n",
	       hosts, jobs, (double)jobs / took_s,
	       (seconds_of(after.ru_utime) + seconds_of(after.ru_stime) -
		seconds_of(before.ru_utime) - seconds_of(before.ru_stime)) *
		       1e6 / (double)jobs);
	pool_abort(bench.pool);
	pool_free(&bench.pool);
	loop_free(&bench.loop);
	definitions_unref(&bench.defs);
	return 0;
}
