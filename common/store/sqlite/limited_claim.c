/* SPDX-License-Identifier: Apache-2.0 */
/* Claims from queues with limits or turns, inside a write transaction, which is alone anyway. What
 * to take is decided by common/store/ration.h. */
#include "common/store/ration.h"

#include <string.h>

#include "common/store/sqlite/sqlite_impl.h"

/* ---- what is in force and in hand */

void sqlite_limits_row(sqlite3_stmt *stmt, int column, struct limits *limits_r)
{
	bool said[6];

	for (int i = 0; i < 6; i++)
		said[i] = sqlite3_column_type(stmt, column + i) != SQLITE_NULL;
	*limits_r = (struct limits)LIMITS_UNSET;
	if (said[0])
		limits_r->all.concurrency = sqlite3_column_int64(stmt, column);
	if (said[1])
		limits_r->all.rate_per_s = sqlite3_column_double(stmt, column + 1);
	if (said[2])
		limits_r->key.concurrency = sqlite3_column_int64(stmt, column + 2);
	if (said[3])
		limits_r->key.rate_per_s = sqlite3_column_double(stmt, column + 3);
	if (said[4])
		limits_r->fair = sqlite3_column_int(stmt, column + 4);
	if (said[5])
		limits_r->weights = (const char *)sqlite3_column_text(stmt, column + 5);
}

static int read_rules(struct sqlite_store *store, struct error *err_r)
{
	sqlite3_stmt *stmt = sqlite_bind(
		store, err_r,
		"SELECT kind, name, concurrency, rate, key_concurrency, key_rate, fair, weights "
		"FROM windlass_limits_in_force",
		"");
	struct limits limits;
	int rc;

	if (!stmt)
		return -1;
	while ((rc = sqlite_next(store, stmt, err_r)) == 1) {
		sqlite_limits_row(stmt, 2, &limits);
		ration_rule(store->ration, (enum limits_kind)sqlite3_column_int(stmt, 0),
			    (const char *)sqlite3_column_text(stmt, 1), &limits);
	}
	return rc;
}

static int read_leases(struct sqlite_store *store, struct error *err_r)
{
	sqlite3_stmt *stmt = sqlite_bind(
		store, err_r, "SELECT slots FROM windlass_lease WHERE slots IS NOT NULL", "");
	int rc;

	if (!stmt)
		return -1;
	while ((rc = sqlite_next(store, stmt, err_r)) == 1)
		ration_lease(store->ration, (const char *)sqlite3_column_text(stmt, 0));
	return rc;
}

static int read_rates(struct sqlite_store *store, struct error *err_r)
{
	sqlite3_stmt *stmt =
		sqlite_bind(store, err_r,
			    "SELECT kind, name, paid FROM windlass_limit_rate WHERE key = ''", "");
	int rc;

	if (!stmt)
		return -1;
	while ((rc = sqlite_next(store, stmt, err_r)) == 1)
		ration_paid(store->ration, (enum limits_kind)sqlite3_column_int(stmt, 0),
			    (const char *)sqlite3_column_text(stmt, 1), NULL,
			    sqlite3_column_int64(stmt, 2));
	return rc;
}

/* ---- keys, one by one, each by a look into the index */

static int read_paid(struct sqlite_store *store, const char *queue, const char *key,
		     struct error *err_r)
{
	int64_t paid;
	int rc = sqlite_number(
		store, err_r, &paid,
		"SELECT paid FROM windlass_limit_rate WHERE key = ?1 AND kind = 0 AND name = ?2",
		"ss", key, queue);

	if (rc == 1)
		ration_paid(store->ration, LIMITS_QUEUE, queue, key, paid);
	return rc < 0 ? -1 : 0;
}

/* 1: *key_r is the next one behind it, in the transaction's arena. */
static int next_key(struct sqlite_store *store, const char *queue, int priority, const char **key_r,
		    struct error *err_r)
{
	sqlite3_stmt *stmt = sqlite_bind(
		store, err_r,
		"SELECT fair_key FROM windlass_ready INDEXED BY windlass_ready_fair WHERE queue = ?1 "
		"AND priority = ?2 AND due IS NULL AND fair_key IS NOT NULL AND fair_key > ?3 "
		"ORDER BY fair_key LIMIT 1",
		"sis", queue, (int64_t)priority, *key_r);
	int rc = stmt ? sqlite_next(store, stmt, err_r) : -1;

	if (rc != 1)
		return rc;
	*key_r = sqlite_column_dup(stmt, 0, store->tx.arena);
	sqlite_done(stmt);
	return 1;
}

static int read_keys(struct sqlite_store *store, const char *queue, struct error *err_r)
{
	for (int priority = 0; priority < PRIORITY_COUNT; priority++) {
		const char *key = ration_keys_after(store->ration, queue);
		int rc = 1;

		for (int n = 0; n < RATION_KEYS_MAX && rc == 1; n++) {
			rc = next_key(store, queue, priority, &key, err_r);
			if (rc < 0 || (rc == 1 && read_paid(store, queue, key, err_r)))
				return -1;
			if (rc == 1)
				ration_key(store->ration, queue, (enum job_priority)priority, key);
		}
	}
	return 0;
}

/* ---- a recount: what leases say is what they held at first */

static int count_one(struct sqlite_store *store, const struct uuid *id, struct error *err_r)
{
	sqlite3_stmt *stmt = sqlite_bind(
		store, err_r,
		"SELECT queue, type, fair_key FROM windlass_jobs WHERE id = ?1 AND NOT EXISTS (SELECT 1 "
		"FROM windlass_done d WHERE d.id = ?1) AND NOT EXISTS (SELECT 1 FROM windlass_ready r "
		"WHERE r.id = ?1)",
		"u", id);
	int rc = stmt ? sqlite_next(store, stmt, err_r) : -1;

	if (rc != 1)
		return rc;
	ration_job(store->ration, (const char *)sqlite3_column_text(stmt, 0),
		   (const char *)sqlite3_column_text(stmt, 1),
		   (const char *)sqlite3_column_text(stmt, 2), 1);
	sqlite_done(stmt);
	return 0;
}

static int recount(struct sqlite_store *store, struct error *err_r)
{
	sqlite3_stmt *stmt =
		sqlite_bind(store, err_r,
			    "SELECT ids, attempts FROM windlass_lease WHERE slots IS NOT NULL", "");
	struct uuid *ids;
	size_t count;
	int *attempts, rc;

	if (!stmt)
		return -1;
	ration_recount(store->ration);
	while ((rc = sqlite_next(store, stmt, err_r)) == 1) {
		if (sqlite_lease_decode(stmt, 0, store->tx.arena, &ids, &attempts, &count)) {
			sqlite_done(stmt);
			return error_set(err_r, ERROR_INTERNAL, "a lease row is damaged");
		}
		for (size_t i = 0; i < count; i++)
			if (count_one(store, &ids[i], err_r)) {
				sqlite_done(stmt);
				return -1;
			}
	}
	return rc;
}

static int read_state(struct sqlite_store *store, const struct sqlite_limited *limited,
		      struct error *err_r)
{
	ration_begin(store->ration, limited->max, store->tx.now_ms * 1000);
	if (read_rules(store, err_r) || read_leases(store, err_r) || read_rates(store, err_r))
		return -1;
	for (size_t i = 0; i < limited->count; i++) {
		const struct sqlite_source *source =
			&limited->sources[(store->turn + i) % limited->count];

		ration_queue(store->ration, source->queue, source->managed == 2, source->ordered);
		if (source->managed == 2 && read_keys(store, source->queue, err_r))
			return -1;
	}
	return ration_tight(store->ration) ? recount(store, err_r) : 0;
}

/* ---- the rows that may be taken */

struct rows {
	struct sqlite_hand_out *list;
	size_t count, cap;
};

/* Of an ordered queue only the first of a key of which none is handed out. */
#define COLUMNS                                                                                     \
	"SELECT r.id, r.seq, r.attempt, r.since, r.fair_key, NOT ?5 OR r.order_key IS NULL OR "     \
	"(NOT EXISTS (SELECT 1 FROM windlass_ready e WHERE e.queue = ?1 AND e.order_key = "         \
	"r.order_key AND e.seq < r.seq) AND NOT EXISTS (SELECT 1 FROM windlass_order_open o WHERE " \
	"o.queue = ?1 AND o.key = r.order_key)), CASE WHEN ?6 THEN (SELECT j.type FROM "            \
	"windlass_jobs j WHERE j.id = r.id) END FROM windlass_ready r "
static const char rows_of_all[] = COLUMNS
	"INDEXED BY windlass_ready_order WHERE r.queue = ?1 AND r.priority = ?2 AND r.due IS "
	"NULL AND r.seq > ?3 ORDER BY r.seq LIMIT ?4";
static const char rows_of_key[] = COLUMNS
	"INDEXED BY windlass_ready_fair WHERE r.queue = ?1 AND r.priority = ?2 AND r.due IS "
	"NULL AND r.fair_key IS NOT NULL AND r.fair_key = ?7 AND r.seq > ?3 ORDER BY r.seq "
	"LIMIT ?4";

static void add_row(struct sqlite_store *store, struct rows *rows, size_t lane, sqlite3_stmt *stmt)
{
	if (rows->count == rows->cap) {
		struct sqlite_hand_out *list =
			ARENA_ARRAY(store->tx.arena, struct sqlite_hand_out, rows->cap * 2 + 64);

		if (rows->count)
			memcpy(list, rows->list, rows->count * sizeof(*list));
		rows->list = list;
		rows->cap = rows->cap * 2 + 64;
	}
	struct sqlite_hand_out *row = &rows->list[rows->count++];

	sqlite_column_uuid(stmt, 0, &row->id);
	row->seq = sqlite3_column_int64(stmt, 1);
	row->attempt = sqlite3_column_int(stmt, 2) + 1;
	row->since = sqlite3_column_int64(stmt, 3);
	ration_row(store->ration, lane, &row->id, row->seq,
		   (const char *)sqlite3_column_text(stmt, 6),
		   (const char *)sqlite3_column_text(stmt, 4), sqlite3_column_int(stmt, 5));
}

static int look(struct sqlite_store *store, struct rows *rows, struct error *err_r)
{
	bool typed;
	size_t count;
	const struct ration_lane *lanes = ration_plan(store->ration, &count, &typed);

	for (size_t i = 0; i < count; i++) {
		const struct ration_lane *lane = &lanes[i];
		bool keyed = lane->rows == LANE_KEY;
		sqlite3_stmt *stmt =
			sqlite_bind(store, err_r, keyed ? rows_of_key : rows_of_all,
				    keyed ? "siiiiis" : "siiiii", lane->queue,
				    (int64_t)lane->priority, lane->after, (int64_t)lane->max,
				    (int64_t)lane->ordered, (int64_t)typed, lane->key);
		int rc;

		if (!stmt)
			return -1;
		while ((rc = sqlite_next(store, stmt, err_r)) == 1)
			add_row(store, rows, i, stmt);
		if (rc < 0)
			return -1;
	}
	return 0;
}

/* ---- the taking */

static int take(struct sqlite_store *store, const struct sqlite_hand_out *out, struct error *err_r)
{
	sqlite3_stmt *stmt;
	int rc;

	if (sqlite_run(
		    store, err_r,
		    "INSERT INTO windlass_order_open (queue, key, id) SELECT r.queue, r.order_key, "
		    "r.id FROM windlass_ready r WHERE r.id = ?1 AND r.order_key IS NOT NULL",
		    "u", &out->id))
		return -1;
	stmt = sqlite_bind(store, err_r, "DELETE FROM windlass_ready WHERE id = ?1 RETURNING queue",
			   "u", &out->id);
	rc = stmt ? sqlite_next(store, stmt, err_r) : -1;
	CHECK(rc != 0);
	if (rc < 0)
		return -1;
	sqlite_count(store, (const char *)sqlite3_column_text(stmt, 0), -1, 0, 1);
	sqlite_done(stmt);
	return 0;
}

static int pay_rates(struct sqlite_store *store, struct error *err_r)
{
	size_t count;
	const struct ration_rate *rates = ration_rates(store->ration, &count);

	for (size_t i = 0; i < count; i++)
		if (sqlite_run(
			    store, err_r,
			    "INSERT INTO windlass_limit_rate (key, kind, name, paid) VALUES (?1, ?2, ?3, ?4) "
			    "ON CONFLICT DO UPDATE SET paid = ?4",
			    "sisi", rates[i].key ? rates[i].key : "", (int64_t)rates[i].kind,
			    rates[i].name, rates[i].paid_us))
			return -1;
	return 0;
}

int sqlite_limited_pick(struct sqlite_store *store, struct sqlite_limited *limited,
			struct error *err_r)
{
	struct rows rows = { 0 };
	const size_t *chosen;
	size_t count;

	if (!store->ration)
		store->ration = ration_new();
	if (read_state(store, limited, err_r) || look(store, &rows, err_r))
		return -1;
	chosen = ration_choose(store->ration, &count);
	limited->picked = ARENA_ARRAY(store->tx.arena, struct sqlite_hand_out, count + 1);
	for (; limited->picked_count < count; limited->picked_count++) {
		const struct sqlite_hand_out *out = &rows.list[chosen[limited->picked_count]];

		if (take(store, out, err_r))
			return -1;
		limited->picked[limited->picked_count] = *out;
	}
	limited->slots = arena_strdup(store->tx.arena, ration_slots(store->ration));
	if (pay_rates(store, err_r))
		return -1;
	/* If it is rolled back, somebody's turn comes a little later. */
	ration_took(store->ration);
	limited->retry_ms = ration_retry_ms(store->ration);
	return 0;
}
