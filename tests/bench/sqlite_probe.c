/* SPDX-License-Identifier: Apache-2.0 */
/* The limit of a SQLite file that is filled and drained at once: one thread accepts (jobs, ready),
 * another claims and completes (ready, lease, done and one row of the user's), each with its own
 * connection, durable (WAL, FULL), taking turns by a fair lock. Usage: sqlite_probe FILE JOBS RATE;
 * rate 0: batches of 256 as fast as it goes, else single jobs at that rate and their latencies from
 * when they were due to when their claim had committed. Prints one JSON line. */
#include <pthread.h>
#include <sqlite3.h>
#include <stdbool.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/base/arena.h"
#include "common/base/clock.h"
#include "tests/bench/probe.h"

#define BATCH 256

static const char tables[] =
	"CREATE TABLE jobs(id BLOB PRIMARY KEY, seq INTEGER, queue TEXT, type TEXT, payload TEXT, created INTEGER) WITHOUT ROWID;"
	"CREATE TABLE ready(seq INTEGER PRIMARY KEY, id BLOB UNIQUE, queue TEXT, priority INTEGER, due INTEGER);"
	"CREATE INDEX ready_next ON ready(queue, priority, seq);"
	"CREATE TABLE lease(id BLOB PRIMARY KEY, batch INTEGER) WITHOUT ROWID;"
	"CREATE TABLE done(id BLOB PRIMARY KEY, state INTEGER, finished INTEGER) WITHOUT ROWID;"
	"CREATE TABLE rows(job_id BLOB PRIMARY KEY, payload TEXT)";

static const char claim_text[] =
	"SELECT r.id, r.seq, r.due, j.payload FROM ready r JOIN jobs j ON j.id = r.id WHERE r.queue = 'bench' AND r.priority = 1"
	" ORDER BY r.seq LIMIT 256";

enum { BEGIN, COMMIT, ADD_JOB, ADD_READY, CLAIM, TAKE, LEASE, FREE, DONE, ROW, STATEMENTS };
static const char *const texts[STATEMENTS] = {
	[BEGIN] = "BEGIN IMMEDIATE",
	[COMMIT] = "COMMIT",
	[ADD_JOB] = "INSERT INTO jobs VALUES (?1, ?2, 'bench', 'row', ?3, ?4)",
	[ADD_READY] = "INSERT INTO ready VALUES (?2, ?1, 'bench', 1, ?4)",
	[CLAIM] = claim_text,
	[TAKE] = "DELETE FROM ready WHERE seq = ?2",
	[LEASE] = "INSERT INTO lease VALUES (?1, ?2)",
	[FREE] = "DELETE FROM lease WHERE id = ?1",
	[DONE] = "INSERT INTO done VALUES (?1, 8, ?4)",
	[ROW] = "INSERT INTO rows VALUES (?1, 'row')",
};

struct probe {
	const char *path;
	size_t jobs, taken;
	double rate;
	int64_t began_ns;
	double *latency_ms;
	pthread_mutex_t
		lock; /* guards the file's write transaction, next and serving: a ticket lock */
	pthread_cond_t turn;
	uint64_t next, serving;
	uint64_t accepted;
};

struct job {
	unsigned char id[16];
	int64_t seq, due;
};

static char payload[201]; /* filled by main */

struct connection {
	sqlite3 *db;
	sqlite3_stmt *statements[STATEMENTS];
};

static void must(sqlite3 *db, int rc)
{
	if (rc == SQLITE_OK || rc == SQLITE_DONE)
		return;
	fprintf(stderr, "sqlite_probe: %s\n", sqlite3_errmsg(db));
	exit(1);
}

static void connection_open(struct connection *c, const char *path, bool create)
{
	must(c->db, sqlite3_open(path, &c->db));
	must(c->db,
	     sqlite3_exec(
		     c->db,
		     "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA cache_size = -65536",
		     NULL, NULL, NULL));
	if (create)
		must(c->db, sqlite3_exec(c->db, tables, NULL, NULL, NULL));
	for (int i = 0; i < STATEMENTS; i++)
		must(c->db, sqlite3_prepare_v3(c->db, texts[i], -1, SQLITE_PREPARE_PERSISTENT,
					       &c->statements[i], NULL));
}

static void run(struct connection *c, int which, const struct job *job)
{
	sqlite3_stmt *s = c->statements[which];
	int parameters = sqlite3_bind_parameter_count(s);

	if (job) {
		sqlite3_bind_blob(s, 1, job->id, sizeof(job->id), SQLITE_STATIC);
		if (parameters >= 2)
			sqlite3_bind_int64(s, 2, job->seq);
		if (which == ADD_JOB)
			sqlite3_bind_text(s, 3, payload, -1, SQLITE_STATIC);
		if (parameters >= 4)
			sqlite3_bind_int64(s, 4, job->due);
	}
	must(c->db, sqlite3_step(s));
	must(c->db, sqlite3_reset(s));
}

static void enter(struct probe *p)
{
	pthread_mutex_lock(&p->lock);
	uint64_t mine = p->next++;

	while (p->serving != mine)
		pthread_cond_wait(&p->turn, &p->lock);
	pthread_mutex_unlock(&p->lock);
}

static void leave(struct probe *p, size_t accepted)
{
	pthread_mutex_lock(&p->lock);
	p->serving++;
	p->accepted += accepted;
	pthread_cond_broadcast(&p->turn);
	pthread_mutex_unlock(&p->lock);
}

static void accept_batch(struct probe *p, struct connection *c, size_t from, size_t count,
			 int64_t due)
{
	enter(p);
	run(c, BEGIN, NULL);
	for (size_t i = 0; i < count; i++) {
		struct job job = { .seq = (int64_t)(from + i + 1), .due = due };

		for (int k = 0; k < 8; k++) /* grows with time, as UUIDv7 does */
			job.id[k] = (unsigned char)(job.seq >> (56 - 8 * k));
		run(c, ADD_JOB, &job);
		run(c, ADD_READY, &job);
	}
	run(c, COMMIT, NULL);
	leave(p, count);
}

static void sleep_until(int64_t due_ns)
{
	int64_t left = due_ns - clock_mono_ns();

	if (left > 0)
		nanosleep(&(struct timespec){ left / 1000000000, left % 1000000000 }, NULL);
}

static void *produce(void *arg)
{
	struct probe *p = arg;
	struct connection c = { 0 };
	size_t step = p->rate > 0 ? 1 : BATCH;

	connection_open(&c, p->path, false);
	for (size_t done = 0; done < p->jobs; done += step) {
		int64_t due = p->rate > 0 ? p->began_ns + (int64_t)((double)done / p->rate * 1e9)
					  : clock_mono_ns();

		sleep_until(due);
		accept_batch(p, &c, done, p->jobs - done < step ? p->jobs - done : step, due);
	}
	return NULL;
}

static size_t claim(struct connection *c, struct job *jobs)
{
	sqlite3_stmt *s = c->statements[CLAIM];
	size_t count = 0;

	while (sqlite3_step(s) == SQLITE_ROW) {
		memcpy(jobs[count].id, sqlite3_column_blob(s, 0), 16);
		jobs[count].seq = sqlite3_column_int64(s, 1);
		jobs[count++].due = sqlite3_column_int64(s, 2);
		CHECK(sqlite3_column_bytes(s, 3) > 0);
	}
	must(c->db, sqlite3_reset(s));
	for (size_t i = 0; i < count; i++) {
		run(c, TAKE, &jobs[i]);
		run(c, LEASE, &jobs[i]);
	}
	return count;
}

/* One transaction: completes what is in hand and claims the next. */
static size_t turn_over(struct probe *p, struct connection *c, struct job *jobs, size_t count)
{
	enter(p);
	run(c, BEGIN, NULL);
	for (size_t i = 0; i < count; i++) {
		run(c, DONE, &jobs[i]);
		run(c, ROW, &jobs[i]);
		run(c, FREE, &jobs[i]);
	}
	count = claim(c, jobs);
	run(c, COMMIT, NULL);
	leave(p, 0);
	for (size_t i = 0; i < count; i++)
		p->latency_ms[p->taken++] = (double)(clock_mono_ns() - jobs[i].due) / 1e6;
	return count;
}

static void consume(struct probe *p)
{
	struct connection c = { 0 };
	struct job jobs[BATCH];
	size_t count = 0;

	connection_open(&c, p->path, false);
	do {
		pthread_mutex_lock(&p->lock);
		while (!count && p->taken < p->jobs && p->accepted == p->taken)
			pthread_cond_wait(&p->turn, &p->lock);
		pthread_mutex_unlock(&p->lock);
		count = turn_over(p, &c, jobs, count);
	} while (count || p->taken < p->jobs);
}

int main(int argc, char **argv)
{
	struct probe p = { .path = argv[1],
			   .lock = PTHREAD_MUTEX_INITIALIZER,
			   .turn = PTHREAD_COND_INITIALIZER };
	struct connection c = { 0 };
	pthread_t producer;

	CHECK(argc == 4);
	memset(payload, 'x', sizeof(payload) - 1);
	p.jobs = strtoull(argv[2], NULL, 10);
	p.rate = atof(argv[3]);
	p.latency_ms = xcalloc(p.jobs, sizeof(double));
	connection_open(&c, p.path, true);
	p.began_ns = clock_mono_ns();
	CHECK(pthread_create(&producer, NULL, produce, &p) == 0);
	consume(&p);
	pthread_join(producer, NULL);
	double seconds = (double)(clock_mono_ns() - p.began_ns) / 1e9;

	printf("{\"rate\":%.1f,\"p50_ms\":%.3f,\"p99_ms\":%.3f}\n", (double)p.jobs / seconds,
	       probe_quantile(p.latency_ms, p.jobs, 0.5),
	       probe_quantile(p.latency_ms, p.jobs, 0.99));
	return 0;
}
