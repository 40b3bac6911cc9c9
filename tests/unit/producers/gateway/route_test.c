/* SPDX-License-Identifier: Apache-2.0 */
/* Finding routes, with a table of its own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "producers/gateway/route.h"

static const struct route table[] = {
	{ .method = "POST", .pattern = "/v1/jobs" },
	{ .method = "GET", .pattern = "/v1/jobs" },
	{ .method = "GET", .pattern = "/v1/jobs/{id}" },
	{ .method = "POST", .pattern = "/v1/jobs/batch" },
	{ .method = "GET", .pattern = "/v1/jobs/newest" },
	{ .method = "POST", .pattern = "/v1/jobs/{id}/cancel" },
};

static const struct {
	const char *method, *path;
	int row; /* -1: none */
	const char *part, *allow;
} cases[] = {
	{ "POST", "/v1/jobs", 0, NULL, "POST, GET, HEAD, OPTIONS" },
	{ "GET", "/v1/jobs", 1, NULL, "POST, GET, HEAD, OPTIONS" },
	{ "HEAD", "/v1/jobs", 1, NULL, "POST, GET, HEAD, OPTIONS" },
	{ "DELETE", "/v1/jobs", -1, NULL, "POST, GET, HEAD, OPTIONS" },
	{ "GET", "/v1/jobs/7", 2, "7", "GET, HEAD, OPTIONS" },
	{ "GET", "/v1/jobs/batch", 2, "batch", "GET, HEAD, POST, OPTIONS" },
	{ "POST", "/v1/jobs/batch", 3, NULL, "GET, HEAD, POST, OPTIONS" },
	{ "GET", "/v1/jobs/newest", 4, NULL, "GET, HEAD, OPTIONS" },
	{ "POST", "/v1/jobs/7/cancel", 5, "7", "POST, OPTIONS" },
	{ "GET", "/v1/jobs/7/cancel", -1, NULL, "POST, OPTIONS" },
	{ "GET", "/v1/jobs/7/cancel/x", -1, NULL, "" },
	{ "GET", "/v1/jobs/7/", -1, NULL, "" },
	{ "GET", "/", -1, NULL, "" },
	{ "get", "/v1/jobs", -1, NULL, "POST, GET, HEAD, OPTIONS" },
};

static void finds(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct arena *arena = arena_new(0);
		struct route_match match;
		struct target target;
		const char *why;
		assert_int_equal(target_parse(arena, cases[i].path, &target, &why), 0);
		route_find(table, ARRAY_LEN(table), cases[i].method, &target, &match);
		int row = match.route ? (int)(match.route - table) : -1;
		if (row != cases[i].row || strcmp(match.allow, cases[i].allow) != 0)
			fail_msg("%s %s: got %d, %s", cases[i].method, cases[i].path, row,
				 match.allow);
		if (cases[i].part)
			assert_string_equal(match.part, cases[i].part);
		else
			assert_null(match.part);
		arena_free(&arena);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(finds) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
