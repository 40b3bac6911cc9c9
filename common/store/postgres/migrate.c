/* SPDX-License-Identifier: Apache-2.0 */
/* Migrations and the registry of job types. Migrations run on a connection of their own, without
 * our time-outs: a lock that another process holds while it migrates is waited for. */
#include <stdio.h>
#include <stdlib.h>

#include "common/store/migrations.h"
#include "common/store/postgres/postgres_impl.h"

#define MIGRATION_LOCK "8603234961938510707" /* the letters of "windlass" */

static int judge(PGconn *conn, PGresult *result, struct error *err_r)
{
	ExecStatusType status = PQresultStatus(result);
	bool ok = status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK;

	if (!ok)
		postgres_error(conn, result, err_r);
	PQclear(result);
	return ok ? 0 : -1;
}

static int say(PGconn *conn, const char *sql, struct error *err_r)
{
	return judge(conn, PQexecParams(conn, sql, 0, NULL, NULL, NULL, NULL, 0), err_r);
}

/* A whole file; the first statement that fails ends it. */
static int run_file(PGconn *conn, const char *sql, struct error *err_r)
{
	PGresult *result;
	int rc = PQsendQuery(conn, sql) ? 0 : postgres_error(conn, NULL, err_r);

	while ((result = PQgetResult(conn))) {
		struct error err;

		if (judge(conn, result, &err) < 0 && rc == 0) {
			*err_r = err;
			rc = -1;
		}
	}
	return rc;
}

static int read_number(PGconn *conn, const char *sql, int *n_r, struct error *err_r)
{
	PGresult *result = PQexecParams(conn, sql, 0, NULL, NULL, NULL, NULL, 0);
	bool ok = PQresultStatus(result) == PGRES_TUPLES_OK && PQntuples(result) == 1;

	if (ok)
		*n_r = atoi(PQgetvalue(result, 0, 0));
	else
		postgres_error(conn, result, err_r);
	PQclear(result);
	return ok ? 0 : -1;
}

static const char have_table[] = "SELECT (to_regclass('windlass.migration') IS NOT NULL)::int";
static const char have_number[] = "SELECT coalesce(max(number), 0) FROM windlass.migration";

static int apply(PGconn *conn, const struct migration *migration, struct error *err_r)
{
	char note[256];

	snprintf(note, sizeof(note), "INSERT INTO windlass.migration VALUES (%d, '%s', now())",
		 migration->number, migration->name);
	if (say(conn, "BEGIN", err_r) < 0 || run_file(conn, migration->sql, err_r) < 0 ||
	    say(conn, note, err_r) < 0 || say(conn, "COMMIT", err_r) < 0)
		return error_wrap(err_r, "migration %s: ", migration->name);
	return 0;
}

/* The lock goes with the connection. */
static int apply_missing(PGconn *conn, int *applied_r, struct error *err_r)
{
	int have = 0;

	if (say(conn,
		"SELECT set_config('client_min_messages', 'error', false),"
		" set_config('search_path', 'pg_catalog, pg_temp', false)",
		err_r) < 0 ||
	    say(conn, "SELECT pg_advisory_lock(" MIGRATION_LOCK ")", err_r) < 0 ||
	    say(conn, "CREATE SCHEMA IF NOT EXISTS windlass", err_r) < 0 ||
	    say(conn,
		"CREATE TABLE IF NOT EXISTS windlass.migration (number integer PRIMARY KEY, name"
		" text NOT NULL, applied timestamptz NOT NULL)",
		err_r) < 0 ||
	    read_number(conn, have_number, &have, err_r) < 0)
		return -1;
	for (const struct migration *m = migrations_postgres; m->number; m++) {
		if (m->number <= have)
			continue;
		if (apply(conn, m, err_r) < 0)
			return -1;
		(*applied_r)++;
	}
	return 0;
}

int postgres_migrate(struct store *store, int *applied_r, struct error *err_r)
{
	struct postgres *pg = postgres_of(store);
	PGconn *conn = postgres_connect(pg->url, pg->role, "migrate", err_r);

	if (!conn)
		return -1;
	int rc = apply_missing(conn, applied_r, err_r);

	PQfinish(conn);
	return rc;
}

int postgres_schema(struct store *store, int *have_r, int *want_r, struct error *err_r)
{
	struct postgres *pg = postgres_of(store);
	PGconn *conn = postgres_connect(pg->url, pg->role, "schema", err_r);
	int there = 0;

	*have_r = *want_r = 0;
	for (const struct migration *m = migrations_postgres; m->number; m++)
		*want_r = m->number;
	if (!conn)
		return -1;
	int rc = read_number(conn, have_table, &there, err_r);

	if (rc == 0 && there)
		rc = read_number(conn, have_number, have_r, err_r);
	PQfinish(conn);
	return rc;
}

static const char sync_types[] =
	"INSERT INTO windlass.job_type AS t (name, queue, priority, on_discard,"
	" hooks) SELECT * FROM unnest($1::text[], $2::text[], $3::int2[], $4::text[], $5::text[])"
	" AS i(name, queue, priority, on_discard, hooks) ORDER BY name"
	" ON CONFLICT (name) DO UPDATE SET queue = excluded.queue, priority = excluded.priority,"
	" on_discard = excluded.on_discard, hooks = excluded.hooks"
	" WHERE (t.queue, t.priority, t.on_discard, t.hooks) IS DISTINCT FROM (excluded.queue,"
	" excluded.priority, excluded.on_discard, excluded.hooks)";
static const char sync_queues[] =
	"INSERT INTO windlass.queue (name) SELECT DISTINCT q FROM unnest($1::text[]) AS q"
	" ORDER BY q ON CONFLICT (name) DO NOTHING";

static const char order_queues[] =
	"INSERT INTO windlass.queue AS q (name, ordered) SELECT * FROM unnest($1::text[],"
	" $2::bool[]) AS i(name, ordered) ORDER BY name ON CONFLICT (name) DO UPDATE SET ordered ="
	" excluded.ordered WHERE q.ordered <> excluded.ordered";

static int sync_once(struct postgres *pg, const struct store_type *types, size_t count,
		     struct error *err_r)
{
	if (postgres_enter(pg, err_r) < 0)
		return -1;
	postgres_say(pg, sync_types);
	struct array *names = postgres_arg_array(pg, TYPE_TEXT),
		     *queues = postgres_arg_array(pg, TYPE_TEXT);
	struct array *priorities = postgres_arg_array(pg, TYPE_INT2),
		     *discards = postgres_arg_array(pg, TYPE_TEXT),
		     *hooks = postgres_arg_array(pg, TYPE_TEXT);

	for (size_t i = 0; i < count; i++) {
		array_text(names, types[i].name);
		array_text(queues, types[i].queue);
		array_i64(priorities, types[i].priority);
		array_text(discards, types[i].on_discard);
		array_text(hooks, types[i].hooks);
	}
	postgres_send(pg);
	postgres_say(pg, sync_queues);
	queues = postgres_arg_array(pg, TYPE_TEXT);
	for (size_t i = 0; i < count; i++)
		array_text(queues, types[i].queue);
	postgres_send(pg);
	return postgres_fly(pg, err_r);
}

int postgres_sync_types(struct store *store, const struct store_type *types, size_t count,
			struct error *err_r)
{
	int rc = -1;

	for (int tries = 0; tries < CONTENTION_TRIES && rc < 0; tries++) {
		rc = sync_once(postgres_of(store), types, count, err_r);
		if (rc < 0 && err_r->code != ERROR_CONTENTION)
			break;
	}
	return rc;
}

int postgres_sync_queues(struct store *store, const struct store_queue *queues, size_t count,
			 struct error *err_r)
{
	struct postgres *pg = postgres_of(store);
	int rc = -1;

	queue_kinds_forget(pg);
	for (int tries = 0; tries < CONTENTION_TRIES && rc < 0; tries++) {
		if (postgres_enter(pg, err_r) < 0)
			return -1;
		postgres_say(pg, order_queues);
		struct array *names = postgres_arg_array(pg, TYPE_TEXT),
			     *ordered = postgres_arg_array(pg, TYPE_BOOL);

		for (size_t i = 0; i < count; i++) {
			array_text(names, queues[i].name);
			array_bool(ordered, queues[i].ordered);
		}
		postgres_send(pg);
		rc = postgres_fly(pg, err_r);
		if (rc < 0 && err_r->code != ERROR_CONTENTION)
			break;
	}
	return rc;
}
