/* SPDX-License-Identifier: Apache-2.0 */
/* The leases that one engine holds in the store: how many of each lease's jobs are still open,
 * which leases can be deleted (with the next transaction, or in an idle moment within a second),
 * and which claims got lost with an unanswered COMMIT. Used by every subscriber; the thread's that
 * owns the subscriber. */
#ifndef CONSUMERS_SUBSCRIBE_LEASE_BOOK_H
#define CONSUMERS_SUBSCRIBE_LEASE_BOOK_H
#include "common/broker/subscriber.h"

struct lease_book;

/* Borrows the store, which must outlive it. */
struct lease_book *lease_book_new(struct store *store, const struct uuid *session);
void lease_book_free(struct lease_book **book);
/* A lease with so many open jobs (> 0) is in the store. */
void lease_book_add(struct lease_book *book, const struct uuid *batch, size_t jobs);
/* Perhaps there is a lease of this batch, and nobody will work on it: it is released. */
void lease_book_orphan(struct lease_book *book, const struct uuid *batch, int64_t now_mono_ms);
/* Adds the leases that are finished, or will be with this batch, to it; stays good until `rode`. */
void lease_book_ride(struct lease_book *book, struct completion_batch *batch);
/* The batch's end: error NULL when it is committed. */
void lease_book_rode(struct lease_book *book, const struct completion_batch *batch,
		     const struct error *error);
/* One of the lease's jobs is settled. False: no lease of ours. */
bool lease_book_settle(struct lease_book *book, const struct uuid *batch);
/* Is it time for a transaction of its own, lease_book_flush? */
bool lease_book_due(const struct lease_book *book, int64_t now_mono_ms);
/* Releases orphans and sweeps. *next_ms_r: when something is due again, the flush included; -1:
 * nothing is. -1: weather. */
int lease_book_tend(struct lease_book *book, int64_t now_mono_ms, int64_t *next_ms_r,
		    struct error *err_r) must_check;
/* Commits a transaction that holds nothing but what the subscriber lets ride. */
int lease_book_flush(struct lease_book *book, struct subscriber *subscriber,
		     struct error *err_r) must_check;

#endif
