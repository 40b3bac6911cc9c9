/* SPDX-License-Identifier: Apache-2.0 */
/* The vocabulary of a job: states, outcomes, priorities, and the job as it is handed in. Plain
 * data, no behaviour beyond names. Everything here is shared by producers, consumers, workers and
 * the store. */
#ifndef COMMON_JOB_JOB_H
#define COMMON_JOB_JOB_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/uuid.h"

/* numbers are stored: append only */
enum job_state {
	JOB_SCHEDULED = 1, /* due later */
	JOB_AVAILABLE,     /* may be taken */
	JOB_QUEUED,        /* on a broker */
	JOB_RUNNING,       /* taken by a worker */
	JOB_RETRYABLE,     /* failed, due later */
	JOB_WAITING,       /* for other jobs */
	JOB_PARKED,        /* a call's fate is unknown; a person decides */
	JOB_COMPLETED,     /* terminal from here on */
	JOB_DISCARDED,
	JOB_CANCELLED,
};

enum job_priority { PRIORITY_HIGH = 0, PRIORITY_NORMAL = 1, PRIORITY_LOW = 2, PRIORITY_COUNT = 3 };

/* what an attempt ended in */
enum job_outcome {
	OUTCOME_DONE = 1,
	OUTCOME_RETRY,   /* the handler asked for it, or timed out, or its SQL failed */
	OUTCOME_CRASHED, /* a strike */
	OUTCOME_DISCARD,
	OUTCOME_SNOOZE, /* later, not an attempt that counts */
	OUTCOME_CANCELLED,
	OUTCOME_RELEASED, /* given back unstarted, or its worker died: does not count */
};

enum unique_conflict { UNIQUE_RETURN = 0, UNIQUE_REPLACE };

/* what a waiting job does when one that it waits for is discarded or cancelled; numbers are stored
 */
enum edge_failure {
	EDGE_DISCARD = 1, /* it is discarded, too */
	EDGE_RUN,         /* as if that one had completed, without a result */
	EDGE_WAIT,        /* it goes on waiting: that one may be retried */
};

#define JOB_TYPE_MAX    128 /* bytes of a job type, queue, tenant, owner, tag or key name */
#define JOB_KEY_MAX     255 /* bytes of an idempotency, order, fair or unique key */
#define JOB_TAGS_MAX    16
#define JOB_STRIKES_MAX 3   /* the third strike discards */
#define JOB_AFTER_MAX   256 /* jobs that one job waits for */
#define JOB_THEN_MAX    16  /* jobs that wait for one, in one request */
#define JOB_THEN_DEPTH  8
#define JOB_AGAIN_MAX   5 /* unmet row expectations before it becomes a retry */

/* One job that another waits for. */
struct job_after {
	struct uuid id;
	const char *name; /* in ${after.<name>.…} of the payload */
	enum edge_failure on_failure;
};

/* A job to be accepted, complete and checked. All strings are borrowed and live as long as the
 * submission. */
struct new_job {
	struct uuid id;
	const char *tenant; /* "" for the default tenant */
	/* who submitted it: key id, "job:<id>", "sql", "schedule:<name>"; never NULL */
	const char *owner;
	const char *queue;
	const char *type;
	const char *payload; /* JSON text as it was sent */
	size_t payload_bytes;
	enum job_priority priority;
	int64_t due_ms;         /* wall time; 0: now */
	int64_t delay_ms;       /* > 0: due = the store's now + this (wins over due_ms) */
	int max_attempts;       /* 0: the type's */
	int64_t timeout_ms;     /* 0: the type's */
	const char *tags;       /* JSON array text of strings, or NULL */
	const char *order_key;  /* or NULL */
	const char *fair_key;   /* or NULL */
	const char *unique_key; /* or NULL; scoped to tenant and type */
	int64_t unique_for_ms;  /* 0: until the job has ended */
	enum unique_conflict unique_conflict;
	const char *callback;    /* URL that is told of its end, or NULL */
	const char *traceparent; /* or NULL */
	bool client_id;          /* the client made the id: compare fingerprints on conflict */
	uint8_t fingerprint[32]; /* of the request, when client_id */
	/* it waits until these have completed; none: it does not */
	const struct job_after *after;
	size_t after_count;
	bool after_any; /* they may be any of the tenant's jobs; else only the owner's own */
	/* jobs that are stored with it and wait for it, chain_then_id() */
	struct new_job *then;
	size_t then_count;
	struct uuid run; /* the batch run that it belongs to; nil: none */
};

/* Names for people and APIs: "available", "high", "retry" ... */
const char *job_state_name(enum job_state state);
const char *job_outcome_name(enum job_outcome outcome);
const char *job_priority_name(enum job_priority priority);
bool job_state_parse(const char *text, enum job_state *state_r);
bool job_priority_parse(const char *text, enum job_priority *priority_r);
static inline bool job_state_terminal(enum job_state state)
{
	return state >= JOB_COMPLETED;
}
/* A queue, type, tag or tenant name: 1..JOB_TYPE_MAX bytes of [A-Za-z0-9._:-], first a letter or
 * digit. */
bool job_name_valid(const char *text);
/* A W3C traceparent of version 00. */
bool job_traceparent_valid(const char *text);

#endif
