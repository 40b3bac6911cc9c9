/* SPDX-License-Identifier: Apache-2.0 */
/* A job in hand inside one engine: the claimed job, what its attempt has asked for so far, and what
 * it ended in. Lives in the job's arena; owned by the engine's loop thread, lent to the effects
 * thread while a transaction carries it. */
#ifndef WORKERS_POOL_TASK_H
#define WORKERS_POOL_TASK_H
#include <stdbool.h>
#include <stdint.h>

#include "common/base/list.h"
#include "common/config/definitions.h"
#include "common/store/claim.h"
#include "common/store/completion.h"

enum task_cancel { TASK_GO_ON = 0, TASK_CANCEL_REQUESTED, TASK_CANCEL_TIMEOUT, TASK_CANCEL_DRAIN };

/* What an attempt ended in, as the handler (or its death) said it. Strings and write set live in
 * the job's arena. */
struct task_outcome {
	enum job_outcome kind;
	bool again; /* row expectation unmet inside the handler (wl_step): same attempt, at once */
	int64_t after_ms;   /* retry, snooze: -1 = the type's backoff */
	const char *reason; /* retry, discard, crashed; NULL otherwise */
	const char *result; /* JSON text, or NULL */
	struct write_set writes;
	const char *disables; /* webhook: its address answered 410; or NULL */
};

struct task {
	struct list link;         /* of whoever holds it now */
	struct claimed_job *job;  /* its arena holds this struct too */
	struct definitions *defs; /* reference */
	const struct job_type *type;
	int64_t timeout_ms;
	const char *steps;        /* JSON object text, NULL: none; replaced when a step commits */
	struct receipt *receipts; /* all known */
	size_t receipt_count;
	size_t receipts_saved; /* of them already in the store */
	size_t receipts_taken; /* of them there, or in a transaction that is under way */
	enum task_cancel cancel;
	int again_count;
	int64_t taken_ns, started_ns, ended_ns; /* monotonic; 0: not yet */
	struct task_outcome outcome;
	struct completion completion; /* built by consumers/settle, answered by the store */
	void *host;                   /* pool's: where it runs, or NULL */
};

enum task_ask_kind { TASK_ASK_QUERY = 1, TASK_ASK_CALL, TASK_ASK_STEP };

struct task_call {
	const char *step; /* the idempotency key is derived from job id and step */
	const char *method, *url;
	const char *const *headers; /* "Name: value", NULL-terminated */
	const char *body;           /* NULL: none */
	size_t body_bytes;
	int timeout_ms; /* 0: 30 s; bounded by what is left of the job's */
};

/* A question of a running handler; exactly one pool_answer per ask, unless the task has ended
 * meanwhile (then the answer is dropped). */
struct task_ask {
	struct task *task;
	enum task_ask_kind kind;
	int64_t number;                /* the handler's "ask" */
	struct sql_statement query;    /* QUERY */
	struct task_call call;         /* CALL */
	const char *step, *step_value; /* STEP: name and JSON text */
	struct write_set writes;       /* STEP */
};

#endif
