/* SPDX-License-Identifier: Apache-2.0 */
/* Housekeeping on SQLite: due jobs, keys that ran out, old jobs. Each looks with a read first and
 * enters the writers' mutex only when there is something to do; each does a bounded amount a call.
 * Releasing expired leases is session.c's. */
#include "common/store/maintenance.h"

#include <string.h>

#include "common/store/sqlite/sqlite_impl.h"

enum { PROMOTE_MAX = 5000, FOLD_MAX = 1000, RETENTION_MAX = 1000 };
/* A queued job is cancelled at once, and its worker, if there is one already, is still to be told.
 */
enum { CANCEL_KEEP_MS = 30000 };

static int next_due(struct sqlite_store *store, int64_t *next_ms_r, struct error *err_r)
{
	int64_t due = 0;
	int rc = sqlite_number(
		store, err_r, &due,
		"SELECT due FROM windlass_ready WHERE due IS NOT NULL AND due < " SQLITE_NEVER_SQL
		" ORDER BY due LIMIT 1",
		"");
	int64_t left = due - clock_wall_ms();

	*next_ms_r = rc == 1 ? (left > 0 ? left : 0) : -1;
	return rc < 0 ? -1 : 0;
}

struct due {
	struct uuid id;
	char *queue;
};

static int find_due(struct sqlite_store *store, struct due *list, size_t *count_r,
		    struct error *err_r)
{
	sqlite3_stmt *stmt = sqlite_bind(
		store, err_r,
		"SELECT id, queue FROM windlass_ready WHERE due IS NOT NULL AND due <= ?1 ORDER BY due, seq LIMIT ?2",
		"ii", store->tx.now_ms, (int64_t)PROMOTE_MAX);
	int rc;

	if (!stmt)
		return -1;
	while ((rc = sqlite_next(store, stmt, err_r)) == 1) {
		struct due *due = &list[(*count_r)++];

		sqlite_column_uuid(stmt, 0, &due->id);
		due->queue = sqlite_column_dup(stmt, 1, store->tx.arena);
	}
	return rc;
}

int sqlite_maintenance_promote(struct store *base, int64_t *promoted_r, int64_t *next_ms_r,
			       struct error *err_r)
{
	struct sqlite_store *store = sqlite_of(base);
	struct due *list;
	size_t count = 0;

	*promoted_r = 0;
	if (sqlite_ensure(store, err_r) || next_due(store, next_ms_r, err_r))
		return -1;
	if (*next_ms_r != 0)
		return 0;
	/* Lost with the power, they are due again. */
	if (sqlite_begin(store, SQLITE_RELAXED, err_r))
		return -1;
	list = ARENA_ARRAY(store->tx.arena, struct due, PROMOTE_MAX);
	if (find_due(store, list, &count, err_r))
		goto out;
	for (size_t i = 0; i < count; i++) {
		int64_t seq;

		if (sqlite_seq(store, &seq, err_r) ||
		    sqlite_run(
			    store, err_r,
			    "UPDATE windlass_ready SET due = NULL, seq = CASE WHEN order_key IS NULL THEN ?2 "
			    "ELSE seq END WHERE id = ?1",
			    "ui", &list[i].id, seq))
			goto out;
		sqlite_count(store, list[i].queue, 1, -1, 0);
	}
	if (sqlite_commit(store, err_r))
		return -1;
	*promoted_r = (int64_t)count;
	return next_due(store, next_ms_r, err_r);
out:
	sqlite_rollback(store);
	return -1;
}

/* ---- keys and notes that have had their time */

#define TOLD "NOT (d.state = 10 AND d.lease IS NULL AND c.at >= ?2)"

static const char stale_plain[] =
	"SELECT 1 WHERE EXISTS (SELECT 1 FROM windlass_idempotency WHERE created < ?1) OR EXISTS (SELECT 1 FROM windlass_cancel c "
	"JOIN windlass_done d ON d.id = c.id WHERE " TOLD
	") OR EXISTS (SELECT 1 FROM windlass_progress p JOIN windlass_done d ON d.id = p.id)";

static int fold_plain(struct sqlite_store *store, struct error *err_r)
{
	int64_t now = clock_wall_ms(), horizon = now - (int64_t)IDEMPOTENCY_KEEP_MS, one;
	int rc =
		sqlite_number(store, err_r, &one, stale_plain, "ii", horizon, now - CANCEL_KEEP_MS);

	if (rc != 1)
		return rc;
	if (sqlite_begin(store, SQLITE_RELAXED, err_r))
		return -1;
	if (sqlite_run(
		    store, err_r,
		    "DELETE FROM windlass_idempotency WHERE (scope, key) IN (SELECT scope, key FROM windlass_idempotency "
		    "WHERE created < ?1 ORDER BY created LIMIT ?2)",
		    "ii", horizon, (int64_t)FOLD_MAX) ||
	    sqlite_run(
		    store, err_r,
		    "DELETE FROM windlass_cancel WHERE id IN (SELECT c.id FROM windlass_cancel c JOIN windlass_done d ON d.id = c.id "
		    "WHERE " TOLD " LIMIT ?1)",
		    "ii", (int64_t)FOLD_MAX, now - CANCEL_KEEP_MS) ||
	    sqlite_run(
		    store, err_r,
		    "DELETE FROM windlass_progress WHERE id IN (SELECT p.id FROM windlass_progress p JOIN windlass_done d "
		    "ON d.id = p.id LIMIT ?1)",
		    "i", (int64_t)FOLD_MAX)) {
		sqlite_rollback(store);
		return -1;
	}
	return sqlite_commit(store, err_r);
}

/* Walks the unique keys in the order of their jobs, a part a call. */
static int fold_unique(struct sqlite_store *store, struct error *err_r)
{
	struct uuid ids[FOLD_MAX], last = { 0 };
	size_t count = 0, seen = 0;
	sqlite3_stmt *stmt = sqlite_bind(
		store, err_r,
		"SELECT u.id, CASE WHEN u.until IS NOT NULL THEN u.until < ?2 ELSE EXISTS (SELECT 1 FROM "
		"windlass_done d WHERE d.id = u.id) END FROM windlass_unique_key u WHERE u.id > ?1 ORDER BY u.id "
		"LIMIT ?3",
		"uii", &store->unique_seen, clock_wall_ms(), (int64_t)FOLD_MAX);
	int rc;

	if (!stmt)
		return -1;
	while ((rc = sqlite_next(store, stmt, err_r)) == 1) {
		sqlite_column_uuid(stmt, 0, &last);
		if (sqlite3_column_int(stmt, 1))
			ids[count++] = last;
		seen++;
	}
	if (rc < 0)
		return -1;
	store->unique_seen = seen < FOLD_MAX ? (struct uuid){ 0 } : last;
	if (!count)
		return 0;
	if (sqlite_begin(store, SQLITE_RELAXED, err_r))
		return -1;
	for (size_t i = 0; i < count; i++)
		if (sqlite_run(
			    store, err_r,
			    "DELETE FROM windlass_unique_key WHERE id = ?1 AND CASE WHEN until IS NOT NULL THEN until < ?2 ELSE "
			    "EXISTS (SELECT 1 FROM windlass_done d WHERE d.id = ?1) END",
			    "ui", &ids[i], store->tx.now_ms)) {
			sqlite_rollback(store);
			return -1;
		}
	return sqlite_commit(store, err_r);
}

int sqlite_maintenance_fold(struct store *base, struct error *err_r)
{
	struct sqlite_store *store = sqlite_of(base);

	if (sqlite_ensure(store, err_r) || fold_plain(store, err_r) || fold_unique(store, err_r))
		return -1;
	return 0;
}

/* ---- old jobs */

struct old {
	struct uuid ids[RETENTION_MAX];
	size_t count;
};

/* Ids begin with their time, so the walk ends where jobs are too young to go. */
static int find_old(struct sqlite_store *store, int64_t keep_ms, int64_t keep_dead_ms,
		    struct old *old, struct error *err_r)
{
	int64_t now = clock_wall_ms();
	int64_t youngest = now - (keep_ms < keep_dead_ms ? keep_ms : keep_dead_ms);
	struct uuid before = { 0 }, last = { 0 };
	sqlite3_stmt *stmt;
	size_t seen = 0;
	int rc;

	for (int i = 0; i < 6; i++)
		before.b[i] = (uint8_t)((uint64_t)(youngest > 0 ? youngest : 0) >> (40 - 8 * i));
	stmt = sqlite_bind(
		store, err_r,
		"SELECT id, CASE WHEN state = 9 THEN finished < ?4 ELSE finished < ?3 END FROM windlass_done "
		"WHERE id > ?1 AND id < ?2 ORDER BY id LIMIT ?5",
		"uuiii", &store->done_seen, &before, now - keep_ms, now - keep_dead_ms,
		(int64_t)RETENTION_MAX);
	if (!stmt)
		return -1;
	while ((rc = sqlite_next(store, stmt, err_r)) == 1) {
		sqlite_column_uuid(stmt, 0, &last);
		if (sqlite3_column_int(stmt, 1))
			old->ids[old->count++] = last;
		seen++;
	}
	store->done_seen = seen < RETENTION_MAX ? (struct uuid){ 0 } : last;
	return rc;
}

static int trim_ticks(struct sqlite_store *store, int64_t before_ms, struct error *err_r)
{
	int64_t one;
	int rc = sqlite_number(store, err_r, &one,
			       "SELECT 1 FROM windlass_schedule_tick WHERE at < ?1 LIMIT 1", "i",
			       before_ms);

	if (rc != 1)
		return rc;
	if (sqlite_begin(store, SQLITE_RELAXED, err_r))
		return -1;
	if (sqlite_run(store, err_r,
		       "DELETE FROM windlass_schedule_tick WHERE (schedule, tick, manual) IN "
		       "(SELECT schedule, tick, manual FROM windlass_schedule_tick WHERE at < ?1 "
		       "ORDER BY at LIMIT ?2)",
		       "ii", before_ms, (int64_t)RETENTION_MAX)) {
		sqlite_rollback(store);
		return -1;
	}
	return sqlite_commit(store, err_r);
}

static int forget_job(struct sqlite_store *store, const struct uuid *id, struct error *err_r)
{
	return sqlite_run(store, err_r, "DELETE FROM windlass_attempt WHERE id = ?1", "u", id) ||
	       sqlite_run(store, err_r, "DELETE FROM windlass_step WHERE id = ?1", "u", id) ||
	       sqlite_run(store, err_r, "DELETE FROM windlass_call WHERE id = ?1", "u", id) ||
	       sqlite_run(store, err_r, "DELETE FROM windlass_progress WHERE id = ?1", "u", id) ||
	       sqlite_run(store, err_r, "DELETE FROM windlass_cancel WHERE id = ?1", "u", id) ||
	       sqlite_run(store, err_r, "DELETE FROM windlass_edge WHERE id = ?1", "u", id) ||
	       sqlite_run(store, err_r, "DELETE FROM windlass_jobs WHERE id = ?1", "u", id) ||
	       sqlite_run(store, err_r, "DELETE FROM windlass_done WHERE id = ?1", "u", id);
}

/* The oldest are the first by number. */
static const char old_audit[] =
	"SELECT n FROM (SELECT n, at FROM windlass_audit ORDER BY n LIMIT ?2) WHERE at < ?1";

static int trim_audit(struct sqlite_store *store, int64_t before_ms, struct error *err_r)
{
	int64_t one;
	int rc = sqlite_number(store, err_r, &one, old_audit, "ii", before_ms, (int64_t)1);

	if (rc != 1)
		return rc;
	if (sqlite_begin(store, SQLITE_RELAXED, err_r))
		return -1;
	if (sqlite_run(store, err_r,
		       "DELETE FROM windlass_audit WHERE n IN (SELECT n FROM (SELECT n, at FROM "
		       "windlass_audit ORDER BY n LIMIT ?2) WHERE at < ?1)",
		       "ii", before_ms, (int64_t)RETENTION_MAX)) {
		sqlite_rollback(store);
		return -1;
	}
	return sqlite_commit(store, err_r);
}

static int trim_batches(struct sqlite_store *store, int64_t before_ms, struct error *err_r)
{
	int64_t one;
	int rc = sqlite_number(store, err_r, &one,
			       "SELECT 1 FROM windlass_batch WHERE finished < ?1 LIMIT 1", "i",
			       before_ms);

	if (rc != 1)
		return rc;
	if (sqlite_begin(store, SQLITE_RELAXED, err_r))
		return -1;
	if (sqlite_run(store, err_r, "DELETE FROM windlass_batch WHERE finished < ?1", "i",
		       before_ms)) {
		sqlite_rollback(store);
		return -1;
	}
	return sqlite_commit(store, err_r);
}

int sqlite_maintenance_retention(struct store *base, int64_t keep_ms, int64_t keep_dead_ms,
				 struct error *err_r)
{
	struct sqlite_store *store = sqlite_of(base);
	struct old old = { .count = 0 };

	if (sqlite_ensure(store, err_r) ||
	    trim_audit(store, clock_wall_ms() - keep_dead_ms, err_r) ||
	    trim_batches(store, clock_wall_ms() - keep_dead_ms, err_r) ||
	    trim_ticks(store, clock_wall_ms() - keep_ms, err_r) ||
	    find_old(store, keep_ms, keep_dead_ms, &old, err_r))
		return -1;
	if (!old.count)
		return 0;
	if (sqlite_begin(store, SQLITE_RELAXED, err_r))
		return -1;
	for (size_t i = 0; i < old.count; i++) {
		int64_t one;
		/* It may have been retried since it was read. */
		int rc = sqlite_number(store, err_r, &one,
				       "SELECT 1 FROM windlass_done WHERE id = ?1", "u",
				       &old.ids[i]);

		if (rc < 0 || (rc == 1 && forget_job(store, &old.ids[i], err_r))) {
			sqlite_rollback(store);
			return -1;
		}
	}
	return sqlite_commit(store, err_r);
}
