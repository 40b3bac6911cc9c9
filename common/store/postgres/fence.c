/* SPDX-License-Identifier: Apache-2.0 */
/* The fences of a completion, DESIGN section 3: whoever inserts the completion row first has ended
 * the job; everything else an attempt writes is valid only while the lease still holds the job. */
#include <string.h>

#include "common/base/idmap.h"
#include "common/store/postgres/postgres_impl.h"

/* A STEP inserts a completion row too and deletes it again (state 0, seen by nobody). It is mutual
 * exclusion against a zombie, an earlier attempt that lost its lease and completes now: without it
 * the zombie's on_discard could miss this step, or this step be committed for a job that has ended.
 * Whoever inserts second waits for the first transaction and then sees what it did. */
enum {
	DONE_ID,
	DONE_BATCH,
	DONE_ATTEMPT,
	DONE_STATE,
	DONE_REASON,
	DONE_RESULT,
	DONE_TYPE,
	DONE_SOURCE
};
enum group { EACH_ITS_OWN = COLUMN_EACH_ITS_OWN, OF_LEASE, OF_ENDING, OF_RESULT, OF_FOREIGN };

static const struct column_facts done_columns[] = {
	[DONE_ID] = { "id", "uuid", TYPE_UUID, EACH_ITS_OWN },
	[DONE_BATCH] = { "batch", "uuid", TYPE_UUID, OF_LEASE },
	[DONE_ATTEMPT] = { "attempt", "int4", TYPE_INT4, OF_ENDING },
	[DONE_STATE] = { "state", "int2", TYPE_INT2, OF_ENDING },
	[DONE_REASON] = { "reason", "text", TYPE_TEXT, OF_ENDING },
	[DONE_RESULT] = { "result", "text", TYPE_TEXT, OF_RESULT },
	[DONE_TYPE] = { "type", "text", TYPE_TEXT, OF_FOREIGN },
	[DONE_SOURCE] = { "source", "text", TYPE_TEXT, OF_FOREIGN },
};
static const char end_jobs[] =
	"INSERT INTO windlass.done (id, batch, finished, attempt, state, result, reason, type,"
	" source) SELECT id, batch, now(), attempt, state, result, reason, type, source FROM (";
/* A speculative insertion costs a look into the index and a record of the log more. */
static const char unrivalled[] = ") AS i";
static const char if_first[] = ") AS i ON CONFLICT (id) DO NOTHING RETURNING id";
static const char unend_steps[] =
	"DELETE FROM windlass.done WHERE id IN (SELECT unnest($1::uuid[])) AND state = 0";

static const char lock_update[] =
	"SELECT FROM windlass.lease WHERE batch IN (SELECT unnest($1::uuid[])) ORDER BY batch FOR"
	" UPDATE";
static const char lock_share[] =
	"SELECT FROM windlass.lease WHERE batch IN (SELECT unnest($1::uuid[])) ORDER BY batch FOR"
	" SHARE";

/* Runs after lock_update, in a snapshot of its own, so it sees the leases as they are. A release
 * (7) leaves no row in the history. A delay below 0 parks. */
static const char go_back[] =
	"WITH item AS MATERIALIZED (SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::int4[],"
	" $4::int8[], $5::int2[], $6::bool[],  $7::text[]) AS i(id, batch, attempt, delay_ms,"
	" outcome, counts, reason)), won AS MATERIALIZED (SELECT i.* FROM item i"
	" JOIN windlass.lease l ON l.batch = i.batch AND i.id = ANY (l.ids) "
	" WHERE NOT EXISTS (SELECT FROM windlass.done d WHERE d.id = i.id))," CUT_SQL("won", "h.batch IN (SELECT batch FROM won)") "," CLOSED_SQL(
		"won") ","
		       " back AS (INSERT INTO windlass.ready (id, seq, due, since, attempt, priority, queue,"
		       " order_key, fair_key) SELECT w.id," NEXT_SEQ_SQL(
			       "j.seq", "j.queue",
			       "j.order_key") ","
					      " CASE WHEN w.delay_ms > 0 THEN now() + w.delay_ms * interval '1 ms'"
					      " WHEN w.delay_ms < 0 THEN 'infinity' END,"
					      " now() + greatest(w.delay_ms, 0) * interval '1 ms', w.attempt, j.priority, j.queue,"
					      " j.order_key, j.fair_key FROM won w JOIN windlass.jobs j ON j.id = w.id"
					      " ON CONFLICT (id) DO NOTHING RETURNING queue, due), noted AS (INSERT INTO"
					      " windlass.attempt (id, batch, at, attempt, outcome, counts, reason) "
					      " SELECT id, batch, now(), attempt, outcome, counts, reason FROM won"
					      " WHERE outcome <> 7),"
					      " counted AS (INSERT INTO windlass.tally SELECT queue, count(*) FILTER (WHERE due IS"
					      " NULL),  count(*) FILTER (WHERE due IS NOT NULL) FROM back GROUP BY queue) SELECT id"
					      " FROM won";

static const char look_steps[] =
	"SELECT i.id, l.batch IS NOT NULL, s.id IS NOT NULL, s.value FROM unnest($1::uuid[],"
	" $2::uuid[], $3::text[]) AS i(id, batch, step)"
	" LEFT JOIN windlass.lease l ON l.batch = i.batch AND i.id = ANY (l.ids)"
	" LEFT JOIN windlass.step s ON s.id = i.id AND s.step = i.step";
static const char add_steps[] =
	"INSERT INTO windlass.step (id, at, attempt, step, value)"
	" SELECT id, clock_timestamp(), attempt, step, value FROM unnest($1::uuid[], $2::int4[],"
	" $3::text[], $4::text[]) AS i(id, attempt, step, value) ON CONFLICT (id, step) DO NOTHING";
static const char add_receipts[] =
	"INSERT INTO windlass.call (id, at, status, step, body)"
	" SELECT id, clock_timestamp(), status, step, body FROM unnest($1::uuid[], $2::int4[],"
	" $3::text[], $4::bytea[]) AS i(id, status, step, body) ON CONFLICT (id, step) DO UPDATE SET"
	" status = excluded.status, body = excluded.body, at = excluded.at"
	" WHERE call.status <= 0";
static const char note_ends[] =
	"INSERT INTO windlass.attempt (id, batch, at, attempt, outcome, counts, reason) SELECT id,"
	" batch, now(), attempt, outcome, true,"
	" reason FROM unnest($1::uuid[], $2::uuid[], $3::int4[], $4::int2[], $5::text[]) AS i(id,"
	" batch, attempt, outcome, reason)";

static const char close_keys[] =
	"DELETE FROM windlass.order_open WHERE id IN (SELECT unnest($1::uuid[]))";

#define UNIQUE_VIOLATION "23505"

static bool is(const struct completion *item, enum completion_kind kind)
{
	return item->kind == kind;
}

/* ---- which fence an item has; one whose row is stored may have another one too */

typedef bool member_fn(const struct completion *item);

static bool ends(const struct completion *item)
{
	return is(item, COMPLETION_FINISH) || is(item, COMPLETION_STEP);
}

static bool goes_back(const struct completion *item)
{
	return is(item, COMPLETION_LATER) && !item->job->source;
}

static bool steps(const struct completion *item)
{
	return is(item, COMPLETION_STEP);
}

static bool changes_hands(const struct completion *item)
{
	return is(item, COMPLETION_ADOPT) && !item->job->source;
}

static size_t count_of(struct completion *const *items, size_t count, member_fn *member)
{
	size_t n = 0;

	for (size_t i = 0; i < count; i++)
		n += member(items[i]);
	return n;
}

/* ---- sending */

static struct cell done_cell(const void *rows, size_t row, size_t column)
{
	struct completion *const *items = rows;
	const struct completion *item = items[row];
	bool step = is(item, COMPLETION_STEP);

	switch (column) {
	case DONE_ID:
		return cell_uuid(&item->job->id);
	case DONE_BATCH:
		return cell_uuid(&item->job->batch);
	case DONE_ATTEMPT:
		return cell_number(item->job->attempt);
	case DONE_STATE:
		return cell_number(step ? 0 : item->state);
	case DONE_REASON:
		return cell_text(step ? NULL : item->reason);
	case DONE_RESULT:
		return cell_text(step ? NULL : item->result);
	default:
		if (!item->job->source || completion_stores(item))
			return cell_text(NULL);
		return cell_text(column == DONE_TYPE ? item->job->type : item->job->source);
	}
}

static const char *end_statement(struct arena *arena, const struct columns *rows, unsigned arrays,
				 bool rivals)
{
	struct strbuf sql;

	strbuf_init(&sql);
	strbuf_addstr(&sql, end_jobs);
	columns_select(&sql, rows, arrays);
	strbuf_addstr(&sql, rivals ? if_first : unrivalled);
	const char *text = arena_strndup(arena, sql.data, sql.len);

	strbuf_release(&sql);
	return text;
}

static size_t send_ends(struct postgres *pg, struct completion *const *items, size_t count,
			size_t ending, bool rivals)
{
	struct completion **done = ARENA_ARRAY(pg->scratch, struct completion *, ending);
	struct columns rows = { done_columns, ARRAY_LEN(done_columns), done_cell, done, 0 };

	for (size_t i = 0; i < count; i++)
		if (ends(items[i]))
			done[rows.row_count++] = items[i];
	unsigned arrays = columns_differ(&rows);

	postgres_say(pg, end_statement(pg->scratch, &rows, arrays, rivals));
	columns_args(pg, &rows, arrays);
	return postgres_send(pg);
}

static void send_lease_locks(struct postgres *pg, struct completion *const *items, size_t count,
			     bool update)
{
	postgres_say(pg, update ? lock_update : lock_share);
	struct array *batches = postgres_arg_array(pg, TYPE_UUID);

	for (size_t i = 0; i < count; i++)
		if (!is(items[i], COMPLETION_FINISH) && !items[i]->job->source)
			array_uuid(batches, &items[i]->job->batch);
	postgres_send(pg);
}

static size_t send_later(struct postgres *pg, struct completion *const *items, size_t count)
{
	static const Oid types[] = { TYPE_UUID, TYPE_UUID, TYPE_INT4, TYPE_INT8,
				     TYPE_INT2, TYPE_BOOL, TYPE_TEXT };
	struct array *a[ARRAY_LEN(types)];

	postgres_say(pg, go_back);
	for (size_t i = 0; i < ARRAY_LEN(types); i++)
		a[i] = postgres_arg_array(pg, types[i]);
	for (size_t i = 0; i < count; i++) {
		const struct completion *item = items[i];

		if (!goes_back(item))
			continue;
		array_uuid(a[0], &item->job->id);
		array_uuid(a[1], &item->job->batch);
		array_i64(a[2], item->job->attempt);
		array_i64(a[3], item->delay_ms);
		array_i64(a[4], item->outcome);
		array_bool(a[5], item->counts);
		array_text(a[6], item->reason);
	}
	return postgres_send(pg);
}

static size_t send_steps(struct postgres *pg, struct completion *const *items, size_t count)
{
	postgres_say(pg, look_steps);
	struct array *a[4] = { postgres_arg_array(pg, TYPE_UUID), postgres_arg_array(pg, TYPE_UUID),
			       postgres_arg_array(pg, TYPE_TEXT) };

	for (size_t i = 0; i < count; i++) {
		if (!is(items[i], COMPLETION_STEP))
			continue;
		array_uuid(a[0], &items[i]->job->id);
		array_uuid(a[1], &items[i]->job->batch);
		array_text(a[2], items[i]->step);
	}
	size_t place = postgres_send(pg);

	postgres_say(pg, add_steps);
	a[0] = postgres_arg_array(pg, TYPE_UUID), a[1] = postgres_arg_array(pg, TYPE_INT4);
	a[2] = postgres_arg_array(pg, TYPE_TEXT), a[3] = postgres_arg_array(pg, TYPE_TEXT);
	for (size_t i = 0; i < count; i++) {
		if (!is(items[i], COMPLETION_STEP) || !items[i]->step)
			continue;
		array_uuid(a[0], &items[i]->job->id);
		array_i64(a[1], items[i]->job->attempt);
		array_text(a[2], items[i]->step);
		array_text(a[3], items[i]->step_value);
	}
	postgres_send(pg);
	postgres_say(pg, unend_steps);
	a[0] = postgres_arg_array(pg, TYPE_UUID);
	for (size_t i = 0; i < count; i++)
		if (is(items[i], COMPLETION_STEP))
			array_uuid(a[0], &items[i]->job->id);
	postgres_send(pg);
	return place;
}

void fence_send_receipts(struct postgres *pg, struct completion *const *items, size_t count)
{
	postgres_say(pg, add_receipts);
	struct array *ids = postgres_arg_array(pg, TYPE_UUID),
		     *statuses = postgres_arg_array(pg, TYPE_INT4);
	struct array *steps = postgres_arg_array(pg, TYPE_TEXT),
		     *bodies = postgres_arg_array(pg, TYPE_BYTEA);

	for (size_t i = 0; i < count; i++)
		for (size_t k = 0; k < items[i]->receipt_count; k++) {
			const struct receipt *receipt = &items[i]->receipts[k];

			array_uuid(ids, &items[i]->job->id);
			array_i64(statuses, receipt->status);
			array_text(steps, receipt->step);
			array_bytes(bodies, receipt->body ? receipt->body : "",
				    receipt->body ? receipt->body_bytes : 0);
		}
	if (ids->count)
		postgres_send(pg);
}

static void send_notes(struct postgres *pg, struct completion *const *items, size_t count)
{
	postgres_say(pg, note_ends);
	struct array *ids = postgres_arg_array(pg, TYPE_UUID),
		     *batches = postgres_arg_array(pg, TYPE_UUID);
	struct array *attempts = postgres_arg_array(pg, TYPE_INT4),
		     *outcomes = postgres_arg_array(pg, TYPE_INT2);
	struct array *reasons = postgres_arg_array(pg, TYPE_TEXT);

	for (size_t i = 0; i < count; i++) {
		if (!is(items[i], COMPLETION_FINISH) || items[i]->state == JOB_COMPLETED)
			continue;
		array_uuid(ids, &items[i]->job->id);
		array_uuid(batches, &items[i]->job->batch);
		array_i64(attempts, items[i]->job->attempt);
		array_i64(outcomes, items[i]->outcome);
		array_text(reasons, items[i]->reason);
	}
	if (ids->count)
		postgres_send(pg);
}

static void send_closes(struct postgres *pg, struct completion *const *items, size_t count)
{
	postgres_say(pg, close_keys);
	struct array *ids = postgres_arg_array(pg, TYPE_UUID);

	for (size_t i = 0; i < count; i++)
		if (is(items[i], COMPLETION_FINISH) && items[i]->job->order_key)
			array_uuid(ids, &items[i]->job->id);
	if (ids->count)
		postgres_send(pg);
}

void fence_send(struct postgres *pg, struct completion *const *items, size_t count,
		const struct uuid *session, bool rivals, struct fence *fence_r)
{
	size_t ending = count_of(items, count, ends), later = count_of(items, count, goes_back),
	       step = count_of(items, count, steps), moves = count_of(items, count, changes_hands);

	*fence_r = (struct fence){ SIZE_MAX, SIZE_MAX, SIZE_MAX, SIZE_MAX, SIZE_MAX, rivals };
	if (count_of(items, count, completion_stores))
		fence_r->foreign = foreign_send(pg, items, count, session);
	if (ending)
		fence_r->done = send_ends(pg, items, count, ending, rivals);
	if (later || step || moves)
		send_lease_locks(pg, items, count, later || moves);
	if (later)
		fence_r->later = send_later(pg, items, count);
	if (moves)
		fence_r->adopt = adopt_send(pg, items, count, session);
	if (step)
		fence_r->step = send_steps(pg, items, count);
	send_closes(pg, items, count);
	fence_send_receipts(pg, items, count);
	send_notes(pg, items, count);
	outbox_send(pg, items, count);
	batch_send_tallies(pg, items, count);
	endpoint_send(pg, items, count);
}

/* ---- reading */

static bool answered(const struct postgres *pg, size_t place)
{
	return place != SIZE_MAX && place < pg->failed_at;
}

static size_t mark_lost(const struct postgres *pg, size_t place, struct completion *const *items,
			size_t count, member_fn *member)
{
	if (!answered(pg, place))
		return 0;
	const PGresult *result = postgres_result(pg, place);
	size_t lost = count_of(items, count, member) - (size_t)PQntuples(result);

	if (!lost)
		return 0;
	struct idmap *won = idmap_new();

	for (int row = 0; row < PQntuples(result); row++) {
		struct uuid id = result_uuid(result, row, 0);

		idmap_put(won, &id, won);
	}
	for (size_t i = 0; i < count; i++)
		if (member(items[i]) && !idmap_get(won, &items[i]->job->id))
			items[i]->fate = COMPLETION_LOST;
	idmap_free(&won);
	return lost;
}

static size_t read_steps(const PGresult *result, struct completion *const *items, size_t count,
			 struct arena *arena)
{
	size_t out = 0, i = 0;

	for (int row = 0; row < PQntuples(result); row++, i++) {
		struct uuid id = result_uuid(result, row, 0);

		while (i < count &&
		       (!is(items[i], COMPLETION_STEP) || !uuid_equal(&id, &items[i]->job->id)))
			i++;
		CHECK(i < count); /* rows come in the order of the arrays */
		if (items[i]->fate == COMPLETION_LOST)
			continue;
		if (result_bool(result, row, 2)) {
			items[i]->fate = COMPLETION_COMMITTED;
			items[i]->stored_step_value = result_dup(result, row, 3, arena);
			out++;
		} else if (!result_bool(result, row, 1)) {
			items[i]->fate = COMPLETION_LOST;
			out++;
		}
	}
	return out;
}

bool fence_rivalled(const struct postgres *pg, const struct fence *fence, const struct error *err)
{
	return !fence->rivals && pg->failed_at == fence->done &&
	       !strcmp(err->sqlstate, UNIQUE_VIOLATION);
}

size_t fence_read(struct postgres *pg, const struct fence *fence, struct completion *const *items,
		  size_t count, struct arena *arena)
{
	size_t out = mark_lost(pg, fence->foreign, items, count, completion_stores);

	if (fence->rivals)
		out += mark_lost(pg, fence->done, items, count, ends);
	out += mark_lost(pg, fence->later, items, count, goes_back);
	out += mark_lost(pg, fence->adopt, items, count, changes_hands);
	if (answered(pg, fence->step))
		out += read_steps(postgres_result(pg, fence->step), items, count, arena);
	return out;
}

/* ---- our own rows */

static const char own_rows[] =
	"SELECT i.n FROM unnest($1::uuid[], $2::uuid[], $3::int4[], $4::int2[], $5::int2[],"
	" $6::int4[], $7::uuid[]) AS i(id, batch, attempt, state, outcome, n, adopted)"
	" WHERE EXISTS (SELECT"
	" FROM windlass.done d WHERE d.id = i.id AND d.batch = i.batch"
	" AND d.attempt = i.attempt AND d.state = i.state) OR i.state = 0 AND EXISTS (SELECT"
	" FROM windlass.attempt a WHERE a.id = i.id AND a.batch = i.batch"
	" AND a.attempt = i.attempt  AND a.outcome = i.outcome) OR EXISTS (SELECT FROM"
	" windlass.lease l WHERE l.batch = i.adopted AND i.id = ANY (l.ids))";

int fence_recognise(struct postgres *pg, struct completion *const *items, size_t count,
		    struct error *err_r)
{
	static const Oid types[] = { TYPE_UUID, TYPE_UUID, TYPE_INT4, TYPE_INT2,
				     TYPE_INT2, TYPE_INT4, TYPE_UUID };
	struct array *a[ARRAY_LEN(types)];

	postgres_say(pg, own_rows);
	for (size_t i = 0; i < ARRAY_LEN(types); i++)
		a[i] = postgres_arg_array(pg, types[i]);
	for (size_t i = 0; i < count; i++) {
		const struct completion *item = items[i];

		if (item->fate != COMPLETION_LOST || is(item, COMPLETION_STEP))
			continue;
		array_uuid(a[0], &item->job->id);
		array_uuid(a[1], &item->job->batch);
		array_i64(a[2], item->job->attempt);
		array_i64(a[3], is(item, COMPLETION_FINISH) ? (int64_t)item->state : 0);
		array_i64(a[4], item->outcome);
		array_i64(a[5], (int64_t)i);
		array_uuid(a[6], is(item, COMPLETION_ADOPT) ? &item->adopted : NULL);
	}
	if (!a[0]->count)
		return 0;
	size_t place = postgres_send(pg);

	if (postgres_fly(pg, err_r) < 0)
		return -1;
	const PGresult *result = postgres_result(pg, place);

	for (int row = 0; row < PQntuples(result); row++)
		items[result_i64(result, row, 0)]->fate = COMPLETION_COMMITTED;
	return 0;
}
