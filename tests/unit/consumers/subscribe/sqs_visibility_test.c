/* SPDX-License-Identifier: Apache-2.0 */
/* The schedule of renewals, by a clock of numbers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/base/check.h"
#include "consumers/subscribe/sqs_visibility.h"

#define NODES 30

struct table {
	struct sqs_visibility visibility; /* of 30 s: renewed after 10 s, 2.5 s early at most */
	struct sqs_visible nodes[NODES];
};

static void set_up(struct table *t)
{
	sqs_visibility_init(&t->visibility, 30);
	for (size_t i = 0; i < NODES; i++)
		list_init(&t->nodes[i].link);
}

static void due_at_a_third(void **state)
{
	struct sqs_visible *due[10];
	struct table t;

	(void)state;
	set_up(&t);
	assert_int_equal(sqs_visibility_next(&t.visibility), -1);
	sqs_visibility_hold(&t.visibility, &t.nodes[0], 1000);
	assert_int_equal(sqs_visibility_next(&t.visibility), 11000);
	assert_int_equal(sqs_visibility_due(&t.visibility, 10999, due, 10), 0);
	assert_int_equal(sqs_visibility_due(&t.visibility, 11000, due, 10), 1);
	assert_ptr_equal(due[0], &t.nodes[0]);
	assert_int_equal(sqs_visibility_next(&t.visibility), -1);
}

static void neighbours_come_along(void **state)
{
	struct sqs_visible *due[10];
	struct table t;

	(void)state;
	set_up(&t);
	for (size_t i = 0; i < NODES; i++)
		sqs_visibility_hold(&t.visibility, &t.nodes[i], (int64_t)i * 500);
	/* Due at 10,000 and up to 12,500. */
	assert_int_equal(sqs_visibility_due(&t.visibility, 10000, due, 10), 6);
	assert_int_equal(sqs_visibility_next(&t.visibility), 13000);
	assert_int_equal(sqs_visibility_due(&t.visibility, 30000, due, 10), 10);
	assert_ptr_equal(due[0], &t.nodes[6]);
	assert_int_equal(sqs_visibility_due(&t.visibility, 30000, due, 10), 10);
	assert_int_equal(sqs_visibility_due(&t.visibility, 30000, due, 10), 4);
}

static void failed_ones_come_soon(void **state)
{
	struct sqs_visible *due[10];
	struct table t;

	(void)state;
	set_up(&t);
	sqs_visibility_hold(&t.visibility, &t.nodes[0], 0);
	sqs_visibility_hold(&t.visibility, &t.nodes[1], 9000);
	assert_int_equal(sqs_visibility_due(&t.visibility, 10000, due, 10), 1);
	sqs_visibility_again(&t.visibility, due[0], 10000);
	assert_int_equal(sqs_visibility_next(&t.visibility), 10500);
	assert_int_equal(sqs_visibility_due(&t.visibility, 10500, due, 10), 1);
	assert_ptr_equal(due[0], &t.nodes[0]);
	sqs_visibility_hold(&t.visibility, due[0], 10500);
	assert_int_equal(sqs_visibility_next(&t.visibility), 19000);
}

static void drops_and_pauses(void **state)
{
	struct sqs_visible *due[10];
	struct table t;

	(void)state;
	set_up(&t);
	sqs_visibility_drop(&t.nodes[2]); /* not held */
	sqs_visibility_hold(&t.visibility, &t.nodes[0], 0);
	sqs_visibility_hold(&t.visibility, &t.nodes[1], 0);
	sqs_visibility_drop(&t.nodes[0]);
	sqs_visibility_pause(&t.visibility, 12000);
	assert_int_equal(sqs_visibility_next(&t.visibility), 12000);
	assert_int_equal(sqs_visibility_due(&t.visibility, 11999, due, 10), 0);
	assert_int_equal(sqs_visibility_due(&t.visibility, 12000, due, 10), 1);
	assert_ptr_equal(due[0], &t.nodes[1]);
}

/* Whatever is held is renewed at least twice in its visibility. */
static void nothing_is_late(void **state)
{
	struct sqs_visible *due[10];
	int64_t last[NODES];
	struct table t;

	(void)state;
	set_up(&t);
	for (size_t i = 0; i < NODES; i++) {
		last[i] = (int64_t)i * 731;
		sqs_visibility_hold(&t.visibility, &t.nodes[i], last[i]);
	}
	for (int64_t now = 0; now < 200000; now += 100) {
		size_t count;

		while ((count = sqs_visibility_due(&t.visibility, now, due, 10))) {
			for (size_t i = 0; i < count; i++) {
				size_t n = (size_t)(due[i] - t.nodes);

				assert_in_range(now - last[n], 7500, 10100);
				last[n] = now;
				sqs_visibility_hold(&t.visibility, due[i], now);
			}
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(due_at_a_third),        cmocka_unit_test(neighbours_come_along),
		cmocka_unit_test(failed_ones_come_soon), cmocka_unit_test(drops_and_pauses),
		cmocka_unit_test(nothing_is_late),
	};

	return cmocka_run_group_tests_name("sqs_visibility", tests, NULL, NULL);
}
