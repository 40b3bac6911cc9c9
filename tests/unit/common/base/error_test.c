/* SPDX-License-Identifier: Apache-2.0 */
/* What error_set and error_wrap leave in a struct error, at and beyond the length of its message.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/error.h"

static void set_and_clear(void **state)
{
	struct error error = { .sqlstate = "23505" };

	(void)state;
	assert_int_equal(error_set(&error, ERROR_CONFLICT, "job %d is %s", 7, "done"), -1);
	assert_int_equal(error.code, ERROR_CONFLICT);
	assert_string_equal(error.message, "job 7 is done");
	assert_string_equal(error.sqlstate, "");
	error_clear(&error);
	assert_int_equal(error.code, ERROR_NONE);
	assert_string_equal(error.message, "");
}

static void wrap_keeps_code(void **state)
{
	struct error error;

	(void)state;
	error_set(&error, ERROR_SQL, "no such table");
	strcpy(error.sqlstate, "42P01");
	assert_int_equal(error_wrap(&error, "claim %s", "mail"), -1);
	assert_int_equal(error_wrap(&error, "store"), -1);
	assert_int_equal(error.code, ERROR_SQL);
	assert_string_equal(error.sqlstate, "42P01");
	assert_string_equal(error.message, "store: claim mail: no such table");
}

static void cuts_long_messages(void **state)
{
	char text[1001];
	struct error error;

	(void)state;
	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	error_set(&error, ERROR_INVALID, "%s", text);
	assert_int_equal(strlen(error.message), sizeof(error.message) - 1);
	error_wrap(&error, "here");
	assert_int_equal(strlen(error.message), sizeof(error.message) - 1);
	assert_memory_equal(error.message, "here: xxx", 9);
	error_wrap(&error, "%s", text);
	assert_true(strlen(error.message) < sizeof(error.message));
	assert_int_equal(error.message[400], 'x');
}

static void names_every_code(void **state)
{
	(void)state;
	for (int code = ERROR_NONE; code <= ERROR_INTERNAL; code++)
		assert_non_null(error_code_name((enum error_code)code));
	assert_string_equal(error_code_name(ERROR_UNAVAILABLE), "unavailable");
	assert_string_equal(error_code_name(ERROR_NOT_FOUND), "not-found");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(set_and_clear),
		cmocka_unit_test(wrap_keeps_code),
		cmocka_unit_test(cuts_long_messages),
		cmocka_unit_test(names_every_code),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
