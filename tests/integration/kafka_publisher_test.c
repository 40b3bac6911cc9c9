/* SPDX-License-Identifier: Apache-2.0 */
/* The Kafka publisher on a real broker: what is confirmed, what is refused, and what a broker that
 * is away does to it. */
#include "tests/integration/kafka_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/arena.h"
#include "common/base/clock.h"

static int set_up(void **state)
{
	*state = kafka_fixture_new(NULL, 4); /* TEST_KAFKA_URL */
	return 0;
}

static int tear_down(void **state)
{
	struct kafka_fixture *fx = *state;

	kafka_fixture_free(&fx);
	return 0;
}

static struct publication message(const char *topic, const char *key, const char *body)
{
	return (struct publication){
		.topic = topic, .key = key, .body = body, .body_bytes = strlen(body)
	};
}

static int send_some(struct kafka_fixture *fx, struct publication *items, size_t count, int ms)
{
	return fx->publisher->ops->send(fx->publisher, items, count, ms, &fx->error);
}

static void declared_twice(void **state)
{
	struct kafka_fixture *fx = *state;
	char name[80];
	struct publisher_place places[] = { { .topic = fx->topic, .partitions = 9 },
					    { .topic = name, .partitions = 3 } };
	int count;

	snprintf(name, sizeof(name), "%s-2", fx->topic);
	for (int i = 0; i < 2; i++)
		assert_int_equal(
			fx->publisher->ops->declare(fx->publisher, places, 2, WAIT_MS, &fx->error),
			0);
	kafka_await(kafka_topic_partitions(fx->plain, name, WAIT_MS, &count, &fx->error) == 0);
	assert_int_equal(count, 3);
	kafka_await(kafka_topic_partitions(fx->plain, fx->topic, WAIT_MS, &count, &fx->error) == 0);
	assert_int_equal(count, 4); /* never changed */
	places[0].topic = "not a name";
	assert_int_equal(fx->publisher->ops->declare(fx->publisher, places, 1, WAIT_MS, &fx->error),
			 -1);
	assert_int_equal(fx->error.code, ERROR_INVALID);
}

/* As Java's client and others choose the partition. */
static void keys_lie_where_others_expect_them(void **state)
{
	struct kafka_fixture *fx = *state;
	rd_kafka_topic_t *topic = rd_kafka_topic_new(fx->plain, fx->topic, NULL);
	struct delivery *got[200];
	struct feed *feed;

	kafka_send(fx, 0, 200, 50);
	feed = kafka_feed_of(fx, 1000, false);
	kafka_take(feed, got, 200);
	for (int i = 0; i < 200; i++) {
		const char *key = got[i]->message.key;
		int32_t partition;
		int64_t offset;

		kafka_identity(got[i], &partition, &offset);
		assert_int_equal(partition, rd_kafka_msg_partitioner_murmur2(
						    topic, key, strlen(key), 4, NULL, NULL));
	}
	kafka_feed_end(fx, &feed);
	rd_kafka_topic_destroy(topic);
}

/* More than the client queues: QUEUE_FULL on the way. */
static void more_than_the_queue_holds(void **state)
{
	struct kafka_fixture *fx = *state;
	size_t count = 50000;
	struct publication *items = xcalloc(count, sizeof(*items));

	for (size_t i = 0; i < count; i++)
		items[i] = message(fx->topic, NULL, "x");
	assert_int_equal(send_some(fx, items, count, WAIT_MS), 0);
	for (size_t i = 0; i < count; i++)
		assert_true(items[i].confirmed);
	free(items);
}

static void only_the_large_one_is_refused(void **state)
{
	struct kafka_fixture *fx = *state;
	size_t large = 2000000, most = fx->publisher->ops->body_bytes_max(fx->publisher);
	char *body = xcalloc(1, large + 1);
	struct publication items[4];

	memset(body, 'x', large);
	items[0] = message(fx->topic, "a", "small");
	items[1] = message(fx->topic, "a", body);
	items[2] = message(fx->topic, "a", "small");
	body[most] = '\0';
	items[3] = message(fx->topic, "a", body);
	body[most] = 'x';
	assert_int_equal(send_some(fx, items, 4, WAIT_MS), 0);
	assert_true(items[0].confirmed && items[2].confirmed && items[3].confirmed);
	assert_false(items[1].confirmed);
	assert_string_equal(items[1].refused, "larger than the topic takes");
	free(body);
}

static void narrow_topic(struct kafka_fixture *fx, const char *name, const char *bytes_max)
{
	char why[200];
	rd_kafka_NewTopic_t *topic = rd_kafka_NewTopic_new(name, 1, -1, why, sizeof(why));
	rd_kafka_queue_t *queue = rd_kafka_queue_new(fx->plain);
	rd_kafka_event_t *event;

	rd_kafka_NewTopic_set_config(topic, "max.message.bytes", bytes_max);
	rd_kafka_CreateTopics(fx->plain, &topic, 1, NULL, queue);
	event = rd_kafka_queue_poll(queue, WAIT_MS);
	assert_non_null(event);
	rd_kafka_event_destroy(event);
	rd_kafka_queue_destroy(queue);
	rd_kafka_NewTopic_destroy(topic);
}

/* The broker refuses batches as a whole; small messages must not pay for their company. */
static void a_narrow_topic_takes_messages_alone(void **state)
{
	struct kafka_fixture *fx = *state;
	char name[80], *body = xcalloc(1, 30001);
	struct publication items[41];

	snprintf(name, sizeof(name), "%s-narrow", fx->topic);
	narrow_topic(fx, name, "20000");
	for (int i = 0; i < 30000; i++) /* what does not compress */
		body[i] = (char)('!' + random_below(90));
	for (int i = 0; i < 40; i++) {
		items[i] = message(name, "a", body);
		items[i].body_bytes = 3000;
	}
	items[40] = message(name, "a", body);
	assert_int_equal(send_some(fx, items, 41, WAIT_MS), 0);
	for (int i = 0; i < 40; i++)
		assert_true(items[i].confirmed);
	assert_string_equal(items[40].refused, "larger than the topic takes");
	items[0].confirmed = false;
	assert_int_equal(send_some(fx, items, 1, WAIT_MS), 0);
	assert_true(items[0].confirmed);
	free(body);
}

static void a_missing_topic_is_refused(void **state)
{
	struct kafka_fixture *fx = *state;
	struct publication items[] = { message("nobody-has-made-this", NULL, "x"),
				       message(fx->topic, NULL, "x") };

	assert_int_equal(send_some(fx, items, 2, WAIT_MS), 0);
	assert_string_equal(items[0].refused, "the topic does not exist");
	assert_true(items[1].confirmed);
}

static void a_broker_that_is_away(void **state)
{
	struct publisher_options options = { .broker_url = "kafka://127.0.0.1:1",
					     .client = "test" };
	struct kafka_fixture *fx = *state;
	struct publication item = message("t", NULL, "x");
	int64_t began_ms = clock_mono_ms();
	struct publisher *publisher;
	struct strbuf why;

	options.metrics = fx->metrics;
	publisher = kafka_publisher_new(&options, &fx->error);
	assert_non_null(publisher);
	assert_int_equal(publisher->ops->send(publisher, &item, 1, 800, &fx->error), -1);
	assert_int_equal(fx->error.code, ERROR_UNAVAILABLE);
	assert_true(!item.confirmed && !item.refused);
	assert_true(clock_mono_ms() - began_ms < 3000);
	began_ms = clock_mono_ms();
	assert_int_equal(publisher->ops->send(publisher, &item, 1, 5000, &fx->error), -1);
	assert_true(clock_mono_ms() - began_ms < 40); /* at once */
	strbuf_init(&why);
	assert_false(publisher->ops->ready(publisher, &why));
	assert_string_equal(why.data, "Kafka: no broker answers");
	strbuf_release(&why);
	publisher->ops->tend(publisher);
	publisher->ops->free(&publisher);
	assert_null(publisher);
}

static void what_is_no_kafka_url(void **state)
{
	static const char *const urls[] = { "amqp://u:secret@localhost/", "kafka://",
					    "kafka://h:9?security=tls" };
	struct publisher_options options = { .client = "test" };
	struct kafka_fixture *fx = *state;

	for (size_t i = 0; i < ARRAY_LEN(urls); i++) {
		options.broker_url = urls[i];
		assert_null(kafka_publisher_new(&options, &fx->error));
		assert_int_equal(fx->error.code, ERROR_INVALID);
		assert_null(strstr(fx->error.message, "secret"));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(declared_twice, set_up, tear_down),
		cmocka_unit_test_setup_teardown(keys_lie_where_others_expect_them, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(more_than_the_queue_holds, set_up, tear_down),
		cmocka_unit_test_setup_teardown(only_the_large_one_is_refused, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_narrow_topic_takes_messages_alone, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(a_missing_topic_is_refused, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_broker_that_is_away, set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_is_no_kafka_url, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
