/* SPDX-License-Identifier: Apache-2.0 */
/* How fast a store is by itself: no HTTP, no engine, no handlers. Accepts jobs in batches of 256
 * requests, then drains them with one and two connections: completing nothing, or one inserted row
 * a job (folded, and a statement a job). Any store URL; its schema is migrated, its tables are left
 * behind. Usage: store_bench URL [JOBS]. Prints one JSON line a measurement. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/store/acceptance.h"
#include "common/store/completion.h"
#include "common/store/session.h"

#define BATCH 256

static const char payload[] =
	"{\"pad\":\"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
	"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
	"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\"}";

static void must(int rc, const struct error *err)
{
	if (!rc)
		return;
	fprintf(stderr, "store_bench: %s: %s\n", error_code_name(err->code), err->message);
	exit(1);
}

static struct store *open_store(const char *url)
{
	struct store *store;
	struct error err;

	must(store_open(url, STORE_WRITE, "bench", &store, &err), &err);
	return store;
}

static void report(const char *what, int connections, size_t jobs, int64_t ns)
{
	printf("{\"measure\":\"%s\",\"connections\":%d,\"jobs\":%zu,"
	       "\"seconds\":%.3f,\"per_s\":%.0f}\n",
	       what, connections, jobs, (double)ns / 1e9, (double)jobs * 1e9 / (double)ns);
	fflush(stdout);
}

/* ---- accept */

struct accept_batch {
	struct new_job jobs[BATCH];
	struct accepted_job accepted[BATCH];
	struct acceptance requests[BATCH], *list[BATCH];
};

static void accept_some(struct store *store, struct accept_batch *b, const char *queue,
			size_t count)
{
	struct error err;

	for (size_t i = 0; i < count; i++) {
		b->jobs[i] = (struct new_job){ .tenant = "",
					       .owner = "bench",
					       .queue = queue,
					       .type = "bench.noop",
					       .payload = payload,
					       .payload_bytes = sizeof(payload) - 1,
					       .priority = PRIORITY_NORMAL };
		uuid_v7(&b->jobs[i].id);
		b->requests[i] = (struct acceptance){ .jobs = &b->jobs[i],
						      .job_count = 1,
						      .accepted = &b->accepted[i] };
		b->list[i] = &b->requests[i];
	}
	must(acceptance_commit(store, b->list, count, &err), &err);
	for (size_t i = 0; i < count; i++)
		CHECK(b->requests[i].verdict == ACCEPTANCE_ACCEPTED);
}

static void accept_all(struct store *store, const char *queue, size_t jobs)
{
	struct accept_batch *b = xcalloc(1, sizeof(*b));
	int64_t start_ns = clock_mono_ns();

	for (size_t done = 0; done < jobs; done += BATCH)
		accept_some(store, b, queue, jobs - done < BATCH ? jobs - done : BATCH);
	report("accept", 1, jobs, clock_mono_ns() - start_ns);
	free(b);
}

/* ---- drain */

struct drainer {
	const char *url, *queue;
	const char *sql; /* a statement a job with its id as $1, or NULL */
	size_t done;
	pthread_t thread;
};

struct drain_batch {
	struct completion items[BATCH], *list[BATCH];
	struct sql_value args[BATCH];
	struct sql_statement statements[BATCH];
	char ids[BATCH][UUID_TEXT];
};

static void complete(struct store *store, const struct drainer *d, struct drain_batch *b,
		     struct claim *claim, struct claim_request *next, struct arena *arena)
{
	struct uuid lease = claim->count ? claim->jobs[0]->batch : next->batch;
	struct claim taken;
	struct error err;

	for (size_t i = 0; i < claim->count; i++) {
		b->items[i] = (struct completion){ .kind = COMPLETION_FINISH,
						   .job = claim->jobs[i],
						   .outcome = OUTCOME_DONE,
						   .state = JOB_COMPLETED };
		b->list[i] = &b->items[i];
		if (!d->sql)
			continue;
		b->args[i] =
			(struct sql_value){ .kind = SQL_TEXT,
					    .data = uuid_format(&claim->jobs[i]->id, b->ids[i]),
					    .bytes = UUID_TEXT - 1 };
		b->statements[i] = (struct sql_statement){
			.sql = d->sql, .args = &b->args[i], .arg_count = 1, .rows = 1
		};
		b->items[i].writes =
			(struct write_set){ .statements = &b->statements[i], .statement_count = 1 };
	}
	uuid_v7(&next->batch);
	struct completion_batch batch = { .items = b->list,
					  .count = claim->count,
					  .finished_leases = &lease,
					  .finished_lease_count = claim->count > 0,
					  .claim = next,
					  .mode = COMPLETION_OPTIMISTIC };

	must(completion_commit(store, &batch, arena, &taken, &err), &err);
	for (size_t i = 0; i < claim->count; i++) {
		struct arena *gone = claim->jobs[i]->arena;

		CHECK(b->items[i].fate == COMPLETION_COMMITTED);
		arena_free(&gone);
	}
	*claim = taken;
}

static void *drain(void *context)
{
	struct drainer *d = context;
	struct store *store = open_store(d->url);
	struct session_info session = { .host = "bench", .pid = getpid(), .lease_ms = 60000 };
	struct drain_batch *b = xcalloc(1, sizeof(*b));
	struct arena *arenas[2] = { arena_new(0), arena_new(0) };
	struct claim claim = { 0 };
	struct error err;
	bool fresh;
	size_t turn = 0;

	uuid_v7(&session.id);
	must(session_renew(store, &session, &fresh, &err), &err);
	struct claim_request request = { .session = session.id,
					 .queues = &d->queue,
					 .queue_count = 1,
					 .max = BATCH,
					 .cursor = claim_cursor_new() };
	do {
		arena_reset(arenas[++turn % 2]);
		complete(store, d, b, &claim, &request, arenas[turn % 2]);
		d->done += claim.count;
	} while (claim.count);
	claim_cursor_free(&request.cursor);
	arena_free(&arenas[0]);
	arena_free(&arenas[1]);
	free(b);
	store_close(&store);
	return NULL;
}

static void drain_all(const char *url, const char *what, const char *queue, const char *sql,
		      int connections, size_t jobs)
{
	struct drainer drainers[2] = { 0 };
	int64_t start_ns = clock_mono_ns();
	size_t done = 0;

	for (int i = 0; i < connections; i++) {
		drainers[i] = (struct drainer){ .url = url, .queue = queue, .sql = sql };
		CHECK(pthread_create(&drainers[i].thread, NULL, drain, &drainers[i]) == 0);
	}
	for (int i = 0; i < connections; i++) {
		pthread_join(drainers[i].thread, NULL);
		done += drainers[i].done;
	}
	report(what, connections, done, clock_mono_ns() - start_ns);
	CHECK(done == jobs);
}

/* The table of the user's, made by a job's own write set. */
static void make_table(struct store *store)
{
	static const struct sql_statement create = {
		.sql = "CREATE TABLE IF NOT EXISTS bench_rows (job_id TEXT, what TEXT)",
		.rows = SQL_ROWS_ANY
	};
	struct accept_batch *b = xcalloc(1, sizeof(*b));
	struct session_info session = { .host = "bench", .pid = getpid(), .lease_ms = 60000 };
	const char *queue = "bench.setup";
	struct arena *arena = arena_new(0);
	struct claim claim;
	struct error err;
	bool fresh;

	uuid_v7(&session.id);
	must(session_renew(store, &session, &fresh, &err), &err);
	accept_some(store, b, queue, 1);
	struct claim_request request = {
		.session = session.id, .queues = &queue, .queue_count = 1, .max = 1
	};

	uuid_v7(&request.batch);
	must(claim_take(store, &request, arena, &claim, &err), &err);
	CHECK(claim.count == 1);
	struct completion item = { .kind = COMPLETION_FINISH,
				   .job = claim.jobs[0],
				   .outcome = OUTCOME_DONE,
				   .state = JOB_COMPLETED,
				   .writes = { .statements = &create, .statement_count = 1 } };
	struct completion *list = &item;
	struct completion_batch batch = { .items = &list,
					  .count = 1,
					  .finished_leases = &request.batch,
					  .finished_lease_count = 1,
					  .mode = COMPLETION_OPTIMISTIC };
	struct claim none;

	must(completion_commit(store, &batch, arena, &none, &err), &err);
	struct arena *gone = claim.jobs[0]->arena;

	arena_free(&gone);
	arena_free(&arena);
	free(b);
}

int main(int argc, char **argv)
{
	static const struct {
		const char *what, *sql;
	} works[] = {
		{ "drain noop", NULL },
		{ "drain row", "INSERT INTO bench_rows (job_id, what) VALUES ($1, 'row')" },
		{ "drain row unfolded",
		  "INSERT INTO bench_rows (job_id, what) SELECT CAST($1 AS TEXT), 'row'" },
	};
	size_t jobs = argc > 2 ? strtoul(argv[2], NULL, 10) : 50000;
	struct error err;
	int applied;

	if (argc < 2 || !jobs) {
		fprintf(stderr, "usage: store_bench URL [JOBS]\n");
		return 64;
	}
	struct store *store = open_store(argv[1]);

	must(store_migrate(store, &applied, &err), &err);
	make_table(store);
	for (size_t i = 0; i < ARRAY_LEN(works); i++)
		for (int connections = 1; connections <= 2; connections++) {
			accept_all(store, "bench", jobs);
			drain_all(argv[1], works[i].what, "bench", works[i].sql, connections, jobs);
		}
	store_close(&store);
	return 0;
}
