/* SPDX-License-Identifier: Apache-2.0 */
/* The schema: applies the numbered migrations that are missing, each in a transaction of its own
 * inside the shared mutex, and keeps the registry of job types. */
#include "common/store/sqlite/sqlite_impl.h"

#include "common/store/migrations.h"

static int have(struct sqlite_store *store, int *have_r, struct error *err_r)
{
	int64_t number = 0;
	int rc = sqlite_number(store, err_r, &number,
			       "SELECT 1 FROM sqlite_schema WHERE name = 'windlass_schema'", "");

	if (rc == 1)
		rc = sqlite_number(store, err_r, &number,
				   "SELECT coalesce(max(number), 0) FROM windlass_schema", "");
	*have_r = (int)number;
	return rc < 0 ? -1 : 0;
}

/* 1: applied; 0: another process was first. */
static int apply(struct sqlite_store *store, const struct migration *migration, struct error *err_r)
{
	int done;

	if (sqlite_begin(store, SQLITE_DURABLE, err_r))
		return -1;
	if (sqlite_run(
		    store, err_r,
		    "CREATE TABLE IF NOT EXISTS windlass_schema (number INTEGER PRIMARY KEY, name TEXT NOT NULL, "
		    "applied INTEGER NOT NULL)",
		    "") ||
	    have(store, &done, err_r))
		goto out;
	if (done >= migration->number) {
		sqlite_rollback(store);
		return 0;
	}
	if (sqlite3_exec(store->db, migration->sql, NULL, NULL, NULL) != SQLITE_OK) {
		sqlite_fail(store, err_r, migration->name);
		goto out;
	}
	if (sqlite_run(store, err_r, "INSERT INTO windlass_schema VALUES (?1, ?2, ?3)", "isi",
		       (int64_t)migration->number, migration->name, store->tx.now_ms))
		goto out;
	return sqlite_commit(store, err_r) ? -1 : 1;
out:
	sqlite_rollback(store);
	return -1;
}

int sqlite_migrate(struct store *base, int *applied_r, struct error *err_r)
{
	struct sqlite_store *store = sqlite_of(base);
	int done;

	*applied_r = 0;
	if (sqlite_ensure(store, err_r) || have(store, &done, err_r))
		return -1;
	for (const struct migration *m = migrations_sqlite; m->number; m++) {
		int rc = m->number > done ? apply(store, m, err_r) : 0;

		if (rc < 0)
			return error_wrap(err_r, "migration %s", m->name);
		*applied_r += rc;
	}
	return 0;
}

int sqlite_schema(struct store *base, int *have_r, int *want_r, struct error *err_r)
{
	struct sqlite_store *store = sqlite_of(base);

	*want_r = 0;
	for (const struct migration *m = migrations_sqlite; m->number; m++)
		*want_r = m->number;
	return sqlite_ensure(store, err_r) || have(store, have_r, err_r) ? -1 : 0;
}

int sqlite_sync_types(struct store *base, const struct store_type *types, size_t count,
		      struct error *err_r)
{
	struct sqlite_store *store = sqlite_of(base);

	if (sqlite_begin(store, SQLITE_DURABLE, err_r))
		return -1;
	for (size_t i = 0; i < count; i++)
		if (sqlite_run(
			    store, err_r,
			    "INSERT INTO windlass_job_type (name, queue, priority, on_discard, hooks) "
			    "VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT DO UPDATE SET "
			    "queue = ?2, priority = ?3, on_discard = ?4, hooks = ?5",
			    "ssiss", types[i].name, types[i].queue, (int64_t)types[i].priority,
			    types[i].on_discard, types[i].hooks)) {
			sqlite_rollback(store);
			return -1;
		}
	return sqlite_commit(store, err_r);
}

/* What waits there already, and was accepted before the queue's order was asked for, or given up.
 */
static const char order_waiting[] =
	"UPDATE windlass_ready SET order_key = j.order_key, seq = j.seq FROM windlass_jobs j "
	"WHERE j.id = windlass_ready.id AND windlass_ready.queue = ?1 AND j.order_key IS NOT NULL "
	"AND windlass_ready.order_key IS NULL";
static const char unorder_waiting[] =
	"UPDATE windlass_ready SET order_key = NULL WHERE queue = ?1 AND order_key IS NOT NULL";

static int sync_queue(struct sqlite_store *store, const struct store_queue *queue,
		      struct error *err_r)
{
	int64_t was = 0;

	if (sqlite_number(store, err_r, &was, "SELECT ordered FROM windlass_queue WHERE name = ?1",
			  "s", queue->name) < 0 ||
	    sqlite_run(
		    store, err_r,
		    "INSERT INTO windlass_queue (name, ordered) VALUES (?1, ?2) ON CONFLICT DO UPDATE SET "
		    "ordered = ?2",
		    "si", queue->name, (int64_t)queue->ordered))
		return -1;
	if ((was != 0) == queue->ordered)
		return 0;
	return sqlite_run(store, err_r, queue->ordered ? order_waiting : unorder_waiting, "s",
			  queue->name);
}

int sqlite_sync_queues(struct store *base, const struct store_queue *queues, size_t count,
		       struct error *err_r)
{
	struct sqlite_store *store = sqlite_of(base);

	if (sqlite_begin(store, SQLITE_DURABLE, err_r))
		return -1;
	for (size_t i = 0; i < count; i++)
		if (sync_queue(store, &queues[i], err_r)) {
			sqlite_rollback(store);
			return -1;
		}
	return sqlite_commit(store, err_r);
}
