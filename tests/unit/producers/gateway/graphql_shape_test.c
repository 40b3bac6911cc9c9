/* SPDX-License-Identifier: Apache-2.0 */
/* From the REST API's JSON to the schema's, and back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/check.h"
#include "producers/gateway/graphql_shape.h"

static const struct {
	const char *name;
	json_t *(*shape)(const json_t *json);
	const char *given, *want;
} cases[] = {
	{ "a job", graphql_shape_job,
	  "{\"state\":\"running\",\"max_attempts\":3,\"payload\":{\"state\":\"x\",\"run_at\":1},"
	  "\"attempts\":[{\"outcome\":\"retry\"}],\"tags\":[\"a\"]}",
	  "{\"state\":\"RUNNING\",\"maxAttempts\":3,\"payload\":{\"state\":\"x\",\"run_at\":1},"
	  "\"attempts\":[{\"outcome\":\"RETRY\"}],\"tags\":[\"a\"],\"cancelAsked\":false}" },
	{ "what is absent", graphql_shape_job, "{}", "{\"cancelAsked\":false,\"tags\":[]}" },
	{ "a page", graphql_shape_page, "{\"items\":[],\"next_cursor\":null}",
	  "{\"edges\":[],\"nodes\":[],\"pageInfo\":{\"hasNextPage\":false,\"hasPreviousPage\":false,"
	  "\"startCursor\":null,\"endCursor\":null}}" },
	{ "a full page", graphql_shape_page,
	  "{\"items\":[{\"id\":\"2\"},{\"id\":\"1\"}],\"next_cursor\":\"c\"}",
	  "{\"edges\":[{\"cursor\":\"2\",\"node\":{\"id\":\"2\",\"cancelAsked\":false,\"tags\":[]}},"
	  "{\"cursor\":\"1\",\"node\":{\"id\":\"1\",\"cancelAsked\":false,\"tags\":[]}}],"
	  "\"nodes\":[{\"id\":\"2\",\"cancelAsked\":false,\"tags\":[]},{\"id\":\"1\",\"cancelAsked\":false,"
	  "\"tags\":[]}],\"pageInfo\":{\"hasNextPage\":true,\"hasPreviousPage\":false,"
	  "\"startCursor\":\"2\",\"endCursor\":\"1\"}}" },
	{ "an input", graphql_shape_enqueue,
	  "{\"type\":\"t\",\"priority\":\"HIGH\",\"runAt\":\"x\",\"queue\":null,\"payload\":null,"
	  "\"unique\":{\"key\":\"k\",\"onConflict\":\"REPLACE\"}}",
	  "{\"type\":\"t\",\"priority\":\"high\",\"run_at\":\"x\",\"payload\":null,"
	  "\"unique\":{\"key\":\"k\",\"on_conflict\":\"replace\"}}" },
};

static void both_ways(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		json_t *given = json_loads(cases[i].given, 0, NULL), *got = cases[i].shape(given);
		json_t *want = json_loads(cases[i].want, 0, NULL);
		char *text = json_dumps(got, JSON_COMPACT);

		assert_true(given && want && text);
		if (!json_equal(got, want))
			fail_msg("%s: got %s, want %s", cases[i].name, text, cases[i].want);
		free(text);
		json_decref(given);
		json_decref(got);
		json_decref(want);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(both_ways),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
