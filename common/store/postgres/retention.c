/* SPDX-License-Identifier: Apache-2.0 */
/* Retention by days: partitions are made ahead, old ones are dropped as a whole (windlass.drop_day
 * in the migrations), and what is left in the default partition goes row by row. On a connection of
 * its own. The locks that stop the hot path are waited for 50 ms at most; when they are not to be
 * had, a later call tries again: days are made three ahead. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/store/postgres/postgres_impl.h"

#define RETENTION_LOCK "7233173826302272884" /* advisory: one process at a time */
#define DAYS_A_CALL    8

static const char missing_days[] =
	"SELECT p, d::text FROM unnest('{jobs,done,attempt,step,call}'::text[]) AS p, LATERAL"
	" (SELECT (now() AT TIME ZONE 'UTC')::date + n AS d FROM generate_series(-1, 2) AS n) AS"
	" day WHERE to_regclass('windlass.' || p || to_char(d, '_YYYYMMDD')) IS NULL ORDER BY d, p";

struct retention {
	PGconn *conn;
	char keep[40], keep_dead[40]; /* intervals */
};

static PGresult *ask(struct retention *r, const char *sql, int count, const char *const *args)
{
	return PQexecParams(r->conn, sql, count, NULL, args, NULL, NULL, 0);
}

/* 0; 1: somebody else holds the locks, or the day's rows are in the default partition; -1. */
static int judge(struct retention *r, const PGresult *result, struct error *err_r)
{
	ExecStatusType status = PQresultStatus(result);

	if (status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK)
		return 0;
	postgres_error(r->conn, result, err_r);
	return err_r->code == ERROR_CONTENTION ? 1 : -1;
}

static int make_days(struct retention *r, struct error *err_r)
{
	PGresult *missing = ask(r, missing_days, 0, NULL);
	int rc = judge(r, missing, err_r);

	for (int row = 0; rc == 0 && row < PQntuples(missing); row++) {
		const char *args[] = { PQgetvalue(missing, row, 0), PQgetvalue(missing, row, 1) };
		PGresult *made = ask(r, "SELECT windlass.make_day($1, $2::date)", 2, args);

		rc = judge(r, made, err_r);
		PQclear(made);
	}
	PQclear(missing);
	return rc < 0 ? -1 : 0;
}

static int trim(struct retention *r, const char *partition, struct error *err_r)
{
	const char *args[] = { partition, r->keep, r->keep_dead };
	PGresult *result = ask(r,
			       "SELECT windlass.trim_day($1, $2::interval, $3::interval) WHERE"
			       " to_regclass('windlass.' || $1) IS NOT NULL",
			       3, args);
	int rc = judge(r, result, err_r);

	PQclear(result);
	return rc;
}

static int drop_day(struct retention *r, const char *day, struct error *err_r)
{
	const char *args[] = { day, r->keep, r->keep_dead };
	PGresult *result =
		ask(r, "SELECT windlass.drop_day($1::date, $2::interval, $3::interval)", 3, args);
	int rc = judge(r, result, err_r);
	bool too_many = rc == 0 && atoll(PQgetvalue(result, 0, 0)) < 0;
	char partition[32];

	PQclear(result);
	if (!too_many)
		return rc;
	snprintf(partition, sizeof(partition), "done_%.4s%.2s%.2s", day, day + 5, day + 8);
	return trim(r, partition, err_r);
}

static int trim_ticks(struct retention *r, struct error *err_r)
{
	const char *args[] = { r->keep };
	PGresult *result = ask(r,
			       "DELETE FROM windlass.schedule_tick WHERE ctid = ANY (ARRAY(SELECT"
			       " ctid FROM windlass.schedule_tick WHERE at < now() - $1::interval"
			       " LIMIT 20000))",
			       1, args);
	int rc = judge(r, result, err_r);

	PQclear(result);
	return rc < 0 ? -1 : 0;
}

static int drop_days(struct retention *r, struct error *err_r)
{
	const char *args[] = { r->keep };
	PGresult *days =
		ask(r, "SELECT d::text FROM windlass.old_days($1::interval) AS d", 1, args);
	int rc = judge(r, days, err_r);

	for (int row = 0; rc >= 0 && row < PQntuples(days) && row < DAYS_A_CALL; row++)
		rc = drop_day(r, PQgetvalue(days, row, 0), err_r);
	PQclear(days);
	return rc < 0 ? -1 : 0;
}

/* The oldest are the first by number. */
static int trim_audit(struct retention *r, struct error *err_r)
{
	const char *args[] = { r->keep_dead };
	PGresult *result = ask(r,
			       "DELETE FROM windlass.audit WHERE n IN (SELECT n FROM (SELECT n, at"
			       " FROM windlass.audit ORDER BY n LIMIT 1000) AS first WHERE at <"
			       " now() - $1::interval)",
			       1, args);
	int rc = judge(r, result, err_r);

	PQclear(result);
	return rc < 0 ? -1 : 0;
}

/* Edges of jobs that are gone; those of jobs that wait or may be retried stay. */
static int drop_edges(struct retention *r, struct error *err_r)
{
	PGresult *result =
		PQexec(r->conn, "DELETE FROM windlass.edge e WHERE NOT EXISTS (SELECT FROM"
				" windlass.jobs j WHERE j.id = e.id)");
	int rc = judge(r, result, err_r);

	PQclear(result);
	return rc;
}

static int drop_batches(struct retention *r, struct error *err_r)
{
	const char *args[] = { r->keep_dead };
	PGresult *result = ask(r,
			       "WITH gone AS (DELETE FROM windlass.batch WHERE finished < now() -"
			       " $1::interval RETURNING id) DELETE FROM windlass.batch_tally WHERE"
			       " batch IN (SELECT id FROM gone)",
			       1, args);
	int rc = judge(r, result, err_r);

	PQclear(result);
	return rc;
}

static int work(struct retention *r, struct error *err_r)
{
	PGresult *settings = PQexec(
		r->conn,
		"SET client_min_messages = error; SET timezone = 'UTC'; SET datestyle = 'ISO';"
		"SET search_path = pg_catalog, pg_temp; SET lock_timeout = 50; SET"
		" statement_timeout = 60000;"
		"SET jit = off");
	int rc = judge(r, settings, err_r);

	PQclear(settings);
	if (rc)
		return rc;
	/* The lock goes with the connection. */
	PGresult *lock = PQexec(r->conn, "SELECT pg_try_advisory_lock(" RETENTION_LOCK ")");

	rc = judge(r, lock, err_r);
	bool mine = rc == 0 && *PQgetvalue(lock, 0, 0) == 't';

	PQclear(lock);
	if (!mine)
		return rc;
	if (make_days(r, err_r) < 0 || trim_audit(r, err_r) < 0 || trim_ticks(r, err_r) < 0 ||
	    drop_days(r, err_r) < 0 || drop_edges(r, err_r) < 0 || drop_batches(r, err_r) < 0)
		return -1;
	return trim(r, "done_default", err_r);
}

int postgres_maintenance_retention(struct store *store, int64_t keep_ms, int64_t keep_dead_ms,
				   struct error *err_r)
{
	struct postgres *pg = postgres_of(store);
	struct retention r = { .conn = postgres_connect(pg->url, pg->role, "retention", err_r) };

	if (!r.conn)
		return -1;
	snprintf(r.keep, sizeof(r.keep), "%lld ms", (long long)keep_ms);
	snprintf(r.keep_dead, sizeof(r.keep_dead), "%lld ms", (long long)keep_dead_ms);
	int rc = work(&r, err_r);

	PQfinish(r.conn);
	return rc < 0 ? -1 : 0;
}
