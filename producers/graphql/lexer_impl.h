/* SPDX-License-Identifier: Apache-2.0 */
/* Between the two halves of the lexer. */
#ifndef PRODUCERS_GRAPHQL_LEXER_IMPL_H
#define PRODUCERS_GRAPHQL_LEXER_IMPL_H
#include "producers/graphql/lexer.h"

/* The string or block string that begins at token->start. False: refused. */
bool lexer_string(struct lexer *lexer, struct token *token);
/* The character at this byte for a message: 'x', U+00E9, <EOF>. */
const char *lexer_character(struct lexer *lexer, size_t at);

#endif
