/* SPDX-License-Identifier: Apache-2.0 */
/* For ration.c: the limits in force during one claim, and how much room each of them leaves. A
 * limit is of a queue, of a type, or of one key of a queue. */
#ifndef COMMON_STORE_RATION_ROOM_H
#define COMMON_STORE_RATION_ROOM_H
#include "common/base/strbuf.h"
#include "common/store/ration.h"

#define ROOM_BURST_US 200000 /* of a rate may be handed out at once, if that is a job at least */
#define ROOM_NONE     INT64_MAX

struct room { /* a limit that is in force */
	enum limits_kind kind;
	const char *name, *key; /* key NULL: of the whole */
	struct limit limit;
	int64_t held;    /* jobs in hand, as far as is known */
	int64_t paid_us; /* see ration_paid */
	int64_t taken;   /* by this claim */
	struct room *next;
};

struct rooms {
	struct arena *arena; /* of this claim */
	int64_t now_us;
	const struct limits_row *rules;
	size_t rule_count;
	struct room **slots; /* a hash table */
	size_t slot_count;
	struct room **list; /* in the order in which they were met */
	size_t count, cap;
};

void rooms_begin(struct rooms *rooms, struct arena *arena, int64_t now_us);
/* NULL: there is no such limit. */
struct room *rooms_find(struct rooms *rooms, enum limits_kind kind, const char *name,
			const char *key);
const struct limits_row *rooms_rule(const struct rooms *rooms, enum limits_kind kind,
				    const char *name);
/* How many more may be taken; NULL: any number. */
int64_t room_left(const struct rooms *rooms, const struct room *room);
/* When one more may be, if only the rate stands against it: ms from now; -1: it is not the rate. */
int64_t room_wait_ms(const struct rooms *rooms, const struct room *room);
/* What is paid when so many have been taken. */
int64_t room_paid_us(const struct rooms *rooms, const struct room *room);
/* Reads slots (ration_slots) into `held`; appends them. */
void rooms_lease(struct rooms *rooms, const char *slots);
void rooms_slots(const struct rooms *rooms, struct strbuf *slots);

#endif
