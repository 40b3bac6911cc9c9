/* SPDX-License-Identifier: Apache-2.0 */
/* Leases as a write transaction sees them: each is read once, changed in memory, written back
 * before COMMIT. Invariant: an id is in at most one of ready, done and the leases that can still be
 * released; whoever moves it takes it out of its lease. */
#include "common/store/sqlite/sqlite_impl.h"

#include <stdlib.h>
#include <string.h>

static int get_attempt(const uint8_t *p)
{
	return (int)((uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3]);
}

static void put_attempt(uint8_t *p, int attempt)
{
	p[0] = (uint8_t)(attempt >> 24);
	p[1] = (uint8_t)(attempt >> 16);
	p[2] = (uint8_t)(attempt >> 8);
	p[3] = (uint8_t)attempt;
}

int sqlite_lease_decode(sqlite3_stmt *stmt, int ids_column, struct arena *arena,
			struct uuid **ids_r, int **attempts_r, size_t *count_r)
{
	const void *ids = sqlite3_column_blob(stmt, ids_column);
	size_t count = (size_t)sqlite3_column_bytes(stmt, ids_column) / sizeof(struct uuid);
	const uint8_t *attempts = sqlite3_column_blob(stmt, ids_column + 1);

	*count_r = count;
	*ids_r = ARENA_ARRAY(arena, struct uuid, count + 1);
	*attempts_r = ARENA_ARRAY(arena, int, count + 1);
	if ((size_t)sqlite3_column_bytes(stmt, ids_column + 1) != count * 4)
		return -1;
	for (size_t i = 0; i < count; i++) {
		memcpy(&(*ids_r)[i], (const struct uuid *)ids + i, sizeof(struct uuid));
		(*attempts_r)[i] = get_attempt(attempts + 4 * i);
	}
	return 0;
}

static int load(struct sqlite_store *store, struct sqlite_lease *lease, struct error *err_r)
{
	sqlite3_stmt *stmt = sqlite_bind(
		store, err_r,
		"SELECT ids, attempts, until, slots FROM windlass_lease WHERE batch = ?1", "u",
		&lease->batch);
	int rc = stmt ? sqlite_next(store, stmt, err_r) : -1;

	if (rc != 1)
		return rc;
	lease->found = true;
	lease->brokers = sqlite3_column_type(stmt, 2) != SQLITE_NULL;
	lease->limited = sqlite3_column_type(stmt, 3) != SQLITE_NULL;
	rc = sqlite_lease_decode(stmt, 0, store->tx.arena, &lease->ids, &lease->attempts,
				 &lease->count);
	sqlite_done(stmt);
	if (rc)
		return error_set(err_r, ERROR_INTERNAL, "a lease row is damaged");
	lease->settled = ARENA_ARRAY(store->tx.arena, bool, lease->count + 1);
	lease->removed = ARENA_ARRAY(store->tx.arena, bool, lease->count + 1);
	return 0;
}

int sqlite_lease(struct sqlite_store *store, const struct uuid *batch,
		 struct sqlite_lease **lease_r, struct error *err_r)
{
	struct sqlite_tx *tx = &store->tx;
	struct sqlite_lease *lease;

	for (size_t i = tx->lease_count; i-- > 0;)
		if (uuid_equal(&tx->leases[i]->batch, batch)) {
			*lease_r = tx->leases[i];
			return 0;
		}
	lease = ARENA_NEW(tx->arena, struct sqlite_lease);
	lease->batch = *batch;
	if (load(store, lease, err_r))
		return -1;
	if (tx->lease_count == tx->lease_cap) {
		tx->lease_cap = tx->lease_cap ? tx->lease_cap * 2 : 8;
		tx->leases = xrealloc(tx->leases, tx->lease_cap * sizeof(struct sqlite_lease *));
	}
	tx->leases[tx->lease_count++] = lease;
	*lease_r = lease;
	return 0;
}

int sqlite_lease_find(struct sqlite_lease *lease, const struct uuid *id, int attempt)
{
	if (!lease->found)
		return -1;
	/* Batches mostly settle in the order of their lease. */
	for (size_t n = 0; n < lease->count; n++) {
		size_t i = (lease->hint + n) % lease->count;

		if (!uuid_equal(&lease->ids[i], id))
			continue;
		lease->hint = i + 1;
		return lease->removed[i] || lease->attempts[i] != attempt ? -1 : (int)i;
	}
	return -1;
}

int sqlite_lease_finish(struct sqlite_store *store, const struct uuid *batch, struct error *err_r)
{
	struct sqlite_lease *lease;

	if (sqlite_lease(store, batch, &lease, err_r))
		return -1;
	for (size_t i = 0; i < lease->count; i++) {
		int64_t done;
		int rc = 1;

		if (!lease->settled[i] && !lease->removed[i])
			rc = sqlite_number(store, err_r, &done,
					   "SELECT 1 FROM windlass_done WHERE id = ?1", "u",
					   &lease->ids[i]);
		if (rc < 0)
			return -1;
		if (rc == 1)
			lease->removed[i] = true;
	}
	lease->changed = lease->found;
	return 0;
}

static int write_back(struct sqlite_store *store, struct sqlite_lease *lease, struct error *err_r)
{
	uint8_t *ids = arena_alloc(store->tx.arena, lease->count * sizeof(struct uuid) + 1);
	uint8_t *attempts = arena_alloc(store->tx.arena, lease->count * 4 + 1);
	size_t kept = 0;

	for (size_t i = 0; i < lease->count; i++) {
		if (lease->removed[i])
			continue;
		memcpy(ids + kept * sizeof(struct uuid), &lease->ids[i], sizeof(struct uuid));
		put_attempt(attempts + kept * 4, lease->attempts[i]);
		kept++;
	}
	if (kept == 0)
		return sqlite_run(store, err_r, "DELETE FROM windlass_lease WHERE batch = ?1", "u",
				  &lease->batch);
	return sqlite_run(
		store, err_r, "UPDATE windlass_lease SET ids = ?2, attempts = ?3 WHERE batch = ?1",
		"ubb", &lease->batch, ids, kept * sizeof(struct uuid), attempts, kept * 4);
}

int sqlite_lease_flush(struct sqlite_store *store, struct error *err_r)
{
	for (size_t i = 0; i < store->tx.lease_count; i++) {
		struct sqlite_lease *lease = store->tx.leases[i];

		if (lease->changed && write_back(store, lease, err_r))
			return -1;
		lease->changed = false;
	}
	return 0;
}

int sqlite_lease_add(struct sqlite_store *store, const struct sqlite_new_lease *lease,
		     struct error *err_r)
{
	uint8_t *attempts = arena_alloc(store->tx.arena, lease->count * 4 + 1);

	for (size_t i = 0; i < lease->count; i++)
		put_attempt(attempts + i * 4, lease->attempts[i]);
	return sqlite_run(
		store, err_r,
		"INSERT INTO windlass_lease (batch, owner, ids, attempts, taken, until, queue, slots) "
		"VALUES (?1, ?2, ?3, ?4, ?5, nullif(?6, 0), ?7, ?8)",
		"uubbiiss", &lease->batch, &lease->owner, lease->ids,
		lease->count * sizeof(struct uuid), attempts, lease->count * 4, store->tx.now_ms,
		lease->until_ms, lease->queue, lease->slots);
}

/* What a released job needs to wait again. 1; 0: it has ended, or waits already. */
static int unfinished(struct sqlite_store *store, const struct uuid *id,
		      struct sqlite_waiting *waiting_r, bool *cancel_r, struct error *err_r)
{
	sqlite3_stmt *stmt = sqlite_bind(
		store, err_r,
		"SELECT j.queue, j.priority, c.id IS NOT NULL, j.order_key, j.seq FROM windlass_jobs j "
		"LEFT JOIN windlass_cancel c ON c.id = j.id WHERE j.id = ?1 "
		"AND NOT EXISTS (SELECT 1 FROM windlass_done WHERE id = ?1) "
		"AND NOT EXISTS (SELECT 1 FROM windlass_ready WHERE id = ?1)",
		"u", id);
	int rc = stmt ? sqlite_next(store, stmt, err_r) : -1;

	if (rc != 1)
		return rc;
	waiting_r->queue = sqlite_column_dup(stmt, 0, store->tx.arena);
	waiting_r->priority = sqlite3_column_int(stmt, 1);
	*cancel_r = sqlite3_column_int(stmt, 2);
	waiting_r->order_key = sqlite_column_dup(stmt, 3, store->tx.arena);
	waiting_r->seq = sqlite3_column_int64(stmt, 4);
	sqlite_done(stmt);
	return 1;
}

static int release_one(struct sqlite_store *store, struct sqlite_lease *lease, size_t i,
		       int64_t *released_r, struct error *err_r)
{
	/* Of those that a broker had, most were never begun. */
	struct sqlite_waiting waiting = { .attempt = lease->attempts[i],
					  .keep_place = lease->brokers };
	const struct uuid *id = &lease->ids[i];
	bool cancel = false;
	int rc = unfinished(store, id, &waiting, &cancel, err_r);

	if (rc != 1)
		return rc;
	sqlite_count(store, waiting.queue, 0, 0, -1);
	if (waiting.order_key && sqlite_close_key(store, id, err_r))
		return -1;
	if (sqlite_wait(store, id, &waiting, err_r))
		return -1;
	++*released_r;
	return cancel && sqlite_cancel_waiting(store, id, NULL, err_r) < 0 ? -1 : 0;
}

int sqlite_lease_release(struct sqlite_store *store, const struct uuid *batch, int64_t *released_r,
			 struct error *err_r)
{
	struct sqlite_lease *lease;

	if (sqlite_lease(store, batch, &lease, err_r))
		return -1;
	for (size_t i = 0; i < lease->count; i++) {
		if (!lease->removed[i] && release_one(store, lease, i, released_r, err_r))
			return -1;
		lease->removed[i] = true;
	}
	lease->changed = lease->found;
	return 0;
}
