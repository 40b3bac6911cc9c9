/* SPDX-License-Identifier: Apache-2.0 */
/* Growing, cutting and handing over a buffer; every class of character that strbuf_json treats in
 * its own way. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/strbuf.h"

static void starts_empty(void **state)
{
	struct strbuf sb;
	char *taken;

	(void)state;
	strbuf_init(&sb);
	assert_string_equal(sb.data, "");
	strbuf_clear(&sb);
	strbuf_add(&sb, NULL, 0);
	strbuf_consume(&sb, 0);
	taken = strbuf_take(&sb);
	assert_string_equal(taken, "");
	free(taken);
	strbuf_release(&sb);
	strbuf_release(&sb);
}

static void grows(void **state)
{
	struct strbuf sb;

	(void)state;
	strbuf_init(&sb);
	for (int i = 0; i < 10000; i++) {
		strbuf_addch(&sb, (char)('a' + i % 26));
		assert_int_equal(sb.data[sb.len], 0);
		assert_true(sb.len < sb.cap);
	}
	for (int i = 0; i < 10000; i++)
		assert_int_equal(sb.data[i], 'a' + i % 26);
	strbuf_clear(&sb);
	assert_int_equal(sb.len, 0);
	strbuf_reserve(&sb, 100000);
	memset(sb.data, 'x', 100000);
	strbuf_release(&sb);
}

static void formats(void **state)
{
	static const struct {
		int64_t n;
		const char *want;
	} cases[] = {
		{ 0, "0" },
		{ 7, "7" },
		{ -7, "-7" },
		{ 1234567890, "1234567890" },
		{ INT64_MAX, "9223372036854775807" },
		{ INT64_MIN, "-9223372036854775808" },
	};
	struct strbuf sb;

	(void)state;
	strbuf_init(&sb);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		strbuf_clear(&sb);
		strbuf_addi(&sb, cases[i].n);
		assert_string_equal(sb.data, cases[i].want);
	}
	for (int width = 1; width < 300; width++) {
		strbuf_clear(&sb);
		strbuf_addstr(&sb, "<");
		strbuf_printf(&sb, "%*d", width, 5);
		assert_int_equal(sb.len, width + 1);
		assert_int_equal(sb.data[width], '5');
	}
	strbuf_release(&sb);
}

static void consume_and_take(void **state)
{
	struct strbuf sb;
	char *taken;

	(void)state;
	strbuf_init(&sb);
	strbuf_addstr(&sb, "line one\nline two");
	strbuf_consume(&sb, 9);
	assert_string_equal(sb.data, "line two");
	assert_int_equal(sb.len, 8);
	taken = strbuf_take(&sb);
	assert_string_equal(taken, "line two");
	assert_string_equal(sb.data, "");
	assert_int_equal(sb.len, 0);
	free(taken);
	strbuf_release(&sb);
}

static void json(void **state)
{
#define BAD "\xef\xbf\xbd"
	static const struct {
		const char *name, *text, *want;
	} cases[] = {
		{ "null", NULL, "null" },
		{ "empty", "", "\"\"" },
		{ "plain", "hello world ~", "\"hello world ~\"" },
		{ "quote and backslash", "a\"b\\c/", "\"a\\\"b\\\\c/\"" },
		{ "short escapes", "\b\f\n\r\t", "\"\\b\\f\\n\\r\\t\"" },
		{ "C0", "\x01\x1f", "\"\\u0001\\u001f\"" },
		{ "DEL", "\x7f", "\"\\u007f\"" },
		{ "C1", "\xc2\x80\xc2\x9f\xc2\xa0", "\"\\u0080\\u009f\xc2\xa0\"" },
		{ "latin, euro, emoji", "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80",
		  "\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\"" },
		{ "separators", "\xe2\x80\xa8\xe2\x80\xa9", "\"\\u2028\\u2029\"" },
		{ "bidi", "\xd8\x9c\xe2\x80\x8e\xe2\x80\xae\xe2\x81\xa6\xe2\x81\xa9",
		  "\"\\u061c\\u200e\\u202e\\u2066\\u2069\"" },
		{ "beside bidi", "\xe2\x80\xaf\xe2\x81\xaa", "\"\xe2\x80\xaf\xe2\x81\xaa\"" },
		{ "lone continuation", "a\x80z", "\"a" BAD "z\"" },
		{ "cut short", "a\xe2\x82", "\"a" BAD BAD "\"" },
		{ "broken inside", "\xe2\x28\xa1", "\"" BAD "(" BAD "\"" },
		{ "overlong slash", "\xc0\xaf", "\"" BAD BAD "\"" },
		{ "overlong of three", "\xe0\x80\xaf", "\"" BAD BAD BAD "\"" },
		{ "surrogate", "\xed\xa0\x80", "\"" BAD BAD BAD "\"" },
		{ "too high", "\xf4\x90\x80\x80", "\"" BAD BAD BAD BAD "\"" },
		{ "the highest", "\xf4\x8f\xbf\xbf", "\"\xf4\x8f\xbf\xbf\"" },
		{ "never a byte", "\xff\xfe", "\"" BAD BAD "\"" },
	};
	struct strbuf sb;

	(void)state;
	strbuf_init(&sb);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		strbuf_clear(&sb);
		strbuf_json(&sb, cases[i].text);
		if (strcmp(sb.data, cases[i].want) != 0)
			fail_msg("%s: got %s want %s", cases[i].name, sb.data, cases[i].want);
	}
	strbuf_clear(&sb);
	strbuf_json_n(&sb, "a\0b", 3);
	assert_string_equal(sb.data, "\"a\\u0000b\"");
	strbuf_clear(&sb);
	strbuf_shown(&sb, "a \"b\" c\\d\n\x1b[2J\x7f\xc2\x9b"
			  "1m\xe2\x80\xae\xc3\xa9\xff");
	assert_string_equal(sb.data,
			    "a \"b\" c\\d\\n\\u001b[2J\\u007f\\u009b1m\\u202e\xc3\xa9" BAD);
	strbuf_release(&sb);
}

/* Each byte at each place of a longer text: found and escaped wherever it stands. */
static void json_at_every_place(void **state)
{
	char text[24], want[64];
	struct strbuf sb;

	(void)state;
	strbuf_init(&sb);
	for (int c = 1; c < 128; c++) {
		for (size_t at = 0; at < sizeof(text) - 1; at++) {
			bool plain = c >= 0x20 && c < 0x7f && c != '"' && c != '\\';

			memset(text, '~', sizeof(text) - 1);
			text[sizeof(text) - 1] = '\0';
			text[at] = (char)c;
			strbuf_clear(&sb);
			strbuf_json(&sb, text);
			snprintf(want, sizeof(want), "\"%s\"", text);
			if ((strcmp(sb.data, want) == 0) != plain)
				fail_msg("byte %d at %zu: got %s", c, at, sb.data);
			if (!plain && sb.data[at + 1] != '\\')
				fail_msg("byte %d at %zu is not escaped: %s", c, at, sb.data);
		}
	}
	strbuf_release(&sb);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(starts_empty), cmocka_unit_test(grows),
		cmocka_unit_test(formats),      cmocka_unit_test(consume_and_take),
		cmocka_unit_test(json),         cmocka_unit_test(json_at_every_place),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
