/* SPDX-License-Identifier: Apache-2.0 */
/* A feed is the raw side of a broker subscriber: it keeps one connection to a broker with a thread
 * of its own, buffers a bounded number of messages, and carries acknowledgements back. It does not
 * look into messages and knows no job and no store. broker_subscriber.c makes jobs of what a feed
 * delivers; kafka_feed.c, amqp_feed.c and sqs_feed.c implement it.
 *
 * Threads: all operations are called by one thread (the effects thread) and never block on the
 * network; the feed's own thread does what they ask for. `ring` is called by the feed's thread.
 *
 * Connections that break are made again by the feed with jittered backoff; what was delivered over
 * the old one and not acknowledged comes again, and an acknowledgement that belongs to a connection
 * or an assignment that is gone is dropped silently. */
#ifndef CONSUMERS_SUBSCRIBE_FEED_H
#define CONSUMERS_SUBSCRIBE_FEED_H
#include "common/base/error.h"
#include "common/base/strbuf.h"
#include "common/broker/message.h"
#include "common/service/metrics.h"
#include "common/store/position.h"

struct feed;

/* Where a feed reads from. */
struct feed_place {
	const char *topic; /* topic or queue, by the broker's name */
	bool dispatched;   /* a queue of ours, filled by a dispatcher; else a source */
	bool dead;         /* where the broker puts what it dead-letters from queues of ours */
	bool latest;    /* Kafka source without any position: start at the end, not the beginning */
	bool fifo;      /* SQS */
	bool classic;   /* AMQP: a classic queue, not a quorum queue (only when we declare it) */
	bool single;    /* AMQP: one consumer at a time gets its messages (the same) */
	int partitions; /* Kafka: of a topic that we make; 0: the broker's default */
	size_t prefetch; /* messages taken and not acknowledged, 0: the feed's choice */
	size_t index;    /* of this place among those given; comes back with each delivery */
};

/* A delivered message. From feed take until feed ack or give_back it is the taker's; its texts live
 * as long. `feed_data` is the feed's. */
struct delivery {
	struct message message;
	size_t place; /* index of its feed_place */
	void *feed_data;
};

struct feed_ops {
	const char *name; /* "kafka", "amqp", "sqs" */
	/* Reads from these places from now on, and no others; copies them. Deliveries already taken
	 * stay valid. */
	void (*serve)(struct feed *feed, const struct feed_place *places, size_t count);
	/* Takes up to max of what is buffered. Returns how many. */
	size_t (*take)(struct feed *feed, struct delivery **deliveries_r, size_t max);
	/* Over: acknowledged as soon as the feed's thread comes to it; freed. */
	void (*ack)(struct feed *feed, struct delivery *delivery);
	/* Not done here: whoever comes next shall have it, after about delay_ms where the broker
	 * can wait. Freed. */
	void (*give_back)(struct feed *feed, struct delivery *delivery, int64_t delay_ms);
	/* No more messages: what is buffered and not taken goes back. Acknowledgements go on. */
	void (*stop)(struct feed *feed);
	/* Waits until acknowledgements so far are with the broker, at most timeout_ms. For the end
	 * of a drain; may block so long. */
	void (*flush)(struct feed *feed, int timeout_ms);
	/* Kafka, else NULL: appends the positions that have moved since the last call (everything
	 * before them is acknowledged). Texts live until the next call. */
	size_t (*positions)(struct feed *feed, const struct position **positions_r);
	/* Is it connected and taking? Else the reason is appended. Any thread. */
	bool (*ready)(struct feed *feed, struct strbuf *why_r);
	void (*free)(struct feed **feed); /* stops the thread, drops what is open */
};

/* What every feed is made with. */
struct feed_options {
	const char *broker_url;
	const char *client;  /* name that the broker shows for this process */
	const char *group;   /* Kafka consumer group; prefix of what is declared elsewhere */
	const char *ca_file; /* or NULL: the system's */
	size_t buffer_max;   /* messages delivered and not taken */
	/* larger ones are handed on without their body, dead_reason says so */
	size_t message_bytes_max;
	struct metrics *metrics;
	/* Kafka: a connection of its own to ask for stored positions; the feed thread's alone. */
	struct store *store;
	void (*ring)(void *ctx); /* there is something to take; feed thread; cheap */
	void *ctx;
};

/* Every implementation's struct begins with this. */
struct feed {
	const struct feed_ops *ops;
};

/* NULL: ERROR_INVALID (the URL). A broker that is away is no error. */
struct feed *kafka_feed_new(const struct feed_options *options, struct error *err_r) must_check;
struct feed *amqp_feed_new(const struct feed_options *options, struct error *err_r) must_check;
struct feed *sqs_feed_new(const struct feed_options *options, struct error *err_r) must_check;

#endif
