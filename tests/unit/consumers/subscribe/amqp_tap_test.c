/* SPDX-License-Identifier: Apache-2.0 */
/* The feed against a server that misbehaves: it drops the connection or the channel, comes back and
 * gets the message, and neither waits for ever nor believes a size. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "common/base/clock.h"
#include "consumers/subscribe/feed.h"

#include "tests/unit/common/broker/fake_amqp.h"

static void no_ring(void *ctx)
{
	(void)ctx;
}

static struct feed *feed_for(const struct fake_amqp *fake, struct metrics *metrics, size_t count)
{
	struct feed_place places[2] = { { .topic = "one", .index = 0 },
					{ .topic = "two", .index = 1 } };
	struct feed_options options = {
		.broker_url = fake_amqp_url(fake),
		.client = "test",
		.buffer_max = 100,
		.message_bytes_max = 1000,
		.metrics = metrics,
		.ring = no_ring,
	};
	struct error error;
	struct feed *feed = amqp_feed_new(&options, &error);

	assert_non_null(feed);
	feed->ops->serve(feed, places, count);
	return feed;
}

/* NULL: nothing came in time. */
static struct delivery *take(struct feed *feed, int timeout_ms)
{
	int64_t until_ms = clock_mono_ms() + timeout_ms;
	struct delivery *delivery = NULL;

	while (!feed->ops->take(feed, &delivery, 1) && clock_mono_ms() < until_ms)
		nanosleep(&(struct timespec){ .tv_nsec = 5000000 }, NULL);
	return delivery;
}

static void expect_hello(struct feed *feed, struct delivery *delivery)
{
	assert_non_null(delivery);
	assert_int_equal(delivery->message.body_bytes, 5);
	assert_memory_equal(delivery->message.body, "hello", 5);
	feed->ops->ack(feed, delivery);
}

static void comes_back_after(enum fake_fault fault, int logins, int timeout_ms)
{
	struct fake_amqp *fake = fake_amqp_start(fault);
	struct metrics *metrics = metrics_open("test");
	struct feed *feed = feed_for(fake, metrics, 1);

	expect_hello(feed, take(feed, timeout_ms));
	feed->ops->flush(feed, 1000);
	feed->ops->free(&feed);
	assert_int_equal(fake_amqp_logins(fake), logins);
	assert_int_equal(fake_amqp_acks(fake), 1);
	metrics_close(&metrics);
	fake_amqp_stop(&fake);
}

static void behaves(void **state)
{
	(void)state;
	comes_back_after(FAKE_NONE, 1, 5000);
}

static void garbage(void **state)
{
	(void)state;
	comes_back_after(FAKE_GARBAGE, 2, 5000);
}

/* Heartbeats end the wait for the rest of a message. */
static void half_a_message(void **state)
{
	(void)state;
	comes_back_after(FAKE_HALF, 2, 10000);
}

static void a_body_too_long(void **state)
{
	(void)state;
	comes_back_after(FAKE_LONG_BODY, 2, 5000);
}

static void out_of_step(void **state)
{
	(void)state;
	comes_back_after(FAKE_WRONG_TAG, 2, 5000);
}

static void hung_up_in_a_frame(void **state)
{
	(void)state;
	comes_back_after(FAKE_HANG_UP, 2, 5000);
}

/* The size is the server's word; memory is taken for what is allowed and no more. */
static void a_huge_body(void **state)
{
	struct fake_amqp *fake = fake_amqp_start(FAKE_HUGE);
	struct metrics *metrics = metrics_open("test");
	struct feed *feed = feed_for(fake, metrics, 2);

	(void)state;
	expect_hello(feed, take(feed, 5000)); /* the neighbour's */
	assert_null(take(feed, 2500));        /* longer than silence would take */
	assert_int_equal(fake_amqp_logins(fake), 1);
	feed->ops->free(&feed);
	metrics_close(&metrics);
	fake_amqp_stop(&fake);
}

/* As a quorum queue without a leader: only that channel is given up, and tried anew on another. */
static void a_queue_that_does_not_answer(void **state)
{
	struct fake_amqp *fake = fake_amqp_start(FAKE_NO_ANSWER);
	struct metrics *metrics = metrics_open("test");
	struct feed *feed = feed_for(fake, metrics, 2);
	struct strbuf why;

	(void)state;
	strbuf_init(&why);
	expect_hello(feed, take(feed, 5000));
	assert_false(feed->ops->ready(feed, &why));
	expect_hello(feed, take(feed, 15000));
	assert_int_equal(fake_amqp_logins(fake), 1);
	assert_int_equal(fake_amqp_closed_channels(fake), 1);
	feed->ops->free(&feed);
	strbuf_release(&why);
	metrics_close(&metrics);
	fake_amqp_stop(&fake);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(behaves),        cmocka_unit_test(garbage),
		cmocka_unit_test(half_a_message), cmocka_unit_test(a_body_too_long),
		cmocka_unit_test(out_of_step),    cmocka_unit_test(hung_up_in_a_frame),
		cmocka_unit_test(a_huge_body),    cmocka_unit_test(a_queue_that_does_not_answer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
