/* SPDX-License-Identifier: Apache-2.0 */
/* A publisher puts messages on one broker: due jobs that are dispatched, and results. One thread a
 * connection; it is the only writer there. Nothing is published that the store does not hold, so a
 * message may be sent twice but never only here. Implemented in producers/publish, called by
 * producers/dispatch. */
#ifndef COMMON_BROKER_PUBLISHER_H
#define COMMON_BROKER_PUBLISHER_H
#include <stdbool.h>
#include <stddef.h>

#include "common/base/error.h"
#include "common/base/strbuf.h"
#include "common/base/uuid.h"

struct publisher;
struct metrics;

struct publication {
	struct uuid id;       /* the message's: the same whenever it is sent again */
	const char *topic;    /* topic, queue or routing key */
	const char *exchange; /* AMQP; NULL: the default one, topic is the queue */
	const char *key;      /* what the broker orders or partitions by; NULL: nothing */
	const char *body;     /* a CloudEvents envelope: application/cloudevents+json */
	size_t body_bytes;
	const char *traceparent; /* as a header too; or NULL */
	/* answer */
	bool confirmed; /* the broker has it, and has put it where it belongs */
	/* not confirmed, and trying again is no use by itself (no route, too large, no permission):
	 * why; static text; NULL: weather */
	const char *refused;
};

/* A place to put messages that must exist: made when it is missing, never changed. */
struct publisher_place {
	const char *topic;
	bool dispatched;  /* a queue of ours: with what belongs to it (dead-letter queue …) */
	const char *dead; /* the queue for what the broker gives up; NULL: none */
	bool fifo;        /* SQS */
	bool classic;     /* AMQP */
	bool single;      /* AMQP: one consumer at a time */
	int partitions;   /* Kafka; 0: the broker's default */
};

struct publisher_ops {
	const char *name; /* "kafka", "amqp", "sqs" */
	/* Makes the places that are missing. 0; -1: ERROR_UNAVAILABLE (weather), ERROR_INVALID (it
	 * exists otherwise, or is forbidden; says which). Blocks up to timeout_ms. */
	int (*declare)(struct publisher *publisher, const struct publisher_place *places,
		       size_t count, int timeout_ms, struct error *err_r);
	/* Sends all of them and waits for the confirmations, up to timeout_ms. 0: `confirmed` says
	 * which the broker has; those without may or may not be there. -1: ERROR_UNAVAILABLE, and
	 * the same holds. */
	int (*send)(struct publisher *publisher, struct publication *items, size_t count,
		    int timeout_ms, struct error *err_r);
	/* Largest body it takes. */
	size_t (*body_bytes_max)(const struct publisher *publisher);
	/* Keeps the connection alive and notices its end (heartbeats, alarms), without blocking.
	 * Called at least once a second while nothing is sent. */
	void (*tend)(struct publisher *publisher);
	/* Is it connected and not blocked? Else the reason is appended. The same thread. */
	bool (*ready)(struct publisher *publisher, struct strbuf *why_r);
	void (*free)(struct publisher **publisher); /* drops what is not confirmed */
};

/* Every implementation's struct begins with this. */
struct publisher {
	const struct publisher_ops *ops;
};

struct publisher_options {
	const char *broker_url;
	const char *client;  /* name that the broker shows for this process */
	const char *ca_file; /* or NULL: the system's */
	struct metrics *metrics;
};
/* NULL: ERROR_INVALID (the URL). Connects with the first use, and again after the connection broke,
 * with jittered backoff (calls meanwhile fail at once with ERROR_UNAVAILABLE). */
struct publisher *kafka_publisher_new(const struct publisher_options *options,
				      struct error *err_r) must_check;
struct publisher *amqp_publisher_new(const struct publisher_options *options,
				     struct error *err_r) must_check;
struct publisher *sqs_publisher_new(const struct publisher_options *options,
				    struct error *err_r) must_check;

#endif
