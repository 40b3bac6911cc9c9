/* SPDX-License-Identifier: Apache-2.0 */
/* Listen addresses. What the server does with bytes is tested through the gateway, in
 * tests/scenario/test_gateway_wire.py. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/http/server.h"

static void splits_addresses(void **state)
{
	static const struct {
		const char *text, *host; /* host NULL: refused */
		int port;
	} cases[] = {
		{ "127.0.0.1:8080", "127.0.0.1", 8080 },
		{ "[::1]:80", "::1", 80 },
		{ "localhost:0", "localhost", 0 },
		{ ":9", "", 9 },
		{ "127.0.0.1", NULL, 0 },
		{ "127.0.0.1:", NULL, 0 },
		{ "127.0.0.1:x", NULL, 0 },
		{ "127.0.0.1:65536", NULL, 0 },
		{ "127.0.0.1:-1", NULL, 0 },
		{ "127.0.0.1:+1", NULL, 0 },
		{ "::1:80", NULL, 0 },
		{ "[::1]", NULL, 0 },
		{ "[::1:80", NULL, 0 },
		{ "127.0.0.1: 80", NULL, 0 },
		{ "", NULL, 0 },
	};
	char host[64];
	int port;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		bool taken = server_split_address(cases[i].text, host, sizeof(host), &port);
		if (taken != (cases[i].host != NULL))
			fail_msg("%s: %s", cases[i].text, taken ? "was taken" : "was refused");
		if (taken && (strcmp(host, cases[i].host) != 0 || port != cases[i].port))
			fail_msg("%s: got %s and %d", cases[i].text, host, port);
	}
}

static void knows_loopback(void **state)
{
	(void)state;
	assert_true(server_is_loopback("127.0.0.1"));
	assert_true(server_is_loopback("127.8.9.10"));
	assert_true(server_is_loopback("::1"));
	assert_true(server_is_loopback("LocalHost"));
	assert_false(server_is_loopback("0.0.0.0"));
	assert_false(server_is_loopback("::"));
	assert_false(server_is_loopback("10.0.0.1"));
	assert_false(server_is_loopback("127.0.0.1.example"));
	assert_false(server_is_loopback("localhost.example"));
	assert_false(server_is_loopback(""));
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(splits_addresses),
					    cmocka_unit_test(knows_loopback) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
