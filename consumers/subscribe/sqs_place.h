/* SPDX-License-Identifier: Apache-2.0 */
/* One queue that an SQS feed reads: where it is, what is under way for it, and what must still be
 * told to SQS about its messages. All of it belongs to the feed's thread, which lets each place act
 * once a turn; answers change lists and start nothing. For sqs_feed.c and sqs_place.c. */
#ifndef CONSUMERS_SUBSCRIBE_SQS_PLACE_H
#define CONSUMERS_SUBSCRIBE_SQS_PLACE_H
#include "common/broker/sqs_client.h"
#include "common/broker/sqs_pause.h"
#include "common/broker/sqs_queue.h"
#include "consumers/subscribe/sqs_message.h"

#define SQS_RECEIVES_MAX 4 /* under way for one queue */

/* What places need of their feed. */
struct sqs_link {
	struct sqs_client *client;
	int visible_s;
	size_t body_bytes_max;
	size_t reserved; /* messages that the receives under way may bring */
	/* Messages that came in; false: they are not wanted any more, and go back. */
	bool (*arrived)(struct sqs_link *link, struct sqs_message **messages, size_t count);
	/* `count` endings are with SQS, or given up. */
	void (*settled)(struct sqs_link *link, size_t count);
};

struct sqs_place {
	struct sqs_place *next;
	struct sqs_link *link;
	char name[SQS_QUEUE_NAME];
	bool ours, dead;  /* made when it is missing; a dead-letter queue */
	char *dead_topic; /* ours, when it has to be made; or NULL */
	size_t index, prefetch;
	bool served; /* else only endings and renewals go on */
	char *url;   /* NULL: not found yet */
	char trouble[300];

	struct sqs_visibility visibility;
	struct list lost;             /* held, but SQS has taken them back */
	struct list deletes, returns; /* to be told */
	size_t receives, receives_wanted, reserved, renewals, ends; /* under way */
	size_t held;                                                /* messages alive */
	struct sqs_pause finding, receiving, ending;
	bool told_lost; /* logged once */
};

struct sqs_place *sqs_place_new(struct sqs_link *link, const char *name);
void sqs_place_free(struct sqs_place **place); /* with all its messages; nothing is under way */
/* Finds or makes the queue when that is due; blocks some seconds at most. True: it did try. */
bool sqs_place_open(struct sqs_place *place, int64_t now_ms);
/* Starts what is due of renewals and endings. */
void sqs_place_tend(struct sqs_place *place, int64_t now_ms);
/* Starts a receive if one is wanted and allowed: at most `room` messages, waiting wait_s for the
 * first. Returns for how many it asked. */
size_t sqs_place_receive(struct sqs_place *place, size_t room, int wait_s, int64_t now_ms);
/* The taker has said what becomes of a message (message->ending). */
void sqs_place_end(struct sqs_message *message);
/* When it wants to act by itself; -1: only when something happens. */
int64_t sqs_place_next(const struct sqs_place *place);

#endif
