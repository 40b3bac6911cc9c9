/* SPDX-License-Identifier: Apache-2.0 */
/* When messages must be kept invisible again. SQS hands a message to somebody else when its
 * visibility time-out has passed, so everything that a feed holds, in its buffer or taken, is
 * renewed at a third of it: two renewals may fail. Pure; used by sqs_feed.c. */
#ifndef CONSUMERS_SUBSCRIBE_SQS_VISIBILITY_H
#define CONSUMERS_SUBSCRIBE_SQS_VISIBILITY_H
#include <stdbool.h>
#include <stdint.h>

#include "common/base/list.h"

struct sqs_visible { /* part of whatever is held */
	struct list link;
	int64_t due_ms;
};

struct sqs_visibility {
	struct list held; /* by due time */
	int visible_s;
	int64_t pause_until_ms;
};

void sqs_visibility_init(struct sqs_visibility *visibility, int visible_s);
/* Held since `since_ms`: when its renewal was asked for, or when it came in. */
void sqs_visibility_hold(struct sqs_visibility *visibility, struct sqs_visible *node,
			 int64_t since_ms);
void sqs_visibility_drop(struct sqs_visible *node); /* also when it is not held */
/* Takes out up to max that are due, and while some is due, those that will be shortly. */
size_t sqs_visibility_due(struct sqs_visibility *visibility, int64_t now_ms,
			  struct sqs_visible **nodes_r, size_t max);
/* Its renewal failed: due again soon. */
void sqs_visibility_again(struct sqs_visibility *visibility, struct sqs_visible *node,
			  int64_t now_ms);
/* No renewal before. For a server that is away or asks for fewer requests. */
void sqs_visibility_pause(struct sqs_visibility *visibility, int64_t until_ms);
/* When to look again; -1: nothing is held. */
int64_t sqs_visibility_next(const struct sqs_visibility *visibility);

#endif
