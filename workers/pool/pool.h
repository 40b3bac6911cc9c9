/* SPDX-License-Identifier: Apache-2.0 */
/* The pool: hosts (handler processes) of one engine. Hands tasks to hosts over pipes, watches
 * time-outs, replaces the dead and knows the guilty. Everything here is called on, and calls back
 * on, the engine's loop thread; nothing blocks. Module and exec handlers look the same. */
#ifndef WORKERS_POOL_POOL_H
#define WORKERS_POOL_POOL_H
#include "common/base/error.h"
#include "common/service/metrics.h"
#include "workers/pool/loop.h"
#include "workers/pool/task.h"

struct pool;

struct pool_ops { /* the engine's side */
	/* The attempt is over; exactly once per pool_run. task->outcome is filled in. A task that
	 * was queued behind another in a host that died, or that was pulled back, is run elsewhere
	 * by the pool itself and not reported. OUTCOME_RELEASED: never started (drain). */
	void (*ended)(void *ctx, struct task *task);
	void (*ask)(void *ctx, struct task_ask *ask); /* lives in the job's arena */
	void (*progress)(void *ctx, struct task *task, double part, const char *note);
};

struct pool_options {
	struct loop *loop;
	int hosts_max;       /* WINDLASS_CONCURRENCY: hosts of this engine in all */
	const char *program; /* path of the windlass binary, for `windlass host` */
	int64_t payload_bytes_max, result_bytes_max;
	const char *const *hidden; /* files that no host sees, absolute; NULL-terminated, or NULL */
	struct metrics *metrics;
	const struct pool_ops *ops;
	void *ctx;
};

struct pool *pool_new(const struct pool_options *options);
/* Accepts a task of a module or exec type for running; starts hosts as needed. Never refuses: the
 * engine takes no more jobs than pool_room says. */
void pool_run(struct pool *pool, struct task *task);
/* How many more tasks may be taken now so that hosts stay busy without hoarding: grows with the
 * measured rate (about 50 ms of work ahead), at least the free hosts, 0 while draining. At most
 * 1,000 in hand. */
size_t pool_room(const struct pool *pool);
size_t pool_in_hand(const struct pool *pool);
/* So many hosts from now on. Those that are too many leave, busy ones when they have finished. */
void pool_resize(struct pool *pool, int hosts_max);
/* Answers an ask. text: for QUERY {"columns":…,"rows":…} without braces' surroundings, i.e. the
 * members `"columns":[…],"rows":[[…]]`; CALL: `"fate":"answered",
 * "status":200,"body":"…","error":""`; STEP: `"value":…` or `"unmet":n`; any: `"error":"…"`. The
 * pool adds job, answer and the line end. */
void pool_answer(struct pool *pool, struct task_ask *ask, const char *members, size_t bytes);
/* Tells a running task's handler to stop (cancel line; REQUESTED also for tasks that wait in the
 * pool: those end at once as OUTCOME_CANCELLED). */
void pool_cancel(struct pool *pool, struct task *task, enum task_cancel why);
/* Drain: unstarted tasks end as OUTCOME_RELEASED now; running ones may finish. After pool_drain
 * nothing is started any more. */
void pool_drain(struct pool *pool);
/* The grace time of a drain is nearly over: running handlers are told (cancel line "drain",
 * wl_cancelled), so that a long one may stop where it likes; it is released and runs again. */
void pool_urge(struct pool *pool);
/* The grace time is over: running hosts are killed, their tasks end as OUTCOME_RELEASED. */
void pool_abort(struct pool *pool);
/* New definitions (SIGHUP): hosts whose module or command changed are replaced when they are idle.
 */
void pool_reload(struct pool *pool, struct definitions *defs);
void pool_free(struct pool **pool); /* kills what is left */

#endif
