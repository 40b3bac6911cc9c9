/* SPDX-License-Identifier: Apache-2.0 */
/* Chains: jobs that wait for others are freed when those have ended. Nothing of it is done where
 * jobs are completed: a sweep looks for edges whose job has ended, often and cheaply. Called by
 * every worker's keeper; several at once are harmless. */
#ifndef COMMON_STORE_CHAIN_H
#define COMMON_STORE_CHAIN_H
#include "common/base/arena.h"
#include "common/base/uuid.h"
#include "common/store/store.h"

#define CHAIN_HINTS_MAX 4096

struct chain_swept {
	int64_t freed;      /* they may run now */
	struct uuid *ended; /* discarded, because of one that they waited for; in the arena */
	size_t ended_count;
	bool pending; /* there are jobs that wait */
	bool more;    /* this call has not done all that it found: call again */
};

/* Looks at the edges to these jobs, which have just ended, or, without any, at some of all edges,
 * going on where the last call stopped. Jobs whose edges allow it become available, with the
 * results of those that they waited for in their payloads, or are discarded (with all that follows
 * from the end of a job). */
int chain_sweep(struct store *store, const struct uuid *ended, size_t count, struct arena *arena,
		struct chain_swept *swept_r, struct error *err_r) must_check;

#endif
