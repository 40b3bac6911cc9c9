/* SPDX-License-Identifier: Apache-2.0 */
/* The noun `schedule`: what is asked of a store is checked here and handed to it. */
#include "common/store/schedule.h"

#include "common/base/check.h"
#include "common/store/store_impl.h"

int schedule_clock(struct store *store, int64_t *now_ms_r, struct error *err_r)
{
	return store->ops->schedule->clock(store, now_ms_r, err_r);
}

int schedule_find(struct store *store, const char *tenant, const char *name, struct arena *arena,
		  struct schedule_view *view_r, struct error *err_r)
{
	return store->ops->schedule->find(store, tenant, name, arena, view_r, err_r);
}

int schedule_list(struct store *store, const char *tenant, const char *after, size_t limit,
		  struct arena *arena, struct schedule_view **views_r, size_t *count_r,
		  struct error *err_r)
{
	CHECK(limit >= 1 && limit <= SCHEDULE_LIMIT_MAX);
	*count_r = 0;
	return store->ops->schedule->list(store, tenant, after, limit, arena, views_r, count_r,
					  err_r);
}

int schedule_put(struct store *store, const struct schedule_new *schedule, bool create,
		 const struct audit *audit, bool *created_r, struct error *err_r)
{
	CHECK(store->use == STORE_WRITE && schedule->name && schedule->tenant);
	*created_r = false;
	return store->ops->schedule->put(store, schedule, create, audit, created_r, err_r);
}

int schedule_remove(struct store *store, const char *name, const struct audit *audit,
		    struct error *err_r)
{
	CHECK(store->use == STORE_WRITE);
	return store->ops->schedule->remove(store, name, audit, err_r);
}

int schedule_pause(struct store *store, const char *name, int64_t version, bool paused,
		   int64_t next_ms, const struct audit *audit, struct error *err_r)
{
	CHECK(store->use == STORE_WRITE);
	return store->ops->schedule->pause(store, name, version, paused, next_ms, audit, err_r);
}

int schedule_sync(struct store *store, const struct schedule_new *schedules, size_t count,
		  size_t *changed_r, struct error *err_r)
{
	CHECK(store->use == STORE_WRITE);
	*changed_r = 0;
	return store->ops->schedule->sync(store, schedules, count, changed_r, err_r);
}

int schedule_due(struct store *store, const struct schedule_due *from, struct arena *arena,
		 struct schedule_view **views_r, size_t *count_r, int64_t *now_ms_r,
		 int64_t *soonest_ms_r, struct error *err_r)
{
	CHECK(from->limit >= 1 && from->limit <= SCHEDULE_LIMIT_MAX);
	*count_r = 0;
	*soonest_ms_r = SCHEDULE_NEVER;
	return store->ops->schedule->due(store, from, arena, views_r, count_r, now_ms_r,
					 soonest_ms_r, err_r);
}

int schedule_fire(struct store *store, struct schedule_fire *const *fires, size_t count,
		  struct error *err_r)
{
	CHECK(store->use == STORE_WRITE);
	for (size_t i = 0; i < count; i++) {
		error_clear(&fires[i]->error);
		for (size_t k = 0; k < fires[i]->count; k++) {
			struct schedule_run *run = &fires[i]->runs[k];

			CHECK(run->job || run->reason);
			run->fired = false;
		}
	}
	return count ? store->ops->schedule->fire(store, fires, count, err_r) : 0;
}

int schedule_runs(struct store *store, const char *name, int64_t before_ms, size_t limit,
		  struct arena *arena, struct schedule_run_view **runs_r, size_t *count_r,
		  struct error *err_r)
{
	CHECK(limit >= 1 && limit <= SCHEDULE_LIMIT_MAX);
	*count_r = 0;
	return store->ops->schedule->runs(store, name, before_ms, limit, arena, runs_r, count_r,
					  err_r);
}
