/* SPDX-License-Identifier: Apache-2.0 */
/* Writes values as graphql-core does: lists and objects that are longer than a line are broken, one
 * entry a line. Pure. */
#include "producers/graphql/printer.h"

#include <string.h>

#include "common/base/strbuf.h"

#define LINE_CHARACTERS_MAX  80
#define BLOCK_CHARACTERS_MAX 70

static void print(struct strbuf *out, const struct node *value, bool constant);

static size_t count_characters(const char *text, size_t bytes)
{
	size_t count = 0;

	for (size_t i = 0; i < bytes; i++)
		count += ((unsigned char)text[i] & 0xc0) != 0x80;
	return count;
}

static void print_quoted(struct strbuf *out, const struct node *value)
{
	static const char from[] = "\b\t\n\f\r\"\\", to[] = "btnfr\"\\";

	strbuf_addch(out, '"');
	for (size_t i = 0; i < value->text_bytes; i++) {
		unsigned char c = (unsigned char)value->text[i];
		const char *found = c ? strchr(from, c) : NULL;

		if (found)
			strbuf_printf(out, "\\%c", to[found - from]);
		else if (c < 0x20 || c == 0x7f)
			strbuf_printf(out, "\\u%04X", c);
		else if (c == 0xc2 && (unsigned char)value->text[i + 1] < 0xa0)
			strbuf_printf(out, "\\u%04X", (unsigned char)value->text[++i]);
		else
			strbuf_addch(out, (char)c);
	}
	strbuf_addch(out, '"');
}

/* Do all lines but the first begin with white space, or are empty? */
static bool lines_are_indented(const char *text)
{
	for (const char *at = strchr(text, '\n'); at; at = strchr(at + 1, '\n')) {
		if (at[1] && !strchr(" \t\n", at[1]))
			return false;
	}
	return true;
}

static void add_block_text(struct strbuf *out, const char *text)
{
	for (; *text; text++) {
		if (strncmp(text, "\"\"\"", 3) == 0) {
			strbuf_addstr(out, "\\\"\"\"");
			text += 2;
			continue;
		}
		strbuf_addch(out, *text);
	}
}

static void print_block(struct strbuf *out, const struct node *value)
{
	const char *text = value->text;
	size_t bytes = value->text_bytes;
	bool one_line = !strchr(text, '\n');
	bool ends_in_quotes = bytes >= 3 && strcmp(text + bytes - 3, "\"\"\"") == 0;
	bool ends_badly = bytes > 0 &&
			  ((text[bytes - 1] == '"' && !ends_in_quotes) || text[bytes - 1] == '\\');
	bool leading = !one_line && lines_are_indented(text);
	bool lines = !one_line || count_characters(text, bytes) > BLOCK_CHARACTERS_MAX ||
		     ends_badly || leading || ends_in_quotes;
	bool skip_leading = one_line && bytes > 0 && (text[0] == ' ' || text[0] == '\t');
	struct strbuf inner;

	strbuf_init(&inner);
	if ((lines && !skip_leading) || leading)
		strbuf_addch(&inner, '\n');
	strbuf_addstr(&inner, text);
	if (lines || ends_badly)
		strbuf_addch(&inner, '\n');
	strbuf_addstr(out, "\"\"\"");
	add_block_text(out, inner.data);
	strbuf_addstr(out, "\"\"\"");
	strbuf_release(&inner);
}

static void print_entry(struct strbuf *out, const struct node *entry, bool constant)
{
	if (entry->kind == NODE_OBJECT_FIELD) {
		strbuf_addstr(out, entry->text);
		strbuf_addstr(out, ": ");
		entry = entry->value;
	}
	print(out, entry, constant);
}

/* A line of its own, and so are the lines in it: one step further in. */
static void add_indented(struct strbuf *out, const char *text, size_t bytes)
{
	strbuf_addstr(out, "\n  ");
	for (size_t i = 0; i < bytes; i++) {
		strbuf_addch(out, text[i]);
		if (text[i] == '\n')
			strbuf_addstr(out, "  ");
	}
}

/* Every entry is printed once, and moved further in by each list around it that is broken. */
static void print_entries(struct strbuf *out, const struct node *value, bool constant)
{
	bool list = value->kind == NODE_LIST;
	size_t length = list ? 2 : 4, count = 0;
	struct strbuf text, ends;

	strbuf_init(&text);
	strbuf_init(&ends);
	for (const struct node *e = value->items; e; e = e->next) {
		size_t before = text.len;
		if (e->kind == NODE_OBJECT_FIELD && e->value->kind == NODE_VARIABLE && constant)
			continue;
		print_entry(&text, e, constant);
		strbuf_add(&ends, &text.len, sizeof(text.len));
		length +=
			(count++ ? 2 : 0) + count_characters(text.data + before, text.len - before);
	}
	bool broken = length > LINE_CHARACTERS_MAX;
	strbuf_addstr(out, list ? "[" : broken ? "{" : "{ ");
	for (size_t i = 0, start = 0, end; i < count; i++, start = end) {
		memcpy(&end, ends.data + i * sizeof(end), sizeof(end));
		if (broken) {
			add_indented(out, text.data + start, end - start);
			continue;
		}
		strbuf_addstr(out, i ? ", " : "");
		strbuf_add(out, text.data + start, end - start);
	}
	if (broken)
		strbuf_addch(out, '\n');
	strbuf_addstr(out, list ? "]" : broken ? "}" : " }");
	strbuf_release(&text);
	strbuf_release(&ends);
}

static void print(struct strbuf *out, const struct node *value, bool constant)
{
	switch (value->kind) {
	case NODE_VARIABLE:
		if (constant)
			strbuf_addstr(out, "null");
		else
			strbuf_printf(out, "$%s", value->text);
		break;
	case NODE_STRING:
		if (value->flag)
			print_block(out, value);
		else
			print_quoted(out, value);
		break;
	case NODE_BOOLEAN:
		strbuf_addstr(out, value->flag ? "true" : "false");
		break;
	case NODE_NULL:
		strbuf_addstr(out, "null");
		break;
	case NODE_LIST:
	case NODE_OBJECT:
		print_entries(out, value, constant);
		break;
	default:
		strbuf_addstr(out, value->text);
	}
}

static const char *printed(struct arena *arena, const struct node *value, bool constant)
{
	struct strbuf out;
	const char *text;

	strbuf_init(&out);
	print(&out, value, constant);
	text = arena_strndup(arena, out.data, out.len);
	strbuf_release(&out);
	return text;
}

const char *printer_value(struct arena *arena, const struct node *value)
{
	return printed(arena, value, false);
}

const char *printer_constant(struct arena *arena, const struct node *value)
{
	return printed(arena, value, true);
}

const char *printer_type(struct arena *arena, const struct node *type)
{
	if (type->kind == NODE_LIST_TYPE)
		return arena_printf(arena, "[%s]", printer_type(arena, type->type));
	if (type->kind == NODE_NON_NULL_TYPE)
		return arena_printf(arena, "%s!", printer_type(arena, type->type));
	return type->text;
}
