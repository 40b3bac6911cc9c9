/* SPDX-License-Identifier: Apache-2.0 */
/* Where the partitions of a Kafka feed start: at the store's position, else at the group's offset,
 * else where their source says. As long as one of these cannot be asked nothing is fetched, and it
 * is asked again, with pauses; a guess could skip messages for ever. */
#include "consumers/subscribe/kafka_feed_impl.h"

#include <stdio.h>
#include <stdlib.h>

#include "common/base/arena.h"
#include "common/base/clock.h"
#include "common/base/log.h"

#define COMMITTED_MS    5000
#define WATERMARKS_MS   2000
#define START_PAUSE_MS  500
#define START_PAUSE_MAX 10000
#define START_AT_ONCE   500

static size_t collect(const struct kafka_feed *feed, enum kafka_partition_state state,
		      struct kafka_partition **some_r)
{
	size_t count = 0;

	for (size_t i = 0; i < feed->partition_count && count < START_AT_ONCE; i++) {
		if (feed->partitions[i]->state == state)
			some_r[count++] = feed->partitions[i];
	}
	return count;
}

/* First the store's word: it holds what the positions stand for. */
static int ask_store(struct kafka_feed *feed, struct kafka_partition *const *some, size_t count,
		     int64_t *offsets_r, struct error *err_r)
{
	struct position *positions = xcalloc(count, sizeof(*positions));
	int done = 0;

	for (size_t i = 0; i < count; i++)
		positions[i] = (struct position){ .group = feed->group,
						  .topic = some[i]->topic,
						  .partition = some[i]->number,
						  .offset = -1 };
	if (feed->store)
		done = position_load(feed->store, positions, count, err_r);
	for (size_t i = 0; i < count; i++)
		offsets_r[i] = positions[i].offset;
	free(positions);
	return done;
}

/* Then the group's. */
static int ask_group(struct kafka_feed *feed, struct kafka_partition *const *some, size_t count,
		     int64_t *offsets, struct error *err_r)
{
	rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new((int)count);
	rd_kafka_resp_err_t code = 0;

	for (size_t i = 0; i < count; i++) {
		if (offsets[i] < 0)
			kafka_list_add(list, some[i], RD_KAFKA_OFFSET_INVALID);
	}
	if (list->cnt > 0)
		code = rd_kafka_committed(feed->rk, list, COMMITTED_MS);
	for (int at = 0; !code && at < list->cnt; at++)
		code = list->elems[at].err;
	for (size_t i = 0, at = 0; !code && i < count; i++) {
		if (offsets[i] < 0)
			offsets[i] = list->elems[at++].offset;
	}
	rd_kafka_topic_partition_list_destroy(list);
	return code ? kafka_error(err_r, code, "asking for the group's offsets") : 0;
}

/* Then what the source says. The end is made a number now and stored as a position: else what comes
 * before the first acknowledgement would be skipped by a restart. */
static int ask_place(struct kafka_feed *feed, struct kafka_partition *partition, int64_t *offset_r,
		     struct error *err_r)
{
	rd_kafka_resp_err_t code;
	int64_t low;
	bool latest;

	pthread_mutex_lock(&feed->lock);
	latest = partition->latest;
	pthread_mutex_unlock(&feed->lock);
	*offset_r = RD_KAFKA_OFFSET_BEGINNING;
	if (!latest)
		return 0;
	code = rd_kafka_query_watermark_offsets(feed->rk, partition->topic, partition->number, &low,
						offset_r, WATERMARKS_MS);
	if (code)
		return kafka_error(err_r, code, "asking for the end of a partition");
	partition->touched = true;
	return 0;
}

static int find_starts(struct kafka_feed *feed, struct kafka_partition *const *some, size_t count,
		       int64_t *offsets_r, struct error *err_r)
{
	if (ask_store(feed, some, count, offsets_r, err_r) < 0)
		return error_wrap(err_r, "stored positions");
	if (ask_group(feed, some, count, offsets_r, err_r) < 0)
		return -1;
	for (size_t i = 0; i < count; i++) {
		if (offsets_r[i] < 0 && ask_place(feed, some[i], &offsets_r[i], err_r) < 0)
			return -1;
	}
	return 0;
}

static int hand_over(struct kafka_feed *feed, struct kafka_partition *const *some, size_t count,
		     const int64_t *offsets, struct error *err_r)
{
	rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new((int)count);
	rd_kafka_error_t *error;

	for (size_t i = 0; i < count; i++)
		kafka_list_add(list, some[i], offsets[i]);
	error = rd_kafka_incremental_assign(feed->rk, list);
	rd_kafka_topic_partition_list_destroy(list);
	if (!error)
		return 0;
	error_set(err_r, ERROR_UNAVAILABLE, "Kafka: %s", rd_kafka_error_string(error));
	rd_kafka_error_destroy(error);
	return -1;
}

static void started(struct kafka_feed *feed, struct kafka_partition *partition, int64_t offset)
{
	bool store = partition->touched;

	kafka_partition_begin(feed, partition, PARTITION_TAKING, offset < 0 ? -1 : offset);
	partition->touched = store;
	partition->started = offset;
	log_line(LOG_DEBUG, "kafka-partition-started", LOG_S("topic", partition->topic),
		 LOG_I("partition", partition->number), LOG_I("offset", offset));
}

static void start_failed(struct kafka_feed *feed, int64_t now_ms, const struct error *error)
{
	int64_t pause_ms = START_PAUSE_MAX;

	if (feed->start_failures < 5)
		pause_ms = START_PAUSE_MS << feed->start_failures;
	if (feed->start_failures++ == 0)
		log_line(LOG_WARN, "kafka-start-unknown", LOG_S("group", feed->group),
			 LOG_S("error", error->message));
	feed->start_at_ms = now_ms + pause_ms / 2 + (int64_t)random_below((uint64_t)pause_ms / 2);
	snprintf(feed->start_trouble, sizeof(feed->start_trouble), "%.250s", error->message);
}

void kafka_start(struct kafka_feed *feed, int64_t now_ms)
{
	struct kafka_partition *some[START_AT_ONCE];
	int64_t offsets[START_AT_ONCE];
	struct error error;
	size_t count;

	if (now_ms < feed->start_at_ms)
		return;
	count = collect(feed, PARTITION_WAITING, some);
	feed->start_at_ms = count == START_AT_ONCE ? 0 : INT64_MAX; /* until something is gained */
	feed->start_trouble[0] = '\0';
	if (count == 0)
		return;
	if (find_starts(feed, some, count, offsets, &error) < 0 ||
	    hand_over(feed, some, count, offsets, &error) < 0) {
		start_failed(feed, now_ms, &error);
		return;
	}
	feed->start_failures = 0;
	feed->complaint[0] = '\0';
	for (size_t i = 0; i < count; i++)
		started(feed, some[i], offsets[i]);
	kafka_partitions_store(feed);
}

/* Somebody may have sought meanwhile: a stored position that is another one is tried. */
void kafka_start_again(struct kafka_feed *feed)
{
	struct kafka_partition *some[START_AT_ONCE];
	int64_t offsets[START_AT_ONCE];
	size_t count = collect(feed, PARTITION_STOPPED, some);
	rd_kafka_topic_partition_list_t *list;
	struct error error;

	if (count == 0 || ask_store(feed, some, count, offsets, &error) < 0)
		return;
	list = rd_kafka_topic_partition_list_new((int)count);
	for (size_t i = 0; i < count; i++) {
		if (offsets[i] < 0 || offsets[i] == some[i]->refused)
			continue;
		kafka_list_add(list, some[i], RD_KAFKA_OFFSET_INVALID);
		kafka_partition_begin(feed, some[i], PARTITION_WAITING, -1);
		feed->start_at_ms = 0;
	}
	kafka_partitions_drop(feed);
	if (list->cnt > 0) {
		rd_kafka_resume_partitions(feed->rk, list);
		kafka_partitions_log("unassign", rd_kafka_incremental_unassign(feed->rk, list));
	}
	rd_kafka_topic_partition_list_destroy(list);
}
