/* SPDX-License-Identifier: Apache-2.0 */
/* The examples of RFC 3986, section 5.4, and names that are no addresses. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/schema/schema_uri.h"

static void resolves(void **state)
{
	static const struct {
		const char *base, *reference, *want;
	} cases[] = {
		{ "http://a/b/c/d;p?q", "g:h", "g:h" },
		{ "http://a/b/c/d;p?q", "g", "http://a/b/c/g" },
		{ "http://a/b/c/d;p?q", "./g", "http://a/b/c/g" },
		{ "http://a/b/c/d;p?q", "g/", "http://a/b/c/g/" },
		{ "http://a/b/c/d;p?q", "/g", "http://a/g" },
		{ "http://a/b/c/d;p?q", "//g", "http://g" },
		{ "http://a/b/c/d;p?q", "?y", "http://a/b/c/d;p?y" },
		{ "http://a/b/c/d;p?q", "g?y", "http://a/b/c/g?y" },
		{ "http://a/b/c/d;p?q", "#s", "http://a/b/c/d;p?q" },
		{ "http://a/b/c/d;p?q", "g#s", "http://a/b/c/g" },
		{ "http://a/b/c/d;p?q", ";x", "http://a/b/c/;x" },
		{ "http://a/b/c/d;p?q", "", "http://a/b/c/d;p?q" },
		{ "http://a/b/c/d;p?q", ".", "http://a/b/c/" },
		{ "http://a/b/c/d;p?q", "./", "http://a/b/c/" },
		{ "http://a/b/c/d;p?q", "..", "http://a/b/" },
		{ "http://a/b/c/d;p?q", "../g", "http://a/b/g" },
		{ "http://a/b/c/d;p?q", "../..", "http://a/" },
		{ "http://a/b/c/d;p?q", "../../g", "http://a/g" },
		{ "http://a/b/c/d;p?q", "../../../g", "http://a/g" },
		{ "http://a/b/c/d;p?q", "/./g", "http://a/g" },
		{ "http://a/b/c/d;p?q", "/../g", "http://a/g" },
		{ "http://a/b/c/d;p?q", "g..", "http://a/b/c/g.." },
		{ "http://a/b/c/d;p?q", "./g/.", "http://a/b/c/g/" },
		{ "http://a/b/c/d;p?q", "g/./h", "http://a/b/c/g/h" },
		{ "http://a/b/c/d;p?q", "g/../h", "http://a/b/c/h" },
		{ "http://a", "g", "http://a/g" },
		{ "", "a/b.json", "a/b.json" },
		{ "", "..", "" },
		{ "", ".", "" },
		{ "a/b.json", "c.json#/d", "a/c.json" },
		{ "urn:x:y", "#a", "urn:x:y" },
		{ "http://a/b", "urn:uuid:1#a", "urn:uuid:1" },
	};
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct arena *arena = arena_new(0);

		assert_string_equal(schema_uri_resolve(cases[i].base, cases[i].reference, arena),
				    cases[i].want);
		arena_free(&arena);
	}
}

static void undoes_fragments(void **state)
{
	struct arena *arena = arena_new(0);

	(void)state;
	assert_string_equal(schema_uri_fragment("a", arena), "");
	assert_string_equal(schema_uri_fragment("a#", arena), "");
	assert_string_equal(schema_uri_fragment("#/a%25b~1c%22", arena), "/a%b~1c\"");
	assert_null(schema_uri_fragment("#%2", arena));
	assert_null(schema_uri_fragment("#%zz", arena));
	arena_free(&arena);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(resolves),
		cmocka_unit_test(undoes_fragments),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
