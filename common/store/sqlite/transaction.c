/* SPDX-License-Identifier: Apache-2.0 */
/* The write transaction: taken inside the mutex that all Windlass processes share, so that writers
 * queue fairly and never poll. It draws places in the order, collects changes of the queues'
 * figures and of leases, and writes these once, before COMMIT. A failed COMMIT is never repeated
 * here: what it means is told to the caller. */
#include "common/store/sqlite/sqlite_impl.h"

#include <stdlib.h>
#include <string.h>

static int set_durability(struct sqlite_store *store, bool relaxed, struct error *err_r)
{
	if (store->relaxed == relaxed)
		return 0;
	if (sqlite3_exec(store->db,
			 relaxed ? "PRAGMA synchronous = NORMAL" : "PRAGMA synchronous = FULL",
			 NULL, NULL, NULL))
		return sqlite_fail(store, err_r, "synchronous");
	store->relaxed = relaxed;
	return 0;
}

static void forget(struct sqlite_store *store)
{
	struct sqlite_tx *tx = &store->tx;

	for (size_t i = 0; i < tx->tally_count; i++)
		free(tx->tallies[i].queue);
	free(tx->tallies);
	free(tx->marked);
	free(tx->leases);
	arena_free(&tx->arena);
	memset(tx, 0, sizeof(*tx));
}

int sqlite_begin(struct sqlite_store *store, enum sqlite_durability durability, struct error *err_r)
{
	if (sqlite_ensure(store, err_r) ||
	    set_durability(store, durability == SQLITE_RELAXED, err_r) ||
	    bell_file_lock(store->shared, SQLITE_LOCK_LIMIT_MS, err_r))
		return -1;
	if (sqlite_run(store, err_r, "BEGIN IMMEDIATE", "")) {
		bell_file_unlock(store->shared);
		return -1;
	}
	store->tx = (struct sqlite_tx){
		.open = true, .now_ms = clock_wall_ms(), .seq = -1, .arena = arena_new(0)
	};
	return 0;
}

void sqlite_rollback(struct sqlite_store *store)
{
	struct error ignored;

	CHECK(store->tx.open);
	if (!sqlite3_get_autocommit(store->db) && sqlite_run(store, &ignored, "ROLLBACK", ""))
		store->broken = true;
	forget(store);
	/* The log may hold the room that is missing. */
	if (store->full && !store->broken)
		sqlite3_wal_checkpoint_v2(store->db, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
	store->full = false;
	if (store->broken)
		sqlite_disconnect(store);
	bell_file_unlock(store->shared);
}

static int flush_tallies(struct sqlite_store *store, struct error *err_r)
{
	for (size_t i = 0; i < store->tx.tally_count; i++) {
		const struct sqlite_tally *t = &store->tx.tallies[i];

		if (!t->available && !t->scheduled && !t->running)
			continue;
		if (sqlite_run(
			    store, err_r,
			    "INSERT INTO windlass_queue (name, available, scheduled, running) VALUES (?1, ?2, ?3, ?4) "
			    "ON CONFLICT (name) DO UPDATE SET available = available + ?2, scheduled = scheduled + ?3, "
			    "running = running + ?4",
			    "siii", t->queue, t->available, t->scheduled, t->running))
			return -1;
	}
	return 0;
}

/* Leases, figures, sequence. */
static int sqlite_flush(struct sqlite_store *store, struct error *err_r)
{
	if (sqlite_lease_flush(store, err_r) || flush_tallies(store, err_r))
		return -1;
	if (store->tx.seq_drawn &&
	    sqlite_run(store, err_r, "UPDATE windlass_sequence SET value = ?1 WHERE name = 'seq'",
		       "i", store->tx.seq))
		return -1;
	return 0;
}

int sqlite_commit(struct sqlite_store *store, struct error *err_r)
{
	if (sqlite_flush(store, err_r)) {
		sqlite_rollback(store);
		return -1;
	}
	if (sqlite_run(store, err_r, "COMMIT", "")) {
		/* The log may or may not hold the transaction when the next process reads it. */
		if (err_r->code == ERROR_UNAVAILABLE)
			err_r->code = ERROR_UNKNOWN;
		sqlite_rollback(store);
		return -1;
	}
	forget(store);
	bell_file_unlock(store->shared);
	return 0;
}

int sqlite_seq(struct sqlite_store *store, int64_t *seq_r, struct error *err_r)
{
	struct sqlite_tx *tx = &store->tx;

	if (tx->seq < 0) {
		int rc =
			sqlite_number(store, err_r, &tx->seq,
				      "SELECT value FROM windlass_sequence WHERE name = 'seq'", "");

		if (rc < 0)
			return -1;
		CHECK(rc == 1);
	}
	*seq_r = ++tx->seq;
	tx->seq_drawn = true;
	return 0;
}

static struct sqlite_tally *tally_of(struct sqlite_tx *tx, const char *queue)
{
	for (size_t i = tx->tally_count; i-- > 0;)
		if (strcmp(tx->tallies[i].queue, queue) == 0)
			return &tx->tallies[i];
	if (tx->tally_count == tx->tally_cap) {
		tx->tally_cap = tx->tally_cap ? tx->tally_cap * 2 : 8;
		tx->tallies = xrealloc(tx->tallies, tx->tally_cap * sizeof(*tx->tallies));
	}
	tx->tallies[tx->tally_count] = (struct sqlite_tally){ .queue = xstrdup(queue) };
	return &tx->tallies[tx->tally_count++];
}

void sqlite_count(struct sqlite_store *store, const char *queue, int available, int scheduled,
		  int running)
{
	struct sqlite_tally *t = tally_of(&store->tx, queue);

	t->available += available;
	t->scheduled += scheduled;
	t->running += running;
}

void sqlite_count_mark(struct sqlite_store *store)
{
	struct sqlite_tx *tx = &store->tx;

	tx->marked_count = tx->tally_count;
	tx->marked = xrealloc(tx->marked, (tx->tally_count + 1) * sizeof(*tx->marked));
	for (size_t i = 0; i < tx->tally_count; i++)
		tx->marked[i] = tx->tallies[i];
}

void sqlite_count_back(struct sqlite_store *store)
{
	struct sqlite_tx *tx = &store->tx;

	for (; tx->tally_count > tx->marked_count; tx->tally_count--)
		free(tx->tallies[tx->tally_count - 1].queue);
	for (size_t i = 0; i < tx->tally_count; i++)
		tx->tallies[i] = tx->marked[i];
}
