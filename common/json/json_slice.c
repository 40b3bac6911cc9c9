/* SPDX-License-Identifier: Apache-2.0 */
/* Finding pieces in JSON text without building a tree. The hot paths use it to lift a payload out
 * of a request as it was sent. The text has been validated before; what is broken all the same ends
 * in -1 or "absent", never in a read beyond the slice. Nothing here recurses. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/json/json_escape.h"
#include "common/json/json_text.h"

/* End of the slice. An absent one has no address to count from. */
static const char *slice_end(struct json_slice s)
{
	return s.bytes ? s.text + s.bytes : s.text;
}

static bool is_space(char c)
{
	return c == ' ' || c == '\n' || c == '\t' || c == '\r';
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static const char *skip_space(const char *at, const char *end)
{
	while (at < end && is_space(*at))
		at++;
	return at;
}

/* `at` is the opening quote. Returns the place behind the closing one, or NULL. */
static const char *skip_string(const char *at, const char *end)
{
	const char *quote;

	at++;
	quote = memchr(at, '"', (size_t)(end - at));
	while (quote) {
		const char *escape = memchr(at, '\\', (size_t)(quote - at));

		if (!escape)
			return quote + 1;
		at = escape + 2;
		if (at > quote)
			quote = memchr(at, '"', (size_t)(end - at));
	}
	return NULL;
}

/* `at` is the opening bracket. Returns the place behind the one that closes it, or NULL. */
static const char *skip_container(const char *at, const char *end)
{
	size_t depth = 0;

	while (at && at < end) {
		switch (*at) {
		case '"':
			at = skip_string(at, end);
			continue;
		case '{':
		case '[':
			depth++;
			break;
		case '}':
		case ']':
			if (--depth == 0)
				return at + 1;
			break;
		}
		at++;
	}
	return NULL;
}

/* true, false, null or a number: everything up to a delimiter. */
static const char *skip_scalar(const char *at, const char *end)
{
	const char *start = at;

	while (at < end && !is_space(*at) && !strchr(",:]}[{\"", *at))
		at++;
	return at > start ? at : NULL;
}

static const char *skip_value(const char *at, const char *end)
{
	if (at >= end)
		return NULL;
	if (*at == '"')
		return skip_string(at, end);
	if (*at == '{' || *at == '[')
		return skip_container(at, end);
	return skip_scalar(at, end);
}

/* Goes to the next entry of a container. 1: *at_r is its first character; 0: the end; -1: broken.
 */
static int next_entry(struct json_slice whole, const char *brackets, const char *cursor,
		      const char **at_r)
{
	const char *end = slice_end(whole), *at;

	if (whole.bytes == 0)
		return -1;
	if (!cursor) {
		at = skip_space(whole.text, end);
		if (at == end || *at != brackets[0])
			return -1;
		at = skip_space(at + 1, end);
		*at_r = at;
		return at == end ? -1 : *at != brackets[1];
	}
	at = skip_space(cursor, end);
	*at_r = at;
	if (at == end)
		return -1;
	if (*at == brackets[1])
		return 0;
	if (*at != ',')
		return -1;
	*at_r = skip_space(at + 1, end);
	return *at_r == end ? -1 : 1;
}

static int take_value(const char *at, const char *end, const char **cursor,
		      struct json_slice *value_r)
{
	const char *value_end = skip_value(at, end);

	if (!value_end)
		return -1;
	*value_r = (struct json_slice){ .text = at, .bytes = (size_t)(value_end - at) };
	*cursor = value_end;
	return 1;
}

int json_slice_next(struct json_slice object, const char **cursor, struct json_member *member_r)
{
	const char *at, *key_end, *end = slice_end(object);
	int result = next_entry(object, "{}", *cursor, &at);

	if (result <= 0) {
		if (result == 0)
			*cursor = at;
		return result;
	}
	if (*at != '"')
		return -1;
	key_end = skip_string(at, end);
	if (!key_end)
		return -1;
	member_r->key = (struct json_slice){ .text = at + 1, .bytes = (size_t)(key_end - at) - 2 };
	at = skip_space(key_end, end);
	if (at == end || *at != ':')
		return -1;
	return take_value(skip_space(at + 1, end), end, cursor, &member_r->value);
}

int json_slice_element(struct json_slice array, const char **cursor, struct json_slice *value_r)
{
	const char *at;
	int result = next_entry(array, "[]", *cursor, &at);

	if (result <= 0) {
		if (result == 0)
			*cursor = at;
		return result;
	}
	return take_value(at, slice_end(array), cursor, value_r);
}

struct json_slice json_slice_get(struct json_slice object, const char *key)
{
	struct json_member member;
	const char *cursor = NULL;
	size_t key_bytes = strlen(key);

	while (json_slice_next(object, &cursor, &member) == 1) {
		if (member.key.bytes == key_bytes && memcmp(member.key.text, key, key_bytes) == 0 &&
		    !strchr(key, '\\'))
			return member.value;
	}
	return (struct json_slice){ .text = NULL, .bytes = 0 };
}

bool json_slice_is(struct json_slice s, const char *text)
{
	return s.bytes == strlen(text) && (s.bytes == 0 || memcmp(s.text, text, s.bytes) == 0);
}

/* Four hex digits at `at`, or -1. */
static int32_t hex4(const char *at, const char *end)
{
	int32_t n = 0;

	if (end - at < 4)
		return -1;
	for (int i = 0; i < 4; i++) {
		char c = at[i];
		int digit = is_digit(c)                              ? c - '0'
			    : (c | 0x20) >= 'a' && (c | 0x20) <= 'f' ? (c | 0x20) - 'a' + 10
								     : -1;

		if (digit < 0)
			return -1;
		n = n << 4 | digit;
	}
	return n;
}

static char *put_utf8(char *out, uint32_t point)
{
	if (point < 0x80) {
		*out++ = (char)point;
	} else if (point < 0x800) {
		*out++ = (char)(0xc0 | point >> 6);
		*out++ = (char)(0x80 | (point & 0x3f));
	} else if (point < 0x10000) {
		*out++ = (char)(0xe0 | point >> 12);
		*out++ = (char)(0x80 | (point >> 6 & 0x3f));
		*out++ = (char)(0x80 | (point & 0x3f));
	} else {
		*out++ = (char)(0xf0 | point >> 18);
		*out++ = (char)(0x80 | (point >> 12 & 0x3f));
		*out++ = (char)(0x80 | (point >> 6 & 0x3f));
		*out++ = (char)(0x80 | (point & 0x3f));
	}
	return out;
}

/* `at` is behind "\u". Reads one code point, from two escapes when it is a surrogate pair; NUL and
 * lone surrogates are refused. Returns the place behind it, or NULL. */
static const char *take_unicode(const char *at, const char *end, uint32_t *point_r)
{
	int32_t high = hex4(at, end), low;

	if (high <= 0 || (high >= 0xdc00 && high <= 0xdfff))
		return NULL;
	at += 4;
	*point_r = (uint32_t)high;
	if (high < 0xd800 || high > 0xdbff)
		return at;
	if (end - at < 6 || at[0] != '\\' || at[1] != 'u')
		return NULL;
	low = hex4(at + 2, end);
	if (low < 0xdc00 || low > 0xdfff)
		return NULL;
	*point_r = 0x10000 + ((uint32_t)(high - 0xd800) << 10) + (uint32_t)(low - 0xdc00);
	return at + 6;
}

const char *json_escape_take(const char *at, const char *end, char **out_r)
{
	static const char plain[128] = { ['"'] = '"',  ['\\'] = '\\', ['/'] = '/',  ['b'] = '\b',
					 ['f'] = '\f', ['n'] = '\n',  ['r'] = '\r', ['t'] = '\t' };
	uint32_t point;

	if (at == end)
		return NULL;
	if (*at == 'u') {
		at = take_unicode(at + 1, end, &point);
		if (at)
			*out_r = put_utf8(*out_r, point);
		return at;
	}
	if ((unsigned char)*at >= sizeof(plain) || !plain[(unsigned char)*at])
		return NULL;
	*(*out_r)++ = plain[(unsigned char)*at];
	return at + 1;
}

char *json_slice_string(struct arena *arena, struct json_slice s)
{
	const char *at, *end;
	char *text, *out;

	if (s.bytes < 2 || s.text[0] != '"' ||
	    skip_string(s.text, s.text + s.bytes) != s.text + s.bytes)
		return NULL;
	at = s.text + 1;
	end = s.text + s.bytes - 1;
	if (!memchr(at, '\\', (size_t)(end - at)))
		return arena_strndup(arena, at, (size_t)(end - at));
	text = out = arena_alloc(arena, s.bytes);
	while (at < end) {
		if (*at != '\\') {
			*out++ = *at++;
			continue;
		}
		at = json_escape_take(at + 1, end, &out);
		if (!at)
			return NULL;
	}
	*out = '\0';
	return text;
}

static const char *skip_digits(const char *at, const char *end)
{
	while (at < end && is_digit(*at))
		at++;
	return at;
}

/* Behind the integer part of a number as JSON writes it ("-0", "10", not "01" or "+1"), or NULL. */
static const char *skip_int(const char *at, const char *end)
{
	const char *start;

	if (at < end && *at == '-')
		at++;
	start = at;
	at = skip_digits(at, end);
	return at == start || (*start == '0' && at > start + 1) ? NULL : at;
}

static bool is_number(struct json_slice s)
{
	const char *at, *start, *end = slice_end(s);

	at = s.bytes ? skip_int(s.text, end) : NULL;
	if (at && at < end && *at == '.') {
		start = at + 1;
		at = skip_digits(start, end);
		at = at > start ? at : NULL;
	}
	if (at && at < end && (*at == 'e' || *at == 'E')) {
		start = at + 1;
		if (start < end && (*start == '+' || *start == '-'))
			start++;
		at = skip_digits(start, end);
		at = at > start ? at : NULL;
	}
	return at == end && at;
}

int json_slice_int(struct json_slice s, int64_t *n_r)
{
	const char *end = slice_end(s), *at = s.text;
	int64_t n = 0;
	bool negative;

	if (s.bytes == 0 || skip_int(at, end) != end)
		return -1;
	negative = *at == '-';
	for (at += negative; at < end; at++) {
		int digit = negative ? -(*at - '0') : *at - '0';

		if (__builtin_mul_overflow(n, 10, &n) || __builtin_add_overflow(n, digit, &n))
			return -1;
	}
	*n_r = n;
	return 0;
}

int json_slice_double(struct json_slice s, double *d_r)
{
	char brief[64], *text = brief;
	double d;

	if (!is_number(s))
		return -1;
	if (s.bytes >= sizeof(brief))
		text = xmalloc(s.bytes + 1);
	memcpy(text, s.text, s.bytes);
	text[s.bytes] = '\0';
	d = strtod(text, NULL);
	if (text != brief)
		free(text);
	if (__builtin_isinf(d))
		return -1;
	*d_r = d;
	return 0;
}

void json_slice_add_line(struct strbuf *sb, struct json_slice s)
{
	size_t start = sb->len;

	strbuf_add(sb, s.text, s.bytes);
	for (size_t i = start; i < sb->len; i++) {
		if (sb->data[i] == '\n' || sb->data[i] == '\r')
			sb->data[i] = ' ';
	}
}
