/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the pool share: pool.c (the calls of pool.h), pool_dispatch.c (which host gets
 * what, and how many hosts), pool_receive.c (what hosts say, time-outs), pool_verdict.c (who is
 * guilty of a death). */
#ifndef WORKERS_POOL_POOL_IMPL_H
#define WORKERS_POOL_POOL_IMPL_H
#include "workers/pool/host.h"
#include "workers/pool/host_codec.h"
#include "workers/pool/host_group.h"
#include "workers/pool/pool.h"
#include "workers/pool/scratch.h"

#define POOL_IN_HAND_MAX 1000
#define POOL_AHEAD_NS    (50 * INT64_C(1000000)) /* of work taken beyond what the hosts are doing */
#define HOST_JOBS_MAX    256                     /* in one host */
#define HOST_WINDOW_NS                                                                            \
	(20 * INT64_C(1000000)) /* of work in one host; a job that runs longer has what is behind \
				   it pulled back */
#define HOST_TERM_NS  (2000 * INT64_C(1000000)) /* from SIGTERM to SIGKILL */
#define HOST_EXIT_NS  (5000 * INT64_C(1000000)) /* from EOF on its input to SIGKILL */
#define TASK_ASKS_MAX 16                        /* unanswered at a time */

struct pool {
	struct pool_options options;
	struct loop *loop;
	struct host_limits limits;
	char *program;
	struct scratch *scratch; /* NULL: hosts have no folders */
	struct host_confines confines;
	struct list groups;
	struct definitions *defs;    /* those that by_type belongs to; NULL before the first task */
	struct host_group **by_type; /* by job_type.index */
	int64_t *average_ns;         /* by job_type.index: how long one runs; 0: not known */
	int64_t mean_ns;             /* over all types as they come */
	struct loop_timer *kick, *tick; /* dispatch at the end of this round; look for slow jobs */
	int64_t kick_ns, tick_ns;       /* when due, 0: not armed */
	int64_t now_ns;                 /* of this dispatch */
	size_t in_hand, waiting;
	int processors;
	bool draining;
	struct host_group
		*claimant; /* a place is being made for it; others do not take it. NULL: nobody */
	struct metric_series *busy, *idle;
};

struct run { /* a task in the pool; in the job's arena; task->host points here */
	struct task *task;
	struct host_group *group;
	struct host *host;    /* NULL: waits in the group */
	uint64_t line;        /* of the host's job lines the one it went out in */
	uint64_t input_start; /* where that line begins in the host's input */
	int64_t sent_ns, started_ns;
	int64_t expected_ns; /* counted in host->ahead_ns */
	uint32_t handovers;  /* to hosts so far: answers to asks of an earlier one are dropped */
	int asks_open;
	bool solo;    /* one of several suspects: runs alone to find the guilty */
	bool started; /* the host said so (concurrency > 1) */
	bool timed_out;
	bool cancel_sent;
};

static inline struct run *run_of(struct list *task_link)
{
	return list_entry(task_link, struct task, link)->host;
}

/* ---- pool.c */
void pool_kick(struct pool *pool); /* dispatch when this round of the loop ends */
void pool_kick_at(struct pool *pool, int64_t due_ns);
void run_end(struct run *run,
	     const struct task_outcome *outcome); /* leaves the pool; tells the engine */
void run_end_as(struct run *run, enum job_outcome kind, const char *reason);
void run_requeue(struct run *run); /* from its host to the front of its group */
int64_t *pool_average(struct pool *pool, const struct task *task);
struct host_slot *run_slot(const struct run *run);        /* NULL: its host has no cell */
int64_t run_began(const struct run *run, int64_t now_ns); /* 0: not as far as one can tell */
bool run_revoke(
	struct run *run); /* pulled back unstarted; false: it has started, or nobody can tell */
void host_retire(struct host *host); /* no more jobs; leaves when it has none */

/* ---- pool_dispatch.c */
void pool_dispatch(struct pool *pool);
void pool_tick(struct pool *pool);

/* ---- pool_verdict.c */
void group_fail(
	struct host_group *group,
	const char *reason); /* nothing of it can be started: all that waits ends as a retry */
void group_back_off(struct host_group *group);

#endif
