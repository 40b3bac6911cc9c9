/* SPDX-License-Identifier: Apache-2.0 */
/* Timers of one loop: setting and dropping one costs the same however many there are, which a heap
 * of ten thousand deadlines would not. Not thread-safe. */
#ifndef PRODUCERS_GRPC_GRPC_WHEEL_H
#define PRODUCERS_GRPC_GRPC_WHEEL_H
#include <stdint.h>

#include "common/base/list.h"

#define GRPC_WHEEL_SLOTS   512
#define GRPC_WHEEL_TICK_MS 10

struct grpc_timer;
typedef void grpc_timer_fn(struct grpc_timer *timer); /* may set it again, or any other */

struct grpc_timer {
	struct list in_slot;
	int64_t due_ms; /* monotonic */
	grpc_timer_fn *fn;
};

struct grpc_wheel {
	struct list slots[GRPC_WHEEL_SLOTS];
	int64_t turned_to; /* ticks: all slots up to here have been looked at */
};

void grpc_wheel_init(struct grpc_wheel *wheel, int64_t now_ms);
void grpc_timer_init(struct grpc_timer *timer, grpc_timer_fn *fn);
/* Rings once, at the first turn at or after due_ms; instead of what was set before. */
void grpc_timer_set(struct grpc_wheel *wheel, struct grpc_timer *timer, int64_t due_ms);
void grpc_timer_drop(struct grpc_timer *timer);
/* Rings what is due. */
void grpc_wheel_turn(struct grpc_wheel *wheel, int64_t now_ms);

#endif
