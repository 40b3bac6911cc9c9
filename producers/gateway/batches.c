/* SPDX-License-Identifier: Apache-2.0 */
/* /v1/batches: batch runs, begun here and read by the feeder, or fed by their client part by part.
 * POST /v1/jobs/batch, many jobs in one request, is post_batch.c's. */
#include "common/store/batch.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/base/clock.h"
#include "common/store/acceptance.h"
#include "producers/batch/batch_definition.h"
#include "producers/batch/feeder.h"
#include "producers/gateway/enqueue.h"
#include "producers/gateway/job_json.h"
#include "producers/gateway/routes.h"

#define LIMIT_DEFAULT 50
#define LEASE_MS      1000 /* of a chunk without a feeder: nobody looks at it */

struct runs {
	struct batch_new begun;
	struct batch_filter filter;
	struct batch_view view, *views;
	size_t count;
	int64_t moved;
	/* rows */
	int64_t part, rejected;
	bool last;
	const char *fault;
	int fault_status;
};

static struct runs *own_of(struct exchange *exchange)
{
	exchange->own = ARENA_NEW(exchange_arena(exchange), struct runs);
	return exchange->own;
}

/* ---- how it looks */

static void add_number(struct strbuf *json, const char *name, int64_t number)
{
	strbuf_printf(json, ",\"%s\":%" PRId64, name, number);
}

static void add_text(struct strbuf *json, const char *name, const char *text)
{
	strbuf_printf(json, ",\"%s\":", name);
	strbuf_json(json, text);
}

static void add_time(struct strbuf *json, const char *name, int64_t wall_ms)
{
	char text[CLOCK_TEXT];

	if (wall_ms)
		strbuf_printf(json, ",\"%s\":\"%s\"", name, clock_format(wall_ms, text));
}

/* Over its whole life; a client that wants the last seconds' takes the difference of two looks. */
static void add_speed(struct strbuf *json, const struct batch_view *view)
{
	const struct batch_counts *counts = &view->counts;
	int64_t ended = counts->done + counts->failed + counts->cancelled;
	int64_t until_ms = view->finished_ms ? view->finished_ms : clock_wall_ms();
	double seconds = (double)(until_ms - view->created_ms) / 1000;
	double rate = seconds > 0 ? (double)ended / seconds : 0;

	strbuf_printf(json, ",\"rate\":%.1f,\"eta_seconds\":", rate);
	if (view->state == BATCH_RUNNING && rate > 0)
		strbuf_printf(json, "%.0f", (double)(counts->total - ended) / rate);
	else
		strbuf_addstr(json, "null");
}

static void add_batch(struct strbuf *json, const struct batch_view *view)
{
	const struct batch_counts *counts = &view->counts;

	strbuf_addstr(json, "{\"id\":");
	job_json_id(json, &view->id);
	add_text(json, "state", batch_state_name(view->state));
	add_text(json, "name", view->name);
	add_text(json, "type", view->type);
	add_text(json, "queue", view->queue);
	add_text(json, "owner", view->owner);
	if (*view->tenant)
		add_text(json, "tenant", view->tenant);
	if (view->schedule)
		add_text(json, "schedule", view->schedule);
	add_time(json, "created_at", view->created_ms);
	add_time(json, "finished_at", view->finished_ms);
	add_number(json, "total", counts->total);
	strbuf_addstr(json, view->state == BATCH_FEEDING ? ",\"total_known\":false"
							 : ",\"total_known\":true");
	add_number(json, "done", counts->done);
	add_number(json, "failed", counts->failed);
	add_number(json, "cancelled", counts->cancelled);
	add_number(json, "rejected", counts->rejected);
	add_text(json, "error", view->error);
	add_text(json, "position", view->position);
	add_speed(json, view);
	strbuf_addch(json, '}');
}

static void answer_view(struct exchange *exchange)
{
	const struct runs *runs = exchange->own;
	struct strbuf json;

	if (exchange->task.rc < 0) {
		exchange_refuse_store(exchange, &exchange->task.error);
		return;
	}
	strbuf_init(&json);
	add_batch(&json, &runs->view);
	exchange_answer(exchange, 200, &json);
}

/* ---- GET */

static int ask_one(struct exchange *exchange, struct store *store, struct error *err_r)
{
	struct runs *runs = exchange->own;

	return batch_get(store, &exchange->reach, &exchange->id, exchange_arena(exchange),
			 &runs->view, err_r);
}

void get_batch(struct exchange *exchange)
{
	own_of(exchange);
	if (exchange_check_params(exchange, NULL, 0) && exchange_parse_id(exchange))
		exchange_ask(exchange, ask_one, answer_view);
}

static bool parse_filter(struct exchange *exchange, struct batch_filter *filter)
{
	const struct target *target = request_target(exchange->request);
	const char *limit = target_param(target, "limit"), *state = target_param(target, "state"),
		   *cursor = target_param(target, "cursor");
	long number = limit ? strtol(limit, NULL, 10) : LIMIT_DEFAULT;

	filter->reach = exchange->reach;
	filter->limit = (size_t)number;
	if (number < 1 || number > BATCH_LIST_MAX)
		exchange_refuse(exchange, 400, "bad-parameter", "limit is a number from 1 to 1000");
	else if (state && !batch_state_parse(state, &filter->state))
		exchange_refuse(exchange, 400, "bad-parameter",
				"state is feeding, running, completed, failed or cancelled");
	else if (cursor && !uuid_parse(cursor, &filter->before))
		exchange_refuse(exchange, 400, "bad-parameter", "this cursor is not one of ours");
	else
		return true;
	return false;
}

static int ask_list(struct exchange *exchange, struct store *store, struct error *err_r)
{
	struct runs *runs = exchange->own;

	return batch_list(store, &runs->filter, exchange_arena(exchange), &runs->views,
			  &runs->count, err_r);
}

static void answer_list(struct exchange *exchange)
{
	const struct runs *runs = exchange->own;
	struct strbuf json;

	if (exchange->task.rc < 0) {
		exchange_refuse_store(exchange, &exchange->task.error);
		return;
	}
	strbuf_init(&json);
	strbuf_addstr(&json, "{\"items\":[");
	for (size_t i = 0; i < runs->count; i++) {
		if (i)
			strbuf_addch(&json, ',');
		add_batch(&json, &runs->views[i]);
	}
	strbuf_addstr(&json, "],\"next_cursor\":");
	if (runs->count == runs->filter.limit)
		job_json_id(&json, &runs->views[runs->count - 1].id);
	else
		strbuf_addstr(&json, "null");
	strbuf_addch(&json, '}');
	exchange_answer(exchange, 200, &json);
}

void list_batches(struct exchange *exchange)
{
	static const char *const params[] = { "limit", "state", "cursor" };
	struct runs *runs = own_of(exchange);

	if (exchange_check_params(exchange, params, ARRAY_LEN(params)) &&
	    parse_filter(exchange, &runs->filter))
		exchange_ask(exchange, ask_list, answer_list);
}

/* ---- POST /v1/batches */

/* A query reads whatever the database lets Windlass read; a result may be anybody's. */
static bool may_read_source(struct exchange *exchange, const struct batch_definition *definition)
{
	if (definition->kind == BATCH_SQL &&
	    (!caller_may(exchange->caller, SCOPE_ADMIN) || !exchange->caller->everywhere))
		exchange_refuse_at(exchange, 403, "not-in-scope", "/source/sql",
				   "only admins of all tenants may query the database");
	else if (definition->kind == BATCH_JOB && !caller_reads_all(exchange->caller))
		exchange_refuse_at(exchange, 403, "not-in-scope", "/source/job",
				   "only callers that may read all jobs may use their results");
	else
		return true;
	return false;
}

static bool may_enqueue(struct exchange *exchange, const struct batch_definition *definition,
			struct json_slice text)
{
	static const char *const ends[] = { "on_complete", "on_failure" };
	struct arena *arena = exchange_arena(exchange);
	bool may = caller_may_enqueue(exchange->caller, definition->model.type,
				      definition->model.queue);

	for (size_t i = 0; may && i < ARRAY_LEN(ends); i++) {
		struct json_slice end = json_slice_get(text, ends[i]);

		may = !end.bytes ||
		      caller_may_enqueue(exchange->caller,
					 json_slice_string(arena, json_slice_get(end, "type")),
					 json_slice_string(arena, json_slice_get(end, "queue")));
	}
	if (!may)
		exchange_refuse_at(exchange, 403, "not-in-scope", "/job", ENQUEUE_NOT_IN_SCOPE);
	return may;
}

static bool read_names(struct exchange *exchange, struct batch_new *begun)
{
	const json_t *id = json_object_get(exchange->body, "id"),
		     *name = json_object_get(exchange->body, "name");

	uuid_v7(&begun->id);
	if (id && (!json_is_string(id) || !uuid_parse(json_string_value(id), &begun->id) ||
		   uuid_version(&begun->id) != 7)) {
		exchange_refuse_at(exchange, 422, "invalid", "/id", "expected a UUID of version 7");
		return false;
	}
	if (name && (!json_is_string(name) || json_string_length(name) > JOB_KEY_MAX)) {
		exchange_refuse_at(exchange, 422, "invalid", "/name",
				   "expected a text of at most 255 bytes");
		return false;
	}
	begun->name = json_string_value(name);
	return true;
}

static int ask_begin(struct exchange *exchange, struct store *store, struct error *err_r)
{
	struct runs *runs = exchange->own;
	struct reach all = { .tenant = runs->begun.tenant, .owner = runs->begun.owner };
	char id[UUID_TEXT];
	bool is_new;

	if (batch_begin(
		    store, &runs->begun,
		    exchange_audit(exchange, "batch.run", uuid_format(&runs->begun.id, id), NULL),
		    &exchange->id, &is_new, err_r) < 0)
		return -1;
	return batch_get(store, &all, &exchange->id, exchange_arena(exchange), &runs->view, err_r);
}

static void begun(struct exchange *exchange)
{
	const struct runs *runs = exchange->own;
	struct strbuf json;
	char id[UUID_TEXT];

	if (exchange->task.rc < 0) {
		exchange_refuse_store(exchange, &exchange->task.error);
		return;
	}
	feeder_kick(exchange->gateway->feeder);
	request_answer_header(exchange->request, "Location",
			      arena_printf(exchange_arena(exchange), "/v1/batches/%s",
					   uuid_format(&runs->view.id, id)));
	strbuf_init(&json);
	add_batch(&json, &runs->view);
	exchange_answer(exchange, 202, &json);
}

void post_batch_run(struct exchange *exchange)
{
	static const char *const members[] = { "id",  "name",        "source",
					       "job", "on_complete", "on_failure" };
	struct job_request_context context = enqueue_context(exchange);
	struct runs *runs = own_of(exchange);
	struct batch_definition definition;
	struct job_request_error error;
	struct json_slice text;

	if (!exchange_check_params(exchange, NULL, 0) || !exchange_parse_body(exchange) ||
	    !exchange_check_members(exchange, members, ARRAY_LEN(members)) ||
	    !read_names(exchange, &runs->begun))
		return;
	text.text = request_body(exchange->request, &text.bytes);
	if (batch_definition_read(&context, text, exchange_arena(exchange), &definition,
				  &runs->begun.definition, &error) != 0) {
		exchange_refuse_request(exchange, 422, "invalid", &error);
		return;
	}
	text = (struct json_slice){ runs->begun.definition, strlen(runs->begun.definition) };
	if (!may_read_source(exchange, &definition) || !may_enqueue(exchange, &definition, text))
		return;
	runs->begun.tenant = exchange->caller->tenant;
	runs->begun.owner = exchange->caller->id;
	runs->begun.type = definition.model.type;
	runs->begun.queue = definition.model.queue;
	runs->begun.pushed = definition.kind == BATCH_PUSHED;
	exchange_ask(exchange, ask_begin, begun);
}

/* ---- POST /v1/batches/{id}/rows: the client's part of a chunk, exactly once */

static bool parse_count(const char *text, int64_t *count_r)
{
	char *end;

	*count_r = text ? strtoll(text, &end, 10) : 0;
	return !text || (*text >= '0' && *text <= '9' && !*end);
}

static bool parse_part(struct exchange *exchange, struct runs *runs)
{
	const struct target *target = request_target(exchange->request);
	const char *last = target_param(target, "last");

	runs->last = last && !strcmp(last, "true");
	if (parse_count(target_param(target, "part"), &runs->part) &&
	    parse_count(target_param(target, "rejected"), &runs->rejected) &&
	    (!last || runs->last || !strcmp(last, "false")))
		return true;
	exchange_refuse(exchange, 400, "bad-parameter",
			"part and rejected are numbers from 0; last is true or false");
	return false;
}

struct rows {
	struct exchange *exchange;
	struct runs *runs;
	struct batch_definition definition;
	struct batch_chunk chunk;
	struct acceptance request;
};

static int fault(struct rows *rows, const char *text)
{
	rows->runs->fault = text;
	rows->runs->fault_status = 422;
	return 0;
}

static int add_row(struct rows *rows, struct json_slice line, size_t number)
{
	struct job_request_context context = enqueue_context(rows->exchange);
	struct arena *arena = exchange_arena(rows->exchange);
	struct acceptance *request = &rows->request;
	const char *reason = "not JSON";

	if (request->job_count == SUBMIT_JOBS_MAX)
		return fault(rows, "a part has at most 10000 rows");
	if (json_text_check(line.text, line.bytes) &&
	    batch_definition_job(&context, &rows->definition, &rows->runs->view.id, line, arena,
				 &request->jobs[request->job_count], &reason) == 0) {
		request->job_count++;
		return 1;
	}
	if (!rows->chunk.rejected++)
		rows->chunk.error = arena_printf(arena, "part %" PRId64 ", row %zu: %s",
						 rows->runs->part, number, reason);
	return 1;
}

static int add_lines(struct rows *rows, struct json_slice text)
{
	const char *at = text.text, *end = at + text.bytes;

	for (size_t number = 1; at < end; number++) {
		const char *feed = memchr(at, '\n', (size_t)(end - at));
		const char *stop = feed ? feed : end, *to = stop;

		while (to > at && strchr(" \t\r", to[-1]))
			to--;
		if (to > at && !add_row(rows, (struct json_slice){ at, (size_t)(to - at) }, number))
			return 0;
		at = stop + 1;
	}
	return 1;
}

static int add_elements(struct rows *rows, struct json_slice text)
{
	struct json_slice element;
	const char *cursor = NULL;
	int got;

	if (!json_text_check(text.text, text.bytes))
		return fault(rows, "not JSON");
	for (size_t number = 1; (got = json_slice_element(text, &cursor, &element)) == 1; number++)
		if (!add_row(rows, element, number))
			return 0;
	return got == 0 ? 1 : fault(rows, "expected an array of rows");
}

static int add_rows(struct rows *rows)
{
	const char *type = request_header(rows->exchange->request, "Content-Type");
	struct json_slice text;

	text.text = request_body(rows->exchange->request, &text.bytes);
	return strncasecmp(type, NDJSON_CONTENT_TYPE, strlen(NDJSON_CONTENT_TYPE)) == 0
		       ? add_lines(rows, text)
		       : add_elements(rows, text);
}

/* False: it was stored before, or may not be: runs->fault. */
static bool is_next(struct runs *runs)
{
	int64_t next = runs->view.position ? strtoll(runs->view.position, NULL, 10) : 0;

	if (runs->part > next)
		runs->fault = "parts before this one are missing; position tells the next one";
	else if (runs->part == next && runs->view.state != BATCH_FEEDING)
		runs->fault = "the batch takes no more rows";
	return runs->part == next && !runs->fault;
}

static int store_rows(struct rows *rows, struct store *store, struct error *err_r)
{
	struct arena *arena = exchange_arena(rows->exchange);
	struct acceptance *request = &rows->request;

	request->jobs = ARENA_ARRAY(arena, struct new_job, SUBMIT_JOBS_MAX);
	request->accepted = ARENA_ARRAY(arena, struct accepted_job, SUBMIT_JOBS_MAX);
	if (!add_rows(rows))
		return 0;
	if (rows->runs->rejected && !rows->chunk.error)
		rows->chunk.error = "the client could not read all rows";
	rows->chunk.rejected += rows->runs->rejected;
	rows->chunk.id = rows->runs->view.id;
	rows->chunk.position_before = rows->runs->view.position;
	rows->chunk.position = arena_printf(arena, "%" PRId64, rows->runs->part + 1);
	rows->chunk.last = rows->runs->last;
	rows->chunk.lease_ms = LEASE_MS;
	request->chunk = &rows->chunk;
	if (acceptance_commit(store, &request, 1, err_r) < 0)
		return -1;
	if (request->verdict == ACCEPTANCE_FAILED) {
		*err_r = request->error;
		return -1;
	}
	return 0;
}

static int ask_rows(struct exchange *exchange, struct store *store, struct error *err_r)
{
	struct runs *runs = exchange->own;
	struct rows rows = { .exchange = exchange, .runs = runs };
	struct job_request_context context = enqueue_context(exchange);
	struct reach own = caller_own_reach(exchange->caller);
	struct arena *arena = exchange_arena(exchange);
	struct job_request_error error;
	const char *text;

	if (batch_get(store, &own, &exchange->id, arena, &runs->view, err_r) < 0)
		return -1;
	if (!is_next(runs))
		return 0;
	text = runs->view.definition;
	if (batch_definition_read(&context, (struct json_slice){ text, strlen(text) }, arena,
				  &rows.definition, &text, &error) != 0)
		return fault(&rows, arena_printf(arena, "%s: %s", error.pointer, error.message));
	if (rows.definition.kind != BATCH_PUSHED)
		return fault(&rows, "the rows of this batch are not pushed");
	if (store_rows(&rows, store, err_r) < 0)
		return -1;
	return batch_get(store, &own, &exchange->id, arena, &runs->view, err_r);
}

static void rows_stored(struct exchange *exchange)
{
	const struct runs *runs = exchange->own;

	if (exchange->task.rc == 0 && runs->fault) {
		if (runs->fault_status)
			exchange_refuse(exchange, runs->fault_status, "invalid", runs->fault);
		else
			exchange_refuse(exchange, 409, "conflict", runs->fault);
		return;
	}
	if (exchange->task.rc == 0) {
		bell_ring(exchange->gateway->bell, BELL_READY);
		feeder_kick(exchange->gateway->feeder);
	}
	answer_view(exchange);
}

void post_rows(struct exchange *exchange)
{
	static const char *const params[] = { "part", "last", "rejected" };
	struct runs *runs = own_of(exchange);

	if (exchange_check_params(exchange, params, ARRAY_LEN(params)) &&
	    exchange_parse_id(exchange) && parse_part(exchange, runs))
		exchange_ask(exchange, ask_rows, rows_stored);
}

/* ---- cancel and retry */

static const struct audit *audit_of(struct exchange *exchange, const char *action)
{
	char *id = arena_alloc(exchange_arena(exchange), UUID_TEXT);

	return exchange_audit(exchange, action, uuid_format(&exchange->id, id), NULL);
}

static int ask_cancel(struct exchange *exchange, struct store *store, struct error *err_r)
{
	return batch_cancel(store, &exchange->reach, &exchange->id,
			    audit_of(exchange, "batch.cancel"), err_r)
		       ? -1
		       : ask_one(exchange, store, err_r);
}

static void changed(struct exchange *exchange)
{
	if (exchange->task.rc == 0) {
		bell_ring(exchange->gateway->bell, BELL_READY);
		feeder_kick(exchange->gateway->feeder);
	}
	answer_view(exchange);
}

void cancel_batch(struct exchange *exchange)
{
	own_of(exchange);
	if (exchange_check_params(exchange, NULL, 0) && exchange_parse_id(exchange))
		exchange_ask(exchange, ask_cancel, changed);
}

static int ask_retry(struct exchange *exchange, struct store *store, struct error *err_r)
{
	struct runs *runs = exchange->own;

	return batch_retry(store, &exchange->reach, &exchange->id,
			   audit_of(exchange, "batch.retry"), &runs->moved, err_r)
		       ? -1
		       : ask_one(exchange, store, err_r);
}

static void retried(struct exchange *exchange)
{
	const struct runs *runs = exchange->own;
	struct strbuf json;

	if (exchange->task.rc < 0) {
		exchange_refuse_store(exchange, &exchange->task.error);
		return;
	}
	bell_ring(exchange->gateway->bell, BELL_READY);
	feeder_kick(exchange->gateway->feeder);
	strbuf_init(&json);
	strbuf_printf(&json, "{\"count\":%" PRId64 ",\"batch\":", runs->moved);
	add_batch(&json, &runs->view);
	strbuf_addch(&json, '}');
	exchange_answer(exchange, 200, &json);
}

void retry_batch(struct exchange *exchange)
{
	own_of(exchange);
	if (exchange_check_params(exchange, NULL, 0) && exchange_parse_id(exchange))
		exchange_ask(exchange, ask_retry, retried);
}
