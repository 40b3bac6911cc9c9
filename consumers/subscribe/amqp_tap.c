/* SPDX-License-Identifier: Apache-2.0 */
/* See amqp_tap.h. Every state but WAITING, RUNNING and RESTING is a question to the server; the
 * answer takes the tap to the next state, a closed channel to WAITING, and no answer within
 * ANSWER_MS gives the channel up: a quorum queue without a leader never answers. */
#include "consumers/subscribe/amqp_tap.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <amqp.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/broker/amqp_queue.h"

#include "consumers/subscribe/amqp_message.h"

#define ANSWER_MS      10000
#define PAUSE_FIRST_MS 200
#define PAUSE_MAX_MS   30000
#define STEADY_MS      10000 /* running for so long, earlier failures are forgotten */
#define REST_FIRST_MS  5000
#define REST_MAX_MS    600000
#define REDUCED_MS     300000 /* then a prefetch that was halved is restored */
#define BEHIND_MS      20     /* acknowledgements behind an open delivery wait for it */
#define BEHIND_PART    4      /* unless they are this part of the prefetch */
#define HELD_BYTES_MAX ((size_t)256 << 20)
#define STUCK_MAX      8
#define NEWBORN_MS     300
#define GONE_MS        1000  /* before a queue that was deleted is made again */
#define RENEW_MS       60000 /* a consumer that heard nothing for so long is renewed */
#define CONSUMER       "windlass"

enum tap_state {
	TAP_WAITING, /* until until_ms, with or without a channel */
	TAP_OPENING,
	TAP_PROBING,        /* is the queue there? */
	TAP_DECLARING_DEAD, /* it is not */
	TAP_DECLARING,
	TAP_LIMITING, /* prefetch */
	TAP_CONSUMING,
	TAP_RUNNING,
	TAP_CANCELLING,
	TAP_RESTING, /* channel open, no consumer */
	TAP_CLOSING,
};

/* What ends a question. */
static const amqp_method_number_t answers[] = {
	[TAP_OPENING] = AMQP_CHANNEL_OPEN_OK_METHOD,
	[TAP_PROBING] = AMQP_QUEUE_DECLARE_OK_METHOD,
	[TAP_DECLARING_DEAD] = AMQP_QUEUE_DECLARE_OK_METHOD,
	[TAP_DECLARING] = AMQP_QUEUE_DECLARE_OK_METHOD,
	[TAP_LIMITING] = AMQP_BASIC_QOS_OK_METHOD,
	[TAP_CONSUMING] = AMQP_BASIC_CONSUME_OK_METHOD,
	[TAP_RUNNING] = 0,
	[TAP_CANCELLING] = AMQP_BASIC_CANCEL_OK_METHOD,
	[TAP_RESTING] = 0,
	[TAP_CLOSING] = AMQP_CHANNEL_CLOSE_OK_METHOD,
};

struct amqp_tap {
	struct amqp_hub *hub;
	struct feed_place place;
	char *topic;
	enum tap_state state;
	uint16_t channel; /* 0: none */
	uint64_t epoch;   /* of the channel */
	int64_t since_ms, until_ms;
	int failures;
	bool missing; /* the queue; it is to be declared */
	bool patient; /* it was given time to be born, on this channel */
	bool leaving, resting, renewing;
	int64_t heard_ms; /* the last delivery */
	size_t prefetch, prefetch_full;
	int64_t rest_ms; /* the next one's length */
	struct amqp_acks *acks;
	int64_t behind_ms; /* since when some of them wait for the oldest; 0: none does */
	size_t held;       /* deliveries that exist, of older channels too */
	char why[256];
	/* the message that is coming in */
	uint64_t coming_tag; /* 0: none */
	bool coming_again;
	struct amqp_delivery *coming; /* once its header is there */
	uint64_t coming_left;
	char *coming_body; /* NULL: too large, not kept */
};

static void say(struct amqp_tap *tap, const char *why)
{
	snprintf(tap->why, sizeof(tap->why), "%s", why);
}

/* ---- life */

struct amqp_tap *amqp_tap_new(struct amqp_hub *hub, const struct feed_place *place, size_t prefetch)
{
	struct amqp_tap *tap = xcalloc(1, sizeof(*tap));

	tap->hub = hub;
	tap->place = *place;
	tap->topic = xstrdup(place->topic);
	tap->place.topic = tap->topic;
	tap->prefetch = tap->prefetch_full = prefetch < UINT16_MAX ? prefetch : UINT16_MAX;
	tap->rest_ms = REST_FIRST_MS;
	tap->acks = amqp_acks_new();
	say(tap, "not there yet");
	return tap;
}

static void drop_coming(struct amqp_tap *tap)
{
	tap->coming_tag = 0;
	if (tap->coming) {
		struct arena *arena = tap->coming->arena;

		tap->hub->held_bytes -= tap->coming->body_bytes;
		tap->held--;
		tap->coming = NULL;
		arena_free(&arena);
	}
}

void amqp_tap_free(struct amqp_tap **tap)
{
	drop_coming(*tap);
	CHECK((*tap)->held == 0);
	if ((*tap)->channel)
		(*tap)->hub->by_channel[(*tap)->channel] = NULL;
	amqp_acks_free(&(*tap)->acks);
	free((*tap)->topic);
	free(*tap);
	*tap = NULL;
}

bool amqp_tap_serves(const struct amqp_tap *tap, const struct feed_place *place)
{
	return !tap->leaving && tap->place.index == place->index &&
	       strcmp(tap->topic, place->topic) == 0 && tap->place.dead == place->dead;
}

void amqp_tap_leave(struct amqp_tap *tap)
{
	tap->leaving = true;
}

bool amqp_tap_gone(const struct amqp_tap *tap)
{
	return tap->leaving && !tap->channel && tap->held == 0;
}

/* ---- questions */

static struct strbuf *out_of(const struct amqp_tap *tap)
{
	return amqp_link_out(tap->hub->link);
}

static void put_open(const struct amqp_tap *tap)
{
	amqp_channel_open_t open = { .out_of_band = amqp_empty_bytes };

	amqp_put_method(out_of(tap), tap->channel, AMQP_CHANNEL_OPEN_METHOD, &open);
}

static void put_close(const struct amqp_tap *tap)
{
	amqp_channel_close_t close = { .reply_code = 200, .reply_text = amqp_text("goodbye") };

	amqp_put_method(out_of(tap), tap->channel, AMQP_CHANNEL_CLOSE_METHOD, &close);
}

static void put_declare_dead(const struct amqp_tap *tap)
{
	amqp_put_declare(out_of(tap), tap->channel, &(struct amqp_queue){ .name = tap->hub->dead });
}

static void put_declare(const struct amqp_tap *tap)
{
	amqp_put_declare(out_of(tap), tap->channel,
			 &(struct amqp_queue){ .name = tap->topic,
					       .dead = tap->place.dead ? NULL : tap->hub->dead,
					       .classic = tap->place.classic,
					       .single = tap->place.single });
}

static void put_probe(const struct amqp_tap *tap)
{
	amqp_put_probe(out_of(tap), tap->channel, tap->topic);
}

static void put_limit(const struct amqp_tap *tap)
{
	amqp_basic_qos_t qos = { .prefetch_count = (uint16_t)tap->prefetch };

	amqp_put_method(out_of(tap), tap->channel, AMQP_BASIC_QOS_METHOD, &qos);
}

static void put_consume(const struct amqp_tap *tap)
{
	amqp_basic_consume_t consume = { .queue = amqp_text(tap->topic),
					 .consumer_tag = amqp_text(CONSUMER) };

	amqp_put_method(out_of(tap), tap->channel, AMQP_BASIC_CONSUME_METHOD, &consume);
}

static void put_cancel(const struct amqp_tap *tap)
{
	amqp_basic_cancel_t cancel = { .consumer_tag = amqp_text(CONSUMER) };

	amqp_put_method(out_of(tap), tap->channel, AMQP_BASIC_CANCEL_METHOD, &cancel);
}

/* The only place where the state changes. */
static void enter(struct amqp_tap *tap, enum tap_state state, int64_t now_ms)
{
	static void (*const ask[])(const struct amqp_tap *tap) = {
		[TAP_OPENING] = put_open,
		[TAP_PROBING] = put_probe,
		[TAP_DECLARING_DEAD] = put_declare_dead,
		[TAP_DECLARING] = put_declare,
		[TAP_LIMITING] = put_limit,
		[TAP_CONSUMING] = put_consume,
		[TAP_CANCELLING] = put_cancel,
		[TAP_CLOSING] = put_close,
	};

	tap->state = state;
	tap->since_ms = now_ms;
	tap->until_ms = now_ms + ANSWER_MS;
	if ((size_t)state < ARRAY_LEN(ask) && ask[state])
		ask[state](tap);
}

static void wait_some(struct amqp_tap *tap, int64_t now_ms)
{
	int shift = tap->failures < 10 ? tap->failures : 10;
	int64_t bound = (int64_t)PAUSE_FIRST_MS << shift;

	if (bound > PAUSE_MAX_MS)
		bound = PAUSE_MAX_MS;
	tap->failures++;
	enter(tap, TAP_WAITING, now_ms);
	tap->until_ms = now_ms + bound / 2 + (int64_t)random_below((uint64_t)bound / 2);
}

/* ---- channels */

/* 0: none is free. */
static uint16_t free_channel(const struct amqp_hub *hub)
{
	for (uint16_t n = 1; n <= amqp_link_channel_max(hub->link) && n < AMQP_CHANNELS; n++)
		if (!hub->by_channel[n] && !hub->stuck[n])
			return n;
	return 0;
}

static void channel_begin(struct amqp_tap *tap, int64_t now_ms)
{
	tap->channel = free_channel(tap->hub);
	if (!tap->channel) {
		say(tap, "no channel is free");
		wait_some(tap, now_ms);
		return;
	}
	tap->hub->by_channel[tap->channel] = tap;
	enter(tap, TAP_OPENING, now_ms);
}

/* The channel is gone, and what came over it with it. */
static void channel_end(struct amqp_tap *tap)
{
	tap->hub->by_channel[tap->channel] = NULL;
	tap->channel = 0;
	tap->patient = tap->renewing = false;
	tap->epoch = ++tap->hub->epochs;
	tap->hub->stale = true;
	amqp_acks_reset(tap->acks);
	drop_coming(tap);
}

/* It does not answer. Closing it gives back what it may hold, whenever the server comes to that. */
static void channel_give_up(struct amqp_tap *tap, int64_t now_ms)
{
	log_line(LOG_ERROR, "broker-queue-silent", LOG_S("queue", tap->topic),
		 LOG_I("state", tap->state));
	say(tap, "the server does not answer for this queue");
	tap->hub->stuck[tap->channel] = true;
	put_close(tap);
	channel_end(tap);
	wait_some(tap, now_ms);
	if (++tap->hub->stuck_count > STUCK_MAX)
		amqp_link_fail(tap->hub->link, "%d channels do not answer", STUCK_MAX + 1);
}

static void channel_closed(struct amqp_tap *tap, const amqp_channel_close_t *close, int64_t now_ms)
{
	bool absent = tap->state == TAP_PROBING && close->reply_code == 404;
	/* A queue of ours must get its dead letters; without them it is left to the dispatcher. */
	bool make = absent && (tap->hub->dead || !tap->place.dispatched || tap->place.dead);
	char why[sizeof(tap->why)];
	size_t bytes =
		close->reply_text.len < sizeof(why) - 1 ? close->reply_text.len : sizeof(why) - 1;

	channel_end(tap);
	tap->missing = make;
	if (make) {
		channel_begin(tap, now_ms);
		return;
	}
	memcpy(why, close->reply_text.bytes, bytes);
	why[bytes] = '\0';
	if (strcmp(why, tap->why) != 0)
		log_line(LOG_ERROR, "broker-channel-closed", LOG_S("side", "consume"),
			 LOG_S("queue", tap->topic), LOG_S("reason", why));
	memcpy(tap->why, why, sizeof(why));
	wait_some(tap, now_ms);
}

void amqp_tap_lost(struct amqp_tap *tap)
{
	if (tap->channel)
		channel_end(tap);
	say(tap, "not connected");
	enter(tap, TAP_WAITING, 0);
	tap->until_ms = 0;
}

void amqp_hub_lost(struct amqp_hub *hub)
{
	memset(hub->stuck, 0, sizeof(hub->stuck));
	hub->stuck_count = 0;
}

/* ---- answers */

/* A quorum queue that another is just making is there, also for a declaration, before it has a
 * leader, and RabbitMQ closes the whole connection (INTERNAL_ERROR) over a consumer that comes in
 * between. It looks like one that is empty and that nobody consumes, for which a moment costs
 * nothing. */
static void on_found(struct amqp_tap *tap, const amqp_queue_declare_ok_t *queue, int64_t now_ms)
{
	if (tap->patient || queue->message_count || queue->consumer_count) {
		enter(tap, TAP_LIMITING, now_ms);
		return;
	}
	tap->patient = true;
	enter(tap, TAP_WAITING, now_ms);
	tap->until_ms = now_ms + NEWBORN_MS;
}

static void on_answer(struct amqp_tap *tap, const void *answer, int64_t now_ms)
{
	switch (tap->state) {
	case TAP_OPENING:
		if (!tap->missing)
			enter(tap, TAP_PROBING, now_ms);
		else if (tap->hub->dead && !tap->place.dead)
			enter(tap, TAP_DECLARING_DEAD, now_ms);
		else
			enter(tap, TAP_DECLARING, now_ms);
		break;
	case TAP_DECLARING_DEAD:
		enter(tap, TAP_DECLARING, now_ms);
		break;
	case TAP_DECLARING:
		log_line(LOG_INFO, "broker-queue-made", LOG_S("queue", tap->topic));
		tap->missing = false;
		on_found(tap, answer, now_ms);
		break;
	case TAP_PROBING:
		on_found(tap, answer, now_ms);
		break;
	case TAP_LIMITING:
		enter(tap, TAP_CONSUMING, now_ms);
		break;
	case TAP_CONSUMING:
		enter(tap, TAP_RUNNING, now_ms);
		tap->why[0] = '\0';
		break;
	case TAP_CANCELLING:
		enter(tap, TAP_RESTING, now_ms);
		tap->until_ms = tap->resting ? now_ms + tap->rest_ms : now_ms;
		break;
	case TAP_CLOSING:
		channel_end(tap);
		enter(tap, TAP_WAITING, now_ms);
		tap->until_ms = now_ms;
		break;
	default:
		break;
	}
}

/* The server ended the consumer: somebody deleted the queue, or its node went away. What was
 * delivered may still be acknowledged. */
static void on_cancel(struct amqp_tap *tap, int64_t now_ms)
{
	if (tap->state != TAP_RUNNING && tap->state != TAP_CONSUMING)
		return;
	log_line(LOG_ERROR, "broker-queue-gone", LOG_S("queue", tap->topic));
	say(tap, "the server ended the consumer: the queue is gone");
	wait_some(tap, now_ms);
	tap->until_ms += GONE_MS;
}

/* ---- messages */

bool amqp_delivery_valid(const struct amqp_delivery *delivery)
{
	return delivery->epoch == delivery->tap->epoch;
}

void amqp_delivery_settle(struct amqp_delivery *delivery)
{
	struct amqp_tap *tap = delivery->tap;
	struct arena *arena = delivery->arena;

	if (amqp_delivery_valid(delivery))
		amqp_acks_settle(tap->acks, delivery->tag, delivery->verb);
	tap->held--;
	tap->hub->held_bytes -= delivery->body_bytes;
	arena_free(&arena);
}

static bool patient(const struct amqp_tap *tap, int64_t now_ms)
{
	return tap->state == TAP_RUNNING && !tap->resting && !tap->leaving && !tap->hub->hurried &&
	       amqp_acks_settled(tap->acks) < tap->prefetch / BEHIND_PART &&
	       (!tap->behind_ms || now_ms < tap->behind_ms + BEHIND_MS);
}

static void put_acks(struct amqp_tap *tap,
		     bool (*next)(struct amqp_acks *acks, struct amqp_ack *ack_r))
{
	struct amqp_ack ack;

	while (tap->channel && next(tap->acks, &ack)) {
		amqp_basic_ack_t good = { .delivery_tag = ack.tag, .multiple = ack.multiple };
		amqp_basic_nack_t back = { .delivery_tag = ack.tag,
					   .multiple = ack.multiple,
					   .requeue = 1 };

		if (ack.verb == AMQP_VERB_ACK)
			amqp_put_method(out_of(tap), tap->channel, AMQP_BASIC_ACK_METHOD, &good);
		else
			amqp_put_method(out_of(tap), tap->channel, AMQP_BASIC_NACK_METHOD, &back);
	}
}

void amqp_tap_put_acks(struct amqp_tap *tap, int64_t now_ms)
{
	put_acks(tap, amqp_acks_next_head);
	if (!patient(tap, now_ms))
		put_acks(tap, amqp_acks_next);
	if (!tap->channel || !amqp_acks_settled(tap->acks))
		tap->behind_ms = 0;
	else if (!tap->behind_ms)
		tap->behind_ms = now_ms;
}

static void complete(struct amqp_tap *tap, int64_t now_ms)
{
	struct amqp_delivery *delivery = tap->coming;

	tap->coming = NULL;
	tap->coming_tag = 0;
	delivery->since_ms = now_ms;
	if (tap->hub->held_bytes > HELD_BYTES_MAX && tap->held > 1)
		amqp_tap_rest(tap, "its messages are too large for its prefetch", now_ms);
	if (tap->hub->stopping || tap->leaving || tap->resting) {
		delivery->verb = AMQP_VERB_BACK;
		amqp_delivery_settle(delivery);
	} else
		list_append(&tap->hub->arrived, &delivery->link);
}

static void on_deliver(struct amqp_tap *tap, const amqp_basic_deliver_t *deliver, int64_t now_ms)
{
	tap->heard_ms = now_ms;
	if (tap->coming_tag || !amqp_acks_delivered(tap->acks, deliver->delivery_tag)) {
		amqp_link_fail(tap->hub->link, "deliveries are out of step");
		return;
	}
	tap->coming_tag = deliver->delivery_tag;
	tap->coming_again = deliver->redelivered;
}

static void on_header(struct amqp_tap *tap, const amqp_frame_t *frame, int64_t now_ms)
{
	uint64_t size = frame->payload.properties.body_size;
	bool fits = size <= tap->hub->message_bytes_max;
	/* Texts have less room in the header than in what it becomes, hence twice. */
	struct arena *arena =
		arena_new(1024 + 2 * frame->payload.properties.raw.len + (fits ? size : 0));
	struct amqp_delivery *delivery = ARENA_NEW(arena, struct amqp_delivery);
	struct message *message = &delivery->delivery.message;

	delivery->arena = arena;
	delivery->tap = tap;
	delivery->epoch = tap->epoch;
	delivery->tag = tap->coming_tag;
	delivery->delivery.place = tap->place.index;
	list_init(&delivery->link);
	amqp_message_read(frame->payload.properties.decoded, tap->coming_again, tap->place.dead,
			  arena, message);
	if (!fits)
		message->dead_reason =
			arena_printf(arena, "larger than %zu bytes: %llu",
				     tap->hub->message_bytes_max, (unsigned long long)size);
	tap->coming_body = fits ? arena_alloc(arena, size + 1) : NULL;
	message->body = fits ? tap->coming_body : "";
	message->body_bytes = fits ? size : 0;
	delivery->body_bytes = message->body_bytes;
	tap->hub->held_bytes += delivery->body_bytes;
	tap->held++;
	tap->coming = delivery;
	tap->coming_left = size;
	if (size == 0)
		complete(tap, now_ms);
}

static void on_body(struct amqp_tap *tap, amqp_bytes_t part, int64_t now_ms)
{
	if (part.len > tap->coming_left) {
		amqp_link_fail(tap->hub->link, "a body is longer than its header said");
		return;
	}
	if (tap->coming_body) {
		memcpy(tap->coming_body, part.bytes, part.len);
		tap->coming_body += part.len;
	}
	tap->coming_left -= part.len;
	if (tap->coming_left == 0)
		complete(tap, now_ms);
}

/* ---- frames */

static void put_close_ok(struct amqp_hub *hub, uint16_t channel)
{
	amqp_channel_close_ok_t ok = { 0 };

	amqp_put_method(amqp_link_out(hub->link), channel, AMQP_CHANNEL_CLOSE_OK_METHOD, &ok);
}

static void on_method(struct amqp_tap *tap, const amqp_method_t *method, int64_t now_ms)
{
	if (method->id == AMQP_BASIC_DELIVER_METHOD) {
		on_deliver(tap, method->decoded, now_ms);
	} else if (method->id == AMQP_CHANNEL_CLOSE_METHOD) {
		put_close_ok(tap->hub, tap->channel);
		channel_closed(tap, method->decoded, now_ms);
	} else if (method->id == AMQP_BASIC_CANCEL_METHOD) {
		on_cancel(tap, now_ms);
	} else if (method->id == answers[tap->state]) {
		on_answer(tap, method->decoded, now_ms);
	}
}

/* Of a channel that was given up. */
static void on_stray(struct amqp_hub *hub, const amqp_frame_t *frame)
{
	amqp_method_number_t id =
		frame->frame_type == AMQP_FRAME_METHOD ? frame->payload.method.id : 0;

	if (id == AMQP_CHANNEL_CLOSE_METHOD)
		put_close_ok(hub, frame->channel);
	if (id == AMQP_CHANNEL_CLOSE_OK_METHOD && hub->stuck[frame->channel]) {
		hub->stuck[frame->channel] = false;
		hub->stuck_count--;
	}
}

void amqp_hub_frame(struct amqp_hub *hub, const amqp_frame_t *frame, int64_t now_ms)
{
	struct amqp_tap *tap =
		frame->channel < AMQP_CHANNELS ? hub->by_channel[frame->channel] : NULL;

	if (frame->channel >= AMQP_CHANNELS)
		amqp_link_fail(hub->link, "a channel that was never opened");
	else if (!tap)
		on_stray(hub, frame);
	else if (frame->frame_type == AMQP_FRAME_METHOD)
		on_method(tap, &frame->payload.method, now_ms);
	else if (frame->frame_type == AMQP_FRAME_HEADER && tap->coming_tag && !tap->coming)
		on_header(tap, frame, now_ms);
	else if (frame->frame_type == AMQP_FRAME_BODY && tap->coming)
		on_body(tap, frame->payload.body_fragment, now_ms);
	else
		amqp_link_fail(hub->link, "a part of a message out of place");
}

/* ---- time */

void amqp_tap_rest(struct amqp_tap *tap, const char *why, int64_t now_ms)
{
	size_t fewer = tap->held < tap->prefetch ? tap->held : tap->prefetch;

	if (tap->resting)
		return;
	log_line(LOG_WARN, "broker-queue-rests", LOG_S("queue", tap->topic), LOG_S("reason", why),
		 LOG_I("prefetch", tap->prefetch), LOG_I("rest_ms", tap->rest_ms));
	tap->resting = true;
	tap->prefetch = fewer > 1 ? fewer / 2 : 1;
	if (tap->state == TAP_RUNNING)
		enter(tap, TAP_CANCELLING, now_ms);
}

void amqp_tap_wake(struct amqp_tap *tap)
{
	if (tap->state != TAP_RESTING || !tap->resting)
		return;
	tap->rest_ms = REST_FIRST_MS;
	tap->until_ms = 0;
}

bool amqp_tap_resting(const struct amqp_tap *tap)
{
	return tap->resting;
}

static void end_rest(struct amqp_tap *tap, int64_t now_ms)
{
	if (tap->resting && tap->until_ms)
		tap->rest_ms = 2 * tap->rest_ms < REST_MAX_MS ? 2 * tap->rest_ms : REST_MAX_MS;
	tap->resting = tap->renewing = false;
	enter(tap, TAP_LIMITING, now_ms);
}

/* A queue that was deleted and made again at once keeps its consumers, by what RabbitMQ says, but
 * delivers to none of them, and holds what it handed out. A new channel ends that. */
static bool is_deaf(const struct amqp_tap *tap, int64_t now_ms)
{
	return !tap->held && now_ms - tap->since_ms >= RENEW_MS &&
	       now_ms - tap->heard_ms >= RENEW_MS;
}

static void tend_running(struct amqp_tap *tap, bool unwanted, int64_t now_ms)
{
	int64_t ran_ms = now_ms - tap->since_ms;

	tap->renewing = is_deaf(tap, now_ms);
	if (ran_ms >= STEADY_MS)
		tap->failures = 0;
	if (ran_ms >= REDUCED_MS && tap->prefetch < tap->prefetch_full) {
		tap->prefetch = tap->prefetch_full;
		tap->rest_ms = REST_FIRST_MS;
		enter(tap, TAP_CANCELLING, now_ms);
	} else if (unwanted || tap->resting || tap->renewing)
		enter(tap, TAP_CANCELLING, now_ms);
}

int64_t amqp_tap_tend(struct amqp_tap *tap, int64_t now_ms)
{
	bool unwanted = tap->hub->stopping || tap->leaving;
	bool idle = tap->state == TAP_WAITING || tap->state == TAP_RESTING;

	if (!amqp_link_up(tap->hub->link))
		return INT64_MAX;
	if (tap->state == TAP_RUNNING) {
		tend_running(tap, unwanted, now_ms);
		return tap->behind_ms ? tap->behind_ms + BEHIND_MS : now_ms + STEADY_MS;
	}
	if (idle && (tap->leaving || tap->renewing) && tap->channel && !amqp_acks_open(tap->acks))
		enter(tap, TAP_CLOSING, now_ms);
	else if (idle && unwanted)
		return INT64_MAX;
	else if (now_ms < tap->until_ms)
		return tap->until_ms;
	else if (tap->state == TAP_RESTING)
		end_rest(tap, now_ms);
	else if (tap->state != TAP_WAITING)
		channel_give_up(tap, now_ms);
	else if (tap->channel)
		enter(tap, TAP_PROBING, now_ms);
	else
		channel_begin(tap, now_ms);
	return tap->until_ms;
}

bool amqp_tap_ready(const struct amqp_tap *tap, struct strbuf *why_r)
{
	if (tap->state == TAP_RUNNING || tap->resting || tap->leaving || !tap->why[0])
		return true;
	strbuf_printf(why_r, "RabbitMQ: queue %s: %s", tap->topic, tap->why);
	return false;
}
