/* SPDX-License-Identifier: Apache-2.0 */
/* Request targets: splitting before decoding, and everything that is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/http/target.h"

static void splits_then_decodes(void **state)
{
	struct arena *arena = arena_new(0);
	struct target target;
	const char *why = NULL;

	(void)state;
	assert_int_equal(target_parse(arena, "/v1/a%2Fb/%C3%A9?x=1%262&y=a+b&z&=e", &target, &why),
			 0);
	assert_int_equal(target.segment_count, 3);
	assert_string_equal(target.segments[0], "v1");
	assert_string_equal(target.segments[1], "a/b");
	assert_string_equal(target.segments[2], "\xc3\xa9");
	assert_string_equal(target_param(&target, "x"), "1&2");
	assert_string_equal(target_param(&target, "y"), "a b");
	assert_string_equal(target_param(&target, "z"), "");
	assert_string_equal(target_param(&target, ""), "e");
	assert_null(target_param(&target, "w"));
	arena_free(&arena);
}

static void counts_segments(void **state)
{
	static const struct {
		const char *raw;
		size_t segments;
	} cases[] = { { "/", 0 },  { "/?", 0 },    { "/a", 1 },         { "/a/", 2 },
		      { "//", 2 }, { "/a//b", 3 }, { "/%2e%2e/a+b", 2 } };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct arena *arena = arena_new(0);
		struct target target;
		const char *why = NULL;
		if (target_parse(arena, cases[i].raw, &target, &why) != 0 ||
		    target.segment_count != cases[i].segments)
			fail_msg("%s: got %zu want %zu", cases[i].raw, target.segment_count,
				 cases[i].segments);
		arena_free(&arena);
	}
}

static void refuses(void **state)
{
	static const char *const cases[] = {
		"",
		"*",
		"v1",
		"http://x/",
		"/%",
		"/%4",
		"/%zz",
		"/%00",
		"/%0a",
		"/%7f",
		"/%c2%85",
		"/%c0%af",
		"/%ed%a0%80",
		"/%f5%80%80%80",
		"/%e2%82",
		"/\xff",
		"/a#b",
		"/?a=1&a=2",
		"/?a=%zz",
		"/?%01=1",
		"/1/2/3/4/5/6/7/8/9",
		"/?1&2&3&4&5&6&7&8&9&10&11&12&13&14&15&16&17&18&19&20&21&22&23&24&25&26&27&28&29&30&31&32&33",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct arena *arena = arena_new(0);
		struct target target;
		const char *why = NULL;
		if (target_parse(arena, cases[i], &target, &why) != -1 || !why)
			fail_msg("%s was taken", cases[i]);
		arena_free(&arena);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(splits_then_decodes),
		cmocka_unit_test(counts_segments),
		cmocka_unit_test(refuses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
