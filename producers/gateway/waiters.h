/* SPDX-License-Identifier: Apache-2.0 */
/* Requests that wait for jobs to end. The bell says which ids have ended; one thread looks those up
 * that somebody waits for, all at once, and tells. A lost ring is repaired by looking at all of
 * them every second.
 *
 * So that no end is missed between "it has not ended yet" and "tell me": waiters_hold first, then
 * look, then waiters_release. */
#ifndef PRODUCERS_GATEWAY_WAITERS_H
#define PRODUCERS_GATEWAY_WAITERS_H
#include "common/base/list.h"
#include "common/service/metrics.h"
#include "common/store/bell.h"
#include "common/store/query.h"
#include "producers/gateway/limiter.h"

enum waiter_why {
	WAITER_ENDED = 1, /* *view is the job; valid during told() only */
	WAITER_LATE,      /* its time is over, the client is gone, or the gateway drains */
};

struct waiter;
typedef void waiter_told_fn(struct waiter *waiter, enum waiter_why why,
			    const struct job_view *view);
typedef bool waiter_gone_fn(struct waiter *waiter);

struct waiter { /* lies in the request; the caller fills in the first five */
	struct uuid id;
	int64_t until_ms; /* monotonic */
	waiter_told_fn
		*told; /* once after waiters_release; on the waiters' thread; must not block */
	waiter_gone_fn *gone; /* asked about once a second */
	void *owner;
	/* the table's */
	struct list link;
	struct waiter *next; /* others for the same id */
	int state;
};

struct waiters;

/* Tells the limiter of ended jobs as well. */
struct waiters *waiters_start(const char *database_url, struct bell *bell, struct limiter *limiter,
			      struct metrics *metrics);
/* From now on an end of waiter->id is noticed, but not told before waiters_release. */
void waiters_hold(struct waiters *waiters, struct waiter *waiter);
void waiters_release(struct waiters *waiters,
		     struct waiter *waiter); /* the waiter is given away until told() */
void waiters_forget(struct waiters *waiters,
		    struct waiter *waiter); /* instead of release: takes it back */
size_t waiters_count(struct waiters *waiters);
/* tells all, and later ones at once, that it is WAITER_LATE; any thread */
void waiters_drain(struct waiters *waiters);
void waiters_stop(struct waiters **waiters); /* drains and ends; NULL-safe */

#endif
