/* SPDX-License-Identifier: Apache-2.0 */
/* Patterns as ECMA-262 means them, where Perl means something else or something more. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/schema/schema_regex.h"

static void matches(void **state)
{
	static const struct {
		const char *pattern, *text;
		int want;
	} cases[] = {
		{ "b", "abc", 1 },
		{ "^a$", "a\n", 0 },
		{ "^.$", "\r", 0 },
		{ "^.$", "\u2028", 0 },
		{ "^.$", "\U0001F409", 1 },
		{ "^[^]$", "\n", 1 },
		{ "a[]", "a", 0 },
		{ "^\\d$", "\u0663", 0 },
		{ "^\\w$", "é", 0 },
		{ "^\\s\\s$", "\u00a0\ufeff", 1 },
		{ "^\\S$", "\u2003", 0 },
		{ "^[\\s]$", "\u3000", 1 },
		{ "^[\\S]$", "\u3000", 0 },
		{ "^[\\S]$", "x", 1 },
		{ "^\\u0041\\x42\\u{43}$", "ABC", 1 },
		{ "^\\uD83D\\uDC32$", "\U0001F432", 1 },
		{ "^\\cA\\0$", "\x01", 0 },
		{ "^\\cJ$", "\n", 1 },
		{ "^[\\b]$", "\b", 1 },
		{ "^\\p{Letter}\\P{Lu}\\p{Script=Greek}$", "éxλ", 1 },
		{ "^\\p{gc=Nd}\\p{digit}$", "1\u0663", 1 },
		{ "^[[:alpha:]]$", ":]", 1 },
		{ "^[[:alpha:]]$", "z", 0 },
		{ "^(?:(a)|b)\\1$", "b", 1 },
		{ "^(?<n>a)\\k<n>$", "aa", 1 },
		{ "^a{2}$", "aa", 1 },
		{ "^a{,2}$", "a{,2}", 1 },
		{ "^{$", "{", 1 },
		{ "^a]$", "a]", 1 },
		{ "^\\-\\_\\@\\/\\#$", "-_@/#", 1 },
		{ "^a+?b*?c??$", "aab", 1 },
		{ "(?<=a)b(?!c)", "abd", 1 },
		{ "^#[ x]$", "# ", 1 },
	};
	struct schema_scratch *scratch = NULL;
	bool costly;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct arena *arena = arena_new(0);
		const char *why = NULL;
		struct schema_regex *regex = schema_regex_compile(cases[i].pattern, arena, &why);

		if (!regex)
			fail_msg("%s: %s", cases[i].pattern, why);
		if (schema_regex_match(regex, cases[i].text, strlen(cases[i].text), &scratch,
				       &costly) != cases[i].want)
			fail_msg("%s: wanted %d for %s", cases[i].pattern, cases[i].want,
				 cases[i].text);
		schema_regex_release(regex);
		arena_free(&arena);
	}
	schema_scratch_free(&scratch);
}

static void refuses(void **state)
{
	static const char *const patterns[] = {
		"(",           ")",       "[a",       "a**",
		"*a",          "^*",      "a++",      "a?+",
		"(?i)a",       "(?#a)",   "(?>a)",    "(*UTF)a",
		"(?P<n>a)",    "(?|a)",   "\\",       "\\A",
		"\\Z",         "\\z",     "\\a",      "\\h",
		"\\R",         "\\Qa\\E", "\\K",      "\\G",
		"\\u12",       "\\u{}",   "\\uD83D",  "\\x1",
		"\\01",        "\\p",     "\\p{a-b}", "\\p{Nothing}",
		"\\c1",        "[\\B]",   "[\\1]",    "[b-a]",
		"\\u{110000}", "\\1(",
	};
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(patterns); i++) {
		struct arena *arena = arena_new(0);
		const char *why = NULL;

		if (schema_regex_compile(patterns[i], arena, &why))
			fail_msg("taken: %s", patterns[i]);
		assert_true(why && *why);
		arena_free(&arena);
	}
}

static void limits_are_told(void **state)
{
	static const char *const patterns[] = { "^(a+)+$", "^(a|aa)*$", "^(\\w+\\s?)*$" };
	struct schema_scratch *scratch = NULL;
	bool costly;
	char text[61];

	(void)state;
	memset(text, 'a', sizeof(text) - 1);
	text[sizeof(text) - 1] = '!';
	for (size_t i = 0; i < ARRAY_LEN(patterns); i++) {
		struct arena *arena = arena_new(0);
		const char *why;
		struct schema_regex *regex = schema_regex_compile(patterns[i], arena, &why);

		assert_non_null(regex);
		assert_int_equal(schema_regex_match(regex, text, sizeof(text), &scratch, &costly),
				 -1);
		schema_regex_release(regex);
		arena_free(&arena);
	}
	schema_scratch_free(&scratch);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(matches),
		cmocka_unit_test(refuses),
		cmocka_unit_test(limits_are_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
