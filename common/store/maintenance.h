/* SPDX-License-Identifier: Apache-2.0 */
/* Maintenance: the store's housekeeping, done by every worker's keeper thread; several at once are
 * harmless. */
#ifndef COMMON_STORE_MAINTENANCE_H
#define COMMON_STORE_MAINTENANCE_H
#include "common/base/clock.h"
#include "common/store/store.h"

/* Jobs whose due time has come become available (new place in the order of their queue).
 * *promoted_r; *next_ms_r: ms until the next one is due, -1 when none. At most 5,000 a call. */
int maintenance_promote(struct store *store, int64_t *promoted_r, int64_t *next_ms_r,
			struct error *err_r) must_check;
/* Leases of sessions that ran out: their unfinished jobs go back to ready, or are cancelled when
 * that was asked. Also cancels waiting jobs whose cancel request raced with a retry. */
int maintenance_release(struct store *store, int64_t *released_r, struct error *err_r) must_check;
/* Folds tallies; removes expired idempotency and unique keys, cancel requests and progress of ended
 * jobs; bounded work a call. */
int maintenance_fold(struct store *store, struct error *err_r) must_check;
/* PostgreSQL: makes the day partitions of yesterday to tomorrow + 2, detaches and drops those older
 * than keep_ms after moving unfinished and kept rows (discarded ones stay keep_dead_ms) to the
 * default partition; there, and on SQLite, row by row, bounded. */
int maintenance_retention(struct store *store, int64_t keep_ms, int64_t keep_dead_ms,
			  struct error *err_r) must_check;

#endif
