/* SPDX-License-Identifier: Apache-2.0 */
/* What a socket of our own protocol watches. Events are taken from the hub only while the socket
 * has room, so what waits for a slow client waits in the hub's queue, where it has an end. */
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "producers/gateway/admit.h"
#include "producers/gateway/limiter.h"
#include "producers/gateway/watch.h"
#include "producers/gateway/ws_jobs.h"

struct subscription {
	struct list link;
	struct ws_socket *socket;
	struct ws_errand errand;
	struct watcher *watcher;
	const struct caller *caller; /* the reach's strings are its own */
	bool one;                    /* by id: ends with its job */
	bool held;                   /* the socket had no room */
	bool told;                   /* an event was sent */
	char ref[WS_REF_BYTES];
};

static struct ws_jobs *jobs_of(struct ws_socket *socket)
{
	return ws_socket_user(socket);
}

static void refuse(struct ws_socket *socket, const char *ref, int status, const char *slug,
		   const char *detail, int retry_after_s)
{
	struct problem problem = { .status = status, .slug = slug, .detail = detail };

	ws_jobs_refuse(socket, ref, &problem, retry_after_s);
}

static void end(struct subscription *subscription)
{
	struct ws_socket *socket = subscription->socket;

	watcher_stop(&subscription->watcher);
	ws_errand_drop(socket, &subscription->errand);
	list_remove(&subscription->link);
	jobs_of(socket)->subscription_count--;
	caller_unref(&subscription->caller);
	free(subscription);
}

/* ---- events */

static void say_event(struct subscription *subscription, const struct watch_event *event)
{
	struct strbuf out;

	strbuf_init(&out);
	strbuf_reserve(&out, event->bytes + WS_REF_BYTES + 96);
	strbuf_addstr(&out,
		      event->ended ? "{\"op\":\"result\",\"ref\":" : "{\"op\":\"event\",\"ref\":");
	strbuf_addstr(&out, subscription->ref);
	strbuf_addstr(&out, ",\"event_id\":\"");
	strbuf_addstr(&out, event->id);
	strbuf_addstr(&out, "\",\"job\":");
	strbuf_add(&out, event->json, event->bytes);
	strbuf_addch(&out, '}');
	ws_socket_send(subscription->socket, out.data, out.len);
	strbuf_release(&out);
	subscription->told = true;
}

static void say_end(struct subscription *subscription, enum watch_end why)
{
	struct ws_socket *socket = subscription->socket;
	const char *ref = subscription->ref;

	switch (why) {
	case WATCH_UNKNOWN:
		refuse(socket, ref, 404, "unknown-job", "there is no such job", 0);
		break;
	case WATCH_GONE:
		refuse(socket, ref, 410, "past-retention",
		       "what was then is no longer known: look at the jobs anew", 0);
		break;
	case WATCH_AWAY:
		refuse(socket, ref, 503, "store-unavailable", "the store does not take this now",
		       2);
		break;
	case WATCH_OVERRUN:
		ws_socket_close(socket, WS_CLOSE_POLICY, "too slow a reader", "slow");
		break;
	case WATCH_OVER:
		/* nothing was new: the client knows how it ended */
		if (!subscription->told)
			ws_jobs_say(socket, "unsubscribed", ref, NULL, NULL, 0);
		break;
	case WATCH_DRAIN: /* the socket is closed for that */
	case WATCH_ON:
		break;
	}
}

static void go_on(struct subscription *subscription)
{
	enum watch_end why = WATCH_ON;

	subscription->held = false;
	if (watcher_end(subscription->watcher) == WATCH_OVERRUN)
		why = WATCH_OVERRUN;
	while (why == WATCH_ON && ws_socket_open(subscription->socket)) {
		if (ws_socket_full(subscription->socket)) {
			subscription->held = true;
			return;
		}
		struct watch_event *event = watcher_take(subscription->watcher, &why);
		if (!event)
			break;
		say_event(subscription, event);
		watch_event_unref(&event);
	}
	if (why == WATCH_ON)
		return;
	say_end(subscription, why);
	end(subscription);
}

static void errand_came(struct ws_errand *errand)
{
	go_on(list_entry(errand, struct subscription, errand));
}

/* on the hub's thread */
static void rung(void *subscription_)
{
	struct subscription *subscription = subscription_;

	ws_errand_send(subscription->socket, &subscription->errand);
}

void ws_subscriptions_go_on(struct ws_socket *socket)
{
	struct list *head = &jobs_of(socket)->subscriptions, *next;

	for (struct list *at = head->next; at != head; at = next) {
		struct subscription *subscription = list_entry(at, struct subscription, link);
		next = at->next;
		if (subscription->held)
			go_on(subscription);
	}
}

/* ---- who may */

static bool check_rate(struct ws_socket *socket, const char *ref, const struct caller *caller)
{
	struct limiter_room room;

	if (!(caller->limits.rate_per_s > 0) ||
	    limiter_take(ws_socket_gateway(socket)->limiter, caller, clock_mono_ns(), &room))
		return true;
	refuse(socket, ref, 429, "too-many-requests", "this caller asks more often than it may",
	       (int)room.retry_after_s);
	return false;
}

static const struct caller *find_reader(struct ws_socket *socket, const char *ref)
{
	const struct caller *caller;
	struct admit_refusal refusal;

	if (!admit(ws_socket_gateway(socket), ws_socket_authorization(socket), &caller, &refusal)) {
		ws_jobs_refuse(socket, ref, &refusal.problem, refusal.retry_after_s);
		return NULL;
	}
	if (!check_rate(socket, ref, caller)) {
		caller_unref(&caller);
	} else if (!caller_may(caller, SCOPE_READ)) {
		refuse(socket, ref, 403, "not-in-scope",
		       "this caller does not have the scope for that", 0);
		caller_unref(&caller);
	}
	return caller;
}

/* NULL: refused. */
static const struct caller *find_caller(struct ws_socket *socket, const struct ws_wish *wish)
{
	const char *token = wish->watch_token;

	if (!token && !uuid_is_nil(&wish->id) && !ws_socket_authorization(socket))
		token = jobs_of(socket)->watch_token;
	if (!token)
		return find_reader(socket, wish->ref);
	if (!uuid_is_nil(&wish->id) && watch_token_check(&ws_socket_gateway(socket)->watch,
							 &wish->id, token, clock_wall_ms())) {
		jobs_of(socket)->known = true;
		return caller_watcher();
	}
	refuse(socket, wish->ref, 401, "bad-watch-token",
	       "this watch token has expired, or is for another job", 0);
	return NULL;
}

/* ---- beginning and ending */

static void begin(struct ws_socket *socket, const struct ws_wish *wish, const struct caller *caller)
{
	struct ws_jobs *jobs = jobs_of(socket);
	struct subscription *subscription = xcalloc(1, sizeof(*subscription));
	struct watch_filter filter = {
		.id = wish->id,
		.type = wish->type,
		.queue = wish->queue,
		.tag = wish->tag,
		.reach = caller_reach(caller, SCOPE_READ),
		.account = caller->account,
	};

	subscription->socket = socket;
	subscription->caller = caller;
	subscription->errand.run = errand_came;
	subscription->one = !uuid_is_nil(&wish->id);
	memcpy(subscription->ref, wish->ref, strlen(wish->ref) + 1);
	list_append(&jobs->subscriptions, &subscription->link);
	jobs->subscription_count++;
	if (!subscription->one)
		ws_jobs_say(socket, "subscribed", wish->ref, NULL, NULL, 0);
	subscription->watcher = watch_start(ws_socket_gateway(socket)->hub, &filter,
					    wish->last_event_id, rung, subscription);
	if (subscription->watcher)
		return;
	refuse(socket, wish->ref, 429, "too-many-watches",
	       "this caller, or this gateway, has as many watches as it may have", 10);
	end(subscription);
}

void ws_subscribe(struct ws_socket *socket, const struct ws_wish *wish)
{
	const struct caller *caller;

	if (jobs_of(socket)->subscription_count >= WS_SUBSCRIPTIONS_MAX) {
		refuse(socket, wish->ref, 429, "too-many-watches",
		       "this socket has as many subscriptions as it may have", 0);
		return;
	}
	caller = find_caller(socket, wish);
	if (caller)
		begin(socket, wish, caller);
}

static struct subscription *find(struct ws_socket *socket, const char *ref)
{
	struct list *head = &jobs_of(socket)->subscriptions;

	for (struct list *at = head->next; at != head; at = at->next) {
		struct subscription *subscription = list_entry(at, struct subscription, link);
		if (strcmp(subscription->ref, ref) == 0)
			return subscription;
	}
	return NULL;
}

bool ws_subscribed(struct ws_socket *socket, const char *ref)
{
	return find(socket, ref) != NULL;
}

bool ws_unsubscribe(struct ws_socket *socket, const char *ref)
{
	struct subscription *subscription = find(socket, ref);

	if (subscription)
		end(subscription);
	return subscription != NULL;
}

void ws_subscriptions_end(struct ws_socket *socket)
{
	struct list *head = &jobs_of(socket)->subscriptions;

	while (!list_empty(head))
		end(list_first(head, struct subscription, link));
}
