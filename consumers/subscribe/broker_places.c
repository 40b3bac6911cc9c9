/* SPDX-License-Identifier: Apache-2.0 */
/* Places are found by kind, name and topic and are never forgotten: a file that is read again has
 * few new ones. */
#include "consumers/subscribe/broker_places.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/arena.h"

struct broker_places {
	enum broker_kind kind;
	const char *prefix;
	struct metrics *metrics;
	struct arena *arena; /* of all below */
	struct broker_place **all;
	size_t count, room;
	struct feed_place *served;
	struct arena *names; /* of the topics served */
};

struct broker_places *broker_places_new(enum broker_kind kind, const char *prefix,
					struct metrics *metrics)
{
	struct broker_places *places = xcalloc(1, sizeof(*places));

	places->kind = kind;
	places->prefix = prefix;
	places->metrics = metrics;
	places->arena = arena_new(0);
	places->names = arena_new(0);
	return places;
}

void broker_places_free(struct broker_places **places)
{
	if (!*places)
		return;
	arena_free(&(*places)->arena);
	arena_free(&(*places)->names);
	free((*places)->all);
	free((*places)->served);
	free(*places);
	*places = NULL;
}

static struct broker_place *place_make(struct broker_places *places, enum place_kind kind,
				       const char *topic, const char *name)
{
	static const char *const fates[] = {
		[DELIVERY_RUN] = "run",
		[DELIVERY_KNOWN] = "known",
		[DELIVERY_REFUSED] = "refused",
		[DELIVERY_RETURNED] = "returned",
	};
	struct broker_place *place = ARENA_NEW(places->arena, struct broker_place);
	const char *label;

	place->kind = kind;
	place->topic = arena_strdup(places->arena, topic);
	place->name = arena_strdup(places->arena, name);
	label = kind == PLACE_SOURCE ? place->name
				     : arena_printf(places->arena, "queue:%s", place->name);
	for (size_t i = 0; i < ARRAY_LEN(fates); i++)
		place->counts[i] =
			metrics_series(places->metrics, METRIC_DELIVERIES, label, fates[i]);
	return place;
}

/* Finds or makes it. Returns its index. */
static size_t place_index(struct broker_places *places, enum place_kind kind, const char *topic,
			  const char *name)
{
	for (size_t i = 0; i < places->count; i++) {
		const struct broker_place *place = places->all[i];

		if (place->kind == kind && !strcmp(place->topic, topic) &&
		    !strcmp(place->name, name))
			return i;
	}
	if (places->count == places->room) {
		places->room = 2 * places->room + 8;
		places->all = xrealloc(places->all, places->room * sizeof(*places->all));
	}
	places->all[places->count] = place_make(places, kind, topic, name);
	return places->count++;
}

static struct feed_place queue_place(struct broker_places *places,
				     const struct queue_definition *queue)
{
	const char *topic = broker_topic(places->kind, places->prefix, queue->name, queue->topic,
					 places->names);

	return (struct feed_place){
		.topic = topic,
		.dispatched = true,
		.fifo = queue->fifo,
		.classic = queue->classic,
		.partitions = queue->partitions,
		.index = place_index(places, PLACE_QUEUE, topic, queue->name),
	};
}

static struct feed_place source_place(struct broker_places *places,
				      const struct source_definition *source)
{
	return (struct feed_place){
		.topic = source->topic,
		.latest = source->latest,
		.fifo = source->fifo,
		.classic = source->classic,
		.single = source->ordered,
		.partitions = source->partitions,
		.prefetch = source->prefetch > 0 ? (size_t)source->prefetch : 0,
		.index = place_index(places, PLACE_SOURCE, source->topic, source->name),
	};
}

static struct feed_place dead_place(struct broker_places *places)
{
	const char *topic =
		broker_topic(places->kind, places->prefix, BROKER_DEAD_QUEUE, NULL, places->names);

	return (struct feed_place){
		.topic = topic,
		.dispatched = true,
		.dead = true,
		.index = place_index(places, PLACE_DEAD, topic, topic),
	};
}

const struct feed_place *broker_places_serve(struct broker_places *places,
					     const struct definitions *defs, const char *pool,
					     size_t *count_r)
{
	size_t queues = definitions_queue_count(defs), sources = definitions_source_count(defs);
	size_t count = 0;

	arena_reset(places->names);
	places->served = xrealloc(places->served, (queues + sources + 1) * sizeof(*places->served));
	for (size_t i = 0; i < queues; i++) {
		if (definitions_pool_serves(defs, pool, definitions_queue_at(defs, i)->name))
			places->served[count++] =
				queue_place(places, definitions_queue_at(defs, i));
	}
	for (size_t i = 0; i < sources; i++) {
		if (definitions_pool_reads(defs, pool, definitions_source_at(defs, i)))
			places->served[count++] =
				source_place(places, definitions_source_at(defs, i));
	}
	if (places->kind != BROKER_KAFKA) /* which dead-letters nothing by itself */
		places->served[count++] = dead_place(places);
	*count_r = count;
	return places->served;
}

const struct broker_place *broker_places_at(const struct broker_places *places, size_t index)
{
	return index < places->count ? places->all[index] : NULL;
}
