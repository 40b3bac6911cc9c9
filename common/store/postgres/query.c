/* SPDX-License-Identifier: Apache-2.0 */
/* What people and programs see of jobs. One statement text serves a single job, lists and waiters;
 * lists of a rare state start from that state's own table. */
#include <string.h>

#include "common/store/postgres/postgres_impl.h"

/* The columns of a view. j: jobs, d: done, r: ready, all outer joined but j. */
enum {
	V_ID,
	V_STATE,
	V_TENANT,
	V_OWNER,
	V_QUEUE,
	V_TYPE,
	V_PRIORITY,
	V_ATTEMPT,
	V_MAX_ATTEMPTS,
	V_TIMEOUT,
	V_CREATED,
	V_DUE,
	V_FINISHED,
	V_TAGS,
	V_ORDER_KEY,
	V_FAIR_KEY,
	V_UNIQUE_KEY,
	V_TRACEPARENT,
	V_CALLBACK,
	V_RESULT,
	V_REASON,
	V_PART,
	V_NOTE,
	V_CANCEL,
	V_OPEN_CALLS,
	V_EXTRA
};

/* The columns of a view, in the order of the enum. j: jobs; d, r, p, c: outer joined. */
#define VIEW_COLUMNS                                                                                                                               \
	" j.id," JOB_STATE_SQL(                                                                                                                    \
		"j.id") ", j.tenant, j.owner, j.queue, j.type, j.priority,"                                                                        \
			" coalesce(d.attempt, r.attempt, (SELECT l.attempts[array_position(l.ids, j.id)]"                                          \
			"  FROM windlass.lease l WHERE j.id = ANY (l.ids) LIMIT 1)),"                                                              \
			" j.max_attempts, j.timeout_ms, j.created, CASE WHEN d.id IS NULL AND r.due IS DISTINCT FROM 'infinity' THEN r.since END," \
			" d.finished, j.tags, j.order_key, j.fair_key, j.unique_key, j.traceparent, j.callback, d.result,"                         \
			" coalesce(d.reason, (SELECT a.reason FROM windlass.attempt a WHERE a.id = j.id"                                           \
			"  AND (a.counts OR r.due = 'infinity' AND a.outcome <> 0) AND d.id IS NULL ORDER BY a.n DESC LIMIT 1)),"                  \
			" p.part, p.note, d.id IS NULL AND c.id IS NOT NULL,"                                                                      \
			" CASE WHEN r.due = 'infinity' AND r.attempt > 0 THEN (SELECT json_agg(o.step ORDER BY o.step)::text"                      \
			"  FROM windlass.call o WHERE o.id = j.id AND o.status = 0) END"
#define VIEW_JOINS                                                                            \
	" LEFT JOIN windlass.done d ON d.id = j.id LEFT JOIN windlass.ready r ON r.id = j.id" \
	" LEFT JOIN windlass.progress p ON p.id = j.id LEFT JOIN windlass.cancel c ON c.id = j.id"

static void read_view(const PGresult *result, int row, struct arena *arena, struct job_view *view_r)
{
	*view_r = (struct job_view){
		.id = result_uuid(result, row, V_ID),
		.state = (enum job_state)result_i64(result, row, V_STATE),
		.tenant = result_dup(result, row, V_TENANT, arena),
		.owner = result_dup(result, row, V_OWNER, arena),
		.queue = result_dup(result, row, V_QUEUE, arena),
		.type = result_dup(result, row, V_TYPE, arena),
		.priority = (enum job_priority)result_i64(result, row, V_PRIORITY),
		.attempt = (int)result_i64(result, row, V_ATTEMPT),
		.max_attempts = (int)result_i64(result, row, V_MAX_ATTEMPTS),
		.timeout_ms = result_i64(result, row, V_TIMEOUT),
		.created_ms = result_ms(result, row, V_CREATED),
		.due_ms = result_ms(result, row, V_DUE),
		.finished_ms = result_ms(result, row, V_FINISHED),
		.tags = result_dup(result, row, V_TAGS, arena),
		.order_key = result_dup(result, row, V_ORDER_KEY, arena),
		.fair_key = result_dup(result, row, V_FAIR_KEY, arena),
		.unique_key = result_dup(result, row, V_UNIQUE_KEY, arena),
		.traceparent = result_dup(result, row, V_TRACEPARENT, arena),
		.callback = result_dup(result, row, V_CALLBACK, arena),
		.result = result_dup(result, row, V_RESULT, arena),
		.reason = result_dup(result, row, V_REASON, arena),
		.progress = result_null(result, row, V_PART) ? -1 : result_f64(result, row, V_PART),
		.progress_note = result_dup(result, row, V_NOTE, arena),
		.cancel_asked = result_bool(result, row, V_CANCEL),
		.open_calls = result_dup(result, row, V_OPEN_CALLS, arena),
	};
}

/* ---- one job */

static const char one_job[] =
	"SELECT" VIEW_COLUMNS ", j.payload FROM windlass.jobs j" VIEW_JOINS
	" WHERE j.id = $1::uuid AND" REACH_SQL("j.tenant", "j.owner", "j.type", "j.queue", "2", "3",
					       "4", "5");
static const char edges_of[] =
	"SELECT json_agg(json_build_object('name', name, 'id', before, 'on_failure',"
	" (ARRAY['discard', 'run', 'wait'])[on_failure], 'ended', state IS NOT NULL) ORDER BY n)"
	"::text FROM windlass.edge WHERE id = $1::uuid";
static const char attempts_of[] =
	"SELECT attempt, outcome, at, reason FROM windlass.attempt WHERE id = $1::uuid AND outcome"
	" <> 0 ORDER BY n";

/* These rows, which are all of one job. */
static void read_attempts(const PGresult *result, int first, int count, struct arena *arena,
			  struct job_view *view)
{
	view->attempt_count = (size_t)count;
	view->attempts = ARENA_ARRAY(arena, struct attempt_view, view->attempt_count);
	for (int i = 0; i < count; i++)
		view->attempts[i] = (struct attempt_view){
			.attempt = (int)result_i64(result, first + i, 0),
			.outcome = (enum job_outcome)result_i64(result, first + i, 1),
			.at_ms = result_ms(result, first + i, 2),
			.reason = result_dup(result, first + i, 3, arena),
		};
}

/* One that came from a broker and completed at once: its completion row is all there is. Its tenant
 * is the default one, its owner the source. */
static const char foreign_job[] =
	"SELECT d.type, d.source, coalesce(t.queue, ''), d.attempt, d.finished, d.result FROM"
	" windlass.done d LEFT JOIN windlass.job_type t ON t.name = d.type WHERE d.id = $1::uuid"
	" AND d.source IS NOT NULL AND" REACH_SQL("''", "'source:' || d.source", "d.type",
						  "coalesce(t.queue, '')", "2", "3", "4", "5");

static int read_foreign(struct postgres *pg, const struct reach *reach, const struct uuid *id,
			struct arena *arena, struct job_view *view_r, struct error *err_r)
{
	postgres_say(pg, foreign_job);
	postgres_arg_uuid(pg, id);
	postgres_arg_reach(pg, reach);
	size_t place = postgres_send(pg);

	if (postgres_fly(pg, err_r) < 0)
		return -1;
	const PGresult *result = postgres_result(pg, place);

	if (!PQntuples(result))
		return error_set(err_r, ERROR_NOT_FOUND, "no such job");
	*view_r = (struct job_view){
		.id = *id,
		.state = JOB_COMPLETED,
		.tenant = "",
		.type = result_dup(result, 0, 0, arena),
		.source = result_dup(result, 0, 1, arena),
		.queue = result_dup(result, 0, 2, arena),
		.priority = PRIORITY_NORMAL,
		.attempt = (int)result_i64(result, 0, 3),
		.created_ms = uuid_time_ms(id),
		.finished_ms = result_ms(result, 0, 4),
		.result = result_dup(result, 0, 5, arena),
		.progress = -1,
	};
	view_r->owner = arena_printf(arena, "source:%s", view_r->source);
	return 0;
}

int postgres_query_job(struct store *store, const struct reach *reach, const struct uuid *id,
		       struct arena *arena, struct job_view *view_r, struct error *err_r)
{
	struct postgres *pg = postgres_of(store);

	if (postgres_enter(pg, err_r) < 0)
		return -1;
	postgres_say(pg, one_job);
	postgres_arg_uuid(pg, id);
	postgres_arg_reach(pg, reach);
	size_t job = postgres_send(pg);

	postgres_say(pg, attempts_of);
	postgres_arg_uuid(pg, id);
	size_t attempts = postgres_send(pg), steps = history_send_steps(pg, id, 1);

	postgres_say(pg, edges_of);
	postgres_arg_uuid(pg, id);
	size_t edges = postgres_send(pg);

	if (postgres_fly(pg, err_r) < 0)
		return -1;
	const PGresult *result = postgres_result(pg, job);

	if (!PQntuples(result))
		return read_foreign(pg, reach, id, arena, view_r, err_r);
	read_view(result, 0, arena, view_r);
	view_r->payload = result_dup(result, 0, V_EXTRA, arena);
	view_r->payload_bytes = result_bytes(result, 0, V_EXTRA);
	view_r->steps = history_steps(postgres_result(pg, steps), 0, arena);
	view_r->after = result_dup(postgres_result(pg, edges), 0, 0, arena);
	result = postgres_result(pg, attempts);
	read_attempts(result, 0, PQntuples(result), arena, view_r);
	return 0;
}

/* ---- lists */

/* Newest first, below the cursor. `from` names the table whose index is walked; it and j have the
 * same ids. */
#define LIST(from, key, state)                                                                       \
	"SELECT" VIEW_COLUMNS " FROM " from VIEW_JOINS " WHERE" REACH_SQL(                           \
		"j.tenant", "j.owner", "j.type", "j.queue", "1", "2", "3",                           \
		"4") " AND ($5::text IS NULL OR j.type = $5) AND ($6::text IS NULL OR j.queue = $6)" \
		     " AND ($7::text IS NULL OR j.tags::jsonb ? $7) AND ($8::uuid IS NULL OR " key   \
		     " < $8)"                                                                        \
		     " AND " state " ORDER BY " key " DESC LIMIT $9::int4"
#define WAITING "windlass.ready x JOIN windlass.jobs j ON j.id = x.id"

static const char list_all[] = LIST("windlass.jobs j", "j.id", "true");
static const char list_scheduled[] =
	LIST(WAITING, "x.id", "x.due < 'infinity' AND x.attempt = 0 AND d.id IS NULL");
static const char list_retryable[] =
	LIST(WAITING, "x.id", "x.due < 'infinity' AND x.attempt > 0 AND d.id IS NULL");
static const char list_parked[] =
	LIST(WAITING, "x.id", "x.due = 'infinity' AND x.attempt > 0 AND d.id IS NULL");
static const char list_waiting[] =
	LIST(WAITING, "x.id", "x.due = 'infinity' AND x.attempt = 0 AND d.id IS NULL");
static const char list_available[] = LIST(WAITING, "x.id", "x.due IS NULL AND d.id IS NULL");
/* In a broker's lease, and nothing is known of a worker: as in JOB_STATE_SQL. */
#define LEASED                                                                                    \
	"(SELECT DISTINCT u.id, u.attempt, l.until IS NOT NULL AS out FROM windlass.lease l"      \
	" CROSS JOIN LATERAL unnest(l.ids, l.attempts) AS u(id, attempt)) x JOIN windlass.jobs j" \
	" ON j.id = x.id"
#define QUEUED "(x.out AND coalesce(p.attempt, 0) < x.attempt)"

static const char list_queued[] = LIST(LEASED, "x.id", "d.id IS NULL AND r.id IS NULL AND " QUEUED);
static const char list_running[] =
	LIST(LEASED, "x.id", "d.id IS NULL AND r.id IS NULL AND NOT " QUEUED);
static const char list_completed[] =
	LIST("windlass.done x JOIN windlass.jobs j ON j.id = x.id", "x.id", "x.state = 8");
static const char list_discarded[] =
	LIST("windlass.done x JOIN windlass.jobs j ON j.id = x.id", "x.id", "x.state = 9");
static const char list_cancelled[] =
	LIST("windlass.done x JOIN windlass.jobs j ON j.id = x.id", "x.id", "x.state = 10");

static const char *list_of(enum job_state state)
{
	switch (state) {
	case JOB_SCHEDULED:
		return list_scheduled;
	case JOB_AVAILABLE:
		return list_available;
	case JOB_RUNNING:
		return list_running;
	case JOB_RETRYABLE:
		return list_retryable;
	case JOB_COMPLETED:
		return list_completed;
	case JOB_DISCARDED:
		return list_discarded;
	case JOB_CANCELLED:
		return list_cancelled;
	case JOB_QUEUED:
		return list_queued;
	case JOB_PARKED:
		return list_parked;
	case JOB_WAITING:
		return list_waiting;
	}
	return list_all;
}

int postgres_query_jobs(struct store *store, const struct job_filter *filter, struct arena *arena,
			struct job_view **views_r, size_t *count_r, struct error *err_r)
{
	struct postgres *pg = postgres_of(store);

	if (postgres_enter(pg, err_r) < 0)
		return -1;
	postgres_say(pg, list_of(filter->state));
	postgres_arg_reach(pg, &filter->reach);
	postgres_arg_text(pg, filter->type);
	postgres_arg_text(pg, filter->queue);
	postgres_arg_text(pg, filter->tag);
	postgres_arg_uuid(pg, uuid_is_nil(&filter->before) ? NULL : &filter->before);
	postgres_arg_i32(pg, (int32_t)filter->limit);
	size_t place = postgres_send(pg);

	if (postgres_fly(pg, err_r) < 0)
		return -1;
	const PGresult *result = postgres_result(pg, place);

	*count_r = (size_t)PQntuples(result);
	*views_r = ARENA_ARRAY(arena, struct job_view, *count_r);
	for (size_t i = 0; i < *count_r; i++)
		read_view(result, (int)i, arena, &(*views_r)[i]);
	return 0;
}

static const char finished_jobs[] =
	"SELECT i.n, d.id, d.state, d.result, d.reason, d.attempt, d.finished, coalesce(j.type,"
	" d.type), coalesce(j.queue, t.queue, ''), coalesce(j.tenant, ''), coalesce(j.owner,"
	" 'source:' || d.source), j.created, CASE WHEN j.id IS NULL THEN d.source END"
	" FROM unnest($1::uuid[], $2::int4[]) AS i(id, n)"
	" JOIN windlass.done d ON d.id = i.id AND d.state <> 0 LEFT JOIN windlass.jobs j ON j.id ="
	" i.id LEFT JOIN windlass.job_type t ON j.id IS NULL AND t.name = d.type WHERE j.id IS NOT"
	" NULL OR d.source IS NOT NULL";

static void read_finished(const PGresult *result, int row, const struct uuid *id,
			  struct arena *arena, struct job_view *view_r)
{
	*view_r = (struct job_view){
		.id = *id,
		.state = (enum job_state)result_i64(result, row, 2),
		.result = result_dup(result, row, 3, arena),
		.reason = result_dup(result, row, 4, arena),
		.attempt = (int)result_i64(result, row, 5),
		.finished_ms = result_ms(result, row, 6),
		.type = result_dup(result, row, 7, arena),
		.queue = result_dup(result, row, 8, arena),
		.tenant = result_dup(result, row, 9, arena),
		.owner = result_dup(result, row, 10, arena),
		.created_ms = result_null(result, row, 11) ? uuid_time_ms(id)
							   : result_ms(result, row, 11),
		.source = result_dup(result, row, 12, arena),
		.progress = -1,
	};
}

int postgres_query_finished(struct store *store, const struct uuid *ids, size_t count,
			    struct arena *arena, bool *found_r, struct job_view *views_r,
			    struct error *err_r)
{
	struct postgres *pg = postgres_of(store);

	if (postgres_enter(pg, err_r) < 0)
		return -1;
	postgres_say(pg, finished_jobs);
	history_args(pg, ids, count);
	size_t place = postgres_send(pg);

	if (postgres_fly(pg, err_r) < 0)
		return -1;
	const PGresult *result = postgres_result(pg, place);

	for (int row = 0; row < PQntuples(result); row++) {
		size_t n = (size_t)result_i64(result, row, 0);

		found_r[n] = true;
		read_finished(result, row, &ids[n], arena, &views_r[n]);
	}
	return 0;
}

/* ---- many at once */

static const char jobs_of[] =
	"SELECT" VIEW_COLUMNS ", j.payload, i.n FROM unnest($1::uuid[], $2::int4[]) AS i(id, n)"
	" JOIN windlass.jobs j ON j.id = i.id" VIEW_JOINS;
static const char all_attempts_of[] =
	"SELECT a.attempt, a.outcome, a.at, a.reason, i.n FROM unnest($1::uuid[], $2::int4[]) AS"
	" i(id, n) JOIN windlass.attempt a ON a.id = i.id WHERE a.outcome <> 0 ORDER BY i.n, a.n";
static const char the_time[] = "SELECT statement_timestamp()";

static size_t send_about(struct postgres *pg, const char *sql, const struct uuid *ids, size_t count)
{
	postgres_say(pg, sql);
	history_args(pg, ids, count);
	return postgres_send(pg);
}

/* Foreign jobs that completed at once have no row of their own. */
static void read_foreign_ends(const PGresult *result, const struct uuid *ids, struct arena *arena,
			      bool *found_r, struct job_view *views_r)
{
	for (int row = 0; row < PQntuples(result); row++) {
		size_t n = (size_t)result_i64(result, row, 0);

		if (found_r[n] || result_null(result, row, 12))
			continue;
		found_r[n] = true;
		read_finished(result, row, &ids[n], arena, &views_r[n]);
	}
}

static void read_all_attempts(const PGresult *result, struct arena *arena, const bool *found,
			      struct job_view *views)
{
	for (int row = 0, next; row < PQntuples(result); row = next) {
		int64_t n = result_i64(result, row, 4);

		for (next = row + 1; next < PQntuples(result) && result_i64(result, next, 4) == n;)
			next++;
		if (found[n])
			read_attempts(result, row, next - row, arena, &views[n]);
	}
}

int postgres_query_views(struct store *store, const struct uuid *ids, size_t count,
			 struct arena *arena, bool *found_r, struct job_view *views_r,
			 int64_t *now_ms_r, struct error *err_r)
{
	struct postgres *pg = postgres_of(store);

	if (postgres_enter(pg, err_r) < 0)
		return -1;
	postgres_say(pg, the_time);
	size_t now = postgres_send(pg), jobs = send_about(pg, jobs_of, ids, count),
	       attempts = send_about(pg, all_attempts_of, ids, count),
	       steps = history_send_steps(pg, ids, count),
	       ends = send_about(pg, finished_jobs, ids, count);

	if (postgres_fly(pg, err_r) < 0)
		return -1;
	const PGresult *result = postgres_result(pg, jobs);

	*now_ms_r = result_ms(postgres_result(pg, now), 0, 0);
	for (int row = 0; row < PQntuples(result); row++) {
		size_t n = (size_t)result_i64(result, row, V_EXTRA + 1);

		found_r[n] = true;
		read_view(result, row, arena, &views_r[n]);
		views_r[n].payload = result_dup(result, row, V_EXTRA, arena);
		views_r[n].payload_bytes = result_bytes(result, row, V_EXTRA);
		views_r[n].steps = history_steps(postgres_result(pg, steps), n, arena);
	}
	read_foreign_ends(postgres_result(pg, ends), ids, arena, found_r, views_r);
	read_all_attempts(postgres_result(pg, attempts), arena, found_r, views_r);
	return 0;
}
