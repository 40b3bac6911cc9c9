/* SPDX-License-Identifier: Apache-2.0 */
/* Keeps the leases of one engine: how many of each claim's jobs are still open, which leases can be
 * deleted (with the next transaction, or in an idle moment within a second), and which claims got
 * lost with an unanswered COMMIT. Such a claim is released by its id at once; since the server may
 * still be busy committing it then, all leases that we do not know are swept later. */
#include "consumers/subscribe/store_subscriber.h"

#include <pthread.h>
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
#define RETRY_MS       1000

struct lease {
	struct uuid batch;
	size_t open;      /* jobs that are not settled */
	size_t riding;    /* of them in the batch that is being committed */
	bool deleted;     /* by a committed batch */
	struct list link; /* in `finished` once open == 0 */
};

struct store_subscriber {
	struct subscriber base;
	struct store *store;
	struct uuid session;
	struct claim_cursor *cursor;
	struct idmap *leases;                   /* batch -> struct lease, open or finished */
	struct list finished;                   /* to be deleted */
	int64_t flush_ms;                       /* when, 0: nothing is finished */
	struct uuid finished_ids[FINISHED_MAX]; /* of the batch that is being committed */
	struct claim_request request;           /* of the same */
	struct uuid orphans[ORPHANS_MAX];
	size_t orphan_count;
	int64_t sweep_ms; /* when, 0: not */
	int sweeps_left;
	struct definitions *defs;
	const char **queues; /* theirs; requests point to them */
	size_t queue_count;
	pthread_mutex_t lock; /* guards the one below */
	struct definitions *new_defs;
};

static struct store_subscriber *of(struct subscriber *subscriber)
{
	return (struct store_subscriber *)subscriber;
}

static void store_subscriber_serve(struct subscriber *subscriber, struct definitions *defs)
{
	struct store_subscriber *self = of(subscriber);

	pthread_mutex_lock(&self->lock);
	definitions_unref(&self->new_defs);
	self->new_defs = definitions_ref(defs);
	pthread_mutex_unlock(&self->lock);
}

static void adopt_queues(struct store_subscriber *self)
{
	struct definitions *defs;

	pthread_mutex_lock(&self->lock);
	defs = self->new_defs;
	self->new_defs = NULL;
	pthread_mutex_unlock(&self->lock);
	if (!defs)
		return;
	definitions_unref(&self->defs);
	self->defs = defs;
	self->queue_count = definitions_queue_count(defs);
	self->queues = xrealloc(self->queues, (self->queue_count + 1) * sizeof(*self->queues));
	for (size_t i = 0; i < self->queue_count; i++)
		self->queues[i] = definitions_queue_at(defs, i)->name;
}

/* False: no queues to claim from. */
static bool request_make(struct store_subscriber *self, size_t max)
{
	adopt_queues(self);
	self->request = (struct claim_request){
		.session = self->session,
		.queues = self->queues,
		.queue_count = self->queue_count,
		.max = max < 1000 ? max : 1000,
		.cursor = self->cursor,
	};
	uuid_v7(&self->request.batch);
	return max > 0 && self->queue_count > 0;
}

static void lease_add(struct store_subscriber *self, const struct uuid *batch, size_t jobs)
{
	struct lease *lease = xcalloc(1, sizeof(*lease));

	lease->batch = *batch;
	lease->open = jobs;
	list_init(&lease->link);
	CHECK(!idmap_put(self->leases, batch, lease));
}

static void lease_free(struct store_subscriber *self, struct lease *lease)
{
	list_remove(&lease->link);
	idmap_take(self->leases, &lease->batch);
	free(lease);
}

static void orphan_add(struct store_subscriber *self, const struct uuid *batch, int64_t now_ms)
{
	if (self->orphan_count < ORPHANS_MAX)
		self->orphans[self->orphan_count++] = *batch;
	self->sweeps_left = SWEEP_TIMES;
	self->sweep_ms = now_ms + SWEEP_AFTER_MS;
}

static void claim_add(struct store_subscriber *self, const struct uuid *batch,
		      const struct claim *claim)
{
	if (claim->count)
		lease_add(self, batch, claim->count);
	else if (claim->unread)
		orphan_add(self, batch, clock_mono_ms());
}

static int store_subscriber_take(struct subscriber *subscriber, size_t max, struct arena *arena,
				 struct claim *claim_r, struct error *err_r)
{
	struct store_subscriber *self = of(subscriber);

	*claim_r = (struct claim){ 0 };
	if (!request_make(self, max))
		return 0;
	if (claim_take(self->store, &self->request, arena, claim_r, err_r) < 0) {
		if (err_r->code == ERROR_UNKNOWN)
			orphan_add(self, &self->request.batch, clock_mono_ms());
		return -1;
	}
	claim_add(self, &self->request.batch, claim_r);
	return 0;
}

static struct lease *lease_of(struct store_subscriber *self, const struct completion *completion)
{
	return completion->kind == COMPLETION_STEP
		       ? NULL
		       : idmap_get(self->leases, &completion->job->batch);
}

/* Leases whose last open jobs are in this batch go with it; not in careful mode, where a job may
 * stay behind. */
static size_t finishing(struct store_subscriber *self, const struct completion_batch *batch,
			size_t count)
{
	for (size_t i = 0; batch->mode == COMPLETION_OPTIMISTIC && i < batch->count; i++) {
		struct lease *lease = lease_of(self, batch->items[i]);

		if (lease && ++lease->riding == lease->open && count < FINISHED_MAX)
			self->finished_ids[count++] = lease->batch;
	}
	return count;
}

static void store_subscriber_ride(struct subscriber *subscriber, struct completion_batch *batch,
				  size_t max)
{
	struct store_subscriber *self = of(subscriber);
	size_t count = 0;

	for (struct list *at = self->finished.next; at != &self->finished && count < FINISHED_MAX;
	     at = at->next)
		self->finished_ids[count++] = list_entry(at, struct lease, link)->batch;
	batch->finished_lease_count = finishing(self, batch, count);
	batch->finished_leases = self->finished_ids;
	batch->claim = max && request_make(self, max) ? &self->request : NULL;
}

static void store_subscriber_rode(struct subscriber *subscriber,
				  const struct completion_batch *batch, const struct claim *claim,
				  const struct error *error)
{
	struct store_subscriber *self = of(subscriber);

	for (size_t i = 0; i < batch->count; i++) {
		struct lease *lease = lease_of(self, batch->items[i]);

		if (lease)
			lease->riding = 0;
	}
	if (error) {
		if (error->code == ERROR_UNKNOWN && batch->claim)
			orphan_add(self, &batch->claim->batch, clock_mono_ms());
		return;
	}
	for (size_t i = 0; i < batch->finished_lease_count; i++) {
		struct lease *lease = idmap_get(self->leases, &batch->finished_leases[i]);

		if (lease->open)
			lease->deleted = true; /* its jobs are about to be settled */
		else
			lease_free(self, lease);
	}
	if (list_empty(&self->finished))
		self->flush_ms = 0;
	if (batch->claim)
		claim_add(self, &batch->claim->batch, claim);
}

/* What has been committed says it all: the verb makes no difference here. */
static void store_subscriber_settle(struct subscriber *subscriber, const struct claimed_job *job,
				    enum settle_verb verb)
{
	struct store_subscriber *self = of(subscriber);
	struct lease *lease = idmap_get(self->leases, &job->batch);

	(void)verb;
	CHECK(lease && lease->open > 0);
	if (--lease->open > 0)
		return;
	if (lease->deleted) {
		lease_free(self, lease);
		return;
	}
	list_append(&self->finished, &lease->link);
	if (!self->flush_ms)
		self->flush_ms = clock_mono_ms() + FLUSH_MS;
}

static int release_orphans(struct store_subscriber *self, struct error *err_r)
{
	while (self->orphan_count > 0) {
		if (session_release_batch(self->store, &self->orphans[self->orphan_count - 1],
					  err_r) < 0)
			return -1;
		self->orphan_count--;
	}
	return 0;
}

static int sweep(struct store_subscriber *self, int64_t now_ms, struct error *err_r)
{
	size_t count = idmap_count(self->leases), at = 0, cursor = 0;
	struct uuid *known = xcalloc(count + 1, sizeof(*known));
	int64_t released = 0;
	void *lease;
	int rc;

	while (at < count && idmap_next(self->leases, &cursor, &known[at], &lease))
		at++;
	rc = session_sweep(self->store, &self->session, known, at, &released, err_r);
	free(known);
	if (rc < 0)
		return -1;
	self->sweep_ms = --self->sweeps_left > 0 ? now_ms + SWEEP_AFTER_MS : 0;
	return 0;
}

static int flush(struct store_subscriber *self, struct error *err_r)
{
	struct completion_batch batch = { .mode = COMPLETION_OPTIMISTIC };
	struct arena *arena = arena_new(0);
	struct claim claim = { 0 };
	int rc;

	store_subscriber_ride(&self->base, &batch, 0);
	rc = completion_commit(self->store, &batch, arena, &claim, err_r);
	store_subscriber_rode(&self->base, &batch, &claim, rc < 0 ? err_r : NULL);
	arena_free(&arena);
	return rc;
}

static int64_t sooner_ms(int64_t wait_ms, int64_t due_ms, int64_t now_ms)
{
	int64_t left_ms = due_ms > now_ms ? due_ms - now_ms : 0;

	return due_ms && (wait_ms < 0 || left_ms < wait_ms) ? left_ms : wait_ms;
}

static int store_subscriber_tend(struct subscriber *subscriber, int64_t now_mono_ms,
				 int64_t *next_ms_r, struct error *err_r)
{
	struct store_subscriber *self = of(subscriber);

	*next_ms_r = RETRY_MS;
	if (release_orphans(self, err_r) < 0)
		return -1;
	if (self->sweep_ms && now_mono_ms >= self->sweep_ms && sweep(self, now_mono_ms, err_r) < 0)
		return -1;
	if (self->flush_ms && now_mono_ms >= self->flush_ms && flush(self, err_r) < 0)
		return -1;
	*next_ms_r =
		sooner_ms(sooner_ms(-1, self->sweep_ms, now_mono_ms), self->flush_ms, now_mono_ms);
	return 0;
}

static void store_subscriber_free(struct subscriber *subscriber)
{
	struct store_subscriber *self = of(subscriber);
	struct uuid id;
	size_t cursor = 0;
	void *lease;

	while (idmap_next(self->leases, &cursor, &id, &lease))
		free(lease);
	idmap_free(&self->leases);
	claim_cursor_free(&self->cursor);
	definitions_unref(&self->defs);
	definitions_unref(&self->new_defs);
	free(self->queues);
	pthread_mutex_destroy(&self->lock);
	free(self);
}

static const struct subscriber_ops store_subscriber_ops = {
	.name = "store",
	.take = store_subscriber_take,
	.ride = store_subscriber_ride,
	.rode = store_subscriber_rode,
	.settle = store_subscriber_settle,
	.tend = store_subscriber_tend,
	.serve = store_subscriber_serve,
	.free = store_subscriber_free,
};

struct subscriber *store_subscriber_new(struct store *store, const struct uuid *session)
{
	struct store_subscriber *self = xcalloc(1, sizeof(*self));

	self->base.ops = &store_subscriber_ops;
	self->store = store;
	self->session = *session;
	self->cursor = claim_cursor_new();
	self->leases = idmap_new();
	list_init(&self->finished);
	CHECK(pthread_mutex_init(&self->lock, NULL) == 0);
	return &self->base;
}
