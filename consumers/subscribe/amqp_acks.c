/* SPDX-License-Identifier: Apache-2.0 */
/* See amqp_acks.h. A ring of one byte a tag; `first` is the oldest that is not told. The ring grows
 * to what the prefetch and one slow job make necessary. */
#include "consumers/subscribe/amqp_acks.h"

#include <stdlib.h>

#include "common/base/arena.h"

#define FIRST_SIZE 512 /* a power of two, as all sizes */

enum tag_state { TAG_OPEN, TAG_ACK = AMQP_VERB_ACK, TAG_BACK = AMQP_VERB_BACK, TAG_TOLD };

struct amqp_acks {
	uint8_t *states; /* enum tag_state of tag, at tag % size */
	size_t size;
	uint64_t first, next; /* tags [first, next) */
	uint64_t scan;        /* behind the head, nothing before it is to be told */
	size_t settled;       /* and not told */
	size_t open;          /* not told */
};

struct amqp_acks *amqp_acks_new(void)
{
	struct amqp_acks *acks = xcalloc(1, sizeof(*acks));

	acks->size = FIRST_SIZE;
	acks->states = xmalloc(acks->size);
	amqp_acks_reset(acks);
	return acks;
}

void amqp_acks_free(struct amqp_acks **acks)
{
	if (*acks)
		free((*acks)->states);
	free(*acks);
	*acks = NULL;
}

void amqp_acks_reset(struct amqp_acks *acks)
{
	acks->first = acks->next = acks->scan = 1;
	acks->settled = acks->open = 0;
}

size_t amqp_acks_open(const struct amqp_acks *acks)
{
	return acks->open;
}

static uint8_t *state_of(const struct amqp_acks *acks, uint64_t tag)
{
	return &acks->states[tag & (acks->size - 1)];
}

static void grow(struct amqp_acks *acks)
{
	struct amqp_acks bigger = *acks;

	bigger.size = acks->size * 2;
	bigger.states = xmalloc(bigger.size);
	for (uint64_t tag = acks->first; tag < acks->next; tag++)
		*state_of(&bigger, tag) = *state_of(acks, tag);
	free(acks->states);
	*acks = bigger;
}

bool amqp_acks_delivered(struct amqp_acks *acks, uint64_t tag)
{
	if (tag != acks->next)
		return false;
	if (acks->next - acks->first == acks->size)
		grow(acks);
	*state_of(acks, acks->next++) = TAG_OPEN;
	acks->open++;
	return true;
}

void amqp_acks_settle(struct amqp_acks *acks, uint64_t tag, enum amqp_verb verb)
{
	CHECK(tag >= acks->first && tag < acks->next && *state_of(acks, tag) == TAG_OPEN);
	*state_of(acks, tag) = (uint8_t)verb;
	acks->settled++;
	if (tag < acks->scan)
		acks->scan = tag;
}

static void told(struct amqp_acks *acks, uint64_t tag)
{
	*state_of(acks, tag) = TAG_TOLD;
	acks->settled--;
	acks->open--;
}

/* The head's run of one verb. The tag that is named must be one that the broker still holds. */
static bool next_of_head(struct amqp_acks *acks, struct amqp_ack *ack_r)
{
	uint8_t verb = *state_of(acks, acks->first);
	size_t run = 0;

	if (verb == TAG_OPEN)
		return false;
	for (; acks->first < acks->next; acks->first++) {
		uint8_t state = *state_of(acks, acks->first);

		if (state == verb) {
			*ack_r = (struct amqp_ack){ acks->first, ++run > 1, verb };
			told(acks, acks->first);
		} else if (state != TAG_TOLD)
			break;
	}
	return true;
}

static bool next_behind(struct amqp_acks *acks, struct amqp_ack *ack_r)
{
	for (; acks->scan < acks->next; acks->scan++) {
		uint8_t state = *state_of(acks, acks->scan);

		if (state == TAG_OPEN || state == TAG_TOLD)
			continue;
		*ack_r = (struct amqp_ack){ acks->scan, false, state };
		told(acks, acks->scan);
		return true;
	}
	return false;
}

size_t amqp_acks_settled(const struct amqp_acks *acks)
{
	return acks->settled;
}

bool amqp_acks_next_head(struct amqp_acks *acks, struct amqp_ack *ack_r)
{
	if (!acks->settled)
		return false;
	while (*state_of(acks, acks->first) == TAG_TOLD)
		acks->first++;
	return next_of_head(acks, ack_r);
}

bool amqp_acks_next(struct amqp_acks *acks, struct amqp_ack *ack_r)
{
	if (amqp_acks_next_head(acks, ack_r))
		return true;
	if (!acks->settled)
		return false;
	if (acks->scan < acks->first)
		acks->scan = acks->first;
	return next_behind(acks, ack_r);
}
