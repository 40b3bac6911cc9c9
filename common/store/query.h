/* SPDX-License-Identifier: Apache-2.0 */
/* Queries: what people and programs see. Read only; results live in the arena given. Never
 * count(*). */
#ifndef COMMON_STORE_QUERY_H
#define COMMON_STORE_QUERY_H
#include "common/base/arena.h"
#include "common/job/job.h"
#include "common/store/reach.h"
#include "common/store/session.h"
#include "common/store/store.h"

struct attempt_view { /* one attempt that did not complete the job */
	int attempt;
	enum job_outcome outcome;
	int64_t at_ms;
	const char *reason; /* or NULL */
};

struct job_view {
	struct uuid id;
	enum job_state state;
	const char *tenant, *owner, *queue, *type;
	const char *payload; /* NULL in lists */
	size_t payload_bytes;
	enum job_priority priority;
	int attempt;        /* hand-outs so far */
	int max_attempts;   /* 0: the type's */
	int64_t timeout_ms; /* 0: the type's */
	int64_t created_ms;
	int64_t due_ms;      /* waiting: when it may run; 0 otherwise */
	int64_t finished_ms; /* terminal; else 0 */
	const char *tags;    /* JSON array text, or NULL */
	const char *order_key, *fair_key, *unique_key, *traceparent, *callback; /* or NULL */
	/* foreign and completed at once: only id, type, times, result and this are known; or NULL
	 */
	const char *source;
	const char *result; /* JSON text, or NULL */
	const char *reason; /* last failure, discard or cancel reason, or NULL */
	double progress;    /* < 0: none */
	const char *progress_note;
	bool cancel_asked;
	const char *open_calls; /* JSON array text: the steps a parked job waits for; or NULL */
	const char *steps;      /* JSON object text, or NULL; not in lists */
	/* JSON array of the jobs that it waits for: name, id, on_failure, ended; or NULL; not in
	 * lists */
	const char *after;
	struct attempt_view *attempts; /* oldest first; not in lists */
	size_t attempt_count;
};

/* 0; ERROR_NOT_FOUND. reach NULL: all. */
int query_job(struct store *store, const struct reach *reach, const struct uuid *id,
	      struct arena *arena, struct job_view *view_r, struct error *err_r) must_check;

struct job_filter {
	struct reach reach;
	enum job_state state;           /* 0: all */
	const char *type, *queue, *tag; /* NULL: all */
	struct uuid before; /* keyset cursor: ids below this one; nil: from the newest */
	size_t limit;       /* 1..1000 */
};
/* Newest first, by id. *count_r < limit means the end. Foreign jobs that completed at once are not
 * listed: their completion row is found by its id only. A rare state is found by its own table, not
 * by walking all jobs; the statement time-out bounds the rest. */
int query_jobs(struct store *store, const struct job_filter *filter, struct arena *arena,
	       struct job_view **views_r, size_t *count_r, struct error *err_r) must_check;

/* Of these ids, those that have ended: found_r[i] set and views_r[i] filled (id, state, result,
 * reason, attempt, finished, type, queue, tenant, owner, created: enough for the answer of a
 * waiter). views_r has count entries. */
int query_finished(struct store *store, const struct uuid *ids, size_t count, struct arena *arena,
		   bool *found_r, struct job_view *views_r, struct error *err_r) must_check;

/* Of these ids, those that exist: found_r[i] set and views_r[i] filled as query_job does.
 * *now_ms_r: the store's time when it began to look. At most 1,000 at once. */
int query_views(struct store *store, const struct uuid *ids, size_t count, struct arena *arena,
		bool *found_r, struct job_view *views_r, int64_t *now_ms_r,
		struct error *err_r) must_check;

struct moved_filter {
	struct reach reach;
	const char *type, *queue, *tag; /* NULL: all */
	/* by the store's clock, in ms; what a transaction of then did shows when it has committed
	 */
	int64_t since_ms;
	bool ended;         /* only jobs that have ended */
	struct uuid before; /* ids below this one; nil: from the newest */
	size_t limit;       /* 1..10000 */
};
/* Jobs that have moved since then: ended, failed an attempt, were accepted or handed out, or report
 * progress. May name others as well, never leaves out one that has ended. Newest first, by id;
 * ids_r has room for the limit; *count_r < limit means the end. */
int query_moved(struct store *store, const struct moved_filter *filter, struct uuid *ids_r,
		size_t *count_r, struct error *err_r) must_check;

struct queue_view {
	const char *name;
	bool paused;
	int64_t available; /* from tallies: approximate while transactions run */
	int64_t scheduled; /* scheduled and retryable */
	int64_t parked;    /* a person has to decide; counted, there are few */
	int64_t waiting;   /* for other jobs; counted */
	int64_t queued;    /* on a broker, or taken from it and not adopted */
	int64_t running;   /* in leases of workers */
	int64_t oldest_ms; /* age of the oldest available job; -1: none */
};
int query_queues(struct store *store, struct arena *arena, struct queue_view **queues_r,
		 size_t *count_r, struct error *err_r) must_check;
/* Waiting jobs of one queue (available, scheduled, parked), from the tallies; cheap. */
int query_depth(struct store *store, const char *queue, int64_t *depth_r,
		struct error *err_r) must_check;
/* Worker sessions that are alive now; or only those that take their jobs from a broker. */
int query_sessions(struct store *store, bool broker, int64_t *count_r,
		   struct error *err_r) must_check;

struct worker_view {
	struct uuid session;
	const char *host;
	int pid;
	const char *targets;     /* JSON array; NULL: it has said nothing yet */
	const char *pool, *node; /* "": none */
	struct session_figures figures;
};
/* The same sessions, with what they say of themselves; oldest first. */
int query_workers(struct store *store, struct arena *arena, struct worker_view **workers_r,
		  size_t *count_r, struct error *err_r) must_check;

#endif
