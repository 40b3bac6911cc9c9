/* SPDX-License-Identifier: Apache-2.0 */
/* Claims: ready rows become one lease row, in a transaction of their own or as the last statement
 * of a completion. Lanes (a queue at a priority) are scanned in order, each by its index; rows that
 * another claimer holds are skipped. */
#include <string.h>

#include "common/base/failpoint.h"
#include "common/store/claim_cursor.h"
#include "common/store/postgres/postgres_impl.h"

/* ctid: the rows are locked, so they stay where they are. One that was promoted meanwhile is found
 * in its old version and is not deleted; whatever is not deleted is not taken. */
static const char take[] =
	"WITH lane AS MATERIALIZED (SELECT * FROM unnest($1::text[], $2::int2[], $3::int8[],"
	" $7::int4[], $8::int4[])   AS l(queue, priority, after, skip, share) "
	" WHERE NOT EXISTS (SELECT FROM windlass.queue q WHERE q.name = l.queue"
	" AND q.paused)), picked AS MATERIALIZED (SELECT r.place FROM lane  CROSS"
	" JOIN LATERAL (SELECT r.ctid AS place FROM windlass.ready r  "
	" WHERE r.queue = lane.queue AND r.priority = lane.priority AND r.seq > lane.after"
	" AND r.due IS NULL   ORDER BY r.seq LIMIT lane.share OFFSET lane.skip FOR"
	" UPDATE SKIP LOCKED) r LIMIT $4::int4), taken AS (DELETE FROM windlass.ready"
	" WHERE ctid = ANY (ARRAY(SELECT place FROM picked))  RETURNING id, seq, queue, priority,"
	" attempt + 1 AS attempt, since), held AS (INSERT INTO windlass.lease (batch, owner,"
	" taken, ids, attempts)  SELECT $5::uuid, $6::uuid, now(), array_agg(id),"
	" array_agg(attempt) FROM taken HAVING count(*) > 0), counted AS (INSERT INTO"
	" windlass.tally SELECT queue, -count(*), 0 FROM taken GROUP BY queue)"
	" SELECT t.id, t.seq, t.attempt, t.since, t.priority, t.queue, j.tenant, j.owner, j.type,"
	" j.payload, j.max_attempts, j.timeout_ms, j.tags, j.order_key, j.fair_key, j.traceparent,"
	" j.created, j.unchecked, (SELECT c.id FROM windlass.cancel c WHERE c.id = t.id) IS NOT"
	" NULL FROM taken t JOIN windlass.jobs j ON j.id = t.id ORDER BY t.priority, t.seq";

enum {
	C_ID,
	C_SEQ,
	C_ATTEMPT,
	C_SINCE,
	C_PRIORITY,
	C_QUEUE,
	C_TENANT,
	C_OWNER,
	C_TYPE,
	C_PAYLOAD,
	C_MAX_ATTEMPTS,
	C_TIMEOUT,
	C_TAGS,
	C_ORDER_KEY,
	C_FAIR_KEY,
	C_TRACEPARENT,
	C_CREATED,
	C_UNCHECKED,
	C_CANCEL
};

/* What has happened to jobs that were handed out before: failures since the last redrive, whether
 * they have ended after all. */
static const char past_of[] =
	"SELECT i.n, d.id IS NOT NULL, (SELECT count(*) FILTER (WHERE a.counts) FROM"
	" windlass.attempt a WHERE a.id = i.id AND a.n > m.n),"
	" (SELECT count(*) FILTER (WHERE a.counts AND a.outcome = 3) FROM windlass.attempt a WHERE"
	" a.id = i.id AND a.n > m.n)"
	" FROM unnest($1::uuid[], $2::int4[]) AS i(id, n)"
	" CROSS JOIN LATERAL (SELECT coalesce(max(a.n), 0) AS n FROM windlass.attempt a WHERE a.id"
	" = i.id AND a.outcome = 0) m"
	" LEFT JOIN windlass.done d ON d.id = i.id ORDER BY i.n";

/* ---- sending */

struct lanes {
	struct array *queues, *priorities, *after, *skips, *shares;
};

static void add_lanes(struct lanes *lanes, const struct claim_request *request, size_t turn,
		      int priority, size_t skip, size_t share)
{
	for (size_t i = 0; i < request->queue_count; i++) {
		const char *queue = request->queues[(i + turn) % request->queue_count];

		array_text(lanes->queues, queue);
		array_i64(lanes->priorities, priority);
		array_i64(lanes->after,
			  claim_cursor_after(request->cursor, queue, (enum job_priority)priority));
		array_i64(lanes->skips, (int64_t)skip);
		array_i64(lanes->shares, (int64_t)share);
	}
}

/* Of each priority every queue first gets an equal share; then whoever has more gets what is left
 * (its first rows are passed over again: they are locked, not yet deleted). */
size_t postgres_claim_send(struct postgres *pg, const struct claim_request *request)
{
	size_t turn = claim_cursor_turn(request->cursor);
	size_t share = (request->max + request->queue_count - 1) / request->queue_count;
	struct lanes lanes;

	postgres_say(pg, take);
	lanes.queues = postgres_arg_array(pg, TYPE_TEXT);
	lanes.priorities = postgres_arg_array(pg, TYPE_INT2);
	lanes.after = postgres_arg_array(pg, TYPE_INT8);
	postgres_arg_i32(pg, (int32_t)request->max);
	postgres_arg_uuid(pg, &request->batch);
	postgres_arg_uuid(pg, &request->session);
	lanes.skips = postgres_arg_array(pg, TYPE_INT4);
	lanes.shares = postgres_arg_array(pg, TYPE_INT4);
	for (int priority = 0; priority < PRIORITY_COUNT; priority++) {
		add_lanes(&lanes, request, turn, priority, 0, share);
		if (share < request->max)
			add_lanes(&lanes, request, turn, priority, share, request->max - share);
	}
	return postgres_send(pg);
}

/* ---- reading */

static struct claimed_job *read_job(const PGresult *result, int row, const struct uuid *batch)
{
	struct arena *arena = arena_new(result_bytes(result, row, C_PAYLOAD) + 1024);
	struct claimed_job *job = ARENA_NEW(arena, struct claimed_job);

	job->arena = arena;
	job->id = result_uuid(result, row, C_ID);
	job->batch = *batch;
	job->seq = result_i64(result, row, C_SEQ);
	job->attempt = (int)result_i64(result, row, C_ATTEMPT);
	job->due_ms = result_ms(result, row, C_SINCE);
	job->priority = (enum job_priority)result_i64(result, row, C_PRIORITY);
	job->queue = result_dup(result, row, C_QUEUE, arena);
	job->tenant = result_dup(result, row, C_TENANT, arena);
	job->owner = result_dup(result, row, C_OWNER, arena);
	job->type = result_dup(result, row, C_TYPE, arena);
	job->payload = result_dup(result, row, C_PAYLOAD, arena);
	job->payload_bytes = result_bytes(result, row, C_PAYLOAD);
	job->max_attempts = (int)result_i64(result, row, C_MAX_ATTEMPTS);
	job->timeout_ms = result_i64(result, row, C_TIMEOUT);
	job->tags = result_dup(result, row, C_TAGS, arena);
	job->order_key = result_dup(result, row, C_ORDER_KEY, arena);
	job->fair_key = result_dup(result, row, C_FAIR_KEY, arena);
	job->traceparent = result_dup(result, row, C_TRACEPARENT, arena);
	job->created_ms = result_ms(result, row, C_CREATED);
	job->unchecked = result_bool(result, row, C_UNCHECKED);
	job->cancel_asked = result_bool(result, row, C_CANCEL);
	return job;
}

static void forget_jobs(struct claim *claim)
{
	for (size_t i = 0; i < claim->count; i++) {
		struct arena *arena = claim->jobs[i]->arena; /* the job lives in it */

		arena_free(&arena);
	}
	claim->count = 0;
}

/* A job that a zombie has completed after it was released waits needlessly: it is dropped here and
 * leaves with its lease. */
static void keep_unended(struct claim *claim, const bool *ended)
{
	size_t kept = 0;

	for (size_t i = 0; i < claim->count; i++) {
		struct arena *arena = claim->jobs[i]->arena;

		if (ended[i])
			arena_free(&arena);
		else
			claim->jobs[kept++] = claim->jobs[i];
	}
	claim->count = kept;
}

static int read_past(struct postgres *pg, struct claim *claim, const size_t *index,
		     const struct uuid *ids, size_t count, struct error *err_r)
{
	bool *ended = ARENA_ARRAY(pg->scratch, bool, claim->count);

	postgres_say(pg, past_of);
	history_args(pg, ids, count);
	size_t past = postgres_send(pg), steps = history_send_steps(pg, ids, count),
	       calls = history_send_calls(pg, ids, count);

	if (postgres_fly(pg, err_r) < 0)
		return -1;
	const PGresult *result = postgres_result(pg, past);

	for (size_t i = 0; i < count; i++) {
		struct claimed_job *job = claim->jobs[index[i]];

		ended[index[i]] = result_bool(result, (int)i, 1);
		job->failures = (int)result_i64(result, (int)i, 2);
		job->strikes = (int)result_i64(result, (int)i, 3);
		job->steps = history_steps(postgres_result(pg, steps), i, job->arena);
		job->receipts = history_receipts(postgres_result(pg, calls), i, job->arena,
						 &job->receipt_count);
	}
	keep_unended(claim, ended);
	return 0;
}

static int add_past(struct postgres *pg, struct claim *claim, struct error *err_r)
{
	size_t *index = ARENA_ARRAY(pg->scratch, size_t, claim->count), count = 0;
	struct uuid *ids = ARENA_ARRAY(pg->scratch, struct uuid, claim->count);

	for (size_t i = 0; i < claim->count; i++) {
		if (claim->jobs[i]->attempt == 1)
			continue;
		ids[count] = claim->jobs[i]->id;
		index[count++] = i;
	}
	return count ? read_past(pg, claim, index, ids, count, err_r) : 0;
}

void postgres_claim_read(struct postgres *pg, size_t place, const struct claim_request *request,
			 struct arena *arena, struct claim *claim_r)
{
	const PGresult *result = postgres_result(pg, place);
	size_t taken = (size_t)PQntuples(result);
	struct error err;

	*claim_r = (struct claim){ .count = taken };
	claim_r->jobs = ARENA_ARRAY(arena, struct claimed_job *, claim_r->count);
	for (size_t i = 0; i < claim_r->count; i++) {
		struct claimed_job *job = claim_r->jobs[i] =
			read_job(result, (int)i, &request->batch);

		claim_cursor_took(request->cursor, job->queue, job->priority, job->seq);
	}
	CHECK(!pg->in_transaction);
	if (add_past(pg, claim_r, &err) < 0)
		forget_jobs(claim_r);
	claim_r->unread = taken && !claim_r->count;
}

/* ---- a transaction of its own */

static int claim_once(struct postgres *pg, const struct claim_request *request, struct arena *arena,
		      struct claim *claim_r, struct error *err_r)
{
	if (postgres_enter(pg, err_r) < 0)
		return -1;
	postgres_begin(pg);
	/* A claim that a crash of the server undoes is only claimed again. */
	postgres_say(pg, "SET LOCAL synchronous_commit = off");
	postgres_send(pg);
	size_t place = postgres_claim_send(pg, request);

	if (FAILPOINT("claim_before_commit")) {
		postgres_drop(pg);
		return error_set(err_r, ERROR_UNAVAILABLE, "failpoint");
	}
	postgres_commit(pg);
	if (postgres_fly(pg, err_r) < 0) {
		postgres_rollback(pg);
		return -1;
	}
	if (FAILPOINT("claim_after_commit"))
		return error_set(err_r, ERROR_UNKNOWN, "failpoint");
	postgres_claim_read(pg, place, request, arena, claim_r);
	return 0;
}

int postgres_claim_again(struct postgres *pg, const struct claim_request *request,
			 struct arena *arena, struct claim *claim_r, struct error *err_r)
{
	return claim_cursor_rewind(request->cursor) ? claim_once(pg, request, arena, claim_r, err_r)
						    : 0;
}

int postgres_claim_take(struct store *store, const struct claim_request *request,
			struct arena *arena, struct claim *claim_r, struct error *err_r)
{
	struct postgres *pg = postgres_of(store);

	if (claim_once(pg, request, arena, claim_r, err_r) < 0)
		return -1;
	return claim_r->count || claim_r->unread
		       ? 0
		       : postgres_claim_again(pg, request, arena, claim_r, err_r);
}
