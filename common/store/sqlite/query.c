/* SPDX-License-Identifier: Apache-2.0 */
/* Queries on SQLite: jobs as people see them, lists by keyset, the queues' figures. Reads only,
 * outside the writers' mutex; a list that has to walk too far is ended by the statement limit. */
#include "common/store/query.h"

#include <stdlib.h>
#include <string.h>

#include "common/store/sqlite/sqlite_impl.h"

/* Terminal: the done row; waiting: the ready row; else it runs, and its lease knows the attempt. */
#define VIEW_COLUMNS                                                                                                               \
	"SELECT j.id, j.tenant, j.owner, j.queue, j.type, j.priority, j.max_attempts, j.timeout_ms, j.created, j.tags, "           \
	"j.order_key, j.fair_key, j.unique_key, j.traceparent, j.callback, d.state, d.attempt, d.result, d.finished, r.attempt, "  \
	"CASE WHEN r.due = " SQLITE_NEVER_SQL                                                                                      \
	" THEN 2 ELSE r.due IS NOT NULL END, r.since, p.part, p.note, c.id IS NOT NULL, coalesce(d.reason, (SELECT a.reason FROM " \
	"windlass_attempt a WHERE a.id = j.id AND a.outcome <> 0 ORDER BY a.entry DESC LIMIT 1)), "                                \
	"CASE WHEN d.id IS NULL AND r.id IS NULL THEN (SELECT substr(l.attempts, (instr(l.ids, j.id) - 1) / 4 + 1, 4) "            \
	"FROM windlass_lease l WHERE instr(l.ids, j.id) % 16 = 1 LIMIT 1) END, "                                                   \
	"EXISTS (SELECT 1 FROM windlass_lease l WHERE l.until IS NOT NULL AND instr(l.ids, j.id) % 16 = 1), "                      \
	"CASE WHEN r.due = " SQLITE_NEVER_SQL                                                                                      \
	" AND r.attempt > 0 THEN (SELECT json_group_array(step) FROM (SELECT step FROM windlass_call o "                           \
	"WHERE o.id = j.id AND o.status = 0 ORDER BY step)) END "
#define VIEW_JOINS                                                                            \
	"LEFT JOIN windlass_done d ON d.id = j.id LEFT JOIN windlass_ready r ON r.id = j.id " \
	"LEFT JOIN windlass_progress p ON p.id = j.id LEFT JOIN windlass_cancel c ON c.id = j.id "

enum view_column {
	V_ID,
	V_TENANT,
	V_OWNER,
	V_QUEUE,
	V_TYPE,
	V_PRIORITY,
	V_MAX_ATTEMPTS,
	V_TIMEOUT,
	V_CREATED,
	V_TAGS,
	V_ORDER_KEY,
	V_FAIR_KEY,
	V_UNIQUE_KEY,
	V_TRACEPARENT,
	V_CALLBACK,
	V_DONE,
	V_DONE_ATTEMPT,
	V_RESULT,
	V_FINISHED,
	V_READY_ATTEMPT,
	V_LATER,
	V_SINCE,
	V_PART,
	V_NOTE,
	V_CANCEL,
	V_REASON,
	V_RUNNING_ATTEMPT,
	V_SENT,
	V_OPEN_CALLS,
	V_EXTRA
};

static bool has(sqlite3_stmt *stmt, int column)
{
	return sqlite3_column_type(stmt, column) != SQLITE_NULL;
}

static int running_attempt(sqlite3_stmt *stmt)
{
	const uint8_t *p = sqlite3_column_blob(stmt, V_RUNNING_ATTEMPT);

	return p && sqlite3_column_bytes(stmt, V_RUNNING_ATTEMPT) == 4
		       ? p[0] << 24 | p[1] << 16 | p[2] << 8 | p[3]
		       : 0;
}

static void fill_state(sqlite3_stmt *stmt, struct arena *arena, struct job_view *view)
{
	if (has(stmt, V_DONE)) {
		view->state = (enum job_state)sqlite3_column_int(stmt, V_DONE);
		view->attempt = sqlite3_column_int(stmt, V_DONE_ATTEMPT);
		view->result = sqlite_column_dup(stmt, V_RESULT, arena);
		view->finished_ms = sqlite3_column_int64(stmt, V_FINISHED);
	} else if (has(stmt, V_READY_ATTEMPT)) {
		view->attempt = sqlite3_column_int(stmt, V_READY_ATTEMPT);
		view->due_ms = sqlite3_column_int64(stmt, V_SINCE);
		view->state = JOB_AVAILABLE;
		if (sqlite3_column_int(stmt, V_LATER) == 2) {
			view->state = view->attempt ? JOB_PARKED : JOB_WAITING;
			view->due_ms = 0;
			view->open_calls = sqlite_column_dup(stmt, V_OPEN_CALLS, arena);
		} else if (sqlite3_column_int(stmt, V_LATER)) {
			view->state = view->attempt ? JOB_RETRYABLE : JOB_SCHEDULED;
		}
	} else {
		/* On the broker, or just taken from it: progress tells that it runs. */
		view->state = sqlite3_column_int(stmt, V_SENT) && !has(stmt, V_PART) ? JOB_QUEUED
										     : JOB_RUNNING;
		view->attempt = running_attempt(stmt);
		view->cancel_asked = sqlite3_column_int(stmt, V_CANCEL);
	}
	view->reason = sqlite_column_dup(stmt, V_REASON, arena);
}

static void fill(sqlite3_stmt *stmt, struct arena *arena, struct job_view *view_r)
{
	*view_r = (struct job_view){
		.tenant = sqlite_column_dup(stmt, V_TENANT, arena),
		.owner = sqlite_column_dup(stmt, V_OWNER, arena),
		.queue = sqlite_column_dup(stmt, V_QUEUE, arena),
		.type = sqlite_column_dup(stmt, V_TYPE, arena),
		.priority = (enum job_priority)sqlite3_column_int(stmt, V_PRIORITY),
		.max_attempts = sqlite3_column_int(stmt, V_MAX_ATTEMPTS),
		.timeout_ms = sqlite3_column_int64(stmt, V_TIMEOUT),
		.created_ms = sqlite3_column_int64(stmt, V_CREATED),
		.tags = sqlite_column_dup(stmt, V_TAGS, arena),
		.order_key = sqlite_column_dup(stmt, V_ORDER_KEY, arena),
		.fair_key = sqlite_column_dup(stmt, V_FAIR_KEY, arena),
		.unique_key = sqlite_column_dup(stmt, V_UNIQUE_KEY, arena),
		.traceparent = sqlite_column_dup(stmt, V_TRACEPARENT, arena),
		.callback = sqlite_column_dup(stmt, V_CALLBACK, arena),
		.progress = has(stmt, V_PART) ? sqlite3_column_double(stmt, V_PART) : -1,
		.progress_note = sqlite_column_dup(stmt, V_NOTE, arena),
	};
	sqlite_column_uuid(stmt, V_ID, &view_r->id);
	fill_state(stmt, arena, view_r);
}

/* ---- one job */

static int read_attempts(struct sqlite_store *store, struct arena *arena, struct job_view *view,
			 struct error *err_r)
{
	sqlite3_stmt *stmt = sqlite_bind(
		store, err_r,
		"SELECT attempt, outcome, at, reason, count(*) OVER () FROM windlass_attempt "
		"WHERE id = ?1 AND outcome <> 0 ORDER BY entry",
		"u", &view->id);
	int rc;

	if (!stmt)
		return -1;
	while ((rc = sqlite_next(store, stmt, err_r)) == 1) {
		if (!view->attempts)
			view->attempts = ARENA_ARRAY(arena, struct attempt_view,
						     (size_t)sqlite3_column_int64(stmt, 4));
		view->attempts[view->attempt_count++] = (struct attempt_view){
			.attempt = sqlite3_column_int(stmt, 0),
			.outcome = (enum job_outcome)sqlite3_column_int(stmt, 1),
			.at_ms = sqlite3_column_int64(stmt, 2),
			.reason = sqlite_column_dup(stmt, 3, arena),
		};
	}
	return rc;
}

static int read_finished(struct sqlite_store *store, const struct uuid *id, struct arena *arena,
			 struct job_view *view_r, struct error *err_r)
{
	sqlite3_stmt *stmt = sqlite_bind(
		store, err_r,
		"SELECT d.state, d.result, d.reason, d.attempt, d.finished, coalesce(j.type, d.type), "
		"coalesce(j.queue, t.queue, ''), coalesce(j.tenant, ''), coalesce(j.owner, 'source:' || d.source, ''), "
		"j.created, d.source FROM windlass_done d LEFT JOIN windlass_job_type t ON t.name = d.type LEFT JOIN windlass_jobs j ON j.id = d.id WHERE d.id = ?1",
		"u", id);
	int rc = stmt ? sqlite_next(store, stmt, err_r) : -1;

	if (rc != 1)
		return rc;
	*view_r = (struct job_view){
		.id = *id,
		.state = (enum job_state)sqlite3_column_int(stmt, 0),
		.result = sqlite_column_dup(stmt, 1, arena),
		.reason = sqlite_column_dup(stmt, 2, arena),
		.attempt = sqlite3_column_int(stmt, 3),
		.finished_ms = sqlite3_column_int64(stmt, 4),
		.type = sqlite_column_dup(stmt, 5, arena),
		.queue = sqlite_column_dup(stmt, 6, arena),
		.tenant = sqlite_column_dup(stmt, 7, arena),
		.owner = sqlite_column_dup(stmt, 8, arena),
		.created_ms = has(stmt, 9) ? sqlite3_column_int64(stmt, 9) : uuid_time_ms(id),
		.source = sqlite_column_dup(stmt, 10, arena),
		.progress = -1,
	};
	sqlite_done(stmt);
	return 1;
}

/* A foreign job that completed at once: its end is all there is. */
static int read_foreign(struct sqlite_store *store, const struct reach *reach, const char *rules,
			const struct uuid *id, struct arena *arena, struct job_view *view_r,
			struct error *err_r)
{
	static const char fits[] =
		"SELECT 1 WHERE " REACH_SQL("?4", "?5", "?6", "?7", "1", "2", "3");
	int rc = read_finished(store, id, arena, view_r, err_r);
	int64_t one;

	if (rc == 1)
		rc = sqlite_number(store, err_r, &one, fits, "sssssss", reach->tenant, reach->owner,
				   rules, view_r->tenant, view_r->owner, view_r->type,
				   view_r->queue);
	return rc == 0 ? error_set(err_r, ERROR_NOT_FOUND, "no such job") : rc < 0 ? -1 : 0;
}

static int read_edges(struct sqlite_store *store, struct arena *arena, struct job_view *view,
		      struct error *err_r)
{
	sqlite3_stmt *stmt = sqlite_bind(
		store, err_r,
		"SELECT json_group_array(json_object('name', name, 'id', lower(substr(h, 1, 8) || '-' || "
		"substr(h, 9, 4) || '-' || substr(h, 13, 4) || '-' || substr(h, 17, 4) || '-' || substr(h, 21)), "
		"'on_failure', CASE on_failure WHEN 1 THEN 'discard' WHEN 2 THEN 'run' ELSE 'wait' END, 'ended', "
		"json(CASE WHEN state IS NULL THEN 'false' ELSE 'true' END))) FROM (SELECT *, hex(before) AS h "
		"FROM windlass_edge WHERE id = ?1 ORDER BY n) HAVING count(*) > 0",
		"u", &view->id);
	int rc = stmt ? sqlite_next(store, stmt, err_r) : -1;

	if (rc != 1)
		return rc;
	view->after = sqlite_column_dup(stmt, 0, arena);
	sqlite_done(stmt);
	return 0;
}

static int read_one(struct sqlite_store *store, const struct reach *reach, const char *rules,
		    const struct uuid *id, struct arena *arena, struct job_view *view_r,
		    struct error *err_r)
{
	sqlite3_stmt *stmt = sqlite_bind(
		store, err_r,
		VIEW_COLUMNS ", j.payload FROM windlass_jobs j " VIEW_JOINS
			     "WHERE j.id = ?1 AND " REACH_SQL("j.tenant", "j.owner", "j.type",
							      "j.queue", "2", "3", "4"),
		"usss", id, reach->tenant, reach->owner, rules);
	int rc = stmt ? sqlite_next(store, stmt, err_r) : -1;
	char *steps;

	if (rc == 0)
		return read_foreign(store, reach, rules, id, arena, view_r, err_r);
	if (rc < 0)
		return -1;
	fill(stmt, arena, view_r);
	view_r->payload = sqlite_column_dup(stmt, V_EXTRA, arena);
	view_r->payload_bytes = (size_t)sqlite3_column_bytes(stmt, V_EXTRA);
	sqlite_done(stmt);
	if (sqlite_steps(store, id, arena, &steps, err_r) ||
	    read_attempts(store, arena, view_r, err_r) || read_edges(store, arena, view_r, err_r))
		return -1;
	view_r->steps = steps;
	return 0;
}

/* Several statements, one snapshot. */
int sqlite_query_job(struct store *base, const struct reach *reach, const struct uuid *id,
		     struct arena *arena, struct job_view *view_r, struct error *err_r)
{
	static const struct reach all = { 0 };
	struct sqlite_store *store = sqlite_of(base);
	struct error ignored;
	char *rules;
	int rc;

	if (sqlite_ensure(store, err_r) || sqlite_run(store, err_r, "BEGIN DEFERRED", ""))
		return -1;
	rules = sqlite_reach_rules(reach);
	rc = read_one(store, reach ? reach : &all, rules, id, arena, view_r, err_r);
	free(rules);
	if (sqlite_run(store, &ignored, "ROLLBACK", ""))
		store->broken = true;
	return rc;
}

/* Many jobs, one snapshot. */
int sqlite_query_views(struct store *base, const struct uuid *ids, size_t count,
		       struct arena *arena, bool *found_r, struct job_view *views_r,
		       int64_t *now_ms_r, struct error *err_r)
{
	static const struct reach all = { 0 };
	struct sqlite_store *store = sqlite_of(base);
	struct error ignored;
	int rc = 0;

	*now_ms_r = clock_wall_ms();
	if (sqlite_ensure(store, err_r) || sqlite_run(store, err_r, "BEGIN DEFERRED", ""))
		return -1;
	for (size_t i = 0; rc == 0 && i < count; i++) {
		rc = read_one(store, &all, NULL, &ids[i], arena, &views_r[i], err_r);
		found_r[i] = rc == 0;
		if (rc < 0 && err_r->code == ERROR_NOT_FOUND)
			rc = 0;
	}
	if (sqlite_run(store, &ignored, "ROLLBACK", ""))
		store->broken = true;
	return rc;
}

/* ---- lists */

#define LIST(driver, condition)                                                                                    \
	VIEW_COLUMNS                                                                                               \
	"FROM " driver " CROSS JOIN windlass_jobs j ON j.id = k.id " VIEW_JOINS "WHERE " condition                 \
	"k.id < ?1 AND " REACH_SQL(                                                                                \
		"j.tenant", "j.owner", "j.type", "j.queue", "2", "3",                                              \
		"8") "AND (?4 IS NULL OR j.type = ?4) AND (?5 IS NULL OR j.queue = ?5) AND (?6 IS NULL OR EXISTS " \
		     "(SELECT 1 FROM json_each(j.tags) WHERE value = ?6)) ORDER BY k.id DESC LIMIT ?7"

static const char list_all[] = LIST("windlass_jobs k", "");
static const char list_available[] = LIST("windlass_ready k", "k.due IS NULL AND ");
static const char list_scheduled[] =
	LIST("windlass_ready k INDEXED BY windlass_ready_later",
	     "k.due IS NOT NULL AND k.due < " SQLITE_NEVER_SQL " AND k.attempt = 0 AND ");
static const char list_retryable[] =
	LIST("windlass_ready k INDEXED BY windlass_ready_later",
	     "k.due IS NOT NULL AND k.due < " SQLITE_NEVER_SQL " AND k.attempt > 0 AND ");
static const char list_parked[] =
	LIST("windlass_ready k INDEXED BY windlass_ready_later",
	     "k.due IS NOT NULL AND k.due = " SQLITE_NEVER_SQL " AND k.attempt > 0 AND ");
static const char list_waiting[] =
	LIST("windlass_ready k INDEXED BY windlass_ready_later",
	     "k.due IS NOT NULL AND k.due = " SQLITE_NEVER_SQL " AND k.attempt = 0 AND ");
#define HELD(which)                                                                                         \
	"(WITH RECURSIVE held(id, ids, n) AS (SELECT substr(ids, 1, 16), ids, 1 FROM windlass_lease WHERE " \
	"length(ids) > 0 AND " which                                                                        \
	" UNION ALL SELECT substr(ids, n * 16 + 1, 16), ids, n + 1 FROM held "                              \
	"WHERE n * 16 < length(ids)) SELECT DISTINCT id FROM held) k"
static const char list_running[] = LIST(
	HELD("(until IS NULL OR EXISTS (SELECT 1 FROM windlass_progress))"),
	"d.id IS NULL AND r.id IS NULL AND (p.part IS NOT NULL OR NOT EXISTS (SELECT 1 FROM windlass_lease l "
	"WHERE l.until IS NOT NULL AND instr(l.ids, k.id) % 16 = 1)) AND ");
static const char list_queued[] =
	LIST(HELD("until IS NOT NULL"), "d.id IS NULL AND r.id IS NULL AND p.part IS NULL AND ");
static const char list_completed[] = LIST("windlass_done k", "k.state = 8 AND ");
static const char list_discarded[] =
	LIST("windlass_done k INDEXED BY windlass_done_dead", "k.state = 9 AND k.state <> 8 AND ");
static const char list_cancelled[] =
	LIST("windlass_done k INDEXED BY windlass_done_dead", "k.state = 10 AND k.state <> 8 AND ");

static const char *list_of(enum job_state state)
{
	switch (state) {
	case JOB_AVAILABLE:
		return list_available;
	case JOB_SCHEDULED:
		return list_scheduled;
	case JOB_RETRYABLE:
		return list_retryable;
	case JOB_QUEUED:
		return list_queued;
	case JOB_PARKED:
		return list_parked;
	case JOB_WAITING:
		return list_waiting;
	case JOB_RUNNING:
		return list_running;
	case JOB_COMPLETED:
		return list_completed;
	case JOB_DISCARDED:
		return list_discarded;
	case JOB_CANCELLED:
		return list_cancelled;
	default:
		return NULL; /* states that no job of this store is in */
	}
}

static int read_list(struct sqlite_store *store, const struct job_filter *filter, const char *rules,
		     struct arena *arena, struct job_view *views, size_t *count_r,
		     struct error *err_r)
{
	const char *list = filter->state ? list_of(filter->state) : list_all;
	uint8_t before[sizeof(struct uuid) + 1];
	size_t before_bytes = sizeof(struct uuid);
	sqlite3_stmt *stmt;
	int rc;

	if (!list)
		return 0;
	memset(before, 0xff, sizeof(before));
	if (uuid_is_nil(&filter->before))
		before_bytes = sizeof(before); /* above every id */
	else
		memcpy(before, &filter->before, sizeof(filter->before));
	stmt = sqlite_bind(store, err_r, list, "bsssssis", before, before_bytes,
			   filter->reach.tenant, filter->reach.owner, filter->type, filter->queue,
			   filter->tag, (int64_t)filter->limit, rules);
	if (!stmt)
		return -1;
	while ((rc = sqlite_next(store, stmt, err_r)) == 1)
		fill(stmt, arena, &views[(*count_r)++]);
	return rc;
}

int sqlite_query_jobs(struct store *base, const struct job_filter *filter, struct arena *arena,
		      struct job_view **views_r, size_t *count_r, struct error *err_r)
{
	struct sqlite_store *store = sqlite_of(base);
	char *rules;
	int rc;

	CHECK(filter->limit > 0 && filter->limit <= 1000);
	*count_r = 0;
	*views_r = ARENA_ARRAY(arena, struct job_view, filter->limit);
	if (sqlite_ensure(store, err_r))
		return -1;
	store->deadline_ns = clock_mono_ns() + SQLITE_STATEMENT_LIMIT_MS * (int64_t)1000000;
	rules = sqlite_reach_rules(&filter->reach);
	rc = read_list(store, filter, rules, arena, *views_r, count_r, err_r);
	free(rules);
	store->deadline_ns = 0;
	if (rc && strcmp(err_r->sqlstate, "57014") == 0)
		return error_set(err_r, ERROR_TIMEOUT, "the list took too long; narrow the filter");
	return rc;
}

int sqlite_query_finished(struct store *base, const struct uuid *ids, size_t count,
			  struct arena *arena, bool *found_r, struct job_view *views_r,
			  struct error *err_r)
{
	struct sqlite_store *store = sqlite_of(base);

	if (sqlite_ensure(store, err_r))
		return -1;
	for (size_t i = 0; i < count; i++) {
		int rc = read_finished(store, &ids[i], arena, &views_r[i], err_r);

		if (rc < 0)
			return -1;
		found_r[i] = rc == 1;
	}
	return 0;
}

/* ---- figures */

int sqlite_query_queues(struct store *base, struct arena *arena, struct queue_view **queues_r,
			size_t *count_r, struct error *err_r)
{
	struct sqlite_store *store = sqlite_of(base);
	int64_t now = clock_wall_ms();
	sqlite3_stmt *stmt;
	size_t cap = 0;
	int rc;

	*queues_r = NULL;
	*count_r = 0;
	if (sqlite_ensure(store, err_r))
		return -1;
	/* The first of each priority is the oldest one of it, or near. */
	stmt = sqlite_bind(
		store, err_r,
		"SELECT q.name, q.paused, q.available, q.scheduled - coalesce(h.n, 0), q.running, (SELECT min(since) FROM (SELECT (SELECT r.since "
		"FROM windlass_ready r INDEXED BY windlass_ready_order WHERE r.queue = q.name AND r.priority = p.column1 "
		"AND r.due IS NULL ORDER BY r.seq LIMIT 1) AS since FROM (VALUES (0), (1), (2)) p)), count(*) OVER (), "
		"(SELECT count(*) FROM " HELD(
			"until IS NOT NULL AND queue = q.name") " WHERE NOT EXISTS "
								"(SELECT 1 FROM windlass_done d WHERE d.id = k.id)), coalesce(h.n - h.waiting, 0), coalesce(h.waiting, 0) FROM windlass_queue q "
								"LEFT JOIN (SELECT queue, count(*) AS n, sum(attempt = 0) AS waiting FROM windlass_ready INDEXED BY windlass_ready_due "
								"WHERE due IS NOT NULL AND due = " SQLITE_NEVER_SQL
								" GROUP BY queue) h ON h.queue = q.name ORDER BY q.name",
		"");
	if (!stmt)
		return -1;
	while ((rc = sqlite_next(store, stmt, err_r)) == 1) {
		if (!cap)
			*queues_r = ARENA_ARRAY(arena, struct queue_view,
						cap = (size_t)sqlite3_column_int64(stmt, 6));
		(*queues_r)[(*count_r)++] = (struct queue_view){
			.name = sqlite_column_dup(stmt, 0, arena),
			.paused = sqlite3_column_int(stmt, 1),
			.available = sqlite3_column_int64(stmt, 2),
			.scheduled = sqlite3_column_int64(stmt, 3),
			.queued = sqlite3_column_int64(stmt, 7),
			.running = sqlite3_column_int64(stmt, 4) - sqlite3_column_int64(stmt, 7),
			.parked = sqlite3_column_int64(stmt, 8),
			.waiting = sqlite3_column_int64(stmt, 9),
			.oldest_ms = has(stmt, 5) ? now - sqlite3_column_int64(stmt, 5) : -1,
		};
	}
	return rc;
}

int sqlite_query_depth(struct store *base, const char *queue, int64_t *depth_r, struct error *err_r)
{
	struct sqlite_store *store = sqlite_of(base);

	*depth_r = 0;
	if (sqlite_ensure(store, err_r) ||
	    sqlite_number(store, err_r, depth_r,
			  "SELECT available + scheduled FROM windlass_queue WHERE name = ?1", "s",
			  queue) < 0)
		return -1;
	return 0;
}

int sqlite_query_sessions(struct store *base, bool broker, int64_t *count_r, struct error *err_r)
{
	struct sqlite_store *store = sqlite_of(base);

	*count_r = 0;
	if (sqlite_ensure(store, err_r) ||
	    sqlite_number(store, err_r, count_r,
			  "SELECT count(*) FROM windlass_session WHERE until > ?1 AND broker >= ?2",
			  "ii", clock_wall_ms(), (int64_t)broker) < 0)
		return -1;
	return 0;
}

int sqlite_query_workers(struct store *base, struct arena *arena, struct worker_view **workers_r,
			 size_t *count_r, struct error *err_r)
{
	struct sqlite_store *store = sqlite_of(base);
	sqlite3_stmt *stmt;
	size_t cap = 0;
	int rc;

	*workers_r = NULL;
	*count_r = 0;
	if (sqlite_ensure(store, err_r))
		return -1;
	stmt = sqlite_bind(
		store, err_r,
		"SELECT id, host, pid, targets, count(*) OVER (), pool, node, hosts, busy, "
		"rate, leaving FROM windlass_session"
		" WHERE until > ?1 ORDER BY started, id",
		"i", clock_wall_ms());
	if (!stmt)
		return -1;
	while ((rc = sqlite_next(store, stmt, err_r)) == 1) {
		struct worker_view *worker;

		if (!cap)
			*workers_r = ARENA_ARRAY(arena, struct worker_view,
						 cap = (size_t)sqlite3_column_int64(stmt, 4));
		worker = &(*workers_r)[(*count_r)++];
		sqlite_column_uuid(stmt, 0, &worker->session);
		worker->host = sqlite_column_dup(stmt, 1, arena);
		worker->pid = sqlite3_column_int(stmt, 2);
		worker->targets = sqlite_column_dup(stmt, 3, arena);
		worker->pool = sqlite_column_dup(stmt, 5, arena);
		worker->node = sqlite_column_dup(stmt, 6, arena);
		worker->figures = (struct session_figures){
			.hosts = sqlite3_column_int(stmt, 7),
			.busy = sqlite3_column_int(stmt, 8),
			.rate_per_s = sqlite3_column_double(stmt, 9),
			.leaving = sqlite3_column_int(stmt, 10) != 0,
		};
	}
	return rc;
}
