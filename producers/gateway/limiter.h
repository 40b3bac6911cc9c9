/* SPDX-License-Identifier: Apache-2.0 */
/* How much one caller may ask of this gateway: requests a second (a token bucket), and jobs that it
 * has enqueued here and that have not ended. Only callers that have limits are known to it, each
 * process counts by itself, and a restart forgets. */
#ifndef PRODUCERS_GATEWAY_LIMITER_H
#define PRODUCERS_GATEWAY_LIMITER_H
#include "producers/gateway/caller.h"

#define LIMITER_ACCOUNTS 65536  /* callers remembered, the latest ones */
#define LIMITER_JOBS     500000 /* unfinished jobs counted, of all callers; further ones are not */

struct limiter;

struct limiter_room {
	int64_t limit;         /* requests at once */
	int64_t remaining;     /* of them, now */
	int64_t reset_s;       /* until all are there again */
	int64_t retry_after_s; /* when refused */
};

struct limiter *limiter_new(void);
void limiter_free(struct limiter **limiter); /* NULL-safe */
/* One request of this caller, which has a rate. False: too many. Any thread. */
bool limiter_take(struct limiter *limiter, const struct caller *caller, int64_t now_ns,
		  struct limiter_room *room_r);
/* May this caller, which has a quota, enqueue so many more? Any thread. */
bool limiter_has_room(struct limiter *limiter, const struct caller *caller, size_t count);
/* A job of this caller was accepted. Any thread. */
void limiter_accepted(struct limiter *limiter, const struct caller *caller, const struct uuid *id);
/* These have ended; ids that are not known do no harm. Any thread. */
void limiter_ended(struct limiter *limiter, const struct uuid *ids, size_t count);
/* The next of the counted jobs, round and round, for those who look whether they have ended. */
size_t limiter_next(struct limiter *limiter, struct uuid *ids_r, size_t max);

#endif
