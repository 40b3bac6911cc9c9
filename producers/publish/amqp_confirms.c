/* SPDX-License-Identifier: Apache-2.0 */
/* See amqp_confirms.h. Slots are numbers modulo the capacity; `first` is the oldest open one. An
 * answered number in the middle stays as a closed slot until those before it are answered too. */
#include "producers/publish/amqp_confirms.h"

#include <stdlib.h>

#include "common/base/arena.h"

struct slot {
	struct publication *item; /* NULL: abandoned */
	bool open;
};

struct amqp_confirms {
	size_t max, waiting;
	uint64_t first, next; /* numbers [first, next) are in the ring */
	struct slot slots[];
};

struct amqp_confirms *amqp_confirms_new(size_t max)
{
	struct amqp_confirms *confirms;

	CHECK(max > 0);
	confirms = xcalloc(1, sizeof(*confirms) + max * sizeof(confirms->slots[0]));
	confirms->max = max;
	amqp_confirms_reset(confirms);
	return confirms;
}

void amqp_confirms_free(struct amqp_confirms **confirms)
{
	free(*confirms);
	*confirms = NULL;
}

void amqp_confirms_reset(struct amqp_confirms *confirms)
{
	confirms->first = confirms->next = 1;
	confirms->waiting = 0;
}

static struct slot *slot_of(struct amqp_confirms *confirms, uint64_t number)
{
	return &confirms->slots[number % confirms->max];
}

void amqp_confirms_add(struct amqp_confirms *confirms, struct publication *item)
{
	CHECK(amqp_confirms_room(confirms) > 0);
	*slot_of(confirms, confirms->next++) = (struct slot){ .item = item, .open = true };
	confirms->waiting++;
}

size_t amqp_confirms_room(const struct amqp_confirms *confirms)
{
	return confirms->max - (size_t)(confirms->next - confirms->first);
}

size_t amqp_confirms_waiting(const struct amqp_confirms *confirms)
{
	return confirms->waiting;
}

static void forget(struct amqp_confirms *confirms, struct slot *slot)
{
	if (slot->item)
		confirms->waiting--;
	slot->item = NULL;
}

static void answer(struct amqp_confirms *confirms, uint64_t number, bool good)
{
	struct slot *slot = slot_of(confirms, number);

	if (!slot->open)
		return;
	/* A returned one is confirmed as well: the broker has dealt with it. */
	if (slot->item)
		slot->item->confirmed = good && !slot->item->refused;
	forget(confirms, slot);
	slot->open = false;
}

bool amqp_confirms_answer(struct amqp_confirms *confirms, uint64_t number, bool multiple, bool good)
{
	uint64_t from = multiple ? confirms->first : number;

	if (multiple && number == 0)
		number = confirms->next - 1;
	if (number >= confirms->next)
		return false;
	for (uint64_t n = from; n <= number; n++)
		if (n >= confirms->first)
			answer(confirms, n, good);
	while (confirms->first < confirms->next && !slot_of(confirms, confirms->first)->open)
		confirms->first++;
	return true;
}

void amqp_confirms_returned(struct amqp_confirms *confirms, const struct uuid *id, const char *why)
{
	for (uint64_t n = confirms->first; n < confirms->next; n++) {
		struct publication *item = slot_of(confirms, n)->item;

		if (item && !item->refused && uuid_equal(&item->id, id)) {
			item->refused = why;
			return;
		}
	}
}

void amqp_confirms_abandon(struct amqp_confirms *confirms)
{
	for (uint64_t n = confirms->first; n < confirms->next; n++)
		forget(confirms, slot_of(confirms, n));
}

void amqp_confirms_each(struct amqp_confirms *confirms, amqp_confirms_fn *fn, void *ctx)
{
	for (uint64_t n = confirms->first; n < confirms->next; n++)
		if (slot_of(confirms, n)->item)
			fn(ctx, slot_of(confirms, n)->item);
}
