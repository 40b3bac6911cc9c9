/* SPDX-License-Identifier: Apache-2.0 */
/* A server that speaks just enough AMQP to log in, declare and consume, and that misbehaves as
 * told: what no real RabbitMQ does on demand. A thread of its own; one connection at a time. */
#ifndef TESTS_UNIT_COMMON_BROKER_FAKE_AMQP_H
#define TESTS_UNIT_COMMON_BROKER_FAKE_AMQP_H
#include <stddef.h>

struct fake_amqp;

/* At the first consumer (of any connection); from then on it behaves. */
enum fake_fault {
	FAKE_NONE,
	FAKE_GARBAGE,     /* bytes that are no frames */
	FAKE_HALF,        /* half a message, then silence */
	FAKE_LONG_BODY,   /* more body than the header said */
	FAKE_WRONG_TAG,   /* deliveries out of step */
	FAKE_HANG_UP,     /* in the middle of a frame */
	FAKE_HUGE,        /* a body of 2^60 bytes begins; everything else goes on */
	FAKE_NO_ANSWER,   /* to basic.consume on that channel, and to nothing there */
	FAKE_NO_CONFIRMS, /* publications are read and not answered, for ever */
	FAKE_NO_READING,  /* nothing is read after confirm.select, for ever */
};

/* Every consumer gets one message, "hello". The URL ends with heartbeat=1. */
struct fake_amqp *fake_amqp_start(enum fake_fault fault);
void fake_amqp_stop(struct fake_amqp **fake);
const char *fake_amqp_url(const struct fake_amqp *fake);
int fake_amqp_logins(const struct fake_amqp *fake);
int fake_amqp_closed_channels(const struct fake_amqp *fake); /* by the client */
int fake_amqp_acks(const struct fake_amqp *fake);

#endif
