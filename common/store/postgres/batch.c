/* SPDX-License-Identifier: Apache-2.0 */
/* Batch runs: their rows, who reads their sources, and what is changed of them while they run.
 * Their ends are batch_sweep.c's. */
#include <string.h>

#include "common/base/idmap.h"
#include "common/store/postgres/postgres_impl.h"

/* ---- beginning */

static const char begin[] =
	"INSERT INTO windlass.batch (id, created, state, tenant, owner, queue, type, name,"
	" definition, schedule, tick, position, pushed) VALUES ($1::uuid, now(), 1, $2::text,"
	" $3::text, $4::text, $5::text, $6::text, $7::text, $8::text, CASE WHEN $8 IS NOT NULL"
	" THEN to_timestamp($9::int8 / 1000.0) END, CASE WHEN $10::bool THEN '0' END, $10) ON"
	" CONFLICT DO NOTHING RETURNING id";
static const char same[] =
	"SELECT id, tenant = $2::text AND owner = $3::text FROM windlass.batch WHERE id ="
	" $1::uuid OR schedule = $4::text AND tick = to_timestamp($5::int8 / 1000.0) ORDER BY"
	" id = $1 DESC LIMIT 1";

static int find_same(struct postgres *pg, const struct batch_new *batch, struct uuid *id_r,
		     struct error *err_r)
{
	postgres_say(pg, same);
	postgres_arg_uuid(pg, &batch->id);
	postgres_arg_text(pg, batch->tenant);
	postgres_arg_text(pg, batch->owner);
	postgres_arg_text(pg, batch->schedule);
	postgres_arg_i64(pg, batch->tick_ms);
	size_t place = postgres_send(pg);

	if (postgres_fly(pg, err_r) < 0)
		return -1;
	if (!postgres_rows(pg, place) || !result_bool(postgres_result(pg, place), 0, 1))
		return error_set(err_r, ERROR_CONFLICT, "this id was used for another batch");
	*id_r = result_uuid(postgres_result(pg, place), 0, 0);
	return 0;
}

static size_t send_begin(struct postgres *pg, const struct batch_new *batch)
{
	postgres_say(pg, begin);
	postgres_arg_uuid(pg, &batch->id);
	postgres_arg_text(pg, batch->tenant);
	postgres_arg_text(pg, batch->owner);
	postgres_arg_text(pg, batch->queue);
	postgres_arg_text(pg, batch->type);
	postgres_arg_text(pg, batch->name);
	postgres_arg_text(pg, batch->definition);
	postgres_arg_text(pg, batch->schedule);
	postgres_arg_i64(pg, batch->tick_ms);
	postgres_arg_bool(pg, batch->pushed);
	return postgres_send(pg);
}

int postgres_batch_begin(struct store *store, const struct batch_new *batch,
			 const struct audit *audit, struct uuid *id_r, bool *new_r,
			 struct error *err_r)
{
	struct postgres *pg = postgres_of(store);
	int rc = 0;

	if (postgres_enter(pg, err_r) < 0)
		return -1;
	postgres_begin(pg);
	size_t place = send_begin(pg, batch);

	if (postgres_fly(pg, err_r) < 0) {
		postgres_rollback(pg);
		return -1;
	}
	*id_r = batch->id;
	*new_r = postgres_rows(pg, place) > 0;
	if (*new_r)
		postgres_audit(pg, audit);
	else
		rc = find_same(pg, batch, id_r, err_r);
	if (rc == 0)
		rc = postgres_commit_fly(pg, err_r);
	postgres_rollback(pg);
	return rc;
}

/* ---- feeding */

static const char take[] =
	"UPDATE windlass.batch SET feeder = $1::uuid, feeder_until = clock_timestamp() + $2::int8"
	" * interval '1 ms' WHERE id = (SELECT id FROM windlass.batch WHERE state = 1 AND NOT"
	" pushed AND (feeder IS NULL OR feeder_until < clock_timestamp()) ORDER BY feeder_until NULLS FIRST, id LIMIT 1 FOR"
	" UPDATE SKIP LOCKED) RETURNING id, tenant, owner, definition, position";

int postgres_batch_take(struct store *store, const struct uuid *feeder, int64_t lease_ms,
			struct arena *arena, struct batch_work *work_r, struct error *err_r)
{
	struct postgres *pg = postgres_of(store);

	if (postgres_enter(pg, err_r) < 0)
		return -1;
	postgres_say(pg, take);
	postgres_arg_uuid(pg, feeder);
	postgres_arg_i64(pg, lease_ms);
	size_t place = postgres_send(pg);

	if (postgres_fly(pg, err_r) < 0)
		return -1;
	const PGresult *result = postgres_result(pg, place);

	if (!PQntuples(result))
		return 0;
	*work_r = (struct batch_work){
		.id = result_uuid(result, 0, 0),
		.tenant = result_dup(result, 0, 1, arena),
		.owner = result_dup(result, 0, 2, arena),
		.definition = result_dup(result, 0, 3, arena),
		.position = result_dup(result, 0, 4, arena),
	};
	return 1;
}

int postgres_batch_leave(struct store *store, const struct uuid *id, const struct uuid *feeder,
			 struct error *err_r)
{
	struct postgres *pg = postgres_of(store);

	if (postgres_enter(pg, err_r) < 0)
		return -1;
	postgres_say(pg, "UPDATE windlass.batch SET feeder = NULL WHERE id = $1::uuid AND feeder ="
			 " $2::uuid");
	postgres_arg_uuid(pg, id);
	postgres_arg_uuid(pg, feeder);
	postgres_send(pg);
	return postgres_fly(pg, err_r);
}

static const char advance[] =
	"UPDATE windlass.batch SET position = $4::text, total = total + $5::int8, rejected ="
	" rejected + $6::int8, error = coalesce(error, $7::text), state = CASE WHEN $8::bool THEN"
	" 2 ELSE state END, feeder = CASE WHEN $8 THEN NULL ELSE feeder END, feeder_until ="
	" clock_timestamp() + $9::int8 * interval '1 ms' WHERE id = $1::uuid AND state = 1 AND"
	" feeder IS NOT DISTINCT FROM $2::uuid AND position IS NOT DISTINCT FROM $3::text"
	" RETURNING id";

size_t batch_send_chunk(struct postgres *pg, const struct batch_chunk *chunk, size_t jobs)
{
	postgres_say(pg, advance);
	postgres_arg_uuid(pg, &chunk->id);
	postgres_arg_uuid(pg, uuid_is_nil(&chunk->feeder) ? NULL : &chunk->feeder);
	postgres_arg_text(pg, chunk->position_before);
	postgres_arg_text(pg, chunk->position);
	postgres_arg_i64(pg, (int64_t)jobs);
	postgres_arg_i64(pg, chunk->rejected);
	postgres_arg_text(pg, chunk->error);
	postgres_arg_bool(pg, chunk->last);
	postgres_arg_i64(pg, chunk->lease_ms);
	return postgres_send(pg);
}

/* ---- ends of jobs */

struct tally {
	int64_t done, failed, cancelled;
};

static void count_end(struct postgres *pg, struct idmap *tallies, const struct completion *item)
{
	struct tally *tally = idmap_get(tallies, &item->job->run);

	if (!tally) {
		tally = ARENA_NEW(pg->scratch, struct tally);
		idmap_put(tallies, &item->job->run, tally);
	}
	tally->done += item->state == JOB_COMPLETED;
	tally->failed += item->state == JOB_DISCARDED;
	tally->cancelled += item->state == JOB_CANCELLED;
}

static const char add_tallies[] =
	"INSERT INTO windlass.batch_tally SELECT * FROM unnest($1::uuid[], $2::int8[],"
	" $3::int8[], $4::int8[])";

static void send_tallies(struct postgres *pg, const struct idmap *tallies)
{
	struct array *ids, *done, *failed, *cancelled;
	size_t cursor = 0;
	struct uuid id;
	void *value;

	postgres_say(pg, add_tallies);
	ids = postgres_arg_array(pg, TYPE_UUID);
	done = postgres_arg_array(pg, TYPE_INT8);
	failed = postgres_arg_array(pg, TYPE_INT8);
	cancelled = postgres_arg_array(pg, TYPE_INT8);
	while (idmap_next(tallies, &cursor, &id, &value)) {
		const struct tally *tally = value;

		array_uuid(ids, &id);
		array_i64(done, tally->done);
		array_i64(failed, tally->failed);
		array_i64(cancelled, tally->cancelled);
	}
	postgres_send(pg);
}

void batch_send_tallies(struct postgres *pg, struct completion *const *items, size_t count)
{
	struct idmap *tallies = NULL;

	for (size_t i = 0; i < count; i++) {
		if (uuid_is_nil(&items[i]->job->run) || items[i]->kind != COMPLETION_FINISH)
			continue;
		if (!tallies)
			tallies = idmap_new();
		count_end(pg, tallies, items[i]);
	}
	if (tallies)
		send_tallies(pg, tallies);
	idmap_free(&tallies);
}

/* ---- looking */

#define VIEW                                                                                      \
	"SELECT b.id, b.state, b.tenant, b.owner, b.queue, b.type, b.name, b.schedule, b.error,"  \
	" b.definition, b.position, b.created, b.finished, b.total, coalesce(t.done, 0),"         \
	" coalesce(t.failed, 0), coalesce(t.cancelled, 0), b.rejected, b.round FROM"              \
	" windlass.batch b LEFT JOIN LATERAL (SELECT sum(x.done)::int8 AS done, sum(x.failed)"    \
	"::int8 AS failed, sum(x.cancelled)::int8 AS cancelled FROM windlass.batch_tally x WHERE" \
	" x.batch = b.id) t ON true WHERE"

static const char one_batch[] = VIEW " b.id = $1::uuid AND" REACH_SQL(
	"b.tenant", "b.owner", "b.type", "b.queue", "2", "3", "4", "5");
static const char many_batches[] =
	VIEW " b.id IN (SELECT b.id FROM windlass.batch b WHERE ($1::uuid IS NULL OR b.id < $1)"
	     " AND ($6::int2 = 0 OR b.state = $6) AND" REACH_SQL("b.tenant", "b.owner", "b.type",
								 "b.queue", "2", "3", "4",
								 "5") " ORDER BY b.id DESC LIMIT"
								      " $7::int4) ORDER BY b.id"
								      " DESC";

static void read_view(const PGresult *result, int row, struct arena *arena,
		      struct batch_view *view_r)
{
	*view_r = (struct batch_view){
		.id = result_uuid(result, row, 0),
		.state = (enum batch_state)result_i64(result, row, 1),
		.tenant = result_dup(result, row, 2, arena),
		.owner = result_dup(result, row, 3, arena),
		.queue = result_dup(result, row, 4, arena),
		.type = result_dup(result, row, 5, arena),
		.name = result_dup(result, row, 6, arena),
		.schedule = result_dup(result, row, 7, arena),
		.error = result_dup(result, row, 8, arena),
		.definition = result_dup(result, row, 9, arena),
		.position = result_dup(result, row, 10, arena),
		.created_ms = result_ms(result, row, 11),
		.finished_ms = result_ms(result, row, 12),
		.counts = { .total = result_i64(result, row, 13),
			    .done = result_i64(result, row, 14),
			    .failed = result_i64(result, row, 15),
			    .cancelled = result_i64(result, row, 16),
			    .rejected = result_i64(result, row, 17),
			    .round = (int)result_i64(result, row, 18) },
	};
}

int postgres_batch_list(struct store *store, const struct batch_filter *filter, struct arena *arena,
			struct batch_view **views_r, size_t *count_r, struct error *err_r)
{
	struct postgres *pg = postgres_of(store);

	if (postgres_enter(pg, err_r) < 0)
		return -1;
	postgres_say(pg, many_batches);
	postgres_arg_uuid(pg, uuid_is_nil(&filter->before) ? NULL : &filter->before);
	postgres_arg_reach(pg, &filter->reach);
	postgres_arg_i16(pg, (int16_t)filter->state);
	postgres_arg_i32(pg, (int32_t)filter->limit);
	size_t place = postgres_send(pg);

	if (postgres_fly(pg, err_r) < 0)
		return -1;
	*count_r = (size_t)postgres_rows(pg, place);
	*views_r = ARENA_ARRAY(arena, struct batch_view, *count_r);
	for (size_t i = 0; i < *count_r; i++)
		read_view(postgres_result(pg, place), (int)i, arena, &(*views_r)[i]);
	return 0;
}

/* In the open transaction, or alone. */
static int look(struct postgres *pg, const struct reach *reach, const struct uuid *id,
		struct arena *arena, struct batch_view *view_r, struct error *err_r)
{
	postgres_say(pg, one_batch);
	postgres_arg_uuid(pg, id);
	postgres_arg_reach(pg, reach);
	size_t place = postgres_send(pg);

	if (postgres_fly(pg, err_r) < 0)
		return -1;
	if (!postgres_rows(pg, place))
		return error_set(err_r, ERROR_NOT_FOUND, "no such batch");
	read_view(postgres_result(pg, place), 0, arena, view_r);
	return 0;
}

int postgres_batch_get(struct store *store, const struct reach *reach, const struct uuid *id,
		       struct arena *arena, struct batch_view *view_r, struct error *err_r)
{
	struct postgres *pg = postgres_of(store);

	return postgres_enter(pg, err_r) < 0 ? -1 : look(pg, reach, id, arena, view_r, err_r);
}

/* ---- changing */

/* Locks its row and looks; whoever ends it waits. */
static int hold(struct postgres *pg, const struct reach *reach, const struct uuid *id,
		struct batch_view *view_r, struct error *err_r)
{
	postgres_begin(pg);
	postgres_say(pg, "SELECT FROM windlass.batch WHERE id = $1::uuid FOR UPDATE");
	postgres_arg_uuid(pg, id);
	postgres_send(pg);
	return look(pg, reach, id, pg->scratch, view_r, err_r);
}

static int ended(const struct batch_view *view, struct error *err_r)
{
	return error_set(err_r, ERROR_CONFLICT, "the batch is %s", batch_state_name(view->state));
}

static int cancel(struct postgres *pg, const struct reach *reach, const struct uuid *id,
		  const struct audit *audit, struct error *err_r)
{
	struct batch_view view;

	if (hold(pg, reach, id, &view, err_r) < 0)
		return -1;
	if (view.state >= BATCH_COMPLETED)
		return ended(&view, err_r);
	postgres_say(pg, "UPDATE windlass.batch SET state = 5, feeder = NULL, sweep ="
			 " '00000000-0000-0000-0000-000000000000' WHERE id = $1::uuid");
	postgres_arg_uuid(pg, id);
	postgres_send(pg);
	postgres_audit(pg, audit);
	return postgres_commit_fly(pg, err_r);
}

int postgres_batch_cancel(struct store *store, const struct reach *reach, const struct uuid *id,
			  const struct audit *audit, struct error *err_r)
{
	struct postgres *pg = postgres_of(store);

	if (postgres_enter(pg, err_r) < 0)
		return -1;
	int rc = cancel(pg, reach, id, audit, err_r);

	postgres_rollback(pg);
	return rc;
}

/* Discarded jobs are few: they are looked for among those, from the batch's own time on. */
static const char failed_jobs[] =
	"SELECT d.id FROM windlass.done d JOIN windlass.jobs j ON j.id = d.id WHERE d.state = 9"
	" AND d.id > $2::uuid AND j.batch = $1::uuid AND NOT" COMPENSATED_SQL " ORDER BY d.id"
	" LIMIT 5000";
#define FAILED_AT_ONCE 5000

static int send_failed_back(struct postgres *pg, const struct uuid *id, int64_t *count_r,
			    struct error *err_r)
{
	struct uuid *ids = ARENA_ARRAY(pg->scratch, struct uuid, FAILED_AT_ONCE);
	struct uuid from = { 0 };
	int64_t found = FAILED_AT_ONCE;

	memcpy(from.b, id->b, 6); /* its time */
	while (found == FAILED_AT_ONCE && *count_r < BATCH_RETRY_MAX) {
		int64_t moved;

		postgres_say(pg, failed_jobs);
		postgres_arg_uuid(pg, id);
		postgres_arg_uuid(pg, &from);
		size_t place = postgres_send(pg);

		if (postgres_fly(pg, err_r) < 0)
			return -1;
		found = postgres_rows(pg, place);
		for (int64_t i = 0; i < found; i++)
			from = ids[i] = result_uuid(postgres_result(pg, place), (int)i, 0);
		if (found && postgres_send_back(pg, ids, (size_t)found, 0, &moved, err_r) < 0)
			return -1;
		*count_r += found ? moved : 0;
	}
	return 0;
}

static int retry(struct postgres *pg, const struct reach *reach, const struct uuid *id,
		 const struct audit *audit, int64_t *count_r, struct error *err_r)
{
	struct batch_view view;

	if (hold(pg, reach, id, &view, err_r) < 0)
		return -1;
	if (view.state == BATCH_FEEDING || view.state == BATCH_CANCELLED)
		return ended(&view, err_r);
	*count_r = 0;
	if (send_failed_back(pg, id, count_r, err_r) < 0)
		return -1;
	if (!*count_r)
		return 0;
	postgres_say(pg, "UPDATE windlass.batch SET state = 2, finished = NULL, round = round + 1"
			 " WHERE id = $1::uuid");
	postgres_arg_uuid(pg, id);
	postgres_send(pg);
	postgres_audit(pg, audit);
	return postgres_commit_fly(pg, err_r);
}

int postgres_batch_retry(struct store *store, const struct reach *reach, const struct uuid *id,
			 const struct audit *audit, int64_t *count_r, struct error *err_r)
{
	struct postgres *pg = postgres_of(store);
	int rc = -1;

	for (int tries = 0; tries < CONTENTION_TRIES && rc < 0; tries++) {
		if (postgres_enter(pg, err_r) < 0)
			return -1;
		rc = retry(pg, reach, id, audit, count_r, err_r);
		postgres_rollback(pg);
		if (rc < 0 && err_r->code != ERROR_CONTENTION)
			return -1;
	}
	return rc;
}
