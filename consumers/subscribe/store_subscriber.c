/* SPDX-License-Identifier: Apache-2.0 */
/* Claims from the store. The next claim rides in the transaction that completes the previous jobs;
 * what is known of the leases is lease_book.c's. */
#include "consumers/subscribe/store_subscriber.h"

#include <stdlib.h>

#include "common/base/arena.h"
#include "common/base/clock.h"
#include "common/config/definitions_slot.h"
#include "consumers/subscribe/lease_book.h"

#define RETRY_MS 1000

struct store_subscriber {
	struct subscriber base;
	struct store *store;
	struct uuid session;
	const char *pool; /* whose queues; "": all */
	struct claim_cursor *cursor;
	struct lease_book *leases;
	struct claim_request request; /* of the batch that is being committed */
	struct definitions *defs;
	const char **queues; /* theirs; requests point to them */
	size_t queue_count;
	struct definitions_slot new_defs;
};

static struct store_subscriber *of(struct subscriber *subscriber)
{
	return (struct store_subscriber *)subscriber;
}

static void store_subscriber_serve(struct subscriber *subscriber, struct definitions *defs)
{
	definitions_slot_put(&of(subscriber)->new_defs, defs);
}

static void adopt_queues(struct store_subscriber *self)
{
	struct definitions *defs = definitions_slot_take(&self->new_defs);

	if (!defs)
		return;
	definitions_unref(&self->defs);
	self->defs = defs;
	self->queue_count = 0;
	self->queues =
		xrealloc(self->queues, (definitions_queue_count(defs) + 1) * sizeof(*self->queues));
	for (size_t i = 0; i < definitions_queue_count(defs); i++) {
		const char *queue = definitions_queue_at(defs, i)->name;

		if (definitions_pool_serves(defs, self->pool, queue))
			self->queues[self->queue_count++] = queue;
	}
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

/* The jobs of a lease follow each other. */
static void claim_add(struct store_subscriber *self, const struct uuid *batch,
		      const struct claim *claim)
{
	for (size_t i = 0, n = 0; i < claim->count; i += n) {
		const struct uuid *lease = &claim->jobs[i]->batch;

		for (n = 1; i + n < claim->count && uuid_equal(&claim->jobs[i + n]->batch, lease);)
			n++;
		lease_book_add(self->leases, lease, n);
	}
	if (!claim->count && claim->unread)
		lease_book_orphan(self->leases, batch, clock_mono_ms());
	if (!uuid_is_nil(&claim->lost))
		lease_book_orphan(self->leases, &claim->lost, clock_mono_ms());
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
			lease_book_orphan(self->leases, &self->request.batch, clock_mono_ms());
		return -1;
	}
	claim_add(self, &self->request.batch, claim_r);
	return 0;
}

static void store_subscriber_ride(struct subscriber *subscriber, struct completion_batch *batch,
				  size_t max)
{
	struct store_subscriber *self = of(subscriber);

	lease_book_ride(self->leases, batch);
	batch->claim = max && request_make(self, max) ? &self->request : NULL;
}

static void store_subscriber_rode(struct subscriber *subscriber,
				  const struct completion_batch *batch, const struct claim *claim,
				  const struct error *error)
{
	struct store_subscriber *self = of(subscriber);

	lease_book_rode(self->leases, batch, error);
	if (!batch->claim)
		return;
	if (!error)
		claim_add(self, &batch->claim->batch, claim);
	else if (error->code == ERROR_UNKNOWN)
		lease_book_orphan(self->leases, &batch->claim->batch, clock_mono_ms());
}

/* What has been committed says it all: the verb makes no difference here. */
static void store_subscriber_settle(struct subscriber *subscriber, const struct claimed_job *job,
				    enum settle_verb verb)
{
	(void)verb;
	CHECK(lease_book_settle(of(subscriber)->leases, &job->batch));
}

static int store_subscriber_tend(struct subscriber *subscriber, int64_t now_mono_ms,
				 int64_t *next_ms_r, struct error *err_r)
{
	struct lease_book *leases = of(subscriber)->leases;

	*next_ms_r = RETRY_MS;
	if (lease_book_due(leases, now_mono_ms) && lease_book_flush(leases, subscriber, err_r) < 0)
		return -1;
	return lease_book_tend(leases, now_mono_ms, next_ms_r, err_r);
}

static void store_subscriber_free(struct subscriber *subscriber)
{
	struct store_subscriber *self = of(subscriber);

	lease_book_free(&self->leases);
	claim_cursor_free(&self->cursor);
	definitions_unref(&self->defs);
	definitions_slot_release(&self->new_defs);
	free(self->queues);
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

struct subscriber *store_subscriber_new(struct store *store, const struct uuid *session,
					const char *pool)
{
	struct store_subscriber *self = xcalloc(1, sizeof(*self));

	self->base.ops = &store_subscriber_ops;
	self->store = store;
	self->session = *session;
	self->pool = pool;
	self->cursor = claim_cursor_new();
	self->leases = lease_book_new(store, session);
	return &self->base;
}
