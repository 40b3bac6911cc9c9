/* SPDX-License-Identifier: Apache-2.0 */
/* A hash table with linear probing and deletion by shifting back, so that it never fills with
 * tombstones. Clients may choose ids, so the hash is keyed at random per map: nobody can aim at one
 * bucket. A free slot is one whose value is NULL. Never shrinks: it is as large as the most jobs
 * that were ever in flight at once. */
#include "common/base/idmap.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/arena.h"
#include "common/base/clock.h"

#define SLOTS_FIRST 64 /* a power of two, as all sizes are */

struct slot {
	struct uuid id;
	void *value;
};

struct idmap {
	struct slot *slots;
	size_t mask; /* number of slots - 1 */
	size_t count;
	uint64_t seed[2];
};

struct idmap *idmap_new(void)
{
	struct idmap *map = xmalloc(sizeof(*map));

	map->slots = xcalloc(SLOTS_FIRST, sizeof(map->slots[0]));
	map->mask = SLOTS_FIRST - 1;
	map->count = 0;
	random_bytes(map->seed, sizeof(map->seed));
	return map;
}

void idmap_free(struct idmap **map)
{
	if (*map) {
		free((*map)->slots);
		free(*map);
		*map = NULL;
	}
}

size_t idmap_count(const struct idmap *map)
{
	return map->count;
}

static size_t idmap_home(const struct idmap *map, const struct uuid *id)
{
	unsigned __int128 wide;
	uint64_t half[2];

	memcpy(half, id->b, sizeof(half));
	wide = (unsigned __int128)(half[0] ^ map->seed[0]) * (half[1] ^ map->seed[1]);
	return (size_t)((uint64_t)wide ^ (uint64_t)(wide >> 64)) & map->mask;
}

/* The slot that holds the id, or the free one where it would go. There is always a free one. */
static struct slot *idmap_slot(const struct idmap *map, const struct uuid *id)
{
	size_t at = idmap_home(map, id);

	while (map->slots[at].value && !uuid_equal(&map->slots[at].id, id))
		at = (at + 1) & map->mask;
	return &map->slots[at];
}

static void idmap_grow(struct idmap *map)
{
	struct slot *former = map->slots;
	size_t former_slots = map->mask + 1;

	map->slots = xcalloc(former_slots * 2, sizeof(map->slots[0]));
	map->mask = former_slots * 2 - 1;
	for (size_t i = 0; i < former_slots; i++) {
		if (former[i].value)
			*idmap_slot(map, &former[i].id) = former[i];
	}
	free(former);
}

void *idmap_get(const struct idmap *map, const struct uuid *id)
{
	return idmap_slot(map, id)->value;
}

void *idmap_put(struct idmap *map, const struct uuid *id, void *value)
{
	struct slot *slot = idmap_slot(map, id);
	void *former = slot->value;

	CHECK(value != NULL);
	if (!former) {
		if ((map->count + 1) * 3 > (map->mask + 1) * 2) {
			idmap_grow(map);
			slot = idmap_slot(map, id);
		}
		map->count++;
		slot->id = *id;
	}
	slot->value = value;
	return former;
}

/* Closes the gap at `hole`: entries behind it move up unless that would put them before their home.
 */
static void idmap_shift_back(struct idmap *map, size_t hole)
{
	size_t at = hole;

	for (;;) {
		at = (at + 1) & map->mask;
		if (!map->slots[at].value)
			break;
		size_t home = idmap_home(map, &map->slots[at].id);

		if (((at - home) & map->mask) >= ((at - hole) & map->mask)) {
			map->slots[hole] = map->slots[at];
			hole = at;
		}
	}
	map->slots[hole].value = NULL;
}

void *idmap_take(struct idmap *map, const struct uuid *id)
{
	struct slot *slot = idmap_slot(map, id);
	void *value = slot->value;

	if (value) {
		idmap_shift_back(map, (size_t)(slot - map->slots));
		map->count--;
	}
	return value;
}

bool idmap_next(const struct idmap *map, size_t *cursor, struct uuid *id_r, void **value_r)
{
	while (*cursor <= map->mask) {
		const struct slot *slot = &map->slots[(*cursor)++];

		if (slot->value) {
			*id_r = slot->id;
			*value_r = slot->value;
			return true;
		}
	}
	return false;
}
