/* SPDX-License-Identifier: Apache-2.0 */
/* GET /v1/schedules, /v1/schedules/{name}, …/next and …/runs. Schedules are seen by those who read
 * all jobs of their tenant. */
#include "producers/gateway/schedules.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "producers/gateway/job_json.h"
#include "producers/gateway/routes.h"

#define LIMIT_DEFAULT 100
#define COUNT_DEFAULT 10

int schedules_read(struct json_slice text, struct schedule_reading *reading)
{
	struct json_error broken;

	reading->zones = zones_new();
	reading->root = json_text_parse(text.text, text.bytes, &broken);
	if (reading->root)
		return schedule_definition_parse(text, reading->root, reading->zones,
						 &reading->definition, &reading->fault);
	reading->fault = (struct job_request_error){ .fault = JOB_REQUEST_INVALID };
	memcpy(reading->fault.message, broken.message, sizeof(broken.message));
	return -1;
}

void schedules_release(struct schedule_reading *reading)
{
	json_decref(reading->root);
	reading->root = NULL;
	zones_free(&reading->zones);
}

int schedules_job(struct exchange *exchange, struct schedule_reading *reading, const char *name,
		  int64_t tick_ms, struct new_job *job_r)
{
	const struct job_request_context context = {
		.defs = exchange->defs,
		.payload_bytes_max = (size_t)exchange->gateway->settings->body_bytes_max,
		.now_ms = clock_wall_ms(),
	};

	return schedule_definition_job(&reading->definition, name, tick_ms, &context,
				       exchange_arena(exchange), job_r, &reading->fault);
}

void schedules_add_time(struct strbuf *json, int64_t ms)
{
	char text[CLOCK_TEXT];

	if (ms == SCHEDULE_NEVER || ms == 0)
		strbuf_addstr(json, "null");
	else
		strbuf_printf(json, "\"%s\"", clock_format(ms, text));
}

void schedules_add(struct strbuf *json, const struct schedule_view *view)
{
	struct json_slice definition = { view->definition, strlen(view->definition) };

	strbuf_addstr(json, "{\"name\":");
	strbuf_json(json, view->name);
	strbuf_addstr(json, ",\"tenant\":");
	strbuf_json(json, view->tenant);
	strbuf_printf(json,
		      ",\"origin\":\"%s\",\"paused\":%s,\"next\":", view->of_file ? "file" : "api",
		      view->paused ? "true" : "false");
	schedules_add_time(json, view->paused ? SCHEDULE_NEVER : view->next_ms);
	strbuf_addstr(json, ",\"last\":");
	schedules_add_time(json, view->last_ms);
	strbuf_addstr(json, ",\"changed\":");
	schedules_add_time(json, view->changed_ms);
	strbuf_addstr(json, ",\"definition\":");
	json_slice_add_line(json, definition);
	strbuf_addch(json, '}');
}

void schedules_refuse(struct exchange *exchange, const struct error *error)
{
	if (error->code == ERROR_NOT_FOUND)
		exchange_refuse(exchange, 404, "unknown-schedule", error->message);
	else if (error->code == ERROR_CONFLICT)
		exchange_refuse(exchange, 409, "wrong-state", error->message);
	else
		exchange_refuse_store(exchange, error);
}

bool schedules_check_steering(struct exchange *exchange)
{
	size_t bytes;

	request_body(exchange->request, &bytes);
	if (!exchange_check_params(exchange, NULL, 0) ||
	    (bytes > 0 &&
	     (!exchange_parse_body(exchange) || !exchange_check_members(exchange, NULL, 0))))
		return false;
	if (job_name_valid(exchange->part))
		return true;
	exchange_refuse(exchange, 404, "unknown-schedule", "that is not the name of a schedule");
	return false;
}

/* ---- reading */

struct asking {
	int64_t number; /* limit or count */
	const char *after;
	int64_t before_ms;
	struct schedule_view *views, view;
	struct schedule_run_view *runs;
	int64_t *ticks_ms;
	size_t count;
};

/* False: refused. */
static bool may_read(struct exchange *exchange)
{
	if (caller_reads_all(exchange->caller))
		return true;
	exchange_refuse(exchange, 403, "not-in-scope",
			"schedules are seen by those who may read all jobs of their tenant");
	return false;
}

static bool take_number(struct exchange *exchange, const char *name, int64_t max, int64_t *number)
{
	const char *text = target_param(request_target(exchange->request), name);
	char *end;

	if (!text)
		return true;
	*number = strtoll(text, &end, 10);
	if (*text >= '0' && *text <= '9' && !*end && *number >= 1 && *number <= max)
		return true;
	exchange_refuse(exchange, 400, "bad-parameter",
			arena_printf(exchange_arena(exchange), "%s is a number from 1 to %" PRId64,
				     name, max));
	return false;
}

/* Begins the answer, or refuses. */
static bool begin(struct exchange *exchange, struct strbuf *json)
{
	if (exchange->task.rc < 0) {
		schedules_refuse(exchange, &exchange->task.error);
		return false;
	}
	strbuf_init(json);
	return true;
}

static int ask_list(struct exchange *exchange, struct store *store, struct error *err_r)
{
	struct asking *asking = exchange->own;

	return schedule_list(store, exchange->reach.tenant, asking->after, (size_t)asking->number,
			     exchange_arena(exchange), &asking->views, &asking->count, err_r);
}

static void answer_list(struct exchange *exchange)
{
	const struct asking *asking = exchange->own;
	struct strbuf json;

	if (!begin(exchange, &json))
		return;
	strbuf_addstr(&json, "{\"items\":[");
	for (size_t i = 0; i < asking->count; i++) {
		if (i)
			strbuf_addch(&json, ',');
		schedules_add(&json, &asking->views[i]);
	}
	strbuf_addstr(&json, "],\"next_cursor\":");
	strbuf_json(&json, asking->count == (size_t)asking->number
				   ? asking->views[asking->count - 1].name
				   : NULL);
	strbuf_addch(&json, '}');
	exchange_answer(exchange, 200, &json);
}

void list_schedules(struct exchange *exchange)
{
	static const char *const params[] = { "limit", "cursor" };
	struct asking *asking = ARENA_NEW(exchange_arena(exchange), struct asking);

	exchange->own = asking;
	asking->number = LIMIT_DEFAULT;
	if (!may_read(exchange) || !exchange_check_params(exchange, params, ARRAY_LEN(params)) ||
	    !take_number(exchange, "limit", SCHEDULE_LIMIT_MAX, &asking->number))
		return;
	asking->after = target_param(request_target(exchange->request), "cursor");
	if (asking->after && !job_name_valid(asking->after))
		exchange_refuse(exchange, 400, "bad-parameter", "this cursor is not one of ours");
	else
		exchange_ask(exchange, ask_list, answer_list);
}

static int ask_one(struct exchange *exchange, struct store *store, struct error *err_r)
{
	struct asking *asking = exchange->own;

	return schedule_find(store, exchange->reach.tenant, exchange->part,
			     exchange_arena(exchange), &asking->view, err_r);
}

static void answer_one(struct exchange *exchange)
{
	const struct asking *asking = exchange->own;
	struct strbuf json;

	if (!begin(exchange, &json))
		return;
	schedules_add(&json, &asking->view);
	exchange_answer(exchange, 200, &json);
}

/* One schedule's: checks what all three have in common. NULL: refused. */
static struct asking *ask_about(struct exchange *exchange, const char *const *params, size_t count)
{
	struct asking *asking = ARENA_NEW(exchange_arena(exchange), struct asking);

	exchange->own = asking;
	if (!may_read(exchange) || !exchange_check_params(exchange, params, count))
		return NULL;
	if (job_name_valid(exchange->part))
		return asking;
	exchange_refuse(exchange, 404, "unknown-schedule", "that is not the name of a schedule");
	return NULL;
}

void get_schedule(struct exchange *exchange)
{
	if (ask_about(exchange, NULL, 0))
		exchange_ask(exchange, ask_one, answer_one);
}

/* ---- the next times */

static int ask_next(struct exchange *exchange, struct store *store, struct error *err_r)
{
	struct asking *asking = exchange->own;
	struct schedule_reading reading = { 0 };
	const struct schedule_definition *definition = &reading.definition;
	struct json_slice text;
	int64_t tick;
	int rc = -1;

	if (ask_one(exchange, store, err_r) < 0 || schedule_clock(store, &tick, err_r) < 0)
		return -1;
	text = (struct json_slice){ asking->view.definition, strlen(asking->view.definition) };
	if (schedules_read(text, &reading) == 0) {
		asking->ticks_ms =
			ARENA_ARRAY(exchange_arena(exchange), int64_t, (size_t)asking->number);
		while (asking->count < (size_t)asking->number &&
		       (tick = timing_next(&definition->timing, definition->zone, tick)) !=
			       TIMING_NEVER)
			asking->ticks_ms[asking->count++] = tick;
		rc = 0;
	} else {
		error_set(err_r, ERROR_INTERNAL, "%s", reading.fault.message);
	}
	schedules_release(&reading);
	return rc;
}

static void answer_next(struct exchange *exchange)
{
	const struct asking *asking = exchange->own;
	struct strbuf json;

	if (!begin(exchange, &json))
		return;
	strbuf_addstr(&json, "{\"name\":");
	strbuf_json(&json, exchange->part);
	strbuf_printf(&json, ",\"paused\":%s,\"items\":[", asking->view.paused ? "true" : "false");
	for (size_t i = 0; i < asking->count; i++) {
		if (i)
			strbuf_addch(&json, ',');
		schedules_add_time(&json, asking->ticks_ms[i]);
	}
	strbuf_addstr(&json, "]}");
	exchange_answer(exchange, 200, &json);
}

void list_next(struct exchange *exchange)
{
	static const char *const params[] = { "count" };
	struct asking *asking = ask_about(exchange, params, ARRAY_LEN(params));

	if (!asking)
		return;
	asking->number = COUNT_DEFAULT;
	if (take_number(exchange, "count", SCHEDULE_LIMIT_MAX, &asking->number))
		exchange_ask(exchange, ask_next, answer_next);
}

/* ---- runs */

static int ask_runs(struct exchange *exchange, struct store *store, struct error *err_r)
{
	struct asking *asking = exchange->own;

	if (ask_one(exchange, store, err_r) < 0)
		return -1;
	return schedule_runs(store, exchange->part, asking->before_ms, (size_t)asking->number,
			     exchange_arena(exchange), &asking->runs, &asking->count, err_r);
}

static void add_run(struct strbuf *json, const struct schedule_run_view *run)
{
	strbuf_addstr(json, "{\"tick\":");
	schedules_add_time(json, run->tick_ms);
	strbuf_addstr(json, ",\"at\":");
	schedules_add_time(json, run->at_ms);
	strbuf_printf(json, ",\"manual\":%s,\"job\":", run->manual ? "true" : "false");
	if (uuid_is_nil(&run->job))
		strbuf_addstr(json, "null");
	else
		job_json_id(json, &run->job);
	strbuf_addstr(json, ",\"reason\":");
	strbuf_json(json, run->reason);
	strbuf_addch(json, '}');
}

static void answer_runs(struct exchange *exchange)
{
	const struct asking *asking = exchange->own;
	struct strbuf json;

	if (!begin(exchange, &json))
		return;
	strbuf_addstr(&json, "{\"items\":[");
	for (size_t i = 0; i < asking->count; i++) {
		if (i)
			strbuf_addch(&json, ',');
		add_run(&json, &asking->runs[i]);
	}
	strbuf_addstr(&json, "],\"next_cursor\":");
	if (asking->count == (size_t)asking->number)
		strbuf_printf(&json, "\"%" PRId64 "\"}", asking->runs[asking->count - 1].tick_ms);
	else
		strbuf_addstr(&json, "null}");
	exchange_answer(exchange, 200, &json);
}

void list_runs(struct exchange *exchange)
{
	static const char *const params[] = { "limit", "cursor" };
	struct asking *asking = ask_about(exchange, params, ARRAY_LEN(params));

	if (!asking)
		return;
	asking->number = LIMIT_DEFAULT;
	asking->before_ms = INT64_MAX;
	if (take_number(exchange, "limit", SCHEDULE_LIMIT_MAX, &asking->number) &&
	    take_number(exchange, "cursor", INT64_MAX, &asking->before_ms))
		exchange_ask(exchange, ask_runs, answer_runs);
}
