/* SPDX-License-Identifier: Apache-2.0 */
/* Batches: up to ten entries in one request, and what the answer says about each of them. Pure.
 * Used by sqs_publisher.c and sqs_feed.c. */
#ifndef COMMON_BROKER_SQS_BATCH_H
#define COMMON_BROKER_SQS_BATCH_H
#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/strbuf.h"

#define SQS_BATCH_MAX        10
#define SQS_VISIBILITY_MAX_S 43200

/* A request that grows; its text may be taken after sqs_batch_end. */
struct sqs_batch {
	struct strbuf text;
	size_t count;
	size_t bytes; /* of messages, as SQS counts them */
};

void sqs_batch_begin(struct sqs_batch *batch, const char *queue_url);
void sqs_batch_end(struct sqs_batch *batch);

struct sqs_outgoing {
	const char *body; /* JSON text */
	size_t body_bytes;
	const char *content_type, *traceparent; /* attributes; may be NULL */
	const char *group, *deduplication;      /* FIFO; NULL: a standard queue */
};
/* What a message counts against the limits: its body, and names, types and values of attributes. */
size_t sqs_message_size(const struct sqs_outgoing *message);
/* May a message of that size join? An empty batch takes any. */
bool sqs_batch_fits(const struct sqs_batch *batch, size_t bytes, size_t bytes_max);
void sqs_batch_add_message(struct sqs_batch *batch, const struct sqs_outgoing *message);
void sqs_batch_add_handle(struct sqs_batch *batch, const char *handle); /* to be deleted */
void sqs_batch_add_visibility(struct sqs_batch *batch, const char *handle, int64_t visible_s);

enum sqs_verdict {
	SQS_ENTRY_LATER, /* not done; may be tried again; also those the answer does not name */
	SQS_ENTRY_DONE,
	SQS_ENTRY_REFUSED, /* the sender's fault: again is no use */
};
/* Reads "Successful" and "Failed" of an answer. */
void sqs_batch_read(const json_t *answer, size_t count, enum sqs_verdict verdicts_r[SQS_BATCH_MAX]);

/* A group id that SQS takes: the key, or its hash when it has other characters or is too long. */
void sqs_group_id(const char *key, char group_r[129]);

#endif
