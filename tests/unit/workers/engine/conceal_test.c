/* SPDX-License-Identifier: Apache-2.0 */
#include "workers/engine/conceal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void values_become_names(void **state)
{
	static const char *const env[] = { "TOKEN", "PORT", "UNSET", "LONGER", NULL };
	static const struct {
		const char *text, *want;
	} cases[] = {
		{ NULL, NULL },
		{ "", "" },
		{ "nothing of it", "nothing of it" },
		{ "secret-1", "${env.TOKEN}" },
		{ "a secret-1, a secret-1!", "a ${env.TOKEN}, a ${env.TOKEN}!" },
		{ "secret-1secret-1", "${env.TOKEN}${env.TOKEN}" },
		{ "port 8080", "port 8080" },
		{ "line\nhidden value", "line\n${env.LONGER}" },
	};
	struct arena *arena = arena_new(0);
	struct job_type type = { .env = env };

	(void)state;
	setenv("TOKEN", "secret-1", 1);
	setenv("PORT", "8080", 1);
	setenv("LONGER", "hidden value", 1);
	unsetenv("UNSET");
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		const char *got = conceal_variables(&type, cases[i].text, arena);

		if (cases[i].want)
			assert_string_equal(got, cases[i].want);
		else
			assert_null(got);
	}
	assert_string_equal(conceal_variables(NULL, "secret-1", arena), "secret-1");
	arena_free(&arena);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(values_become_names) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
