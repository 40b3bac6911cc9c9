/* SPDX-License-Identifier: Apache-2.0 */
/* The places on a broker that the definitions name: queues of ours, sources, and the queue where
 * the broker puts what it dead-letters. A place keeps its index when definitions are read again, so
 * that a message that was delivered before is still known by it. One thread. */
#ifndef CONSUMERS_SUBSCRIBE_BROKER_PLACES_H
#define CONSUMERS_SUBSCRIBE_BROKER_PLACES_H
#include "common/config/broker_url.h"
#include "common/config/definitions.h"
#include "consumers/subscribe/feed.h"

struct broker_places;

enum place_kind { PLACE_QUEUE = 1, PLACE_SOURCE, PLACE_DEAD };

/* What became of a delivery, for the figures. */
enum delivery_fate { DELIVERY_RUN, DELIVERY_KNOWN, DELIVERY_REFUSED, DELIVERY_RETURNED };

struct broker_place {
	enum place_kind kind;
	const char *topic, *name; /* name: of the queue or source; of PLACE_DEAD its topic */
	struct metric_series *counts[DELIVERY_RETURNED + 1];
};

/* Borrows prefix and metrics. */
struct broker_places *broker_places_new(enum broker_kind kind, const char *prefix,
					struct metrics *metrics);
void broker_places_free(struct broker_places **places);
/* What a feed of this pool ("": of all) shall serve by these definitions; good until the next call,
 * texts while `defs` is. */
const struct feed_place *broker_places_serve(struct broker_places *places,
					     const struct definitions *defs, const char *pool,
					     size_t *count_r);
/* NULL: no such index was ever given out. Lives as long as the places. */
const struct broker_place *broker_places_at(const struct broker_places *places, size_t index);

#endif
