/* SPDX-License-Identifier: Apache-2.0 */
/* Who may take what. Keys take turns by virtual time: each has a clock that goes on by one part of
 * its weight with every job that it gets, and the one that is furthest behind is next; a key that
 * comes back after a pause starts where the others are. Each claimer keeps these clocks for itself:
 * what several of them hand out fairly each is fair together. */
#include "common/store/ration.h"

#include <stdlib.h>
#include <string.h>

#include "common/store/ration_room.h"
#include "common/store/ration_turns.h"

#define WAIT_SLOT_MS    250 /* a job in hand may end without a ring that is heard here */
#define WAIT_LEAST_MS   20  /* for a rate: a few hand-outs at once */
#define WALK_MS         20  /* between two portions of a lane that is looked through */
#define PLACE_US        1000000
#define KEYLESS_REST_US 20000

struct place { /* up to where a lane was looked through in vain */
	char *queue, *key;
	enum job_priority priority;
	enum lane_rows rows;
	int64_t after, since_us;
};

struct row {
	struct uuid id;
	int64_t seq;
	const char *type, *key;
	bool may;
};

struct lane {
	struct ration_lane plan;
	double clock, weight;
	struct room *queue, *of_key;
	size_t first, count, next; /* among the rows */
	size_t taken;
	/* last of those that were passed over before the first that was taken */
	int64_t passed_seq;
};

struct source { /* a queue of this claim */
	const char *name;
	bool keyed, ordered;
	struct turns *turns;
	struct {
		const char **keys;
		size_t count, cap;
	} waiting[PRIORITY_COUNT];
};

struct ration {
	struct turns **turns;
	size_t turns_count;
	struct place *places;
	size_t place_count;
	/* of this claim, in its arena */
	struct arena *arena;
	struct rooms rooms;
	struct limits_row *rules;
	size_t rule_count, rule_cap;
	size_t max;
	struct source *sources;
	size_t source_count;
	bool typed; /* a type has limits */
	struct lane *lanes;
	size_t lane_count, lane_cap;
	struct row *rows;
	size_t row_count, row_cap;
	size_t *chosen, chosen_count;
	int64_t retry_ms;
};

#define SOURCES_MAX 1024

struct ration *ration_new(void)
{
	struct ration *r = xcalloc(1, sizeof(*r));

	r->arena = arena_new(0);
	return r;
}

void ration_free(struct ration **ration)
{
	struct ration *r = *ration;

	if (!r)
		return;
	for (size_t i = 0; i < r->turns_count; i++)
		turns_free(&r->turns[i]);
	free(r->turns);
	for (size_t i = 0; i < r->place_count; i++) {
		free(r->places[i].queue);
		free(r->places[i].key);
	}
	free(r->places);
	arena_free(&r->arena);
	free(r);
	*ration = NULL;
}

/* ---- what is in force */

void ration_begin(struct ration *r, size_t max, int64_t now_us)
{
	arena_reset(r->arena);
	rooms_begin(&r->rooms, r->arena, now_us);
	r->rules = NULL;
	r->lanes = NULL;
	r->rows = NULL;
	r->chosen = NULL;
	r->rule_count = r->rule_cap = r->source_count = r->lane_count = r->lane_cap = 0;
	r->row_count = r->row_cap = r->chosen_count = 0;
	r->typed = false;
	r->retry_ms = 0;
	r->max = max;
	r->sources = ARENA_ARRAY(r->arena, struct source, SOURCES_MAX);
}

/* Makes room for one more in an array of the claim's arena. */
#define ROOM_FOR_ONE(r, list, count, cap)                                              \
	do {                                                                           \
		if ((count) == (cap)) {                                                \
			size_t more_ = (cap) ? (cap)*2 : 32;                           \
			void *new_ = arena_alloc((r)->arena, more_ * sizeof(*(list))); \
			if (count)                                                     \
				memcpy(new_, (list), (count) * sizeof(*(list)));       \
			(list) = new_;                                                 \
			(cap) = more_;                                                 \
		}                                                                      \
	} while (0)

void ration_rule(struct ration *r, enum limits_kind kind, const char *name,
		 const struct limits *limits)
{
	if (!limits_any(limits))
		return;
	ROOM_FOR_ONE(r, r->rules, r->rule_count, r->rule_cap);
	r->rules[r->rule_count] =
		(struct limits_row){ kind, arena_strdup(r->arena, name), *limits };
	r->rules[r->rule_count++].limits.weights = arena_strdup(r->arena, limits->weights);
	r->rooms.rules = r->rules;
	r->rooms.rule_count = r->rule_count;
	r->typed = r->typed || kind == LIMITS_TYPE;
}

void ration_lease(struct ration *r, const char *slots)
{
	rooms_lease(&r->rooms, slots);
}

void ration_paid(struct ration *r, enum limits_kind kind, const char *name, const char *key,
		 int64_t paid_us)
{
	struct room *room = rooms_find(&r->rooms, kind, name, key);

	if (room)
		room->paid_us = paid_us;
}

bool ration_tight(const struct ration *r)
{
	for (size_t i = 0; i < r->rooms.count; i++) {
		const struct room *room = r->rooms.list[i];

		if (room->limit.concurrency > 0 && room->held > 0 &&
		    room->limit.concurrency - room->held < (int64_t)r->max)
			return true;
	}
	return false;
}

void ration_recount(struct ration *r)
{
	for (size_t i = 0; i < r->rooms.count; i++)
		r->rooms.list[i]->held = 0;
}

void ration_job(struct ration *r, const char *queue, const char *type, const char *key,
		int64_t count)
{
	struct room *rooms[] = { rooms_find(&r->rooms, LIMITS_QUEUE, queue, NULL),
				 rooms_find(&r->rooms, LIMITS_TYPE, type, NULL),
				 key ? rooms_find(&r->rooms, LIMITS_QUEUE, queue, key) : NULL };

	for (size_t i = 0; i < ARRAY_LEN(rooms); i++)
		if (rooms[i])
			rooms[i]->held += count;
}

/* ---- queues and their keys */

static struct turns *find_turns(const struct ration *r, const char *queue)
{
	for (size_t i = 0; i < r->turns_count; i++)
		if (!strcmp(r->turns[i]->queue, queue))
			return r->turns[i];
	return NULL;
}

static struct turns *turns_of(struct ration *r, const char *queue)
{
	struct turns *turns = find_turns(r, queue);

	if (turns)
		return turns;
	r->turns = xrealloc(r->turns, (r->turns_count + 1) * sizeof(*r->turns));
	return r->turns[r->turns_count++] = turns_new(queue);
}

void ration_queue(struct ration *r, const char *queue, bool keyed, bool ordered)
{
	const struct limits_row *rule = rooms_rule(&r->rooms, LIMITS_QUEUE, queue);
	struct turns *turns = turns_of(r, queue);

	if (r->source_count == SOURCES_MAX)
		return;
	turns_weigh(turns, rule ? rule->limits.weights : NULL);
	r->sources[r->source_count++] = (struct source){
		.name = turns->queue, .keyed = keyed, .ordered = ordered, .turns = turns
	};
}

const char *ration_keys_after(const struct ration *r, const char *queue)
{
	const struct turns *turns = find_turns(r, queue);

	return turns && turns->keys_after ? turns->keys_after : "";
}

void ration_key(struct ration *r, const char *queue, enum job_priority priority, const char *key)
{
	for (size_t i = 0; i < r->source_count; i++) {
		struct source *source = &r->sources[i];

		if (strcmp(source->name, queue) != 0)
			continue;
		ROOM_FOR_ONE(r, source->waiting[priority].keys, source->waiting[priority].count,
			     source->waiting[priority].cap);
		source->waiting[priority].keys[source->waiting[priority].count++] =
			arena_strdup(r->arena, key);
		return;
	}
}

/* ---- which lanes are looked at */

static void wait_at_most(struct ration *r, int64_t ms)
{
	if (ms < WAIT_LEAST_MS)
		ms = WAIT_LEAST_MS;
	if (!r->retry_ms || ms < r->retry_ms)
		r->retry_ms = ms;
}

/* This limit is why something that waits is not taken. */
static void held_up(struct ration *r, const struct room *room)
{
	int64_t wait_ms = room_wait_ms(&r->rooms, room);

	wait_at_most(r, wait_ms < 0 ? WAIT_SLOT_MS : wait_ms);
}

static struct place *find_place(const struct ration *r, const struct ration_lane *lane)
{
	for (size_t i = 0; i < r->place_count; i++) {
		struct place *place = &r->places[i];

		if (place->rows == lane->rows && place->priority == lane->priority &&
		    !strcmp(place->queue, lane->queue) &&
		    !strcmp(place->key, lane->key ? lane->key : ""))
			return place;
	}
	return NULL;
}

static void add_lane(struct ration *r, const struct source *source, enum job_priority priority,
		     enum lane_rows rows, const char *key, size_t max)
{
	struct lane lane = {
		.plan = { .queue = source->name,
			  .priority = priority,
			  .rows = rows,
			  .key = key,
			  .max = max,
			  .ordered = source->ordered },
		.clock = turns_clock(source->turns, key ? key : ""),
		.weight = turns_weight(source->turns, key ? key : ""),
		.queue = rooms_find(&r->rooms, LIMITS_QUEUE, source->name, NULL),
		.of_key = key ? rooms_find(&r->rooms, LIMITS_QUEUE, source->name, key) : NULL,
	};
	const struct place *place = find_place(r, &lane.plan);

	/* Looking through many jobs that have a key takes time, and found nothing just now. */
	if (rows == LANE_KEYLESS && place && r->rooms.now_us >= place->since_us &&
	    r->rooms.now_us - place->since_us < KEYLESS_REST_US) {
		wait_at_most(r, WALK_MS);
		return;
	}
	if (place && r->rooms.now_us - place->since_us < PLACE_US &&
	    r->rooms.now_us >= place->since_us)
		lane.plan.after = place->after;
	if (rows == LANE_KEYLESS || lane.plan.after)
		lane.plan.max = RATION_LOOK;
	ROOM_FOR_ONE(r, r->lanes, r->lane_count, r->lane_cap);
	r->lanes[r->lane_count++] = lane;
}

struct share { /* of a key in what is to be read */
	const char *key;
	double clock, step;
	size_t rows;
};

/* As if each key had any number of jobs: `want` rows go to the keys whose turn it is. */
static void share_out(struct share *shares, size_t count, size_t want)
{
	while (want-- > 0) {
		struct share *next = &shares[0];

		for (size_t i = 1; i < count; i++)
			if (shares[i].clock < next->clock)
				next = &shares[i];
		next->clock += next->step;
		next->rows++;
	}
}

/* Some keys may have fewer than their share: each lane is read a little further. */
static void plan_keys(struct ration *r, const struct source *source, enum job_priority priority,
		      size_t want)
{
	size_t count = 0, all = source->waiting[priority].count;
	struct share *shares = ARENA_ARRAY(r->arena, struct share, all + 1);

	for (size_t i = 0; i < all; i++) {
		const char *key = source->waiting[priority].keys[i];
		const struct room *room = rooms_find(&r->rooms, LIMITS_QUEUE, source->name, key);

		if (room_left(&r->rooms, room) == 0)
			held_up(r, room);
		else
			shares[count++] = (struct share){ key, turns_clock(source->turns, key),
							  1 / turns_weight(source->turns, key), 0 };
	}
	if (count)
		share_out(shares, count, want);
	for (size_t i = 0; i < count; i++) {
		size_t rows = shares[i].rows + shares[i].rows / 4 + 2;

		if (shares[i].rows)
			add_lane(r, source, priority, LANE_KEY, shares[i].key,
				 rows < want ? rows : want);
	}
	add_lane(r, source, priority, LANE_KEYLESS, NULL, 0);
}

static void plan_source(struct ration *r, const struct source *source)
{
	const struct room *room = rooms_find(&r->rooms, LIMITS_QUEUE, source->name, NULL);
	int64_t left = room_left(&r->rooms, room);
	size_t want = left < (int64_t)r->max ? (size_t)left : r->max;

	if (!want) {
		held_up(r, room);
		return;
	}
	for (int priority = 0; priority < PRIORITY_COUNT; priority++) {
		if (source->keyed)
			plan_keys(r, source, (enum job_priority)priority, want);
		else
			add_lane(r, source, (enum job_priority)priority, LANE_ALL, NULL,
				 source->ordered ? RATION_LOOK : want);
	}
}

const struct ration_lane *ration_plan(struct ration *r, size_t *count_r, bool *typed_r)
{
	for (size_t i = 0; i < r->source_count; i++)
		plan_source(r, &r->sources[i]);
	struct ration_lane *plans = ARENA_ARRAY(r->arena, struct ration_lane, r->lane_count + 1);

	for (size_t i = 0; i < r->lane_count; i++)
		plans[i] = r->lanes[i].plan;
	*count_r = r->lane_count;
	*typed_r = r->typed;
	return plans;
}

void ration_row(struct ration *r, size_t lane, const struct uuid *id, int64_t seq, const char *type,
		const char *key, bool may)
{
	CHECK(lane < r->lane_count);
	ROOM_FOR_ONE(r, r->rows, r->row_count, r->row_cap);
	if (!r->lanes[lane].count++)
		r->lanes[lane].first = r->row_count;
	r->rows[r->row_count++] = (struct row){ *id, seq, arena_strdup(r->arena, type),
						arena_strdup(r->arena, key), may };
}

/* ---- the choice */

/* May the lane's next row be taken? A limit of its type passes over this row alone. */
static bool fits(struct ration *r, const struct lane *lane, const struct row *row)
{
	const struct room *type =
		row->type ? rooms_find(&r->rooms, LIMITS_TYPE, row->type, NULL) : NULL;

	if (!row->may || (lane->plan.rows == LANE_KEYLESS && row->key))
		return false;
	if (room_left(&r->rooms, type) > 0)
		return true;
	held_up(r, type);
	return false;
}

/* The lane's next row that may be taken, or NULL. */
static struct row *head_of(struct ration *r, struct lane *lane)
{
	const struct room *full = NULL;

	if (lane->next < lane->count)
		full = room_left(&r->rooms, lane->queue) == 0    ? lane->queue
		       : room_left(&r->rooms, lane->of_key) == 0 ? lane->of_key
								 : NULL;
	for (; lane->next < lane->count; lane->next++) {
		struct row *row = &r->rows[lane->first + lane->next];

		if (full) {
			held_up(r, full);
			return NULL;
		}
		if (fits(r, lane, row))
			return row;
		if (!lane->taken)
			lane->passed_seq = row->seq;
	}
	return NULL;
}

static void take(struct ration *r, const struct source *source, struct lane *lane,
		 const struct row *row)
{
	struct room *rooms[] = { lane->queue, lane->of_key,
				 row->type ? rooms_find(&r->rooms, LIMITS_TYPE, row->type, NULL)
					   : NULL };

	for (size_t i = 0; i < ARRAY_LEN(rooms); i++)
		if (rooms[i])
			rooms[i]->taken++;
	r->chosen[r->chosen_count++] = (size_t)(row - r->rows);
	lane->next++;
	lane->taken++;
	source->turns->now = lane->clock;
	lane->clock += 1 / lane->weight;
}

/* Takes up to `most` rows of a queue and a priority; returns how many. */
static size_t take_turns(struct ration *r, const struct source *source, enum job_priority priority,
			 size_t most)
{
	size_t taken = 0;

	while (taken < most) {
		struct lane *next = NULL;

		for (size_t i = 0; i < r->lane_count; i++) {
			struct lane *lane = &r->lanes[i];

			if (lane->plan.priority == priority && lane->plan.queue == source->name &&
			    (!next || lane->clock < next->clock) && head_of(r, lane))
				next = lane;
		}
		if (!next)
			break;
		take(r, source, next, head_of(r, next));
		taken++;
	}
	return taken;
}

static void carry_clocks(struct ration *r, const struct source *source)
{
	/* A key may have lanes of several priorities. */
	for (size_t i = 0; i < r->lane_count; i++)
		for (size_t k = i + 1; k < r->lane_count && r->lanes[i].taken; k++) {
			struct lane *a = &r->lanes[i], *b = &r->lanes[k];

			if (b->plan.priority > a->plan.priority && a->plan.queue == source->name &&
			    b->plan.queue == source->name &&
			    !strcmp(a->plan.key ? a->plan.key : "",
				    b->plan.key ? b->plan.key : "") &&
			    b->clock < a->clock)
				b->clock = a->clock;
		}
}

/* Lanes are read no further than there was room: more may wait behind. */
static void wait_for_room(struct ration *r)
{
	for (size_t i = 0; i < r->lane_count; i++) {
		const struct lane *lane = &r->lanes[i];

		if (lane->count && room_left(&r->rooms, lane->queue) == 0)
			held_up(r, lane->queue);
		if (lane->count && room_left(&r->rooms, lane->of_key) == 0)
			held_up(r, lane->of_key);
	}
}

const size_t *ration_choose(struct ration *r, size_t *count_r)
{
	r->chosen = ARENA_ARRAY(r->arena, size_t, r->max + 1);
	for (int priority = 0; priority < PRIORITY_COUNT; priority++) {
		/* First every queue an equal share, then whoever has more. */
		size_t share = r->source_count ? (r->max - r->chosen_count + r->source_count - 1) /
							 r->source_count
					       : 0;

		for (size_t i = 0; i < 2 * r->source_count; i++) {
			const struct source *source = &r->sources[i % r->source_count];
			size_t left = r->max - r->chosen_count;

			take_turns(r, source, (enum job_priority)priority,
				   i < r->source_count && share < left ? share : left);
		}
		for (size_t i = 0; i < r->source_count && priority + 1 < PRIORITY_COUNT; i++)
			if (r->sources[i].keyed)
				carry_clocks(r, &r->sources[i]);
	}
	wait_for_room(r);
	*count_r = r->chosen_count;
	return r->chosen;
}

const char *ration_slots(struct ration *r)
{
	struct strbuf slots;

	strbuf_init(&slots);
	rooms_slots(&r->rooms, &slots);
	const char *text = arena_strndup(r->arena, slots.len ? slots.data : "", slots.len);

	strbuf_release(&slots);
	return text;
}

const struct ration_rate *ration_rates(struct ration *r, size_t *count_r)
{
	struct ration_rate *rates = ARENA_ARRAY(r->arena, struct ration_rate, r->rooms.count + 1);

	*count_r = 0;
	for (size_t i = 0; i < r->rooms.count; i++) {
		const struct room *room = r->rooms.list[i];

		if (room->taken && room->limit.rate_per_s > 0)
			rates[(*count_r)++] =
				(struct ration_rate){ room->kind, room->name, room->key,
						      room_paid_us(&r->rooms, room) };
	}
	return rates;
}

/* ---- what is remembered */

static void keep_clocks(struct ration *r, const struct source *source)
{
	struct key_clock *moved = ARENA_ARRAY(r->arena, struct key_clock, r->lane_count + 1);
	size_t count = 0;

	for (size_t i = 0; source->keyed && i < r->lane_count; i++) {
		const struct lane *lane = &r->lanes[i];

		if (lane->plan.queue == source->name && lane->taken)
			moved[count++] = (struct key_clock){
				(char *)(uintptr_t)(lane->plan.key ? lane->plan.key : ""),
				lane->clock
			};
	}
	if (count)
		turns_keep(source->turns, moved, count);
}

/* Where a priority gave as many keys as are looked at there may be more behind the last. */
static void keep_walk(const struct source *source)
{
	struct turns *turns = source->turns;
	const char *last = NULL;

	for (int i = 0; i < PRIORITY_COUNT; i++) {
		size_t count = source->waiting[i].count;

		if (count < RATION_KEYS_MAX)
			continue;
		if (!last || strcmp(source->waiting[i].keys[count - 1], last) < 0)
			last = source->waiting[i].keys[count - 1];
	}
	free(turns->keys_after);
	turns->keys_after = last ? xstrdup(last) : NULL;
}

static void forget_place(struct ration *r, struct place *place)
{
	free(place->queue);
	free(place->key);
	*place = r->places[--r->place_count];
}

/* A lane that gave nothing but what was passed over is looked through portion by portion. */
static void keep_place(struct ration *r, const struct lane *lane)
{
	struct place *place = find_place(r, &lane->plan);
	bool on = !lane->taken && lane->count >= lane->plan.max && lane->next >= lane->count;

	if (on)
		wait_at_most(r, WALK_MS);
	if (!on && lane->taken && lane->passed_seq && place) {
		place->after = lane->passed_seq; /* for a second, then from the start */
		return;
	}
	if (!on) {
		if (place && !lane->taken)
			forget_place(r, place);
		return;
	}
	if (!place) {
		r->places = xrealloc(r->places, (r->place_count + 1) * sizeof(*r->places));
		place = &r->places[r->place_count++];
		*place = (struct place){ xstrdup(lane->plan.queue),
					 xstrdup(lane->plan.key ? lane->plan.key : ""),
					 lane->plan.priority,
					 lane->plan.rows,
					 0,
					 0 };
	}
	place->after = lane->passed_seq;
	place->since_us = r->rooms.now_us;
}

void ration_took(struct ration *r)
{
	for (size_t i = 0; i < r->source_count; i++) {
		keep_clocks(r, &r->sources[i]);
		keep_walk(&r->sources[i]);
	}
	for (size_t i = 0; i < r->lane_count; i++)
		keep_place(r, &r->lanes[i]);
}

int64_t ration_retry_ms(const struct ration *r)
{
	return r->retry_ms;
}
