/* SPDX-License-Identifier: Apache-2.0 */
/* The results outbox on SQLite: rows that completions have left, read by the one who relays. */
#include "common/store/outbox.h"

#include "common/store/sqlite/sqlite_impl.h"

#define DEPTH_MAX 100000

/* Somebody else relays, for now; read before the writers' mutex is taken. */
static int is_taken(struct sqlite_store *store, const struct uuid *holder, struct error *err_r)
{
	int64_t one;

	return sqlite_number(store, err_r, &one,
			     "SELECT 1 FROM windlass_relay WHERE holder <> ?1 AND until > ?2", "ui",
			     holder, clock_wall_ms());
}

static int hold(struct sqlite_store *store, const struct outbox_request *request, bool *held_r,
		struct error *err_r)
{
	if (sqlite_begin(store, SQLITE_RELAXED, err_r))
		return -1;
	if (sqlite_run(
		    store, err_r,
		    "INSERT INTO windlass_relay (one, holder, until) VALUES (1, ?1, ?2) ON CONFLICT DO UPDATE "
		    "SET holder = ?1, until = ?2 WHERE holder = ?1 OR until <= ?3",
		    "uii", &request->holder, store->tx.now_ms + request->hold_ms,
		    store->tx.now_ms)) {
		sqlite_rollback(store);
		return -1;
	}
	*held_r = store->changed > 0;
	return sqlite_commit(store, err_r);
}

/* Topics as a JSON array. */
static char *without(const struct outbox_request *request, struct arena *arena)
{
	struct strbuf topics;
	char *text;

	strbuf_init(&topics);
	strbuf_addch(&topics, '[');
	for (size_t i = 0; i < request->without_count; i++) {
		if (i)
			strbuf_addch(&topics, ',');
		strbuf_json(&topics, request->without[i]);
	}
	strbuf_addch(&topics, ']');
	text = arena_strndup(arena, topics.data, topics.len);
	strbuf_release(&topics);
	return text;
}

static int read_rows(struct sqlite_store *store, const struct outbox_request *request,
		     struct arena *arena, struct outbox_item *items, size_t *count_r,
		     struct error *err_r)
{
	sqlite3_stmt *stmt = sqlite_bind(
		store, err_r,
		"SELECT n, id, type, topic, exchange, key, result, traceparent, finished FROM windlass_outbox "
		"WHERE topic NOT IN (SELECT value FROM json_each(?2)) ORDER BY n LIMIT ?1",
		"is", (int64_t)request->max, without(request, arena));
	int rc;

	if (!stmt)
		return -1;
	while ((rc = sqlite_next(store, stmt, err_r)) == 1) {
		struct outbox_item *item = &items[(*count_r)++];

		*item = (struct outbox_item){
			.n = sqlite3_column_int64(stmt, 0),
			.type = sqlite_column_dup(stmt, 2, arena),
			.topic = sqlite_column_dup(stmt, 3, arena),
			.exchange = sqlite_column_dup(stmt, 4, arena),
			.key = sqlite_column_dup(stmt, 5, arena),
			.result = sqlite_column_dup(stmt, 6, arena),
			.traceparent = sqlite_column_dup(stmt, 7, arena),
			.finished_ms = sqlite3_column_int64(stmt, 8),
		};
		sqlite_column_uuid(stmt, 1, &item->id);
	}
	return rc;
}

int sqlite_outbox_read(struct store *base, const struct outbox_request *request,
		       struct arena *arena, struct outbox_item **items_r, size_t *count_r,
		       bool *held_r, struct error *err_r)
{
	struct sqlite_store *store = sqlite_of(base);
	int rc;

	*items_r = NULL;
	*count_r = 0;
	*held_r = false;
	if (sqlite_ensure(store, err_r))
		return -1;
	rc = is_taken(store, &request->holder, err_r);
	if (rc)
		return rc < 0 ? -1 : 0;
	if (hold(store, request, held_r, err_r))
		return -1;
	if (!*held_r)
		return 0;
	*items_r = ARENA_ARRAY(arena, struct outbox_item, request->max);
	return read_rows(store, request, arena, *items_r, count_r, err_r);
}

int sqlite_outbox_delete(struct store *base, const int64_t *rows, size_t count, struct error *err_r)
{
	struct sqlite_store *store = sqlite_of(base);

	/* Lost with the power, they are sent again. */
	if (sqlite_begin(store, SQLITE_RELAXED, err_r))
		return -1;
	for (size_t i = 0; i < count; i++)
		if (sqlite_run(store, err_r, "DELETE FROM windlass_outbox WHERE n = ?1", "i",
			       rows[i])) {
			sqlite_rollback(store);
			return -1;
		}
	return sqlite_commit(store, err_r);
}

int sqlite_outbox_depth(struct store *base, int64_t *depth_r, struct error *err_r)
{
	struct sqlite_store *store = sqlite_of(base);

	*depth_r = 0;
	if (sqlite_ensure(store, err_r) ||
	    sqlite_number(store, err_r, depth_r,
			  "SELECT count(*) FROM (SELECT 1 FROM windlass_outbox LIMIT ?1)", "i",
			  (int64_t)DEPTH_MAX) < 0)
		return -1;
	return 0;
}
