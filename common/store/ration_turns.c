/* SPDX-License-Identifier: Apache-2.0 */
/* See ration_turns.h. Memory is bounded by what can be ahead: keys that were served lately. */
#include "common/store/ration_turns.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/arena.h"

struct turns *turns_new(const char *queue)
{
	struct turns *turns = xcalloc(1, sizeof(*turns));

	turns->queue = xstrdup(queue);
	return turns;
}

static void free_clocks(struct turns *turns)
{
	for (size_t i = 0; i < turns->clock_count; i++)
		free(turns->clocks[i].key);
	free(turns->clocks);
}

void turns_free(struct turns **turns)
{
	struct turns *t = *turns;

	free_clocks(t);
	json_decref(t->weights);
	free(t->weights_text);
	free(t->keys_after);
	free(t->queue);
	free(t);
	*turns = NULL;
}

void turns_weigh(struct turns *turns, const char *weights)
{
	if (!strcmp(turns->weights_text ? turns->weights_text : "", weights ? weights : ""))
		return;
	free(turns->weights_text);
	json_decref(turns->weights);
	turns->weights_text = weights ? xstrdup(weights) : NULL;
	turns->weights = weights ? json_loads(weights, 0, NULL) : NULL;
}

double turns_weight(const struct turns *turns, const char *key)
{
	const json_t *weight = json_object_get(turns->weights, key);

	if (!weight)
		weight = json_object_get(turns->weights, "*");
	return json_number_value(weight) > 0 ? json_number_value(weight) : 1;
}

static const struct key_clock *find(const struct key_clock *list, size_t count, const char *key)
{
	for (size_t i = 0; i < count; i++)
		if (!strcmp(list[i].key, key))
			return &list[i];
	return NULL;
}

double turns_clock(const struct turns *turns, const char *key)
{
	const struct key_clock *clock = find(turns->clocks, turns->clock_count, key);

	return clock && clock->at > turns->now ? clock->at : turns->now;
}

void turns_keep(struct turns *turns, const struct key_clock *served, size_t count)
{
	struct key_clock *kept = xcalloc(turns->clock_count + count + 1, sizeof(*kept));
	size_t kept_count = 0;

	for (size_t i = 0; i < count; i++) {
		struct key_clock *known =
			(struct key_clock *)(uintptr_t)find(kept, kept_count, served[i].key);

		if (known && known->at < served[i].at)
			known->at = served[i].at;
		if (!known && served[i].at > turns->now)
			kept[kept_count++] =
				(struct key_clock){ xstrdup(served[i].key), served[i].at };
	}
	for (size_t i = 0; i < turns->clock_count; i++) {
		const struct key_clock *old = &turns->clocks[i];

		if (old->at > turns->now && !find(served, count, old->key))
			kept[kept_count++] = (struct key_clock){ xstrdup(old->key), old->at };
	}
	free_clocks(turns);
	turns->clocks = kept;
	turns->clock_count = kept_count;
}
