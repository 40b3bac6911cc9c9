/* SPDX-License-Identifier: Apache-2.0 */
/* The feeder's page: end what has ended, take a batch, feed it a chunk at a time. Where anything
 * fails the batch is left as it is in the store, which is where the next look begins. */
#include "producers/batch/feeder.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/store/acceptance.h"
#include "common/store/batch.h"
#include "producers/batch/row_source.h"
#include "producers/submit/depth_gate.h"

#define LEASE_MS     5000
#define FULL_MS      250 /* a full queue is looked at again */
#define FULL_MAX_MS  2000
#define OPEN_MS      500 /* while batches have not ended */
#define IDLE_MS      2000
#define AGAIN_MS     1000
#define SWEEPS_MAX   50
#define LEAVE_CHUNKS 200 /* then others have their turn */

struct feeder {
	struct feeder_options options;
	pthread_t thread;
	_Atomic bool stopping;
	pthread_mutex_t lock; /* guards kicked */
	pthread_cond_t wake;
	bool kicked;
	/* the thread's own */
	struct store *store;
	struct depth_gate *gate;
	struct uuid id;
	bool away;
};

/* One batch that is being fed. */
struct feed {
	struct feeder *feeder;
	const struct batch_work *work;
	struct definitions *defs;
	struct batch_definition definition;
	struct job_request_context ctx;
	const char *position; /* in `positions` */
	struct arena *positions[2];
	size_t turn;
};

enum fed { FED_MORE = 1, FED_DONE, FED_LEFT };

static void pause_for(struct feeder *feeder, int64_t ms)
{
	int64_t until_ms = clock_mono_ms() + ms;
	struct timespec until = { .tv_sec = until_ms / 1000,
				  .tv_nsec = (long)(until_ms % 1000) * 1000000 };

	pthread_mutex_lock(&feeder->lock);
	if (!feeder->kicked && !atomic_load(&feeder->stopping))
		pthread_cond_timedwait(&feeder->wake, &feeder->lock, &until);
	feeder->kicked = false;
	pthread_mutex_unlock(&feeder->lock);
}

static void failed(struct feeder *feeder, const char *what, const struct error *error)
{
	if (!feeder->away && error->code != ERROR_CONTENTION)
		log_line(LOG_WARN, "batch-store-away", LOG_S("what", what),
			 LOG_S("code", error_code_name(error->code)),
			 LOG_S("error", error->message));
	feeder->away = error->code != ERROR_CONTENTION;
}

/* ---- a chunk */

/* 1: stored; 0: it is not ours any more; -1. After an unanswered COMMIT the store is asked anew,
 * with the same position before: what it says is what has happened. */
static int store_chunk(struct feed *feed, struct acceptance *request, struct error *err_r)
{
	struct feeder *feeder = feed->feeder;

	if (acceptance_commit(feeder->store, &request, 1, err_r) < 0)
		return -1;
	if (request->verdict == ACCEPTANCE_ACCEPTED)
		return 1;
	if (request->verdict != ACCEPTANCE_FAILED)
		return 0;
	*err_r = request->error;
	return -1;
}

static int store_empty(struct feed *feed, const char *error_text, bool last, struct error *err_r)
{
	struct batch_chunk chunk = {
		.id = feed->work->id,
		.feeder = feed->feeder->id,
		.position_before = feed->position,
		.position = feed->position,
		.error = error_text,
		.last = last,
		.lease_ms = LEASE_MS,
	};
	struct acceptance request = { .chunk = &chunk };

	return store_chunk(feed, &request, err_r);
}

/* Waits a little until the queue has room. False: others shall have their turn. */
static bool wait_for_room(struct feed *feed, const struct acceptance *request)
{
	struct feeder *feeder = feed->feeder;
	int64_t until_ms = clock_mono_ms() + FULL_MAX_MS;
	const char *queue;

	while (!depth_gate_admit(feeder->gate, feeder->store, feed->defs, request, &queue)) {
		if (atomic_load(&feeder->stopping) || clock_mono_ms() > until_ms)
			return false;
		pause_for(feeder, FULL_MS);
	}
	return true;
}

static size_t make_jobs(struct feed *feed, struct row_chunk *rows, struct arena *arena,
			struct new_job *jobs)
{
	size_t count = 0;

	for (size_t i = 0; i < rows->count; i++) {
		const char *reason = NULL;

		if (batch_definition_job(&feed->ctx, &feed->definition, &feed->work->id,
					 rows->rows[i], arena, &jobs[count], &reason) == 0) {
			count++;
			continue;
		}
		if (!rows->rejected++)
			rows->reason = reason;
	}
	return count;
}

static void move_on(struct feed *feed, const char *position)
{
	struct arena **arena = &feed->positions[feed->turn ^= 1];

	arena_free(arena);
	*arena = arena_new(256);
	feed->position = position ? arena_strdup(*arena, position) : NULL;
}

static void ring(struct feed *feed, const struct new_job *jobs, size_t count)
{
	struct feeder *feeder = feed->feeder;

	if (!count)
		return;
	bell_ring(feeder->options.bell, BELL_READY);
	metric_add(
		metrics_series(feeder->options.metrics, METRIC_JOBS_ACCEPTED, jobs[0].type, NULL),
		(double)count);
	for (size_t i = 0; bell_watched(feeder->options.bell) && i < count; i++)
		bell_ring_moved(feeder->options.bell, &jobs[i].id, 1);
}

static enum fed feed_rows(struct feed *feed, struct row_chunk *rows, struct arena *arena,
			  struct error *err_r)
{
	struct batch_chunk chunk = {
		.id = feed->work->id,
		.feeder = feed->feeder->id,
		.position_before = feed->position,
		.position = rows->position,
		.last = rows->last,
		.lease_ms = LEASE_MS,
	};
	struct acceptance request = { .chunk = &chunk };
	int rc;

	request.jobs = ARENA_ARRAY(arena, struct new_job, rows->count);
	request.accepted = ARENA_ARRAY(arena, struct accepted_job, rows->count);
	request.job_count = make_jobs(feed, rows, arena, request.jobs);
	chunk.rejected = rows->rejected;
	chunk.error = rows->reason;
	if (request.job_count && !wait_for_room(feed, &request))
		return FED_LEFT;
	rc = store_chunk(feed, &request, err_r);
	if (rc != 1) {
		if (rc < 0)
			failed(feed->feeder, "chunk", err_r);
		return FED_LEFT;
	}
	ring(feed, request.jobs, request.job_count);
	move_on(feed, rows->position);
	return rows->last ? FED_DONE : FED_MORE;
}

/* ---- a batch */

static bool for_ever(const struct error *error)
{
	return error->code == ERROR_SQL || error->code == ERROR_INVALID ||
	       error->code == ERROR_NOT_FOUND;
}

/* It will never do: what became jobs stays, and the batch ends as failed. */
static enum fed give_up(struct feed *feed, const struct error *error)
{
	struct error err;

	if (!for_ever(error)) {
		failed(feed->feeder, "source", error);
		return FED_LEFT;
	}
	if (store_empty(feed, error->message, true, &err) < 0)
		failed(feed->feeder, "chunk", &err);
	return FED_DONE;
}

/* A chunk must fit into its queue. */
static size_t rows_a_chunk(const struct feed *feed)
{
	const struct queue_definition *queue =
		definitions_queue(feed->defs, feed->definition.model.queue);
	int64_t max =
		queue && queue->depth_max > 0 ? queue->depth_max : feed->feeder->options.queue_max;

	return max / 2 > BATCH_ROWS_A_CHUNK ? BATCH_ROWS_A_CHUNK : max > 1 ? (size_t)max / 2 : 1;
}

static enum fed feed_chunk(struct feed *feed, struct row_source *source)
{
	struct arena *arena = arena_new(0);
	struct row_chunk rows;
	struct error error;
	enum fed fed;

	if (row_source_read(source, feed->position, rows_a_chunk(feed), arena, &rows, &error) < 0)
		fed = give_up(feed, &error);
	else
		fed = feed_rows(feed, &rows, arena, &error);
	arena_free(&arena);
	return fed;
}

static enum fed feed_source(struct feed *feed)
{
	const struct reach reach = { .tenant = feed->work->tenant };
	const struct row_source_options options = {
		.database_url = feed->feeder->options.database_url,
		.folder = feed->feeder->options.folder,
		.reach = &reach,
	};
	enum fed fed = FED_MORE;
	struct error error;
	struct row_source *source = row_source_open(&options, &feed->definition, &error);

	if (!source)
		return give_up(feed, &error);
	for (int i = 0; fed == FED_MORE && i < LEAVE_CHUNKS; i++)
		fed = atomic_load(&feed->feeder->stopping) ? FED_LEFT : feed_chunk(feed, source);
	row_source_close(&source);
	return fed == FED_MORE ? FED_LEFT : fed;
}

static enum fed feed_batch(struct feeder *feeder, const struct batch_work *work,
			   struct arena *arena)
{
	struct definitions *defs = feeder->options.definitions(feeder->options.ctx);
	struct feed feed = { .feeder = feeder,
			     .work = work,
			     .defs = defs,
			     .ctx = { .defs = defs,
				      .tenant = work->tenant,
				      .owner = work->owner,
				      .payload_bytes_max = feeder->options.payload_bytes_max,
				      .now_ms = clock_wall_ms() },
			     .positions = { arena_new(256), arena_new(256) } };
	struct job_request_error refused;
	struct error error;
	const char *text;
	enum fed fed;

	move_on(&feed, work->position);
	if (batch_definition_read(&feed.ctx,
				  (struct json_slice){ work->definition, strlen(work->definition) },
				  arena, &feed.definition, &text, &refused) != 0) {
		error_set(&error, ERROR_INVALID, "%s: %s", refused.pointer, refused.message);
		fed = give_up(&feed, &error);
	} else {
		fed = feed_source(&feed);
	}
	arena_free(&feed.positions[0]);
	arena_free(&feed.positions[1]);
	definitions_unref(&defs);
	return fed;
}

/* True: one was taken; there may be more. */
static bool take_one(struct feeder *feeder)
{
	struct arena *arena = arena_new(0);
	struct batch_work work = { 0 };
	struct error error;
	int rc = batch_take(feeder->store, &feeder->id, LEASE_MS, arena, &work, &error);
	enum fed fed = FED_DONE;

	if (rc < 0)
		failed(feeder, "take", &error);
	else
		feeder->away = false;
	if (rc == 1)
		fed = feed_batch(feeder, &work, arena);
	if (fed == FED_LEFT && batch_leave(feeder->store, &work.id, &feeder->id, &error) < 0)
		failed(feeder, "leave", &error);
	if (fed == FED_LEFT && feeder->away)
		pause_for(feeder, AGAIN_MS);
	arena_free(&arena);
	return rc == 1;
}

/* ---- ends */

static void tell(struct feeder *feeder, const struct batch_swept *swept)
{
	if (swept->cancelled_count)
		bell_ring_ended(feeder->options.bell, swept->cancelled, swept->cancelled_count);
	if (swept->told)
		bell_ring(feeder->options.bell, BELL_CANCEL);
	if (swept->ended || swept->cancelled_count)
		bell_ring(feeder->options.bell, BELL_READY);
}

/* Are there batches that have not ended? */
static bool sweep(struct feeder *feeder)
{
	struct batch_swept swept = { .more = true };

	for (int i = 0; swept.more && i < SWEEPS_MAX; i++) {
		struct arena *arena = arena_new(0);
		struct error error;
		int rc = batch_sweep(feeder->store, arena, &swept, &error);

		if (rc == 0)
			tell(feeder, &swept);
		else
			failed(feeder, "sweep", &error);
		arena_free(&arena);
		if (rc < 0)
			return true;
	}
	return swept.open;
}

/* ---- the page */

static void *feeder_main(void *arg)
{
	struct feeder *feeder = arg;
	struct error error;

	while (!atomic_load(&feeder->stopping)) {
		if (!feeder->store && store_open(feeder->options.database_url, STORE_WRITE,
						 "windlass-batch", &feeder->store, &error) < 0) {
			failed(feeder, "open", &error);
			pause_for(feeder, AGAIN_MS);
			continue;
		}
		bool open = sweep(feeder);

		if (!take_one(feeder))
			pause_for(feeder, open ? OPEN_MS : IDLE_MS);
	}
	return NULL;
}

struct feeder *feeder_start(const struct feeder_options *options)
{
	struct feeder *feeder = xcalloc(1, sizeof(*feeder));
	pthread_condattr_t attr;

	feeder->options = *options;
	feeder->gate = depth_gate_new(options->queue_max);
	uuid_v7(&feeder->id);
	CHECK(pthread_mutex_init(&feeder->lock, NULL) == 0);
	CHECK(pthread_condattr_init(&attr) == 0);
	CHECK(pthread_condattr_setclock(&attr, CLOCK_MONOTONIC) == 0);
	CHECK(pthread_cond_init(&feeder->wake, &attr) == 0);
	pthread_condattr_destroy(&attr);
	CHECK(pthread_create(&feeder->thread, NULL, feeder_main, feeder) == 0);
	return feeder;
}

void feeder_kick(struct feeder *feeder)
{
	pthread_mutex_lock(&feeder->lock);
	feeder->kicked = true;
	pthread_cond_signal(&feeder->wake);
	pthread_mutex_unlock(&feeder->lock);
}

void feeder_stop(struct feeder **feeder_)
{
	struct feeder *feeder = *feeder_;

	*feeder_ = NULL;
	if (!feeder)
		return;
	atomic_store(&feeder->stopping, true);
	feeder_kick(feeder);
	CHECK(pthread_join(feeder->thread, NULL) == 0);
	store_close(&feeder->store);
	depth_gate_free(&feeder->gate);
	pthread_cond_destroy(&feeder->wake);
	pthread_mutex_destroy(&feeder->lock);
	free(feeder);
}
