/* SPDX-License-Identifier: Apache-2.0 */
/* Publishes on RabbitMQ: persistent, mandatory, in confirm mode, many at once. Called by one thread
 * (the dispatcher's), which is held no longer than it says: the link never blocks, an alarm and a
 * pause between connections end a call at once. One channel carries publications; another asks and
 * declares, because every refusal closes the channel that it was said on. */
#include <stdlib.h>
#include <string.h>

#include <amqp.h>

#include "common/base/arena.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/broker/amqp_link.h"
#include "common/broker/amqp_queue.h"
#include "common/service/metrics.h"

#include "producers/publish/amqp_confirms.h"

#define CHANNEL_SEND      1
#define CHANNEL_ASK       2
#define UNCONFIRMED_MAX   4096
#define UNSENT_BYTES      262144   /* then what is put waits for the socket */
#define BODY_BYTES_MAX    16777216 /* RabbitMQ 4's own default; option max_message */
#define TRACEPARENT_BYTES 256
#define EXCHANGES_MAX     32 /* known to exist, others are asked for each time */
#define TEND_MS           20
#define GOODBYE_MS        500

enum answer { ANSWER_NONE, ANSWER_YES, ANSWER_NO };

struct amqp_publisher {
	struct publisher base;
	struct arena *arena; /* of the three below */
	struct broker_url url;
	const char *client, *ca_file;
	struct amqp_link *link;
	uint64_t epoch; /* that the channels below belong to */
	struct amqp_confirms *confirms;
	bool opening, open;       /* CHANNEL_SEND; open: confirms are on */
	uint64_t closed;          /* times that the server closed CHANNEL_SEND */
	char closed_why[256];     /* the last time */
	bool ask_open;            /* CHANNEL_ASK */
	amqp_method_number_t ask; /* its reply that is waited for; 0: none */
	enum answer answer;
	int answer_code; /* of ANSWER_NO */
	char answer_text[256];
	const char *return_why; /* a returned message's header is coming; NULL: none */
	char *exchanges[EXCHANGES_MAX];
	size_t exchange_count;
	size_t body_bytes_max;
	struct metric_series *connected, *reconnects;
};

static struct amqp_publisher *of(struct publisher *publisher)
{
	return (struct amqp_publisher *)publisher;
}

/* ---- channels */

static void forget_exchanges(struct amqp_publisher *self)
{
	while (self->exchange_count)
		free(self->exchanges[--self->exchange_count]);
}

static void open_channel(struct amqp_publisher *self, uint16_t channel)
{
	amqp_channel_open_t open = { .out_of_band = amqp_empty_bytes };

	amqp_put_method(amqp_link_out(self->link), channel, AMQP_CHANNEL_OPEN_METHOD, &open);
}

static void open_send(struct amqp_publisher *self)
{
	amqp_confirm_select_t select = { .nowait = 0 };

	amqp_confirms_reset(self->confirms);
	open_channel(self, CHANNEL_SEND);
	amqp_put_method(amqp_link_out(self->link), CHANNEL_SEND, AMQP_CONFIRM_SELECT_METHOD,
			&select);
	self->opening = true;
	self->open = false;
	self->return_why = NULL;
}

/* A new login: nothing of the old one is left. */
static void follow_link(struct amqp_publisher *self)
{
	if (self->epoch == amqp_link_epoch(self->link))
		return;
	self->epoch = amqp_link_epoch(self->link);
	self->ask_open = false;
	self->ask = 0;
	forget_exchanges(self);
	open_send(self);
}

static void answer_close(struct amqp_publisher *self, uint16_t channel)
{
	amqp_channel_close_ok_t ok = { 0 };

	amqp_put_method(amqp_link_out(self->link), channel, AMQP_CHANNEL_CLOSE_OK_METHOD, &ok);
}

static void copy_text(amqp_bytes_t text, char *copy_r, size_t room)
{
	size_t bytes = text.len < room - 1 ? text.len : room - 1;

	memcpy(copy_r, text.bytes, bytes);
	copy_r[bytes] = '\0';
}

/* Which publication the server did not like it does not say; its text names what it did not like
 * about it. */
static void blame(void *ctx, struct publication *item)
{
	const struct amqp_publisher *self = ctx;
	const char *limit = strstr(self->closed_why, "configured max size ");
	const char *name = strstr(self->closed_why, "exchange '");
	const char *wanted = item->exchange ? item->exchange : "amq.default";

	if (limit && item->body_bytes > (size_t)atoll(limit + strlen("configured max size ")))
		item->refused = "too large for the server";
	if (!name || !strncmp(self->closed_why, "PRECONDITION", 12))
		return;
	name += strlen("exchange '");
	if (strncmp(name, wanted, strlen(wanted)) == 0 && name[strlen(wanted)] == '\'')
		item->refused = "the server refuses this exchange";
}

static void send_closed(struct amqp_publisher *self, const amqp_channel_close_t *close)
{
	bool was_open = self->open;

	copy_text(close->reply_text, self->closed_why, sizeof(self->closed_why));
	answer_close(self, CHANNEL_SEND);
	self->closed++;
	log_line(LOG_ERROR, "broker-channel-closed", LOG_S("side", "publish"),
		 LOG_S("reason", self->closed_why));
	amqp_confirms_each(self->confirms, blame, self);
	if (was_open)
		open_send(self);
	else
		amqp_link_fail(self->link, "no channel: %s", self->closed_why);
}

/* ---- what comes in */

static void on_answer(struct amqp_publisher *self, uint64_t number, bool multiple, bool good)
{
	if (!amqp_confirms_answer(self->confirms, number, multiple, good))
		amqp_link_fail(self->link, "a confirmation of what was never published");
}

static void on_send_method(struct amqp_publisher *self, const amqp_method_t *method)
{
	const amqp_basic_ack_t *ack = method->decoded;
	const amqp_basic_nack_t *nack = method->decoded;
	const amqp_basic_return_t *back = method->decoded;

	switch (method->id) {
	case AMQP_CONFIRM_SELECT_OK_METHOD:
		self->opening = false;
		self->open = true;
		break;
	case AMQP_BASIC_ACK_METHOD:
		on_answer(self, ack->delivery_tag, ack->multiple, true);
		break;
	case AMQP_BASIC_NACK_METHOD:
		on_answer(self, nack->delivery_tag, nack->multiple, false);
		break;
	case AMQP_BASIC_RETURN_METHOD:
		self->return_why = back->reply_code == 312 ? "no route" : "returned by the server";
		break;
	case AMQP_CHANNEL_CLOSE_METHOD:
		send_closed(self, method->decoded);
		break;
	default:
		break;
	}
}

static void on_return_header(struct amqp_publisher *self, const amqp_frame_t *frame)
{
	const amqp_basic_properties_t *properties = frame->payload.properties.decoded;
	amqp_bytes_t text = properties->message_id;
	struct uuid id;

	if (!self->return_why)
		return;
	if ((properties->_flags & AMQP_BASIC_MESSAGE_ID_FLAG) &&
	    uuid_parse_n(text.bytes, text.len, &id))
		amqp_confirms_returned(self->confirms, &id, self->return_why);
	self->return_why = NULL;
}

static void on_ask_method(struct amqp_publisher *self, const amqp_method_t *method)
{
	const amqp_channel_close_t *close = method->decoded;

	if (method->id == AMQP_CHANNEL_CLOSE_METHOD) {
		self->ask_open = false;
		self->answer = ANSWER_NO;
		self->answer_code = close->reply_code;
		copy_text(close->reply_text, self->answer_text, sizeof(self->answer_text));
		answer_close(self, CHANNEL_ASK);
	} else if (self->ask && method->id == self->ask)
		self->answer = ANSWER_YES;
}

static void on_frame(struct amqp_publisher *self, const amqp_frame_t *frame)
{
	bool method = frame->frame_type == AMQP_FRAME_METHOD;

	if (method && frame->channel == CHANNEL_SEND)
		on_send_method(self, &frame->payload.method);
	else if (method && frame->channel == CHANNEL_ASK)
		on_ask_method(self, &frame->payload.method);
	else if (frame->frame_type == AMQP_FRAME_HEADER)
		on_return_header(self, frame);
	/* A returned body is not read: the item is still here. */
}

/* Lets the link work until something happened or until_ms. */
static void turn(struct amqp_publisher *self, int64_t until_ms)
{
	amqp_frame_t frame;

	amqp_link_poll(self->link, -1, until_ms);
	while (amqp_link_frame(self->link, &frame)) {
		follow_link(self);
		on_frame(self, &frame);
	}
	follow_link(self);
}

static bool is_open(const struct amqp_publisher *self)
{
	return amqp_link_up(self->link) && self->epoch == amqp_link_epoch(self->link) && self->open;
}

/* 0: up and not blocked. Waits for a connection that is being made, not for one that is to be made
 * later. */
static int become_open(struct amqp_publisher *self, int64_t until_ms, struct error *err_r)
{
	turn(self, clock_mono_ms());
	while (!is_open(self)) {
		int64_t retry_ms = amqp_link_retry_ms(self->link), now_ms = clock_mono_ms();

		if (retry_ms > now_ms)
			return error_set(err_r, ERROR_UNAVAILABLE, "RabbitMQ: %s",
					 amqp_link_why(self->link));
		if (now_ms >= until_ms)
			return error_set(err_r, ERROR_UNAVAILABLE, "RabbitMQ: no connection yet");
		turn(self, until_ms);
	}
	if (amqp_link_blocked(self->link))
		return error_set(err_r, ERROR_UNAVAILABLE, "RabbitMQ: %s",
				 amqp_link_why(self->link));
	return 0;
}

/* ---- asking */

static struct strbuf *ask_begin(struct amqp_publisher *self)
{
	if (!self->ask_open)
		open_channel(self, CHANNEL_ASK);
	self->ask_open = true;
	return amqp_link_out(self->link);
}

/* 1: yes; 0: no, answer_code says why; -1: no answer. */
static int ask_end(struct amqp_publisher *self, amqp_method_number_t reply, int64_t until_ms,
		   struct error *err_r)
{
	uint64_t epoch = self->epoch;

	self->ask = reply;
	self->answer = ANSWER_NONE;
	while (self->answer == ANSWER_NONE) {
		turn(self, until_ms);
		if (self->answer != ANSWER_NONE)
			break;
		/* An answer that comes later would be taken for the next question's. */
		if (clock_mono_ms() >= until_ms)
			amqp_link_fail(self->link, "no answer in time");
		if (!amqp_link_up(self->link) || self->epoch != epoch)
			return error_set(err_r, ERROR_UNAVAILABLE, "RabbitMQ: %s",
					 amqp_link_why(self->link));
	}
	self->ask = 0;
	return self->answer == ANSWER_YES;
}

static int refusal(const struct amqp_publisher *self, const char *what, struct error *err_r)
{
	bool forbidden =
		self->answer_code == 403 || self->answer_code == 405 || self->answer_code == 406;

	return error_set(err_r, forbidden ? ERROR_INVALID : ERROR_UNAVAILABLE,
			 "RabbitMQ: queue %s: %s", what, self->answer_text);
}

static int declare_queue(struct amqp_publisher *self, const struct amqp_queue *queue,
			 int64_t until_ms, struct error *err_r)
{
	int rc;

	if (strlen(queue->name) > AMQP_NAME_BYTES_MAX ||
	    (queue->dead && strlen(queue->dead) > AMQP_NAME_BYTES_MAX))
		return error_set(err_r, ERROR_INVALID, "a queue's name of more than %d bytes",
				 AMQP_NAME_BYTES_MAX);
	amqp_put_probe(ask_begin(self), CHANNEL_ASK, queue->name);
	rc = ask_end(self, AMQP_QUEUE_DECLARE_OK_METHOD, until_ms, err_r);
	if (rc == 0 && self->answer_code == 404) {
		amqp_put_declare(ask_begin(self), CHANNEL_ASK, queue);
		rc = ask_end(self, AMQP_QUEUE_DECLARE_OK_METHOD, until_ms, err_r);
		if (rc == 1)
			log_line(LOG_INFO, "broker-queue-made", LOG_S("queue", queue->name));
	}
	if (rc < 0)
		return -1;
	return rc ? 0 : refusal(self, queue->name, err_r);
}

static int amqp_publisher_declare(struct publisher *publisher, const struct publisher_place *places,
				  size_t count, int timeout_ms, struct error *err_r)
{
	struct amqp_publisher *self = of(publisher);
	int64_t until_ms = clock_mono_ms() + timeout_ms;
	const char *dead = NULL; /* seen to already */

	if (become_open(self, until_ms, err_r))
		return -1;
	for (size_t i = 0; i < count; i++) {
		const struct publisher_place *place = &places[i];
		struct amqp_queue last = { .name = place->dead };
		struct amqp_queue queue = { .name = place->topic,
					    .dead = place->dead,
					    .classic = place->classic,
					    .single = place->single };

		if (place->dead && (!dead || strcmp(dead, place->dead) != 0) &&
		    declare_queue(self, &last, until_ms, err_r))
			return -1;
		dead = place->dead ? place->dead : dead;
		if (declare_queue(self, &queue, until_ms, err_r))
			return -1;
	}
	return 0;
}

/* A publication on an exchange that is not there closes the channel, with all that is on its way.
 * So it is looked for first. 1: it is there; 0: not; -1: no answer. */
static int find_exchange(struct amqp_publisher *self, const char *name, int64_t until_ms,
			 struct error *err_r)
{
	amqp_exchange_declare_t probe = { .exchange = amqp_text(name),
					  .type = amqp_text("direct"),
					  .passive = 1 };
	int rc;

	if (!name || !name[0])
		return 1;
	for (size_t i = 0; i < self->exchange_count; i++)
		if (strcmp(self->exchanges[i], name) == 0)
			return 1;
	amqp_put_method(ask_begin(self), CHANNEL_ASK, AMQP_EXCHANGE_DECLARE_METHOD, &probe);
	rc = ask_end(self, AMQP_EXCHANGE_DECLARE_OK_METHOD, until_ms, err_r);
	if (rc == 1 && self->exchange_count < EXCHANGES_MAX)
		self->exchanges[self->exchange_count++] = xstrdup(name);
	return rc;
}

/* ---- sending */

static void put_publication(struct amqp_publisher *self, struct publication *item)
{
	struct strbuf *out = amqp_link_out(self->link);
	char id[UUID_TEXT];
	amqp_table_entry_t trace = {
		.key = amqp_text("traceparent"),
		.value = { .kind = AMQP_FIELD_KIND_UTF8,
			   .value.bytes = amqp_text(item->traceparent) },
	};
	amqp_basic_publish_t publish = { .exchange = amqp_text(item->exchange),
					 .routing_key = amqp_text(item->topic),
					 .mandatory = 1 };
	amqp_basic_properties_t properties = {
		._flags = AMQP_BASIC_CONTENT_TYPE_FLAG | AMQP_BASIC_DELIVERY_MODE_FLAG |
			  AMQP_BASIC_MESSAGE_ID_FLAG | AMQP_BASIC_TIMESTAMP_FLAG,
		.content_type = amqp_text("application/cloudevents+json; charset=utf-8"),
		.delivery_mode = AMQP_DELIVERY_PERSISTENT,
		.message_id = amqp_text(uuid_format(&item->id, id)),
		.timestamp = (uint64_t)uuid_time_ms(&item->id) / 1000,
	};

	if (item->traceparent && strlen(item->traceparent) <= TRACEPARENT_BYTES) {
		properties._flags |= AMQP_BASIC_HEADERS_FLAG;
		properties.headers = (amqp_table_t){ .num_entries = 1, .entries = &trace };
	}
	amqp_put_method(out, CHANNEL_SEND, AMQP_BASIC_PUBLISH_METHOD, &publish);
	amqp_put_content(out, CHANNEL_SEND, &properties, item->body, item->body_bytes,
			 amqp_link_frame_max(self->link));
	amqp_confirms_add(self->confirms, item);
}

/* Refuses what can be refused here. -1: the exchanges cannot be asked for. */
static int look_over(struct amqp_publisher *self, struct publication *items, size_t count,
		     int64_t until_ms, struct error *err_r)
{
	for (size_t i = 0; i < count; i++) {
		struct publication *item = &items[i];
		const char *exchange = item->exchange ? item->exchange : "";
		int rc;

		if (item->body_bytes > self->body_bytes_max)
			item->refused = "too large";
		else if (strlen(item->topic) > AMQP_NAME_BYTES_MAX ||
			 strlen(exchange) > AMQP_NAME_BYTES_MAX)
			item->refused = "the name is too long";
		if (item->refused)
			continue;
		rc = find_exchange(self, exchange, until_ms, err_r);
		if (rc < 0)
			return -1;
		if (rc == 0)
			item->refused = "no such exchange";
	}
	return 0;
}

/* Puts what fits. Returns the number of the first item that it did not come to. */
static size_t put_some(struct amqp_publisher *self, struct publication *items, size_t count,
		       size_t next)
{
	while (next < count && amqp_confirms_room(self->confirms) &&
	       amqp_link_unsent(self->link) < UNSENT_BYTES) {
		if (!items[next].refused)
			put_publication(self, &items[next]);
		next++;
	}
	return next;
}

/* Of a send under way: 0 it goes on; -1 it does not. */
static int check_send(struct amqp_publisher *self, uint64_t epoch, uint64_t closed,
		      int64_t until_ms, struct error *err_r)
{
	if (!amqp_link_up(self->link) || self->epoch != epoch || amqp_link_blocked(self->link))
		return error_set(err_r, ERROR_UNAVAILABLE, "RabbitMQ: %s",
				 amqp_link_why(self->link));
	if (self->closed != closed)
		return error_set(err_r, ERROR_UNAVAILABLE, "RabbitMQ: %s", self->closed_why);
	if (!amqp_confirms_room(self->confirms) && !amqp_confirms_waiting(self->confirms)) {
		amqp_link_fail(self->link, "the server confirms nothing");
		return error_set(err_r, ERROR_UNAVAILABLE, "RabbitMQ: it confirms nothing");
	}
	if (clock_mono_ms() >= until_ms)
		return error_set(err_r, ERROR_UNAVAILABLE, "RabbitMQ: not confirmed in time");
	return 0;
}

static int send_all(struct amqp_publisher *self, struct publication *items, size_t count,
		    int64_t until_ms, struct error *err_r)
{
	uint64_t epoch = self->epoch, closed = self->closed;
	size_t next = 0;

	for (;;) {
		if (check_send(self, epoch, closed, until_ms, err_r))
			return -1;
		next = put_some(self, items, count, next);
		if (next == count && !amqp_confirms_waiting(self->confirms))
			return 0;
		turn(self, next < count && amqp_link_unsent(self->link) < UNSENT_BYTES &&
					   amqp_confirms_room(self->confirms)
				   ? 0
				   : until_ms);
	}
}

static int amqp_publisher_send(struct publisher *publisher, struct publication *items, size_t count,
			       int timeout_ms, struct error *err_r)
{
	struct amqp_publisher *self = of(publisher);
	int64_t until_ms = clock_mono_ms() + timeout_ms;
	int rc;

	for (size_t i = 0; i < count; i++) {
		items[i].confirmed = false;
		items[i].refused = NULL;
	}
	rc = become_open(self, until_ms, err_r);
	if (!rc)
		rc = look_over(self, items, count, until_ms, err_r);
	if (!rc)
		rc = send_all(self, items, count, until_ms, err_r);
	amqp_confirms_abandon(self->confirms);
	return rc;
}

/* ---- the rest */

/* The link's; it counts for metrics alone. */
static void changed(void *ctx, bool up)
{
	struct amqp_publisher *self = ctx;

	metric_move(self->connected, up ? 1 : -1);
	if (up && amqp_link_epoch(self->link) > 1)
		metric_add(self->reconnects, 1);
}

static size_t amqp_publisher_body_bytes_max(const struct publisher *publisher)
{
	return ((const struct amqp_publisher *)publisher)->body_bytes_max;
}

static void amqp_publisher_tend(struct publisher *publisher)
{
	struct amqp_publisher *self = of(publisher);
	int64_t until_ms = clock_mono_ms() + TEND_MS;

	turn(self, 0);
	while (!is_open(self) && !amqp_link_retry_ms(self->link) && clock_mono_ms() < until_ms)
		turn(self, until_ms);
}

static bool amqp_publisher_ready(struct publisher *publisher, struct strbuf *why_r)
{
	struct amqp_publisher *self = of(publisher);

	if (is_open(self) && !amqp_link_blocked(self->link))
		return true;
	strbuf_printf(why_r, "RabbitMQ: %s",
		      amqp_link_why(self->link)[0] ? amqp_link_why(self->link) : "no channel yet");
	return false;
}

static void amqp_publisher_free(struct publisher **publisher)
{
	struct amqp_publisher *self = of(*publisher);

	amqp_confirms_abandon(self->confirms);
	amqp_link_close(self->link, GOODBYE_MS);
	amqp_link_free(&self->link);
	amqp_confirms_free(&self->confirms);
	forget_exchanges(self);
	arena_free(&self->arena);
	free(self);
	*publisher = NULL;
}

static const struct publisher_ops amqp_publisher_ops = {
	.name = "amqp",
	.declare = amqp_publisher_declare,
	.send = amqp_publisher_send,
	.body_bytes_max = amqp_publisher_body_bytes_max,
	.tend = amqp_publisher_tend,
	.ready = amqp_publisher_ready,
	.free = amqp_publisher_free,
};

struct publisher *amqp_publisher_new(const struct publisher_options *options, struct error *err_r)
{
	struct amqp_publisher *self = xcalloc(1, sizeof(*self));
	const char *max;

	self->base.ops = &amqp_publisher_ops;
	self->arena = arena_new(0);
	if (broker_url_parse_as(BROKER_AMQP, options->broker_url, self->arena, &self->url, err_r) <
	    0) {
		arena_free(&self->arena);
		free(self);
		return NULL;
	}
	self->client = arena_strdup(self->arena, options->client);
	self->ca_file = arena_strdup(self->arena, options->ca_file);
	max = broker_url_option(&self->url, "max_message");
	self->body_bytes_max = max && atoll(max) > 0 ? (size_t)atoll(max) : BODY_BYTES_MAX;
	self->confirms = amqp_confirms_new(UNCONFIRMED_MAX);
	self->connected =
		metrics_series(options->metrics, METRIC_BROKER_CONNECTED, "publish", NULL);
	self->reconnects =
		metrics_series(options->metrics, METRIC_BROKER_RECONNECTS, "publish", NULL);
	self->link = amqp_link_new(&(struct amqp_link_options){ .url = &self->url,
								.client = self->client,
								.side = "publish",
								.ca_file = self->ca_file,
								.changed = changed,
								.ctx = self });
	return &self->base;
}
