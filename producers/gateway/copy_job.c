/* SPDX-License-Identifier: Apache-2.0 */
/* POST /v1/jobs/{id}/copy: a new job with the payload and the options of an old one. Members of the
 * body take the place of the old ones. Key and id of the old job are not copied: they would only
 * find it again. */
#include <stdio.h>
#include <string.h>

#include "common/base/clock.h"
#include "producers/gateway/enqueue.h"
#include "producers/gateway/routes.h"

struct copy {
	struct strbuf text; /* the new request, moved into the arena when it is complete */
	struct json_slice body;
	size_t members;
};

static void begin_member(struct copy *copy, const char *name)
{
	strbuf_addstr(&copy->text, copy->members++ ? ",\"" : "\"");
	strbuf_addstr(&copy->text, name);
	strbuf_addstr(&copy->text, "\":");
}

static bool overridden(const struct copy *copy, const char *name)
{
	return copy->body.bytes > 0 && json_slice_get(copy->body, name).bytes > 0;
}

static void keep_text(struct copy *copy, const char *name, const char *text)
{
	if (!text || overridden(copy, name))
		return;
	begin_member(copy, name);
	strbuf_json(&copy->text, text);
}

static void keep_raw(struct copy *copy, const char *name, const char *json, size_t bytes)
{
	if (!json || overridden(copy, name))
		return;
	begin_member(copy, name);
	strbuf_add(&copy->text, json, bytes);
}

static void add_body_members(struct copy *copy)
{
	const char *cursor = NULL;
	struct json_member member;

	if (copy->body.bytes == 0)
		return;
	while (json_slice_next(copy->body, &cursor, &member) == 1) {
		strbuf_addstr(&copy->text, copy->members++ ? ",\"" : "\"");
		strbuf_add(&copy->text, member.key.text, member.key.bytes);
		strbuf_addstr(&copy->text, "\":");
		strbuf_add(&copy->text, member.value.text, member.value.bytes);
	}
}

static void add_old_members(struct copy *copy, const struct job_view *old)
{
	char number[24];

	keep_text(copy, "type", old->type);
	keep_raw(copy, "payload", old->payload, old->payload_bytes);
	keep_text(copy, "queue", old->queue);
	keep_text(copy, "priority", job_priority_name(old->priority));
	keep_text(copy, "order_key", old->order_key);
	keep_text(copy, "fair_key", old->fair_key);
	keep_text(copy, "callback_url", old->callback);
	keep_raw(copy, "tags", old->tags, old->tags ? strlen(old->tags) : 0);
	if (old->timeout_ms > 0)
		keep_text(copy, "timeout", duration_format(old->timeout_ms, number));
	if (old->max_attempts > 0) {
		snprintf(number, sizeof(number), "%d", old->max_attempts);
		keep_raw(copy, "max_attempts", number, strlen(number));
	}
}

static void copy_found(struct exchange *exchange)
{
	struct copy copy = { .members = 0 };
	struct json_slice request, key_text;
	struct json_error error;

	if (exchange->task.rc < 0) {
		exchange_refuse_store(exchange, &exchange->task.error);
		return;
	}
	key_text.text = request_body(exchange->request, &key_text.bytes);
	if (exchange->body)
		copy.body = key_text;
	strbuf_init(&copy.text);
	strbuf_addch(&copy.text, '{');
	add_body_members(&copy);
	add_old_members(&copy, &exchange->view);
	strbuf_addch(&copy.text, '}');
	request.bytes = copy.text.len;
	request.text = arena_strndup(exchange_arena(exchange), copy.text.data, copy.text.len);
	strbuf_release(&copy.text);
	if (exchange->body)
		json_decref(exchange->body);
	exchange->body = json_text_parse(request.text, request.bytes, &error);
	if (!exchange->body) {
		exchange_refuse(exchange, 422, "invalid", error.message);
		return;
	}
	/* The key covers which job is copied as well. */
	key_text.text = arena_printf(exchange_arena(exchange), "%s\n%.*s", exchange->part,
				     (int)key_text.bytes, key_text.text);
	key_text.bytes = strlen(key_text.text);
	enqueue_one(exchange, request, exchange->body, key_text);
}

void copy_job(struct exchange *exchange)
{
	static const char *const params[] = { "wait" };
	size_t bytes;

	request_body(exchange->request, &bytes);
	if (!exchange_check_params(exchange, params, ARRAY_LEN(params)) ||
	    !exchange_parse_wait(exchange) || !exchange_parse_id(exchange) ||
	    (bytes > 0 && !exchange_parse_body(exchange)))
		return;
	if (exchange->body && !json_is_object(exchange->body)) {
		exchange_refuse_at(exchange, 422, "invalid", "", "expected an object");
		return;
	}
	exchange_ask_job(exchange, copy_found);
}
