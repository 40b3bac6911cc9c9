/* SPDX-License-Identifier: Apache-2.0 */
/* The map against a plain array doing the same: random puts and takes, so that every way of
 * shifting back occurs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/check.h"
#include "common/base/clock.h"
#include "common/base/idmap.h"

static void basics(void **state)
{
	struct idmap *map = idmap_new();
	struct uuid id = { .b = { 1 } }, other = { .b = { 2 } };
	int a, b;

	(void)state;
	assert_null(idmap_get(map, &id));
	assert_null(idmap_take(map, &id));
	assert_null(idmap_put(map, &id, &a));
	assert_ptr_equal(idmap_put(map, &id, &b), &a);
	assert_int_equal(idmap_count(map), 1);
	assert_ptr_equal(idmap_get(map, &id), &b);
	assert_null(idmap_get(map, &other));
	assert_ptr_equal(idmap_take(map, &id), &b);
	assert_null(idmap_get(map, &id));
	assert_int_equal(idmap_count(map), 0);
	idmap_free(&map);
	assert_null(map);
	idmap_free(&map);
}

/* Ids that differ in one place only must spread as well as any. */
static void make_id(struct uuid *id_r, uint32_t n)
{
	memset(id_r, 0, sizeof(*id_r));
	memcpy(id_r->b + (n % 3) * 5, &n, sizeof(n));
}

static void like_an_array(void **state)
{
	static int values[3000];
	static bool present[ARRAY_LEN(values)];
	struct idmap *map = idmap_new();
	size_t count = 0;

	(void)state;
	for (int round = 0; round < 200000; round++) {
		uint32_t n = (uint32_t)random_below(ARRAY_LEN(values));
		struct uuid id;
		void *want = present[n] ? &values[n] : NULL;

		make_id(&id, n);
		assert_ptr_equal(idmap_get(map, &id), want);
		/* Phases of filling and of draining. */
		if (random_below(10) < (round / 20000 % 2 ? 3u : 7u)) {
			assert_ptr_equal(idmap_put(map, &id, &values[n]), want);
			count += !present[n];
			present[n] = true;
		} else {
			assert_ptr_equal(idmap_take(map, &id), want);
			count -= present[n];
			present[n] = false;
		}
		assert_int_equal(idmap_count(map), count);
	}
	idmap_free(&map);
}

static void iterates(void **state)
{
	static int values[1000];
	struct idmap *map = idmap_new();
	size_t cursor = 0, seen = 0;
	struct uuid id;
	void *value;

	(void)state;
	assert_false(idmap_next(map, &cursor, &id, &value));
	for (uint32_t n = 0; n < ARRAY_LEN(values); n++) {
		make_id(&id, n);
		idmap_put(map, &id, &values[n]);
	}
	for (cursor = 0; idmap_next(map, &cursor, &id, &value); seen++) {
		assert_ptr_equal(idmap_get(map, &id), value);
		++*(int *)value;
	}
	assert_int_equal(seen, ARRAY_LEN(values));
	for (size_t n = 0; n < ARRAY_LEN(values); n++)
		assert_int_equal(values[n], 1);
	idmap_free(&map);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(basics),
		cmocka_unit_test(like_an_array),
		cmocka_unit_test(iterates),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
