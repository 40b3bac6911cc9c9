/* SPDX-License-Identifier: Apache-2.0 */
/* What the consumers' side decides about a job in hand, as functions that a worker's engine calls:
 * may it run, what is stored of an attempt's end, what its queue is told. Implemented in
 * consumers/receive and consumers/settle; joined in work_main.c. The same for every queue: a broker
 * changes who carries the job, never what its end means. */
#ifndef COMMON_BROKER_DELIVERY_H
#define COMMON_BROKER_DELIVERY_H
#include <stdbool.h>
#include <stdint.h>

#include "common/config/definitions.h"
#include "common/store/completion.h"

/* What a delivery's queue is told once the store has the truth. */
enum settle_verb {
	SETTLE_ACK = 1, /* over */
	SETTLE_LATER,   /* the store hands it out again when it is due */
	SETTLE_DEAD,    /* over, and discarded */
	SETTLE_RETURN,  /* not done here: the broker hands it to somebody else */
};

/* Whether a job that has come in may run. */
struct receive_verdict {
	const struct job_type *type; /* NULL: unknown here */
	enum job_outcome end; /* 0: run it; else its attempt ends so at once, without having run */
	const char *reason;   /* of `end`, in the job's arena; may be NULL */
	int64_t after_ms;     /* of `end`: due again after this */
	bool silent;          /* not an attempt: no outcome line */
};

/* How an attempt ended, and all that is known when that is decided. */
struct attempt_end {
	const struct claimed_job *job;
	const struct job_type *type; /* NULL: unknown here */
	enum job_outcome outcome;
	bool again;      /* a row expectation was not met: the same attempt shall run again */
	int again_count; /* how often it did */
	bool cancel_asked;
	int64_t after_ms; /* retry, snooze, released: -1 = the type's backoff */
	const char *reason, *result;
	struct write_set writes;
	const struct receipt *receipts; /* those that the store does not have yet */
	size_t receipt_count;
	/* what its type does not allow and it did all the same (record: failures); or NULL */
	const char *forbidden;
	/* why a person has to decide about one of its calls (JOB_PARKED); or NULL */
	const char *park;
	const char *disables; /* webhook: an address that is not to be told any more; or NULL */
	bool lost;            /* somebody else has the job, for certain: nothing is to be stored */
};

struct receive; /* consumers/receive */

/* What of the settings settling needs to know. */
struct settle_rules {
	size_t result_bytes_max;
	bool publishes; /* there is a broker that results can go to */
};

struct consumer_ops {
	/* Decides about a job that has just been claimed; strings that it makes live in the job's
	 * arena. */
	void (*arrive)(struct receive *receive, const struct definitions *defs,
		       const struct claimed_job *job, int64_t now_mono_ms,
		       struct receive_verdict *verdict_r);
	/* Fills in what is to be stored. False: nothing is, the attempt runs again at once
	 * (end->again). */
	bool (*settle)(const struct attempt_end *end, const struct settle_rules *rules,
		       struct completion *completion_r);
	/* The store refused this completion (fate FAILED or UNMET): changes *end to what that makes
	 * of the attempt. */
	void (*refused)(const struct completion *completion, struct attempt_end *end);
	/* What the queue is told of a completion whose fate is COMMITTED or LOST. */
	enum settle_verb (*verb)(const struct completion *completion);
};

#endif
