/* SPDX-License-Identifier: Apache-2.0 */
/* Linked into every C test: TEST_SELECT=pattern makes cmocka run only the cases whose name fits (*
 * and ?), so that `make test T=retry_policy/caps_at_max` needs no line in the tests themselves. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

__attribute__((constructor)) static void select_cases(void)
{
	const char *pattern = getenv("TEST_SELECT");

	if (pattern)
		cmocka_set_test_filter(pattern);
}
