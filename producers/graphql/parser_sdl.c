/* SPDX-License-Identifier: Apache-2.0 */
/* Type systems: our own schema, and what others send although it cannot be executed. An extension
 * is a definition with its flag set. */
#include <string.h>

#include "producers/graphql/parser_impl.h"

/* Behind the name (or `schema`). */
typedef bool body_fn(struct parser *parser, struct node *node);

static struct node *parse_input_value(struct parser *parser)
{
	struct node *node = parser_node(parser, NODE_INPUT_VALUE_DEFINITION);
	bool taken;

	if (!parser_description(parser, &node->description) || !parser_named(parser, node) ||
	    !parser_expect(parser, TOKEN_COLON))
		return NULL;
	node->type = parser_type(parser);
	if (!node->type || !parser_optional(parser, TOKEN_EQUALS, &taken))
		return NULL;
	if (taken) {
		node->value = parser_const_value(parser);
		if (!node->value)
			return NULL;
	}
	return parser_const_directives(parser, &node->directives) ? node : NULL;
}

static struct node *parse_field_definition(struct parser *parser)
{
	struct node *node = parser_node(parser, NODE_FIELD_DEFINITION);

	if (!parser_description(parser, &node->description) || !parser_named(parser, node) ||
	    !parser_optional_many(parser, TOKEN_PAREN_L, parse_input_value, TOKEN_PAREN_R,
				  &node->arguments) ||
	    !parser_expect(parser, TOKEN_COLON))
		return NULL;
	node->type = parser_type(parser);
	return node->type && parser_const_directives(parser, &node->directives) ? node : NULL;
}

static struct node *parse_enum_value(struct parser *parser)
{
	struct node *node = parser_node(parser, NODE_ENUM_VALUE_DEFINITION);

	if (!parser_description(parser, &node->description))
		return NULL;
	if (parser_peek_word(parser, "true") || parser_peek_word(parser, "false") ||
	    parser_peek_word(parser, "null")) {
		lexer_refuse(&parser->lexer, parser->token.start,
			     "%s is reserved and cannot be used for an enum value.",
			     lexer_token_text(parser->lexer.arena, &parser->token));
		return NULL;
	}
	return parser_named(parser, node) && parser_const_directives(parser, &node->directives)
		       ? node
		       : NULL;
}

static struct node *parse_operation_type(struct parser *parser)
{
	struct node *node = parser_node(parser, NODE_OPERATION_TYPE);

	if (!parser_operation_word(parser, &node->operation) || !parser_expect(parser, TOKEN_COLON))
		return NULL;
	node->type = parser_named_type(parser);
	return node->type ? node : NULL;
}

/* Entries with a mark between them, and perhaps before the first. */
static bool parse_delimited(struct parser *parser, enum token_kind mark, parser_entry_fn *entry,
			    struct node **list_r)
{
	bool more;

	if (!parser_optional(parser, mark, &more))
		return false;
	do {
		*list_r = entry(parser);
		if (!*list_r || !parser_optional(parser, mark, &more))
			return false;
		list_r = &(*list_r)->next;
	} while (more);
	return true;
}

static bool scalar_body(struct parser *parser, struct node *node)
{
	return parser_const_directives(parser, &node->directives);
}

static bool object_body(struct parser *parser, struct node *node)
{
	if (parser_peek_word(parser, "implements") &&
	    (!parser_advance(parser) ||
	     !parse_delimited(parser, TOKEN_AMP, parser_named_type, &node->interfaces)))
		return false;
	return parser_const_directives(parser, &node->directives) &&
	       parser_optional_many(parser, TOKEN_BRACE_L, parse_field_definition, TOKEN_BRACE_R,
				    &node->items);
}

static bool union_body(struct parser *parser, struct node *node)
{
	bool taken;

	if (!parser_const_directives(parser, &node->directives) ||
	    !parser_optional(parser, TOKEN_EQUALS, &taken))
		return false;
	return !taken || parse_delimited(parser, TOKEN_PIPE, parser_named_type, &node->items);
}

static bool enum_body(struct parser *parser, struct node *node)
{
	return parser_const_directives(parser, &node->directives) &&
	       parser_optional_many(parser, TOKEN_BRACE_L, parse_enum_value, TOKEN_BRACE_R,
				    &node->items);
}

static bool input_body(struct parser *parser, struct node *node)
{
	return parser_const_directives(parser, &node->directives) &&
	       parser_optional_many(parser, TOKEN_BRACE_L, parse_input_value, TOKEN_BRACE_R,
				    &node->items);
}

static bool schema_body(struct parser *parser, struct node *node)
{
	if (!parser_const_directives(parser, &node->directives))
		return false;
	if (node->flag)
		return parser_optional_many(parser, TOKEN_BRACE_L, parse_operation_type,
					    TOKEN_BRACE_R, &node->items);
	return parser_many(parser, TOKEN_BRACE_L, parse_operation_type, TOKEN_BRACE_R, false,
			   &node->items);
}

static bool directive_body(struct parser *parser, struct node *node)
{
	if (!parser_optional_many(parser, TOKEN_PAREN_L, parse_input_value, TOKEN_PAREN_R,
				  &node->arguments))
		return false;
	node->flag = parser_peek_word(parser, "repeatable");
	return (!node->flag || parser_advance(parser)) && parser_expect_word(parser, "on") &&
	       parse_delimited(parser, TOKEN_PIPE, parser_name, &node->items);
}

static const struct definition {
	const char *word;
	enum node_kind kind;
	body_fn *body;
} definitions[] = {
	{ "schema", NODE_SCHEMA_DEFINITION, schema_body },
	{ "scalar", NODE_SCALAR_DEFINITION, scalar_body },
	{ "type", NODE_OBJECT_DEFINITION, object_body },
	{ "interface", NODE_INTERFACE_DEFINITION, object_body },
	{ "union", NODE_UNION_DEFINITION, union_body },
	{ "enum", NODE_ENUM_DEFINITION, enum_body },
	{ "input", NODE_INPUT_OBJECT_DEFINITION, input_body },
	{ "directive", NODE_DIRECTIVE_DEFINITION, directive_body },
};

static const struct definition *find_definition(const char *word)
{
	for (size_t i = 0; i < ARRAY_LEN(definitions); i++) {
		if (strcmp(definitions[i].word, word) == 0)
			return &definitions[i];
	}
	return NULL;
}

bool parser_sdl_word(const char *word)
{
	return find_definition(word) != NULL;
}

static bool parse_head(struct parser *parser, const struct definition *row, struct node *node)
{
	if (!parser_advance(parser)) /* the word */
		return false;
	if (row->kind == NODE_SCHEMA_DEFINITION)
		return true;
	if (row->kind == NODE_DIRECTIVE_DEFINITION && !parser_expect(parser, TOKEN_AT))
		return false;
	return parser_named(parser, node);
}

struct node *parser_sdl(struct parser *parser)
{
	struct node *node = parser_node(parser, NODE_SCALAR_DEFINITION);
	const struct definition *row;

	if (!parser_description(parser, &node->description))
		return NULL;
	if (parser_peek_word(parser, "extend")) {
		node->flag = true;
		if (!parser_advance(parser))
			return NULL;
	}
	row = parser_peek(parser, TOKEN_NAME) ? find_definition(parser->token.text) : NULL;
	if (!row || (node->flag && row->kind == NODE_DIRECTIVE_DEFINITION))
		return parser_unexpected(parser, &parser->token);
	node->kind = row->kind;
	if (!parse_head(parser, row, node) || !row->body(parser, node))
		return NULL;
	if (node->flag && node->kind != NODE_DIRECTIVE_DEFINITION && !node->interfaces &&
	    !node->directives && !node->items)
		return parser_unexpected(parser, &parser->token);
	return node;
}
