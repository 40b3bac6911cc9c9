/* SPDX-License-Identifier: Apache-2.0 */
/* One lane a key that is under way; it goes with the last who leaves. Keys come hashed. */
#include "consumers/subscribe/key_lanes.h"

#include <stdlib.h>

#include "common/base/arena.h"
#include "common/base/idmap.h"

struct lane {
	struct list waiting;
};

struct key_lanes {
	struct idmap *lanes; /* key -> struct lane, all of them taken */
};

struct key_lanes *key_lanes_new(void)
{
	struct key_lanes *lanes = xcalloc(1, sizeof(*lanes));

	lanes->lanes = idmap_new();
	return lanes;
}

void key_lanes_free(struct key_lanes **lanes)
{
	struct uuid key;
	size_t cursor = 0;
	void *lane;

	if (!*lanes)
		return;
	while (idmap_next((*lanes)->lanes, &cursor, &key, &lane))
		free(lane);
	idmap_free(&(*lanes)->lanes);
	free(*lanes);
	*lanes = NULL;
}

bool key_lanes_enter(struct key_lanes *lanes, const struct uuid *key, struct list *waiter)
{
	struct lane *lane = idmap_get(lanes->lanes, key);

	if (lane) {
		list_append(&lane->waiting, waiter);
		return false;
	}
	lane = xcalloc(1, sizeof(*lane));
	list_init(&lane->waiting);
	idmap_put(lanes->lanes, key, lane);
	return true;
}

struct list *key_lanes_leave(struct key_lanes *lanes, const struct uuid *key)
{
	struct lane *lane = idmap_get(lanes->lanes, key);
	struct list *next;

	CHECK(lane);
	if (list_empty(&lane->waiting)) {
		idmap_take(lanes->lanes, key);
		free(lane);
		return NULL;
	}
	next = lane->waiting.next;
	list_remove(next);
	return next;
}
