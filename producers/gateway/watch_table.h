/* SPDX-License-Identifier: Apache-2.0 */
/* For watch*.c only: who watches what, and each one's queue. No store, no bell, no thread of its
 * own; watch.c is the hub that fills it. */
#ifndef PRODUCERS_GATEWAY_WATCH_TABLE_H
#define PRODUCERS_GATEWAY_WATCH_TABLE_H
#include <pthread.h>

#include "common/base/arena.h"
#include "common/base/idmap.h"
#include "common/base/list.h"
#include "common/store/query.h"
#include "producers/gateway/watch.h"

enum watcher_stage {
	WATCHER_FRESH,   /* of one job: in `fresh`, the hub does not know it yet */
	WATCHER_LOOKING, /* its first look is under way */
	WATCHER_LIVE,
};

struct watcher {
	struct watch_table *table;
	struct list link;     /* in fresh, ones or wide */
	struct list call;     /* in calls */
	struct watcher *next; /* others of the same job */
	struct watch_filter filter;
	struct arena *arena; /* of the filter's strings, or NULL */
	watch_rung_fn *rung;
	void *owner;
	enum watcher_stage stage;
	int refs; /* the owner's, and the hub's while it reads a page for it */
	bool told, calling;
	/* the queue */
	struct watch_event **events;
	size_t head, count, cap, bytes;
	enum watch_end end; /* to be told when the queue is empty */
	uint64_t seen;      /* of one job: digest of the last event; 0: none */
	/* by filter, while what moved before is being read: since, and below which id */
	int64_t since_ms; /* 0: not */
	struct uuid before;
};

struct watch_table {
	pthread_mutex_t lock; /* guards all of it, and all watchers */
	pthread_cond_t called;
	struct idmap *by_id;    /* first watcher of each job */
	struct idmap *accounts; /* account -> how many, as a pointer */
	struct list fresh, ones, wide;
	struct list calls; /* whose rung() is due */
	size_t count, wide_count, catching_count, per_account_max, count_max;
	bool draining;
	void (*poke)(void *ctx); /* there is something for the hub */
	void *ctx;
	struct metric_series *gauge, *events, *ends[WATCH_DRAIN + 1];
};

void watch_table_init(struct watch_table *table, size_t count_max, size_t per_account_max,
		      struct metrics *metrics);
void watch_table_release(struct watch_table *table);

/* An event of this state, one reference. */
struct watch_event *watch_event_new(const struct job_view *view, const struct definitions *defs,
				    int64_t now_ms);
/* The same with the id of another time. */
struct watch_event *watch_event_copy(const struct watch_event *event, int64_t at_ms);
/* False: not one of ours. */
bool watch_event_id_parse(const char *text, int64_t *at_ms_r, uint64_t *digest_r);

/* NULL: too many. */
struct watcher *watch_table_add(struct watch_table *table, const struct watch_filter *filter,
				const char *last_event_id, watch_rung_fn *rung, void *owner);
void watch_table_remove(struct watch_table *table, struct watcher *watcher);

/* ---- the hub's; all take the lock themselves */

/* Those that have just come are LOOKING: their jobs, at most max. */
size_t watch_table_take_fresh(struct watch_table *table, struct uuid *ids_r, size_t max);
/* The next of the watched jobs, round and round. */
size_t watch_table_next(struct watch_table *table, struct uuid *ids_r, size_t max);
/* Does somebody care for this job? */
bool watch_table_wants(struct watch_table *table, const struct uuid *id);
/* Gives it to all that it concerns; unless it has moved, only to those who watch this one job and
 * may not know it yet. */
void watch_table_give(struct watch_table *table, struct watch_event *event,
		      const struct job_view *view, bool moved);
/* The job does not exist: ends those that watch it, but for fresh ones. */
void watch_table_none(struct watch_table *table, const struct uuid *id, enum watch_end end);
/* The first look of these jobs failed. */
void watch_table_away(struct watch_table *table, const struct uuid *ids, size_t count);
void watch_table_drain(struct watch_table *table);

/* One that reads what moved before and has room for a page, with a reference; or NULL. Since when
 * it reads: its owner may end that at any time. */
struct watcher *watch_table_hungry(struct watch_table *table, int64_t *since_ms_r);
void watch_table_give_one(struct watcher *watcher, struct watch_event *event,
			  const struct job_view *view);
/* The page is given, it goes on below this id; NULL: that was all. Drops the reference. */
void watch_table_fed(struct watcher *watcher, const struct uuid *before);
/* Calls rung() of all that are due. */
void watch_table_call(struct watch_table *table);

#endif
