/* SPDX-License-Identifier: Apache-2.0 */
/* The arithmetic of limits. A rate is an account of time: every hand-out costs its part of a
 * second, and what may be drawn is what has passed since the last one was paid, a fifth of a second
 * at most. */
#include "common/store/ration_room.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define SLOTS_MIN 64

void rooms_begin(struct rooms *rooms, struct arena *arena, int64_t now_us)
{
	*rooms = (struct rooms){ .arena = arena, .now_us = now_us, .slot_count = SLOTS_MIN };
	rooms->slots = ARENA_ARRAY(arena, struct room *, SLOTS_MIN);
}

const struct limits_row *rooms_rule(const struct rooms *rooms, enum limits_kind kind,
				    const char *name)
{
	for (size_t i = 0; i < rooms->rule_count; i++)
		if (rooms->rules[i].kind == kind && !strcmp(rooms->rules[i].name, name))
			return &rooms->rules[i];
	return NULL;
}

/* ---- the table */

static uint64_t hash_text(uint64_t h, const char *text)
{
	for (; *text; text++)
		h = (h ^ (unsigned char)*text) * 1099511628211u;
	return (h ^ 0xff) * 1099511628211u;
}

static uint64_t hash_of(enum limits_kind kind, const char *name, const char *key)
{
	uint64_t h = hash_text(14695981039346656037u + kind, name);

	return key ? hash_text(h, key) : h;
}

static void grow(struct rooms *rooms)
{
	rooms->slot_count *= 4;
	rooms->slots = ARENA_ARRAY(rooms->arena, struct room *, rooms->slot_count);
	for (size_t i = 0; i < rooms->count; i++) {
		struct room *room = rooms->list[i];
		struct room **slot = &rooms->slots[hash_of(room->kind, room->name, room->key) &
						   (rooms->slot_count - 1)];

		room->next = *slot;
		*slot = room;
	}
}

static struct room *add(struct rooms *rooms, const struct room *room)
{
	struct room *own = ARENA_NEW(rooms->arena, struct room);

	*own = *room;
	if (rooms->count == rooms->cap) {
		struct room **list = ARENA_ARRAY(rooms->arena, struct room *, rooms->cap * 2 + 16);

		if (rooms->count)
			memcpy(list, rooms->list, rooms->count * sizeof(*list));
		rooms->list = list;
		rooms->cap = rooms->cap * 2 + 16;
	}
	rooms->list[rooms->count++] = own;
	if (rooms->count > rooms->slot_count) {
		grow(rooms);
		return own;
	}
	struct room **slot =
		&rooms->slots[hash_of(own->kind, own->name, own->key) & (rooms->slot_count - 1)];

	own->next = *slot;
	*slot = own;
	return own;
}

struct room *rooms_find(struct rooms *rooms, enum limits_kind kind, const char *name,
			const char *key)
{
	const struct limits_row *rule = rooms_rule(rooms, kind, name);
	const struct limit *limit = !rule ? NULL : key ? &rule->limits.key : &rule->limits.all;

	if (!limit || (limit->concurrency <= 0 && limit->rate_per_s <= 0))
		return NULL;
	struct room *room = rooms->slots[hash_of(kind, name, key) & (rooms->slot_count - 1)];

	for (; room; room = room->next)
		if (room->kind == kind && !strcmp(room->name, name) && !room->key == !key &&
		    (!key || !strcmp(room->key, key)))
			return room;
	return add(rooms, &(struct room){ .kind = kind,
					  .name = rule->name,
					  .key = key ? arena_strdup(rooms->arena, key) : NULL,
					  .limit = *limit });
}

/* ---- room */

static double interval_us(const struct room *room)
{
	return 1e6 / room->limit.rate_per_s;
}

static double paid_from(const struct rooms *rooms, const struct room *room)
{
	double interval = interval_us(room);
	double burst = interval > ROOM_BURST_US ? interval : ROOM_BURST_US;
	double now = (double)rooms->now_us, paid = (double)room->paid_us;

	if (paid > now) /* the clock was put back */
		return now;
	return paid > now - burst ? paid : now - burst;
}

/* Rounding of what was paid must not cost a hand-out: a thousandth of one is forgiven. */
static int64_t rate_left(const struct rooms *rooms, const struct room *room)
{
	double left = ((double)rooms->now_us - paid_from(rooms, room)) / interval_us(room);

	return (int64_t)floor(left + 0.001) - room->taken;
}

int64_t room_left(const struct rooms *rooms, const struct room *room)
{
	int64_t left = ROOM_NONE;

	if (!room)
		return ROOM_NONE;
	if (room->limit.concurrency > 0)
		left = room->limit.concurrency - room->held - room->taken;
	if (room->limit.rate_per_s > 0 && rate_left(rooms, room) < left)
		left = rate_left(rooms, room);
	return left > 0 ? left : 0;
}

int64_t room_wait_ms(const struct rooms *rooms, const struct room *room)
{
	if (room->limit.concurrency > 0 && room->limit.concurrency <= room->held + room->taken)
		return -1;
	double at = paid_from(rooms, room) + (double)(room->taken + 1) * interval_us(room);
	double wait_ms = ceil((at - (double)rooms->now_us) / 1000);

	return wait_ms > 0 ? (int64_t)wait_ms : 0;
}

int64_t room_paid_us(const struct rooms *rooms, const struct room *room)
{
	return llround(paid_from(rooms, room) + (double)room->taken * interval_us(room));
}

/* ---- what a lease says: a line a limit, "q 3 orders acme" */

static char letter_of(const struct room *room)
{
	return room->kind == LIMITS_TYPE ? 't' : room->key ? 'k' : 'q';
}

/* One line, changed in place. */
static void read_line(struct rooms *rooms, char *line)
{
	char *name, *key = NULL;
	long long count = strlen(line) > 2 ? strtoll(line + 2, &name, 10) : 0;

	if (count <= 0 || *name != ' ')
		return;
	name++;
	if (*line == 'k') {
		key = strchr(name, ' ');
		if (!key)
			return;
		*key++ = '\0';
	}
	struct room *room = rooms_find(rooms, *line == 't' ? LIMITS_TYPE : LIMITS_QUEUE, name, key);

	if (room)
		room->held += count;
}

void rooms_lease(struct rooms *rooms, const char *slots)
{
	char *text = arena_strdup(rooms->arena, slots), *end;

	for (; *text; text = end + 1) {
		end = strchr(text, '\n');
		if (!end)
			return;
		*end = '\0';
		read_line(rooms, text);
	}
}

void rooms_slots(const struct rooms *rooms, struct strbuf *slots)
{
	for (size_t i = 0; i < rooms->count; i++) {
		const struct room *room = rooms->list[i];

		if (!room->taken || room->limit.concurrency <= 0)
			continue;
		strbuf_printf(slots, "%c %lld %s%s%s\n", letter_of(room), (long long)room->taken,
			      room->name, room->key ? " " : "", room->key ? room->key : "");
	}
}

const char *ration_slots_of(struct arena *arena, const char *queue, const char *type,
			    const char *key)
{
	return arena_printf(arena, "q 1 %s\nt 1 %s\n%s%s%s%s%s", queue, type, key ? "k 1 " : "",
			    key ? queue : "", key ? " " : "", key ? key : "", key ? "\n" : "");
}
