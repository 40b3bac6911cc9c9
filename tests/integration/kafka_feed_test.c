/* SPDX-License-Identifier: Apache-2.0 */
/* The Kafka feed on a real broker: order, where it starts, what it stores, and that no room for a
 * while loses and doubles nothing. */
#include "tests/integration/kafka_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/arena.h"
#include "common/base/clock.h"

#define MANY 10000

/* TEST_KAFKA_URL is the broker's. */
static int set_up(void **state, int partitions)
{
	*state = kafka_fixture_new(NULL, partitions);
	return 0;
}

static int one_partition(void **state)
{
	return set_up(state, 1);
}

static int two_partitions(void **state)
{
	return set_up(state, 2);
}

static int four_partitions(void **state)
{
	return set_up(state, 4);
}

static int tear_down(void **state)
{
	struct kafka_fixture *fx = *state;

	kafka_fixture_free(&fx);
	return 0;
}

/* ---- what is delivered */

static void check_order(struct delivery **deliveries, size_t count, int keys)
{
	int *last = xcalloc((size_t)keys, sizeof(*last)); /* messages seen of each key */

	for (size_t i = 0; i < count; i++) {
		int number = kafka_number(deliveries[i]), key = number % keys;

		assert_int_equal(atoi(deliveries[i]->message.key + 1), key);
		assert_int_equal(number, key + keys * last[key]);
		last[key]++;
	}
	free(last);
}

static void check_texts(const struct delivery *delivery, const struct kafka_fixture *fx)
{
	const struct message *message = &delivery->message;
	int64_t age_ms = clock_wall_ms() - message->time_ms;

	assert_int_equal(delivery->place, 7);
	assert_string_equal(message->content_type, "application/cloudevents+json; charset=UTF-8");
	assert_int_equal(message->header_count, 2);
	assert_string_equal(message->headers[1].name, "traceparent");
	assert_string_equal(message->headers[1].value, "00-trace-01");
	assert_memory_equal(message->identity, fx->topic, strlen(fx->topic));
	assert_true(age_ms > -5000 && age_ms < 60000);
	assert_null(message->dead_reason);
	assert_false(message->redelivered);
}

/* The group's offset and the position are one behind the last message. */
static void check_ends(struct kafka_fixture *fx, struct feed *feed, int64_t messages)
{
	const struct position *positions;
	size_t count = feed->ops->positions(feed, &positions);
	int64_t sum = 0;

	assert_int_equal(count, 4);
	for (size_t i = 0; i < count; i++) {
		assert_string_equal(positions[i].group, fx->group);
		assert_string_equal(positions[i].topic, fx->topic);
		assert_int_equal(kafka_committed(fx, positions[i].partition), positions[i].offset);
		sum += positions[i].offset;
	}
	assert_int_equal(sum, messages);
	assert_int_equal(feed->ops->positions(feed, &positions), 0);
}

static void keys_in_order_then_nothing_again(void **state)
{
	struct kafka_fixture *fx = *state;
	struct delivery **deliveries = xcalloc(MANY, sizeof(struct delivery *));
	struct feed *feed;

	kafka_send(fx, 0, MANY, 100);
	feed = kafka_feed_of(fx, 3000, false);
	kafka_take(feed, deliveries, MANY);
	check_order(deliveries, MANY, 100);
	check_texts(deliveries[MANY - 1], fx);
	kafka_ready(feed);
	assert_true(fx->rings > 0);
	kafka_ack_all(feed, deliveries, MANY);
	feed->ops->flush(feed, WAIT_MS);
	check_ends(fx, feed, MANY);
	kafka_feed_end(fx, &feed);

	kafka_send(fx, MANY, 100, 100);
	feed = kafka_feed_of(fx, 3000, false);
	kafka_take(feed, deliveries, 100);
	for (int i = 0; i < 100; i++)
		assert_true(kafka_number(deliveries[i]) >= MANY);
	kafka_quiet(feed, 300);
	kafka_feed_end(fx, &feed);
	free(deliveries);
}

static void send_odd(struct kafka_fixture *fx, const void *key, size_t key_bytes, size_t bytes,
		     int headers)
{
	const struct kafka_config_options options = { .broker_url = fx->url, .client = "test" };
	rd_kafka_t *rk = kafka_client_new(RD_KAFKA_PRODUCER, kafka_config_new(&options, &fx->error),
					  &fx->error);
	rd_kafka_headers_t *list = rd_kafka_headers_new(8);
	char *body = xcalloc(1, bytes + 1);

	rd_kafka_header_add(list, "ce_id", -1, "17", -1);
	rd_kafka_header_add(list, "binary", -1, "a\0b", 3);
	rd_kafka_header_add(list, "Content-Type", -1, "text/plain", -1);
	rd_kafka_header_add(list, "none", -1, NULL, 0);
	for (int i = 0; i < headers; i++)
		rd_kafka_header_add(list, "more", -1, "x", 1);
	assert_int_equal(rd_kafka_producev(rk, RD_KAFKA_V_TOPIC(fx->topic),
					   RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
					   RD_KAFKA_V_KEY(key, key_bytes),
					   RD_KAFKA_V_VALUE(bytes ? body : NULL, bytes),
					   RD_KAFKA_V_HEADERS(list), RD_KAFKA_V_END),
			 0);
	assert_int_equal(rd_kafka_flush(rk, WAIT_MS), 0);
	rd_kafka_destroy(rk);
	free(body);
}

static void odd_messages(void **state)
{
	struct kafka_fixture *fx = *state;
	struct delivery *got[4];
	struct feed *feed;

	send_odd(fx, "k\xff\x01", 3, 10, 0);
	send_odd(fx, NULL, 0, 0, 0);
	send_odd(fx, "big", 3, 100001, 0);
	send_odd(fx, "many", 4, 5, 100);
	feed = kafka_feed_of(fx, 100, false);
	kafka_take(feed, got, 4);
	assert_string_equal(got[0]->message.key, "6bff01");
	assert_string_equal(got[0]->message.content_type, "text/plain");
	assert_int_equal(got[0]->message.header_count, 3);
	assert_string_equal(got[0]->message.headers[0].name, "ce_id");
	assert_string_equal(got[0]->message.headers[2].value, "");
	assert_null(got[1]->message.key);
	assert_int_equal(got[1]->message.body_bytes, 0);
	assert_int_equal(got[2]->message.body_bytes, 0);
	assert_string_equal(got[2]->message.dead_reason,
			    "a message of 100001 bytes; 100000 are the most taken");
	assert_string_equal(got[3]->message.dead_reason, "a message of more than 64 headers");
	kafka_feed_end(fx, &feed);
}

/* ---- where it starts */

static void the_store_rewinds_the_group(void **state)
{
	struct kafka_fixture *fx = *state;
	struct delivery *got[100];
	struct feed *feed;
	int64_t offset;
	int32_t partition;

	kafka_send_to(fx, 0, 0, 100, 1);
	feed = kafka_feed_of(fx, 1000, false);
	kafka_take(feed, got, 100);
	kafka_ack_all(feed, got, 100);
	feed->ops->flush(feed, WAIT_MS);
	kafka_feed_end(fx, &feed);
	assert_int_equal(kafka_committed(fx, 0), 100);

	kafka_store_says(fx, 0, 40);
	feed = kafka_feed_of(fx, 1000, false);
	kafka_take(feed, got, 60);
	kafka_identity(got[0], &partition, &offset);
	assert_int_equal(offset, 40);
	kafka_quiet(feed, 200);
	kafka_feed_end(fx, &feed);
}

static void a_store_that_is_away_is_asked_again(void **state)
{
	struct kafka_fixture *fx = *state;
	struct delivery *got[10];
	struct feed *feed;

	kafka_send_to(fx, 0, 0, 10, 1);
	kafka_store_says(fx, 0, 5);
	kafka_store_fails(fx, 3);
	feed = kafka_feed_of(fx, 1000, false);
	kafka_not_ready(feed, "where to start is not known: stored positions");
	kafka_take(feed, got, 5);
	assert_int_equal(kafka_number(got[0]), 5);
	assert_int_equal(kafka_store_asked(fx), 4);
	kafka_ready(feed);
	kafka_feed_end(fx, &feed);
}

/* What comes while nothing was ever acknowledged is not skipped by a second start at "latest". */
static void latest_is_a_position(void **state)
{
	struct kafka_fixture *fx = *state;
	const struct position *positions;
	struct delivery *got[10];
	struct feed *feed;

	kafka_send_to(fx, 0, 0, 10, 1);
	feed = kafka_feed_of(fx, 1000, true);
	kafka_await(kafka_committed(fx, 0) == 10);
	assert_int_equal(feed->ops->positions(feed, &positions), 1);
	assert_int_equal(positions[0].offset, 10);
	kafka_feed_end(fx, &feed);
	kafka_send_to(fx, 0, 10, 10, 1);
	feed = kafka_feed_of(fx, 1000, true);
	kafka_take(feed, got, 10);
	assert_int_equal(kafka_number(got[0]), 10);
	kafka_feed_end(fx, &feed);
}

static void a_lost_offset_stops_its_partition_alone(void **state)
{
	struct kafka_fixture *fx = *state;
	struct delivery *got[20];
	struct feed *feed;
	int64_t offset;
	int32_t partition;

	kafka_send_to(fx, 0, 0, 10, 1);
	kafka_send_to(fx, 1, 0, 10, 1);
	kafka_store_says(fx, 0, 1000);
	feed = kafka_feed_of(fx, 1000, false);
	kafka_take(feed, got, 10);
	kafka_identity(got[9], &partition, &offset);
	assert_int_equal(partition, 1);
	kafka_not_ready(feed, "/0 stands still: offset 1000 is not in its log");
	kafka_quiet(feed, 500);
	kafka_ack_all(feed, got, 10);
	feed->ops->flush(feed, WAIT_MS);
	assert_true(kafka_committed(fx, 0) < 0);

	kafka_store_says(fx, 0, 3); /* somebody has sought */
	kafka_take(feed, got, 7);
	assert_int_equal(kafka_number(got[0]), 3);
	kafka_ready(feed);
	kafka_feed_end(fx, &feed);
}

/* ---- what it stores */

static void the_first_open_message_holds_the_position(void **state)
{
	struct kafka_fixture *fx = *state;
	const struct position *positions;
	struct delivery *got[100];
	struct feed *feed;

	kafka_send_to(fx, 0, 0, 100, 1);
	feed = kafka_feed_of(fx, 1000, false);
	kafka_take(feed, got, 100);
	for (int i = 99; i >= 0; i--) {
		if (i != 30)
			feed->ops->ack(feed, got[i]);
	}
	feed->ops->flush(feed, WAIT_MS);
	assert_int_equal(feed->ops->positions(feed, &positions), 1);
	assert_int_equal(positions[0].offset, 30);
	assert_int_equal(kafka_committed(fx, 0), 30);
	feed->ops->ack(feed, got[30]);
	kafka_await(feed->ops->positions(feed, &positions) == 1);
	assert_int_equal(positions[0].offset, 100);
	kafka_feed_end(fx, &feed); /* commits what it was told */
	assert_int_equal(kafka_committed(fx, 0), 100);
}

static void given_back_comes_again_here_or_elsewhere(void **state)
{
	struct kafka_fixture *fx = *state;
	struct delivery *got[10], *again;
	struct feed *feed;
	int64_t began_ms;

	kafka_send_to(fx, 0, 0, 10, 1);
	feed = kafka_feed_of(fx, 1000, false);
	kafka_take(feed, got, 10);
	began_ms = clock_mono_ms();
	feed->ops->give_back(feed, got[4], 300);
	feed->ops->give_back(feed, got[6], 100);
	kafka_take(feed, &again, 1);
	assert_int_equal(kafka_number(again), 6);
	assert_true(again->message.redelivered);
	feed->ops->ack(feed, again);
	kafka_take(feed, &again, 1);
	assert_int_equal(kafka_number(again), 4);
	assert_true(clock_mono_ms() - began_ms >= 300);
	for (int i = 0; i < 10; i++) {
		if (i != 4 && i != 6)
			feed->ops->ack(feed, got[i]);
	}
	feed->ops->stop(feed);
	feed->ops->give_back(feed, again, 0);
	kafka_quiet(feed, 200);
	feed->ops->flush(feed, WAIT_MS);
	assert_int_equal(kafka_committed(fx, 0), 4);
	kafka_feed_end(fx, &feed);
	feed = kafka_feed_of(fx, 1000, false);
	kafka_take(feed, &again, 1);
	assert_int_equal(kafka_number(again), 4);
	kafka_feed_end(fx, &feed);
}

/* ---- no room */

static void a_tiny_buffer_loses_and_doubles_nothing(void **state)
{
	struct kafka_fixture *fx = *state;
	struct delivery *got[8];
	struct feed *feed;
	int next[2] = { 0, 0 };

	kafka_send_to(fx, 0, 0, 2000, 100);
	kafka_send_to(fx, 1, 0, 2000, 100);
	feed = kafka_feed_of(fx, 8, false);
	for (int n = 0; next[0] < 2000 || next[1] < 2000; n++) {
		size_t count = kafka_take_some(feed, got, 8, WAIT_MS);

		assert_true(count > 0);
		for (size_t i = 0; i < count; i++) {
			int32_t partition;
			int64_t offset;

			kafka_identity(got[i], &partition, &offset);
			assert_int_equal(offset, next[partition]);
			assert_int_equal(kafka_number(got[i]), next[partition]);
			next[partition]++;
			feed->ops->ack(feed, got[i]);
		}
		if (n % 100 == 0) /* long enough for a pause, which throws away what is fetched */
			pause_ms(400);
	}
	kafka_quiet(feed, 200);
	feed->ops->flush(feed, WAIT_MS);
	assert_int_equal(kafka_committed(fx, 0) + kafka_committed(fx, 1), 4000);
	kafka_feed_end(fx, &feed);
}

#define LONG (3 * 10000)

static void one_open_message_stops_its_partition_in_time(void **state)
{
	struct kafka_fixture *fx = *state;
	struct delivery **got = xcalloc(LONG, sizeof(struct delivery *)), *first = NULL;
	struct feed *feed;
	size_t count;

	kafka_send_to(fx, 0, 0, LONG, 10);
	kafka_send_to(fx, 1, 0, 20, 10);
	feed = kafka_feed_of(fx, 2000, false);
	count = 0;
	while (count < 10000 + 20)
		count += kafka_take_some(feed, got + count, LONG - count, 2000);
	kafka_quiet(feed, 500);
	for (size_t i = 0; i < count; i++) {
		int32_t partition;
		int64_t offset;

		kafka_identity(got[i], &partition, &offset);
		if (partition == 0 && offset == 0)
			first = got[i];
		else
			feed->ops->ack(feed, got[i]);
	}
	assert_non_null(first);
	kafka_quiet(feed, 300);
	feed->ops->ack(feed, first);
	for (int next = (int)count - 20; next < LONG; next++) {
		kafka_take(feed, got, 1);
		assert_int_equal(kafka_number(got[0]), next);
		feed->ops->ack(feed, got[0]);
	}
	kafka_feed_end(fx, &feed);
	free(got);
}

static void lag_is_shown(void **state)
{
	struct kafka_fixture *fx = *state;
	struct strbuf text, want;
	struct delivery *got[10];
	struct feed *feed;

	kafka_send_to(fx, 0, 0, 10, 1);
	feed = kafka_feed_of(fx, 1000, false);
	kafka_take(feed, got, 10);
	kafka_ack_all(feed, got, 7);
	strbuf_init(&text);
	strbuf_init(&want);
	strbuf_printf(&want, "{source=\"%s\",partition=\"0\"} 3\n", fx->topic);
	for (int i = 0; i < 400 && !strstr(text.data, want.data); i++) {
		pause_ms(10);
		strbuf_clear(&text);
		metrics_render(fx->metrics, &text);
	}
	assert_non_null(strstr(text.data, want.data));
	strbuf_release(&text);
	strbuf_release(&want);
	kafka_feed_end(fx, &feed);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(keys_in_order_then_nothing_again, four_partitions,
						tear_down),
		cmocka_unit_test_setup_teardown(odd_messages, one_partition, tear_down),
		cmocka_unit_test_setup_teardown(the_store_rewinds_the_group, one_partition,
						tear_down),
		cmocka_unit_test_setup_teardown(a_store_that_is_away_is_asked_again, one_partition,
						tear_down),
		cmocka_unit_test_setup_teardown(latest_is_a_position, one_partition, tear_down),
		cmocka_unit_test_setup_teardown(a_lost_offset_stops_its_partition_alone,
						two_partitions, tear_down),
		cmocka_unit_test_setup_teardown(the_first_open_message_holds_the_position,
						one_partition, tear_down),
		cmocka_unit_test_setup_teardown(given_back_comes_again_here_or_elsewhere,
						one_partition, tear_down),
		cmocka_unit_test_setup_teardown(a_tiny_buffer_loses_and_doubles_nothing,
						two_partitions, tear_down),
		cmocka_unit_test_setup_teardown(one_open_message_stops_its_partition_in_time,
						two_partitions, tear_down),
		cmocka_unit_test_setup_teardown(lag_is_shown, one_partition, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
