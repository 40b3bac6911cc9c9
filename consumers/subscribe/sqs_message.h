/* SPDX-License-Identifier: Apache-2.0 */
/* One message that SQS delivered: its delivery, and the handle by which it is deleted. Made of one
 * element of a ReceiveMessage answer, without copying its texts. Used by sqs_feed.c. */
#ifndef CONSUMERS_SUBSCRIBE_SQS_MESSAGE_H
#define CONSUMERS_SUBSCRIBE_SQS_MESSAGE_H
#include <jansson.h>

#include "common/base/list.h"
#include "consumers/subscribe/feed.h"
#include "consumers/subscribe/sqs_visibility.h"

struct sqs_place;

enum sqs_ending {
	SQS_HELD = 0,
	SQS_DELETE, /* acknowledged */
	SQS_RETURN, /* given back */
};

struct sqs_message {
	struct delivery delivery;
	struct list link;           /* buffer, or what its feed's thread is told, or its place's */
	enum sqs_ending told;       /* what its taker said */
	int64_t return_s;           /* told SQS_RETURN: visible again after this */
	struct sqs_visible visible; /* its feed's thread's, as all below */
	struct sqs_place *place;
	const char *handle;
	json_t *json; /* where all texts are */
	enum sqs_ending ending;
	bool renewing; /* a renewal is under way; its ending waits for that */
	int tries;     /* of its ending */
};

/* NULL: it is no message (no body, id or handle). A dead one gets a reason; one with a body of more
 * than body_bytes_max loses it and gets a reason. Takes a reference. */
struct sqs_message *sqs_message_new(json_t *json, bool dead, size_t body_bytes_max);
void sqs_message_free(struct sqs_message **message);

#endif
