/* SPDX-License-Identifier: Apache-2.0 */
/* A ring of ids with a map that knows what is in it, and two generations of ended ones. */
#include "producers/gateway/watch_backlog.h"

#include <stdint.h>
#include <stdlib.h>

#include "common/base/arena.h"
#include "common/base/idmap.h"

#define ROOM_FIRST    256
#define GENERATION_NS INT64_C(15000000000)
#define TOLD_MAX      200000 /* in one generation */

struct place {
	struct uuid id;
	int64_t heard_ns;
};

struct watch_backlog {
	struct place *places;
	size_t head, count, cap;
	struct idmap *known; /* ids in places -> mark() */
	struct idmap *told[2];
	int64_t turn_ns; /* when the younger generation becomes the older one */
};

/* Marks: only their addresses count. */
static const char asked_mark, moved_mark;

static void *mark(bool moved)
{
	return (void *)(uintptr_t)(moved ? &moved_mark : &asked_mark);
}

struct watch_backlog *watch_backlog_new(void)
{
	struct watch_backlog *backlog = xcalloc(1, sizeof(*backlog));

	backlog->cap = ROOM_FIRST;
	backlog->places = xcalloc(backlog->cap, sizeof(*backlog->places));
	backlog->known = idmap_new();
	backlog->told[0] = idmap_new();
	backlog->told[1] = idmap_new();
	return backlog;
}

void watch_backlog_free(struct watch_backlog **backlog_)
{
	struct watch_backlog *backlog = *backlog_;

	*backlog_ = NULL;
	if (!backlog)
		return;
	idmap_free(&backlog->known);
	idmap_free(&backlog->told[0]);
	idmap_free(&backlog->told[1]);
	free(backlog->places);
	free(backlog);
}

size_t watch_backlog_count(const struct watch_backlog *backlog)
{
	return backlog->count;
}

static void grow(struct watch_backlog *backlog)
{
	size_t cap = 2 * backlog->cap;
	struct place *places = xcalloc(cap, sizeof(*places));

	for (size_t i = 0; i < backlog->count; i++)
		places[i] = backlog->places[(backlog->head + i) % backlog->cap];
	free(backlog->places);
	backlog->places = places;
	backlog->head = 0;
	backlog->cap = cap;
}

bool watch_backlog_add(struct watch_backlog *backlog, const struct uuid *id, bool moved,
		       int64_t now_ns)
{
	if (idmap_get(backlog->known, id)) {
		if (moved)
			idmap_put(backlog->known, id, mark(true));
		return true;
	}
	if (backlog->count == WATCH_BACKLOG_MAX)
		return false;
	if (backlog->count == backlog->cap)
		grow(backlog);
	backlog->places[(backlog->head + backlog->count++) % backlog->cap] =
		(struct place){ .id = *id, .heard_ns = now_ns };
	idmap_put(backlog->known, id, mark(moved));
	return true;
}

size_t watch_backlog_peek(const struct watch_backlog *backlog, struct uuid *ids_r, bool *moved_r,
			  size_t max, int64_t *heard_ns_r)
{
	size_t count = backlog->count < max ? backlog->count : max;

	for (size_t i = 0; i < count; i++) {
		ids_r[i] = backlog->places[(backlog->head + i) % backlog->cap].id;
		moved_r[i] = idmap_get(backlog->known, &ids_r[i]) == mark(true);
	}
	*heard_ns_r = count ? backlog->places[backlog->head].heard_ns : 0;
	return count;
}

void watch_backlog_drop(struct watch_backlog *backlog, size_t count)
{
	CHECK(count <= backlog->count);
	for (; count; count--, backlog->count--) {
		idmap_take(backlog->known, &backlog->places[backlog->head].id);
		backlog->head = (backlog->head + 1) % backlog->cap;
	}
}

void watch_backlog_told(struct watch_backlog *backlog, const struct uuid *id, int64_t now_ns)
{
	if (now_ns >= backlog->turn_ns || idmap_count(backlog->told[0]) >= TOLD_MAX) {
		idmap_free(&backlog->told[1]);
		backlog->told[1] = backlog->told[0];
		backlog->told[0] = idmap_new();
		backlog->turn_ns = now_ns + GENERATION_NS;
	}
	idmap_put(backlog->told[0], id, mark(true));
}

bool watch_backlog_was_told(const struct watch_backlog *backlog, const struct uuid *id)
{
	return idmap_get(backlog->told[0], id) || idmap_get(backlog->told[1], id);
}
