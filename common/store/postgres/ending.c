/* SPDX-License-Identifier: Apache-2.0 */
/* Jobs that end without being completed: waiting ones that are cancelled, the on_discard jobs of
 * those that had committed steps, and webhooks. Called inside open transactions of completion,
 * acceptance, control and maintenance. */
#include <string.h>

#include "common/base/clock.h"
#include "common/job/on_discard.h"
#include "common/job/webhook.h"
#include "common/store/postgres/postgres_impl.h"

/* Only jobs with at least one step and a type that names a compensation. */
static const char discard_sources[] =
	"SELECT i.n, j.tenant, j.type, j.payload, t.on_discard, coalesce(o.queue, j.queue),"
	" coalesce(o.priority, j.priority)::int2"
	" FROM unnest($1::uuid[], $2::int4[]) AS i(id, n)"
	" JOIN windlass.jobs j ON j.id = i.id"
	" JOIN windlass.job_type t ON t.name = j.type AND t.on_discard IS NOT NULL"
	" LEFT JOIN windlass.job_type o ON o.name = t.on_discard"
	" WHERE EXISTS (SELECT FROM windlass.step s WHERE s.id = i.id)";

/* Only jobs of which somebody is to be told. */
static const char told_sources[] =
	"SELECT i.n, j.tenant, j.type, j.traceparent, j.callback, t.hooks"
	" FROM unnest($1::uuid[], $2::int4[]) AS i(id, n)"
	" JOIN windlass.jobs j ON j.id = i.id LEFT JOIN windlass.job_type t ON t.name = j.type"
	" WHERE j.callback IS NOT NULL OR t.hooks IS NOT NULL";

/* What the flight of discard_sources and told_sources brought. */
struct sources {
	const PGresult *jobs, *steps, *calls, *told;
};

static void make_job(struct postgres *pg, const struct sources *from, int row,
		     const struct ended_job *all, struct new_job *job_r)
{
	struct arena *arena = pg->scratch;
	size_t n = (size_t)result_i64(from->jobs, row, 0);
	const struct ended_job *ended = &all[n];
	char id[UUID_TEXT];
	struct on_discard_source source = {
		.id = ended->id,
		.type = result_dup(from->jobs, row, 2, arena),
		.payload = result_dup(from->jobs, row, 3, arena),
		.steps = history_steps(from->steps, n, arena),
		.calls = history_calls(from->calls, n, arena),
		.state = ended->state,
		.reason = ended->reason,
	};

	*job_r = (struct new_job){
		.tenant = result_dup(from->jobs, row, 1, arena),
		.owner = arena_printf(arena, "job:%s", uuid_format(&ended->id, id)),
		.type = result_dup(from->jobs, row, 4, arena),
		.queue = result_dup(from->jobs, row, 5, arena),
		.priority = (enum job_priority)result_i64(from->jobs, row, 6),
		.payload = on_discard_payload(arena, &source),
	};
	job_r->payload_bytes = strlen(job_r->payload);
	on_discard_id(&ended->id, ended->attempt, &job_r->id);
}

static int read_sources(struct postgres *pg, const struct ended_job *ended, size_t count,
			struct sources *from_r, struct error *err_r)
{
	struct uuid *ids = ARENA_ARRAY(pg->scratch, struct uuid, count);

	for (size_t i = 0; i < count; i++)
		ids[i] = ended[i].id;
	postgres_say(pg, discard_sources);
	history_args(pg, ids, count);
	size_t jobs = postgres_send(pg), steps = history_send_steps(pg, ids, count),
	       calls = history_send_calls(pg, ids, count);

	postgres_say(pg, told_sources);
	history_args(pg, ids, count);
	size_t told = postgres_send(pg);

	if (postgres_fly(pg, err_r) < 0)
		return -1;
	*from_r = (struct sources){ postgres_result(pg, jobs), postgres_result(pg, steps),
				    postgres_result(pg, calls), postgres_result(pg, told) };
	return 0;
}

static const char mark_compensated[] =
	"INSERT INTO windlass.attempt (id, at, attempt, outcome, counts, reason)"
	" SELECT id, now(), attempt, 0, false, 'compensated' FROM unnest($1::uuid[], $2::int4[])"
	" AS i(id, attempt)";

static void send_marks(struct postgres *pg, const struct ended_job *ended, const PGresult *found)
{
	postgres_say(pg, mark_compensated);
	struct array *ids = postgres_arg_array(pg, TYPE_UUID),
		     *attempts = postgres_arg_array(pg, TYPE_INT4);

	for (int row = 0; row < PQntuples(found); row++) {
		const struct ended_job *one = &ended[result_i64(found, row, 0)];

		array_uuid(ids, &one->id);
		array_i64(attempts, one->attempt);
	}
	postgres_send(pg);
}

static size_t make_webhooks(struct postgres *pg, const PGresult *told, int row,
			    const struct ended_job *all, struct new_job **list)
{
	const struct ended_job *ended = &all[result_i64(told, row, 0)];
	struct arena *arena = pg->scratch;
	struct webhook_source source = {
		.id = ended->id,
		.tenant = result_dup(told, row, 1, arena),
		.type = result_dup(told, row, 2, arena),
		.attempt = ended->attempt,
		.state = ended->state,
		.reason = ended->reason,
		.traceparent = result_dup(told, row, 3, arena),
		.callback = result_dup(told, row, 4, arena),
		.hooks = webhook_hooks_parse(arena, result_text(told, row, 5)),
		.finished_ms = clock_wall_ms(),
	};
	struct new_job *jobs;
	size_t count = webhook_jobs(arena, &source, &jobs);

	CHECK(count <= WEBHOOKS_MAX);
	for (size_t i = 0; i < count; i++)
		list[i] = &jobs[i];
	return count;
}

int postgres_on_end(struct postgres *pg, const struct ended_job *ended, size_t count,
		    struct error *err_r)
{
	struct sources from;

	if (!count)
		return 0;
	if (read_sources(pg, ended, count, &from, err_r) < 0)
		return -1;
	size_t found = (size_t)PQntuples(from.jobs), told = (size_t)PQntuples(from.told);
	size_t most = found + told * WEBHOOKS_MAX, n = 0;
	struct new_job *jobs = ARENA_ARRAY(pg->scratch, struct new_job, found);
	struct new_job **list = ARENA_ARRAY(pg->scratch, struct new_job *, most);

	for (; n < found; n++) {
		make_job(pg, &from, (int)n, ended, &jobs[n]);
		list[n] = &jobs[n];
	}
	for (size_t i = 0; i < told; i++)
		n += make_webhooks(pg, from.told, (int)i, ended, list + n);
	if (!n)
		return 0;
	if (found)
		send_marks(pg, ended, from.jobs);
	postgres_insert_jobs(pg, list, n, true);
	return postgres_fly(pg, err_r);
}

static const char cancel_waiting[] =
	"WITH gone AS (DELETE FROM windlass.ready WHERE id IN (SELECT unnest($1::uuid[]))"
	" RETURNING id, attempt, queue, due), ended AS (INSERT INTO windlass.done (id, finished,"
	" attempt, state, reason)  SELECT g.id, now(), g.attempt, 10, coalesce($2::text, c.reason)"
	" FROM gone g LEFT JOIN windlass.cancel c ON c.id = g.id  ORDER BY g.id"
	" ON CONFLICT (id) DO NOTHING RETURNING id, attempt, reason),"
	" noted AS (INSERT INTO windlass.attempt (id, at, attempt, outcome, counts, reason) "
	" SELECT id, now(), attempt, 6, false, reason FROM ended),"
	" counted AS (INSERT INTO windlass.tally SELECT queue, -count(*) FILTER (WHERE due IS"
	" NULL),  -count(*) FILTER (WHERE due IS NOT NULL) FROM gone GROUP BY queue),"
	" unasked AS (DELETE FROM windlass.cancel WHERE id IN (SELECT id FROM gone))," BATCH_TALLY_SQL(
		"ended", "0", "0", "count(*)") " SELECT id, attempt, reason FROM ended";

static const char cancel_queued[] =
	"WITH held AS MATERIALIZED (SELECT l.attempts[array_position(l.ids, $1::uuid)] AS attempt"
	" FROM windlass.lease l WHERE l.until IS NOT NULL AND $1::uuid = ANY (l.ids) FOR UPDATE),"
	" ended AS (INSERT INTO windlass.done (id, finished, attempt, state, reason) SELECT"
	" $1::uuid, now(), attempt, 10, $2::text FROM held ON CONFLICT (id) DO NOTHING RETURNING"
	" id, attempt, reason), noted AS (INSERT INTO windlass.attempt (id, at, attempt, outcome,"
	" counts, reason) SELECT id, now(), attempt, 6, false, reason FROM ended), told AS (INSERT"
	" INTO windlass.cancel (id, at, reason) SELECT id, now(), reason FROM ended ON CONFLICT"
	" (id) DO NOTHING)," CLOSED_SQL("ended") "," BATCH_TALLY_SQL(
		"ended", "0", "0", "count(*)") " SELECT id, attempt, reason FROM ended";

static int compensate_cancelled(struct postgres *pg, size_t place, const struct uuid *ids,
				size_t count, bool *ended_r, struct error *err_r)
{
	const PGresult *result = postgres_result(pg, place);
	size_t found = (size_t)PQntuples(result);
	struct ended_job *ended = ARENA_ARRAY(pg->scratch, struct ended_job, found);

	for (int row = 0; row < PQntuples(result); row++) {
		struct uuid id = result_uuid(result, row, 0);

		ended[row] = (struct ended_job){ id, (int)result_i64(result, row, 1), JOB_CANCELLED,
						 result_dup(result, row, 2, pg->scratch) };
		for (size_t i = 0; i < count; i++)
			ended_r[i] = ended_r[i] || uuid_equal(&ids[i], &id);
	}
	return postgres_on_end(pg, ended, found, err_r);
}

int postgres_cancel_waiting(struct postgres *pg, const struct uuid *ids, size_t count,
			    const char *reason, bool *ended_r, struct error *err_r)
{
	postgres_say(pg, cancel_waiting);
	struct array *a = postgres_arg_array(pg, TYPE_UUID);

	for (size_t i = 0; i < count; i++)
		array_uuid(a, &ids[i]);
	postgres_arg_text(pg, reason);
	size_t place = postgres_send(pg);

	if (postgres_fly(pg, err_r) < 0)
		return -1;
	return compensate_cancelled(pg, place, ids, count, ended_r, err_r);
}

int postgres_cancel_queued(struct postgres *pg, const struct uuid *id, const char *reason,
			   bool *ended_r, struct error *err_r)
{
	postgres_say(pg, cancel_queued);
	postgres_arg_uuid(pg, id);
	postgres_arg_text(pg, reason);
	size_t place = postgres_send(pg);

	if (postgres_fly(pg, err_r) < 0)
		return -1;
	return compensate_cancelled(pg, place, id, 1, ended_r, err_r);
}

int postgres_cancel_asked(struct postgres *pg, const struct uuid *ids, size_t count,
			  struct error *err_r)
{
	return postgres_cancel_waiting(pg, ids, count, NULL, ARENA_ARRAY(pg->scratch, bool, count),
				       err_r);
}

/* Bounded; what is left is found by the next call. */
static const char raced[] =
	"SELECT r.id FROM windlass.cancel c JOIN windlass.ready r ON r.id = c.id ORDER BY r.id"
	" LIMIT 1000";

int postgres_cancel_raced(struct postgres *pg, struct error *err_r)
{
	if (postgres_enter(pg, err_r) < 0)
		return -1;
	postgres_say(pg, raced);
	size_t place = postgres_send(pg);

	if (postgres_fly(pg, err_r) < 0)
		return -1;
	size_t count = (size_t)postgres_rows(pg, place);
	struct uuid *ids = ARENA_ARRAY(pg->scratch, struct uuid, count);

	for (size_t i = 0; i < count; i++)
		ids[i] = result_uuid(postgres_result(pg, place), (int)i, 0);
	if (!count)
		return 0;
	postgres_begin(pg);
	int rc = postgres_cancel_asked(pg, ids, count, err_r);

	if (rc == 0) {
		postgres_commit(pg);
		rc = postgres_fly(pg, err_r);
	}
	postgres_rollback(pg);
	return rc;
}
