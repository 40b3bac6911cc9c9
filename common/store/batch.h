/* SPDX-License-Identifier: Apache-2.0 */
/* Batch runs: a source whose rows become jobs, chunk by chunk. A chunk of jobs, the position in the
 * source and the figures are stored in one transaction (acceptance.h, struct batch_chunk), so a
 * crash neither loses a row nor doubles one. Read and followed by producers/batch. */
#ifndef COMMON_STORE_BATCH_H
#define COMMON_STORE_BATCH_H
#include "common/base/arena.h"
#include "common/base/uuid.h"
#include "common/job/batch_end.h"
#include "common/store/audit.h"
#include "common/store/reach.h"
#include "common/store/store.h"

#define BATCH_LIST_MAX  1000
#define BATCH_RETRY_MAX 100000 /* jobs that one batch_retry sends back */

/* Strings are lent. */
struct batch_new {
	struct uuid id;
	const char *tenant, *owner;
	const char *queue, *type; /* of its jobs */
	const char *name;         /* for people, or NULL */
	const char *definition;   /* JSON object text: batch_definition.h */
	bool pushed;              /* requests bring its rows, chunk by chunk; position "0" */
	const char *schedule;     /* or NULL */
	int64_t tick_ms;          /* of the schedule */
};

/* Stores it, to be fed. The same id of the same owner, or the same tick of the schedule, is the
 * same batch: *id_r names it and *new_r is false. ERROR_CONFLICT: the id is another's. */
int batch_begin(struct store *store, const struct batch_new *batch, const struct audit *audit,
		struct uuid *id_r, bool *new_r, struct error *err_r) must_check;

/* A batch whose source this process reads for as long as it says so. Strings in the arena. */
struct batch_work {
	struct uuid id;
	const char *tenant, *owner, *definition;
	const char *position; /* or NULL */
};
/* Takes one that nobody reads (any more) and whose rows are not pushed. 1, 0 none, -1. */
int batch_take(struct store *store, const struct uuid *feeder, int64_t lease_ms,
	       struct arena *arena, struct batch_work *work_r, struct error *err_r) must_check;
/* Gives it back: another may read on. */
int batch_leave(struct store *store, const struct uuid *id, const struct uuid *feeder,
		struct error *err_r) must_check;

/* Rides in an acceptance: with its jobs, which may be none. */
struct batch_chunk {
	struct uuid id;
	struct uuid feeder; /* nil: it is fed by requests */
	/* or NULL: it must be there still, else the request is STALE */
	const char *position_before;
	const char *position; /* behind the chunk */
	int64_t rejected;     /* rows of it that are no jobs */
	const char *error;    /* the first reason; or NULL: what is there stays */
	bool last;            /* the source is at its end */
	int64_t lease_ms;
};

struct batch_view {
	struct uuid id;
	enum batch_state state;
	const char *tenant, *owner, *queue, *type;
	const char *name, *schedule, *error; /* or NULL */
	const char *definition, *position;   /* position: or NULL */
	int64_t created_ms, finished_ms;     /* finished: 0 */
	struct batch_counts counts;
};

struct batch_filter {
	struct reach reach;
	enum batch_state state; /* 0: all */
	struct uuid before;     /* nil: from the newest */
	size_t limit;           /* 1..BATCH_LIST_MAX */
};
int batch_list(struct store *store, const struct batch_filter *filter, struct arena *arena,
	       struct batch_view **views_r, size_t *count_r, struct error *err_r) must_check;
/* ERROR_NOT_FOUND */
int batch_get(struct store *store, const struct reach *reach, const struct uuid *id,
	      struct arena *arena, struct batch_view *view_r, struct error *err_r) must_check;

/* Nothing more becomes a job, and its jobs that wait are cancelled, those that run are asked to
 * stop: little by little, by batch_sweep. ERROR_CONFLICT: it has ended; ERROR_NOT_FOUND. */
int batch_cancel(struct store *store, const struct reach *reach, const struct uuid *id,
		 const struct audit *audit, struct error *err_r) must_check;
/* Its discarded jobs wait again (compensated ones do not), up to BATCH_RETRY_MAX of them, and it
 * runs again. *count_r: how many. ERROR_CONFLICT: it is fed still, or was cancelled. */
int batch_retry(struct store *store, const struct reach *reach, const struct uuid *id,
		const struct audit *audit, int64_t *count_r, struct error *err_r) must_check;

struct batch_swept {
	int64_t ended;          /* batches that have ended just now, with their on_complete jobs */
	struct uuid *cancelled; /* jobs; in the arena */
	size_t cancelled_count;
	bool told; /* running jobs were asked to stop */
	bool open; /* there are batches that have not ended */
	bool more; /* call again */
};
/* Ends batches all of whose jobs have ended, exactly once each, and goes on with those that are
 * being cancelled. Several at once are harmless. */
int batch_sweep(struct store *store, struct arena *arena, struct batch_swept *swept_r,
		struct error *err_r) must_check;

#endif
