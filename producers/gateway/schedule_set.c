/* SPDX-License-Identifier: Apache-2.0 */
/* POST /v1/schedules, PUT and DELETE /v1/schedules/{name}: schedules that are not the definitions
 * file's. The definition is checked like the file's, its first job too. */
#include <string.h>

#include "common/job/webhook.h"
#include "producers/gateway/enqueue.h"
#include "producers/gateway/routes.h"
#include "producers/gateway/schedules.h"

struct setting {
	const char *name;
	struct json_slice definition;
	bool create;  /* there must not be one */
	bool created; /* there was none */
	bool refused; /* reading.fault says why */
	struct schedule_reading reading;
	struct schedule_view view;
};

/* The first tick: there must be one, and its job must be one that is taken. */
static int check_first(struct exchange *exchange, struct setting *setting, int64_t now_ms,
		       int64_t *next_ms_r)
{
	struct schedule_reading *reading = &setting->reading;
	struct new_job job;

	if (schedules_read(setting->definition, reading) < 0 ||
	    schedules_job(exchange, reading, setting->name, now_ms, &job) < 0)
		return -1;
	*next_ms_r = timing_next(&reading->definition.timing, reading->definition.zone, now_ms);
	if (*next_ms_r != TIMING_NEVER)
		return 0;
	reading->fault = (struct job_request_error){ .fault = JOB_REQUEST_INVALID,
						     .pointer = "/at",
						     .message = "this time is over" };
	return -1;
}

static int ask_set(struct exchange *exchange, struct store *store, struct error *err_r)
{
	struct setting *setting = exchange->own;
	struct arena *arena = exchange_arena(exchange);
	const char *text =
		arena_strndup(arena, setting->definition.text, setting->definition.bytes);
	struct schedule_new schedule = { .name = setting->name, .definition = text };
	int64_t now_ms;

	if (schedule_clock(store, &now_ms, err_r) < 0)
		return -1;
	setting->refused = check_first(exchange, setting, now_ms, &schedule.next_ms) < 0;
	if (!setting->refused)
		schedule.tenant = arena_strdup(arena, setting->reading.definition.tenant);
	schedules_release(&setting->reading);
	if (setting->refused)
		return 0;
	if (schedule_put(store, &schedule, setting->create,
			 exchange_audit(exchange, "schedule.set", setting->name, text),
			 &setting->created, err_r) < 0)
		return -1;
	return schedule_find(store, NULL, setting->name, arena, &setting->view, err_r);
}

static void answer_set(struct exchange *exchange)
{
	struct setting *setting = exchange->own;
	struct strbuf json;

	if (exchange->task.rc < 0) {
		schedules_refuse(exchange, &exchange->task.error);
		return;
	}
	if (setting->refused) {
		enqueue_refuse_request(exchange, &setting->reading.fault);
		return;
	}
	strbuf_init(&json);
	schedules_add(&json, &setting->view);
	exchange_answer(exchange, setting->created ? 201 : 200, &json);
}

static void set(struct exchange *exchange, const char *name, struct json_slice definition,
		bool create)
{
	struct setting *setting = ARENA_NEW(exchange_arena(exchange), struct setting);

	setting->name = name;
	setting->definition = definition;
	setting->create = create;
	exchange->own = setting;
	exchange_ask(exchange, ask_set, answer_set);
}

static bool name_free(const char *name)
{
	return name && job_name_valid(name) && !webhook_reserved(name);
}

/* {"name": …, "definition": {…}} */
void post_schedule(struct exchange *exchange)
{
	static const char *const members[] = { "name", "definition" };
	struct json_slice body, definition;
	const char *name;

	if (!exchange_check_params(exchange, NULL, 0) || !exchange_parse_body(exchange) ||
	    !exchange_check_members(exchange, members, ARRAY_LEN(members)))
		return;
	body.text = request_body(exchange->request, &body.bytes);
	name = json_string_value(json_object_get(exchange->body, "name"));
	definition = json_slice_get(body, "definition");
	if (!name_free(name))
		exchange_refuse_at(exchange, 422, "invalid", "/name",
				   "expected a name of 1 to 128 letters, digits and . _ : -, that "
				   "does not begin with windlass.");
	else if (!definition.bytes)
		exchange_refuse_at(exchange, 422, "invalid", "/definition", "expected an object");
	else
		set(exchange, name, definition, true);
}

void put_schedule(struct exchange *exchange)
{
	struct json_slice body;

	if (!exchange_check_params(exchange, NULL, 0) || !exchange_parse_body(exchange))
		return;
	body.text = request_body(exchange->request, &body.bytes);
	if (name_free(exchange->part))
		set(exchange, exchange->part, body, false);
	else
		exchange_refuse(exchange, 404, "unknown-schedule",
				"a schedule cannot have that name");
}

/* ---- delete */

static int ask_delete(struct exchange *exchange, struct store *store, struct error *err_r)
{
	return schedule_remove(store, exchange->part,
			       exchange_audit(exchange, "schedule.remove", exchange->part, NULL),
			       err_r);
}

static void answer_delete(struct exchange *exchange)
{
	struct strbuf json;

	if (exchange->task.rc < 0) {
		schedules_refuse(exchange, &exchange->task.error);
		return;
	}
	strbuf_init(&json);
	strbuf_addstr(&json, "{\"name\":");
	strbuf_json(&json, exchange->part);
	strbuf_addstr(&json, ",\"removed\":true}");
	exchange_answer(exchange, 200, &json);
}

void delete_schedule(struct exchange *exchange)
{
	if (schedules_check_steering(exchange))
		exchange_ask(exchange, ask_delete, answer_delete);
}
