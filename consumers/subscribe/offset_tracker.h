/* SPDX-License-Identifier: Apache-2.0 */
/* The messages of one partition that were handed out and are not all over yet. They end in any
 * order; what may be stored is only the offset behind the last one before which everything is over.
 * Pure bookkeeping: no library, no lock, no clock; one thread. */
#ifndef CONSUMERS_SUBSCRIBE_OFFSET_TRACKER_H
#define CONSUMERS_SUBSCRIBE_OFFSET_TRACKER_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* From the oldest that is open to the newest: beyond it the partition waits. */
#define OFFSET_SPAN_MAX 10000

struct offset_tracker {
	int64_t *open;   /* ring of offsets; ~offset: over */
	size_t capacity; /* a power of two, 0 before the first */
	uint64_t oldest, newest;
	int64_t next; /* behind the newest message seen; -1: nothing is known */
};

void offset_tracker_init(struct offset_tracker *tracker, int64_t next); /* -1: not known */
void offset_tracker_release(struct offset_tracker *tracker);
/* A message was handed out. Offsets ascend, with gaps where the log has them; at most
 * OFFSET_SPAN_MAX are open. Returns its ticket. */
uint64_t offset_tracker_add(struct offset_tracker *tracker, int64_t offset);
/* It is over, once. True: the position has moved. */
bool offset_tracker_done(struct offset_tracker *tracker, uint64_t ticket);
/* The offset to read from if all ends here: one behind the last message before which none is open.
 * This is the only place that adds the one. -1: nothing is known. */
int64_t offset_tracker_position(const struct offset_tracker *tracker);
size_t offset_tracker_span(const struct offset_tracker *tracker);
bool offset_tracker_full(const struct offset_tracker *tracker);

#endif
