/* SPDX-License-Identifier: Apache-2.0 */
/* Pools: rows of wanted counts, and the turns of the autoscaler. Small tables that people and one
 * look every few seconds change. */
#include "common/store/pool.h"

#include "common/store/postgres/postgres_impl.h"

/* -1 becomes NULL, -2 leaves what is there. */
static const char put[] =
	"INSERT INTO windlass.pool AS p (pool, node, workers, hosts, who, at) VALUES ($1::text,"
	" $2::text, CASE WHEN $3::int4 >= 0 THEN $3 END, CASE WHEN $4::int4 >= 0 THEN $4 END,"
	" $5::text, clock_timestamp()) ON CONFLICT (pool, node) DO UPDATE SET"
	" workers = CASE WHEN $3 = -2 THEN p.workers ELSE excluded.workers END,"
	" hosts = CASE WHEN $4 = -2 THEN p.hosts ELSE excluded.hosts END,"
	" who = excluded.who, at = excluded.at";
static const char drop_empty[] =
	"DELETE FROM windlass.pool WHERE pool = $1::text AND node = $2::text AND workers IS NULL"
	" AND hosts IS NULL";
static const char all[] =
	"SELECT pool, node, coalesce(workers, -1), coalesce(hosts, -1), who, at FROM windlass.pool"
	" ORDER BY pool, node";
static const char take_turn[] =
	"INSERT INTO windlass.pool_turn AS t (pool, at) VALUES ($1::text, clock_timestamp()) ON"
	" CONFLICT (pool) DO UPDATE SET at = excluded.at WHERE t.at <= clock_timestamp() -"
	" $2::int8 * interval '1 ms' RETURNING (extract(epoch FROM clock_timestamp() - calm) *"
	" 1000)::int8";
static const char note_calm[] =
	"UPDATE windlass.pool_turn SET calm = CASE WHEN $2::bool THEN coalesce(calm,"
	" clock_timestamp()) END WHERE pool = $1::text";

static void send_scale(struct postgres *pg, const struct pool_scale *scale,
		       const struct audit *audit)
{
	postgres_say(pg, put);
	postgres_arg_text(pg, scale->pool);
	postgres_arg_text(pg, scale->node);
	postgres_arg_i32(pg, scale->workers);
	postgres_arg_i32(pg, scale->hosts);
	postgres_arg_text(pg, audit ? audit->who : "");
	postgres_send(pg);
	postgres_say(pg, drop_empty);
	postgres_arg_text(pg, scale->pool);
	postgres_arg_text(pg, scale->node);
	postgres_send(pg);
	postgres_audit(pg, audit);
}

int postgres_pool_scale(struct store *store, const struct pool_scale *scale,
			const struct audit *audit, struct error *err_r)
{
	struct postgres *pg = postgres_of(store);

	if (postgres_enter(pg, err_r) < 0)
		return -1;
	send_scale(pg, scale, audit);
	return postgres_fly(pg, err_r);
}

int postgres_pool_list(struct store *store, struct arena *arena, struct pool_row **rows_r,
		       size_t *count_r, struct error *err_r)
{
	struct postgres *pg = postgres_of(store);

	if (postgres_enter(pg, err_r) < 0)
		return -1;
	postgres_say(pg, all);
	size_t place = postgres_send(pg);

	if (postgres_fly(pg, err_r) < 0)
		return -1;
	const PGresult *result = postgres_result(pg, place);

	*count_r = (size_t)PQntuples(result);
	*rows_r = ARENA_ARRAY(arena, struct pool_row, *count_r + 1);
	for (int row = 0; row < PQntuples(result); row++)
		(*rows_r)[row] = (struct pool_row){
			.pool = result_dup(result, row, 0, arena),
			.node = result_dup(result, row, 1, arena),
			.workers = (int)result_i64(result, row, 2),
			.hosts = (int)result_i64(result, row, 3),
			.who = result_dup(result, row, 4, arena),
			.at_ms = result_ms(result, row, 5),
		};
	return 0;
}

int postgres_pool_turn(struct store *store, const char *pool, int64_t every_ms,
		       struct pool_turn *turn_r, struct error *err_r)
{
	struct postgres *pg = postgres_of(store);

	if (postgres_enter(pg, err_r) < 0)
		return -1;
	postgres_say(pg, take_turn);
	postgres_arg_text(pg, pool);
	postgres_arg_i64(pg, every_ms);
	size_t place = postgres_send(pg);

	if (postgres_fly(pg, err_r) < 0)
		return -1;
	const PGresult *result = postgres_result(pg, place);

	turn_r->mine = PQntuples(result) > 0;
	if (turn_r->mine && !result_null(result, 0, 0))
		turn_r->calm_ms = result_i64(result, 0, 0);
	return 0;
}

int postgres_pool_decide(struct store *store, const char *pool, bool calm, int workers,
			 const struct audit *audit, struct error *err_r)
{
	struct pool_scale scale = {
		.pool = pool, .node = "", .workers = workers, .hosts = POOL_KEEP
	};
	struct postgres *pg = postgres_of(store);

	if (postgres_enter(pg, err_r) < 0)
		return -1;
	postgres_say(pg, note_calm);
	postgres_arg_text(pg, pool);
	postgres_arg_bool(pg, calm && workers == POOL_KEEP);
	postgres_send(pg);
	if (workers != POOL_KEEP)
		send_scale(pg, &scale, audit);
	return postgres_fly(pg, err_r);
}
