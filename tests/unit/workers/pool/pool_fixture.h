/* SPDX-License-Identifier: Apache-2.0 */
/* A pool with an engine of paper: tasks made from type and payload, outcomes noted, questions
 * answered from a script. */
#ifndef TESTS_UNIT_WORKERS_POOL_POOL_FIXTURE_H
#define TESTS_UNIT_WORKERS_POOL_POOL_FIXTURE_H
#include "workers/pool/pool.h"

/* Signals end as exit codes then, memory has no limit, and everything is slow. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED true
#else
#define SANITIZED false
#endif

#define FIXTURE_TASKS_MAX 4096

struct fixture_task {
	struct task *task; /* NULL: free */
	bool ended;
	int ends; /* must be 1 */
};

struct fixture {
	char directory[64];
	struct definitions *defs;
	struct loop *loop;
	struct pool *pool;
	struct fixture_task tasks[FIXTURE_TASKS_MAX];
	size_t task_count, ended;
	int progress_count;
	double progress;
	char note[64];
	bool (*ask)(struct fixture *fixture, struct task_ask *ask); /* false: leave it open */
	struct task_ask *open_ask;
};

/* yaml: a definitions file in which @ stands for the directory that holds plain.so, poison.so and
 * what fixture_file wrote. */
void fixture_open(struct fixture *fixture, const char *yaml, int hosts_max);
void fixture_close(struct fixture *fixture);
void fixture_file(const char *name, const char *text,
		  int mode); /* into the directory of this process */
const char *fixture_directory(void);
struct task *fixture_run(struct fixture *fixture, const char *type, const char *payload);
struct task *fixture_again(struct fixture *fixture,
			   struct task *task); /* the same job, its next attempt */
/* Runs the loop until so many tasks have ended, at most timeout_ms; returns whether they have. */
bool fixture_wait(struct fixture *fixture, size_t ended, int timeout_ms);
/* Fails the test unless the task ended like that; result_or_reason: a part of it, or NULL for
 * anything. */
void fixture_expect(const struct task *task, enum job_outcome want, const char *result_or_reason);
/* For fixture.ask: one row (5, "tea"), a step's value, a 200. */
bool fixture_answer(struct fixture *fixture, struct task_ask *ask);
void fixture_spin(struct fixture *fixture, int ms);
/* This program as `windlass host`, when it was called like that: does not return then. */
void fixture_be_host(int argc, char **argv);
void fixture_build(void); /* compiles the modules into the directory; once */
void fixture_remove(void);

#endif
