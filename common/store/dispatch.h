/* SPDX-License-Identifier: Apache-2.0 */
/* Dispatch: due jobs go to a broker under a lease that belongs to the broker (an owner without a
 * session, valid until a time by the store's clock), and come back when nothing comes of it: a
 * lease that has run out is released by maintenance_release like any other. Called by
 * producers/dispatch; several dispatchers at once are safe. */
#ifndef COMMON_STORE_DISPATCH_H
#define COMMON_STORE_DISPATCH_H
#include "common/store/claim.h"

struct dispatch_request {
	struct uuid owner; /* stands for the broker, the same in all dispatchers */
	struct uuid batch; /* the lease's id, made by the caller */
	const char *queue; /* paused ones give nothing */
	size_t max;        /* 1..1000 */
	int64_t lease_ms;
	struct claim_cursor *cursor;
};
/* As claim_take, for one queue, in the order of (priority, seq); a durable commit is not needed:
 * what a crash of the server undoes is dispatched again, and the messages of the first time find no
 * lease. Jobs whose cancel is asked are not taken. After ERROR_UNKNOWN:
 * session_release_batch(batch). */
int dispatch_take(struct store *store, const struct dispatch_request *request, struct arena *arena,
		  struct claim *claim_r, struct error *err_r) must_check;
/* These jobs of the lease could not be put on the broker, for certain or perhaps: they wait again,
 * at once, with their place in the order (a message that got there after all finds no lease). */
int dispatch_return(struct store *store, const struct uuid *batch, const struct uuid *ids,
		    size_t count, struct error *err_r) must_check;

struct dispatch_view {
	const char *queue;
	int64_t out;       /* jobs on the broker, or taken from it and not yet ended */
	int64_t oldest_ms; /* age of the oldest lease with such jobs; -1: none */
};
/* What is out, a queue each, of all leases of this owner; deletes the leases that are done with.
 * The caller decides how often: it costs a look-up a job that is out. */
int dispatch_survey(struct store *store, const struct uuid *owner, struct arena *arena,
		    struct dispatch_view **views_r, size_t *count_r,
		    struct error *err_r) must_check;

#endif
