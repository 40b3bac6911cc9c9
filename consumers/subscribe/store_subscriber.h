/* SPDX-License-Identifier: Apache-2.0 */
/* The store as the queue: claims ride in the transaction that completes the previous jobs, a lease
 * row stands for a whole claim and is deleted when all of its jobs are settled. Shares the
 * connection of the thread that owns it (workers/effects). */
#ifndef CONSUMERS_SUBSCRIBE_STORE_SUBSCRIBER_H
#define CONSUMERS_SUBSCRIBE_STORE_SUBSCRIBER_H
#include "common/broker/subscriber.h"

/* Borrows the store and the pool's name ("": the queues of all pools), which must outlive it.
 * Serves no queue until subscriber_ops.serve has been called. */
struct subscriber *store_subscriber_new(struct store *store, const struct uuid *session,
					const char *pool);

#endif
