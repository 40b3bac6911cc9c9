/* SPDX-License-Identifier: Apache-2.0 */
/* GraphQL text as tokens. The text is UTF-8 and ends with NUL; the lexer refuses what is no token
 * with the words that graphql-core uses. */
#ifndef PRODUCERS_GRAPHQL_LEXER_H
#define PRODUCERS_GRAPHQL_LEXER_H
#include <stdbool.h>
#include <stddef.h>

#include "producers/graphql/faults.h"

enum token_kind {
	TOKEN_SOF,
	TOKEN_EOF,
	TOKEN_BANG,
	TOKEN_DOLLAR,
	TOKEN_AMP,
	TOKEN_PAREN_L,
	TOKEN_PAREN_R,
	TOKEN_SPREAD,
	TOKEN_COLON,
	TOKEN_EQUALS,
	TOKEN_AT,
	TOKEN_BRACKET_L,
	TOKEN_BRACKET_R,
	TOKEN_BRACE_L,
	TOKEN_PIPE,
	TOKEN_BRACE_R,
	TOKEN_NAME,
	TOKEN_INT,
	TOKEN_FLOAT,
	TOKEN_STRING,
	TOKEN_BLOCK_STRING,
};

struct token {
	enum token_kind kind;
	size_t start, end;
	const char *text; /* names, numbers, strings (as read); NULL of punctuation */
	size_t text_bytes;
};

struct lexer {
	const char *text;
	size_t bytes;
	struct arena *arena;
	struct faults *faults; /* a refusal goes here */
};

/* The token behind byte `at`. False: refused. */
bool lexer_read(struct lexer *lexer, size_t at, struct token *token_r);
const char *lexer_kind_text(enum token_kind kind); /* "Name", "'{'" */
/* "Name 'job'", "'{'", "<EOF>". */
const char *lexer_token_text(struct arena *arena, const struct token *token);
/* Refuses at this byte: "Syntax Error: ...". False, always. */
bool lexer_refuse(struct lexer *lexer, size_t at, const char *fmt, ...) printf_like(3, 4);

#endif
