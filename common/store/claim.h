/* SPDX-License-Identifier: Apache-2.0 */
/* Claims: a worker session takes a batch of available jobs under one lease row. Where the store is
 * the queue this happens in the transaction that completes the previous batch (completion.h). */
#ifndef COMMON_STORE_CLAIM_H
#define COMMON_STORE_CLAIM_H
#include "common/base/arena.h"
#include "common/job/job.h"
#include "common/store/store.h"

/* Remembers the highest seq taken per queue and priority, so that a claim does not walk over dead
 * rows that an old snapshot elsewhere keeps alive; once a second (and whenever a scan finds
 * nothing) the scan starts from the beginning again. */
struct claim_cursor;
struct claim_cursor *claim_cursor_new(void);
void claim_cursor_free(struct claim_cursor **cursor);

struct claim_request {
	struct uuid session;
	struct uuid batch; /* the lease's id, made by the caller */
	/* those this worker serves; paused ones are skipped by the store */
	const char *const *queues;
	size_t queue_count;
	size_t max; /* 1..1000 jobs */
	struct claim_cursor *cursor;
};

/* What is stored of the call that one step of one job makes: the answer of the third party, which
 * is final; or an intent, and what overwrites it when it is known that nothing was sent. */
#define RECEIPT_INTENT   0    /* it was about to be sent: its fate is unknown */
#define RECEIPT_NOT_SENT (-1) /* there is no call: it may be sent */

struct receipt {
	const char *step;
	int status; /* of the answer, > 0; or one of the above, without a body */
	const char *body;
	size_t body_bytes;
};

/* What its arena begins with besides the payload: thousands are in hand at once, and most of them,
 * with what their engine keeps of them, want no second block. */
#define CLAIMED_JOB_BYTES 2560

/* A job as it was handed out, with everything it needs in its own arena. */
struct claimed_job {
	struct arena *arena; /* holds this struct too; the taker frees it */
	struct uuid id;
	struct uuid batch; /* its lease */
	int64_t seq;
	const char *tenant, *owner, *queue, *type;
	const char *payload; /* NUL-terminated as well */
	size_t payload_bytes;
	enum job_priority priority;
	int attempt;        /* of this hand-out: 1, 2, … */
	int failures;       /* failed attempts that count, since acceptance or the last redrive */
	int strikes;        /* of them: crashes */
	int max_attempts;   /* 0: the type's */
	int64_t timeout_ms; /* 0: the type's */
	const char *tags;   /* JSON array text, or NULL */
	struct uuid run;    /* the batch run that it belongs to; nil: none */
	const char *traceparent, *order_key, *fair_key, *callback; /* or NULL */
	int64_t created_ms;                                        /* store's clock, acceptance */
	int64_t due_ms; /* when it became available; for the queue-wait figure */
	/* JSON object text {"reserve": value}; NULL when none (always on attempt 1) */
	const char *steps;
	struct receipt *receipts;
	size_t receipt_count;
	/* accepted by SQL or a broker: the payload has not been validated yet */
	bool unchecked;
	bool cancel_asked;
	/* Foreign: it came as a message from this source, and the store has no row of it until its
	 * first end that is not a success, or until it is adopted (completion.h), which makes this
	 * NULL. */
	const char *source;
	const char *refusal; /* the message is no job, and why: it is discarded; or NULL */
	/* by a broker, whose message is open until the job is settled or adopted */
	bool delivered;
	bool behind; /* foreign: earlier jobs of its order key wait in the store; stored, not run */
	bool limited; /* others may wait for its end: limits.h */
};

struct claim {
	struct claimed_job **jobs; /* array owned by the caller's arena; count entries */
	size_t count;
	/* count 0: there may be a lease of this batch all the same, whose jobs could not be read;
	 * session_release_batch(batch) */
	bool unread;
	/* Limits (limits.h) are why not more was taken: worth another try after so long; 0: not */
	int64_t retry_ms;
	/* A second lease that may be there, whose jobs nobody has; nil: none. The jobs of queues
	 * with limits may be in a lease of their own, as their `batch` says. */
	struct uuid lost;
};

/* Takes up to request->max jobs: deletes their ready rows (SKIP LOCKED), writes one lease row,
 * returns the jobs in the order of (priority, seq). Queues share fairly within a priority (the
 * start rotates). Own transaction; PostgreSQL: synchronous_commit off, a lost claim is only claimed
 * again. count 0: nothing available. After ERROR_UNKNOWN: session_release_batch(batch). */
int claim_take(struct store *store, const struct claim_request *request, struct arena *arena,
	       struct claim *claim_r, struct error *err_r) must_check;

#endif
