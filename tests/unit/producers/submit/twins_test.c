/* SPDX-License-Identifier: Apache-2.0 */
/* Which requests may share a commit. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/check.h"
#include "producers/submit/twins.h"

static void keys(void **state)
{
	struct twins *twins = twins_new();
	struct acceptance a = { .idempotency_scope = "s", .idempotency_key = "k" };
	struct acceptance other_scope = { .idempotency_scope = "t", .idempotency_key = "k" };
	struct acceptance shifted = { .idempotency_scope = "sk", .idempotency_key = "" };
	struct acceptance none = { .job_count = 0 };

	(void)state;
	assert_true(twins_add(twins, &a));
	assert_false(twins_add(twins, &a));
	assert_true(twins_add(twins, &other_scope));
	assert_true(twins_add(twins, &shifted));
	assert_true(twins_add(twins, &none) && twins_add(twins, &none));
	twins_clear(twins);
	assert_true(twins_add(twins, &a));
	twins_free(&twins);
}

static void jobs(void **state)
{
	struct twins *twins = twins_new();
	struct new_job made = { .tenant = "", .type = "a" };
	struct new_job mine = { .tenant = "", .type = "a", .client_id = true };
	struct new_job unique = { .tenant = "", .type = "a", .unique_key = "u" };
	struct new_job other_type = { .tenant = "", .type = "b", .unique_key = "u" };
	struct new_job other_tenant = { .tenant = "t", .type = "a", .unique_key = "u" };
	struct new_job *free_ones[] = { &made, &made, &mine, &unique, &other_type, &other_tenant };
	struct new_job *twin_ones[] = { &mine, &unique, &other_type, &other_tenant };

	(void)state;
	uuid_v7(&made.id);
	uuid_v7(&mine.id);
	for (size_t i = 0; i < ARRAY_LEN(free_ones); i++) {
		struct acceptance request = { .jobs = free_ones[i], .job_count = 1 };
		assert_true(twins_add(twins, &request));
	}
	for (size_t i = 0; i < ARRAY_LEN(twin_ones); i++) {
		struct acceptance request = { .jobs = twin_ones[i], .job_count = 1 };
		assert_false(twins_add(twins, &request));
	}
	twins_free(&twins);
}

static void a_refused_one_leaves_nothing(void **state)
{
	struct twins *twins = twins_new();
	struct new_job both[2] = {
		{ .tenant = "", .type = "a", .unique_key = "new" },
		{ .tenant = "", .type = "a", .unique_key = "old" },
	};
	struct acceptance old = { .jobs = &both[1], .job_count = 1 };
	struct acceptance pair = { .jobs = both, .job_count = 2 };
	struct acceptance fresh = { .jobs = &both[0], .job_count = 1 };

	(void)state;
	assert_true(twins_add(twins, &old));
	assert_false(twins_add(twins, &pair));
	assert_true(twins_add(twins, &fresh));
	twins_free(&twins);
}

static void grows(void **state)
{
	enum { COUNT = 10000 };
	struct twins *twins = twins_new();
	struct new_job *many = xcalloc(COUNT, sizeof(*many));
	struct acceptance request = { .jobs = many, .job_count = COUNT };

	(void)state;
	for (size_t i = 0; i < COUNT; i++) {
		many[i] = (struct new_job){ .tenant = "", .type = "a", .client_id = true };
		uuid_v7(&many[i].id);
	}
	assert_true(twins_add(twins, &request));
	for (size_t i = 0; i < COUNT; i++) {
		struct acceptance one = { .jobs = &many[i], .job_count = 1 };
		assert_false(twins_add(twins, &one));
	}
	twins_clear(twins);
	assert_true(twins_add(twins, &request));
	free(many);
	twins_free(&twins);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(keys),
		cmocka_unit_test(jobs),
		cmocka_unit_test(a_refused_one_leaves_nothing),
		cmocka_unit_test(grows),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
