/* SPDX-License-Identifier: Apache-2.0 */
/* The completion transaction of DESIGN section 4. Optimistic: all items in one flight; items that
 * lost their fence are left out and the rest runs again, because their writes must not be applied.
 * Careful: a savepoint an item, so that each has its own fate. */
#include <stdlib.h>
#include <string.h>

#include "common/base/failpoint.h"
#include "common/store/postgres/postgres_impl.h"

#define ADVISORY_SEED 0x77696e646c617373 /* "windlass" */

struct commit {
	struct postgres *pg;
	const struct completion_batch *batch;
	struct arena *arena;
	/* still without a fate, sorted by id: no two transactions wait for each other's rows;
	 * before them those that are stored in an order */
	struct completion **items;
	size_t count;
	size_t claim; /* place of the claim in the last flight */
	/* somebody else has ended some of the items, or the mode is careful */
	bool rivals;
};

static int by_id(const void *a, const void *b)
{
	const struct completion *const *x = a, *const *y = b;

	return uuid_compare(&(*x)->job->id, &(*y)->job->id);
}

/* Its place among the jobs of its key is drawn when it is stored: in the order of the batch. */
static bool draws_place(const struct completion *item)
{
	return item->job->order_key && completion_stores(item);
}

static void commit_init(struct commit *c)
{
	size_t first = 0;

	c->items = ARENA_ARRAY(c->pg->scratch, struct completion *, c->batch->count);
	c->count = 0;
	for (int pass = 0; pass < 2; pass++) {
		first = c->count;
		for (size_t i = 0; i < c->batch->count; i++) {
			struct completion *item = c->batch->items[i];

			if (!item->fate && draws_place(item) == !pass)
				c->items[c->count++] = item;
		}
	}
	qsort(c->items + first, c->count - first, sizeof(*c->items), by_id);
}

/* ---- what an item does, queued */

/* The keys are sorted by the server, since it makes them. The sub-query keeps its order: the locks
 * are taken one by one as its rows come. */
static const char take_locks[] =
	"SELECT pg_advisory_xact_lock(k) FROM (SELECT DISTINCT hashtextextended(name, $2::int8) AS"
	" k FROM unnest($1::text[]) AS name ORDER BY k) AS keys";

static void send_locks(struct commit *c, struct completion *const *items, size_t count)
{
	postgres_say(c->pg, take_locks);
	struct array *names = postgres_arg_array(c->pg, TYPE_TEXT);

	for (size_t i = 0; i < count; i++)
		for (size_t k = 0; completion_writes(items[i]) && k < items[i]->writes.lock_count;
		     k++)
			array_text(names, items[i]->writes.locks[k]);
	postgres_arg_i64(c->pg, ADVISORY_SEED);
	if (names->count)
		postgres_send(c->pg);
}

/* What follows for those that end without being completed. */
static int add_on_end(struct commit *c, struct completion *const *items, size_t count,
		      struct error *err_r)
{
	struct ended_job *ended = ARENA_ARRAY(c->pg->scratch, struct ended_job, count);
	size_t n = 0;

	for (size_t i = 0; i < count; i++) {
		const struct completion *item = items[i];

		if (item->kind == COMPLETION_FINISH && item->state != JOB_COMPLETED)
			ended[n++] = (struct ended_job){ item->job->id, item->job->attempt,
							 item->state, item->reason };
	}
	return postgres_on_end(c->pg, ended, n, err_r);
}

/* ---- a set of items in the open transaction */

enum verdict { SET_APPLIED = 1, SET_OUTRUN, SET_RIVALLED, SET_FAILED };

/* Applies the items. SET_OUTRUN: some are out of the race (their fate is set): undo, and go on
 * without them. SET_RIVALLED: undo, and go on with `rivals`. SET_FAILED: *err_r; the item at fault
 * has its fate when it is known. */
static enum verdict apply(struct commit *c, struct completion *const *items, size_t count,
			  struct write_plan *plan, struct error *err_r)
{
	struct fence fence;

	send_locks(c, items, count);
	fence_send(c->pg, items, count, &c->batch->session, c->rivals, &fence);
	write_plan_send(c->pg, plan);
	follow_ups_send(c->pg, items, count);
	bool failed = postgres_fly(c->pg, err_r) < 0;

	if (failed && !c->pg->in_transaction)
		return SET_FAILED; /* the connection is gone */
	/* An item that is out of the race may fail for that very reason: its rows are there
	 * already. */
	if (fence_read(c->pg, &fence, items, count, c->arena))
		return SET_OUTRUN;
	if (failed && fence_rivalled(c->pg, &fence, err_r))
		return SET_RIVALLED;
	if (failed) {
		bool handlers = write_plan_blame(plan, c->pg->failed_at, err_r);

		if (err_r->code == ERROR_TIMEOUT)
			err_r->code = handlers ? ERROR_SQL : ERROR_CONTENTION;
		return SET_FAILED;
	}
	if (write_plan_check(c->pg, plan, err_r) < 0 ||
	    follow_ups_unique(c->pg, items, count, err_r) < 0)
		return SET_FAILED;
	return add_on_end(c, items, count, err_r) < 0 ? SET_FAILED : SET_APPLIED;
}

/* ---- the end of the transaction */

static const char drop_leases[] =
	"DELETE FROM windlass.lease WHERE batch IN (SELECT unnest($1::uuid[]))";

static int finish(struct commit *c, struct error *err_r)
{
	const struct completion_batch *batch = c->batch;

	if (batch->finished_lease_count) {
		postgres_say(c->pg, drop_leases);
		struct array *batches = postgres_arg_array(c->pg, TYPE_UUID);

		for (size_t i = 0; i < batch->finished_lease_count; i++)
			array_uuid(batches, &batch->finished_leases[i]);
		postgres_send(c->pg);
	}
	positions_send(c->pg, batch->positions, batch->position_count);
	if (batch->claim && batch->claim->queue_count)
		c->claim = postgres_claim_send(c->pg, batch->claim);
	if (FAILPOINT("before_commit")) {
		postgres_drop(c->pg);
		return error_set(err_r, ERROR_UNAVAILABLE, "failpoint");
	}
	c->pg->commit_failpoint = "commit_sent";
	postgres_commit(c->pg);
	if (postgres_fly(c->pg, err_r) < 0) {
		err_r->code = err_r->code == ERROR_TIMEOUT ? ERROR_CONTENTION : err_r->code;
		return -1;
	}
	return FAILPOINT("after_commit") ? error_set(err_r, ERROR_UNKNOWN, "failpoint") : 0;
}

static void settle(struct commit *c)
{
	for (size_t i = 0; i < c->count; i++)
		if (!c->items[i]->fate)
			c->items[i]->fate = COMPLETION_COMMITTED;
}

/* ---- optimistic */

/* 1: done; 0: items dropped out, or are about to, again; -1. */
static int run_optimistic(struct commit *c, struct error *err_r)
{
	commit_init(c);
	struct write_plan *plan = write_plan_new(c->pg, c->items, c->count, true);

	if (write_plan_learn(c->pg, plan, err_r) < 0)
		return -1;
	postgres_begin(c->pg);
	switch (c->count ? apply(c, c->items, c->count, plan, err_r) : SET_APPLIED) {
	case SET_APPLIED:
		if (finish(c, err_r) < 0)
			return -1;
		settle(c);
		return 1;
	case SET_OUTRUN:
		postgres_rollback(c->pg);
		return fence_recognise(c->pg, c->items, c->count, err_r);
	case SET_RIVALLED:
		postgres_rollback(c->pg);
		c->rivals = true;
		return 0;
	default:
		return -1;
	}
}

/* ---- careful */

static int undo_item(struct commit *c, struct error *err_r)
{
	postgres_plain(c->pg, "ROLLBACK TO SAVEPOINT item");
	postgres_plain(c->pg, "RELEASE SAVEPOINT item");
	return postgres_fly(c->pg, err_r);
}

/* The checks that a COMMIT would make are made here, while the fault can still be told to its item.
 */
static int check_item(struct commit *c, struct error *err_r)
{
	postgres_plain(c->pg, "SET CONSTRAINTS ALL IMMEDIATE");
	postgres_plain(c->pg, "SET CONSTRAINTS ALL DEFERRED");
	postgres_plain(c->pg, "RELEASE SAVEPOINT item");
	return postgres_fly(c->pg, err_r);
}

static int run_item(struct commit *c, struct completion *item, struct error *err_r)
{
	struct write_plan *plan = write_plan_new(c->pg, &item, 1, false);
	struct error err;

	postgres_plain(c->pg, "SAVEPOINT item");
	enum verdict verdict = apply(c, &item, 1, plan, &err);

	if (verdict == SET_APPLIED && check_item(c, &err) == 0)
		return 0;
	if (!c->pg->in_transaction) {
		*err_r = err;
		return -1;
	}
	if (undo_item(c, err_r) < 0)
		return -1;
	if (verdict == SET_OUTRUN)
		return fence_recognise(c->pg, &item, 1, err_r);
	if (item->fate != COMPLETION_UNMET && err.code != ERROR_SQL) {
		*err_r = err;
		return -1;
	}
	if (item->fate != COMPLETION_UNMET) {
		item->fate = COMPLETION_FAILED;
		item->error = err;
	}
	fence_send_receipts(c->pg, &item, 1); /* go with the next flight */
	return 0;
}

static int run_careful(struct commit *c, struct error *err_r)
{
	commit_init(c);
	c->rivals = true;
	postgres_begin(c->pg);
	for (size_t i = 0; i < c->count; i++)
		if (run_item(c, c->items[i], err_r) < 0)
			return -1;
	if (finish(c, err_r) < 0)
		return -1;
	settle(c);
	return 1;
}

/* ---- the operation */

static void claim_after(struct commit *c, struct claim *claim_r)
{
	const struct claim_request *request = c->batch->claim;

	if (!request || !request->queue_count)
		return;
	postgres_claim_end(c->pg, c->claim, request, c->arena, claim_r);
}

int postgres_completion_commit(struct store *store, const struct completion_batch *batch,
			       struct arena *arena, struct claim *claim_r, struct error *err_r)
{
	struct commit c = { .pg = postgres_of(store), .batch = batch, .arena = arena };
	int rc = 0;

	for (size_t i = 0; i < batch->count; i++) {
		batch->items[i]->fate = 0;
		batch->items[i]->stored_step_value = NULL;
		error_clear(&batch->items[i]->error);
	}
	if (postgres_enter(c.pg, err_r) < 0)
		return -1;
	/* Each round but the one that meets rivals settles at least one item, so this ends. */
	while (rc == 0)
		rc = batch->mode == COMPLETION_OPTIMISTIC ? run_optimistic(&c, err_r)
							  : run_careful(&c, err_r);
	for (size_t i = 0; rc < 0 && i < batch->count; i++)
		if (batch->items[i]->fate == COMPLETION_COMMITTED ||
		    batch->items[i]->fate == COMPLETION_LOST)
			batch->items[i]->fate = 0; /* nothing was decided */
	if (rc < 0) {
		postgres_rollback(c.pg);
		return -1;
	}
	claim_after(&c, claim_r);
	return 0;
}
