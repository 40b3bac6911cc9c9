/* SPDX-License-Identifier: Apache-2.0 */
/* Kafka's error codes, one by one, from librdkafka's mock cluster: what heals is retried until it
 * has, what does not is refused or stops, and nothing is lost on the way. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/integration/kafka_mock.h"

#include "common/base/clock.h"

static int set_up(void **state)
{
	*state = kafka_mock_new(3);
	return 0;
}

static int tear_down(void **state)
{
	struct kafka_mock *mock = *state;

	kafka_mock_free(&mock);
	return 0;
}

static struct publication message(const struct kafka_mock *mock)
{
	return (struct publication){
		.topic = mock->fx->topic, .key = "k", .body = "k 1", .body_bytes = 3
	};
}

static int send_some(struct kafka_mock *mock, struct publication *items, size_t count,
		     int timeout_ms)
{
	return mock->fx->publisher->ops->send(mock->fx->publisher, items, count, timeout_ms,
					      &mock->fx->error);
}

/* ---- the publisher */

static const struct publish_case {
	const char *name;
	rd_kafka_resp_err_t code;
	int times;
	const char *refused; /* NULL: confirmed in the end */
} publish_cases[] = {
	{ "leader elsewhere", RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION, 2, NULL },
	{ "timed out", RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT, 2, NULL },
	{ "replicas", RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS, 2, NULL },
	{ "a batch too large", RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE, 1, NULL },
	{ "a message too large", RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE, 2,
	  "larger than the topic takes" },
	{ "invalid", RD_KAFKA_RESP_ERR_INVALID_RECORD, 1,
	  "the topic does not take such a message" },
	{ "forbidden", RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, 1,
	  "no permission for the topic" },
};

static void publish_errors(void **state)
{
	struct kafka_mock *mock = *state;

	for (size_t i = 0; i < ARRAY_LEN(publish_cases); i++) {
		const struct publish_case *c = &publish_cases[i];
		struct publication item = message(mock);

		kafka_mock_push(mock, API_PRODUCE, c->code, c->times);
		if (send_some(mock, &item, 1, WAIT_MS) < 0)
			fail_msg("%s: %s", c->name, mock->fx->error.message);
		if (item.confirmed == (c->refused != NULL))
			fail_msg("%s: confirmed %d", c->name, item.confirmed);
		if (c->refused)
			assert_string_equal(item.refused, c->refused);
	}
}

/* The broker has lost track of sequence numbers: fatal to this producer, not to the publisher. */
static void a_fatal_error_makes_a_new_producer(void **state)
{
	struct kafka_mock *mock = *state;
	struct publication items[] = { message(mock), message(mock) };
	int tries = 0;

	assert_int_equal(send_some(mock, items, 2, WAIT_MS), 0);
	kafka_mock_push(mock, API_PRODUCE, RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER, 1);
	assert_int_equal(send_some(mock, items, 2, WAIT_MS), -1);
	assert_int_equal(mock->fx->error.code, ERROR_UNAVAILABLE);
	assert_non_null(strstr(mock->fx->error.message, "fatal"));
	while (send_some(mock, items, 2, WAIT_MS) < 0 && tries++ < 100)
		pause_ms(10);
	assert_true(items[0].confirmed && items[1].confirmed);
}

/* In flight as the time runs out: maybe there, maybe not, so not confirmed and not refused. */
static void a_slow_broker_confirms_nothing(void **state)
{
	struct kafka_mock *mock = *state;
	struct publication item = message(mock);
	int64_t began_ms;
	int tries = 0;

	assert_int_equal(send_some(mock, &item, 1, WAIT_MS), 0);
	kafka_mock_rtt(mock, 4000);
	began_ms = clock_mono_ms();
	assert_int_equal(send_some(mock, &item, 1, 700), -1);
	assert_true(clock_mono_ms() - began_ms < 2500);
	assert_true(!item.confirmed && !item.refused);
	kafka_mock_rtt(mock, 0);
	while (send_some(mock, &item, 1, WAIT_MS) < 0 && tries++ < 100)
		pause_ms(20);
	assert_true(item.confirmed);
}

static void brokers_go_and_come(void **state)
{
	struct kafka_mock *mock = *state;
	struct publication item = message(mock);
	struct strbuf why;
	int tries = 0;

	strbuf_init(&why);
	assert_int_equal(send_some(mock, &item, 1, WAIT_MS), 0);
	assert_true(mock->fx->publisher->ops->ready(mock->fx->publisher, &why));
	kafka_mock_down(mock);
	assert_int_equal(send_some(mock, &item, 1, 1000), -1);
	assert_false(mock->fx->publisher->ops->ready(mock->fx->publisher, &why));
	kafka_mock_up(mock);
	/* Nobody sends: only tending finds out. */
	while (!mock->fx->publisher->ops->ready(mock->fx->publisher, &why) && tries++ < 1000) {
		mock->fx->publisher->ops->tend(mock->fx->publisher);
		pause_ms(10);
	}
	assert_true(tries < 1000);
	assert_int_equal(send_some(mock, &item, 1, WAIT_MS), 0);
	assert_true(item.confirmed);
	strbuf_release(&why);
}

/* ---- the feed */

static void an_offset_out_of_range_stops_and_never_skips(void **state)
{
	struct kafka_mock *mock = *state;
	struct feed *feed;
	struct delivery *got[10];

	kafka_send_to(mock->fx, 0, 0, 10, 1);
	kafka_store_says(mock->fx, 0, 4);
	kafka_store_says(mock->fx, 1, 0);
	kafka_mock_push(mock, API_FETCH, RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE, 2);
	feed = kafka_feed_of(mock->fx, 100, false);
	kafka_not_ready(feed, "stands still: offset 4");
	kafka_quiet(feed, 300);
	kafka_store_says(mock->fx, 0, 3); /* sought */
	kafka_take(feed, got, 7);
	assert_int_equal(kafka_number(got[0]), 3);
	kafka_feed_end(mock->fx, &feed);
}

/* No coordinator to say goodbye to: the end neither hangs nor crashes. */
static void ends_without_brokers(void **state)
{
	struct kafka_mock *mock = *state;
	struct feed *feed = kafka_feed_of(mock->fx, 100, false);
	struct delivery *got[10];
	int64_t began_ms;

	kafka_send_to(mock->fx, 0, 0, 10, 1);
	kafka_take(feed, got, 10);
	kafka_mock_down(mock);
	kafka_not_ready(feed, "no broker answers");
	kafka_ack_all(feed, got, 10);
	began_ms = clock_mono_ms();
	feed->ops->flush(feed, 1000);
	assert_true(clock_mono_ms() - began_ms < 1500);
	kafka_feed_end(mock->fx, &feed);
	assert_true(clock_mono_ms() - began_ms < 6000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(publish_errors, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_fatal_error_makes_a_new_producer, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(a_slow_broker_confirms_nothing, set_up, tear_down),
		cmocka_unit_test_setup_teardown(brokers_go_and_come, set_up, tear_down),
		cmocka_unit_test_setup_teardown(an_offset_out_of_range_stops_and_never_skips,
						set_up, tear_down),
		cmocka_unit_test_setup_teardown(ends_without_brokers, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
