/* SPDX-License-Identifier: Apache-2.0 */
/* Edges between jobs on SQLite: stored with the jobs that wait, looked at by the sweep. */
#include "common/store/chain.h"

#include <string.h>

#include "common/base/idmap.h"
#include "common/job/chain.h"
#include "common/store/sqlite/sqlite_impl.h"

enum { HITS = 500 };

/* ---- acceptance */

int sqlite_add_chain(struct sqlite_store *store, const struct new_job *job, struct error *err_r)
{
	bool wants = job->after_count && chain_refers(job->payload, job->payload_bytes);
	struct accepted_job accepted;

	for (size_t k = 0; k < job->after_count; k++)
		if (sqlite_run(store, err_r,
			       "INSERT INTO windlass_edge (id, n, before, on_failure, wants, name) "
			       "VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
			       "uiuiis", &job->id, (int64_t)k, &job->after[k].id,
			       (int64_t)job->after[k].on_failure, (int64_t)wants,
			       job->after[k].name))
			return -1;
	for (size_t i = 0; i < job->then_count; i++)
		if (sqlite_enlist(store, &job->then[i], false, &accepted, err_r))
			return -1;
	return 0;
}

/* What has a unique key may not be stored at all, so it does not count as being there. */
static struct idmap *own_jobs(const struct acceptance *request)
{
	struct idmap *own = idmap_new();

	for (size_t i = 0; i < request->job_count; i++)
		if (!request->jobs[i].unique_key && !request->accepted[i].state)
			idmap_put(own, &request->jobs[i].id, own);
	return own;
}

/* 1, 0, -1 */
static int is_there(struct sqlite_store *store, const struct new_job *job, const struct uuid *id,
		    struct error *err_r)
{
	int64_t one;

	return sqlite_number(store, err_r, &one,
			     "SELECT 1 FROM windlass_jobs WHERE id = ?1 AND tenant = ?2 AND (?3 IS "
			     "NULL OR owner = ?3)",
			     "uss", id, job->tenant, job->after_any ? NULL : job->owner);
}

static int check_edges(struct sqlite_store *store, struct acceptance *request, size_t i,
		       const struct idmap *own, struct error *err_r)
{
	const struct new_job *job = &request->jobs[i];

	for (size_t k = 0; k < job->after_count && !request->verdict; k++) {
		int rc = idmap_get(own, &job->after[k].id)
				 ? 1
				 : is_there(store, job, &job->after[k].id, err_r);

		if (rc < 0)
			return -1;
		if (rc)
			continue;
		request->verdict = ACCEPTANCE_NO_SUCH_JOB;
		request->bad_index = i;
		request->bad_after = k;
	}
	return 0;
}

int sqlite_check_chains(struct sqlite_store *store, struct acceptance *request, struct error *err_r)
{
	struct idmap *own;
	size_t edges = 0;
	int rc = 0;

	for (size_t i = 0; i < request->job_count; i++)
		edges += request->jobs[i].after_count;
	if (!edges)
		return 0;
	if (chain_has_cycle(request->jobs, request->job_count, &request->bad_index)) {
		request->verdict = ACCEPTANCE_CIRCLE;
		return 0;
	}
	own = own_jobs(request);
	for (size_t i = 0; rc == 0 && i < request->job_count; i++)
		rc = request->accepted[i].state ? 0 : check_edges(store, request, i, own, err_r);
	idmap_free(&own);
	return rc;
}

int sqlite_chain_again(struct sqlite_store *store, const struct uuid *id, struct error *err_r)
{
	int64_t one;
	int rc = sqlite_number(store, err_r, &one, "SELECT 1 FROM windlass_edge WHERE id = ?1", "u",
			       id);

	if (rc != 1)
		return rc;
	return sqlite_run(store, err_r,
			  "UPDATE windlass_edge SET state = NULL, result = NULL, reason = NULL "
			  "WHERE id = ?1 AND before IN (SELECT id FROM windlass_jobs)",
			  "u", id)
		       ? -1
		       : 1;
}

/* ---- the sweep */

#define ENDED_EDGES                                                                            \
	"FROM windlass_edge e INDEXED BY windlass_edge_pending CROSS JOIN windlass_done d ON " \
	"d.id = e.before WHERE e.state IS NULL AND (d.state = 8 OR e.on_failure <> 3)"

struct hit {
	struct uuid id;
	int64_t n;
};

static int find_hits(struct sqlite_store *store, struct hit *hits, size_t *count_r,
		     struct error *err_r)
{
	sqlite3_stmt *stmt = sqlite_bind(store, err_r, "SELECT e.id, e.n " ENDED_EDGES " LIMIT ?1",
					 "i", (int64_t)HITS);
	int rc;

	*count_r = 0;
	if (!stmt)
		return -1;
	while ((rc = sqlite_next(store, stmt, err_r)) == 1) {
		struct hit *hit = &hits[(*count_r)++];

		sqlite_column_uuid(stmt, 0, &hit->id);
		hit->n = sqlite3_column_int64(stmt, 1);
	}
	return rc;
}

static int settle(struct sqlite_store *store, const struct hit *hit, struct error *err_r)
{
	return sqlite_run(
		store, err_r,
		"UPDATE windlass_edge SET (state, result, reason) = (SELECT d.state, CASE WHEN "
		"windlass_edge.wants THEN d.result END, d.reason FROM windlass_done d WHERE d.id = "
		"windlass_edge.before) WHERE id = ?1 AND n = ?2",
		"ui", &hit->id, hit->n);
}

static int read_edges(struct sqlite_store *store, const struct uuid *id, struct chain_edge *edges,
		      size_t *count_r, struct error *err_r)
{
	struct arena *arena = store->tx.arena;
	sqlite3_stmt *stmt = sqlite_bind(
		store, err_r,
		"SELECT before, name, on_failure, state, result, reason FROM windlass_edge WHERE "
		"id = ?1 ORDER BY n",
		"u", id);
	int rc;

	*count_r = 0;
	if (!stmt)
		return -1;
	while ((rc = sqlite_next(store, stmt, err_r)) == 1) {
		struct chain_edge *edge = &edges[(*count_r)++];

		CHECK(*count_r <= JOB_AFTER_MAX);
		sqlite_column_uuid(stmt, 0, &edge->after.id);
		edge->after.name = sqlite_column_dup(stmt, 1, arena);
		edge->after.on_failure = (enum edge_failure)sqlite3_column_int(stmt, 2);
		edge->state = (enum job_state)sqlite3_column_int(stmt, 3);
		edge->result = sqlite_column_dup(stmt, 4, arena);
		edge->reason = sqlite_column_dup(stmt, 5, arena);
	}
	return rc;
}

struct waiter {
	struct sqlite_waiting waiting;
	char *payload;
};

/* 1; 0: it does not wait any more. */
static int find_waiter(struct sqlite_store *store, const struct uuid *id, struct waiter *waiter_r,
		       struct error *err_r)
{
	struct arena *arena = store->tx.arena;
	sqlite3_stmt *stmt = sqlite_bind(
		store, err_r,
		"SELECT r.queue, r.priority, j.order_key, j.seq, j.payload FROM windlass_ready r "
		"JOIN windlass_jobs j ON j.id = r.id WHERE r.id = ?1 AND r.due = " SQLITE_NEVER_SQL
		" AND r.attempt = 0",
		"u", id);
	int rc = stmt ? sqlite_next(store, stmt, err_r) : -1;

	if (rc != 1)
		return rc;
	*waiter_r = (struct waiter){
		.waiting = { .queue = sqlite_column_dup(stmt, 0, arena),
			     .priority = sqlite3_column_int(stmt, 1),
			     .order_key = sqlite_column_dup(stmt, 2, arena),
			     .seq = sqlite3_column_int64(stmt, 3) },
		.payload = sqlite_column_dup(stmt, 4, arena),
	};
	sqlite_done(stmt);
	return 1;
}

static int free_job(struct sqlite_store *store, const struct uuid *id, const struct waiter *waiter,
		    const char *payload, struct error *err_r)
{
	if (payload &&
	    sqlite_run(store, err_r,
		       "UPDATE windlass_jobs SET payload = ?2, unchecked = 1 WHERE id = ?1", "us",
		       id, payload))
		return -1;
	if (sqlite_unwait(store, id, NULL, err_r) < 0 ||
	    sqlite_wait(store, id, &waiter->waiting, err_r))
		return -1;
	return sqlite_run(store, err_r, "DELETE FROM windlass_edge WHERE id = ?1", "u", id);
}

static int discard_job(struct sqlite_store *store, const struct uuid *id, const char *reason,
		       struct error *err_r)
{
	if (sqlite_unwait(store, id, NULL, err_r) < 0 ||
	    sqlite_run(store, err_r,
		       "INSERT INTO windlass_done (id, state, attempt, reason, finished) VALUES "
		       "(?1, ?2, 0, ?3, ?4)",
		       "uisi", id, (int64_t)JOB_DISCARDED, reason, store->tx.now_ms) ||
	    sqlite_history(store, id, 0, OUTCOME_DISCARD, false, NULL, reason, err_r))
		return -1;
	if (sqlite_tally_job(store, id, JOB_DISCARDED, 1, err_r))
		return -1;
	return sqlite_on_end(store, id, 0, JOB_DISCARDED, reason, err_r);
}

static int decide(struct sqlite_store *store, const struct uuid *id, struct chain_swept *swept,
		  struct error *err_r)
{
	struct arena *arena = store->tx.arena;
	struct chain_edge *edges = ARENA_ARRAY(arena, struct chain_edge, JOB_AFTER_MAX);
	struct waiter waiter;
	char *payload, *reason;
	size_t count;
	int rc = find_waiter(store, id, &waiter, err_r);

	if (rc != 1)
		return rc;
	if (read_edges(store, id, edges, &count, err_r))
		return -1;
	switch (chain_decide(edges, count, waiter.payload, strlen(waiter.payload), arena, &payload,
			     &reason)) {
	case CHAIN_FREE:
		swept->freed++;
		return free_job(store, id, &waiter, payload, err_r);
	case CHAIN_DISCARD:
		swept->ended[swept->ended_count++] = *id;
		return discard_job(store, id, reason, err_r);
	case CHAIN_WAITS:
		break;
	}
	return 0;
}

static int sweep(struct sqlite_store *store, struct chain_swept *swept, struct error *err_r)
{
	struct hit *hits = ARENA_ARRAY(store->tx.arena, struct hit, HITS);
	size_t count;

	if (find_hits(store, hits, &count, err_r))
		return -1;
	swept->more = count == HITS;
	for (size_t i = 0; i < count; i++)
		if (settle(store, &hits[i], err_r))
			return -1;
	for (size_t i = 0; i < count; i++)
		if (decide(store, &hits[i].id, swept, err_r))
			return -1;
	return 0;
}

/* One writer at a time, and one file: the hints are not needed to find the few edges. */
int sqlite_chain_sweep(struct store *base, const struct uuid *ended, size_t ended_count,
		       struct arena *arena, struct chain_swept *swept_r, struct error *err_r)
{
	struct sqlite_store *store = sqlite_of(base);
	int64_t one = 0;
	int rc;

	(void)ended, (void)ended_count;
	if (sqlite_ensure(store, err_r))
		return -1;
	rc = sqlite_number(store, err_r, &one,
			   "SELECT EXISTS (SELECT 1 " ENDED_EDGES ") FROM windlass_edge INDEXED BY "
			   "windlass_edge_pending WHERE state IS NULL LIMIT 1",
			   "");
	swept_r->pending = rc == 1;
	if (rc < 0 || !one)
		return rc < 0 ? -1 : 0;
	if (sqlite_begin(store, SQLITE_DURABLE, err_r))
		return -1;
	swept_r->ended = ARENA_ARRAY(arena, struct uuid, HITS);
	if (sweep(store, swept_r, err_r)) {
		sqlite_rollback(store);
		return -1;
	}
	return sqlite_commit(store, err_r);
}
