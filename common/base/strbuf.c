/* SPDX-License-Identifier: Apache-2.0 */
/* Text that grows: HTTP bodies, SQL, log lines, frames to hosts. An empty buffer owns no memory; it
 * points to a constant NUL that is never written to. Writing JSON strings lives here because every
 * layer above does it, the log among them. */
#include "common/base/strbuf.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/arena.h"
#include "common/base/utf8.h"

#define STRBUF_FIRST_BYTES 64
#define EACH_BYTE          0x0101010101010101u /* times a byte: that byte eight times */

static const char empty[1] = "";

void strbuf_init(struct strbuf *sb)
{
	sb->data = (char *)empty;
	sb->len = sb->cap = 0;
}

void strbuf_release(struct strbuf *sb)
{
	if (sb->cap > 0)
		free(sb->data);
	strbuf_init(sb);
}

void strbuf_clear(struct strbuf *sb)
{
	sb->len = 0;
	if (sb->cap > 0)
		sb->data[0] = '\0';
}

static void strbuf_grow(struct strbuf *sb, size_t more_bytes)
{
	size_t want, cap = sb->cap ? sb->cap * 2 : STRBUF_FIRST_BYTES;

	CHECK(more_bytes < SIZE_MAX / 4 && sb->len < SIZE_MAX / 4);
	want = sb->len + more_bytes + 1;
	if (cap < want)
		cap = want;
	sb->data = xrealloc(sb->cap ? sb->data : NULL, cap);
	sb->data[sb->len] = '\0';
	sb->cap = cap;
}

void strbuf_reserve(struct strbuf *sb, size_t more_bytes)
{
	if (__builtin_expect(sb->cap - sb->len <= more_bytes, 0))
		strbuf_grow(sb, more_bytes);
}

void strbuf_add(struct strbuf *sb, const void *data, size_t bytes)
{
	if (bytes == 0)
		return;
	strbuf_reserve(sb, bytes);
	memcpy(sb->data + sb->len, data, bytes);
	sb->len += bytes;
	sb->data[sb->len] = '\0';
}

void strbuf_addstr(struct strbuf *sb, const char *text)
{
	strbuf_add(sb, text, strlen(text));
}

void strbuf_addch(struct strbuf *sb, char c)
{
	strbuf_reserve(sb, 1);
	sb->data[sb->len++] = c;
	sb->data[sb->len] = '\0';
}

void strbuf_addi(struct strbuf *sb, int64_t n)
{
	char digits[20], *at = digits + sizeof(digits);
	uint64_t rest = n < 0 ? -(uint64_t)n : (uint64_t)n;

	do {
		*--at = (char)('0' + rest % 10);
		rest /= 10;
	} while (rest > 0);
	if (n < 0)
		*--at = '-';
	strbuf_add(sb, at, (size_t)(digits + sizeof(digits) - at));
}

void strbuf_printf(struct strbuf *sb, const char *fmt, ...)
{
	va_list args;
	int len;

	strbuf_reserve(sb, STRBUF_FIRST_BYTES);
	va_start(args, fmt);
	len = vsnprintf(sb->data + sb->len, sb->cap - sb->len, fmt, args);
	va_end(args);
	CHECK(len >= 0);
	if ((size_t)len >= sb->cap - sb->len) {
		strbuf_grow(sb, (size_t)len);
		va_start(args, fmt);
		vsnprintf(sb->data + sb->len, sb->cap - sb->len, fmt, args);
		va_end(args);
	}
	sb->len += (size_t)len;
}

void strbuf_consume(struct strbuf *sb, size_t bytes)
{
	CHECK(bytes <= sb->len);
	if (bytes == 0)
		return;
	sb->len -= bytes;
	memmove(sb->data, sb->data + bytes, sb->len + 1);
}

char *strbuf_take(struct strbuf *sb)
{
	char *data = sb->cap > 0 ? sb->data : xstrdup("");

	strbuf_init(sb);
	return data;
}

/* Characters that a terminal or a script block would act on instead of showing them. */
static bool utf8_hidden(uint32_t point)
{
	return point <= 0x9f || point == 0x61c || point == 0x200e || point == 0x200f ||
	       (point >= 0x2028 && point <= 0x202e) || (point >= 0x2066 && point <= 0x2069);
}

static void json_escape(struct strbuf *sb, uint32_t point)
{
	static const char hex[] = "0123456789abcdef";
	static const char brief[128] = { ['"'] = '"',  ['\\'] = '\\', ['\b'] = 'b', ['\f'] = 'f',
					 ['\n'] = 'n', ['\r'] = 'r',  ['\t'] = 't' };
	char text[6] = {
		'\\',           'u', hex[point >> 12], hex[point >> 8 & 15], hex[point >> 4 & 15],
		hex[point & 15]
	};

	if (point < sizeof(brief) && brief[point]) {
		text[1] = brief[point];
		strbuf_add(sb, text, 2);
	} else {
		strbuf_add(sb, text, sizeof(text));
	}
}

static bool json_plain(unsigned char c)
{
	return c >= 0x20 && c < 0x7f && c != '"' && c != '\\';
}

/* True when any byte of the word is zero; may also be true when the byte above a zero is 1. */
static uint64_t zero_byte(uint64_t word)
{
	return (word - EACH_BYTE) & ~word & EACH_BYTE << 7;
}

/* How many of the bytes are plain: eight at a time while that lasts, then one at a time. */
static size_t json_plain_bytes(const unsigned char *p, size_t bytes)
{
	size_t at = 0;
	uint64_t word;

	for (; bytes - at >= sizeof(word); at += sizeof(word)) {
		memcpy(&word, p + at, sizeof(word));
		/* The top bit of a byte: set in it, by DEL + 1, by a borrow below 0x20, or by a
		 * match. */
		if (((word | (word + EACH_BYTE)) & EACH_BYTE << 7) |
		    ((word - EACH_BYTE * 0x20) & ~word & EACH_BYTE << 7) |
		    zero_byte(word ^ EACH_BYTE * '"') | zero_byte(word ^ EACH_BYTE * '\\'))
			break;
	}
	while (at < bytes && json_plain(p[at]))
		at++;
	return at;
}

/* Appends the character at p, which is not plain ASCII. Returns its length. */
static size_t json_add_special(struct strbuf *sb, const unsigned char *p, size_t left)
{
	uint32_t point;
	size_t len;

	if (p[0] < 0x80) {
		json_escape(sb, p[0]);
		return 1;
	}
	len = utf8_at(p, left, &point);
	if (len == 0) {
		strbuf_add(sb, "\xef\xbf\xbd", 3);
		return 1;
	}
	if (utf8_hidden(point))
		json_escape(sb, point);
	else
		strbuf_add(sb, p, len);
	return len;
}

void strbuf_json(struct strbuf *sb, const char *text)
{
	if (text)
		strbuf_json_n(sb, text, strlen(text));
	else
		strbuf_add(sb, "null", 4);
}

void strbuf_json_n(struct strbuf *sb, const char *text, size_t bytes)
{
	const unsigned char *p = (const unsigned char *)text;
	size_t at = 0;

	strbuf_reserve(sb, bytes + 2);
	strbuf_addch(sb, '"');
	while (at < bytes) {
		size_t plain = json_plain_bytes(p + at, bytes - at);

		strbuf_add(sb, p + at, plain);
		at += plain;
		if (at < bytes)
			at += json_add_special(sb, p + at, bytes - at);
	}
	strbuf_addch(sb, '"');
}

void strbuf_shown(struct strbuf *sb, const char *text)
{
	const unsigned char *p = (const unsigned char *)text;
	size_t bytes = strlen(text), at = 0;

	while (at < bytes) {
		if (json_plain(p[at]) || p[at] == '"' || p[at] == '\\')
			strbuf_addch(sb, (char)p[at++]);
		else
			at += json_add_special(sb, p + at, bytes - at);
	}
}
