/* SPDX-License-Identifier: Apache-2.0 */
/* How everyone learns that a job moved: accepted, started, progress, retry scheduled, parked,
 * cancel asked, ended. One hub thread hears the bell, looks up at once all jobs that moved and that
 * somebody watches, writes each one's JSON once (as GET /v1/jobs/{id} shows it) and hands the
 * event to every watcher that it concerns, through a bounded queue each. A lost ring is repaired
 * by looking. For all doors; knows none of them.
 *
 * - A watcher of one job first gets the job's present state, unless last_event_id says that it has
 *   that already; then each change; the event of its end is the last.
 * - A watcher by filter gets what moves from now on; with last_event_id it first gets the present
 *   state of every job that has moved since. It may get a state twice, and never misses an end.
 * - Moves of one job that are looked up together are one event: a state, no history. */
#ifndef PRODUCERS_GATEWAY_WATCH_H
#define PRODUCERS_GATEWAY_WATCH_H
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#include "common/base/uuid.h"
#include "common/config/definitions.h"
#include "common/job/job.h"
#include "common/service/metrics.h"
#include "common/store/bell.h"
#include "common/store/reach.h"

#define WATCH_EVENT_ID_TEXT    29 /* NUL included */
#define WATCH_QUEUE_EVENTS_MAX 2048
#define WATCH_QUEUE_BYTES_MAX  (4 * 1024 * 1024) /* but always one event */
#define WATCH_RESUME_MS        3600000 /* a filter's last_event_id is not older than that */

struct watch_event { /* nobody writes to it */
	_Atomic int refs;
	struct uuid job;
	char id[WATCH_EVENT_ID_TEXT]; /* what last_event_id takes */
	enum job_state state;
	bool ended;       /* state is terminal */
	bool progress;    /* it runs and has reported how far it is */
	uint64_t digest;  /* of the JSON */
	const char *json; /* the job as GET shows it; NUL-terminated, in the event's own memory */
	size_t bytes;
};

void watch_event_unref(struct watch_event **event); /* NULL-safe; leaves NULL */

enum watch_end {
	WATCH_ON,
	WATCH_OVER,    /* the one job has ended, and its event was taken, or was known already */
	WATCH_OVERRUN, /* taken too slowly */
	WATCH_UNKNOWN, /* no such job in reach */
	WATCH_GONE,    /* past retention; by filter: last_event_id is too old */
	WATCH_AWAY,    /* the store did not answer the first look */
	WATCH_DRAIN,   /* the gateway stops: ask another */
};
const char *watch_end_name(enum watch_end end); /* "overrun", … */

struct watch_filter {
	struct uuid id;                 /* nil: any */
	const char *type, *queue, *tag; /* NULL: any */
	struct reach reach;
	struct uuid account; /* whose number of watchers it counts against; nil: nobody's */
};

struct watch;
struct watcher;

/* There is something to take, the watch has ended, or the first look found nothing new. On the
 * hub's thread; must not block, and must take no lock that is held around watcher_stop. Once; again
 * only after watcher_take gave NULL. */
typedef void watch_rung_fn(void *owner);

/* filter and last_event_id (or NULL) are copied. What is no id of ours counts as none. NULL: too
 * many watchers, of all or of this account. Any thread. */
struct watcher *watch_start(struct watch *watch, const struct watch_filter *filter,
			    const char *last_event_id, watch_rung_fn *rung, void *owner);
/* The oldest event, as a reference, or NULL and in *end_r why nothing (more) comes: WATCH_ON:
 * nothing now. One thread at a time. */
struct watch_event *watcher_take(struct watcher *watcher, enum watch_end *end_r);
/* How it stands now, whatever is still to be taken. Any thread. */
enum watch_end watcher_end(struct watcher *watcher);
/* After it rung() is not called any more. Not inside rung(). NULL-safe. */
void watcher_stop(struct watcher **watcher);

/* ---- for gateway_main */

struct watch_options {
	const char *database_url;
	struct bell *bell; /* says to all that somebody watches; not listened to */
	struct metrics *metrics;
	struct definitions *(*definitions)(void *ctx); /* a reference to the current ones */
	void *ctx;
	int64_t keep_ms;
	size_t watchers_max, per_account_max;
};

struct watch *watch_open(const struct watch_options *options); /* starts the hub */
size_t watch_count(struct watch *watch);
/* Ends all watches, and later ones at once, as WATCH_DRAIN. Any thread. */
void watch_drain(struct watch *watch);
/* No watcher is left. NULL-safe. */
void watch_close(struct watch **watch);

#endif
