/* SPDX-License-Identifier: Apache-2.0 */
/* The limit of a drain on PostgreSQL: two connections that touch the same rows as an engine does
 * (ready, lease, done) and take every payload to the client, one pipelined round trip a batch, and
 * nothing else: no handlers, no engine, no tallies. Usage: drain_probe URL JOBS WORK, where WORK is
 * noop, row (one row of the user's a job, folded into one INSERT) or hot (an UPDATE a job of one of
 * 20 rows, under sorted advisory locks). Prints one JSON line. */
#include <endian.h>
#include <pthread.h>
#include <stdbool.h>
#include <string.h>

#include "common/base/arena.h"
#include "common/base/clock.h"
#include "tests/bench/probe.h"

#define CONNECTIONS 2
#define BATCH_MAX   256
#define HOT_ROWS    20

enum { OID_UUID = 2950 };

static const char tables[] =
	"DROP TABLE IF EXISTS probe_jobs, probe_ready, probe_lease, probe_done, probe_rows, probe_hot;"
	"CREATE TABLE probe_jobs(id uuid PRIMARY KEY, seq bigint, created timestamptz, queue text, type text, payload text);"
	"CREATE TABLE probe_ready(id uuid UNIQUE, seq bigint, attempt int, priority smallint, queue text);"
	"CREATE INDEX ON probe_ready(queue, priority, seq);"
	"CREATE TABLE probe_lease(batch uuid PRIMARY KEY, ids uuid[], attempts int[]);"
	"CREATE TABLE probe_done(id uuid PRIMARY KEY, finished timestamptz, attempt int, state smallint, result text);"
	"CREATE TABLE probe_rows(job_id uuid PRIMARY KEY, payload text);"
	"CREATE TABLE probe_hot(id int PRIMARY KEY, n bigint) WITH (fillfactor = 50);"
	"INSERT INTO probe_hot SELECT generate_series(0, 19), 0";
/* Ids grow with time, as UUIDv7 does. */
static const char fill[] =
	"WITH new AS (SELECT (lpad(to_hex(1700000000000 + n), 12, '0') || '7' || substr(md5(n::text), 1, 19))::uuid AS id, n"
	"  FROM generate_series(1, $1::int) n),"
	" j AS (INSERT INTO probe_jobs SELECT id, n, now(), 'bench', 'bench.noop', '{\"pad\":\"' || repeat('x', 190) || '\"}' FROM new)"
	" INSERT INTO probe_ready SELECT id, n, 0, 1, 'bench' FROM new";
/* Takes a batch and writes its lease; $1 is the highest seq taken so far. */
static const char claim[] =
	"WITH picked AS MATERIALIZED (SELECT ctid FROM probe_ready WHERE queue = 'bench' AND priority = 1 AND seq > $1::int8"
	"  ORDER BY seq LIMIT 256 FOR UPDATE SKIP LOCKED),"
	" took AS (DELETE FROM probe_ready WHERE ctid = ANY (ARRAY(SELECT ctid FROM picked)) RETURNING id, seq, attempt),"
	" l AS (INSERT INTO probe_lease SELECT $2::uuid, array_agg(id), array_agg(attempt) FROM took HAVING count(*) > 0)"
	" SELECT t.id, t.seq, j.payload FROM took t JOIN probe_jobs j USING (id) ORDER BY t.seq";
static const char complete[] =
	"INSERT INTO probe_done SELECT id, now(), 1, 8, NULL FROM unnest($1::uuid[]) id"
	" ON CONFLICT DO NOTHING RETURNING id";
static const char row[] = "INSERT INTO probe_rows SELECT id, 'row' FROM unnest($1::uuid[]) id";
static const char lock[] = "SELECT count(pg_advisory_xact_lock(k)) FROM unnest($1::int8[]) k";
static const char hot[] = "UPDATE probe_hot SET n = n + 1 WHERE id = $1::int4";
static const char release[] = "DELETE FROM probe_lease WHERE batch = $1::uuid";

struct run {
	const char *url;
	bool rows, hot;
};

/* One connection and the batch in its hands. */
struct drainer {
	const struct run *run;
	PGconn *pg;
	pthread_t thread;
	char lease[40];
	uint64_t number, seq;
	int count;
	unsigned char ids[20 + BATCH_MAX * 20]; /* uuid[] in PostgreSQL's binary form */
	uint64_t seqs[BATCH_MAX];
};

static void put32(unsigned char *at, uint32_t value)
{
	value = htobe32(value);
	memcpy(at, &value, sizeof(value));
}

static void send_text(struct drainer *d, const char *name, int count, const char *const *values)
{
	CHECK(PQsendQueryPrepared(d->pg, name, count, values, NULL, NULL, 1));
}

static void send_ids(struct drainer *d, const char *name)
{
	const char *value = (const char *)d->ids;
	int bytes = 20 + d->count * 20, binary = 1;

	CHECK(PQsendQueryPrepared(d->pg, name, 1, &value, &bytes, &binary, 1));
}

static void send_hot(struct drainer *d)
{
	char text[16];

	for (int i = 0; i < d->count; i++) {
		snprintf(text, sizeof(text), "%d", (int)(d->seqs[i] % HOT_ROWS));
		send_text(d, "hot", 1, (const char *[]){ text });
	}
}

static void send_completion(struct drainer *d)
{
	if (d->run->hot)
		send_text(
			d, "lock", 1,
			(const char *[]){ "{0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19}" });
	send_ids(d, "complete");
	if (d->run->rows)
		send_ids(d, "row");
	if (d->run->hot)
		send_hot(d);
	send_text(d, "release", 1, (const char *[]){ d->lease });
}

static void send_claim(struct drainer *d)
{
	char seq[24];

	snprintf(seq, sizeof(seq), "%llu", (unsigned long long)d->seq);
	snprintf(d->lease, sizeof(d->lease), "%08x-0000-4000-8000-%012llx",
		 (unsigned)((uintptr_t)d >> 4), (unsigned long long)++d->number);
	send_text(d, "claim", 2, (const char *[]){ seq, d->lease });
}

static void batch_take(struct drainer *d, const PGresult *r)
{
	d->count = PQntuples(r);
	CHECK(d->count <= BATCH_MAX);
	put32(d->ids, 1);
	put32(d->ids + 4, 0);
	put32(d->ids + 8, OID_UUID);
	put32(d->ids + 12, (uint32_t)d->count);
	put32(d->ids + 16, 1);
	for (int i = 0; i < d->count; i++) {
		uint64_t seq;

		put32(d->ids + 20 + i * 20, 16);
		memcpy(d->ids + 24 + i * 20, PQgetvalue(r, i, 0), 16);
		memcpy(&seq, PQgetvalue(r, i, 1), sizeof(seq));
		d->seq = d->seqs[i] = be64toh(seq);
	}
}

/* Reads the flight's results up to its end; the one with three columns is the claim. */
static void read_flight(struct drainer *d)
{
	for (bool end = false; !end;) {
		PGresult *r = PQgetResult(d->pg);

		if (!r)
			continue; /* between two statements */
		end = PQresultStatus(probe_must(d->pg, r)) == PGRES_PIPELINE_SYNC;
		if (PQnfields(r) == 3)
			batch_take(d, r);
		PQclear(r);
	}
}

static void *drain(void *arg)
{
	struct drainer *d = arg;

	do {
		send_text(d, "begin", 0, NULL);
		if (d->count)
			send_completion(d);
		send_claim(d);
		send_text(d, "commit", 0, NULL);
		CHECK(PQpipelineSync(d->pg));
		read_flight(d);
	} while (d->count);
	return NULL;
}

static void drainer_init(struct drainer *d, const struct run *run)
{
	static const char *const statements[][2] = {
		{ "begin", "BEGIN" },     { "commit", "COMMIT" }, { "claim", claim },
		{ "complete", complete }, { "row", row },         { "lock", lock },
		{ "hot", hot },           { "release", release },
	};

	d->run = run;
	d->pg = probe_connect(run->url);
	probe_run(
		d->pg,
		"SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off; SET jit = off;"
		" SET plan_cache_mode = force_generic_plan");
	for (size_t i = 0; i < sizeof(statements) / sizeof(*statements); i++)
		PQclear(probe_must(d->pg,
				   PQprepare(d->pg, statements[i][0], statements[i][1], 0, NULL)));
	CHECK(PQenterPipelineMode(d->pg));
}

static void check(PGconn *pg, const char *sql, const char *jobs)
{
	PGresult *r = probe_must(pg, PQexec(pg, sql));

	if (strcmp(PQgetvalue(r, 0, 0), jobs) != 0) {
		fprintf(stderr, "drain_probe: %s says %s, not %s\n", sql, PQgetvalue(r, 0, 0),
			jobs);
		exit(1);
	}
	PQclear(r);
}

int main(int argc, char **argv)
{
	static struct drainer drainers[CONNECTIONS];
	struct run run = { .url = argv[1] };

	CHECK(argc == 4);
	run.rows = strcmp(argv[3], "row") == 0;
	run.hot = strcmp(argv[3], "hot") == 0;
	PGconn *pg = probe_connect(run.url);

	probe_run(pg, "SET client_min_messages = warning");
	probe_run(pg, tables);
	PQclear(probe_must(
		pg, PQexecParams(pg, fill, 1, NULL, (const char *[]){ argv[2] }, NULL, NULL, 0)));
	probe_run(pg, "VACUUM ANALYZE probe_ready");
	for (int i = 0; i < CONNECTIONS; i++)
		drainer_init(&drainers[i], &run);
	int64_t began = clock_mono_ns();

	for (int i = 0; i < CONNECTIONS; i++)
		CHECK(pthread_create(&drainers[i].thread, NULL, drain, &drainers[i]) == 0);
	for (int i = 0; i < CONNECTIONS; i++)
		pthread_join(drainers[i].thread, NULL);
	double seconds = (double)(clock_mono_ns() - began) / 1e9;

	check(pg, "SELECT count(*) FROM probe_done", argv[2]);
	if (run.rows)
		check(pg, "SELECT count(*) FROM probe_rows", argv[2]);
	if (run.hot)
		check(pg, "SELECT sum(n) FROM probe_hot", argv[2]);
	printf("{\"rate\":%.1f,\"seconds\":%.3f}\n", atof(argv[2]) / seconds, seconds);
	return 0;
}
