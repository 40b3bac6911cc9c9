/* SPDX-License-Identifier: Apache-2.0 */
/* Jobs that ended without being completed, on SQLite: what their ends lead to, inside the
 * transaction that ends them. */
#include "common/job/webhook.h"

#include "common/store/sqlite/sqlite_impl.h"

/* 1: somebody is to be told. */
static int find_told(struct sqlite_store *store, const struct uuid *id,
		     struct webhook_source *source_r, struct error *err_r)
{
	struct arena *arena = store->tx.arena;
	sqlite3_stmt *stmt = sqlite_bind(
		store, err_r,
		"SELECT j.tenant, j.type, j.traceparent, j.callback, t.hooks FROM windlass_jobs j "
		"LEFT JOIN windlass_job_type t ON t.name = j.type WHERE j.id = ?1 AND "
		"(j.callback IS NOT NULL OR t.hooks IS NOT NULL)",
		"u", id);
	int rc = stmt ? sqlite_next(store, stmt, err_r) : -1;

	if (rc != 1)
		return rc;
	*source_r = (struct webhook_source){
		.id = *id,
		.tenant = sqlite_column_dup(stmt, 0, arena),
		.type = sqlite_column_dup(stmt, 1, arena),
		.traceparent = sqlite_column_dup(stmt, 2, arena),
		.callback = sqlite_column_dup(stmt, 3, arena),
		.hooks = webhook_hooks_parse(arena, sqlite_column_dup(stmt, 4, arena)),
		.finished_ms = store->tx.now_ms,
	};
	sqlite_done(stmt);
	return 1;
}

static int tell(struct sqlite_store *store, const struct uuid *id, int attempt,
		enum job_state state, const char *reason, struct error *err_r)
{
	struct webhook_source source;
	struct accepted_job accepted;
	struct new_job *jobs;
	size_t count;
	int rc = find_told(store, id, &source, err_r);

	if (rc != 1)
		return rc;
	source.attempt = attempt;
	source.state = state;
	source.reason = reason;
	count = webhook_jobs(store->tx.arena, &source, &jobs);
	for (size_t i = 0; i < count; i++)
		if (sqlite_enlist(store, &jobs[i], true, &accepted, err_r))
			return -1;
	return 0;
}

int sqlite_on_end(struct sqlite_store *store, const struct uuid *id, int attempt,
		  enum job_state state, const char *reason, struct error *err_r)
{
	if (sqlite_compensate(store, id, attempt, state, reason, err_r))
		return -1;
	return tell(store, id, attempt, state, reason, err_r);
}
