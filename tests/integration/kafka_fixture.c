/* SPDX-License-Identifier: Apache-2.0 */
/* See kafka_fixture.h. */
#include "tests/integration/kafka_fixture.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/base/arena.h"
#include "common/base/clock.h"
#include "common/store/store_impl.h"

struct kafka_store {
	struct store base;
	pthread_mutex_t lock;
	int64_t offsets[KAFKA_PARTS_MAX];
	int failures, asked;
};

/* ---- the store */

static int fake_load(struct store *base, struct position *positions, size_t count,
		     struct error *err_r)
{
	struct kafka_store *store = (struct kafka_store *)base;
	int done = 0;

	pthread_mutex_lock(&store->lock);
	store->asked++;
	if (store->failures > 0) {
		store->failures--;
		done = error_set(err_r, ERROR_UNAVAILABLE, "the store is away");
	}
	for (size_t i = 0; done == 0 && i < count; i++)
		positions[i].offset = store->offsets[positions[i].partition];
	pthread_mutex_unlock(&store->lock);
	return done;
}

static const struct store_ops fake_ops = { .scheme = "fake", .position_load = fake_load };

void kafka_store_says(struct kafka_fixture *fx, int32_t partition, int64_t offset)
{
	pthread_mutex_lock(&fx->store->lock);
	fx->store->offsets[partition] = offset;
	pthread_mutex_unlock(&fx->store->lock);
}

void kafka_store_fails(struct kafka_fixture *fx, int failures)
{
	pthread_mutex_lock(&fx->store->lock);
	fx->store->failures = failures;
	pthread_mutex_unlock(&fx->store->lock);
}

int kafka_store_asked(const struct kafka_fixture *fx)
{
	int asked;

	pthread_mutex_lock(&fx->store->lock);
	asked = fx->store->asked;
	pthread_mutex_unlock(&fx->store->lock);
	return asked;
}

static struct kafka_store *new_store(void)
{
	struct kafka_store *store = xcalloc(1, sizeof(*store));

	store->base.ops = &fake_ops;
	pthread_mutex_init(&store->lock, NULL);
	for (int i = 0; i < KAFKA_PARTS_MAX; i++)
		store->offsets[i] = -1;
	return store;
}

/* ---- the fixture */

static rd_kafka_t *new_plain(struct kafka_fixture *fx)
{
	const struct kafka_config_options options = { .broker_url = fx->url, .client = "test" };
	const struct kafka_setting mine[] = { { "group.id", fx->group }, { NULL, NULL } };
	rd_kafka_conf_t *conf = kafka_config_new(&options, &fx->error);
	rd_kafka_t *rk;

	assert_non_null(conf);
	kafka_config_set(conf, mine);
	rk = kafka_client_new(RD_KAFKA_CONSUMER, conf, &fx->error);
	assert_non_null(rk);
	return rk;
}

struct kafka_fixture *kafka_fixture_new(const char *url, int partitions)
{
	struct kafka_fixture *fx = xcalloc(1, sizeof(*fx));
	struct publisher_options options = { .client = "test" };
	struct publisher_place place = { .topic = fx->topic, .partitions = partitions };
	struct uuid id;
	char hex[33];
	int seen;

	url = url ? url : getenv("TEST_KAFKA_URL");
	assert_non_null(url);
	snprintf(fx->url, sizeof(fx->url), "%s", url);
	uuid_v7(&id);
	uuid_hex(&id, hex);
	snprintf(fx->topic, sizeof(fx->topic), "t-%s", hex);
	snprintf(fx->group, sizeof(fx->group), "g-%s", hex);
	fx->metrics = metrics_open("test");
	fx->store = new_store();
	options.broker_url = fx->url;
	options.metrics = fx->metrics;
	fx->publisher = kafka_publisher_new(&options, &fx->error);
	assert_non_null(fx->publisher);
	fx->plain = new_plain(fx);
	if (partitions > 0 &&
	    fx->publisher->ops->declare(fx->publisher, &place, 1, WAIT_MS, &fx->error) < 0)
		fail_msg("declare: %s", fx->error.message);
	/* A cluster knows a topic a moment before each of its nodes does. */
	if (partitions > 0)
		kafka_await(kafka_topic_partitions(fx->plain, fx->topic, WAIT_MS, &seen,
						   &fx->error) == 0 &&
			    seen == partitions);
	return fx;
}

void kafka_fixture_free(struct kafka_fixture **fixture)
{
	struct kafka_fixture *fx = *fixture;

	for (size_t i = 0; i < ARRAY_LEN(fx->feeds); i++) {
		if (fx->feeds[i])
			fx->feeds[i]->ops->free(&fx->feeds[i]);
	}
	fx->publisher->ops->free(&fx->publisher);
	assert_null(fx->publisher);
	kafka_client_free(&fx->plain, 5000);
	metrics_close(&fx->metrics);
	pthread_mutex_destroy(&fx->store->lock);
	free(fx->store);
	free(fx);
	*fixture = NULL;
}

static void ring(void *ctx)
{
	struct kafka_fixture *fx = ctx;

	fx->rings++;
}

struct feed *kafka_feed_of(struct kafka_fixture *fx, size_t buffer_max, bool latest)
{
	struct feed_options options = { .broker_url = fx->url,
					.client = "test",
					.group = fx->group,
					.buffer_max = buffer_max,
					.message_bytes_max = 100000,
					.metrics = fx->metrics,
					.store = &fx->store->base,
					.ring = ring,
					.ctx = fx };
	struct feed_place place = { .topic = fx->topic, .latest = latest, .index = 7 };
	struct feed *feed = kafka_feed_new(&options, &fx->error);

	size_t i = 0;

	assert_non_null(feed);
	while (fx->feeds[i])
		i++;
	assert_true(i < ARRAY_LEN(fx->feeds));
	fx->feeds[i] = feed;
	feed->ops->serve(feed, &place, 1);
	return feed;
}

void kafka_feed_end(struct kafka_fixture *fx, struct feed **feed)
{
	for (size_t i = 0; i < ARRAY_LEN(fx->feeds); i++) {
		if (fx->feeds[i] == *feed)
			fx->feeds[i] = NULL;
	}
	(*feed)->ops->free(feed);
	assert_null(*feed);
}

/* ---- messages */

#define SEND_AT_ONCE 2000

static void send_batch(struct kafka_fixture *fx, int first, int count, int keys)
{
	struct publication *items = xcalloc((size_t)count, sizeof(*items));
	struct {
		char key[16], body[32];
	} *texts = xcalloc((size_t)count, sizeof(*texts));

	for (int i = 0; i < count; i++) {
		snprintf(texts[i].key, sizeof(texts[i].key), "k%d", (first + i) % keys);
		snprintf(texts[i].body, sizeof(texts[i].body), "%s %d", texts[i].key, first + i);
		items[i] = (struct publication){ .topic = fx->topic,
						 .key = texts[i].key,
						 .body = texts[i].body,
						 .body_bytes = strlen(texts[i].body),
						 .traceparent = "00-trace-01" };
	}
	if (fx->publisher->ops->send(fx->publisher, items, (size_t)count, WAIT_MS, &fx->error) < 0)
		fail_msg("send: %s", fx->error.message);
	for (int i = 0; i < count; i++)
		assert_true(items[i].confirmed);
	free(texts);
	free(items);
}

void kafka_send(struct kafka_fixture *fx, int first, int count, int keys)
{
	while (count > 0) {
		int now = count < SEND_AT_ONCE ? count : SEND_AT_ONCE;

		send_batch(fx, first, now, keys);
		first += now;
		count -= now;
	}
}

void kafka_send_to(struct kafka_fixture *fx, int32_t partition, int first, int count, int bytes)
{
	const struct kafka_config_options options = { .broker_url = fx->url, .client = "test" };
	rd_kafka_conf_t *conf = kafka_config_new(&options, &fx->error);
	rd_kafka_t *rk = kafka_client_new(RD_KAFKA_PRODUCER, conf, &fx->error);
	char *text = xcalloc(1, (size_t)bytes + 32);

	assert_non_null(rk);
	for (int i = 0; i < count; i++) {
		int used = snprintf(text, 32, "x %d ", first + i);

		memset(text + used, '.', (size_t)bytes);
		while (rd_kafka_producev(rk, RD_KAFKA_V_TOPIC(fx->topic),
					 RD_KAFKA_V_PARTITION(partition),
					 RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
					 RD_KAFKA_V_VALUE(text, (size_t)(used + bytes)),
					 RD_KAFKA_V_END) == RD_KAFKA_RESP_ERR__QUEUE_FULL)
			rd_kafka_poll(rk, 10);
	}
	assert_int_equal(rd_kafka_flush(rk, WAIT_MS), 0);
	rd_kafka_destroy(rk);
	free(text);
}

size_t kafka_take_some(struct feed *feed, struct delivery **deliveries_r, size_t max, int wait_ms)
{
	int64_t until_ms = clock_mono_ms() + wait_ms;
	size_t got;

	while ((got = feed->ops->take(feed, deliveries_r, max)) == 0 && clock_mono_ms() < until_ms)
		pause_ms(1);
	return got;
}

void kafka_take(struct feed *feed, struct delivery **deliveries_r, size_t count)
{
	int64_t until_ms = clock_mono_ms() + WAIT_MS;
	size_t have = 0;

	while (have < count && clock_mono_ms() < until_ms)
		have += kafka_take_some(feed, deliveries_r + have, count - have, 100);
	if (have < count)
		fail_msg("%zu of %zu messages came", have, count);
}

void kafka_quiet(struct feed *feed, int ms)
{
	struct delivery *delivery;

	if (kafka_take_some(feed, &delivery, 1, ms) > 0)
		fail_msg("%s came", delivery->message.identity);
}

void kafka_ack_all(struct feed *feed, struct delivery **deliveries, size_t count)
{
	for (size_t i = 0; i < count; i++)
		feed->ops->ack(feed, deliveries[i]);
}

static bool ready(struct feed *feed, const char *why)
{
	struct strbuf text;
	bool is, fits;

	strbuf_init(&text);
	is = feed->ops->ready(feed, &text);
	fits = why ? !is && strstr(text.data, why) : is;
	strbuf_release(&text);
	return fits;
}

void kafka_ready(struct feed *feed)
{
	kafka_await(ready(feed, NULL));
}

void kafka_not_ready(struct feed *feed, const char *why)
{
	kafka_await(ready(feed, why));
}

int kafka_number(const struct delivery *delivery)
{
	const char *space = memchr(delivery->message.body, ' ', delivery->message.body_bytes);
	char digits[16];
	size_t left;

	assert_non_null(space);
	left = delivery->message.body_bytes - (size_t)(space - delivery->message.body) - 1;
	snprintf(digits, sizeof(digits), "%.*s", (int)(left < 15 ? left : 15), space + 1);
	return atoi(digits);
}

void kafka_identity(const struct delivery *delivery, int32_t *partition_r, int64_t *offset_r)
{
	const char *slash = strchr(delivery->message.identity, '/');
	int partition;
	long long offset;

	assert_non_null(slash);
	assert_int_equal(sscanf(slash, "/%d/%lld", &partition, &offset), 2);
	*partition_r = partition;
	*offset_r = offset;
}

int64_t kafka_committed(struct kafka_fixture *fx, int32_t partition)
{
	rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
	int64_t offset;

	rd_kafka_topic_partition_list_add(list, fx->topic, partition);
	assert_int_equal(rd_kafka_committed(fx->plain, list, WAIT_MS), 0);
	offset = list->elems[0].offset;
	rd_kafka_topic_partition_list_destroy(list);
	return offset;
}
