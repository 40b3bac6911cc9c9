/* SPDX-License-Identifier: Apache-2.0 */
/* The ledger: how a job comes into the tables, waits, and ends without having run. Every function
 * here runs inside a write transaction and keeps the queues' figures. Unique keys and on_discard
 * jobs are decided here, whoever enlists or ends a job. */
#include "common/store/sqlite/sqlite_impl.h"

#include <string.h>

#include "common/job/on_discard.h"

/* 1: jobs of one key are handed out one after the other there. */
static int is_ordered(struct sqlite_store *store, const char *queue, struct error *err_r)
{
	int64_t ordered = 0;
	int rc = sqlite_number(store, err_r, &ordered,
			       "SELECT ordered FROM windlass_queue WHERE name = ?1", "s", queue);

	return rc < 0 ? -1 : ordered != 0;
}

static int fair_key_of(struct sqlite_store *store, const struct uuid *id, const char **key_r,
		       struct error *err_r)
{
	sqlite3_stmt *stmt = sqlite_bind(
		store, err_r, "SELECT fair_key FROM windlass_jobs WHERE id = ?1", "u", id);
	int rc = stmt ? sqlite_next(store, stmt, err_r) : -1;

	*key_r = NULL;
	if (rc != 1)
		return rc;
	*key_r = sqlite_column_dup(stmt, 0, store->tx.arena);
	sqlite_done(stmt);
	return 0;
}

int sqlite_wait(struct sqlite_store *store, const struct uuid *id,
		const struct sqlite_waiting *waiting, struct error *err_r)
{
	bool later = waiting->due_ms > store->tx.now_ms;
	bool timed = waiting->due_ms && waiting->due_ms != SQLITE_NEVER;
	int64_t since = timed ? waiting->due_ms : store->tx.now_ms, seq = waiting->seq;
	int ordered = waiting->order_key ? is_ordered(store, waiting->queue, err_r) : 0;
	const char *fair_key = waiting->fair_key;

	if (ordered < 0)
		return -1;
	if (!ordered && !waiting->keep_place && sqlite_seq(store, &seq, err_r))
		return -1;
	if (!waiting->fresh && fair_key_of(store, id, &fair_key, err_r))
		return -1;
	sqlite_count(store, waiting->queue, !later, later, 0);
	return sqlite_run(
		store, err_r,
		later ? "INSERT INTO windlass_ready (id, seq, queue, priority, attempt, since, order_key, fair_key, due) "
			"VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)"
		      : "INSERT INTO windlass_ready (id, seq, queue, priority, attempt, since, order_key, fair_key) "
			"VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
		later ? "uisiiissi" : "uisiiiss", id, seq, waiting->queue,
		(int64_t)waiting->priority, (int64_t)waiting->attempt, since,
		ordered ? waiting->order_key : NULL, fair_key, waiting->due_ms);
}

int sqlite_open_key(struct sqlite_store *store, const char *queue, const char *key,
		    const struct uuid *id, struct error *err_r)
{
	int ordered = is_ordered(store, queue, err_r);

	if (ordered != 1)
		return ordered;
	return sqlite_run(store, err_r,
			  "INSERT INTO windlass_order_open (queue, key, id) VALUES (?1, ?2, ?3) "
			  "ON CONFLICT DO NOTHING",
			  "ssu", queue, key, id);
}

int sqlite_close_key(struct sqlite_store *store, const struct uuid *id, struct error *err_r)
{
	return sqlite_run(store, err_r, "DELETE FROM windlass_order_open WHERE id = ?1", "u", id);
}

int sqlite_unwait(struct sqlite_store *store, const struct uuid *id, int *attempt_r,
		  struct error *err_r)
{
	sqlite3_stmt *stmt = sqlite_bind(
		store, err_r,
		"DELETE FROM windlass_ready WHERE id = ?1 RETURNING queue, due, attempt", "u", id);
	int rc = stmt ? sqlite_next(store, stmt, err_r) : -1;
	bool later;

	if (rc != 1)
		return rc;
	/* Asked in C: SQLite 3.40 answers "due IS NOT NULL" wrongly in RETURNING on a table WITHOUT
	 * ROWID. */
	later = sqlite3_column_type(stmt, 1) != SQLITE_NULL;
	sqlite_count(store, (const char *)sqlite3_column_text(stmt, 0), -!later, -later, 0);
	if (attempt_r)
		*attempt_r = sqlite3_column_int(stmt, 2);
	sqlite_done(stmt);
	return 1;
}

int sqlite_state(struct sqlite_store *store, const struct uuid *id, enum job_state *state_r,
		 struct error *err_r)
{
	int64_t state = 0;
	int rc = sqlite_number(
		store, err_r, &state,
		"SELECT coalesce((SELECT state FROM windlass_done WHERE id = ?1), "
		"(SELECT CASE WHEN due IS NULL THEN 2 WHEN due = " SQLITE_NEVER_SQL
		" THEN CASE attempt WHEN 0 THEN 6 ELSE 7 END WHEN attempt = 0 THEN 1 ELSE 5 END FROM windlass_ready "
		"WHERE id = ?1), CASE WHEN EXISTS (SELECT 1 FROM windlass_lease l WHERE l.until IS NOT NULL AND "
		"instr(l.ids, ?1) % 16 = 1) AND NOT EXISTS (SELECT 1 FROM windlass_progress p WHERE p.id = ?1) "
		"THEN 3 ELSE 4 END) FROM windlass_jobs WHERE id = ?1",
		"u", id);

	if (rc == 1)
		*state_r = (enum job_state)state;
	return rc;
}

int sqlite_history(struct sqlite_store *store, const struct uuid *id, int attempt, int outcome,
		   bool counts, const struct uuid *lease, const char *reason, struct error *err_r)
{
	return sqlite_run(
		store, err_r,
		"INSERT INTO windlass_attempt (id, attempt, outcome, counts, at, lease, reason) "
		"VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
		"uiiiiUs", id, (int64_t)attempt, (int64_t)outcome, (int64_t)counts,
		store->tx.now_ms, lease, reason);
}

/* The reason that was given when it was asked to stop. */
static int asked_reason(struct sqlite_store *store, const struct uuid *id, char **reason_r,
			struct error *err_r)
{
	sqlite3_stmt *stmt =
		sqlite_bind(store, err_r,
			    "DELETE FROM windlass_cancel WHERE id = ?1 RETURNING reason", "u", id);
	int rc = stmt ? sqlite_next(store, stmt, err_r) : -1;

	*reason_r = NULL;
	if (rc != 1)
		return rc;
	*reason_r = sqlite_column_dup(stmt, 0, store->tx.arena);
	sqlite_done(stmt);
	return 0;
}

static int end_cancelled(struct sqlite_store *store, const struct uuid *id, int attempt,
			 const char *reason, struct error *err_r)
{
	if (sqlite_run(
		    store, err_r,
		    "INSERT INTO windlass_done (id, state, attempt, reason, finished) VALUES (?1, ?2, ?3, ?4, ?5)",
		    "uiisi", id, (int64_t)JOB_CANCELLED, (int64_t)attempt, reason,
		    store->tx.now_ms))
		return -1;
	if (sqlite_tally_job(store, id, JOB_CANCELLED, 1, err_r))
		return -1;
	return sqlite_on_end(store, id, attempt, JOB_CANCELLED, reason, err_r);
}

int sqlite_cancel_waiting(struct sqlite_store *store, const struct uuid *id, const char *reason,
			  struct error *err_r)
{
	int attempt = 0, rc = sqlite_unwait(store, id, &attempt, err_r);
	char *asked;

	if (rc != 1)
		return rc;
	if (asked_reason(store, id, &asked, err_r) ||
	    end_cancelled(store, id, attempt, reason ? reason : asked, err_r))
		return -1;
	return 1;
}

int sqlite_cancel_queued(struct sqlite_store *store, const struct uuid *id, const char *reason,
			 struct error *err_r)
{
	struct sqlite_lease *lease;
	sqlite3_stmt *stmt = sqlite_bind(
		store, err_r,
		"SELECT l.batch, l.queue FROM windlass_lease l WHERE l.until IS NOT NULL AND instr(l.ids, ?1) % 16 = 1",
		"u", id);
	int rc = stmt ? sqlite_next(store, stmt, err_r) : -1, attempt = 0;
	struct uuid batch;
	char *queue;

	if (rc != 1)
		return rc;
	sqlite_column_uuid(stmt, 0, &batch);
	queue = sqlite_column_dup(stmt, 1, store->tx.arena);
	sqlite_done(stmt);
	if (sqlite_lease(store, &batch, &lease, err_r))
		return -1;
	for (size_t i = 0; i < lease->count; i++) {
		if (!uuid_equal(&lease->ids[i], id))
			continue;
		attempt = lease->attempts[i];
		lease->removed[i] = lease->changed = true;
	}
	sqlite_count(store, queue, 0, 0, -1);
	if (sqlite_close_key(store, id, err_r) || end_cancelled(store, id, attempt, reason, err_r))
		return -1;
	return 1;
}

/* ---- unique keys */

struct holder {
	struct uuid id;
	bool live;
};

static int find_holder(struct sqlite_store *store, const struct new_job *job,
		       struct holder *holder_r, struct error *err_r)
{
	sqlite3_stmt *stmt = sqlite_bind(
		store, err_r,
		"SELECT u.id, CASE WHEN u.until IS NOT NULL THEN u.until > ?4 ELSE NOT EXISTS "
		"(SELECT 1 FROM windlass_done d WHERE d.id = u.id) END "
		"AND EXISTS (SELECT 1 FROM windlass_jobs j WHERE j.id = u.id) "
		"FROM windlass_unique_key u WHERE u.tenant = ?1 AND u.type = ?2 AND u.key = ?3",
		"sssi", job->tenant, job->type, job->unique_key, store->tx.now_ms);
	int rc = stmt ? sqlite_next(store, stmt, err_r) : -1;

	holder_r->live = false;
	if (rc != 1)
		return rc;
	sqlite_column_uuid(stmt, 0, &holder_r->id);
	holder_r->live = sqlite3_column_int(stmt, 1);
	sqlite_done(stmt);
	return 0;
}

static int take_key(struct sqlite_store *store, const struct new_job *job, struct error *err_r)
{
	int64_t until = store->tx.now_ms + job->unique_for_ms;

	return sqlite_run(
		store, err_r,
		"INSERT INTO windlass_unique_key (tenant, type, key, id, until) VALUES (?1, ?2, ?3, ?4, nullif(?5, 0)) "
		"ON CONFLICT DO UPDATE SET id = ?4, until = nullif(?5, 0)",
		"sssui", job->tenant, job->type, job->unique_key, &job->id,
		job->unique_for_ms ? until : (int64_t)0);
}

/* 1: the key is this job's; 0: another job holds it, accepted_r says which. A job that runs or has
 * ended is not replaced. */
static int claim_key(struct sqlite_store *store, const struct new_job *job,
		     struct accepted_job *accepted_r, struct error *err_r)
{
	struct holder holder;
	char text[UUID_TEXT], *reason;
	int rc;

	if (find_holder(store, job, &holder, err_r))
		return -1;
	if (holder.live && job->unique_conflict == UNIQUE_REPLACE) {
		reason = arena_printf(store->tx.arena, "replaced by %s",
				      uuid_format(&job->id, text));
		rc = sqlite_cancel_waiting(store, &holder.id, reason, err_r);
		if (rc < 0)
			return -1;
		if (rc == 1) {
			accepted_r->replaced = holder.id;
			holder.live = false;
		}
	}
	if (holder.live) {
		accepted_r->id = holder.id;
		accepted_r->unique_conflict = true;
		return sqlite_state(store, &holder.id, &accepted_r->state, err_r) < 0 ? -1 : 0;
	}
	return take_key(store, job, err_r) ? -1 : 1;
}

/* ---- enlisting */

int sqlite_insert_job(struct sqlite_store *store, const struct new_job *job, bool unchecked,
		      int64_t seq, struct error *err_r)
{
	return sqlite_run(
		store, err_r,
		"INSERT INTO windlass_jobs (seq, id, tenant, owner, queue, type, payload, priority, max_attempts, "
		"timeout_ms, created, tags, order_key, fair_key, unique_key, unique_for_ms, traceparent, fingerprint, unchecked, callback, batch) "
		"VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21)",
		"iusssstiiiissssisbisU", seq, &job->id, job->tenant, job->owner, job->queue,
		job->type, job->payload, job->payload_bytes, (int64_t)job->priority,
		(int64_t)job->max_attempts, job->timeout_ms, store->tx.now_ms, job->tags,
		job->order_key, job->fair_key, job->unique_key, job->unique_for_ms,
		job->traceparent, job->client_id ? job->fingerprint : NULL,
		sizeof(job->fingerprint), (int64_t)unchecked, job->callback, &job->run);
}

int sqlite_enlist(struct sqlite_store *store, const struct new_job *job, bool again,
		  struct accepted_job *accepted_r, struct error *err_r)
{
	int64_t now = store->tx.now_ms, seq;
	struct sqlite_waiting waiting = {
		.queue = job->queue,
		.priority = (int)job->priority,
		.due_ms = job->after_count    ? SQLITE_NEVER
			  : job->delay_ms > 0 ? now + job->delay_ms
					      : job->due_ms,
	};
	int rc;

	*accepted_r = (struct accepted_job){ .id = job->id,
					     .state = job->after_count       ? JOB_WAITING
						      : waiting.due_ms > now ? JOB_SCHEDULED
									     : JOB_AVAILABLE };
	if (again) {
		rc = sqlite_state(store, &job->id, &accepted_r->state, err_r);
		if (rc)
			return rc < 0 ? -1 : 0;
	}
	if (job->unique_key) {
		rc = claim_key(store, job, accepted_r, err_r);
		if (rc != 1)
			return rc;
	}
	if (waiting.due_ms <= now)
		waiting.due_ms = 0;
	/* The row's number is drawn before its place in the order, and both grow: jobs.seq orders
	 * as acceptance did. */
	if (sqlite_seq(store, &seq, err_r) || sqlite_insert_job(store, job, false, seq, err_r))
		return -1;
	waiting.order_key = job->order_key;
	waiting.fair_key = job->fair_key;
	waiting.fresh = true;
	waiting.seq = seq;
	if (sqlite_wait(store, &job->id, &waiting, err_r))
		return -1;
	return job->after_count || job->then_count ? sqlite_add_chain(store, job, err_r) : 0;
}

/* ---- on_discard */

int sqlite_steps(struct sqlite_store *store, const struct uuid *id, struct arena *arena,
		 char **steps_r, struct error *err_r)
{
	sqlite3_stmt *stmt = sqlite_bind(
		store, err_r,
		"SELECT step, value FROM windlass_step WHERE id = ?1 ORDER BY at, step", "u", id);
	struct strbuf json;
	int rc;

	*steps_r = NULL;
	if (!stmt)
		return -1;
	strbuf_init(&json);
	while ((rc = sqlite_next(store, stmt, err_r)) == 1) {
		const char *value = (const char *)sqlite3_column_text(stmt, 1);

		strbuf_addch(&json, json.len ? ',' : '{');
		strbuf_json(&json, (const char *)sqlite3_column_text(stmt, 0));
		strbuf_addch(&json, ':');
		strbuf_addstr(&json, value ? value : "null");
	}
	if (rc == 0 && json.len) {
		strbuf_addch(&json, '}');
		*steps_r = arena_strndup(arena, json.data, json.len);
	}
	strbuf_release(&json);
	return rc;
}

static int calls_of(struct sqlite_store *store, const struct uuid *id, const char **calls_r,
		    struct error *err_r)
{
	sqlite3_stmt *stmt = sqlite_bind(
		store, err_r,
		"SELECT step, status, body FROM windlass_call WHERE id = ?1 AND status >= 0 ORDER BY at, step",
		"u", id);
	struct strbuf json;
	int rc;

	*calls_r = NULL;
	if (!stmt)
		return -1;
	strbuf_init(&json);
	while ((rc = sqlite_next(store, stmt, err_r)) == 1) {
		const char *body = sqlite3_column_blob(stmt, 2);

		strbuf_addch(&json, json.len ? ',' : '{');
		strbuf_json(&json, (const char *)sqlite3_column_text(stmt, 0));
		strbuf_addstr(&json, ":{\"status\":");
		strbuf_addi(&json, sqlite3_column_int64(stmt, 1));
		strbuf_addstr(&json, ",\"body\":");
		strbuf_json_n(&json, body ? body : "", (size_t)sqlite3_column_bytes(stmt, 2));
		strbuf_addch(&json, '}');
	}
	if (rc == 0 && json.len) {
		strbuf_addch(&json, '}');
		*calls_r = arena_strndup(store->tx.arena, json.data, json.len);
	}
	strbuf_release(&json);
	return rc;
}

struct ended {
	struct on_discard_source source;
	struct new_job job; /* what its on_discard job takes over from it */
};

static int find_ended(struct sqlite_store *store, const struct uuid *id, struct ended *ended_r,
		      struct error *err_r)
{
	struct arena *arena = store->tx.arena;
	sqlite3_stmt *stmt = sqlite_bind(
		store, err_r,
		"SELECT j.type, j.payload, j.tenant, j.traceparent, t.on_discard, coalesce(o.queue, j.queue), "
		"coalesce(o.priority, j.priority) FROM windlass_jobs j "
		"JOIN windlass_job_type t ON t.name = j.type AND t.on_discard IS NOT NULL "
		"LEFT JOIN windlass_job_type o ON o.name = t.on_discard "
		"WHERE j.id = ?1 AND EXISTS (SELECT 1 FROM windlass_step WHERE id = ?1)",
		"u", id);
	int rc = stmt ? sqlite_next(store, stmt, err_r) : -1;

	if (rc != 1)
		return rc;
	ended_r->source = (struct on_discard_source){
		.id = *id,
		.type = sqlite_column_dup(stmt, 0, arena),
		.payload = sqlite_column_dup(stmt, 1, arena),
	};
	ended_r->job = (struct new_job){
		.tenant = sqlite_column_dup(stmt, 2, arena),
		.traceparent = sqlite_column_dup(stmt, 3, arena),
		.type = sqlite_column_dup(stmt, 4, arena),
		.queue = sqlite_column_dup(stmt, 5, arena),
		.priority = (enum job_priority)sqlite3_column_int(stmt, 6),
	};
	sqlite_done(stmt);
	return 1;
}

int sqlite_compensate(struct sqlite_store *store, const struct uuid *id, int attempt,
		      enum job_state state, const char *reason, struct error *err_r)
{
	struct arena *arena = store->tx.arena;
	struct accepted_job accepted;
	struct ended ended;
	char text[UUID_TEXT], *steps;
	int rc = find_ended(store, id, &ended, err_r);

	if (rc != 1)
		return rc;
	if (sqlite_steps(store, id, arena, &steps, err_r) ||
	    calls_of(store, id, &ended.source.calls, err_r))
		return -1;
	ended.source.steps = steps;
	ended.source.state = state;
	ended.source.reason = reason;
	on_discard_id(id, attempt, &ended.job.id);
	ended.job.owner = arena_printf(arena, "job:%s", uuid_format(id, text));
	ended.job.payload = on_discard_payload(arena, &ended.source);
	ended.job.payload_bytes = strlen(ended.job.payload);
	if (sqlite_history(store, id, attempt, 0, false, NULL, "compensated", err_r))
		return -1;
	return sqlite_enlist(store, &ended.job, true, &accepted, err_r);
}
