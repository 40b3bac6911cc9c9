/* SPDX-License-Identifier: Apache-2.0 */
/* Recursive descent over requests; type systems are in parser_sdl.c. Nesting is bounded, so that no
 * text can use up the stack. */
#include "producers/graphql/parser.h"

#include <string.h>

#include "producers/graphql/parser_impl.h"

static struct node *parse_selection_set(struct parser *parser);
static struct node *parse_value(struct parser *parser, bool constant);

/* ---- tokens */

bool parser_peek(const struct parser *parser, enum token_kind kind)
{
	return parser->token.kind == kind;
}

bool parser_peek_word(const struct parser *parser, const char *word)
{
	return parser->token.kind == TOKEN_NAME && strcmp(parser->token.text, word) == 0;
}

bool parser_advance(struct parser *parser)
{
	if (!lexer_read(&parser->lexer, parser->token.end, &parser->token))
		return false;
	if (parser->token.kind != TOKEN_EOF && parser->tokens_max &&
	    ++parser->tokens > parser->tokens_max)
		return lexer_refuse(&parser->lexer, parser->token.start,
				    "Document contains more than %zu tokens. Parsing aborted.",
				    parser->tokens_max);
	return true;
}

bool parser_expect(struct parser *parser, enum token_kind kind)
{
	if (parser->token.kind == kind)
		return parser_advance(parser);
	return lexer_refuse(&parser->lexer, parser->token.start, "Expected %s, found %s.",
			    lexer_kind_text(kind),
			    lexer_token_text(parser->lexer.arena, &parser->token));
}

bool parser_expect_word(struct parser *parser, const char *word)
{
	if (parser_peek_word(parser, word))
		return parser_advance(parser);
	return lexer_refuse(&parser->lexer, parser->token.start, "Expected '%s', found %s.", word,
			    lexer_token_text(parser->lexer.arena, &parser->token));
}

bool parser_optional(struct parser *parser, enum token_kind kind, bool *taken_r)
{
	*taken_r = parser->token.kind == kind;
	return !*taken_r || parser_advance(parser);
}

struct node *parser_unexpected(struct parser *parser, const struct token *token)
{
	lexer_refuse(&parser->lexer, token->start, "Unexpected %s.",
		     lexer_token_text(parser->lexer.arena, token));
	return NULL;
}

struct node *parser_node(struct parser *parser, enum node_kind kind)
{
	struct node *node = ARENA_NEW(parser->lexer.arena, struct node);

	node->kind = kind;
	node->start = (uint32_t)parser->token.start;
	return node;
}

static bool enter(struct parser *parser)
{
	if (++parser->nesting <= DOCUMENT_NESTING_MAX)
		return true;
	return lexer_refuse(&parser->lexer, parser->token.start,
			    "Document is nested too deeply. Parsing aborted.");
}

/* ---- lists */

bool parser_many(struct parser *parser, enum token_kind open, parser_entry_fn *entry,
		 enum token_kind close, bool empty, struct node **list_r)
{
	struct node **end = list_r;
	bool closed = false;

	*list_r = NULL;
	if (!parser_expect(parser, open))
		return false;
	if (empty && !parser_optional(parser, close, &closed))
		return false;
	while (!closed) {
		*end = entry(parser);
		if (!*end)
			return false;
		end = &(*end)->next;
		if (!parser_optional(parser, close, &closed))
			return false;
	}
	return true;
}

bool parser_optional_many(struct parser *parser, enum token_kind open, parser_entry_fn *entry,
			  enum token_kind close, struct node **list_r)
{
	*list_r = NULL;
	return !parser_peek(parser, open) || parser_many(parser, open, entry, close, false, list_r);
}

/* ---- names and types */

struct node *parser_name(struct parser *parser)
{
	struct node *name = parser_node(parser, NODE_NAME);

	name->text = parser->token.text;
	name->text_bytes = parser->token.text_bytes;
	return parser_expect(parser, TOKEN_NAME) ? name : NULL;
}

bool parser_named(struct parser *parser, struct node *node)
{
	node->name = parser_name(parser);
	if (!node->name)
		return false;
	node->text = node->name->text;
	return true;
}

struct node *parser_named_type(struct parser *parser)
{
	struct node *type = parser_node(parser, NODE_NAMED_TYPE);

	return parser_named(parser, type) ? type : NULL;
}

struct node *parser_type(struct parser *parser)
{
	struct node *type, *outer = parser_node(parser, NODE_NON_NULL_TYPE);
	bool taken;

	if (parser_peek(parser, TOKEN_BRACKET_L)) {
		type = parser_node(parser, NODE_LIST_TYPE);
		if (!parser_advance(parser) || !enter(parser))
			return NULL;
		type->type = parser_type(parser);
		parser->nesting--;
		if (!type->type || !parser_expect(parser, TOKEN_BRACKET_R))
			return NULL;
	} else {
		type = parser_named_type(parser);
		if (!type)
			return NULL;
	}
	if (!parser_optional(parser, TOKEN_BANG, &taken))
		return NULL;
	outer->type = type;
	return taken ? outer : type;
}

/* ---- values */

static struct node *take_literal(struct parser *parser, enum node_kind kind)
{
	struct node *node = parser_node(parser, kind);

	node->text = parser->token.text;
	node->text_bytes = parser->token.text_bytes;
	node->flag = parser->token.kind == TOKEN_BLOCK_STRING;
	return parser_advance(parser) ? node : NULL;
}

static struct node *parse_word_value(struct parser *parser)
{
	bool yes = parser_peek_word(parser, "true");
	struct node *node;

	if (yes || parser_peek_word(parser, "false")) {
		node = take_literal(parser, NODE_BOOLEAN);
		if (node)
			node->flag = yes;
		return node;
	}
	if (parser_peek_word(parser, "null"))
		return take_literal(parser, NODE_NULL);
	return take_literal(parser, NODE_ENUM);
}

static struct node *parse_variable(struct parser *parser)
{
	struct node *node = parser_node(parser, NODE_VARIABLE);

	if (!parser_expect(parser, TOKEN_DOLLAR) || !parser_named(parser, node))
		return NULL;
	return node;
}

static struct node *refuse_variable(struct parser *parser)
{
	struct token dollar = parser->token;

	if (!parser_advance(parser))
		return NULL;
	if (!parser_peek(parser, TOKEN_NAME))
		return parser_unexpected(parser, &dollar);
	lexer_refuse(&parser->lexer, dollar.start, "Unexpected variable '$%s' in constant value.",
		     parser->token.text);
	return NULL;
}

static struct node *parse_any_value(struct parser *parser)
{
	return parse_value(parser, false);
}

struct node *parser_const_value(struct parser *parser)
{
	return parse_value(parser, true);
}

static struct node *parse_pair(struct parser *parser, enum node_kind kind, bool constant)
{
	struct node *node = parser_node(parser, kind);

	if (!parser_named(parser, node) || !parser_expect(parser, TOKEN_COLON))
		return NULL;
	node->value = parse_value(parser, constant);
	return node->value ? node : NULL;
}

static struct node *parse_object_field(struct parser *parser)
{
	return parse_pair(parser, NODE_OBJECT_FIELD, false);
}

static struct node *parse_const_object_field(struct parser *parser)
{
	return parse_pair(parser, NODE_OBJECT_FIELD, true);
}

static struct node *parse_list_value(struct parser *parser, bool constant)
{
	struct node *node;

	if (!enter(parser))
		return NULL;
	node = parser_node(parser, NODE_LIST);
	if (!parser_many(parser, TOKEN_BRACKET_L, constant ? parser_const_value : parse_any_value,
			 TOKEN_BRACKET_R, true, &node->items))
		return NULL;
	parser->nesting--;
	return node;
}

static struct node *parse_object_value(struct parser *parser, bool constant)
{
	struct node *node;

	if (!enter(parser))
		return NULL;
	node = parser_node(parser, NODE_OBJECT);
	if (!parser_many(parser, TOKEN_BRACE_L,
			 constant ? parse_const_object_field : parse_object_field, TOKEN_BRACE_R,
			 true, &node->items))
		return NULL;
	parser->nesting--;
	return node;
}

static struct node *parse_value(struct parser *parser, bool constant)
{
	switch (parser->token.kind) {
	case TOKEN_BRACKET_L:
		return parse_list_value(parser, constant);
	case TOKEN_BRACE_L:
		return parse_object_value(parser, constant);
	case TOKEN_INT:
		return take_literal(parser, NODE_INT);
	case TOKEN_FLOAT:
		return take_literal(parser, NODE_FLOAT);
	case TOKEN_STRING:
	case TOKEN_BLOCK_STRING:
		return take_literal(parser, NODE_STRING);
	case TOKEN_NAME:
		return parse_word_value(parser);
	case TOKEN_DOLLAR:
		return constant ? refuse_variable(parser) : parse_variable(parser);
	default:
		return parser_unexpected(parser, &parser->token);
	}
}

/* ---- arguments and directives */

static struct node *parse_argument(struct parser *parser)
{
	return parse_pair(parser, NODE_ARGUMENT, false);
}

static struct node *parse_const_argument(struct parser *parser)
{
	return parse_pair(parser, NODE_ARGUMENT, true);
}

static bool parse_arguments(struct parser *parser, bool constant, struct node **list_r)
{
	return parser_optional_many(parser, TOKEN_PAREN_L,
				    constant ? parse_const_argument : parse_argument, TOKEN_PAREN_R,
				    list_r);
}

static bool parse_directives(struct parser *parser, bool constant, struct node **list_r)
{
	struct node **end = list_r;

	*list_r = NULL;
	while (parser_peek(parser, TOKEN_AT)) {
		struct node *node = parser_node(parser, NODE_DIRECTIVE);

		if (!parser_advance(parser) || !parser_named(parser, node) ||
		    !parse_arguments(parser, constant, &node->arguments))
			return false;
		*end = node;
		end = &node->next;
	}
	return true;
}

bool parser_const_directives(struct parser *parser, struct node **list_r)
{
	return parse_directives(parser, true, list_r);
}

/* ---- selections */

static struct node *parse_field(struct parser *parser)
{
	struct node *node = parser_node(parser, NODE_FIELD);
	bool aliased;

	if (!parser_named(parser, node) || !parser_optional(parser, TOKEN_COLON, &aliased))
		return NULL;
	if (aliased) {
		node->alias = node->name;
		if (!parser_named(parser, node))
			return NULL;
	}
	if (!parse_arguments(parser, false, &node->arguments) ||
	    !parse_directives(parser, false, &node->directives))
		return NULL;
	if (parser_peek(parser, TOKEN_BRACE_L)) {
		node->selection_set = parse_selection_set(parser);
		if (!node->selection_set)
			return NULL;
	}
	return node;
}

static bool parse_fragment_name(struct parser *parser, struct node *node)
{
	if (parser->token.text && strcmp(parser->token.text, "on") == 0)
		return parser_unexpected(parser, &parser->token) != NULL;
	return parser_named(parser, node);
}

static struct node *parse_fragment(struct parser *parser)
{
	struct node *node = parser_node(parser, NODE_INLINE_FRAGMENT);
	bool conditional;

	if (!parser_expect(parser, TOKEN_SPREAD))
		return NULL;
	conditional = parser_peek_word(parser, "on");
	if (!conditional && parser_peek(parser, TOKEN_NAME)) {
		node->kind = NODE_FRAGMENT_SPREAD;
		return parse_fragment_name(parser, node) &&
				       parse_directives(parser, false, &node->directives)
			       ? node
			       : NULL;
	}
	if (conditional) {
		if (!parser_advance(parser) || !(node->type = parser_named_type(parser)))
			return NULL;
	}
	if (!parse_directives(parser, false, &node->directives))
		return NULL;
	node->selection_set = parse_selection_set(parser);
	return node->selection_set ? node : NULL;
}

static struct node *parse_selection(struct parser *parser)
{
	return parser_peek(parser, TOKEN_SPREAD) ? parse_fragment(parser) : parse_field(parser);
}

static struct node *parse_selection_set(struct parser *parser)
{
	struct node *node;

	if (!enter(parser))
		return NULL;
	node = parser_node(parser, NODE_SELECTION_SET);
	if (!parser_many(parser, TOKEN_BRACE_L, parse_selection, TOKEN_BRACE_R, true, &node->items))
		return NULL;
	parser->nesting--;
	return node;
}

/* ---- definitions */

bool parser_description(struct parser *parser, struct node **string_r)
{
	*string_r = NULL;
	if (!parser_peek(parser, TOKEN_STRING) && !parser_peek(parser, TOKEN_BLOCK_STRING))
		return true;
	*string_r = take_literal(parser, NODE_STRING);
	return *string_r != NULL;
}

bool parser_operation_word(struct parser *parser, enum operation *operation_r)
{
	struct token token = parser->token;

	if (!parser_expect(parser, TOKEN_NAME))
		return false;
	for (int i = 0; i <= OPERATION_SUBSCRIPTION; i++) {
		*operation_r = (enum operation)i;
		if (strcmp(token.text, document_operation_word(*operation_r)) == 0)
			return true;
	}
	return parser_unexpected(parser, &token) != NULL;
}

static struct node *parse_variable_definition(struct parser *parser)
{
	struct node *node = parser_node(parser, NODE_VARIABLE_DEFINITION);
	bool taken;

	if (!parser_description(parser, &node->description))
		return NULL;
	node->name = parse_variable(parser);
	if (!node->name || !parser_expect(parser, TOKEN_COLON))
		return NULL;
	node->text = node->name->text;
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

static struct node *parse_operation(struct parser *parser)
{
	struct node *node = parser_node(parser, NODE_OPERATION);

	if (!parser_peek(parser, TOKEN_BRACE_L)) {
		if (!parser_description(parser, &node->description) ||
		    !parser_operation_word(parser, &node->operation))
			return NULL;
		if (parser_peek(parser, TOKEN_NAME) && !parser_named(parser, node))
			return NULL;
		if (!parser_optional_many(parser, TOKEN_PAREN_L, parse_variable_definition,
					  TOKEN_PAREN_R, &node->variables) ||
		    !parse_directives(parser, false, &node->directives))
			return NULL;
	}
	node->selection_set = parse_selection_set(parser);
	return node->selection_set ? node : NULL;
}

static struct node *parse_fragment_definition(struct parser *parser)
{
	struct node *node = parser_node(parser, NODE_FRAGMENT_DEFINITION);

	if (!parser_description(parser, &node->description) ||
	    !parser_expect_word(parser, "fragment") || !parse_fragment_name(parser, node) ||
	    !parser_expect_word(parser, "on") || !(node->type = parser_named_type(parser)) ||
	    !parse_directives(parser, false, &node->directives))
		return NULL;
	node->selection_set = parse_selection_set(parser);
	return node->selection_set ? node : NULL;
}

static struct node *refuse_description(struct parser *parser, const char *why)
{
	lexer_refuse(&parser->lexer, parser->token.start, "Unexpected description, %s.", why);
	return NULL;
}

static struct node *parse_definition(struct parser *parser)
{
	struct token word = parser->token;
	bool described = word.kind == TOKEN_STRING || word.kind == TOKEN_BLOCK_STRING;

	if (word.kind == TOKEN_BRACE_L)
		return parse_operation(parser);
	if (described && !lexer_read(&parser->lexer, parser->token.end, &word))
		return NULL;
	if (described && word.kind == TOKEN_BRACE_L)
		return refuse_description(parser,
					  "descriptions are not supported on shorthand queries");
	if (word.kind != TOKEN_NAME)
		return parser_unexpected(parser, &word);
	if (parser_sdl_word(word.text))
		return parser_sdl(parser);
	if (strcmp(word.text, "fragment") == 0)
		return parse_fragment_definition(parser);
	for (int i = 0; i <= OPERATION_SUBSCRIPTION; i++) {
		if (strcmp(word.text, document_operation_word((enum operation)i)) == 0)
			return parse_operation(parser);
	}
	if (described)
		return refuse_description(parser, "only GraphQL definitions support descriptions");
	if (strcmp(word.text, "extend") == 0)
		return parser_sdl(parser);
	return parser_unexpected(parser, &word);
}

struct node *parser_document(struct arena *arena, const char *text, size_t bytes, size_t tokens_max,
			     struct faults *faults)
{
	struct parser parser = {
		.lexer = { .text = text, .bytes = bytes, .arena = arena, .faults = faults },
		.token = { .kind = TOKEN_SOF },
		.tokens_max = tokens_max,
	};
	struct node *document = parser_node(&parser, NODE_DOCUMENT);

	return parser_many(&parser, TOKEN_SOF, parse_definition, TOKEN_EOF, false, &document->items)
		       ? document
		       : NULL;
}
