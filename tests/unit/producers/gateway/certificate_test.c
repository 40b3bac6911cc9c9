/* SPDX-License-Identifier: Apache-2.0 */
/* When a certificate is said to end soon, and settings that do not belong together. Real files are
 * tests/scenario/test_gateway_tls.py's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/check.h"
#include "producers/gateway/certificate.h"

#define DAY_S INT64_C(86400)

static void states(void **state)
{
	static const struct {
		const char *name;
		int64_t life_days, day;
		enum certificate_state want;
	} cases[] = {
		{ "before", 90, -1, CERTIFICATE_EARLY },
		{ "first day", 90, 0, CERTIFICATE_GOOD },
		{ "15 days left", 90, 75, CERTIFICATE_GOOD },
		{ "14 days", 90, 76, CERTIFICATE_ENDING },
		{ "last day", 90, 89, CERTIFICATE_ENDING },
		{ "over", 90, 90, CERTIFICATE_OVER },
		{ "of six days", 8, 5, CERTIFICATE_GOOD },
		{ "its last", 8, 6, CERTIFICATE_ENDING },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		enum certificate_state got =
			certificate_state(0, cases[i].life_days * DAY_S, cases[i].day * DAY_S);
		if (got != cases[i].want)
			fail_msg("%s: got %d, want %d", cases[i].name, got, cases[i].want);
	}
}

static void settings_belong_together(void **state)
{
	static char none[] = "", some[] = "/nowhere";
	static const struct {
		char *cert, *key;
		int want;
	} cases[] = {
		{ none, none, 0 }, { some, none, -1 }, { none, some, -1 }, { some, some, -1 }
	};
	struct tls_pair *pair;
	struct error err;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct settings settings = { .tls_cert = cases[i].cert, .tls_key = cases[i].key };

		assert_int_equal(certificate_load(&settings, &pair, &err), cases[i].want);
		assert_null(pair);
	}
	assert_non_null(strstr(err.message, "/nowhere: No such file"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(states),
		cmocka_unit_test(settings_belong_together),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
