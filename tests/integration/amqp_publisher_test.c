/* SPDX-License-Identifier: Apache-2.0 */
/* Publishing on a real RabbitMQ, read back by a stock client: what a message carries, what is
 * confirmed, what is refused and why, and that one bad publication harms no other. */
#include "tests/integration/amqp_fixture.h"

#include <stdlib.h>

#include "common/broker/amqp_frame.h"

static int declare(struct rig *rig, const struct publisher_place *places, size_t count)
{
	if (!rig->publisher)
		publisher_open(rig);
	return rig->publisher->ops->declare(rig->publisher, places, count, 10000, &rig->error);
}

static void a_message_whole(void **state)
{
	struct rig *rig = *state;
	const char *queue = rig_name(rig, "jobs"), *dead = rig_name(rig, "dead");
	struct publisher_place places[] = { { .topic = dead },
					    { .topic = queue, .dispatched = true, .dead = dead } };
	struct publication item = a_publication(queue, "{\"a\":1}");
	const amqp_field_value_t *trace;
	char id[UUID_TEXT];
	amqp_message_t got;

	item.traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
	assert_int_equal(declare(rig, places, 2), 0);
	assert_int_equal(declare(rig, places, 2), 0); /* is no news */
	publisher_send(rig, &item, 1);
	assert_true(item.confirmed);
	assert_true(client_get(rig, queue, &got));
	uuid_format(&item.id, id);
	assert_int_equal(got.body.len, 7);
	assert_memory_equal(got.body.bytes, "{\"a\":1}", 7);
	assert_int_equal(got.properties.delivery_mode, 2);
	assert_int_equal(got.properties.message_id.len, 36);
	assert_memory_equal(got.properties.message_id.bytes, id, 36);
	assert_memory_equal(got.properties.content_type.bytes, "application/cloudevents+json", 28);
	assert_int_equal(got.properties.timestamp, uuid_time_ms(&item.id) / 1000);
	trace = amqp_table_find(&got.properties.headers, "traceparent");
	assert_non_null(trace);
	assert_true(amqp_text_is(trace->value.bytes, item.traceparent));
	amqp_destroy_message(&got);
	assert_false(client_get(rig, queue, &got));
}

/* More than the window and than a frame takes; all confirmed, in order. */
static void many_and_large(void **state)
{
	struct rig *rig = *state;
	const char *queue = rig_name(rig, "many");
	struct publication *items = xcalloc(6001, sizeof(*items));
	size_t large = 300000;
	char *body = xmalloc(large);
	amqp_message_t got;

	memset(body, 'x', large);
	publisher_fill(rig, queue, 1);
	for (int i = 0; i <= 6000; i++)
		items[i] = a_publication(queue, "{}");
	items[3000].body = body;
	items[3000].body_bytes = large;
	publisher_send(rig, items, 6001);
	for (int i = 0; i <= 6000; i++)
		assert_true(items[i].confirmed && !items[i].refused);
	assert_int_equal(client_depth(rig, queue), 6002);
	for (int i = 0; i <= 3000; i++) {
		assert_true(client_get(rig, queue, &got));
		amqp_destroy_message(&got);
	}
	assert_true(client_get(rig, queue, &got));
	assert_int_equal(got.body.len, large);
	amqp_destroy_message(&got);
	free(body);
	free(items);
}

/* RabbitMQ confirms what it has no queue for as well. */
static void without_a_route(void **state)
{
	struct rig *rig = *state;
	const char *queue = rig_name(rig, "there");
	struct publication items[300];

	publisher_fill(rig, queue, 1);
	for (size_t i = 0; i < ARRAY_LEN(items); i++)
		items[i] = a_publication(i % 3 ? queue : rig_name(rig, "nowhere"), "{}");
	publisher_send(rig, items, ARRAY_LEN(items));
	for (size_t i = 0; i < ARRAY_LEN(items); i++) {
		assert_int_equal(items[i].confirmed, i % 3 != 0);
		if (i % 3 == 0)
			assert_string_equal(items[i].refused, "no route");
	}
	assert_int_equal(client_depth(rig, queue), 201);
}

static void what_is_refused(void **state)
{
	struct rig *rig = *state;
	const char *queue = rig_name(rig, "there");
	struct publication items[4];
	char *name = xcalloc(1, 300);

	rig->url = arena_printf(rig->arena, "%s?max_message=100000", rig->url);
	publisher_fill(rig, queue, 1);
	for (size_t i = 0; i < ARRAY_LEN(items); i++)
		items[i] = a_publication(queue, "{}");
	memset(name, 'n', 299);
	items[0].exchange = rig_name(rig, "no-exchange");
	items[1].topic = name;
	items[2].body = xcalloc(1, 100001);
	items[2].body_bytes = 100001;
	publisher_send(rig, items, ARRAY_LEN(items));
	assert_string_equal(items[0].refused, "no such exchange");
	assert_string_equal(items[1].refused, "the name is too long");
	assert_string_equal(items[2].refused, "too large");
	assert_true(items[3].confirmed);
	free((void *)(uintptr_t)items[2].body);
	free(name);
}

static amqp_table_entry_t text_argument(const char *name, const char *value)
{
	return (amqp_table_entry_t){
		.key = amqp_cstring_bytes(name),
		.value = { .kind = AMQP_FIELD_KIND_UTF8, .value.bytes = amqp_cstring_bytes(value) },
	};
}

/* A full queue says no: that is weather, not a refusal. */
static void nacked(void **state)
{
	struct rig *rig = *state;
	const char *queue = rig_name(rig, "small");
	amqp_table_entry_t arguments[] = {
		text_argument("x-overflow", "reject-publish"),
		{ .key = amqp_cstring_bytes("x-max-length"),
		  .value = { .kind = AMQP_FIELD_KIND_I32, .value.i32 = 2 } },
	};
	struct publication items[50];
	size_t confirmed = 0;

	client_declare(rig, queue, false, (amqp_table_t){ 2, arguments });
	publisher_open(rig);
	for (size_t i = 0; i < ARRAY_LEN(items); i++)
		items[i] = a_publication(queue, "{}");
	publisher_send(rig, items, ARRAY_LEN(items));
	for (size_t i = 0; i < ARRAY_LEN(items); i++) {
		confirmed += items[i].confirmed;
		assert_null(items[i].refused);
	}
	assert_true(confirmed >= 2 && confirmed < ARRAY_LEN(items));
	assert_int_equal(client_depth(rig, queue), confirmed);
}

/* A queue that somebody made otherwise is used as it is; one that is forbidden is told of. */
static void queues_of_others(void **state)
{
	struct rig *rig = *state;
	const char *mine = rig_name(rig, "mine"), *locked = rig_name(rig, "locked");
	struct publisher_place places[] = { { .topic = mine, .dispatched = true } };
	struct publisher_place bad[] = { { .topic = locked, .dispatched = true } };
	struct publication item = a_publication(mine, "{}");

	client_declare(rig, mine, false, amqp_empty_table);
	client_declare(rig, locked, true, amqp_empty_table);
	assert_int_equal(declare(rig, places, 1), 0);
	assert_int_equal(declare(rig, bad, 1), -1);
	assert_int_equal(rig->error.code, ERROR_INVALID);
	assert_non_null(strstr(rig->error.message, locked));
	assert_non_null(strstr(rig->error.message, "RESOURCE_LOCKED"));
	assert_int_equal(declare(rig, places, 1), 0);
	publisher_send(rig, &item, 1);
	assert_true(item.confirmed);
}

/* Somebody deletes the queue in between: refused, and the channel lives on. */
static void a_queue_that_goes(void **state)
{
	struct rig *rig = *state;
	const char *queue = rig_name(rig, "goes");
	struct publication item = a_publication(queue, "{}");

	publisher_fill(rig, queue, 10);
	client_delete(rig, queue);
	publisher_send(rig, &item, 1);
	assert_false(item.confirmed);
	assert_string_equal(item.refused, "no route");
	publisher_fill(rig, queue, 10);
	assert_int_equal(client_depth(rig, queue), 10);
}

static void tend_connects(void **state)
{
	struct rig *rig = *state;
	struct strbuf why;
	bool ready = false;

	strbuf_init(&why);
	publisher_open(rig);
	assert_false(rig->publisher->ops->ready(rig->publisher, &why));
	assert_true(why.len > 0);
	for (int i = 0; i < 100 && !ready; i++) {
		rig->publisher->ops->tend(rig->publisher);
		pause_ms(20);
		ready = rig->publisher->ops->ready(rig->publisher, &why);
	}
	assert_true(ready);
	strbuf_release(&why);
}

/* ---- who is at the other end */

static const char *tls_url(struct rig *rig, const char *host)
{
	const char *port = getenv("TEST_RABBIT_TLS_PORT");

	return arena_printf(rig->arena, "amqps://guest:guest@%s:%s/", host, port);
}

static void send_over(struct rig *rig, const char *url, const char *ca, const char *want)
{
	struct publication item = a_publication(rig_name(rig, "nowhere"), "{}");
	int rc;

	rig->url = url;
	rig->ca_file = arena_printf(rig->arena, "%s/%s", getenv("TEST_SVC_CERTS"), ca);
	publisher_open(rig);
	rc = rig->publisher->ops->send(rig->publisher, &item, 1, 10000, &rig->error);
	if (!want) {
		assert_int_equal(rc, 0);
		assert_string_equal(item.refused, "no route");
	} else if (rc != -1 || rig->error.code != ERROR_UNAVAILABLE ||
		   !strstr(rig->error.message, want))
		fail_msg("%s: %d, \"%s\"", url, rc, rig->error.message);
	rig->publisher->ops->free(&rig->publisher);
}

static void tls(void **state)
{
	struct rig *rig = *state;

	send_over(rig, tls_url(rig, "localhost"), "ca.pem", NULL);
	send_over(rig, tls_url(rig, "127.0.0.1"), "ca.pem", NULL);
	send_over(rig, tls_url(rig, "127.0.0.2"), "ca.pem", "mismatch");
	send_over(rig, tls_url(rig, "localhost"), "stranger.pem", "certificate");
	send_over(rig, tls_url(rig, "localhost"), "no-such-file.pem", "cannot be read");
}

static void wrong_servers(void **state)
{
	struct rig *rig = *state;
	const char *http = getenv("TEST_RABBIT_HTTP_PORT");
	const char *port = strrchr(rig->url, ':');

	send_over(rig, arena_printf(rig->arena, "amqp://guest:wrong@127.0.0.1%s", port), "ca.pem",
		  "ACCESS_REFUSED");
	send_over(rig, arena_printf(rig->arena, "amqp://guest:guest@127.0.0.1%snone", port),
		  "ca.pem", "vhost none not found");
	send_over(rig, "amqp://guest:guest@127.0.0.1:1/", "ca.pem", "refused");
	if (http)
		send_over(rig, arena_printf(rig->arena, "amqp://guest:guest@127.0.0.1:%s/", http),
			  "ca.pem", "");
}

int main(void)
{
#define RIG_TEST(name) cmocka_unit_test_setup_teardown(name, rig_set_up, rig_tear_down)
	const struct CMUnitTest tests[] = {
		RIG_TEST(a_message_whole),   RIG_TEST(many_and_large), RIG_TEST(without_a_route),
		RIG_TEST(what_is_refused),   RIG_TEST(nacked),         RIG_TEST(queues_of_others),
		RIG_TEST(a_queue_that_goes), RIG_TEST(tend_connects),  RIG_TEST(tls),
		RIG_TEST(wrong_servers),
	};

	if (!rig_server_url())
		return 0;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
