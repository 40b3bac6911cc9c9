/* SPDX-License-Identifier: Apache-2.0 */
/* A small table of queues by name. Used by the submitter's thread only. */
#include "producers/submit/depth_gate.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/store/query.h"

#define BUCKETS    64
#define QUEUES_MAX 4096 /* names remembered; beyond it the table is emptied */
#define FRESH_MS   1000

struct queue_depth {
	struct queue_depth *next;
	int64_t depth;    /* the store's, at asked_ms */
	int64_t since;    /* let through after that */
	int64_t pending;  /* of the request being looked at */
	int64_t asked_ms; /* monotonic; 0: never */
	char name[];
};

struct depth_gate {
	struct queue_depth *buckets[BUCKETS];
	size_t count;
	int64_t queue_max;
	/* monotonic; the store could not be asked just now, so nobody asks again */
	int64_t open_until_ms;
};

struct depth_gate *depth_gate_new(int64_t queue_max)
{
	struct depth_gate *gate = xcalloc(1, sizeof(*gate));

	gate->queue_max = queue_max;
	return gate;
}

static void forget_all(struct depth_gate *gate)
{
	for (size_t i = 0; i < BUCKETS; i++) {
		while (gate->buckets[i]) {
			struct queue_depth *queue = gate->buckets[i];
			gate->buckets[i] = queue->next;
			free(queue);
		}
	}
	gate->count = 0;
}

void depth_gate_free(struct depth_gate **gate)
{
	if (*gate)
		forget_all(*gate);
	free(*gate);
	*gate = NULL;
}

static struct queue_depth *find_queue(struct depth_gate *gate, const char *name)
{
	unsigned hash = 5381;

	for (const char *p = name; *p; p++)
		hash = hash * 33 + (unsigned char)*p;
	struct queue_depth **bucket = &gate->buckets[hash % BUCKETS];
	for (struct queue_depth *queue = *bucket; queue; queue = queue->next) {
		if (strcmp(queue->name, name) == 0)
			return queue;
	}
	size_t bytes = strlen(name) + 1;
	struct queue_depth *queue = xcalloc(1, sizeof(*queue) + bytes);
	memcpy(queue->name, name, bytes);
	queue->next = *bucket;
	*bucket = queue;
	gate->count++;
	return queue;
}

static void refresh(struct depth_gate *gate, struct queue_depth *queue, struct store *store)
{
	int64_t now_ms = clock_mono_ms();
	struct error err;

	if ((queue->asked_ms && now_ms - queue->asked_ms < FRESH_MS) ||
	    now_ms < gate->open_until_ms)
		return;
	if (query_depth(store, queue->name, &queue->depth, &err) < 0) {
		gate->open_until_ms = clock_mono_ms() + FRESH_MS;
		return;
	}
	queue->since = 0;
	queue->asked_ms = now_ms;
}

static int64_t limit_of(const struct depth_gate *gate, const struct definitions *defs,
			const char *name)
{
	const struct queue_definition *queue = definitions_queue(defs, name);

	return queue && queue->depth_max > 0 ? queue->depth_max : gate->queue_max;
}

bool depth_gate_admit(struct depth_gate *gate, struct store *store, const struct definitions *defs,
		      const struct acceptance *request, const char **queue_r)
{
	bool room = true;
	size_t seen = 0;

	if (gate->count > QUEUES_MAX)
		forget_all(gate);
	for (; seen < request->job_count && room; seen++) {
		const char *name = request->jobs[seen].queue;
		struct queue_depth *queue = find_queue(gate, name);
		if (queue->pending++ == 0)
			refresh(gate, queue, store);
		if (queue->depth + queue->since + queue->pending > limit_of(gate, defs, name)) {
			*queue_r = name;
			room = false;
		}
	}
	for (size_t i = 0; i < seen; i++) {
		struct queue_depth *queue = find_queue(gate, request->jobs[i].queue);
		if (room)
			queue->since += queue->pending;
		queue->pending = 0;
	}
	return room;
}
