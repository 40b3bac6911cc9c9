/* SPDX-License-Identifier: Apache-2.0 */
/* GET /v1/webhooks/disabled and POST /v1/webhooks/enable: addresses that answered 410, to which
 * nothing is sent until an operator says so. */
#include "common/base/clock.h"
#include "common/job/webhook.h"
#include "common/store/endpoint.h"
#include "producers/gateway/exchange.h"
#include "producers/gateway/job_json.h"
#include "producers/gateway/routes.h"

struct disabled {
	struct endpoint_view *views;
	size_t count;
};

static int ask_disabled(struct exchange *exchange, struct store *store, struct error *err_r)
{
	struct disabled *disabled = exchange->own;

	return endpoint_disabled(store, exchange_arena(exchange), &disabled->views,
				 &disabled->count, err_r);
}

static void answer_disabled(struct exchange *exchange)
{
	const struct disabled *disabled = exchange->own;
	char since[CLOCK_TEXT];
	struct strbuf json;

	if (exchange->task.rc < 0) {
		exchange_refuse_store(exchange, &exchange->task.error);
		return;
	}
	strbuf_init(&json);
	strbuf_addstr(&json, "{\"items\":[");
	for (size_t i = 0; i < disabled->count; i++) {
		const struct endpoint_view *view = &disabled->views[i];

		strbuf_addstr(&json, i ? ",{\"url\":" : "{\"url\":");
		strbuf_json(&json, view->url);
		strbuf_printf(&json,
			      ",\"since\":\"%s\",\"job\":", clock_format(view->since_ms, since));
		job_json_id(&json, &view->job);
		strbuf_addch(&json, '}');
	}
	strbuf_addstr(&json, "]}");
	exchange_answer(exchange, 200, &json);
}

void list_disabled_webhooks(struct exchange *exchange)
{
	exchange->own = ARENA_NEW(exchange_arena(exchange), struct disabled);
	if (exchange_check_params(exchange, NULL, 0))
		exchange_ask(exchange, ask_disabled, answer_disabled);
}

static int ask_enable(struct exchange *exchange, struct store *store, struct error *err_r)
{
	return endpoint_enable(store, exchange->own,
			       exchange_audit(exchange, "webhook.enable", exchange->own, NULL),
			       err_r);
}

static void enable_answered(struct exchange *exchange)
{
	struct strbuf json;

	if (exchange->task.rc < 0 && exchange->task.error.code == ERROR_NOT_FOUND) {
		exchange_refuse(exchange, 404, "unknown-address", "that address is not disabled");
		return;
	}
	if (exchange->task.rc < 0) {
		exchange_refuse_store(exchange, &exchange->task.error);
		return;
	}
	strbuf_init(&json);
	strbuf_addstr(&json, "{\"url\":");
	strbuf_json(&json, exchange->own);
	strbuf_addstr(&json, ",\"disabled\":false}");
	exchange_answer(exchange, 200, &json);
}

void enable_webhook(struct exchange *exchange)
{
	static const char *const members[] = { "url" };
	const json_t *url;

	if (!exchange_check_params(exchange, NULL, 0) || !exchange_parse_body(exchange) ||
	    !exchange_check_members(exchange, members, ARRAY_LEN(members)))
		return;
	url = json_object_get(exchange->body, "url");
	if (!json_is_string(url) || json_string_length(url) > WEBHOOK_URL_MAX) {
		exchange_refuse_at(exchange, 422, "invalid", "/url",
				   "expected an address as GET /v1/webhooks/disabled shows it");
		return;
	}
	exchange->own = arena_strdup(exchange_arena(exchange), json_string_value(url));
	exchange_ask(exchange, ask_enable, enable_answered);
}
