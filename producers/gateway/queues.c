/* SPDX-License-Identifier: Apache-2.0 */
/* GET /v1/queues, POST /v1/queues/{name}/pause and /resume. */
#include <string.h>

#include "common/store/control.h"
#include "producers/gateway/exchange.h"
#include "producers/gateway/routes.h"

struct queues {
	struct queue_view *views;
	size_t count;
};

static int ask_queues(struct exchange *exchange, struct store *store, struct error *err_r)
{
	struct queues *queues = exchange->own;

	return query_queues(store, exchange_arena(exchange), &queues->views, &queues->count, err_r);
}

static void add_queue(struct strbuf *json, const struct queue_view *queue, bool first)
{
	strbuf_addstr(json, first ? "{\"name\":" : ",{\"name\":");
	strbuf_json(json, queue->name);
	strbuf_addstr(json, queue->paused ? ",\"paused\":true" : ",\"paused\":false");
	strbuf_addstr(json, ",\"available\":");
	strbuf_addi(json, queue->available);
	strbuf_addstr(json, ",\"scheduled\":");
	strbuf_addi(json, queue->scheduled);
	strbuf_addstr(json, ",\"parked\":");
	strbuf_addi(json, queue->parked);
	strbuf_addstr(json, ",\"waiting\":");
	strbuf_addi(json, queue->waiting);
	strbuf_addstr(json, ",\"queued\":");
	strbuf_addi(json, queue->queued);
	strbuf_addstr(json, ",\"running\":");
	strbuf_addi(json, queue->running);
	strbuf_addstr(json, ",\"oldest_seconds\":");
	if (queue->oldest_ms < 0)
		strbuf_addstr(json, "null");
	else
		strbuf_printf(json, "%.3f", (double)queue->oldest_ms / 1000);
	strbuf_addch(json, '}');
}

static bool is_listed(const struct queues *queues, const char *name)
{
	for (size_t i = 0; i < queues->count; i++) {
		if (strcmp(queues->views[i].name, name) == 0)
			return true;
	}
	return false;
}

static bool may_see(const struct exchange *exchange, const char *name)
{
	const struct reach *reach = &exchange->reach;

	for (size_t i = 0; i < reach->rule_count; i++) {
		if (caller_pattern_fits(reach->rules[i].queue, name))
			return true;
	}
	return reach->rule_count == 0;
}

static void answer_queues(struct exchange *exchange)
{
	const struct queues *queues = exchange->own;
	const struct definitions *defs = exchange->defs;
	bool first = true;
	struct strbuf json;

	if (exchange->task.rc < 0) {
		exchange_refuse_store(exchange, &exchange->task.error);
		return;
	}
	strbuf_init(&json);
	strbuf_addstr(&json, "{\"items\":[");
	for (size_t i = 0; i < queues->count; i++) {
		if (!may_see(exchange, queues->views[i].name))
			continue;
		add_queue(&json, &queues->views[i], first);
		first = false;
	}
	/* Queues that never had a job. */
	for (size_t i = 0; i < definitions_queue_count(defs); i++) {
		struct queue_view empty = { .name = definitions_queue_at(defs, i)->name,
					    .oldest_ms = -1 };
		if (is_listed(queues, empty.name) || !may_see(exchange, empty.name))
			continue;
		add_queue(&json, &empty, first);
		first = false;
	}
	strbuf_addstr(&json, "]}");
	exchange_answer(exchange, 200, &json);
}

void list_queues(struct exchange *exchange)
{
	if (exchange->caller->own_only) {
		exchange_refuse(exchange, 403, "not-in-scope",
				"queues are everybody's, and this caller sees its own jobs only");
		return;
	}
	exchange->own = ARENA_NEW(exchange_arena(exchange), struct queues);
	if (exchange_check_params(exchange, NULL, 0))
		exchange_ask(exchange, ask_queues, answer_queues);
}

struct pause {
	struct queues queues; /* asked for only when no definition names the queue */
	bool paused, unknown;
};

/* A queue is known by the definitions here, or because another file's jobs are or were in it. */
static int ask_pause(struct exchange *exchange, struct store *store, struct error *err_r)
{
	struct pause *pause = exchange->own;
	struct queues *queues = &pause->queues;

	if (!definitions_queue(exchange->defs, exchange->part)) {
		if (query_queues(store, exchange_arena(exchange), &queues->views, &queues->count,
				 err_r) < 0)
			return -1;
		pause->unknown = !is_listed(queues, exchange->part);
		if (pause->unknown)
			return 0;
	}
	return control_pause(store, exchange->part, pause->paused,
			     exchange_audit(exchange,
					    pause->paused ? "queue.pause" : "queue.resume",
					    exchange->part, NULL),
			     err_r);
}

static void pause_answered(struct exchange *exchange)
{
	const struct pause *pause = exchange->own;
	struct strbuf json;

	if (exchange->task.rc < 0) {
		exchange_refuse_store(exchange, &exchange->task.error);
		return;
	}
	if (pause->unknown) {
		exchange_refuse(exchange, 404, "unknown-queue",
				"no job type, queue definition or job names it");
		return;
	}
	bell_ring(exchange->gateway->bell, pause->paused ? BELL_PAUSE : BELL_PAUSE | BELL_READY);
	strbuf_init(&json);
	strbuf_addstr(&json, "{\"name\":");
	strbuf_json(&json, exchange->part);
	strbuf_addstr(&json, pause->paused ? ",\"paused\":true}" : ",\"paused\":false}");
	exchange_answer(exchange, 200, &json);
}

static void set_paused(struct exchange *exchange, bool paused)
{
	struct pause *pause = ARENA_NEW(exchange_arena(exchange), struct pause);
	size_t bytes;

	pause->paused = paused;
	exchange->own = pause;
	request_body(exchange->request, &bytes);
	if (!exchange_check_params(exchange, NULL, 0) ||
	    (bytes > 0 &&
	     (!exchange_parse_body(exchange) || !exchange_check_members(exchange, NULL, 0))))
		return;
	if (job_name_valid(exchange->part))
		exchange_ask(exchange, ask_pause, pause_answered);
	else
		exchange_refuse(exchange, 404, "unknown-queue", "that is not the name of a queue");
}

void pause_queue(struct exchange *exchange)
{
	set_paused(exchange, true);
}

void resume_queue(struct exchange *exchange)
{
	set_paused(exchange, false);
}
