/* SPDX-License-Identifier: Apache-2.0 */
/* Firing on SQLite: schedules are moved on, ticks get their rows, and the jobs of the ticks that
 * did are stored, in one transaction. */
#include <string.h>

#include "common/store/schedule.h"

#include "common/store/sqlite/sqlite_impl.h"

/* 1: it is as it was read, and moved on; 0: it is not. */
static int move_on(struct sqlite_store *store, const struct schedule_fire *fire,
		   struct error *err_r)
{
	int64_t one;

	if (fire->manual)
		return sqlite_number(store, err_r, &one,
				     "SELECT 1 FROM windlass_schedule WHERE name = ?1 AND version "
				     "= ?2",
				     "si", fire->name, fire->version);
	if (sqlite_run(store, err_r,
		       "UPDATE windlass_schedule SET next_ms = nullif(?4, 9223372036854775807) "
		       "WHERE name = ?1 AND version = ?2 AND next_ms = ?3 AND NOT paused",
		       "siii", fire->name, fire->version, fire->was_ms, fire->next_ms))
		return -1;
	return store->changed > 0;
}

static int store_run(struct sqlite_store *store, const struct schedule_fire *fire,
		     struct schedule_run *run, struct error *err_r)
{
	struct uuid nil = { 0 };

	if (sqlite_run(store, err_r,
		       "INSERT INTO windlass_schedule_tick (schedule, tick, manual, at, job, "
		       "reason) VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT DO NOTHING",
		       "siiiUs", fire->name, run->tick_ms, (int64_t)fire->manual, store->tx.now_ms,
		       run->job ? &run->job->id : &nil, run->reason))
		return -1;
	if (!store->changed || !run->job)
		return 0;
	run->fired = true;
	if (sqlite_enlist(store, run->job, false, &run->accepted, err_r))
		return -1;
	if (!run->accepted.unique_conflict)
		return 0;
	return sqlite_run(store, err_r,
			  "UPDATE windlass_schedule_tick SET job = ?4, reason = ?5 WHERE schedule "
			  "= ?1 AND tick = ?2 AND manual = ?3",
			  "siius", fire->name, run->tick_ms, (int64_t)fire->manual,
			  &run->accepted.id, SCHEDULE_UNIQUE);
}

static int fire_one(struct sqlite_store *store, struct schedule_fire *fire, struct error *err_r)
{
	int rc = move_on(store, fire, err_r);

	if (rc != 1)
		return rc;
	for (size_t i = 0; i < fire->count; i++) {
		if (store_run(store, fire, &fire->runs[i], err_r))
			return -1;
	}
	return fire->count && fire->runs[0].fired ? sqlite_audit(store, fire->audit, err_r) : 0;
}

static int fire_all(struct sqlite_store *store, struct schedule_fire *const *fires, size_t count,
		    struct error *err_r)
{
	int rc = 0;

	if (sqlite_begin(store, SQLITE_DURABLE, err_r))
		return -1;
	for (size_t i = 0; rc == 0 && i < count; i++)
		rc = fire_one(store, fires[i], err_r);
	if (rc == 0 && FAILPOINT("schedule_before_commit"))
		rc = error_set(err_r, ERROR_UNAVAILABLE, "failpoint");
	if (rc == 0)
		return sqlite_commit(store, err_r);
	sqlite_rollback(store);
	return -1;
}

static void forget(struct schedule_fire *fire)
{
	for (size_t i = 0; i < fire->count; i++)
		fire->runs[i].fired = false;
}

int sqlite_schedule_fire(struct store *base, struct schedule_fire *const *fires, size_t count,
			 struct error *err_r)
{
	struct sqlite_store *store = sqlite_of(base);

	if (fire_all(store, fires, count, err_r) == 0)
		return 0;
	if (err_r->code != ERROR_SQL)
		return -1;
	for (size_t i = 0; i < count; i++)
		forget(fires[i]);
	for (size_t i = 0; i < count; i++) {
		if (fire_all(store, &fires[i], 1, &fires[i]->error) == 0)
			continue;
		*err_r = fires[i]->error;
		if (err_r->code != ERROR_SQL)
			return -1;
		forget(fires[i]);
	}
	return 0;
}
