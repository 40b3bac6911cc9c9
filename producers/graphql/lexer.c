/* SPDX-License-Identifier: Apache-2.0 */
/* Names, numbers and punctuation; strings are in lexer_string.c. */
#include "producers/graphql/lexer.h"

#include <string.h>

#include "common/base/utf8.h"
#include "producers/graphql/lexer_impl.h"

const char *lexer_kind_text(enum token_kind kind)
{
	static const char *const texts[] = {
		[TOKEN_SOF] = "<SOF>",
		[TOKEN_EOF] = "<EOF>",
		[TOKEN_BANG] = "'!'",
		[TOKEN_DOLLAR] = "'$'",
		[TOKEN_AMP] = "'&'",
		[TOKEN_PAREN_L] = "'('",
		[TOKEN_PAREN_R] = "')'",
		[TOKEN_SPREAD] = "'...'",
		[TOKEN_COLON] = "':'",
		[TOKEN_EQUALS] = "'='",
		[TOKEN_AT] = "'@'",
		[TOKEN_BRACKET_L] = "'['",
		[TOKEN_BRACKET_R] = "']'",
		[TOKEN_BRACE_L] = "'{'",
		[TOKEN_PIPE] = "'|'",
		[TOKEN_BRACE_R] = "'}'",
		[TOKEN_NAME] = "Name",
		[TOKEN_INT] = "Int",
		[TOKEN_FLOAT] = "Float",
		[TOKEN_STRING] = "String",
		[TOKEN_BLOCK_STRING] = "BlockString",
	};

	return texts[kind];
}

const char *lexer_token_text(struct arena *arena, const struct token *token)
{
	const char *kind = lexer_kind_text(token->kind);

	return token->text ? arena_printf(arena, "%s '%s'", kind, token->text) : kind;
}

bool lexer_refuse(struct lexer *lexer, size_t at, const char *fmt, ...)
{
	const char *message;
	va_list args;

	va_start(args, fmt);
	message = arena_vprintf(lexer->arena, fmt, args);
	va_end(args);
	faults_at_byte(lexer->faults, at, "Syntax Error: %s", message);
	return false;
}

const char *lexer_character(struct lexer *lexer, size_t at)
{
	unsigned char c = (unsigned char)lexer->text[at];
	uint32_t point = c;

	if (at >= lexer->bytes)
		return "<EOF>";
	if (c == '"')
		return "'\"'";
	if (c >= 0x20 && c <= 0x7e)
		return arena_printf(lexer->arena, "'%c'", c);
	if (c >= 0x80 &&
	    !utf8_at((const unsigned char *)lexer->text + at, lexer->bytes - at, &point))
		point = 0xfffd;
	return arena_printf(lexer->arena, "U+%04X", point);
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool is_name_start(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

/* Behind white space, commas, comments and byte order marks. */
static size_t skip_ignored(const struct lexer *lexer, size_t at)
{
	const char *text = lexer->text;

	for (;;) {
		if (text[at] == '#')
			at += strcspn(text + at, "\r\n");
		else if (text[at] == ' ' || text[at] == '\t' || text[at] == ',' ||
			 text[at] == '\n' || text[at] == '\r')
			at++;
		else if (strncmp(text + at, "\xef\xbb\xbf", 3) == 0)
			at += 3;
		else
			return at;
	}
}

static enum token_kind punctuation(char c)
{
	static const char marks[] = "!$&():=@[]{|}";
	static const enum token_kind kinds[] = {
		TOKEN_BANG,    TOKEN_DOLLAR, TOKEN_AMP,     TOKEN_PAREN_L,   TOKEN_PAREN_R,
		TOKEN_COLON,   TOKEN_EQUALS, TOKEN_AT,      TOKEN_BRACKET_L, TOKEN_BRACKET_R,
		TOKEN_BRACE_L, TOKEN_PIPE,   TOKEN_BRACE_R,
	};
	const char *found = c ? strchr(marks, c) : NULL;

	return found ? kinds[found - marks] : TOKEN_SOF;
}

static void finish(struct lexer *lexer, struct token *token, size_t end)
{
	token->end = end;
	token->text_bytes = end - token->start;
	token->text = arena_strndup(lexer->arena, lexer->text + token->start, token->text_bytes);
}

static bool read_digits(struct lexer *lexer, size_t *at)
{
	if (!is_digit(lexer->text[*at]))
		return lexer_refuse(lexer, *at, "Invalid number, expected digit but got: %s.",
				    lexer_character(lexer, *at));
	while (is_digit(lexer->text[*at]))
		++*at;
	return true;
}

static bool read_number(struct lexer *lexer, struct token *token)
{
	const char *text = lexer->text;
	size_t at = token->start;

	token->kind = TOKEN_INT;
	at += text[at] == '-';
	if (text[at] == '0') {
		at++;
		if (is_digit(text[at]))
			return lexer_refuse(lexer, at,
					    "Invalid number, unexpected digit after 0: %s.",
					    lexer_character(lexer, at));
	} else if (!read_digits(lexer, &at)) {
		return false;
	}
	if (text[at] == '.') {
		token->kind = TOKEN_FLOAT;
		at++;
		if (!read_digits(lexer, &at))
			return false;
	}
	if (text[at] == 'e' || text[at] == 'E') {
		token->kind = TOKEN_FLOAT;
		at++;
		at += text[at] == '+' || text[at] == '-';
		if (!read_digits(lexer, &at))
			return false;
	}
	if (text[at] == '.' || is_name_start(text[at]))
		return lexer_refuse(lexer, at, "Invalid number, expected digit but got: %s.",
				    lexer_character(lexer, at));
	finish(lexer, token, at);
	return true;
}

static bool read_dots(struct lexer *lexer, struct token *token)
{
	const char *text = lexer->text + token->start;

	if (text[1] == '.' && text[2] == '.') {
		token->kind = TOKEN_SPREAD;
		token->end = token->start + 3;
		return true;
	}
	if (text[1] == '.')
		return lexer_refuse(lexer, token->start, "Unexpected '..', did you mean '...'?");
	if (is_digit(text[1]))
		return lexer_refuse(
			lexer, token->start,
			"Invalid number, expected digit before '.', did you mean '0.%.*s'?",
			(int)strspn(text + 1, "0123456789"), text + 1);
	return lexer_refuse(lexer, token->start, "Unexpected character: '.'.");
}

static bool read_name(struct lexer *lexer, struct token *token)
{
	size_t end = token->start;

	while (is_name_start(lexer->text[end]) || is_digit(lexer->text[end]))
		end++;
	token->kind = TOKEN_NAME;
	finish(lexer, token, end);
	return true;
}

bool lexer_read(struct lexer *lexer, size_t at, struct token *token_r)
{
	char c;

	at = skip_ignored(lexer, at);
	c = lexer->text[at];
	*token_r = (struct token){ .kind = TOKEN_EOF, .start = at, .end = at };
	if (at >= lexer->bytes)
		return true;
	if (c == '"')
		return lexer_string(lexer, token_r);
	token_r->kind = punctuation(c);
	if (token_r->kind != TOKEN_SOF) {
		token_r->end = at + 1;
		return true;
	}
	if (is_digit(c) || c == '-')
		return read_number(lexer, token_r);
	if (is_name_start(c))
		return read_name(lexer, token_r);
	if (c == '.')
		return read_dots(lexer, token_r);
	if (c == '\'')
		return lexer_refuse(lexer, at,
				    "Unexpected single quote character ('), did you mean to use a "
				    "double quote (\")?");
	return lexer_refuse(lexer, at, "Unexpected character: %s.", lexer_character(lexer, at));
}
