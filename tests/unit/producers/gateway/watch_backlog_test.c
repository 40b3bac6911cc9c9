/* SPDX-License-Identifier: Apache-2.0 */
/* Each job once, oldest first, as many as there is room for; ended ones are remembered for a while.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/base/check.h"
#include "producers/gateway/watch_backlog.h"

#define SECOND INT64_C(1000000000)

static struct uuid numbered(unsigned n)
{
	return (struct uuid){ { 1, (uint8_t)(n >> 24), (uint8_t)(n >> 16), (uint8_t)(n >> 8),
				(uint8_t)n } };
}

static void each_once_in_order(void **state)
{
	struct watch_backlog *backlog = watch_backlog_new();
	struct uuid ids[1000], id;
	int64_t heard_ns;
	bool moved[1000];
	unsigned first = 0;

	(void)state;
	for (unsigned n = 0; n < 3000; n++) {
		id = numbered(n);
		assert_true(watch_backlog_add(backlog, &id, false, 10 + n));
		assert_true(watch_backlog_add(backlog, &id, n % 2, 5));
	}
	assert_int_equal(watch_backlog_count(backlog), 3000);
	for (size_t count; (count = watch_backlog_peek(backlog, ids, moved, 700, &heard_ns));) {
		assert_int_equal(heard_ns, 10 + first);
		for (size_t i = 0; i < count; i++) {
			id = numbered(first + (unsigned)i);
			assert_true(uuid_equal(&ids[i], &id));
			assert_int_equal(moved[i], (first + i) % 2);
		}
		watch_backlog_drop(backlog, count);
		first += (unsigned)count;
	}
	assert_int_equal(first, 3000);
	id = numbered(1);
	assert_true(watch_backlog_add(backlog, &id, true, 1)); /* anew */
	assert_int_equal(watch_backlog_count(backlog), 1);
	watch_backlog_free(&backlog);
}

static void no_more_than_there_is_room(void **state)
{
	struct watch_backlog *backlog = watch_backlog_new();
	struct uuid id;

	(void)state;
	for (unsigned n = 0; n < WATCH_BACKLOG_MAX; n++) {
		id = numbered(n);
		assert_true(watch_backlog_add(backlog, &id, true, 0));
	}
	id = numbered(WATCH_BACKLOG_MAX);
	assert_false(watch_backlog_add(backlog, &id, true, 0));
	id = numbered(7);
	assert_true(watch_backlog_add(backlog, &id, true, 0)); /* it is there */
	watch_backlog_free(&backlog);
}

static void told_ones_are_remembered(void **state)
{
	struct watch_backlog *backlog = watch_backlog_new();
	struct uuid a = numbered(1), b = numbered(2), c = numbered(3);

	(void)state;
	watch_backlog_told(backlog, &a, 1 * SECOND);
	assert_true(watch_backlog_was_told(backlog, &a));
	assert_false(watch_backlog_was_told(backlog, &b));
	watch_backlog_told(backlog, &b, 20 * SECOND);
	assert_true(watch_backlog_was_told(backlog, &a) && watch_backlog_was_told(backlog, &b));
	watch_backlog_told(backlog, &c, 40 * SECOND);
	assert_false(watch_backlog_was_told(backlog, &a));
	assert_true(watch_backlog_was_told(backlog, &b) && watch_backlog_was_told(backlog, &c));
	watch_backlog_free(&backlog);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_once_in_order),
		cmocka_unit_test(no_more_than_there_is_room),
		cmocka_unit_test(told_ones_are_remembered),
	};

	return cmocka_run_group_tests_name("watch_backlog", tests, NULL, NULL);
}
