/* SPDX-License-Identifier: Apache-2.0 */
/* GET /v1/audit: who changed what, newest first. And what a handler that changes something hands to
 * the store for it. */
#include "common/store/audit.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/base/clock.h"
#include "producers/gateway/exchange.h"
#include "producers/gateway/routes.h"

#define LIMIT_DEFAULT 50

struct audit *exchange_audit(struct exchange *exchange, const char *action, const char *object,
			     const char *detail)
{
	struct audit *audit = ARENA_NEW(exchange_arena(exchange), struct audit);

	*audit = (struct audit){
		.who = exchange->caller == caller_anybody() ? "operator" : exchange->caller->id,
		.action = action,
		.object = object,
		.detail = detail,
	};
	return audit;
}

struct page {
	struct audit_filter filter;
	struct audit_view *views;
	size_t count;
};

static bool parse_number(const char *text, int64_t max, int64_t *number_r)
{
	char *end;
	long long number = strtoll(text, &end, 10);

	if (*text < '0' || *text > '9' || *end || number < 1 || number > max)
		return false;
	*number_r = number;
	return true;
}

static bool parse_filter(struct exchange *exchange, struct audit_filter *filter)
{
	const struct target *target = request_target(exchange->request);
	const char *limit = target_param(target, "limit");
	const char *cursor = target_param(target, "cursor");
	int64_t number = LIMIT_DEFAULT;

	filter->who = target_param(target, "who");
	filter->action = target_param(target, "action");
	filter->object = target_param(target, "object");
	if (limit && !parse_number(limit, AUDIT_LIMIT_MAX, &number)) {
		exchange_refuse(exchange, 400, "bad-parameter", "limit is a number from 1 to 1000");
		return false;
	}
	filter->limit = (size_t)number;
	if (cursor && !parse_number(cursor, INT64_MAX, &filter->before)) {
		exchange_refuse(exchange, 400, "bad-parameter", "this cursor is not one of ours");
		return false;
	}
	return true;
}

static int ask_page(struct exchange *exchange, struct store *store, struct error *err_r)
{
	struct page *page = exchange->own;

	return audit_list(store, &page->filter, exchange_arena(exchange), &page->views,
			  &page->count, err_r);
}

static void add_entry(struct strbuf *json, const struct audit_view *view)
{
	char at[CLOCK_TEXT];

	strbuf_printf(json, "{\"at\":\"%s\",\"who\":", clock_format(view->at_ms, at));
	strbuf_json(json, view->who);
	strbuf_addstr(json, ",\"action\":");
	strbuf_json(json, view->action);
	strbuf_addstr(json, ",\"object\":");
	strbuf_json(json, view->object);
	strbuf_addstr(json, ",\"detail\":");
	strbuf_addstr(json, view->detail ? view->detail : "null");
	strbuf_addch(json, '}');
}

static void answer_page(struct exchange *exchange)
{
	const struct page *page = exchange->own;
	struct strbuf json;

	if (exchange->task.rc < 0) {
		exchange_refuse_store(exchange, &exchange->task.error);
		return;
	}
	strbuf_init(&json);
	strbuf_addstr(&json, "{\"items\":[");
	for (size_t i = 0; i < page->count; i++) {
		if (i)
			strbuf_addch(&json, ',');
		add_entry(&json, &page->views[i]);
	}
	strbuf_addstr(&json, "],\"next_cursor\":");
	if (page->count == page->filter.limit)
		strbuf_printf(&json, "\"%" PRId64 "\"}", page->views[page->count - 1].n);
	else
		strbuf_addstr(&json, "null}");
	exchange_answer(exchange, 200, &json);
}

void list_audit(struct exchange *exchange)
{
	static const char *const params[] = { "who", "action", "object", "limit", "cursor" };
	struct page *page = ARENA_NEW(exchange_arena(exchange), struct page);

	exchange->own = page;
	if (exchange_check_params(exchange, params, ARRAY_LEN(params)) &&
	    parse_filter(exchange, &page->filter))
		exchange_ask(exchange, ask_page, answer_page);
}
