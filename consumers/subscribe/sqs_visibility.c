/* SPDX-License-Identifier: Apache-2.0 */
/* A list in order of due times. Renewals go to its end: they are all due the same time later. */
#include "consumers/subscribe/sqs_visibility.h"

#include "common/base/check.h"

#define AGAIN_MS 500

static int64_t period_ms(const struct sqs_visibility *visibility)
{
	return visibility->visible_s * 1000LL / 3;
}

void sqs_visibility_init(struct sqs_visibility *visibility, int visible_s)
{
	CHECK(visible_s > 0);
	list_init(&visibility->held);
	visibility->visible_s = visible_s;
	visibility->pause_until_ms = 0;
}

/* From the end: almost always there. */
static void insert(struct sqs_visibility *visibility, struct sqs_visible *node)
{
	struct list *at = &visibility->held;

	while (at->prev != &visibility->held &&
	       list_entry(at->prev, struct sqs_visible, link)->due_ms > node->due_ms)
		at = at->prev;
	list_insert_before(at, &node->link);
}

void sqs_visibility_hold(struct sqs_visibility *visibility, struct sqs_visible *node,
			 int64_t since_ms)
{
	node->due_ms = since_ms + period_ms(visibility);
	insert(visibility, node);
}

void sqs_visibility_drop(struct sqs_visible *node)
{
	list_remove(&node->link);
}

size_t sqs_visibility_due(struct sqs_visibility *visibility, int64_t now_ms,
			  struct sqs_visible **nodes_r, size_t max)
{
	int64_t early_ms = period_ms(visibility) / 4, next_ms = sqs_visibility_next(visibility);
	size_t count = 0;

	if (next_ms < 0 || next_ms > now_ms)
		return 0;
	while (count < max && !list_empty(&visibility->held)) {
		struct sqs_visible *node = list_first(&visibility->held, struct sqs_visible, link);

		if (node->due_ms > now_ms + early_ms)
			break;
		list_remove(&node->link);
		nodes_r[count++] = node;
	}
	return count;
}

void sqs_visibility_again(struct sqs_visibility *visibility, struct sqs_visible *node,
			  int64_t now_ms)
{
	int64_t period = period_ms(visibility);

	/* At a third of a short time-out half a second would be too late. */
	node->due_ms = now_ms + (period / 4 < AGAIN_MS ? period / 4 : AGAIN_MS);
	insert(visibility, node);
}

void sqs_visibility_pause(struct sqs_visibility *visibility, int64_t until_ms)
{
	visibility->pause_until_ms = until_ms;
}

int64_t sqs_visibility_next(const struct sqs_visibility *visibility)
{
	int64_t due_ms;

	if (list_empty(&visibility->held))
		return -1;
	due_ms = list_first(&visibility->held, struct sqs_visible, link)->due_ms;
	return due_ms > visibility->pause_until_ms ? due_ms : visibility->pause_until_ms;
}
