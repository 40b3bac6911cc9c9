/* SPDX-License-Identifier: Apache-2.0 */
/* Acceptance on SQLite: one transaction for all requests that arrived. A request is looked up
 * before anything of it is written (idempotency key, client-made ids), so that a refusal leaves
 * nothing to undo. */
#include "common/store/acceptance.h"

#include <string.h>

#include "common/store/sqlite/sqlite_impl.h"

/* The stored answer of a keyed request, a job: id, flags, replaced. */
enum { ANSWER_BYTES = 33, ANSWER_CONFLICT = 1 };

static void encode_answer(const struct accepted_job *job, uint8_t *p)
{
	memcpy(p, &job->id, 16);
	p[16] = job->unique_conflict ? ANSWER_CONFLICT : 0;
	memcpy(p + 17, &job->replaced, 16);
}

static void decode_answer(const uint8_t *p, struct accepted_job *job_r)
{
	memcpy(&job_r->id, p, 16);
	job_r->unique_conflict = p[16] & ANSWER_CONFLICT;
	memcpy(&job_r->replaced, p + 17, 16);
}

static int state_now(struct sqlite_store *store, struct accepted_job *job, struct error *err_r)
{
	int rc = sqlite_state(store, &job->id, &job->state, err_r);

	/* Retention has taken it: it had ended. */
	if (rc == 0)
		job->state = JOB_COMPLETED;
	return rc < 0 ? -1 : 0;
}

static int replay(struct sqlite_store *store, struct acceptance *request, const uint8_t *answer,
		  size_t bytes, struct error *err_r)
{
	if (bytes != request->job_count * ANSWER_BYTES) {
		request->verdict = ACCEPTANCE_KEY_REUSED;
		return 0;
	}
	request->verdict = ACCEPTANCE_REPLAYED;
	for (size_t i = 0; i < request->job_count; i++) {
		decode_answer(answer + i * ANSWER_BYTES, &request->accepted[i]);
		if (state_now(store, &request->accepted[i], err_r))
			return -1;
	}
	return 0;
}

/* Sets the verdict when the key is known and has not run out. */
static int check_key(struct sqlite_store *store, struct acceptance *request, struct error *err_r)
{
	sqlite3_stmt *stmt =
		sqlite_bind(store, err_r,
			    "SELECT fingerprint, answer FROM windlass_idempotency "
			    "WHERE scope = ?1 AND key = ?2 AND created > ?3",
			    "ssi", request->idempotency_scope, request->idempotency_key,
			    store->tx.now_ms - (int64_t)IDEMPOTENCY_KEEP_MS);
	int rc = stmt ? sqlite_next(store, stmt, err_r) : -1;
	bool same;

	if (rc != 1)
		return rc;
	same = sqlite3_column_bytes(stmt, 0) == (int)sizeof(request->fingerprint) &&
	       memcmp(sqlite3_column_blob(stmt, 0), request->fingerprint,
		      sizeof(request->fingerprint)) == 0;
	request->verdict = ACCEPTANCE_KEY_REUSED;
	rc = same ? replay(store, request, sqlite3_column_blob(stmt, 1),
			   (size_t)sqlite3_column_bytes(stmt, 1), err_r)
		  : 0;
	sqlite_done(stmt);
	return rc;
}

/* 1: this client-made id is stored, by the same request of the same owner; 0: it is new;
 * ACCEPTANCE_ID_TAKEN is set otherwise. */
static int check_id(struct sqlite_store *store, struct acceptance *request, size_t i,
		    struct error *err_r)
{
	const struct new_job *job = &request->jobs[i];
	sqlite3_stmt *stmt = sqlite_bind(
		store, err_r,
		"SELECT tenant = ?2 AND fingerprint IS ?3 AND owner = ?4 FROM windlass_jobs WHERE id = ?1",
		"usbs", &job->id, job->tenant, job->fingerprint, sizeof(job->fingerprint),
		job->owner);
	int rc = stmt ? sqlite_next(store, stmt, err_r) : -1;

	if (rc != 1)
		return rc;
	if (!sqlite3_column_int(stmt, 0)) {
		request->verdict = ACCEPTANCE_ID_TAKEN;
		request->bad_index = i;
	}
	sqlite_done(stmt);
	return 1;
}

/* Marks with a state those jobs that an earlier request has stored. */
static int check_ids(struct sqlite_store *store, struct acceptance *request, size_t *known_r,
		     struct error *err_r)
{
	*known_r = 0;
	for (size_t i = 0; i < request->job_count; i++) {
		int rc = request->jobs[i].client_id ? check_id(store, request, i, err_r) : 0;

		if (rc < 0)
			return -1;
		if (request->verdict)
			return 0;
		if (rc == 0)
			continue;
		request->accepted[i].id = request->jobs[i].id;
		if (state_now(store, &request->accepted[i], err_r))
			return -1;
		++*known_r;
	}
	return 0;
}

static int keep_key(struct sqlite_store *store, const struct acceptance *request,
		    struct error *err_r)
{
	size_t bytes = request->job_count * ANSWER_BYTES;
	uint8_t *answer = arena_alloc(store->tx.arena, bytes + 1);

	for (size_t i = 0; i < request->job_count; i++)
		encode_answer(&request->accepted[i], answer + i * ANSWER_BYTES);
	return sqlite_run(
		store, err_r,
		"INSERT INTO windlass_idempotency (scope, key, fingerprint, answer, created) VALUES (?1, ?2, ?3, ?4, ?5) "
		"ON CONFLICT DO UPDATE SET fingerprint = ?3, answer = ?4, created = ?5",
		"ssbbi", request->idempotency_scope, request->idempotency_key, request->fingerprint,
		sizeof(request->fingerprint), answer, bytes, store->tx.now_ms);
}

static int accept_one(struct sqlite_store *store, struct acceptance *request, struct error *err_r)
{
	size_t known;

	request->verdict = 0;
	memset(request->accepted, 0, request->job_count * sizeof(*request->accepted));
	error_clear(&request->error);
	if (request->idempotency_key && check_key(store, request, err_r))
		return -1;
	if (request->verdict)
		return 0;
	if (check_ids(store, request, &known, err_r))
		return -1;
	if (!request->verdict && known < request->job_count &&
	    sqlite_check_chains(store, request, err_r))
		return -1;
	if (request->verdict)
		return 0;
	if (request->chunk) {
		int rc = sqlite_take_chunk(store, request->chunk, request->job_count, err_r);

		if (rc == 0)
			request->verdict = ACCEPTANCE_STALE;
		if (rc != 1)
			return rc;
	}
	for (size_t i = 0; i < request->job_count; i++)
		if (!request->accepted[i].state &&
		    sqlite_enlist(store, &request->jobs[i], false, &request->accepted[i], err_r))
			return -1;
	request->verdict =
		known && known == request->job_count ? ACCEPTANCE_REPLAYED : ACCEPTANCE_ACCEPTED;
	return request->idempotency_key ? keep_key(store, request, err_r) : 0;
}

static int accept_all(struct sqlite_store *store, struct acceptance *const *requests, size_t count,
		      struct error *err_r)
{
	if (sqlite_begin(store, SQLITE_DURABLE, err_r))
		return -1;
	for (size_t i = 0; i < count; i++)
		if (accept_one(store, requests[i], err_r)) {
			sqlite_rollback(store);
			return -1;
		}
	if (FAILPOINT("accept_before_commit")) {
		sqlite_rollback(store);
		return error_set(err_r, ERROR_UNAVAILABLE, "failpoint");
	}
	if (sqlite_commit(store, err_r))
		return -1;
	if (FAILPOINT("accept_after_commit"))
		return error_set(err_r, ERROR_UNKNOWN, "failpoint");
	return 0;
}

/* One of them is at fault: each for itself, so that it alone is refused. Weather that comes up
 * meanwhile is told request by request, for some are stored already. */
static int accept_each(struct sqlite_store *store, struct acceptance *const *requests, size_t count,
		       struct error *err_r)
{
	bool weather = false;

	for (size_t i = 0; i < count; i++) {
		if (!weather && accept_all(store, &requests[i], 1, err_r) == 0)
			continue;
		if (!weather && err_r->code != ERROR_SQL) {
			if (i == 0 && err_r->code != ERROR_UNKNOWN)
				return -1;
			weather = true;
		}
		requests[i]->verdict = ACCEPTANCE_FAILED;
		requests[i]->error = *err_r;
		if (weather && err_r->code == ERROR_UNKNOWN)
			err_r->code = ERROR_UNAVAILABLE;
	}
	return 0;
}

int sqlite_acceptance_commit(struct store *base, struct acceptance *const *requests, size_t count,
			     struct error *err_r)
{
	struct sqlite_store *store = sqlite_of(base);

	if (accept_all(store, requests, count, err_r) == 0)
		return 0;
	return err_r->code == ERROR_SQL ? accept_each(store, requests, count, err_r) : -1;
}

/* Are all the jobs there that the transaction would have stored? One of them is not enough: a
 * client-made id may have been stored before. 1, 0, or -1. */
static int all_stored(struct sqlite_store *store, const struct acceptance *request,
		      struct error *err_r)
{
	int64_t one;
	int rc = 1;

	if (request->verdict != ACCEPTANCE_ACCEPTED)
		return 1;
	for (size_t i = 0; rc == 1 && i < request->job_count; i++)
		if (!request->accepted[i].unique_conflict)
			rc = sqlite_number(store, err_r, &one,
					   "SELECT 1 FROM windlass_jobs WHERE id = ?1", "u",
					   &request->jobs[i].id);
	return rc;
}

int sqlite_acceptance_probe(struct store *base, struct acceptance *const *requests, size_t count,
			    bool *stored_r, struct error *err_r)
{
	struct sqlite_store *store = sqlite_of(base);
	int rc = 1;

	if (sqlite_ensure(store, err_r))
		return -1;
	for (size_t i = 0; rc == 1 && i < count; i++)
		rc = all_stored(store, requests[i], err_r);
	*stored_r = rc == 1;
	return rc < 0 ? -1 : 0;
}
