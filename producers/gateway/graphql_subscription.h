/* SPDX-License-Identifier: Apache-2.0 */
/* A subscription: what it watches, and what each event is in the words of its document. Transports
 * (SSE, WebSocket) own the watch. */
#ifndef PRODUCERS_GATEWAY_GRAPHQL_SUBSCRIPTION_H
#define PRODUCERS_GATEWAY_GRAPHQL_SUBSCRIPTION_H
#include "producers/gateway/graphql.h"
#include "producers/gateway/watch.h"

struct graphql_subscription { /* what it points to outlives it */
	const struct graphql *door;
	struct graphql_prepared prepared;
	json_t *variables; /* lent, or NULL */
	/* what is watched; texts lie in the arena given to graphql_subscription_read */
	struct watch_filter filter; /* without reach and account */
	const char *last_event_id;  /* or NULL */
};

/* Reads the filter out of the arguments. False: refused, *answer_r is the answer. */
bool graphql_subscription_read(struct graphql_subscription *subscription, struct arena *arena,
			       json_t **answer_r);
/* Appends the answer for one event, as JSON. */
void graphql_subscription_event(const struct graphql_subscription *subscription,
				const struct watch_event *event, struct strbuf *out);
/* Why no more comes, as an answer; NULL: the job has ended, all is said. */
json_t *graphql_subscription_end(enum watch_end why);

#endif
