/* SPDX-License-Identifier: Apache-2.0 */
/* What all handlers need. Nothing here knows a route. */
#include "producers/gateway/exchange.h"

#include <stdio.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "producers/gateway/job_json.h"
#include "producers/gateway/wait_time.h"

struct arena *exchange_arena(struct exchange *exchange)
{
	return request_arena(exchange->request);
}

/* ---- answers */

void exchange_refuse(struct exchange *exchange, int status, const char *slug, const char *detail)
{
	struct problem problem = { .status = status, .slug = slug, .detail = detail };

	request_refuse(exchange->request, &problem);
}

void exchange_refuse_at(struct exchange *exchange, int status, const char *slug,
			const char *pointer, const char *detail)
{
	struct problem_place place = { .pointer = pointer, .detail = detail };
	struct problem problem = {
		.status = status,
		.slug = slug,
		.detail = detail,
		.places = &place,
		.place_count = 1,
	};

	request_refuse(exchange->request, &problem);
}

void exchange_refuse_request(struct exchange *exchange, int status, const char *slug,
			     const struct job_request_error *error)
{
	struct problem_place places[SCHEMA_FAULTS_MAX];
	struct problem problem = { .status = status,
				   .slug = slug,
				   .detail = error->message,
				   .places = places,
				   .place_count = exchange_places(error, places),
				   .places_more = error->faults.more };

	request_refuse(exchange->request, &problem);
}

size_t exchange_places(const struct job_request_error *error, struct problem_place *places_r)
{
	size_t count = error->faults.count;

	places_r[0] = (struct problem_place){ .pointer = error->pointer, .detail = error->message };
	for (size_t i = 0; i < count; i++) {
		const struct schema_fault *fault = &error->faults.faults[i];

		places_r[i] = (struct problem_place){
			.pointer = fault->pointer,
			.keyword = *fault->keyword ? fault->keyword : NULL,
			.detail = fault->message,
		};
	}
	return count ? count : 1;
}

void exchange_refuse_busy(struct exchange *exchange, int status, const char *slug,
			  const char *detail, int retry_after_s)
{
	char seconds[16];

	snprintf(seconds, sizeof(seconds), "%d", retry_after_s);
	request_answer_header(exchange->request, "Retry-After", seconds);
	exchange_refuse(exchange, status, slug, detail);
}

void exchange_refuse_entry(struct exchange *exchange, const struct admit_refusal *refusal)
{
	const struct problem *problem = &refusal->problem;

	if (refusal->challenge)
		request_answer_header(exchange->request, "WWW-Authenticate", refusal->challenge);
	if (refusal->retry_after_s)
		exchange_refuse_busy(exchange, problem->status, problem->slug, problem->detail,
				     refusal->retry_after_s);
	else
		request_refuse(exchange->request, problem);
}

static void refuse_not_found(struct exchange *exchange)
{
	int64_t horizon_ms = clock_wall_ms() - exchange->gateway->settings->keep_ms;

	if (uuid_version(&exchange->id) == 7 && uuid_time_ms(&exchange->id) < horizon_ms)
		exchange_refuse(exchange, 410, "past-retention",
				"a job of that time is no longer kept");
	else
		exchange_refuse(exchange, 404, "unknown-job", "there is no such job");
}

void exchange_refuse_store(struct exchange *exchange, const struct error *error)
{
	switch (error->code) {
	case ERROR_NOT_FOUND:
		refuse_not_found(exchange);
		break;
	case ERROR_CONFLICT:
		exchange_refuse(exchange, 409, "wrong-state", error->message);
		break;
	case ERROR_INVALID:
		exchange_refuse(exchange, 422, "invalid", error->message);
		break;
	case ERROR_UNKNOWN:
		exchange_refuse(
			exchange, 504, "outcome-unknown",
			"the store did not confirm; it may be done or not: look, or ask again");
		break;
	case ERROR_UNAVAILABLE:
	case ERROR_CONTENTION:
	case ERROR_TIMEOUT:
	case ERROR_FULL:
		exchange_refuse_busy(exchange, 503, "store-unavailable",
				     "the store does not take this now", 2);
		break;
	default:
		log_line(LOG_ERROR, "request-failed", LOG_S("route", exchange->route->pattern),
			 LOG_S("code", error_code_name(error->code)),
			 LOG_S("error", error->message));
		exchange_refuse(exchange, 500, "internal",
				"this should not have happened; the log knows more");
	}
}

void exchange_answer(struct exchange *exchange, int status, struct strbuf *json)
{
	strbuf_addch(json, '\n');
	request_answer(exchange->request, status, JSON_CONTENT_TYPE, json);
}

void exchange_add_watch(struct exchange *exchange, struct strbuf *json, const struct uuid *id)
{
	char token[WATCH_TOKEN_TEXT];

	watch_token_make(&exchange->gateway->watch, id, clock_wall_ms(), token);
	job_json_watch(json, token);
}

void exchange_location(struct exchange *exchange, const struct uuid *id)
{
	char location[9 + UUID_TEXT] = "/v1/jobs/";

	uuid_format(id, location + 9);
	request_answer_header(exchange->request, "Location", location);
}

/* ---- what the client said */

bool exchange_parse_body(struct exchange *exchange)
{
	struct json_error error;
	size_t bytes;
	const char *text = request_body(exchange->request, &bytes);

	exchange->body = json_text_parse(text, bytes, &error);
	if (exchange->body)
		return true;
	struct problem problem = {
		.status = 400,
		.slug = "malformed-json",
		.detail = error.message,
		.line = error.line,
		.column = error.column,
	};
	request_refuse(exchange->request, &problem);
	return false;
}

bool exchange_check_body(struct exchange *exchange)
{
	size_t bytes;
	const char *text = request_body(exchange->request, &bytes);

	return json_text_check(text, bytes) || exchange_parse_body(exchange);
}

bool exchange_parse_id(struct exchange *exchange)
{
	if (uuid_parse(exchange->part, &exchange->id))
		return true;
	exchange_refuse(exchange, 404, "unknown-job", "there is no such job: the id is not a UUID");
	return false;
}

bool exchange_parse_wait(struct exchange *exchange)
{
	const char *query = target_param(request_target(exchange->request), "wait");
	const char *prefer = request_header(exchange->request, "Prefer");

	if (wait_time_parse(query, prefer, &exchange->wait_ms, &exchange->wait_preferred))
		return true;
	exchange_refuse(exchange, 400, "bad-parameter",
			"wait is a duration of at most 300s, as in wait=30s");
	return false;
}

static bool is_one_of(const char *name, const char *const *names, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (strcmp(names[i], name) == 0)
			return true;
	}
	return false;
}

bool exchange_check_params(struct exchange *exchange, const char *const *names, size_t count)
{
	const struct target *target = request_target(exchange->request);

	for (size_t i = 0; i < target->param_count; i++) {
		const char *name = target->params[i].name;
		if (is_one_of(name, names, count))
			continue;
		exchange_refuse(exchange, 400, "bad-parameter",
				arena_printf(exchange_arena(exchange),
					     "unknown query parameter `%s`", name));
		return false;
	}
	return true;
}

bool exchange_check_members(struct exchange *exchange, const char *const *names, size_t count)
{
	struct arena *arena = exchange_arena(exchange);
	struct strbuf pointer;
	const char *name;
	json_t *value;

	if (!json_is_object(exchange->body)) {
		exchange_refuse_at(exchange, 422, "invalid", "", "expected an object");
		return false;
	}
	json_object_foreach(exchange->body, name, value)
	{
		if (is_one_of(name, names, count))
			continue;
		strbuf_init(&pointer);
		json_pointer_add(&pointer, name);
		exchange_refuse_at(exchange, 422, "invalid", pointer.data,
				   arena_printf(arena, "unknown member `%s`", name));
		strbuf_release(&pointer);
		return false;
	}
	return true;
}

/* ---- steps on other threads */

static void run_next(struct request *request, void *ctx)
{
	struct exchange *exchange = request_user(request);

	(void)ctx;
	exchange->next(exchange);
}

void exchange_park(struct exchange *exchange, exchange_step_fn *next)
{
	exchange->next = next;
	request_park(exchange->request, run_next);
}

void exchange_wake(struct exchange *exchange)
{
	request_wake(exchange->request);
}

static int run_ask(struct store *store, struct reader_task *task)
{
	struct exchange *exchange = task->owner;

	return exchange->ask(exchange, store, &task->error);
}

static void asked(struct reader_task *task)
{
	exchange_wake(task->owner);
}

static void send_task(struct exchange *exchange, exchange_ask_fn *ask, exchange_step_fn *next,
		      bool storeless)
{
	exchange->ask = ask;
	exchange->task = (struct reader_task){
		.run = run_ask, .done = asked, .storeless = storeless, .owner = exchange
	};
	exchange_park(exchange, next);
	if (readers_send(exchange->gateway->readers, &exchange->task))
		return;
	exchange->task.rc = error_set(&exchange->task.error, ERROR_UNAVAILABLE,
				      "too many requests wait for the store");
	exchange_wake(exchange);
}

void exchange_ask(struct exchange *exchange, exchange_ask_fn *ask, exchange_step_fn *next)
{
	send_task(exchange, ask, next, false);
}

void exchange_compute(struct exchange *exchange, exchange_ask_fn *compute, exchange_step_fn *next)
{
	send_task(exchange, compute, next, true);
}

static int ask_job(struct exchange *exchange, struct store *store, struct error *err_r)
{
	return query_job(store, &exchange->reach, &exchange->id, exchange_arena(exchange),
			 &exchange->view, err_r);
}

void exchange_ask_job(struct exchange *exchange, exchange_step_fn *next)
{
	exchange_ask(exchange, ask_job, next);
}
