/* SPDX-License-Identifier: Apache-2.0 */
/* The hub behind watch.h: one thread, one store connection, one bell. While nobody watches it has
 * neither; its ears are opened for the first watcher. One page a turn: hear, look up a bounded
 * number of jobs, hand out, ring. */
#include "producers/gateway/watch.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "producers/gateway/watch_backlog.h"
#include "producers/gateway/watch_table.h"

#define CHUNK          200  /* jobs a look-up */
#define BEACON_MS      1000 /* a worker that has just come learns it soon */
#define REPAIR_MS      1000
#define REPAIR_CHUNK   200  /* watched jobs looked at in each repair */
#define SCAN_MS        5000 /* what has ended lately: a ringer may have died before it rang */
#define SCAN_PART      150  /* of the time at most: nothing is handed out meanwhile */
#define SCAN_PAGE      10000
#define SCAN_ROOM      1000  /* no page while more is waiting */
#define SCAN_BACK_MS   5000  /* from the stamp of an end to its commit */
#define RESUME_BACK_MS 10000 /* the same, for those who were away, and the way of the ring */
#define AWAY_MS        500
#define IDLE_MS        10000 /* ears stay open after the last watcher */

struct watch {
	struct watch_options o;
	struct watch_table table;
	pthread_t thread;
	pthread_mutex_t lock; /* guards ears against being closed, and what follows */
	pthread_cond_t wake;
	struct bell *ears; /* NULL: nobody watches */
	bool stopping;
	/* the thread's own */
	struct store *store;
	struct arena *arena; /* of a look-up */
	struct metric_series *seconds;
	struct watch_backlog *backlog;
	bool away;
	bool feeding;     /* somebody may have room for another page */
	size_t chunk;     /* smaller after a failure */
	int64_t again_ms; /* the store is not asked before */
	int64_t beacon_ms, repair_ms, scan_ms, watched_ms;
	int64_t ahead_ms; /* the store's clock, before ours */
	bool clock_known;
	int64_t safe_ms; /* store's time: what moved before was handed out */
	struct {
		bool on, missed; /* missed: the next one names all moves, not only ends */
		bool ended;      /* this one */
		int64_t since_ms, began_ms; /* store's time */
		int64_t started_ms;         /* ours */
		struct uuid before;
	} scan;
};

static int64_t store_now_ms(const struct watch *watch)
{
	return clock_wall_ms() + watch->ahead_ms;
}

/* ---- the store */

static void store_failed(struct watch *watch, const struct error *error)
{
	if (!watch->away)
		log_line(LOG_WARN, "watch-store-away", LOG_S("code", error_code_name(error->code)),
			 LOG_S("error", error->message));
	watch->away = true;
	watch->again_ms = clock_mono_ms() + AWAY_MS;
}

static bool ask(struct watch *watch, struct error *error)
{
	return watch->store || store_open(watch->o.database_url, STORE_WRITE, "windlass-watch",
					  &watch->store, error) == 0;
}

/* False: the store did not answer. */
static bool look_up(struct watch *watch, const struct uuid *ids, size_t count, bool **found_r,
		    struct job_view **views_r)
{
	struct error error;
	int64_t now_ms;

	arena_reset(watch->arena);
	*found_r = ARENA_ARRAY(watch->arena, bool, count);
	*views_r = ARENA_ARRAY(watch->arena, struct job_view, count);
	if (!ask(watch, &error) || query_views(watch->store, ids, count, watch->arena, *found_r,
					       *views_r, &now_ms, &error) < 0) {
		store_failed(watch, &error);
		return false;
	}
	watch->away = false;
	watch->ahead_ms = now_ms - clock_wall_ms();
	if (!watch->clock_known)
		watch->safe_ms = watch->scan.began_ms = now_ms;
	watch->clock_known = true;
	return true;
}

/* ---- what is to be looked up */

static void add(struct watch *watch, const struct uuid *id)
{
	if (watch_backlog_was_told(watch->backlog, id) || !watch_table_wants(&watch->table, id))
		return;
	if (!watch_backlog_add(watch->backlog, id, true, clock_mono_ns()))
		watch->scan.missed = true;
}

static void add_watched(struct watch *watch, size_t max)
{
	struct uuid ids[REPAIR_CHUNK];

	while (max) {
		size_t want = max < REPAIR_CHUNK ? max : REPAIR_CHUNK;
		size_t count = watch_table_next(&watch->table, ids, want);

		for (size_t i = 0; i < count; i++)
			watch_backlog_add(watch->backlog, &ids[i], false, clock_mono_ns());
		max = count < want ? 0 : max - count;
	}
}

/* They have to be looked at, whatever is known of their jobs. */
static void add_fresh(struct watch *watch)
{
	struct uuid ids[REPAIR_CHUNK];
	size_t count;

	do {
		count = watch_table_take_fresh(&watch->table, ids, REPAIR_CHUNK);
		for (size_t i = 0; i < count; i++)
			watch_backlog_add(watch->backlog, &ids[i], false, clock_mono_ns());
	} while (count == REPAIR_CHUNK);
}

static int wait_ms(const struct watch *watch)
{
	int64_t now_ms = clock_mono_ms(), due_ms = watch->repair_ms;

	if (watch->again_ms > now_ms)
		return (int)(watch->again_ms - now_ms);
	if (watch_backlog_count(watch->backlog) || watch->scan.on || watch->feeding)
		return 0;
	if (watch->scan_ms < due_ms)
		due_ms = watch->scan_ms;
	if (watch->beacon_ms < due_ms)
		due_ms = watch->beacon_ms;
	return due_ms > now_ms ? (int)(due_ms - now_ms) : 0;
}

static void hear(struct watch *watch)
{
	struct bell_event event;

	if (!watch_backlog_count(watch->backlog) && watch->clock_known)
		watch->safe_ms = store_now_ms(watch);
	if (bell_wait(watch->ears, wait_ms(watch), &event) != 1)
		return;
	for (size_t i = 0; i < event.ended_count; i++)
		add(watch, &event.ended[i]);
	for (size_t i = 0; i < event.moved_count; i++)
		add(watch, &event.moved[i]);
	if (!event.missed)
		return;
	watch->scan.missed = true;
	watch->scan_ms = 0;
	add_watched(watch, WATCH_BACKLOG_MAX);
}

static void repair(struct watch *watch, int64_t now_ms)
{
	if (now_ms >= watch->beacon_ms) {
		bell_watch(watch->o.bell);
		watch->beacon_ms = now_ms + BEACON_MS;
	}
	if (now_ms >= watch->repair_ms) {
		add_watched(watch, REPAIR_CHUNK);
		watch->repair_ms = now_ms + REPAIR_MS;
	}
}

static void begin_scan(struct watch *watch, int64_t now_ms)
{
	watch->scan.on = true;
	watch->scan.ended = !watch->scan.missed;
	watch->scan.missed = false;
	watch->scan.since_ms = watch->scan.began_ms - SCAN_BACK_MS;
	watch->scan.began_ms = store_now_ms(watch);
	watch->scan.started_ms = now_ms;
	watch->scan.before = (struct uuid){ 0 };
}

static void end_scan(struct watch *watch, int64_t now_ms)
{
	int64_t pause_ms = (now_ms - watch->scan.started_ms) * SCAN_PART;

	watch->scan.on = false;
	watch->scan_ms = now_ms + (pause_ms > SCAN_MS ? pause_ms : SCAN_MS);
}

/* A page of what has ended, or moved, lately. */
static void scan(struct watch *watch, int64_t now_ms)
{
	struct moved_filter filter = { .limit = SCAN_PAGE };
	struct error error;
	struct uuid *ids;
	size_t count;

	if (!watch->scan.on && now_ms >= watch->scan_ms && watch->clock_known)
		begin_scan(watch, now_ms);
	if (!watch->scan.on || watch_backlog_count(watch->backlog) > SCAN_ROOM)
		return;
	filter.since_ms = watch->scan.since_ms;
	filter.ended = watch->scan.ended;
	filter.before = watch->scan.before;
	arena_reset(watch->arena);
	ids = ARENA_ARRAY(watch->arena, struct uuid, SCAN_PAGE);
	if (!ask(watch, &error) || query_moved(watch->store, &filter, ids, &count, &error) < 0) {
		store_failed(watch, &error);
		return;
	}
	for (size_t i = 0; i < count; i++)
		add(watch, &ids[i]);
	if (count < SCAN_PAGE)
		end_scan(watch, clock_mono_ms());
	else
		watch->scan.before = ids[count - 1];
}

/* ---- handing out */

static enum watch_end why_none(const struct watch *watch, const struct uuid *id)
{
	int64_t horizon_ms = clock_wall_ms() - watch->o.keep_ms;

	return uuid_version(id) == 7 && uuid_time_ms(id) < horizon_ms ? WATCH_GONE : WATCH_UNKNOWN;
}

static void hand_out(struct watch *watch, const struct uuid *ids, const bool *moved, size_t count,
		     const bool *found, const struct job_view *views)
{
	struct definitions *defs = watch->o.definitions(watch->o.ctx);

	for (size_t i = 0; i < count; i++) {
		struct watch_event *event;

		if (!found[i]) {
			watch_table_none(&watch->table, &ids[i], why_none(watch, &ids[i]));
			continue;
		}
		event = watch_event_new(&views[i], defs, watch->safe_ms);
		watch_table_give(&watch->table, event, &views[i], moved[i]);
		if (event->ended && moved[i])
			watch_backlog_told(watch->backlog, &ids[i], clock_mono_ns());
		watch_event_unref(&event);
	}
	definitions_unref(&defs);
}

static void serve(struct watch *watch)
{
	struct uuid ids[CHUNK];
	bool moved[CHUNK];
	int64_t heard_ns;
	size_t count = watch_backlog_peek(watch->backlog, ids, moved, watch->chunk, &heard_ns);
	struct job_view *views;
	bool *found;

	if (!count)
		return;
	if (!look_up(watch, ids, count, &found, &views)) {
		watch_table_away(&watch->table, ids, count);
		watch->chunk = watch->chunk > 1 ? watch->chunk / 2 : 1;
		return;
	}
	watch->chunk = watch->chunk < CHUNK / 2 ? 2 * watch->chunk : CHUNK;
	watch_backlog_drop(watch->backlog, count);
	hand_out(watch, ids, moved, count, found, views);
	metric_observe(watch->seconds, (double)(clock_mono_ns() - heard_ns) / 1e9);
}

/* A page of what one watcher has missed. */
static void feed_one(struct watch *watch, struct watcher *watcher, int64_t since_ms)
{
	const struct watch_filter *wanted = &watcher->filter;
	struct moved_filter filter = { .reach = wanted->reach,
				       .type = wanted->type,
				       .queue = wanted->queue,
				       .tag = wanted->tag,
				       .since_ms = since_ms - RESUME_BACK_MS,
				       .before = watcher->before,
				       .limit = CHUNK };
	struct definitions *defs;
	struct uuid ids[CHUNK];
	struct job_view *views;
	struct error error;
	size_t count;
	bool *found;

	if (!ask(watch, &error) || query_moved(watch->store, &filter, ids, &count, &error) < 0) {
		store_failed(watch, &error);
		watch_table_fed(watcher, &filter.before);
		return;
	}
	if (count && !look_up(watch, ids, count, &found, &views)) {
		watch_table_fed(watcher, &filter.before);
		return;
	}
	defs = watch->o.definitions(watch->o.ctx);
	for (size_t i = 0; i < count; i++) {
		struct watch_event *event;

		if (!found[i])
			continue;
		event = watch_event_new(&views[i], defs, since_ms);
		watch_table_give_one(watcher, event, &views[i]);
		watch_event_unref(&event);
	}
	definitions_unref(&defs);
	watch_table_fed(watcher, count == CHUNK ? &ids[count - 1] : NULL);
}

static void feed(struct watch *watch)
{
	int64_t since_ms;
	struct watcher *watcher = watch_table_hungry(&watch->table, &since_ms);

	watch->feeding = watcher != NULL;
	if (watcher)
		feed_one(watch, watcher, since_ms);
}

/* ---- the page */

/* Learns the store's time, from which on nothing is to be missed. */
static void look_at_clock(struct watch *watch)
{
	static const struct uuid nobody;
	struct job_view *views;
	bool *found;

	if (!watch->clock_known)
		look_up(watch, &nobody, 1, &found, &views);
}

static void turn(struct watch *watch)
{
	int64_t now_ms;

	hear(watch);
	now_ms = clock_mono_ms();
	add_fresh(watch);
	repair(watch, now_ms);
	if (now_ms >= watch->again_ms) {
		look_at_clock(watch);
		serve(watch);
		scan(watch, now_ms);
		feed(watch);
	}
	watch_table_call(&watch->table);
}

static void open_ears(struct watch *watch)
{
	struct error error;
	struct bell *ears = bell_open(watch->o.database_url, BELL_ENDED | BELL_MOVED, &error);

	CHECK(ears); /* the same URL as the store's, which is open */
	pthread_mutex_lock(&watch->lock);
	watch->ears = ears;
	pthread_mutex_unlock(&watch->lock);
	watch->backlog = watch_backlog_new();
	watch->clock_known = false;
	watch->chunk = CHUNK;
	watch->again_ms = watch->beacon_ms = watch->scan_ms = 0;
	watch->repair_ms = clock_mono_ms() + REPAIR_MS;
	memset(&watch->scan, 0, sizeof(watch->scan));
}

static void close_ears(struct watch *watch)
{
	pthread_mutex_lock(&watch->lock);
	struct bell *ears = watch->ears;
	watch->ears = NULL;
	pthread_mutex_unlock(&watch->lock);
	if (ears)
		bell_close(&ears);
	watch_backlog_free(&watch->backlog);
	store_close(&watch->store);
}

/* Sleeps while nobody watches. False: stop. */
static bool somebody(struct watch *watch)
{
	size_t count = watch_count(watch);
	bool stopping;

	if (count)
		watch->watched_ms = clock_mono_ms();
	if (!count && watch->ears && clock_mono_ms() - watch->watched_ms > IDLE_MS)
		close_ears(watch);
	pthread_mutex_lock(&watch->lock);
	while (!watch->stopping && !watch->ears && watch_count(watch) == 0)
		pthread_cond_wait(&watch->wake, &watch->lock);
	stopping = watch->stopping;
	pthread_mutex_unlock(&watch->lock);
	return !stopping;
}

static void *watch_run(void *watch_)
{
	struct watch *watch = watch_;

	while (somebody(watch)) {
		if (!watch->ears)
			open_ears(watch);
		turn(watch);
	}
	close_ears(watch);
	return NULL;
}

/* ---- what doors and gateway_main do */

static void poke(void *watch_)
{
	struct watch *watch = watch_;

	pthread_mutex_lock(&watch->lock);
	if (watch->ears)
		bell_wake(watch->ears);
	pthread_cond_signal(&watch->wake);
	pthread_mutex_unlock(&watch->lock);
}

struct watcher *watch_start(struct watch *watch, const struct watch_filter *filter,
			    const char *last_event_id, watch_rung_fn *rung, void *owner)
{
	struct watcher *watcher =
		watch_table_add(&watch->table, filter, last_event_id, rung, owner);

	if (watcher)
		poke(watch);
	return watcher;
}

void watcher_stop(struct watcher **watcher_)
{
	struct watcher *watcher = *watcher_;

	*watcher_ = NULL;
	if (watcher)
		watch_table_remove(watcher->table, watcher);
}

struct watch *watch_open(const struct watch_options *options)
{
	struct watch *watch = xcalloc(1, sizeof(*watch));

	watch->o = *options;
	watch->o.database_url = xstrdup(options->database_url);
	watch_table_init(&watch->table, options->watchers_max, options->per_account_max,
			 options->metrics);
	watch->table.poke = poke;
	watch->table.ctx = watch;
	watch->seconds = metrics_series(options->metrics, METRIC_WATCH_SECONDS, NULL, NULL);
	watch->arena = arena_new(64 * 1024);
	pthread_mutex_init(&watch->lock, NULL);
	pthread_cond_init(&watch->wake, NULL);
	CHECK(pthread_create(&watch->thread, NULL, watch_run, watch) == 0);
	return watch;
}

size_t watch_count(struct watch *watch)
{
	pthread_mutex_lock(&watch->table.lock);
	size_t count = watch->table.count;
	pthread_mutex_unlock(&watch->table.lock);
	return count;
}

void watch_drain(struct watch *watch)
{
	watch_table_drain(&watch->table);
	poke(watch);
}

void watch_close(struct watch **watch_)
{
	struct watch *watch = *watch_;

	*watch_ = NULL;
	if (!watch)
		return;
	pthread_mutex_lock(&watch->lock);
	watch->stopping = true;
	pthread_mutex_unlock(&watch->lock);
	poke(watch);
	pthread_join(watch->thread, NULL);
	watch_table_release(&watch->table);
	arena_free(&watch->arena);
	pthread_cond_destroy(&watch->wake);
	pthread_mutex_destroy(&watch->lock);
	free((char *)watch->o.database_url);
	free(watch);
}
