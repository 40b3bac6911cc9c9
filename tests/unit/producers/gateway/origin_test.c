/* SPDX-License-Identifier: Apache-2.0 */
/* The allow-list of origins, and hosts that are loopback with the own port. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/check.h"
#include "producers/gateway/origin.h"

static void lists(void **state)
{
	struct error err;
	struct origin_list *list =
		origin_list_parse(" https://a.example,http://b.example:8080 ,", &err);
	static const char *const wrong[] = {
		"https://a.example/",
		"https://A.example",
		"http://a.example",
		"https://a.example:443",
		"https://a.example.evil",
		"null",
		"",
		"https://b.example:8080",
		"b.example:8080",
	};

	(void)state;
	assert_non_null(list);
	assert_true(origin_list_has(list, "https://a.example") &&
		    origin_list_has(list, "http://b.example:8080"));
	for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
		if (origin_list_has(list, wrong[i]))
			fail_msg("%s is in it", wrong[i]);
	}
	origin_list_free(&list);
}

static void refuses_what_is_no_origin(void **state)
{
	static const char *const cases[] = {
		"*",           "null",   "a.example", "https://", "https://*.a.example",
		"https://a/b", "ftp://a"
	};
	struct error err;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		if (origin_list_parse(cases[i], &err))
			fail_msg("%s was taken", cases[i]);
	}
}

static void hosts(void **state)
{
	static const struct {
		const char *host;
		int port;
		bool want;
	} cases[] = {
		{ "127.0.0.1:8080", 8080, true },
		{ "localhost:8080", 8080, true },
		{ "[::1]:8080", 8080, true },
		{ "127.1.2.3:8080", 8080, true },
		{ "localhost", 80, true },
		{ "[::1]", 80, true },
		{ "localhost", 443, false },
		{ "127.0.0.1:8081", 8080, false },
		{ "127.0.0.1:80801", 8080, false },
		{ "127.0.0.1:", 8080, false },
		{ "127.0.0.1:+8080", 8080, false },
		{ "127.0.0.1: 8080", 8080, false },
		{ "localhost", 8080, false },
		{ "evil.example:8080", 8080, false },
		{ "localhost.evil:8080", 8080, false },
		{ "", 8080, false },
		{ "0.0.0.0:8080", 8080, false },
		{ "127.0.0.1.nip.io:8080", 8080, false },
		{ "::1:8080", 8080, false },
		{ "a@127.0.0.1:8080", 8080, false },
		{ "[127.0.0.1", 80, false },
		{ "[", 80, false },
		{ ":", 80, false },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		if (origin_host_is_loopback(cases[i].host, cases[i].port, false) != cases[i].want)
			fail_msg("%s at %d: want %d", cases[i].host, cases[i].port, cases[i].want);
	}
}

static void with_tls_the_port_is_443(void **state)
{
	(void)state;
	assert_true(origin_host_is_loopback("localhost", 443, true));
	assert_true(origin_host_is_loopback("127.0.0.1:8443", 8443, true));
	assert_false(origin_host_is_loopback("localhost", 80, true));
}

static void same_origin(void **state)
{
	(void)state;
	assert_true(origin_is_same("http://127.0.0.1:8080", "127.0.0.1:8080", false));
	assert_true(origin_is_same("https://127.0.0.1:8080", "127.0.0.1:8080", true));
	assert_false(origin_is_same("https://127.0.0.1:8080", "127.0.0.1:8080", false));
	assert_false(origin_is_same("http://127.0.0.1:8080", "127.0.0.1:8080", true));
	assert_false(origin_is_same("http://127.0.0.1:8081", "127.0.0.1:8080", false));
	assert_false(origin_is_same("null", "", false));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lists),       cmocka_unit_test(refuses_what_is_no_origin),
		cmocka_unit_test(hosts),       cmocka_unit_test(with_tls_the_port_is_443),
		cmocka_unit_test(same_origin),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
