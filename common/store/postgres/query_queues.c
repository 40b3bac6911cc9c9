/* SPDX-License-Identifier: Apache-2.0 */
/* Figures about queues and workers: from tallies and leases, never by counting jobs. */
#include "common/store/postgres/postgres_impl.h"

/* Running jobs are counted through the leases, of which there are as many as workers have batches.
 */
static const char all_queues[] =
	"WITH depth AS (SELECT queue, sum(available)::int8 AS available, sum(scheduled)::int8 AS"
	" scheduled FROM windlass.tally GROUP BY queue), parked AS (SELECT queue, count(*) AS n,"
	" count(*) FILTER (WHERE attempt = 0) AS waiting"
	" FROM windlass.ready WHERE due = 'infinity' GROUP BY queue), running AS (SELECT j.queue, count(*)"
	" FILTER (WHERE l.until IS NULL) AS n, count(*) FILTER (WHERE l.until IS NOT NULL) AS out"
	" FROM windlass.lease l CROSS JOIN LATERAL unnest(l.ids) AS u(id) "
	" JOIN windlass.jobs j ON j.id = u.id WHERE NOT EXISTS (SELECT FROM windlass.done d"
	" WHERE d.id = u.id) GROUP BY j.queue), name AS (SELECT name"
	" FROM windlass.queue UNION SELECT queue FROM depth UNION SELECT queue"
	" FROM running) SELECT n.name, coalesce(q.paused, false), greatest(coalesce(d.available,"
	" 0), 0), greatest(coalesce(d.scheduled, 0) - coalesce(k.n, 0), 0), coalesce(u.n, 0), coalesce(u.out, 0),"
	" (SELECT (extract(epoch FROM clock_timestamp() - min(o.since)) * 1000)::int8 "
	" FROM generate_series(0, 2) AS p CROSS JOIN LATERAL (SELECT r.since"
	" FROM windlass.ready r WHERE r.queue = n.name   AND r.priority = p::int2"
	" AND r.due IS NULL ORDER BY r.seq LIMIT 1) o), coalesce(k.n - k.waiting, 0), coalesce(k.waiting, 0) FROM name n LEFT"
	" JOIN windlass.queue q ON q.name = n.name LEFT JOIN depth d ON d.queue = n.name LEFT"
	" JOIN parked k ON k.queue = n.name LEFT JOIN running u ON u.queue = n.name ORDER BY n.name";

int postgres_query_queues(struct store *store, struct arena *arena, struct queue_view **queues_r,
			  size_t *count_r, struct error *err_r)
{
	struct postgres *pg = postgres_of(store);

	if (postgres_enter(pg, err_r) < 0)
		return -1;
	postgres_say(pg, all_queues);
	size_t place = postgres_send(pg);

	if (postgres_fly(pg, err_r) < 0)
		return -1;
	const PGresult *result = postgres_result(pg, place);

	*count_r = (size_t)PQntuples(result);
	*queues_r = ARENA_ARRAY(arena, struct queue_view, *count_r);
	for (int row = 0; row < PQntuples(result); row++)
		(*queues_r)[row] = (struct queue_view){
			.name = result_dup(result, row, 0, arena),
			.paused = result_bool(result, row, 1),
			.available = result_i64(result, row, 2),
			.scheduled = result_i64(result, row, 3),
			.running = result_i64(result, row, 4),
			.queued = result_i64(result, row, 5),
			.oldest_ms = result_null(result, row, 6) ? -1 : result_i64(result, row, 6),
			.parked = result_i64(result, row, 7),
			.waiting = result_i64(result, row, 8),
		};
	return 0;
}

static int one_number(struct postgres *pg, int64_t *n_r, struct error *err_r)
{
	size_t place = postgres_send(pg);

	if (postgres_fly(pg, err_r) < 0)
		return -1;
	*n_r = result_i64(postgres_result(pg, place), 0, 0);
	return 0;
}

int postgres_query_depth(struct store *store, const char *queue, int64_t *depth_r,
			 struct error *err_r)
{
	struct postgres *pg = postgres_of(store);

	if (postgres_enter(pg, err_r) < 0)
		return -1;
	postgres_say(pg, "SELECT greatest(coalesce(sum(available + scheduled), 0), 0)::int8 FROM"
			 " windlass.tally WHERE queue = $1::text");
	postgres_arg_text(pg, queue);
	return one_number(pg, depth_r, err_r);
}

int postgres_query_sessions(struct store *store, bool broker, int64_t *count_r, struct error *err_r)
{
	struct postgres *pg = postgres_of(store);

	if (postgres_enter(pg, err_r) < 0)
		return -1;
	postgres_say(pg, "SELECT count(*) FROM windlass.session WHERE until > clock_timestamp()"
			 " AND (broker OR NOT $1::bool)");
	postgres_arg_bool(pg, broker);
	return one_number(pg, count_r, err_r);
}

int postgres_query_workers(struct store *store, struct arena *arena, struct worker_view **workers_r,
			   size_t *count_r, struct error *err_r)
{
	struct postgres *pg = postgres_of(store);

	if (postgres_enter(pg, err_r) < 0)
		return -1;
	postgres_say(pg, "SELECT id, host, pid, targets, pool, node, hosts, busy, rate,"
			 " leaving FROM windlass.session"
			 " WHERE until > clock_timestamp() ORDER BY started, id");
	size_t place = postgres_send(pg);

	if (postgres_fly(pg, err_r) < 0)
		return -1;
	const PGresult *result = postgres_result(pg, place);

	*count_r = (size_t)PQntuples(result);
	*workers_r = ARENA_ARRAY(arena, struct worker_view, *count_r + 1);
	for (int row = 0; row < PQntuples(result); row++)
		(*workers_r)[row] = (struct worker_view){
			.session = result_uuid(result, row, 0),
			.host = result_dup(result, row, 1, arena),
			.pid = (int)result_i64(result, row, 2),
			.targets = result_null(result, row, 3) ? NULL
							       : result_dup(result, row, 3, arena),
			.pool = result_dup(result, row, 4, arena),
			.node = result_dup(result, row, 5, arena),
			.figures = { .hosts = (int)result_i64(result, row, 6),
				     .busy = (int)result_i64(result, row, 7),
				     .rate_per_s = result_f64(result, row, 8),
				     .leaving = result_bool(result, row, 9) },
		};
	return 0;
}
