/* SPDX-License-Identifier: Apache-2.0 */
/* `pools:` of a definitions file: what each key becomes, whose every queue and source is, and the
 * files that are refused, with the place. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/check.h"
#include "common/config/definitions.h"
#include "common/config/settings.h"

#define JOBS                                                                                    \
	"jobs: {a: {queue: orders, sql: SELECT 1}, b: {queue: mails, sql: SELECT 1}, c: {sql: " \
	"SELECT 1}}\n"

static const struct settings settings = { .workers = 2, .concurrency = 16 };

static struct definitions *parse(const char *text, FILE *errors)
{
	return definitions_parse(text, strlen(text), "/etc/jobs.yaml", errors);
}

static void reads_every_key(void **state)
{
	struct definitions *defs =
		parse(JOBS "pools:\n"
			   "  orders: {queues: [orders], workers: 3, hosts: 5, autoscale: {min: 2,"
			   " max: 9, age: 2s, utilisation: 0.5, calm: 10s}}\n"
			   "  mails: {queues: [mails], workers: 0}\n",
		      stderr);
	const struct pool_definition *orders, *mails;

	(void)state;
	assert_non_null(defs);
	assert_int_equal(definitions_pool_count(defs), 3);
	orders = definitions_pool(defs, "orders");
	mails = definitions_pool_at(defs, 1);
	assert_string_equal(orders->queues[0], "orders");
	assert_int_equal(pool_definition_workers(orders, &settings), 3);
	assert_int_equal(pool_definition_hosts(orders, &settings), 5);
	assert_int_equal(orders->autoscale.min, 2);
	assert_int_equal(orders->autoscale.max, 9);
	assert_int_equal(orders->autoscale.age_ms, 2000);
	assert_int_equal(orders->autoscale.calm_ms, 10000);
	assert_true(orders->autoscale.utilisation == 0.5);
	assert_int_equal(pool_definition_workers(mails, &settings), 0);
	assert_int_equal(pool_definition_hosts(mails, &settings), 16);
	assert_int_equal(mails->autoscale.max, 0);
	definitions_unref(&defs);
}

static void every_queue_is_somebodys(void **state)
{
	struct definitions *defs = parse(
		JOBS "pools: {orders: {queues: [orders]}}\n"
		     "sources: {s: {topic: t, type: a, broker: {}}, any: {topic: u, broker: {}}}\n",
		stderr);

	(void)state;
	assert_non_null(defs);
	assert_int_equal(definitions_pool_count(defs), 2);
	assert_string_equal(definitions_pool_at(defs, 1)->name, "default");
	assert_int_equal(pool_definition_workers(definitions_pool(defs, "default"), &settings), 2);
	assert_string_equal(definitions_pool_of_queue(defs, "orders")->name, "orders");
	assert_string_equal(definitions_pool_of_queue(defs, "mails")->name, "default");
	assert_true(definitions_pool_serves(defs, "orders", "orders"));
	assert_false(definitions_pool_serves(defs, "orders", "mails"));
	assert_true(definitions_pool_serves(defs, "", "mails"));
	assert_false(definitions_pool_serves(defs, "gone", "mails"));
	assert_true(definitions_pool_reads(defs, "orders", definitions_source(defs, "s")));
	assert_false(definitions_pool_reads(defs, "default", definitions_source(defs, "s")));
	assert_true(definitions_pool_reads(defs, "default", definitions_source(defs, "any")));
	assert_false(definitions_pool_reads(defs, "orders", definitions_source(defs, "any")));
	definitions_unref(&defs);
}

static void no_pools_are_one(void **state)
{
	struct definitions *defs = parse(JOBS, stderr);

	(void)state;
	assert_non_null(defs);
	assert_int_equal(definitions_pool_count(defs), 1);
	assert_true(definitions_pool_serves(defs, "default", "orders"));
	definitions_unref(&defs);
}

static void bad_pools_are_refused(void **state)
{
	static const struct {
		const char *pools, *want;
	} cases[] = {
		{ "{x: {queues: [nope]}}", "jobs.yaml:2:9: pool `x`: no type, source or queue" },
		{ "{x: {workers: 1}}", "jobs.yaml:2:9: pool `x` names no `queues`" },
		{ "{x: {queues: [orders]}, y: {queues: [orders]}}",
		  "queue `orders` is in the pools `x` and `y`" },
		{ "{x: {queues: [orders], workers: 65}}", "`workers`" },
		{ "{x: {queues: [orders], hosts: 0}}", "`hosts`" },
		{ "{x: {queues: [orders], autoscale: {min: 3}}}", "`max` is missing" },
		{ "{x: {queues: [orders], autoscale: {min: 3, max: 2}}}",
		  "min 3 is more than max" },
		{ "{x: {queues: [orders], autoscale: {max: 2, utilisation: 80}}}",
		  "more than 0 and at most 1" },
		{ "{x: {queues: [orders], threads: 2}}", "unknown key `threads`" },
		{ "[orders]", "`pools`; expected a map" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		char *said = NULL, text[512];
		size_t bytes;
		FILE *errors = open_memstream(&said, &bytes);
		struct definitions *defs;

		snprintf(text, sizeof(text), JOBS "pools: %s\n", cases[i].pools);
		defs = parse(text, errors);
		fclose(errors);
		if (defs || !strstr(said, cases[i].want))
			fail_msg("%s: got %s, want %s", cases[i].pools, said, cases[i].want);
		free(said);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_every_key),
		cmocka_unit_test(every_queue_is_somebodys),
		cmocka_unit_test(no_pools_are_one),
		cmocka_unit_test(bad_pools_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
