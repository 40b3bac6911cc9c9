/* SPDX-License-Identifier: Apache-2.0 */
/* Kafka's publisher: an idempotent producer, acks=all, one batch of messages at a time. Only a
 * delivery report that says "persisted" confirms a message; everything else may or may not be
 * there and is sent again by whoever asked, under the same id. The producer is thrown away and made
 * anew after a fatal error, and when reports are still open as the time of a batch runs out: its
 * sequence numbers are of no more use then.
 *
 * All callbacks of the library run inside its poll and flush, so on the publisher's thread. */
#include <stdlib.h>
#include <string.h>

#include "common/base/arena.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/broker/kafka_config.h"
#include "common/broker/publisher.h"

#define MESSAGE_BYTES_MAX 1000000 /* message.max.bytes below; a broker's default is a bit more */
#define BODY_BYTES_MAX    (MESSAGE_BYTES_MAX - 16384) /* key, headers and framing want room */
#define CLOSE_MS          2000
#define PURGE_MS          1000
#define FULL_WAIT_MS      20
#define BACKOFF_FIRST_MS  100
#define BACKOFF_MAX_MS    5000
#define PROBE_EVERY_MS    2000
#define PROBE_WAIT_MS     100

static const struct kafka_setting producer_settings[] = {
	{ "enable.idempotence", "true" },
	{ "acks", "all" },
	{ "partitioner", "murmur2_random" }, /* as other clients choose it by the same key */
	{ "compression.codec", "lz4" },
	{ "linger.ms", "1" },
	{ "batch.size", "262144" },
	{ "message.max.bytes", "1000000" },
	{ "queue.buffering.max.messages", "20000" },
	{ "queue.buffering.max.kbytes", "65536" },
	{ "request.timeout.ms", "5000" },
	{ "message.timeout.ms", "10000" },
	{ "topic.metadata.propagation.max.ms", "5000" }, /* a topic that is missing so long is */
	{ NULL, NULL },
};

/* A broker refuses a batch for its size as a whole: each of its messages is then tried alone. */
static const char too_large_together[] = "a batch of messages is larger than the topic takes";

struct kafka_publisher {
	struct publisher base;
	char *url, *client, *ca_file;
	rd_kafka_t *rk;   /* NULL: made by the next use */
	bool spent;       /* not to be used again */
	const char *away; /* why it is not ready; NULL: it is */
	int failures;     /* in a row */
	int64_t rest_until_ms, probe_at_ms;
	/* What is being sent. A report of an earlier batch is known by its round. */
	struct publication *items;
	uint32_t round;
	bool alone; /* each message is a batch of its own */
};

static struct kafka_publisher *kafka_publisher(const struct publisher *publisher)
{
	return (struct kafka_publisher *)publisher;
}

/* ---- callbacks: they only record */

static void on_report(rd_kafka_t *rk, const rd_kafka_message_t *message, void *ctx)
{
	struct kafka_publisher *p = ctx;
	uint64_t mark = (uint64_t)(uintptr_t)message->_private;
	rd_kafka_msg_status_t status = rd_kafka_message_status(message);
	struct publication *item;

	(void)rk;
	if (!p->items || mark >> 32 != p->round)
		return;
	item = &p->items[(uint32_t)mark];
	item->confirmed = !message->err && status == RD_KAFKA_MSG_STATUS_PERSISTED;
	if (message->err == RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE && !p->alone)
		item->refused = too_large_together;
	else if (!item->confirmed)
		item->refused = kafka_refusal(message->err);
}

static void on_trouble(rd_kafka_t *rk, int code, const char *reason, void *ctx)
{
	struct kafka_publisher *p = ctx;
	char text[256];

	if (code == RD_KAFKA_RESP_ERR__FATAL) {
		code = rd_kafka_fatal_error(rk, text, sizeof(text));
		p->spent = true;
		p->away = "the producer had a fatal error";
		log_line(LOG_WARN, "kafka-producer-fatal",
			 LOG_S("code", rd_kafka_err2name((rd_kafka_resp_err_t)code)),
			 LOG_S("error", text));
	} else if (code == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN) {
		p->away = "no broker answers";
	} else if (code == RD_KAFKA_RESP_ERR__AUTHENTICATION) {
		p->away = "the broker does not accept user and password";
	} else if (code == RD_KAFKA_RESP_ERR__SSL) {
		p->away = "TLS cannot be agreed upon";
	} else {
		log_line(LOG_DEBUG, "kafka-trouble", LOG_S("reason", reason));
	}
}

/* ---- the producer's life */

static rd_kafka_conf_t *configure(struct kafka_publisher *p, struct error *err_r)
{
	const struct kafka_config_options options = { .broker_url = p->url,
						      .client = p->client,
						      .ca_file = p->ca_file };
	rd_kafka_conf_t *conf = kafka_config_new(&options, err_r);

	if (!conf)
		return NULL;
	kafka_config_set(conf, producer_settings);
	rd_kafka_conf_set_opaque(conf, p);
	rd_kafka_conf_set_dr_msg_cb(conf, on_report);
	rd_kafka_conf_set_error_cb(conf, on_trouble);
	return conf;
}

/* -1: not now. */
static int ensure_client(struct kafka_publisher *p, struct error *err_r)
{
	rd_kafka_conf_t *conf;

	if (clock_mono_ms() < p->rest_until_ms)
		return error_set(err_r, ERROR_UNAVAILABLE, "Kafka: %s",
				 p->away ? p->away : "waiting before the next try");
	if (p->spent)
		kafka_client_free(&p->rk, CLOSE_MS);
	p->spent = false;
	if (p->rk)
		return 0;
	conf = configure(p, err_r);
	p->rk = conf ? kafka_client_new(RD_KAFKA_PRODUCER, conf, err_r) : NULL;
	return p->rk ? 0 : -1;
}

static void went_well(struct kafka_publisher *p)
{
	p->failures = 0;
	p->rest_until_ms = 0;
	p->away = NULL;
}

/* Half of the pause is certain, half is chance. */
static void went_wrong(struct kafka_publisher *p, const char *why)
{
	int64_t pause_ms = BACKOFF_MAX_MS;

	if (p->failures < 6)
		pause_ms = BACKOFF_FIRST_MS << p->failures;
	p->failures++;
	p->rest_until_ms =
		clock_mono_ms() + pause_ms / 2 + (int64_t)random_below((uint64_t)pause_ms / 2 + 1);
	if (!p->away)
		p->away = why;
}

/* ---- sending */

static rd_kafka_resp_err_t produce(struct kafka_publisher *p, size_t index)
{
	static const char type[] = "application/cloudevents+json; charset=UTF-8";
	const struct publication *item = &p->items[index];
	void *mark = (void *)(uintptr_t)((uint64_t)p->round << 32 | index);
	rd_kafka_headers_t *headers = rd_kafka_headers_new(2);
	rd_kafka_resp_err_t code;

	rd_kafka_header_add(headers, "content-type", -1, type, sizeof(type) - 1);
	if (item->traceparent)
		rd_kafka_header_add(headers, "traceparent", -1, item->traceparent, -1);
	code = rd_kafka_producev(
		p->rk, RD_KAFKA_V_TOPIC(item->topic), RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
		RD_KAFKA_V_KEY(item->key, item->key ? strlen(item->key) : 0),
		RD_KAFKA_V_VALUE((void *)item->body, item->body_bytes), RD_KAFKA_V_HEADERS(headers),
		RD_KAFKA_V_OPAQUE(mark), RD_KAFKA_V_END);
	if (code)
		rd_kafka_headers_destroy(headers); /* success alone takes them */
	return code;
}

/* A full queue empties as reports come in, which only polling brings. */
static void produce_patiently(struct kafka_publisher *p, size_t index, int64_t until_ms)
{
	rd_kafka_resp_err_t code = produce(p, index);

	while (code == RD_KAFKA_RESP_ERR__QUEUE_FULL && clock_mono_ms() < until_ms) {
		rd_kafka_poll(p->rk, FULL_WAIT_MS);
		code = produce(p, index);
	}
	if (code)
		p->items[index].refused = kafka_refusal(code);
}

/* Waits for the reports of all that was produced. False: some are still open. */
static bool await_reports(struct kafka_publisher *p, int64_t until_ms)
{
	int64_t left_ms = until_ms - clock_mono_ms();

	rd_kafka_flush(p->rk, left_ms > 0 ? (int)left_ms : 0);
	return rd_kafka_outq_len(p->rk) == 0;
}

static bool send_together(struct kafka_publisher *p, size_t count, int64_t until_ms)
{
	for (size_t i = 0; i < count && !p->spent; i++)
		produce_patiently(p, i, until_ms);
	return await_reports(p, until_ms);
}

static bool send_alone(struct kafka_publisher *p, size_t count, int64_t until_ms)
{
	bool all = true;

	p->alone = true;
	for (size_t i = 0; i < count; i++) {
		if (p->items[i].refused != too_large_together)
			continue;
		p->items[i].refused = NULL;
		if (!all || p->spent || clock_mono_ms() >= until_ms)
			continue;
		produce_patiently(p, i, until_ms);
		all = await_reports(p, until_ms);
	}
	p->alone = false;
	return all;
}

/* What is still open may be at the broker or not; its reports are made to come now. */
static void give_up_open(struct kafka_publisher *p)
{
	rd_kafka_purge(p->rk, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
	rd_kafka_flush(p->rk, PURGE_MS);
	p->spent = true;
}

static size_t count_open(const struct publication *items, size_t count)
{
	size_t open = 0;

	for (size_t i = 0; i < count; i++)
		open += !items[i].confirmed && !items[i].refused;
	return open;
}

static int publisher_send(struct publisher *publisher, struct publication *items, size_t count,
			  int timeout_ms, struct error *err_r)
{
	struct kafka_publisher *p = kafka_publisher(publisher);
	int64_t until_ms = clock_mono_ms() + timeout_ms;
	size_t open;
	bool all;

	CHECK(count < UINT32_MAX);
	for (size_t i = 0; i < count; i++) {
		items[i].confirmed = false;
		items[i].refused = NULL;
	}
	if (ensure_client(p, err_r) < 0)
		return -1;
	p->items = items;
	p->round++;
	all = send_together(p, count, until_ms) && send_alone(p, count, until_ms);
	if (!all || p->spent)
		give_up_open(p);
	p->items = NULL;
	open = count_open(items, count);
	if (open == 0) {
		went_well(p);
		return 0;
	}
	went_wrong(p, "messages were not confirmed in time");
	return error_set(err_r, ERROR_UNAVAILABLE, "Kafka confirmed %zu of %zu messages: %s",
			 count - open, count, p->away);
}

/* ---- the rest */

static int publisher_declare(struct publisher *publisher, const struct publisher_place *places,
			     size_t count, int timeout_ms, struct error *err_r)
{
	struct kafka_publisher *p = kafka_publisher(publisher);
	struct kafka_topic *topics;
	int done;

	if (ensure_client(p, err_r) < 0)
		return -1;
	if (p->away) /* tend tells when it is back */
		return error_set(err_r, ERROR_UNAVAILABLE, "Kafka: %s", p->away);
	topics = xcalloc(count + 1, sizeof(*topics));
	for (size_t i = 0; i < count; i++)
		topics[i] = (struct kafka_topic){ .name = places[i].topic,
						  .partitions = places[i].partitions };
	done = kafka_topics_create(p->rk, topics, count, timeout_ms, err_r);
	free(topics);
	if (done == 0)
		went_well(p);
	else if (err_r->code == ERROR_UNAVAILABLE)
		went_wrong(p, "topics could not be made");
	return done;
}

static size_t publisher_body_bytes_max(const struct publisher *publisher)
{
	(void)publisher;
	return BODY_BYTES_MAX;
}

/* While the broker is away and nothing is sent, only a question tells that it is back. It is asked
 * seldom, and its answer waited for no longer than anybody notices. */
static void probe(struct kafka_publisher *p)
{
	const struct rd_kafka_metadata *metadata;
	int64_t now_ms = clock_mono_ms();

	if (now_ms < p->probe_at_ms)
		return;
	p->probe_at_ms = now_ms + PROBE_EVERY_MS;
	if (rd_kafka_metadata(p->rk, 0, NULL, &metadata, PROBE_WAIT_MS))
		return;
	rd_kafka_metadata_destroy(metadata);
	went_well(p);
}

static void publisher_tend(struct publisher *publisher)
{
	struct kafka_publisher *p = kafka_publisher(publisher);
	struct error ignored; /* `away` says it */

	if (ensure_client(p, &ignored) < 0)
		return;
	rd_kafka_poll(p->rk, 0);
	if (p->away && !p->spent)
		probe(p);
}

static bool publisher_ready(struct publisher *publisher, struct strbuf *why_r)
{
	struct kafka_publisher *p = kafka_publisher(publisher);

	if (p->away)
		strbuf_printf(why_r, "Kafka: %s", p->away);
	return !p->away;
}

static void publisher_free(struct publisher **publisher)
{
	struct kafka_publisher *p = kafka_publisher(*publisher);

	if (!p)
		return;
	if (p->rk)
		rd_kafka_purge(p->rk, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
	kafka_client_free(&p->rk, CLOSE_MS);
	free(p->url);
	free(p->client);
	free(p->ca_file);
	free(p);
	*publisher = NULL;
}

static const struct publisher_ops kafka_publisher_ops = {
	.name = "kafka",
	.declare = publisher_declare,
	.send = publisher_send,
	.body_bytes_max = publisher_body_bytes_max,
	.tend = publisher_tend,
	.ready = publisher_ready,
	.free = publisher_free,
};

struct publisher *kafka_publisher_new(const struct publisher_options *options, struct error *err_r)
{
	struct kafka_publisher *p = xcalloc(1, sizeof(*p));
	struct publisher *made = &p->base;
	rd_kafka_conf_t *conf;

	p->base.ops = &kafka_publisher_ops;
	p->url = xstrdup(options->broker_url);
	p->client = xstrdup(options->client);
	p->ca_file = options->ca_file ? xstrdup(options->ca_file) : NULL;
	conf = configure(p, err_r); /* so that the URL's faults are told now */
	if (conf)
		rd_kafka_conf_destroy(conf);
	else
		publisher_free(&made);
	return made;
}
