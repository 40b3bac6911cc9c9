/* SPDX-License-Identifier: Apache-2.0 */
/* Pools on SQLite: rows of wanted counts, and the turns of the autoscaler. */
#include "common/store/pool.h"

#include "common/store/sqlite/sqlite_impl.h"

/* -1 becomes NULL, -2 leaves what is there. */
static const char put[] =
	"INSERT INTO windlass_pool (pool, node, workers, hosts, who, at) VALUES (?1, ?2, CASE WHEN "
	"?3 >= 0 THEN ?3 END, CASE WHEN ?4 >= 0 THEN ?4 END, ?5, ?6) ON CONFLICT (pool, node) DO "
	"UPDATE SET workers = CASE WHEN ?3 = -2 THEN workers ELSE excluded.workers END, hosts = "
	"CASE WHEN ?4 = -2 THEN hosts ELSE excluded.hosts END, who = excluded.who, at = "
	"excluded.at";

static int scale_within(struct sqlite_store *store, const struct pool_scale *scale,
			const struct audit *audit, struct error *err_r)
{
	if (sqlite_run(store, err_r, put, "ssiisi", scale->pool, scale->node,
		       (int64_t)scale->workers, (int64_t)scale->hosts, audit ? audit->who : "",
		       store->tx.now_ms) ||
	    sqlite_run(store, err_r,
		       "DELETE FROM windlass_pool WHERE pool = ?1 AND node = ?2 AND workers IS "
		       "NULL AND hosts IS NULL",
		       "ss", scale->pool, scale->node))
		return -1;
	return sqlite_audit(store, audit, err_r);
}

/* rc: what became of the change; 0 commits it. */
static int end(struct sqlite_store *store, int rc, struct error *err_r)
{
	if (rc == 0)
		return sqlite_commit(store, err_r);
	sqlite_rollback(store);
	return -1;
}

int sqlite_pool_scale(struct store *base, const struct pool_scale *scale, const struct audit *audit,
		      struct error *err_r)
{
	struct sqlite_store *store = sqlite_of(base);

	if (sqlite_begin(store, SQLITE_DURABLE, err_r))
		return -1;
	return end(store, scale_within(store, scale, audit, err_r), err_r);
}

int sqlite_pool_list(struct store *base, struct arena *arena, struct pool_row **rows_r,
		     size_t *count_r, struct error *err_r)
{
	struct sqlite_store *store = sqlite_of(base);
	sqlite3_stmt *stmt;
	size_t cap = 0;
	int rc;

	if (sqlite_ensure(store, err_r))
		return -1;
	stmt = sqlite_bind(store, err_r,
			   "SELECT pool, node, coalesce(workers, -1), coalesce(hosts, -1), who, "
			   "at, count(*) OVER () FROM windlass_pool ORDER BY pool, node",
			   "");
	if (!stmt)
		return -1;
	while ((rc = sqlite_next(store, stmt, err_r)) == 1) {
		if (!cap)
			*rows_r = ARENA_ARRAY(arena, struct pool_row,
					      cap = (size_t)sqlite3_column_int64(stmt, 6));
		(*rows_r)[(*count_r)++] = (struct pool_row){
			.pool = sqlite_column_dup(stmt, 0, arena),
			.node = sqlite_column_dup(stmt, 1, arena),
			.workers = sqlite3_column_int(stmt, 2),
			.hosts = sqlite3_column_int(stmt, 3),
			.who = sqlite_column_dup(stmt, 4, arena),
			.at_ms = sqlite3_column_int64(stmt, 5),
		};
	}
	return rc;
}

/* Whether it is time is read first: the writers' mutex is for him whose turn it is. */
static const char not_yet[] = "SELECT 1 FROM windlass_pool_turn WHERE pool = ?1 AND at > ?2";

static int take_turn(struct sqlite_store *store, const char *pool, int64_t every_ms,
		     struct pool_turn *turn_r, struct error *err_r)
{
	int64_t calm = 0;
	int rc = sqlite_run(store, err_r,
			    "INSERT INTO windlass_pool_turn (pool, at) VALUES (?1, ?2) ON CONFLICT "
			    "(pool) DO UPDATE SET at = ?2 WHERE at <= ?2 - ?3",
			    "sii", pool, store->tx.now_ms, every_ms);

	turn_r->mine = rc == 0 && store->changed > 0;
	if (rc || !turn_r->mine)
		return rc;
	rc = sqlite_number(store, err_r, &calm,
			   "SELECT calm FROM windlass_pool_turn WHERE pool = ?1 AND calm IS NOT "
			   "NULL",
			   "s", pool);
	if (rc == 1)
		turn_r->calm_ms = store->tx.now_ms - calm;
	return rc < 0 ? -1 : 0;
}

int sqlite_pool_turn(struct store *base, const char *pool, int64_t every_ms,
		     struct pool_turn *turn_r, struct error *err_r)
{
	struct sqlite_store *store = sqlite_of(base);
	int64_t one;
	int rc;

	if (sqlite_ensure(store, err_r))
		return -1;
	rc = sqlite_number(store, err_r, &one, not_yet, "si", pool, clock_wall_ms() - every_ms);
	if (rc)
		return rc < 0 ? -1 : 0;
	if (sqlite_begin(store, SQLITE_RELAXED, err_r))
		return -1;
	return end(store, take_turn(store, pool, every_ms, turn_r, err_r), err_r);
}

int sqlite_pool_decide(struct store *base, const char *pool, bool calm, int workers,
		       const struct audit *audit, struct error *err_r)
{
	struct pool_scale scale = {
		.pool = pool, .node = "", .workers = workers, .hosts = POOL_KEEP
	};
	struct sqlite_store *store = sqlite_of(base);
	int rc;

	if (sqlite_begin(store, workers == POOL_KEEP ? SQLITE_RELAXED : SQLITE_DURABLE, err_r))
		return -1;
	rc = sqlite_run(store, err_r,
			"UPDATE windlass_pool_turn SET calm = CASE WHEN ?2 THEN coalesce(calm, ?3) "
			"END WHERE pool = ?1",
			"sii", pool, (int64_t)(calm && workers == POOL_KEEP), store->tx.now_ms);
	if (rc == 0 && workers != POOL_KEEP)
		rc = scale_within(store, &scale, audit, err_r);
	return end(store, rc, err_r);
}
