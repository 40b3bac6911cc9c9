/* SPDX-License-Identifier: Apache-2.0 */
/* The in-flight table: twins are refused, the maximum counts, ids can be listed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "common/broker/inflight.h"

static void twins_and_room(void **state)
{
	struct inflight *inflight = inflight_new(3);
	struct uuid a, b, ids[3];
	int one = 1, two = 2;

	(void)state;
	uuid_v7(&a);
	uuid_v7(&b);
	assert_true(inflight_add(inflight, &a, &one));
	assert_false(inflight_add(inflight, &a, &two));
	assert_ptr_equal(inflight_get(inflight, &a), &one);
	assert_null(inflight_get(inflight, &b));
	assert_true(inflight_add(inflight, &b, &two));
	assert_int_equal(inflight_count(inflight), 2);
	assert_int_equal(inflight_room(inflight), 1);
	assert_int_equal(inflight_ids(inflight, ids, 1), 1);
	assert_int_equal(inflight_ids(inflight, ids, 3), 2);
	assert_true(uuid_equal(&ids[0], &a) || uuid_equal(&ids[1], &a));
	inflight_remove(inflight, &a);
	assert_null(inflight_get(inflight, &a));
	assert_true(inflight_add(inflight, &a, &two));
	inflight_free(&inflight);
	assert_null(inflight);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(twins_and_room) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
