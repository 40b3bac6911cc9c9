/* SPDX-License-Identifier: Apache-2.0 */
/* Dispatch: what goes back from a broker's lease, and what is still out. The hand-out itself is a
 * claim (claim.c); leases that have run out are released like those of dead workers (session.c). */
#include "common/store/postgres/postgres_impl.h"

/* ---- giving back */

static const char lock_lease[] = "SELECT FROM windlass.lease WHERE batch = $1::uuid FOR UPDATE";
/* Runs after lock_lease, in a snapshot of its own. As if they had not been handed out: the attempt
 * is the one before, the place is that of their acceptance. But a message that was not confirmed
 * may have been delivered: what came of it is found by later attempts, not by the first. */
static const char give_back[] =
	"WITH won AS MATERIALIZED (SELECT u.id, u.attempt FROM windlass.lease l CROSS JOIN LATERAL"
	" unnest(l.ids, l.attempts) AS u(id, attempt) WHERE l.batch = $1::uuid AND u.id IN (SELECT"
	" unnest($2::uuid[])) AND NOT EXISTS (SELECT FROM windlass.done d WHERE d.id = u.id))," CUT_SQL("won", "h.batch = $1") "," CLOSED_SQL(
		"won") ","
		       " back AS (INSERT INTO windlass.ready (id, seq, since, attempt, priority, queue,"
		       " order_key, fair_key) SELECT w.id, j.seq, now(), w.attempt - CASE WHEN EXISTS"
		       " (SELECT FROM windlass.step s WHERE s.id = w.id) OR EXISTS (SELECT FROM"
		       " windlass.call c WHERE c.id = w.id) THEN 0 ELSE 1 END, j.priority, j.queue,"
		       " j.order_key, j.fair_key FROM won w JOIN windlass.jobs j ON j.id = w.id"
		       " ON CONFLICT (id) DO NOTHING RETURNING queue)"
		       " INSERT INTO windlass.tally SELECT queue, count(*), 0 FROM back GROUP BY queue";

static int return_once(struct postgres *pg, const struct uuid *batch, const struct uuid *ids,
		       size_t count, struct error *err_r)
{
	if (postgres_enter(pg, err_r) < 0)
		return -1;
	postgres_begin(pg);
	postgres_say(pg, lock_lease);
	postgres_arg_uuid(pg, batch);
	postgres_send(pg);
	postgres_say(pg, give_back);
	postgres_arg_uuid(pg, batch);
	struct array *a = postgres_arg_array(pg, TYPE_UUID);

	for (size_t i = 0; i < count; i++)
		array_uuid(a, &ids[i]);
	postgres_send(pg);
	return postgres_commit_fly(pg, err_r);
}

int postgres_dispatch_return(struct store *store, const struct uuid *batch, const struct uuid *ids,
			     size_t count, struct error *err_r)
{
	int rc = -1;

	for (int tries = 0; tries < CONTENTION_TRIES && rc < 0; tries++) {
		rc = return_once(postgres_of(store), batch, ids, count, err_r);
		if (rc < 0 && err_r->code != ERROR_CONTENTION)
			break;
	}
	return rc;
}

/* ---- what is out */

/* Leases without an unfinished job are of no use any more. One that somebody works on right now is
 * left for the next time. */
static const char survey[] =
	"WITH held AS MATERIALIZED (SELECT l.batch, l.queue, l.taken, (SELECT count(*) FROM"
	" unnest(l.ids) AS u(id) WHERE NOT EXISTS (SELECT FROM windlass.done d WHERE d.id = u.id))"
	" AS n FROM windlass.lease l WHERE l.owner = $1::uuid), useless AS (SELECT l.batch FROM"
	" windlass.lease l WHERE l.batch IN (SELECT batch FROM held WHERE n = 0) ORDER BY l.batch"
	" FOR UPDATE SKIP LOCKED), gone AS (DELETE FROM windlass.lease WHERE batch IN (SELECT"
	" batch FROM useless)) SELECT queue, sum(n)::int8, (extract(epoch FROM clock_timestamp() -"
	" min(taken)) * 1000)::int8 FROM held WHERE n > 0 AND queue IS NOT NULL GROUP BY queue"
	" ORDER BY queue";

int postgres_dispatch_survey(struct store *store, const struct uuid *owner, struct arena *arena,
			     struct dispatch_view **views_r, size_t *count_r, struct error *err_r)
{
	struct postgres *pg = postgres_of(store);

	if (postgres_enter(pg, err_r) < 0)
		return -1;
	postgres_say(pg, survey);
	postgres_arg_uuid(pg, owner);
	size_t place = postgres_send(pg);

	if (postgres_fly(pg, err_r) < 0)
		return -1;
	const PGresult *result = postgres_result(pg, place);

	*count_r = (size_t)PQntuples(result);
	*views_r = ARENA_ARRAY(arena, struct dispatch_view, *count_r);
	for (int row = 0; row < PQntuples(result); row++)
		(*views_r)[row] = (struct dispatch_view){
			.queue = result_dup(result, row, 0, arena),
			.out = result_i64(result, row, 1),
			.oldest_ms = result_i64(result, row, 2),
		};
	return 0;
}
