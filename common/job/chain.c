/* SPDX-License-Identifier: Apache-2.0 */
/* What becomes of a waiting job, the ids of the jobs that follow one, and circles. The payload's
 * references are chain_payload.c's. */
#include "common/job/chain.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/idmap.h"
#include "common/job/chain_payload.h"

static const char *const failure_names[] = {
	[EDGE_DISCARD] = "discard",
	[EDGE_RUN] = "run",
	[EDGE_WAIT] = "wait",
};

const char *edge_failure_name(enum edge_failure failure)
{
	CHECK(failure >= EDGE_DISCARD && failure <= EDGE_WAIT);
	return failure_names[failure];
}

bool edge_failure_parse(const char *text, enum edge_failure *failure_r)
{
	for (int i = EDGE_DISCARD; i <= EDGE_WAIT; i++) {
		if (strcmp(text, failure_names[i]) != 0)
			continue;
		*failure_r = (enum edge_failure)i;
		return true;
	}
	return false;
}

void chain_then_id(const struct uuid *id, size_t n, struct uuid *id_r)
{
	char name[32];
	int bytes = snprintf(name, sizeof(name), "then/%zu", n);

	uuid_named_dated(id, name, (size_t)bytes, id_r);
}

static char *failed_reason(const struct chain_edge *edge, struct arena *arena)
{
	char id[UUID_TEXT];

	return arena_printf(arena, "it waited for %s, which was %s%s%s",
			    uuid_format(&edge->after.id, id), job_state_name(edge->state),
			    edge->reason ? ": " : "", edge->reason ? edge->reason : "");
}

enum chain_verdict chain_decide(const struct chain_edge *edges, size_t count, const char *payload,
				size_t payload_bytes, struct arena *arena, char **payload_r,
				char **reason_r)
{
	bool waits = false;

	*payload_r = NULL;
	for (size_t i = 0; i < count; i++) {
		const struct chain_edge *edge = &edges[i];
		bool failed = edge->state && edge->state != JOB_COMPLETED;

		if (failed && edge->after.on_failure == EDGE_DISCARD) {
			*reason_r = failed_reason(edge, arena);
			return CHAIN_DISCARD;
		}
		waits = waits || !edge->state || (failed && edge->after.on_failure == EDGE_WAIT);
	}
	if (waits)
		return CHAIN_WAITS;
	if (!chain_refers(payload, payload_bytes))
		return CHAIN_FREE;
	*payload_r = chain_payload_fill(payload, payload_bytes, edges, count, arena, reason_r);
	return *payload_r ? CHAIN_FREE : CHAIN_DISCARD;
}

/* ---- circles: a walk along the edges inside the request, with a stack of its own */

enum colour { NOT_SEEN, ON_STACK, LEFT };

struct walk {
	const struct new_job *jobs;
	struct idmap *places; /* id -> 1 + place */
	uint8_t *colours;
	struct frame {
		size_t job, edge;
	} * stack;
	size_t depth;
};

static size_t place_of(const struct walk *walk, const struct uuid *id)
{
	return (size_t)(uintptr_t)idmap_get(walk->places, id);
}

static void push(struct walk *walk, size_t job)
{
	walk->colours[job] = ON_STACK;
	walk->stack[walk->depth++] = (struct frame){ .job = job };
}

/* True: from this job the walk comes back to one that it is on. */
static bool comes_back(struct walk *walk, size_t from)
{
	if (walk->colours[from] == NOT_SEEN)
		push(walk, from);
	while (walk->depth) {
		struct frame *top = &walk->stack[walk->depth - 1];
		const struct new_job *job = &walk->jobs[top->job];

		if (top->edge == job->after_count) {
			walk->colours[top->job] = LEFT;
			walk->depth--;
			continue;
		}
		size_t place = place_of(walk, &job->after[top->edge++].id);

		if (place && walk->colours[place - 1] == ON_STACK)
			return true;
		if (place && walk->colours[place - 1] == NOT_SEEN)
			push(walk, place - 1);
	}
	return false;
}

bool chain_has_cycle(const struct new_job *jobs, size_t count, size_t *bad_r)
{
	struct walk walk = { .jobs = jobs };
	bool found = false;
	size_t after = 0;

	for (size_t i = 0; i < count; i++)
		after += jobs[i].after_count;
	if (!after)
		return false;
	walk.places = idmap_new();
	walk.colours = xcalloc(count, sizeof(*walk.colours));
	walk.stack = xcalloc(count, sizeof(*walk.stack));
	for (size_t i = 0; i < count; i++)
		idmap_put(walk.places, &jobs[i].id, (void *)(uintptr_t)(i + 1)); /* a number */
	for (size_t i = 0; i < count && !found; i++) {
		found = comes_back(&walk, i);
		*bad_r = i;
	}
	free(walk.stack);
	free(walk.colours);
	idmap_free(&walk.places);
	return found;
}
