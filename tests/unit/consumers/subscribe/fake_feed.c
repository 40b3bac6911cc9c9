/* SPDX-License-Identifier: Apache-2.0 */
/* The made-up feed. It checks what every feed may rely on: nothing is settled twice, and nothing
 * after it was freed. */
#include "tests/unit/consumers/subscribe/fake_feed.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/arena.h"

struct fake_feed *fake_feed;

static struct fake_feed *of(struct feed *feed)
{
	struct fake_feed *self = (struct fake_feed *)(void *)feed;

	CHECK(self == fake_feed && !self->freed);
	return self;
}

static void fake_serve(struct feed *feed, const struct feed_place *places, size_t count)
{
	struct fake_feed *self = of(feed);

	CHECK(count <= ARRAY_LEN(self->places));
	for (size_t i = 0; i < count; i++) {
		snprintf(self->topics[i], sizeof(self->topics[i]), "%s", places[i].topic);
		self->places[i] = places[i];
		self->places[i].topic = self->topics[i];
	}
	self->place_count = count;
}

static size_t fake_take(struct feed *feed, struct delivery **deliveries_r, size_t max)
{
	struct fake_feed *self = of(feed);
	size_t count = 0;

	while (!self->stopped && count < max && self->taken < self->count) {
		struct fake_message *message = self->messages[self->taken++];

		CHECK(message->fate == FAKE_BUFFERED);
		message->fate = FAKE_TAKEN;
		deliveries_r[count++] = &message->delivery;
	}
	return count;
}

static void end(struct delivery *delivery, enum fake_fate fate)
{
	struct fake_message *message = delivery->feed_data;

	CHECK(message->fate == FAKE_TAKEN);
	message->fate = fate;
	memset(message->body, 'X', sizeof(message->body) - 1); /* the texts are gone */
}

static void fake_ack(struct feed *feed, struct delivery *delivery)
{
	struct fake_feed *self = of(feed);

	end(delivery, FAKE_ACKED);
	self->position.offset++;
	self->moved = true;
}

static void fake_give_back(struct feed *feed, struct delivery *delivery, int64_t delay_ms)
{
	of(feed);
	CHECK(delay_ms >= 0);
	end(delivery, FAKE_RETURNED);
}

static void fake_stop(struct feed *feed)
{
	of(feed)->stopped = true;
}

static void fake_flush(struct feed *feed, int timeout_ms)
{
	CHECK(timeout_ms > 0);
	of(feed)->flushed = true;
}

static size_t fake_positions(struct feed *feed, const struct position **positions_r)
{
	struct fake_feed *self = of(feed);
	bool moved = self->moved;

	self->moved = false;
	*positions_r = &self->position;
	return moved ? 1 : 0;
}

static bool fake_ready(struct feed *feed, struct strbuf *why_r)
{
	strbuf_addstr(why_r, "the fake is away");
	return of(feed)->place_count > 0;
}

static void fake_free(struct feed **feed)
{
	of(*feed)->freed = true;
	*feed = NULL;
}

static const struct feed_ops fake_ops = {
	.name = "fake",
	.serve = fake_serve,
	.take = fake_take,
	.ack = fake_ack,
	.give_back = fake_give_back,
	.stop = fake_stop,
	.flush = fake_flush,
	.ready = fake_ready,
	.free = fake_free,
};

static const struct feed_ops fake_log_ops = {
	.name = "fake log",
	.serve = fake_serve,
	.take = fake_take,
	.ack = fake_ack,
	.give_back = fake_give_back,
	.stop = fake_stop,
	.flush = fake_flush,
	.positions = fake_positions,
	.ready = fake_ready,
	.free = fake_free,
};

struct feed *fake_feed_new(const struct feed_options *options, struct error *err_r)
{
	(void)err_r;
	fake_feed_gone();
	fake_feed = xcalloc(1, sizeof(*fake_feed));
	fake_feed->feed.ops = &fake_ops;
	fake_feed->options = *options;
	fake_feed->position = (struct position){ .group = "g", .topic = "log" };
	return &fake_feed->feed;
}

struct feed *fake_log_new(const struct feed_options *options, struct error *err_r)
{
	fake_feed_new(options, err_r);
	fake_feed->feed.ops = &fake_log_ops;
	return &fake_feed->feed;
}

struct feed *fake_feed_refuses(const struct feed_options *options, struct error *err_r)
{
	(void)options;
	error_set(err_r, ERROR_INVALID, "no such broker");
	return NULL;
}

void fake_feed_gone(void)
{
	for (size_t i = 0; fake_feed && i < fake_feed->count; i++)
		free(fake_feed->messages[i]);
	free(fake_feed);
	fake_feed = NULL;
}

size_t fake_feed_put(const char *topic, const char *body, const char *identity, const char *key)
{
	struct fake_message *message = xcalloc(1, sizeof(*message));
	size_t place = 0;

	while (place < fake_feed->place_count && strcmp(fake_feed->topics[place], topic) != 0)
		place++;
	CHECK(place < fake_feed->place_count && fake_feed->count < FAKE_MESSAGES_MAX);
	snprintf(message->body, sizeof(message->body), "%s", body);
	snprintf(message->identity, sizeof(message->identity), "%s", identity ? identity : "");
	snprintf(message->key, sizeof(message->key), "%s", key ? key : "");
	message->delivery = (struct delivery){
		.message = { .body = message->body,
			     .body_bytes = strlen(body),
			     .identity = identity ? message->identity : NULL,
			     .key = key ? message->key : NULL,
			     .time_ms = 1700000000000 },
		.place = fake_feed->places[place].index,
		.feed_data = message,
	};
	fake_feed->messages[fake_feed->count] = message;
	fake_feed->options.ring(fake_feed->options.ctx);
	return fake_feed->count++;
}

size_t fake_feed_fates(enum fake_fate fate)
{
	size_t count = 0;

	for (size_t i = 0; i < fake_feed->count; i++)
		count += fake_feed->messages[i]->fate == fate;
	return count;
}
