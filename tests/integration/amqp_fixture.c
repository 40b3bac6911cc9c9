/* SPDX-License-Identifier: Apache-2.0 */
/* See amqp_fixture.h. */
#include "tests/integration/amqp_fixture.h"

#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include <amqp_tcp_socket.h>

#define CLIENT_CHANNEL 1
#define WAIT_MS        10000

const char *rig_server_url(void)
{
	const char *url = getenv("TEST_RABBIT_URL");

	return url && url[0] ? url : NULL;
}

struct rig *rig_new(const char *url)
{
	static atomic_int number;
	struct rig *rig = xcalloc(1, sizeof(*rig));

	signal(SIGPIPE, SIG_IGN);
	rig->arena = arena_new(0);
	rig->url = url;
	rig->metrics = metrics_open("test");
	snprintf(rig->prefix, sizeof(rig->prefix), "t%d-%d.", (int)getpid(),
		 atomic_fetch_add(&number, 1));
	rig->bell = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	return rig;
}

void rig_free(struct rig *rig)
{
	if (rig->feed)
		rig->feed->ops->free(&rig->feed);
	if (rig->publisher)
		rig->publisher->ops->free(&rig->publisher);
	if (rig->client)
		client_close(rig);
	metrics_close(&rig->metrics);
	close(rig->bell);
	arena_free(&rig->arena);
	free(rig);
}

int rig_set_up(void **state)
{
	struct rig *rig = rig_new(rig_server_url());

	client_open(rig);
	*state = rig;
	return 0;
}

int rig_tear_down(void **state)
{
	rig_free(*state);
	return 0;
}

const char *rig_name(struct rig *rig, const char *name)
{
	return arena_printf(rig->arena, "%s%s", rig->prefix, name);
}

/* ---- the stock client */

static void check_reply(amqp_rpc_reply_t reply, const char *what)
{
	if (reply.reply_type == AMQP_RESPONSE_NORMAL)
		return;
	if (reply.reply_type == AMQP_RESPONSE_SERVER_EXCEPTION &&
	    reply.reply.id == AMQP_CHANNEL_CLOSE_METHOD) {
		const amqp_channel_close_t *close = reply.reply.decoded;

		fail_msg("%s: %.*s", what, (int)close->reply_text.len,
			 (const char *)close->reply_text.bytes);
	}
	fail_msg("%s: %s", what, amqp_error_string2(reply.library_error));
}

void client_open(struct rig *rig)
{
	struct amqp_connection_info info;
	char *url = arena_strdup(rig->arena, rig->url);

	url[strcspn(url, "?")] = '\0';
	amqp_default_connection_info(&info);
	assert_int_equal(amqp_parse_url(url, &info), AMQP_STATUS_OK);
	rig->client = amqp_new_connection();
	assert_int_equal(amqp_socket_open(amqp_tcp_socket_new(rig->client), info.host, info.port),
			 AMQP_STATUS_OK);
	check_reply(amqp_login(rig->client, "/", 0, 131072, 0, AMQP_SASL_METHOD_PLAIN, info.user,
			       info.password),
		    "login");
	amqp_channel_open(rig->client, CLIENT_CHANNEL);
	check_reply(amqp_get_rpc_reply(rig->client), "channel");
}

void client_close(struct rig *rig)
{
	amqp_destroy_connection(rig->client);
	rig->client = NULL;
}

void client_declare(struct rig *rig, const char *queue, bool exclusive, amqp_table_t arguments)
{
	amqp_queue_declare(rig->client, CLIENT_CHANNEL, amqp_cstring_bytes(queue), 0, !exclusive,
			   exclusive, 0, arguments);
	check_reply(amqp_get_rpc_reply(rig->client), "declare");
}

void client_delete(struct rig *rig, const char *queue)
{
	amqp_queue_delete(rig->client, CLIENT_CHANNEL, amqp_cstring_bytes(queue), 0, 0);
	check_reply(amqp_get_rpc_reply(rig->client), "delete");
}

void client_publish(struct rig *rig, const char *queue, const char *id, const char *body,
		    size_t bytes)
{
	amqp_basic_properties_t properties = { ._flags = AMQP_BASIC_DELIVERY_MODE_FLAG,
					       .delivery_mode = 2 };

	if (id) {
		properties._flags |= AMQP_BASIC_MESSAGE_ID_FLAG;
		properties.message_id = amqp_cstring_bytes(id);
	}
	assert_int_equal(amqp_basic_publish(
				 rig->client, CLIENT_CHANNEL, amqp_empty_bytes,
				 amqp_cstring_bytes(queue), 0, 0, &properties,
				 (amqp_bytes_t){ .len = bytes, .bytes = (void *)(uintptr_t)body }),
			 AMQP_STATUS_OK);
}

int client_depth(struct rig *rig, const char *queue)
{
	amqp_queue_declare_ok_t *ok =
		amqp_queue_declare(rig->client, CLIENT_CHANNEL, amqp_cstring_bytes(queue), 1, 0, 0,
				   0, amqp_empty_table);
	amqp_channel_close_ok_t close_ok = { 0 };

	if (ok)
		return (int)ok->message_count;
	assert_int_equal(amqp_get_rpc_reply(rig->client).reply_type,
			 AMQP_RESPONSE_SERVER_EXCEPTION);
	amqp_send_method(rig->client, CLIENT_CHANNEL, AMQP_CHANNEL_CLOSE_OK_METHOD, &close_ok);
	amqp_channel_open(rig->client, CLIENT_CHANNEL);
	check_reply(amqp_get_rpc_reply(rig->client), "channel");
	return -1;
}

bool client_get(struct rig *rig, const char *queue, amqp_message_t *message_r)
{
	amqp_rpc_reply_t reply =
		amqp_basic_get(rig->client, CLIENT_CHANNEL, amqp_cstring_bytes(queue), 1);

	check_reply(reply, "get");
	if (reply.reply.id == AMQP_BASIC_GET_EMPTY_METHOD)
		return false;
	check_reply(amqp_read_message(rig->client, CLIENT_CHANNEL, message_r, 0), "message");
	return true;
}

/* ---- our publisher */

void publisher_open(struct rig *rig)
{
	struct publisher_options options = { .broker_url = rig->url,
					     .client = "windlass-test",
					     .ca_file = rig->ca_file,
					     .metrics = rig->metrics };

	rig->publisher = amqp_publisher_new(&options, &rig->error);
	if (!rig->publisher)
		fail_msg("%s", rig->error.message);
}

struct publication a_publication(const char *topic, const char *body)
{
	struct publication item = { .topic = topic, .body = body, .body_bytes = strlen(body) };

	uuid_v7(&item.id);
	return item;
}

void publisher_send(struct rig *rig, struct publication *items, size_t count)
{
	if (rig->publisher->ops->send(rig->publisher, items, count, WAIT_MS, &rig->error))
		fail_msg("send: %s", rig->error.message);
}

void publisher_fill(struct rig *rig, const char *queue, int count)
{
	struct publication *items = xcalloc((size_t)count, sizeof(*items));
	struct publisher_place place = { .topic = queue, .classic = true };

	if (!rig->publisher)
		publisher_open(rig);
	if (rig->publisher->ops->declare(rig->publisher, &place, 1, WAIT_MS, &rig->error))
		fail_msg("declare: %s", rig->error.message);
	for (int i = 0; i < count; i++)
		items[i] = a_publication(queue, arena_printf(rig->arena, "%d", i));
	publisher_send(rig, items, (size_t)count);
	for (int i = 0; i < count; i++)
		assert_true(items[i].confirmed);
	free(items);
}

/* ---- our feed */

static void ring(void *ctx)
{
	const struct rig *rig = ctx;
	uint64_t one = 1;

	(void)!write(rig->bell, &one, sizeof(one));
}

void feed_open(struct rig *rig, size_t message_bytes_max)
{
	struct feed_options options = {
		.broker_url = rig->url,
		.client = "windlass-test",
		.group = rig->prefix,
		.ca_file = rig->ca_file,
		.buffer_max = 2000,
		.message_bytes_max = message_bytes_max ? message_bytes_max : 1 << 20,
		.metrics = rig->metrics,
		.ring = ring,
		.ctx = rig,
	};

	rig->feed = amqp_feed_new(&options, &rig->error);
	if (!rig->feed)
		fail_msg("%s", rig->error.message);
}

void feed_serve(struct rig *rig, const struct feed_place *places, size_t count)
{
	if (!rig->feed)
		feed_open(rig, 0);
	rig->feed->ops->serve(rig->feed, places, count);
}

static size_t take_some(struct rig *rig, struct delivery **deliveries_r, size_t count,
			int64_t until_ms)
{
	size_t got = 0;

	while (got < count) {
		struct pollfd bell = { .fd = rig->bell, .events = POLLIN };
		int64_t left_ms = until_ms - clock_mono_ms();
		uint64_t sink;

		got += rig->feed->ops->take(rig->feed, deliveries_r + got, count - got);
		if (got == count || left_ms <= 0)
			break;
		poll(&bell, 1, (int)left_ms);
		(void)!read(rig->bell, &sink, sizeof(sink));
	}
	return got;
}

void feed_take(struct rig *rig, struct delivery **deliveries_r, size_t count, int timeout_ms)
{
	size_t got = take_some(rig, deliveries_r, count, clock_mono_ms() + timeout_ms);

	if (got != count) {
		struct strbuf why;

		strbuf_init(&why);
		(void)rig->feed->ops->ready(rig->feed, &why);
		fail_msg("%zu deliveries of %zu within %d ms; %s", got, count, timeout_ms,
			 why.data);
	}
}

struct delivery *feed_take_one(struct rig *rig)
{
	struct delivery *delivery;

	feed_take(rig, &delivery, 1, WAIT_MS);
	return delivery;
}

void feed_take_none(struct rig *rig, int ms)
{
	struct delivery *delivery;

	assert_int_equal(take_some(rig, &delivery, 1, clock_mono_ms() + ms), 0);
}

void feed_ack(struct rig *rig, struct delivery *delivery)
{
	rig->feed->ops->ack(rig->feed, delivery);
}

void feed_flush(struct rig *rig)
{
	rig->feed->ops->flush(rig->feed, WAIT_MS);
}

bool feed_ready_within(struct rig *rig, int timeout_ms)
{
	int64_t until_ms = clock_mono_ms() + timeout_ms;
	struct strbuf why;
	bool ready;

	strbuf_init(&why);
	while (!(ready = rig->feed->ops->ready(rig->feed, &why)) && clock_mono_ms() < until_ms) {
		strbuf_clear(&why);
		pause_ms(20);
	}
	strbuf_release(&why);
	return ready;
}

const char *body_of(struct rig *rig, const struct delivery *delivery)
{
	return arena_strndup(rig->arena, delivery->message.body, delivery->message.body_bytes);
}
