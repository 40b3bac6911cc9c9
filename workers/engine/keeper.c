/* SPDX-License-Identifier: Apache-2.0 */
/* The keeper's table of chores and the page that runs them when they are due. A chore that fails is
 * tried again a little later and said once: the store's absence is one event, not one a chore. */
#include "workers/engine/keeper.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/base/arena.h"
#include "common/base/clock.h"
#include "common/base/idmap.h"
#include "common/base/log.h"
#include "common/store/chain.h"
#include "common/store/completion.h"
#include "common/store/control.h"
#include "common/store/maintenance.h"
#include "common/store/pool.h"
#include "common/store/registry.h"
#include "common/store/session.h"
#include "workers/engine/endpoints.h"

#define ENDPOINTS_MS     5000
#define PROMOTE_POLL_MS  500
#define PROMOTE_GAP_MS   100
#define FAILED_AGAIN_MS  1000
#define PROGRESS_MS      1000
#define PROGRESS_SEEN_MS 200 /* while somebody watches */
#define TARGETS_MS       2000
#define CHAINS_MS        250 /* while jobs wait for others */
#define CHAINS_IDLE_MS   1000
#define CHAINS_AT_ONCE   20 /* sweeps, before other chores have their turn */
#define FIGURES_MS       2000
#define HOSTS_MS         5000
#define PROGRESS_AT_ONCE 256
#define NOTE_BYTES_MAX   1024

enum chore_name {
	CHORE_RENEW,
	CHORE_PROMOTE,
	CHORE_RELEASE,
	CHORE_FOLD,
	CHORE_RETENTION,
	CHORE_PROGRESS,
	CHORE_CANCELS,
	CHORE_TYPES,
	CHORE_TARGETS,
	CHORE_ENDPOINTS,
	CHORE_CHAINS,
	CHORE_FIGURES,
	CHORE_HOSTS,
	CHORE_COUNT
};

struct progress_note {
	struct progress progress; /* note points to text */
	char text[NOTE_BYTES_MAX];
};

struct keeper {
	struct keeper_options o;
	pthread_t thread;
	int64_t due_ms[CHORE_COUNT];    /* the thread's own; monotonic, 0: only when asked for */
	int64_t promoted_ms;            /* the last look */
	char *targets;                  /* as they were reported last, or NULL */
	_Atomic bool chains;            /* jobs wait for others, as far as is known */
	struct session_figures figures; /* the same */
	bool figured;                   /* they were */
	_Atomic bool away; /* the last chore could not reach the store; read by any thread */

	pthread_mutex_t lock; /* guards what follows */
	pthread_cond_t wake;
	bool stop, kicked, rescaled;
	int64_t promote_by_ms;  /* 0: not */
	struct idmap *progress; /* id -> struct progress_note */
	struct uuid *asked;     /* about cancels; NULL: nothing */
	size_t asked_count;
	struct definitions *types; /* to be registered, or NULL */
	struct uuid *ended;        /* while jobs wait for others; room for CHAIN_HINTS_MAX */
	size_t ended_count;
};

struct chore {
	const char *name;
	/* Returns ms until it is due again, 0: when asked for; -1: it failed. */
	int64_t (*run)(struct keeper *keeper, struct error *err_r);
};

static int64_t min64(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

static int64_t clamp(int64_t value, int64_t low, int64_t high)
{
	return value < low ? low : min64(value, high);
}

/* ---- chores */

static int64_t run_renew(struct keeper *k, struct error *err_r)
{
	char host[64] = "";
	struct session_info info = {
		.id = k->o.session,
		.host = host,
		.pid = (int)getpid(),
		.lease_ms = k->o.lease_ms,
		.broker = k->o.broker,
		.pool = k->o.pool,
		.node = k->o.node,
	};
	bool fresh;

	gethostname(host, sizeof(host) - 1);
	if (session_renew(k->o.store, &info, &fresh, err_r) < 0)
		return -1;
	if (fresh) {
		free(k->targets);
		k->targets = NULL;
		k->figured = false;
		log_line(LOG_WARN, "session-lost", LOG_I("lease_ms", k->o.lease_ms));
		k->o.ready(k->o.ctx);
	}
	return k->o.lease_ms / 3;
}

static int64_t run_promote(struct keeper *k, struct error *err_r)
{
	int64_t promoted, next_ms;

	k->promoted_ms = clock_mono_ms();
	if (maintenance_promote(k->o.store, &promoted, &next_ms, err_r) < 0)
		return -1;
	if (promoted > 0) {
		bell_ring(k->o.bell, BELL_READY);
		k->o.ready(k->o.ctx);
	}
	return next_ms < 0 ? PROMOTE_POLL_MS : clamp(next_ms, 1, PROMOTE_POLL_MS);
}

static int64_t run_release(struct keeper *k, struct error *err_r)
{
	int64_t released;

	if (maintenance_release(k->o.store, &released, err_r) < 0)
		return -1;
	if (released > 0) {
		log_line(LOG_WARN, "leases-released", LOG_I("jobs", released));
		bell_ring(k->o.bell, BELL_READY);
		k->o.ready(k->o.ctx);
	}
	return clamp(k->o.lease_ms / 6, 200, 5000);
}

static int64_t run_fold(struct keeper *k, struct error *err_r)
{
	return maintenance_fold(k->o.store, err_r) < 0 ? -1 : 1000;
}

static int64_t run_retention(struct keeper *k, struct error *err_r)
{
	return maintenance_retention(k->o.store, k->o.keep_ms, k->o.keep_dead_ms, err_r) < 0
		       ? -1
		       : 60000;
}

/* Takes up to PROGRESS_AT_ONCE notes out of the map. */
static size_t take_progress(struct keeper *k, struct progress_note **notes)
{
	size_t cursor = 0, count = 0;
	struct uuid ids[PROGRESS_AT_ONCE];
	void *note;

	pthread_mutex_lock(&k->lock);
	while (count < PROGRESS_AT_ONCE && idmap_next(k->progress, &cursor, &ids[count], &note))
		notes[count++] = note;
	for (size_t i = 0; i < count; i++)
		idmap_take(k->progress, &ids[i]);
	pthread_mutex_unlock(&k->lock);
	return count;
}

static int64_t progress_ms(const struct keeper *k)
{
	return bell_watched(k->o.bell) ? PROGRESS_SEEN_MS : PROGRESS_MS;
}

/* What cannot be saved is dropped: a newer note comes, or nobody misses it. */
static int64_t run_progress(struct keeper *k, struct error *err_r)
{
	struct progress_note *notes[PROGRESS_AT_ONCE];
	struct progress items[PROGRESS_AT_ONCE];
	struct uuid ids[PROGRESS_AT_ONCE];
	size_t count = take_progress(k, notes);
	int rc = 0;

	for (size_t i = 0; i < count; i++) {
		items[i] = notes[i]->progress;
		ids[i] = items[i].id;
	}
	if (count)
		rc = progress_save(k->o.store, items, count, err_r);
	if (rc == 0)
		bell_ring_moved(k->o.bell, ids, count);
	for (size_t i = 0; i < count; i++)
		free(notes[i]);
	if (rc < 0)
		return -1;
	return count == PROGRESS_AT_ONCE ? 1 : count ? progress_ms(k) : 0;
}

static int64_t run_cancels(struct keeper *k, struct error *err_r)
{
	struct uuid *ids;
	bool *asked;
	size_t count, left = 0;
	int rc;

	pthread_mutex_lock(&k->lock);
	ids = k->asked;
	count = k->asked_count;
	k->asked = NULL;
	pthread_mutex_unlock(&k->lock);
	if (!ids)
		return 0;
	asked = xcalloc(count, sizeof(*asked));
	rc = control_cancels(k->o.store, ids, count, asked, err_r);
	for (size_t i = 0; rc == 0 && i < count; i++) {
		if (asked[i])
			ids[left++] = ids[i];
	}
	if (left)
		k->o.cancels(k->o.ctx, ids, left);
	free(asked);
	free(ids);
	return rc;
}

static int64_t run_types(struct keeper *k, struct error *err_r)
{
	struct definitions *defs;
	int rc;

	pthread_mutex_lock(&k->lock);
	defs = k->types;
	k->types = NULL;
	pthread_mutex_unlock(&k->lock);
	if (!defs)
		return 0;
	rc = registry_sync(k->o.store, defs, err_r);
	pthread_mutex_lock(&k->lock);
	if (rc < 0 && !k->types)
		k->types = definitions_ref(defs); /* none newer has come meanwhile */
	pthread_mutex_unlock(&k->lock);
	definitions_unref(&defs);
	return rc;
}

/* Written only when something has changed. */
static int64_t run_targets(struct keeper *k, struct error *err_r)
{
	struct strbuf text;
	int rc = 0;

	strbuf_init(&text);
	k->o.targets(k->o.ctx, &text);
	if (!k->targets || strcmp(k->targets, text.data) != 0)
		rc = session_report(k->o.store, &k->o.session, text.data, err_r);
	free(k->targets);
	k->targets = rc == 0 ? strbuf_take(&text) : NULL;
	strbuf_release(&text);
	return rc == 0 ? TARGETS_MS : -1;
}

static int64_t run_endpoints(struct keeper *k, struct error *err_r)
{
	struct arena *arena = arena_new(0);
	struct endpoint_view *views;
	size_t count;
	int rc = endpoint_disabled(k->o.store, arena, &views, &count, err_r);

	if (rc == 0)
		endpoints_set(k->o.endpoints, views, count);
	arena_free(&arena);
	return rc < 0 ? -1 : ENDPOINTS_MS;
}

static size_t take_ended(struct keeper *k, struct uuid *ids)
{
	size_t count;

	pthread_mutex_lock(&k->lock);
	count = k->ended_count;
	memcpy(ids, k->ended, count * sizeof(*ids));
	k->ended_count = 0;
	pthread_mutex_unlock(&k->lock);
	return count;
}

static int sweep_chains(struct keeper *k, const struct uuid *ended, size_t count,
			struct arena *arena, struct chain_swept *swept, struct error *err_r)
{
	if (chain_sweep(k->o.store, ended, count, arena, swept, err_r) < 0)
		return -1;
	if (swept->ended_count)
		bell_ring_ended(k->o.bell, swept->ended, swept->ended_count);
	if (swept->freed || swept->ended_count) { /* an end may have made jobs */
		bell_ring(k->o.bell, BELL_READY);
		k->o.ready(k->o.ctx);
	}
	atomic_store(&k->chains, swept->pending);
	return 0;
}

static int64_t run_chains(struct keeper *k, struct error *err_r)
{
	struct arena *arena = arena_new(0);
	struct uuid *ended = ARENA_ARRAY(arena, struct uuid, CHAIN_HINTS_MAX);
	size_t count = take_ended(k, ended);
	struct chain_swept swept = { .more = true };
	int rc = count ? sweep_chains(k, ended, count, arena, &swept, err_r) : 0;

	swept.more = true;
	for (int i = 0; rc == 0 && swept.more && i < CHAINS_AT_ONCE; i++)
		rc = sweep_chains(k, NULL, 0, arena, &swept, err_r);
	arena_free(&arena);
	if (rc < 0)
		return -1;
	return swept.more ? 1 : swept.pending ? CHAINS_MS : CHAINS_IDLE_MS;
}

static bool same_figures(const struct session_figures *a, const struct session_figures *b)
{
	return a->hosts == b->hosts && a->busy == b->busy && a->leaving == b->leaving &&
	       a->rate_per_s == b->rate_per_s;
}

static int64_t run_figures(struct keeper *k, struct error *err_r)
{
	struct session_figures figures;

	k->o.figures(k->o.ctx, &figures);
	if (k->figured && same_figures(&figures, &k->figures))
		return FIGURES_MS;
	k->figured = false;
	if (session_figure(k->o.store, &k->o.session, &figures, err_r) < 0)
		return -1;
	k->figures = figures;
	k->figured = true;
	return FIGURES_MS;
}

/* The row of this node before that of all nodes. */
static int64_t run_hosts(struct keeper *k, struct error *err_r)
{
	struct arena *arena = arena_new(0);
	int all = POOL_AS_FILE, own = POOL_AS_FILE;
	struct pool_row *rows;
	size_t count;
	int rc = pool_list(k->o.store, arena, &rows, &count, err_r);

	for (size_t i = 0; rc == 0 && i < count; i++) {
		if (strcmp(rows[i].pool, k->o.pool) != 0)
			continue;
		if (!*rows[i].node)
			all = rows[i].hosts;
		else if (strcmp(rows[i].node, k->o.node) == 0)
			own = rows[i].hosts;
	}
	if (rc == 0)
		k->o.hosts(k->o.ctx, own != POOL_AS_FILE ? own : all);
	arena_free(&arena);
	return rc < 0 ? -1 : HOSTS_MS;
}

static const struct chore chores[CHORE_COUNT] = {
	[CHORE_RENEW] = { "renew", run_renew },
	[CHORE_PROMOTE] = { "promote", run_promote },
	[CHORE_RELEASE] = { "release", run_release },
	[CHORE_FOLD] = { "fold", run_fold },
	[CHORE_RETENTION] = { "retention", run_retention },
	[CHORE_PROGRESS] = { "progress", run_progress },
	[CHORE_CANCELS] = { "cancels", run_cancels },
	[CHORE_TYPES] = { "types", run_types },
	[CHORE_TARGETS] = { "targets", run_targets },
	[CHORE_ENDPOINTS] = { "endpoints", run_endpoints },
	[CHORE_CHAINS] = { "chains", run_chains },
	[CHORE_FIGURES] = { "figures", run_figures },
	[CHORE_HOSTS] = { "hosts", run_hosts },
};

/* ---- the page */

static void chore_failed(struct keeper *k, const struct chore *chore, const struct error *error)
{
	if (error->code == ERROR_CONTENTION)
		return;
	if (!k->away)
		log_line(LOG_WARN, "keeper-failed", LOG_S("chore", chore->name),
			 LOG_S("code", error_code_name(error->code)),
			 LOG_S("error", error->message));
	k->away = true;
}

static void run_due(struct keeper *k)
{
	for (int i = 0; i < CHORE_COUNT; i++) {
		int64_t now_ms = clock_mono_ms(), next_ms;
		struct error error = { 0 };

		if (!k->due_ms[i] || k->due_ms[i] > now_ms)
			continue;
		next_ms = chores[i].run(k, &error);
		if (next_ms < 0)
			chore_failed(k, &chores[i], &error);
		else
			k->away = false;
		k->due_ms[i] = next_ms < 0 ? now_ms + FAILED_AGAIN_MS
			       : next_ms   ? clock_mono_ms() + next_ms
					   : 0;
	}
}

static void due_by(struct keeper *k, enum chore_name chore, int64_t mono_ms)
{
	if (!k->due_ms[chore] || k->due_ms[chore] > mono_ms)
		k->due_ms[chore] = mono_ms;
}

/* What was asked for becomes due. Called with the lock. */
static void hear(struct keeper *k, int64_t now_ms)
{
	if (k->kicked)
		due_by(k, CHORE_PROMOTE, k->promoted_ms + PROMOTE_GAP_MS);
	if (k->kicked && !k->chains)
		due_by(k, CHORE_CHAINS, now_ms + PROMOTE_GAP_MS);
	if (k->ended_count)
		due_by(k, CHORE_CHAINS, now_ms);
	if (k->promote_by_ms)
		due_by(k, CHORE_PROMOTE, k->promote_by_ms);
	if (k->rescaled)
		due_by(k, CHORE_HOSTS, now_ms);
	if (k->asked)
		due_by(k, CHORE_CANCELS, now_ms);
	if (k->types)
		due_by(k, CHORE_TYPES, now_ms);
	if (idmap_count(k->progress))
		due_by(k, CHORE_PROGRESS, now_ms + progress_ms(k));
	k->kicked = k->rescaled = false;
	k->promote_by_ms = 0;
}

static int64_t next_due(const struct keeper *k, int64_t now_ms)
{
	int64_t due_ms = now_ms + 1000;

	for (int i = 0; i < CHORE_COUNT; i++) {
		if (k->due_ms[i])
			due_ms = min64(due_ms, k->due_ms[i]);
	}
	return due_ms;
}

/* Waits until something is due. False: stop. */
static bool wait_due(struct keeper *k)
{
	bool stop;

	pthread_mutex_lock(&k->lock);
	for (;;) {
		int64_t now_ms = clock_mono_ms(), due_ms;
		struct timespec until;

		hear(k, now_ms);
		due_ms = next_due(k, now_ms);
		if (k->stop || due_ms <= now_ms)
			break;
		until = (struct timespec){ .tv_sec = due_ms / 1000,
					   .tv_nsec = (long)(due_ms % 1000) * 1000000 };
		pthread_cond_timedwait(&k->wake, &k->lock, &until);
	}
	stop = k->stop;
	pthread_mutex_unlock(&k->lock);
	return !stop;
}

static void *keeper_main(void *arg)
{
	struct keeper *k = arg;
	struct error error;

	while (wait_due(k))
		run_due(k);
	while (run_progress(k, &error) > 0)
		;
	return NULL;
}

/* ---- the engine's side */

struct keeper *keeper_new(const struct keeper_options *options)
{
	struct keeper *k = xcalloc(1, sizeof(*k));
	int64_t now_ms = clock_mono_ms();
	pthread_condattr_t attr;

	k->o = *options;
	k->progress = idmap_new();
	k->due_ms[CHORE_RENEW] = now_ms + options->lease_ms / 3;
	k->due_ms[CHORE_PROMOTE] = k->due_ms[CHORE_RELEASE] = k->due_ms[CHORE_FOLD] =
		k->due_ms[CHORE_RETENTION] = k->due_ms[CHORE_TARGETS] = k->due_ms[CHORE_ENDPOINTS] =
			k->due_ms[CHORE_CHAINS] = k->due_ms[CHORE_FIGURES] =
				k->due_ms[CHORE_HOSTS] = now_ms;
	k->ended = xcalloc(CHAIN_HINTS_MAX, sizeof(*k->ended));
	CHECK(pthread_mutex_init(&k->lock, NULL) == 0);
	CHECK(pthread_condattr_init(&attr) == 0);
	CHECK(pthread_condattr_setclock(&attr, CLOCK_MONOTONIC) == 0);
	CHECK(pthread_cond_init(&k->wake, &attr) == 0);
	pthread_condattr_destroy(&attr);
	CHECK(pthread_create(&k->thread, NULL, keeper_main, k) == 0);
	return k;
}

void keeper_kick(struct keeper *keeper)
{
	pthread_mutex_lock(&keeper->lock);
	if (!keeper->kicked)
		pthread_cond_signal(&keeper->wake);
	keeper->kicked = true;
	pthread_mutex_unlock(&keeper->lock);
}

void keeper_look_at_hosts(struct keeper *keeper)
{
	pthread_mutex_lock(&keeper->lock);
	keeper->rescaled = true;
	pthread_cond_signal(&keeper->wake);
	pthread_mutex_unlock(&keeper->lock);
}

void keeper_due(struct keeper *keeper, int64_t delay_ms)
{
	int64_t due_ms = clock_mono_ms() + delay_ms;

	if (delay_ms > PROMOTE_POLL_MS)
		return; /* the poll sees it coming */
	pthread_mutex_lock(&keeper->lock);
	if (!keeper->promote_by_ms || due_ms < keeper->promote_by_ms) {
		keeper->promote_by_ms = due_ms;
		pthread_cond_signal(&keeper->wake);
	}
	pthread_mutex_unlock(&keeper->lock);
}

void keeper_ended(struct keeper *keeper, const struct uuid *id)
{
	if (!atomic_load_explicit(&keeper->chains, memory_order_relaxed))
		return;
	pthread_mutex_lock(&keeper->lock);
	/* One too many is found by the walk. */
	if (keeper->ended_count < CHAIN_HINTS_MAX)
		keeper->ended[keeper->ended_count++] = *id;
	if (keeper->ended_count == 1)
		pthread_cond_signal(&keeper->wake);
	pthread_mutex_unlock(&keeper->lock);
}

void keeper_ask_cancels(struct keeper *keeper, const struct uuid *ids, size_t count)
{
	struct uuid *copy = xmalloc((count + 1) * sizeof(*copy));

	memcpy(copy, ids, count * sizeof(*copy));
	pthread_mutex_lock(&keeper->lock);
	free(keeper->asked);
	keeper->asked = copy;
	keeper->asked_count = count;
	pthread_cond_signal(&keeper->wake);
	pthread_mutex_unlock(&keeper->lock);
}

/* Cuts between characters: half a one would be refused by the store. */
static void note_copy(char *text_r, const char *note)
{
	size_t bytes = strlen(note);

	if (bytes >= NOTE_BYTES_MAX) {
		bytes = NOTE_BYTES_MAX - 1;
		while (bytes > 0 && ((unsigned char)note[bytes] & 0xc0) == 0x80)
			bytes--;
	}
	memcpy(text_r, note, bytes);
	text_r[bytes] = 0;
}

void keeper_progress(struct keeper *keeper, const struct uuid *id, int attempt, double part,
		     const char *note)
{
	struct progress_note *item;
	bool first;

	pthread_mutex_lock(&keeper->lock);
	first = idmap_count(keeper->progress) == 0;
	item = idmap_get(keeper->progress, id);
	if (!item) {
		item = xcalloc(1, sizeof(*item));
		idmap_put(keeper->progress, id, item);
	}
	item->progress = (struct progress){ .id = *id, .attempt = attempt, .part = part };
	if (note) {
		note_copy(item->text, note);
		item->progress.note = item->text;
	}
	if (first)
		pthread_cond_signal(&keeper->wake);
	pthread_mutex_unlock(&keeper->lock);
}

void keeper_sync_types(struct keeper *keeper, struct definitions *defs)
{
	pthread_mutex_lock(&keeper->lock);
	if (keeper->types)
		definitions_unref(&keeper->types);
	keeper->types = definitions_ref(defs);
	pthread_cond_signal(&keeper->wake);
	pthread_mutex_unlock(&keeper->lock);
}

bool keeper_away(const struct keeper *keeper)
{
	return keeper->away;
}

void keeper_stop(struct keeper *keeper)
{
	pthread_mutex_lock(&keeper->lock);
	keeper->stop = true;
	pthread_cond_signal(&keeper->wake);
	pthread_mutex_unlock(&keeper->lock);
	CHECK(pthread_join(keeper->thread, NULL) == 0);
}

void keeper_free(struct keeper **keeper)
{
	struct uuid id;
	size_t cursor = 0;
	void *note;

	if (!*keeper)
		return;
	CHECK((*keeper)->stop);
	while (idmap_next((*keeper)->progress, &cursor, &id, &note))
		free(note);
	idmap_free(&(*keeper)->progress);
	free((*keeper)->asked);
	free((*keeper)->ended);
	free((*keeper)->targets);
	if ((*keeper)->types)
		definitions_unref(&(*keeper)->types);
	pthread_cond_destroy(&(*keeper)->wake);
	pthread_mutex_destroy(&(*keeper)->lock);
	free(*keeper);
	*keeper = NULL;
}
