/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/integration/sqs_fixture.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/arena.h"
#include "common/base/clock.h"
#include "common/http/client.h"
#include "common/json/json_text.h"

#define BODY_BYTES 32

extern char **environ;

/* ---- the stub */

static const char *python(void)
{
	const char *named = getenv("TEST_PYTHON");

	return named ? named : "build/venv/bin/python";
}

static int stub_port(int fd)
{
	char line[128];
	size_t bytes = 0;
	int port = 0;

	while (bytes < sizeof(line) - 1 && read(fd, line + bytes, 1) == 1 && line[bytes] != '\n')
		bytes++;
	line[bytes] = '\0';
	if (sscanf(line, "sqs stub on http://127.0.0.1:%d", &port) != 1)
		fail_msg("the stub does not start: %s", line);
	return port;
}

void stub_start(struct fixture *fx)
{
	char port[16];
	char *argv[] = { (char *)(uintptr_t)python(),
			 "tests/stub/sqs_stub.py",
			 "--port",
			 port,
			 "--queue",
			 fx->name,
			 NULL };
	posix_spawn_file_actions_t actions;
	int out[2];

	snprintf(port, sizeof(port), "%d", fx->stub_port);
	assert_int_equal(pipe2(out, O_CLOEXEC), 0);
	assert_int_equal(posix_spawn_file_actions_init(&actions), 0);
	assert_int_equal(posix_spawn_file_actions_adddup2(&actions, out[1], STDOUT_FILENO), 0);
	assert_int_equal(posix_spawnp(&fx->stub, argv[0], &actions, NULL, argv, environ), 0);
	posix_spawn_file_actions_destroy(&actions);
	close(out[1]);
	fx->stub_port = stub_port(out[0]);
	close(out[0]);
}

void stub_kill(struct fixture *fx)
{
	kill(fx->stub, SIGKILL);
	waitpid(fx->stub, NULL, 0);
	fx->stub = 0;
}

static json_t *stub_ask(struct fixture *fx, const char *method, const char *path, const char *body)
{
	char url[64];
	struct client_request request = { .method = method,
					  .url = url,
					  .body = body,
					  .body_bytes = body ? strlen(body) : 0,
					  .timeout_ms = 10000,
					  .answer_bytes_max = 1 << 20 };
	struct client_answer answer;
	struct error error;
	json_t *json;

	snprintf(url, sizeof(url), "http://127.0.0.1:%d%s", fx->stub_port, path);
	if (client_call(&request, &answer, &error) < 0)
		fail_msg("%s", error.message);
	assert_int_equal(answer.status, 200);
	json = json_loadb(answer.body.data, answer.body.len, 0, NULL);
	strbuf_release(&answer.body);
	return json;
}

void stub_behave(struct fixture *fx, const char *behaviour)
{
	json_decref(stub_ask(fx, "PUT", "/behaviour", behaviour));
}

int64_t stub_count(struct fixture *fx, const char *path)
{
	json_t *state = stub_ask(fx, "GET", "/state", NULL);
	int64_t count = json_integer_value(json_pointer_get(state, path));

	json_decref(state);
	return count;
}

/* ---- fixtures */

static void begin(struct fixture *fx)
{
	char id[UUID_TEXT];
	struct uuid uuid;

	memset(fx, 0, sizeof(*fx));
	uuid_v7(&uuid);
	snprintf(fx->name, sizeof(fx->name), "c-%s", uuid_format(&uuid, id));
	fx->arena = arena_new(0);
	fx->metrics = metrics_open("test");
}

static void connect_all(struct fixture *fx)
{
	struct publisher_options options = { .broker_url = fx->url,
					     .client = "test",
					     .metrics = fx->metrics };
	struct broker_url url;
	struct sqs_client_options client = { .url = &url };
	struct error error;

	fx->publisher = sqs_publisher_new(&options, &error);
	if (!fx->publisher)
		fail_msg("%s", error.message);
	assert_int_equal(broker_url_parse(fx->url, fx->arena, &url, &error), 0);
	fx->client = sqs_client_new(&client, &error);
	assert_non_null(fx->client);
}

void fixture_server(struct fixture *fx, const char *options)
{
	const char *url = getenv("TEST_SQS_URL");

	assert_non_null(url);
	begin(fx);
	setenv("AWS_ACCESS_KEY_ID", "test", 1);
	setenv("AWS_SECRET_ACCESS_KEY", "test", 1);
	snprintf(fx->url, sizeof(fx->url), "%s%s", url, options);
	connect_all(fx);
}

void fixture_stub(struct fixture *fx, const char *options)
{
	begin(fx);
	setenv("AWS_ACCESS_KEY_ID", "STATICKEY", 1);
	setenv("AWS_SECRET_ACCESS_KEY", "static/secret", 1);
	unsetenv("AWS_SESSION_TOKEN");
	stub_start(fx);
	snprintf(fx->url, sizeof(fx->url), "sqs://stub-1?endpoint=http://127.0.0.1:%d%s",
		 fx->stub_port, options);
	connect_all(fx);
}

void fixture_end(struct fixture *fx)
{
	reader_close(&fx->reader);
	reader_close(&fx->rival);
	fx->publisher->ops->free(&fx->publisher);
	sqs_client_free(&fx->client);
	metrics_close(&fx->metrics);
	arena_free(&fx->arena);
	free(fx->bodies);
	if (fx->stub)
		stub_kill(fx);
}

/* ---- raw calls */

json_t *raw_call(struct fixture *fx, const char *action, const char *fmt, ...)
{
	struct strbuf body;
	enum sqs_fate fate;
	struct error error;
	json_t *answer;
	va_list args;

	strbuf_init(&body);
	va_start(args, fmt);
	strbuf_addstr(&body, arena_vprintf(fx->arena, fmt, args));
	va_end(args);
	if (sqs_client_do(fx->client, action, &body, 10000, &answer, &fate, &error) < 0)
		fail_msg("%s: %s", action, error.message);
	return answer;
}

char *queue_url(struct fixture *fx, const char *name)
{
	json_t *answer = raw_call(fx, "GetQueueUrl", "{\"QueueName\":\"%s\"}", name);
	char *url = arena_strdup(fx->arena, json_string_value(json_object_get(answer, "QueueUrl")));

	json_decref(answer);
	return url;
}

int64_t queue_depth(struct fixture *fx, const char *name, const char *attribute)
{
	json_t *answer =
		raw_call(fx, "GetQueueAttributes",
			 "{\"QueueUrl\":\"%s\",\"AttributeNames\":[\"All\"]}", queue_url(fx, name));
	const char *text = json_string_value(
		json_object_get(json_object_get(answer, "Attributes"), attribute));
	int64_t depth;

	assert_non_null(text);
	depth = strtoll(text, NULL, 10);
	json_decref(answer);
	return depth;
}

void send_raw(struct fixture *fx, const char *name, const char *body)
{
	struct strbuf text;

	strbuf_init(&text);
	strbuf_json(&text, body);
	json_decref(raw_call(fx, "SendMessage", "{\"QueueUrl\":\"%s\",\"MessageBody\":%s}",
			     queue_url(fx, name), text.data));
	strbuf_release(&text);
}

/* ---- publishing */

void declare_queue(struct fixture *fx, const char *topic, bool fifo, const char *dead)
{
	struct publisher_place place = {
		.topic = topic, .dispatched = true, .dead = dead, .fifo = fifo
	};
	struct error error;

	if (fx->publisher->ops->declare(fx->publisher, &place, 1, 10000, &error) < 0)
		fail_msg("%s", error.message);
}

struct publication *publications(struct fixture *fx, const char *topic, size_t count, size_t keys)
{
	struct publication *items = ARENA_ARRAY(fx->arena, struct publication, count);

	for (size_t i = 0; i < count; i++) {
		char *body = arena_printf(fx->arena, "{\"n\":%zu}", i);

		uuid_v7(&items[i].id);
		items[i].topic = topic;
		items[i].body = body;
		items[i].body_bytes = strlen(body);
		if (keys)
			items[i].key = arena_printf(fx->arena, "k%zu", i % keys);
	}
	return items;
}

size_t confirmed(const struct publication *items, size_t count)
{
	size_t n = 0;

	for (size_t i = 0; i < count; i++)
		n += items[i].confirmed;
	return n;
}

void send_all(struct fixture *fx, struct publication *items, size_t count)
{
	struct error error;

	if (fx->publisher->ops->send(fx->publisher, items, count, 20000, &error) < 0)
		fail_msg("%s", error.message);
	assert_int_equal(confirmed(items, count), count);
}

/* ---- reading */

static void on_ring(void *ctx)
{
	struct reader *reader = ctx;

	reader->rings++;
}

void reader_open(struct fixture *fx, struct reader *reader, size_t buffer_max)
{
	struct feed_options options = { .broker_url = fx->url,
					.client = "test",
					.group = "test",
					.buffer_max = buffer_max,
					.message_bytes_max = 2 << 20,
					.metrics = fx->metrics,
					.ring = on_ring,
					.ctx = reader };
	struct error error;

	reader->feed = sqs_feed_new(&options, &error);
	if (!reader->feed)
		fail_msg("%s", error.message);
}

void reader_serve(struct reader *reader, const char *topic, bool fifo, bool dead)
{
	struct feed_place place = { .topic = topic, .fifo = fifo, .dead = dead, .index = 7 };

	reader->feed->ops->serve(reader->feed, &place, 1);
}

void reader_close(struct reader *reader)
{
	if (reader->feed)
		reader->feed->ops->free(&reader->feed);
}

size_t reader_wait(struct reader *reader, struct delivery **deliveries_r, size_t max,
		   int timeout_ms)
{
	int64_t until_ms = clock_mono_ms() + timeout_ms;
	size_t count = 0;

	while (count < max && clock_mono_ms() < until_ms) {
		size_t n = reader->feed->ops->take(reader->feed, deliveries_r + count, max - count);

		count += n;
		if (!n)
			usleep(1000);
	}
	return count;
}

void reader_take(struct reader *reader, struct delivery **deliveries_r, size_t count,
		 int timeout_ms)
{
	size_t got = reader_wait(reader, deliveries_r, count, timeout_ms);

	if (got != count)
		fail_msg("%zu of %zu messages after %d ms", got, count, timeout_ms);
}

void reader_ack(struct reader *reader, struct delivery **deliveries, size_t count)
{
	for (size_t i = 0; i < count; i++)
		reader->feed->ops->ack(reader->feed, deliveries[i]);
}

void reader_ready(struct reader *reader, bool want, int timeout_ms)
{
	int64_t until_ms = clock_mono_ms() + timeout_ms;
	struct strbuf why;
	bool ready;

	do {
		strbuf_init(&why);
		ready = reader->feed->ops->ready(reader->feed, &why);
		if (ready != want && clock_mono_ms() >= until_ms)
			fail_msg("ready is %d: %s", ready, why.data);
		assert_true(ready == (why.len == 0));
		strbuf_release(&why);
		pause_ms(5);
	} while (ready != want);
}

int64_t number_of(const struct delivery *delivery)
{
	json_t *json = json_loadb(delivery->message.body, delivery->message.body_bytes, 0, NULL);
	int64_t n = json_is_object(json) ? json_integer_value(json_object_get(json, "n")) : -1;

	json_decref(json);
	return n;
}
