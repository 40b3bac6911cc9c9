/* SPDX-License-Identifier: Apache-2.0 */
/* Calls to third parties: at most one success per (job, step). The idempotency key is made of both
 * and never of the attempt; an answer that a retry would not change becomes a receipt and is
 * returned from then on without a call. */
#include "workers/engine/engine_impl.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/base/arena.h"
#include "common/base/clock.h"
#include "common/base/digest.h"
#include "common/base/utf8.h"
#include "workers/remote/call_template.h"

#define CALL_TIMEOUT_MS 30000
#define KEY_HEADER      "Idempotency-Key"

static const struct receipt *receipt_of(const struct task *task, const char *step)
{
	for (size_t i = 0; i < task->receipt_count; i++) {
		if (!strcmp(task->receipts[i].step, step))
			return &task->receipts[i];
	}
	return NULL;
}

/* A 2xx, or a 4xx that says the same next time. */
static bool worth_keeping(int status)
{
	return status / 100 == 2 ||
	       (status / 100 == 4 && status != 408 && status != 425 && status != 429);
}

static void keep_receipt(struct task *task, const char *step, const struct answer *answer)
{
	struct arena *arena = task->job->arena;
	struct receipt *all = ARENA_ARRAY(arena, struct receipt, task->receipt_count + 1);

	if (task->receipt_count)
		memcpy(all, task->receipts, task->receipt_count * sizeof(*all));
	all[task->receipt_count] = (struct receipt){
		.step = step,
		.status = answer->status,
		.body = arena_strndup(arena, answer->body, answer->body_bytes),
		.body_bytes = answer->body_bytes,
	};
	task->receipts = all;
	task->receipt_count++;
}

static void add_body(struct strbuf *members, struct arena *arena, const char *body, size_t bytes)
{
	if (utf8_text(body, bytes)) {
		strbuf_json_n(members, body, bytes);
		return;
	}
	strbuf_addstr(members, "{\"base64\":");
	strbuf_json(members, base64_encode(arena, body, bytes));
	strbuf_addch(members, '}');
}

static void add_members(struct strbuf *members, struct arena *arena, enum remote_fate fate,
			int status, const char *body, size_t body_bytes, const char *error)
{
	static const char *const names[] = {
		[REMOTE_ANSWERED] = "answered",
		[REMOTE_NOT_SENT] = "not_sent",
		[REMOTE_UNKNOWN] = "unknown",
	};

	strbuf_printf(members, "\"fate\":\"%s\",\"status\":%d,\"body\":", names[fate], status);
	add_body(members, arena, body, body_bytes);
	strbuf_addstr(members, ",\"error\":");
	if (fate == REMOTE_ANSWERED && status >= 400)
		strbuf_printf(members, "\"status %d\"", status);
	else
		strbuf_json(members, fate == REMOTE_ANSWERED ? "" : error);
}

void calls_answered(struct hand *hand, const struct open_ask *open, const struct answer *answer,
		    struct strbuf *members)
{
	struct task *task = &hand->task;
	const char *step = open->ask->call.step;

	if (answer->fate == REMOTE_ANSWERED && worth_keeping(answer->status) &&
	    !receipt_of(task, step))
		keep_receipt(task, step, answer);
	add_members(members, task->job->arena, answer->fate, answer->status,
		    answer->body ? answer->body : "", answer->body_bytes, answer->error);
}

static struct answer *answer_of(struct open_ask *open, enum remote_fate fate, int status,
				const char *error)
{
	struct answer *answer = xcalloc(1, sizeof(*answer));

	answer->open = open;
	answer->fate = fate;
	answer->status = status;
	answer->error = xstrdup(error);
	strbuf_init(&answer->members);
	return answer;
}

struct call_context { /* what the remote's thread needs */
	struct engine *engine;
	struct open_ask *open;
};

/* On the remote's thread. */
static void call_done(void *ctx, const struct remote_reply *reply)
{
	struct call_context *call = ctx;
	struct answer *answer = answer_of(call->open, reply->fate, reply->status, reply->error);

	answer->body = xmalloc(reply->body_bytes + 1);
	memcpy(answer->body, reply->body, reply->body_bytes + 1);
	answer->body_bytes = reply->body_bytes;
	CHECK(mailbox_send(call->engine->answers, answer));
	free(call);
}

static void not_sent(struct engine *engine, struct open_ask *open, const char *why)
{
	CHECK(mailbox_send(engine->answers, answer_of(open, REMOTE_NOT_SENT, 0, why)));
}

static bool same_step_under_way(const struct open_ask *open)
{
	for (struct list *at = open->hand->asks.next; at != &open->hand->asks; at = at->next) {
		const struct open_ask *other = list_entry(at, struct open_ask, link);

		if (other != open && other->call &&
		    !strcmp(other->ask->call.step, open->ask->call.step))
			return true;
	}
	return false;
}

static bool has_own_key(const char *const *headers)
{
	for (; *headers; headers++) {
		if (!strncasecmp(*headers, KEY_HEADER ":", strlen(KEY_HEADER ":")))
			return true;
	}
	return false;
}

/* ms that are left for the call; <= 0: none. */
static int64_t time_left_ms(const struct task *task, const struct task_call *call)
{
	int64_t wanted_ms = call->timeout_ms > 0 ? call->timeout_ms : CALL_TIMEOUT_MS;
	int64_t left_ms = task->timeout_ms - (clock_mono_ns() - task->started_ns) / 1000000;

	return task->started_ns && task->timeout_ms && left_ms < wanted_ms ? left_ms : wanted_ms;
}

static void send_call(struct engine *engine, struct open_ask *open,
		      const struct remote_request *request)
{
	struct call_context *context = xmalloc(sizeof(*context));

	*context = (struct call_context){ .engine = engine, .open = open };
	remote_start(engine->o.remote, request, call_done, context, &open->call);
}

static void prepare_call(struct engine *engine, struct open_ask *open)
{
	const struct task_call *call = &open->ask->call;
	struct task *task = &open->hand->task;
	struct remote_request request = {
		.method = call->method,
		.body = call->body,
		.body_bytes = call->body_bytes,
		.response_bytes_max = ANSWER_BYTES_MAX,
	};
	char key[UUID_TEXT];
	struct uuid id;
	struct error error;
	int64_t left_ms = time_left_ms(task, call);
	bool fixed;

	request.url =
		call_template_url(task->job->arena, call->url, task->type->env, &fixed, &error);
	request.guarded = !fixed && !task->type->calls_anywhere;
	request.plain_http = task->type->plain_http;
	if (request.url)
		request.headers = call_template_headers(task->job->arena, call->headers,
							task->type->env, &error);
	if (!request.url || !request.headers) {
		asks_fail(engine, open, error.message);
		return;
	}
	if (left_ms <= 0) {
		not_sent(engine, open, "no time is left for a call");
		return;
	}
	request.timeout_ms = left_ms < INT32_MAX ? (int)left_ms : INT32_MAX;
	uuid_named(&task->job->id, call->step, strlen(call->step), &id);
	request.idempotency_key = has_own_key(request.headers) ? NULL : uuid_format(&id, key);
	send_call(engine, open, &request);
}

void calls_start(struct engine *engine, struct open_ask *open)
{
	const struct receipt *receipt = receipt_of(&open->hand->task, open->ask->call.step);
	struct answer *answer;

	if (same_step_under_way(open)) {
		asks_fail(engine, open, "a call of this step is under way");
		return;
	}
	if (!receipt) {
		prepare_call(engine, open);
		return;
	}
	answer = answer_of(open, REMOTE_ANSWERED, receipt->status, "");
	answer->body = xmalloc(receipt->body_bytes + 1);
	memcpy(answer->body, receipt->body, receipt->body_bytes);
	answer->body[receipt->body_bytes] = 0;
	answer->body_bytes = receipt->body_bytes;
	CHECK(mailbox_send(engine->answers, answer));
}
