/* SPDX-License-Identifier: Apache-2.0 */
/* The thread of the Kafka feed. It polls always, one message at a time (the batch calls of the
 * version that we link lose messages around a pause), copies a burst and hands it over as a list.
 * When the taker has no room it waits a moment, since a pause throws away what was fetched ahead;
 * only then are partitions paused, and polling goes on, or the group would take us for dead. */
#include <stdio.h>
#include <stdlib.h>

#include "common/base/arena.h"
#include "common/base/clock.h"
#include "common/base/log.h"

#include "consumers/subscribe/kafka_feed_impl.h"

#define BURST_MAX        256
#define POLL_MS          50
#define STALL_MS         1000 /* without room before partitions are paused: that throws much away */
#define STALL_STEP_MS    10
#define UPKEEP_EVERY_MS  500
#define PROBE_EVERY_MS   2000
#define PROBE_WAIT_MS    200
#define CREATE_MS        3000
#define CREATE_EVERY_MS  10000
#define OPEN_PAUSE_MS    1000
#define JOIN_MS          12000 /* a join that was broken off holds up its group for session.timeout.ms */
#define GOODBYE_PROBE_MS 1000
#define CLOSE_MS         2000

/* ---- the consumer's life */

static void on_trouble(rd_kafka_t *rk, int code, const char *reason, void *ctx)
{
	struct kafka_feed *feed = ctx;

	(void)rk;
	if (code == RD_KAFKA_RESP_ERR__FATAL)
		feed->fatal = true;
	else if (code == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN)
		feed->away = "no broker answers";
	else if (code == RD_KAFKA_RESP_ERR__AUTHENTICATION)
		feed->away = "the broker does not accept user and password";
	else if (code == RD_KAFKA_RESP_ERR__SSL)
		feed->away = "TLS cannot be agreed upon";
	log_line(feed->fatal ? LOG_WARN : LOG_DEBUG, "kafka-trouble", LOG_S("group", feed->group),
		 LOG_S("reason", reason));
}

static int open_consumer(struct kafka_feed *feed, struct error *err_r)
{
	rd_kafka_conf_t *conf = kafka_feed_configure(feed, err_r);

	if (!conf)
		return -1;
	rd_kafka_conf_set_error_cb(conf, on_trouble);
	feed->rk = kafka_client_new(RD_KAFKA_CONSUMER, conf, err_r);
	if (!feed->rk)
		return -1;
	rd_kafka_poll_set_consumer(feed->rk);
	feed->fatal = feed->assigned = feed->subscribed = false;
	feed->away = NULL;
	feed->start_at_ms = INT64_MAX;
	pthread_mutex_lock(&feed->lock);
	feed->wake = rd_kafka_queue_get_consumer(feed->rk);
	feed->places_new = true;
	pthread_mutex_unlock(&feed->lock);
	return 0;
}

static bool is_member(struct kafka_feed *feed)
{
	char *id = rd_kafka_memberid(feed->rk);
	bool member = id && id[0];

	if (id)
		rd_kafka_mem_free(feed->rk, id);
	return member;
}

/* Between the answer to its join and its first assignment the library cannot be closed nor
 * destroyed: the state of its assignor is missing then, and it asserts it (2.0.2,
 * cooperative-sticky). So that assignment is waited for. False: it does not come. */
static bool await_first_assignment(struct kafka_feed *feed)
{
	int64_t until_ms = clock_mono_ms() + JOIN_MS;

	while (feed->subscribed && !feed->assigned && !feed->away && clock_mono_ms() < until_ms) {
		rd_kafka_message_t *message = rd_kafka_consumer_poll(feed->rk, STALL_STEP_MS);

		if (message)
			rd_kafka_message_destroy(message);
	}
	return feed->assigned || !is_member(feed);
}

/* The library can crash or hang when it leaves a group whose coordinator is gone; then the group is
 * left to notice by itself. */
static bool may_say_goodbye(struct kafka_feed *feed)
{
	rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
	rd_kafka_resp_err_t code = RD_KAFKA_RESP_ERR__WAIT_COORD;

	pthread_mutex_lock(&feed->lock);
	if (feed->assigned && feed->place_count > 0)
		rd_kafka_topic_partition_list_add(list, feed->places[0].topic, 0);
	pthread_mutex_unlock(&feed->lock);
	if (list->cnt > 0)
		code = rd_kafka_committed(feed->rk, list, GOODBYE_PROBE_MS);
	rd_kafka_topic_partition_list_destroy(list);
	return code != RD_KAFKA_RESP_ERR__TIMED_OUT && code != RD_KAFKA_RESP_ERR__TRANSPORT &&
	       code != RD_KAFKA_RESP_ERR__WAIT_COORD;
}

static void close_consumer(struct kafka_feed *feed)
{
	bool sound = await_first_assignment(feed);

	kafka_partitions_settle(feed);
	pthread_mutex_lock(&feed->lock);
	rd_kafka_queue_destroy(feed->wake);
	feed->wake = NULL;
	pthread_mutex_unlock(&feed->lock);
	if (sound && may_say_goodbye(feed))
		rd_kafka_consumer_close(feed->rk);
	kafka_partitions_forget(feed);
	if (sound) {
		kafka_client_free(&feed->rk, CLOSE_MS);
	} else {
		log_line(LOG_WARN, "kafka-client-left-behind", LOG_S("why", "still joining"));
		feed->rk = NULL; /* it leaves the group when nobody polls it */
	}
}

/* ---- places */

static rd_kafka_topic_partition_list_t *copy_places(struct kafka_feed *feed,
						    struct kafka_topic **make_r, size_t *count_r)
{
	rd_kafka_topic_partition_list_t *list = NULL;

	pthread_mutex_lock(&feed->lock);
	if (feed->places_new) {
		list = rd_kafka_topic_partition_list_new((int)feed->place_count + 1);
		*make_r = xcalloc(feed->place_count + 1, sizeof(**make_r));
		*count_r = 0;
	}
	for (size_t i = 0; list && i < feed->place_count; i++) {
		const struct kafka_place *place = &feed->places[i];
		rd_kafka_topic_partition_t *one = rd_kafka_topic_partition_list_add(
			list, place->topic, RD_KAFKA_PARTITION_UA);

		if (place->dispatched)
			(*make_r)[(*count_r)++] =
				(struct kafka_topic){ .name = one->topic,
						      .partitions = place->partitions };
	}
	feed->places_new = false;
	pthread_mutex_unlock(&feed->lock);
	return list;
}

/* Queues of ours may be here before a dispatcher has made them. Whether they cannot be made or are
 * there already shows in the subscription. */
static void make_topics(struct kafka_feed *feed, const struct kafka_topic *topics, size_t count)
{
	struct error error;

	if (kafka_topics_create(feed->rk, topics, count, CREATE_MS, &error) == 0)
		return;
	log_line(LOG_WARN, "kafka-topics", LOG_S("error", error.message));
	if (error.code != ERROR_UNAVAILABLE)
		return;
	pthread_mutex_lock(&feed->lock);
	feed->places_new = true; /* all of it again, later */
	pthread_mutex_unlock(&feed->lock);
	feed->create_at_ms = clock_mono_ms() + CREATE_EVERY_MS;
}

static void follow_places(struct kafka_feed *feed, int64_t now_ms)
{
	rd_kafka_topic_partition_list_t *list;
	struct kafka_topic *make = NULL;
	rd_kafka_resp_err_t code = 0;
	size_t make_count;

	if (now_ms < feed->create_at_ms)
		return;
	list = copy_places(feed, &make, &make_count);
	if (!list)
		return;
	feed->complaint[0] = '\0';
	if (make_count > 0)
		make_topics(feed, make, make_count);
	if (list->cnt > 0)
		code = rd_kafka_subscribe(feed->rk, list);
	else
		rd_kafka_unsubscribe(feed->rk);
	feed->subscribed |= list->cnt > 0;
	if (code)
		log_line(LOG_ERROR, "kafka-subscribe", LOG_S("error", rd_kafka_err2str(code)));
	rd_kafka_topic_partition_list_destroy(list);
	free(make);
}

/* ---- messages */

static void publish(struct kafka_feed *feed)
{
	struct kafka_delivery *delivery;
	bool stopping;

	if (!feed->burst.head)
		return;
	pthread_mutex_lock(&feed->lock);
	stopping = feed->stopping;
	if (!stopping)
		kafka_queue_join(&feed->ready, &feed->burst);
	pthread_mutex_unlock(&feed->lock);
	while ((delivery = kafka_queue_take(&feed->burst)))
		kafka_delivery_free(&feed->pool, delivery);
	if (!stopping)
		feed->ring(feed->ctx);
}

/* What came already in this epoch (a resumed fetch may begin a little early) is not taken twice. */
static void accept_message(struct kafka_feed *feed, const rd_kafka_message_t *message)
{
	struct kafka_partition *partition = kafka_partitions_of(feed, message);
	struct kafka_delivery *delivery;

	if (!partition || message->offset < partition->tracker.next)
		return;
	if (offset_tracker_full(&partition->tracker)) {
		feed->fatal = true; /* in spite of a pause: read it all again */
		return;
	}
	delivery = kafka_delivery_new(&feed->pool, message, partition->prefix,
				      feed->message_bytes_max);
	delivery->partition = partition;
	delivery->epoch = partition->epoch;
	delivery->ticket = offset_tracker_add(&partition->tracker, message->offset);
	partition->seen = true;
	if (offset_tracker_full(&partition->tracker)) {
		partition->capped = true;
		feed->capped_count++;
	}
	kafka_queue_add(&feed->burst, delivery);
}

static void poll_messages(struct kafka_feed *feed, int wait_ms)
{
	size_t most = feed->room_left < BURST_MAX ? feed->room_left : BURST_MAX;
	size_t capped = feed->capped_count;

	do {
		rd_kafka_message_t *message = rd_kafka_consumer_poll(feed->rk, wait_ms);

		if (!message)
			break;
		if (message->err)
			kafka_partitions_error(feed, message);
		else
			accept_message(feed, message);
		rd_kafka_message_destroy(message);
		wait_ms = 0;
	} while (feed->burst.count < most && feed->capped_count == capped && !feed->fatal);
	publish(feed);
}

static void redeliver(struct kafka_feed *feed, int64_t now_ms)
{
	while (feed->later.head && feed->later.head->due_ms <= now_ms) {
		struct kafka_delivery *delivery = kafka_queue_take(&feed->later);

		delivery->delivery.message.redelivered = true;
		kafka_queue_add(&feed->burst, delivery);
	}
	publish(feed);
}

/* ---- room */

/* How long there is nothing to do but wait for room. */
static void wait_for_room(struct kafka_feed *feed)
{
	int64_t until_ms = clock_mono_ms() + STALL_STEP_MS;
	struct timespec until = { .tv_sec = until_ms / 1000, .tv_nsec = until_ms % 1000 * 1000000 };

	pthread_mutex_lock(&feed->lock);
	if (feed->waits && !feed->closing && !atomic_load(&feed->returned))
		pthread_cond_timedwait(&feed->room, &feed->lock, &until);
	pthread_mutex_unlock(&feed->lock);
}

static bool measure_room(struct kafka_feed *feed)
{
	bool stopping;
	size_t count;

	pthread_mutex_lock(&feed->lock);
	stopping = feed->stopping;
	count = feed->ready.count;
	if (stopping || count >= feed->buffer_max)
		feed->full = true;
	else if (2 * count <= feed->buffer_max)
		feed->full = false;
	feed->waits = (feed->full || feed->capped_count > 0) && !stopping;
	pthread_mutex_unlock(&feed->lock);
	feed->room_left = feed->full || count >= feed->buffer_max ? 0 : feed->buffer_max - count;
	atomic_store(&feed->wants_returned, feed->capped_count > 0);
	return stopping;
}

/* False: waited a moment, look again before polling. */
static bool mind_room(struct kafka_feed *feed, int64_t now_ms)
{
	bool stopping = measure_room(feed);

	if (!feed->full && feed->capped_count == 0) {
		feed->stalled_ms = 0;
		if (feed->paused_count > 0)
			kafka_partitions_pause(feed, false);
		return true;
	}
	if (feed->stalled_ms == 0)
		feed->stalled_ms = now_ms;
	if (!stopping && now_ms - feed->stalled_ms < STALL_MS) {
		wait_for_room(feed);
		return false;
	}
	kafka_partitions_pause(feed, feed->full);
	return true;
}

/* ---- now and then */

static void commit_now(struct kafka_feed *feed, int timeout_ms)
{
	rd_kafka_queue_t *queue = rd_kafka_queue_new(feed->rk);
	rd_kafka_event_t *event = NULL;

	if (!rd_kafka_commit_queue(feed->rk, NULL, queue, NULL, NULL))
		event = rd_kafka_queue_poll(queue, timeout_ms);
	if (event)
		rd_kafka_event_destroy(event);
	rd_kafka_queue_destroy(queue);
}

static void serve_flush(struct kafka_feed *feed)
{
	uint64_t asked;
	int timeout_ms;
	bool wanted;

	pthread_mutex_lock(&feed->lock);
	asked = feed->flush_asked;
	wanted = feed->flush_done < asked;
	timeout_ms = feed->flush_ms;
	pthread_mutex_unlock(&feed->lock);
	if (!wanted)
		return;
	kafka_partitions_settle(feed);
	if (!feed->away)
		commit_now(feed, timeout_ms);
	pthread_mutex_lock(&feed->lock);
	feed->flush_done = asked;
	pthread_cond_broadcast(&feed->flushed);
	pthread_mutex_unlock(&feed->lock);
}

/* While all is quiet only a question tells that the brokers are back. */
static void probe(struct kafka_feed *feed, int64_t now_ms)
{
	const struct rd_kafka_metadata *metadata;

	if (!feed->away || now_ms < feed->probe_at_ms)
		return;
	feed->probe_at_ms = now_ms + PROBE_EVERY_MS;
	if (rd_kafka_metadata(feed->rk, 0, NULL, &metadata, PROBE_WAIT_MS))
		return;
	rd_kafka_metadata_destroy(metadata);
	feed->away = NULL;
	metric_add(metrics_series(feed->metrics, METRIC_BROKER_RECONNECTS, "consume", NULL), 1);
}

static void tell_trouble(struct kafka_feed *feed)
{
	struct strbuf why;
	bool serves;

	pthread_mutex_lock(&feed->lock);
	serves = feed->place_count > 0;
	pthread_mutex_unlock(&feed->lock);
	strbuf_init(&why);
	if (feed->away)
		strbuf_addstr(&why, feed->away);
	else if (!kafka_partitions_ready(feed, &why))
		; /* it has said why */
	else if (feed->complaint[0])
		strbuf_addstr(&why, feed->complaint);
	else if (serves && !is_member(feed))
		strbuf_addstr(&why, "not in the consumer group yet");
	pthread_mutex_lock(&feed->lock);
	snprintf(feed->trouble, sizeof(feed->trouble), "%s", why.data);
	pthread_mutex_unlock(&feed->lock);
	strbuf_release(&why);
	metric_set(metrics_series(feed->metrics, METRIC_BROKER_CONNECTED, "consume", NULL),
		   !feed->away);
}

static void upkeep(struct kafka_feed *feed, int64_t now_ms)
{
	if (now_ms < feed->upkeep_at_ms)
		return;
	feed->upkeep_at_ms = now_ms + UPKEEP_EVERY_MS;
	probe(feed, now_ms);
	kafka_partitions_upkeep(feed, now_ms);
	tell_trouble(feed);
}

/* ---- the loop */

static int poll_wait_ms(const struct kafka_feed *feed, int64_t now_ms)
{
	int64_t due_ms = feed->later.head ? feed->later.head->due_ms - now_ms : POLL_MS;

	if (atomic_load(&feed->returned))
		return 0;
	return due_ms < 0 ? 0 : due_ms < POLL_MS ? (int)due_ms : POLL_MS;
}

static void turn(struct kafka_feed *feed)
{
	int64_t now_ms = clock_mono_ms();

	follow_places(feed, now_ms);
	kafka_partitions_settle(feed);
	kafka_start(feed, now_ms);
	redeliver(feed, now_ms);
	serve_flush(feed);
	upkeep(feed, now_ms);
	if (mind_room(feed, now_ms))
		poll_messages(feed, poll_wait_ms(feed, now_ms));
}

static bool closing(struct kafka_feed *feed)
{
	bool yes;

	pthread_mutex_lock(&feed->lock);
	yes = feed->closing;
	pthread_mutex_unlock(&feed->lock);
	return yes;
}

static void rest(struct kafka_feed *feed)
{
	int64_t until_ms = clock_mono_ms() + OPEN_PAUSE_MS;
	struct timespec until = { .tv_sec = until_ms / 1000, .tv_nsec = until_ms % 1000 * 1000000 };

	pthread_mutex_lock(&feed->lock);
	if (!feed->closing)
		pthread_cond_timedwait(&feed->room, &feed->lock, &until);
	pthread_mutex_unlock(&feed->lock);
}

void *kafka_loop(void *arg)
{
	struct kafka_feed *feed = arg;
	struct error error;

	while (!closing(feed)) {
		if (feed->rk && !feed->fatal) {
			turn(feed);
		} else if (feed->rk) {
			close_consumer(feed);
			rest(feed);
		} else if (open_consumer(feed, &error) < 0) {
			log_line(LOG_ERROR, "kafka-consumer", LOG_S("error", error.message));
			rest(feed);
		}
	}
	if (feed->rk)
		close_consumer(feed);
	return NULL;
}
