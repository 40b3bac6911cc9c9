/* SPDX-License-Identifier: Apache-2.0 */
/* Admission: the one rule for every delivery from a broker, DESIGN section 5, asked of the store
 * for a whole batch at once. A dispatched message is worth its lease: it may run as long as the
 * lease that it names still holds the job for this attempt, and nothing has ended it. A foreign
 * message may run unless its id is known: ended, or held by the store. */
#ifndef COMMON_STORE_ADMISSION_H
#define COMMON_STORE_ADMISSION_H
#include "common/store/claim.h"

enum admission_verdict {
	ADMISSION_RUN = 1,
	ADMISSION_KNOWN, /* ended, or the store holds it under another hand-out: ack, do not run */
	/* foreign: no row, and its id's time (if it has one) is older than the retention horizon */
	ADMISSION_TOO_OLD,
	/* foreign, in an ordered queue: earlier jobs of its key wait in the store;  it has to be
	   stored behind them */
	ADMISSION_BEHIND,
};

struct admission {
	struct uuid id;
	struct uuid batch; /* dispatched: the lease that the message names; nil: foreign */
	int attempt;       /* dispatched: the message's */
	/* foreign, when its queue is ordered and it has a key; else NULL */
	const char *queue, *order_key;
	/* answer */
	enum admission_verdict verdict;
	/* dispatched and RUN: the job as the store has it, with its history, in an arena of its own
	 * as after a claim (batch: the lease of the message); the message's own data is not looked
	 * at. NULL otherwise. */
	struct claimed_job *job;
};

/* Reads only. keep_ms: how far back the store can tell. No two items of one id. 0; -1: weather,
 * nothing is answered. */
int admission_check(struct store *store, struct admission *items, size_t count, int64_t keep_ms,
		    struct error *err_r) must_check;

#endif
