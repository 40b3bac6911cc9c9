/* SPDX-License-Identifier: Apache-2.0 */
/* Ends of batch runs: those all of whose jobs have ended, with the job that tells of it, and those
 * that are being cancelled, some jobs a call. */
#include <string.h>

#include "common/store/postgres/postgres_impl.h"

#define ENDS_MAX    "100"
#define CANCEL_LOOK 2000

/* ---- all jobs have ended */

#define FIGURES                                                                                 \
	" FROM windlass.batch b CROSS JOIN LATERAL (SELECT coalesce(sum(x.done), 0)::int8 AS"   \
	" done, coalesce(sum(x.failed), 0)::int8 AS failed, coalesce(sum(x.cancelled), 0)"      \
	"::int8 AS cancelled FROM windlass.batch_tally x WHERE x.batch = b.id) t WHERE b.state" \
	" = 2 AND t.done + t.failed + t.cancelled = b.total"

/* Those that seem to have ended are held, and then looked at once more: whoever has sent failed
 * jobs back meanwhile held them, too. */
static const char hold_ended[] =
	"SELECT b.id" FIGURES " ORDER BY b.id LIMIT " ENDS_MAX " FOR UPDATE OF b SKIP LOCKED";
static const char ready_to_end[] =
	"SELECT b.id, b.tenant, b.owner, b.name, b.definition, b.error, b.total, t.done, t.failed,"
	" t.cancelled, b.rejected, b.round" FIGURES " AND b.id IN (SELECT unnest($1::uuid[]))";
static const char end_batches[] =
	"UPDATE windlass.batch b SET state = i.state, finished = now() FROM unnest($1::uuid[],"
	" $2::int2[]) AS i(id, state) WHERE b.id = i.id";

static struct batch_ended read_ended(const PGresult *result, int row, struct arena *arena)
{
	struct batch_ended ended = {
		.id = result_uuid(result, row, 0),
		.tenant = result_dup(result, row, 1, arena),
		.owner = result_dup(result, row, 2, arena),
		.name = result_dup(result, row, 3, arena),
		.definition = result_dup(result, row, 4, arena),
		.error = result_dup(result, row, 5, arena),
		.counts = { .total = result_i64(result, row, 6),
			    .done = result_i64(result, row, 7),
			    .failed = result_i64(result, row, 8),
			    .cancelled = result_i64(result, row, 9),
			    .rejected = result_i64(result, row, 10),
			    .round = (int)result_i64(result, row, 11) },
	};

	ended.state = batch_end_state(&ended.counts, ended.error);
	return ended;
}

static int end_those(struct postgres *pg, const PGresult *found, struct error *err_r)
{
	size_t count = (size_t)PQntuples(found), told = 0;
	struct batch_ended *ended = ARENA_ARRAY(pg->scratch, struct batch_ended, count);
	struct new_job *jobs = ARENA_ARRAY(pg->scratch, struct new_job, count);
	struct new_job **list = ARENA_ARRAY(pg->scratch, struct new_job *, count);

	for (size_t i = 0; i < count; i++) {
		ended[i] = read_ended(found, (int)i, pg->scratch);
		if (!batch_end_job(&ended[i], pg->scratch, &jobs[told]))
			continue;
		list[told] = &jobs[told];
		told++;
	}
	postgres_say(pg, end_batches);
	struct array *ids = postgres_arg_array(pg, TYPE_UUID),
		     *states = postgres_arg_array(pg, TYPE_INT2);

	for (size_t i = 0; i < count; i++) {
		array_uuid(ids, &ended[i].id);
		array_i64(states, ended[i].state);
	}
	postgres_send(pg);
	if (told)
		postgres_insert_jobs(pg, list, told, true);
	return postgres_commit_fly(pg, err_r);
}

static int end_some(struct postgres *pg, struct batch_swept *swept, struct error *err_r)
{
	postgres_begin(pg);
	postgres_say(pg, hold_ended);
	size_t place = postgres_send(pg);

	if (postgres_fly(pg, err_r) < 0)
		return -1;
	size_t count = (size_t)postgres_rows(pg, place);
	struct uuid *held = ARENA_ARRAY(pg->scratch, struct uuid, count);

	for (size_t i = 0; i < count; i++)
		held[i] = result_uuid(postgres_result(pg, place), (int)i, 0);
	if (!count)
		return 0;
	postgres_say(pg, ready_to_end);
	struct array *ids = postgres_arg_array(pg, TYPE_UUID);

	for (size_t i = 0; i < count; i++)
		array_uuid(ids, &held[i]);
	place = postgres_send(pg);
	if (postgres_fly(pg, err_r) < 0)
		return -1;
	swept->ended = postgres_rows(pg, place);
	return swept->ended ? end_those(pg, postgres_result(pg, place), err_r) : 0;
}

/* ---- cancelled */

static const char next_cancelled[] =
	"SELECT b.id, b.sweep FROM windlass.batch b WHERE b.sweep IS NOT NULL ORDER BY b.id LIMIT"
	" 1 FOR UPDATE SKIP LOCKED";
static const char jobs_of[] =
	"SELECT j.id, r.id IS NOT NULL, d.id IS NOT NULL FROM (SELECT id FROM windlass.jobs WHERE"
	" batch = $1::uuid AND id > $2::uuid ORDER BY id LIMIT $3::int4) j LEFT JOIN"
	" windlass.ready r ON r.id = j.id LEFT JOIN windlass.done d ON d.id = j.id ORDER BY j.id";
static const char ask_to_stop[] =
	"INSERT INTO windlass.cancel (id, at, reason) SELECT id, now(), $2::text FROM"
	" unnest($1::uuid[]) AS i(id) ON CONFLICT (id) DO NOTHING";
static const char move_sweep[] =
	"UPDATE windlass.batch SET sweep = $2::uuid, finished = CASE WHEN $2 IS NULL THEN now()"
	" END WHERE id = $1::uuid";

#define CANCELLED "its batch was cancelled"

struct sweep {
	struct uuid waiting[CANCEL_LOOK], running[CANCEL_LOOK], last;
	size_t waiting_count, running_count, seen;
};

static void read_jobs(const PGresult *result, struct sweep *sweep)
{
	sweep->seen = (size_t)PQntuples(result);
	for (int row = 0; row < PQntuples(result); row++) {
		sweep->last = result_uuid(result, row, 0);
		if (result_bool(result, row, 1))
			sweep->waiting[sweep->waiting_count++] = sweep->last;
		else if (!result_bool(result, row, 2))
			sweep->running[sweep->running_count++] = sweep->last;
	}
}

static int cancel_jobs(struct postgres *pg, const struct sweep *sweep, struct arena *arena,
		       struct batch_swept *swept, struct error *err_r)
{
	bool *gone = ARENA_ARRAY(pg->scratch, bool, sweep->waiting_count);

	if (sweep->running_count) {
		postgres_say(pg, ask_to_stop);
		struct array *ids = postgres_arg_array(pg, TYPE_UUID);

		for (size_t i = 0; i < sweep->running_count; i++)
			array_uuid(ids, &sweep->running[i]);
		postgres_arg_text(pg, CANCELLED);
		postgres_send(pg);
		swept->told = true;
	}
	if (sweep->waiting_count &&
	    postgres_cancel_waiting(pg, sweep->waiting, sweep->waiting_count, CANCELLED, gone,
				    err_r) < 0)
		return -1;
	swept->cancelled = ARENA_ARRAY(arena, struct uuid, sweep->waiting_count);
	for (size_t i = 0; i < sweep->waiting_count; i++)
		if (gone[i])
			swept->cancelled[swept->cancelled_count++] = sweep->waiting[i];
	return 0;
}

static int cancel_some(struct postgres *pg, struct arena *arena, struct batch_swept *swept,
		       struct error *err_r)
{
	struct sweep *sweep = ARENA_NEW(pg->scratch, struct sweep);
	struct uuid id, from;

	postgres_begin(pg);
	postgres_say(pg, next_cancelled);
	size_t place = postgres_send(pg);

	if (postgres_fly(pg, err_r) < 0)
		return -1;
	if (!postgres_rows(pg, place))
		return 0;
	id = result_uuid(postgres_result(pg, place), 0, 0);
	from = result_uuid(postgres_result(pg, place), 0, 1);
	postgres_say(pg, jobs_of);
	postgres_arg_uuid(pg, &id);
	postgres_arg_uuid(pg, &from);
	postgres_arg_i32(pg, CANCEL_LOOK);
	place = postgres_send(pg);
	if (postgres_fly(pg, err_r) < 0)
		return -1;
	read_jobs(postgres_result(pg, place), sweep);
	if (cancel_jobs(pg, sweep, arena, swept, err_r) < 0)
		return -1;
	swept->more = sweep->seen == CANCEL_LOOK;
	postgres_say(pg, move_sweep);
	postgres_arg_uuid(pg, &id);
	postgres_arg_uuid(pg, swept->more ? &sweep->last : NULL);
	postgres_send(pg);
	return postgres_commit_fly(pg, err_r);
}

/* ---- the operation */

int postgres_batch_sweep(struct store *store, struct arena *arena, struct batch_swept *swept_r,
			 struct error *err_r)
{
	struct postgres *pg = postgres_of(store);

	if (postgres_enter(pg, err_r) < 0)
		return -1;
	postgres_say(pg, "SELECT EXISTS (SELECT FROM windlass.batch WHERE state < 3 OR sweep IS"
			 " NOT NULL)");
	size_t place = postgres_send(pg);

	if (postgres_fly(pg, err_r) < 0)
		return -1;
	swept_r->open = result_bool(postgres_result(pg, place), 0, 0);
	if (!swept_r->open)
		return 0;
	int rc = end_some(pg, swept_r, err_r);

	postgres_rollback(pg);
	if (rc == 0)
		rc = cancel_some(pg, arena, swept_r, err_r);
	postgres_rollback(pg);
	return rc;
}
