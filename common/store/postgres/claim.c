/* SPDX-License-Identifier: Apache-2.0 */
/* Claims: ready rows become one lease row, in a transaction of their own or as the last statement
 * of a completion. Lanes (a queue at a priority) are scanned in order, each by its index; rows that
 * another claimer holds are skipped. */
#include <stdlib.h>
#include <string.h>

#include "common/base/failpoint.h"
#include "common/store/claim_cursor.h"
#include "common/store/postgres/postgres_impl.h"

/* ctid: the rows are locked, so they stay where they are. One that was promoted meanwhile is found
 * in its old version and is not deleted; whatever is not deleted is not taken. */
/* clang-format off */
#define LANES                                                                                   \
	" FROM unnest($1::text[], $2::int2[], $3::int8[], $7::int4[], $8::int4[])"              \
	" AS l(queue, priority, after, skip, share)"
#define TAKEN(which, columns, values)                                                           \
	" taken AS (DELETE FROM windlass.ready WHERE ctid = ANY (ARRAY(SELECT place FROM picked" which \
	")) RETURNING id, seq, queue, priority, attempt + 1 AS attempt, since), held AS (INSERT" \
	" INTO windlass.lease (batch, owner, taken, ids, attempts" columns ") SELECT $5::uuid," \
	" $6::uuid, now(), array_agg(id), array_agg(attempt)" values " FROM taken HAVING count(*) >" \
	" 0), counted AS (INSERT INTO windlass.tally SELECT queue, -count(*), 0 FROM taken GROUP BY" \
	" queue) SELECT" CLAIMED_SQL("t.seq") " FROM taken t JOIN windlass.jobs j ON j.id = t.id" \
	" ORDER BY t.priority, t.seq"

static const char take[] =
	"WITH lane AS MATERIALIZED (SELECT *" LANES " WHERE NOT EXISTS (SELECT FROM windlass.queue q"
	" WHERE q.name = l.queue AND (q.paused OR q.ordered OR q.managed > 0))), picked AS"
	" MATERIALIZED (SELECT"
	" r.place FROM lane CROSS JOIN LATERAL (SELECT r.ctid AS place FROM windlass.ready r"
	" WHERE r.queue = lane.queue AND r.priority = lane.priority AND r.seq > lane.after"
	" AND r.due IS NULL ORDER BY r.seq LIMIT lane.share OFFSET lane.skip FOR UPDATE SKIP"
	" LOCKED) r LIMIT $4::int4)," TAKEN("", "", "");

/* ---- with ordered queues. It costs a twentieth more, which those without need not pay. */

#define PLAIN_ROWS(also)                                                                        \
	"(SELECT r.ctid AS place, NULL::text AS key, NULL::uuid AS id FROM windlass.ready r"    \
	" WHERE NOT lane.ordered AND r.queue = lane.queue AND r.priority = lane.priority"       \
	" AND r.seq > lane.after AND r.due IS NULL" also                                        \
	" ORDER BY r.seq LIMIT lane.share OFFSET lane.skip FOR UPDATE SKIP LOCKED)"

/* Rows without a key, and the first of all that wait of each key if none of it is handed out; the
 * first one holds up the others until it is due. Nothing is remembered of the last claim: keys that
 * were closed then may be open now. At most so many rows are looked at: */
#define ORDERED_LOOK "4096"
#define ORDERED_ROWS(also)                                                                      \
	"(SELECT r.ctid, r.order_key, r.id FROM windlass.ready r"                               \
	" WHERE lane.ordered AND r.queue = lane.queue AND r.priority = lane.priority"           \
	" AND r.seq <= lane.look AND r.due IS NULL AND (r.order_key IS NULL OR NOT EXISTS"      \
	" (SELECT FROM windlass.order_open o WHERE o.queue = r.queue AND o.key = r.order_key)"  \
	" AND NOT EXISTS (SELECT FROM windlass.ready e WHERE e.queue = r.queue AND"             \
	" e.order_key = r.order_key AND e.seq < r.seq))" also                                   \
	" ORDER BY r.seq LIMIT lane.share OFFSET lane.skip FOR UPDATE SKIP LOCKED)"

/* When these are many jobs of few keys, the rest is looked through key by key. */
#define ORDERED_KEYS(also)                                                                      \
	"(SELECT r.ctid, r.order_key, r.id FROM (WITH RECURSIVE walk(key, n) AS ("              \
	"(SELECT f.order_key, 1 FROM windlass.ready f WHERE lane.deep AND f.queue = lane.queue" \
	" AND f.order_key IS NOT NULL ORDER BY f.order_key LIMIT 1) UNION ALL"                  \
	" SELECT (SELECT f.order_key FROM windlass.ready f WHERE f.queue = lane.queue AND"      \
	" f.order_key > w.key ORDER BY f.order_key LIMIT 1), w.n + 1 FROM walk w WHERE"         \
	" w.key IS NOT NULL AND w.n < 2000) SELECT key FROM walk) k CROSS JOIN LATERAL"         \
	" (SELECT e.id FROM windlass.ready e WHERE e.queue = lane.queue AND e.order_key = k.key" \
	" ORDER BY e.seq LIMIT 1) h JOIN windlass.ready r ON r.id = h.id AND"                   \
	" r.priority = lane.priority AND r.due IS NULL WHERE NOT EXISTS (SELECT FROM"           \
	" windlass.order_open o WHERE o.queue = lane.queue AND o.key = k.key)" also             \
	" LIMIT lane.share FOR UPDATE OF r SKIP LOCKED)"

/* Two claims may find different firsts of one key: the one that opens it takes its job. */
#define TAKE_ORDERED(also, columns, values)                                                     \
	"WITH lane AS MATERIALIZED (SELECT l.*, q.ordered IS TRUE AS ordered, s.seq IS NOT NULL" \
	" AS deep, coalesce(s.seq, 9223372036854775807) AS look" LANES " LEFT JOIN windlass.queue q" \
	" ON q.name = l.queue LEFT JOIN LATERAL (SELECT r.seq FROM windlass.ready r WHERE q.ordered" \
	" AND r.queue = l.queue AND r.priority = l.priority AND r.due IS NULL ORDER BY r.seq"   \
	" OFFSET " ORDERED_LOOK " LIMIT 1) s ON true WHERE q.paused IS NOT TRUE AND"            \
	" coalesce(q.managed, 0) = 0), picked AS"                                               \
	" MATERIALIZED (SELECT lane.queue, r.* FROM lane CROSS JOIN LATERAL (SELECT * FROM "    \
	PLAIN_ROWS(also) " p UNION ALL SELECT * FROM " ORDERED_ROWS(also)                       \
	" o UNION ALL SELECT * FROM " ORDERED_KEYS(also)                                        \
	" k LIMIT lane.share) r LIMIT $4::int4), opened AS (INSERT INTO windlass.order_open"    \
	" (queue, key, id) SELECT queue, key, id FROM picked WHERE key IS NOT NULL ORDER BY"    \
	" queue, key ON CONFLICT DO NOTHING RETURNING id),"                                     \
	TAKEN(" WHERE key IS NULL OR id IN (SELECT id FROM opened)", columns, values)
/* clang-format on */

static const char take_ordered[] = TAKE_ORDERED("", "", "");
/* For a broker: valid until a time, of one queue, without those that are about to be cancelled. */
static const char take_until[] = TAKE_ORDERED(
	" AND NOT EXISTS (SELECT FROM windlass.cancel c WHERE c.id = r.id)", ", until, queue",
	", clock_timestamp() + $9::int8 * interval '1 ms', $10::text");

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
static size_t send_take(struct postgres *pg, const struct claim_request *request, int64_t lease_ms)
{
	size_t turn = claim_cursor_turn(request->cursor);
	size_t share = (request->max + request->queue_count - 1) / request->queue_count;
	struct lanes lanes;

	queue_kinds_send(pg);
	postgres_say(pg, lease_ms                                   ? take_until
			 : !pg->kinds.known_ms || pg->kinds.ordered ? take_ordered
								    : take);
	lanes.queues = postgres_arg_array(pg, TYPE_TEXT);
	lanes.priorities = postgres_arg_array(pg, TYPE_INT2);
	lanes.after = postgres_arg_array(pg, TYPE_INT8);
	postgres_arg_i32(pg, (int32_t)request->max);
	postgres_arg_uuid(pg, &request->batch);
	postgres_arg_uuid(pg, &request->session);
	lanes.skips = postgres_arg_array(pg, TYPE_INT4);
	lanes.shares = postgres_arg_array(pg, TYPE_INT4);
	if (lease_ms) {
		postgres_arg_i64(pg, lease_ms);
		postgres_arg_text(pg, request->queues[0]);
	}
	for (int priority = 0; priority < PRIORITY_COUNT; priority++) {
		add_lanes(&lanes, request, turn, priority, 0, share);
		if (share < request->max)
			add_lanes(&lanes, request, turn, priority, share, request->max - share);
	}
	return postgres_send(pg);
}

/* ---- reading */

static void read_claim(struct postgres *pg, size_t place, const struct claim_request *request,
		       struct arena *arena, struct claim *claim_r)
{
	const PGresult *result = postgres_result(pg, place);
	size_t taken = (size_t)PQntuples(result);
	struct error err;

	queue_kinds_read(pg);
	*claim_r = (struct claim){ .count = taken };
	claim_r->jobs = ARENA_ARRAY(arena, struct claimed_job *, claim_r->count);
	for (size_t i = 0; i < claim_r->count; i++) {
		struct claimed_job *job = claim_r->jobs[i] =
			claimed_read(result, (int)i, &request->batch);

		claim_cursor_took(request->cursor, job->queue, job->priority, job->seq);
	}
	CHECK(!pg->in_transaction);
	if (claimed_add_past(pg, claim_r, &err) < 0)
		claimed_forget(claim_r);
	claim_r->unread = taken && !claim_r->count;
}

/* ---- a transaction of its own */

/* lease_ms 0: as long as the owner's session lives */
static int claim_once(struct postgres *pg, const struct claim_request *request, int64_t lease_ms,
		      struct arena *arena, struct claim *claim_r, struct error *err_r)
{
	if (postgres_enter(pg, err_r) < 0)
		return -1;
	postgres_begin(pg);
	/* A claim that a crash of the server undoes is only claimed again. */
	postgres_say(pg, "SET LOCAL synchronous_commit = off");
	postgres_send(pg);
	size_t place = send_take(pg, request, lease_ms);

	if (FAILPOINT("claim_before_commit")) {
		postgres_drop(pg);
		return error_set(err_r, ERROR_UNAVAILABLE, "failpoint");
	}
	if (postgres_commit_fly(pg, err_r) < 0)
		return -1;
	if (FAILPOINT("claim_after_commit"))
		return error_set(err_r, ERROR_UNKNOWN, "failpoint");
	read_claim(pg, place, request, arena, claim_r);
	return 0;
}

/* ---- queues with limits are claimed from by a transaction of their own, under their lock */

/* The queues of a request with limits, or without; to be released. Each kind may have
 * its part of the jobs, rounded up. */
static bool part_of(struct postgres *pg, const struct claim_request *request, bool managed,
		    struct claim_request *part_r)
{
	const char **queues = xcalloc(request->queue_count + 1, sizeof(*queues));

	*part_r = *request;
	part_r->queue_count = 0;
	part_r->queues = queues;
	for (size_t i = 0; i < request->queue_count; i++)
		if (queue_kinds_managed(pg, request->queues[i]) == managed)
			queues[part_r->queue_count++] = request->queues[i];
	part_r->max = (request->max * part_r->queue_count + request->queue_count - 1) /
		      request->queue_count;
	return part_r->queue_count > 0;
}

static void part_release(struct claim_request *part)
{
	free((void *)(uintptr_t)part->queues);
	part->queues = NULL;
}

/* Adds what a second transaction took to what the first one did. */
static void join_claims(struct claim *claim_r, const struct claim *more, struct arena *arena)
{
	struct claimed_job **jobs =
		ARENA_ARRAY(arena, struct claimed_job *, claim_r->count + more->count + 1);

	for (size_t i = 0; i < claim_r->count; i++)
		jobs[i] = claim_r->jobs[i];
	for (size_t i = 0; i < more->count; i++)
		jobs[claim_r->count + i] = more->jobs[i];
	claim_r->jobs = jobs;
	claim_r->count += more->count;
	if (!claim_r->retry_ms)
		claim_r->retry_ms = more->retry_ms;
}

/* What the queues of one kind give, beside what was claimed already: a lease of its own then. What
 * fails beside something that did not is no failure. */
static int claim_more(struct postgres *pg, struct claim_request *part, bool managed,
		      int64_t lease_ms, struct arena *arena, struct claim *claim_r,
		      struct error *err_r)
{
	bool second = claim_r->count || claim_r->unread;
	struct claim more = { 0 };
	int rc;

	if (second)
		uuid_v7(&part->batch);
	rc = managed ? postgres_limited_claim(pg, part, lease_ms, arena, &more, err_r)
		     : claim_once(pg, part, lease_ms, arena, &more, err_r);
	if (rc < 0 && !second)
		return -1;
	if (second && (more.unread || (rc < 0 && err_r->code == ERROR_UNKNOWN)))
		claim_r->lost = part->batch;
	if (!second)
		*claim_r = more;
	else if (rc == 0)
		join_claims(claim_r, &more, arena);
	return 0;
}

static int claim_parts(struct postgres *pg, const struct claim_request *request, int64_t lease_ms,
		       struct arena *arena, struct claim *claim_r, struct error *err_r)
{
	struct claim_request limited, plain;
	bool has_limited = part_of(pg, request, true, &limited),
	     has_plain = part_of(pg, request, false, &plain);
	int rc = 0;

	*claim_r = (struct claim){ 0 };
	if (has_limited)
		rc = claim_more(pg, &limited, true, lease_ms, arena, claim_r, err_r);
	plain.max = request->max - claim_r->count;
	if (rc == 0 && has_plain && plain.max)
		rc = claim_more(pg, &plain, false, lease_ms, arena, claim_r, err_r);
	part_release(&limited);
	part_release(&plain);
	return rc;
}

/* ---- with the completion */

size_t postgres_claim_send(struct postgres *pg, const struct claim_request *request)
{
	struct claim_request plain;
	size_t place = SIZE_MAX;

	if (!pg->kinds.managed_count)
		return send_take(pg, request, 0);
	if (part_of(pg, request, false, &plain))
		place = send_take(pg, &plain, 0);
	part_release(&plain);
	return place;
}

/* What was taken with the completion is there, whatever else goes wrong. */
static void claim_limited(struct postgres *pg, const struct claim_request *request,
			  struct arena *arena, struct claim *claim_r)
{
	struct claim_request limited;
	struct error err;

	if (claim_r->count < request->max && part_of(pg, request, true, &limited)) {
		limited.max = request->max - claim_r->count;
		if (claim_more(pg, &limited, true, 0, arena, claim_r, &err) < 0)
			claim_r->unread = true;
		part_release(&limited);
	}
}

void postgres_claim_end(struct postgres *pg, size_t place, const struct claim_request *request,
			struct arena *arena, struct claim *claim_r)
{
	struct error err;

	*claim_r = (struct claim){ 0 };
	if (place != SIZE_MAX)
		read_claim(pg, place, request, arena, claim_r);
	if (pg->kinds.managed_count)
		claim_limited(pg, request, arena, claim_r);
	if (claim_r->count || claim_r->unread || !claim_cursor_rewind(request->cursor))
		return;
	/* Nothing behind the remembered place; what is before it costs a transaction of its own. */
	if (claim_parts(pg, request, 0, arena, claim_r, &err) < 0)
		*claim_r = (struct claim){ .unread = true };
}

/* ---- the operations */

static int take_now(struct postgres *pg, const struct claim_request *request, int64_t lease_ms,
		    struct arena *arena, struct claim *claim_r, struct error *err_r)
{
	if (queue_kinds_learn(pg, err_r) < 0 ||
	    claim_parts(pg, request, lease_ms, arena, claim_r, err_r) < 0)
		return -1;
	if (claim_r->count || claim_r->unread || !claim_cursor_rewind(request->cursor))
		return 0;
	return claim_parts(pg, request, lease_ms, arena, claim_r, err_r);
}

int postgres_claim_take(struct store *store, const struct claim_request *request,
			struct arena *arena, struct claim *claim_r, struct error *err_r)
{
	return take_now(postgres_of(store), request, 0, arena, claim_r, err_r);
}

int postgres_dispatch_take(struct store *store, const struct dispatch_request *request,
			   struct arena *arena, struct claim *claim_r, struct error *err_r)
{
	const struct claim_request claim = {
		.session = request->owner,
		.batch = request->batch,
		.queues = &request->queue,
		.queue_count = 1,
		.max = request->max,
		.cursor = request->cursor,
	};

	return take_now(postgres_of(store), &claim, request->lease_ms, arena, claim_r, err_r);
}
