/* SPDX-License-Identifier: Apache-2.0 */
/* Retry-After: seconds, the three forms of a date, what is neither, and the cap. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/base/check.h"
#include "workers/remote/retry_after.h"

#define NOW INT64_C(1792000000000) /* Wed, 14 Oct 2026 17:46:40 GMT */

static const struct {
	const char *value;
	int64_t ms;
} cases[] = {
	{ "0", 0 },
	{ "120", 120000 },
	{ "  7 \r\n", 7000 },
	{ "\t5", 5000 },
	{ "3600", 3600000 },
	{ "3601", 3600000 },
	{ "99999999999999999999999999", 3600000 },
	{ "Wed, 14 Oct 2026 17:46:50 GMT\r\n", 10000 },
	{ "Wed, 14 Oct 2026 17:46:40 GMT", 0 },
	{ "Wed, 14 Oct 2026 17:46:00 GMT", 0 },
	{ "Thu, 15 Oct 2026 17:46:40 GMT", 3600000 },
	{ "Wednesday, 14-Oct-26 17:47:40 GMT", 60000 },
	{ "Sunday, 06-Nov-94 08:49:37 GMT", 0 },
	{ "Wed Oct 14 17:46:45 2026", 5000 },
	{ "Sun Nov  6 08:49:37 1994", 0 },
	{ "", -1 },
	{ "-1", -1 },
	{ "1.5", -1 },
	{ "5 s", -1 },
	{ "soon", -1 },
	{ "0x10", -1 },
	{ "Wed, 14 Oct 2026 17:46:50", -1 },
	{ "Wed, 14 Oct 2026 17:46:50 CEST", -1 },
	{ "Wed, 14 Okt 2026 17:46:50 GMT", -1 },
	{ "Wed, 32 Oct 2026 17:46:50 GMT", -1 },
	{ "Wed, 14 Oct 2026 25:46:50 GMT", -1 },
	{ "Wed, 14 Oct 2026 17:46:50 GMT, 5", -1 },
	{ "2026-10-14T17:46:50Z", -1 },
};

static void reads_the_header(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		int64_t ms = retry_after_ms(cases[i].value, NOW);

		if (ms != cases[i].ms)
			fail_msg("\"%s\": %lld, want %lld", cases[i].value, (long long)ms,
				 (long long)cases[i].ms);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_the_header),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
