/* SPDX-License-Identifier: Apache-2.0 */
/* Where the last claim of each queue and priority ended. Called by the stores' claims, by one
 * thread at a time. A job whose seq was drawn before and committed after that place is found by the
 * full scan of every second. */
#include "common/store/claim_cursor.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"

#define CLAIM_CURSOR_KEEP_MS 1000

struct lane {
	char *queue;
	int64_t after[PRIORITY_COUNT];
};

struct claim_cursor {
	struct lane *lanes;
	size_t lane_count;
	int64_t since_ms; /* monotonic: the last full scan */
	bool moved;
	size_t turn;
};

struct claim_cursor *claim_cursor_new(void)
{
	struct claim_cursor *cursor = xcalloc(1, sizeof(*cursor));

	cursor->since_ms = clock_mono_ms();
	return cursor;
}

void claim_cursor_free(struct claim_cursor **cursor)
{
	if (!*cursor)
		return;
	for (size_t i = 0; i < (*cursor)->lane_count; i++)
		free((*cursor)->lanes[i].queue);
	free((*cursor)->lanes);
	free(*cursor);
	*cursor = NULL;
}

static struct lane *lane_of(struct claim_cursor *cursor, const char *queue)
{
	for (size_t i = 0; i < cursor->lane_count; i++)
		if (!strcmp(cursor->lanes[i].queue, queue))
			return &cursor->lanes[i];
	cursor->lanes = xrealloc(cursor->lanes, (cursor->lane_count + 1) * sizeof(*cursor->lanes));
	struct lane *lane = &cursor->lanes[cursor->lane_count++];

	memset(lane, 0, sizeof(*lane));
	lane->queue = xstrdup(queue);
	return lane;
}

int64_t claim_cursor_after(struct claim_cursor *cursor, const char *queue,
			   enum job_priority priority)
{
	if (!cursor)
		return 0;
	if (cursor->moved && clock_mono_ms() - cursor->since_ms >= CLAIM_CURSOR_KEEP_MS)
		claim_cursor_rewind(cursor);
	return lane_of(cursor, queue)->after[priority];
}

void claim_cursor_took(struct claim_cursor *cursor, const char *queue, enum job_priority priority,
		       int64_t seq)
{
	if (!cursor)
		return;
	struct lane *lane = lane_of(cursor, queue);

	if (!cursor->moved)
		cursor->since_ms = clock_mono_ms();
	cursor->moved = true;
	if (seq > lane->after[priority])
		lane->after[priority] = seq;
}

bool claim_cursor_rewind(struct claim_cursor *cursor)
{
	bool moved = cursor && cursor->moved;

	for (size_t i = 0; moved && i < cursor->lane_count; i++)
		memset(cursor->lanes[i].after, 0, sizeof(cursor->lanes[i].after));
	if (cursor)
		cursor->moved = false;
	return moved;
}

size_t claim_cursor_turn(struct claim_cursor *cursor)
{
	return cursor ? cursor->turn++ : 0;
}
