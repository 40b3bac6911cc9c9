/* SPDX-License-Identifier: Apache-2.0 */
/* Networks: what is one, what each holds at its borders, and lists of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/check.h"
#include "common/base/cidr.h"

static bool holds(const struct cidr_list *list, const char *address)
{
	unsigned char bytes[16];
	bool v4 = inet_pton(AF_INET, address, bytes) == 1;

	if (!v4)
		assert_int_equal(inet_pton(AF_INET6, address, bytes), 1);
	return cidr_list_contains(list, v4, bytes);
}

static const struct {
	const char *networks, *address;
	bool want;
} memberships[] = {
	{ "10.0.0.0/8", "10.0.0.0", true },
	{ "10.0.0.0/8", "10.255.255.255", true },
	{ "10.0.0.0/8", "9.255.255.255", false },
	{ "10.0.0.0/8", "11.0.0.0", false },
	{ "10.0.0.0/8", "::ffff:10.0.0.1", false },
	{ "192.168.4.0/22", "192.168.7.255", true },
	{ "192.168.4.0/22", "192.168.8.0", false },
	{ "192.168.4.0/22", "192.168.3.255", false },
	{ "192.168.4.9", "192.168.4.9", true },
	{ "192.168.4.9", "192.168.4.8", false },
	{ "192.168.4.9/32", "192.168.4.9", true },
	{ "0.0.0.0/0", "255.255.255.255", true },
	{ "0.0.0.0/0", "::1", false },
	{ "::/0", "1.2.3.4", false },
	{ "::/0", "ffff::", true },
	{ "fd00::/8", "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", true },
	{ "fd00::/8", "fc00::", false },
	{ "2001:db8::/33", "2001:db8:7fff::1", true },
	{ "2001:db8::/33", "2001:db8:8000::", false },
	{ "::1", "::1", true },
	{ "::1", "::2", false },
	{ "", "10.0.0.1", false },
	{ "  ", "10.0.0.1", false },
	{ " 10.0.0.0/8 ,\tfd00::/8 ", "fd00::1", true },
	{ "10.0.0.0/8,192.168.0.0/16", "192.168.0.1", true },
	{ "10.0.0.0/8,192.168.0.0/16", "192.169.0.1", false },
};

static void contains(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(memberships); i++) {
		struct cidr_list list;
		struct error error;

		assert_int_equal(cidr_list_parse(memberships[i].networks, &list, &error), 0);
		if (holds(&list, memberships[i].address) != memberships[i].want)
			fail_msg("%s in %s is not %d", memberships[i].address,
				 memberships[i].networks, memberships[i].want);
		cidr_list_release(&list);
	}
}

static const struct {
	const char *text, *why;
} bad[] = {
	{ "10.0.0.0/33", "not a network" },
	{ "10.0.0.0/-1", "not a network" },
	{ "10.0.0.0/", "not a network" },
	{ "10.0.0.0/08", "not a network" },
	{ "10.0.0.0/8x", "not a network" },
	{ "10.0.0/8", "not a network" },
	{ "010.0.0.0/8", "not a network" },
	{ "0xa.0.0.0/8", "not a network" },
	{ "10.0.0.0.0/8", "not a network" },
	{ "internal.example", "not a network" },
	{ "fe80::1%eth0", "not a network" },
	{ "fd00::/129", "not a network" },
	{ "fd00:::/8", "not a network" },
	{ "[fd00::]/8", "not a network" },
	{ "10.0.0.0/8,", "not a network" },
	{ ",10.0.0.0/8", "not a network" },
	{ "10.0.0.0/8 192.168.0.0/16", "not a network" },
	{ "10.0.0.0/99999999999999999999", "not a network" },
	{ "0000000000000000000000000000000000000000000000000000000000000000000000000000::/8",
	  "not a network" },
	{ "10.0.0.1/8", "behind its prefix" },
	{ "fd00::1/8", "behind its prefix" },
	{ "::ffff:10.0.0.0/104", "as an IPv4 network" },
};

static void refuses(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct cidr_list list;
		struct error error;

		if (cidr_list_parse(bad[i].text, &list, &error) == 0)
			fail_msg("%s is taken", bad[i].text);
		assert_null(list.all);
		assert_int_equal(error.code, ERROR_INVALID);
		if (!strstr(error.message, bad[i].why))
			fail_msg("%s: %s", bad[i].text, error.message);
	}
}

static void has_a_maximum(void **state)
{
	char text[CIDR_LIST_MAX * 8 + 16] = "";
	struct cidr_list list;
	struct error error;

	(void)state;
	for (int i = 0; i < CIDR_LIST_MAX; i++)
		strcat(text, i ? ",1.2.3.4" : "1.2.3.4");
	assert_int_equal(cidr_list_parse(text, &list, &error), 0);
	assert_int_equal(list.count, CIDR_LIST_MAX);
	cidr_list_release(&list);
	strcat(text, ",1.2.3.4");
	assert_int_equal(cidr_list_parse(text, &list, &error), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(contains),
		cmocka_unit_test(refuses),
		cmocka_unit_test(has_a_maximum),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
