/* SPDX-License-Identifier: Apache-2.0 */
/* The operations of our own protocol. Each but ping, subscribe and unsubscribe is an inner request,
 * so what is allowed, how much, and why not is said as over REST. */
#include "producers/gateway/ws_jobs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/json/json_text.h"
#include "producers/gateway/access.h"
#include "producers/gateway/admit.h"
#include "producers/gateway/graphql_ws.h"
#include "producers/gateway/inner.h"
#include "producers/gateway/routes.h"

#define READMIT_MS    30000
#define REF_TEXT_MAX  64
#define ARENA_BYTES   1024
#define NO_REF        "null"
#define REASON_MEMBER "reason"

struct message { /* in hand */
	struct ws_socket *socket;
	struct arena *arena;
	struct json_slice text;
	json_t *root;
	const char *ref;
};

struct ask { /* an inner request under way, in its own arena */
	struct inner_request request;
	struct ws_errand errand;
	struct list link;
	struct ws_socket *socket;
	struct arena *arena;
	const char *ref, *op; /* op: of the answer */
	bool subscribe;
};

static struct ws_jobs *jobs_of(struct ws_socket *socket)
{
	return ws_socket_user(socket);
}

/* ---- saying */

void ws_jobs_say(struct ws_socket *socket, const char *op, const char *ref, const char *name,
		 const char *json, size_t json_bytes)
{
	struct strbuf out;

	strbuf_init(&out);
	strbuf_reserve(&out, json_bytes + 160);
	strbuf_addstr(&out, "{\"op\":\"");
	strbuf_addstr(&out, op);
	strbuf_addstr(&out, "\",\"ref\":");
	strbuf_addstr(&out, ref);
	if (name) {
		strbuf_addstr(&out, ",\"");
		strbuf_addstr(&out, name);
		strbuf_addstr(&out, "\":");
		strbuf_add(&out, json, json_bytes);
	}
	strbuf_addch(&out, '}');
	ws_socket_send(socket, out.data, out.len);
	strbuf_release(&out);
}

static void say_error(struct ws_socket *socket, const char *ref, const char *problem, size_t bytes,
		      int retry_after_s)
{
	struct strbuf out;

	while (bytes > 0 && problem[bytes - 1] == '\n')
		bytes--;
	strbuf_init(&out);
	strbuf_addstr(&out, "{\"op\":\"error\",\"ref\":");
	strbuf_addstr(&out, ref);
	if (retry_after_s > 0)
		strbuf_printf(&out, ",\"retry_after\":%d", retry_after_s);
	strbuf_addstr(&out, ",\"problem\":");
	strbuf_add(&out, problem, bytes);
	strbuf_addch(&out, '}');
	ws_socket_send(socket, out.data, out.len);
	strbuf_release(&out);
}

void ws_jobs_refuse(struct ws_socket *socket, const char *ref, const struct problem *problem,
		    int retry_after_s)
{
	struct strbuf text;

	strbuf_init(&text);
	problem_write(problem, &text);
	say_error(socket, ref, text.data, text.len, retry_after_s);
	strbuf_release(&text);
}

static void refuse(struct message *message, int status, const char *slug, const char *detail)
{
	struct problem problem = { .status = status, .slug = slug, .detail = detail };

	ws_jobs_refuse(message->socket, message->ref, &problem, 0);
}

/* ---- answers */

static void ask_free(struct ask *ask)
{
	struct ws_socket *socket = ask->socket;
	struct arena *arena = ask->arena;

	list_remove(&ask->link);
	inner_request_release(&ask->request);
	arena_free(&arena);
	ws_socket_give(socket);
}

/* The watch token of the answer says that this caller may see how the job goes. */
static void subscribe_accepted(struct ask *ask, struct json_slice job)
{
	struct ws_wish wish = { .ref = ask->ref };
	const char *id = json_slice_string(ask->arena, json_slice_get(job, "id"));

	wish.watch_token = json_slice_string(ask->arena, json_slice_get(job, "watch_token"));
	if (id && uuid_parse(id, &wish.id))
		ws_subscribe(ask->socket, &wish);
}

static void say_answer(struct ask *ask)
{
	struct inner_request *request = &ask->request;
	struct json_slice job = { .text = request->answer, .bytes = request->answer_bytes };

	while (job.bytes > 0 && job.text[job.bytes - 1] == '\n')
		job.bytes--;
	if (request->status >= 300) {
		say_error(ask->socket, ask->ref, job.text, job.bytes, request->retry_after_s);
		return;
	}
	/* of a watch token: it has shown to be a good one */
	jobs_of(ask->socket)->known = true;
	ws_jobs_say(ask->socket, ask->op, ask->ref, "job", job.text, job.bytes);
	if (ask->subscribe)
		subscribe_accepted(ask, job);
}

static void answered(struct ws_errand *errand)
{
	struct ask *ask = list_entry(errand, struct ask, errand);

	if (ws_socket_open(ask->socket) && ask->request.answer)
		say_answer(ask);
	ask_free(ask);
}

/* on the inner thread */
static void asked_done(struct inner_request *request)
{
	struct ask *ask = request->owner;

	ws_errand_send(ask->socket, &ask->errand);
}

/* ---- asking */

static struct ask *ask_new(struct message *message, const char *op)
{
	struct arena *arena = arena_new(ARENA_BYTES);
	struct ask *ask = ARENA_NEW(arena, struct ask);

	ask->arena = arena;
	ask->socket = message->socket;
	ask->errand.run = answered;
	ask->ref = arena_strdup(arena, message->ref);
	ask->op = op;
	ask->request.door = DOOR_WS;
	ask->request.authorization = arena_strdup(arena, ws_socket_authorization(message->socket));
	ask->request.done = asked_done;
	ask->request.owner = ask;
	list_append(&jobs_of(message->socket)->asks, &ask->link);
	ws_socket_take(message->socket);
	return ask;
}

static void ask_send(struct ask *ask)
{
	static const struct problem busy = { .status = 503,
					     .slug = "too-busy",
					     .detail = "too many requests wait; nothing was done" };

	if (inner_ask(ws_socket_gateway(ask->socket)->inner, &ask->request))
		return;
	ws_jobs_refuse(ask->socket, ask->ref, &busy, 1);
	ask_free(ask);
}

/* ---- members of a message */

/* A string, or NULL when it is absent. False: refused. */
static bool take_text(struct message *message, const char *name, const char **text_r)
{
	const json_t *value = json_object_get(message->root, name);

	*text_r = NULL;
	if (!value)
		return true;
	*text_r = json_string_value(value);
	if (*text_r)
		return true;
	refuse(message, 422, "invalid", arena_printf(message->arena, "`%s` is a string", name));
	return false;
}

static bool need_text(struct message *message, const char *name, const char **text_r)
{
	if (!take_text(message, name, text_r))
		return false;
	if (*text_r)
		return true;
	refuse(message, 422, "invalid", arena_printf(message->arena, "`%s` is missing", name));
	return false;
}

/* The member's own text; "null" when it is absent or nothing that may be a ref. */
static const char *read_ref(struct arena *arena, struct json_slice text, const json_t *root,
			    bool *good_r)
{
	struct json_slice ref = json_slice_get(text, "ref");
	const json_t *value = json_object_get(root, "ref");

	*good_r = !value || (ref.bytes > 0 && ref.bytes <= REF_TEXT_MAX &&
			     (json_is_integer(value) || json_is_string(value)));
	return value && *good_r ? arena_strndup(arena, ref.text, ref.bytes) : NO_REF;
}

/* ---- operations */

static void on_enqueue(struct message *message)
{
	struct json_slice job = json_slice_get(message->text, "job");
	const json_t *subscribe = json_object_get(message->root, "subscribe");
	const char *key, *traceparent;
	struct ask *ask;

	if (!take_text(message, "idempotency_key", &key) ||
	    !take_text(message, "traceparent", &traceparent))
		return;
	if (job.bytes == 0 || (subscribe && !json_is_boolean(subscribe))) {
		refuse(message, 422, "invalid",
		       job.bytes == 0 ? "`job` is missing" : "`subscribe` is true or false");
		return;
	}
	if (json_is_true(subscribe) && ws_subscribed(message->socket, message->ref)) {
		refuse(message, 409, "ref-in-use", "a subscription has this ref");
		return;
	}
	ask = ask_new(message, "accepted");
	ask->subscribe = json_is_true(subscribe);
	ask->request.method = "POST";
	ask->request.target = "/v1/jobs";
	ask->request.body = arena_strndup(ask->arena, job.text, job.bytes);
	ask->request.body_bytes = job.bytes;
	ask->request.idempotency_key = arena_strdup(ask->arena, key);
	ask->request.traceparent = arena_strdup(ask->arena, traceparent);
	ask_send(ask);
}

static const char *job_target(struct ask *ask, const char *id, const char *suffix,
			      const char *watch_token)
{
	struct strbuf target;
	char *copy;

	strbuf_init(&target);
	strbuf_addstr(&target, "/v1/jobs/");
	inner_escape(&target, id);
	strbuf_addstr(&target, suffix);
	if (watch_token) {
		strbuf_addstr(&target, "?watch_token=");
		inner_escape(&target, watch_token);
	}
	copy = arena_strdup(ask->arena, target.data);
	strbuf_release(&target);
	return copy;
}

static void on_get(struct message *message)
{
	const char *id, *token;
	struct ask *ask;

	if (!need_text(message, "id", &id) || !take_text(message, "watch_token", &token))
		return;
	ask = ask_new(message, "ok");
	if (!token && !ask->request.authorization)
		token = jobs_of(message->socket)->watch_token;
	ask->request.method = "GET";
	ask->request.target = job_target(ask, id, "", token);
	ask_send(ask);
}

static void on_cancel(struct message *message)
{
	struct json_slice reason = json_slice_get(message->text, REASON_MEMBER);
	const char *id;
	struct ask *ask;

	if (!need_text(message, "id", &id))
		return;
	ask = ask_new(message, "ok");
	ask->request.method = "POST";
	ask->request.target = job_target(ask, id, "/cancel", NULL);
	if (reason.bytes > 0) {
		ask->request.body = arena_printf(ask->arena, "{\"" REASON_MEMBER "\":%.*s}",
						 (int)reason.bytes, reason.text);
		ask->request.body_bytes = strlen(ask->request.body);
	}
	ask_send(ask);
}

static void on_subscribe(struct message *message)
{
	struct ws_wish wish = { .ref = message->ref };
	const char *id;

	if (!take_text(message, "id", &id) || !take_text(message, "type", &wish.type) ||
	    !take_text(message, "queue", &wish.queue) || !take_text(message, "tag", &wish.tag) ||
	    !take_text(message, "watch_token", &wish.watch_token) ||
	    !take_text(message, "last_event_id", &wish.last_event_id))
		return;
	if (id && !uuid_parse(id, &wish.id))
		refuse(message, 404, "unknown-job", "there is no such job: the id is not a UUID");
	else if (!id == !(wish.type || wish.queue || wish.tag))
		refuse(message, 422, "invalid",
		       "expected `id`, or some of `type`, `queue` and `tag`");
	else if (ws_subscribed(message->socket, message->ref))
		refuse(message, 409, "ref-in-use", "a subscription has this ref");
	else
		ws_subscribe(message->socket, &wish);
}

static void on_unsubscribe(struct message *message)
{
	if (ws_unsubscribe(message->socket, message->ref))
		ws_jobs_say(message->socket, "unsubscribed", message->ref, NULL, NULL, 0);
	else
		refuse(message, 404, "unknown-ref", "no subscription has this ref");
}

static void on_ping(struct message *message)
{
	ws_jobs_say(message->socket, "pong", message->ref, NULL, NULL, 0);
}

static void on_authenticate(struct message *message)
{
	struct ws_socket *socket = message->socket;
	struct ws_jobs *jobs = jobs_of(socket);
	const struct caller *caller;
	struct admit_refusal refusal;
	const char *token, *authorization;

	if (!need_text(message, "token", &token))
		return;
	if (!strpbrk(token, "._")) { /* a watch token: what it is good for shows when it is used */
		free(jobs->watch_token);
		jobs->watch_token = xstrdup(token);
		ws_jobs_say(socket, "ok", message->ref, NULL, NULL, 0);
		return;
	}
	authorization = arena_printf(message->arena, "Bearer %s", token);
	if (!admit(ws_socket_gateway(socket), authorization, &caller, &refusal)) {
		ws_jobs_refuse(socket, message->ref, &refusal.problem, refusal.retry_after_s);
		return;
	}
	caller_unref(&caller);
	ws_socket_authorize(socket, authorization);
	jobs->known = true;
	jobs->admitted_ms = clock_mono_ms();
	ws_jobs_say(socket, "ok", message->ref, NULL, NULL, 0);
}

#define MEMBERS_MAX 6

/* asyncapi.json has the same operations; a test compares. */
static const struct operation {
	const char *name;
	void (*run)(struct message *message);
	const char *members[MEMBERS_MAX]; /* beside op and ref */
} operations[] = {
	{ "enqueue", on_enqueue, { "job", "subscribe", "idempotency_key", "traceparent" } },
	{ "subscribe",
	  on_subscribe,
	  { "id", "type", "queue", "tag", "watch_token", "last_event_id" } },
	{ "unsubscribe", on_unsubscribe, { NULL } },
	{ "cancel", on_cancel, { "id", REASON_MEMBER } },
	{ "get", on_get, { "id", "watch_token" } },
	{ "ping", on_ping, { NULL } },
	{ "authenticate", on_authenticate, { "token" } },
};

static const struct operation *find_operation(const char *name)
{
	for (size_t i = 0; name && i < ARRAY_LEN(operations); i++) {
		if (strcmp(operations[i].name, name) == 0)
			return &operations[i];
	}
	return NULL;
}

static bool has_member(const struct operation *operation, const char *name)
{
	if (strcmp(name, "op") == 0 || strcmp(name, "ref") == 0)
		return true;
	for (size_t i = 0; i < MEMBERS_MAX && operation->members[i]; i++) {
		if (strcmp(operation->members[i], name) == 0)
			return true;
	}
	return false;
}

static bool check_members(struct message *message, const struct operation *operation)
{
	const char *name;
	json_t *value;

	json_object_foreach(message->root, name, value)
	{
		if (has_member(operation, name))
			continue;
		refuse(message, 422, "invalid",
		       arena_printf(message->arena, "unknown member `%s` of `%s`", name,
				    operation->name));
		return false;
	}
	return true;
}

static void run_message(struct message *message)
{
	const struct operation *operation;
	bool good;

	message->ref = read_ref(message->arena, message->text, message->root, &good);
	operation = find_operation(json_string_value(json_object_get(message->root, "op")));
	if (!good)
		refuse(message, 422, "invalid",
		       "`ref` is a number or a string of at most 62 bytes");
	else if (!operation)
		refuse(message, 422, "unknown-op", "there is no such `op`");
	else if (check_members(message, operation))
		operation->run(message);
}

/* ---- the protocol */

static void came(struct ws_socket *socket, const char *text, size_t bytes)
{
	struct message message = { .socket = socket,
				   .text = { .text = text, .bytes = bytes },
				   .ref = NO_REF };
	struct json_error error;

	message.root = json_text_parse(text, bytes, &error);
	if (!json_is_object(message.root)) {
		struct problem problem = { .status = 400, .slug = "malformed-json" };
		problem.detail = message.root ? "expected an object" : error.message;
		problem.line = message.root ? 0 : error.line;
		problem.column = message.root ? 0 : error.column;
		ws_jobs_refuse(socket, NO_REF, &problem, 0);
		json_decref(message.root);
		return;
	}
	message.arena = arena_new(ARENA_BYTES);
	run_message(&message);
	arena_free(&message.arena);
	json_decref(message.root);
}

static void opened(struct ws_socket *socket)
{
	struct ws_jobs *jobs = jobs_of(socket);
	const char *watch_token = ws_socket_watch_token(socket);

	list_init(&jobs->asks);
	list_init(&jobs->subscriptions);
	jobs->watch_token = watch_token ? xstrdup(watch_token) : NULL;
	jobs->opened_ms = jobs->admitted_ms = clock_mono_ms();
	jobs->known =
		access_open(ws_socket_gateway(socket)->access) || ws_socket_authorization(socket);
}

/* Keys are taken away and tokens expire while a socket is open. */
static void admit_again(struct ws_socket *socket, int64_t now_ms)
{
	struct ws_jobs *jobs = jobs_of(socket);
	const struct caller *caller;
	struct admit_refusal refusal;

	if (!ws_socket_authorization(socket) || now_ms - jobs->admitted_ms < READMIT_MS)
		return;
	jobs->admitted_ms = now_ms;
	if (admit(ws_socket_gateway(socket), ws_socket_authorization(socket), &caller, &refusal))
		caller_unref(&caller);
	else if (refusal.problem.status == 401)
		ws_socket_close(socket, WS_CLOSE_POLICY, "the key or token is good no longer",
				"access");
}

static void second(struct ws_socket *socket, int64_t now_ms)
{
	struct ws_jobs *jobs = jobs_of(socket);

	if (!jobs->known && now_ms - jobs->opened_ms > WS_AUTHENTICATE_MS)
		ws_socket_close(socket, WS_CLOSE_POLICY, "not authenticated in time", "access");
	admit_again(socket, now_ms);
}

static void closed(struct ws_socket *socket)
{
	struct ws_jobs *jobs = jobs_of(socket);

	for (struct list *at = jobs->asks.next; at != &jobs->asks; at = at->next)
		inner_cancel(&list_entry(at, struct ask, link)->request);
	ws_subscriptions_end(socket);
	free(jobs->watch_token);
	jobs->watch_token = NULL;
}

const struct ws_protocol ws_jobs = {
	.user_bytes = sizeof(struct ws_jobs),
	.opened = opened,
	.came = came,
	.drained = ws_subscriptions_go_on,
	.second = second,
	.closed = closed,
};

void open_socket(struct exchange *exchange)
{
	static const struct ws_protocol *const protocols[] = { &ws_jobs, &graphql_ws_protocol };

	ws_take(exchange, protocols, ARRAY_LEN(protocols));
}
