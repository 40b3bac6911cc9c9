/* SPDX-License-Identifier: Apache-2.0 */
/* The scheduler's thread. A pass reads what is due page by page, plans each schedule, and fires a
 * page in one transaction; then it sleeps until the next tick, a second at most, because others
 * change schedules. A pass that fails is repeated: what was fired is not due any more. */
#include "producers/schedule/scheduler.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/store/schedule.h"
#include "producers/schedule/plan.h"

#define PAGE          1000
#define JOBS_MAX      2000 /* of a transaction, but for one schedule's */
#define SLEEP_MAX_MS  1000
#define ZONES_KEEP_MS (3600 * 1000) /* then they are read again */
#define SAY_AGAIN_MS  (60 * 1000)
#define REASON_BYTES  500

struct scheduler {
	struct scheduler_options options;
	char *database_url;
	struct store *store;
	struct zones *zones;
	int64_t zones_ms; /* monotonic: when they were begun */
	int64_t said_ms;  /* monotonic: when a schedule that cannot be run was told of */
	bool away;        /* the store was, and it was told */
	struct metric_series *run, *passed_over, *refused, *late;
	pthread_mutex_t lock; /* of the sleep */
	pthread_cond_t wakes;
	_Atomic bool stopping;
	pthread_t thread;
};

/* One pass over what is due. */
struct pass {
	struct scheduler *scheduler;
	struct definitions *defs;
	struct arena *arena; /* of a page */
	int64_t now_ms, soonest_ms;
	struct schedule_fire *fires;
	size_t count, jobs;
	bool more; /* something is due still */
};

/* ---- what a tick becomes */

static bool say_now(struct scheduler *scheduler)
{
	int64_t now_ms = clock_mono_ms();

	if (scheduler->said_ms && now_ms - scheduler->said_ms < SAY_AGAIN_MS)
		return false;
	scheduler->said_ms = now_ms;
	return true;
}

/* A tick that this process cannot make a job of is left to others for a minute: another version of
 * the definitions may know its type. False: leave it. */
static bool give_up(struct pass *pass, const char *name, int64_t tick_ms,
		    const struct job_request_error *err, struct schedule_run *run)
{
	const char *reason = job_request_reason(err, "", pass->arena);

	if (say_now(pass->scheduler))
		log_line(LOG_WARN, "schedule-refused", LOG_S("schedule", name),
			 LOG_S("error", reason));
	if (pass->now_ms - tick_ms <= PLAN_ON_TIME_MS)
		return false;
	run->job = NULL;
	run->reason = arena_strndup(pass->arena, reason, strnlen(reason, REASON_BYTES));
	return true;
}

static bool add_runs(struct pass *pass, const struct schedule_definition *definition,
		     const struct plan *plan, struct schedule_fire *fire)
{
	const struct job_request_context context = {
		.defs = pass->defs,
		.payload_bytes_max = pass->scheduler->options.payload_bytes_max,
		.now_ms = pass->now_ms,
	};
	struct job_request_error err;

	fire->runs = ARENA_ARRAY(pass->arena, struct schedule_run, plan->count + 1);
	for (size_t i = 0; i < plan->count; i++) {
		struct schedule_run *run = &fire->runs[fire->count++];

		run->tick_ms = plan->ticks_ms[i];
		run->job = ARENA_NEW(pass->arena, struct new_job);
		if (schedule_definition_job(definition, fire->name, run->tick_ms, &context,
					    pass->arena, run->job, &err) < 0 &&
		    !give_up(pass, fire->name, run->tick_ms, &err, run))
			return false;
	}
	return true;
}

static void tell_passed_over(struct pass *pass, const struct schedule_definition *definition,
			     const struct schedule_view *view, const struct plan *plan)
{
	char from[CLOCK_TEXT];

	if (!plan->passed_over)
		return;
	metric_add(pass->scheduler->passed_over, 1);
	log_line(LOG_WARN, "schedule-missed", LOG_S("schedule", view->name),
		 LOG_S("since", clock_format(view->next_ms, from)),
		 LOG_S("missed", missed_policy_name(definition->missed)),
		 LOG_I("run", plan->count));
}

static void plan_one(struct pass *pass, const struct schedule_view *view)
{
	struct json_slice text = { view->definition, strlen(view->definition) };
	struct schedule_fire *fire = &pass->fires[pass->count];
	struct schedule_definition definition;
	struct job_request_error err = { 0 };
	struct json_error broken;
	struct plan plan;
	json_t *root = json_text_parse(text.text, text.bytes, &broken);

	*fire = (struct schedule_fire){ .name = view->name,
					.version = view->version,
					.was_ms = view->next_ms };
	if (!root ||
	    schedule_definition_parse(text, root, pass->scheduler->zones, &definition, &err) < 0) {
		if (say_now(pass->scheduler))
			log_line(LOG_WARN, "schedule-refused", LOG_S("schedule", view->name),
				 LOG_S("error", root ? err.message : broken.message));
	} else {
		plan_make(&definition, view->next_ms, pass->now_ms, &plan);
		fire->next_ms = plan.next_ms;
		if (add_runs(pass, &definition, &plan, fire)) {
			tell_passed_over(pass, &definition, view, &plan);
			pass->more = pass->more || plan.next_ms <= pass->now_ms;
			pass->count++;
			pass->jobs += fire->count;
		}
	}
	json_decref(root);
}

/* ---- firing */

static void count_fire(struct pass *pass, const struct schedule_fire *fire)
{
	const struct scheduler *scheduler = pass->scheduler;

	for (size_t i = 0; i < fire->count; i++) {
		const struct schedule_run *run = &fire->runs[i];

		if (!run->job)
			metric_add(scheduler->refused, 1);
		if (!run->fired)
			continue;
		metric_add(scheduler->run, 1);
		metric_observe(scheduler->late, (double)(pass->now_ms - run->tick_ms) / 1000);
		if (!run->accepted.unique_conflict)
			metric_add(metrics_series(scheduler->options.metrics, METRIC_JOBS_ACCEPTED,
						  run->job->type, NULL),
				   1);
	}
}

static void tell_moved(struct pass *pass, const struct schedule_fire *fire)
{
	struct bell *bell = pass->scheduler->options.bell;
	struct uuid ids[PLAN_TICKS_MAX];
	size_t count = 0;

	for (size_t i = 0; i < fire->count; i++) {
		if (fire->runs[i].fired && !fire->runs[i].accepted.unique_conflict)
			ids[count++] = fire->runs[i].accepted.id;
	}
	bell_ring_moved(bell, ids, count);
}

/* What the store refuses of a schedule is told in its runs the next time. */
static void refuse_fire(struct pass *pass, struct schedule_fire *fire)
{
	struct error err = { 0 };
	const char *reason = arena_strndup(pass->arena, fire->error.message,
					   strnlen(fire->error.message, REASON_BYTES));

	log_line(LOG_ERROR, "schedule-refused", LOG_S("schedule", fire->name),
		 LOG_S("error", reason));
	for (size_t i = 0; i < fire->count; i++) {
		fire->runs[i].job = NULL;
		fire->runs[i].reason = reason;
	}
	if (schedule_fire(pass->scheduler->store, &fire, 1, &err) < 0 && say_now(pass->scheduler))
		log_line(LOG_WARN, "schedule-refused", LOG_S("schedule", fire->name),
			 LOG_S("error", err.message));
}

static int fire_planned(struct pass *pass, struct error *err_r)
{
	struct schedule_fire **fires = ARENA_ARRAY(pass->arena, struct schedule_fire *, PAGE);
	size_t count = pass->count;

	for (size_t i = 0; i < count; i++)
		fires[i] = &pass->fires[i];
	pass->count = pass->jobs = 0;
	if (schedule_fire(pass->scheduler->store, fires, count, err_r) < 0)
		return -1;
	if (count)
		bell_ring(pass->scheduler->options.bell, BELL_READY);
	for (size_t i = 0; i < count; i++) {
		if (fires[i]->error.code != ERROR_NONE)
			refuse_fire(pass, fires[i]);
		count_fire(pass, fires[i]);
		if (bell_watched(pass->scheduler->options.bell))
			tell_moved(pass, fires[i]);
	}
	return 0;
}

/* 1: there may be another page; 0; -1. */
static int fire_page(struct pass *pass, struct schedule_due *from, struct error *err_r)
{
	struct arena *arena = pass->arena;
	struct schedule_view *views;
	char *after;
	size_t count;

	if (schedule_due(pass->scheduler->store, from, arena, &views, &count, &pass->now_ms,
			 &pass->soonest_ms, err_r) < 0)
		return -1;
	if (!count)
		return 0;
	pass->fires = ARENA_ARRAY(arena, struct schedule_fire, count);
	for (size_t i = 0; i < count; i++) {
		plan_one(pass, &views[i]);
		if (pass->jobs >= JOBS_MAX && fire_planned(pass, err_r) < 0)
			return -1;
	}
	if (fire_planned(pass, err_r) < 0)
		return -1;
	from->after_ms = views[count - 1].next_ms;
	after = xstrdup(views[count - 1].name);
	free((char *)(uintptr_t)from->after);
	from->after = after;
	return count == from->limit;
}

static int run_pass(struct scheduler *scheduler, int64_t *sleep_ms_r, struct error *err_r)
{
	struct pass pass = { .scheduler = scheduler, .arena = arena_new(0) };
	struct schedule_due from = { .limit = PAGE };
	int rc;

	pass.defs = scheduler->options.definitions(scheduler->options.ctx);
	do {
		arena_reset(pass.arena);
		rc = fire_page(&pass, &from, err_r);
	} while (rc == 1 && !scheduler->stopping);
	free((char *)(uintptr_t)from.after);
	definitions_unref(&pass.defs);
	arena_free(&pass.arena);
	if (rc < 0)
		return -1;
	*sleep_ms_r = SLEEP_MAX_MS;
	if (pass.more)
		*sleep_ms_r = 0;
	else if (pass.soonest_ms - pass.now_ms < SLEEP_MAX_MS)
		*sleep_ms_r = pass.soonest_ms - pass.now_ms;
	return 0;
}

/* ---- the thread */

static int open_store(struct scheduler *scheduler, struct error *err_r)
{
	return scheduler->store ? 0
				: store_open(scheduler->database_url, STORE_WRITE,
					     "windlass-scheduler", &scheduler->store, err_r);
}

static void refresh_zones(struct scheduler *scheduler)
{
	if (scheduler->zones && clock_mono_ms() - scheduler->zones_ms < ZONES_KEEP_MS)
		return;
	zones_free(&scheduler->zones);
	scheduler->zones = zones_new();
	scheduler->zones_ms = clock_mono_ms();
}

static int64_t work(struct scheduler *scheduler)
{
	int64_t sleep_ms = SLEEP_MAX_MS;
	struct error err;

	refresh_zones(scheduler);
	if (open_store(scheduler, &err) < 0 || run_pass(scheduler, &sleep_ms, &err) < 0) {
		if (!scheduler->away)
			log_line(LOG_WARN, "scheduler-waits", LOG_S("error", err.message));
		scheduler->away = true;
		return SLEEP_MAX_MS;
	}
	if (scheduler->away)
		log_line(LOG_INFO, "scheduler-goes-on");
	scheduler->away = false;
	return sleep_ms;
}

/* False: it is over. */
static bool sleep_for(struct scheduler *scheduler, int64_t ms)
{
	int64_t until_ns = clock_mono_ns() + ms * 1000000;
	struct timespec until = { until_ns / 1000000000, until_ns % 1000000000 };
	bool stopping;

	pthread_mutex_lock(&scheduler->lock);
	if (!scheduler->stopping && ms > 0)
		pthread_cond_timedwait(&scheduler->wakes, &scheduler->lock, &until);
	stopping = scheduler->stopping;
	pthread_mutex_unlock(&scheduler->lock);
	return !stopping;
}

static void *scheduler_run(void *scheduler)
{
	while (sleep_for(scheduler, work(scheduler)))
		;
	return NULL;
}

struct scheduler *scheduler_start(const struct scheduler_options *options)
{
	struct scheduler *scheduler = xcalloc(1, sizeof(*scheduler));
	struct metrics *metrics = options->metrics;
	pthread_condattr_t monotonic;

	scheduler->options = *options;
	scheduler->database_url = xstrdup(options->database_url);
	scheduler->run = metrics_series(metrics, METRIC_SCHEDULE_TICKS, "run", NULL);
	scheduler->passed_over =
		metrics_series(metrics, METRIC_SCHEDULE_TICKS, "passed_over", NULL);
	scheduler->refused = metrics_series(metrics, METRIC_SCHEDULE_TICKS, "refused", NULL);
	scheduler->late = metrics_series(metrics, METRIC_SCHEDULE_LATE, NULL, NULL);
	pthread_mutex_init(&scheduler->lock, NULL);
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&scheduler->wakes, &monotonic);
	pthread_condattr_destroy(&monotonic);
	CHECK(pthread_create(&scheduler->thread, NULL, scheduler_run, scheduler) == 0);
	return scheduler;
}

void scheduler_stop(struct scheduler **scheduler_)
{
	struct scheduler *scheduler = *scheduler_;

	*scheduler_ = NULL;
	if (!scheduler)
		return;
	pthread_mutex_lock(&scheduler->lock);
	scheduler->stopping = true;
	pthread_cond_signal(&scheduler->wakes);
	pthread_mutex_unlock(&scheduler->lock);
	pthread_join(scheduler->thread, NULL);
	store_close(&scheduler->store);
	zones_free(&scheduler->zones);
	pthread_cond_destroy(&scheduler->wakes);
	pthread_mutex_destroy(&scheduler->lock);
	free(scheduler->database_url);
	free(scheduler);
}
