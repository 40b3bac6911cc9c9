/* SPDX-License-Identifier: Apache-2.0 */
/* The handlers that the fault tests run: jobs whose effects can be counted, and jobs that do
 * everything wrong. The tables have no unique keys on purpose: a double effect must show. */
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "windlass.h"

static void work(struct wl_job *job)
{
	int64_t ms = wl_int(job, "work_ms", 0);

	for (int64_t slept = 0; slept < ms && !wl_cancelled(job); slept += 10)
		nanosleep(&(struct timespec){ .tv_nsec = 10000000 }, NULL);
}

static void deposit(struct wl_job *job, const char *step)
{
	int64_t account = wl_int(job, "account", 0), amount = wl_int(job, "amount", 1);

	wl_lock(job, wl_at(job, "account:%lld", (long long)account));
	wl_write(job, 1, "UPDATE accounts SET balance = balance + $2 WHERE id = $1",
		 WL(wl_i64(account), wl_i64(amount)));
	wl_write(job, 1, "INSERT INTO effects(job_id, step, amt, pid) VALUES ($1, $2, $3, $4)",
		 WL(wl_text(wl_id(job)), wl_text(step), wl_i64(amount), wl_i64(getpid())));
}

/* One effect, committed with the outcome. {account, amount, work_ms, fail: attempts that shall fail
 * first} */
static enum wl_outcome deposit_run(struct wl_job *job)
{
	work(job);
	if (wl_attempt(job) <= wl_int(job, "fail", 0))
		return wl_retry(job, 0, "told to fail");
	deposit(job, "only");
	return wl_done(job, "{\"amount\":%lld}", (long long)wl_int(job, "amount", 1));
}

/* Two effects: one in a step, one with the outcome. {…, discard: true ends it after the step} */
static enum wl_outcome steps_run(struct wl_job *job)
{
	if (!wl_stepped(job, "first")) {
		deposit(job, "first");
		wl_step(job, "first", "{\"amount\":%lld}", (long long)wl_int(job, "amount", 1));
	}
	work(job);
	if (wl_int(job, "discard", 0))
		return wl_discard(job, "told to give up");
	deposit(job, "second");
	return wl_done(job, NULL);
}

/* The on_discard job of fault.steps: takes the first step's deposit back. */
static enum wl_outcome undo_run(struct wl_job *job)
{
	int64_t account = wl_int(job, "payload/account", 0),
		amount = wl_int(job, "payload/amount", 1);

	wl_lock(job, wl_at(job, "account:%lld", (long long)account));
	wl_write(job, 1, "UPDATE accounts SET balance = balance - $2 WHERE id = $1",
		 WL(wl_i64(account), wl_i64(amount)));
	wl_write(job, 1, "INSERT INTO effects(job_id, step, amt, pid) VALUES ($1, 'undo', $2, $3)",
		 WL(wl_text(wl_str(job, "job", "")), wl_i64(-amount), wl_i64(getpid())));
	return wl_done(job, NULL);
}

/* A third-party call and an effect. {order, total, account, amount}; the charge's id is the result.
 */
static enum wl_outcome charge_run(struct wl_job *job)
{
	struct wl_reply pay = wl_call(job, "charge",
				      &(struct wl_request){ .method = "POST",
							    .url = "${env.PAY_URL}/charges",
							    .body = wl_payload(job, NULL),
							    .timeout_ms = 3000 });
	if (pay.fate != WL_ANSWERED || pay.status >= 500)
		return wl_retry(job, 0, "provider: %s", pay.error);
	deposit(job, "only");
	return wl_done(job, "{\"charge\":%s}", wl_quote(job, wl_json_str(job, pay.body, "id", "")));
}

/* SQL that fails for its own reasons. {bad: "check" | "cast" | "deferred" | "none"} */
static enum wl_outcome sql_run(struct wl_job *job)
{
	const char *bad = wl_str(job, "bad", "none");

	deposit(job, "only");
	if (strcmp(bad, "check") == 0)
		wl_write(job, 1, "INSERT INTO checked(n) VALUES ($1)", WL(wl_i64(-1)));
	if (strcmp(bad, "missing") == 0)
		wl_write(job, WL_ANY, "INSERT INTO no_such_table(n) VALUES ($1)", WL(wl_i64(1)));
	if (strcmp(bad, "deferred") == 0)
		wl_write(job, 1, "INSERT INTO deferred(parent) VALUES ($1)", WL(wl_i64(404)));
	return wl_done(job, NULL);
}

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Winfinite-recursion"
static int overflow(volatile char *from)
{
	volatile char block[65536];

	block[0] = from ? from[0] : 1;
	return overflow(block) + block[0];
}

#pragma GCC diagnostic pop

static void bomb(void)
{
	for (;;) {
		char *block = malloc(16 << 20);

		if (!block)
			abort();
		memset(block, 1, 16 << 20);
	}
}

/* Everything a handler can do to the process it runs in. {how} */
static enum wl_outcome poison_run(struct wl_job *job)
{
	const char *how = wl_str(job, "how", "");

	deposit(job, "only");
	if (strcmp(how, "segv") == 0)
		*(volatile int *)0 = 1;
	if (strcmp(how, "abort") == 0)
		abort();
	if (strcmp(how, "overflow") == 0)
		return (enum wl_outcome)overflow(NULL);
	if (strcmp(how, "exit") == 0)
		_exit(0);
	if (strcmp(how, "loop") == 0)
		for (;;)
			pause();
	if (strcmp(how, "bomb") == 0)
		bomb();
	if (strcmp(how, "garbage") == 0)
		for (int fd = 1; fd < 64; fd++)
			if (write(fd, "{\"job\":\n", 8) < 0)
				continue;
	return wl_done(job, NULL);
}

static enum wl_outcome noop_run(struct wl_job *job)
{
	work(job);
	return wl_done(job, NULL);
}

WL_MODULE({ .type = "fault.deposit", .run = deposit_run },
	  { .type = "fault.steps", .run = steps_run }, { .type = "fault.undo", .run = undo_run },
	  { .type = "fault.charge", .run = charge_run }, { .type = "fault.sql", .run = sql_run },
	  { .type = "fault.poison", .run = poison_run }, { .type = "fault.noop", .run = noop_run },
	  { .type = "fault.slow", .run = deposit_run })
