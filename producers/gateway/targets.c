/* SPDX-License-Identifier: Apache-2.0 */
/* GET /v1/targets: what every living worker last said of the third parties that it calls. The
 * gateway itself calls none. */
#include <jansson.h>

#include "producers/gateway/exchange.h"
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

/* A text that is no array of objects (another version's) adds nothing. */
static void add_targets(json_t *items, const struct worker_view *worker)
{
	json_t *targets = worker->targets ? json_loads(worker->targets, 0, NULL) : NULL;
	char session[UUID_TEXT];
	json_t *target;
	size_t i;

	uuid_format(&worker->session, session);
	json_array_foreach(targets, i, target)
	{
		if (!json_is_object(target))
			continue;
		json_object_set_new(target, "worker", json_string(session));
		json_object_set_new(target, "host", json_string(worker->host));
		json_object_set_new(target, "pid", json_integer(worker->pid));
		json_array_append(items, target);
	}
	json_decref(targets);
}

static void answer_targets(struct exchange *exchange)
{
	const struct workers *workers = exchange->own;
	json_t *items = json_array(), *page = json_pack("{s:o}", "items", items);
	struct strbuf json;
	char *text;

	if (exchange->task.rc < 0) {
		json_decref(page);
		exchange_refuse_store(exchange, &exchange->task.error);
		return;
	}
	for (size_t i = 0; i < workers->count; i++)
		add_targets(items, &workers->views[i]);
	text = json_dumps(page, JSON_COMPACT);
	CHECK(text);
	json_decref(page);
	strbuf_init(&json);
	strbuf_addstr(&json, text);
	free(text);
	exchange_answer(exchange, 200, &json);
}

void list_targets(struct exchange *exchange)
{
	exchange->own = ARENA_NEW(exchange_arena(exchange), struct workers);
	if (exchange_check_params(exchange, NULL, 0))
		exchange_ask(exchange, ask_workers, answer_targets);
}
