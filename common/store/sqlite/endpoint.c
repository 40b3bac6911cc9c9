/* SPDX-License-Identifier: Apache-2.0 */
/* Endpoints that are disabled, on SQLite. */
#include "common/store/endpoint.h"

#include "common/store/sqlite/sqlite_impl.h"

int sqlite_disable_endpoint(struct sqlite_store *store, const char *url, const struct uuid *job,
			    struct error *err_r)
{
	if (sqlite_run(store, err_r,
		       "INSERT INTO windlass_endpoint_disabled (url, since, job) VALUES (?1, ?2, "
		       "?3) ON CONFLICT DO UPDATE SET since = ?2, job = ?3",
		       "siu", url, store->tx.now_ms, job))
		return -1;
	return sqlite_run(store, err_r,
			  "DELETE FROM windlass_endpoint_disabled WHERE url IN (SELECT url FROM "
			  "windlass_endpoint_disabled ORDER BY since DESC, url LIMIT -1 OFFSET ?1)",
			  "i", (int64_t)ENDPOINTS_DISABLED_MAX);
}

int sqlite_endpoint_disabled(struct store *base, struct arena *arena,
			     struct endpoint_view **views_r, size_t *count_r, struct error *err_r)
{
	struct sqlite_store *store = sqlite_of(base);
	struct endpoint_view *views =
		ARENA_ARRAY(arena, struct endpoint_view, ENDPOINTS_DISABLED_MAX);
	sqlite3_stmt *stmt;
	int rc;

	if (sqlite_ensure(store, err_r))
		return -1;
	stmt = sqlite_bind(store, err_r,
			   "SELECT url, since, job FROM windlass_endpoint_disabled ORDER BY since "
			   "DESC, url LIMIT ?1",
			   "i", (int64_t)ENDPOINTS_DISABLED_MAX);
	if (!stmt)
		return -1;
	*views_r = views;
	while ((rc = sqlite_next(store, stmt, err_r)) == 1) {
		struct endpoint_view *view = &views[(*count_r)++];

		view->url = sqlite_column_dup(stmt, 0, arena);
		view->since_ms = sqlite3_column_int64(stmt, 1);
		sqlite_column_uuid(stmt, 2, &view->job);
	}
	return rc;
}

int sqlite_endpoint_enable(struct store *base, const char *url, const struct audit *audit,
			   struct error *err_r)
{
	struct sqlite_store *store = sqlite_of(base);

	if (sqlite_begin(store, SQLITE_DURABLE, err_r))
		return -1;
	if (sqlite_run(store, err_r, "DELETE FROM windlass_endpoint_disabled WHERE url = ?1", "s",
		       url)) {
		sqlite_rollback(store);
		return -1;
	}
	if (!store->changed) {
		sqlite_rollback(store);
		return error_set(err_r, ERROR_NOT_FOUND, "that address is not disabled");
	}
	if (sqlite_audit(store, audit, err_r)) {
		sqlite_rollback(store);
		return -1;
	}
	return sqlite_commit(store, err_r);
}
