/* SPDX-License-Identifier: Apache-2.0 */
/* Completions on SQLite: the outcomes of many jobs, their write sets and the next claim in one
 * transaction. The done row is inserted first and fences everything else of a job. One writer at a
 * time makes the locks of a write set needless here. A statement that takes the whole transaction
 * down (INSERT OR ROLLBACK, the time limit) is found out and its job left out of a second run, in
 * careful mode. */
#include "common/store/completion.h"

#include <string.h>

#include "common/store/ration.h"
#include "common/store/sqlite/sqlite_impl.h"

static bool is_forced(const struct completion *item)
{
	return item->fate == COMPLETION_FAILED || item->fate == COMPLETION_UNMET;
}

static void fail_item(struct completion *item, size_t statement, const struct error *error)
{
	item->fate = COMPLETION_FAILED;
	item->bad_statement = statement;
	item->error = *error;
}

/* Weather of one statement is its job's fault only when it is about SQL. */
static int blame(struct completion *item, size_t statement, struct error *err_r)
{
	if (err_r->code != ERROR_SQL)
		return -1;
	fail_item(item, statement, err_r);
	return 0;
}

static int check_deferred(struct sqlite_store *store, struct completion *item)
{
	struct error error;
	int open_keys = 0, ignored;

	sqlite3_db_status(store->db, SQLITE_DBSTATUS_DEFERRED_FKS, &open_keys, &ignored, 0);
	if (!open_keys)
		return 0;
	error_set(&error, ERROR_SQL, "a deferred FOREIGN KEY constraint is not met");
	memcpy(error.sqlstate, "23503", 6);
	fail_item(item, item->writes.statement_count - 1, &error);
	return 0;
}

/* Applies a write set; item->fate tells when it could not be. */
static int apply_writes(struct sqlite_store *store, struct completion *item, struct error *err_r)
{
	const struct write_set *writes = &item->writes;
	struct accepted_job accepted;

	for (size_t i = 0; i < writes->statement_count; i++) {
		const struct sql_statement *statement = &writes->statements[i];
		int64_t rows = 0;

		if (sqlite_guest_run(store, statement, &rows, err_r))
			return blame(item, i, err_r);
		if (statement->rows != SQL_ROWS_ANY && statement->rows != rows) {
			item->fate = COMPLETION_UNMET;
			item->bad_statement = i;
			return 0;
		}
	}
	for (size_t i = 0; i < writes->follow_up_count; i++)
		if (sqlite_enlist(store, &writes->follow_ups[i], true, &accepted, err_r))
			return blame(item, writes->statement_count, err_r);
	for (size_t i = 0; i < item->webhook_count; i++)
		if (sqlite_enlist(store, &item->webhooks[i], true, &accepted, err_r))
			return -1;
	return writes->statement_count ? check_deferred(store, item) : 0;
}

/* ---- the kinds */

static int was_first(struct sqlite_store *store, struct completion *item, struct error *err_r)
{
	int64_t mine = 0;

	if (sqlite_number(store, err_r, &mine,
			  "SELECT lease IS ?2 AND attempt = ?3 FROM windlass_done WHERE id = ?1",
			  "uui", &item->job->id, &item->job->batch,
			  (int64_t)item->job->attempt) < 0)
		return -1;
	item->fate = mine ? COMPLETION_COMMITTED : COMPLETION_LOST;
	return 0;
}

/* The job may be elsewhere by now: handed back by maintenance (it waits), or run by somebody else
 * too. */
static int leave_place(struct sqlite_store *store, const struct completion *item, int place,
		       struct error *err_r)
{
	int rc = place < 0 ? sqlite_unwait(store, &item->job->id, NULL, err_r) : 0;

	if (rc == 0)
		sqlite_count(store, item->job->queue, 0, 0, -1);
	return rc < 0 ? -1 : 0;
}

static int keep_receipts(struct sqlite_store *store, const struct completion *item,
			 struct error *err_r)
{
	for (size_t i = 0; i < item->receipt_count; i++) {
		const struct receipt *receipt = &item->receipts[i];

		if (sqlite_run(
			    store, err_r,
			    "INSERT INTO windlass_call (id, step, status, body, at) VALUES (?1, ?2, ?3, ?4, ?5) "
			    "ON CONFLICT DO UPDATE SET status = ?3, body = ?4, at = ?5 WHERE status <= 0",
			    "usibi", &item->job->id, receipt->step, (int64_t)receipt->status,
			    receipt->body ? receipt->body : "", receipt->body_bytes,
			    store->tx.now_ms))
			return -1;
	}
	return 0;
}

/* ---- foreign jobs: a message, and no row until something other than success befalls it */

static int is_known(struct sqlite_store *store, const struct uuid *id, struct error *err_r)
{
	int64_t one;

	return sqlite_number(store, err_r, &one, "SELECT 1 FROM windlass_jobs WHERE id = ?1", "u",
			     id);
}

/* Gives it its row. 1; 0: there is one, from an earlier delivery. */
static int store_foreign(struct sqlite_store *store, const struct claimed_job *job, int64_t *seq_r,
			 struct error *err_r)
{
	const struct new_job row = {
		.id = job->id,
		.tenant = job->tenant,
		.owner = job->owner,
		.queue = job->queue,
		.type = job->type,
		.payload = job->payload,
		.payload_bytes = job->payload_bytes,
		.priority = job->priority,
		.max_attempts = job->max_attempts,
		.timeout_ms = job->timeout_ms,
		.tags = job->tags,
		.order_key = job->order_key,
		.fair_key = job->fair_key,
		.traceparent = job->traceparent,
	};
	int rc = is_known(store, &job->id, err_r);

	if (rc)
		return rc < 0 ? -1 : 0;
	if (sqlite_seq(store, seq_r, err_r) || sqlite_insert_job(store, &row, true, *seq_r, err_r))
		return -1;
	return 1;
}

/* ---- the end */

static int insert_done(struct sqlite_store *store, const struct completion *item,
		       struct error *err_r)
{
	const struct claimed_job *job = item->job;

	return sqlite_run(
		store, err_r,
		"INSERT INTO windlass_done (id, state, attempt, lease, result, reason, finished, type, source) "
		"VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) ON CONFLICT DO NOTHING",
		"uiiussiss", &job->id, (int64_t)item->state, (int64_t)job->attempt, &job->batch,
		item->result, item->reason, store->tx.now_ms, job->source ? job->type : NULL,
		job->source);
}

static int send_result(struct sqlite_store *store, const struct completion *item,
		       struct error *err_r)
{
	const struct claimed_job *job = item->job;
	const struct result_target *target = item->target;

	return sqlite_run(
		store, err_r,
		"INSERT INTO windlass_outbox (id, type, topic, exchange, key, result, traceparent, finished) "
		"VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
		"usssss"
		"si",
		&job->id, job->type, target->topic, target->exchange, target->key, item->result,
		job->traceparent, store->tx.now_ms);
}

static int end_badly(struct sqlite_store *store, struct completion *item, struct error *err_r)
{
	const struct claimed_job *job = item->job;

	if (item->state == JOB_DISCARDED &&
	    sqlite_history(store, &job->id, job->attempt, (int)item->outcome, true, &job->batch,
			   item->reason, err_r))
		return -1;
	if (keep_receipts(store, item, err_r))
		return -1;
	return sqlite_on_end(store, &job->id, job->attempt, item->state, item->reason, err_r);
}

/* The row of a foreign job that ends otherwise than well. 1: it may; 0: it is elsewhere already. */
static int may_end(struct sqlite_store *store, const struct completion *item, struct error *err_r)
{
	int64_t seq;

	if (!item->job->source || item->state == JOB_COMPLETED)
		return 1;
	return store_foreign(store, item->job, &seq, err_r);
}

/* A foreign job was handed out by nobody, unless an earlier delivery has brought it into the store.
 */
static int leave_any_place(struct sqlite_store *store, const struct completion *item, int place,
			   struct error *err_r)
{
	int known = 1;

	if (item->job->source)
		known = item->state == JOB_COMPLETED ? is_known(store, &item->job->id, err_r) : 0;
	if (known < 0 || (known && leave_place(store, item, place, err_r)))
		return -1;
	return item->job->order_key ? sqlite_close_key(store, &item->job->id, err_r) : 0;
}

static int finish(struct sqlite_store *store, struct completion *item, struct sqlite_lease *lease,
		  struct error *err_r)
{
	const struct claimed_job *job = item->job;
	int place = sqlite_lease_find(lease, &job->id, job->attempt), rc;

	rc = may_end(store, item, err_r);
	if (rc < 0)
		return -1;
	if (rc && insert_done(store, item, err_r))
		return -1;
	if (!rc || !store->changed)
		return was_first(store, item, err_r);
	if (leave_any_place(store, item, place, err_r))
		return -1;
	if (item->state == JOB_COMPLETED ? apply_writes(store, item, err_r)
					 : end_badly(store, item, err_r))
		return -1;
	if (is_forced(item))
		return 0;
	if (place >= 0) {
		lease->settled[place] = true;
		/* Discarded and cancelled jobs may be retried: this lease must not hand them out a
		 * second time. */
		if (item->state != JOB_COMPLETED)
			lease->removed[place] = lease->changed = true;
	}
	if (!uuid_is_nil(&job->run) && sqlite_tally_run(store, &job->run, item->state, 1, err_r))
		return -1;
	if (item->disables && sqlite_disable_endpoint(store, item->disables, &job->id, err_r))
		return -1;
	return item->target && item->state == JOB_COMPLETED ? send_result(store, item, err_r) : 0;
}

static int has_ended(struct sqlite_store *store, const struct uuid *id, struct error *err_r)
{
	int64_t one;

	return sqlite_number(store, err_r, &one, "SELECT 1 FROM windlass_done WHERE id = ?1", "u",
			     id);
}

/* 1: the lease holds the job and it has not ended. */
static int holds(struct sqlite_store *store, const struct completion *item, int place,
		 struct error *err_r)
{
	int ended = place < 0 ? 1 : has_ended(store, &item->job->id, err_r);

	return ended < 0 ? -1 : !ended;
}

/* Nothing of it is left to do: by ourselves, in a COMMIT that was not answered, or by somebody
 * else. */
static int was_put_back(struct sqlite_store *store, struct completion *item, struct error *err_r)
{
	int64_t one;
	int rc = sqlite_number(
		store, err_r, &one,
		"SELECT 1 FROM windlass_attempt WHERE id = ?1 AND attempt = ?2 AND lease IS ?3",
		"uiu", &item->job->id, (int64_t)item->job->attempt, &item->job->batch);

	item->fate = rc == 1 ? COMPLETION_COMMITTED : COMPLETION_LOST;
	return rc < 0 ? -1 : 0;
}

/* Takes the job out of where it is. 1; 0: it is not there any more. *running_r: it was counted as
 * running. */
static int take_back(struct sqlite_store *store, const struct completion *item,
		     struct sqlite_lease *lease, int64_t *seq_r, bool *running_r,
		     struct error *err_r)
{
	int place = sqlite_lease_find(lease, &item->job->id, item->job->attempt), rc;

	*seq_r = item->job->seq;
	*running_r = !item->job->source;
	if (item->job->source) {
		rc = has_ended(store, &item->job->id, err_r);
		return rc ? (rc < 0 ? -1 : 0) : store_foreign(store, item->job, seq_r, err_r);
	}
	rc = holds(store, item, place, err_r);
	if (rc == 1)
		lease->removed[place] = lease->changed = true;
	return rc;
}

/* The place at acceptance: of a job that was handed out, `seq` is the one in ready. */
static int first_seq(struct sqlite_store *store, const struct uuid *id, int64_t *seq_r,
		     struct error *err_r)
{
	return sqlite_number(store, err_r, seq_r, "SELECT seq FROM windlass_jobs WHERE id = ?1",
			     "u", id) < 0
		       ? -1
		       : 0;
}

static int later(struct sqlite_store *store, struct completion *item, struct sqlite_lease *lease,
		 struct error *err_r)
{
	const struct claimed_job *job = item->job;
	struct sqlite_waiting waiting = {
		.queue = job->queue,
		.priority = (int)job->priority,
		.attempt = job->attempt,
		.due_ms = item->delay_ms > 0   ? store->tx.now_ms + item->delay_ms
			  : item->delay_ms < 0 ? SQLITE_NEVER
					       : 0,
		.order_key = job->order_key,
	};
	bool running;
	int rc = take_back(store, item, lease, &waiting.seq, &running, err_r);

	if (rc != 1)
		return rc < 0 ? -1 : was_put_back(store, item, err_r);
	if (job->order_key && (first_seq(store, &job->id, &waiting.seq, err_r) ||
			       sqlite_close_key(store, &job->id, err_r)))
		return -1;
	if ((item->outcome != OUTCOME_RELEASED &&
	     sqlite_history(store, &job->id, job->attempt, (int)item->outcome, item->counts,
			    &job->batch, item->reason, err_r)) ||
	    sqlite_wait(store, &job->id, &waiting, err_r))
		return -1;
	if (running)
		sqlite_count(store, job->queue, 0, 0, -1);
	return 0;
}

/* ---- adoption */

/* Ours already, from a COMMIT that was not answered? */
static int was_adopted(struct sqlite_store *store, struct completion *item, struct error *err_r)
{
	int64_t one;
	int rc = sqlite_number(store, err_r, &one,
			       "SELECT 1 FROM windlass_lease WHERE batch = ?1 AND ids = ?2", "uu",
			       &item->adopted, &item->job->id);

	item->fate = rc == 1 ? COMPLETION_COMMITTED : COMPLETION_LOST;
	return rc < 0 ? -1 : 0;
}

static int adopt(struct sqlite_store *store, struct completion *item, struct sqlite_lease *lease,
		 const struct uuid *session, struct error *err_r)
{
	const struct claimed_job *job = item->job;
	struct sqlite_new_lease mine = {
		.batch = item->adopted,
		.owner = *session,
		.ids = &job->id,
		.attempts = &job->attempt,
		.count = 1,
		.slots = lease->limited ? ration_slots_of(store->tx.arena, job->queue, job->type,
							  job->fair_key)
					: NULL,
	};
	int64_t seq;
	bool running;
	int rc = take_back(store, item, lease, &seq, &running, err_r);

	if (rc != 1)
		return rc < 0 ? -1 : was_adopted(store, item, err_r);
	if (!running)
		sqlite_count(store, job->queue, 0, 0, 1);
	if (job->source && job->order_key &&
	    sqlite_open_key(store, job->queue, job->order_key, &job->id, err_r))
		return -1;
	return sqlite_lease_add(store, &mine, err_r);
}

/* 1: the step is there; *mine_r: from this very attempt. */
static int stored_step(struct sqlite_store *store, struct completion *item, struct arena *arena,
		       bool *mine_r, char **value_r, struct error *err_r)
{
	sqlite3_stmt *stmt = sqlite_bind(
		store, err_r,
		"SELECT value, lease IS ?3 AND attempt = ?4 FROM windlass_step WHERE id = ?1 AND step = ?2",
		"usui", &item->job->id, item->step, &item->job->batch, (int64_t)item->job->attempt);
	int rc = stmt ? sqlite_next(store, stmt, err_r) : -1;

	if (rc != 1)
		return rc;
	*value_r = sqlite_column_dup(stmt, 0, arena);
	*mine_r = sqlite3_column_int(stmt, 1);
	sqlite_done(stmt);
	return 1;
}

static int step(struct sqlite_store *store, struct completion *item, struct sqlite_lease *lease,
		struct arena *arena, struct error *err_r)
{
	const struct claimed_job *job = item->job;
	int place = sqlite_lease_find(lease, &job->id, job->attempt), held;
	bool mine = false;
	char *value = NULL;
	int rc = stored_step(store, item, arena, &mine, &value, err_r);

	if (rc < 0 || (rc == 1 && mine))
		return rc < 0 ? -1 : 0;
	held = holds(store, item, place, err_r);
	if (held < 0)
		return -1;
	if (!held) {
		item->fate = COMPLETION_LOST;
		return 0;
	}
	if (rc == 1) {
		item->stored_step_value = value ? value : "null";
		return 0;
	}
	if (item->step &&
	    sqlite_run(
		    store, err_r,
		    "INSERT INTO windlass_step (id, step, attempt, lease, value, at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
		    "usiusi", &job->id, item->step, (int64_t)job->attempt, &job->batch,
		    item->step_value, store->tx.now_ms))
		return -1;
	return apply_writes(store, item, err_r);
}

static int apply(struct sqlite_store *store, const struct completion_batch *batch,
		 struct completion *item, struct arena *arena, struct error *err_r)
{
	struct sqlite_lease *lease;

	if (sqlite_lease(store, &item->job->batch, &lease, err_r))
		return -1;
	item->fate = COMPLETION_COMMITTED;
	switch (item->kind) {
	case COMPLETION_FINISH:
		return finish(store, item, lease, err_r);
	case COMPLETION_LATER:
		return later(store, item, lease, err_r);
	case COMPLETION_STEP:
		return step(store, item, lease, arena, err_r);
	case COMPLETION_ADOPT:
		return adopt(store, item, lease, &batch->session, err_r);
	case COMPLETION_NOTHING:
		break;
	}
	CHECK(!"a kind of completion that is stored");
	return -1;
}

/* ---- the two modes */

static int settle_careful(struct sqlite_store *store, const struct completion_batch *batch,
			  struct completion *item, struct arena *arena, struct error *err_r)
{
	sqlite_count_mark(store);
	if (sqlite_run(store, err_r, "SAVEPOINT job", "") ||
	    apply(store, batch, item, arena, err_r))
		return -1;
	if (is_forced(item)) {
		if (sqlite3_get_autocommit(store->db))
			return 1;
		if (sqlite_run(store, err_r, "ROLLBACK TO job", ""))
			return -1;
		sqlite_count_back(store);
	}
	if (sqlite_run(store, err_r, "RELEASE job", ""))
		return -1;
	return item->fate != COMPLETION_LOST ? keep_receipts(store, item, err_r) : 0;
}

static int settle_optimistic(struct sqlite_store *store, const struct completion_batch *batch,
			     struct completion *item, struct arena *arena, struct error *err_r)
{
	if (apply(store, batch, item, arena, err_r))
		return -1;
	if (item->fate == COMPLETION_UNMET)
		return error_set(err_r, ERROR_CONFLICT,
				 "a statement did not touch the rows that it must");
	if (item->fate == COMPLETION_FAILED) {
		*err_r = item->error;
		return -1;
	}
	return item->fate != COMPLETION_LOST ? keep_receipts(store, item, err_r) : 0;
}

/* 0; 1: the last item took the transaction down with it; -1. */
static int settle(struct sqlite_store *store, const struct completion_batch *batch,
		  const bool *left_out, struct arena *arena, struct error *err_r)
{
	for (size_t i = 0; i < batch->count; i++) {
		struct completion *item = batch->items[i];
		int rc;

		if (left_out[i])
			rc = keep_receipts(store, item, err_r);
		else if (batch->mode == COMPLETION_CAREFUL)
			rc = settle_careful(store, batch, item, arena, err_r);
		else
			rc = settle_optimistic(store, batch, item, arena, err_r);
		if (rc)
			return rc;
	}
	for (size_t i = 0; i < batch->finished_lease_count; i++)
		if (sqlite_lease_finish(store, &batch->finished_leases[i], err_r))
			return -1;
	return sqlite_keep_positions(store, batch->positions, batch->position_count, err_r);
}

static int commit(struct sqlite_store *store, struct error *err_r)
{
	if (FAILPOINT("before_commit")) {
		sqlite_rollback(store);
		return error_set(err_r, ERROR_UNAVAILABLE, "failpoint");
	}
	if (FAILPOINT("commit_sent")) {
		sqlite_rollback(store);
		return error_set(err_r, ERROR_UNKNOWN, "failpoint");
	}
	if (sqlite_commit(store, err_r))
		return -1;
	return FAILPOINT("after_commit") ? error_set(err_r, ERROR_UNKNOWN, "failpoint") : 0;
}

static int run(struct sqlite_store *store, const struct completion_batch *batch,
	       const bool *left_out, struct arena *arena, struct claim *claim_r,
	       struct error *err_r)
{
	int rc;

	if (sqlite_begin(store, SQLITE_DURABLE, err_r))
		return -1;
	rc = settle(store, batch, left_out, arena, err_r);
	if (rc == 0 && batch->claim)
		rc = sqlite_claim(store, batch->claim, 0, arena, claim_r, err_r);
	if (rc) {
		sqlite_rollback(store);
		return rc;
	}
	return commit(store, err_r);
}

/* Nothing was committed: only who was at fault remains to be told. */
static void unsettle(const struct completion_batch *batch, const bool *left_out,
		     struct claim *claim)
{
	for (size_t i = 0; i < batch->count; i++)
		if (!is_forced(batch->items[i]) && !left_out[i])
			batch->items[i]->fate = 0;
	sqlite_claim_drop(claim);
}

int sqlite_completion_commit(struct store *base, const struct completion_batch *batch,
			     struct arena *arena, struct claim *claim_r, struct error *err_r)
{
	struct sqlite_store *store = sqlite_of(base);
	bool *left_out = ARENA_ARRAY(arena, bool, batch->count + 1);
	int rc;

	*claim_r = (struct claim){ 0 };
	for (size_t i = 0; i < batch->count; i++) {
		batch->items[i]->fate = 0;
		batch->items[i]->bad_statement = 0;
		batch->items[i]->stored_step_value = NULL;
		error_clear(&batch->items[i]->error);
	}
	while ((rc = run(store, batch, left_out, arena, claim_r, err_r)) == 1)
		for (size_t i = 0; i < batch->count; i++)
			if (is_forced(batch->items[i]))
				left_out[i] = true;
	if (rc)
		unsettle(batch, left_out, claim_r);
	return rc;
}

int sqlite_progress_save(struct store *base, const struct progress *items, size_t count,
			 struct error *err_r)
{
	struct sqlite_store *store = sqlite_of(base);

	if (sqlite_begin(store, SQLITE_RELAXED, err_r))
		return -1;
	for (size_t i = 0; i < count; i++)
		if (sqlite_run(
			    store, err_r,
			    "INSERT INTO windlass_progress (id, attempt, part, note) SELECT ?1, ?2, ?3, ?4 "
			    "WHERE NOT EXISTS (SELECT 1 FROM windlass_done WHERE id = ?1) "
			    "ON CONFLICT DO UPDATE SET attempt = ?2, part = ?3, note = ?4 WHERE attempt <= ?2",
			    "uids", &items[i].id, (int64_t)items[i].attempt, items[i].part,
			    items[i].note)) {
			sqlite_rollback(store);
			return -1;
		}
	return sqlite_commit(store, err_r);
}
