/* SPDX-License-Identifier: Apache-2.0 */
/* The limits of a target with a clock of its own: rate, room, retry budget, and the table that
 * finds the target of a URL. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/check.h"
#include "workers/remote/targets.h"

#define S  INT64_C(1000000000)
#define MS INT64_C(1000000)

static struct target_limits limits(void)
{
	return (struct target_limits){
		.concurrency = 3,
		.waiting_max = 10,
		.retry_percent = 10,
		.breaker = { .failures = 1000, .percent = 100, .window_ns = S, .cooldown_ns = S },
	};
}

static enum target_verdict take(struct target *target, bool again, int64_t now_ns,
				int64_t *wait_ns_r)
{
	bool probe;

	if (target_gate(target, again, now_ns, wait_ns_r) == TARGET_HOLD)
		return TARGET_HOLD;
	return target_take(target, again, now_ns, &probe, wait_ns_r);
}

static void room_is_bounded(void **state)
{
	struct target_limits own = limits();
	struct target *target = target_new("http://x:80", "", &own, 100 * S);
	int64_t wait_ns;

	(void)state;
	for (int i = 0; i < 3; i++)
		assert_int_equal(take(target, false, 100 * S, &wait_ns), TARGET_GO);
	assert_int_equal(take(target, false, 100 * S, &wait_ns), TARGET_WAIT);
	assert_true(wait_ns == INT64_MAX);
	target_end(target, TARGET_ANSWERED, false, false, S, 101 * S);
	assert_int_equal(take(target, false, 101 * S, &wait_ns), TARGET_GO);
	/* three at once and 1 s each: the next two seconds' worth stand in front */
	target->waiting_count = 5;
	assert_int_equal(target_queue_ns(target) / MS, 2000);
	for (int i = 0; i < 100; i++)
		assert_in_range(target_again_ms(target), 1000, 3000);
	target->waiting_count = 0;
	for (int i = 0; i < 3; i++)
		target_end(target, TARGET_SILENT, false, false, S, 101 * S);
	target_free(&target);
}

static void the_rate_is_kept(void **state)
{
	struct target_limits own = limits();
	struct target *target;
	int64_t wait_ns, now_ns = 100 * S;
	int count = 0;

	(void)state;
	own.rate_per_s = 40;
	target = target_new("http://x:80", "", &own, now_ns);
	while (now_ns < 110 * S) {
		if (take(target, false, now_ns, &wait_ns) == TARGET_GO) {
			count++;
			target_end(target, TARGET_ANSWERED, false, false, MS, now_ns);
			continue;
		}
		assert_in_range(wait_ns, 1, S / 40 + 2);
		now_ns += wait_ns;
	}
	assert_in_range(count, 400, 411); /* a quarter of a second's worth at the beginning */
	now_ns += 3600 * S;               /* a long silence saves up no more */
	for (count = 0; take(target, false, now_ns, &wait_ns) == TARGET_GO; count++)
		target_end(target, TARGET_ANSWERED, false, false, MS, now_ns);
	assert_int_equal(count, 10);
	target_free(&target);
}

static int take_again_until_held(struct target *target, enum target_outcome outcome, int most,
				 int64_t now_ns)
{
	int64_t wait_ns;
	int count = 0;

	while (count < most && take(target, true, now_ns, &wait_ns) == TARGET_GO) {
		target_end(target, outcome, true, false, MS, now_ns);
		count++;
	}
	return count;
}

static void tries_again_within_its_budget(void **state)
{
	struct target_limits own = limits();
	struct target *target = target_new("http://x:80", "", &own, 100 * S);
	int64_t wait_ns;

	(void)state;
	assert_int_equal(take_again_until_held(target, TARGET_FAILED, 1000, 100 * S), 10);
	assert_int_equal(take(target, true, 100 * S, &wait_ns), TARGET_HOLD);
	assert_in_range(wait_ns, S / 4, 3 * S / 4);
	assert_int_equal(take(target, false, 100 * S, &wait_ns), TARGET_GO); /* not the first */
	target_end(target, TARGET_FAILED, false, false, MS, 100 * S);
	/* a hundred calls that fail allow ten more */
	for (int i = 0; i < 101; i++) {
		assert_int_equal(take(target, false, 100 * S, &wait_ns), TARGET_GO);
		target_end(target, TARGET_FAILED, false, false, MS, 100 * S);
	}
	assert_int_equal(take_again_until_held(target, TARGET_FAILED, 1000, 100 * S), 10);
	/* somebody has to find out */
	assert_int_equal(take_again_until_held(target, TARGET_FAILED, 1000, 102 * S), 2);
	/* once it answers, making again is free */
	assert_int_equal(take_again_until_held(target, TARGET_ANSWERED, 1000, 140 * S), 1000);
	target_free(&target);
}

/* ---- what comes again after an outage */

#define TRY_NS  (20 * MS)
#define TIRED_S 3600

struct trial {
	int jobs;
	int64_t outage_ns;    /* it answers afterwards */
	int64_t most_ns;      /* then, until all jobs are done */
	double comings_per_s; /* during the outage: each is a transaction for nothing */
	double sent_per_s;    /* during it, those that the budget began with included */
};

struct coming {        /* of one job */
	int64_t at_ns; /* when it wants to go, or has its answer; INT64_MAX: done */
	bool under_way;
};

static struct coming *earliest(struct coming *comings, int count)
{
	struct coming *first = comings;

	for (int i = 1; i < count; i++) {
		if (comings[i].at_ns < first->at_ns)
			first = &comings[i];
	}
	return first;
}

/* When the last one was done, since the beginning. */
static int64_t run_trial(const struct trial *trial, int *comings_r, int *sent_r)
{
	struct target_limits own = limits();
	struct target *target;
	struct coming *comings = calloc((size_t)trial->jobs, sizeof(*comings)), *at;
	int64_t wait_ns, now_ns = 0;

	own.concurrency = 100;
	own.breaker.off = true;
	target = target_new("http://x:80", "", &own, 0);
	*comings_r = *sent_r = 0;
	while ((at = earliest(comings, trial->jobs))->at_ns < TIRED_S * S) {
		now_ns = at->at_ns;
		if (at->under_way) {
			bool good = now_ns - TRY_NS >= trial->outage_ns;

			at->under_way = false;
			target_end(target, good ? TARGET_ANSWERED : TARGET_FAILED, true, false,
				   TRY_NS, now_ns);
			at->at_ns = good ? INT64_MAX : now_ns + 50 * MS;
			continue;
		}
		*comings_r += now_ns < trial->outage_ns;
		at->under_way = take(target, true, now_ns, &wait_ns) == TARGET_GO;
		*sent_r += at->under_way && now_ns < trial->outage_ns;
		at->at_ns += at->under_way ? TRY_NS : wait_ns + MS;
	}
	target_free(&target);
	free(comings);
	return now_ns;
}

/* Held long enough to be no burden while it fails, and not longer than that once it does not. */
static void the_held_come_back_soon(void **state)
{
	static const struct trial trials[] = {
		{ 1, 2 * S, 3 * S, 10, 10 },       { 40, 3 * S, 6 * S, 200, 10 },
		{ 40, 60 * S, 17 * S, 15, 2 },     { 1000, 60 * S, 20 * S, 200, 2 },
		{ 3000, 600 * S, 20 * S, 400, 2 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(trials); i++) {
		const struct trial *trial = &trials[i];
		double outage_s = (double)trial->outage_ns / (double)S;
		int comings, sent;
		int64_t after_ns = run_trial(trial, &comings, &sent) - trial->outage_ns;

		print_message("%d jobs, %.0f s: done %.1f s later, %.1f came and %.1f were sent a "
			      "second\n",
			      trial->jobs, outage_s, (double)after_ns / (double)S,
			      comings / outage_s, sent / outage_s);
		if (after_ns > trial->most_ns || comings > trial->comings_per_s * outage_s ||
		    sent > trial->sent_per_s * outage_s)
			fail_msg("more than that");
	}
}

/* ---- the table */

static const char file[] =
	"jobs: {a: {sql: SELECT 1}}\n"
	"targets:\n"
	"  pay: {url: https://Pay.example/v1/, concurrency: 7}\n"
	"  refunds: {url: https://pay.example:443/v1/refunds}\n"
	"  plain: {url: http://pay.example, auth: {bearer: \"${env.T_TOKEN}\"}}\n"
	"  late: {url: \"${env.T_NOT_SET}/x\"}\n"
	"  six: {url: \"http://[::1]:8080\", auth: {basic: {user: u,"
	" password: \"${env.T_TOKEN}\"}}}\n";

static void configure(struct targets *targets, const char *text)
{
	struct definitions *defs = definitions_parse(text, strlen(text), "jobs.yaml", stderr);

	assert_non_null(defs);
	targets_configure(targets, defs, 100 * S);
	definitions_unref(&defs);
}

static struct target *find(struct targets *targets, const char *name, const char *text)
{
	CURLU *url = curl_url();
	struct target *target;
	const char *why;

	assert_int_equal(curl_url_set(url, CURLUPART_URL, text, 0), CURLUE_OK);
	target = targets_find(targets, name, url, 100 * S, &why);
	curl_url_cleanup(url);
	return target;
}

static const struct {
	const char *name, *url;
	const char *want; /* a name, or an origin, or NULL: refused */
} places[] = {
	{ NULL, "https://pay.example/v1", "pay" },
	{ NULL, "https://PAY.EXAMPLE:443/v1/charges?x=1", "pay" },
	{ NULL, "https://pay.example/v1/refunds/5", "refunds" },
	{ NULL, "https://pay.example/v1/refundsx", "pay" },
	{ NULL, "https://pay.example/v1/../v2", "https://pay.example:443" },
	{ NULL, "https://pay.example/v10", "https://pay.example:443" },
	{ NULL, "https://pay.example:444/v1", "https://pay.example:444" },
	{ NULL, "https://pay.example@evil.example/v1", "https://evil.example:443" },
	{ NULL, "https://evil.example/https://pay.example/v1", "https://evil.example:443" },
	{ NULL, "https://evil.example#@pay.example/v1", "https://evil.example:443" },
	{ NULL, "https://evil.example?@pay.example/v1", "https://evil.example:443" },
	{ NULL, "https://pay.example.evil.example/v1", "https://pay.example.evil.example:443" },
	{ NULL, "http://pay.example/v1", "plain" },
	{ NULL, "http://[0:0:0:0:0:0:0:1]:8080/", "six" },
	{ "pay", "https://pay.example/v1/x", "pay" },
	{ "pay", "https://pay.example/v1/refunds", "pay" },
	{ "pay", "https://evil.example/v1", NULL },
	{ "pay", "https://pay.example/v2", NULL },
	{ "nobody", "https://pay.example/v1", NULL },
	{ "late", "https://anywhere/x", "late" },
};

static void a_url_finds_its_target(void **state)
{
	struct targets *targets = targets_new();

	(void)state;
	setenv("T_TOKEN", "hunter2", 1);
	configure(targets, file);
	for (size_t i = 0; i < ARRAY_LEN(places); i++) {
		struct target *target = find(targets, places[i].name, places[i].url);
		const char *got = !target ? NULL : target->name ? target->name : target->origin;

		if (!got != !places[i].want || (got && strcmp(got, places[i].want) != 0))
			fail_msg("%s: %s, want %s", places[i].url, got ? got : "none",
				 places[i].want ? places[i].want : "none");
	}
	assert_string_equal(find(targets, NULL, "http://pay.example/")->authorization,
			    "Authorization: Bearer hunter2");
	assert_string_equal(find(targets, NULL, "http://[::1]:8080/")->authorization,
			    "Authorization: Basic dTpodW50ZXIy");
	assert_int_equal(find(targets, NULL, "https://x.example/")->limits.concurrency, 64);
	targets_free(&targets);
}

static void what_did_not_change_goes_on(void **state)
{
	struct targets *targets = targets_new();
	struct target *pay, *six, *plain;
	int64_t wait_ns;

	(void)state;
	configure(targets, file);
	pay = find(targets, "pay", "https://pay.example/v1");
	six = find(targets, "six", "http://[::1]:8080/");
	plain = find(targets, "plain", "http://pay.example/");
	assert_int_equal(take(pay, false, 100 * S, &wait_ns), TARGET_GO);
	assert_int_equal(take(plain, false, 100 * S, &wait_ns), TARGET_GO);
	configure(targets, "jobs: {a: {sql: SELECT 1}}\n"
			   "targets:\n"
			   "  six: {url: \"http://[::1]:8080\", auth: {basic: {user: u,"
			   " password: \"${env.T_TOKEN}\"}}}\n"
			   "  pay: {url: https://Pay.example/v1/, concurrency: 8}\n");
	assert_ptr_equal(find(targets, "six", "http://[::1]:8080/"), six);
	assert_ptr_not_equal(find(targets, "pay", "https://pay.example/v1"), pay);
	assert_int_equal(find(targets, NULL, "https://pay.example/v1")->limits.concurrency, 8);
	assert_null(find(targets, "plain", "http://pay.example/"));
	assert_null(find(targets, NULL, "http://pay.example/")->name); /* undeclared now */
	assert_true(pay->gone && plain->gone);
	target_end(pay, TARGET_ANSWERED, false, false, MS, 101 * S);
	targets_release(targets, pay); /* freed here, the other one below */
	target_end(plain, TARGET_ANSWERED, false, false, MS, 101 * S);
	targets_free(&targets);
}

static void undeclared_ones_are_bounded(void **state)
{
	struct targets *targets = targets_new();
	struct target *busy, *last = NULL;
	struct strbuf text;
	int64_t wait_ns;
	char url[64];

	(void)state;
	busy = find(targets, NULL, "http://busy/");
	assert_int_equal(take(busy, false, 100 * S, &wait_ns), TARGET_GO);
	for (int i = 0; i < 1000; i++) {
		snprintf(url, sizeof(url), "http://h%d/", i);
		last = find(targets, NULL, url);
	}
	assert_ptr_equal(find(targets, NULL, "http://busy/x"), busy);
	assert_ptr_equal(find(targets, NULL, "http://h999/x"), last);
	strbuf_init(&text);
	targets_describe(targets, 100 * S, &text);
	assert_true(text.len < 20000);
	strbuf_release(&text);
	/* all are busy: the rest share one */
	for (int i = 0; i < 300; i++) {
		snprintf(url, sizeof(url), "http://b%d/", i);
		last = find(targets, NULL, url);
		if (last->in_flight == 0)
			assert_int_equal(take(last, false, 100 * S, &wait_ns), TARGET_GO);
	}
	assert_string_equal(last->origin, "other");
	target_end(last, TARGET_SILENT, false, false, MS, 100 * S);
	for (int i = 0; i < 300; i++) {
		snprintf(url, sizeof(url), "http://b%d/", i);
		last = find(targets, NULL, url);
		while (last->in_flight)
			target_end(last, TARGET_SILENT, false, false, MS, 100 * S);
	}
	target_end(busy, TARGET_SILENT, false, false, MS, 100 * S);
	targets_free(&targets);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(room_is_bounded),
		cmocka_unit_test(the_rate_is_kept),
		cmocka_unit_test(tries_again_within_its_budget),
		cmocka_unit_test(the_held_come_back_soon),
		cmocka_unit_test(a_url_finds_its_target),
		cmocka_unit_test(what_did_not_change_goes_on),
		cmocka_unit_test(undeclared_ones_are_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
