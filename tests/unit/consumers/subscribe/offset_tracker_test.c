/* SPDX-License-Identifier: Apache-2.0 */
/* The offset tracker: one more than the last, never past what is open, in any order of ends. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/clock.h"
#include "consumers/subscribe/offset_tracker.h"

static void position_is_one_behind_the_last(void **state)
{
	struct offset_tracker tracker;
	uint64_t a, b;

	(void)state;
	offset_tracker_init(&tracker, -1);
	assert_int_equal(offset_tracker_position(&tracker), -1);
	a = offset_tracker_add(&tracker, 41);
	assert_int_equal(offset_tracker_position(&tracker), 41);
	assert_true(offset_tracker_done(&tracker, a));
	assert_int_equal(offset_tracker_position(&tracker), 42);
	b = offset_tracker_add(&tracker, 42);
	assert_true(offset_tracker_done(&tracker, b));
	assert_int_equal(offset_tracker_position(&tracker), 43);
	offset_tracker_release(&tracker);
}

static void starts_where_it_is_told(void **state)
{
	struct offset_tracker tracker;

	(void)state;
	offset_tracker_init(&tracker, 7);
	assert_int_equal(offset_tracker_position(&tracker), 7);
	assert_int_equal(offset_tracker_span(&tracker), 0);
	offset_tracker_release(&tracker);
}

/* Compacted logs and transaction markers leave offsets that no message has. */
static void gaps_hold_nothing(void **state)
{
	struct offset_tracker tracker;
	uint64_t a, b, c;

	(void)state;
	offset_tracker_init(&tracker, 0);
	a = offset_tracker_add(&tracker, 3);
	b = offset_tracker_add(&tracker, 10);
	c = offset_tracker_add(&tracker, 500);
	assert_int_equal(offset_tracker_position(&tracker), 3);
	assert_false(offset_tracker_done(&tracker, b));
	assert_int_equal(offset_tracker_position(&tracker), 3);
	assert_true(offset_tracker_done(&tracker, a));
	assert_int_equal(offset_tracker_position(&tracker), 500);
	assert_true(offset_tracker_done(&tracker, c));
	assert_int_equal(offset_tracker_position(&tracker), 501);
	offset_tracker_release(&tracker);
}

static void the_oldest_holds_back_a_full_span(void **state)
{
	struct offset_tracker tracker;
	uint64_t first, other[OFFSET_SPAN_MAX];

	(void)state;
	offset_tracker_init(&tracker, -1);
	first = offset_tracker_add(&tracker, 0);
	for (int64_t i = 1; i < OFFSET_SPAN_MAX; i++) {
		assert_false(offset_tracker_full(&tracker));
		other[i] = offset_tracker_add(&tracker, i);
	}
	assert_true(offset_tracker_full(&tracker));
	for (int64_t i = OFFSET_SPAN_MAX - 1; i > 0; i--)
		assert_false(offset_tracker_done(&tracker, other[i]));
	assert_true(offset_tracker_full(&tracker));
	assert_int_equal(offset_tracker_position(&tracker), 0);
	assert_true(offset_tracker_done(&tracker, first));
	assert_int_equal(offset_tracker_span(&tracker), 0);
	assert_int_equal(offset_tracker_position(&tracker), OFFSET_SPAN_MAX);
	offset_tracker_release(&tracker);
}

/* Against the plainest model there is: a flag for each offset. */
#define MESSAGES 30000

struct model {
	bool over[MESSAGES];
	int64_t given, low; /* handed out; everything before is over */
	uint64_t ticket[MESSAGES];
	int64_t open[MESSAGES]; /* offsets, in no order */
	size_t open_count;
};

static void model_end_one(struct model *model, struct offset_tracker *tracker, size_t at)
{
	int64_t offset = model->open[at], low = model->low;

	model->open[at] = model->open[--model->open_count];
	model->over[offset] = true;
	while (model->low < model->given && model->over[model->low])
		model->low++;
	assert_int_equal(offset_tracker_done(tracker, model->ticket[offset]), model->low != low);
	assert_int_equal(offset_tracker_position(tracker), model->low);
	assert_int_equal(offset_tracker_span(tracker), model->given - model->low);
}

static void random_orders(void **state)
{
	struct model *model = calloc(1, sizeof(*model));
	struct offset_tracker tracker;

	(void)state;
	for (int round = 0; round < 5; round++) {
		/* Chance in a hundred that something ends rather than is handed out. */
		uint64_t ends = 30 + 10 * (uint64_t)round;

		memset(model, 0, sizeof(*model));
		offset_tracker_init(&tracker, 0);
		while (model->given < MESSAGES || model->open_count > 0) {
			bool end = random_below(100) < ends || model->given == MESSAGES ||
				   offset_tracker_full(&tracker);

			if (end && model->open_count > 0) {
				model_end_one(model, &tracker, random_below(model->open_count));
			} else if (model->given < MESSAGES && !offset_tracker_full(&tracker)) {
				model->ticket[model->given] =
					offset_tracker_add(&tracker, model->given);
				model->open[model->open_count++] = model->given++;
			}
		}
		assert_int_equal(offset_tracker_position(&tracker), MESSAGES);
		offset_tracker_release(&tracker);
	}
	free(model);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(position_is_one_behind_the_last),
		cmocka_unit_test(starts_where_it_is_told),
		cmocka_unit_test(gaps_hold_nothing),
		cmocka_unit_test(the_oldest_holds_back_a_full_span),
		cmocka_unit_test(random_orders),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
