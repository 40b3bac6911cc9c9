/* SPDX-License-Identifier: Apache-2.0 */
/* The crew: who is taken on and who retires when other counts are wanted; orders over the link. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "workers/supervisor/crew.h"

#define JOBS                                                                   \
	"jobs: {a: {queue: x, sql: SELECT 1}, b: {queue: y, sql: SELECT 1}}\n" \
	"pools: {x: {queues: [x], workers: 2}, y: {queues: [y]}}"

static const struct settings settings = { .workers = 1, .concurrency = 4 };

static struct crew crew_of_file(void)
{
	struct definitions *defs = definitions_parse(JOBS, strlen(JOBS), "jobs.yaml", stderr);
	struct crew crew;

	assert_non_null(defs);
	crew_init(&crew, defs, &settings);
	definitions_unref(&defs);
	crew_follow(&crew);
	return crew;
}

static struct scale_orders orders(int x, int y)
{
	struct scale_orders orders = { .count = y < 0 ? 1 : 2,
				       .list = { { .pool = "x", .workers = x },
						 { .pool = "y", .workers = y } } };

	return orders;
}

static int staying(const struct crew *crew, const char *pool)
{
	int count = 0;

	for (size_t i = 0; i < crew->count; i++)
		count += !crew->workers[i]->retiring && !strcmp(crew->workers[i]->pool, pool);
	return count;
}

static void begins_as_the_file_says(void **state)
{
	struct crew crew = crew_of_file();

	(void)state;
	assert_int_equal(crew.count, 3);
	assert_int_equal(staying(&crew, "x"), 2);
	assert_int_equal(staying(&crew, "y"), 1);
	crew_release(&crew);
}

static void follows_orders(void **state)
{
	struct crew crew = crew_of_file();
	struct scale_orders more = orders(16, 1), less = orders(1, 0), gone = orders(0, -1);

	(void)state;
	crew_order(&crew, &more);
	crew_follow(&crew);
	assert_int_equal(staying(&crew, "x"), 16);
	crew_order(&crew, &less);
	crew_follow(&crew);
	assert_int_equal(staying(&crew, "x"), 1);
	assert_int_equal(staying(&crew, "y"), 0);
	crew_forget_ended(&crew); /* none of them was ever up */
	assert_int_equal(crew.count, 1);
	crew_order(&crew, &more);
	crew_order(&crew, &gone); /* y is not in the file any more */
	crew_follow(&crew);
	assert_int_equal(staying(&crew, "x") + staying(&crew, "y"), 0);
	crew_release(&crew);
}

static struct child *sleeper(struct crew *crew, size_t index)
{
	const char *const argv[] = { "sleep", "60", NULL }, *const env[] = { NULL };
	struct process_spec spec = { .argv = argv, .env = env };
	struct error error;

	assert_int_equal(process_spawn(&spec, &crew->workers[index]->process, &error), 0);
	return crew->workers[index];
}

static void who_is_down_goes_first_then_who_came_last(void **state)
{
	struct crew crew = crew_of_file();
	struct scale_orders four = orders(4, 0), three = orders(3, 0), two = orders(2, 0),
			    none = orders(0, 0);
	struct child *first, *last;
	int status;

	(void)state;
	crew_order(&crew, &four);
	crew_follow(&crew);
	crew_forget_ended(&crew);
	assert_int_equal(crew.count, 4);
	first = sleeper(&crew, 0);
	sleeper(&crew, 1);
	last = sleeper(&crew, 3); /* the third is down */
	crew_order(&crew, &three);
	crew_follow(&crew);
	crew_forget_ended(&crew);
	assert_int_equal(crew.count, 3);
	assert_int_equal(staying(&crew, "x"), 3);
	crew_order(&crew, &two);
	crew_follow(&crew);
	assert_true(last->retiring);
	assert_false(first->retiring);
	crew_forget_ended(&crew);
	assert_int_equal(crew.count, 3); /* it has not ended yet */
	crew_order(&crew, &none);
	crew_follow(&crew);
	for (size_t i = 0; i < crew.count; i++) {
		while (process_reap(&crew.workers[i]->process, &status) == 0)
			usleep(1000);
	}
	crew_forget_ended(&crew);
	assert_int_equal(crew.count, 0);
	crew_release(&crew);
}

static void the_link_carries_both_ways(void **state)
{
	struct scale_orders sent = orders(3, 5), got;
	int here, there;

	(void)state;
	assert_int_equal(scale_link_open(&here, &there), 0);
	assert_false(scale_link_orders(here, &got));
	assert_int_equal(scale_link_asked(there), 0);
	assert_true(scale_link_order(there, &sent));
	scale_link_ask(here, 1);
	scale_link_ask(here, 1);
	scale_link_ask(here, -1);
	assert_true(scale_link_orders(here, &got));
	assert_int_equal(got.count, 2);
	assert_string_equal(got.list[1].pool, "y");
	assert_int_equal(got.list[1].workers, 5);
	assert_false(scale_link_orders(here, &got));
	assert_int_equal(scale_link_asked(there), 1);
	assert_int_equal(scale_link_asked(there), 0);
	close(here);
	close(there);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(begins_as_the_file_says),
		cmocka_unit_test(follows_orders),
		cmocka_unit_test(who_is_down_goes_first_then_who_came_last),
		cmocka_unit_test(the_link_carries_both_ways),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
