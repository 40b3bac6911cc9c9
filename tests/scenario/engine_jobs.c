/* SPDX-License-Identifier: Apache-2.0 */
/* Handlers of the engine's scenario tests: each does one thing that the engine has to deal with. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "windlass.h"

#define INSERT "INSERT INTO effects(id, who) VALUES ($1, $2)"

static enum wl_outcome put(struct wl_job *job)
{
	wl_write(job, 1, INSERT, WL(wl_text(wl_id(job)), wl_text(wl_str(job, "who", "put"))));
	return wl_done(job, "{\"attempt\":%d}", wl_attempt(job));
}

static enum wl_outcome fail(struct wl_job *job)
{
	wl_write(job, 1, INSERT, WL(wl_text(wl_id(job)), wl_text("fail")));
	if (wl_attempt(job) > wl_int(job, "times", 0))
		return wl_done(job, NULL);
	return wl_retry(job, (int)wl_int(job, "after", -1), "attempt %d", wl_attempt(job));
}

static enum wl_outcome refuse(struct wl_job *job)
{
	return wl_discard(job, "not %s", wl_str(job, "who", "you"));
}

static enum wl_outcome snooze(struct wl_job *job)
{
	return wl_attempt(job) < 4 ? wl_snooze(job, 0) : wl_done(job, NULL);
}

static enum wl_outcome crash(struct wl_job *job)
{
	wl_write(job, 1, INSERT, WL(wl_text(wl_id(job)), wl_text("crash")));
	abort();
}

/* Runs until it is told to stop, or for `ms`. */
static enum wl_outcome nap(struct wl_job *job)
{
	for (int64_t ms = 0; ms < wl_int(job, "ms", 30000); ms += 10) {
		if (wl_cancelled(job) && !wl_int(job, "deaf", 0))
			return wl_cancel(job);
		wl_progress(job, (double)ms / 30000, "napping");
		usleep(10000);
	}
	wl_write(job, 1, INSERT, WL(wl_text(wl_id(job)), wl_text("nap")));
	return wl_done(job, NULL);
}

static enum wl_outcome bad_sql(struct wl_job *job)
{
	wl_write(job, 1, INSERT, WL(wl_text(wl_id(job)), wl_text("bad")));
	wl_write(job, WL_ANY, "INSERT INTO nowhere VALUES (1)", WL_NONE);
	return wl_done(job, NULL);
}

/* Takes one of a stock that others take from as well: the expectation may be unmet when it is
 * committed. */
static enum wl_outcome take(struct wl_job *job)
{
	struct wl_rows *rows = wl_query(job, "SELECT free FROM stock WHERE sku = 'a'", WL_NONE);

	if (!wl_next(rows) || wl_col_int(rows, 0) < 1)
		return wl_discard(job, "sold out");
	wl_lock(job, "sku:a");
	wl_write(job, 1, "UPDATE stock SET free = free - 1 WHERE sku = 'a' AND free >= 1", WL_NONE);
	wl_write(job, 1, INSERT, WL(wl_text(wl_id(job)), wl_text("take")));
	return wl_done(job, NULL);
}

/* Never met. */
static enum wl_outcome unmet(struct wl_job *job)
{
	wl_write(job, 1, "UPDATE stock SET free = free WHERE sku = 'none'", WL_NONE);
	return wl_done(job, NULL);
}

/* A step, then an end of any kind. */
static enum wl_outcome steps(struct wl_job *job)
{
	const char *value = wl_stepped(job, "one");

	if (!value) {
		wl_write(job, 1, INSERT, WL(wl_text(wl_id(job)), wl_text("step")));
		value = wl_step(job, "one", "{\"attempt\":%d}", wl_attempt(job));
	}
	if (wl_attempt(job) <= wl_int(job, "times", 0))
		return wl_retry(job, 0, "after the step");
	if (wl_int(job, "discard", 0))
		return wl_discard(job, "after the step");
	return wl_done(job, "%s", value);
}

static enum wl_outcome undo(struct wl_job *job)
{
	wl_write(job, 1, INSERT, WL(wl_text(wl_id(job)), wl_text(wl_str(job, "job", "?"))));
	return wl_done(job, NULL);
}

/* A call, then a failure as often as asked: the answer must be there without another call. */
static enum wl_outcome call(struct wl_job *job)
{
	const char *const headers[] = { "X-Token: ${env.ENGINE_TOKEN}", NULL };
	struct wl_reply reply =
		wl_call(job, "charge",
			&(struct wl_request){ .method = "POST",
					      .url = wl_str(job, "url", "${env.ENGINE_URL}/charge"),
					      .headers = headers,
					      .body = "{\"n\":1}",
					      .timeout_ms = (int)wl_int(job, "timeout_ms", 0) });

	bool later = reply.status == 408 || reply.status == 425 || reply.status == 429 ||
		     reply.status >= 500;

	if (reply.fate != WL_ANSWERED || later)
		return wl_retry(job, 0, "fate %d: %s", reply.fate, reply.error);
	if (wl_attempt(job) <= wl_int(job, "times", 0))
		return wl_retry(job, 0, "after the call");
	if (reply.status >= 400)
		return wl_discard(job, "%s", reply.error);
	return wl_done(job, "%s", reply.body);
}

static enum wl_outcome parent(struct wl_job *job)
{
	for (int i = 0; i < wl_int(job, "children", 1); i++)
		wl_enqueue(job, "put", "{\"who\":\"child\"}", NULL);
	return wl_done(job, NULL);
}

static enum wl_outcome large(struct wl_job *job)
{
	size_t bytes = (size_t)wl_int(job, "bytes", 0);
	char *text = calloc(1, bytes + 1);
	enum wl_outcome outcome;

	memset(text, 'x', bytes);
	wl_write(job, 1, INSERT, WL(wl_text(wl_id(job)), wl_text("large")));
	outcome = wl_done(job, "\"%s\"", text);
	free(text);
	return outcome;
}

/* Many at once: every result says how many; those who ask for it are refused. */
static void pack(struct wl_job *const *jobs, size_t count, enum wl_outcome *outcomes_r)
{
	for (size_t i = 0; i < count; i++) {
		if (wl_int(jobs[i], "refuse", 0)) {
			outcomes_r[i] = wl_discard(jobs[i], "not in this pack");
			continue;
		}
		wl_write(jobs[i], 1, INSERT, WL(wl_text(wl_id(jobs[i])), wl_text("pack")));
		outcomes_r[i] = wl_done(jobs[i], "{\"count\":%zu}", count);
	}
}

/* One of a row of jobs: says where it was in the order, after failing as often as asked. */
static enum wl_outcome turn(struct wl_job *job)
{
	struct wl_rows *rows = wl_query(job, "SELECT count(*) FROM turns WHERE row = $1",
					WL(wl_text(wl_str(job, "row", ""))));

	if (wl_attempt(job) <= wl_int(job, "fail", 0))
		return wl_retry(job, -1, "attempt %d", wl_attempt(job));
	wl_write(job, 1, "INSERT INTO turns(row, n, place) VALUES ($1, $2, $3)",
		 WL(wl_text(wl_str(job, "row", "")), wl_i64(wl_int(job, "n", 0)),
		    wl_i64(wl_next(rows) ? wl_col_int(rows, 0) : -1)));
	return wl_done(job, NULL);
}

WL_MODULE({ .type = "put", .run = put }, { .type = "typed", .run = put },
	  { .type = "mistyped", .run = put }, { .type = "strict", .run = put },
	  { .type = "fail", .run = fail }, { .type = "refuse", .run = refuse },
	  { .type = "snooze", .run = snooze }, { .type = "crash", .run = crash },
	  { .type = "nap", .run = nap }, { .type = "bad_sql", .run = bad_sql },
	  { .type = "take", .run = take }, { .type = "unmet", .run = unmet },
	  { .type = "steps", .run = steps }, { .type = "undo", .run = undo },
	  { .type = "call", .run = call }, { .type = "parent", .run = parent },
	  { .type = "large", .run = large }, { .type = "pack", .run_batch = pack },
	  { .type = "turn", .run = turn })
