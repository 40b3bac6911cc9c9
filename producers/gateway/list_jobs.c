/* SPDX-License-Identifier: Apache-2.0 */
/* GET /v1/jobs: a page of jobs, newest first, by filters; the next page by an opaque cursor. */
#include <stdlib.h>
#include <string.h>

#include "producers/gateway/cursor.h"
#include "producers/gateway/exchange.h"
#include "producers/gateway/job_json.h"
#include "producers/gateway/routes.h"

#define LIMIT_DEFAULT 50
#define LIMIT_MAX     1000

struct page {
	struct job_filter filter;
	struct job_view *views;
	size_t count;
};

static bool bad(struct exchange *exchange, const char *detail)
{
	exchange_refuse(exchange, 400, "bad-parameter", detail);
	return false;
}

static bool parse_limit(const char *text, size_t *limit_r)
{
	char *end;
	long limit = text ? strtol(text, &end, 10) : LIMIT_DEFAULT;

	if (text && (*text < '0' || *text > '9' || *end || limit < 1 || limit > LIMIT_MAX))
		return false;
	*limit_r = (size_t)limit;
	return true;
}

static bool parse_filter(struct exchange *exchange, struct job_filter *filter)
{
	const struct target *target = request_target(exchange->request);
	const char *state = target_param(target, "state");
	const char *cursor = target_param(target, "cursor");
	const char *before = target_param(target, "before");

	filter->reach = exchange->reach;
	filter->type = target_param(target, "type");
	filter->queue = target_param(target, "queue");
	filter->tag = target_param(target, "tag");
	if (state && !job_state_parse(state, &filter->state))
		return bad(exchange, "unknown state");
	if ((filter->type && !job_name_valid(filter->type)) ||
	    (filter->queue && !job_name_valid(filter->queue)))
		return bad(exchange, "type and queue are names");
	if (!parse_limit(target_param(target, "limit"), &filter->limit))
		return bad(exchange, "limit is a number from 1 to 1000");
	if (before && (cursor || !uuid_parse(before, &filter->before)))
		return bad(exchange, "before is the id of a job, and stands without cursor");
	if (cursor && !cursor_parse(cursor, filter))
		return bad(exchange,
			   "this cursor is not one of ours, or was made for other filters");
	return true;
}

static int ask_page(struct exchange *exchange, struct store *store, struct error *err_r)
{
	struct page *page = exchange->own;

	return query_jobs(store, &page->filter, exchange_arena(exchange), &page->views,
			  &page->count, err_r);
}

static void answer_page(struct exchange *exchange)
{
	const struct page *page = exchange->own;
	char cursor[CURSOR_TEXT];
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
		job_json_write(&json, &page->views[i], exchange->defs);
	}
	strbuf_addstr(&json, "],\"next_cursor\":");
	if (page->count == page->filter.limit) {
		cursor_format(&page->filter, &page->views[page->count - 1].id, cursor);
		strbuf_json(&json, cursor);
	} else {
		strbuf_addstr(&json, "null");
	}
	strbuf_addch(&json, '}');
	exchange_answer(exchange, 200, &json);
}

void list_jobs(struct exchange *exchange)
{
	static const char *const params[] = { "state", "type",   "queue", "tag",
					      "limit", "cursor", "before" };
	struct page *page = ARENA_NEW(exchange_arena(exchange), struct page);

	exchange->own = page;
	if (exchange_check_params(exchange, params, ARRAY_LEN(params)) &&
	    parse_filter(exchange, &page->filter))
		exchange_ask(exchange, ask_page, answer_page);
}
