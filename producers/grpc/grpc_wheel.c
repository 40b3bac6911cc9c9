/* SPDX-License-Identifier: Apache-2.0 */
/* A hashed timing wheel: a timer lies in the slot of its tick, and stays there for as many rounds
 * as it takes. */
#include "producers/grpc/grpc_wheel.h"

#include "common/base/check.h"

void grpc_wheel_init(struct grpc_wheel *wheel, int64_t now_ms)
{
	for (size_t i = 0; i < GRPC_WHEEL_SLOTS; i++)
		list_init(&wheel->slots[i]);
	wheel->turned_to = now_ms / GRPC_WHEEL_TICK_MS;
}

void grpc_timer_init(struct grpc_timer *timer, grpc_timer_fn *fn)
{
	list_init(&timer->in_slot);
	timer->fn = fn;
}

void grpc_timer_set(struct grpc_wheel *wheel, struct grpc_timer *timer, int64_t due_ms)
{
	int64_t tick = due_ms / GRPC_WHEEL_TICK_MS + 1;

	CHECK(timer->fn);
	list_remove(&timer->in_slot);
	timer->due_ms = due_ms;
	if (tick <= wheel->turned_to)
		tick = wheel->turned_to + 1;
	list_append(&wheel->slots[tick % GRPC_WHEEL_SLOTS], &timer->in_slot);
}

void grpc_timer_drop(struct grpc_timer *timer)
{
	list_remove(&timer->in_slot);
}

/* A callback may drop any timer of the slot: those that are due are put aside first, and taken from
 * the front one by one. */
static void turn_slot(struct list *slot, int64_t now_ms)
{
	struct list due;

	list_init(&due);
	for (struct list *at = slot->next, *next; at != slot; at = next) {
		next = at->next;
		if (list_entry(at, struct grpc_timer, in_slot)->due_ms > now_ms)
			continue;
		list_remove(at);
		list_append(&due, at);
	}
	while (!list_empty(&due)) {
		struct grpc_timer *timer = list_first(&due, struct grpc_timer, in_slot);
		list_remove(&timer->in_slot);
		timer->fn(timer);
	}
}

void grpc_wheel_turn(struct grpc_wheel *wheel, int64_t now_ms)
{
	int64_t now = now_ms / GRPC_WHEEL_TICK_MS;

	/* After a long pause once around is enough. */
	if (now - wheel->turned_to > GRPC_WHEEL_SLOTS)
		wheel->turned_to = now - GRPC_WHEEL_SLOTS;
	while (wheel->turned_to < now) {
		wheel->turned_to++;
		turn_slot(&wheel->slots[wheel->turned_to % GRPC_WHEEL_SLOTS], now_ms);
	}
}
