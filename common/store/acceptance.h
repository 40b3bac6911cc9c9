/* SPDX-License-Identifier: Apache-2.0 */
/* Acceptance: jobs become durable. One commit for many requests; each request is all or nothing by
 * itself. Called by the gateway's acceptance thread (producers/submit). */
#ifndef COMMON_STORE_ACCEPTANCE_H
#define COMMON_STORE_ACCEPTANCE_H
#include "common/base/arena.h"
#include "common/job/job.h"
#include "common/store/batch.h"
#include "common/store/store.h"

#define IDEMPOTENCY_KEEP_MS (24 * 3600 * 1000)

enum acceptance_verdict {
	ACCEPTANCE_ACCEPTED = 1,
	/* same key (or client-made id) and same fingerprint: the first answer, nothing new stored
	 */
	ACCEPTANCE_REPLAYED,
	ACCEPTANCE_KEY_REUSED, /* same key, other fingerprint; nothing stored */
	/* client-made id exists with another fingerprint or for another tenant or owner; nothing
	 * stored. bad_index names the job */
	ACCEPTANCE_ID_TAKEN,
	/* a job waits for one that is not there, or not its owner's to know; nothing stored.
	 * bad_index names the job, bad_after the edge */
	ACCEPTANCE_NO_SUCH_JOB,
	/* its chunk is not the batch's next one, or not this feeder's; nothing stored */
	ACCEPTANCE_STALE,
	ACCEPTANCE_CIRCLE, /* jobs wait for each other; nothing stored. bad_index names one */
	ACCEPTANCE_FAILED, /* this request alone could not be stored; error says why */
};

struct accepted_job {
	struct uuid id; /* the existing job's on a unique conflict or a replay */
	/* as stored now: available, scheduled; the current one on replay or conflict */
	enum job_state state;
	/* `unique` found another job: that one's id is returned, nothing stored for this one */
	bool unique_conflict;
	/* unique on_conflict replace: the waiting job that was cancelled; nil when none */
	struct uuid replaced;
};

/* One request: one job, or a batch of up to 10,000. All strings borrowed until the commit returns.
 */
struct acceptance {
	struct new_job *jobs;
	size_t job_count;
	/* caller: tenant + key id + route; NULL when there is no key */
	const char *idempotency_scope;
	const char *idempotency_key; /* or NULL */
	uint8_t fingerprint[32];     /* of the request body, when there is a key */
	/* its jobs are the next ones of a batch; then there may be none. Or NULL */
	const struct batch_chunk *chunk;
	/* answer */
	enum acceptance_verdict verdict;
	struct accepted_job *accepted; /* job_count entries, supplied by the caller */
	size_t bad_index, bad_after;
	struct error error;
};

/* Stores all of them in one transaction (idempotency rows, jobs, ready rows, unique keys, depth
 * tallies; jobs that wait with their edges, and each job's `then`), set-based. No two of them may
 * share an idempotency (scope, key), a client-made id or a unique key (type, key): the caller keeps
 * such twins for the next batch. When the transaction fails because of one of them, each is tried
 * alone (verdict ACCEPTANCE_FAILED). 0: every verdict is set and durable. -1: ERROR_UNAVAILABLE
 * (nothing stored) or ERROR_UNKNOWN; then acceptance_probe tells. */
int acceptance_commit(struct store *store, struct acceptance *const *requests, size_t count,
		      struct error *err_r) must_check;
/* After ERROR_UNKNOWN: *stored_r tells whether that transaction committed (reads ids back). -1:
 * still not known. */
int acceptance_probe(struct store *store, struct acceptance *const *requests, size_t count,
		     bool *stored_r, struct error *err_r) must_check;

#endif
