/* SPDX-License-Identifier: Apache-2.0 */
/* ?wait and Prefer: which wins, what is cut, ignored or refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/check.h"
#include "producers/gateway/wait_time.h"

static const struct {
	const char *query, *prefer;
	bool taken;
	int64_t wait_ms;
	bool preferred;
} cases[] = {
	{ NULL, NULL, true, 0, false },
	{ "30s", NULL, true, 30000, false },
	{ "250ms", "wait=5", true, 250, false },
	{ "300", NULL, true, 300000, false },
	{ "301", NULL, false, 0, false },
	{ "soon", NULL, false, 0, false },
	{ "-1", NULL, false, 0, false },
	{ NULL, "wait=30", true, 30000, true },
	{ NULL, "respond-async, wait=7", true, 7000, true },
	{ NULL, "WAIT=7;foo=bar", true, 7000, true },
	{ NULL, "foo=\"wait=9, x\", wait=3", true, 3000, true },
	{ NULL, "wait=100000", true, 300000, true },
	{ NULL, "wait=99999999999999999999", true, 0, false },
	{ NULL, "wait=", true, 0, false },
	{ NULL, "wait=-1", true, 0, false },
	{ NULL, "wait=1x", true, 0, false },
	{ NULL, "await=9", true, 0, false },
	{ NULL, "foo=\"wait=9", true, 0, false },
	{ NULL, "", true, 0, false },
};

static void reads(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		int64_t wait_ms;
		bool preferred, taken = wait_time_parse(cases[i].query, cases[i].prefer, &wait_ms,
							&preferred);
		if (taken != cases[i].taken ||
		    (taken && (wait_ms != cases[i].wait_ms || preferred != cases[i].preferred)))
			fail_msg("case %zu: got %d, %lld, %d", i, taken, (long long)wait_ms,
				 preferred);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(reads) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
