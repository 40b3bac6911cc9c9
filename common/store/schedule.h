/* SPDX-License-Identifier: Apache-2.0 */
/* Schedules, and the runs that were made of their ticks. Any number of schedulers may ask what is
 * due and fire it: a tick of a schedule becomes a row once, in the transaction that stores its job,
 * and whoever comes second, however late, stores nothing. All times are the store's clock. */
#ifndef COMMON_STORE_SCHEDULE_H
#define COMMON_STORE_SCHEDULE_H
#include "common/base/arena.h"
#include "common/store/acceptance.h"
#include "common/store/audit.h"
#include "common/store/store.h"

#define SCHEDULE_NEVER     INT64_MAX
#define SCHEDULE_LIMIT_MAX 1000

struct schedule_view {
	const char *name;
	const char *tenant;     /* of its jobs; "" */
	const char *definition; /* JSON object text, as it was put */
	int64_t version;        /* another one after every change of the definition */
	bool of_file;           /* the definitions file's: changed there alone */
	bool paused;
	int64_t next_ms; /* next tick that nobody has fired; SCHEDULE_NEVER */
	int64_t last_ms; /* last tick that was run, manual ones too; 0: none that is known */
	int64_t changed_ms;
};

struct schedule_new {
	const char *name, *tenant, *definition;
	int64_t next_ms;
};

/* now, by the store */
int schedule_clock(struct store *store, int64_t *now_ms_r, struct error *err_r) must_check;
/* tenant NULL: whatever it is. ERROR_NOT_FOUND. */
int schedule_find(struct store *store, const char *tenant, const char *name, struct arena *arena,
		  struct schedule_view *view_r, struct error *err_r) must_check;
/* By name, those after `after` (NULL: from the first), at most `limit`. */
int schedule_list(struct store *store, const char *tenant, const char *after, size_t limit,
		  struct arena *arena, struct schedule_view **views_r, size_t *count_r,
		  struct error *err_r) must_check;

/* ---- changes, each with its audit row; no change, no row */
/* Makes it, or, unless `create`, gives it this definition; it stays paused if it is.
 * ERROR_CONFLICT: the file's, or, with `create`, there is one. *created_r: it is new. */
int schedule_put(struct store *store, const struct schedule_new *schedule, bool create,
		 const struct audit *audit, bool *created_r, struct error *err_r) must_check;
/* Ticks that are due are not fired any more once this has returned. ERROR_NOT_FOUND,
 * ERROR_CONFLICT (the file's). */
int schedule_remove(struct store *store, const char *name, const struct audit *audit,
		    struct error *err_r) must_check;
/* Pauses it, or lets it go on with next_ms. ERROR_NOT_FOUND; ERROR_CONTENTION: its version is not
 * this one any more. */
int schedule_pause(struct store *store, const char *name, int64_t version, bool paused,
		   int64_t next_ms, const struct audit *audit, struct error *err_r) must_check;
/* The file's schedules are these from now on: those that differ are changed, the file's others
 * removed, and one that was not the file's becomes so. *changed_r: how many. */
int schedule_sync(struct store *store, const struct schedule_new *schedules, size_t count,
		  size_t *changed_r, struct error *err_r) must_check;

/* ---- firing */
struct schedule_due { /* where to go on reading; zeros, NULL: from the start */
	int64_t after_ms;
	const char *after;
	size_t limit;
};
/* Those whose next tick is not after now, in the order of ticks. *soonest_ms_r: the first tick that
 * is after now, of all; SCHEDULE_NEVER. */
int schedule_due(struct store *store, const struct schedule_due *from, struct arena *arena,
		 struct schedule_view **views_r, size_t *count_r, int64_t *now_ms_r,
		 int64_t *soonest_ms_r, struct error *err_r) must_check;

struct schedule_run {
	int64_t tick_ms;
	struct new_job *job; /* NULL: it cannot be run; reason says why */
	const char *reason;
	/* answer */
	bool fired; /* by this call */
	struct accepted_job accepted;
};
struct schedule_fire {
	const char *name;
	int64_t version;
	bool manual;               /* beside its ticks: was_ms and next_ms mean nothing */
	int64_t was_ms;            /* next_ms as it was read */
	int64_t next_ms;           /* what it becomes */
	struct schedule_run *runs; /* may be none: missed ticks that are passed over */
	size_t count;
	const struct audit *audit; /* or NULL */
	struct error error;        /* answer: its jobs cannot be stored; nothing of it was done */
};
/* Stores the runs' jobs and their tick rows, and moves the schedules on, in one transaction. A
 * schedule that was changed, paused, removed or fired by somebody since it was read, or is being
 * fired, is left alone, and so is a tick that has its row. ERROR_UNKNOWN: read what is due again.
 */
int schedule_fire(struct store *store, struct schedule_fire *const *fires, size_t count,
		  struct error *err_r) must_check;

struct schedule_run_view {
	int64_t tick_ms, at_ms;
	bool manual;
	struct uuid job;    /* nil: none; see reason */
	const char *reason; /* or NULL */
};
/* The runs of a schedule with ticks before before_ms, the newest first. */
int schedule_runs(struct store *store, const char *name, int64_t before_ms, size_t limit,
		  struct arena *arena, struct schedule_run_view **runs_r, size_t *count_r,
		  struct error *err_r) must_check;

/* reason of a run whose job was not stored because its unique key was taken; job is that one's */
#define SCHEDULE_UNIQUE  "its unique key is that of an unfinished job"
#define SCHEDULE_OF_FILE "the schedule is the definitions file's, and is changed there"

#endif
