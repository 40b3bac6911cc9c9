/* SPDX-License-Identifier: Apache-2.0 */
/* What is in force of what the file and an operator say. Pure; used by the stores and by who shows
 * limits. */
#include "common/store/limits.h"

#include "common/store/ration_room.h"

static struct limit limit_of(const struct limit *file, const struct limit *set)
{
	struct limit limit = *set;

	if (limit.concurrency == LIMIT_UNSET)
		limit.concurrency = file->concurrency;
	if (limit.rate_per_s < 0)
		limit.rate_per_s = file->rate_per_s;
	limit.concurrency = limit.concurrency > 0 ? limit.concurrency : LIMIT_NONE;
	limit.rate_per_s = limit.rate_per_s > 0 ? limit.rate_per_s : LIMIT_NONE;
	return limit;
}

struct limits limits_in_force(const struct limits *file, const struct limits *set)
{
	int fair = set->fair == LIMIT_UNSET ? file->fair : set->fair;

	return (struct limits){ .all = limit_of(&file->all, &set->all),
				.key = limit_of(&file->key, &set->key),
				.fair = fair > 0,
				.weights = set->weights ? set->weights : file->weights };
}

bool limits_any(const struct limits *limits)
{
	return limits->all.concurrency > 0 || limits->all.rate_per_s > 0 ||
	       limits->key.concurrency > 0 || limits->key.rate_per_s > 0 || limits->fair > 0;
}

int64_t limits_spent_ms(const struct limits_view *view, int64_t paid_us, int64_t now_us)
{
	struct room room = { .limit = limits_in_force(&view->file, &view->set).all,
			     .paid_us = paid_us };
	struct rooms rooms = { .now_us = now_us };

	room.limit.concurrency = LIMIT_NONE;
	return room.limit.rate_per_s > 0 ? room_wait_ms(&rooms, &room) : 0;
}
