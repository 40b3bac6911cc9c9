/* SPDX-License-Identifier: Apache-2.0 */
/* The handlers that `make bench` drains: as little work as a handler can do, so that what is
 * measured is Windlass. Built and declared by tests/bench/rig.py; the tables are made there too. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "windlass.h"

#define HOT_ROWS 20

static enum wl_outcome noop_run(struct wl_job *job)
{
	return wl_done(job, NULL);
}

/* One row of the user's. No count is asked for: an INSERT of one row fails or inserts one. */
static enum wl_outcome row_run(struct wl_job *job)
{
	wl_write(job, WL_ANY, "INSERT INTO bench_rows(job_id, payload) VALUES ($1, $2)",
		 WL(wl_text(wl_id(job)), wl_text("row")));
	return wl_done(job, NULL);
}

/* One row with the message itself. */
static enum wl_outcome keep_run(struct wl_job *job)
{
	wl_write(job, WL_ANY, "INSERT INTO bench_kept(job_id, payload) VALUES ($1, $2)",
		 WL(wl_text(wl_id(job)), wl_text(wl_payload(job, NULL))));
	return wl_done(job, NULL);
}

/* An update of a row that every batch fights for: the id's random end says which. */
static enum wl_outcome hot_run(struct wl_job *job)
{
	const char *id = wl_id(job);
	int64_t row = strtol(id + strlen(id) - 4, NULL, 16) % HOT_ROWS;

	wl_lock(job, wl_at(job, "hot:%lld", (long long)row));
	wl_write(job, 1, "UPDATE bench_hot SET n = n + 1 WHERE id = $1", WL(wl_i64(row)));
	return wl_done(job, NULL);
}

/* Microseconds from `sent` (ns since 1970, the request's due time) to here. */
static enum wl_outcome stamp_run(struct wl_job *job)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	int64_t late_ns = (int64_t)now.tv_sec * 1000000000 + now.tv_nsec - wl_int(job, "sent", 0);

	return wl_done(job, "{\"us\":%lld}", (long long)(late_ns / 1000));
}

WL_MODULE({ .type = "bench.noop", .run = noop_run }, { .type = "bench.row", .run = row_run },
	  { .type = "bench.hot", .run = hot_run }, { .type = "bench.stamp", .run = stamp_run },
	  { .type = "bench.keep", .run = keep_run }, { .type = "bench.trip", .run = noop_run })
