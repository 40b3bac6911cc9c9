/* SPDX-License-Identifier: Apache-2.0 */
/* Calls to third parties: at most one success per (job, step). The idempotency key is made of both
 * and never of the attempt; an answer that a retry would not change becomes a receipt and is
 * returned from then on without a call. Where an unknown fate must not lead to a second request, an
 * intent is committed before the first byte, and whoever finds it later asks (`lookup`) or leaves
 * it to a person (`park`). */
#include "workers/engine/engine_impl.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/base/arena.h"
#include "common/base/clock.h"
#include "common/base/digest.h"
#include "common/base/failpoint.h"
#include "common/base/utf8.h"
#include "workers/engine/http_job.h"
#include "workers/handlers/http_handler.h"
#include "workers/remote/call_template.h"

#define CALL_TIMEOUT_MS 30000
#define KEY_HEADER      "Idempotency-Key"

/* The newest that is known. */
static const struct receipt *receipt_of(const struct task *task, const char *step)
{
	for (size_t i = task->receipt_count; i-- > 0;) {
		if (!strcmp(task->receipts[i].step, step))
			return &task->receipts[i];
	}
	return NULL;
}

static bool has_intent(const struct task *task, const char *step)
{
	const struct receipt *receipt = receipt_of(task, step);

	return receipt && receipt->status == RECEIPT_INTENT;
}

/* A 2xx, or a 4xx that says the same next time. */
static bool worth_keeping(const struct open_ask *open, int status)
{
	if (open->http)
		return status_set_has(&open->http->rules->ok, status);
	return status / 100 == 2 ||
	       (status / 100 == 4 && status != 408 && status != 425 && status != 429);
}

/* In the next transaction of the job each step has one. The array may be with the effects thread:
 * it is left as it is, and what is there is not what will be said of the step. */
static void put_receipt(struct task *task, const struct receipt *receipt)
{
	struct arena *arena = task->job->arena;
	struct receipt *all = ARENA_ARRAY(arena, struct receipt, task->receipt_count + 1);
	size_t at = task->receipts_taken;

	if (task->receipt_count)
		memcpy(all, task->receipts, task->receipt_count * sizeof(*all));
	while (at < task->receipt_count && strcmp(all[at].step, receipt->step) != 0)
		at++;
	all[at] = *receipt;
	task->receipts = all;
	task->receipt_count += at == task->receipt_count;
}

static void keep_receipt(struct task *task, const char *step, const struct answer *answer)
{
	const struct receipt receipt = {
		.step = step,
		.status = answer->status,
		.body = arena_strndup(task->job->arena, answer->body, answer->body_bytes),
		.body_bytes = answer->body_bytes,
	};

	put_receipt(task, &receipt);
}

void calls_add_intent(struct open_ask *open)
{
	const struct receipt intent = { .step = open->ask->call.step, .status = RECEIPT_INTENT };

	put_receipt(&open->hand->task, &intent);
}

static bool said_again(const struct task *task, size_t at)
{
	for (size_t i = at + 1; i < task->receipt_count; i++) {
		if (!strcmp(task->receipts[i].step, task->receipts[at].step))
			return true;
	}
	return false;
}

void calls_receipts_taken(struct task *task, struct completion *completion)
{
	completion->receipts = task->receipts + task->receipts_saved;
	completion->receipt_count = task->receipt_count - task->receipts_saved;
	task->receipts_taken = task->receipt_count;
}

void calls_receipts_back(struct task *task, bool committed)
{
	size_t kept = task->receipts_saved;

	if (committed) {
		task->receipts_saved = task->receipts_taken;
		return;
	}
	for (size_t i = kept; i < task->receipt_count; i++) {
		if (!said_again(task, i))
			task->receipts[kept++] = task->receipts[i];
	}
	task->receipt_count = kept;
	task->receipts_taken = task->receipts_saved;
}

static void drop_intent(struct task *task, const char *step)
{
	const struct receipt none = { .step = step, .status = RECEIPT_NOT_SENT };

	put_receipt(task, &none);
}

/* ---- the answer */

void calls_add_body(struct strbuf *out, const char *body, size_t bytes)
{
	if (utf8_text(body, bytes))
		strbuf_json_n(out, body, bytes);
	else
		base64_json(out, body, bytes);
}

static void add_members(struct strbuf *members, enum remote_fate fate, int status, const char *body,
			size_t body_bytes, const char *error)
{
	static const char *const names[] = {
		[REMOTE_ANSWERED] = "answered",
		[REMOTE_NOT_SENT] = "not_sent",
		[REMOTE_UNKNOWN] = "unknown",
	};

	strbuf_printf(members, "\"fate\":\"%s\",\"status\":%d,\"body\":", names[fate], status);
	calls_add_body(members, body, body_bytes);
	strbuf_addstr(members, ",\"error\":");
	if (fate == REMOTE_ANSWERED && status >= 400)
		strbuf_printf(members, "\"status %d\"", status);
	else
		strbuf_json(members, fate == REMOTE_ANSWERED ? "" : error);
}

/* Nobody may send it again: the job waits for somebody who knows. */
static void park(struct hand *hand, const struct open_ask *open, const struct answer *answer)
{
	struct arena *arena = hand->task.job->arena;
	const char *what = answer->fate == REMOTE_ANSWERED
				   ? arena_printf(arena, "status %d", answer->status)
				   : answer->error;

	hand->park = arena_printf(arena, "call `%s` was sent and its fate is unknown: %s",
				  open->ask->call.step, what);
}

/* What becomes of the intent: an answer that is kept overwrites it by itself. */
static void close_intent(struct hand *hand, const struct open_ask *open,
			 const struct answer *answer)
{
	bool known = answer->fate == REMOTE_NOT_SENT;

	if (!has_intent(&hand->task, open->ask->call.step))
		return;
	if (open->http && answer->fate == REMOTE_ANSWERED)
		known = !status_set_has(&open->http->rules->retry, answer->status);
	if (known)
		drop_intent(&hand->task, open->ask->call.step);
	else if (open->policy == CALL_PARK)
		park(hand, open, answer);
}

void calls_answered(struct hand *hand, const struct open_ask *open, const struct answer *answer,
		    struct strbuf *members)
{
	struct task *task = &hand->task;
	const char *step = open->ask->call.step;
	const struct receipt *receipt = receipt_of(task, step);

	if (answer->fate == REMOTE_ANSWERED &&
	    (answer->found || worth_keeping(open, answer->status))) {
		if (!receipt || receipt->status <= 0)
			keep_receipt(task, step, answer);
	} else {
		close_intent(hand, open, answer);
	}
	if (!open->http)
		add_members(members, answer->fate, answer->status, answer->body ? answer->body : "",
			    answer->body_bytes, answer->error);
}

static struct answer *answer_of(struct open_ask *open, enum remote_fate fate, int status,
				const char *error)
{
	struct answer *answer = xcalloc(1, sizeof(*answer));

	answer->open = open;
	answer->fate = fate;
	answer->status = status;
	answer->error = xstrdup(error);
	answer->retry_after_ms = -1;
	strbuf_init(&answer->members);
	return answer;
}

static void not_sent(struct engine *engine, struct open_ask *open, const char *why)
{
	CHECK(mailbox_send(engine->answers, answer_of(open, REMOTE_NOT_SENT, 0, why)));
}

static void answer_from_receipt(struct engine *engine, struct open_ask *open,
				const struct receipt *receipt)
{
	struct answer *answer = answer_of(open, REMOTE_ANSWERED, receipt->status, "");

	answer->body = xmalloc(receipt->body_bytes + 1);
	memcpy(answer->body, receipt->body, receipt->body_bytes);
	answer->body[receipt->body_bytes] = 0;
	answer->body_bytes = receipt->body_bytes;
	answer->found = true;
	CHECK(mailbox_send(engine->answers, answer));
}

/* ---- sending */

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
	answer->retry_after_ms = reply->retry_after_ms;
	answer->held = reply->held;
	answer->refused = reply->refused;
	CHECK(mailbox_send(call->engine->answers, answer));
	free(call);
}

/* ms that are left for the call; <= 0: none. */
static int64_t time_left_ms(const struct task *task, const struct task_call *call)
{
	int64_t wanted_ms = call->timeout_ms > 0 ? call->timeout_ms : CALL_TIMEOUT_MS;
	int64_t left_ms = task->timeout_ms - (clock_mono_ns() - task->started_ns) / 1000000;

	return task->started_ns && task->timeout_ms && left_ms < wanted_ms ? left_ms : wanted_ms;
}

static void send_call(struct engine *engine, struct open_ask *open, struct remote_request *request)
{
	int64_t left_ms = time_left_ms(&open->hand->task, &open->ask->call);
	struct call_context *context;

	if (left_ms <= 0 || !engine->o.remote) {
		not_sent(engine, open,
			 left_ms <= 0 ? "no time is left for a call" : "the worker is stopping");
		return;
	}
	context = xmalloc(sizeof(*context));
	*context = (struct call_context){ .engine = engine, .open = open };
	request->timeout_ms = left_ms < INT32_MAX ? (int)left_ms : INT32_MAX;
	request->response_bytes_max = ANSWER_BYTES_MAX;
	remote_start(engine->o.remote, request, call_done, context, &open->call);
}

static bool has_own_key(const char *const *headers)
{
	for (; *headers; headers++) {
		if (!strncasecmp(*headers, KEY_HEADER ":", strlen(KEY_HEADER ":")))
			return true;
	}
	return false;
}

const char *calls_key(struct arena *arena, const struct uuid *job, const char *step)
{
	char key[UUID_TEXT];
	struct uuid id;

	uuid_named(job, step, strlen(step), &id);
	return arena_strdup(arena, uuid_format(&id, key));
}

static const char *key_of(const struct open_ask *open, const char *const *headers)
{
	const struct http_call *http = open->http;
	const struct claimed_job *job = open->hand->task.job;

	if (has_own_key(headers))
		return NULL;
	if (http && http->idempotency_key)
		return *http->idempotency_key ? http->idempotency_key : NULL;
	return calls_key(job->arena, &job->id, open->ask->call.step);
}

/* ${env.X} of a handler's own request; a declared one is complete. */
static int expand(const struct open_ask *open, struct remote_request *request, struct error *err_r)
{
	const struct task_call *call = &open->ask->call;
	struct task *task = &open->hand->task;
	bool fixed;

	request->url = call->url;
	request->headers = call->headers;
	if (open->http)
		return 0;
	request->headers =
		call_template_headers(task->job->arena, call->headers, task->type->env, err_r);
	if (!request->headers)
		return -1;
	request->url =
		call_template_url(task->job->arena, call->url, task->type->env, &fixed, err_r);
	request->guarded = !fixed && !task->type->calls_anywhere;
	request->plain_http = task->type->plain_http;
	request->trusts_targets = true;
	return request->url ? 0 : -1;
}

/* With a key the remote may send a call again by itself, on another connection (remote.h); as a
 * header like any other it does not give that permission. */
static void hide_key(struct arena *arena, struct remote_request *request)
{
	const char **headers;
	size_t count = 0;

	while (request->headers[count])
		count++;
	headers = ARENA_ARRAY(arena, const char *, count + 2);
	memcpy(headers, request->headers, count * sizeof(*headers));
	headers[count] = arena_printf(arena, KEY_HEADER ": %s", request->idempotency_key);
	request->headers = headers;
	request->idempotency_key = NULL;
}

static int make_request(struct open_ask *open, struct remote_request *request_r,
			struct error *err_r)
{
	const struct task_call *call = &open->ask->call;

	*request_r = (struct remote_request){
		.method = call->method,
		.body = call->body,
		.body_bytes = call->body_bytes,
		.target = open->http ? open->http->target : NULL,
		.guarded = open->http && open->http->guarded,
		.plain_http = open->http && open->http->plain_http,
		.again = open->hand->task.job->failures > 0,
	};
	if (expand(open, request_r, err_r) < 0)
		return -1;
	request_r->idempotency_key = key_of(open, request_r->headers);
	if (open->policy != CALL_RESEND_SAME_KEY && request_r->idempotency_key)
		hide_key(open->hand->task.job->arena, request_r);
	return 0;
}

static void send_request(struct engine *engine, struct open_ask *open)
{
	struct remote_request request;
	struct error error;

	if (make_request(open, &request, &error) < 0)
		asks_fail(engine, open, error.message);
	else
		send_call(engine, open, &request);
}

/* ---- policies */

/* The declared target of a handler's own call; NULL: none, or none with a policy. */
static const struct target_definition *target_of(const struct open_ask *open)
{
	const struct task *task = &open->hand->task;
	const struct target_definition *best = NULL;
	size_t best_bytes = 0, bytes = 0;
	struct error ignored;
	const char *url = NULL;
	bool fixed;

	for (size_t i = 0; i < definitions_target_count(task->defs); i++) {
		const struct target_definition *target = definitions_target_at(task->defs, i);
		const char *base;

		if (target->own)
			continue;
		if (!url)
			url = call_template_url(task->job->arena, open->ask->call.url,
						task->type->env, &fixed, &ignored);
		base = url ? call_template_expand(task->job->arena, target->url, target->env,
						  &ignored)
			   : NULL;
		if (base && remote_is_below(url, base, &bytes) && (!best || bytes > best_bytes)) {
			best = target;
			best_bytes = bytes;
		}
	}
	return best;
}

static bool any_policy(const struct definitions *defs)
{
	for (size_t i = 0; i < definitions_target_count(defs); i++) {
		if (definitions_target_at(defs, i)->ambiguous != CALL_RESEND_SAME_KEY)
			return true;
	}
	return false;
}

static void find_policy(struct open_ask *open)
{
	const char *method = open->ask->call.method;

	if (open->http) {
		open->policy = open->http->rules->ambiguous;
		return;
	}
	if (!strcmp(method, "GET") || !strcmp(method, "HEAD") || !any_policy(open->hand->task.defs))
		return;
	open->target = target_of(open);
	if (open->target)
		open->policy = open->target->ambiguous;
}

/* ---- look-ups */

static void look_up(struct engine *engine, struct open_ask *open)
{
	static const char *const no_headers[] = { NULL };
	const struct claimed_job *job = open->hand->task.job;
	struct remote_request request = { .method = "GET", .headers = no_headers };
	struct error error;

	if (open->http) {
		request.url = open->http->lookup_url;
		request.headers = open->http->lookup_headers;
		request.target = open->http->target;
		request.guarded = open->http->guarded;
		request.plain_http = open->http->plain_http;
	} else {
		request.url = http_handler_text(
			&open->target->lookup_url, job,
			calls_key(job->arena, &job->id, open->ask->call.step), &error);
	}
	if (!request.url) {
		asks_fail(engine, open, error.message);
		return;
	}
	open->asking = true;
	send_call(engine, open, &request);
}

bool calls_looked_up(struct engine *engine, struct open_ask *open, struct answer *answer)
{
	const struct hand *hand = open->hand;
	char error[300];

	open->asking = false;
	open->call = 0;
	answer->found = answer->fate == REMOTE_ANSWERED && answer->status / 100 == 2;
	if (answer->found)
		return false;
	if (answer->fate == REMOTE_ANSWERED && answer->status == 404 && !hand->ended &&
	    !hand->task.cancel) {
		send_request(engine, open);
		return true;
	}
	if (answer->fate == REMOTE_ANSWERED)
		snprintf(error, sizeof(error), "the look-up was answered with status %d",
			 answer->status);
	else
		snprintf(error, sizeof(error), "the look-up failed: %s", answer->error);
	free(answer->error);
	answer->error = xstrdup(error);
	answer->fate = REMOTE_UNKNOWN; /* as it was */
	answer->held = false;
	return false;
}

/* ---- from the beginning */

static bool same_step_under_way(const struct open_ask *open)
{
	for (struct list *at = open->hand->asks.next; at != &open->hand->asks; at = at->next) {
		const struct open_ask *other = list_entry(at, struct open_ask, link);

		if (other != open && other->called &&
		    !strcmp(other->ask->call.step, open->ask->call.step))
			return true;
	}
	return false;
}

void calls_intent_back(struct engine *engine, struct open_ask *open)
{
	struct hand *hand = open->hand;
	bool committed = open->completion->fate == COMPLETION_COMMITTED;

	open->stored = false;
	if (!committed)
		drop_intent(&hand->task, open->ask->call.step);
	if (!committed || FAILPOINT("after_intent_commit"))
		not_sent(engine, open, "what it is going to do could not be written down");
	else if (hand->ended || hand->lost || hand->task.cancel)
		not_sent(engine, open, "the attempt is over");
	else
		send_request(engine, open);
	asks_start_next(engine, hand);
}

/* An earlier attempt was about to send it. */
static void resume(struct engine *engine, struct open_ask *open)
{
	if (open->policy == CALL_LOOKUP)
		look_up(engine, open);
	else if (open->policy == CALL_PARK)
		CHECK(mailbox_send(engine->answers,
				   answer_of(open, REMOTE_UNKNOWN, 0,
					     "an earlier attempt has left no answer")));
	else
		send_request(engine, open);
}

/* What cannot be sent must not leave an intent: the next attempt would take it for sent. */
static void start_with_intent(struct engine *engine, struct open_ask *open)
{
	struct remote_request request;
	struct error error;

	if (make_request(open, &request, &error) < 0) {
		asks_fail(engine, open, error.message);
		return;
	}
	open->stored = true;
	asks_start_next(engine, open->hand);
}

void calls_start(struct engine *engine, struct open_ask *open)
{
	const struct task *task = &open->hand->task;
	const char *step = open->ask->call.step;
	const struct receipt *receipt = receipt_of(task, step);

	if (same_step_under_way(open)) {
		asks_fail(engine, open, "a call of this step is under way");
		return;
	}
	open->called = true;
	find_policy(open);
	if (receipt && receipt->status > 0) {
		answer_from_receipt(engine, open, receipt);
	} else if (has_intent(task, step)) {
		resume(engine, open);
	} else if (open->policy == CALL_RESEND_SAME_KEY) {
		send_request(engine, open);
	} else {
		start_with_intent(engine, open);
	}
}
