/* SPDX-License-Identifier: Apache-2.0 */
/* A Kafka message as a delivery: copied out of the library at once, so that no message in hand pins
 * a fetched buffer or keeps the client from closing. One block of memory each; small ones are used
 * again. For kafka_feed.c and kafka_partitions.c; one thread. */
#ifndef CONSUMERS_SUBSCRIBE_KAFKA_DELIVERY_H
#define CONSUMERS_SUBSCRIBE_KAFKA_DELIVERY_H
#include <librdkafka/rdkafka.h>

#include "common/base/list.h"
#include "consumers/subscribe/feed.h"

struct kafka_partition;

/* What its taker has decided. */
enum kafka_return {
	KAFKA_RETURN_ACK = 1,
	KAFKA_RETURN_AGAIN, /* deliver it again when it is due */
	KAFKA_RETURN_DROP,  /* nothing: whoever gets the partition next reads it again */
};

struct kafka_delivery {
	struct delivery delivery; /* first: it is what takers see */
	struct kafka_delivery *next;
	struct list all; /* in the pool's list, as long as the block exists */
	struct kafka_partition *partition;
	uint32_t epoch;  /* of the partition's assignment */
	uint64_t ticket; /* in the partition's tracker */
	enum kafka_return verdict;
	int64_t due_ms; /* monotonic */
	size_t room_bytes;
	char room[]; /* headers, texts, body */
};

/* A queue of deliveries in order. */
struct kafka_queue {
	struct kafka_delivery *head, **tail;
	size_t count;
};

struct kafka_pool {
	struct kafka_delivery *spare;
	size_t spare_count;
	struct list all; /* every block that exists */
};

void kafka_pool_init(struct kafka_pool *pool);
void kafka_pool_release(struct kafka_pool *pool); /* whoever has them */

/* `prefix` is "topic/partition/". A body over bytes_max is left out and dead_reason says so. The
 * message stays the caller's. */
struct kafka_delivery *kafka_delivery_new(struct kafka_pool *pool,
					  const rd_kafka_message_t *message, const char *prefix,
					  size_t bytes_max);
void kafka_delivery_free(struct kafka_pool *pool, struct kafka_delivery *delivery);

void kafka_queue_init(struct kafka_queue *queue);
void kafka_queue_add(struct kafka_queue *queue, struct kafka_delivery *delivery);
struct kafka_delivery *kafka_queue_take(struct kafka_queue *queue); /* NULL: empty */
/* Moves all of `from` behind what is in `queue`. */
void kafka_queue_join(struct kafka_queue *queue, struct kafka_queue *from);

#endif
