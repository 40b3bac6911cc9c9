/* SPDX-License-Identifier: Apache-2.0 */
/* Worker sessions, and the release of leases: of a session that ended, of batches nobody knows. The
 * database's clock decides. */
#include <string.h>

#include "common/store/postgres/postgres_impl.h"

struct release {
	enum { RELEASE_SESSION, RELEASE_UNKNOWN, RELEASE_BATCH, RELEASE_DEAD } which;
	const struct uuid *id;    /* of the session, of the batch; NULL for RELEASE_DEAD */
	const struct uuid *known; /* RELEASE_UNKNOWN: batches that stay */
	size_t known_count;
	const char *reason;
};

static const char renew[] =
	"INSERT INTO windlass.session AS s (id, host, pid, started, until, broker, pool, node) VALUES"
	" ($1::uuid, $2::text, $3::int4, now(), clock_timestamp() + $4::int8 * interval '1 ms',"
	" $5::bool, $6::text, $7::text)"
	" ON CONFLICT (id) DO UPDATE SET until = excluded.until RETURNING xmax = 0";

int postgres_session_renew(struct store *store, const struct session_info *info, bool *fresh_r,
			   struct error *err_r)
{
	struct postgres *pg = postgres_of(store);

	for (int tries = 0; tries < CONTENTION_TRIES; tries++) {
		if (postgres_enter(pg, err_r) < 0)
			return -1;
		postgres_say(pg, renew);
		postgres_arg_uuid(pg, &info->id);
		postgres_arg_text(pg, info->host);
		postgres_arg_i32(pg, info->pid);
		postgres_arg_i64(pg, info->lease_ms);
		postgres_arg_bool(pg, info->broker);
		postgres_arg_text(pg, info->pool ? info->pool : "");
		postgres_arg_text(pg, info->node ? info->node : "");
		size_t place = postgres_send(pg);

		if (postgres_fly(pg, err_r) == 0) {
			*fresh_r = result_bool(postgres_result(pg, place), 0, 0);
			return 0;
		}
		if (err_r->code != ERROR_CONTENTION)
			return -1;
	}
	return -1;
}

int postgres_session_report(struct store *store, const struct uuid *session, const char *targets,
			    struct error *err_r)
{
	struct postgres *pg = postgres_of(store);

	if (postgres_enter(pg, err_r) < 0)
		return -1;
	postgres_say(pg, "UPDATE windlass.session SET targets = $2::text WHERE id = $1::uuid");
	postgres_arg_uuid(pg, session);
	postgres_arg_text(pg, targets);
	postgres_send(pg);
	return postgres_fly(pg, err_r);
}

int postgres_session_figure(struct store *store, const struct uuid *session,
			    const struct session_figures *figures, struct error *err_r)
{
	struct postgres *pg = postgres_of(store);

	if (postgres_enter(pg, err_r) < 0)
		return -1;
	postgres_say(pg, "UPDATE windlass.session SET hosts = $2::int4, busy = $3::int4, rate ="
			 " $4::float8, leaving = $5::bool WHERE id = $1::uuid");
	postgres_arg_uuid(pg, session);
	postgres_arg_i32(pg, figures->hosts);
	postgres_arg_i32(pg, figures->busy);
	postgres_arg_f64(pg, figures->rate_per_s);
	postgres_arg_bool(pg, figures->leaving);
	postgres_send(pg);
	return postgres_fly(pg, err_r);
}

/* ---- releasing */

#define LOCKED(where)                                       \
	"SELECT l.batch FROM windlass.lease l WHERE " where \
	" ORDER BY l.batch LIMIT $3::int4 FOR UPDATE"

static const char of_session[] = LOCKED("l.owner = $1::uuid AND $2::uuid[] IS NOT NULL");
static const char of_unknown[] = LOCKED(
	"l.owner = $1::uuid AND l.batch <> ALL ($2::uuid[]) AND l.taken < clock_timestamp() -"
	" interval '10 s'");
static const char of_batch[] = LOCKED("l.batch = $1::uuid AND $2::uuid[] IS NOT NULL");
/* Leases without a living session. Session rows are locked first: a session that is being renewed
 * is alive. */
static const char of_dead[] =
	"WITH dead AS (SELECT s.id FROM windlass.session s WHERE s.until < clock_timestamp()"
	" AND $1::uuid IS NULL  FOR UPDATE SKIP LOCKED) SELECT l.batch FROM windlass.lease l"
	" WHERE $2::uuid[] IS NOT NULL AND (l.owner IN (SELECT id FROM dead) "
	" OR (NOT EXISTS (SELECT FROM windlass.session s WHERE s.id = l.owner)  "
	" AND coalesce(l.until, l.taken + interval '10 s') < clock_timestamp()))"
	" ORDER BY l.batch LIMIT $3::int4 FOR UPDATE OF l SKIP LOCKED";

/* Runs after the leases are locked, in a snapshot of its own. Jobs whose cancel was asked come back
 * too, and are cancelled next. Of those that a broker had, most were never begun: they keep their
 * places. */
static const char give_back[] =
	"WITH gone AS (DELETE FROM windlass.lease WHERE batch IN (SELECT unnest($1::uuid[]))"
	" RETURNING batch, until, ids, attempts), held AS MATERIALIZED (SELECT g.batch, g.until,"
	" u.id, u.attempt FROM gone g CROSS JOIN LATERAL unnest(g.ids, g.attempts) AS u(id,"
	" attempt)), job AS MATERIALIZED (SELECT h.* FROM held h WHERE NOT EXISTS (SELECT FROM"
	" windlass.done d WHERE d.id = h.id))," CLOSED_SQL(
		"held") ","
			" back AS (INSERT INTO windlass.ready (id, seq, since, attempt, priority, queue,"
			" order_key, fair_key) SELECT b.id, CASE WHEN b.until IS NOT NULL THEN j.seq ELSE" NEXT_SEQ_SQL(
				"j.seq", "j.queue",
				"j.order_key") " END,"
					       " now(), b.attempt, j.priority, j.queue, j.order_key, j.fair_key"
					       " FROM job b JOIN windlass.jobs j ON j.id = b.id ORDER BY j.seq"
					       " ON CONFLICT (id) DO NOTHING RETURNING id, queue), noted AS (INSERT INTO windlass.attempt"
					       " (id, batch, at, attempt, outcome, counts, reason)  SELECT b.id, b.batch, now(),"
					       " b.attempt, 7, false, CASE WHEN b.until IS NULL THEN $2::text ELSE 'nothing came of its"
					       " message' END FROM job b WHERE b.id IN (SELECT id"
					       " FROM back)), counted AS (INSERT INTO windlass.tally SELECT queue, count(*), 0"
					       " FROM back GROUP BY queue) SELECT b.id, c.reason FROM back b LEFT"
					       " JOIN windlass.cancel c ON c.id = b.id ORDER BY c.id IS NULL";

static const char forget_session[] = "DELETE FROM windlass.session WHERE id = $1::uuid";
static const char forget_dead[] =
	"DELETE FROM windlass.session s WHERE s.until < clock_timestamp()"
	" AND NOT EXISTS (SELECT FROM windlass.lease l WHERE l.owner = s.id)";

static int lock_leases(struct postgres *pg, const struct release *release, size_t *place_r,
		       struct error *err_r)
{
	static const char *const texts[] = { [RELEASE_SESSION] = of_session,
					     [RELEASE_UNKNOWN] = of_unknown,
					     [RELEASE_BATCH] = of_batch,
					     [RELEASE_DEAD] = of_dead };

	postgres_say(pg, texts[release->which]);
	postgres_arg_uuid(pg, release->id);
	struct array *known = postgres_arg_array(pg, TYPE_UUID);

	for (size_t i = 0; i < release->known_count; i++)
		array_uuid(known, &release->known[i]);
	postgres_arg_i32(pg, RELEASE_LEASES_MAX);
	*place_r = postgres_send(pg);
	return postgres_fly(pg, err_r);
}

/* Those that came back and were asked to stop: they are waiting now, so they are cancelled at once.
 */
static int cancel_asked(struct postgres *pg, const PGresult *back, struct error *err_r)
{
	int count = PQntuples(back);
	struct uuid *ids = ARENA_ARRAY(pg->scratch, struct uuid, (size_t)count);
	size_t asked = 0;

	for (int row = 0; row < count; row++)
		ids[row] = result_uuid(back, row, 0);
	postgres_say(pg, "SELECT id FROM windlass.cancel WHERE id IN (SELECT unnest($1::uuid[]))");
	struct array *a = postgres_arg_array(pg, TYPE_UUID);

	for (int row = 0; row < count; row++)
		array_uuid(a, &ids[row]);
	size_t place = postgres_send(pg);

	if (postgres_fly(pg, err_r) < 0)
		return -1;
	const PGresult *result = postgres_result(pg, place);

	asked = (size_t)PQntuples(result);
	for (size_t i = 0; i < asked; i++)
		ids[i] = result_uuid(result, (int)i, 0);
	return asked ? postgres_cancel_asked(pg, ids, asked, err_r) : 0;
}

static int release_locked(struct postgres *pg, const struct release *release, int64_t *released_r,
			  size_t *leases_r, struct error *err_r)
{
	size_t place;

	if (lock_leases(pg, release, &place, err_r) < 0)
		return -1;
	const PGresult *result = postgres_result(pg, place);

	*leases_r = (size_t)PQntuples(result);
	if (*leases_r) {
		struct uuid *batches = ARENA_ARRAY(pg->scratch, struct uuid, *leases_r);

		for (size_t i = 0; i < *leases_r; i++)
			batches[i] = result_uuid(result, (int)i, 0);
		postgres_say(pg, give_back);
		struct array *a = postgres_arg_array(pg, TYPE_UUID);

		for (size_t i = 0; i < *leases_r; i++)
			array_uuid(a, &batches[i]);
		postgres_arg_text(pg, release->reason);
		place = postgres_send(pg);
		if (postgres_fly(pg, err_r) < 0)
			return -1;
		*released_r += postgres_rows(pg, place);
		if (cancel_asked(pg, postgres_result(pg, place), err_r) < 0)
			return -1;
	}
	if (release->which == RELEASE_SESSION && *leases_r < RELEASE_LEASES_MAX) {
		postgres_say(pg, forget_session);
		postgres_arg_uuid(pg, release->id);
		postgres_send(pg);
	} else if (release->which == RELEASE_DEAD) {
		postgres_say(pg, forget_dead);
		postgres_send(pg);
	}
	return 0;
}

static int release_some(struct postgres *pg, const struct release *release, int64_t *released_r,
			size_t *leases_r, struct error *err_r)
{
	int64_t released = 0;

	if (postgres_enter(pg, err_r) < 0)
		return -1;
	postgres_begin(pg);
	if (release_locked(pg, release, &released, leases_r, err_r) < 0) {
		postgres_rollback(pg);
		return -1;
	}
	if (postgres_commit_fly(pg, err_r) < 0)
		return -1;
	*released_r += released;
	return 0;
}

/* A bounded number of leases a transaction, until none is left. */
static int postgres_release(struct postgres *pg, const struct release *release, int64_t *released_r,
			    struct error *err_r)
{
	size_t leases = RELEASE_LEASES_MAX;
	int tries = 0;

	*released_r = 0;
	while (leases == RELEASE_LEASES_MAX) {
		if (release_some(pg, release, released_r, &leases, err_r) == 0)
			continue;
		leases = RELEASE_LEASES_MAX;
		if (err_r->code != ERROR_CONTENTION || ++tries == CONTENTION_TRIES)
			return -1;
	}
	return 0;
}

int postgres_session_end(struct store *store, const struct uuid *session, int64_t *released_r,
			 struct error *err_r)
{
	return postgres_release(postgres_of(store),
				&(struct release){ .which = RELEASE_SESSION,
						   .id = session,
						   .reason = "its worker ended" },
				released_r, err_r);
}

int postgres_session_sweep(struct store *store, const struct uuid *session,
			   const struct uuid *known, size_t known_count, int64_t *released_r,
			   struct error *err_r)
{
	return postgres_release(postgres_of(store),
				&(struct release){ .which = RELEASE_UNKNOWN,
						   .id = session,
						   .known = known,
						   .known_count = known_count,
						   .reason = "its claim was not answered" },
				released_r, err_r);
}

int postgres_session_release_batch(struct store *store, const struct uuid *batch,
				   struct error *err_r)
{
	int64_t released;

	return postgres_release(postgres_of(store),
				&(struct release){ .which = RELEASE_BATCH,
						   .id = batch,
						   .reason = "its claim was not answered" },
				&released, err_r);
}

int postgres_maintenance_release(struct store *store, int64_t *released_r, struct error *err_r)
{
	struct postgres *pg = postgres_of(store);

	if (postgres_release(
		    pg, &(struct release){ .which = RELEASE_DEAD, .reason = "its worker died" },
		    released_r, err_r) < 0)
		return -1;
	return postgres_cancel_raced(pg, err_r);
}
