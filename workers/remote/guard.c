/* SPDX-License-Identifier: Apache-2.0 */
/* See guard.h. IPv6 is refused unless it is global unicast (2000::/3), so that what is not listed
 * here is not let through; the rows above that line only give the reason a name. */
#include "workers/remote/guard.h"

#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/arena.h"
#include "common/base/check.h"
#include "common/base/cidr.h"

struct guard {
	struct cidr_list allowed;
};

struct range {
	struct cidr cidr;
	const char *what;
};

#define V4(a, b, c, d, length, name)                                                        \
	{                                                                                   \
		{ .v4 = true, .address = { (a), (b), (c), (d) }, .bits = (length) }, (name) \
	}
/* the first eight bytes are enough for every prefix here */
#define V6(a, b, c, d, length, name)                                                              \
	{                                                                                         \
		{ .address = { (a) >> 8, (a)&255, (b) >> 8, (b)&255, (c) >> 8, (c)&255, (d) >> 8, \
			       (d)&255 },                                                         \
		  .bits = (length) },                                                             \
			(name)                                                                    \
	}

/* The IANA registries of special-purpose addresses, and one more */
static const struct range refused_v4[] = {
	V4(0, 0, 0, 0, 8, "this network"),
	V4(10, 0, 0, 0, 8, "private"),
	V4(100, 64, 0, 0, 10, "shared by a carrier"),
	V4(127, 0, 0, 0, 8, "loopback"),
	V4(169, 254, 0, 0, 16, "link-local"), /* where clouds keep credentials */
	V4(172, 16, 0, 0, 12, "private"),
	V4(192, 0, 0, 0, 24, "protocol assignments"),
	V4(192, 0, 2, 0, 24, "documentation"),
	V4(192, 88, 99, 0, 24, "6to4 relay"),
	V4(192, 168, 0, 0, 16, "private"),
	V4(198, 18, 0, 0, 15, "benchmarking"),
	V4(198, 51, 100, 0, 24, "documentation"),
	V4(203, 0, 113, 0, 24, "documentation"),
	V4(224, 0, 0, 0, 4, "multicast"),
	V4(240, 0, 0, 0, 4, "reserved"),
	/* A public address, but inside Azure it is the host under the machine. */
	V4(168, 63, 129, 16, 32, "platform"),
};

static const struct range refused_v6[] = {
	{ { .bits = 128 }, "unspecified" },
	{ { .address = { [15] = 1 }, .bits = 128 }, "loopback" },
	{ { .bits = 96 }, "IPv4-compatible" },
	V6(0x64, 0xff9b, 1, 0, 48, "local NAT64"),
	V6(0x100, 0, 0, 0, 64, "discard"),
	V6(0x2001, 0, 0, 0, 32, "Teredo"),
	V6(0x2001, 0, 0, 0, 23, "protocol assignments"),
	V6(0x2001, 0xdb8, 0, 0, 32, "documentation"),
	V6(0x2002, 0, 0, 0, 16, "6to4"),
	V6(0x3fff, 0, 0, 0, 20, "documentation"),
	V6(0x5f00, 0, 0, 0, 16, "segment routing"),
	V6(0xfc00, 0, 0, 0, 7, "unique local"),
	V6(0xfe80, 0, 0, 0, 10, "link-local"),
	V6(0xfec0, 0, 0, 0, 10, "site-local"),
	V6(0xff00, 0, 0, 0, 8, "multicast"),
};

static const struct range global_unicast = V6(0x2000, 0, 0, 0, 3, NULL);

/* An IPv4 address in their last four bytes, which is where the packets end. */
static const struct cidr embedding[] = {
	{ .address = { [10] = 0xff, 0xff }, .bits = 96 },   /* IPv4-mapped */
	{ .address = { 0, 0x64, 0xff, 0x9b }, .bits = 96 }, /* NAT64 */
};

/* https://fetch.spec.whatwg.org/#port-blocking, ascending */
static const unsigned short refused_ports[] = {
	0,    1,    7,    9,    11,   13,   15,   17,   19,   20,   21,   22,   23,    25,
	37,   42,   43,   53,   69,   77,   79,   87,   95,   101,  102,  103,  104,   109,
	110,  111,  113,  115,  117,  119,  123,  135,  137,  139,  143,  161,  179,   389,
	427,  465,  512,  513,  514,  515,  526,  530,  531,  532,  540,  548,  554,   556,
	563,  587,  601,  636,  989,  990,  993,  995,  1719, 1720, 1723, 2049, 3659,  4045,
	4190, 5060, 5061, 6000, 6566, 6665, 6666, 6667, 6668, 6669, 6679, 6697, 10080,
};

struct place { /* an address, taken apart */
	bool v4;
	unsigned char bytes[16];
};

static struct place place_of_v6(const unsigned char *bytes)
{
	struct place place = { .v4 = false };

	memcpy(place.bytes, bytes, 16);
	for (size_t i = 0; i < ARRAY_LEN(embedding); i++) {
		if (cidr_contains(&embedding[i], false, bytes)) {
			place = (struct place){ .v4 = true };
			memcpy(place.bytes, bytes + 12, 4);
		}
	}
	return place;
}

/* False: neither IPv4 nor IPv6. */
static bool place_of(const struct sockaddr *address, struct place *place_r)
{
	struct sockaddr_in6 v6;
	struct sockaddr_in v4;

	if (address->sa_family == AF_INET) {
		memcpy(&v4, address, sizeof(v4));
		*place_r = (struct place){ .v4 = true };
		memcpy(place_r->bytes, &v4.sin_addr, 4);
	} else if (address->sa_family == AF_INET6) {
		memcpy(&v6, address, sizeof(v6));
		*place_r = place_of_v6(v6.sin6_addr.s6_addr);
	} else {
		return false;
	}
	return true;
}

static const char *find(const struct range *ranges, size_t count, const struct place *place)
{
	for (size_t i = 0; i < count; i++) {
		if (cidr_contains(&ranges[i].cidr, place->v4, place->bytes))
			return ranges[i].what;
	}
	return NULL;
}

static const char *refusal(const struct guard *guard, const struct place *place)
{
	const char *what;

	if (cidr_list_contains(&guard->allowed, place->v4, place->bytes))
		return NULL;
	if (place->v4)
		return find(refused_v4, ARRAY_LEN(refused_v4), place);
	what = find(refused_v6, ARRAY_LEN(refused_v6), place);
	if (!what && !cidr_contains(&global_unicast.cidr, false, place->bytes))
		what = "not global";
	return what;
}

const char *guard_refusal(const struct guard *guard, const struct sockaddr *address)
{
	struct place place;

	return place_of(address, &place) ? refusal(guard, &place) : "not an IP address";
}

bool guard_allows(const struct guard *guard, const struct sockaddr *address)
{
	struct place place;

	return place_of(address, &place) &&
	       cidr_list_contains(&guard->allowed, place.v4, place.bytes);
}

bool guard_port_refused(int port)
{
	for (size_t i = 0; i < ARRAY_LEN(refused_ports); i++) {
		if (refused_ports[i] == port)
			return true;
	}
	return port < 0 || port > 65535;
}

struct guard *guard_new(const char *allow, struct error *err_r)
{
	struct guard *guard = xcalloc(1, sizeof(*guard));

	if (cidr_list_parse(allow, &guard->allowed, err_r) < 0)
		guard_free(&guard);
	return guard;
}

void guard_free(struct guard **guard)
{
	if (!*guard)
		return;
	cidr_list_release(&(*guard)->allowed);
	free(*guard);
	*guard = NULL;
}
