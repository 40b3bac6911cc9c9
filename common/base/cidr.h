/* SPDX-License-Identifier: Apache-2.0 */
/* Networks of IP addresses, "10.0.0.0/8, fd00::/8": parsed from settings and tables, asked whether
 * an address lies in one. An IPv4 network never holds an IPv6 address, mapped ones included: who
 * asks decides first which of both an address is. */
#ifndef COMMON_BASE_CIDR_H
#define COMMON_BASE_CIDR_H
#include <stdbool.h>
#include <stddef.h>

#include "common/base/error.h"

struct cidr {
	bool v4;
	unsigned char address[16]; /* network order; of IPv4 the first four */
	int bits;
};

struct cidr_list {
	struct cidr *all; /* owned */
	size_t count;
};

/* address: 4 bytes when v4, else 16. */
bool cidr_contains(const struct cidr *cidr, bool v4, const unsigned char *address);
/* ADDRESS/BITS or an ADDRESS alone each, separated by commas, blanks around them; "" is none. 0, or
 * -1 with ERROR_INVALID and an empty list: not one, bits set behind the prefix, an IPv4-mapped one,
 * or more than CIDR_LIST_MAX. */
#define CIDR_LIST_MAX 256
int cidr_list_parse(const char *text, struct cidr_list *list_r, struct error *err_r);
bool cidr_list_contains(const struct cidr_list *list, bool v4, const unsigned char *address);
void cidr_list_release(struct cidr_list *list);

#endif
