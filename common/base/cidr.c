/* SPDX-License-Identifier: Apache-2.0 */
/* See cidr.h. Texts that two readers could understand differently (leading zeros, bits behind the
 * prefix) are refused: whoever writes such a network means another one than this file would. */
#include "common/base/cidr.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/arena.h"

#define TEXT_MAX 64 /* of one network, blanks included */

static bool same_bits(const unsigned char *one, const unsigned char *other, int bits)
{
	int bytes = bits / 8, rest = bits % 8;

	if (memcmp(one, other, (size_t)bytes) != 0)
		return false;
	return !rest || !((one[bytes] ^ other[bytes]) >> (8 - rest));
}

bool cidr_contains(const struct cidr *cidr, bool v4, const unsigned char *address)
{
	return cidr->v4 == v4 && same_bits(cidr->address, address, cidr->bits);
}

static bool is_mapped(const struct cidr *cidr)
{
	static const unsigned char mapped[12] = { [10] = 0xff, 0xff };

	return !cidr->v4 && !memcmp(cidr->address, mapped, sizeof(mapped));
}

static bool bits_behind(const struct cidr *cidr)
{
	for (int bit = cidr->bits; bit < (cidr->v4 ? 32 : 128); bit++) {
		if (cidr->address[bit / 8] & 0x80 >> bit % 8)
			return true;
	}
	return false;
}

/* "8" of "10.0.0.0/8", up to max; -1: not a length. */
static int prefix_bits(const char *text, int max)
{
	int bits = 0;

	if (!*text || strlen(text) > 3 || (text[0] == '0' && text[1]))
		return -1;
	for (; isdigit((unsigned char)*text); text++)
		bits = bits * 10 + *text - '0';
	return *text || bits > max ? -1 : bits;
}

/* ADDRESS/BITS, or an ADDRESS alone. */
static int parse_one(const char *text, struct cidr *cidr_r, struct error *err_r)
{
	const char *slash = strchr(text, '/');
	size_t bytes = slash ? (size_t)(slash - text) : strlen(text);
	char address[TEXT_MAX];

	*cidr_r = (struct cidr){ .bits = -1 };
	if (bytes < sizeof(address)) {
		memcpy(address, text, bytes);
		address[bytes] = 0;
		cidr_r->v4 = inet_pton(AF_INET, address, cidr_r->address) == 1;
		if (cidr_r->v4 || inet_pton(AF_INET6, address, cidr_r->address) == 1) {
			int most = cidr_r->v4 ? 32 : 128;

			cidr_r->bits = slash ? prefix_bits(slash + 1, most) : most;
		}
	}
	if (cidr_r->bits < 0) {
		error_set(err_r, ERROR_INVALID, "\"%.60s\" is not a network", text);
		return -1;
	}
	if (is_mapped(cidr_r)) {
		error_set(err_r, ERROR_INVALID, "\"%.60s\": write it as an IPv4 network", text);
		return -1;
	}
	if (bits_behind(cidr_r)) {
		error_set(err_r, ERROR_INVALID, "\"%.60s\" has bits set behind its prefix", text);
		return -1;
	}
	return 0;
}

/* The text between two commas, without the blanks around it. False: too long. */
static bool next_text(const char **at, char text_r[TEXT_MAX])
{
	const char *from = *at + strspn(*at, " \t"), *end = from + strcspn(from, ",");

	*at = *end ? end + 1 : end;
	while (end > from && (end[-1] == ' ' || end[-1] == '\t'))
		end--;
	snprintf(text_r, TEXT_MAX, "%.*s", (int)(end - from < TEXT_MAX ? end - from : TEXT_MAX),
		 from);
	return end - from < TEXT_MAX;
}

int cidr_list_parse(const char *text, struct cidr_list *list_r, struct error *err_r)
{
	char one[TEXT_MAX];
	size_t commas = 0;

	*list_r = (struct cidr_list){ .all = NULL };
	if (!text[strspn(text, " \t")])
		return 0;
	for (const char *at = text; *at; at++)
		commas += *at == ',';
	if (commas >= CIDR_LIST_MAX) {
		error_set(err_r, ERROR_INVALID, "more than %d networks", CIDR_LIST_MAX);
		return -1;
	}
	list_r->all = xcalloc(commas + 1, sizeof(*list_r->all));
	for (size_t i = 0; i <= commas; i++) {
		bool whole = next_text(&text, one);

		if (!whole)
			error_set(err_r, ERROR_INVALID, "\"%.60s…\" is not a network", one);
		if (!whole || parse_one(one, &list_r->all[i], err_r) < 0) {
			cidr_list_release(list_r);
			return -1;
		}
		list_r->count++;
	}
	return 0;
}

bool cidr_list_contains(const struct cidr_list *list, bool v4, const unsigned char *address)
{
	for (size_t i = 0; i < list->count; i++) {
		if (cidr_contains(&list->all[i], v4, address))
			return true;
	}
	return false;
}

void cidr_list_release(struct cidr_list *list)
{
	free(list->all);
	*list = (struct cidr_list){ .all = NULL };
}
