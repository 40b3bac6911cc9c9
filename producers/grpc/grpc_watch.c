/* SPDX-License-Identifier: Apache-2.0 */
/* Watch: first one inner request, which knows who may see what and refuses as ever, then the hub's
 * events, taken only as fast as the client reads: what it leaves unread waits in the hub's bounded
 * queue. */
#include <string.h>

#include <windlass/v1/jobs.pb-c.h>

#include "common/base/clock.h"
#include "producers/gateway/access.h"
#include "producers/gateway/watch.h"
#include "producers/grpc/grpc_json.h"
#include "producers/grpc/grpc_methods.h"

struct watching {
	const Windlass__V1__WatchRequest *request;
	struct grpc_call *call;
	struct watcher *watcher;
	struct grpc_note note;
};

static void stop(struct watching *watching)
{
	watcher_stop(&watching->watcher);
	grpc_loop_unsend(watching->call->loop, &watching->note);
}

static void refuse_stopping(struct grpc_call *call)
{
	grpc_call_refuse(call, 503, "stopping", NULL, "this gateway is being stopped; ask another",
			 1);
}

static void finish(struct grpc_call *call, enum watch_end end)
{
	switch (end) {
	case WATCH_ON:
		CHECK(!"no end");
		break;
	case WATCH_OVER:
		grpc_call_end_ok(call);
		break;
	case WATCH_OVERRUN:
		grpc_call_refuse(call, 429, "slow-reader", NULL,
				 "events came faster than they were read; go on with last_event_id",
				 1);
		break;
	case WATCH_UNKNOWN:
		grpc_call_refuse(call, 404, "unknown-job", NULL, "there is no such job", 0);
		break;
	case WATCH_GONE:
		grpc_call_refuse(call, 410, "past-retention", NULL,
				 "what this asks for is no longer kept", 0);
		break;
	case WATCH_AWAY:
		grpc_call_refuse(call, 503, "store-unavailable", NULL, "the store is away", 2);
		break;
	case WATCH_DRAIN:
		refuse_stopping(call);
		break;
	}
	stop(call->own);
}

static void give(struct grpc_call *call, struct watch_event *event)
{
	Windlass__V1__WatchResponse response = WINDLASS__V1__WATCH_RESPONSE__INIT;
	Windlass__V1__Job job = WINDLASS__V1__JOB__INIT;
	struct arena *arena = arena_new(0);

	grpc_json_read(arena, (struct json_slice){ event->json, event->bytes }, &job.base);
	response.event_id = event->id;
	response.job = &job;
	grpc_call_give(call, &response.base);
	arena_free(&arena);
}

static void pump(struct grpc_call *call)
{
	struct watching *watching = call->own;
	enum watch_end end = WATCH_ON;
	struct watch_event *event;

	while (watching->watcher && !call->ended && call->unread_bytes < GRPC_UNREAD_MAX) {
		event = watcher_take(watching->watcher, &end);
		if (!event)
			break;
		give(call, event);
		watch_event_unref(&event);
	}
	if (end != WATCH_ON && !call->ended)
		finish(call, end);
}

static void rung(void *watching_)
{
	struct watching *watching = watching_;

	grpc_loop_send(watching->call->loop, &watching->note);
}

static void ring_came(struct grpc_note *note)
{
	pump(list_entry(note, struct watching, note)->call);
}

/* The inner request was let through: whoever that was is known now as well, unless its key has been
 * taken away in between. */
static const struct caller *find_caller(struct grpc_call *call, const char *watch_token)
{
	struct access *access = call->loop->gateway->access;
	const struct caller *caller = NULL;
	const char *why;

	if (*watch_token) /* the inner request has checked it for this job */
		return caller_watcher();
	if (access_open(access))
		return caller_anybody();
	if (access_find(access, call->authorization, clock_wall_ms(), &caller, &why) ==
	    ACCESS_GRANTED)
		return caller;
	grpc_call_refuse(call, 401, "no-key", NULL, "an API key is needed", 0);
	return NULL;
}

static const char *or_null(const char *text)
{
	return *text ? text : NULL;
}

static void admitted(struct grpc_call *call)
{
	struct watching *watching = call->own;
	const Windlass__V1__WatchRequest *request = watching->request;
	const struct caller *caller = find_caller(call, request->watch_token);
	struct watch_filter filter = {
		.type = or_null(request->type),
		.queue = or_null(request->queue),
		.tag = or_null(request->tag),
	};

	if (!caller)
		return;
	filter.reach = caller_reach(caller, SCOPE_READ);
	filter.account = caller->account;
	if (*request->id)
		CHECK(uuid_parse(request->id, &filter.id));
	watching->note.fn = ring_came;
	watching->watcher = watch_start(call->loop->watch, &filter, or_null(request->last_event_id),
					rung, watching);
	caller_unref(&caller);
	if (!watching->watcher) {
		grpc_call_refuse(call, 429, "too-many-watchers", NULL,
				 "as many watch this gateway, or for this caller, as may", 5);
		return;
	}
	grpc_call_idle(call);
	grpc_call_greet(call);
}

static void add_filter(struct strbuf *target, const char *name, const char *value)
{
	if (!*value)
		return;
	strbuf_addch(target, '&');
	strbuf_addstr(target, name);
	strbuf_addch(target, '=');
	inner_escape(target, value);
}

void grpc_watch(struct grpc_call *call, const uint8_t *data, size_t bytes)
{
	const Windlass__V1__WatchRequest *request = (const void *)grpc_call_unpack(
		call, &windlass__v1__watch_request__descriptor, data, bytes);
	struct watching *watching;

	if (!request)
		return;
	if (*request->id && (*request->type || *request->queue || *request->tag)) {
		grpc_call_refuse(call, 422, "invalid", "/id",
				 "an id stands alone: without type, queue and tag", 0);
		return;
	}
	/* A token is for its one job; without an id there would be nothing that checks it. */
	if (!*request->id && *request->watch_token) {
		grpc_call_refuse(call, 422, "invalid", "/watch_token",
				 "a watch token is for one job: it needs the id", 0);
		return;
	}
	watching = call->own = ARENA_NEW(call->arena, struct watching);
	watching->request = request;
	watching->call = call;
	if (*request->id) {
		strbuf_addstr(&call->ask_target, "/v1/jobs/");
		inner_escape(&call->ask_target, request->id);
		if (*request->watch_token) {
			strbuf_addstr(&call->ask_target, "?watch_token=");
			inner_escape(&call->ask_target, request->watch_token);
		}
	} else {
		strbuf_addstr(&call->ask_target, "/v1/jobs?limit=1");
		add_filter(&call->ask_target, "type", request->type);
		add_filter(&call->ask_target, "queue", request->queue);
		add_filter(&call->ask_target, "tag", request->tag);
	}
	grpc_call_ask(call, "GET", admitted);
}

void grpc_watch_drained(struct grpc_call *call)
{
	if (call->own)
		pump(call);
}

void grpc_watch_draining(struct grpc_call *call)
{
	struct watching *watching = call->own;

	refuse_stopping(call);
	if (watching)
		stop(watching);
}

void grpc_watch_closed(struct grpc_call *call)
{
	if (call->own)
		stop(call->own);
}
