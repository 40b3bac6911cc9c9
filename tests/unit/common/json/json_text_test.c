/* SPDX-License-Identifier: Apache-2.0 */
/* What json_text_parse takes and refuses, and where it says the fault is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/strbuf.h"
#include "common/json/json_text.h"

static void accepts(void **state)
{
	static const char *const cases[] = {
		"null",
		"true",
		" 1 ",
		"-0",
		"1e308",
		"\"\"",
		"[]",
		"{}",
		"{\"a\":{\"a\":1}}",
		"\"\\ud83d\\ude00\"",
		"9223372036854775807",
		"-9223372036854775808",
		"\"[[[[{{{{\\\"[\"",
	};
	struct json_error error;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		json_t *value = json_text_parse(cases[i], strlen(cases[i]), &error);

		if (!value)
			fail_msg("%s: %s", cases[i], error.message);
		if (!json_text_check(cases[i], strlen(cases[i])))
			fail_msg("%s: not by the check", cases[i]);
		json_decref(value);
	}
}

static void refuses(void **state)
{
	static const struct {
		const char *name, *text;
		int line, column; /* 0: anywhere */
	} cases[] = {
		{ "empty", "", 1, 1 },
		{ "blank", " ", 1, 0 },
		{ "something after", "{} x", 1, 4 },
		{ "second value", "1 2", 1, 3 },
		{ "duplicate key", "{\"a\":1,\n \"a\":2}", 2, 4 },
		{ "duplicate by escape", "{\"a\":1,\"\\u0061\":2}", 1, 0 },
		{ "trailing comma", "[1,]", 1, 4 },
		{ "single quotes", "{'a':1}", 1, 2 },
		{ "comment", "/**/1", 1, 1 },
		{ "NaN", "NaN", 1, 0 },
		{ "leading zero", "01", 1, 0 },
		{ "plus", "+1", 1, 1 },
		{ "integer too big", "9223372036854775808", 1, 0 },
		{ "real too big", "1e400", 1, 0 },
		{ "escaped NUL", "\"a\\u0000b\"", 1, 0 },
		{ "escaped NUL in key", "{\"a\\u0000b\":1}", 1, 0 },
		{ "lone surrogate", "\"\\ud83d\"", 1, 0 },
		{ "bad UTF-8", "\"\xff\"", 1, 0 },
		{ "overlong", "\"\xc0\xaf\"", 1, 0 },
		{ "encoded surrogate", "\"\xed\xa0\x80\"", 1, 0 },
		{ "control in string", "\"a\nb\"", 1, 0 },
		{ "cut", "{\"a\":", 1, 0 },
		{ "cut in string", "\"abc\\", 1, 0 },
		{ "byte order mark", "\xef\xbb\xbf{}", 1, 1 },
		{ "column in characters", "[\"\xc3\xa9\xc3\xa9\", x]", 1, 8 },
	};
	struct json_error error;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		memset(&error, 0, sizeof(error));
		if (json_text_parse(cases[i].text, strlen(cases[i].text), &error))
			fail_msg("%s was accepted", cases[i].name);
		if (json_text_check(cases[i].text, strlen(cases[i].text)))
			fail_msg("%s was accepted by the check", cases[i].name);
		if (error.line != cases[i].line || error.column < 1 ||
		    (cases[i].column && error.column != cases[i].column))
			fail_msg("%s: got %d:%d (%s) want %d:%d", cases[i].name, error.line,
				 error.column, error.message, cases[i].line, cases[i].column);
		assert_int_not_equal(error.message[0], 0);
	}
	assert_null(json_text_parse("\"a\0b\"", 5, &error));
	assert_null(json_text_parse("1\0", 2, &error));
	assert_null(json_text_parse("[1,\n \0 2]", 9, &error));
	assert_int_equal(error.line, 2);
	assert_int_equal(error.column, 2);
}

static json_t *parse_nested(size_t depth, char open, char close, struct json_error *error_r)
{
	size_t bytes = 2 * depth;
	char *text = malloc(bytes + 1);
	json_t *value;

	assert_non_null(text);
	memset(text, open, depth);
	memset(text + depth, close, depth);
	value = json_text_parse(text, bytes, error_r);
	assert_int_equal(json_text_check(text, bytes), value != NULL);
	free(text);
	return value;
}

static void depth(void **state)
{
	static const char side_by_side[] = "[[[]],[[]],{\"a\":[]},[[[]]]]";
	struct json_error error;
	json_t *value = parse_nested(JSON_DEPTH_MAX, '[', ']', &error);

	(void)state;
	assert_non_null(value);
	json_decref(value);
	assert_null(parse_nested(JSON_DEPTH_MAX + 1, '[', ']', &error));
	assert_string_equal(error.message, "nested too deeply");
	assert_int_equal(error.line, 1);
	assert_int_equal(error.column, JSON_DEPTH_MAX + 1);
	assert_null(parse_nested(1000000, '{', '}', &error));
	assert_null(parse_nested(1000000, '[', '[', &error));
	value = json_text_parse(side_by_side, strlen(side_by_side), &error);
	assert_non_null(value);
	json_decref(value);
}

/* Objects so large that keys are sorted and kept elsewhere; the last key is there twice, or not. */
static void check_of_many_keys(void **state)
{
	struct strbuf text;

	(void)state;
	for (int count = 2; count < 200; count += 3) {
		for (int twice = 0; twice < 2; twice++) {
			strbuf_init(&text);
			strbuf_addstr(&text, "[{\"k0\":{}},{");
			for (int i = 0; i < count; i++)
				strbuf_printf(&text, "\"k%d\":{\"k%d\":0},", i * 7919 % 1000, i);
			strbuf_printf(&text, "\"\\u006b%s\":1}]", twice ? "0" : "");
			if (json_text_check(text.data, text.len) != !twice)
				fail_msg("%d keys: %s", count, text.data);
			strbuf_release(&text);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(accepts),
		cmocka_unit_test(refuses),
		cmocka_unit_test(check_of_many_keys),
		cmocka_unit_test(depth),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
