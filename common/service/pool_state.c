/* SPDX-License-Identifier: Apache-2.0 */
/* Sums over queues and worker sessions by pool. Paused queues press nobody. */
#include "common/service/pool_state.h"

#include <string.h>

int pool_facts_read(struct store *store, struct arena *arena, struct pool_facts *facts_r,
		    struct error *err_r)
{
	*facts_r = (struct pool_facts){ 0 };
	if (pool_list(store, arena, &facts_r->rows, &facts_r->row_count, err_r) < 0 ||
	    query_queues(store, arena, &facts_r->queues, &facts_r->queue_count, err_r) < 0)
		return -1;
	return query_workers(store, arena, &facts_r->workers, &facts_r->worker_count, err_r);
}

const struct queue_view *pool_facts_queue(const struct pool_facts *facts, const char *name)
{
	for (size_t i = 0; i < facts->queue_count; i++) {
		if (strcmp(facts->queues[i].name, name) == 0)
			return &facts->queues[i];
	}
	return NULL;
}

static const struct pool_row *row_of(const struct pool_row *rows, size_t count, const char *pool,
				     const char *node)
{
	for (size_t i = 0; i < count; i++) {
		if (strcmp(rows[i].pool, pool) == 0 && strcmp(rows[i].node, node) == 0)
			return &rows[i];
	}
	return NULL;
}

static int within(const struct pool_autoscale *autoscale, int workers)
{
	if (!autoscale->max)
		return workers;
	return workers < autoscale->min   ? autoscale->min
	       : workers > autoscale->max ? autoscale->max
					  : workers;
}

struct pool_wanted pool_wanted_on(const struct pool_row *rows, size_t count,
				  const struct pool_definition *pool,
				  const struct settings *settings, const char *node)
{
	struct pool_wanted wanted = {
		.workers = pool_definition_workers(pool, settings),
		.hosts = pool_definition_hosts(pool, settings),
	};
	const char *const nodes[] = { "", node };

	for (size_t i = 0; i < (*node ? ARRAY_LEN(nodes) : 1); i++) {
		const struct pool_row *row = row_of(rows, count, pool->name, nodes[i]);

		if (!row)
			continue;
		if (row->workers >= 0) /* a person may say anything of one node */
			wanted.workers = i ? row->workers : within(&pool->autoscale, row->workers);
		if (row->hosts > 0)
			wanted.hosts = row->hosts;
		wanted.who = row->who;
		wanted.at_ms = row->at_ms;
	}
	return wanted;
}

/* ---- the crew */

static bool has_own_row(const struct pool_facts *facts, const struct worker_view *worker)
{
	const struct pool_row *row =
		*worker->node ? row_of(facts->rows, facts->row_count, worker->pool, worker->node)
			      : NULL;

	return row && row->workers >= 0;
}

/* Is it the first of its pool on its node? */
static bool first_there(const struct pool_facts *facts, size_t index)
{
	const struct worker_view *worker = &facts->workers[index];

	for (size_t i = 0; i < index; i++) {
		if (strcmp(facts->workers[i].pool, worker->pool) == 0 &&
		    strcmp(facts->workers[i].node, worker->node) == 0)
			return false;
	}
	return true;
}

static void add_worker(struct pool_crew *crew, const struct worker_view *worker, bool first)
{
	crew->workers++;
	crew->nodes += first;
	crew->rate_per_s += worker->figures.rate_per_s;
	crew->leaving += worker->figures.leaving;
	if (worker->figures.leaving)
		return;
	crew->hosts += worker->figures.hosts;
	crew->busy += worker->figures.busy;
}

/* A worker that was started alone for all queues counts for the pool that would be there by itself.
 */
static bool is_of(const struct worker_view *worker, const struct pool_definition *pool)
{
	return strcmp(*worker->pool ? worker->pool : POOL_DEFAULT, pool->name) == 0;
}

static void add_queue(struct pool_state *state, const struct queue_view *queue)
{
	state->running += queue->running;
	state->queued += queue->queued;
	if (queue->paused)
		return;
	state->available += queue->available;
	if (queue->oldest_ms > state->oldest_ms)
		state->oldest_ms = queue->oldest_ms;
}

void pool_state_make(const struct pool_facts *facts, const struct definitions *defs,
		     const struct pool_definition *pool, const struct settings *settings,
		     struct pool_state *state_r)
{
	*state_r = (struct pool_state){ .pool = pool, .oldest_ms = -1 };
	state_r->all = pool_wanted_on(facts->rows, facts->row_count, pool, settings, "");
	for (size_t i = 0; i < facts->worker_count; i++) {
		const struct worker_view *worker = &facts->workers[i];

		if (!is_of(worker, pool))
			continue;
		add_worker(&state_r->crew, worker, first_there(facts, i));
		if (!has_own_row(facts, worker))
			add_worker(&state_r->common, worker, first_there(facts, i));
	}
	for (size_t i = 0; i < facts->queue_count; i++) {
		if (definitions_pool_of_queue(defs, facts->queues[i].name) == pool)
			add_queue(state_r, &facts->queues[i]);
	}
}
