/* SPDX-License-Identifier: Apache-2.0 */
/* The audit on SQLite: rows that control operations add inside their transactions. */
#include "common/store/audit.h"

#include "common/store/sqlite/sqlite_impl.h"

int sqlite_audit(struct sqlite_store *store, const struct audit *audit, struct error *err_r)
{
	if (!audit)
		return 0;
	return sqlite_run(
		store, err_r,
		"INSERT INTO windlass_audit (at, who, action, object, detail) VALUES (?1, "
		"?2, ?3, ?4, ?5)",
		"issss", store->tx.now_ms, audit->who, audit->action, audit->object, audit->detail);
}

int sqlite_audit_list(struct store *base, const struct audit_filter *filter, struct arena *arena,
		      struct audit_view **views_r, size_t *count_r, struct error *err_r)
{
	struct sqlite_store *store = sqlite_of(base);
	sqlite3_stmt *stmt;
	int rc;

	if (sqlite_ensure(store, err_r))
		return -1;
	stmt = sqlite_bind(store, err_r,
			   "SELECT n, at, who, action, object, detail FROM windlass_audit WHERE "
			   "(?1 IS NULL OR who = ?1) AND (?2 IS NULL OR action = ?2) AND (?3 IS "
			   "NULL OR object = ?3) AND (?4 = 0 OR n < ?4) ORDER BY n DESC LIMIT ?5",
			   "sssii", filter->who, filter->action, filter->object, filter->before,
			   (int64_t)filter->limit);
	if (!stmt)
		return -1;
	*views_r = ARENA_ARRAY(arena, struct audit_view, filter->limit);
	while ((rc = sqlite_next(store, stmt, err_r)) == 1)
		(*views_r)[(*count_r)++] = (struct audit_view){
			.n = sqlite3_column_int64(stmt, 0),
			.at_ms = sqlite3_column_int64(stmt, 1),
			.who = sqlite_column_dup(stmt, 2, arena),
			.action = sqlite_column_dup(stmt, 3, arena),
			.object = sqlite_column_dup(stmt, 4, arena),
			.detail = sqlite_column_dup(stmt, 5, arena),
		};
	return rc;
}
