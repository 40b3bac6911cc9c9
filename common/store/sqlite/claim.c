/* SPDX-License-Identifier: Apache-2.0 */
/* Claims on SQLite: the first available rows of each queue are picked, deleted as ranges of the
 * order, and put under one lease. There is one writer at a time and no dead rows, so neither SKIP
 * LOCKED nor the caller's cursor is needed here. */
#include "common/store/claim.h"

#include <stdlib.h>
#include <string.h>

#include "common/store/sqlite/sqlite_impl.h"

struct pick {
	struct uuid id;
	int64_t seq, since;
	int priority, attempt;
	const char *queue;
};

struct picks {
	struct pick *list;
	size_t count, max;
};

static int by_order(const void *a, const void *b)
{
	const struct pick *left = a, *right = b;

	if (left->priority != right->priority)
		return left->priority < right->priority ? -1 : 1;
	return left->seq < right->seq ? -1 : left->seq > right->seq;
}

/* Picks up to `share` rows of a queue and a priority and removes them from ready. Returns how many,
 * or -1. */
static int pick_some(struct sqlite_store *store, const char *queue, int priority, size_t share,
		     struct picks *picks, struct error *err_r)
{
	sqlite3_stmt *stmt = sqlite_bind(
		store, err_r,
		"SELECT id, seq, attempt, since FROM windlass_ready INDEXED BY windlass_ready_order "
		"WHERE queue = ?1 AND priority = ?2 AND due IS NULL ORDER BY seq LIMIT ?3",
		"sii", queue, (int64_t)priority, (int64_t)share);
	size_t first = picks->count;
	int rc;

	if (!stmt)
		return -1;
	while ((rc = sqlite_next(store, stmt, err_r)) == 1) {
		struct pick *pick = &picks->list[picks->count++];

		sqlite_column_uuid(stmt, 0, &pick->id);
		pick->seq = sqlite3_column_int64(stmt, 1);
		pick->attempt = sqlite3_column_int(stmt, 2) + 1;
		pick->since = sqlite3_column_int64(stmt, 3);
		pick->priority = priority;
		pick->queue = queue;
	}
	if (rc < 0 || picks->count == first)
		return rc;
	if (sqlite_run(store, err_r,
		       "DELETE FROM windlass_ready INDEXED BY windlass_ready_order "
		       "WHERE queue = ?1 AND priority = ?2 AND due IS NULL AND seq <= ?3",
		       "sii", queue, (int64_t)priority, picks->list[picks->count - 1].seq))
		return -1;
	CHECK(store->changed == (int64_t)(picks->count - first));
	sqlite_count(store, queue, -(int)(picks->count - first), 0, (int)(picks->count - first));
	return (int)(picks->count - first);
}

/* Fair within a priority: every queue may give an equal part; what some do not need goes to the
 * others in the next round. */
static int pick_priority(struct sqlite_store *store, const char *const *queues, size_t queue_count,
			 int priority, struct picks *picks, struct error *err_r)
{
	size_t giving = queue_count, gave;

	do {
		size_t share = (picks->max - picks->count + giving - 1) / giving;

		gave = 0;
		for (size_t i = 0; i < queue_count && picks->count < picks->max; i++) {
			size_t left = picks->max - picks->count;
			size_t want = share < left ? share : left;
			int got = pick_some(store, queues[(store->turn + i) % queue_count],
					    priority, want, picks, err_r);

			if (got < 0)
				return -1;
			gave += (size_t)got == want;
		}
		giving = gave;
	} while (gave && picks->count < picks->max);
	return 0;
}

static int without_paused(struct sqlite_store *store, const struct claim_request *request,
			  const char ***queues_r, size_t *count_r, struct error *err_r)
{
	*queues_r = ARENA_ARRAY(store->tx.arena, const char *, request->queue_count + 1);
	*count_r = 0;
	for (size_t i = 0; i < request->queue_count; i++) {
		int64_t paused = 0;

		if (sqlite_number(store, err_r, &paused,
				  "SELECT paused FROM windlass_queue WHERE name = ?1", "s",
				  request->queues[i]) < 0)
			return -1;
		if (!paused)
			(*queues_r)[(*count_r)++] = request->queues[i];
	}
	return 0;
}

static int write_lease(struct sqlite_store *store, const struct claim_request *request,
		       const struct picks *picks, struct error *err_r)
{
	struct uuid *ids = ARENA_ARRAY(store->tx.arena, struct uuid, picks->count);
	uint8_t *attempts = arena_alloc(store->tx.arena, picks->count * 4);

	for (size_t i = 0; i < picks->count; i++) {
		uint32_t attempt = (uint32_t)picks->list[i].attempt;

		ids[i] = picks->list[i].id;
		for (int byte = 0; byte < 4; byte++)
			attempts[i * 4 + byte] = (uint8_t)(attempt >> (24 - 8 * byte));
	}
	return sqlite_run(
		store, err_r,
		"INSERT INTO windlass_lease (batch, owner, ids, attempts, taken) VALUES (?1, ?2, ?3, ?4, ?5)",
		"uubbi", &request->batch, &request->session, ids, picks->count * sizeof(*ids),
		attempts, picks->count * 4, store->tx.now_ms);
}

static int read_receipts(struct sqlite_store *store, struct claimed_job *job, struct error *err_r)
{
	sqlite3_stmt *stmt = sqlite_bind(
		store, err_r,
		"SELECT step, status, body FROM windlass_call WHERE id = ?1 ORDER BY at, step", "u",
		&job->id);
	size_t cap = 0;
	int rc;

	if (!stmt)
		return -1;
	while ((rc = sqlite_next(store, stmt, err_r)) == 1) {
		struct receipt *receipt;

		if (job->receipt_count == cap) {
			struct receipt *more =
				ARENA_ARRAY(job->arena, struct receipt, cap ? cap * 2 : 4);

			if (cap)
				memcpy(more, job->receipts, cap * sizeof(*more));
			job->receipts = more;
			cap = cap ? cap * 2 : 4;
		}
		receipt = &job->receipts[job->receipt_count++];
		receipt->step = sqlite_column_dup(stmt, 0, job->arena);
		receipt->status = sqlite3_column_int(stmt, 1);
		receipt->body_bytes = (size_t)sqlite3_column_bytes(stmt, 2);
		receipt->body = arena_strndup(
			job->arena, receipt->body_bytes ? sqlite3_column_blob(stmt, 2) : "",
			receipt->body_bytes);
	}
	return rc;
}

/* What earlier attempts left: failures since the last redrive, steps, receipts, a request to stop.
 */
static int read_past(struct sqlite_store *store, struct claimed_job *job, struct error *err_r)
{
	sqlite3_stmt *stmt = sqlite_bind(
		store, err_r,
		"SELECT count(*), count(*) FILTER (WHERE outcome = ?2), "
		"EXISTS (SELECT 1 FROM windlass_cancel WHERE id = ?1) FROM windlass_attempt "
		"WHERE id = ?1 AND counts AND entry > coalesce((SELECT max(entry) FROM windlass_attempt "
		"WHERE id = ?1 AND outcome = 0), 0)",
		"ui", &job->id, (int64_t)OUTCOME_CRASHED);
	int rc = stmt ? sqlite_next(store, stmt, err_r) : -1;
	char *steps;

	if (rc < 0)
		return -1;
	job->failures = sqlite3_column_int(stmt, 0);
	job->strikes = sqlite3_column_int(stmt, 1);
	job->cancel_asked = sqlite3_column_int(stmt, 2);
	sqlite_done(stmt);
	if (sqlite_steps(store, &job->id, job->arena, &steps, err_r) ||
	    read_receipts(store, job, err_r))
		return -1;
	job->steps = steps;
	return 0;
}

static struct claimed_job *fill(sqlite3_stmt *stmt, const struct pick *pick,
				const struct uuid *batch)
{
	size_t payload_bytes = (size_t)sqlite3_column_bytes(stmt, 3);
	struct arena *arena = arena_new(payload_bytes + 1024);
	struct claimed_job *job = ARENA_NEW(arena, struct claimed_job);

	*job = (struct claimed_job){
		.arena = arena,
		.id = pick->id,
		.batch = *batch,
		.seq = pick->seq,
		.tenant = sqlite_column_dup(stmt, 0, arena),
		.owner = sqlite_column_dup(stmt, 1, arena),
		.queue = arena_strdup(arena, pick->queue),
		.type = sqlite_column_dup(stmt, 2, arena),
		.payload = sqlite_column_dup(stmt, 3, arena),
		.payload_bytes = payload_bytes,
		.priority = (enum job_priority)pick->priority,
		.attempt = pick->attempt,
		.max_attempts = sqlite3_column_int(stmt, 4),
		.timeout_ms = sqlite3_column_int64(stmt, 5),
		.tags = sqlite_column_dup(stmt, 6, arena),
		.traceparent = sqlite_column_dup(stmt, 7, arena),
		.order_key = sqlite_column_dup(stmt, 8, arena),
		.fair_key = sqlite_column_dup(stmt, 9, arena),
		.created_ms = sqlite3_column_int64(stmt, 10),
		.due_ms = pick->since,
	};
	return job;
}

static int read_job(struct sqlite_store *store, const struct pick *pick, const struct uuid *batch,
		    struct claimed_job **job_r, struct error *err_r)
{
	sqlite3_stmt *stmt = sqlite_bind(
		store, err_r,
		"SELECT tenant, owner, type, payload, max_attempts, timeout_ms, tags, traceparent, order_key, "
		"fair_key, created FROM windlass_jobs WHERE id = ?1",
		"u", &pick->id);
	int rc = stmt ? sqlite_next(store, stmt, err_r) : -1;

	if (rc == 0)
		return error_set(err_r, ERROR_INTERNAL, "a ready row has no job");
	if (rc < 0)
		return -1;
	*job_r = fill(stmt, pick, batch);
	sqlite_done(stmt);
	if (pick->attempt > 1 && read_past(store, *job_r, err_r)) {
		struct arena *arena = (*job_r)->arena;

		arena_free(&arena);
		return -1;
	}
	return 0;
}

void sqlite_claim_drop(struct claim *claim)
{
	for (size_t i = 0; i < claim->count; i++) {
		struct arena *arena = claim->jobs[i]->arena;

		arena_free(&arena);
	}
	*claim = (struct claim){ 0 };
}

static int hand_out(struct sqlite_store *store, const struct claim_request *request,
		    struct picks *picks, struct arena *arena, struct claim *claim_r,
		    struct error *err_r)
{
	qsort(picks->list, picks->count, sizeof(*picks->list), by_order);
	if (write_lease(store, request, picks, err_r))
		return -1;
	claim_r->jobs = ARENA_ARRAY(arena, struct claimed_job *, picks->count);
	for (; claim_r->count < picks->count; claim_r->count++)
		if (read_job(store, &picks->list[claim_r->count], &request->batch,
			     &claim_r->jobs[claim_r->count], err_r)) {
			sqlite_claim_drop(claim_r);
			return -1;
		}
	return 0;
}

int sqlite_claim(struct sqlite_store *store, const struct claim_request *request,
		 struct arena *arena, struct claim *claim_r, struct error *err_r)
{
	struct picks picks = { .max = request->max };
	const char **queues;
	size_t queue_count;
	int64_t alive;
	int rc;

	*claim_r = (struct claim){ 0 };
	/* A session that ran out while its process slept takes nothing until it is renewed. */
	rc = sqlite_number(store, err_r, &alive,
			   "SELECT 1 FROM windlass_session WHERE id = ?1 AND until > ?2", "ui",
			   &request->session, store->tx.now_ms);
	if (rc != 1)
		return rc;
	if (without_paused(store, request, &queues, &queue_count, err_r))
		return -1;
	if (!queue_count)
		return 0;
	picks.list = ARENA_ARRAY(store->tx.arena, struct pick, request->max);
	for (int priority = 0; priority < PRIORITY_COUNT && picks.count < picks.max; priority++)
		if (pick_priority(store, queues, queue_count, priority, &picks, err_r))
			return -1;
	store->turn++;
	return picks.count ? hand_out(store, request, &picks, arena, claim_r, err_r) : 0;
}

/* An idle worker asks often: whether anything waits is read before the writers' mutex is taken. */
static int anything(struct sqlite_store *store, const struct claim_request *request,
		    struct error *err_r)
{
	for (size_t i = 0; i < request->queue_count; i++) {
		int64_t one;
		int rc = sqlite_number(
			store, err_r, &one,
			"SELECT 1 FROM windlass_ready INDEXED BY windlass_ready_order WHERE queue = ?1 AND due IS NULL "
			"LIMIT 1",
			"s", request->queues[i]);

		if (rc)
			return rc;
	}
	return 0;
}

int sqlite_claim_take(struct store *base, const struct claim_request *request, struct arena *arena,
		      struct claim *claim_r, struct error *err_r)
{
	struct sqlite_store *store = sqlite_of(base);
	int rc;

	CHECK(request->max > 0 && request->max <= 1000);
	*claim_r = (struct claim){ 0 };
	if (sqlite_ensure(store, err_r))
		return -1;
	rc = anything(store, request, err_r);
	if (rc != 1)
		return rc;
	if (sqlite_begin(store, SQLITE_RELAXED, err_r))
		return -1;
	if (sqlite_claim(store, request, arena, claim_r, err_r)) {
		sqlite_rollback(store);
		return -1;
	}
	if (FAILPOINT("claim_before_commit")) {
		sqlite_rollback(store);
		sqlite_claim_drop(claim_r);
		return error_set(err_r, ERROR_UNAVAILABLE, "failpoint");
	}
	rc = sqlite_commit(store, err_r);
	if (rc == 0 && FAILPOINT("claim_after_commit"))
		rc = error_set(err_r, ERROR_UNKNOWN, "failpoint");
	if (rc)
		sqlite_claim_drop(claim_r);
	return rc;
}
