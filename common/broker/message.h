/* SPDX-License-Identifier: Apache-2.0 */
/* One message as a broker delivered it, before anybody has looked into it: bytes, and what the
 * broker says about them. Made by the feeds of consumers/subscribe, read by the envelope decoder;
 * knows no broker. */
#ifndef COMMON_BROKER_MESSAGE_H
#define COMMON_BROKER_MESSAGE_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A header, application property or message attribute whose value is text. */
struct message_header {
	const char *name, *value;
};

struct message {
	const char *body; /* not NUL-terminated */
	size_t body_bytes;
	const char *content_type; /* or NULL */
	const struct message_header *headers;
	size_t header_count;
	/* What names it for ever, made by the broker or by its sender: AMQP message-id, SQS
	 * MessageId, Kafka "topic/partition/offset". NULL: nothing does. */
	const char *identity;
	/* When it came to be, by the broker or its sender: the same at each redelivery. 0: unknown.
	 */
	int64_t time_ms;
	const char *key;         /* Kafka key, SQS group id; or NULL */
	const char *dead_reason; /* the broker itself dead-lettered it, and why; or NULL */
	bool redelivered;
};

#endif
