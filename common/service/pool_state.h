/* SPDX-License-Identifier: Apache-2.0 */
/* What there is to know of the pools: what is wanted, who is there, what waits. For the autoscaler
 * and for those who ask over the API. */
#ifndef COMMON_SERVICE_POOL_STATE_H
#define COMMON_SERVICE_POOL_STATE_H
#include "common/base/arena.h"
#include "common/config/definitions.h"
#include "common/config/settings.h"
#include "common/store/pool.h"
#include "common/store/query.h"

struct pool_wanted {
	int workers, hosts;
	const char *who; /* who has said so; NULL: the file */
	int64_t at_ms;   /* 0: the file */
};

/* Sums over some of its workers. */
struct pool_crew {
	int workers, leaving; /* that are alive; leaving: of them, those that take no more */
	int hosts, busy;      /* of those that do not leave */
	int nodes;            /* on so many */
	double rate_per_s;
};

struct pool_state {
	const struct pool_definition *pool;
	struct pool_wanted all;  /* of nodes without a row of their own */
	struct pool_crew crew;   /* everywhere */
	struct pool_crew common; /* on nodes without a row of their own */
	int64_t available, queued, running;
	int64_t oldest_ms; /* -1: nothing is available */
};

/* What the store says, read once. */
struct pool_facts {
	struct pool_row *rows;
	struct queue_view *queues;
	struct worker_view *workers;
	size_t row_count, queue_count, worker_count;
};
int pool_facts_read(struct store *store, struct arena *arena, struct pool_facts *facts_r,
		    struct error *err_r) must_check;
/* One queue's view, or NULL. */
const struct queue_view *pool_facts_queue(const struct pool_facts *facts, const char *name);

void pool_state_make(const struct pool_facts *facts, const struct definitions *defs,
		     const struct pool_definition *pool, const struct settings *settings,
		     struct pool_state *state_r);
/* What is wanted on this node: its own row, else that of all, else the file. */
struct pool_wanted pool_wanted_on(const struct pool_row *rows, size_t count,
				  const struct pool_definition *pool,
				  const struct settings *settings, const char *node);

#endif
