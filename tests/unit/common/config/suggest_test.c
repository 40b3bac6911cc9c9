/* SPDX-License-Identifier: Apache-2.0 */
/* Guesses for mistyped names. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/check.h"
#include "common/config/suggest.h"

static void guesses(void **state)
{
	static const struct {
		const char *word, *want;
	} cases[] = {
		{ "timeuot", "timeout" },
		{ "time_out", "timeout" },
		{ "Timeout", "timeout" },
		{ "priorty", "priority" },
		{ "max", "max_attempts" },
		{ "quue", "queue" },
		{ "sq", "sql" },
		{ "zebra", NULL },
		{ "", NULL },
		{ "x", NULL },
	};
	static const char *const names[] = { "sql",      "timeout",      "queue",
					     "priority", "max_attempts", "cap" };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct suggest suggest = { .word = cases[i].word };

		for (size_t j = 0; j < ARRAY_LEN(names); j++)
			suggest_offer(&suggest, names[j]);
		if (!suggest.best != !cases[i].want ||
		    (suggest.best && strcmp(suggest.best, cases[i].want) != 0))
			fail_msg("%s: got %s want %s", cases[i].word, suggest.best, cases[i].want);
	}
}

static void bears_long_names(void **state)
{
	char name[300];
	struct suggest suggest = { .word = name };

	(void)state;
	memset(name, 'x', sizeof(name) - 1);
	name[sizeof(name) - 1] = 0;
	suggest_offer(&suggest, name);
	suggest_offer(&suggest, "xxx");
	assert_null(suggest.best);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(guesses),
		cmocka_unit_test(bears_long_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
