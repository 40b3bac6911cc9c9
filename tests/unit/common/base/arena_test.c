/* SPDX-License-Identifier: Apache-2.0 */
/* Pieces of every size must be aligned, apart from each other, and survive until the reset. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/arena.h"

static void pieces_do_not_overlap(void **state)
{
	static const size_t firsts[] = { 0, 1, 100, 10000 };
	unsigned char *pieces[2000];

	(void)state;
	for (size_t f = 0; f < ARRAY_LEN(firsts); f++) {
		struct arena *arena = arena_new(firsts[f]);

		for (size_t i = 0; i < ARRAY_LEN(pieces); i++) {
			pieces[i] = arena_alloc(arena, i * 7 % 3001);
			assert_int_equal((uintptr_t)pieces[i] % 16, 0);
			memset(pieces[i], (int)(i % 251), i * 7 % 3001);
		}
		for (size_t i = 0; i < ARRAY_LEN(pieces); i++) {
			for (size_t k = 0; k < i * 7 % 3001; k++) {
				if (pieces[i][k] != i % 251)
					fail_msg("piece %zu was overwritten at %zu", i, k);
			}
		}
		arena_free(&arena);
		assert_null(arena);
	}
}

static void large_pieces(void **state)
{
	struct arena *arena = arena_new(256);
	char *small = arena_strdup(arena, "before");
	char *large = arena_zalloc(arena, 5000000);
	char *after = arena_strdup(arena, "after");

	(void)state;
	assert_int_equal(large[0], 0);
	assert_int_equal(large[4999999], 0);
	memset(large, 'x', 5000000);
	assert_string_equal(small, "before");
	assert_string_equal(after, "after");
	arena_free(&arena);
}

static void reset_keeps_first_block(void **state)
{
	struct arena *arena = arena_new(0);
	void *first = arena_alloc(arena, 10);

	(void)state;
	assert_int_equal(arena_bytes(arena), 10);
	for (int i = 0; i < 100; i++)
		arena_alloc(arena, 1000);
	assert_int_equal(arena_bytes(arena), 100010);
	arena_reset(arena);
	assert_int_equal(arena_bytes(arena), 0);
	assert_ptr_equal(arena_alloc(arena, 10), first);
	arena_free(&arena);
	arena_free(&arena);
}

static void text(void **state)
{
	struct arena *arena = arena_new(0);
	char *small, *large;

	(void)state;
	assert_null(arena_strdup(arena, NULL));
	assert_string_equal(arena_strdup(arena, ""), "");
	assert_string_equal(arena_strndup(arena, "abcdef", 3), "abc");
	assert_string_equal(arena_strndup(arena, NULL, 0), "");
	assert_memory_equal(arena_dup(arena, "a\0b", 3), "a\0b", 3);
	assert_non_null(arena_dup(arena, NULL, 0));
	small = arena_printf(arena, "%s-%d", "job", 42);
	assert_string_equal(small, "job-42");
	for (int width = 250; width < 260; width++) {
		large = arena_printf(arena, "%*d", width, 1);
		assert_int_equal(strlen(large), width);
		assert_int_equal(large[width - 1], '1');
	}
	arena_free(&arena);
}

static void typed(void **state)
{
	struct arena *arena = arena_new(0);
	long *one = ARENA_NEW(arena, long), *many = ARENA_ARRAY(arena, long, 100);

	(void)state;
	assert_int_equal(*one, 0);
	for (int i = 0; i < 100; i++)
		assert_int_equal(many[i], 0);
	arena_free(&arena);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pieces_do_not_overlap),
		cmocka_unit_test(large_pieces),
		cmocka_unit_test(reset_keeps_first_block),
		cmocka_unit_test(text),
		cmocka_unit_test(typed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
