/* SPDX-License-Identifier: Apache-2.0 */
/* Subscriptions over Server-Sent Events, in the distinct connections mode of GraphQL over SSE: one
 * stream a subscription, events `next` and, at its end, `complete`. */
#include "producers/gateway/graphql_sse.h"

#include <stdlib.h>

#include "producers/gateway/event_stream.h"

static void write_event(struct strbuf *out, const struct watch_event *event, void *subscription)
{
	strbuf_addstr(out, "event: next\nid: ");
	strbuf_addstr(out, event->id);
	strbuf_addstr(out, "\ndata: ");
	graphql_subscription_event(subscription, event, out);
	strbuf_addstr(out, "\n\n");
}

static void write_end(struct strbuf *out, enum watch_end why, void *subscription)
{
	json_t *answer = graphql_subscription_end(why);
	char *text;

	(void)subscription;
	if (answer) {
		text = json_dumps(answer, JSON_COMPACT);
		strbuf_printf(out, "event: next\ndata: %s\n\n", text);
		free(text);
		json_decref(answer);
	}
	strbuf_addstr(out, "event: complete\ndata:\n\n");
}

static const struct event_stream_form form = { .event = write_event, .end = write_end };

void graphql_sse_start(struct exchange *exchange, struct graphql_subscription *subscription)
{
	const char *last = event_stream_last_id(exchange);

	if (!caller_may(exchange->caller, SCOPE_READ)) {
		exchange_refuse(exchange, 403, "not-in-scope",
				"this caller does not have the scope for that");
		return;
	}
	subscription->filter.reach = caller_reach(exchange->caller, SCOPE_READ);
	event_stream_start(exchange, &subscription->filter,
			   subscription->last_event_id ? subscription->last_event_id : last, &form,
			   subscription);
}
