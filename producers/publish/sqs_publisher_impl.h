/* SPDX-License-Identifier: Apache-2.0 */
/* What the two halves of the SQS publisher share: its queues and its connection
 * (sqs_publisher.c), and one send (sqs_sending.c). One thread. */
#ifndef PRODUCERS_PUBLISH_SQS_PUBLISHER_IMPL_H
#define PRODUCERS_PUBLISH_SQS_PUBLISHER_IMPL_H
#include "common/broker/publisher.h"
#include "common/broker/sqs_client.h"
#include "common/broker/sqs_pause.h"
#include "common/broker/sqs_queue.h"
#include "common/service/metrics.h"

#define SQS_ATTRIBUTE_RESERVE 1024 /* of a message's size, for what goes beside its body */
#define SQS_QUEUE_CALL_MS     5000

struct sqs_target { /* a queue that is written to */
	struct sqs_target *next;
	char *topic; /* as publications name it */
	char name[SQS_QUEUE_NAME];
	char *url;  /* NULL: not known yet, or gone */
	bool ours;  /* declared: made again when it is missing */
	char *dead; /* its dead-letter queue's topic, or NULL */
	/* during one send */
	size_t next_item; /* nothing before it is to be sent */
	size_t under_way; /* batches */
	bool renewed;     /* looked for already */
};

struct sqs_publisher {
	struct publisher publisher;
	struct sqs_client *client;
	struct sqs_target *targets;
	size_t bytes_max;       /* of a message and of a batch */
	struct sqs_pause pause; /* nothing is sent before its end */
	struct error trouble;   /* why it pauses, or why a send is not complete */
	bool probing;
	struct metric_series *connected, *reconnects;
};

/* ---- sqs_publisher.c */
struct sqs_target *sqs_target_get(struct sqs_publisher *pub, const char *topic);
void sqs_target_lose(struct sqs_target *target); /* it is not where it was */
/* Finds the queue, or makes it when it is ours. 0, or -1 and the fate. */
int sqs_target_open(struct sqs_publisher *pub, struct sqs_target *target, int timeout_ms,
		    enum sqs_fate *fate_r, struct error *err_r) must_check;
/* Something failed: sends nothing for a while, which grows. */
void sqs_publisher_fail(struct sqs_publisher *pub, const char *why);
int sqs_left_ms(int64_t deadline_ms); /* 0: over */

/* ---- sqs_sending.c: publisher_ops.send, when no pause forbids it */
int sqs_sending_run(struct sqs_publisher *pub, struct publication *items, size_t count,
		    int timeout_ms, struct error *err_r) must_check;

#endif
