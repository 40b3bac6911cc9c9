/* SPDX-License-Identifier: Apache-2.0 */
/* The table behind waiters.h and its thread. `lock` guards the table and every waiter's state; it
 * is not held while the store is asked or somebody is told. */
#include "producers/gateway/waiters.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/idmap.h"
#include "common/base/log.h"

#define CHUNK        1000 /* ids a look-up */
#define REPAIR_MS    1000
#define LIMITER_LOOK 500 /* jobs of quotas looked at in each repair */

enum waiter_state {
	HELD = 1,   /* in the table, its owner is still looking */
	HELD_ENDED, /* the same, and the bell has rung for it */
	ARMED,      /* in the table, to be told */
	SUSPECT,    /* taken by the thread: ended, they say */
};

struct waiters {
	char *database_url;
	struct bell *bell;
	struct limiter *limiter;
	struct metric_series *gauge;
	pthread_mutex_t lock;
	struct idmap *by_id;  /* first waiter of each id */
	struct list all;      /* HELD, HELD_ENDED and ARMED ones */
	struct list suspects; /* SUSPECT ones; still in by_id */
	size_t count;
	int64_t next_until_ms; /* the earliest of all */
	bool draining;
	_Atomic bool stopping;
	pthread_t thread;
	/* the thread's own */
	struct store *store;
	bool store_was_away;
};

/* ---- the table; lock held */

static void table_put(struct waiters *waiters, struct waiter *waiter)
{
	waiter->next = idmap_put(waiters->by_id, &waiter->id, waiter);
	list_append(&waiters->all, &waiter->link);
	metric_set(waiters->gauge, (double)++waiters->count);
}

static void table_take(struct waiters *waiters, struct waiter *waiter)
{
	struct waiter *first = idmap_take(waiters->by_id, &waiter->id);
	struct waiter **at = &first;

	while (*at && *at != waiter)
		at = &(*at)->next;
	CHECK(*at == waiter);
	*at = waiter->next;
	if (first)
		idmap_put(waiters->by_id, &first->id, first);
	list_remove(&waiter->link);
	metric_set(waiters->gauge, (double)--waiters->count);
}

static void suspect(struct waiters *waiters, struct waiter *waiter)
{
	if (waiter->state == HELD)
		waiter->state = HELD_ENDED;
	if (waiter->state != ARMED)
		return;
	waiter->state = SUSPECT;
	list_remove(&waiter->link);
	list_append(&waiters->suspects, &waiter->link);
}

/* ---- what requests do */

void waiters_hold(struct waiters *waiters, struct waiter *waiter)
{
	CHECK(waiter->told && waiter->gone && !uuid_is_nil(&waiter->id));
	pthread_mutex_lock(&waiters->lock);
	waiter->state = HELD;
	table_put(waiters, waiter);
	pthread_mutex_unlock(&waiters->lock);
}

void waiters_release(struct waiters *waiters, struct waiter *waiter)
{
	bool wake = false;

	pthread_mutex_lock(&waiters->lock);
	CHECK(waiter->state == HELD || waiter->state == HELD_ENDED);
	bool ended = waiter->state == HELD_ENDED;
	waiter->state = ARMED;
	if (ended) {
		suspect(waiters, waiter);
		wake = true;
	}
	if (waiter->until_ms < waiters->next_until_ms || waiters->draining) {
		waiters->next_until_ms = waiters->draining ? 0 : waiter->until_ms;
		wake = true;
	}
	pthread_mutex_unlock(&waiters->lock);
	if (wake)
		bell_wake(waiters->bell);
}

void waiters_forget(struct waiters *waiters, struct waiter *waiter)
{
	pthread_mutex_lock(&waiters->lock);
	CHECK(waiter->state == HELD || waiter->state == HELD_ENDED);
	table_take(waiters, waiter);
	pthread_mutex_unlock(&waiters->lock);
}

size_t waiters_count(struct waiters *waiters)
{
	pthread_mutex_lock(&waiters->lock);
	size_t count = waiters->count;
	pthread_mutex_unlock(&waiters->lock);
	return count;
}

void waiters_drain(struct waiters *waiters)
{
	pthread_mutex_lock(&waiters->lock);
	waiters->draining = true;
	waiters->next_until_ms = 0;
	pthread_mutex_unlock(&waiters->lock);
	bell_wake(waiters->bell);
}

/* ---- the thread */

static void note_ended(struct waiters *waiters, const struct bell_event *event)
{
	limiter_ended(waiters->limiter, event->ended, event->ended_count);
	pthread_mutex_lock(&waiters->lock);
	for (size_t i = 0; i < event->ended_count; i++) {
		struct waiter *waiter = idmap_get(waiters->by_id, &event->ended[i]);
		for (; waiter; waiter = waiter->next)
			suspect(waiters, waiter);
	}
	pthread_mutex_unlock(&waiters->lock);
}

/* Everybody is looked at, as if the bell had rung for all. */
static void suspect_all(struct waiters *waiters)
{
	pthread_mutex_lock(&waiters->lock);
	for (struct list *at = waiters->all.next, *next; at != &waiters->all; at = next) {
		next = at->next;
		struct waiter *waiter = list_entry(at, struct waiter, link);
		if (waiter->state == ARMED)
			suspect(waiters, waiter);
	}
	pthread_mutex_unlock(&waiters->lock);
}

static size_t take_suspects(struct waiters *waiters, struct waiter **taken_r)
{
	size_t count = 0;

	pthread_mutex_lock(&waiters->lock);
	while (count < CHUNK && !list_empty(&waiters->suspects)) {
		struct waiter *waiter = list_first(&waiters->suspects, struct waiter, link);
		list_remove(&waiter->link);
		taken_r[count++] = waiter;
	}
	pthread_mutex_unlock(&waiters->lock);
	return count;
}

static void rearm(struct waiters *waiters, struct waiter *waiter)
{
	pthread_mutex_lock(&waiters->lock);
	waiter->state = ARMED;
	list_append(&waiters->all, &waiter->link);
	if (waiter->until_ms < waiters->next_until_ms)
		waiters->next_until_ms = waiter->until_ms;
	pthread_mutex_unlock(&waiters->lock);
}

static void tell(struct waiters *waiters, struct waiter *waiter, enum waiter_why why,
		 const struct job_view *view)
{
	pthread_mutex_lock(&waiters->lock);
	table_take(waiters, waiter);
	pthread_mutex_unlock(&waiters->lock);
	waiter->told(waiter, why, view);
}

static int look_up(struct waiters *waiters, const struct uuid *ids, size_t count,
		   struct arena *arena, bool *found, struct job_view *views)
{
	struct error err;

	if ((!waiters->store && store_open(waiters->database_url, STORE_WRITE, "windlass-wait",
					   &waiters->store, &err) < 0) ||
	    query_finished(waiters->store, ids, count, arena, found, views, &err) < 0) {
		if (!waiters->store_was_away)
			log_line(LOG_WARN, "wait-store-away", LOG_S("error", err.message));
		waiters->store_was_away = true;
		return -1;
	}
	waiters->store_was_away = false;
	return 0;
}

/* Jobs that count against somebody's quota and whose end was not heard of. */
static void repair_limiter(struct waiters *waiters)
{
	struct uuid ids[LIMITER_LOOK];
	size_t count = limiter_next(waiters->limiter, ids, LIMITER_LOOK);
	struct arena *arena;
	bool found[LIMITER_LOOK] = { false };
	struct job_view *views;

	if (!count)
		return;
	arena = arena_new(64 * 1024);
	views = ARENA_ARRAY(arena, struct job_view, count);
	if (look_up(waiters, ids, count, arena, found, views) == 0) {
		for (size_t i = 0; i < count; i++) {
			if (found[i])
				limiter_ended(waiters->limiter, &ids[i], 1);
		}
	}
	arena_free(&arena);
}

static void serve_chunk(struct waiters *waiters, struct waiter **taken, size_t count)
{
	struct arena *arena = arena_new(64 * 1024);
	struct uuid *ids = ARENA_ARRAY(arena, struct uuid, count);
	bool *found = ARENA_ARRAY(arena, bool, count);
	struct job_view *views = ARENA_ARRAY(arena, struct job_view, count);

	for (size_t i = 0; i < count; i++)
		ids[i] = taken[i]->id;
	if (look_up(waiters, ids, count, arena, found, views) < 0)
		memset(found, 0, count * sizeof(*found));
	for (size_t i = 0; i < count; i++) {
		if (found[i])
			tell(waiters, taken[i], WAITER_ENDED, &views[i]);
		else
			rearm(waiters, taken[i]);
	}
	arena_free(&arena);
}

/* One round over those that were suspect when it began; what the store could not answer is suspect
 * again next second. */
static void serve_suspects(struct waiters *waiters)
{
	struct waiter *taken[CHUNK];
	size_t count;

	do {
		count = take_suspects(waiters, taken);
		if (count)
			serve_chunk(waiters, taken, count);
	} while (count == CHUNK);
}

/* Takes armed waiters whose time is over or (sweep) whose client is gone; after a walk over all,
 * next_until_ms is right again. */
static size_t take_late(struct waiters *waiters, int64_t now_ms, bool sweep,
			struct waiter **taken_r)
{
	int64_t next_ms = INT64_MAX;
	size_t count = 0;

	pthread_mutex_lock(&waiters->lock);
	for (struct list *at = waiters->all.next, *next; at != &waiters->all && count < CHUNK;
	     at = next) {
		next = at->next;
		struct waiter *waiter = list_entry(at, struct waiter, link);
		if (waiter->state != ARMED)
			continue;
		if (waiters->draining || waiter->until_ms <= now_ms ||
		    (sweep && waiter->gone(waiter))) {
			waiter->state = SUSPECT;
			list_remove(&waiter->link);
			taken_r[count++] = waiter;
		} else if (waiter->until_ms < next_ms) {
			next_ms = waiter->until_ms;
		}
	}
	waiters->next_until_ms = count < CHUNK ? next_ms : now_ms;
	pthread_mutex_unlock(&waiters->lock);
	return count;
}

static void tell_late(struct waiters *waiters, bool sweep)
{
	int64_t now_ms = clock_mono_ms();
	struct waiter *taken[CHUNK];
	size_t count = CHUNK;

	pthread_mutex_lock(&waiters->lock);
	bool due = sweep || waiters->next_until_ms <= now_ms;
	pthread_mutex_unlock(&waiters->lock);
	while (due && count == CHUNK) {
		count = take_late(waiters, now_ms, sweep, taken);
		for (size_t i = 0; i < count; i++)
			tell(waiters, taken[i], WAITER_LATE, NULL);
	}
}

static int time_to_wait_ms(struct waiters *waiters, int64_t next_repair_ms)
{
	int64_t now_ms = clock_mono_ms();

	pthread_mutex_lock(&waiters->lock);
	int64_t until_ms =
		waiters->next_until_ms < next_repair_ms ? waiters->next_until_ms : next_repair_ms;
	if (!list_empty(&waiters->suspects))
		until_ms = now_ms;
	pthread_mutex_unlock(&waiters->lock);
	return until_ms <= now_ms ? 0 : (int)(until_ms - now_ms);
}

static void *waiters_run(void *waiters_)
{
	struct waiters *waiters = waiters_;
	int64_t next_repair_ms = clock_mono_ms() + REPAIR_MS;
	struct bell_event event;

	while (!atomic_load(&waiters->stopping) || waiters_count(waiters)) {
		bool rang = bell_wait(waiters->bell, time_to_wait_ms(waiters, next_repair_ms),
				      &event) == 1;
		bool repair = clock_mono_ms() >= next_repair_ms;
		if (rang)
			note_ended(waiters, &event);
		if (repair || (rang && event.missed)) {
			suspect_all(waiters);
			repair_limiter(waiters);
			next_repair_ms = clock_mono_ms() + REPAIR_MS;
		}
		serve_suspects(waiters);
		tell_late(waiters, repair);
	}
	store_close(&waiters->store);
	return NULL;
}

struct waiters *waiters_start(const char *database_url, struct bell *bell, struct limiter *limiter,
			      struct metrics *metrics)
{
	struct waiters *waiters = xcalloc(1, sizeof(*waiters));

	waiters->database_url = xstrdup(database_url);
	waiters->bell = bell;
	waiters->limiter = limiter;
	waiters->gauge = metrics_series(metrics, METRIC_WAITERS, NULL, NULL);
	waiters->by_id = idmap_new();
	waiters->next_until_ms = INT64_MAX;
	list_init(&waiters->all);
	list_init(&waiters->suspects);
	pthread_mutex_init(&waiters->lock, NULL);
	CHECK(pthread_create(&waiters->thread, NULL, waiters_run, waiters) == 0);
	return waiters;
}

void waiters_stop(struct waiters **waiters_)
{
	struct waiters *waiters = *waiters_;

	*waiters_ = NULL;
	if (!waiters)
		return;
	atomic_store(&waiters->stopping, true);
	waiters_drain(waiters);
	pthread_join(waiters->thread, NULL);
	idmap_free(&waiters->by_id);
	pthread_mutex_destroy(&waiters->lock);
	free(waiters->database_url);
	free(waiters);
}
