/* SPDX-License-Identifier: Apache-2.0 */
/* Edges between jobs: stored at acceptance, looked at by the sweep, which frees or discards the
 * jobs that wait. One sweep at a time: it must see all edges of a job that have ended. */
#include <string.h>

#include "common/job/chain.h"
#include "common/store/postgres/postgres_impl.h"

#define CHAIN_LOCK "1466658932" /* advisory */
#define LOOK       "5000"       /* edges a walk looks at */
#define HITS       500          /* of them that have ended, a transaction */
#define HITS_TEXT  "500"

/* ---- acceptance */

static const char unknown_jobs[] =
	"SELECT i.n, i.edge FROM unnest($1::uuid[], $2::text[], $3::text[], $4::int4[],"
	" $5::int4[]) AS i(id, tenant, owner, n, edge) WHERE NOT EXISTS (SELECT FROM"
	" windlass.jobs j WHERE j.id = i.id AND j.tenant = i.tenant AND (i.owner IS NULL OR"
	" j.owner = i.owner)) ORDER BY i.n, i.edge LIMIT 1000";

size_t chain_send_unknown(struct postgres *pg, const struct new_job *const *jobs, size_t count)
{
	static const Oid types[] = { TYPE_UUID, TYPE_TEXT, TYPE_TEXT, TYPE_INT4, TYPE_INT4 };
	struct array *a[ARRAY_LEN(types)];

	postgres_say(pg, unknown_jobs);
	for (size_t i = 0; i < ARRAY_LEN(types); i++)
		a[i] = postgres_arg_array(pg, types[i]);
	for (size_t i = 0; i < count; i++) {
		for (size_t k = 0; jobs[i] && k < jobs[i]->after_count; k++) {
			if (uuid_is_nil(&jobs[i]->after[k].id))
				continue;
			array_uuid(a[0], &jobs[i]->after[k].id);
			array_text(a[1], jobs[i]->tenant);
			array_text(a[2], jobs[i]->after_any ? NULL : jobs[i]->owner);
			array_i64(a[3], (int64_t)i);
			array_i64(a[4], (int64_t)k);
		}
	}
	return postgres_send(pg);
}

static const char add_edges[] =
	"INSERT INTO windlass.edge (id, n, before, on_failure, wants, name) SELECT id, n, before,"
	" on_failure, wants, name FROM unnest($1::uuid[], $2::int2[], $3::uuid[], $4::int2[],"
	" $5::bool[], $6::text[]) AS i(id, n, before, on_failure, wants, name)";

void chain_send_edges(struct postgres *pg, struct new_job *const *jobs, size_t count)
{
	static const Oid types[] = { TYPE_UUID, TYPE_INT2, TYPE_UUID,
				     TYPE_INT2, TYPE_BOOL, TYPE_TEXT };
	struct array *a[ARRAY_LEN(types)];

	postgres_say(pg, add_edges);
	for (size_t i = 0; i < ARRAY_LEN(types); i++)
		a[i] = postgres_arg_array(pg, types[i]);
	for (size_t i = 0; i < count; i++) {
		bool wants = jobs[i]->after_count &&
			     chain_refers(jobs[i]->payload, jobs[i]->payload_bytes);

		for (size_t k = 0; k < jobs[i]->after_count; k++) {
			array_uuid(a[0], &jobs[i]->id);
			array_i64(a[1], (int64_t)k);
			array_uuid(a[2], &jobs[i]->after[k].id);
			array_i64(a[3], jobs[i]->after[k].on_failure);
			array_bool(a[4], wants);
			array_text(a[5], jobs[i]->after[k].name);
		}
	}
	postgres_send(pg);
}

/* ---- what has ended */

#define SETTLE(edges)                                                                             \
	"WITH hit AS MATERIALIZED (SELECT e.id, e.n, d.state, CASE WHEN e.wants THEN d.result"    \
	" END AS result, d.reason FROM " edges " e CROSS JOIN LATERAL (SELECT d.state, d.result," \
	" d.reason FROM windlass.done d WHERE d.id = e.before AND d.state <> 0 AND (d.state = 8"  \
	" OR e.on_failure <> 3) OFFSET 0) d LIMIT " HITS_TEXT "), up AS (UPDATE windlass.edge e"  \
	" SET state = h.state, result = h.result, reason = h.reason FROM hit h WHERE e.id = h.id" \
	" AND e.n = h.n RETURNING e.id) SELECT id FROM up"

static const char settle_these[] =
	SETTLE("(SELECT e.* FROM unnest($1::uuid[]) AS i(id) JOIN windlass.edge e ON e.before ="
	       " i.id AND e.state IS NULL)");
static const char settle_some[] =
	SETTLE("(SELECT * FROM windlass.edge WHERE state IS NULL AND before >= $1::uuid ORDER BY"
	       " before LIMIT " LOOK ")");
static const char walked_to[] =
	"SELECT before FROM windlass.edge WHERE state IS NULL AND before >= $1::uuid ORDER BY"
	" before OFFSET " LOOK " LIMIT 1";
static const char any_pending[] = "SELECT EXISTS (SELECT FROM windlass.edge WHERE state IS NULL)";

static int is_pending(struct postgres *pg, bool *pending_r, struct error *err_r)
{
	postgres_say(pg, any_pending);
	size_t place = postgres_send(pg);

	if (postgres_fly(pg, err_r) < 0)
		return -1;
	*pending_r = result_bool(postgres_result(pg, place), 0, 0);
	return 0;
}

/* *ids_r: jobs some of whose edges have ended just now; one may be there twice. */
static int settle(struct postgres *pg, const struct uuid *ended, size_t ended_count,
		  struct uuid **ids_r, size_t *count_r, struct error *err_r)
{
	size_t walked = SIZE_MAX;

	if (!ended_count) {
		postgres_say(pg, walked_to);
		postgres_arg_uuid(pg, &pg->chain_walk);
		walked = postgres_send(pg);
	}
	postgres_say(pg, ended_count ? settle_these : settle_some);
	if (ended_count) {
		struct array *ids = postgres_arg_array(pg, TYPE_UUID);

		for (size_t i = 0; i < ended_count; i++)
			array_uuid(ids, &ended[i]);
	} else {
		postgres_arg_uuid(pg, &pg->chain_walk);
	}
	size_t place = postgres_send(pg);

	if (postgres_fly(pg, err_r) < 0)
		return -1;
	const PGresult *result = postgres_result(pg, place);

	*count_r = (size_t)PQntuples(result);
	*ids_r = ARENA_ARRAY(pg->scratch, struct uuid, *count_r);
	for (size_t i = 0; i < *count_r; i++)
		(*ids_r)[i] = result_uuid(result, (int)i, 0);
	if (!ended_count && *count_r < HITS)
		pg->chain_walk = postgres_rows(pg, walked)
					 ? result_uuid(postgres_result(pg, walked), 0, 0)
					 : (struct uuid){ 0 };
	return 0;
}

/* ---- what becomes of the jobs */

struct waiter {
	struct uuid id;
	char *payload, *reason; /* payload: the new one, or NULL */
};
struct decided {
	struct waiter *freed, *discarded;
	size_t freed_count, discarded_count;
};

static const char waiting_jobs[] =
	"SELECT r.id, j.payload FROM windlass.ready r JOIN windlass.jobs j ON j.id = r.id WHERE"
	" r.id IN (SELECT unnest($1::uuid[])) AND r.due = 'infinity' AND r.attempt = 0 ORDER BY"
	" r.id FOR UPDATE OF r";
static const char all_edges[] =
	"SELECT id, before, name, on_failure, state, result, reason FROM windlass.edge WHERE id"
	" IN (SELECT unnest($1::uuid[])) ORDER BY id, n";

static size_t send_ids(struct postgres *pg, const char *sql, const struct uuid *ids, size_t count)
{
	postgres_say(pg, sql);
	struct array *a = postgres_arg_array(pg, TYPE_UUID);

	for (size_t i = 0; i < count; i++)
		array_uuid(a, &ids[i]);
	return postgres_send(pg);
}

static struct chain_edge read_edge(const PGresult *result, int row)
{
	return (struct chain_edge){
		.after = { .id = result_uuid(result, row, 1),
			   .name = result_text(result, row, 2),
			   .on_failure = (enum edge_failure)result_i64(result, row, 3) },
		.state = (enum job_state)result_i64(result, row, 4),
		.result = result_null(result, row, 5) ? NULL : result_text(result, row, 5),
		.reason = result_null(result, row, 6) ? NULL : result_text(result, row, 6),
	};
}

static void decide_one(struct postgres *pg, const PGresult *jobs, int row,
		       const struct chain_edge *edges, size_t count, struct decided *decided)
{
	struct waiter waiter = { .id = result_uuid(jobs, row, 0) };

	switch (chain_decide(edges, count, result_text(jobs, row, 1), result_bytes(jobs, row, 1),
			     pg->scratch, &waiter.payload, &waiter.reason)) {
	case CHAIN_FREE:
		decided->freed[decided->freed_count++] = waiter;
		break;
	case CHAIN_DISCARD:
		decided->discarded[decided->discarded_count++] = waiter;
		break;
	case CHAIN_WAITS:
		break;
	}
}

/* Both results are in the order of the ids; an edge may be one of a job that does not wait. */
static void decide(struct postgres *pg, const PGresult *jobs, const PGresult *edges,
		   struct decided *decided_r)
{
	size_t most = (size_t)PQntuples(jobs), all = (size_t)PQntuples(edges);
	struct chain_edge *own = ARENA_ARRAY(pg->scratch, struct chain_edge, all);
	int row = 0;

	*decided_r = (struct decided){ .freed = ARENA_ARRAY(pg->scratch, struct waiter, most),
				       .discarded = ARENA_ARRAY(pg->scratch, struct waiter, most) };
	for (int i = 0; i < PQntuples(jobs); i++) {
		struct uuid id = result_uuid(jobs, i, 0);
		size_t count = 0;

		for (; row < PQntuples(edges); row++) {
			struct uuid of = result_uuid(edges, row, 0);
			int order = uuid_compare(&of, &id);

			if (order > 0)
				break;
			if (order == 0)
				own[count++] = read_edge(edges, row);
		}
		decide_one(pg, jobs, i, own, count, decided_r);
	}
}

static const char free_jobs[] =
	"WITH up AS (UPDATE windlass.ready r SET due = NULL, since = now(), seq =" NEXT_SEQ_SQL(
		"r.seq", "r.queue",
		"r.order_key") " WHERE id IN (SELECT unnest($1::uuid[])) RETURNING queue),"
			       " counted AS (INSERT INTO windlass.tally SELECT queue, count(*), -count(*) FROM up GROUP BY"
			       " queue), gone AS (DELETE FROM windlass.edge WHERE id IN (SELECT unnest($1::uuid[])))"
			       " SELECT FROM up";
static const char new_payloads[] =
	"UPDATE windlass.jobs j SET payload = i.payload, unchecked = true FROM unnest($1::uuid[],"
	" $2::text[]) AS i(id, payload) WHERE j.id = i.id";
static const char discard_jobs[] =
	"WITH item AS MATERIALIZED (SELECT * FROM unnest($1::uuid[], $2::text[]) AS i(id,"
	" reason)), gone AS (DELETE FROM windlass.ready WHERE id IN (SELECT id FROM item)"
	" RETURNING id, queue), ended AS (INSERT INTO windlass.done (id, finished, attempt, state,"
	" reason) SELECT g.id, now(), 0, 9, i.reason FROM gone g JOIN item i ON i.id = g.id"
	" ORDER BY g.id ON CONFLICT (id) DO NOTHING RETURNING id, reason), noted AS (INSERT INTO"
	" windlass.attempt (id, at, attempt, outcome, counts, reason) SELECT id, now(), 0, 4,"
	" false, reason FROM ended), counted AS (INSERT INTO windlass.tally SELECT queue, 0,"
	" -count(*) FROM gone GROUP BY queue)," BATCH_TALLY_SQL("ended", "0", "count(*)",
								"0") " SELECT id FROM ended";

static void send_freed(struct postgres *pg, const struct decided *decided)
{
	struct array *ids, *payloads;

	postgres_say(pg, new_payloads);
	ids = postgres_arg_array(pg, TYPE_UUID), payloads = postgres_arg_array(pg, TYPE_TEXT);
	for (size_t i = 0; i < decided->freed_count; i++) {
		if (!decided->freed[i].payload)
			continue;
		array_uuid(ids, &decided->freed[i].id);
		array_text(payloads, decided->freed[i].payload);
	}
	if (ids->count)
		postgres_send(pg);
	postgres_say(pg, free_jobs);
	ids = postgres_arg_array(pg, TYPE_UUID);
	for (size_t i = 0; i < decided->freed_count; i++)
		array_uuid(ids, &decided->freed[i].id);
	postgres_send(pg);
}

static int discard(struct postgres *pg, const struct decided *decided, struct error *err_r)
{
	size_t count = decided->discarded_count;
	struct ended_job *ended = ARENA_ARRAY(pg->scratch, struct ended_job, count);

	postgres_say(pg, discard_jobs);
	struct array *ids = postgres_arg_array(pg, TYPE_UUID),
		     *reasons = postgres_arg_array(pg, TYPE_TEXT);

	for (size_t i = 0; i < count; i++) {
		const struct waiter *waiter = &decided->discarded[i];

		array_uuid(ids, &waiter->id);
		array_text(reasons, waiter->reason);
		ended[i] = (struct ended_job){ waiter->id, 0, JOB_DISCARDED, waiter->reason };
	}
	postgres_send(pg);
	if (postgres_fly(pg, err_r) < 0)
		return -1;
	return postgres_on_end(pg, ended, count, err_r);
}

/* ---- the operation */

static int sweep(struct postgres *pg, const struct uuid *ended, size_t ended_count,
		 struct decided *decided_r, bool *more_r, struct error *err_r)
{
	struct uuid *ids;
	size_t count;

	postgres_begin(pg);
	postgres_plain(pg, "SELECT pg_advisory_xact_lock(" CHAIN_LOCK ")");
	if (settle(pg, ended, ended_count, &ids, &count, err_r) < 0)
		return -1;
	*more_r = count == HITS;
	size_t jobs = send_ids(pg, waiting_jobs, ids, count),
	       edges = send_ids(pg, all_edges, ids, count);

	if (postgres_fly(pg, err_r) < 0)
		return -1;
	decide(pg, postgres_result(pg, jobs), postgres_result(pg, edges), decided_r);
	if (decided_r->discarded_count && discard(pg, decided_r, err_r) < 0)
		return -1;
	if (decided_r->freed_count)
		send_freed(pg, decided_r);
	/* What a crash of the server undoes is found again; ends are told to others. */
	if (!decided_r->discarded_count)
		postgres_plain(pg, "SET LOCAL synchronous_commit = off");
	return postgres_commit_fly(pg, err_r);
}

int postgres_chain_sweep(struct store *store, const struct uuid *ended, size_t count,
			 struct arena *arena, struct chain_swept *swept_r, struct error *err_r)
{
	struct postgres *pg = postgres_of(store);
	struct decided decided;

	if (postgres_enter(pg, err_r) < 0 || is_pending(pg, &swept_r->pending, err_r) < 0)
		return -1;
	if (!swept_r->pending)
		return 0;
	int rc = sweep(pg, ended, count, &decided, &swept_r->more, err_r);

	postgres_rollback(pg);
	if (rc < 0)
		return -1;
	swept_r->freed = (int64_t)decided.freed_count;
	swept_r->ended_count = decided.discarded_count;
	swept_r->ended = ARENA_ARRAY(arena, struct uuid, decided.discarded_count);
	for (size_t i = 0; i < decided.discarded_count; i++)
		swept_r->ended[i] = decided.discarded[i].id;
	return 0;
}
