/* SPDX-License-Identifier: Apache-2.0 */
/* The table behind watch.h. The lock is held for one event at a time, and never around rung(). */
#include "producers/gateway/watch_table.h"

#include <fnmatch.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"

#define QUEUE_FIRST 4
#define QUEUE_KEPT  64                           /* places that an empty queue may keep */
#define PAGE_ROOM   (WATCH_QUEUE_EVENTS_MAX / 4) /* no page while more is waiting */

static const char *const end_names[] = {
	[WATCH_ON] = "on",           [WATCH_OVER] = "over", [WATCH_OVERRUN] = "overrun",
	[WATCH_UNKNOWN] = "unknown", [WATCH_GONE] = "gone", [WATCH_AWAY] = "away",
	[WATCH_DRAIN] = "drain",
};

const char *watch_end_name(enum watch_end end)
{
	return end_names[end];
}

void watch_table_init(struct watch_table *table, size_t count_max, size_t per_account_max,
		      struct metrics *metrics)
{
	*table = (struct watch_table){ .count_max = count_max, .per_account_max = per_account_max };
	pthread_mutex_init(&table->lock, NULL);
	pthread_cond_init(&table->called, NULL);
	table->by_id = idmap_new();
	table->accounts = idmap_new();
	list_init(&table->fresh);
	list_init(&table->ones);
	list_init(&table->wide);
	list_init(&table->calls);
	table->gauge = metrics_series(metrics, METRIC_WATCHERS, NULL, NULL);
	table->events = metrics_series(metrics, METRIC_WATCH_EVENTS, NULL, NULL);
	for (int end = WATCH_OVER; end <= WATCH_DRAIN; end++)
		table->ends[end] = metrics_series(metrics, METRIC_WATCH_ENDS, end_names[end], NULL);
}

void watch_table_release(struct watch_table *table)
{
	CHECK(table->count == 0);
	idmap_free(&table->by_id);
	idmap_free(&table->accounts);
	pthread_cond_destroy(&table->called);
	pthread_mutex_destroy(&table->lock);
}

/* ---- queues; lock held */

static void drop_events(struct watcher *watcher)
{
	for (; watcher->count; watcher->count--, watcher->head++)
		watch_event_unref(&watcher->events[watcher->head % watcher->cap]);
	free(watcher->events);
	watcher->events = NULL;
	watcher->head = watcher->cap = watcher->bytes = 0;
}

static void ring(struct watcher *watcher)
{
	if (watcher->told)
		return;
	watcher->told = true;
	list_append(&watcher->table->calls, &watcher->call);
}

static void finish(struct watcher *watcher, enum watch_end end)
{
	if (watcher->end != WATCH_ON)
		return;
	watcher->end = end;
	if (watcher->since_ms)
		watcher->table->catching_count--;
	watcher->since_ms = 0;
	if (end == WATCH_OVERRUN)
		drop_events(watcher);
	metric_add(watcher->table->ends[end], 1);
	ring(watcher);
}

static void grow(struct watcher *watcher)
{
	size_t cap = watcher->cap ? 2 * watcher->cap : QUEUE_FIRST;
	struct watch_event **events = xcalloc(cap, sizeof(*events));

	for (size_t i = 0; i < watcher->count; i++)
		events[i] = watcher->events[(watcher->head + i) % watcher->cap];
	free(watcher->events);
	watcher->events = events;
	watcher->head = 0;
	watcher->cap = cap;
}

static void push(struct watcher *watcher, struct watch_event *event)
{
	if (watcher->end != WATCH_ON)
		return;
	if (watcher->count == WATCH_QUEUE_EVENTS_MAX ||
	    (watcher->count && watcher->bytes + event->bytes > WATCH_QUEUE_BYTES_MAX)) {
		finish(watcher, WATCH_OVERRUN);
		return;
	}
	if (watcher->count == watcher->cap)
		grow(watcher);
	atomic_fetch_add_explicit(&event->refs, 1, memory_order_relaxed);
	watcher->events[(watcher->head + watcher->count++) % watcher->cap] = event;
	watcher->bytes += event->bytes;
	metric_add(watcher->table->events, 1);
	ring(watcher);
}

/* Of one job: each state once. */
static void give_state(struct watcher *watcher, struct watch_event *event)
{
	if (watcher->seen != event->digest)
		push(watcher, event);
	else if (watcher->stage == WATCHER_LOOKING)
		ring(watcher);
	watcher->seen = event->digest;
	watcher->stage = WATCHER_LIVE;
	if (event->ended)
		finish(watcher, WATCH_OVER);
}

/* While it has not got all that moved before, an id is to lead back to there. */
static void push_wide(struct watcher *watcher, struct watch_event *event)
{
	struct watch_event *copy;

	if (!watcher->since_ms) {
		push(watcher, event);
		return;
	}
	copy = watch_event_copy(event, watcher->since_ms);
	push(watcher, copy);
	watch_event_unref(&copy);
}

struct watch_event *watcher_take(struct watcher *watcher, enum watch_end *end_r)
{
	struct watch_event *event = NULL;

	pthread_mutex_lock(&watcher->table->lock);
	*end_r = WATCH_ON;
	if (watcher->count) {
		event = watcher->events[watcher->head];
		watcher->head = (watcher->head + 1) % watcher->cap;
		watcher->count--;
		watcher->bytes -= event->bytes;
	} else {
		*end_r = watcher->end;
		watcher->told = false;
		if (watcher->cap > QUEUE_KEPT)
			drop_events(watcher);
	}
	bool hungry = watcher->since_ms && watcher->count == PAGE_ROOM - 1;
	pthread_mutex_unlock(&watcher->table->lock);
	if (hungry)
		watcher->table->poke(watcher->table->ctx);
	return event;
}

enum watch_end watcher_end(struct watcher *watcher)
{
	pthread_mutex_lock(&watcher->table->lock);
	enum watch_end end = watcher->end;
	pthread_mutex_unlock(&watcher->table->lock);
	return end;
}

/* ---- what fits; lock held */

static bool pattern_fits(const char *pattern, const char *name)
{
	return !pattern || fnmatch(pattern, name ? name : "", FNM_NOESCAPE) == 0;
}

static bool same(const char *wanted, const char *have)
{
	return !wanted || (have && strcmp(wanted, have) == 0);
}

static bool in_reach(const struct reach *reach, const struct job_view *view)
{
	if (!same(reach->tenant, view->tenant) || !same(reach->owner, view->owner))
		return false;
	for (size_t i = 0; i < reach->rule_count; i++) {
		if (pattern_fits(reach->rules[i].type, view->type) &&
		    pattern_fits(reach->rules[i].queue, view->queue))
			return true;
	}
	return reach->rule_count == 0;
}

/* Tags are names: within their quotes there is nothing that JSON would escape. */
static bool has_tag(const char *tags, const char *tag)
{
	size_t bytes = strlen(tag);
	const char *at = tags;

	while (at && (at = strchr(at, '"'))) {
		const char *end = strchr(at + 1, '"');

		if (!end)
			return false;
		if ((size_t)(end - at - 1) == bytes && memcmp(at + 1, tag, bytes) == 0)
			return true;
		at = end + 1;
	}
	return false;
}

static bool fits(const struct watch_filter *filter, const struct job_view *view)
{
	return same(filter->type, view->type) && same(filter->queue, view->queue) &&
	       (!filter->tag || has_tag(view->tags, filter->tag)) && in_reach(&filter->reach, view);
}

/* ---- coming and going */

static const char *copy(struct watcher *watcher, const char *text)
{
	if (!text)
		return NULL;
	if (!watcher->arena)
		watcher->arena = arena_new(256);
	return arena_strdup(watcher->arena, text);
}

static void copy_filter(struct watcher *watcher, const struct watch_filter *filter)
{
	struct watch_filter *mine = &watcher->filter;
	struct reach_rule *rules = NULL;

	*mine = *filter;
	mine->type = copy(watcher, filter->type);
	mine->queue = copy(watcher, filter->queue);
	mine->tag = copy(watcher, filter->tag);
	mine->reach.tenant = copy(watcher, filter->reach.tenant);
	mine->reach.owner = copy(watcher, filter->reach.owner);
	if (filter->reach.rule_count && !watcher->arena)
		watcher->arena = arena_new(256);
	if (filter->reach.rule_count)
		rules = ARENA_ARRAY(watcher->arena, struct reach_rule, filter->reach.rule_count);
	for (size_t i = 0; i < filter->reach.rule_count; i++) {
		rules[i].type = copy(watcher, filter->reach.rules[i].type);
		rules[i].queue = copy(watcher, filter->reach.rules[i].queue);
	}
	mine->reach.rules = rules;
}

/* Counts one more (or less) of the account. False: it has all that it may have. */
static bool count_account(struct watch_table *table, const struct uuid *account, int change)
{
	uintptr_t count;

	if (uuid_is_nil(account))
		return true;
	count = (uintptr_t)idmap_take(table->accounts, account);
	if (change > 0 && count >= table->per_account_max) {
		idmap_put(table->accounts, account, (void *)count);
		return false;
	}
	count = change > 0 ? count + 1 : count - 1;
	if (count)
		idmap_put(table->accounts, account, (void *)count);
	return true;
}

static void put_in(struct watch_table *table, struct watcher *watcher)
{
	if (uuid_is_nil(&watcher->filter.id)) {
		list_append(&table->wide, &watcher->link);
		table->wide_count++;
		table->catching_count += watcher->since_ms != 0;
		watcher->stage = WATCHER_LIVE;
	} else {
		list_append(&table->fresh, &watcher->link);
		watcher->next = idmap_put(table->by_id, &watcher->filter.id, watcher);
	}
	metric_set(table->gauge, (double)++table->count);
	if (table->draining)
		finish(watcher, WATCH_DRAIN);
	else if (watcher->since_ms && watcher->since_ms < clock_wall_ms() - WATCH_RESUME_MS)
		finish(watcher, WATCH_GONE);
}

struct watcher *watch_table_add(struct watch_table *table, const struct watch_filter *filter,
				const char *last_event_id, watch_rung_fn *rung, void *owner)
{
	bool room;

	pthread_mutex_lock(&table->lock);
	room = table->count < table->count_max && count_account(table, &filter->account, 1);
	if (room)
		table->count++; /* the place is taken */
	pthread_mutex_unlock(&table->lock);
	if (!room)
		return NULL;
	struct watcher *watcher = xcalloc(1, sizeof(*watcher));
	int64_t at_ms;

	watcher->table = table;
	watcher->rung = rung;
	watcher->owner = owner;
	watcher->refs = 1;
	list_init(&watcher->link);
	list_init(&watcher->call);
	copy_filter(watcher, filter);
	if (last_event_id && watch_event_id_parse(last_event_id, &at_ms, &watcher->seen) &&
	    uuid_is_nil(&filter->id))
		watcher->since_ms = at_ms;
	pthread_mutex_lock(&table->lock);
	table->count--;
	put_in(table, watcher);
	pthread_mutex_unlock(&table->lock);
	return watcher;
}

/* Lock held. */
static void unlink_same_job(struct watch_table *table, struct watcher *watcher)
{
	struct watcher *first = idmap_take(table->by_id, &watcher->filter.id);
	struct watcher **at = &first;

	while (*at && *at != watcher)
		at = &(*at)->next;
	CHECK(*at == watcher);
	*at = watcher->next;
	if (first)
		idmap_put(table->by_id, &first->filter.id, first);
}

/* Lock held. */
static void unref(struct watcher *watcher)
{
	if (--watcher->refs > 0)
		return;
	drop_events(watcher);
	if (watcher->arena)
		arena_free(&watcher->arena);
	free(watcher);
}

void watch_table_remove(struct watch_table *table, struct watcher *watcher)
{
	pthread_mutex_lock(&table->lock);
	while (watcher->calling)
		pthread_cond_wait(&table->called, &table->lock);
	if (uuid_is_nil(&watcher->filter.id))
		table->wide_count--;
	else
		unlink_same_job(table, watcher);
	table->catching_count -= watcher->since_ms != 0;
	watcher->since_ms = 0;
	if (watcher->end == WATCH_ON)
		watcher->end = WATCH_OVER;
	list_remove(&watcher->link);
	list_remove(&watcher->call);
	count_account(table, &watcher->filter.account, -1);
	metric_set(table->gauge, (double)--table->count);
	unref(watcher);
	pthread_mutex_unlock(&table->lock);
}

/* ---- the hub's */

size_t watch_table_take_fresh(struct watch_table *table, struct uuid *ids_r, size_t max)
{
	size_t count = 0;

	pthread_mutex_lock(&table->lock);
	while (count < max && !list_empty(&table->fresh)) {
		struct watcher *watcher = list_first(&table->fresh, struct watcher, link);

		list_remove(&watcher->link);
		list_append(&table->ones, &watcher->link);
		watcher->stage = WATCHER_LOOKING;
		ids_r[count++] = watcher->filter.id;
	}
	pthread_mutex_unlock(&table->lock);
	return count;
}

size_t watch_table_next(struct watch_table *table, struct uuid *ids_r, size_t max)
{
	size_t count = 0;

	pthread_mutex_lock(&table->lock);
	for (size_t n = table->count - table->wide_count; n && count < max; n--) {
		struct watcher *watcher = list_first(&table->ones, struct watcher, link);

		if (list_empty(&table->ones))
			break;
		list_remove(&watcher->link);
		list_append(&table->ones, &watcher->link);
		if (watcher->end == WATCH_ON)
			ids_r[count++] = watcher->filter.id;
	}
	pthread_mutex_unlock(&table->lock);
	return count;
}

bool watch_table_wants(struct watch_table *table, const struct uuid *id)
{
	pthread_mutex_lock(&table->lock);
	bool wants = table->wide_count || idmap_get(table->by_id, id);
	pthread_mutex_unlock(&table->lock);
	return wants;
}

void watch_table_give(struct watch_table *table, struct watch_event *event,
		      const struct job_view *view, bool moved)
{
	pthread_mutex_lock(&table->lock);
	for (struct watcher *watcher = idmap_get(table->by_id, &event->job); watcher;
	     watcher = watcher->next) {
		if (watcher->stage == WATCHER_FRESH)
			continue;
		if (in_reach(&watcher->filter.reach, view))
			give_state(watcher, event);
		else
			finish(watcher, WATCH_UNKNOWN);
	}
	for (struct list *at = table->wide.next; moved && at != &table->wide; at = at->next) {
		struct watcher *watcher = list_entry(at, struct watcher, link);

		if (fits(&watcher->filter, view))
			push_wide(watcher, event);
	}
	pthread_mutex_unlock(&table->lock);
}

void watch_table_none(struct watch_table *table, const struct uuid *id, enum watch_end end)
{
	pthread_mutex_lock(&table->lock);
	for (struct watcher *watcher = idmap_get(table->by_id, id); watcher;
	     watcher = watcher->next) {
		if (watcher->stage != WATCHER_FRESH)
			finish(watcher, end);
	}
	pthread_mutex_unlock(&table->lock);
}

void watch_table_away(struct watch_table *table, const struct uuid *ids, size_t count)
{
	pthread_mutex_lock(&table->lock);
	for (size_t i = 0; i < count; i++) {
		for (struct watcher *watcher = idmap_get(table->by_id, &ids[i]); watcher;
		     watcher = watcher->next) {
			if (watcher->stage == WATCHER_LOOKING)
				finish(watcher, WATCH_AWAY);
		}
	}
	pthread_mutex_unlock(&table->lock);
}

static void drain_list(struct list *watchers)
{
	for (struct list *at = watchers->next; at != watchers; at = at->next)
		finish(list_entry(at, struct watcher, link), WATCH_DRAIN);
}

void watch_table_drain(struct watch_table *table)
{
	pthread_mutex_lock(&table->lock);
	table->draining = true;
	drain_list(&table->fresh);
	drain_list(&table->ones);
	drain_list(&table->wide);
	pthread_mutex_unlock(&table->lock);
}

struct watcher *watch_table_hungry(struct watch_table *table, int64_t *since_ms_r)
{
	struct watcher *found = NULL;

	pthread_mutex_lock(&table->lock);
	for (struct list *at = table->wide.next;
	     table->catching_count && !found && at != &table->wide; at = at->next) {
		struct watcher *watcher = list_entry(at, struct watcher, link);

		if (watcher->since_ms && watcher->count < PAGE_ROOM)
			found = watcher;
	}
	if (found) { /* the next time it is another's turn */
		found->refs++;
		*since_ms_r = found->since_ms;
		list_remove(&found->link);
		list_append(&table->wide, &found->link);
	}
	pthread_mutex_unlock(&table->lock);
	return found;
}

void watch_table_give_one(struct watcher *watcher, struct watch_event *event,
			  const struct job_view *view)
{
	pthread_mutex_lock(&watcher->table->lock);
	if (fits(&watcher->filter, view))
		push(watcher, event);
	pthread_mutex_unlock(&watcher->table->lock);
}

void watch_table_fed(struct watcher *watcher, const struct uuid *before)
{
	struct watch_table *table = watcher->table;

	pthread_mutex_lock(&table->lock);
	if (watcher->since_ms && before) {
		watcher->before = *before;
	} else if (watcher->since_ms) {
		watcher->since_ms = 0;
		table->catching_count--;
	}
	unref(watcher);
	pthread_mutex_unlock(&table->lock);
}

void watch_table_call(struct watch_table *table)
{
	pthread_mutex_lock(&table->lock);
	while (!list_empty(&table->calls)) {
		struct watcher *watcher = list_first(&table->calls, struct watcher, call);

		list_remove(&watcher->call);
		watcher->calling = true;
		pthread_mutex_unlock(&table->lock);
		watcher->rung(watcher->owner);
		pthread_mutex_lock(&table->lock);
		watcher->calling = false;
		pthread_cond_broadcast(&table->called);
	}
	pthread_mutex_unlock(&table->lock);
}
