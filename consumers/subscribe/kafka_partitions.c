/* SPDX-License-Identifier: Apache-2.0 */
/* The partitions of a Kafka feed: where each starts, what of it is open, what may be stored, and
 * that nothing is stored or told once it is somebody else's. A partition is handed to the library
 * only when its start is known, so nothing is ever sought and nothing paused before its first
 * message: both have lost offsets in the version of the library that we link. */
#include "consumers/subscribe/kafka_feed_impl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/arena.h"
#include "common/base/clock.h"
#include "common/base/log.h"

#define ENDS_MS          1000
#define ENDS_EVERY_MS    10000
#define RECHECK_EVERY_MS 2000
#define SPAN_GOOD        (OFFSET_SPAN_MAX * 3 / 4)

/* ---- knowing them */

static int compare(const char *topic, int32_t number, const struct kafka_partition *partition)
{
	int order = strcmp(topic, partition->topic);

	return order ? order : (number > partition->number) - (number < partition->number);
}

/* Where it is, or would be. */
static size_t find(const struct kafka_feed *feed, const char *topic, int32_t number)
{
	size_t low = 0, high = feed->partition_count;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (compare(topic, number, feed->partitions[middle]) > 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static struct kafka_partition *known(const struct kafka_feed *feed, const char *topic,
				     int32_t number)
{
	size_t at = find(feed, topic, number);

	if (at == feed->partition_count || compare(topic, number, feed->partitions[at]) != 0)
		return NULL;
	return feed->partitions[at];
}

static struct kafka_partition *make(const char *topic, int32_t number)
{
	struct kafka_partition *partition = xcalloc(1, sizeof(*partition));
	size_t bytes = strlen(topic) + 16;

	partition->topic = xstrdup(topic);
	partition->prefix = xmalloc(bytes);
	snprintf(partition->prefix, bytes, "%s/%d/", topic, (int)number);
	partition->number = number;
	partition->end = -1;
	offset_tracker_init(&partition->tracker, -1);
	return partition;
}

static struct kafka_partition *know(struct kafka_feed *feed, const char *topic, int32_t number)
{
	struct kafka_partition *partition = known(feed, topic, number);
	size_t at, count = feed->partition_count;

	if (partition)
		return partition;
	partition = make(topic, number);
	at = find(feed, topic, number);
	pthread_mutex_lock(&feed->lock);
	feed->partitions = xrealloc(feed->partitions, (count + 1) * sizeof(*feed->partitions));
	memmove(feed->partitions + at + 1, feed->partitions + at,
		(count - at) * sizeof(*feed->partitions));
	feed->partitions[at] = partition;
	feed->partition_count++;
	kafka_feed_place(feed, partition);
	pthread_mutex_unlock(&feed->lock);
	return partition;
}

struct kafka_partition *kafka_partitions_of(struct kafka_feed *feed,
					    const rd_kafka_message_t *message)
{
	const char *topic = rd_kafka_topic_name(message->rkt);
	struct kafka_partition *partition = feed->last;

	if (!partition || compare(topic, message->partition, partition) != 0)
		partition = known(feed, topic, message->partition);
	feed->last = partition;
	return partition && partition->state == PARTITION_TAKING ? partition : NULL;
}

/* Is the delivery of an assignment that still holds? */
static bool kafka_partitions_holds(const struct kafka_delivery *delivery)
{
	return delivery->epoch == delivery->partition->epoch;
}

void kafka_list_add(rd_kafka_topic_partition_list_t *list, const struct kafka_partition *partition,
		    int64_t offset)
{
	rd_kafka_topic_partition_list_add(list, partition->topic, partition->number)->offset =
		offset;
}

/* ---- ends: in any order, stored in order */

static void later_add(struct kafka_feed *feed, struct kafka_delivery *delivery)
{
	struct kafka_delivery **at = &feed->later.head;

	while (*at && (*at)->due_ms <= delivery->due_ms)
		at = &(*at)->next;
	delivery->next = *at;
	*at = delivery;
	if (!delivery->next)
		feed->later.tail = &delivery->next;
	feed->later.count++;
}

static void take_back(struct kafka_feed *feed, struct kafka_delivery *delivery)
{
	struct kafka_partition *partition = delivery->partition;

	if (!kafka_partitions_holds(delivery) || delivery->verdict == KAFKA_RETURN_DROP) {
		kafka_delivery_free(&feed->pool, delivery);
	} else if (delivery->verdict == KAFKA_RETURN_AGAIN) {
		later_add(feed, delivery);
	} else {
		if (offset_tracker_done(&partition->tracker, delivery->ticket))
			partition->touched = true;
		if (partition->capped && offset_tracker_span(&partition->tracker) <= SPAN_GOOD) {
			partition->capped = false;
			feed->capped_count--;
		}
		kafka_delivery_free(&feed->pool, delivery);
	}
}

/* The only place that stores offsets: with the library, which commits them to the group, and for
 * whoever asks for positions. The tracker has added the one; rd_kafka_offsets_store takes offsets
 * as they are. */
void kafka_partitions_store(struct kafka_feed *feed)
{
	rd_kafka_topic_partition_list_t *list = NULL;

	pthread_mutex_lock(&feed->lock);
	for (size_t i = 0; i < feed->partition_count; i++) {
		struct kafka_partition *partition = feed->partitions[i];

		if (!partition->touched)
			continue;
		CHECK(partition->state != PARTITION_AWAY);
		if (!list)
			list = rd_kafka_topic_partition_list_new(8);
		partition->touched = false;
		partition->position = offset_tracker_position(&partition->tracker);
		feed->moved_count += !partition->moved;
		partition->moved = true;
		kafka_list_add(list, partition, partition->position);
	}
	pthread_mutex_unlock(&feed->lock);
	if (!list)
		return;
	/* Refused for a partition that is not ours any more; then it is not stored, as it should.
	 */
	rd_kafka_offsets_store(feed->rk, list);
	rd_kafka_topic_partition_list_destroy(list);
}

void kafka_partitions_settle(struct kafka_feed *feed)
{
	struct kafka_delivery *returned = atomic_exchange(&feed->returned, NULL);
	struct kafka_delivery *oldest = NULL;

	if (!returned)
		return;
	while (returned) { /* turned round: first come, first */
		struct kafka_delivery *next = returned->next;

		returned->next = oldest;
		oldest = returned;
		returned = next;
	}
	while (oldest) {
		struct kafka_delivery *next = oldest->next;

		take_back(feed, oldest);
		oldest = next;
	}
	kafka_partitions_store(feed);
}

/* ---- assignments */

static void uncap(struct kafka_feed *feed, struct kafka_partition *partition)
{
	feed->capped_count -= partition->capped;
	feed->paused_count -= partition->paused;
	partition->capped = partition->paused = false;
}

/* What is open of the epoch before is dropped wherever it turns up. */
void kafka_partition_begin(struct kafka_feed *feed, struct kafka_partition *partition,
			   enum kafka_partition_state state, int64_t next)
{
	uncap(feed, partition);
	partition->state = state;
	partition->epoch++;
	partition->seen = partition->touched = false;
	offset_tracker_release(&partition->tracker);
	offset_tracker_init(&partition->tracker, next);
	pthread_mutex_lock(&feed->lock);
	feed->moved_count -= partition->moved;
	partition->moved = false;
	pthread_mutex_unlock(&feed->lock);
}

static void drop_stale(struct kafka_feed *feed, struct kafka_queue *queue)
{
	struct kafka_queue keep;
	struct kafka_delivery *delivery;

	kafka_queue_init(&keep);
	while ((delivery = kafka_queue_take(queue))) {
		if (kafka_partitions_holds(delivery))
			kafka_queue_add(&keep, delivery);
		else
			kafka_delivery_free(&feed->pool, delivery);
	}
	kafka_queue_join(queue, &keep);
}

void kafka_partitions_drop(struct kafka_feed *feed)
{
	drop_stale(feed, &feed->burst);
	drop_stale(feed, &feed->later);
	pthread_mutex_lock(&feed->lock);
	drop_stale(feed, &feed->ready);
	pthread_mutex_unlock(&feed->lock);
}

static void leave(struct kafka_feed *feed, struct kafka_partition *partition)
{
	kafka_partition_begin(feed, partition, PARTITION_AWAY, -1);
	if (partition->lag)
		metric_set(partition->lag, 0);
}

void kafka_partitions_forget(struct kafka_feed *feed)
{
	for (size_t i = 0; i < feed->partition_count; i++)
		leave(feed, feed->partitions[i]);
	kafka_partitions_drop(feed);
	feed->last = NULL;
}

void kafka_partitions_log(const char *doing, rd_kafka_error_t *error)
{
	if (!error)
		return;
	log_line(LOG_WARN, "kafka-assignment", LOG_S("doing", doing),
		 LOG_S("error", rd_kafka_error_string(error)));
	rd_kafka_error_destroy(error);
}

/* Ours from now on, but nothing is fetched before kafka_partitions_start. */
static void gained(struct kafka_feed *feed, const rd_kafka_topic_partition_list_t *list)
{
	rd_kafka_topic_partition_list_t *none = rd_kafka_topic_partition_list_new(1);

	for (int i = 0; i < list->cnt; i++) {
		struct kafka_partition *partition =
			know(feed, list->elems[i].topic, list->elems[i].partition);

		if (partition->state == PARTITION_AWAY)
			kafka_partition_begin(feed, partition, PARTITION_WAITING, -1);
	}
	feed->assigned = true;
	feed->start_at_ms = 0;
	feed->start_failures = 0;
	kafka_partitions_log("assign", rd_kafka_incremental_assign(feed->rk, none));
	rd_kafka_topic_partition_list_destroy(none);
}

/* What is over is stored before, unless the partitions are another's already. A pause would outlive
 * the assignment inside the library: it is undone first. */
static void lost(struct kafka_feed *feed, const rd_kafka_topic_partition_list_t *list)
{
	rd_kafka_topic_partition_list_t *held = rd_kafka_topic_partition_list_new(list->cnt + 1);
	rd_kafka_topic_partition_list_t *paused = rd_kafka_topic_partition_list_new(list->cnt + 1);

	if (!rd_kafka_assignment_lost(feed->rk))
		kafka_partitions_settle(feed);
	for (int i = 0; i < list->cnt; i++) {
		struct kafka_partition *partition =
			known(feed, list->elems[i].topic, list->elems[i].partition);

		if (!partition || partition->state == PARTITION_AWAY)
			continue;
		if (partition->paused)
			kafka_list_add(paused, partition, RD_KAFKA_OFFSET_INVALID);
		if (partition->state != PARTITION_WAITING)
			kafka_list_add(held, partition, RD_KAFKA_OFFSET_INVALID);
		leave(feed, partition);
	}
	kafka_partitions_drop(feed);
	if (paused->cnt > 0)
		rd_kafka_resume_partitions(feed->rk, paused);
	kafka_partitions_log("unassign", rd_kafka_incremental_unassign(feed->rk, held));
	rd_kafka_topic_partition_list_destroy(paused);
	rd_kafka_topic_partition_list_destroy(held);
}

void kafka_partitions_rebalance(rd_kafka_t *rk, rd_kafka_resp_err_t code,
				rd_kafka_topic_partition_list_t *list, void *ctx)
{
	struct kafka_feed *feed = ctx;
	bool gain = code == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS;

	log_line(LOG_INFO, gain ? "kafka-partitions-assigned" : "kafka-partitions-revoked",
		 LOG_S("group", feed->group), LOG_I("count", list ? list->cnt : 0),
		 LOG_S("lost", rd_kafka_assignment_lost(rk) ? "yes" : "no"));
	if (strcmp(rd_kafka_rebalance_protocol(rk), "COOPERATIVE") == 0 && list) {
		if (gain)
			gained(feed, list);
		else
			lost(feed, list);
		return;
	}
	/* No group to speak of: the client is ending, or could not join. */
	kafka_partitions_forget(feed);
	rd_kafka_assign(rk, NULL);
}

/* ---- pausing */

static void ask_ends(struct kafka_feed *feed, rd_kafka_topic_partition_list_t *list)
{
	rd_kafka_resp_err_t code = 0;

	for (int i = 0; i < list->cnt; i++)
		list->elems[i].offset = RD_KAFKA_OFFSET_END;
	if (list->cnt > 0)
		code = rd_kafka_offsets_for_times(feed->rk, list, ENDS_MS);
	for (int i = 0; !code && i < list->cnt; i++) {
		rd_kafka_topic_partition_t *one = &list->elems[i];

		if (!one->err && one->offset >= 0)
			known(feed, one->topic, one->partition)->end = one->offset;
	}
}

/* The threads that fetch do not notice a resumption by themselves for up to a second; a question to
 * each leader wakes them. */
static void resume(struct kafka_feed *feed, rd_kafka_topic_partition_list_t *list)
{
	rd_kafka_resume_partitions(feed->rk, list);
	if (!feed->away)
		ask_ends(feed, list);
}

/* Pauses, or resumes, what is not yet. Before its first message a partition is left alone. */
static void pause_some(struct kafka_feed *feed, bool pause, bool full)
{
	rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(8);

	for (size_t i = 0; i < feed->partition_count; i++) {
		struct kafka_partition *partition = feed->partitions[i];

		if (partition->state != PARTITION_TAKING || !partition->seen ||
		    (full || partition->capped) != pause || partition->paused == pause)
			continue;
		partition->paused = pause;
		kafka_list_add(list, partition, RD_KAFKA_OFFSET_INVALID);
	}
	if (pause && list->cnt > 0) {
		feed->paused_count += (size_t)list->cnt;
		rd_kafka_pause_partitions(feed->rk, list);
	} else if (list->cnt > 0) {
		feed->paused_count -= (size_t)list->cnt;
		resume(feed, list);
	}
	rd_kafka_topic_partition_list_destroy(list);
}

void kafka_partitions_pause(struct kafka_feed *feed, bool full)
{
	pause_some(feed, true, full);
	pause_some(feed, false, full);
}

/* ---- partitions that stand still */

static void stop_partition(struct kafka_feed *feed, struct kafka_partition *partition,
			   const char *reason)
{
	int64_t position = offset_tracker_position(&partition->tracker);

	partition->state = PARTITION_STOPPED;
	partition->refused = position >= 0 ? position : partition->started;
	feed->recheck_at_ms = clock_mono_ms() + RECHECK_EVERY_MS;
	log_line(LOG_ERROR, "kafka-offset-lost", LOG_S("group", feed->group),
		 LOG_S("topic", partition->topic), LOG_I("partition", partition->number),
		 LOG_I("offset", partition->refused), LOG_S("reason", reason));
}

static void complain(struct kafka_feed *feed, const rd_kafka_message_t *message)
{
	char text[sizeof(feed->complaint)];

	snprintf(text, sizeof(text), "%.80s %.160s",
		 message->rkt ? rd_kafka_topic_name(message->rkt) : "",
		 kafka_refusal(message->err) ? kafka_refusal(message->err)
					     : rd_kafka_message_errstr(message));
	if (strcmp(text, feed->complaint) == 0)
		return;
	memcpy(feed->complaint, text, sizeof(text));
	log_line(LOG_WARN, "kafka-consumer", LOG_S("group", feed->group),
		 LOG_S("error", feed->complaint));
}

void kafka_partitions_error(struct kafka_feed *feed, const rd_kafka_message_t *message)
{
	struct kafka_partition *partition;

	switch (message->err) {
	case RD_KAFKA_RESP_ERR__PARTITION_EOF:
		return;
	case RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET:
	case RD_KAFKA_RESP_ERR__NO_OFFSET:
	case RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE:
		partition = message->rkt ? kafka_partitions_of(feed, message) : NULL;
		if (partition)
			stop_partition(feed, partition, rd_kafka_message_errstr(message));
		return;
	case RD_KAFKA_RESP_ERR__FATAL:
		feed->fatal = true;
		break;
	default:
		break;
	}
	complain(feed, message);
}

/* The library knows the end of a partition from what it fetches: not of one that stands still. */
static void ask_still_ends(struct kafka_feed *feed)
{
	rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(8);

	for (size_t i = 0; i < feed->partition_count; i++) {
		struct kafka_partition *partition = feed->partitions[i];

		if (partition->paused || partition->state == PARTITION_STOPPED)
			kafka_list_add(list, partition, RD_KAFKA_OFFSET_END);
	}
	ask_ends(feed, list);
	rd_kafka_topic_partition_list_destroy(list);
}

static void show_lag(struct kafka_feed *feed, struct kafka_partition *partition)
{
	int64_t low, high, position = offset_tracker_position(&partition->tracker);
	char number[16];

	if (!partition->lag) {
		snprintf(number, sizeof(number), "%d", (int)partition->number);
		partition->lag =
			metrics_series(feed->metrics, METRIC_SOURCE_LAG, partition->topic, number);
	}
	if (rd_kafka_get_watermark_offsets(feed->rk, partition->topic, partition->number, &low,
					   &high))
		low = high = -1;
	if (high > partition->end)
		partition->end = high;
	if (position < low)
		position = low;
	if (position >= 0 && partition->end >= position)
		metric_set(partition->lag, (double)(partition->end - position));
}

void kafka_partitions_upkeep(struct kafka_feed *feed, int64_t now_ms)
{
	if (now_ms >= feed->recheck_at_ms) {
		feed->recheck_at_ms = now_ms + RECHECK_EVERY_MS;
		kafka_start_again(feed);
	}
	if (now_ms >= feed->ends_at_ms && !feed->away) {
		feed->ends_at_ms = now_ms + ENDS_EVERY_MS;
		ask_still_ends(feed);
	}
	for (size_t i = 0; i < feed->partition_count; i++) {
		if (feed->partitions[i]->state >= PARTITION_TAKING)
			show_lag(feed, feed->partitions[i]);
	}
}

bool kafka_partitions_ready(struct kafka_feed *feed, struct strbuf *why_r)
{
	for (size_t i = 0; i < feed->partition_count; i++) {
		const struct kafka_partition *partition = feed->partitions[i];

		if (partition->state != PARTITION_STOPPED)
			continue;
		strbuf_printf(why_r,
			      "%.100s/%d stands still: offset %lld is not in its log (windlass "
			      "source seek)",
			      partition->topic, (int)partition->number,
			      (long long)partition->refused);
		return false;
	}
	if (feed->start_trouble[0]) {
		strbuf_printf(why_r, "where to start is not known: %s", feed->start_trouble);
		return false;
	}
	return true;
}
