/* SPDX-License-Identifier: Apache-2.0 */
/* Admission on SQLite: reads of one snapshot, outside the writers' mutex. Leases are looked up once
 * a batch, since the messages of one mostly come together. */
#include "common/store/admission.h"

#include "common/store/sqlite/sqlite_impl.h"

#define LEASES_MAX 16 /* remembered */

struct held {
	struct uuid batch;
	struct uuid *ids;
	int *attempts;
	size_t count, hint;
	int64_t taken;
	bool limited;
};

struct admitter {
	struct sqlite_store *store;
	struct arena *arena;
	struct held leases[LEASES_MAX];
	size_t lease_count; /* ever; the oldest make place */
};

/* NULL with err_r unchanged never happens: a lease that is gone holds nothing. */
static struct held *find_lease(struct admitter *a, const struct uuid *batch, struct error *err_r)
{
	size_t known = a->lease_count < LEASES_MAX ? a->lease_count : LEASES_MAX;
	struct held *held;
	sqlite3_stmt *stmt;
	int rc;

	for (size_t i = 0; i < known; i++)
		if (uuid_equal(&a->leases[i].batch, batch))
			return &a->leases[i];
	stmt = sqlite_bind(
		a->store, err_r,
		"SELECT ids, attempts, taken, slots FROM windlass_lease WHERE batch = ?1", "u",
		batch);
	rc = stmt ? sqlite_next(a->store, stmt, err_r) : -1;
	if (rc < 0)
		return NULL;
	held = &a->leases[a->lease_count++ % LEASES_MAX];
	*held = (struct held){ .batch = *batch };
	if (rc == 0)
		return held;
	held->taken = sqlite3_column_int64(stmt, 2);
	held->limited = sqlite3_column_type(stmt, 3) != SQLITE_NULL;
	rc = sqlite_lease_decode(stmt, 0, a->arena, &held->ids, &held->attempts, &held->count);
	sqlite_done(stmt);
	if (rc) {
		error_set(err_r, ERROR_INTERNAL, "a lease row is damaged");
		return NULL;
	}
	return held;
}

static bool holds(struct held *held, const struct uuid *id, int attempt)
{
	for (size_t n = 0; n < held->count; n++) {
		size_t i = (held->hint + n) % held->count;

		if (!uuid_equal(&held->ids[i], id))
			continue;
		held->hint = i + 1;
		return held->attempts[i] == attempt;
	}
	return false;
}

static int admit_dispatched(struct admitter *a, struct admission *item, struct error *err_r)
{
	struct held *held = find_lease(a, &item->batch, err_r);
	struct sqlite_hand_out out = { .id = item->id, .attempt = item->attempt };
	int64_t one;
	int rc;

	if (!held)
		return -1;
	item->verdict = ADMISSION_KNOWN;
	if (!holds(held, &item->id, item->attempt))
		return 0;
	rc = sqlite_number(a->store, err_r, &one, "SELECT 1 FROM windlass_done WHERE id = ?1", "u",
			   &item->id);
	if (rc)
		return rc < 0 ? -1 : 0;
	out.since = held->taken;
	rc = sqlite_number(a->store, err_r, &out.seq, "SELECT seq FROM windlass_jobs WHERE id = ?1",
			   "u", &item->id);
	if (rc != 1)
		return rc;
	item->verdict = ADMISSION_RUN;
	if (sqlite_handed_out(a->store, &out, &item->batch, &item->job, err_r))
		return -1;
	item->job->limited = held->limited;
	return 0;
}

static int is_behind(struct admitter *a, const struct admission *item, struct error *err_r)
{
	int64_t one;

	if (!item->order_key)
		return 0;
	return sqlite_number(
		a->store, err_r, &one,
		"SELECT 1 WHERE EXISTS (SELECT 1 FROM windlass_ready WHERE queue = ?1 AND order_key = ?2) "
		"OR EXISTS (SELECT 1 FROM windlass_order_open WHERE queue = ?1 AND key = ?2)",
		"ss", item->queue, item->order_key);
}

static int admit_foreign(struct admitter *a, struct admission *item, int64_t horizon_ms,
			 struct error *err_r)
{
	int64_t one;
	int rc = sqlite_number(
		a->store, err_r, &one,
		"SELECT 1 WHERE EXISTS (SELECT 1 FROM windlass_done WHERE id = ?1) OR EXISTS "
		"(SELECT 1 FROM windlass_jobs WHERE id = ?1)",
		"u", &item->id);

	item->verdict = ADMISSION_KNOWN;
	if (rc)
		return rc < 0 ? -1 : 0;
	item->verdict = ADMISSION_TOO_OLD;
	if (uuid_time_ms(&item->id) > 0 && uuid_time_ms(&item->id) < horizon_ms)
		return 0;
	rc = is_behind(a, item, err_r);
	item->verdict = rc ? ADMISSION_BEHIND : ADMISSION_RUN;
	return rc < 0 ? -1 : 0;
}

static int admit(struct admitter *a, struct admission *items, size_t count, int64_t horizon_ms,
		 struct error *err_r)
{
	for (size_t i = 0; i < count; i++)
		if (uuid_is_nil(&items[i].batch) ? admit_foreign(a, &items[i], horizon_ms, err_r)
						 : admit_dispatched(a, &items[i], err_r))
			return -1;
	return 0;
}

static void forget(struct admission *items, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		struct arena *arena = items[i].job ? items[i].job->arena : NULL;

		arena_free(&arena);
		items[i].job = NULL;
		items[i].verdict = 0;
	}
}

int sqlite_admission_check(struct store *base, struct admission *items, size_t count,
			   int64_t keep_ms, struct error *err_r)
{
	struct admitter a = { .store = sqlite_of(base) };
	struct error ignored;
	int rc;

	for (size_t i = 0; i < count; i++)
		items[i].job = NULL;
	if (sqlite_ensure(a.store, err_r) || sqlite_run(a.store, err_r, "BEGIN DEFERRED", ""))
		return -1;
	a.arena = arena_new(0);
	rc = admit(&a, items, count, clock_wall_ms() - keep_ms, err_r);
	if (rc)
		forget(items, count);
	if (sqlite_run(a.store, &ignored, "ROLLBACK", ""))
		a.store->broken = true;
	arena_free(&a.arena);
	return rc;
}
