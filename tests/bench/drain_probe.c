/* SPDX-License-Identifier: Apache-2.0 */
/* The limit of a drain on PostgreSQL: two connections, batches of 256, the same rows that an engine
 * touches (ready, lease, done and, with --row, one row of the user's folded into one INSERT), no
 * handlers and no engine. Usage: drain_probe URL JOBS [--row]. Prints one JSON line. */
#include <libpq-fe.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/arena.h"
#include "common/base/check.h"
#include "common/base/clock.h"

#define CONNECTIONS 2
#define BATCH       "256"

static const char tables[] =
	"DROP TABLE IF EXISTS probe_jobs, probe_ready, probe_lease, probe_done, probe_rows;"
	"CREATE TABLE probe_jobs(id uuid PRIMARY KEY, seq bigint, queue text, type text, payload text, created timestamptz);"
	"CREATE TABLE probe_ready(id uuid UNIQUE, seq bigint, queue text, priority smallint, attempt int);"
	"CREATE INDEX ON probe_ready(queue, priority, seq);"
	"CREATE TABLE probe_lease(batch uuid PRIMARY KEY, ids uuid[], attempts int[]);"
	"CREATE TABLE probe_done(id uuid PRIMARY KEY, state smallint, attempt int, result text, finished timestamptz);"
	"CREATE TABLE probe_rows(job_id uuid, payload text)";
static const char fill[] =
	"WITH new AS (SELECT gen_random_uuid() AS id, n FROM generate_series(1, $1::int) n),"
	" j AS (INSERT INTO probe_jobs SELECT id, n, 'bench', 'noop', '{\"pad\":\"' || repeat('x', 190) || '\"}', now() FROM new)"
	" INSERT INTO probe_ready SELECT id, n, 'bench', 1, 0 FROM new";
/* Takes a batch and writes its lease; $1 is the highest seq taken so far. */
static const char claim[] =
	"WITH took AS (DELETE FROM probe_ready r USING (SELECT id FROM probe_ready WHERE queue = 'bench' AND priority = 1 AND seq > $1::bigint "
	"ORDER BY seq LIMIT " BATCH
	" FOR UPDATE SKIP LOCKED) t WHERE r.id = t.id RETURNING r.id, r.seq, r.attempt),"
	" l AS (INSERT INTO probe_lease SELECT gen_random_uuid(), array_agg(id), array_agg(attempt) FROM took HAVING count(*) > 0)"
	" SELECT array_agg(t.id), max(t.seq), sum(length(j.payload)) FROM took t JOIN probe_jobs j USING (id)";
static const char complete[] =
	"INSERT INTO probe_done SELECT id, 8, 1, NULL, now() FROM unnest($1::uuid[]) id ON CONFLICT DO NOTHING";
static const char row[] = "INSERT INTO probe_rows SELECT id, 'row' FROM unnest($1::uuid[]) id";
static const char release[] = "DELETE FROM probe_lease WHERE ids @> ARRAY[($1::uuid[])[1]]";

struct run {
	const char *url;
	bool row;
};

static PGresult *must(PGconn *pg, PGresult *r)
{
	ExecStatusType status = PQresultStatus(r);

	if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK) {
		fprintf(stderr, "drain_probe: %s", PQerrorMessage(pg));
		exit(1);
	}
	return r;
}

static void statement(PGconn *pg, const char *name, const char *argument)
{
	PQclear(must(pg, PQexecPrepared(pg, name, 1, &argument, NULL, NULL, 0)));
}

static void prepare(PGconn *pg)
{
	static const char pins[] =
		"SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off; SET plan_cache_mode = "
		"force_generic_plan; SET jit = off";

	PQclear(must(pg, PQexec(pg, pins)));
	PQclear(must(pg, PQprepare(pg, "claim", claim, 0, NULL)));
	PQclear(must(pg, PQprepare(pg, "complete", complete, 0, NULL)));
	PQclear(must(pg, PQprepare(pg, "row", row, 0, NULL)));
	PQclear(must(pg, PQprepare(pg, "release", release, 0, NULL)));
}

static void *drain(void *arg)
{
	struct run *run = arg;
	PGconn *pg = PQconnectdb(run->url);
	char *ids = NULL, seq[32] = "0";

	CHECK(PQstatus(pg) == CONNECTION_OK);
	prepare(pg);
	for (;;) {
		const char *argument = seq;

		PQclear(must(pg, PQexec(pg, "BEGIN")));
		if (ids) {
			statement(pg, "complete", ids);
			if (run->row)
				statement(pg, "row", ids);
			statement(pg, "release", ids);
		}
		PGresult *r = must(pg, PQexecPrepared(pg, "claim", 1, &argument, NULL, NULL, 0));
		PQclear(must(pg, PQexec(pg, "COMMIT")));
		free(ids);
		ids = PQgetisnull(r, 0, 0) ? NULL : xstrdup(PQgetvalue(r, 0, 0));
		if (ids)
			snprintf(seq, sizeof(seq), "%s", PQgetvalue(r, 0, 1));
		PQclear(r);
		if (!ids)
			break;
	}
	PQfinish(pg);
	return NULL;
}

int main(int argc, char **argv)
{
	struct run run = { .url = argv[1], .row = argc > 3 && strcmp(argv[3], "--row") == 0 };
	pthread_t threads[CONNECTIONS];
	int64_t began;

	CHECK(argc >= 3);
	PGconn *pg = PQconnectdb(run.url);
	CHECK(PQstatus(pg) == CONNECTION_OK);
	PQclear(must(pg, PQexec(pg, tables)));
	PQclear(must(pg,
		     PQexecParams(pg, fill, 1, NULL, (const char *[]){ argv[2] }, NULL, NULL, 0)));
	PQclear(must(pg, PQexec(pg, "VACUUM ANALYZE probe_ready")));
	began = clock_mono_ns();
	for (int i = 0; i < CONNECTIONS; i++)
		CHECK(pthread_create(&threads[i], NULL, drain, &run) == 0);
	for (int i = 0; i < CONNECTIONS; i++)
		pthread_join(threads[i], NULL);
	double seconds = (double)(clock_mono_ns() - began) / 1e9;
	PGresult *r = must(pg, PQexec(pg, "SELECT count(*) FROM probe_done"));
	CHECK(strcmp(PQgetvalue(r, 0, 0), argv[2]) == 0);
	PQclear(r);
	printf("{\"rate\":%.1f,\"seconds\":%.3f}\n", atof(argv[2]) / seconds, seconds);
	PQfinish(pg);
	return 0;
}
