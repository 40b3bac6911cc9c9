/* SPDX-License-Identifier: Apache-2.0 */
/* A publisher puts messages on one broker: due jobs that are dispatched, and results. One thread a
 * connection; it is the only writer there. Nothing is published that the store does not hold, so a
 * message may be sent twice but never only here. Its implementations and its callers
 * (producers/dispatch, producers/publish) come with the brokers. */
#ifndef COMMON_BROKER_PUBLISHER_H
#define COMMON_BROKER_PUBLISHER_H
#include <stdbool.h>
#include <stddef.h>

#include "common/base/error.h"
#include "common/base/uuid.h"

struct publisher;

struct publication {
	struct uuid id;          /* the message's: the same whenever it is sent again */
	const char *destination; /* topic, exchange or queue */
	const char *key;         /* what the broker orders or partitions by; NULL: nothing */
	const char *body;        /* a CloudEvents envelope */
	size_t body_bytes;
	bool confirmed; /* answer: the broker has it */
};

struct publisher_ops {
	const char *name;
	/* Sends all of them and waits for the confirmations, up to timeout_ms. 0: `confirmed` says
	 * which the broker has; those without may or may not be there. -1: ERROR_UNAVAILABLE, and
	 * the same holds. */
	int (*send)(struct publisher *publisher, struct publication *items, size_t count,
		    int timeout_ms, struct error *err_r);
	void (*free)(struct publisher *publisher);
};

/* Every implementation's struct begins with this. */
struct publisher {
	const struct publisher_ops *ops;
};

#endif
