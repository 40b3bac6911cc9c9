/* SPDX-License-Identifier: Apache-2.0 */
/* Control: what a client or an operator does to jobs and queues after acceptance. Each is one
 * transaction. `reach` limits what can be seen: a job outside of it is not found; NULL sees all. */
#ifndef COMMON_STORE_CONTROL_H
#define COMMON_STORE_CONTROL_H
#include "common/base/arena.h"
#include "common/job/job.h"
#include "common/store/audit.h"
#include "common/store/claim.h"
#include "common/store/query.h"
#include "common/store/store.h"

/* why control_retry refuses a job that was compensated */
#define CONTROL_COMPENSATED \
	"it was compensated: its steps were undone; copy it, which makes a new job"

/* Waiting, or queued on a broker -> *state_r = JOB_CANCELLED at once (with on_discard and webhooks
 * as in completion.h; a worker that has just taken it from the broker is told as well); running ->
 * *state_r = JOB_RUNNING and the request is noted for its worker (bell: cancel); terminal ->
 * ERROR_CONFLICT with *state_r; ERROR_NOT_FOUND. */
int control_cancel(struct store *store, const struct reach *reach, const struct uuid *id,
		   const char *reason, enum job_state *state_r, struct error *err_r) must_check;
/* scheduled or retryable -> due now; (not parked: control_resolve) discarded or cancelled -> its
 * completion row is removed and it waits again, with a fresh failure budget (attempt goes on
 * counting); available -> nothing to do. running or completed -> ERROR_CONFLICT with *state_r. So
 * is one that was compensated (its on_discard job was enqueued): its steps and receipts are no
 * longer in force, its idempotency keys are used up. The message says so. */
int control_retry(struct store *store, const struct reach *reach, const struct uuid *id,
		  enum job_state *state_r, struct error *err_r) must_check;
/* What a person has found out about a call that was sent and not answered. */
struct call_verdict {
	const char *step;
	/* of the answer that it would have got; RECEIPT_NOT_SENT: it never came there */
	int status;
	const char *body; /* of that answer */
	size_t body_bytes;
};
/* A parked job: the verdict takes the place of the intent, and when it was the last one the job may
 * run again (*state_r = JOB_AVAILABLE, else JOB_PARKED). ERROR_CONFLICT with *state_r: it is not
 * parked; ERROR_INVALID: no call of that step waits for a decision; ERROR_NOT_FOUND. */
int control_resolve(struct store *store, const struct reach *reach, const struct uuid *id,
		    const struct call_verdict *verdict, enum job_state *state_r,
		    struct error *err_r) must_check;
/* Discarded (or as filter->state says: discarded or cancelled) jobs that match go back to waiting;
 * rate_per_s > 0 spreads their due times. Compensated ones are left out. dry_run only counts. At
 * most filter->limit of them (0: 10,000); *count_r. Where none are found, and when it is dry, there
 * is no audit. */
int control_redrive(struct store *store, const struct job_filter *filter, double rate_per_s,
		    bool dry_run, const struct audit *audit, int64_t *count_r,
		    struct error *err_r) must_check;
/* Paused queues are not claimed from; persisted; unknown names are made (a queue is a name). */
int control_pause(struct store *store, const char *queue, bool paused, const struct audit *audit,
		  struct error *err_r) must_check;

/* Cancel requests for running jobs: which of these ids are asked to stop. Fills asked_r[i]. */
int control_cancels(struct store *store, const struct uuid *ids, size_t count, bool *asked_r,
		    struct error *err_r) must_check;

#endif
