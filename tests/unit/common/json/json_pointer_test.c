/* SPDX-License-Identifier: Apache-2.0 */
/* The examples of RFC 6901 and the pointers that lead nowhere. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/json/json_text.h"

static const char document[] =
	"{\"foo\":[\"bar\",\"baz\"],\"\":0,\"a/b\":1,\"c%d\":2,\"e^f\":3,\"g|h\":4,\"i\\\\j\":5,"
	"\"k\\\"l\":6,\" \":7,\"m~n\":8,\"~1\":9,\"deep\":{\"\":{\"x\":[[10,11]]}}}";

static void gets(void **state)
{
	static const struct {
		const char *pointer, *want; /* NULL: nothing is there */
	} cases[] = {
		{ "/foo", "[\"bar\",\"baz\"]" },
		{ "/foo/0", "\"bar\"" },
		{ "foo/1", "\"baz\"" },
		{ "/", "0" },
		{ "/a~1b", "1" },
		{ "a~1b", "1" },
		{ "/c%d", "2" },
		{ "/e^f", "3" },
		{ "/g|h", "4" },
		{ "/i\\j", "5" },
		{ "/k\"l", "6" },
		{ "/ ", "7" },
		{ "/m~0n", "8" },
		{ "/~01", "9" },
		{ "/deep//x/0/1", "11" },
		{ "/foo/2", NULL },
		{ "/foo/-", NULL },
		{ "/foo/01", NULL },
		{ "/foo/+1", NULL },
		{ "/foo/", NULL },
		{ "/foo/1e0", NULL },
		{ "/foo/18446744073709551616", NULL },
		{ "/foo/0/x", NULL },
		{ "/bar", NULL },
		{ "/m~n", NULL },
		{ "/m~", NULL },
		{ "/m~2n", NULL },
		{ "//", NULL },
		{ "/deep/", "{\"x\":[[10,11]]}" },
	};
	struct json_error error;
	json_t *root = json_text_parse(document, strlen(document), &error);

	(void)state;
	assert_non_null(root);
	assert_ptr_equal(json_pointer_get(root, ""), root);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		json_t *value = json_pointer_get(root, cases[i].pointer);
		char *got = value ? json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT) : NULL;

		if (!got != !cases[i].want || (got && strcmp(got, cases[i].want) != 0))
			fail_msg("%s: got %s", cases[i].pointer, got ? got : "nothing");
		free(got);
	}
	json_decref(root);
}

static void long_token(void **state)
{
	json_t *root = json_object();
	struct strbuf key, pointer;

	(void)state;
	strbuf_init(&key);
	strbuf_init(&pointer);
	for (int i = 0; i < 500; i++)
		strbuf_addstr(&key, i % 2 ? "~x" : "/");
	json_pointer_add(&pointer, key.data);
	assert_int_equal(json_object_set_new(root, key.data, json_true()), 0);
	assert_true(json_is_true(json_pointer_get(root, pointer.data)));
	strbuf_release(&key);
	strbuf_release(&pointer);
	json_decref(root);
}

static void adds(void **state)
{
	struct strbuf sb;

	(void)state;
	strbuf_init(&sb);
	json_pointer_add(&sb, "a/b");
	json_pointer_add(&sb, "m~n");
	json_pointer_add(&sb, "~1");
	json_pointer_add(&sb, "");
	assert_string_equal(sb.data, "/a~1b/m~0n/~01/");
	strbuf_release(&sb);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(gets),
		cmocka_unit_test(long_token),
		cmocka_unit_test(adds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
