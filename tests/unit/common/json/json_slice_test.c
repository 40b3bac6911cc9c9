/* SPDX-License-Identifier: Apache-2.0 */
/* Walking valid text piece by piece, undoing strings and numbers, and broken text that must end and
 * not be overrun. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/json/json_text.h"

static struct json_slice slice(const char *text)
{
	return (struct json_slice){ .text = text, .bytes = strlen(text) };
}

/* "key=value;" for each member, then the last result. */
static void walk_object(struct json_slice object, struct strbuf *sb)
{
	struct json_member member;
	const char *cursor = NULL;
	int result;

	strbuf_clear(sb);
	while ((result = json_slice_next(object, &cursor, &member)) == 1)
		strbuf_printf(sb, "%.*s=%.*s;", (int)member.key.bytes, member.key.text,
			      (int)member.value.bytes, member.value.text);
	strbuf_printf(sb, "%d", result);
}

static void objects(void **state)
{
	static const struct {
		const char *text, *want;
	} cases[] = {
		{ "{}", "0" },
		{ " { } ", "0" },
		{ "{\"a\":1}", "a=1;0" },
		{ "\n{ \"a\" : 1 ,\t\"b\" :[1, {\"}\":\"]\"}] , \"c\":{\"d\":{}}}\r",
		  "a=1;b=[1, {\"}\":\"]\"}];c={\"d\":{}};0" },
		{ "{\"\":\"\",\"q\\\"\":\"\\\\\",\"x\":null}", "=\"\";q\\\"=\"\\\\\";x=null;0" },
		{ "{\"a\":-1.5e+3,\"b\":true}", "a=-1.5e+3;b=true;0" },
		{ "[]", "-1" },
		{ "1", "-1" },
		{ "", "-1" },
		{ " ", "-1" },
		{ "{", "-1" },
		{ "{\"a\"", "-1" },
		{ "{\"a\":", "-1" },
		{ "{\"a\":1", "a=1;-1" },
		{ "{\"a\":1,}", "a=1;-1" },
		{ "{\"a\":1 \"b\":2}", "a=1;-1" },
		{ "{\"a\":}", "-1" },
		{ "{\"a\" 1}", "-1" },
		{ "{a:1}", "-1" },
		{ "{\"a", "-1" },
		{ "{\"a\\", "-1" },
		{ "{\"a\":[1", "-1" },
		{ "{\"a\":[\"", "-1" },
	};
	struct strbuf sb;

	(void)state;
	strbuf_init(&sb);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		walk_object(slice(cases[i].text), &sb);
		if (strcmp(sb.data, cases[i].want) != 0)
			fail_msg("%s: got %s want %s", cases[i].text, sb.data, cases[i].want);
	}
	strbuf_release(&sb);
}

static void arrays(void **state)
{
	static const struct {
		const char *text, *want;
	} cases[] = {
		{ "[]", "0" },
		{ "[1]", "1;0" },
		{ " [ 1 , [2,3],{\"a\":[]} ,\"]\" ] ", "1;[2,3];{\"a\":[]};\"]\";0" },
		{ "{}", "-1" },
		{ "[1,]", "1;-1" },
		{ "[,1]", "-1" },
		{ "[1", "1;-1" },
		{ "[", "-1" },
		{ "[1 2]", "1;-1" },
		{ "", "-1" },
	};
	struct strbuf sb;

	(void)state;
	strbuf_init(&sb);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct json_slice value;
		const char *cursor = NULL;
		int result;

		strbuf_clear(&sb);
		while ((result = json_slice_element(slice(cases[i].text), &cursor, &value)) == 1)
			strbuf_printf(&sb, "%.*s;", (int)value.bytes, value.text);
		strbuf_printf(&sb, "%d", result);
		if (strcmp(sb.data, cases[i].want) != 0)
			fail_msg("%s: got %s want %s", cases[i].text, sb.data, cases[i].want);
	}
	strbuf_release(&sb);
}

static void get(void **state)
{
	struct json_slice object = slice("{\"ab\":{\"a\":0},\"a\":\"x\",\"n\\n\":1,\"\":2}");

	(void)state;
	assert_true(json_slice_is(json_slice_get(object, "a"), "\"x\""));
	assert_true(json_slice_is(json_slice_get(object, "ab"), "{\"a\":0}"));
	assert_true(json_slice_is(json_slice_get(object, ""), "2"));
	assert_int_equal(json_slice_get(object, "b").bytes, 0);
	assert_int_equal(json_slice_get(object, "n\n").bytes, 0);
	assert_int_equal(json_slice_get(object, "n\\n").bytes, 0);
	assert_int_equal(json_slice_get(slice("[1]"), "a").bytes, 0);
	assert_int_equal(json_slice_get((struct json_slice){ 0 }, "a").bytes, 0);
	assert_false(json_slice_is(slice("tru"), "true"));
	assert_true(json_slice_is((struct json_slice){ 0 }, ""));
}

static void strings(void **state)
{
	static const struct {
		const char *text, *want; /* NULL: not a string */
	} cases[] = {
		{ "\"\"", "" },
		{ "\"plain \xc3\xa9\"", "plain \xc3\xa9" },
		{ "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "\"\\/\b\f\n\r\t" },
		{ "\"\\u0041\\u00e9\\u20AC\\ud83d\\ude00z\"",
		  "A\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80z" },
		{ "\"\\uffff\\u07ff\\u0800\"", "\xef\xbf\xbf\xdf\xbf\xe0\xa0\x80" },
		{ "\"\\udbff\\udfff\"", "\xf4\x8f\xbf\xbf" },
		{ "\"\\u0000\"", NULL },
		{ "\"\\ud83d\"", NULL },
		{ "\"\\ud83d\\u0041\"", NULL },
		{ "\"\\ude00\"", NULL },
		{ "\"\\u12g4\"", NULL },
		{ "\"\\u123\"", NULL },
		{ "\"\\x\"", NULL },
		{ "\"\\\xc3\"", NULL },
		{ "\"", NULL },
		{ "\"a", NULL },
		{ "\"a\\\"", NULL },
		{ "\"a\"b\"", NULL },
		{ "a", NULL },
		{ "1", NULL },
		{ "", NULL },
	};
	struct arena *arena = arena_new(0);

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		char *got = json_slice_string(arena, slice(cases[i].text));

		if (!got != !cases[i].want || (got && strcmp(got, cases[i].want) != 0))
			fail_msg("%s: got %s want %s", cases[i].text, got ? got : "nothing",
				 cases[i].want ? cases[i].want : "nothing");
	}
	arena_free(&arena);
}

static void integers(void **state)
{
	static const struct {
		const char *text;
		int result;
		int64_t n;
	} cases[] = {
		{ "0", 0, 0 },
		{ "-0", 0, 0 },
		{ "42", 0, 42 },
		{ "-7", 0, -7 },
		{ "9223372036854775807", 0, INT64_MAX },
		{ "-9223372036854775808", 0, INT64_MIN },
		{ "9223372036854775808", -1, 0 },
		{ "-9223372036854775809", -1, 0 },
		{ "99999999999999999999999999", -1, 0 },
		{ "1.0", -1, 0 },
		{ "1e3", -1, 0 },
		{ "01", -1, 0 },
		{ "+1", -1, 0 },
		{ "-", -1, 0 },
		{ "", -1, 0 },
		{ " 1", -1, 0 },
		{ "\"1\"", -1, 0 },
		{ "null", -1, 0 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		int64_t n = 0;

		if (json_slice_int(slice(cases[i].text), &n) != cases[i].result || n != cases[i].n)
			fail_msg("%s: got %lld", cases[i].text, (long long)n);
	}
}

static void doubles(void **state)
{
	static const struct {
		const char *text;
		int result;
		double d;
	} cases[] = {
		{ "0", 0, 0 },
		{ "-1.25", 0, -1.25 },
		{ "1e3", 0, 1000 },
		{ "1.5E-1", 0, 0.15 },
		{ "12345678901234567890123456789012345678901234567890123456789012345678901234567890"
		  "e-79",
		  0, 1.2345678901234567 },
		{ "1e400", -1, 0 },
		{ "0x10", -1, 0 },
		{ "inf", -1, 0 },
		{ "nan", -1, 0 },
		{ ".5", -1, 0 },
		{ "5.", -1, 0 },
		{ "1e", -1, 0 },
		{ "1e+", -1, 0 },
		{ "00", -1, 0 },
		{ "", -1, 0 },
		{ "true", -1, 0 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		double d = 0;

		if (json_slice_double(slice(cases[i].text), &d) != cases[i].result ||
		    d != cases[i].d)
			fail_msg("%s: got %g", cases[i].text, d);
	}
}

static void add_line(void **state)
{
	struct strbuf sb;

	(void)state;
	strbuf_init(&sb);
	strbuf_addstr(&sb, "kept\n");
	json_slice_add_line(&sb, slice("{\n\t\"a\\n\":\r\n1}"));
	json_slice_add_line(&sb, (struct json_slice){ 0 });
	assert_string_equal(sb.data, "kept\n{ \t\"a\\n\":  1}");
	strbuf_release(&sb);
}

/* Every prefix of a valid text, in memory of just its size, so that the address sanitizer sees a
 * step too far. */
static void prefixes(void **state)
{
	static const char text[] = "{\"a\":[1,{\"b\\\"\":\"\\u00e9\"}],\"c\":-1.5e3 , \"d\":{}}";
	struct arena *arena = arena_new(0);
	struct strbuf sb;

	(void)state;
	strbuf_init(&sb);
	for (size_t bytes = 0; bytes < strlen(text); bytes++) {
		char *copy = malloc(bytes ? bytes : 1);
		struct json_slice s = { .text = copy, .bytes = bytes };
		double d;

		assert_non_null(copy);
		memcpy(copy, text, bytes);
		walk_object(s, &sb);
		assert_string_equal(sb.data + sb.len - 2, "-1");
		json_slice_get(s, "d");
		json_slice_string(arena, s);
		json_slice_double(s, &d);
		free(copy);
	}
	strbuf_release(&sb);
	arena_free(&arena);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(objects),  cmocka_unit_test(arrays),   cmocka_unit_test(get),
		cmocka_unit_test(strings),  cmocka_unit_test(integers), cmocka_unit_test(doubles),
		cmocka_unit_test(add_line), cmocka_unit_test(prefixes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
