/* SPDX-License-Identifier: Apache-2.0 */
/* What the ends of other jobs put into a payload, what becomes of the job that waits, circles. */
#include "common/job/chain.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/check.h"

#define RESULT "{\"a\":{\"b\":[10,{\"c\":\"x\\\"y\"}]},\"s\":\"text\",\"n\":1.50}"

static const struct chain_edge edges[] = {
	{ .after = { .name = "left", .on_failure = EDGE_DISCARD },
	  .state = JOB_COMPLETED,
	  .result = RESULT },
	{ .after = { .name = "right", .on_failure = EDGE_RUN },
	  .state = JOB_CANCELLED,
	  .reason = "no \"more\"" },
};

static void payloads_are_filled(void **state)
{
	static const struct {
		const char *payload, *want;
	} cases[] = {
		{ "{\"x\":\"${after.left.result}\"}", "{\"x\":" RESULT "}" },
		{ "{\"x\":\"${after.left.result.n}\"}", "{\"x\":1.50}" },
		{ "{\"x\":\"${after.left.result.a.b.1.c}\"}", "{\"x\":\"x\\\"y\"}" },
		{ "[\"no ${after.left.result.n}, ${after.left.result.a.b.1.c}!\"]",
		  "[\"no 1.50, x\\\"y!\"]" },
		{ "[\"${after.left.result.a.b}!\"]", "[\"[10,{\\\"c\\\":\\\"x\\\\\\\"y\\\"}]!\"]" },
		{ "[\"${after.right.result.deep}\",\"${after.right.state}\"]",
		  "[null,\"cancelled\"]" },
		{ "[\"${after.right.reason}\"]", "[\"no \\\"more\\\"\"]" },
		{ "[\"$${after.left.result}\",\"${after.left.state}\"]",
		  "[\"${after.left.result}\",\"completed\"]" },
		{ "{\"${after.left.result}\" : \"${after.left.result.s}\"}",
		  "{\"${after.left.result}\" : \"text\"}" },
		{ "{\"a\\\\\":\"\\\"${after.left.result.s}\"}", "{\"a\\\\\":\"\\\"text\"}" },
		{ "\"${after.left.id}\"", "\"00000000-0000-0000-0000-000000000000\"" },
	};
	struct arena *arena = arena_new(0);
	char *got, *reason;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		assert_int_equal(chain_decide(edges, 2, cases[i].payload, strlen(cases[i].payload),
					      arena, &got, &reason),
				 CHAIN_FREE);
		assert_string_equal(got, cases[i].want);
	}
	arena_free(&arena);
}

static void a_plain_payload_stays(void **state)
{
	struct arena *arena = arena_new(0);
	char *got, *reason;

	(void)state;
	assert_int_equal(chain_decide(edges, 2, "{\"a\":\"${x}\"}", 12, arena, &got, &reason),
			 CHAIN_FREE);
	assert_null(got);
	arena_free(&arena);
}

static void what_is_missing_discards(void **state)
{
	static const char *const payloads[] = {
		"[\"${after.left.result.none}\"]",
		"[\"${after.left.result.a.b.7}\"]",
		"[\"${after.left.result.n.x}\"]",
	};
	struct arena *arena = arena_new(0);
	char *got, *reason;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(payloads); i++) {
		reason = NULL;
		assert_int_equal(chain_decide(edges, 2, payloads[i], strlen(payloads[i]), arena,
					      &got, &reason),
				 CHAIN_DISCARD);
		assert_non_null(strstr(reason, "after.left.result"));
	}
	arena_free(&arena);
}

static void ends_decide(void **state)
{
	static const struct {
		enum job_state left, right;
		enum edge_failure right_fails;
		enum chain_verdict want;
	} cases[] = {
		{ JOB_COMPLETED, JOB_COMPLETED, EDGE_DISCARD, CHAIN_FREE },
		{ JOB_COMPLETED, 0, EDGE_DISCARD, CHAIN_WAITS },
		{ 0, JOB_DISCARDED, EDGE_DISCARD, CHAIN_DISCARD },
		{ 0, JOB_DISCARDED, EDGE_RUN, CHAIN_WAITS },
		{ JOB_COMPLETED, JOB_CANCELLED, EDGE_RUN, CHAIN_FREE },
		{ JOB_COMPLETED, JOB_CANCELLED, EDGE_WAIT, CHAIN_WAITS },
		{ JOB_DISCARDED, JOB_COMPLETED, EDGE_RUN, CHAIN_DISCARD },
	};
	struct arena *arena = arena_new(0);
	char *got, *reason;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		const struct chain_edge pair[] = {
			{ .after = { .on_failure = EDGE_DISCARD }, .state = cases[i].left },
			{ .after = { .on_failure = cases[i].right_fails },
			  .state = cases[i].right },
		};

		assert_int_equal(chain_decide(pair, 2, "{}", 2, arena, &got, &reason),
				 cases[i].want);
	}
	arena_free(&arena);
}

static void references_are_checked(void **state)
{
	static const struct {
		const char *payload;
		bool good;
	} cases[] = {
		{ "[\"${after.left.result}\"]", true },
		{ "[\"a ${after.left.state} b\"]", true },
		{ "[\"$${after.nobody.else}\"]", true },
		{ "[\"${after.nobody.result}\"]", false },
		{ "[\"${after.left}\"]", false },
		{ "[\"${after.left.payload}\"]", false },
		{ "[\"${after.left.state.x}\"]", false },
		{ "[\"${after.left.result\"]", false },
		{ "[\"${after.left.result.a b}\"]", false },
	};
	const struct job_after after[] = { { .name = "left" } };
	struct arena *arena = arena_new(0);

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		const char *fault = chain_reference_fault(
			cases[i].payload, strlen(cases[i].payload), after, 1, arena);

		if (!fault != cases[i].good)
			fail_msg("%s: %s", cases[i].payload, fault ? fault : "no fault");
	}
	arena_free(&arena);
}

/* Ten thousand in a row, in the worst order, and one that closes the circle. */
static void circles_are_found(void **state)
{
	enum { LONG = 10000 };
	static struct new_job jobs[LONG];
	static struct job_after after[LONG];
	size_t bad = 0;

	(void)state;
	for (size_t i = 0; i < LONG; i++) {
		uuid_v7(&jobs[i].id);
		jobs[i].after = &after[i];
	}
	for (size_t i = 0; i < LONG; i++) {
		after[i].id = jobs[(i + 1) % LONG].id;
		jobs[i].after_count = i + 1 < LONG;
	}
	assert_false(chain_has_cycle(jobs, LONG, &bad));
	jobs[LONG - 1].after_count = 1;
	assert_true(chain_has_cycle(jobs, LONG, &bad));
	after[0].id = jobs[0].id;
	jobs[LONG - 1].after_count = 0;
	assert_true(chain_has_cycle(jobs, LONG, &bad));
	assert_int_equal(bad, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(payloads_are_filled),      cmocka_unit_test(a_plain_payload_stays),
		cmocka_unit_test(what_is_missing_discards), cmocka_unit_test(ends_decide),
		cmocka_unit_test(references_are_checked),   cmocka_unit_test(circles_are_found),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
