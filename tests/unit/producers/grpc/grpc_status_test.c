/* SPDX-License-Identifier: Apache-2.0 */
/* Problems as statuses: the code, the percent-encoded sentence, and details that stay small. */
#include "producers/grpc/grpc_status.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

static struct grpc_status of(struct arena *arena, int http_status, const char *problem)
{
	struct grpc_status status;

	grpc_status_of_problem(arena, http_status, problem, problem ? strlen(problem) : 0, 0,
			       &status);
	return status;
}

static void codes(void **state)
{
	static const struct {
		int http_status;
		const char *slug;
		enum grpc_code want;
	} cases[] = {
		{ 400, "malformed-json", GRPC_INVALID_ARGUMENT },
		{ 401, "no-key", GRPC_UNAUTHENTICATED },
		{ 403, "not-in-scope", GRPC_PERMISSION_DENIED },
		{ 404, "unknown-job", GRPC_NOT_FOUND },
		{ 409, "wrong-state", GRPC_FAILED_PRECONDITION },
		{ 410, "past-retention", GRPC_NOT_FOUND },
		{ 413, "body-too-large", GRPC_RESOURCE_EXHAUSTED },
		{ 422, "id-taken", GRPC_ALREADY_EXISTS },
		{ 422, "unknown-type", GRPC_INVALID_ARGUMENT },
		{ 429, "queue-full", GRPC_RESOURCE_EXHAUSTED },
		{ 500, "internal", GRPC_INTERNAL },
		{ 503, "too-busy", GRPC_UNAVAILABLE },
		{ 504, "outcome-unknown", GRPC_UNKNOWN },
		{ 418, "teapot", GRPC_UNKNOWN },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct arena *arena = arena_new(0);
		char *text = arena_printf(arena, "{\"type\":\"urn:windlass:problem:%s\"}",
					  cases[i].slug);

		assert_string_equal(grpc_code_name(of(arena, cases[i].http_status, text).code),
				    grpc_code_name(cases[i].want));
		arena_free(&arena);
	}
}

static void sentences(void **state)
{
	struct arena *arena = arena_new(0);
	struct grpc_status status;

	(void)state;
	status = of(arena, 422, "{\"detail\":\"Zo\xc3\xab: 100%\\n\"}");
	assert_string_equal(status.message, "Zo%C3%AB: 100%25%0A");
	assert_string_equal(of(arena, 404, "{\"title\":\"Not Found\"}").message, "Not Found");
	assert_string_equal(of(arena, 499, NULL).message, "the answer was HTTP status 499");
	arena_free(&arena);
}

/* However many faults there are, the trailers stay within what clients take. */
static void details_stay_small(void **state)
{
	struct arena *arena = arena_new(0);
	struct strbuf text;

	(void)state;
	strbuf_init(&text);
	strbuf_addstr(&text, "{\"type\":\"urn:windlass:problem:invalid\",\"errors\":[");
	for (int i = 0; i < 100; i++)
		strbuf_printf(&text, "%s{\"pointer\":\"/payload/%d/%0200d\",\"detail\":\"d\"}",
			      i ? "," : "", i, i);
	strbuf_addstr(&text, "]}");
	assert_in_range(strlen(of(arena, 422, text.data).details), 100, 6000);
	strbuf_release(&text);
	arena_free(&arena);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(codes),
		cmocka_unit_test(sentences),
		cmocka_unit_test(details_stay_small),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
