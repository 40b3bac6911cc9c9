/* SPDX-License-Identifier: Apache-2.0 */
/* Handlers that use what windlass.h offers. Built as a module by pool_test.c and pool_bench.c. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "workers/handlers/windlass.h"

static enum wl_outcome noop(struct wl_job *job)
{
	return wl_done(job, NULL);
}

static enum wl_outcome echo(struct wl_job *job)
{
	return wl_done(job, "%s", wl_payload(job, NULL));
}

static enum wl_outcome sleeps(struct wl_job *job)
{
	usleep((useconds_t)wl_int(job, "us", 0));
	return wl_done(job, NULL);
}

static enum wl_outcome writes(struct wl_job *job)
{
	wl_write(job, 1, "INSERT INTO t VALUES ($1,$2,$3,$4,$5,$6)",
		 WL(wl_text("a\"b"), wl_i64(INT64_MIN), wl_f64(0.1), wl_bool(true),
		    wl_blob("\0\1", 2), wl_null()));
	wl_write(job, WL_ANY, "DELETE FROM u", WL_NONE);
	wl_lock(job, "product:1");
	wl_enqueue(job, "noop", "{\"from\": 1}", "{\"priority\":\"high\"}");
	return wl_done(job, "{\"id\":%s}", wl_quote(job, wl_new_id(job, "order")));
}

static enum wl_outcome asks(struct wl_job *job)
{
	struct wl_rows *rows =
		wl_query(job, "SELECT price, name FROM products WHERE sku = $1", WL(wl_text("a")));
	struct wl_reply reply;
	const char *before = wl_stepped(job, "reserve"), *value;
	int64_t price;

	if (!wl_next(rows))
		return wl_discard(job, "no such product");
	price = wl_col_int(rows, 0);
	value = wl_step(job, "reserve", "{\"price\":%lld}", (long long)price);
	reply = wl_call(
		job, "charge",
		&(struct wl_request){ .method = "POST", .url = "http://pay/", .body = value });
	return wl_done(
		job,
		"{\"price\":%lld,\"name\":%s,\"before\":%s,\"value\":%s,\"fate\":%d,\"status\":%d,\"body\":%s}",
		(long long)price, wl_quote(job, wl_col_str(rows, 1)), before ? before : "null",
		value, reply.fate, reply.status, wl_quote(job, reply.body));
}

static enum wl_outcome waits(struct wl_job *job)
{
	wl_progress(job, 0.5, "half");
	while (!wl_cancelled(job))
		usleep(1000);
	return wl_cancel(job);
}

static enum wl_outcome says(struct wl_job *job)
{
	const char *what = wl_str(job, "what", "");

	if (strcmp(what, "retry") == 0)
		return wl_retry(job, 30, "because of %d", 7);
	if (strcmp(what, "discard") == 0)
		return wl_discard(job, "never");
	if (strcmp(what, "snooze") == 0)
		return wl_snooze(job, 600);
	if (strcmp(what, "bad result") == 0)
		return wl_done(job, "{%s", "oops");
	if (strcmp(what, "bad enqueue") == 0)
		wl_enqueue(job, "noop", "{oops", NULL);
	if (strcmp(what, "unknown type") == 0)
		wl_enqueue(job, "nobody.knows", "{}", NULL);
	if (strcmp(what, "nothing") == 0)
		return WL_DISCARD;
	return wl_done(job, NULL);
}

static void many(struct wl_job *const *jobs, size_t count, enum wl_outcome *outcomes_r)
{
	for (size_t i = 0; i < count; i++) {
		if (wl_int(jobs[i], "crash", 0))
			abort();
		outcomes_r[i] = wl_done(jobs[i], "%zu", count);
	}
}

WL_MODULE({ "noop", noop, 0 }, { "echo", echo, 0 }, { "sleep", sleeps, 0 }, { "write", writes, 0 },
	  { "ask", asks, 0 }, { "wait", waits, 0 }, { "say", says, 0 }, { "many", 0, many })
