/* SPDX-License-Identifier: Apache-2.0 */
/* All places are declared in one call; only when one of them is wrong, one by one. */
#include "producers/dispatch/topology.h"

#include <stdlib.h>
#include <string.h>

#define DECLARE_MS 10000
#define AGAIN_MS   60000
#define GONE_MS    2000

void topology_release(struct topology *topology)
{
	free(topology->places);
	arena_free(&topology->names);
	*topology = (struct topology){ 0 };
}

static void start(struct topology *topology, size_t room)
{
	topology_release(topology);
	topology->places = xcalloc(room + 1, sizeof(*topology->places));
	topology->names = arena_new(0);
	topology->due_ms = 0;
}

static void add(struct topology *topology, struct publisher_place place)
{
	for (size_t i = 0; i < topology->count; i++) {
		if (strcmp(topology->places[i].place.topic, place.topic) == 0)
			return;
	}
	place.topic = arena_strdup(topology->names, place.topic);
	topology->places[topology->count++] =
		(struct topology_place){ .place = place,
					 .wrong = { .away = "place-wrong",
						    .back = "place-right",
						    .level = LOG_ERROR,
						    .first_ms = 1000,
						    .max_ms = 60000 } };
}

void topology_of_jobs(struct topology *topology, const struct definitions *defs,
		      enum broker_kind kind, const char *prefix)
{
	size_t queues = definitions_queue_count(defs), sources = definitions_source_count(defs);
	const char *dead = NULL;

	start(topology, queues + sources);
	if (kind != BROKER_KAFKA) /* which gives up nothing by itself */
		dead = broker_topic(kind, prefix, BROKER_DEAD_QUEUE, NULL, topology->names);
	for (size_t i = 0; i < queues; i++) {
		const struct queue_definition *queue = definitions_queue_at(defs, i);

		add(topology,
		    (struct publisher_place){ .topic = broker_topic(kind, prefix, queue->name,
								    queue->topic, topology->names),
					      .dispatched = true,
					      .dead = dead,
					      .fifo = queue->fifo,
					      .classic = queue->classic,
					      .partitions = queue->partitions });
	}
	for (size_t i = 0; i < sources; i++) {
		const struct source_definition *source = definitions_source_at(defs, i);

		/* As the workers make it, whoever comes first. */
		add(topology, (struct publisher_place){ .topic = source->topic,
							.dead = dead,
							.fifo = source->fifo,
							.classic = source->classic,
							.single = source->ordered,
							.partitions = source->partitions });
	}
}

/* Who names an exchange has made it, and what is bound to it. */
void topology_of_results(struct topology *topology, const struct definitions *defs)
{
	start(topology, definitions_type_count(defs));
	for (size_t i = 0; i < definitions_type_count(defs); i++) {
		const struct job_type *type = definitions_type_at(defs, i);

		if (type->result_topic && !type->result_exchange)
			add(topology, (struct publisher_place){ .topic = type->result_topic });
	}
}

void topology_doubt(struct topology *topology, int64_t now_ms)
{
	topology->declared = false;
	if (now_ms + GONE_MS < topology->due_ms)
		topology->due_ms = now_ms + GONE_MS;
}

bool topology_due(const struct topology *topology, int64_t now_ms)
{
	return now_ms >= topology->due_ms;
}

static int declare_some(struct topology *topology, struct publisher *publisher, size_t first,
			size_t count, struct error *err_r)
{
	struct publisher_place *places = xcalloc(count + 1, sizeof(*places));
	int rc;

	for (size_t i = 0; i < count; i++)
		places[i] = topology->places[first + i].place;
	rc = publisher->ops->declare(publisher, places, count, DECLARE_MS, err_r);
	free(places);
	return rc;
}

static int declare_each(struct topology *topology, struct publisher *publisher, int64_t now_ms,
			struct error *err_r)
{
	for (size_t i = 0; i < topology->count; i++) {
		struct topology_place *one = &topology->places[i];

		if (declare_some(topology, publisher, i, 1, err_r) == 0) {
			backoff_worked(&one->wrong, one->place.topic);
			continue;
		}
		if (err_r->code != ERROR_INVALID)
			return -1;
		backoff_failed(&one->wrong, one->place.topic, err_r->message, now_ms);
		topology->due_ms = now_ms + AGAIN_MS;
	}
	return 0;
}

static bool any_wrong(const struct topology *topology)
{
	for (size_t i = 0; i < topology->count; i++) {
		if (topology->places[i].wrong.pause_ms)
			return true;
	}
	return false;
}

int topology_declare(struct topology *topology, struct publisher *publisher, int64_t now_ms,
		     struct error *err_r)
{
	int rc = any_wrong(topology) ? error_set(err_r, ERROR_INVALID, "was wrong")
				     : declare_some(topology, publisher, 0, topology->count, err_r);

	topology->due_ms = INT64_MAX;
	if (rc < 0 && err_r->code == ERROR_INVALID)
		rc = declare_each(topology, publisher, now_ms, err_r);
	topology->declared = rc == 0;
	if (rc < 0)
		topology->due_ms = 0;
	return rc;
}
