/* SPDX-License-Identifier: Apache-2.0 */
/* Timers: when they ring, once, also beyond a round of the wheel; dropping others while ringing. */
#include "producers/grpc/grpc_wheel.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

struct bell {
	struct grpc_timer timer;
	int rings;
	struct grpc_timer *drops;
};

static void ring(struct grpc_timer *timer)
{
	struct bell *bell = list_entry(timer, struct bell, timer);

	bell->rings++;
	if (bell->drops)
		grpc_timer_drop(bell->drops);
}

/* At which time it rings when the wheel is turned every `step` ms. */
static int64_t rings_at(int64_t start, int64_t due, int64_t step)
{
	struct bell bell = { .rings = 0 };
	struct grpc_wheel wheel;

	grpc_wheel_init(&wheel, start);
	grpc_timer_init(&bell.timer, ring);
	grpc_timer_set(&wheel, &bell.timer, due);
	for (int64_t now = start; now < due + 20000; now += step) {
		grpc_wheel_turn(&wheel, now);
		if (bell.rings) {
			grpc_wheel_turn(&wheel, now + 60000);
			assert_int_equal(bell.rings, 1);
			return now;
		}
	}
	return -1;
}

static void rings_once_and_never_early(void **state)
{
	static const struct {
		int64_t due, step;
	} cases[] = {
		{ 1000, 10 }, { 1001, 10 }, { 1009, 1 },   { 1500, 20 },
		{ 900, 10 },  { 6120, 10 }, { 30000, 20 }, { 30001, 997 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		int64_t due = cases[i].due, at = rings_at(1000, due, cases[i].step);
		int64_t late = GRPC_WHEEL_TICK_MS + cases[i].step;

		assert_true(at >= due || due < 1000);
		assert_true(at <= (due < 1000 ? 1000 : due) + 2 * late);
	}
}

static void one_may_drop_another(void **state)
{
	struct bell first = { .rings = 0 }, second = { .rings = 0 };
	struct grpc_wheel wheel;

	(void)state;
	grpc_wheel_init(&wheel, 0);
	grpc_timer_init(&first.timer, ring);
	grpc_timer_init(&second.timer, ring);
	first.drops = &second.timer;
	grpc_timer_set(&wheel, &first.timer, 100);
	grpc_timer_set(&wheel, &second.timer, 100);
	grpc_wheel_turn(&wheel, 500);
	assert_int_equal(first.rings, 1);
	assert_int_equal(second.rings, 0);
	/* set anew, and later than it was */
	grpc_timer_set(&wheel, &second.timer, 600);
	grpc_timer_set(&wheel, &second.timer, 900);
	grpc_wheel_turn(&wheel, 700);
	assert_int_equal(second.rings, 0);
	grpc_wheel_turn(&wheel, 1000);
	assert_int_equal(second.rings, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rings_once_and_never_early),
		cmocka_unit_test(one_may_drop_another),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
