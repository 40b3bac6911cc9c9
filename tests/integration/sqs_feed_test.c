/* SPDX-License-Identifier: Apache-2.0 */
/* Publisher and feed against a real SQS-compatible server. */
#include "tests/integration/sqs_fixture.h"

#include <stdio.h>

#include "common/base/arena.h"
#include "common/base/clock.h"
#include "common/json/json_text.h"

#define VISIBLE "ApproximateNumberOfMessages"
#define HIDDEN  "ApproximateNumberOfMessagesNotVisible"

static int open_server(void **state)
{
	static struct fixture fx;

	fixture_server(&fx, "");
	*state = &fx;
	return 0;
}

static int open_hasty(void **state)
{
	static struct fixture fx;

	fixture_server(&fx, "&visibility=3");
	*state = &fx;
	return 0;
}

static int close_server(void **state)
{
	fixture_end(*state);
	return 0;
}

static void flush(struct reader *reader)
{
	reader->feed->ops->flush(reader->feed, 10000);
}

static void two_thousand(void **state)
{
	enum { COUNT = 2000 };
	struct fixture *fx = *state;
	struct publication *items = publications(fx, fx->name, COUNT, 0);
	static struct delivery *got[COUNT];
	static bool seen[COUNT];
	int64_t at_ms, sent_ms, read_ms;
	size_t count = 0;

	memset(seen, 0, sizeof(seen));
	declare_queue(fx, fx->name, false, NULL);
	at_ms = clock_mono_ms();
	send_all(fx, items, COUNT);
	sent_ms = clock_mono_ms() - at_ms;
	reader_open(fx, &fx->reader, 1000);
	reader_serve(&fx->reader, fx->name, false, false);
	at_ms = clock_mono_ms();
	while (count < COUNT) {
		size_t n = reader_wait(&fx->reader, got, 100, 10000);

		assert_true(n > 0);
		for (size_t i = 0; i < n; i++) {
			int64_t k = number_of(got[i]);

			assert_in_range(k, 0, COUNT - 1);
			assert_false(seen[k]);
			seen[k] = true;
		}
		reader_ack(&fx->reader, got, n);
		count += n;
	}
	flush(&fx->reader);
	read_ms = clock_mono_ms() - at_ms;
	print_message("# sent %d in %d ms, received and deleted in %d ms\n", COUNT, (int)sent_ms,
		      (int)read_ms);
	assert_int_equal(queue_depth(fx, fx->name, VISIBLE), 0);
	assert_int_equal(queue_depth(fx, fx->name, HIDDEN), 0);
	assert_true(fx->reader.rings > 0);
}

static void says_all(void **state)
{
	static const char trace[] = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
	static const char body[] =
		"{\"n\":\"\\u0001 \" \xef\xbf\xbf \xc3\xa4 <&> \xf0\x9f\x98\x80\"}";
	struct fixture *fx = *state;
	struct publication item = {
		.topic = fx->name, .body = body, .body_bytes = strlen(body), .traceparent = trace
	};
	int64_t now_ms = clock_wall_ms();
	const struct message *m;
	struct delivery *got;

	declare_queue(fx, fx->name, false, NULL);
	uuid_v7(&item.id);
	send_all(fx, &item, 1);
	reader_open(fx, &fx->reader, 10);
	reader_serve(&fx->reader, fx->name, false, false);
	reader_take(&fx->reader, &got, 1, 5000);
	m = &got->message;
	assert_int_equal(got->place, 7);
	assert_memory_equal(m->body, "{\"n\":\"\\u0001 \" \\uffff \xc3\xa4 <&> \xf0\x9f\x98\x80\"}",
			    m->body_bytes);
	assert_int_equal(strlen(m->identity), 36);
	assert_in_range(m->time_ms, now_ms - 5000, now_ms + 5000);
	assert_string_equal(m->content_type, "application/cloudevents+json; charset=utf-8");
	assert_int_equal(m->header_count, 2);
	for (size_t i = 0; i < 2; i++)
		assert_true(strcmp(m->headers[i].name, "traceparent") ||
			    !strcmp(m->headers[i].value, trace));
	assert_null(m->key);
	assert_null(m->dead_reason);
	assert_false(m->redelivered);
	reader_ack(&fx->reader, &got, 1);
	flush(&fx->reader);
}

/* One is taken, the others lie in the buffer; nobody else gets them for three times as long. */
static void heartbeat_holds(void **state)
{
	struct fixture *fx = *state;
	struct delivery *got[30], *other;

	declare_queue(fx, fx->name, false, NULL);
	send_all(fx, publications(fx, fx->name, 30, 0), 30);
	reader_open(fx, &fx->reader, 40);
	reader_serve(&fx->reader, fx->name, false, false);
	reader_take(&fx->reader, got, 1, 5000);
	for (int i = 0; i < 100 && queue_depth(fx, fx->name, VISIBLE); i++)
		pause_ms(20);
	reader_open(fx, &fx->rival, 40);
	reader_serve(&fx->rival, fx->name, false, false);
	assert_int_equal(reader_wait(&fx->rival, &other, 1, 9500), 0);
	reader_take(&fx->reader, got + 1, 29, 1000);
	for (size_t i = 0; i < 30; i++)
		assert_false(got[i]->message.redelivered);
	reader_ack(&fx->reader, got, 30);
	flush(&fx->reader);
	assert_int_equal(queue_depth(fx, fx->name, HIDDEN), 0);
}

static void gives_back(void **state)
{
	struct fixture *fx = *state;
	struct feed *feed;
	struct delivery *got;
	int64_t at_ms;

	declare_queue(fx, fx->name, false, NULL);
	send_all(fx, publications(fx, fx->name, 1, 0), 1);
	reader_open(fx, &fx->reader, 10);
	feed = fx->reader.feed;
	reader_serve(&fx->reader, fx->name, false, false);
	reader_take(&fx->reader, &got, 1, 5000);
	feed->ops->give_back(feed, got, 0);
	reader_take(&fx->reader, &got, 1, 5000);
	assert_true(got->message.redelivered);
	at_ms = clock_mono_ms();
	feed->ops->give_back(feed, got, 1500);
	reader_take(&fx->reader, &got, 1, 6000);
	assert_in_range(clock_mono_ms() - at_ms, 1400, 6000);
	reader_ack(&fx->reader, &got, 1);
	flush(&fx->reader);
	assert_int_equal(queue_depth(fx, fx->name, HIDDEN), 0);
}

static void stop_returns_the_buffer(void **state)
{
	struct fixture *fx = *state;
	struct delivery *got[20];

	declare_queue(fx, fx->name, false, NULL);
	send_all(fx, publications(fx, fx->name, 20, 0), 20);
	reader_open(fx, &fx->reader, 100);
	reader_serve(&fx->reader, fx->name, false, false);
	reader_take(&fx->reader, got, 1, 5000);
	for (int i = 0; i < 100 && queue_depth(fx, fx->name, VISIBLE); i++)
		pause_ms(20);
	fx->reader.feed->ops->stop(fx->reader.feed);
	flush(&fx->reader);
	assert_int_equal(queue_depth(fx, fx->name, HIDDEN), 1);
	assert_int_equal(reader_wait(&fx->reader, got + 1, 1, 300), 0);
	reader_ack(&fx->reader, got, 1); /* goes on */
	flush(&fx->reader);
	reader_open(fx, &fx->rival, 100);
	reader_serve(&fx->rival, fx->name, false, false);
	reader_take(&fx->rival, got, 19, 5000);
	reader_ack(&fx->rival, got, 19);
	flush(&fx->rival);
}

static void buffer_is_bounded(void **state)
{
	struct fixture *fx = *state;
	struct delivery *got[100];

	declare_queue(fx, fx->name, false, NULL);
	send_all(fx, publications(fx, fx->name, 100, 0), 100);
	reader_open(fx, &fx->reader, 15);
	reader_serve(&fx->reader, fx->name, false, false);
	for (int i = 0; i < 200 && queue_depth(fx, fx->name, HIDDEN) < 15; i++)
		pause_ms(10);
	pause_ms(300);
	assert_int_equal(queue_depth(fx, fx->name, HIDDEN), 15);
	reader_take(&fx->reader, got, 100, 10000);
	reader_ack(&fx->reader, got, 100);
	flush(&fx->reader);
	assert_int_equal(queue_depth(fx, fx->name, HIDDEN), 0);
}

static void fifo_keeps_order(void **state)
{
	enum { COUNT = 100, KEYS = 5 };
	struct fixture *fx = *state;
	struct publication *items = publications(fx, fx->name, COUNT, KEYS);
	struct delivery *got[COUNT];
	int64_t last[KEYS];
	size_t count = 0;

	for (size_t i = 0; i < KEYS; i++)
		last[i] = -1;
	declare_queue(fx, fx->name, true, NULL);
	send_all(fx, items, COUNT);
	send_all(fx, items, COUNT); /* again, as after a lost answer: SQS knows them */
	reader_open(fx, &fx->reader, 200);
	reader_serve(&fx->reader, fx->name, true, false);
	while (count < COUNT) {
		size_t n = reader_wait(&fx->reader, got, COUNT, 200);

		for (size_t i = 0; i < n; i++) {
			int64_t k = number_of(got[i]);
			char key[8];

			snprintf(key, sizeof(key), "k%d", (int)(k % KEYS));
			assert_string_equal(got[i]->message.key, key);
			if (k <= last[k % KEYS])
				fail_msg("%d after %d", (int)k, (int)last[k % KEYS]);
			last[k % KEYS] = k;
		}
		reader_ack(&fx->reader, got, n);
		count += n;
	}
	flush(&fx->reader);
	assert_int_equal(reader_wait(&fx->reader, got, 1, 500), 0);
}

static void large_messages(void **state)
{
	struct fixture *fx = *state;
	size_t max = fx->publisher->ops->body_bytes_max(fx->publisher);
	struct publication items[3];
	char *body = arena_alloc(fx->arena, max + 2);
	struct delivery *got[2];
	struct error error;

	/* Quotes: twice the size in the request. */
	memset(body, '"', max + 2);
	memset(items, 0, sizeof(items));
	for (size_t i = 0; i < 3; i++) {
		uuid_v7(&items[i].id);
		items[i].topic = fx->name;
		items[i].body = body;
		items[i].body_bytes = i == 1 ? max + 1 : max;
	}
	assert_in_range(max, 1000000, 1048576);
	declare_queue(fx, fx->name, false, NULL);
	if (fx->publisher->ops->send(fx->publisher, items, 3, 20000, &error) < 0)
		fail_msg("%s", error.message);
	assert_true(items[0].confirmed && items[2].confirmed && !items[1].confirmed);
	assert_non_null(items[1].refused);
	reader_open(fx, &fx->reader, 10);
	reader_serve(&fx->reader, fx->name, false, false);
	reader_take(&fx->reader, got, 2, 10000);
	for (size_t i = 0; i < 2; i++) {
		assert_int_equal(got[i]->message.body_bytes, max);
		assert_memory_equal(got[i]->message.body, body, max);
	}
	reader_ack(&fx->reader, got, 2);
	flush(&fx->reader);
}

static void dead_letters(void **state)
{
	struct fixture *fx = *state;
	char dead[64], policy[256];
	struct delivery *got;
	json_t *answer;

	snprintf(dead, sizeof(dead), "%s-d", fx->name);
	json_decref(raw_call(fx, "CreateQueue", "{\"QueueName\":\"%s\"}", dead));
	snprintf(policy, sizeof(policy),
		 "{\\\"deadLetterTargetArn\\\":\\\"arn:aws:sqs:us-east-1:000000000000:%s\\\","
		 "\\\"maxReceiveCount\\\":1}",
		 dead);
	answer = raw_call(fx, "CreateQueue",
			  "{\"QueueName\":\"%s\",\"Attributes\":{\"RedrivePolicy\":\"%s\"}}",
			  fx->name, policy);
	json_decref(answer);
	send_raw(fx, fx->name, "{\"n\":5}");
	reader_open(fx, &fx->reader, 10);
	reader_serve(&fx->reader, fx->name, false, false);
	reader_take(&fx->reader, &got, 1, 5000);
	fx->reader.feed->ops->give_back(fx->reader.feed, got, 0);
	for (int i = 0; i < 250 && !queue_depth(fx, dead, VISIBLE); i++)
		pause_ms(20);
	reader_open(fx, &fx->rival, 10);
	reader_serve(&fx->rival, dead, false, true);
	reader_take(&fx->rival, &got, 1, 5000);
	assert_int_equal(number_of(got), 5);
	assert_non_null(got->message.dead_reason);
	assert_non_null(strstr(got->message.dead_reason, "received too often"));
	print_message("# %s\n", got->message.dead_reason);
	reader_ack(&fx->rival, &got, 1);
	flush(&fx->rival);
}

/* A declared queue comes with its dead-letter queue; one that somebody deletes is made again. */
static void queues_are_made(void **state)
{
	struct fixture *fx = *state;
	struct delivery *got;
	char dead[64];
	json_t *answer;
	const char *policy;

	snprintf(dead, sizeof(dead), "%s-d", fx->name);
	declare_queue(fx, fx->name, false, dead);
	declare_queue(fx, fx->name, false, dead);
	answer = raw_call(fx, "GetQueueAttributes",
			  "{\"QueueUrl\":\"%s\",\"AttributeNames\":[\"All\"]}",
			  queue_url(fx, fx->name));
	policy = json_string_value(json_pointer_get(answer, "Attributes/RedrivePolicy"));
	assert_non_null(policy);
	assert_non_null(strstr(policy, dead));
	assert_non_null(strstr(policy, "100"));
	json_decref(answer);
	json_decref(raw_call(fx, "DeleteQueue", "{\"QueueUrl\":\"%s\"}", queue_url(fx, fx->name)));
	send_all(fx, publications(fx, fx->name, 1, 0), 1);
	reader_open(fx, &fx->reader, 10);
	reader_serve(&fx->reader, fx->name, false, false);
	reader_take(&fx->reader, &got, 1, 5000);
	reader_ack(&fx->reader, &got, 1);
	flush(&fx->reader);
}

static void unknown_queue_is_refused(void **state)
{
	struct fixture *fx = *state;
	struct publication *items = publications(fx, fx->name, 2, 0);
	struct error error;

	items[1].topic = "no such name!";
	assert_int_equal(fx->publisher->ops->send(fx->publisher, items, 2, 5000, &error), 0);
	assert_string_equal(items[0].refused, "the queue does not exist");
	assert_non_null(items[1].refused);
	reader_open(fx, &fx->reader, 10);
	reader_serve(&fx->reader, fx->name, false, false);
	pause_ms(200);
	reader_ready(&fx->reader, false, 0);
	declare_queue(fx, fx->name, false, NULL);
	reader_ready(&fx->reader, true, 15000);
}

/* What is not served any more goes back, and what was taken stays good. */
static void serves_others(void **state)
{
	struct fixture *fx = *state;
	struct delivery *got[10];
	char other[64];

	snprintf(other, sizeof(other), "%s-o", fx->name);
	declare_queue(fx, fx->name, false, NULL);
	declare_queue(fx, other, false, NULL);
	send_all(fx, publications(fx, fx->name, 10, 0), 10);
	reader_open(fx, &fx->reader, 50);
	reader_serve(&fx->reader, fx->name, false, false);
	reader_take(&fx->reader, got, 2, 5000);
	for (int i = 0; i < 100 && queue_depth(fx, fx->name, VISIBLE); i++)
		pause_ms(20);
	reader_serve(&fx->reader, other, false, false);
	for (int i = 0; i < 200 && queue_depth(fx, fx->name, VISIBLE) < 8; i++)
		pause_ms(20);
	assert_int_equal(queue_depth(fx, fx->name, VISIBLE), 8);
	reader_ack(&fx->reader, got, 2);
	flush(&fx->reader);
	assert_int_equal(queue_depth(fx, fx->name, HIDDEN), 0);
	send_all(fx, publications(fx, other, 1, 0), 1);
	reader_take(&fx->reader, got, 1, 5000);
	reader_ack(&fx->reader, got, 1);
}

#define CASE(name, open) cmocka_unit_test_setup_teardown(name, open, close_server)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(two_thousand, open_server),
		CASE(says_all, open_server),
		CASE(heartbeat_holds, open_hasty),
		CASE(gives_back, open_server),
		CASE(stop_returns_the_buffer, open_server),
		CASE(buffer_is_bounded, open_server),
		CASE(fifo_keeps_order, open_server),
		CASE(large_messages, open_server),
		CASE(dead_letters, open_server),
		CASE(queues_are_made, open_server),
		CASE(unknown_queue_is_refused, open_server),
		CASE(serves_others, open_server),
	};

	if (!getenv("TEST_SQS_URL")) {
		puts("1..0");
		return 0;
	}
	return cmocka_run_group_tests_name("sqs_feed", tests, NULL, NULL);
}
