/* SPDX-License-Identifier: Apache-2.0 */
/* Batch runs on SQLite: one writer at a time, so the figures of a batch are kept in its row. */
#include "common/store/batch.h"

#include <stdlib.h>
#include <string.h>

#include "common/store/sqlite/sqlite_impl.h"

enum { ENDS_MAX = 100, CANCEL_LOOK = 1000, FAILED_AT_ONCE = 1000 };

/* rc: what became of the change; 0 commits it. */
static int end(struct sqlite_store *store, int rc, struct error *err_r)
{
	if (rc == 0)
		return sqlite_commit(store, err_r);
	sqlite_rollback(store);
	return -1;
}

/* ---- beginning and feeding */

static int find_same(struct sqlite_store *store, const struct batch_new *batch, struct uuid *id_r,
		     struct error *err_r)
{
	sqlite3_stmt *stmt = sqlite_bind(
		store, err_r,
		"SELECT id, tenant = ?2 AND owner = ?3 FROM windlass_batch WHERE id = ?1 OR "
		"(schedule = ?4 AND tick = ?5) ORDER BY id = ?1 DESC LIMIT 1",
		"usssi", &batch->id, batch->tenant, batch->owner, batch->schedule, batch->tick_ms);
	int rc = stmt ? sqlite_next(store, stmt, err_r) : -1;
	bool own;

	if (rc != 1)
		return rc;
	sqlite_column_uuid(stmt, 0, id_r);
	own = sqlite3_column_int(stmt, 1);
	sqlite_done(stmt);
	return own ? 1 : error_set(err_r, ERROR_CONFLICT, "this id was used for another batch");
}

static int insert(struct sqlite_store *store, const struct batch_new *batch, struct error *err_r)
{
	return sqlite_run(
		store, err_r,
		"INSERT INTO windlass_batch (id, created, state, tenant, owner, queue, type, name, "
		"definition, schedule, tick, position, pushed) VALUES (?1, ?2, 1, ?3, ?4, ?5, ?6, "
		"?7, ?8, ?9, CASE WHEN ?9 IS NOT NULL THEN ?10 END, CASE WHEN ?11 THEN '0' END, "
		"?11)",
		"uisssssssii", &batch->id, store->tx.now_ms, batch->tenant, batch->owner,
		batch->queue, batch->type, batch->name, batch->definition, batch->schedule,
		batch->tick_ms, (int64_t)batch->pushed);
}

int sqlite_batch_begin(struct store *base, const struct batch_new *batch, const struct audit *audit,
		       struct uuid *id_r, bool *new_r, struct error *err_r)
{
	struct sqlite_store *store = sqlite_of(base);
	int rc;

	if (sqlite_begin(store, SQLITE_DURABLE, err_r))
		return -1;
	*id_r = batch->id;
	rc = find_same(store, batch, id_r, err_r);
	*new_r = rc == 0;
	if (rc == 0)
		rc = insert(store, batch, err_r) || sqlite_audit(store, audit, err_r) ? -1 : 0;
	return end(store, rc < 0 ? -1 : 0, err_r);
}

static const char takable[] =
	"SELECT id, tenant, owner, definition, position FROM windlass_batch INDEXED BY "
	"windlass_batch_open WHERE (state < 3 OR sweep IS NOT NULL) AND state = 1 AND NOT pushed "
	"AND (feeder IS NULL OR feeder_until < ?1) ORDER BY feeder_until, id LIMIT 1";

static int take(struct sqlite_store *store, const struct uuid *feeder, int64_t lease_ms,
		struct arena *arena, struct batch_work *work_r, struct error *err_r)
{
	sqlite3_stmt *stmt = sqlite_bind(store, err_r, takable, "i", store->tx.now_ms);
	int rc = stmt ? sqlite_next(store, stmt, err_r) : -1;

	if (rc != 1)
		return rc;
	sqlite_column_uuid(stmt, 0, &work_r->id);
	work_r->tenant = sqlite_column_dup(stmt, 1, arena);
	work_r->owner = sqlite_column_dup(stmt, 2, arena);
	work_r->definition = sqlite_column_dup(stmt, 3, arena);
	work_r->position = sqlite_column_dup(stmt, 4, arena);
	sqlite_done(stmt);
	return sqlite_run(store, err_r,
			  "UPDATE windlass_batch SET feeder = ?2, feeder_until = ?3 WHERE id = ?1",
			  "uui", &work_r->id, feeder, store->tx.now_ms + lease_ms)
		       ? -1
		       : 1;
}

int sqlite_batch_take(struct store *base, const struct uuid *feeder, int64_t lease_ms,
		      struct arena *arena, struct batch_work *work_r, struct error *err_r)
{
	struct sqlite_store *store = sqlite_of(base);
	int64_t one;
	int rc;

	if (sqlite_ensure(store, err_r))
		return -1;
	rc = sqlite_number(store, err_r, &one,
			   "SELECT 1 FROM windlass_batch INDEXED BY windlass_batch_open WHERE "
			   "(state < 3 OR sweep IS NOT NULL) AND state = 1 AND NOT pushed AND "
			   "(feeder IS NULL OR feeder_until < ?1) LIMIT 1",
			   "i", clock_wall_ms());
	if (rc != 1)
		return rc;
	if (sqlite_begin(store, SQLITE_DURABLE, err_r))
		return -1;
	rc = take(store, feeder, lease_ms, arena, work_r, err_r);
	return end(store, rc < 0 ? -1 : 0, err_r) ? -1 : rc;
}

int sqlite_batch_leave(struct store *base, const struct uuid *id, const struct uuid *feeder,
		       struct error *err_r)
{
	struct sqlite_store *store = sqlite_of(base);

	if (sqlite_begin(store, SQLITE_DURABLE, err_r))
		return -1;
	return end(
		store,
		sqlite_run(store, err_r,
			   "UPDATE windlass_batch SET feeder = NULL WHERE id = ?1 AND feeder = ?2",
			   "uu", id, feeder),
		err_r);
}

int sqlite_take_chunk(struct sqlite_store *store, const struct batch_chunk *chunk, size_t jobs,
		      struct error *err_r)
{
	if (sqlite_run(
		    store, err_r,
		    "UPDATE windlass_batch SET position = ?4, total = total + ?5, rejected = "
		    "rejected + ?6, error = coalesce(error, ?7), state = CASE WHEN ?8 THEN 2 ELSE "
		    "state END, feeder = CASE WHEN ?8 THEN NULL ELSE feeder END, feeder_until = ?9 "
		    "WHERE id = ?1 AND state = 1 AND feeder IS ?2 AND position IS ?3",
		    "uUssiisii", &chunk->id, &chunk->feeder, chunk->position_before,
		    chunk->position, (int64_t)jobs, chunk->rejected, chunk->error,
		    (int64_t)chunk->last, store->tx.now_ms + chunk->lease_ms))
		return -1;
	return store->changed > 0;
}

/* ---- ends of jobs */

int sqlite_tally_run(struct sqlite_store *store, const struct uuid *run, enum job_state state,
		     int change, struct error *err_r)
{
	return sqlite_run(store, err_r,
			  "UPDATE windlass_batch SET done = done + ?2, failed = failed + ?3, "
			  "cancelled = cancelled + ?4 WHERE id = ?1",
			  "uiii", run, (int64_t)(state == JOB_COMPLETED ? change : 0),
			  (int64_t)(state == JOB_DISCARDED ? change : 0),
			  (int64_t)(state == JOB_CANCELLED ? change : 0));
}

int sqlite_tally_job(struct sqlite_store *store, const struct uuid *id, enum job_state state,
		     int change, struct error *err_r)
{
	sqlite3_stmt *stmt = sqlite_bind(
		store, err_r, "SELECT batch FROM windlass_jobs WHERE id = ?1 AND batch IS NOT NULL",
		"u", id);
	int rc = stmt ? sqlite_next(store, stmt, err_r) : -1;
	struct uuid run;

	if (rc != 1)
		return rc;
	sqlite_column_uuid(stmt, 0, &run);
	sqlite_done(stmt);
	return sqlite_tally_run(store, &run, state, change, err_r);
}

/* ---- looking */

#define VIEW                                                                                      \
	"SELECT b.id, b.state, b.tenant, b.owner, b.queue, b.type, b.name, b.schedule, b.error, " \
	"b.definition, b.position, b.created, b.finished, b.total, b.done, b.failed, "            \
	"b.cancelled, b.rejected, b.round FROM windlass_batch b WHERE "

static void fill(sqlite3_stmt *stmt, struct arena *arena, struct batch_view *view_r)
{
	*view_r = (struct batch_view){
		.state = (enum batch_state)sqlite3_column_int(stmt, 1),
		.tenant = sqlite_column_dup(stmt, 2, arena),
		.owner = sqlite_column_dup(stmt, 3, arena),
		.queue = sqlite_column_dup(stmt, 4, arena),
		.type = sqlite_column_dup(stmt, 5, arena),
		.name = sqlite_column_dup(stmt, 6, arena),
		.schedule = sqlite_column_dup(stmt, 7, arena),
		.error = sqlite_column_dup(stmt, 8, arena),
		.definition = sqlite_column_dup(stmt, 9, arena),
		.position = sqlite_column_dup(stmt, 10, arena),
		.created_ms = sqlite3_column_int64(stmt, 11),
		.finished_ms = sqlite3_column_int64(stmt, 12),
		.counts = { .total = sqlite3_column_int64(stmt, 13),
			    .done = sqlite3_column_int64(stmt, 14),
			    .failed = sqlite3_column_int64(stmt, 15),
			    .cancelled = sqlite3_column_int64(stmt, 16),
			    .rejected = sqlite3_column_int64(stmt, 17),
			    .round = sqlite3_column_int(stmt, 18) },
	};
	sqlite_column_uuid(stmt, 0, &view_r->id);
}

int sqlite_batch_list(struct store *base, const struct batch_filter *filter, struct arena *arena,
		      struct batch_view **views_r, size_t *count_r, struct error *err_r)
{
	struct sqlite_store *store = sqlite_of(base);
	const struct reach *reach = &filter->reach;
	sqlite3_stmt *stmt;
	char *rules;
	int rc = -1;

	if (sqlite_ensure(store, err_r))
		return -1;
	rules = sqlite_reach_rules(reach);
	*views_r = ARENA_ARRAY(arena, struct batch_view, filter->limit);
	stmt = sqlite_bind(store, err_r,
			   VIEW
			   "(?1 IS NULL OR b.id < ?1) AND (?5 = 0 OR b.state = ?5) AND " REACH_SQL(
				   "b.tenant", "b.owner", "b.type", "b.queue", "2", "3",
				   "4") "ORDER BY b.id DESC LIMIT ?6",
			   "Usssii", &filter->before, reach->tenant, reach->owner, rules,
			   (int64_t)filter->state, (int64_t)filter->limit);
	while (stmt && (rc = sqlite_next(store, stmt, err_r)) == 1)
		fill(stmt, arena, &(*views_r)[(*count_r)++]);
	free(rules);
	return rc;
}

static int look(struct sqlite_store *store, const struct reach *reach, const struct uuid *id,
		struct arena *arena, struct batch_view *view_r, struct error *err_r)
{
	static const struct reach all = { 0 };
	char *rules = sqlite_reach_rules(reach);
	sqlite3_stmt *stmt;
	int rc;

	if (!reach)
		reach = &all;
	stmt = sqlite_bind(store, err_r,
			   VIEW "b.id = ?1 AND " REACH_SQL("b.tenant", "b.owner", "b.type",
							   "b.queue", "2", "3", "4"),
			   "usss", id, reach->tenant, reach->owner, rules);
	rc = stmt ? sqlite_next(store, stmt, err_r) : -1;
	if (rc == 1) {
		fill(stmt, arena, view_r);
		sqlite_done(stmt);
	}
	free(rules);
	return rc == 0 ? error_set(err_r, ERROR_NOT_FOUND, "no such batch") : rc < 0 ? -1 : 0;
}

int sqlite_batch_get(struct store *base, const struct reach *reach, const struct uuid *id,
		     struct arena *arena, struct batch_view *view_r, struct error *err_r)
{
	struct sqlite_store *store = sqlite_of(base);

	return sqlite_ensure(store, err_r) ? -1 : look(store, reach, id, arena, view_r, err_r);
}

/* ---- changing */

static int cancel(struct sqlite_store *store, const struct reach *reach, const struct uuid *id,
		  const struct audit *audit, struct error *err_r)
{
	struct batch_view view;

	if (look(store, reach, id, store->tx.arena, &view, err_r))
		return -1;
	if (view.state >= BATCH_COMPLETED)
		return error_set(err_r, ERROR_CONFLICT, "the batch is %s",
				 batch_state_name(view.state));
	if (sqlite_run(store, err_r,
		       "UPDATE windlass_batch SET state = 5, feeder = NULL, sweep = zeroblob(16) "
		       "WHERE id = ?1",
		       "u", id))
		return -1;
	return sqlite_audit(store, audit, err_r);
}

int sqlite_batch_cancel(struct store *base, const struct reach *reach, const struct uuid *id,
			const struct audit *audit, struct error *err_r)
{
	struct sqlite_store *store = sqlite_of(base);

	if (sqlite_begin(store, SQLITE_DURABLE, err_r))
		return -1;
	return end(store, cancel(store, reach, id, audit, err_r), err_r);
}

static int find_failed(struct sqlite_store *store, const struct uuid *run, const struct uuid *from,
		       struct uuid *ids, size_t *count_r, struct error *err_r)
{
	sqlite3_stmt *stmt = sqlite_bind(
		store, err_r,
		"SELECT d.id FROM windlass_done d INDEXED BY windlass_done_dead CROSS JOIN "
		"windlass_jobs j ON j.id = d.id WHERE d.state = 9 AND d.state <> 8 AND d.id > ?2 "
		"AND j.batch = ?1 AND NOT " COMPENSATED_SQL " ORDER BY d.id LIMIT ?3",
		"uui", run, from, (int64_t)FAILED_AT_ONCE);
	int rc;

	*count_r = 0;
	if (!stmt)
		return -1;
	while ((rc = sqlite_next(store, stmt, err_r)) == 1)
		sqlite_column_uuid(stmt, 0, &ids[(*count_r)++]);
	return rc;
}

static int revive_failed(struct sqlite_store *store, const struct uuid *run, int64_t *count_r,
			 struct error *err_r)
{
	struct uuid *ids = ARENA_ARRAY(store->tx.arena, struct uuid, FAILED_AT_ONCE);
	struct uuid from = { 0 };
	size_t found = FAILED_AT_ONCE;

	memcpy(from.b, run->b, 6); /* its time */
	while (found == FAILED_AT_ONCE && *count_r < BATCH_RETRY_MAX) {
		if (find_failed(store, run, &from, ids, &found, err_r))
			return -1;
		for (size_t i = 0; i < found; i++) {
			int rc = sqlite_revive(store, &ids[i], 0, err_r);

			if (rc < 0)
				return -1;
			*count_r += rc;
			from = ids[i];
		}
	}
	return 0;
}

static int retry(struct sqlite_store *store, const struct reach *reach, const struct uuid *id,
		 const struct audit *audit, int64_t *count_r, struct error *err_r)
{
	struct batch_view view;

	if (look(store, reach, id, store->tx.arena, &view, err_r))
		return -1;
	if (view.state == BATCH_FEEDING || view.state == BATCH_CANCELLED)
		return error_set(err_r, ERROR_CONFLICT, "the batch is %s",
				 batch_state_name(view.state));
	if (revive_failed(store, id, count_r, err_r))
		return -1;
	if (!*count_r)
		return 0;
	if (sqlite_run(store, err_r,
		       "UPDATE windlass_batch SET state = 2, finished = NULL, round = round + 1 "
		       "WHERE id = ?1",
		       "u", id))
		return -1;
	return sqlite_audit(store, audit, err_r);
}

int sqlite_batch_retry(struct store *base, const struct reach *reach, const struct uuid *id,
		       const struct audit *audit, int64_t *count_r, struct error *err_r)
{
	struct sqlite_store *store = sqlite_of(base);

	if (sqlite_begin(store, SQLITE_DURABLE, err_r))
		return -1;
	return end(store, retry(store, reach, id, audit, count_r, err_r), err_r);
}

/* ---- ends */

static int find_ended(struct sqlite_store *store, struct batch_view *views, size_t *count_r,
		      struct error *err_r)
{
	sqlite3_stmt *stmt = sqlite_bind(
		store, err_r,
		VIEW "(b.state < 3 OR b.sweep IS NOT NULL) AND b.state = 2 AND b.done + b.failed + "
		     "b.cancelled = b.total ORDER BY b.id LIMIT ?1",
		"i", (int64_t)ENDS_MAX);
	int rc;

	*count_r = 0;
	if (!stmt)
		return -1;
	while ((rc = sqlite_next(store, stmt, err_r)) == 1)
		fill(stmt, store->tx.arena, &views[(*count_r)++]);
	return rc;
}

static int end_one(struct sqlite_store *store, const struct batch_view *view, struct error *err_r)
{
	struct batch_ended ended = {
		.id = view->id,
		.state = batch_end_state(&view->counts, view->error),
		.tenant = view->tenant,
		.owner = view->owner,
		.name = view->name,
		.definition = view->definition,
		.error = view->error,
		.counts = view->counts,
	};
	struct accepted_job accepted;
	struct new_job job;

	if (sqlite_run(store, err_r,
		       "UPDATE windlass_batch SET state = ?2, finished = ?3 WHERE id = ?1", "uii",
		       &view->id, (int64_t)ended.state, store->tx.now_ms))
		return -1;
	if (!batch_end_job(&ended, store->tx.arena, &job))
		return 0;
	return sqlite_enlist(store, &job, true, &accepted, err_r);
}

static int end_some(struct sqlite_store *store, struct batch_swept *swept, struct error *err_r)
{
	struct batch_view *views = ARENA_ARRAY(store->tx.arena, struct batch_view, ENDS_MAX);
	size_t count;

	if (find_ended(store, views, &count, err_r))
		return -1;
	for (size_t i = 0; i < count; i++)
		if (end_one(store, &views[i], err_r))
			return -1;
	swept->ended = (int64_t)count;
	return 0;
}

#define CANCELLED "its batch was cancelled"

static int next_cancelled(struct sqlite_store *store, struct uuid *id_r, struct uuid *from_r,
			  struct error *err_r)
{
	sqlite3_stmt *stmt = sqlite_bind(
		store, err_r,
		"SELECT id, sweep FROM windlass_batch INDEXED BY windlass_batch_open WHERE (state "
		"< 3 OR sweep IS NOT NULL) AND sweep IS NOT NULL LIMIT 1",
		"");
	int rc = stmt ? sqlite_next(store, stmt, err_r) : -1;

	if (rc != 1)
		return rc;
	sqlite_column_uuid(stmt, 0, id_r);
	sqlite_column_uuid(stmt, 1, from_r);
	sqlite_done(stmt);
	return 1;
}

static int cancel_one(struct sqlite_store *store, const struct uuid *id, struct batch_swept *swept,
		      struct error *err_r)
{
	enum job_state state = 0;
	int rc = sqlite_state(store, id, &state, err_r);

	if (rc < 0 || job_state_terminal(state))
		return rc < 0 ? -1 : 0;
	if (state == JOB_RUNNING || state == JOB_QUEUED) {
		swept->told = true;
		if (sqlite_run(
			    store, err_r,
			    "INSERT INTO windlass_cancel (id, reason, at) VALUES (?1, ?2, ?3) ON "
			    "CONFLICT DO NOTHING",
			    "usi", id, CANCELLED, store->tx.now_ms))
			return -1;
	}
	if (state == JOB_RUNNING)
		return 0;
	rc = state == JOB_QUEUED ? sqlite_cancel_queued(store, id, CANCELLED, err_r)
				 : sqlite_cancel_waiting(store, id, CANCELLED, err_r);
	if (rc == 1)
		swept->cancelled[swept->cancelled_count++] = *id;
	return rc < 0 ? -1 : 0;
}

static int cancel_some(struct sqlite_store *store, struct batch_swept *swept, struct error *err_r)
{
	struct uuid *ids = ARENA_ARRAY(store->tx.arena, struct uuid, CANCEL_LOOK), id, from;
	size_t count = 0;
	sqlite3_stmt *stmt;
	int rc = next_cancelled(store, &id, &from, err_r);

	if (rc != 1)
		return rc;
	stmt = sqlite_bind(store, err_r,
			   "SELECT id FROM windlass_jobs INDEXED BY windlass_jobs_batch WHERE "
			   "batch = ?1 AND batch IS NOT NULL AND id > ?2 ORDER BY id LIMIT ?3",
			   "uui", &id, &from, (int64_t)CANCEL_LOOK);
	if (!stmt)
		return -1;
	while ((rc = sqlite_next(store, stmt, err_r)) == 1)
		sqlite_column_uuid(stmt, 0, &ids[count++]);
	for (size_t i = 0; rc == 0 && i < count; i++)
		rc = cancel_one(store, &ids[i], swept, err_r);
	if (rc)
		return -1;
	swept->more = count == CANCEL_LOOK;
	return sqlite_run(store, err_r,
			  "UPDATE windlass_batch SET sweep = ?2, finished = CASE WHEN ?2 IS NULL "
			  "THEN ?3 END WHERE id = ?1",
			  "uUi", &id, swept->more ? &ids[count - 1] : &(struct uuid){ 0 },
			  store->tx.now_ms);
}

int sqlite_batch_sweep(struct store *base, struct arena *arena, struct batch_swept *swept_r,
		       struct error *err_r)
{
	struct sqlite_store *store = sqlite_of(base);
	int64_t due = 0;
	int rc;

	if (sqlite_ensure(store, err_r))
		return -1;
	rc = sqlite_number(
		store, err_r, &due,
		"SELECT max(sweep IS NOT NULL OR state = 2 AND done + failed + cancelled "
		"= total) FROM windlass_batch INDEXED BY windlass_batch_open WHERE state "
		"< 3 OR sweep IS NOT NULL HAVING count(*) > 0",
		"");
	swept_r->open = rc == 1;
	if (rc < 0 || !due)
		return rc < 0 ? -1 : 0;
	if (sqlite_begin(store, SQLITE_DURABLE, err_r))
		return -1;
	swept_r->cancelled = ARENA_ARRAY(arena, struct uuid, CANCEL_LOOK);
	rc = end_some(store, swept_r, err_r) || cancel_some(store, swept_r, err_r) ? -1 : 0;
	return end(store, rc, err_r);
}
