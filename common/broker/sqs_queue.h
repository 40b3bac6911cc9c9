/* SPDX-License-Identifier: Apache-2.0 */
/* Queues of SQS by name: where they are, and how those of ours are made: kept for 14 days, with a
 * dead-letter queue behind them that takes what was received a hundred times and never came to an
 * end. Blocks up to the deadlines. Used by sqs_publisher.c and sqs_feed.c. */
#ifndef COMMON_BROKER_SQS_QUEUE_H
#define COMMON_BROKER_SQS_QUEUE_H
#include "common/broker/sqs_client.h"

#define SQS_QUEUE_NAME 81 /* NUL included */

/* The topic, with the ".fifo" that such queues must have. -1: ERROR_INVALID, no name of a queue. */
int sqs_queue_name(const char *topic, bool fifo, char name_r[SQS_QUEUE_NAME],
		   struct error *err_r) must_check;
bool sqs_queue_is_fifo(const char *name);

/* 0: its URL, the caller frees it. -1: the fate says why; NOT_FOUND: there is none. */
int sqs_queue_find(struct sqs_client *client, const char *name, int timeout_ms, char **url_r,
		   enum sqs_fate *fate_r, struct error *err_r) must_check;
/* The same, but a missing one is made; with a dead-letter queue (its topic; NULL: none), which is
 * made too. One that exists is left as it is. At most five requests, each up to timeout_ms. */
int sqs_queue_make(struct sqs_client *client, const char *name, const char *dead, int timeout_ms,
		   char **url_r, enum sqs_fate *fate_r, struct error *err_r) must_check;

#endif
