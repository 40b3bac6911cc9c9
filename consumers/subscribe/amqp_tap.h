/* SPDX-License-Identifier: Apache-2.0 */
/* One queue that a feed consumes from, on a channel of its own, so that what goes wrong with one
 * queue stays there: looks whether the queue is there, makes it, consumes, puts messages together,
 * acknowledges, and begins again after a pause when the server closed the channel or took the queue
 * away. Never waits: answers come as frames, time by amqp_tap_tend. The feed's thread only. */
#ifndef CONSUMERS_SUBSCRIBE_AMQP_TAP_H
#define CONSUMERS_SUBSCRIBE_AMQP_TAP_H
#include "common/base/arena.h"
#include "common/base/list.h"
#include "common/broker/amqp_link.h"

#include "consumers/subscribe/amqp_acks.h"
#include "consumers/subscribe/feed.h"

#define AMQP_CHANNELS 2048 /* numbers 1..2047 */

struct amqp_tap;

/* What the taps of one feed share. */
struct amqp_hub {
	struct amqp_link *link;
	size_t message_bytes_max;
	bool stopping;       /* no more messages */
	bool hurried;        /* what is settled is told at once */
	const char *dead;    /* queue for dead letters, of queues that we make; or NULL */
	struct list arrived; /* struct amqp_delivery: complete, for the feed to fetch */
	size_t held_bytes;   /* of all deliveries that exist */
	uint64_t epochs;     /* of channels, given so far */
	bool stale;          /* a channel ended: deliveries that are not taken may be void */
	struct amqp_tap *by_channel[AMQP_CHANNELS];
	bool stuck[AMQP_CHANNELS]; /* given up, the server has not yet said that it is closed */
	size_t stuck_count;
};

struct amqp_delivery {
	struct delivery delivery; /* first: it is what takers see */
	struct list link;         /* in one of the feed's lists */
	struct arena *arena;      /* this struct is in it */
	struct amqp_tap *tap;
	uint64_t epoch, tag; /* of the channel */
	size_t body_bytes;
	int64_t since_ms; /* complete */
	int64_t back_ms;  /* being given back: when */
	enum amqp_verb verb;
};

struct amqp_tap *amqp_tap_new(struct amqp_hub *hub, const struct feed_place *place,
			      size_t prefetch);
void amqp_tap_free(struct amqp_tap **tap); /* no delivery of it may exist */
bool amqp_tap_serves(const struct amqp_tap *tap, const struct feed_place *place);
/* Consumes no more; it is gone when its last delivery is settled and its channel is closed. */
void amqp_tap_leave(struct amqp_tap *tap);
bool amqp_tap_gone(const struct amqp_tap *tap);

/* Does what is due; returns when it wants to be called again. */
int64_t amqp_tap_tend(struct amqp_tap *tap, int64_t now_ms);
/* The connection is gone. */
void amqp_tap_lost(struct amqp_tap *tap);
/* A frame of any channel of this feed. */
void amqp_hub_frame(struct amqp_hub *hub, const amqp_frame_t *frame, int64_t now_ms);
void amqp_hub_lost(struct amqp_hub *hub); /* as amqp_tap_lost, once */

/* Is the channel that it came over still there? Else the broker has it again. */
bool amqp_delivery_valid(const struct amqp_delivery *delivery);
/* Notes delivery->verb and frees the delivery. */
void amqp_delivery_settle(struct amqp_delivery *delivery);
/* Those behind an open delivery wait a moment for being told with one `multiple`. */
void amqp_tap_put_acks(struct amqp_tap *tap, int64_t now_ms);

/* Nobody takes what it delivers: it stops for a while and then goes on with fewer at a time. */
void amqp_tap_rest(struct amqp_tap *tap, const char *why, int64_t now_ms);
void amqp_tap_wake(struct amqp_tap *tap); /* goes on at once, when it rests */
bool amqp_tap_resting(const struct amqp_tap *tap);
/* Consuming, or resting of its own will? Else the reason is appended. */
bool amqp_tap_ready(const struct amqp_tap *tap, struct strbuf *why_r);

#endif
