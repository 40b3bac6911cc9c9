/* SPDX-License-Identifier: Apache-2.0 */
/* The results outbox: rows that completions added (fence.c), read by the one process that has the
 * hold, deleted when a broker has them. */
#include "common/store/postgres/postgres_impl.h"

static const char add[] =
	"INSERT INTO windlass.outbox (id, type, topic, exchange, key, result, traceparent,"
	" finished) SELECT i.*, now() FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[],"
	" $5::text[], $6::text[], $7::text[]) AS i";

void outbox_send(struct postgres *pg, struct completion *const *items, size_t count)
{
	struct array *a[7];

	postgres_say(pg, add);
	for (size_t i = 0; i < ARRAY_LEN(a); i++)
		a[i] = postgres_arg_array(pg, i ? TYPE_TEXT : TYPE_UUID);
	for (size_t i = 0; i < count; i++) {
		const struct completion *item = items[i];

		if (!item->target || item->state != JOB_COMPLETED)
			continue;
		array_uuid(a[0], &item->job->id);
		array_text(a[1], item->job->type);
		array_text(a[2], item->target->topic);
		array_text(a[3], item->target->exchange);
		array_text(a[4], item->target->key);
		array_text(a[5], item->result);
		array_text(a[6], item->job->traceparent);
	}
	if (a[0]->count)
		postgres_send(pg);
}

/* Whose hold it is does not survive a crash of the server for certain; then two may send the same
 * rows once, which a receiver must bear with anyway. */
static const char take_hold[] =
	"INSERT INTO windlass.outbox_hold AS h (holder, until) VALUES ($1::uuid,"
	" clock_timestamp() + $2::int8 * interval '1 ms') ON CONFLICT (one) DO UPDATE SET holder ="
	" excluded.holder, until = excluded.until WHERE h.holder = excluded.holder OR h.until <"
	" clock_timestamp() RETURNING true";
static const char oldest[] =
	"SELECT n, id, type, topic, exchange, key, result, traceparent, finished FROM"
	" windlass.outbox WHERE EXISTS (SELECT FROM windlass.outbox_hold h WHERE h.holder ="
	" $1::uuid) AND topic <> ALL ($3::text[]) ORDER BY n LIMIT $2::int4";

static void read_items(const PGresult *result, struct arena *arena, struct outbox_item **items_r,
		       size_t *count_r)
{
	*count_r = (size_t)PQntuples(result);
	*items_r = ARENA_ARRAY(arena, struct outbox_item, *count_r);
	for (int row = 0; row < PQntuples(result); row++)
		(*items_r)[row] = (struct outbox_item){
			.n = result_i64(result, row, 0),
			.id = result_uuid(result, row, 1),
			.type = result_dup(result, row, 2, arena),
			.topic = result_dup(result, row, 3, arena),
			.exchange = result_dup(result, row, 4, arena),
			.key = result_dup(result, row, 5, arena),
			.result = result_dup(result, row, 6, arena),
			.traceparent = result_dup(result, row, 7, arena),
			.finished_ms = result_ms(result, row, 8),
		};
}

static size_t send_oldest(struct postgres *pg, const struct outbox_request *request)
{
	postgres_say(pg, oldest);
	postgres_arg_uuid(pg, &request->holder);
	postgres_arg_i32(pg, (int32_t)(request->max < INT32_MAX ? request->max : INT32_MAX));
	struct array *without = postgres_arg_array(pg, TYPE_TEXT);

	for (size_t i = 0; i < request->without_count; i++)
		array_text(without, request->without[i]);
	return postgres_send(pg);
}

int postgres_outbox_read(struct store *store, const struct outbox_request *request,
			 struct arena *arena, struct outbox_item **items_r, size_t *count_r,
			 bool *held_r, struct error *err_r)
{
	struct postgres *pg = postgres_of(store);

	if (postgres_enter(pg, err_r) < 0)
		return -1;
	postgres_begin(pg);
	postgres_say(pg, "SET LOCAL synchronous_commit = off");
	postgres_send(pg);
	postgres_say(pg, take_hold);
	postgres_arg_uuid(pg, &request->holder);
	postgres_arg_i64(pg, request->hold_ms);
	size_t hold = postgres_send(pg), rows = send_oldest(pg, request);

	if (postgres_commit_fly(pg, err_r) < 0) {
		/* Another one is taking it at this very moment. */
		return err_r->code == ERROR_CONTENTION ? 0 : -1;
	}
	*held_r = PQntuples(postgres_result(pg, hold)) > 0;
	if (*held_r)
		read_items(postgres_result(pg, rows), arena, items_r, count_r);
	return 0;
}

int postgres_outbox_delete(struct store *store, const int64_t *rows, size_t count,
			   struct error *err_r)
{
	struct postgres *pg = postgres_of(store);

	if (postgres_enter(pg, err_r) < 0)
		return -1;
	postgres_begin(pg);
	postgres_say(pg, "SET LOCAL synchronous_commit = off"); /* undone, they are sent again */
	postgres_send(pg);
	postgres_say(pg, "DELETE FROM windlass.outbox WHERE n IN (SELECT unnest($1::int8[]))");
	struct array *a = postgres_arg_array(pg, TYPE_INT8);

	for (size_t i = 0; i < count; i++)
		array_i64(a, rows[i]);
	postgres_send(pg);
	return postgres_commit_fly(pg, err_r);
}

int postgres_outbox_depth(struct store *store, int64_t *depth_r, struct error *err_r)
{
	struct postgres *pg = postgres_of(store);

	if (postgres_enter(pg, err_r) < 0)
		return -1;
	postgres_say(pg, "SELECT count(*) FROM (SELECT FROM windlass.outbox LIMIT 100000) AS o");
	size_t place = postgres_send(pg);

	if (postgres_fly(pg, err_r) < 0)
		return -1;
	*depth_r = result_i64(postgres_result(pg, place), 0, 0);
	return 0;
}
