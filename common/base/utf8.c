/* SPDX-License-Identifier: Apache-2.0 */
/* Reading UTF-8 one sequence at a time. Called where text from outside is copied into JSON or kept
 * in the store. */
#include "common/base/utf8.h"

static size_t utf8_length(unsigned char first)
{
	if (first >= 0xf0)
		return first <= 0xf4 ? 4 : 0;
	if (first >= 0xe0)
		return 3;
	return first >= 0xc2 && first <= 0xdf ? 2 : 0;
}

size_t utf8_at(const unsigned char *p, size_t left, uint32_t *point_r)
{
	static const uint32_t lowest[] = { 0, 0, 0x80, 0x800, 0x10000 };
	size_t len = utf8_length(p[0]);
	uint32_t point;

	if (len == 0 || len > left)
		return 0;
	point = p[0] & (0x7fu >> len);
	for (size_t i = 1; i < len; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0;
		point = point << 6 | (p[i] & 0x3f);
	}
	if (point < lowest[len] || point > 0x10ffff || (point >= 0xd800 && point <= 0xdfff))
		return 0;
	*point_r = point;
	return len;
}

bool utf8_text(const char *text, size_t bytes)
{
	const unsigned char *p = (const unsigned char *)text;
	uint32_t point;

	for (size_t at = 0, len; at < bytes; at += len) {
		len = p[at] && p[at] < 0x80 ? 1 : p[at] ? utf8_at(p + at, bytes - at, &point) : 0;
		if (!len)
			return false;
	}
	return true;
}
