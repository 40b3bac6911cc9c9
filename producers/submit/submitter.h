/* SPDX-License-Identifier: Apache-2.0 */
/* The submitter: one thread with one store connection that makes accepted jobs durable, for every
 * door. A commit takes what arrived while the previous one ran, at most SUBMIT_REQUESTS_MAX
 * requests, and never waits for more. */
#ifndef PRODUCERS_SUBMIT_SUBMITTER_H
#define PRODUCERS_SUBMIT_SUBMITTER_H
#include "common/config/definitions.h"
#include "common/service/metrics.h"
#include "common/store/acceptance.h"
#include "common/store/bell.h"

#define SUBMIT_REQUESTS_MAX 256
#define SUBMIT_JOBS_MAX     10000 /* jobs a commit; also of one request */
#define SUBMIT_WAITING_MAX  4096  /* requests in the mailbox */
#define SUBMIT_PROBE_MS     5000  /* how long an unanswered COMMIT is looked into */

enum submit_result {
	SUBMIT_DONE = 1,   /* durable or refused for good: acceptance.verdict */
	SUBMIT_QUEUE_FULL, /* `full_queue` has as many waiting jobs as it may */
	/* too many requests wait for the store; set by the caller when submitter_send says so */
	SUBMIT_BUSY,
	SUBMIT_UNAVAILABLE, /* the store is away; nothing was stored, for certain */
	/* stored or not: the answer to COMMIT got lost and the store does not come back */
	SUBMIT_UNKNOWN,
};

struct submission;
typedef void submission_done_fn(struct submission *submission);

struct submission {
	struct acceptance
		acceptance; /* filled in by the sender, which keeps all of it alive until done() */
	const struct definitions *defs; /* for the queues' limits */
	submission_done_fn *done;       /* called once, on the submitter's thread; must not block */
	void *owner;
	/* answer */
	enum submit_result result;
	const char *full_queue;
	struct error error; /* unless SUBMIT_DONE */
};

struct submitter_options {
	const char *database_url;
	int64_t queue_max; /* for queues without a limit of their own */
	struct bell *bell; /* rung after each commit; borrowed */
	struct metrics *metrics;
};

struct submitter;

struct submitter *submitter_start(const struct submitter_options *options);
/* False: too many are waiting (or it is being stopped); done() is not called. Any thread, never
 * blocks. */
bool must_check submitter_send(struct submitter *submitter, struct submission *submission);
/* Commits what was sent, then ends. NULL-safe. */
void submitter_stop(struct submitter **submitter);

#endif
