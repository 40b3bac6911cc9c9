/* SPDX-License-Identifier: Apache-2.0 */
/* GET /v1/workers: the worker sessions that are alive. */
#include "producers/gateway/exchange.h"
#include "producers/gateway/job_json.h"
#include "producers/gateway/routes.h"

struct workers {
	struct worker_view *views;
	size_t count;
};

static int ask_workers(struct exchange *exchange, struct store *store, struct error *err_r)
{
	struct workers *workers = exchange->own;

	return query_workers(store, exchange_arena(exchange), &workers->views, &workers->count,
			     err_r);
}

static void add_figures(struct strbuf *json, const struct worker_view *worker)
{
	const struct session_figures *figures = &worker->figures;

	strbuf_addstr(json, ",\"pool\":");
	strbuf_json(json, worker->pool);
	strbuf_addstr(json, ",\"node\":");
	strbuf_json(json, worker->node);
	strbuf_printf(json, ",\"hosts\":%d,\"busy\":%d,\"rate\":%.2f,\"leaving\":%s}",
		      figures->hosts, figures->busy, figures->rate_per_s,
		      figures->leaving ? "true" : "false");
}

static void answer_workers(struct exchange *exchange)
{
	const struct workers *workers = exchange->own;
	struct strbuf json;

	if (exchange->task.rc < 0) {
		exchange_refuse_store(exchange, &exchange->task.error);
		return;
	}
	strbuf_init(&json);
	strbuf_addstr(&json, "{\"items\":[");
	for (size_t i = 0; i < workers->count; i++) {
		strbuf_addstr(&json, i ? ",{\"id\":" : "{\"id\":");
		job_json_id(&json, &workers->views[i].session);
		strbuf_addstr(&json, ",\"host\":");
		strbuf_json(&json, workers->views[i].host);
		strbuf_printf(&json, ",\"pid\":%d", workers->views[i].pid);
		add_figures(&json, &workers->views[i]);
	}
	strbuf_addstr(&json, "]}");
	exchange_answer(exchange, 200, &json);
}

void list_workers(struct exchange *exchange)
{
	exchange->own = ARENA_NEW(exchange_arena(exchange), struct workers);
	if (exchange_check_params(exchange, NULL, 0))
		exchange_ask(exchange, ask_workers, answer_workers);
}
