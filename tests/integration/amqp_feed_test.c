/* SPDX-License-Identifier: Apache-2.0 */
/* Consuming from a real RabbitMQ, filled and emptied by a stock client and by our publisher: every
 * message once, acknowledged or back, dead letters with their reason, queues that are missing,
 * deleted, forbidden, messages that are too large. */
#include "tests/integration/amqp_fixture.h"

#include <stdio.h>
#include <stdlib.h>

static struct feed_place a_place(const char *topic, size_t index)
{
	return (struct feed_place){ .topic = topic, .classic = true, .index = index };
}

/* Back in the queue or gone: what the broker thinks once we are away. */
static int depth_afterwards(struct rig *rig, const char *queue)
{
	rig->feed->ops->free(&rig->feed);
	return client_depth(rig, queue);
}

static void ten_thousand(void **state)
{
	enum { COUNT = 10000 };
	struct rig *rig = *state;
	const char *queue = rig_name(rig, "many");
	struct feed_place place = a_place(queue, 7);
	struct delivery *batch[250];
	uint8_t *seen = xcalloc(COUNT, 1);

	publisher_fill(rig, queue, COUNT);
	feed_serve(rig, &place, 1);
	for (size_t n = 0; n < COUNT; n += ARRAY_LEN(batch)) {
		feed_take(rig, batch, ARRAY_LEN(batch), 10000);
		for (size_t i = 0; i < ARRAY_LEN(batch); i++) {
			/* Backwards: what is settled in any order is told as well. */
			struct delivery *delivery = batch[ARRAY_LEN(batch) - 1 - i];
			int number = atoi(body_of(rig, delivery));

			assert_int_equal(delivery->place, 7);
			assert_false(delivery->message.redelivered);
			assert_int_equal(seen[number]++, 0);
			feed_ack(rig, delivery);
		}
	}
	feed_take_none(rig, 50);
	feed_flush(rig);
	assert_int_equal(depth_afterwards(rig, queue), 0);
	free(seen);
}

/* One slow job holds neither the others' acknowledgements nor the prefetch they give back. */
static void a_slow_one(void **state)
{
	struct rig *rig = *state;
	const char *queue = rig_name(rig, "slow");
	struct feed_place place = a_place(queue, 0);
	struct delivery *slow, *delivery;

	publisher_fill(rig, queue, 500);
	place.prefetch = 25;
	feed_serve(rig, &place, 1);
	slow = feed_take_one(rig);
	for (int i = 0; i < 499; i++) {
		delivery = feed_take_one(rig);
		feed_ack(rig, delivery);
	}
	feed_flush(rig);
	assert_string_equal(body_of(rig, slow), "0");
	assert_int_equal(depth_afterwards(rig, queue), 1);
}

static void what_it_says(void **state)
{
	struct rig *rig = *state;
	const char *queue = rig_name(rig, "whole");
	struct feed_place place = a_place(queue, 0);
	struct publication item = a_publication(queue, "{\"b\":2}");
	struct delivery *delivery;
	char id[UUID_TEXT];

	publisher_fill(rig, queue, 0);
	item.traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
	publisher_send(rig, &item, 1);
	client_publish(rig, queue, NULL, "", 0);
	feed_serve(rig, &place, 1);
	delivery = feed_take_one(rig);
	assert_string_equal(delivery->message.identity, uuid_format(&item.id, id));
	assert_string_equal(body_of(rig, delivery), "{\"b\":2}");
	assert_int_equal(delivery->message.time_ms, uuid_time_ms(&item.id) / 1000 * 1000);
	assert_string_equal(delivery->message.headers[0].name, "traceparent");
	assert_string_equal(delivery->message.headers[0].value, item.traceparent);
	assert_null(delivery->message.dead_reason);
	feed_ack(rig, delivery);
	delivery = feed_take_one(rig);
	assert_null(delivery->message.identity);
	assert_int_equal(delivery->message.body_bytes, 0);
	feed_ack(rig, delivery);
}

static void given_back(void **state)
{
	struct rig *rig = *state;
	const char *queue = rig_name(rig, "back");
	struct feed_place place = a_place(queue, 0);
	struct delivery *delivery;
	int64_t began_ms;

	publisher_fill(rig, queue, 1);
	feed_serve(rig, &place, 1);
	rig->feed->ops->give_back(rig->feed, feed_take_one(rig), 0);
	delivery = feed_take_one(rig);
	assert_true(delivery->message.redelivered);
	began_ms = clock_mono_ms();
	rig->feed->ops->give_back(rig->feed, delivery, 300);
	delivery = feed_take_one(rig);
	assert_true(clock_mono_ms() - began_ms >= 290);
	feed_ack(rig, delivery);
	feed_flush(rig);
	assert_int_equal(depth_afterwards(rig, queue), 0);
}

/* Drain: what is taken is finished and acknowledged, the rest goes back, also with a delay. */
static void stopped(void **state)
{
	struct rig *rig = *state;
	const char *queue = rig_name(rig, "stop");
	struct feed_place place = a_place(queue, 0);
	struct delivery *taken[10];

	publisher_fill(rig, queue, 100);
	feed_serve(rig, &place, 1);
	feed_take(rig, taken, 10, 10000);
	rig->feed->ops->give_back(rig->feed, taken[0], 60000);
	rig->feed->ops->stop(rig->feed);
	feed_take_none(rig, 100);
	for (int i = 0; client_depth(rig, queue) != 91 && i < 100; i++)
		pause_ms(20);
	assert_int_equal(client_depth(rig, queue), 91);
	for (size_t i = 1; i < ARRAY_LEN(taken); i++)
		feed_ack(rig, taken[i]);
	feed_flush(rig);
	assert_int_equal(depth_afterwards(rig, queue), 91);
}

/* A place that is served no more still hears of what was taken from it. */
static void other_places(void **state)
{
	struct rig *rig = *state;
	const char *first = rig_name(rig, "first"), *second = rig_name(rig, "second");
	struct feed_place places[] = { a_place(first, 0), a_place(second, 1) };
	struct delivery *taken, *delivery;

	publisher_fill(rig, first, 1);
	publisher_fill(rig, second, 1);
	feed_serve(rig, places, 1);
	taken = feed_take_one(rig);
	assert_int_equal(taken->place, 0);
	feed_serve(rig, places + 1, 1);
	delivery = feed_take_one(rig);
	assert_int_equal(delivery->place, 1);
	feed_ack(rig, taken);
	feed_ack(rig, delivery);
	publisher_fill(rig, first, 1);
	feed_take_none(rig, 200);
	feed_serve(rig, places, 2);
	delivery = feed_take_one(rig);
	assert_int_equal(delivery->place, 0);
	feed_ack(rig, delivery);
	feed_flush(rig);
	assert_int_equal(client_depth(rig, second), 0);
	assert_int_equal(depth_afterwards(rig, first), 0);
}

/* The queue goes and comes back under the consumer; its neighbour notices nothing. */
static void a_deleted_queue(void **state)
{
	struct rig *rig = *state;
	const char *doomed = rig_name(rig, "doomed"), *other = rig_name(rig, "other");
	struct feed_place places[] = { a_place(doomed, 0), a_place(other, 1) };
	struct delivery *held, *neighbour;

	publisher_fill(rig, doomed, 1);
	publisher_fill(rig, other, 1);
	feed_serve(rig, places, 2);
	held = feed_take_one(rig);
	neighbour = feed_take_one(rig);
	if (held->place != 0) {
		struct delivery *swap = held;

		held = neighbour;
		neighbour = swap;
	}
	for (int round = 0; round < 3; round++) {
		client_delete(rig, doomed);
		for (int i = 0; client_depth(rig, doomed) < 0 && i < 500; i++)
			pause_ms(20);
		assert_int_equal(client_depth(rig, doomed), 0);
		client_publish(rig, doomed, "again", "again", 5);
		if (round ==
		    0) /* of a channel that was closed meanwhile: no business of the server */
			feed_ack(rig, held);
		held = feed_take_one(rig);
		assert_string_equal(held->message.identity, "again");
	}
	feed_ack(rig, held);
	feed_ack(rig, neighbour);
	feed_flush(rig);
	assert_true(feed_ready_within(rig, 5000));
	assert_int_equal(client_depth(rig, other), 0);
	assert_int_equal(depth_afterwards(rig, doomed), 0);
}

/* A queue that may not be had is told of, and harms no other. */
static void a_forbidden_queue(void **state)
{
	struct rig *rig = *state;
	const char *locked = rig_name(rig, "locked"), *other = rig_name(rig, "open");
	struct feed_place places[] = { a_place(locked, 0), a_place(other, 1) };
	struct delivery *delivery;
	struct strbuf why;

	client_declare(rig, locked, true, amqp_empty_table);
	publisher_fill(rig, other, 1);
	feed_serve(rig, places, 2);
	delivery = feed_take_one(rig);
	assert_int_equal(delivery->place, 1);
	pause_ms(500); /* several attempts */
	feed_ack(rig, delivery);
	feed_flush(rig);
	strbuf_init(&why);
	assert_false(rig->feed->ops->ready(rig->feed, &why));
	assert_non_null(strstr(why.data, "RESOURCE_LOCKED"));
	strbuf_release(&why);
	client_close(rig); /* and with it the lock */
	client_open(rig);
	assert_true(feed_ready_within(rig, 10000));
	assert_int_equal(depth_afterwards(rig, other), 0);
}

static void a_message_too_large(void **state)
{
	struct rig *rig = *state;
	const char *queue = rig_name(rig, "large");
	struct feed_place place = a_place(queue, 0);
	size_t bytes = 3 << 20;
	char *body = xcalloc(1, bytes);
	struct delivery *delivery;

	publisher_fill(rig, queue, 0);
	memset(body, 'x', bytes);
	client_publish(rig, queue, "large", body, bytes);
	client_publish(rig, queue, "full", body, 1000);
	feed_open(rig, 1000);
	feed_serve(rig, &place, 1);
	delivery = feed_take_one(rig);
	assert_string_equal(delivery->message.identity, "large");
	assert_int_equal(delivery->message.body_bytes, 0);
	assert_non_null(strstr(delivery->message.dead_reason, "1000 bytes"));
	feed_ack(rig, delivery);
	delivery = feed_take_one(rig);
	assert_int_equal(delivery->message.body_bytes, 1000);
	assert_null(delivery->message.dead_reason);
	feed_ack(rig, delivery);
	feed_flush(rig);
	assert_int_equal(depth_afterwards(rig, queue), 0);
	free(body);
}

/* A queue of ours that is missing is made with its dead-letter queue, and what is returned too
 * often comes from there, with the broker's reason. */
static void a_dead_letter(void **state)
{
	struct rig *rig = *state;
	const char *queue = rig_name(rig, "orders"), *dead = rig_name(rig, "dead");
	struct feed_place places[] = {
		{ .topic = queue, .dispatched = true, .index = 0 },
		{ .topic = dead, .dispatched = true, .dead = true, .index = 1 },
	};
	struct delivery *delivery;
	const char *origin = NULL;
	int returns = 0;

	feed_serve(rig, places, 2);
	assert_true(feed_ready_within(rig, 10000));
	client_publish(rig, queue, "poison", "{}", 2);
	delivery = feed_take_one(rig);
	while (delivery->place == 0) {
		rig->feed->ops->give_back(rig->feed, delivery, 0);
		delivery = feed_take_one(rig);
		assert_true(++returns <= 101);
	}
	assert_int_equal(returns, 101);
	assert_string_equal(delivery->message.identity, "poison");
	assert_string_equal(delivery->message.dead_reason,
			    arena_printf(rig->arena, "delivery_limit (queue %s)", queue));
	for (size_t i = 0; i < delivery->message.header_count; i++)
		if (strcmp(delivery->message.headers[i].name, "x-first-death-queue") == 0)
			origin = delivery->message.headers[i].value;
	assert_non_null(origin);
	assert_string_equal(origin, queue);
	feed_ack(rig, delivery);
	feed_flush(rig);
	assert_int_equal(client_depth(rig, queue), 0);
	assert_int_equal(depth_afterwards(rig, dead), 0);
}

/* Without its dead-letter queue a queue of ours is not made here: the dispatcher knows how. */
static void not_ours_to_make(void **state)
{
	struct rig *rig = *state;
	const char *queue = rig_name(rig, "later");
	struct feed_place place = { .topic = queue, .dispatched = true };
	struct strbuf why;

	feed_serve(rig, &place, 1);
	pause_ms(500);
	assert_int_equal(client_depth(rig, queue), -1);
	strbuf_init(&why);
	assert_false(rig->feed->ops->ready(rig->feed, &why));
	assert_non_null(strstr(why.data, "NOT_FOUND"));
	strbuf_release(&why);
	publisher_fill(rig, queue, 1);
	feed_ack(rig, feed_take_one(rig));
	assert_true(feed_ready_within(rig, 1000));
}

static void many_places(void **state)
{
	struct rig *rig = *state;
	struct feed_place places[40];

	for (size_t i = 0; i < ARRAY_LEN(places); i++)
		places[i] = a_place(rig_name(rig, arena_printf(rig->arena, "q%zu", i)), i);
	feed_serve(rig, places, ARRAY_LEN(places));
	assert_true(feed_ready_within(rig, 20000));
	for (size_t i = 0; i < ARRAY_LEN(places); i++)
		client_publish(rig, places[i].topic, "x", "x", 1);
	for (size_t i = 0; i < ARRAY_LEN(places); i++)
		feed_ack(rig, feed_take_one(rig));
	feed_serve(rig, NULL, 0);
	assert_true(feed_ready_within(rig, 1000));
}

static void never_served(void **state)
{
	struct rig *rig = *state;

	feed_open(rig, 0);
	feed_take_none(rig, 10);
	feed_flush(rig);
}

int main(void)
{
#define RIG_TEST(name) cmocka_unit_test_setup_teardown(name, rig_set_up, rig_tear_down)
	const struct CMUnitTest tests[] = {
		RIG_TEST(ten_thousand),
		RIG_TEST(a_slow_one),
		RIG_TEST(what_it_says),
		RIG_TEST(given_back),
		RIG_TEST(stopped),
		RIG_TEST(other_places),
		RIG_TEST(a_deleted_queue),
		RIG_TEST(a_forbidden_queue),
		RIG_TEST(a_message_too_large),
		RIG_TEST(a_dead_letter),
		RIG_TEST(not_ours_to_make),
		RIG_TEST(many_places),
		RIG_TEST(never_served),
	};

	if (!rig_server_url())
		return 0;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
