/* SPDX-License-Identifier: Apache-2.0 */
/* Between the two halves of the parser. Every function gives NULL (or false) after a refusal. */
#ifndef PRODUCERS_GRAPHQL_PARSER_IMPL_H
#define PRODUCERS_GRAPHQL_PARSER_IMPL_H
#include "producers/graphql/document.h"
#include "producers/graphql/lexer.h"

struct parser {
	struct lexer lexer;
	struct token token; /* the one to look at */
	size_t tokens, tokens_max;
	int nesting;
};

typedef struct node *parser_entry_fn(struct parser *parser);

bool parser_peek(const struct parser *parser, enum token_kind kind);
bool parser_peek_word(const struct parser *parser, const char *word);
bool parser_advance(struct parser *parser);
bool parser_expect(struct parser *parser, enum token_kind kind);
bool parser_expect_word(struct parser *parser, const char *word);
/* Takes it if it is there. False: refused, as what follows is no token. */
bool parser_optional(struct parser *parser, enum token_kind kind, bool *taken_r);
struct node *parser_unexpected(struct parser *parser, const struct token *token); /* NULL */
struct node *parser_node(struct parser *parser, enum node_kind kind);
/* Entries between two marks; at least one if not `empty`. */
bool parser_many(struct parser *parser, enum token_kind open, parser_entry_fn *entry,
		 enum token_kind close, bool empty, struct node **list_r);
/* The same, or nothing. */
bool parser_optional_many(struct parser *parser, enum token_kind open, parser_entry_fn *entry,
			  enum token_kind close, struct node **list_r);
/* Reads the name into node->name and ->text. */
bool parser_named(struct parser *parser, struct node *node);
struct node *parser_name(struct parser *parser);
struct node *parser_named_type(struct parser *parser);
struct node *parser_type(struct parser *parser);
struct node *parser_const_value(struct parser *parser);
bool parser_const_directives(struct parser *parser, struct node **list_r);
bool parser_description(struct parser *parser, struct node **string_r);
bool parser_operation_word(struct parser *parser, enum operation *operation_r);

/* parser_sdl.c: does a type system's definition begin with this word? And the definition. */
bool parser_sdl_word(const char *word);
struct node *parser_sdl(struct parser *parser);

#endif
