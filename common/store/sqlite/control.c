/* SPDX-License-Identifier: Apache-2.0 */
/* Control on SQLite: cancel, retry, redrive, pause. One transaction each. */
#include "common/store/control.h"

#include <stdlib.h>
#include <string.h>

#include "common/store/sqlite/sqlite_impl.h"

/* 1: it is within reach, *state_r is set; 0; -1. */
static int visible(struct sqlite_store *store, const struct reach *reach, const struct uuid *id,
		   enum job_state *state_r, struct error *err_r)
{
	static const struct reach all = { 0 };
	char *rules = sqlite_reach_rules(reach);
	int64_t one;
	int rc;

	if (!reach)
		reach = &all;
	rc = sqlite_number(store, err_r, &one,
			   "SELECT 1 FROM windlass_jobs j WHERE j.id = ?1 AND " REACH_SQL(
				   "j.tenant", "j.owner", "j.type", "j.queue", "2", "3", "4"),
			   "usss", id, reach->tenant, reach->owner, rules);
	free(rules);
	return rc == 1 ? sqlite_state(store, id, state_r, err_r) : rc;
}

/* The transaction of a change to a job that is within reach: *state_r is its state. -1: there is
 * neither. */
static int begin(struct sqlite_store *store, const struct reach *reach, const struct uuid *id,
		 enum job_state *state_r, struct error *err_r)
{
	int rc;

	*state_r = 0;
	if (sqlite_begin(store, SQLITE_DURABLE, err_r))
		return -1;
	rc = visible(store, reach, id, state_r, err_r);
	if (rc == 0)
		error_set(err_r, ERROR_NOT_FOUND, "no such job");
	if (rc == 1)
		return 0;
	sqlite_rollback(store);
	return -1;
}

/* rc: what became of the change; 0 commits it. */
static int end(struct sqlite_store *store, int rc, struct error *err_r)
{
	if (rc == 0)
		return sqlite_commit(store, err_r);
	sqlite_rollback(store);
	return -1;
}

static int cancel(struct sqlite_store *store, const struct uuid *id, const char *reason,
		  enum job_state *state, struct error *err_r)
{
	int rc;

	if (job_state_terminal(*state))
		return error_set(err_r, ERROR_CONFLICT, "the job has ended: %s",
				 job_state_name(*state));
	if ((*state == JOB_RUNNING || *state == JOB_QUEUED) &&
	    sqlite_run(
		    store, err_r,
		    "INSERT INTO windlass_cancel (id, reason, at) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING",
		    "usi", id, reason, store->tx.now_ms))
		return -1;
	if (*state == JOB_RUNNING)
		return 0;
	rc = *state == JOB_QUEUED ? sqlite_cancel_queued(store, id, reason, err_r)
				  : sqlite_cancel_waiting(store, id, reason, err_r);
	*state = JOB_CANCELLED;
	return rc < 0 ? -1 : 0;
}

int sqlite_control_cancel(struct store *base, const struct reach *reach, const struct uuid *id,
			  const char *reason, enum job_state *state_r, struct error *err_r)
{
	struct sqlite_store *store = sqlite_of(base);

	if (begin(store, reach, id, state_r, err_r))
		return -1;
	return end(store, cancel(store, id, reason, state_r, err_r), err_r);
}

static const char retake_key[] =
	"INSERT INTO windlass_unique_key (tenant, type, key, id) SELECT tenant, type, unique_key, id "
	"FROM windlass_jobs WHERE id = ?1 AND unique_key IS NOT NULL AND unique_for_ms = 0 "
	"ON CONFLICT DO NOTHING";

/* A discarded or cancelled job waits again: fresh failures, the same unique key unless somebody
 * else has taken it. 1; 0: it has not ended so any more, or it was compensated. */
int sqlite_revive(struct sqlite_store *store, const struct uuid *id, int64_t due_ms,
		  struct error *err_r)
{
	struct sqlite_waiting waiting = { .due_ms = due_ms };
	enum job_state state;
	sqlite3_stmt *stmt = sqlite_bind(
		store, err_r,
		"SELECT d.attempt, j.queue, j.priority, j.order_key, j.seq, d.state FROM windlass_done d JOIN windlass_jobs j ON j.id = d.id "
		"WHERE d.id = ?1 AND d.state <> 8 AND NOT " COMPENSATED_SQL,
		"u", id);
	int rc = stmt ? sqlite_next(store, stmt, err_r) : -1;

	if (rc != 1)
		return rc;
	waiting.attempt = sqlite3_column_int(stmt, 0);
	waiting.queue = sqlite_column_dup(stmt, 1, store->tx.arena);
	waiting.priority = sqlite3_column_int(stmt, 2);
	waiting.order_key = sqlite_column_dup(stmt, 3, store->tx.arena);
	waiting.seq = sqlite3_column_int64(stmt, 4);
	state = (enum job_state)sqlite3_column_int(stmt, 5);
	sqlite_done(stmt);
	if (sqlite_tally_job(store, id, state, -1, err_r))
		return -1;
	rc = sqlite_chain_again(store, id, err_r);
	if (rc < 0)
		return -1;
	if (rc)
		waiting.due_ms = SQLITE_NEVER;
	if (sqlite_history(store, id, waiting.attempt, 0, false, NULL, NULL, err_r) ||
	    sqlite_run(store, err_r, "DELETE FROM windlass_done WHERE id = ?1", "u", id) ||
	    sqlite_run(store, err_r, "DELETE FROM windlass_cancel WHERE id = ?1", "u", id) ||
	    sqlite_run(store, err_r, retake_key, "u", id) ||
	    sqlite_wait(store, id, &waiting, err_r))
		return -1;
	return 1;
}

static int make_due(struct sqlite_store *store, const struct uuid *id, struct error *err_r)
{
	struct sqlite_waiting waiting = { 0 };
	sqlite3_stmt *stmt = sqlite_bind(
		store, err_r,
		"SELECT queue, priority, order_key, seq FROM windlass_ready WHERE id = ?1", "u",
		id);
	int rc = stmt ? sqlite_next(store, stmt, err_r) : -1;

	if (rc != 1)
		return rc;
	waiting.queue = sqlite_column_dup(stmt, 0, store->tx.arena);
	waiting.priority = sqlite3_column_int(stmt, 1);
	waiting.order_key = sqlite_column_dup(stmt, 2, store->tx.arena);
	waiting.seq = sqlite3_column_int64(stmt, 3);
	sqlite_done(stmt);
	if (sqlite_unwait(store, id, &waiting.attempt, err_r) < 0)
		return -1;
	return sqlite_wait(store, id, &waiting, err_r);
}

static int retry(struct sqlite_store *store, const struct uuid *id, enum job_state *state,
		 struct error *err_r)
{
	int rc = 0;

	switch (*state) {
	case JOB_SCHEDULED:
	case JOB_RETRYABLE:
		rc = make_due(store, id, err_r);
		break;
	case JOB_DISCARDED:
	case JOB_CANCELLED:
		rc = sqlite_revive(store, id, 0, err_r);
		if (rc == 0)
			return error_set(err_r, ERROR_CONFLICT, CONTROL_COMPENSATED);
		return rc < 0 || sqlite_state(store, id, state, err_r) < 0 ? -1 : 0;
	case JOB_AVAILABLE:
		break;
	default:
		return error_set(err_r, ERROR_CONFLICT, "the job is %s", job_state_name(*state));
	}
	*state = JOB_AVAILABLE;
	return rc;
}

int sqlite_control_retry(struct store *base, const struct reach *reach, const struct uuid *id,
			 enum job_state *state_r, struct error *err_r)
{
	struct sqlite_store *store = sqlite_of(base);

	if (begin(store, reach, id, state_r, err_r))
		return -1;
	return end(store, retry(store, id, state_r, err_r), err_r);
}

/* ---- resolve */

static int resolve(struct sqlite_store *store, const struct uuid *id,
		   const struct call_verdict *verdict, enum job_state *state, struct error *err_r)
{
	int64_t one;
	int rc;

	if (*state != JOB_PARKED)
		return error_set(err_r, ERROR_CONFLICT, "the job is %s", job_state_name(*state));
	if (sqlite_run(
		    store, err_r,
		    "UPDATE windlass_call SET status = ?3, body = ?4, at = ?5 WHERE id = ?1 AND step = ?2 "
		    "AND status = 0",
		    "usibi", id, verdict->step, (int64_t)verdict->status,
		    verdict->body ? verdict->body : "", verdict->body_bytes, store->tx.now_ms))
		return -1;
	if (!store->changed)
		return error_set(err_r, ERROR_INVALID, "no call of that step waits for a decision");
	rc = sqlite_number(store, err_r, &one,
			   "SELECT 1 FROM windlass_call WHERE id = ?1 AND status = 0", "u", id);
	if (rc) /* more of its calls wait for a decision */
		return rc < 0 ? -1 : 0;
	*state = JOB_AVAILABLE;
	return make_due(store, id, err_r);
}

int sqlite_control_resolve(struct store *base, const struct reach *reach, const struct uuid *id,
			   const struct call_verdict *verdict, enum job_state *state_r,
			   struct error *err_r)
{
	struct sqlite_store *store = sqlite_of(base);

	if (begin(store, reach, id, state_r, err_r))
		return -1;
	return end(store, resolve(store, id, verdict, state_r, err_r), err_r);
}

/* ---- redrive */

static const char redrivable[] =
	"SELECT d.id FROM windlass_done d JOIN windlass_jobs j ON j.id = d.id WHERE d.state = ?1 AND d.state <> 8 "
	"AND (?2 IS NULL OR d.id < ?2) AND " REACH_SQL(
		"j.tenant", "j.owner", "j.type", "j.queue", "3", "4",
		"9") "AND (?5 IS NULL OR j.type = ?5) "
		     "AND (?6 IS NULL OR j.queue = ?6) AND (?7 IS NULL OR EXISTS (SELECT 1 FROM json_each(j.tags) WHERE value = ?7)) "
		     "AND NOT " COMPENSATED_SQL " ORDER BY d.id LIMIT ?8";

static int find_redrivable(struct sqlite_store *store, const struct job_filter *filter,
			   struct uuid *ids, int64_t limit, int64_t *count_r, struct error *err_r)
{
	enum job_state state = filter->state ? filter->state : JOB_DISCARDED;
	char *rules = sqlite_reach_rules(&filter->reach);
	sqlite3_stmt *stmt = sqlite_bind(store, err_r, redrivable, "iUsssssis", (int64_t)state,
					 &filter->before, filter->reach.tenant, filter->reach.owner,
					 filter->type, filter->queue, filter->tag, limit, rules);
	int rc = -1;

	*count_r = 0;
	while (stmt && (rc = sqlite_next(store, stmt, err_r)) == 1)
		sqlite_column_uuid(stmt, 0, &ids[(*count_r)++]);
	free(rules);
	return rc;
}

/* *count_r: found, and then how many of them could still be redriven. */
static int revive_all(struct sqlite_store *store, const struct uuid *ids, int64_t *count_r,
		      double rate_per_s, const struct audit *audit, struct error *err_r)
{
	int64_t revived = 0;

	if (sqlite_begin(store, SQLITE_DURABLE, err_r))
		return -1;
	for (int64_t i = 0; i < *count_r; i++) {
		int64_t delay_ms =
			rate_per_s > 0 ? (int64_t)((double)revived * 1000 / rate_per_s) : 0;
		int rc = sqlite_revive(store, &ids[i], delay_ms ? store->tx.now_ms + delay_ms : 0,
				       err_r);

		if (rc < 0) {
			sqlite_rollback(store);
			return -1;
		}
		revived += rc;
	}
	*count_r = revived;
	return end(store, sqlite_audit(store, audit, err_r), err_r);
}

/* The search reads, and only what it found is changed inside the writers' mutex. */
int sqlite_control_redrive(struct store *base, const struct job_filter *filter, double rate_per_s,
			   bool dry_run, const struct audit *audit, int64_t *count_r,
			   struct error *err_r)
{
	struct sqlite_store *store = sqlite_of(base);
	int64_t limit = filter->limit ? (int64_t)filter->limit : 10000;
	struct uuid *ids;
	int rc;

	*count_r = 0;
	if (filter->state && filter->state != JOB_DISCARDED && filter->state != JOB_CANCELLED)
		return error_set(err_r, ERROR_INVALID,
				 "only discarded and cancelled jobs can be redriven");
	if (sqlite_ensure(store, err_r))
		return -1;
	ids = xcalloc((size_t)limit, sizeof(*ids));
	store->deadline_ns = clock_mono_ns() + SQLITE_STATEMENT_LIMIT_MS * (int64_t)1000000;
	rc = find_redrivable(store, filter, ids, limit, count_r, err_r);
	store->deadline_ns = 0;
	if (rc == 0 && !dry_run && *count_r)
		rc = revive_all(store, ids, count_r, rate_per_s, audit, err_r);
	free(ids);
	return rc;
}

int sqlite_control_pause(struct store *base, const char *queue, bool paused,
			 const struct audit *audit, struct error *err_r)
{
	struct sqlite_store *store = sqlite_of(base);

	if (sqlite_begin(store, SQLITE_DURABLE, err_r))
		return -1;
	int rc = sqlite_run(
		store, err_r,
		"INSERT INTO windlass_queue (name, paused) VALUES (?1, ?2) ON CONFLICT DO UPDATE SET paused = ?2",
		"si", queue, (int64_t)paused);

	if (rc == 0)
		rc = sqlite_audit(store, audit, err_r);
	return end(store, rc, err_r);
}

int sqlite_control_cancels(struct store *base, const struct uuid *ids, size_t count, bool *asked_r,
			   struct error *err_r)
{
	struct sqlite_store *store = sqlite_of(base);

	memset(asked_r, 0, count * sizeof(*asked_r));
	if (sqlite_ensure(store, err_r))
		return -1;
	for (size_t i = 0; i < count; i++) {
		int64_t one;
		int rc = sqlite_number(store, err_r, &one,
				       "SELECT 1 FROM windlass_cancel WHERE id = ?1", "u", &ids[i]);

		if (rc < 0)
			return -1;
		asked_r[i] = rc == 1;
	}
	return 0;
}
