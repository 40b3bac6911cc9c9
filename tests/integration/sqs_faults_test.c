/* SPDX-License-Identifier: Apache-2.0 */
/* Publisher and feed against a server that fails on request, and keys from every place where they
 * can come from. The stub computes each signature again with botocore, so that every case here is a
 * comparison of signatures too. */
#include "tests/integration/sqs_fixture.h"

#include <stdio.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/service/metrics_rows.h"

static const char *const aws_names[] = {
	"AWS_ACCESS_KEY_ID",
	"AWS_SECRET_ACCESS_KEY",
	"AWS_SESSION_TOKEN",
	"AWS_PROFILE",
	"AWS_SHARED_CREDENTIALS_FILE",
	"AWS_CONFIG_FILE",
	"AWS_CONTAINER_CREDENTIALS_FULL_URI",
	"AWS_CONTAINER_AUTHORIZATION_TOKEN",
	"AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
	"AWS_EC2_METADATA_SERVICE_ENDPOINT",
	"AWS_EC2_METADATA_DISABLED",
};

static void forget_keys(void)
{
	for (size_t i = 0; i < ARRAY_LEN(aws_names); i++)
		unsetenv(aws_names[i]);
	setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent", 1);
	setenv("AWS_CONFIG_FILE", "/nonexistent", 1);
	setenv("AWS_EC2_METADATA_DISABLED", "true", 1);
}

static int open_stub(void **state)
{
	static struct fixture fx;

	forget_keys();
	fixture_stub(&fx, "&visibility=3");
	*state = &fx;
	return 0;
}

static int close_stub(void **state)
{
	struct fixture *fx = *state;

	if (fx->stub)
		assert_int_equal(stub_count(fx, "refused"), 0); /* signatures */
	fixture_end(fx);
	return 0;
}

static int send_some(struct fixture *fx, struct publication *items, size_t count, int timeout_ms,
		     struct error *err_r)
{
	return fx->publisher->ops->send(fx->publisher, items, count, timeout_ms, err_r);
}

static size_t refused(const struct publication *items, size_t count)
{
	size_t n = 0;

	for (size_t i = 0; i < count; i++)
		n += items[i].refused != NULL;
	return n;
}

static char *queue_path(struct fixture *fx, char path_r[80])
{
	snprintf(path_r, 80, "queues/%s", fx->name);
	return path_r;
}

/* ---- sending */

static void entries_that_fail(void **state)
{
	struct fixture *fx = *state;
	struct publication *items = publications(fx, fx->name, 20, 0);
	struct error error;

	stub_behave(fx, "{\"fail_entries\":3,\"fail_batches\":1}");
	assert_int_equal(send_some(fx, items, 20, 5000, &error), 0);
	assert_int_equal(confirmed(items, 20), 17);
	assert_int_equal(refused(items, 20), 0);
	stub_behave(fx, "{\"fail_entries\":3,\"fail_batches\":2,\"fail_sender\":true}");
	assert_int_equal(send_some(fx, items, 20, 5000, &error), 0);
	assert_int_equal(confirmed(items, 20), 14);
	assert_int_equal(refused(items, 20), 6);
}

/* What comes after a message that was not confirmed must not overtake it. */
static void fifo_group_stops(void **state)
{
	struct fixture *fx = *state;
	struct publication *items;
	struct error error;
	char topic[64];

	snprintf(topic, sizeof(topic), "%s.fifo", fx->name);
	items = publications(fx, topic, 12, 2);
	declare_queue(fx, topic, true, NULL);
	stub_behave(fx, "{\"fail_entries\":1,\"fail_batches\":1}");
	assert_int_equal(send_some(fx, items, 12, 5000, &error), 0);
	for (size_t i = 0; i < 12; i++)
		assert_int_equal(items[i].confirmed, i % 2 == 1);
	assert_int_equal(stub_count(fx, "counts/SendMessageBatch"), 6);
}

static void throttled_sends_go_through(void **state)
{
	struct fixture *fx = *state;
	struct publication *items = publications(fx, fx->name, 50, 0);
	char path[80];

	declare_queue(fx, fx->name, false, NULL);
	stub_behave(fx, "{\"throttle\":6}");
	send_all(fx, items, 50);
	assert_int_equal(stub_count(fx, queue_path(fx, path)), 50);
	assert_int_equal(stub_count(fx, "counts/SendMessageBatch"), 11);
}

static void slow_answers(void **state)
{
	struct fixture *fx = *state;
	struct publication *items = publications(fx, fx->name, 5, 0);
	int64_t at_ms = clock_mono_ms();
	struct error error;

	declare_queue(fx, fx->name, false, NULL);
	stub_behave(fx, "{\"delay_s\":2}");
	assert_int_equal(send_some(fx, items, 5, 400, &error), -1);
	assert_int_equal(error.code, ERROR_UNAVAILABLE);
	assert_in_range(clock_mono_ms() - at_ms, 300, 1500);
	assert_int_equal(confirmed(items, 5), 0);
	at_ms = clock_mono_ms(); /* pauses: fails at once */
	assert_int_equal(send_some(fx, items, 5, 5000, &error), -1);
	assert_in_range(clock_mono_ms() - at_ms, 0, 50);
}

static void denied_and_garbled(void **state)
{
	struct fixture *fx = *state;
	struct publication *items = publications(fx, fx->name, 3, 0);
	struct error error;

	declare_queue(fx, fx->name, false, NULL);
	stub_behave(fx, "{\"denied\":\"SendMessageBatch\"}");
	assert_int_equal(send_some(fx, items, 3, 5000, &error), 0);
	assert_int_equal(refused(items, 3), 3);
	stub_behave(fx, "{\"garbage\":1}");
	assert_int_equal(send_some(fx, items, 3, 5000, &error), -1);
	assert_int_equal(confirmed(items, 3) + refused(items, 3), 0);
}

/* ---- receiving */

static void deletes_that_fail(void **state)
{
	struct fixture *fx = *state;
	struct delivery *got[40];
	char path[80];

	send_all(fx, publications(fx, fx->name, 40, 0), 40);
	reader_open(fx, &fx->reader, 100);
	reader_serve(&fx->reader, fx->name, false, false);
	reader_take(&fx->reader, got, 40, 5000);
	stub_behave(fx, "{\"fail_entries\":3,\"fail_batches\":3,\"throttle\":2,"
			"\"fail_action\":\"DeleteMessageBatch\"}");
	reader_ack(&fx->reader, got, 40);
	fx->reader.feed->ops->flush(fx->reader.feed, 5000);
	assert_int_equal(stub_count(fx, queue_path(fx, path)), 0);
	assert_int_equal(stub_count(fx, "doubled"), 0);
	assert_in_range(stub_count(fx, "counts/DeleteMessageBatch"), 5, 30);
}

/* Renewals fail now and then, and nothing comes twice in four times the visibility. */
static void renewals_that_fail(void **state)
{
	struct fixture *fx = *state;
	struct delivery *got[20];

	send_all(fx, publications(fx, fx->name, 20, 0), 20);
	reader_open(fx, &fx->reader, 100);
	reader_serve(&fx->reader, fx->name, false, false);
	reader_take(&fx->reader, got, 20, 5000);
	for (int i = 0; i < 6; i++) {
		stub_behave(fx, "{\"fail_entries\":5,\"fail_batches\":1,\"throttle\":1,"
				"\"fail_action\":\"ChangeMessageVisibilityBatch\"}");
		pause_ms(1000);
	}
	assert_int_equal(reader_wait(&fx->reader, got, 1, 100), 0);
	assert_int_equal(stub_count(fx, "doubled"), 0);
	assert_true(stub_count(fx, "counts/ChangeMessageVisibilityBatch") > 12);
	reader_ack(&fx->reader, got, 20);
	fx->reader.feed->ops->flush(fx->reader.feed, 5000);
}

/* The visibility runs out while nothing can be renewed: the messages come again, and what is still
 * said about the first ones does no harm. */
static void expired_handles(void **state)
{
	struct fixture *fx = *state;
	struct delivery *mine[10], *again[10];
	char path[80];

	send_all(fx, publications(fx, fx->name, 10, 0), 10);
	reader_open(fx, &fx->reader, 100);
	reader_serve(&fx->reader, fx->name, false, false);
	reader_take(&fx->reader, mine, 10, 5000);
	stub_behave(fx, "{\"denied\":\"ChangeMessageVisibilityBatch\"}");
	reader_take(&fx->reader, again, 10, 8000);
	stub_behave(fx, "{}");
	reader_ack(&fx->reader, mine, 10);
	fx->reader.feed->ops->flush(fx->reader.feed, 5000);
	assert_int_equal(stub_count(fx, queue_path(fx, path)), 10);
	for (size_t i = 0; i < 10; i++)
		assert_true(again[i]->message.redelivered);
	reader_ack(&fx->reader, again, 10);
	fx->reader.feed->ops->flush(fx->reader.feed, 5000);
	assert_int_equal(stub_count(fx, queue_path(fx, path)), 0);
}

static void server_restarts(void **state)
{
	struct fixture *fx = *state;
	struct publication *items = publications(fx, fx->name, 10, 0);
	struct metric_series *reconnects =
		metrics_series(fx->metrics, METRIC_BROKER_RECONNECTS, "consume", NULL);
	struct delivery *got[10];
	struct error error;
	int64_t until_ms;

	send_all(fx, items, 10);
	reader_open(fx, &fx->reader, 100);
	reader_serve(&fx->reader, fx->name, false, false);
	reader_take(&fx->reader, got, 10, 5000);
	reader_ready(&fx->reader, true, 1000);
	stub_kill(fx);
	reader_ready(&fx->reader, false, 5000);
	assert_int_equal(send_some(fx, items, 10, 5000, &error), -1);
	reader_ack(&fx->reader, got, 10); /* of handles that nobody knows any more */
	stub_start(fx);
	reader_ready(&fx->reader, true, 20000);
	assert_true(metric_value(reconnects) >= 1);
	until_ms = clock_mono_ms() + 20000;
	while (send_some(fx, items, 10, 5000, &error) < 0 && clock_mono_ms() < until_ms)
		pause_ms(50);
	assert_int_equal(confirmed(items, 10), 10);
	reader_take(&fx->reader, got, 10, 5000);
	reader_ack(&fx->reader, got, 10);
	fx->reader.feed->ops->flush(fx->reader.feed, 5000);
	assert_int_equal(stub_count(fx, "counts/DeleteMessageBatch") > 0, 1);
}

/* ---- keys */

static void can_send(struct fixture *fx, bool want)
{
	struct publication *items = publications(fx, fx->name, 1, 0);
	struct publisher_options options = { .broker_url = fx->url,
					     .client = "test",
					     .metrics = fx->metrics };
	struct error error = { .code = ERROR_NONE };
	struct publisher *publisher = sqs_publisher_new(&options, &error);
	struct strbuf why;

	assert_non_null(publisher);
	assert_int_equal(publisher->ops->send(publisher, items, 1, 5000, &error), want ? 0 : -1);
	assert_int_equal(items[0].confirmed, want);
	strbuf_init(&why);
	assert_int_equal(publisher->ops->ready(publisher, &why), want);
	assert_true(want == (why.len == 0));
	assert_null(strstr(why.data, "canonical"));
	strbuf_release(&why);
	publisher->ops->free(&publisher);
}

static void keys_of_files(void **state)
{
	static const char text[] = "[default]\naws_access_key_id = WRONG\n"
				   "aws_secret_access_key = wrong\n\n[mine]\n"
				   "aws_access_key_id=STATICKEY\n"
				   "aws_secret_access_key = static/secret # comment\n"
				   "aws_session_token = a+token==\n";
	struct fixture *fx = *state;
	char path[] = "/tmp/sqs-keys-XXXXXX";
	int fd = mkstemp(path);

	assert_int_equal(write(fd, text, sizeof(text) - 1), sizeof(text) - 1);
	close(fd);
	forget_keys();
	can_send(fx, false);
	setenv("AWS_SHARED_CREDENTIALS_FILE", path, 1);
	can_send(fx, false);
	setenv("AWS_PROFILE", "mine", 1);
	can_send(fx, true);
	setenv("AWS_PROFILE", "nobody", 1);
	can_send(fx, false);
	unlink(path);
}

static void keys_of_containers(void **state)
{
	struct fixture *fx = *state;
	char url[64], path[] = "/tmp/sqs-token-XXXXXX";
	int fd = mkstemp(path);

	forget_keys();
	snprintf(url, sizeof(url), "http://127.0.0.1:%d/container", fx->stub_port);
	setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", url, 1);
	can_send(fx, false);
	setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN", "Bearer stub", 1);
	can_send(fx, true);
	assert_int_equal(write(fd, "Bearer stub\n", 12), 12);
	close(fd);
	setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN", "wrong", 1);
	setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", path, 1);
	can_send(fx, true);
	assert_int_equal(stub_count(fx, "issued"), 2);
	unlink(path);
}

static void keys_of_instances(void **state)
{
	struct fixture *fx = *state;
	char url[64];

	forget_keys();
	snprintf(url, sizeof(url), "http://127.0.0.1:%d/", fx->stub_port);
	setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", url, 1);
	can_send(fx, false);
	unsetenv("AWS_EC2_METADATA_DISABLED");
	can_send(fx, true);
	stub_behave(fx, "{\"no_role\":true}");
	can_send(fx, false);
}

/* A key is fetched anew in time, and at once when SQS says that it has run out. */
static void keys_run_out(void **state)
{
	struct fixture *fx = *state;
	struct delivery *got[30];
	char url[64];

	send_all(fx, publications(fx, fx->name, 10, 0), 10);
	forget_keys();
	snprintf(url, sizeof(url), "http://127.0.0.1:%d/container", fx->stub_port);
	setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", url, 1);
	setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN", "Bearer stub", 1);
	stub_behave(fx, "{\"life_s\":4}");
	reader_open(fx, &fx->reader, 100);
	reader_serve(&fx->reader, fx->name, false, false);
	reader_take(&fx->reader, got, 10, 5000);
	pause_ms(2500);
	assert_in_range(stub_count(fx, "issued"), 2, 4);
	stub_behave(fx, "{\"expired\":\"token/+==2\"}");
	pause_ms(1500);
	assert_in_range(stub_count(fx, "issued"), 3, 6);
	reader_ready(&fx->reader, true, 3000);
	reader_ack(&fx->reader, got, 10);
	fx->reader.feed->ops->flush(fx->reader.feed, 5000);
	assert_int_equal(stub_count(fx, "doubled"), 0);
}

static void wrong_secret(void **state)
{
	struct fixture *fx = *state;

	setenv("AWS_SECRET_ACCESS_KEY", "another", 1);
	can_send(fx, false);
	assert_true(stub_count(fx, "refused") > 0);
	stub_kill(fx);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, open_stub, close_stub)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(entries_that_fail),
		CASE(fifo_group_stops),
		CASE(throttled_sends_go_through),
		CASE(slow_answers),
		CASE(denied_and_garbled),
		CASE(deletes_that_fail),
		CASE(renewals_that_fail),
		CASE(expired_handles),
		CASE(server_restarts),
		CASE(keys_of_files),
		CASE(keys_of_containers),
		CASE(keys_of_instances),
		CASE(keys_run_out),
		CASE(wrong_secret),
	};

	return cmocka_run_group_tests_name("sqs_faults", tests, NULL, NULL);
}
