/* SPDX-License-Identifier: Apache-2.0 */
/* Strings: escapes, and block strings without their common indentation. */
#include <string.h>

#include "common/base/strbuf.h"
#include "producers/graphql/lexer_impl.h"

/* Appends a code point as UTF-8. */
static void add_point(struct strbuf *out, uint32_t point)
{
	if (point < 0x80) {
		strbuf_addch(out, (char)point);
	} else if (point < 0x800) {
		strbuf_addch(out, (char)(0xc0 | point >> 6));
		strbuf_addch(out, (char)(0x80 | (point & 0x3f)));
	} else if (point < 0x10000) {
		strbuf_addch(out, (char)(0xe0 | point >> 12));
		strbuf_addch(out, (char)(0x80 | (point >> 6 & 0x3f)));
		strbuf_addch(out, (char)(0x80 | (point & 0x3f)));
	} else {
		strbuf_addch(out, (char)(0xf0 | point >> 18));
		strbuf_addch(out, (char)(0x80 | (point >> 12 & 0x3f)));
		strbuf_addch(out, (char)(0x80 | (point >> 6 & 0x3f)));
		strbuf_addch(out, (char)(0x80 | (point & 0x3f)));
	}
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

static bool is_scalar(int64_t point)
{
	return (point >= 0 && point <= 0xd7ff) || (point >= 0xe000 && point <= 0x10ffff);
}

/* Bytes of so many characters from here, as far as the text goes. */
static int characters(const struct lexer *lexer, size_t at, int count)
{
	size_t end = at;

	for (; count > 0 && end < lexer->bytes; count--) {
		end++;
		while (((unsigned char)lexer->text[end] & 0xc0) == 0x80)
			end++;
	}
	return (int)(end - at);
}

static bool refuse_unicode(struct lexer *lexer, size_t at, int count)
{
	return lexer_refuse(lexer, at, "Invalid Unicode escape sequence: '%.*s'.",
			    characters(lexer, at, count), lexer->text + at);
}

static int64_t four_digits(const char *text)
{
	int64_t code = 0;

	for (int i = 0; i < 4; i++) {
		int digit = hex_digit(text[i]);
		if (digit < 0)
			return -1;
		code = code << 4 | digit;
	}
	return code;
}

/* \u{1F600}; at is the backslash. */
static bool read_braced(struct lexer *lexer, size_t *at, struct strbuf *out)
{
	const char *text = lexer->text + *at;
	int64_t point = 0;
	int size = 3;

	while (size < 12 && *at + (size_t)size < lexer->bytes) {
		char c = text[size++];
		if (c == '}') {
			if (size < 5 || !is_scalar(point))
				break;
			add_point(out, (uint32_t)point);
			*at += (size_t)size;
			return true;
		}
		int digit = hex_digit(c);
		if (digit < 0)
			break;
		point = point << 4 | digit;
	}
	return refuse_unicode(lexer, *at, size);
}

/* \u00E9, or a pair of surrogates. */
static bool read_fixed(struct lexer *lexer, size_t *at, struct strbuf *out)
{
	const char *text = lexer->text + *at;
	int64_t code = four_digits(text + 2);

	if (is_scalar(code)) {
		add_point(out, (uint32_t)code);
		*at += 6;
		return true;
	}
	if (code >= 0xd800 && code <= 0xdbff && text[6] == '\\' && text[7] == 'u') {
		int64_t low = four_digits(text + 8);
		if (low >= 0xdc00 && low <= 0xdfff) {
			add_point(out,
				  (uint32_t)(0x10000 + ((code - 0xd800) << 10) + low - 0xdc00));
			*at += 12;
			return true;
		}
	}
	return refuse_unicode(lexer, *at, 6);
}

static bool read_escape(struct lexer *lexer, size_t *at, struct strbuf *out)
{
	static const char from[] = "\"/\\bfnrt", to[] = "\"/\\\b\f\n\r\t";
	char c = lexer->text[*at + 1];
	const char *found = c ? strchr(from, c) : NULL;

	if (c == 'u')
		return lexer->text[*at + 2] == '{' ? read_braced(lexer, at, out)
						   : read_fixed(lexer, at, out);
	if (!found)
		return lexer_refuse(lexer, *at, "Invalid character escape sequence: '%.*s'.",
				    characters(lexer, *at, 2), lexer->text + *at);
	strbuf_addch(out, to[found - from]);
	*at += 2;
	return true;
}

static bool read_quoted(struct lexer *lexer, struct token *token, struct strbuf *out)
{
	size_t at = token->start + 1;

	for (;;) {
		size_t plain = strcspn(lexer->text + at, "\"\\\r\n");
		strbuf_add(out, lexer->text + at, plain);
		at += plain;
		if (lexer->text[at] == '"')
			break;
		if (lexer->text[at] != '\\')
			return lexer_refuse(lexer, at, "Unterminated string.");
		if (!read_escape(lexer, &at, out))
			return false;
	}
	token->kind = TOKEN_STRING;
	token->end = at + 1;
	return true;
}

/* The raw lines of a block string, each ended by LF, with its escapes undone. */
static bool read_lines(struct lexer *lexer, struct token *token, struct strbuf *out)
{
	const char *text = lexer->text;
	size_t at = token->start + 3;

	for (;;) {
		size_t plain = strcspn(text + at, "\"\\\r\n");
		strbuf_add(out, text + at, plain);
		at += plain;
		if (at >= lexer->bytes)
			return lexer_refuse(lexer, at, "Unterminated string.");
		if (strncmp(text + at, "\"\"\"", 3) == 0)
			break;
		if (strncmp(text + at, "\\\"\"\"", 4) == 0) {
			strbuf_addstr(out, "\"\"\"");
			at += 4;
		} else if (text[at] == '\r' || text[at] == '\n') {
			strbuf_addch(out, '\n');
			at += text[at] == '\r' && text[at + 1] == '\n' ? 2 : 1;
		} else {
			strbuf_addch(out, text[at++]);
		}
	}
	token->kind = TOKEN_BLOCK_STRING;
	token->end = at + 3;
	return true;
}

/* Indentation that all lines but the first have, and the first and last that are not blank. */
static size_t common_indent(const char *raw, size_t *first_r, size_t *last_r)
{
	size_t indent = SIZE_MAX, line = 0;

	*first_r = SIZE_MAX;
	*last_r = 0;
	for (const char *at = raw;; line++) {
		size_t length = strcspn(at, "\n"), blank = strspn(at, " \t");
		if (blank < length) {
			if (*first_r == SIZE_MAX)
				*first_r = line;
			*last_r = line;
			if (line > 0 && blank < indent)
				indent = blank;
		}
		if (!at[length])
			break;
		at += length + 1;
	}
	return indent;
}

static void dedent(const char *raw, struct strbuf *out)
{
	size_t first, last, line = 0, indent = common_indent(raw, &first, &last);

	for (const char *at = raw; first != SIZE_MAX; line++) {
		size_t length = strcspn(at, "\n");
		size_t skipped = line == 0 ? 0 : indent < length ? indent : length;
		if (line > first && line <= last)
			strbuf_addch(out, '\n');
		if (line >= first && line <= last)
			strbuf_add(out, at + skipped, length - skipped);
		if (!at[length])
			break;
		at += length + 1;
	}
}

bool lexer_string(struct lexer *lexer, struct token *token)
{
	bool block = strncmp(lexer->text + token->start, "\"\"\"", 3) == 0;
	struct strbuf text, raw;
	bool fine;

	strbuf_init(&text);
	strbuf_init(&raw);
	if (block) {
		fine = read_lines(lexer, token, &raw);
		if (fine)
			dedent(raw.data, &text);
	} else {
		fine = read_quoted(lexer, token, &text);
	}
	if (fine) {
		token->text = arena_dup(lexer->arena, text.data, text.len + 1);
		token->text_bytes = text.len;
	}
	strbuf_release(&raw);
	strbuf_release(&text);
	return fine;
}
