/* SPDX-License-Identifier: Apache-2.0 */
/* Jobs that were handed out, read from rows: by a claim, and when a broker has delivered them
 * (admission.c). Each has an arena of its own. */
#include "common/store/postgres/postgres_impl.h"

/* the columns of CLAIMED_SQL */
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
	C_CALLBACK,
	C_CREATED,
	C_UNCHECKED,
	C_CANCEL,
	C_RUN
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

/* ---- reading */

struct claimed_job *claimed_read(const PGresult *result, int row, const struct uuid *batch)
{
	struct arena *arena = arena_new(result_bytes(result, row, C_PAYLOAD) + CLAIMED_JOB_BYTES);
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
	job->callback = result_dup(result, row, C_CALLBACK, arena);
	job->created_ms = result_ms(result, row, C_CREATED);
	job->unchecked = result_bool(result, row, C_UNCHECKED);
	job->cancel_asked = result_bool(result, row, C_CANCEL);
	job->run = result_uuid(result, row, C_RUN);
	return job;
}

void claimed_forget(struct claim *claim)
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

int claimed_add_past(struct postgres *pg, struct claim *claim, struct error *err_r)
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
