/* SPDX-License-Identifier: Apache-2.0 */
/* All of this is on the thread of the sockets' loop, where parsing and checking a document may be
 * done, as that is bounded; what is looked up comes back by an errand. */
#include "producers/gateway/graphql_ws.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/json/json_text.h"
#include "producers/gateway/admit.h"
#include "producers/gateway/graphql_run.h"
#include "producers/gateway/graphql_subscription.h"
#include "producers/gateway/routes.h"

#define INIT_MS        10000
#define OPERATIONS_MAX 100
#define ID_BYTES_MAX   128

enum {
	CLOSE_BAD = 4400,
	CLOSE_UNAUTHORIZED = 4401,
	CLOSE_FORBIDDEN = 4403,
	CLOSE_LATE = 4408,
	CLOSE_TWICE = 4409,
	CLOSE_INIT = 4429
};

struct talk { /* one socket's */
	struct list operations;
	size_t operation_count;
	int64_t opened_ms;
	bool acknowledged;
};

struct task {
	struct list link;
	struct ws_socket *socket;
	struct ws_errand errand;
	struct arena *arena;
	const char *id;
	json_t *message; /* what it was asked with */
	bool muted;      /* the client wants no more of it */
	/* a query or mutation */
	struct graphql_run run;
	/* a subscription */
	struct graphql_subscription subscription;
	const struct caller *caller; /* the reach's strings are its own */
	struct watcher *watcher;
	bool held; /* the socket had no room */
};

static struct talk *talk_of(struct ws_socket *socket)
{
	return ws_socket_user(socket);
}

/* ---- saying */

/* payload: JSON, or NULL. */
static void say(struct ws_socket *socket, const char *type, const char *id, const char *payload)
{
	struct strbuf out;

	strbuf_init(&out);
	strbuf_printf(&out, "{\"type\":\"%s\"", type);
	if (id) {
		strbuf_addstr(&out, ",\"id\":");
		strbuf_json(&out, id);
	}
	if (payload) {
		strbuf_addstr(&out, ",\"payload\":");
		strbuf_addstr(&out, payload);
	}
	strbuf_addch(&out, '}');
	ws_socket_send(socket, out.data, out.len);
	strbuf_release(&out);
}

static void say_json(struct task *operation, const char *type, const json_t *payload)
{
	char *text = json_dumps(payload, JSON_COMPACT);

	say(operation->socket, type, operation->id, text);
	free(text);
}

/* ---- operations */

static void end(struct task *operation)
{
	struct ws_socket *socket = operation->socket;
	struct arena *arena = operation->arena;

	watcher_stop(&operation->watcher);
	ws_errand_drop(socket, &operation->errand);
	list_remove(&operation->link);
	talk_of(socket)->operation_count--;
	graphql_run_release(&operation->run);
	caller_unref(&operation->caller);
	json_decref(operation->message);
	arena_free(&arena);
}

/* Takes the reference: an answer without data; the operation ends. */
static void refuse(struct task *operation, json_t *answer)
{
	say_json(operation, "error", json_object_get(answer, "errors"));
	json_decref(answer);
	end(operation);
}

static struct task *find(struct ws_socket *socket, const char *id)
{
	struct list *head = &talk_of(socket)->operations;

	for (struct list *at = head->next; at != head; at = at->next) {
		struct task *operation = list_entry(at, struct task, link);
		if (strcmp(operation->id, id) == 0)
			return operation;
	}
	return NULL;
}

/* ---- queries and mutations */

/* The run is over, or waits for an errand. */
static void step(struct task *operation)
{
	struct ws_socket *socket = operation->socket;
	json_t *answer = graphql_run_step(&operation->run);

	if (!answer)
		return;
	if (ws_socket_open(operation->socket) && !operation->muted) {
		say_json(operation, json_object_get(answer, "data") ? "next" : "error",
			 json_object_get(answer, "data") ? answer
							 : json_object_get(answer, "errors"));
		if (json_object_get(answer, "data"))
			say(operation->socket, "complete", operation->id, NULL);
	}
	json_decref(answer);
	end(operation);
	ws_socket_give(socket);
}

static void step_came(struct ws_errand *errand)
{
	step(list_entry(errand, struct task, errand));
}

/* on the inner thread, or in the step */
static void woken(struct graphql_run *run)
{
	struct task *operation = run->owner;

	ws_errand_send(operation->socket, &operation->errand);
}

static void begin_run(struct task *operation, const struct graphql_prepared *prepared,
		      const struct graphql_call *call)
{
	struct gateway *gateway = ws_socket_gateway(operation->socket);

	operation->run = (struct graphql_run){
		.door = gateway->graphql,
		.inner = gateway->inner,
		.arena = operation->arena,
		.prepared = *prepared,
		.variables = call->variables,
		.authorization =
			arena_strdup(operation->arena, ws_socket_authorization(operation->socket)),
		.woken = woken,
		.owner = operation,
	};
	operation->errand.run = step_came;
	ws_socket_take(operation->socket);
	step(operation);
}

/* ---- subscriptions */

static void say_event(struct task *operation, const struct watch_event *event)
{
	struct strbuf out;

	strbuf_init(&out);
	graphql_subscription_event(&operation->subscription, event, &out);
	say(operation->socket, "next", operation->id, out.data);
	strbuf_release(&out);
}

static void go_on(struct task *operation)
{
	enum watch_end why = WATCH_ON;
	json_t *last;

	operation->held = false;
	while (why == WATCH_ON && ws_socket_open(operation->socket)) {
		if (ws_socket_full(operation->socket)) {
			operation->held = true;
			return;
		}
		struct watch_event *event = watcher_take(operation->watcher, &why);
		if (!event)
			break;
		say_event(operation, event);
		watch_event_unref(&event);
	}
	if (why == WATCH_ON)
		return;
	last = graphql_subscription_end(why);
	if (last) {
		refuse(operation, last);
		return;
	}
	say(operation->socket, "complete", operation->id, NULL);
	end(operation);
}

static void rung_came(struct ws_errand *errand)
{
	go_on(list_entry(errand, struct task, errand));
}

/* on the hub's thread */
static void rung(void *operation_)
{
	struct task *operation = operation_;

	ws_errand_send(operation->socket, &operation->errand);
}

static void begin_watch(struct task *operation)
{
	struct gateway *gateway = ws_socket_gateway(operation->socket);
	struct watch_filter *filter = &operation->subscription.filter;
	struct admit_refusal refusal;

	if (!admit(gateway, ws_socket_authorization(operation->socket), &operation->caller,
		   &refusal)) {
		refuse(operation, graphql_refusal(refusal.problem.detail, refusal.problem.slug));
		return;
	}
	if (!caller_may(operation->caller, SCOPE_READ)) {
		refuse(operation, graphql_refusal("this caller does not have the scope for that",
						  "not-in-scope"));
		return;
	}
	filter->reach = caller_reach(operation->caller, SCOPE_READ);
	filter->account = operation->caller->account;
	operation->errand.run = rung_came;
	operation->watcher = watch_start(gateway->hub, filter,
					 operation->subscription.last_event_id, rung, operation);
	if (!operation->watcher)
		refuse(operation, graphql_refusal("this caller, or this gateway, has as many "
						  "watches as it may have",
						  "too-many-watches"));
}

static void begin_subscription(struct task *operation, const struct graphql_prepared *prepared,
			       const struct graphql_call *call)
{
	json_t *answer;

	operation->subscription.door = ws_socket_gateway(operation->socket)->graphql;
	operation->subscription.prepared = *prepared;
	operation->subscription.variables = call->variables;
	if (graphql_subscription_read(&operation->subscription, operation->arena, &answer))
		begin_watch(operation);
	else
		refuse(operation, answer);
}

/* ---- messages */

static void bad(struct ws_socket *socket)
{
	ws_socket_close(socket, CLOSE_BAD, "Invalid message", "bad-message");
}

static void on_init(struct ws_socket *socket, const json_t *message)
{
	const json_t *payload = json_object_get(message, "payload");
	const char *given = json_string_value(json_object_get(payload, "authorization"));
	const char *token = json_string_value(json_object_get(payload, "token"));
	struct arena *arena = arena_new(512);
	const struct caller *caller;
	struct admit_refusal refusal;

	if (!given)
		given = json_string_value(json_object_get(payload, "Authorization"));
	if (!given && token)
		given = arena_printf(arena, "Bearer %s", token);
	if (given)
		ws_socket_authorize(socket, given);
	if (talk_of(socket)->acknowledged) {
		ws_socket_close(socket, CLOSE_INIT, "Too many initialisation requests",
				"bad-message");
	} else if (!admit(ws_socket_gateway(socket), ws_socket_authorization(socket), &caller,
			  &refusal)) {
		ws_socket_close(socket, CLOSE_FORBIDDEN, "Forbidden", "no-key");
	} else {
		caller_unref(&caller);
		talk_of(socket)->acknowledged = true;
		say(socket, "connection_ack", NULL, NULL);
	}
	arena_free(&arena);
}

static struct task *operation_new(struct ws_socket *socket, const char *id, json_t *message)
{
	struct arena *arena = arena_new(0);
	struct task *operation = ARENA_NEW(arena, struct task);

	operation->arena = arena;
	operation->socket = socket;
	operation->id = arena_strdup(arena, id);
	operation->message = json_incref(message);
	list_append(&talk_of(socket)->operations, &operation->link);
	talk_of(socket)->operation_count++;
	return operation;
}

static void begin(struct task *operation)
{
	const struct graphql *door = ws_socket_gateway(operation->socket)->graphql;
	struct graphql_prepared prepared;
	struct graphql_call call;
	json_t *answer;
	const char *why = graphql_call_read(json_object_get(operation->message, "payload"), &call);

	if (why)
		refuse(operation, graphql_refusal(why, NULL));
	else if (talk_of(operation->socket)->operation_count > OPERATIONS_MAX)
		refuse(operation,
		       graphql_refusal("this socket has as many operations as it may have",
				       "too-many-watches"));
	else if (!graphql_prepare(door, operation->arena, &call, &prepared, &answer))
		refuse(operation, answer);
	else if (prepared.operation->operation == OPERATION_SUBSCRIPTION)
		begin_subscription(operation, &prepared, &call);
	else
		begin_run(operation, &prepared, &call);
}

static void on_subscribe(struct ws_socket *socket, const char *id, json_t *message)
{
	if (!talk_of(socket)->acknowledged)
		ws_socket_close(socket, CLOSE_UNAUTHORIZED, "Unauthorized", "no-key");
	else if (!id || !*id || strlen(id) > ID_BYTES_MAX ||
		 !json_is_object(json_object_get(message, "payload")))
		bad(socket);
	else if (find(socket, id))
		ws_socket_close(socket, CLOSE_TWICE, "Subscriber already exists", "bad-message");
	else
		begin(operation_new(socket, id, message));
}

/* A run goes its way: nothing that was begun is undone by not listening. */
static void on_complete(struct ws_socket *socket, const char *id)
{
	struct task *operation = id ? find(socket, id) : NULL;

	if (operation && operation->watcher)
		end(operation);
	else if (operation)
		operation->muted = true;
}

static void came(struct ws_socket *socket, const char *text, size_t bytes)
{
	struct json_error error;
	json_t *message = json_text_parse(text, bytes, &error);
	const char *type = json_string_value(json_object_get(message, "type"));
	const char *id = json_string_value(json_object_get(message, "id"));

	if (!type)
		bad(socket);
	else if (strcmp(type, "connection_init") == 0)
		on_init(socket, message);
	else if (strcmp(type, "ping") == 0)
		say(socket, "pong", NULL, NULL);
	else if (strcmp(type, "subscribe") == 0)
		on_subscribe(socket, id, message);
	else if (strcmp(type, "complete") == 0)
		on_complete(socket, id);
	else if (strcmp(type, "pong") != 0)
		bad(socket);
	json_decref(message);
}

/* ---- the socket */

static void opened(struct ws_socket *socket)
{
	list_init(&talk_of(socket)->operations);
	talk_of(socket)->opened_ms = clock_mono_ms();
}

static void drained(struct ws_socket *socket)
{
	struct list *head = &talk_of(socket)->operations, *next;

	for (struct list *at = head->next; at != head; at = next) {
		struct task *operation = list_entry(at, struct task, link);
		next = at->next;
		if (operation->held)
			go_on(operation);
	}
}

static void second(struct ws_socket *socket, int64_t now_ms)
{
	if (!talk_of(socket)->acknowledged && now_ms - talk_of(socket)->opened_ms > INIT_MS)
		ws_socket_close(socket, CLOSE_LATE, "Connection initialisation timeout", "no-key");
}

/* Runs end when what they have asked is back. */
static void closed(struct ws_socket *socket)
{
	struct list *head = &talk_of(socket)->operations, *next;

	for (struct list *at = head->next; at != head; at = next) {
		struct task *operation = list_entry(at, struct task, link);
		next = at->next;
		if (operation->watcher)
			end(operation);
		else
			graphql_run_cancel(&operation->run);
	}
}

const struct ws_protocol graphql_ws_protocol = {
	.name = "graphql-transport-ws",
	.user_bytes = sizeof(struct talk),
	.opened = opened,
	.came = came,
	.drained = drained,
	.second = second,
	.closed = closed,
};
