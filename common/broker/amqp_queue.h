/* SPDX-License-Identifier: Apache-2.0 */
/* How a queue on RabbitMQ looks that we make: the same from the publisher's and from the consumers'
 * side, so that it does not matter who comes first. Queues that exist are used as they are. */
#ifndef COMMON_BROKER_AMQP_QUEUE_H
#define COMMON_BROKER_AMQP_QUEUE_H
#include <stdbool.h>

#include "common/broker/amqp_frame.h"

struct amqp_queue {
	const char *name; /* at most AMQP_NAME_BYTES_MAX bytes */
	const char *dead; /* queue for what the broker gives up; NULL: it never gives up */
	bool classic;
	bool single; /* one consumer at a time, the others wait: messages keep their order */
};

/* Puts a queue.declare for a durable queue: quorum or classic, dead letters over the default
 * exchange. */
void amqp_put_declare(struct strbuf *out, uint16_t channel, const struct amqp_queue *queue);
/* Puts a queue.declare that only asks whether it exists. */
void amqp_put_probe(struct strbuf *out, uint16_t channel, const char *name);

#endif
