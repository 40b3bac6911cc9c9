/* SPDX-License-Identifier: Apache-2.0 */
/* What a document may ask for: the first limit that it meets, however it is dressed up. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "producers/graphql/limits.h"
#include "producers/graphql/parser.h"

static const struct {
	const char *name, *text, *code; /* NULL: within the limits */
} cases[] = {
	{ "three deep", "{ a { b { c } } }", NULL },
	{ "four deep", "{ a { b { c { d } } } }", "too-deep" },
	{ "by a fragment", "{ a { ...F } } fragment F on A { b { c { d } } }", "too-deep" },
	{ "inline fragments are no depth", "{ ... { ... { a { b { c } } } } }", NULL },
	{ "introspection may go deeper", "{ __schema { a { b { c { d } } } } }", NULL },
	{ "but only from the top", "{ a { __schema { b { c } } } }", "too-deep" },
	{ "two aliases", "{ x: a y: b }", NULL },
	{ "three aliases", "{ x: a y: b z: c }", "too-many-aliases" },
	{ "aliases by fragments", "{ ...F ...F ...F } fragment F on A { x: a }",
	  "too-many-aliases" },
	{ "twelve nodes", "{ a b c d e f g h i j k l }", NULL },
	{ "thirteen nodes", "{ a b c d e f g h i j k l m }", "too-many-nodes" },
	{ "of all operations", "query A { a b c d e f g } query B { a b c d e f }",
	  "too-many-nodes" },
	{ "a cycle ends", "{ ...A } fragment A on A { ...B } fragment B on A { ...A }", NULL },
	{ "doubling",
	  "{ ...A } fragment A on A { ...B ...B } fragment B on A { ...C ...C } fragment C on A { "
	  "...D ...D } fragment D on A { a }",
	  "too-many-nodes" },
};

static void first_limit(void **state)
{
	static const struct limits limits = { .depth = 3, .nodes = 12, .aliases = 2 };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct arena *arena = arena_new(0);
		const char *code = NULL, *why;
		struct faults faults;
		struct node *document;

		faults_init(&faults, arena, 0);
		document = parser_document(arena, cases[i].text, strlen(cases[i].text), 0, &faults);
		assert_non_null(document);
		why = limits_exceeded(&limits, arena, document, &code);
		if (!why != !cases[i].code || (why && strcmp(code, cases[i].code) != 0))
			fail_msg("%s: got %s, want %s", cases[i].name, code ? code : "none",
				 cases[i].code ? cases[i].code : "none");
		arena_free(&arena);
	}
}

static void tokens(void **state)
{
	struct arena *arena = arena_new(0);
	struct faults faults;

	(void)state;
	faults_init(&faults, arena, 0);
	assert_non_null(parser_document(arena, "{ a b }", 7, 4, &faults));
	assert_null(parser_document(arena, "{ a b }", 7, 3, &faults));
	assert_string_equal(faults.first->message,
			    "Syntax Error: Document contains more than 3 tokens. Parsing aborted.");
	arena_free(&arena);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(first_limit),
		cmocka_unit_test(tokens),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
