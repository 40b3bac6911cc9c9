/* SPDX-License-Identifier: Apache-2.0 */
/* The feed of RabbitMQ (feed.h): one connection, one thread, a channel a queue (amqp_tap.h). The
 * thread alone touches the connection; the taker's thread moves deliveries between lists under a
 * lock and rings an eventfd. What is buffered is bounded by the prefetch of its queue, and what
 * nobody takes within a minute goes back, long before the server's consumer_timeout closes the
 * channel over it. */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "common/base/arena.h"
#include "common/base/clock.h"
#include "common/base/log.h"

#include "consumers/subscribe/amqp_tap.h"

#define PREFETCH       500
#define PREFETCH_LEAST 20    /* when many queues share the buffer */
#define UNTAKEN_MS     60000 /* then a buffered message goes back */
#define BACK_DELAY_MAX 10000 /* a message that is given back is held here at most */
#define TICK_MS        1000
#define GOODBYE_MS     1000

struct amqp_feed {
	struct feed base;
	struct arena *arena; /* of url and the texts */
	struct broker_url url;
	const char *client, *ca_file;
	size_t buffer_max;
	void (*ring)(void *ctx);
	void *ctx;
	pthread_t thread;
	int wake_fd;
	struct metric_series *connected, *reconnects;

	pthread_mutex_t lock; /* guards what follows, up to the gap */
	pthread_cond_t told;  /* told_count has moved */
	struct list ready;    /* deliveries to be taken, oldest first */
	struct list taken;
	struct list settled;                /* for the thread */
	uint64_t settled_count, told_count; /* since the start */
	struct feed_place *new_places;
	size_t new_count;
	struct arena *new_arena; /* of their texts; NULL: nothing new */
	bool stopping, quitting;
	bool hungry; /* the taker wanted more than there was */
	bool flushing;
	struct strbuf why;
	bool up;

	struct amqp_hub hub; /* the thread's, as all that follows */
	uint64_t epoch;
	struct amqp_tap **taps;
	size_t tap_count;
	struct list delayed; /* given back, but not yet */
	struct arena *dead_arena;
	uint64_t coming_count; /* settled, and put for the server */
	bool fresh;            /* some of them in this turn */
};

static struct amqp_feed *of(struct feed *feed)
{
	return (struct amqp_feed *)feed;
}

static struct amqp_delivery *entry(struct list *node)
{
	return list_entry(node, struct amqp_delivery, link);
}

static void wake(struct amqp_feed *self)
{
	uint64_t one = 1;

	/* Full means that the thread is woken already. */
	(void)!write(self->wake_fd, &one, sizeof(one));
}

static void list_move_all(struct list *from, struct list *to)
{
	while (!list_empty(from)) {
		struct list *node = from->next;

		list_remove(node);
		list_append(to, node);
	}
}

/* ---- the taker's side */

static void amqp_feed_serve(struct feed *feed, const struct feed_place *places, size_t count)
{
	struct amqp_feed *self = of(feed);
	struct arena *arena = arena_new(0);
	struct feed_place *copy = ARENA_ARRAY(arena, struct feed_place, count + 1);

	for (size_t i = 0; i < count; i++) {
		copy[i] = places[i];
		copy[i].topic = arena_strdup(arena, places[i].topic);
	}
	pthread_mutex_lock(&self->lock);
	arena_free(&self->new_arena);
	self->new_arena = arena;
	self->new_places = copy;
	self->new_count = count;
	pthread_mutex_unlock(&self->lock);
	wake(self);
}

static size_t amqp_feed_take(struct feed *feed, struct delivery **deliveries_r, size_t max)
{
	struct amqp_feed *self = of(feed);
	size_t n = 0;
	bool hungry;

	pthread_mutex_lock(&self->lock);
	while (n < max && !self->stopping && !list_empty(&self->ready)) {
		struct list *node = self->ready.next;

		list_remove(node);
		list_append(&self->taken, node);
		deliveries_r[n++] = &entry(node)->delivery;
	}
	hungry = n < max && !self->hungry;
	if (n < max)
		self->hungry = true;
	pthread_mutex_unlock(&self->lock);
	if (hungry)
		wake(self);
	return n;
}

static void settle(struct amqp_feed *self, struct delivery *taken, enum amqp_verb verb,
		   int64_t back_ms)
{
	struct amqp_delivery *delivery = (struct amqp_delivery *)taken;
	bool first;

	pthread_mutex_lock(&self->lock);
	delivery->verb = verb;
	delivery->back_ms = back_ms;
	first = list_empty(&self->settled);
	list_remove(&delivery->link);
	list_append(&self->settled, &delivery->link);
	self->settled_count++;
	pthread_mutex_unlock(&self->lock);
	if (first)
		wake(self);
}

static void amqp_feed_ack(struct feed *feed, struct delivery *delivery)
{
	settle(of(feed), delivery, AMQP_VERB_ACK, 0);
}

/* RabbitMQ cannot wait, so the delivery is held here; not for long, since it takes up prefetch. */
static void amqp_feed_give_back(struct feed *feed, struct delivery *delivery, int64_t delay_ms)
{
	if (delay_ms > BACK_DELAY_MAX)
		delay_ms = BACK_DELAY_MAX;
	settle(of(feed), delivery, AMQP_VERB_BACK, delay_ms > 0 ? clock_mono_ms() + delay_ms : 0);
}

static void amqp_feed_stop(struct feed *feed)
{
	struct amqp_feed *self = of(feed);

	pthread_mutex_lock(&self->lock);
	self->stopping = true;
	pthread_mutex_unlock(&self->lock);
	wake(self);
}

static void amqp_feed_flush(struct feed *feed, int timeout_ms)
{
	struct amqp_feed *self = of(feed);
	int64_t until_ns = clock_mono_ns() + (int64_t)timeout_ms * 1000000;
	struct timespec until = { .tv_sec = until_ns / 1000000000,
				  .tv_nsec = until_ns % 1000000000 };
	uint64_t want;
	int rc = 0;

	pthread_mutex_lock(&self->lock);
	self->flushing = true;
	wake(self);
	want = self->settled_count;
	while (self->told_count < want && rc == 0)
		rc = pthread_cond_timedwait(&self->told, &self->lock, &until);
	self->flushing = false;
	pthread_mutex_unlock(&self->lock);
}

static bool amqp_feed_ready(struct feed *feed, struct strbuf *why_r)
{
	struct amqp_feed *self = of(feed);
	bool up;

	pthread_mutex_lock(&self->lock);
	up = self->up;
	if (!up)
		strbuf_add(why_r, self->why.data, self->why.len);
	pthread_mutex_unlock(&self->lock);
	return up;
}

/* ---- the thread: what the taker wants */

static size_t prefetch_of(const struct amqp_feed *self, const struct feed_place *place,
			  size_t count)
{
	size_t share = count ? self->buffer_max / count : self->buffer_max;

	if (place->prefetch)
		return place->prefetch;
	if (share < PREFETCH_LEAST)
		share = PREFETCH_LEAST;
	return share < PREFETCH ? share : PREFETCH;
}

static bool still_served(const struct amqp_tap *tap, const struct feed_place *places, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (amqp_tap_serves(tap, &places[i]))
			return true;
	return false;
}

static bool has_tap(const struct amqp_feed *self, const struct feed_place *place)
{
	for (size_t i = 0; i < self->tap_count; i++)
		if (amqp_tap_serves(self->taps[i], place))
			return true;
	return false;
}

/* Takes over new places, with the arena of their texts. */
static void follow_places(struct amqp_feed *self, const struct feed_place *places, size_t count,
			  struct arena *arena)
{
	arena_free(&self->dead_arena);
	self->dead_arena = arena;
	self->hub.dead = NULL;
	for (size_t i = 0; i < count; i++)
		if (places[i].dead)
			self->hub.dead = places[i].topic;
	for (size_t i = 0; i < self->tap_count; i++)
		if (!still_served(self->taps[i], places, count))
			amqp_tap_leave(self->taps[i]);
	self->taps = xrealloc(self->taps, (self->tap_count + count + 1) * sizeof(*self->taps));
	for (size_t i = 0; i < count; i++) {
		if (strlen(places[i].topic) > AMQP_NAME_BYTES_MAX)
			log_line(LOG_ERROR, "broker-queue-refused", LOG_S("queue", places[i].topic),
				 LOG_S("reason", "the name is too long"));
		else if (!has_tap(self, &places[i]))
			self->taps[self->tap_count++] = amqp_tap_new(
				&self->hub, &places[i], prefetch_of(self, &places[i], count));
	}
}

static void settle_all(struct list *list)
{
	while (!list_empty(list)) {
		struct amqp_delivery *delivery = entry(list->next);

		list_remove(&delivery->link);
		amqp_delivery_settle(delivery);
	}
}

static void settle_delayed(struct amqp_feed *self, int64_t now_ms)
{
	for (struct list *node = self->delayed.next, *next; node != &self->delayed; node = next) {
		next = node->next;
		if (self->hub.stopping || now_ms >= entry(node)->back_ms) {
			list_remove(node);
			amqp_delivery_settle(entry(node));
		}
	}
}

/* What the taker has settled; what it gives back later waits in `delayed`. */
static void settle_taken(struct amqp_feed *self, struct list *settled, int64_t now_ms)
{
	for (struct list *node = settled->next, *next; node != settled; node = next) {
		next = node->next;
		if (entry(node)->back_ms > now_ms && amqp_delivery_valid(entry(node))) {
			list_remove(node);
			list_append(&self->delayed, node);
		}
	}
	settle_all(settled);
	settle_delayed(self, now_ms);
	for (size_t i = 0; i < self->tap_count; i++)
		amqp_tap_put_acks(self->taps[i], now_ms);
}

/* False: the thread shall end. */
static bool listen(struct amqp_feed *self, int64_t now_ms)
{
	struct feed_place *places = NULL;
	struct arena *arena;
	struct list settled;
	size_t count;
	uint64_t sink;
	bool hungry, quitting;

	(void)!read(self->wake_fd, &sink, sizeof(sink));
	list_init(&settled);
	pthread_mutex_lock(&self->lock);
	list_move_all(&self->settled, &settled);
	self->fresh = self->coming_count != self->settled_count;
	self->coming_count = self->settled_count;
	arena = self->new_arena;
	places = self->new_places;
	count = self->new_count;
	self->new_arena = NULL;
	self->hub.stopping = self->stopping;
	self->hub.hurried = self->stopping || self->flushing;
	hungry = self->hungry && list_empty(&self->ready);
	quitting = self->quitting;
	pthread_mutex_unlock(&self->lock);
	if (arena)
		follow_places(self, places, count, arena);
	for (size_t i = 0; hungry && i < self->tap_count; i++)
		amqp_tap_wake(self->taps[i]);
	settle_taken(self, &settled, now_ms);
	return !quitting;
}

/* ---- the thread: what the server says */

/* Deliveries that nobody has taken and that shall not be taken any more go to `back`. */
static void sift(struct amqp_feed *self, int64_t now_ms, struct list *back)
{
	bool stale = self->hub.stale || self->hub.stopping;

	pthread_mutex_lock(&self->lock);
	for (struct list *node = self->ready.next, *next; node != &self->ready; node = next) {
		struct amqp_delivery *delivery = entry(node);
		bool old = now_ms - delivery->since_ms >= UNTAKEN_MS;

		next = node->next;
		if (!stale && !old && !amqp_tap_resting(delivery->tap))
			break; /* the oldest is first */
		if (old && amqp_delivery_valid(delivery))
			amqp_tap_rest(delivery->tap, "nobody takes its messages", now_ms);
		if (!self->hub.stopping && amqp_delivery_valid(delivery) &&
		    !amqp_tap_resting(delivery->tap))
			continue;
		list_remove(node);
		list_append(back, node);
	}
	pthread_mutex_unlock(&self->lock);
	self->hub.stale = false;
}

static void give_back_untaken(struct amqp_feed *self, int64_t now_ms)
{
	struct list back;

	list_init(&back);
	sift(self, now_ms, &back);
	for (struct list *node = back.next; node != &back; node = node->next)
		entry(node)->verb = AMQP_VERB_BACK;
	settle_all(&back);
}

static void follow_link(struct amqp_feed *self)
{
	if (self->epoch == amqp_link_epoch(self->hub.link) && amqp_link_up(self->hub.link))
		return;
	for (size_t i = 0; self->epoch && i < self->tap_count; i++)
		amqp_tap_lost(self->taps[i]);
	amqp_hub_lost(&self->hub);
	self->epoch = amqp_link_up(self->hub.link) ? amqp_link_epoch(self->hub.link) : 0;
}

static void receive(struct amqp_feed *self)
{
	amqp_frame_t frame;
	bool news;

	while (amqp_link_frame(self->hub.link, &frame)) {
		follow_link(self);
		amqp_hub_frame(&self->hub, &frame, clock_mono_ms());
	}
	follow_link(self);
	news = !list_empty(&self->hub.arrived);
	if (!news)
		return;
	pthread_mutex_lock(&self->lock);
	list_move_all(&self->hub.arrived, &self->ready);
	self->hungry = false;
	pthread_mutex_unlock(&self->lock);
	self->ring(self->ctx);
}

/* ---- the thread */

/* Lets taps do what is due, and bury those that are gone. Returns when the next wants to. */
static int64_t tend(struct amqp_feed *self, int64_t now_ms)
{
	int64_t next_ms = now_ms + TICK_MS;
	size_t kept = 0;

	for (size_t i = 0; i < self->tap_count; i++) {
		struct amqp_tap *tap = self->taps[i];
		int64_t at_ms = amqp_tap_tend(tap, now_ms);

		if (at_ms < next_ms)
			next_ms = at_ms;
		if (amqp_tap_gone(tap))
			amqp_tap_free(&tap);
		else
			self->taps[kept++] = tap;
	}
	self->tap_count = kept;
	for (struct list *node = self->delayed.next; node != &self->delayed; node = node->next)
		if (entry(node)->back_ms < next_ms)
			next_ms = entry(node)->back_ms;
	return next_ms;
}

static void report(struct amqp_feed *self)
{
	bool up = amqp_link_up(self->hub.link);

	pthread_mutex_lock(&self->lock);
	strbuf_clear(&self->why);
	if (!up)
		strbuf_printf(&self->why, "RabbitMQ: %s", amqp_link_why(self->hub.link));
	for (size_t i = 0; up && i < self->tap_count; i++)
		up = amqp_tap_ready(self->taps[i], &self->why);
	self->up = up;
	if (self->told_count != self->coming_count && !amqp_link_unsent(self->hub.link)) {
		self->told_count = self->coming_count;
		pthread_cond_broadcast(&self->told);
	}
	pthread_mutex_unlock(&self->lock);
}

static void *run(void *arg)
{
	struct amqp_feed *self = arg;

	while (listen(self, clock_mono_ms())) {
		int64_t now_ms = clock_mono_ms();
		int64_t next_ms;

		give_back_untaken(self, now_ms);
		next_ms = tend(self, now_ms);
		/* Fresh acknowledgements are sent and reported before anything is waited for. */
		amqp_link_poll(self->hub.link, self->wake_fd, self->fresh ? 0 : next_ms);
		receive(self);
		report(self);
	}
	amqp_link_close(self->hub.link, GOODBYE_MS);
	return NULL;
}

/* ---- life */

/* The link's; it counts for metrics alone. */
static void changed(void *ctx, bool up)
{
	struct amqp_feed *self = ctx;

	metric_move(self->connected, up ? 1 : -1);
	if (up && amqp_link_epoch(self->hub.link) > 1)
		metric_add(self->reconnects, 1);
}

static void drop_all(struct list *list)
{
	for (struct list *node = list->next; node != list; node = node->next)
		entry(node)->verb = AMQP_VERB_BACK;
	settle_all(list);
}

static void release(struct amqp_feed *self)
{
	struct amqp_tap *tap;

	for (size_t i = 0; i < self->tap_count; i++)
		amqp_tap_lost(self->taps[i]);
	drop_all(&self->ready);
	drop_all(&self->taken);
	drop_all(&self->settled);
	drop_all(&self->delayed);
	while (self->tap_count) {
		tap = self->taps[--self->tap_count];
		amqp_tap_free(&tap);
	}
	free(self->taps);
	amqp_link_free(&self->hub.link);
	arena_free(&self->new_arena);
	arena_free(&self->dead_arena);
	arena_free(&self->arena);
	strbuf_release(&self->why);
	pthread_cond_destroy(&self->told);
	pthread_mutex_destroy(&self->lock);
	close(self->wake_fd);
	free(self);
}

static void amqp_feed_free(struct feed **feed)
{
	struct amqp_feed *self = of(*feed);

	pthread_mutex_lock(&self->lock);
	self->quitting = true;
	pthread_mutex_unlock(&self->lock);
	wake(self);
	pthread_join(self->thread, NULL);
	release(self);
	*feed = NULL;
}

static const struct feed_ops amqp_feed_ops = {
	.name = "amqp",
	.serve = amqp_feed_serve,
	.take = amqp_feed_take,
	.ack = amqp_feed_ack,
	.give_back = amqp_feed_give_back,
	.stop = amqp_feed_stop,
	.flush = amqp_feed_flush,
	.positions = NULL,
	.ready = amqp_feed_ready,
	.free = amqp_feed_free,
};

static void init_shared(struct amqp_feed *self)
{
	pthread_condattr_t attributes;

	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_cond_init(&self->told, &attributes);
	pthread_condattr_destroy(&attributes);
	pthread_mutex_init(&self->lock, NULL);
	list_init(&self->ready);
	list_init(&self->taken);
	list_init(&self->settled);
	list_init(&self->delayed);
	list_init(&self->hub.arrived);
	strbuf_init(&self->why);
	strbuf_addstr(&self->why, "RabbitMQ: not connected yet");
	self->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	CHECK(self->wake_fd >= 0);
}

struct feed *amqp_feed_new(const struct feed_options *options, struct error *err_r)
{
	struct amqp_feed *self = xcalloc(1, sizeof(*self));

	self->base.ops = &amqp_feed_ops;
	self->arena = arena_new(0);
	if (broker_url_parse_as(BROKER_AMQP, options->broker_url, self->arena, &self->url, err_r) <
	    0) {
		arena_free(&self->arena);
		free(self);
		return NULL;
	}
	self->client = arena_strdup(self->arena, options->client);
	self->ca_file = arena_strdup(self->arena, options->ca_file);
	self->buffer_max = options->buffer_max;
	self->hub.message_bytes_max = options->message_bytes_max;
	self->ring = options->ring;
	self->ctx = options->ctx;
	init_shared(self);
	self->connected =
		metrics_series(options->metrics, METRIC_BROKER_CONNECTED, "consume", NULL);
	self->reconnects =
		metrics_series(options->metrics, METRIC_BROKER_RECONNECTS, "consume", NULL);
	self->hub.link = amqp_link_new(&(struct amqp_link_options){ .url = &self->url,
								    .client = self->client,
								    .side = "consume",
								    .ca_file = self->ca_file,
								    .changed = changed,
								    .ctx = self });
	CHECK(pthread_create(&self->thread, NULL, run, self) == 0);
	pthread_setname_np(self->thread, "amqp-feed");
	return &self->base;
}
