/* SPDX-License-Identifier: Apache-2.0 */
/* Claims on SQLite: the first available rows of each queue are picked, deleted as ranges of the
 * order, and put under one lease. There is one writer at a time and no dead rows, so neither SKIP
 * LOCKED nor the caller's cursor is needed here. */
#include "common/store/claim.h"

#include <stdlib.h>
#include <string.h>

#include "common/store/sqlite/sqlite_impl.h"

struct pick {
	struct sqlite_hand_out out;
	int priority;
};

struct picks {
	struct pick *list;
	size_t count, max;
	size_t limited;    /* the first ones: their order is that of turns */
	const char *slots; /* NULL: there are none */
};

static int by_order(const void *a, const void *b)
{
	const struct pick *left = a, *right = b;

	if (left->priority != right->priority)
		return left->priority < right->priority ? -1 : 1;
	return left->out.seq < right->out.seq ? -1 : left->out.seq > right->out.seq;
}

/* Columns id, seq, attempt, since. Returns how many rows, or -1. */
static int read_picks(struct sqlite_store *store, sqlite3_stmt *stmt, int priority,
		      struct picks *picks, struct error *err_r)
{
	size_t first = picks->count;
	int rc;

	if (!stmt)
		return -1;
	while ((rc = sqlite_next(store, stmt, err_r)) == 1) {
		struct pick *pick = &picks->list[picks->count++];

		sqlite_column_uuid(stmt, 0, &pick->out.id);
		pick->out.seq = sqlite3_column_int64(stmt, 1);
		pick->out.attempt = sqlite3_column_int(stmt, 2) + 1;
		pick->out.since = sqlite3_column_int64(stmt, 3);
		pick->priority = priority;
	}
	return rc < 0 ? -1 : (int)(picks->count - first);
}

/* Of each key the first of all that wait, as long as none of the key is handed out. */
static const char heads[] =
	"SELECT r.id, r.seq, r.attempt, r.since FROM windlass_ready r INDEXED BY windlass_ready_order "
	"WHERE r.queue = ?1 AND r.priority = ?2 AND r.due IS NULL AND (r.order_key IS NULL OR (NOT EXISTS "
	"(SELECT 1 FROM windlass_ready e WHERE e.queue = ?1 AND e.order_key = r.order_key AND e.seq < r.seq) "
	"AND NOT EXISTS (SELECT 1 FROM windlass_order_open o WHERE o.queue = ?1 AND o.key = r.order_key))) "
	"ORDER BY r.seq LIMIT ?3";

static int take_heads(struct sqlite_store *store, const struct picks *picks, size_t first,
		      struct error *err_r)
{
	for (size_t i = first; i < picks->count; i++) {
		const struct uuid *id = &picks->list[i].out.id;

		if (sqlite_run(
			    store, err_r,
			    "INSERT INTO windlass_order_open (queue, key, id) SELECT queue, order_key, id "
			    "FROM windlass_ready WHERE id = ?1 AND order_key IS NOT NULL",
			    "u", id) ||
		    sqlite_run(store, err_r, "DELETE FROM windlass_ready WHERE id = ?1", "u", id))
			return -1;
	}
	return 0;
}

/* All rows up to the last one that was picked. */
static int take_range(struct sqlite_store *store, const char *queue, const struct picks *picks,
		      size_t first, struct error *err_r)
{
	const struct pick *last = &picks->list[picks->count - 1];

	if (sqlite_run(store, err_r,
		       "DELETE FROM windlass_ready INDEXED BY windlass_ready_order "
		       "WHERE queue = ?1 AND priority = ?2 AND due IS NULL AND seq <= ?3",
		       "sii", queue, (int64_t)last->priority, last->out.seq))
		return -1;
	CHECK(store->changed == (int64_t)(picks->count - first));
	return 0;
}

/* Picks up to `share` rows of a queue and a priority and removes them from ready. Returns how many,
 * or -1. */
static int pick_some(struct sqlite_store *store, const struct sqlite_source *source, int priority,
		     size_t share, struct picks *picks, struct error *err_r)
{
	static const char first_rows[] =
		"SELECT id, seq, attempt, since FROM windlass_ready INDEXED BY windlass_ready_order "
		"WHERE queue = ?1 AND priority = ?2 AND due IS NULL ORDER BY seq LIMIT ?3";
	const char *queue = source->queue;
	size_t first = picks->count;
	int count = read_picks(store,
			       sqlite_bind(store, err_r, source->ordered ? heads : first_rows,
					   "sii", queue, (int64_t)priority, (int64_t)share),
			       priority, picks, err_r);

	if (count <= 0)
		return count;
	if (source->ordered ? take_heads(store, picks, first, err_r)
			    : take_range(store, queue, picks, first, err_r))
		return -1;
	sqlite_count(store, queue, -count, 0, count);
	return count;
}

/* Fair within a priority: every queue may give an equal part; what some do not need goes to the
 * others in the next round. */
static int pick_priority(struct sqlite_store *store, const struct sqlite_source *sources,
			 size_t count, int priority, struct picks *picks, struct error *err_r)
{
	size_t giving = count, gave;

	do {
		size_t share = (picks->max - picks->count + giving - 1) / giving;

		gave = 0;
		for (size_t i = 0; i < count && picks->count < picks->max; i++) {
			size_t left = picks->max - picks->count;
			size_t want = share < left ? share : left;
			int got = pick_some(store, &sources[(store->turn + i) % count], priority,
					    want, picks, err_r);

			if (got < 0)
				return -1;
			gave += (size_t)got == want;
		}
		giving = gave;
	} while (gave && picks->count < picks->max);
	return 0;
}

/* Those with limits come last: *limited_r of them. */
static int without_paused(struct sqlite_store *store, const struct claim_request *request,
			  struct sqlite_source **sources_r, size_t *count_r, size_t *limited_r,
			  struct error *err_r)
{
	struct sqlite_source *list =
		ARENA_ARRAY(store->tx.arena, struct sqlite_source, 2 * request->queue_count + 1);
	size_t plain = 0, limited = 0;

	for (size_t i = 0; i < request->queue_count; i++) {
		int64_t flags = 0;

		if (sqlite_number(store, err_r, &flags,
				  "SELECT paused + 2 * ordered + 4 * managed FROM windlass_queue "
				  "WHERE name = ?1",
				  "s", request->queues[i]) < 0)
			return -1;
		struct sqlite_source source = { request->queues[i], flags & 2, (int)(flags >> 2) };

		if (flags & 1)
			continue;
		if (source.managed)
			list[request->queue_count + limited++] = source;
		else
			list[plain++] = source;
	}
	memmove(&list[plain], &list[request->queue_count], limited * sizeof(*list));
	*sources_r = list;
	*count_r = plain;
	*limited_r = limited;
	return 0;
}

/* A broker's lease names its queue and ends by itself. */
static int write_lease(struct sqlite_store *store, const struct claim_request *request,
		       int64_t lease_ms, const struct picks *picks, struct error *err_r)
{
	struct uuid *ids = ARENA_ARRAY(store->tx.arena, struct uuid, picks->count);
	int *attempts = ARENA_ARRAY(store->tx.arena, int, picks->count);
	struct sqlite_new_lease lease = {
		.batch = request->batch,
		.owner = request->session,
		.ids = ids,
		.attempts = attempts,
		.count = picks->count,
		.queue = lease_ms ? request->queues[0] : NULL,
		.until_ms = lease_ms ? store->tx.now_ms + lease_ms : 0,
		.slots = picks->slots,
	};

	for (size_t i = 0; i < picks->count; i++) {
		ids[i] = picks->list[i].out.id;
		attempts[i] = picks->list[i].out.attempt;
	}
	return sqlite_lease_add(store, &lease, err_r);
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

static struct claimed_job *fill(sqlite3_stmt *stmt, const struct sqlite_hand_out *out,
				const struct uuid *batch)
{
	size_t payload_bytes = (size_t)sqlite3_column_bytes(stmt, 3);
	struct arena *arena = arena_new(payload_bytes + CLAIMED_JOB_BYTES);
	struct claimed_job *job = ARENA_NEW(arena, struct claimed_job);

	*job = (struct claimed_job){
		.arena = arena,
		.id = out->id,
		.batch = *batch,
		.seq = out->seq,
		.tenant = sqlite_column_dup(stmt, 0, arena),
		.owner = sqlite_column_dup(stmt, 1, arena),
		.queue = sqlite_column_dup(stmt, 11, arena),
		.type = sqlite_column_dup(stmt, 2, arena),
		.payload = sqlite_column_dup(stmt, 3, arena),
		.payload_bytes = payload_bytes,
		.priority = (enum job_priority)sqlite3_column_int(stmt, 12),
		.attempt = out->attempt,
		.max_attempts = sqlite3_column_int(stmt, 4),
		.timeout_ms = sqlite3_column_int64(stmt, 5),
		.tags = sqlite_column_dup(stmt, 6, arena),
		.traceparent = sqlite_column_dup(stmt, 7, arena),
		.order_key = sqlite_column_dup(stmt, 8, arena),
		.fair_key = sqlite_column_dup(stmt, 9, arena),
		.created_ms = sqlite3_column_int64(stmt, 10),
		.due_ms = out->since,
		.unchecked = sqlite3_column_int(stmt, 13),
		.callback = sqlite_column_dup(stmt, 14, arena),
	};
	sqlite_column_uuid(stmt, 15, &job->run);
	return job;
}

int sqlite_handed_out(struct sqlite_store *store, const struct sqlite_hand_out *out,
		      const struct uuid *batch, struct claimed_job **job_r, struct error *err_r)
{
	sqlite3_stmt *stmt = sqlite_bind(
		store, err_r,
		"SELECT tenant, owner, type, payload, max_attempts, timeout_ms, tags, traceparent, order_key, "
		"fair_key, created, queue, priority, unchecked, callback, batch FROM windlass_jobs WHERE id = ?1",
		"u", &out->id);
	int rc = stmt ? sqlite_next(store, stmt, err_r) : -1;

	if (rc == 0)
		return error_set(err_r, ERROR_INTERNAL, "a ready row has no job");
	if (rc < 0)
		return -1;
	*job_r = fill(stmt, out, batch);
	sqlite_done(stmt);
	if (out->attempt > 1 && read_past(store, *job_r, err_r)) {
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
		    int64_t lease_ms, struct picks *picks, struct arena *arena,
		    struct claim *claim_r, struct error *err_r)
{
	qsort(picks->list + picks->limited, picks->count - picks->limited, sizeof(*picks->list),
	      by_order);
	if (write_lease(store, request, lease_ms, picks, err_r))
		return -1;
	claim_r->jobs = ARENA_ARRAY(arena, struct claimed_job *, picks->count);
	for (; claim_r->count < picks->count; claim_r->count++) {
		size_t i = claim_r->count;

		if (sqlite_handed_out(store, &picks->list[i].out, &request->batch,
				      &claim_r->jobs[i], err_r)) {
			sqlite_claim_drop(claim_r);
			return -1;
		}
		claim_r->jobs[i]->limited = i < picks->limited;
	}
	return 0;
}

/* A session that ran out while its process slept takes nothing until it is renewed. */
static int session_lives(struct sqlite_store *store, const struct uuid *session,
			 struct error *err_r)
{
	int64_t one;

	return sqlite_number(store, err_r, &one,
			     "SELECT 1 FROM windlass_session WHERE id = ?1 AND until > ?2", "ui",
			     session, store->tx.now_ms);
}

/* Queues with limits may give their part, rounded up. */
static int pick_limited(struct sqlite_store *store, const struct sqlite_source *sources,
			size_t count, size_t plain, struct picks *picks, struct claim *claim_r,
			struct error *err_r)
{
	struct sqlite_limited limited = {
		.sources = sources,
		.count = count,
		.max = (picks->max * count + count + plain - 1) / (count + plain),
	};

	if (!count)
		return 0;
	if (sqlite_limited_pick(store, &limited, err_r))
		return -1;
	for (size_t i = 0; i < limited.picked_count; i++)
		picks->list[picks->count++].out = limited.picked[i];
	picks->limited = picks->count;
	if (picks->count)
		picks->slots = limited.slots;
	claim_r->retry_ms = limited.retry_ms;
	return 0;
}

int sqlite_claim(struct sqlite_store *store, const struct claim_request *request, int64_t lease_ms,
		 struct arena *arena, struct claim *claim_r, struct error *err_r)
{
	struct picks picks = { .max = request->max };
	struct sqlite_source *sources;
	size_t count, limited;
	int rc = lease_ms ? 1 : session_lives(store, &request->session, err_r);

	*claim_r = (struct claim){ 0 };
	if (rc != 1)
		return rc;
	if (without_paused(store, request, &sources, &count, &limited, err_r))
		return -1;
	if (!count && !limited)
		return 0;
	picks.list = ARENA_ARRAY(store->tx.arena, struct pick, request->max);
	if (pick_limited(store, sources + count, limited, count, &picks, claim_r, err_r))
		return -1;
	for (int priority = 0; count && priority < PRIORITY_COUNT && picks.count < picks.max;
	     priority++)
		if (pick_priority(store, sources, count, priority, &picks, err_r))
			return -1;
	store->turn++;
	return picks.count ? hand_out(store, request, lease_ms, &picks, arena, claim_r, err_r) : 0;
}

int sqlite_claimable(struct sqlite_store *store, const struct claim_request *request,
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
	rc = sqlite_claimable(store, request, err_r);
	if (rc != 1)
		return rc;
	if (sqlite_begin(store, SQLITE_RELAXED, err_r))
		return -1;
	if (sqlite_claim(store, request, 0, arena, claim_r, err_r)) {
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
