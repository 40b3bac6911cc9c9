/* SPDX-License-Identifier: Apache-2.0 */
/* The guard's decision at both ends of every range, one address outside each, every way to put an
 * IPv4 address into an IPv6 one, and what an allow-list changes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>

#include <cmocka.h>

#include "common/base/check.h"
#include "workers/remote/guard.h"

static void address_of(const char *text, struct sockaddr_storage *address_r)
{
	struct sockaddr_in *v4 = (struct sockaddr_in *)address_r;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)address_r;

	memset(address_r, 0, sizeof(*address_r));
	if (inet_pton(AF_INET, text, &v4->sin_addr) == 1) {
		address_r->ss_family = AF_INET;
		return;
	}
	assert_int_equal(inet_pton(AF_INET6, text, &v6->sin6_addr), 1);
	address_r->ss_family = AF_INET6;
}

static const char *refusal(const struct guard *guard, const char *text)
{
	struct sockaddr_storage address;

	address_of(text, &address);
	return guard_refusal(guard, (struct sockaddr *)&address);
}

static struct guard *guard_with(const char *allow)
{
	struct error error;
	struct guard *guard = guard_new(allow, &error);

	assert_non_null(guard);
	return guard;
}

static const struct {
	const char *first, *last, *what;
	const char *before, *after; /* let through; NULL: the neighbour is refused as well */
} ranges[] = {
	{ "0.0.0.0", "0.255.255.255", "this network", NULL, "1.0.0.0" },
	{ "10.0.0.0", "10.255.255.255", "private", "9.255.255.255", "11.0.0.0" },
	{ "100.64.0.0", "100.127.255.255", "shared by a carrier", "100.63.255.255", "100.128.0.0" },
	{ "127.0.0.0", "127.255.255.255", "loopback", "126.255.255.255", "128.0.0.0" },
	{ "169.254.0.0", "169.254.255.255", "link-local", "169.253.255.255", "169.255.0.0" },
	{ "172.16.0.0", "172.31.255.255", "private", "172.15.255.255", "172.32.0.0" },
	{ "192.0.0.0", "192.0.0.255", "protocol assignments", "191.255.255.255", "192.0.1.0" },
	{ "192.0.2.0", "192.0.2.255", "documentation", "192.0.1.255", "192.0.3.0" },
	{ "192.88.99.0", "192.88.99.255", "6to4 relay", "192.88.98.255", "192.88.100.0" },
	{ "192.168.0.0", "192.168.255.255", "private", "192.167.255.255", "192.169.0.0" },
	{ "198.18.0.0", "198.19.255.255", "benchmarking", "198.17.255.255", "198.20.0.0" },
	{ "198.51.100.0", "198.51.100.255", "documentation", "198.51.99.255", "198.51.101.0" },
	{ "203.0.113.0", "203.0.113.255", "documentation", "203.0.112.255", "203.0.114.0" },
	{ "224.0.0.0", "239.255.255.255", "multicast", "223.255.255.255", NULL },
	{ "240.0.0.0", "255.255.255.255", "reserved", NULL, NULL },
	{ "168.63.129.16", "168.63.129.16", "platform", "168.63.129.15", "168.63.129.17" },
	{ "::", "::", "unspecified", NULL, NULL },
	{ "::1", "::1", "loopback", NULL, NULL },
	{ "::2", "::ffff:ffff", "IPv4-compatible", NULL, NULL },
	{ "::1:0:0", "::fffe:ffff:ffff", "not global", NULL, NULL },
	{ "64:ff9b:1::", "64:ff9b:1:ffff:ffff:ffff:ffff:ffff", "local NAT64", NULL, NULL },
	{ "64:ff9b::1:0:0", "64:ff9b:0:ffff:ffff:ffff:ffff:ffff", "not global", NULL, NULL },
	{ "100::", "100::ffff:ffff:ffff:ffff", "discard", NULL, NULL },
	{ "100:0:0:1::", "1fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "not global", NULL, "2000::" },
	{ "2001::", "2001:0:ffff:ffff:ffff:ffff:ffff:ffff", "Teredo",
	  "2000:ffff:ffff:ffff:ffff:ffff:ffff:ffff", NULL },
	{ "2001:1::", "2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff", "protocol assignments", NULL,
	  "2001:200::" },
	{ "2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", "documentation",
	  "2001:db7:ffff:ffff:ffff:ffff:ffff:ffff", "2001:db9::" },
	{ "2002::", "2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "6to4",
	  "2001:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "2003::" },
	{ "3fff::", "3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff", "documentation",
	  "3ffe:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "3fff:1000::" },
	{ "4000::", "5eff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "not global",
	  "3fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", NULL },
	{ "5f00::", "5f00:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "segment routing", NULL, NULL },
	{ "5f01::", "fbff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "not global", NULL, NULL },
	{ "fc00::", "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "unique local", NULL, NULL },
	{ "fe00::", "fe7f:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "not global", NULL, NULL },
	{ "fe80::", "febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "link-local", NULL, NULL },
	{ "fec0::", "feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "site-local", NULL, NULL },
	{ "ff00::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "multicast", NULL, NULL },
};

static void expect(const struct guard *guard, const char *address, const char *want)
{
	const char *got = refusal(guard, address);

	if ((got == NULL) != (want == NULL) || (got && strcmp(got, want) != 0))
		fail_msg("%s: got %s, want %s", address, got ? got : "let through",
			 want ? want : "let through");
}

static void knows_every_range(void **state)
{
	struct guard *guard = guard_with("");

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(ranges); i++) {
		expect(guard, ranges[i].first, ranges[i].what);
		expect(guard, ranges[i].last, ranges[i].what);
		if (ranges[i].before)
			expect(guard, ranges[i].before, NULL);
		if (ranges[i].after)
			expect(guard, ranges[i].after, NULL);
	}
	guard_free(&guard);
	assert_null(guard);
}

/* The same IPv4 border addresses, in every embedding. */
static void decodes_embedded_addresses(void **state)
{
	static const struct {
		const char *format;
		bool judged; /* as the IPv4 address; else refused whatever it is */
	} embeddings[] = {
		{ "::ffff:%u.%u.%u.%u", true },
		{ "64:ff9b::%u.%u.%u.%u", true },
		{ "::%u.%u.%u.%u", false },
		{ "64:ff9b:1::%u.%u.%u.%u", false },
		{ "64:ff9b:1:abcd::%u.%u.%u.%u", false },
		{ "2002:%02x%02x:%02x%02x::1", false },
		{ "2001:0:%02x%02x:%02x%02x::1", false }, /* Teredo: the server */
	};
	struct guard *guard = guard_with("");
	int judged = 0;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(ranges); i++) {
		const char *all[] = { ranges[i].first, ranges[i].last, ranges[i].before,
				      ranges[i].after };

		for (size_t j = 0; j < ARRAY_LEN(all); j++) {
			unsigned char b[4];

			if (!all[j] || inet_pton(AF_INET, all[j], b) != 1)
				continue;
			for (size_t k = 0; k < ARRAY_LEN(embeddings); k++) {
				char text[64];

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
				snprintf(text, sizeof(text), embeddings[k].format, b[0], b[1], b[2],
					 b[3]);
#pragma GCC diagnostic pop
				if (embeddings[k].judged)
					expect(guard, text, refusal(guard, all[j]));
				else if (!refusal(guard, text))
					fail_msg("%s is let through", text);
				judged++;
			}
		}
	}
	assert_true(judged > 300);
	guard_free(&guard);
}

/* Teredo hides the client's address by turning its bits over. */
static void refuses_teredo_clients(void **state)
{
	struct guard *guard = guard_with("");

	(void)state;
	expect(guard, "2001:0:4136:e378:8000:63bf:80ff:fffe", "Teredo"); /* 127.0.0.1 */
	expect(guard, "2001:0:4136:e378:8000:63bf:f7f7:f7f7", "Teredo"); /* 8.8.8.8 */
	guard_free(&guard);
}

static void lets_public_addresses_through(void **state)
{
	static const char *const addresses[] = { "1.1.1.1",
						 "8.8.8.8",
						 "93.184.216.34",
						 "192.31.196.1",
						 "223.255.255.255",
						 "::ffff:8.8.8.8",
						 "64:ff9b::808:808",
						 "2606:4700:4700::1111",
						 "2a00:1450:4001:82a::200e",
						 "2620:4f:8000::1" };
	struct guard *guard = guard_with("");

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(addresses); i++)
		expect(guard, addresses[i], NULL);
	guard_free(&guard);
}

static void allows_what_is_named(void **state)
{
	struct guard *guard = guard_with("10.1.0.0/16, fd00:1::/32, 2002:a01::/32");
	struct sockaddr_storage address;

	(void)state;
	expect(guard, "10.1.2.3", NULL);
	expect(guard, "::ffff:10.1.2.3", NULL);
	expect(guard, "64:ff9b::10.1.2.3", NULL);
	expect(guard, "10.2.0.0", "private");
	expect(guard, "10.0.255.255", "private");
	expect(guard, "::10.1.2.3", "IPv4-compatible");
	expect(guard, "fd00:1::5", NULL);
	expect(guard, "fd00:2::5", "unique local");
	expect(guard, "2002:a01::1", NULL);
	expect(guard, "127.0.0.1", "loopback");
	address_of("10.1.2.3", &address);
	assert_true(guard_allows(guard, (struct sockaddr *)&address));
	address_of("8.8.8.8", &address);
	assert_false(guard_allows(guard, (struct sockaddr *)&address));
	guard_free(&guard);
}

static void refuses_what_is_not_ip(void **state)
{
	struct sockaddr_un path = { .sun_family = AF_UNIX, .sun_path = "/run/docker.sock" };
	struct guard *guard = guard_with("0.0.0.0/0,::/0");
	struct error error;

	(void)state;
	assert_non_null(guard_refusal(guard, (struct sockaddr *)&path));
	assert_false(guard_allows(guard, (struct sockaddr *)&path));
	guard_free(&guard);
	assert_null(guard_new("10.0.0.0/99", &error));
	assert_int_equal(error.code, ERROR_INVALID);
}

static void knows_ports(void **state)
{
	static const int refused[] = { 0, 22, 23, 25, 53, 110, 143, 465, 587, 6000, 6667, 10080 };
	static const int open[] = { 80, 81, 443, 1024, 3000, 5432, 6379, 8080, 8443, 9200, 65535 };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(refused); i++)
		assert_true(guard_port_refused(refused[i]));
	for (size_t i = 0; i < ARRAY_LEN(open); i++)
		assert_false(guard_port_refused(open[i]));
	assert_true(guard_port_refused(-1));
	assert_true(guard_port_refused(65536));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(knows_every_range),
		cmocka_unit_test(decodes_embedded_addresses),
		cmocka_unit_test(refuses_teredo_clients),
		cmocka_unit_test(lets_public_addresses_through),
		cmocka_unit_test(allows_what_is_named),
		cmocka_unit_test(refuses_what_is_not_ip),
		cmocka_unit_test(knows_ports),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
