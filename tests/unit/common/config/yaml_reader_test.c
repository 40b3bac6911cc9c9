/* SPDX-License-Identifier: Apache-2.0 */
/* The tree that YAML becomes, and the places of what lies within texts. What is refused:
 * definitions_bad_test.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/config/yaml_reader.h"

static struct yaml_node *read_text(const char *text, struct arena *arena)
{
	struct problems problems = { .file = "f", .out = stderr };
	struct yaml_node *root = yaml_read(text, strlen(text), arena, &problems);

	assert_non_null(root);
	assert_int_equal(problems.count, 0);
	return root;
}

static void keeps_kinds_and_places(void **state)
{
	struct arena *arena = arena_new(0);
	const struct yaml_node *root =
		read_text("a: [x, 'y']\nb:\n  ü: ~\n  c: &n {d: 1}\ne: *n\n", arena);

	(void)state;
	assert_int_equal(root->kind, YAML_MAP);
	assert_int_equal(root->count, 3);
	assert_int_equal(root->items[0]->kind, YAML_LIST);
	assert_true(root->items[0]->items[0]->plain);
	assert_false(root->items[0]->items[1]->plain);
	assert_int_equal(root->items[0]->items[1]->place.line, 1);
	assert_int_equal(root->items[0]->items[1]->place.column, 8);
	assert_string_equal(root->items[1]->keys[0]->text, "ü");
	assert_true(yaml_is_null(root->items[1]->items[0]));
	assert_int_equal(root->items[1]->items[0]->place.column, 6); /* characters, not bytes */
	assert_ptr_equal(root->items[2], root->items[1]->items[1]);
	assert_int_equal(root->weight, 10);
	arena_free(&arena);
}

static void finds_places_within_texts(void **state)
{
	static const struct {
		const char *yaml, *part;
		int line, column;
	} cases[] = {
		{ "a: xx$y\n", "$y", 1, 6 },
		{ "a: 'xx''$y'\n", "$y", 1, 9 },
		{ "a: \"\\u00fc$y\"\n", "$y", 1, 11 },
		{ "ü: äö$y\n", "$y", 1, 6 },
		{ "a: |\n  one\n  two $y\n", "$y", 3, 7 },
		{ "a: |\n  $ne\n  two $y\n", "$y", 3, 7 },
		{ "a: >\n  one\n\n  two\n  $y\n", "$y", 5, 3 },
		{ "a: xx\n  more $y\n", "$y", 2, 8 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct arena *arena = arena_new(0);
		const struct yaml_node *value = read_text(cases[i].yaml, arena)->items[0];
		const char *at = strstr(value->text, cases[i].part);
		struct yaml_place place;

		assert_non_null(at);
		place = yaml_place_within(cases[i].yaml, value, (size_t)(at - value->text));
		if (place.line != cases[i].line || place.column != cases[i].column)
			fail_msg("%s: got %d:%d want %d:%d", cases[i].yaml, place.line,
				 place.column, cases[i].line, cases[i].column);
		arena_free(&arena);
	}
}

static void describes(void **state)
{
	struct arena *arena = arena_new(0);
	const struct yaml_node *root = read_text("[x, [], {}, ~, '', null, '~']", arena);
	static const char *const want[] = { "`x`", "a list",  "a map", "nothing",
					    "``",  "nothing", "`~`" };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(want); i++)
		assert_string_equal(yaml_describe(root->items[i], arena), want[i]);
	arena_free(&arena);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(keeps_kinds_and_places),
		cmocka_unit_test(finds_places_within_texts),
		cmocka_unit_test(describes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
