/* SPDX-License-Identifier: Apache-2.0 */
/* A ring of offsets by ticket: adding and ending cost a few instructions each, whatever the order.
 */
#include "consumers/subscribe/offset_tracker.h"

#include <stdlib.h>

#include "common/base/arena.h"
#include "common/base/check.h"

#define CAPACITY_FIRST 256

void offset_tracker_init(struct offset_tracker *tracker, int64_t next)
{
	*tracker = (struct offset_tracker){ .next = next };
}

void offset_tracker_release(struct offset_tracker *tracker)
{
	free(tracker->open);
	offset_tracker_init(tracker, -1);
}

static int64_t *slot(const struct offset_tracker *tracker, uint64_t ticket)
{
	return &tracker->open[ticket & (tracker->capacity - 1)];
}

static void grow(struct offset_tracker *tracker)
{
	struct offset_tracker wider = *tracker;

	wider.capacity = tracker->capacity ? 2 * tracker->capacity : CAPACITY_FIRST;
	wider.open = xcalloc(wider.capacity, sizeof(*wider.open));
	for (uint64_t ticket = tracker->oldest; ticket != tracker->newest; ticket++)
		*slot(&wider, ticket) = *slot(tracker, ticket);
	free(tracker->open);
	*tracker = wider;
}

uint64_t offset_tracker_add(struct offset_tracker *tracker, int64_t offset)
{
	CHECK(offset >= 0 && offset >= tracker->next);
	CHECK(!offset_tracker_full(tracker));
	if (offset_tracker_span(tracker) == tracker->capacity)
		grow(tracker);
	*slot(tracker, tracker->newest) = offset;
	tracker->next = offset + 1;
	return tracker->newest++;
}

bool offset_tracker_done(struct offset_tracker *tracker, uint64_t ticket)
{
	uint64_t before = tracker->oldest;

	CHECK(ticket - tracker->oldest < tracker->newest - tracker->oldest);
	CHECK(*slot(tracker, ticket) >= 0);
	*slot(tracker, ticket) = ~*slot(tracker, ticket);
	while (tracker->oldest != tracker->newest && *slot(tracker, tracker->oldest) < 0)
		tracker->oldest++;
	return tracker->oldest != before;
}

/* While one is open nothing behind it counts, but the gap before it does: it holds no message. */
int64_t offset_tracker_position(const struct offset_tracker *tracker)
{
	if (tracker->oldest == tracker->newest)
		return tracker->next;
	return *slot(tracker, tracker->oldest);
}

size_t offset_tracker_span(const struct offset_tracker *tracker)
{
	return (size_t)(tracker->newest - tracker->oldest);
}

bool offset_tracker_full(const struct offset_tracker *tracker)
{
	return offset_tracker_span(tracker) >= OFFSET_SPAN_MAX;
}
