/* SPDX-License-Identifier: Apache-2.0 */
/* Cursors come back as they were given, for the same filters only. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "producers/gateway/cursor.h"

static void comes_back(void **state)
{
	struct job_filter filter = { .reach.tenant = "t", .state = JOB_COMPLETED, .type = "a" };
	char text[CURSOR_TEXT];
	struct uuid id;

	(void)state;
	uuid_v7(&id);
	cursor_format(&filter, &id, text);
	assert_true(cursor_parse(text, &filter));
	assert_true(uuid_equal(&filter.before, &id));
}

static void belongs_to_its_filters(void **state)
{
	const struct job_filter base = { .type = "a" };
	const struct job_filter others[] = {
		{ .queue = "a" },
		{ .tag = "a" },
		{ .type = "b" },
		{ .type = "a", .reach.tenant = "" },
		{ .type = "a", .state = JOB_RUNNING },
		{ .type = NULL },
		{ .type = "a", .reach.owner = "o" },
	};
	char text[CURSOR_TEXT];
	struct uuid id;

	(void)state;
	uuid_v7(&id);
	cursor_format(&base, &id, text);
	for (size_t i = 0; i < ARRAY_LEN(others); i++) {
		struct job_filter filter = others[i];
		if (cursor_parse(text, &filter))
			fail_msg("filter %zu took it", i);
	}
}

static void refuses(void **state)
{
	struct job_filter filter = { .type = "a" };
	char text[CURSOR_TEXT];
	struct uuid id;

	(void)state;
	uuid_v7(&id);
	cursor_format(&filter, &id, text);
	text[1] = '2';
	assert_false(cursor_parse(text, &filter));
	assert_false(cursor_parse("", &filter));
	assert_false(cursor_parse("00", &filter));
	memset(text, 'g', CURSOR_TEXT - 1);
	assert_false(cursor_parse(text, &filter));
	uuid_parse("00000000-0000-0000-0000-000000000000", &id) ? (void)0 : fail();
	cursor_format(&filter, &id, text);
	assert_false(cursor_parse(text, &filter));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(comes_back),
		cmocka_unit_test(belongs_to_its_filters),
		cmocka_unit_test(refuses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
