/* SPDX-License-Identifier: Apache-2.0 */
/* POST /v1/schedules/{name}/pause, /resume and /run: of the file's schedules as well. */
#include <string.h>

#include "common/base/clock.h"
#include "producers/gateway/enqueue.h"
#include "producers/gateway/job_json.h"
#include "producers/gateway/routes.h"
#include "producers/gateway/schedules.h"

#define TRIES_MAX 8 /* at a schedule that somebody else changes or fires at the same moment */

struct steer {
	bool paused;
	bool refused; /* reading.fault says why */
	struct schedule_reading reading;
	struct schedule_view view;
	struct schedule_run run;
	struct new_job job;
};

/* The schedule, its definition, and what time it is. */
static int look(struct exchange *exchange, struct store *store, int64_t *now_ms_r,
		struct error *err_r)
{
	struct steer *steer = exchange->own;
	struct json_slice text;

	if (schedule_find(store, NULL, exchange->part, exchange_arena(exchange), &steer->view,
			  err_r) < 0 ||
	    schedule_clock(store, now_ms_r, err_r) < 0)
		return -1;
	schedules_release(&steer->reading);
	text = (struct json_slice){ steer->view.definition, strlen(steer->view.definition) };
	if (schedules_read(text, &steer->reading) == 0)
		return 0;
	return error_set(err_r, ERROR_INTERNAL, "%s", steer->reading.fault.message);
}

/* ---- pause and resume. What would have been run meanwhile is not missed: it was not wanted. */

static int pause_once(struct exchange *exchange, struct store *store, struct error *err_r)
{
	struct steer *steer = exchange->own;
	const struct schedule_definition *definition = &steer->reading.definition;
	const char *action = steer->paused ? "schedule.pause" : "schedule.resume";
	int64_t now_ms;

	if (look(exchange, store, &now_ms, err_r) < 0)
		return -1;
	return schedule_pause(store, exchange->part, steer->view.version, steer->paused,
			      timing_next(&definition->timing, definition->zone, now_ms),
			      exchange_audit(exchange, action, exchange->part, NULL), err_r);
}

static int ask_pause(struct exchange *exchange, struct store *store, struct error *err_r)
{
	struct steer *steer = exchange->own;
	int rc = -1;

	for (int tries = 0; rc < 0 && tries < TRIES_MAX; tries++) {
		rc = pause_once(exchange, store, err_r);
		if (rc < 0 && err_r->code != ERROR_CONTENTION)
			break;
	}
	schedules_release(&steer->reading);
	if (rc < 0)
		return -1;
	return schedule_find(store, NULL, exchange->part, exchange_arena(exchange), &steer->view,
			     err_r);
}

static void answer_pause(struct exchange *exchange)
{
	const struct steer *steer = exchange->own;
	struct strbuf json;

	if (exchange->task.rc < 0) {
		schedules_refuse(exchange, &exchange->task.error);
		return;
	}
	strbuf_init(&json);
	schedules_add(&json, &steer->view);
	exchange_answer(exchange, 200, &json);
}

static void set_paused(struct exchange *exchange, bool paused)
{
	struct steer *steer = ARENA_NEW(exchange_arena(exchange), struct steer);

	steer->paused = paused;
	exchange->own = steer;
	if (schedules_check_steering(exchange))
		exchange_ask(exchange, ask_pause, answer_pause);
}

void pause_schedule(struct exchange *exchange)
{
	set_paused(exchange, true);
}

void resume_schedule(struct exchange *exchange)
{
	set_paused(exchange, false);
}

/* ---- run */

static int run_once(struct exchange *exchange, struct store *store, struct error *err_r)
{
	struct steer *steer = exchange->own;
	struct schedule_fire fire = { .manual = true, .runs = &steer->run, .count = 1 };
	struct schedule_fire *fires[] = { &fire };

	steer->run = (struct schedule_run){ .job = &steer->job };
	if (look(exchange, store, &steer->run.tick_ms, err_r) < 0)
		return -1;
	steer->refused = schedules_job(exchange, &steer->reading, exchange->part,
				       steer->run.tick_ms, &steer->job) < 0;
	if (steer->refused)
		return 0;
	fire.name = exchange->part;
	fire.version = steer->view.version;
	fire.audit = exchange_audit(exchange, "schedule.run", exchange->part, NULL);
	if (schedule_fire(store, fires, 1, err_r) < 0)
		return -1;
	if (fire.error.code != ERROR_NONE) {
		*err_r = fire.error;
		return -1;
	}
	return steer->run.fired ? 0
				: error_set(err_r, ERROR_CONTENTION, "it is being fired just now");
}

static int ask_run(struct exchange *exchange, struct store *store, struct error *err_r)
{
	struct steer *steer = exchange->own;
	int rc = -1;

	for (int tries = 0; rc < 0 && tries < TRIES_MAX; tries++) {
		rc = run_once(exchange, store, err_r);
		if (rc < 0 && err_r->code != ERROR_CONTENTION)
			break;
	}
	schedules_release(&steer->reading);
	return rc;
}

static void answer_run(struct exchange *exchange)
{
	const struct steer *steer = exchange->own;
	bool stored = !steer->run.accepted.unique_conflict;
	struct strbuf json;

	if (exchange->task.rc < 0) {
		schedules_refuse(exchange, &exchange->task.error);
		return;
	}
	if (steer->refused) {
		enqueue_refuse_request(exchange, &steer->reading.fault);
		return;
	}
	bell_ring(exchange->gateway->bell, BELL_READY);
	bell_ring_moved(exchange->gateway->bell, &steer->run.accepted.id, stored);
	strbuf_init(&json);
	strbuf_addstr(&json, "{\"name\":");
	strbuf_json(&json, exchange->part);
	strbuf_addstr(&json, ",\"tick\":");
	schedules_add_time(&json, steer->run.tick_ms);
	strbuf_addstr(&json, ",\"job\":");
	job_json_id(&json, &steer->run.accepted.id);
	strbuf_addstr(&json, ",\"reason\":");
	strbuf_json(&json, stored ? NULL : SCHEDULE_UNIQUE);
	strbuf_addch(&json, '}');
	exchange_answer(exchange, 202, &json);
}

void run_schedule(struct exchange *exchange)
{
	exchange->own = ARENA_NEW(exchange_arena(exchange), struct steer);
	if (schedules_check_steering(exchange))
		exchange_ask(exchange, ask_run, answer_run);
}
