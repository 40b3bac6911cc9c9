/* SPDX-License-Identifier: Apache-2.0 */
/* What is known of disabled endpoints: what was said last, and what came since. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "common/base/check.h"
#include "workers/engine/endpoints.h"

static void the_last_word_counts(void **state)
{
	static const struct endpoint_view views[] = { { .url = "https://a" },
						      { .url = "https://b" } };
	struct endpoints *endpoints = endpoints_new();

	(void)state;
	assert_false(endpoints_disabled(endpoints, "https://a"));
	endpoints_set(endpoints, views, ARRAY_LEN(views));
	assert_true(endpoints_disabled(endpoints, "https://a"));
	assert_true(endpoints_disabled(endpoints, "https://b"));
	assert_false(endpoints_disabled(endpoints, "https://c"));
	endpoints_add(endpoints, "https://c");
	endpoints_add(endpoints, "https://c");
	assert_true(endpoints_disabled(endpoints, "https://c"));
	endpoints_set(endpoints, views, 1);
	assert_true(endpoints_disabled(endpoints, "https://a"));
	assert_false(endpoints_disabled(endpoints, "https://b"));
	assert_false(endpoints_disabled(endpoints, "https://c"));
	endpoints_free(&endpoints);
	assert_null(endpoints);
	endpoints_free(&endpoints);
}

static void they_are_bounded(void **state)
{
	struct endpoints *endpoints = endpoints_new();
	char url[32];

	(void)state;
	for (int i = 0; i <= ENDPOINTS_DISABLED_MAX; i++) {
		snprintf(url, sizeof(url), "https://%d", i);
		endpoints_add(endpoints, url);
	}
	assert_true(endpoints_disabled(endpoints, "https://999"));
	assert_false(endpoints_disabled(endpoints, "https://1000"));
	endpoints_free(&endpoints);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_last_word_counts),
		cmocka_unit_test(they_are_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
