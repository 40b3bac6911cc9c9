/* SPDX-License-Identifier: Apache-2.0 */
/* Completions: what attempts ended in becomes durable, many jobs a transaction, in the order that
 * DESIGN section 4 gives: locks sorted, completion rows sorted by id (the fence: first wins), write
 * sets of the winners, follow-up jobs, steps, receipts, retries, leases that are finished, the next
 * claim. The policy (halve, savepoints, one by one) is the caller's (workers/effects); this is one
 * transaction. */
#ifndef COMMON_STORE_COMPLETION_H
#define COMMON_STORE_COMPLETION_H
#include "common/store/claim.h"
#include "common/store/outbox.h"
#include "common/store/position.h"
#include "common/store/sql_value.h"

#define COMPLETION_PARKED INT64_C(-1)

enum completion_kind {
	/* terminal: state says which; writes are applied for JOB_COMPLETED only */
	COMPLETION_FINISH = 1,
	/* retry, snooze, crash, release: back to waiting, due after delay_ms; fenced by the lease
	 */
	COMPLETION_LATER,
	/* commits writes under a step name; fenced by the lease and by the absence of a completion
	   row. Without a name it only commits receipts: an intent, before its call is sent */
	COMPLETION_STEP,
	/* the job becomes its worker's: it goes from the broker's lease, or from none (foreign),
	   into one of the batch's session with the id `adopted`; fenced as STEP is. For long jobs,
	   and before the first STEP of a foreign one */
	COMPLETION_ADOPT,
	/* nothing is stored: its queue is told, and that is all. Not handed to the store */
	COMPLETION_NOTHING,
};

enum completion_fate {
	COMPLETION_COMMITTED = 1,
	/* another completion row was first, or the lease is gone: nothing of this one was applied
	 */
	COMPLETION_LOST,
	/* a row expectation was not met: nothing of this one was applied; bad_statement says which
	 */
	COMPLETION_UNMET,
	/* its SQL failed: nothing of this one was applied; error has sqlstate and message */
	COMPLETION_FAILED,
};

struct completion {
	enum completion_kind kind;
	const struct claimed_job *job;
	enum job_outcome outcome;
	enum job_state state; /* FINISH: completed, discarded, cancelled */
	const char *result;   /* JSON text or NULL (FINISH) */
	const char *reason;   /* for people; NULL when there is none */
	/* LATER: due after this; 0: at once; COMPLETION_PARKED: when a person has decided
	 * (control_resolve) */
	int64_t delay_ms;
	/* LATER: a failed attempt that counts against max_attempts (not snooze, release) */
	bool counts;
	struct uuid adopted; /* ADOPT: the new lease, made by the caller */
	/* FINISH as completed: jobs that tell of it, webhook_jobs(). For other ends the store makes
	 * them itself, by the registry of types */
	struct new_job *webhooks;
	size_t webhook_count;
	/* FINISH of a webhook: this address does not want to be told any more (endpoint.h); or NULL
	 */
	const char *disables;
	/* FINISH as completed: an outbox row goes with it; NULL: none */
	const struct result_target *target;
	const char *step;       /* STEP: its name, or NULL */
	const char *step_value; /* STEP: JSON text */
	struct write_set writes;
	/* new since the last transaction of this job, one a step; kept whatever happens to the
	 * writes. An answer is never overwritten, an intent is */
	const struct receipt *receipts;
	size_t receipt_count;
	/* answer */
	enum completion_fate fate;
	size_t bad_statement;
	struct error error;
	/* STEP that an earlier attempt had committed: its value, in `arena`; else NULL */
	const char *stored_step_value;
};

enum completion_mode {
	/* no savepoints: any failing statement or unmet expectation undoes the whole transaction;
	 * then -1 is returned with ERROR_SQL or ERROR_CONFLICT, and those whose fault is known have
	 * fate FAILED or UNMET */
	COMPLETION_OPTIMISTIC,
	/* a savepoint per job (count <= 50), each ending in SET CONSTRAINTS ALL IMMEDIATE: fates
	   are per job */
	COMPLETION_CAREFUL,
};

struct completion_batch {
	struct completion *const *items; /* no two of the same job */
	size_t count;
	const struct uuid *finished_leases; /* leases all of whose jobs are settled: deleted here */
	size_t finished_lease_count;
	const struct claim_request *claim; /* or NULL: claim nothing */
	struct uuid session;               /* owner of the leases that ADOPT makes */
	const struct position *positions;  /* stored with it */
	size_t position_count;
	enum completion_mode mode;
};

/* Runs the batch as one transaction. 0: committed; each item's fate is set; LOST items took nothing
 * with them; *claim_r holds the claimed jobs. A discarded or cancelled job with committed steps
 * gets its type's on_discard job (registry, store.h) in the same transaction (payload by
 * on_discard_payload()), and every job that was not completed the webhooks that it and its type
 * ask for. COMPLETION_LATER and discards append a row to the job's attempt history,
 * but for OUTCOME_RELEASED: nothing was tried, and a job of a type that nobody here knows is given
 * back every few seconds. A foreign job (claimed_job.source) that completes leaves only its
 * completion row, with type and source; at any other end, and at ADOPT, its row is inserted first
 * (what exists is left alone, and then the item is LOST: the store has had it since an earlier
 * delivery). -1: nothing committed: ERROR_SQL / ERROR_CONFLICT (optimistic mode: repeat carefully),
 * ERROR_CONTENTION (halve and repeat), ERROR_UNAVAILABLE, ERROR_FULL (disk), or ERROR_UNKNOWN:
 * repeat the same batch with a fresh claim batch id: what had committed shows as COMMITTED again
 * (the completion row carries lease id and attempt), nothing is applied twice. */
int completion_commit(struct store *store, const struct completion_batch *batch,
		      struct arena *arena, struct claim *claim_r, struct error *err_r) must_check;

/* Saves progress of running jobs, the newest wins; fenced by attempt. */
struct progress {
	struct uuid id;
	int attempt;
	double part;      /* 0..1 */
	const char *note; /* or NULL */
};
int progress_save(struct store *store, const struct progress *items, size_t count,
		  struct error *err_r) must_check;

/* Reads for a handler on a STORE_READ connection: {"columns":[…],"rows":[[…]]} as JSON text
 * appended to `out_r` in the shape of the host protocol; integers, floats, booleans and NULL keep
 * their kind, blobs are {"base64":"…"}, everything else is text. At most max_bytes, else
 * ERROR_FULL. statement_timeout applies. ERROR_SQL: the handler's fault. */
struct strbuf;
int reader_query(struct store *store, const struct sql_statement *statement, size_t bytes_max,
		 struct strbuf *out_r, struct error *err_r) must_check;

#endif
