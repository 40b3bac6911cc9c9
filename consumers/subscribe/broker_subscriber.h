/* SPDX-License-Identifier: Apache-2.0 */
/* Jobs out of what a broker delivers, the same for every broker: a feed brings messages, the store
 * says which of them may run, and each message is acknowledged when the store has the truth about
 * its job. Owned by the effects thread, whose store connection it shares. */
#ifndef CONSUMERS_SUBSCRIBE_BROKER_SUBSCRIBER_H
#define CONSUMERS_SUBSCRIBE_BROKER_SUBSCRIBER_H
#include "common/broker/subscriber.h"
#include "common/config/broker_url.h"
#include "consumers/subscribe/feed.h"

typedef struct feed *feed_new_fn(const struct feed_options *options, struct error *err_r);

struct broker_subscriber_options {
	struct store *store; /* borrowed; must outlive it */
	struct uuid session; /* owns the leases of adopted jobs */
	enum broker_kind kind;
	const char *prefix; /* borrowed; before a queue's name on the broker */
	const char *pool;   /* borrowed; whose queues and sources; NULL or "": all */
	int64_t keep_ms;    /* how far back the store can tell */
	size_t payload_bytes_max;
	feed_new_fn *feed_new;    /* makes its feed, which is freed with it */
	struct feed_options feed; /* without ring and ctx, which are the subscriber's */
};

/* NULL: ERROR_INVALID (the URL). Reads from no place until subscriber_ops.serve has been called. */
struct subscriber *broker_subscriber_new(const struct broker_subscriber_options *options,
					 struct error *err_r) must_check;

#endif
