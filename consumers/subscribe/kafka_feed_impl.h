/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of the Kafka feed share: kafka_feed.c has the operations that the taker calls,
 * kafka_loop.c the thread, kafka_partitions.c what the thread knows of the partitions it was given,
 * kafka_start.c where these start. For them only. */
#ifndef CONSUMERS_SUBSCRIBE_KAFKA_FEED_IMPL_H
#define CONSUMERS_SUBSCRIBE_KAFKA_FEED_IMPL_H
#include <pthread.h>
#include <stdatomic.h>

#include "common/broker/kafka_config.h"

#include "consumers/subscribe/kafka_delivery.h"
#include "consumers/subscribe/offset_tracker.h"

struct kafka_place {
	char *topic;
	bool dispatched, latest;
	int partitions;
	size_t index; /* the taker's */
};

enum kafka_partition_state {
	PARTITION_AWAY,    /* not ours */
	PARTITION_WAITING, /* ours; where to start is not known yet, nothing is fetched */
	PARTITION_TAKING,
	PARTITION_STOPPED, /* its offset is not in the log: a person has to look */
};

#define PLACE_NONE SIZE_MAX

/* Known from its first assignment until the feed ends, so that deliveries may point to it. Every
 * assignment is an epoch of its own; what belongs to an older one is dropped. */
struct kafka_partition {
	char *topic, *prefix; /* "topic/partition/" */
	int32_t number;
	/* the feed thread's */
	enum kafka_partition_state state;
	uint32_t epoch;
	bool paused;     /* the library was told so */
	bool capped;     /* span reached its maximum, and is not much smaller yet */
	bool seen;       /* a message came in this epoch: only then a pause is safe */
	bool touched;    /* its position has moved, and is to be stored */
	int64_t started; /* offset where it was started; < 0: by name */
	int64_t refused; /* STOPPED: the offset that is not there */
	int64_t end;     /* newest known end of the log; -1: not known */
	struct offset_tracker tracker;
	struct metric_series *lag; /* NULL: not made yet */
	/* guarded by the feed's lock */
	size_t place; /* the taker's index, or PLACE_NONE */
	bool latest;
	int64_t position;
	bool moved; /* position was not told yet */
};

struct kafka_feed {
	struct feed base;
	/* never changed */
	char *url, *client, *group, *ca_file;
	size_t buffer_max, message_bytes_max;
	struct store *store; /* the feed thread's */
	struct metrics *metrics;
	void (*ring)(void *ctx);
	void *ctx;
	pthread_t thread;

	pthread_mutex_t lock;
	pthread_cond_t room;    /* the thread waits: something was taken or came back */
	pthread_cond_t flushed; /* the taker waits */
	/* guarded by lock */
	struct kafka_queue ready;
	struct kafka_place *places;
	size_t place_count;
	bool places_new;
	struct kafka_partition **partitions; /* sorted; changed by the feed thread only */
	size_t partition_count;
	size_t moved_count;
	uint64_t flush_asked, flush_done;
	int flush_ms; /* of the newest */
	bool stopping, closing;
	bool waits;             /* the thread, for room */
	char trouble[320];      /* why it is not ready; "": it is */
	rd_kafka_queue_t *wake; /* the consumer's queue; NULL: no consumer now */

	/* What the taker is done with, newest first. */
	_Atomic(struct kafka_delivery *) returned;
	_Atomic bool wants_returned; /* the thread waits for it */

	/* the taker's */
	struct position *told;
	size_t told_max;

	/* the feed thread's */
	rd_kafka_t *rk;
	struct kafka_pool pool;
	struct kafka_queue burst;     /* polled, not yet in `ready` */
	struct kafka_queue later;     /* given back: by due time */
	struct kafka_partition *last; /* of the message before */
	size_t room_left, capped_count, paused_count;
	bool full;
	bool fatal;                /* the consumer is of no more use */
	bool subscribed, assigned; /* ever, by this consumer */
	const char *away;          /* no broker, or none that lets us in; NULL */
	char complaint[256];       /* what the cluster says against a topic or the group */
	char start_trouble[256];   /* why partitions are WAITING */
	int64_t stalled_ms;        /* since when there is no room; 0: there is */
	int64_t start_at_ms, upkeep_at_ms, probe_at_ms, ends_at_ms, recheck_at_ms, create_at_ms;
	int start_failures, open_failures;
};

/* ---- kafka_partitions.c; all on the feed thread */

/* The library's rebalance callback. */
void kafka_partitions_rebalance(rd_kafka_t *rk, rd_kafka_resp_err_t code,
				rd_kafka_topic_partition_list_t *list, void *ctx);
/* Forgets all assignments, storing nothing: the consumer is gone. */
void kafka_partitions_forget(struct kafka_feed *feed);
/* Takes back what the taker is done with, and stores what that moves. */
void kafka_partitions_settle(struct kafka_feed *feed);
/* A message that is an error. */
void kafka_partitions_error(struct kafka_feed *feed, const rd_kafka_message_t *message);
/* NULL: not a partition that messages are taken from now. */
struct kafka_partition *kafka_partitions_of(struct kafka_feed *feed,
					    const rd_kafka_message_t *message);
/* Tells the library what to pause and to resume: all while `full`, else those that are capped. */
void kafka_partitions_pause(struct kafka_feed *feed, bool full);
/* Once a second: lag, partitions that stand still. */
void kafka_partitions_upkeep(struct kafka_feed *feed, int64_t now_ms);
/* Appends what is wrong with partitions, if anything. */
bool kafka_partitions_ready(struct kafka_feed *feed, struct strbuf *why_r);

/* Another epoch: what is open of the one before is over. `next` as in offset_tracker_init. */
void kafka_partition_begin(struct kafka_feed *feed, struct kafka_partition *partition,
			   enum kafka_partition_state state, int64_t next);
/* Drops deliveries of epochs that are over, wherever they wait. */
void kafka_partitions_drop(struct kafka_feed *feed);
/* The only place that stores offsets: those of the partitions that were touched. */
void kafka_partitions_store(struct kafka_feed *feed);
void kafka_list_add(rd_kafka_topic_partition_list_t *list, const struct kafka_partition *partition,
		    int64_t offset);
void kafka_partitions_log(const char *doing, rd_kafka_error_t *error); /* NULL-safe; destroys it */

/* ---- kafka_start.c; on the feed thread */

/* Finds out where WAITING partitions start, and starts them. */
void kafka_start(struct kafka_feed *feed, int64_t now_ms);
/* Starts STOPPED partitions again whose stored position somebody has changed. */
void kafka_start_again(struct kafka_feed *feed);

/* ---- kafka_loop.c */

void *kafka_loop(void *feed); /* the thread */

/* ---- kafka_feed.c */

/* Copies what the places say to a partition. Under the lock. */
void kafka_feed_place(struct kafka_feed *feed, struct kafka_partition *partition);
/* The consumer's configuration. NULL: ERROR_INVALID. */
rd_kafka_conf_t *kafka_feed_configure(struct kafka_feed *feed, struct error *err_r);

#endif
