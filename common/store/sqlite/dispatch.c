/* SPDX-License-Identifier: Apache-2.0 */
/* Dispatch on SQLite: claims for a broker, their return, and what is out. */
#include "common/store/dispatch.h"

#include <string.h>

#include "common/store/sqlite/sqlite_impl.h"

/* Jobs that wait and were asked to stop end here instead of travelling. */
static int cancel_asked(struct sqlite_store *store, struct error *err_r)
{
	int64_t one;
	int rc = 1;

	while (rc == 1) {
		struct uuid id;
		sqlite3_stmt *stmt = sqlite_bind(
			store, err_r,
			"SELECT c.id FROM windlass_cancel c JOIN windlass_ready r ON r.id = c.id LIMIT 1",
			"");

		rc = stmt ? sqlite_next(store, stmt, err_r) : -1;
		if (rc != 1)
			break;
		sqlite_column_uuid(stmt, 0, &id);
		sqlite_done(stmt);
		one = sqlite_cancel_waiting(store, &id, NULL, err_r);
		rc = one < 0 ? -1 : 1;
	}
	return rc;
}

int sqlite_dispatch_take(struct store *base, const struct dispatch_request *request,
			 struct arena *arena, struct claim *claim_r, struct error *err_r)
{
	struct sqlite_store *store = sqlite_of(base);
	const struct claim_request claim = {
		.session = request->owner,
		.batch = request->batch,
		.queues = &request->queue,
		.queue_count = 1,
		.max = request->max,
	};
	int rc;

	CHECK(request->max > 0 && request->max <= 1000 && request->lease_ms > 0);
	*claim_r = (struct claim){ 0 };
	if (sqlite_ensure(store, err_r))
		return -1;
	rc = sqlite_claimable(store, &claim, err_r);
	if (rc != 1)
		return rc;
	if (sqlite_begin(store, SQLITE_RELAXED, err_r))
		return -1;
	if (cancel_asked(store, err_r) ||
	    sqlite_claim(store, &claim, request->lease_ms, arena, claim_r, err_r)) {
		sqlite_rollback(store);
		return -1;
	}
	rc = sqlite_commit(store, err_r);
	if (rc)
		sqlite_claim_drop(claim_r);
	return rc;
}

/* ---- back */

static int find_place(const struct sqlite_lease *lease, const struct uuid *id)
{
	for (size_t i = 0; lease->found && i < lease->count; i++)
		if (uuid_equal(&lease->ids[i], id))
			return lease->removed[i] ? -1 : (int)i;
	return -1;
}

static int put_back(struct sqlite_store *store, struct sqlite_lease *lease, int place,
		    struct error *err_r)
{
	const struct uuid *id = &lease->ids[place];
	struct sqlite_waiting waiting = { .keep_place = true };
	/* A message that was not confirmed may have been delivered: what came of it is found by
	 * later attempts, not by the first. */
	sqlite3_stmt *stmt = sqlite_bind(
		store, err_r,
		"SELECT queue, priority, order_key, seq, EXISTS (SELECT 1 FROM windlass_step WHERE id = ?1) OR "
		"EXISTS (SELECT 1 FROM windlass_call WHERE id = ?1) FROM windlass_jobs WHERE id = ?1 "
		"AND NOT EXISTS (SELECT 1 FROM windlass_done WHERE id = ?1)",
		"u", id);
	int rc = stmt ? sqlite_next(store, stmt, err_r) : -1;

	if (rc != 1)
		return rc;
	waiting.queue = sqlite_column_dup(stmt, 0, store->tx.arena);
	waiting.priority = sqlite3_column_int(stmt, 1);
	waiting.order_key = sqlite_column_dup(stmt, 2, store->tx.arena);
	waiting.seq = sqlite3_column_int64(stmt, 3);
	waiting.attempt = lease->attempts[place] - !sqlite3_column_int(stmt, 4);
	sqlite_done(stmt);
	lease->removed[place] = lease->changed = true;
	sqlite_count(store, waiting.queue, 0, 0, -1);
	if (waiting.order_key && sqlite_close_key(store, id, err_r))
		return -1;
	return sqlite_wait(store, id, &waiting, err_r);
}

int sqlite_dispatch_return(struct store *base, const struct uuid *batch, const struct uuid *ids,
			   size_t count, struct error *err_r)
{
	struct sqlite_store *store = sqlite_of(base);
	struct sqlite_lease *lease;

	/* Lost with the power, the lease runs out. */
	if (sqlite_begin(store, SQLITE_RELAXED, err_r))
		return -1;
	if (sqlite_lease(store, batch, &lease, err_r))
		goto out;
	for (size_t i = 0; i < count; i++) {
		int place = find_place(lease, &ids[i]);

		if (place >= 0 && put_back(store, lease, place, err_r))
			goto out;
	}
	return sqlite_commit(store, err_r);
out:
	sqlite_rollback(store);
	return -1;
}

/* ---- the survey */

struct survey {
	struct sqlite_store *store;
	struct arena *arena;
	struct dispatch_view *views;
	size_t count, cap;
	struct uuid *over; /* leases that are done with */
	size_t over_count;
	int64_t now_ms;
};

static struct dispatch_view *view_of(struct survey *s, const char *queue)
{
	for (size_t i = 0; i < s->count; i++)
		if (strcmp(s->views[i].queue, queue) == 0)
			return &s->views[i];
	if (s->count == s->cap) {
		struct dispatch_view *more =
			ARENA_ARRAY(s->arena, struct dispatch_view, s->cap ? s->cap * 2 : 16);

		if (s->count)
			memcpy(more, s->views, s->count * sizeof(*more));
		s->views = more;
		s->cap = s->cap ? s->cap * 2 : 16;
	}
	s->views[s->count] =
		(struct dispatch_view){ .queue = arena_strdup(s->arena, queue), .oldest_ms = -1 };
	return &s->views[s->count++];
}

static int count_out(struct survey *s, const struct uuid *ids, size_t count, int64_t *out_r,
		     struct error *err_r)
{
	*out_r = 0;
	for (size_t i = 0; i < count; i++) {
		int64_t one;
		int rc = sqlite_number(s->store, err_r, &one,
				       "SELECT 1 FROM windlass_done WHERE id = ?1", "u", &ids[i]);

		if (rc < 0)
			return -1;
		*out_r += !rc;
	}
	return 0;
}

static int survey_lease(struct survey *s, sqlite3_stmt *stmt, struct error *err_r)
{
	int64_t taken = sqlite3_column_int64(stmt, 2), out;
	struct dispatch_view *view = view_of(s, (const char *)sqlite3_column_text(stmt, 3));
	struct uuid *ids;
	int *attempts;
	size_t count;

	if (sqlite_lease_decode(stmt, 0, s->arena, &ids, &attempts, &count))
		return error_set(err_r, ERROR_INTERNAL, "a lease row is damaged");
	if (count_out(s, ids, count, &out, err_r))
		return -1;
	if (!out)
		sqlite_column_uuid(stmt, 4, &s->over[s->over_count++]);
	else if (s->now_ms - taken > view->oldest_ms)
		view->oldest_ms = s->now_ms - taken;
	view->out += out;
	return 0;
}

static int look(struct survey *s, const struct uuid *owner, struct error *err_r)
{
	int64_t leases = 0;
	sqlite3_stmt *stmt;
	int rc;

	if (sqlite_number(s->store, err_r, &leases,
			  "SELECT count(*) FROM windlass_lease WHERE owner = ?1", "u", owner) < 0)
		return -1;
	s->over = ARENA_ARRAY(s->arena, struct uuid, (size_t)leases + 1);
	stmt = sqlite_bind(s->store, err_r,
			   "SELECT ids, attempts, taken, queue, batch FROM windlass_lease "
			   "WHERE owner = ?1 AND queue IS NOT NULL",
			   "u", owner);
	if (!stmt)
		return -1;
	while ((rc = sqlite_next(s->store, stmt, err_r)) == 1)
		if (survey_lease(s, stmt, err_r)) {
			sqlite_done(stmt);
			return -1;
		}
	return rc;
}

static int drop_leases(struct survey *s, struct error *err_r)
{
	if (!s->over_count)
		return 0;
	if (sqlite_begin(s->store, SQLITE_RELAXED, err_r))
		return -1;
	for (size_t i = 0; i < s->over_count; i++)
		if (sqlite_lease_finish(s->store, &s->over[i], err_r)) {
			sqlite_rollback(s->store);
			return -1;
		}
	return sqlite_commit(s->store, err_r);
}

int sqlite_dispatch_survey(struct store *base, const struct uuid *owner, struct arena *arena,
			   struct dispatch_view **views_r, size_t *count_r, struct error *err_r)
{
	struct survey s = { .store = sqlite_of(base), .arena = arena, .now_ms = clock_wall_ms() };
	struct error ignored;
	int rc;

	if (sqlite_ensure(s.store, err_r) || sqlite_run(s.store, err_r, "BEGIN DEFERRED", ""))
		return -1;
	rc = look(&s, owner, err_r);
	if (sqlite_run(s.store, &ignored, "ROLLBACK", ""))
		s.store->broken = true;
	if (rc || drop_leases(&s, err_r))
		return -1;
	*views_r = s.views;
	*count_r = s.count;
	return 0;
}
