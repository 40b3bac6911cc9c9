/* SPDX-License-Identifier: Apache-2.0 */
/* Worker sessions on SQLite: renewing them, and giving back what the leases of one hold. */
#include "common/store/session.h"

#include <string.h>

#include "common/store/sqlite/sqlite_impl.h"

int sqlite_session_renew(struct store *base, const struct session_info *info, bool *fresh_r,
			 struct error *err_r)
{
	struct sqlite_store *store = sqlite_of(base);

	*fresh_r = false;
	if (sqlite_begin(store, SQLITE_RELAXED, err_r))
		return -1;
	if (sqlite_run(store, err_r, "UPDATE windlass_session SET until = ?2 WHERE id = ?1", "ui",
		       &info->id, store->tx.now_ms + info->lease_ms))
		goto out;
	if (!store->changed) {
		*fresh_r = true;
		if (sqlite_run(
			    store, err_r,
			    "INSERT INTO windlass_session (id, host, pid, started, until, broker, pool, node)"
			    " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
			    "usiiiiss", &info->id, info->host ? info->host : "", (int64_t)info->pid,
			    store->tx.now_ms, store->tx.now_ms + info->lease_ms,
			    (int64_t)info->broker, info->pool ? info->pool : "",
			    info->node ? info->node : ""))
			goto out;
	}
	return sqlite_commit(store, err_r);
out:
	sqlite_rollback(store);
	return -1;
}

int sqlite_session_report(struct store *base, const struct uuid *session, const char *targets,
			  struct error *err_r)
{
	struct sqlite_store *store = sqlite_of(base);

	if (sqlite_begin(store, SQLITE_RELAXED, err_r))
		return -1;
	if (sqlite_run(store, err_r, "UPDATE windlass_session SET targets = ?2 WHERE id = ?1", "us",
		       session, targets)) {
		sqlite_rollback(store);
		return -1;
	}
	return sqlite_commit(store, err_r);
}

int sqlite_session_figure(struct store *base, const struct uuid *session,
			  const struct session_figures *figures, struct error *err_r)
{
	struct sqlite_store *store = sqlite_of(base);

	if (sqlite_begin(store, SQLITE_RELAXED, err_r))
		return -1;
	if (sqlite_run(store, err_r,
		       "UPDATE windlass_session SET hosts = ?2, busy = ?3, rate = ?4, leaving = ?5 "
		       "WHERE id = ?1",
		       "uiidi", session, (int64_t)figures->hosts, (int64_t)figures->busy,
		       figures->rate_per_s, (int64_t)figures->leaving)) {
		sqlite_rollback(store);
		return -1;
	}
	return sqlite_commit(store, err_r);
}

struct batches {
	struct uuid *ids;
	size_t count, cap;
};

static int collect(struct sqlite_store *store, sqlite3_stmt *stmt, struct batches *batches,
		   struct error *err_r)
{
	int rc;

	if (!stmt)
		return -1;
	while ((rc = sqlite_next(store, stmt, err_r)) == 1) {
		if (batches->count == batches->cap) {
			struct uuid *more = ARENA_ARRAY(store->tx.arena, struct uuid,
							batches->cap ? batches->cap * 2 : 64);

			if (batches->count)
				memcpy(more, batches->ids, batches->count * sizeof(*more));
			batches->cap = batches->cap ? batches->cap * 2 : 64;
			batches->ids = more;
		}
		sqlite_column_uuid(stmt, 0, &batches->ids[batches->count++]);
	}
	return rc;
}

static bool among(const struct uuid *id, const struct uuid *known, size_t known_count)
{
	for (size_t i = 0; i < known_count; i++)
		if (uuid_equal(id, &known[i]))
			return true;
	return false;
}

static int release(struct sqlite_store *store, const struct batches *batches,
		   const struct uuid *known, size_t known_count, int64_t *released_r,
		   struct error *err_r)
{
	for (size_t i = 0; i < batches->count; i++)
		if (!among(&batches->ids[i], known, known_count) &&
		    sqlite_lease_release(store, &batches->ids[i], released_r, err_r))
			return -1;
	return 0;
}

int sqlite_session_end(struct store *base, const struct uuid *session, int64_t *released_r,
		       struct error *err_r)
{
	struct sqlite_store *store = sqlite_of(base);
	struct batches batches = { 0 };

	*released_r = 0;
	if (sqlite_begin(store, SQLITE_DURABLE, err_r))
		return -1;
	if (collect(store,
		    sqlite_bind(store, err_r, "SELECT batch FROM windlass_lease WHERE owner = ?1",
				"u", session),
		    &batches, err_r) ||
	    release(store, &batches, NULL, 0, released_r, err_r) ||
	    sqlite_run(store, err_r, "DELETE FROM windlass_session WHERE id = ?1", "u", session)) {
		sqlite_rollback(store);
		return -1;
	}
	return sqlite_commit(store, err_r);
}

int sqlite_session_sweep(struct store *base, const struct uuid *session, const struct uuid *known,
			 size_t known_count, int64_t *released_r, struct error *err_r)
{
	struct sqlite_store *store = sqlite_of(base);
	struct batches batches = { 0 };

	*released_r = 0;
	if (sqlite_begin(store, SQLITE_DURABLE, err_r))
		return -1;
	if (collect(store,
		    sqlite_bind(store, err_r,
				"SELECT batch FROM windlass_lease WHERE owner = ?1 AND taken < ?2",
				"ui", session, store->tx.now_ms - 10000),
		    &batches, err_r) ||
	    release(store, &batches, known, known_count, released_r, err_r)) {
		sqlite_rollback(store);
		return -1;
	}
	return sqlite_commit(store, err_r);
}

int sqlite_session_release_batch(struct store *base, const struct uuid *batch, struct error *err_r)
{
	struct sqlite_store *store = sqlite_of(base);
	int64_t released = 0;

	if (sqlite_begin(store, SQLITE_DURABLE, err_r))
		return -1;
	if (sqlite_lease_release(store, batch, &released, err_r)) {
		sqlite_rollback(store);
		return -1;
	}
	return sqlite_commit(store, err_r);
}

/* Leases whose session ran out, or is gone; those without one have a time of their own. */
#define ORPHANED(now) \
	"owner NOT IN (SELECT id FROM windlass_session) AND (until IS NULL OR until < " #now ")"

int sqlite_maintenance_release(struct store *base, int64_t *released_r, struct error *err_r)
{
	struct sqlite_store *store = sqlite_of(base);
	struct batches orphans = { 0 }, asked = { 0 };
	int64_t one;
	int rc;

	*released_r = 0;
	if (sqlite_ensure(store, err_r))
		return -1;
	rc = sqlite_number(
		store, err_r, &one,
		"SELECT 1 WHERE EXISTS (SELECT 1 FROM windlass_session WHERE until < ?1) OR EXISTS (SELECT 1 FROM "
		"windlass_lease WHERE " ORPHANED(?1) ") OR EXISTS (SELECT 1 FROM "
		"windlass_cancel c JOIN windlass_ready r ON r.id = c.id)",
		"i", clock_wall_ms());
	if (rc != 1)
		return rc;
	if (sqlite_begin(store, SQLITE_DURABLE, err_r))
		return -1;
	if (sqlite_run(store, err_r, "DELETE FROM windlass_session WHERE until < ?1", "i",
		       store->tx.now_ms) ||
	    collect(store,
		    sqlite_bind(
			    store, err_r,
			    "SELECT batch FROM windlass_lease WHERE " ORPHANED(?1), "i",
			    store->tx.now_ms),
		    &orphans, err_r) ||
	    release(store, &orphans, NULL, 0, released_r, err_r) ||
	    collect(store,
		    sqlite_bind(
			    store, err_r,
			    "SELECT c.id FROM windlass_cancel c JOIN windlass_ready r ON r.id = c.id",
			    ""),
		    &asked, err_r))
		goto out;
	for (size_t i = 0; i < asked.count; i++)
		if (sqlite_cancel_waiting(store, &asked.ids[i], NULL, err_r) < 0)
			goto out;
	return sqlite_commit(store, err_r);
out:
	sqlite_rollback(store);
	return -1;
}
