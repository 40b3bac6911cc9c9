/* SPDX-License-Identifier: Apache-2.0 */
/* Pools: how many workers and hosts are wanted where the definitions file is not what counts any
 * more. Each `windlass run` follows the row of its own node, else the one of all nodes, else the
 * file. And what the autoscaler of a pool remembers: it runs in every `run`, one of them decides at
 * a time, and the store's clock says which. */
#ifndef COMMON_STORE_POOL_H
#define COMMON_STORE_POOL_H
#include "common/base/arena.h"
#include "common/store/audit.h"
#include "common/store/store.h"

#define POOL_AS_FILE (-1) /* as the definitions file says, or, of a node, the row of all nodes */
#define POOL_KEEP    (-2) /* as it is */

#define POOL_WORKERS_MAX 1024
#define POOL_HOSTS_MAX   1024

struct pool_scale {
	const char *pool;
	const char *node; /* "": all that have no row of their own */
	int workers;      /* of each node; POOL_AS_FILE, POOL_KEEP */
	int hosts;        /* of each worker; the same */
};
/* A row of which nothing is left goes. */
int pool_scale(struct store *store, const struct pool_scale *scale, const struct audit *audit,
	       struct error *err_r) must_check;

struct pool_row {
	const char *pool, *node;
	int workers, hosts; /* POOL_AS_FILE */
	const char *who;    /* of the last change */
	int64_t at_ms;
};
/* All rows, by pool and node. */
int pool_list(struct store *store, struct arena *arena, struct pool_row **rows_r, size_t *count_r,
	      struct error *err_r) must_check;

struct pool_turn {
	bool mine;       /* nobody else decides about this pool for every_ms */
	int64_t calm_ms; /* since when it has been calm; -1: it was not */
};
/* Takes the turn to decide about a pool, unless somebody has had it less than every_ms ago. */
int pool_turn(struct store *store, const char *pool, int64_t every_ms, struct pool_turn *turn_r,
	      struct error *err_r) must_check;
/* What was decided in that turn. calm: the time of calm goes on, or begins; else it ends. A count
 * of workers is written for all nodes, ends the time of calm and has `audit` as its row; POOL_KEEP:
 * there is none. */
int pool_decide(struct store *store, const char *pool, bool calm, int workers,
		const struct audit *audit, struct error *err_r) must_check;

#endif
