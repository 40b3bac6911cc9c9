/* SPDX-License-Identifier: Apache-2.0 */
/* `sql:` templates bound to a job: every kind of JSON value, and what is not there. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/arena.h"
#include "workers/handlers/sql_handler.h"

static const char payload[] =
	"{\"who\":\"it's me\",\"n\":-7,\"f\":1.5,\"yes\":true,\"no\":false,\"nil\":null,\"list\":[1,{\"k\":\"v\"}],"
	"\"a/b\":{\"~c\":\"deep\"}}";

static const struct {
	const char *source;
	struct sql_value want;
} cases[] = {
	{ "payload.who", { .kind = SQL_TEXT, .data = "it's me" } },
	{ "payload.n", { .kind = SQL_INT, .i = -7 } },
	{ "payload.f", { .kind = SQL_FLOAT, .d = 1.5 } },
	{ "payload.yes", { .kind = SQL_BOOL, .i = 1 } },
	{ "payload.no", { .kind = SQL_BOOL, .i = 0 } },
	{ "payload.nil", { .kind = SQL_NULL } },
	{ "payload.missing.too", { .kind = SQL_NULL } },
	{ "payload.list", { .kind = SQL_TEXT, .data = "[1,{\"k\":\"v\"}]" } },
	{ "payload.list.1.k", { .kind = SQL_TEXT, .data = "v" } },
	{ "payload.a/b.~c", { .kind = SQL_TEXT, .data = "deep" } },
	{ "payload", { .kind = SQL_TEXT, .data = payload } },
	{ "job.type", { .kind = SQL_TEXT, .data = "audit" } },
	{ "job.attempt", { .kind = SQL_INT, .i = 3 } },
	{ "job.id", { .kind = SQL_TEXT, .data = "0193abcd-0000-7000-8000-000000000001" } },
	{ "env.SQL_HANDLER_TEST", { .kind = SQL_TEXT, .data = "from env" } },
};

static void binds(void **state)
{
	const char *sources[ARRAY_LEN(cases)];
	struct claimed_job job = {
		.arena = arena_new(0),
		.type = "audit",
		.attempt = 3,
		.payload = payload,
		.payload_bytes = strlen(payload),
	};
	struct job_type type = { .sql = { .sql = "INSERT …",
					  .sources = sources,
					  .source_count = ARRAY_LEN(cases),
					  .rows = 1 } };
	struct write_set writes;
	struct error error;

	(void)state;
	setenv("SQL_HANDLER_TEST", "from env", 1);
	assert_true(uuid_parse("0193abcd-0000-7000-8000-000000000001", &job.id));
	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		sources[i] = cases[i].source;
	assert_int_equal(sql_handler_writes(&type, &job, &writes, &error), 0);
	assert_int_equal(writes.statement_count, 1);
	assert_int_equal(writes.statements[0].rows, 1);
	assert_int_equal(writes.statements[0].arg_count, ARRAY_LEN(cases));
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		const struct sql_value *got = &writes.statements[0].args[i], *want = &cases[i].want;
		bool same = got->kind == want->kind && got->i == want->i && got->d <= want->d &&
			    got->d >= want->d;

		if (want->data)
			same = same && got->bytes == strlen(want->data) &&
			       !memcmp(got->data, want->data, got->bytes);
		if (!same)
			fail_msg("%s: kind %d, %s", cases[i].source, got->kind,
				 got->data ? got->data : "-");
	}
	arena_free(&job.arena);
}

static void refuses_what_is_not_json(void **state)
{
	const char *sources[] = { "payload.a" };
	struct claimed_job job = { .arena = arena_new(0), .payload = "{", .payload_bytes = 1 };
	struct job_type type = {
		.sql = { .sql = "x", .sources = sources, .source_count = 1, .rows = -1 }
	};
	struct write_set writes;
	struct error error;

	(void)state;
	assert_int_equal(sql_handler_writes(&type, &job, &writes, &error), -1);
	assert_int_equal(error.code, ERROR_INVALID);
	arena_free(&job.arena);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(binds),
					    cmocka_unit_test(refuses_what_is_not_json) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
