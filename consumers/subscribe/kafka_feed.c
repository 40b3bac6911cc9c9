/* SPDX-License-Identifier: Apache-2.0 */
/* Kafka's feed: a consumer of one group with a thread of its own (kafka_loop.c). Here is what the
 * taker's thread calls. Taking locks for a moment and moves a list; ends go back over a stack
 * without a lock; nothing waits for the network but flush and free.
 *
 * The library's threads do not survive a fork, so a feed belongs to the process that made it;
 * children are spawned, and close what they inherit. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/base/arena.h"
#include "common/base/clock.h"
#include "common/base/log.h"

#include "consumers/subscribe/kafka_feed_impl.h"

#define END_MS 16000 /* for leaving the group and closing; what hangs longer is left behind */

static const struct kafka_setting consumer_settings[] = {
	{ "partition.assignment.strategy", "cooperative-sticky" },
	{ "enable.auto.offset.store", "false" }, /* stored when the store has the job's end */
	{ "enable.auto.commit", "true" },
	{ "auto.commit.interval.ms", "1000" },
	{ "auto.offset.reset", "error" }, /* a lost offset stops the partition, for a person */
	{ "session.timeout.ms", "10000" },
	{ "heartbeat.interval.ms", "2000" },
	/* the thread polls always: this finds one that hangs */
	{ "max.poll.interval.ms", "30000" },
	{ "fetch.wait.max.ms", "100" },
	{ "fetch.max.bytes", "16777216" },
	{ "message.max.bytes", "1000000" },
	/* Full, the library (2.0.2) looks away for up to a second, whatever is taken meanwhile:
	 * this is what is drained in that time. */
	{ "queued.min.messages", "400000" },
	{ "queued.max.messages.kbytes", "65536" },
	{ "check.crcs", "true" },
	{ NULL, NULL },
};

static struct kafka_feed *kafka_feed(struct feed *feed)
{
	return (struct kafka_feed *)feed;
}

/* Under the lock: the thread looks up, wherever it waits. */
static void wake_thread(struct kafka_feed *feed)
{
	feed->waits = false;
	pthread_cond_signal(&feed->room);
	if (feed->wake)
		rd_kafka_queue_yield(feed->wake);
}

/* ---- places */

static void free_places(struct kafka_place *places, size_t count)
{
	for (size_t i = 0; i < count; i++)
		free(places[i].topic);
	free(places);
}

void kafka_feed_place(struct kafka_feed *feed, struct kafka_partition *partition)
{
	partition->place = PLACE_NONE;
	for (size_t i = 0; i < feed->place_count; i++) {
		if (strcmp(feed->places[i].topic, partition->topic) != 0)
			continue;
		partition->place = feed->places[i].index;
		partition->latest = feed->places[i].latest;
		return;
	}
}

/* Kafka dead-letters nothing by itself: such a place is none here. */
static void feed_serve(struct feed *base, const struct feed_place *places, size_t count)
{
	struct kafka_feed *feed = kafka_feed(base);
	struct kafka_place *mine = xcalloc(count + 1, sizeof(*mine)), *old;
	size_t mine_count = 0, old_count;

	for (size_t i = 0; i < count; i++) {
		if (places[i].dead)
			continue;
		mine[mine_count++] = (struct kafka_place){ .topic = xstrdup(places[i].topic),
							   .dispatched = places[i].dispatched,
							   .latest = places[i].latest,
							   .partitions = places[i].partitions,
							   .index = places[i].index };
	}
	pthread_mutex_lock(&feed->lock);
	old = feed->places;
	old_count = feed->place_count;
	feed->places = mine;
	feed->place_count = mine_count;
	feed->places_new = true;
	for (size_t i = 0; i < feed->partition_count; i++)
		kafka_feed_place(feed, feed->partitions[i]);
	wake_thread(feed);
	pthread_mutex_unlock(&feed->lock);
	free_places(old, old_count);
}

/* ---- taking, giving back */

/* The stack has one writer that adds and one that takes all: nothing is ever popped from its
 * middle, so a pointer that comes back is no danger. */
static void hand_back(struct kafka_feed *feed, struct kafka_delivery *delivery,
		      enum kafka_return verdict)
{
	struct kafka_delivery *top = atomic_load(&feed->returned);

	delivery->verdict = verdict;
	do {
		delivery->next = top;
	} while (!atomic_compare_exchange_weak(&feed->returned, &top, delivery));
}

static void hand_back_and_tell(struct kafka_feed *feed, struct kafka_delivery *delivery,
			       enum kafka_return verdict)
{
	hand_back(feed, delivery, verdict);
	if (!atomic_load(&feed->wants_returned) || !atomic_exchange(&feed->wants_returned, false))
		return;
	pthread_mutex_lock(&feed->lock);
	wake_thread(feed);
	pthread_mutex_unlock(&feed->lock);
}

static size_t feed_take(struct feed *base, struct delivery **deliveries_r, size_t max)
{
	struct kafka_feed *feed = kafka_feed(base);
	size_t count = 0;

	pthread_mutex_lock(&feed->lock);
	while (count < max && feed->ready.head) {
		struct kafka_delivery *delivery = kafka_queue_take(&feed->ready);

		delivery->delivery.place = delivery->partition->place;
		if (delivery->delivery.place == PLACE_NONE)
			hand_back(feed, delivery, KAFKA_RETURN_DROP);
		else
			deliveries_r[count++] = &delivery->delivery;
	}
	if (feed->waits && 2 * feed->ready.count <= feed->buffer_max)
		wake_thread(feed);
	pthread_mutex_unlock(&feed->lock);
	return count;
}

static void feed_ack(struct feed *base, struct delivery *delivery)
{
	hand_back_and_tell(kafka_feed(base), delivery->feed_data, KAFKA_RETURN_ACK);
}

/* A log cannot hand one message to somebody else: it comes again here, or, when we are ending, to
 * whoever gets the partition. */
static void feed_give_back(struct feed *base, struct delivery *delivery, int64_t delay_ms)
{
	struct kafka_feed *feed = kafka_feed(base);
	struct kafka_delivery *mine = delivery->feed_data;
	bool stopping;

	pthread_mutex_lock(&feed->lock);
	stopping = feed->stopping;
	pthread_mutex_unlock(&feed->lock);
	mine->due_ms = clock_mono_ms() + delay_ms;
	hand_back_and_tell(feed, mine, stopping ? KAFKA_RETURN_DROP : KAFKA_RETURN_AGAIN);
}

static void feed_stop(struct feed *base)
{
	struct kafka_feed *feed = kafka_feed(base);
	struct kafka_delivery *delivery;

	pthread_mutex_lock(&feed->lock);
	feed->stopping = true;
	while ((delivery = kafka_queue_take(&feed->ready)))
		hand_back(feed, delivery, KAFKA_RETURN_DROP);
	wake_thread(feed);
	pthread_mutex_unlock(&feed->lock);
}

static struct timespec after_ms(int timeout_ms)
{
	int64_t until_ms = clock_mono_ms() + timeout_ms;

	return (struct timespec){ .tv_sec = until_ms / 1000, .tv_nsec = until_ms % 1000 * 1000000 };
}

static void feed_flush(struct feed *base, int timeout_ms)
{
	struct kafka_feed *feed = kafka_feed(base);
	struct timespec until = after_ms(timeout_ms);
	uint64_t mine;

	pthread_mutex_lock(&feed->lock);
	mine = ++feed->flush_asked;
	feed->flush_ms = timeout_ms;
	wake_thread(feed);
	while (feed->flush_done < mine) {
		if (pthread_cond_timedwait(&feed->flushed, &feed->lock, &until) == ETIMEDOUT)
			break;
	}
	pthread_mutex_unlock(&feed->lock);
}

static size_t feed_positions(struct feed *base, const struct position **positions_r)
{
	struct kafka_feed *feed = kafka_feed(base);
	size_t count = 0;

	pthread_mutex_lock(&feed->lock);
	if (feed->moved_count > feed->told_max) {
		feed->told_max = feed->moved_count;
		feed->told = xrealloc(feed->told, feed->told_max * sizeof(*feed->told));
	}
	for (size_t i = 0; feed->moved_count > 0; i++) {
		struct kafka_partition *partition = feed->partitions[i];

		if (!partition->moved)
			continue;
		partition->moved = false;
		feed->moved_count--;
		feed->told[count++] = (struct position){ .group = feed->group,
							 .topic = partition->topic,
							 .partition = partition->number,
							 .offset = partition->position };
	}
	pthread_mutex_unlock(&feed->lock);
	*positions_r = feed->told;
	return count;
}

static bool feed_ready(struct feed *base, struct strbuf *why_r)
{
	struct kafka_feed *feed = kafka_feed(base);
	bool ready;

	pthread_mutex_lock(&feed->lock);
	ready = !feed->trouble[0];
	if (!ready)
		strbuf_printf(why_r, "Kafka: %s", feed->trouble);
	pthread_mutex_unlock(&feed->lock);
	return ready;
}

/* ---- its life */

static void free_partitions(struct kafka_feed *feed)
{
	for (size_t i = 0; i < feed->partition_count; i++) {
		struct kafka_partition *partition = feed->partitions[i];

		offset_tracker_release(&partition->tracker);
		free(partition->topic);
		free(partition->prefix);
		free(partition);
	}
	free(feed->partitions);
}

static void release(struct kafka_feed *feed)
{
	free_partitions(feed);
	free_places(feed->places, feed->place_count);
	kafka_pool_release(&feed->pool);
	free(feed->told);
	free(feed->url);
	free(feed->client);
	free(feed->group);
	free(feed->ca_file);
	pthread_cond_destroy(&feed->room);
	pthread_cond_destroy(&feed->flushed);
	pthread_mutex_destroy(&feed->lock);
	free(feed);
}

/* The library may hang in its goodbye. The process is ending then: its thread and what that may
 * still touch are left behind. */
static void feed_free(struct feed **base)
{
	struct kafka_feed *feed = kafka_feed(*base);
	struct timespec until = after_ms(END_MS);

	if (!feed)
		return;
	*base = NULL;
	pthread_mutex_lock(&feed->lock);
	feed->stopping = feed->closing = true;
	wake_thread(feed);
	pthread_mutex_unlock(&feed->lock);
	if (pthread_clockjoin_np(feed->thread, NULL, CLOCK_MONOTONIC, &until) == 0) {
		release(feed);
		return;
	}
	log_line(LOG_ERROR, "kafka-feed-left-behind", LOG_I("after_ms", END_MS));
	pthread_detach(feed->thread);
}

static const struct feed_ops kafka_feed_ops = {
	.name = "kafka",
	.serve = feed_serve,
	.take = feed_take,
	.ack = feed_ack,
	.give_back = feed_give_back,
	.stop = feed_stop,
	.flush = feed_flush,
	.positions = feed_positions,
	.ready = feed_ready,
	.free = feed_free,
};

static void init_locks(struct kafka_feed *feed)
{
	pthread_condattr_t attr;

	CHECK(pthread_mutex_init(&feed->lock, NULL) == 0);
	CHECK(pthread_condattr_init(&attr) == 0);
	CHECK(pthread_condattr_setclock(&attr, CLOCK_MONOTONIC) == 0);
	CHECK(pthread_cond_init(&feed->room, &attr) == 0);
	CHECK(pthread_cond_init(&feed->flushed, &attr) == 0);
	pthread_condattr_destroy(&attr);
}

rd_kafka_conf_t *kafka_feed_configure(struct kafka_feed *feed, struct error *err_r)
{
	const struct kafka_config_options options = { .broker_url = feed->url,
						      .client = feed->client,
						      .ca_file = feed->ca_file };
	const struct kafka_setting group[] = { { "group.id", feed->group }, { NULL, NULL } };
	rd_kafka_conf_t *conf = kafka_config_new(&options, err_r);

	if (!conf)
		return NULL;
	kafka_config_set(conf, consumer_settings);
	kafka_config_set(conf, group);
	rd_kafka_conf_set_opaque(conf, feed);
	rd_kafka_conf_set_rebalance_cb(conf, kafka_partitions_rebalance);
	return conf;
}

struct feed *kafka_feed_new(const struct feed_options *options, struct error *err_r)
{
	struct kafka_feed *feed = xcalloc(1, sizeof(*feed));
	rd_kafka_conf_t *conf;

	feed->base.ops = &kafka_feed_ops;
	feed->url = xstrdup(options->broker_url);
	feed->client = xstrdup(options->client);
	feed->group = xstrdup(options->group);
	feed->ca_file = options->ca_file ? xstrdup(options->ca_file) : NULL;
	feed->buffer_max = options->buffer_max > 0 ? options->buffer_max : 1;
	feed->message_bytes_max = options->message_bytes_max;
	feed->store = options->store;
	feed->metrics = options->metrics;
	feed->ring = options->ring;
	feed->ctx = options->ctx;
	kafka_pool_init(&feed->pool);
	kafka_queue_init(&feed->ready);
	kafka_queue_init(&feed->burst);
	kafka_queue_init(&feed->later);
	memcpy(feed->trouble, "connecting", sizeof("connecting"));
	init_locks(feed);
	conf = kafka_feed_configure(feed, err_r); /* so that the URL's faults are told now */
	if (!conf) {
		release(feed);
		return NULL;
	}
	rd_kafka_conf_destroy(conf);
	CHECK(pthread_create(&feed->thread, NULL, kafka_loop, feed) == 0);
	return &feed->base;
}
