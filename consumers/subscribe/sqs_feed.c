/* SPDX-License-Identifier: Apache-2.0 */
/* The feed of SQS: a thread that lets each of its queues act in turn (sqs_place.c) and waits for
 * answers in between. Takers meet it at one lock: they take from the buffer and put what they want
 * told to SQS into a list. FIFO queues need nothing more: SQS itself hands out nothing of a group
 * while something of it is in hand. */
#include "consumers/subscribe/feed.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/base/arena.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/broker/sqs_batch.h"
#include "consumers/subscribe/sqs_place.h"

#define VISIBLE_S       30 /* unless the URL says otherwise: visibility=30 */
#define LONG_POLL_S     20 /* the longest that SQS allows */
#define SHORT_POLL_S    1  /* when queues have to take turns */
#define UNSETTLED_MAX   2000
#define TURN_MS         1000
#define WANTED_NAME_MAX 128

struct wanted { /* a feed_place, copied */
	struct feed_place place;
	char name[SQS_QUEUE_NAME];
	char topic[WANTED_NAME_MAX];
};

struct sqs_feed {
	struct feed feed;
	struct sqs_link link;
	void (*ring)(void *ctx);
	void *ctx;
	size_t buffer_max;
	struct metric_series *connected, *reconnects;
	pthread_t thread;

	struct sqs_place *places; /* the thread's own */
	size_t turn;              /* whose queue is first to receive */

	pthread_mutex_t lock;
	pthread_cond_t settled; /* `unsettled` has become 0 */
	/* guarded by the lock: */
	struct list buffer; /* not taken */
	size_t buffered;
	struct list told;      /* ended by takers, not seen by the thread yet */
	size_t unsettled;      /* ended, and not with SQS yet */
	struct wanted *wanted; /* NULL: no news */
	size_t wanted_count;
	bool starved; /* the thread waits for room in the buffer */
	bool woken;   /* it will come by */
	bool stop, quit;
	char why[320]; /* not ready; "": ready */
};

static struct sqs_feed *self(struct feed *feed)
{
	return (struct sqs_feed *)feed;
}

/* ---- takers' side */

/* With the lock held; the wake-up itself is better done without. */
static bool must_wake(struct sqs_feed *feed)
{
	bool wake = !feed->woken;

	feed->woken = true;
	return wake;
}

static void unlock_and_wake(struct sqs_feed *feed)
{
	bool wake = must_wake(feed);

	pthread_mutex_unlock(&feed->lock);
	if (wake)
		sqs_client_wake(feed->link.client);
}

/* False: such a queue cannot exist. */
static bool copy_place(struct wanted *wanted, const struct feed_place *place, bool fifo)
{
	struct error error;

	wanted->place = *place;
	wanted->place.fifo = fifo;
	snprintf(wanted->topic, sizeof(wanted->topic), "%s", place->topic);
	if (sqs_queue_name(place->topic, fifo, wanted->name, &error) == 0)
		return true;
	log_line(LOG_ERROR, "sqs-queue-name", LOG_S("why", error.message));
	return false;
}

/* What FIFO queues give up is in a FIFO queue: beside a dead-letter queue its twin is read too. */
static size_t copy_places(struct wanted *wanted, const struct feed_place *places, size_t count)
{
	bool fifo = false;
	size_t n = 0;

	for (size_t i = 0; i < count; i++)
		fifo |= places[i].dispatched && places[i].fifo;
	for (size_t i = 0; i < count; i++) {
		n += copy_place(&wanted[n], &places[i], places[i].fifo);
		if (fifo && places[i].dead && !places[i].fifo)
			n += copy_place(&wanted[n], &places[i], true);
	}
	return n;
}

static void sqs_serve(struct feed *f, const struct feed_place *places, size_t count)
{
	struct sqs_feed *feed = self(f);
	struct wanted *wanted = xcalloc(2 * count + 1, sizeof(*wanted)), *old;
	size_t wanted_count = copy_places(wanted, places, count);

	pthread_mutex_lock(&feed->lock);
	old = feed->wanted;
	feed->wanted = wanted;
	feed->wanted_count = wanted_count;
	unlock_and_wake(feed);
	free(old);
}

static size_t sqs_take(struct feed *f, struct delivery **deliveries_r, size_t max)
{
	struct sqs_feed *feed = self(f);
	size_t count = 0;
	bool wake = false;

	pthread_mutex_lock(&feed->lock);
	while (count < max && feed->buffered) {
		struct sqs_message *message = list_first(&feed->buffer, struct sqs_message, link);

		list_remove(&message->link);
		feed->buffered--;
		deliveries_r[count++] = &message->delivery;
	}
	if (count && feed->starved) {
		feed->starved = false;
		wake = must_wake(feed);
	}
	pthread_mutex_unlock(&feed->lock);
	if (wake)
		sqs_client_wake(feed->link.client);
	return count;
}

static void tell(struct sqs_feed *feed, struct delivery *delivery, enum sqs_ending ending,
		 int64_t return_s)
{
	struct sqs_message *message = delivery->feed_data;

	CHECK(message->ending == SQS_HELD);
	pthread_mutex_lock(&feed->lock);
	message->return_s = return_s;
	list_append(&feed->told, &message->link);
	message->told = ending;
	feed->unsettled++;
	unlock_and_wake(feed);
}

static void sqs_ack(struct feed *f, struct delivery *delivery)
{
	tell(self(f), delivery, SQS_DELETE, 0);
}

static void sqs_give_back(struct feed *f, struct delivery *delivery, int64_t delay_ms)
{
	int64_t delay_s = delay_ms > 0 ? (delay_ms - 1) / 1000 + 1 : 0;

	tell(self(f), delivery, SQS_RETURN,
	     delay_s < SQS_VISIBILITY_MAX_S ? delay_s : SQS_VISIBILITY_MAX_S);
}

static void sqs_stop(struct feed *f)
{
	struct sqs_feed *feed = self(f);

	pthread_mutex_lock(&feed->lock);
	feed->stop = true;
	feed->unsettled += feed->buffered;
	while (!list_empty(&feed->buffer)) {
		struct sqs_message *message = list_first(&feed->buffer, struct sqs_message, link);

		list_remove(&message->link);
		message->told = SQS_RETURN;
		message->return_s = 0;
		list_append(&feed->told, &message->link);
	}
	feed->buffered = 0;
	unlock_and_wake(feed);
}

static void sqs_flush(struct feed *f, int timeout_ms)
{
	struct sqs_feed *feed = self(f);
	struct timespec until;
	int rc = 0;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += timeout_ms / 1000;
	until.tv_nsec += timeout_ms % 1000 * 1000000L;
	if (until.tv_nsec >= 1000000000L) {
		until.tv_sec++;
		until.tv_nsec -= 1000000000L;
	}
	pthread_mutex_lock(&feed->lock);
	while (feed->unsettled && rc == 0)
		rc = pthread_cond_timedwait(&feed->settled, &feed->lock, &until);
	pthread_mutex_unlock(&feed->lock);
}

static bool sqs_ready(struct feed *f, struct strbuf *why_r)
{
	struct sqs_feed *feed = self(f);
	bool ready;

	pthread_mutex_lock(&feed->lock);
	ready = !feed->why[0];
	strbuf_addstr(why_r, feed->why);
	pthread_mutex_unlock(&feed->lock);
	return ready;
}

/* ---- the thread's side */

static bool on_arrived(struct sqs_link *link, struct sqs_message **messages, size_t count)
{
	struct sqs_feed *feed = list_entry(link, struct sqs_feed, link);
	bool wanted;

	pthread_mutex_lock(&feed->lock);
	wanted = !feed->stop && messages[0]->place->served;
	for (size_t i = 0; i < count && wanted; i++) {
		messages[i]->delivery.place = messages[i]->place->index;
		list_append(&feed->buffer, &messages[i]->link);
		feed->buffered++;
	}
	if (!wanted)
		feed->unsettled += count;
	pthread_mutex_unlock(&feed->lock);
	if (wanted)
		feed->ring(feed->ctx);
	return wanted;
}

static void on_settled(struct sqs_link *link, size_t count)
{
	struct sqs_feed *feed = list_entry(link, struct sqs_feed, link);

	pthread_mutex_lock(&feed->lock);
	CHECK(feed->unsettled >= count);
	feed->unsettled -= count;
	if (!feed->unsettled)
		pthread_cond_broadcast(&feed->settled);
	pthread_mutex_unlock(&feed->lock);
}

static struct sqs_place *place_named(struct sqs_feed *feed, const char *name)
{
	struct sqs_place *place = feed->places;

	while (place && strcmp(place->name, name) != 0)
		place = place->next;
	if (!place) {
		place = sqs_place_new(&feed->link, name);
		place->next = feed->places;
		feed->places = place;
	}
	return place;
}

static const char *dead_topic(const struct wanted *wanted, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (wanted[i].place.dead)
			return wanted[i].topic;
	}
	return NULL;
}

/* A queue of ours is made here too when its dead-letter queue is known, so that workers need not
 * wait for a dispatcher. What was buffered for a place that is served no more goes back. */
static void serve(struct sqs_feed *feed, const struct wanted *wanted, size_t count)
{
	const char *dead = dead_topic(wanted, count);

	for (struct sqs_place *place = feed->places; place; place = place->next)
		place->served = false;
	for (size_t i = 0; i < count; i++) {
		const struct feed_place *from = &wanted[i].place;
		struct sqs_place *place = place_named(feed, wanted[i].name);

		place->served = true;
		place->index = from->index;
		place->prefetch = from->prefetch;
		place->dead = from->dead;
		place->ours = from->dead || (from->dispatched && dead);
		free(place->dead_topic);
		place->dead_topic = place->ours && !from->dead ? xstrdup(dead) : NULL;
	}
}

/* With the lock held. */
static void return_unserved(struct sqs_feed *feed)
{
	for (struct list *at = feed->buffer.next, *next; at != &feed->buffer; at = next) {
		struct sqs_message *message = list_entry(at, struct sqs_message, link);

		next = at->next;
		message->delivery.place = message->place->index;
		if (message->place->served)
			continue;
		list_remove(at);
		feed->buffered--;
		message->told = SQS_RETURN;
		message->return_s = 0;
		feed->unsettled++;
		list_append(&feed->told, at);
	}
}

/* What takers have said since the last turn. False: quit. */
static bool hear(struct sqs_feed *feed)
{
	struct list told;
	bool quit;

	list_init(&told);
	pthread_mutex_lock(&feed->lock);
	feed->woken = false;
	if (feed->wanted) {
		serve(feed, feed->wanted, feed->wanted_count);
		return_unserved(feed);
		free(feed->wanted);
		feed->wanted = NULL;
	}
	while (!list_empty(&feed->told)) {
		struct list *first = feed->told.next;

		list_remove(first);
		list_append(&told, first);
	}
	quit = feed->quit;
	for (struct sqs_place *place = feed->places; place && feed->stop; place = place->next)
		place->served = false;
	pthread_mutex_unlock(&feed->lock);
	while (!list_empty(&told)) {
		struct sqs_message *message = list_first(&told, struct sqs_message, link);

		list_remove(&message->link);
		message->ending = message->told;
		sqs_place_end(message);
	}
	return !quit;
}

static size_t served_count(const struct sqs_feed *feed)
{
	size_t count = 0;

	for (const struct sqs_place *place = feed->places; place; place = place->next)
		count += place->served && place->url;
	return count;
}

/* How many messages may still be asked for. */
static size_t room_of(struct sqs_feed *feed)
{
	size_t room = 0, used;

	pthread_mutex_lock(&feed->lock);
	used = feed->buffered + feed->link.reserved;
	if (used < feed->buffer_max && feed->unsettled < UNSETTLED_MAX)
		room = feed->buffer_max - used;
	feed->starved = !room;
	pthread_mutex_unlock(&feed->lock);
	return room;
}

/* Every queue has one receive open before any has a second; who comes first changes, in case that
 * there is no room for all. */
static void receive_all(struct sqs_feed *feed, int64_t now_ms)
{
	size_t count = served_count(feed), room = room_of(feed), started = 1;
	bool crowded = count * SQS_BATCH_MAX > feed->buffer_max;

	feed->turn = count ? (feed->turn + 1) % count : 0;
	while (room && started) {
		size_t at = 0, asked;

		started = 0;
		for (int pass = 0; pass < 2; pass++, at = 0) {
			for (struct sqs_place *p = feed->places; p; p = p->next) {
				if (!p->served || !p->url || (at++ < feed->turn) == (pass == 0))
					continue;
				asked = sqs_place_receive(
					p, room, crowded ? SHORT_POLL_S : LONG_POLL_S, now_ms);
				room -= asked;
				started += asked;
			}
		}
	}
}

static void say_ready(struct sqs_feed *feed)
{
	const char *trouble = sqs_client_trouble(feed->link.client);
	char why[sizeof(feed->why)] = "";

	if (trouble)
		snprintf(why, sizeof(why), "%.300s", trouble);
	for (struct sqs_place *place = feed->places; place && !why[0]; place = place->next) {
		if (place->served && (place->trouble[0] || !place->url))
			snprintf(why, sizeof(why), "%s%s", place->name,
				 place->trouble[0] ? ": not to be read" : ": not looked for yet");
	}
	pthread_mutex_lock(&feed->lock);
	memcpy(feed->why, why, sizeof(why));
	pthread_mutex_unlock(&feed->lock);
}

static int wait_ms(const struct sqs_feed *feed, int64_t now_ms)
{
	int64_t wait = TURN_MS;

	for (const struct sqs_place *place = feed->places; place; place = place->next) {
		int64_t next_ms = sqs_place_next(place);

		if (next_ms >= 0 && next_ms - now_ms < wait)
			wait = next_ms - now_ms;
	}
	return wait > 0 ? (int)wait : 0;
}

static void *feed_main(void *arg)
{
	struct sqs_feed *feed = arg;

	while (hear(feed)) {
		int64_t now_ms = clock_mono_ms();
		bool opened = false;

		/* One at a time: it blocks, and what is held must be renewed meanwhile. */
		for (struct sqs_place *p = feed->places; p && !opened; p = p->next)
			opened = sqs_place_open(p, now_ms);
		now_ms = clock_mono_ms();
		for (struct sqs_place *p = feed->places; p; p = p->next)
			sqs_place_tend(p, now_ms);
		receive_all(feed, now_ms);
		say_ready(feed);
		sqs_client_poll(feed->link.client, wait_ms(feed, now_ms));
	}
	return NULL;
}

/* ---- life */

static void sqs_free(struct feed **f)
{
	struct sqs_feed *feed;

	if (!*f)
		return;
	feed = self(*f);
	pthread_mutex_lock(&feed->lock);
	feed->quit = feed->stop = true;
	unlock_and_wake(feed);
	CHECK(pthread_join(feed->thread, NULL) == 0);
	sqs_client_free(&feed->link.client);
	while (feed->places) {
		struct sqs_place *place = feed->places;

		feed->places = place->next;
		sqs_place_free(&place);
	}
	pthread_cond_destroy(&feed->settled);
	pthread_mutex_destroy(&feed->lock);
	free(feed->wanted);
	free(feed);
	*f = NULL;
}

static const struct feed_ops ops = {
	.name = "sqs",
	.serve = sqs_serve,
	.take = sqs_take,
	.ack = sqs_ack,
	.give_back = sqs_give_back,
	.stop = sqs_stop,
	.flush = sqs_flush,
	.ready = sqs_ready,
	.free = sqs_free,
};

static void on_changed(void *ctx, bool up, bool again)
{
	struct sqs_feed *feed = ctx;

	metric_move(feed->connected, up ? 1 : -1);
	if (again)
		metric_add(feed->reconnects, 1);
}

static void feed_init(struct sqs_feed *feed, const struct feed_options *options)
{
	pthread_condattr_t attr;

	feed->feed.ops = &ops;
	feed->link.body_bytes_max = options->message_bytes_max;
	feed->link.arrived = on_arrived;
	feed->link.settled = on_settled;
	feed->ring = options->ring;
	feed->ctx = options->ctx;
	feed->buffer_max = options->buffer_max;
	CHECK(feed->buffer_max > 0);
	list_init(&feed->buffer);
	list_init(&feed->told);
	snprintf(feed->why, sizeof(feed->why), "SQS has not been asked yet");
	CHECK(pthread_mutex_init(&feed->lock, NULL) == 0);
	CHECK(pthread_condattr_init(&attr) == 0);
	CHECK(pthread_condattr_setclock(&attr, CLOCK_MONOTONIC) == 0);
	CHECK(pthread_cond_init(&feed->settled, &attr) == 0);
	pthread_condattr_destroy(&attr);
	CHECK(pthread_create(&feed->thread, NULL, feed_main, feed) == 0);
}

struct feed *sqs_feed_new(const struct feed_options *options, struct error *err_r)
{
	struct arena *arena = arena_new(0);
	struct sqs_feed *feed = xcalloc(1, sizeof(*feed));
	struct broker_url url;
	struct sqs_client_options client = {
		.url = &url, .ca_file = options->ca_file, .changed = on_changed, .ctx = feed
	};
	const char *visible = NULL;

	feed->connected =
		metrics_series(options->metrics, METRIC_BROKER_CONNECTED, "consume", NULL);
	feed->reconnects =
		metrics_series(options->metrics, METRIC_BROKER_RECONNECTS, "consume", NULL);
	if (broker_url_parse_as(BROKER_SQS, options->broker_url, arena, &url, err_r) == 0) {
		visible = broker_url_option(&url, "visibility");
		feed->link.visible_s = visible ? (int)strtol(visible, NULL, 10) : VISIBLE_S;
		feed->link.client = sqs_client_new(&client, err_r);
	}
	arena_free(&arena);
	if (!feed->link.client) {
		free(feed);
		return NULL;
	}
	feed_init(feed, options);
	return &feed->feed;
}
