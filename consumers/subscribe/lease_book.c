/* SPDX-License-Identifier: Apache-2.0 */
/* Counting leases. A claim whose COMMIT nobody answered is released by its id at once; since the
 * server may still be busy committing it then, all leases that we do not know are swept later. */
#include "consumers/subscribe/lease_book.h"

#include <stdlib.h>

#include "common/base/arena.h"
#include "common/base/clock.h"
#include "common/base/idmap.h"
#include "common/base/list.h"
#include "common/store/session.h"

#define FINISHED_MAX   1024  /* leases deleted in one transaction */
#define FLUSH_MS       500   /* then a finished lease waits no longer for a transaction */
#define ORPHANS_MAX    16    /* more are left to the sweep */
#define SWEEP_AFTER_MS 15000 /* the store spares leases younger than 10 s */
#define SWEEP_TIMES    3

struct lease {
	struct uuid batch;
	size_t open;      /* jobs that are not settled */
	size_t riding;    /* of them in the batch that is being committed */
	bool deleted;     /* by a committed batch */
	struct list link; /* in `finished` once open == 0 */
};

struct lease_book {
	struct store *store;
	struct uuid session;
	struct idmap *leases;                   /* batch -> struct lease, open or finished */
	struct list finished;                   /* to be deleted */
	int64_t flush_ms;                       /* when, 0: nothing is finished */
	struct uuid finished_ids[FINISHED_MAX]; /* of the batch that is being committed */
	struct uuid orphans[ORPHANS_MAX];
	size_t orphan_count;
	int64_t sweep_ms; /* when, 0: not */
	int sweeps_left;
};

struct lease_book *lease_book_new(struct store *store, const struct uuid *session)
{
	struct lease_book *book = xcalloc(1, sizeof(*book));

	book->store = store;
	book->session = *session;
	book->leases = idmap_new();
	list_init(&book->finished);
	return book;
}

void lease_book_free(struct lease_book **book)
{
	struct uuid id;
	size_t cursor = 0;
	void *lease;

	if (!*book)
		return;
	while (idmap_next((*book)->leases, &cursor, &id, &lease))
		free(lease);
	idmap_free(&(*book)->leases);
	free(*book);
	*book = NULL;
}

void lease_book_add(struct lease_book *book, const struct uuid *batch, size_t jobs)
{
	struct lease *lease = xcalloc(1, sizeof(*lease));

	CHECK(jobs > 0);
	lease->batch = *batch;
	lease->open = jobs;
	list_init(&lease->link);
	CHECK(!idmap_put(book->leases, batch, lease));
}

static void lease_free(struct lease_book *book, struct lease *lease)
{
	list_remove(&lease->link);
	idmap_take(book->leases, &lease->batch);
	free(lease);
}

void lease_book_orphan(struct lease_book *book, const struct uuid *batch, int64_t now_mono_ms)
{
	if (book->orphan_count < ORPHANS_MAX)
		book->orphans[book->orphan_count++] = *batch;
	book->sweeps_left = SWEEP_TIMES;
	book->sweep_ms = now_mono_ms + SWEEP_AFTER_MS;
}

/* Of a completion after which its job is open no longer. */
static struct lease *lease_of(struct lease_book *book, const struct completion *completion)
{
	bool ends = completion->kind == COMPLETION_FINISH || completion->kind == COMPLETION_LATER;

	return ends ? idmap_get(book->leases, &completion->job->batch) : NULL;
}

/* Leases whose last open jobs are in this batch go with it; not in careful mode, where a job may
 * stay behind. */
static size_t finishing(struct lease_book *book, const struct completion_batch *batch, size_t count)
{
	for (size_t i = 0; batch->mode == COMPLETION_OPTIMISTIC && i < batch->count; i++) {
		struct lease *lease = lease_of(book, batch->items[i]);

		if (lease && ++lease->riding == lease->open && count < FINISHED_MAX)
			book->finished_ids[count++] = lease->batch;
	}
	return count;
}

void lease_book_ride(struct lease_book *book, struct completion_batch *batch)
{
	size_t count = 0;

	for (struct list *at = book->finished.next; at != &book->finished && count < FINISHED_MAX;
	     at = at->next)
		book->finished_ids[count++] = list_entry(at, struct lease, link)->batch;
	batch->finished_lease_count = finishing(book, batch, count);
	batch->finished_leases = book->finished_ids;
}

void lease_book_rode(struct lease_book *book, const struct completion_batch *batch,
		     const struct error *error)
{
	for (size_t i = 0; i < batch->count; i++) {
		struct lease *lease = lease_of(book, batch->items[i]);

		if (lease)
			lease->riding = 0;
	}
	for (size_t i = 0; !error && i < batch->finished_lease_count; i++) {
		struct lease *lease = idmap_get(book->leases, &batch->finished_leases[i]);

		if (lease->open)
			lease->deleted = true; /* its jobs are about to be settled */
		else
			lease_free(book, lease);
	}
	if (list_empty(&book->finished))
		book->flush_ms = 0;
}

bool lease_book_settle(struct lease_book *book, const struct uuid *batch)
{
	struct lease *lease = idmap_get(book->leases, batch);

	if (!lease)
		return false;
	CHECK(lease->open > 0);
	if (--lease->open > 0)
		return true;
	if (lease->deleted) {
		lease_free(book, lease);
		return true;
	}
	list_append(&book->finished, &lease->link);
	if (!book->flush_ms)
		book->flush_ms = clock_mono_ms() + FLUSH_MS;
	return true;
}

static int release_orphans(struct lease_book *book, struct error *err_r)
{
	while (book->orphan_count > 0) {
		if (session_release_batch(book->store, &book->orphans[book->orphan_count - 1],
					  err_r) < 0)
			return -1;
		book->orphan_count--;
	}
	return 0;
}

static int sweep(struct lease_book *book, int64_t now_ms, struct error *err_r)
{
	size_t count = idmap_count(book->leases), at = 0, cursor = 0;
	struct uuid *known = xcalloc(count + 1, sizeof(*known));
	int64_t released = 0;
	void *lease;
	int rc;

	while (at < count && idmap_next(book->leases, &cursor, &known[at], &lease))
		at++;
	rc = session_sweep(book->store, &book->session, known, at, &released, err_r);
	free(known);
	if (rc < 0)
		return -1;
	book->sweep_ms = --book->sweeps_left > 0 ? now_ms + SWEEP_AFTER_MS : 0;
	return 0;
}

static int64_t sooner_ms(int64_t wait_ms, int64_t due_ms, int64_t now_ms)
{
	int64_t left_ms = due_ms > now_ms ? due_ms - now_ms : 0;

	return due_ms && (wait_ms < 0 || left_ms < wait_ms) ? left_ms : wait_ms;
}

bool lease_book_due(const struct lease_book *book, int64_t now_mono_ms)
{
	return book->flush_ms && now_mono_ms >= book->flush_ms;
}

int lease_book_tend(struct lease_book *book, int64_t now_mono_ms, int64_t *next_ms_r,
		    struct error *err_r)
{
	if (release_orphans(book, err_r) < 0)
		return -1;
	if (book->sweep_ms && now_mono_ms >= book->sweep_ms && sweep(book, now_mono_ms, err_r) < 0)
		return -1;
	*next_ms_r =
		sooner_ms(sooner_ms(-1, book->sweep_ms, now_mono_ms), book->flush_ms, now_mono_ms);
	return 0;
}

int lease_book_flush(struct lease_book *book, struct subscriber *subscriber, struct error *err_r)
{
	struct completion_batch batch = { .mode = COMPLETION_OPTIMISTIC };
	struct arena *arena = arena_new(0);
	struct claim claim = { 0 };
	int rc;

	subscriber->ops->ride(subscriber, &batch, 0);
	rc = completion_commit(book->store, &batch, arena, &claim, err_r);
	subscriber->ops->rode(subscriber, &batch, &claim, rc < 0 ? err_r : NULL);
	arena_free(&arena);
	return rc;
}
