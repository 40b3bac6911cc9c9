/* SPDX-License-Identifier: Apache-2.0 */
/* The deliveries of one channel that the broker waits to hear of. Turns what is settled in any
 * order into as few acknowledgements as possible: one with `multiple` for what is settled up to the
 * oldest open one, single ones behind it, so that a slow job holds up nobody's prefetch. Never
 * names a tag that is unknown or was told before: the server closes the channel for that and
 * delivers everything on it again. Pure; used by amqp_tap.c. */
#ifndef CONSUMERS_SUBSCRIBE_AMQP_ACKS_H
#define CONSUMERS_SUBSCRIBE_AMQP_ACKS_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/check.h"

struct amqp_acks;

enum amqp_verb {
	AMQP_VERB_ACK = 1,
	AMQP_VERB_BACK, /* nack, to be delivered again */
};

struct amqp_ack {
	uint64_t tag;
	bool multiple; /* and all open ones before it */
	enum amqp_verb verb;
};

struct amqp_acks *amqp_acks_new(void);
void amqp_acks_free(struct amqp_acks **acks);        /* NULL-safe */
void amqp_acks_reset(struct amqp_acks *acks);        /* a new channel: tags begin at 1 */
size_t amqp_acks_open(const struct amqp_acks *acks); /* delivered, and the broker not told */
/* False: this tag does not follow the last one; the connection is out of step. */
bool must_check amqp_acks_delivered(struct amqp_acks *acks, uint64_t tag);
/* It must be delivered and not settled. */
void amqp_acks_settle(struct amqp_acks *acks, uint64_t tag, enum amqp_verb verb);
/* What the broker is to be told next; it counts as told. False: nothing. */
bool amqp_acks_next(struct amqp_acks *acks, struct amqp_ack *ack_r);
/* The same, but only of what is settled up to the oldest open one. */
bool amqp_acks_next_head(struct amqp_acks *acks, struct amqp_ack *ack_r);
size_t amqp_acks_settled(const struct amqp_acks *acks); /* and not told */

#endif
