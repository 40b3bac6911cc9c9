/* SPDX-License-Identifier: Apache-2.0 */
/* Housekeeping in small portions: promotion of due jobs, folding of tallies, removal of what has
 * expired. */
#include <stdlib.h>

#include "common/store/postgres/postgres_impl.h"

/* ---- due jobs */

/* A promoted job gets a new place: behind what waits already, in the order of the due times; but
 * not where the order of its key is kept. */
static const char promote[] =
	"WITH due AS MATERIALIZED (SELECT id, due FROM windlass.ready WHERE due IS NOT NULL"
	" AND due <= clock_timestamp() ORDER BY due  LIMIT 5000 FOR UPDATE SKIP LOCKED),"
	" up AS (UPDATE windlass.ready r SET due = NULL, since = d.due, seq =" NEXT_SEQ_SQL(
		"r.seq", "r.queue",
		"r.order_key") " FROM due d WHERE r.id = d.id "
			       " RETURNING r.queue), counted AS (INSERT INTO windlass.tally"
			       " SELECT queue, count(*), -count(*) FROM up GROUP BY queue) SELECT FROM up";
static const char next_due[] =
	"SELECT greatest(ceil(extract(epoch FROM due - clock_timestamp()) * 1000), 0)::int8"
	" FROM windlass.ready WHERE due < 'infinity' ORDER BY due LIMIT 1";

int postgres_maintenance_promote(struct store *store, int64_t *promoted_r, int64_t *next_ms_r,
				 struct error *err_r)
{
	struct postgres *pg = postgres_of(store);

	if (postgres_enter(pg, err_r) < 0)
		return -1;
	postgres_begin(pg);
	postgres_say(pg, promote);
	size_t promoted = postgres_send(pg);

	postgres_say(pg, next_due);
	size_t next = postgres_send(pg);

	if (postgres_commit_fly(pg, err_r) < 0)
		return -1;
	*promoted_r = postgres_rows(pg, promoted);
	*next_ms_r = postgres_rows(pg, next) ? result_i64(postgres_result(pg, next), 0, 0) : -1;
	return 0;
}

/* ---- folding and expiry */

/* advisory: one process at a time, the others have nothing to do \
 */
#define FOLD_LOCK "1466658931"

static const char fold_tally[] =
	"WITH gone AS (DELETE FROM windlass.tally WHERE ctid = ANY (ARRAY(SELECT ctid FROM"
	" windlass.tally LIMIT 20000))"
	"  RETURNING queue, available, scheduled)"
	" INSERT INTO windlass.tally SELECT queue, sum(available), sum(scheduled) FROM gone GROUP"
	" BY queue"; /* zeros too: a queue's name stays known */
static const char expire_idempotency[] =
	"DELETE FROM windlass.idempotency WHERE ctid = ANY (ARRAY(SELECT ctid"
	" FROM windlass.idempotency WHERE created < now() - interval '24 hours'"
	" ORDER BY created LIMIT 5000))";
/* OFFSET 0: the look-up starts from the few rows there are, whatever a stale plan thinks; done is
 * large. A job that was cancelled on its broker may be in a worker's hands all the same, which has
 * to learn it. */
static const char expire_cancel[] =
	"DELETE FROM windlass.cancel WHERE id IN (SELECT c.id FROM windlass.cancel c"
	" CROSS JOIN LATERAL (SELECT FROM windlass.done d WHERE d.id = c.id AND NOT (d.state = 10"
	" AND d.batch IS NULL AND d.finished > now() - interval '30 s') OFFSET 0) e LIMIT 1000)";
static const char expire_progress[] =
	"DELETE FROM windlass.progress WHERE id IN (SELECT p.id FROM windlass.progress p"
	" CROSS JOIN LATERAL (SELECT FROM windlass.done d WHERE d.id = p.id OFFSET 0) e LIMIT"
	" 5000)";
/* Parked jobs that an attempt which had lost its lease has ended after all. */
static const char forget_parked[] =
	"WITH gone AS (DELETE FROM windlass.ready r USING windlass.done d WHERE r.due = 'infinity'"
	" AND d.id = r.id RETURNING r.queue) INSERT INTO windlass.tally SELECT queue, 0, -count(*)"
	" FROM gone GROUP BY queue";
static const char fold_batches[] =
	"WITH gone AS (DELETE FROM windlass.batch_tally WHERE ctid = ANY (ARRAY(SELECT ctid FROM"
	" windlass.batch_tally LIMIT 20000)) RETURNING *) INSERT INTO windlass.batch_tally SELECT"
	" batch, sum(done), sum(failed), sum(cancelled) FROM gone GROUP BY batch";
static const char fold_positions[] =
	"DELETE FROM windlass.source_position p USING (SELECT consumer, topic, part, max(n) AS n"
	" FROM windlass.source_position GROUP BY consumer, topic, part) m WHERE p.consumer ="
	" m.consumer AND p.topic = m.topic AND p.part = m.part AND p.n < m.n";
/* Keys that a job holds which has ended or waits: an attempt that had lost its lease has ended it
 * after all. A quarter of them a call. */
static const char close_keys[] =
	"DELETE FROM windlass.order_open WHERE id IN (SELECT o.id FROM windlass.order_open o"
	" WHERE hashtext(o.key) & 3 = (extract(epoch FROM now())::int8 & 3)::int4 AND (EXISTS"
	" (SELECT FROM windlass.ready r WHERE r.id = o.id) OR EXISTS (SELECT FROM windlass.done d"
	" WHERE d.id = o.id)))";
/* A walk over all keys, a portion a call; the place where it stands is remembered by this
 * connection. */
static const char expire_unique[] =
	"WITH portion AS MATERIALIZED (SELECT tenant, type, key, id, until"
	" FROM windlass.unique_key  WHERE (tenant, type, key) > ($1::text, $2::text, $3::text)"
	" ORDER BY tenant, type, key LIMIT 2000), gone AS (DELETE"
	" FROM windlass.unique_key u USING portion p WHERE u.tenant = p.tenant"
	" AND u.type = p.type AND u.key = p.key  AND u.id = p.id"
	" AND CASE WHEN p.until IS NOT NULL THEN u.until <= now()  ELSE EXISTS (SELECT"
	" FROM windlass.done d WHERE d.id = p.id) OR NOT EXISTS (SELECT FROM windlass.jobs j"
	" WHERE j.id = p.id) END) SELECT tenant, type, key FROM portion"
	" ORDER BY tenant DESC, type DESC, key DESC LIMIT 1";

static void remember(struct postgres *pg, const PGresult *result)
{
	for (int i = 0; i < 3; i++) {
		free(pg->unique_walk[i]);
		pg->unique_walk[i] = PQntuples(result) ? xstrdup(result_text(result, 0, i)) : NULL;
	}
}

/* 1: this process folds; 0: another does. */
static int begin_fold(struct postgres *pg, struct error *err_r)
{
	if (postgres_enter(pg, err_r) < 0)
		return -1;
	postgres_begin(pg);
	postgres_plain(pg, "SET LOCAL synchronous_commit = off");
	size_t place = postgres_plain(pg, "SELECT pg_try_advisory_xact_lock(" FOLD_LOCK ")");

	if (postgres_fly(pg, err_r) < 0)
		return -1;
	return result_bool(postgres_result(pg, place), 0, 0);
}

static int fold(struct postgres *pg, struct error *err_r)
{
	static const char *const texts[] = { fold_tally,      expire_idempotency, expire_cancel,
					     expire_progress, fold_positions,     close_keys,
					     forget_parked,   fold_batches };
	int rc = begin_fold(pg, err_r);

	if (rc <= 0)
		return rc;
	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		postgres_say(pg, texts[i]);
		postgres_send(pg);
	}
	postgres_say(pg, expire_unique);
	for (int i = 0; i < 3; i++)
		postgres_arg_text(pg, pg->unique_walk[i] ? pg->unique_walk[i] : "");
	size_t place = postgres_send(pg);

	postgres_commit(pg);
	if (postgres_fly(pg, err_r) < 0)
		return -1;
	remember(pg, postgres_result(pg, place));
	return 0;
}

int postgres_maintenance_fold(struct store *store, struct error *err_r)
{
	struct postgres *pg = postgres_of(store);
	int rc = fold(pg, err_r);

	postgres_rollback(pg);
	/* Somebody else works on these rows; the next call will do. */
	return rc < 0 && err_r->code == ERROR_CONTENTION ? 0 : rc;
}
