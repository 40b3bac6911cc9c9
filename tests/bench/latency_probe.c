/* SPDX-License-Identifier: Apache-2.0 */
/* The limit of enqueue-to-start on PostgreSQL: one connection commits a job and notifies at a fixed
 * rate, another one listens and takes the job in a transaction of its own. Usage: latency_probe URL
 * RATE SECONDS. Prints one JSON line; a latency is from when the job was due to when its claim had
 * committed. */
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <string.h>
#include <time.h>

#include "common/base/arena.h"
#include "common/base/clock.h"
#include "tests/bench/probe.h"

static const char tables[] =
	"SET client_min_messages = warning; DROP TABLE IF EXISTS probe_jobs, probe_ready, probe_lease;"
	"CREATE TABLE probe_jobs(id uuid PRIMARY KEY, payload text);"
	"CREATE TABLE probe_ready(id uuid UNIQUE, seq bigserial PRIMARY KEY, sent bigint);"
	"CREATE TABLE probe_lease(batch uuid PRIMARY KEY, ids uuid[])";
static const char enqueue[] =
	"WITH new AS MATERIALIZED (SELECT gen_random_uuid() AS id), j AS (INSERT INTO probe_jobs SELECT id, repeat('x', 200) FROM new),"
	" r AS (INSERT INTO probe_ready(id, sent) SELECT id, $1::int8 FROM new) SELECT pg_notify('probe', '')";
static const char claim[] =
	"WITH took AS (DELETE FROM probe_ready WHERE seq IN (SELECT seq FROM probe_ready ORDER BY seq LIMIT 256 FOR UPDATE SKIP LOCKED)"
	" RETURNING id, sent), l AS (INSERT INTO probe_lease SELECT gen_random_uuid(), array_agg(id) FROM took HAVING count(*) > 0)"
	" SELECT t.sent, j.payload FROM took t JOIN probe_jobs j USING (id)";

struct run {
	const char *url;
	double rate;
	size_t jobs, taken;
	double *latency_ms;
};

static void *produce(void *arg)
{
	const struct run *run = arg;
	PGconn *pg = probe_connect(run->url);
	int64_t began = clock_mono_ns();
	char text[24];

	PQclear(probe_must(pg, PQprepare(pg, "enqueue", enqueue, 0, NULL)));
	for (size_t i = 0; i < run->jobs; i++) {
		int64_t due = began + (int64_t)((double)i / run->rate * 1e9);

		while (clock_mono_ns() < due) {
			int64_t left = due - clock_mono_ns();

			if (left > 0)
				nanosleep(&(struct timespec){ .tv_nsec = left % 1000000000 }, NULL);
		}
		snprintf(text, sizeof(text), "%lld", (long long)due);
		PQclear(probe_must(pg, PQexecPrepared(pg, "enqueue", 1, (const char *[]){ text },
						      NULL, NULL, 0)));
	}
	PQfinish(pg);
	return NULL;
}

static void take(PGconn *pg, struct run *run)
{
	PGresult *r = probe_must(pg, PQexecPrepared(pg, "claim", 0, NULL, NULL, NULL, 0));
	int64_t now = clock_mono_ns();

	for (int i = 0; i < PQntuples(r); i++)
		run->latency_ms[run->taken++] = (double)(now - atoll(PQgetvalue(r, i, 0))) / 1e6;
	PQclear(r);
}

static void consume(PGconn *pg, struct run *run)
{
	while (run->taken < run->jobs) {
		struct pollfd fd = { .fd = PQsocket(pg), .events = POLLIN };
		PGnotify *note;

		CHECK(poll(&fd, 1, 10000) > 0);
		CHECK(PQconsumeInput(pg));
		while ((note = PQnotifies(pg)))
			PQfreemem(note);
		take(pg, run);
	}
}

int main(int argc, char **argv)
{
	struct run run = { .url = argv[1] };
	pthread_t producer;

	CHECK(argc == 4);
	run.rate = atof(argv[2]);
	run.jobs = (size_t)(run.rate * atof(argv[3]));
	run.latency_ms = xcalloc(run.jobs, sizeof(double));
	PGconn *pg = probe_connect(run.url);

	probe_run(pg, tables);
	probe_run(pg, "LISTEN probe");
	probe_run(pg, "SET synchronous_commit = off"); /* a lost claim is only claimed again */
	PQclear(probe_must(pg, PQprepare(pg, "claim", claim, 0, NULL)));
	CHECK(pthread_create(&producer, NULL, produce, &run) == 0);
	consume(pg, &run);
	pthread_join(producer, NULL);
	printf("{\"p50_ms\":%.3f,\"p99_ms\":%.3f}\n", probe_quantile(run.latency_ms, run.jobs, 0.5),
	       probe_quantile(run.latency_ms, run.jobs, 0.99));
	return 0;
}
