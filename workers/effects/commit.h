/* SPDX-License-Identifier: Apache-2.0 */
/* The policy of the group commit: which jobs go into one transaction, and what happens when one of
 * them spoils it. All together without savepoints first; those known to be at fault are taken out;
 * then a savepoint a job, at most 50 a transaction; then one by one. Contention halves. Called by
 * the effects thread and by its test with a fake store; knows no thread and no clock but jitter. */
#ifndef WORKERS_EFFECTS_COMMIT_H
#define WORKERS_EFFECTS_COMMIT_H
#include "common/broker/subscriber.h"
#include "common/service/metrics.h"
#include "workers/effects/effect.h"

#define COMMIT_ITEMS_MAX       256
#define COMMIT_CAREFUL_MAX     50 /* PostgreSQL caches 64 sub-transactions a backend */
#define COMMIT_HALVINGS_MAX    5  /* in place; what is left then waits for the next round */
#define COMMIT_CONTENTIONS_MAX 20 /* rounds; then the job is given back */

struct committer {
	struct store *store;
	struct subscriber *subscriber;
	const struct consumer_ops *consumers;
	struct metrics *metrics;
	void (*pause)(int ms); /* between two tries */
	double failure_rate;   /* EWMA of jobs whose SQL failed or whose expectation was unmet */
};

/* One round: a batch of effects and the claim that may ride with it. */
struct commit_round {
	struct effect **items;
	size_t count;        /* 0..COMMIT_ITEMS_MAX, no two of one job */
	size_t claim_max;    /* jobs that may be claimed; 0 once a claim has been committed */
	struct arena *arena; /* of this round */
	struct claim claim;  /* answer: what was claimed */
	bool claimed;        /* answer: a claim was made, perhaps of nothing */
};

/* 0: each item has its fate, or none and is to be tried again in the next round (contention). -1:
 * ERROR_UNAVAILABLE, ERROR_FULL or ERROR_UNKNOWN; items without fate are to be tried again when the
 * weather is better. Either way those with a fate are settled with the subscriber, and round->claim
 * holds what was claimed. */
int commit_round(struct committer *committer, struct commit_round *round,
		 struct error *err_r) must_check;
/* Settles a COMPLETION_NOTHING, of which the store hears nothing. */
void commit_nothing(struct committer *committer, struct effect *item);

#endif
