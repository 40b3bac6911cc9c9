/* SPDX-License-Identifier: Apache-2.0 */
/* The monitor's thread: one look a second at queues and worker sessions; sets the gauges of the
 * queues, the pools and the outbox. `lock` guards the last look; it is not held while the store is
 * asked.
 */
#include "producers/gateway/monitor.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/base/clock.h"
#include "common/service/pool_state.h"
#include "common/store/outbox.h"
#include "common/store/query.h"
#include "producers/gateway/gateway.h"

#define ROUND_MS 1000

struct look {
	int64_t at_ms; /* monotonic, of the last one that succeeded; 0: none yet */
	int64_t sessions;
	bool served;                     /* no work, or somebody is there for it */
	char unserved[JOB_TYPE_MAX + 1]; /* a queue that waits */
	char error[160];                 /* why the last one failed; "" when it did not */
};

struct monitor {
	struct gateway *gateway;
	struct metrics *metrics;
	pthread_mutex_t lock; /* guards look and stopping */
	pthread_cond_t wakes;
	struct look look;
	bool stopping;
	pthread_t thread;
};

static void set_gauges(struct monitor *monitor, const struct queue_view *queues, size_t count)
{
	struct metrics *metrics = monitor->metrics;

	for (size_t i = 0; i < count; i++) {
		const struct queue_view *queue = &queues[i];
		const struct {
			const char *state;
			int64_t depth;
		} depths[] = {
			{ "available", queue->available }, { "scheduled", queue->scheduled },
			{ "parked", queue->parked },       { "queued", queue->queued },
			{ "running", queue->running },     { "waiting", queue->waiting },
		};
		for (size_t j = 0; j < ARRAY_LEN(depths); j++) {
			metric_set(metrics_series(metrics, METRIC_QUEUE_DEPTH, queue->name,
						  depths[j].state),
				   (double)depths[j].depth);
		}
		metric_set(metrics_series(metrics, METRIC_QUEUE_OLDEST_SECONDS, queue->name, NULL),
			   queue->oldest_ms > 0 ? (double)queue->oldest_ms / 1000 : 0);
	}
}

static void set_pool(struct metrics *metrics, const struct pool_state *state)
{
	const struct {
		enum metric metric;
		const char *state;
		int count;
	} gauges[] = {
		{ METRIC_POOL_WORKERS, "wanted", state->all.workers },
		{ METRIC_POOL_WORKERS, "running", state->crew.workers - state->crew.leaving },
		{ METRIC_POOL_WORKERS, "leaving", state->crew.leaving },
		{ METRIC_POOL_HOSTS, "busy", state->crew.busy },
		{ METRIC_POOL_HOSTS, "idle", state->crew.hosts - state->crew.busy },
	};

	for (size_t i = 0; i < ARRAY_LEN(gauges); i++)
		metric_set(metrics_series(metrics, gauges[i].metric, state->pool->name,
					  gauges[i].state),
			   gauges[i].count);
}

static void set_pool_gauges(struct monitor *monitor, const struct pool_facts *facts)
{
	struct definitions *defs = gateway_definitions(monitor->gateway);

	for (size_t i = 0; i < definitions_pool_count(defs); i++) {
		struct pool_state state;

		pool_state_make(facts, defs, definitions_pool_at(defs, i),
				monitor->gateway->settings, &state);
		set_pool(monitor->metrics, &state);
	}
	definitions_unref(&defs);
}

static void judge(struct look *look, const struct queue_view *queues, size_t count)
{
	look->served = true;
	for (size_t i = 0; i < count && look->sessions == 0; i++) {
		if (queues[i].paused || queues[i].available <= 0 ||
		    queues[i].oldest_ms < MONITOR_UNSERVED_MS)
			continue;
		look->served = false;
		snprintf(look->unserved, sizeof(look->unserved), "%s", queues[i].name);
		return;
	}
}

static int look_once(struct monitor *monitor, struct store **store, struct look *look,
		     struct error *err_r)
{
	struct pool_facts facts;
	int64_t outbox;
	int rc = -1;

	if (!*store && store_open(monitor->gateway->settings->database_url, STORE_WRITE,
				  "windlass-monitor", store, err_r) < 0)
		return -1;
	struct arena *arena = arena_new(0);
	if (pool_facts_read(*store, arena, &facts, err_r) == 0 &&
	    query_sessions(*store, false, &look->sessions, err_r) == 0 &&
	    outbox_depth(*store, &outbox, err_r) == 0) {
		set_gauges(monitor, facts.queues, facts.queue_count);
		set_pool_gauges(monitor, &facts);
		metric_set(metrics_series(monitor->metrics, METRIC_OUTBOX_DEPTH, NULL, NULL),
			   (double)outbox);
		judge(look, facts.queues, facts.queue_count);
		look->at_ms = clock_mono_ms();
		rc = 0;
	}
	arena_free(&arena);
	return rc;
}

static void pause_round(struct monitor *monitor)
{
	struct timespec until;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += ROUND_MS / 1000;
	if (!monitor->stopping)
		pthread_cond_timedwait(&monitor->wakes, &monitor->lock, &until);
}

static void *monitor_run(void *monitor_)
{
	struct monitor *monitor = monitor_;
	struct store *store = NULL;
	struct error err;

	pthread_mutex_lock(&monitor->lock);
	while (!monitor->stopping) {
		struct look look = monitor->look;
		pthread_mutex_unlock(&monitor->lock);
		look.error[0] = 0;
		if (look_once(monitor, &store, &look, &err) < 0)
			snprintf(look.error, sizeof(look.error), "%.150s",
				 error_code_name(err.code));
		pthread_mutex_lock(&monitor->lock);
		monitor->look = look;
		pause_round(monitor);
	}
	pthread_mutex_unlock(&monitor->lock);
	store_close(&store);
	return NULL;
}

struct monitor *monitor_start(struct gateway *gateway)
{
	struct monitor *monitor = xcalloc(1, sizeof(*monitor));
	pthread_condattr_t monotonic;

	monitor->gateway = gateway;
	monitor->metrics = gateway->metrics;
	monitor->look = (struct look){ .at_ms = clock_mono_ms(), .served = true };
	pthread_mutex_init(&monitor->lock, NULL);
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&monitor->wakes, &monotonic);
	pthread_condattr_destroy(&monotonic);
	CHECK(pthread_create(&monitor->thread, NULL, monitor_run, monitor) == 0);
	return monitor;
}

static void add_reason(struct strbuf *reasons, const char *reason)
{
	if (reasons->len > 0)
		strbuf_addch(reasons, ',');
	strbuf_json(reasons, reason);
}

bool monitor_ready(struct monitor *monitor, struct strbuf *reasons)
{
	struct look look;
	char text[256];

	pthread_mutex_lock(&monitor->lock);
	look = monitor->look;
	pthread_mutex_unlock(&monitor->lock);
	bool stale = clock_mono_ms() - look.at_ms > MONITOR_STALE_MS;
	if (look.error[0] || stale) {
		snprintf(text, sizeof(text), "the store does not answer: %s",
			 look.error[0] ? look.error : "no answer yet");
		add_reason(reasons, text);
	}
	if (!look.served) {
		snprintf(text, sizeof(text), "work waits in queue %s and no worker is alive",
			 look.unserved);
		add_reason(reasons, text);
	}
	return !look.error[0] && !stale && look.served;
}

void monitor_stop(struct monitor **monitor_)
{
	struct monitor *monitor = *monitor_;

	*monitor_ = NULL;
	if (!monitor)
		return;
	pthread_mutex_lock(&monitor->lock);
	monitor->stopping = true;
	pthread_cond_signal(&monitor->wakes);
	pthread_mutex_unlock(&monitor->lock);
	pthread_join(monitor->thread, NULL);
	pthread_cond_destroy(&monitor->wakes);
	pthread_mutex_destroy(&monitor->lock);
	free(monitor);
}
