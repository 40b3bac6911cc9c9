/* SPDX-License-Identifier: Apache-2.0 */
/* The one way from bytes to a json_t. Everything that comes from outside passes here: request
 * bodies, messages, handler answers, job definitions. Depth is counted without recursion before
 * jansson, which recurses, sees the text. */
#include "common/json/json_text.h"

#include <stdio.h>
#include <string.h>

#include <jansson.h>

static json_t *fail(struct json_error *err_r, int line, int column, const char *message)
{
	err_r->line = line > 0 ? line : 1;
	err_r->column = column > 0 ? column : 1;
	snprintf(err_r->message, sizeof(err_r->message), "%s", message);
	return NULL;
}

void json_text_place(const char *text, size_t at, int *line_r, int *column_r)
{
	int line = 1, column = 1;

	for (size_t i = 0; i < at; i++) {
		if (text[i] == '\n') {
			line++;
			column = 1;
		} else if (((unsigned char)text[i] & 0xc0) != 0x80) {
			column++;
		}
	}
	*line_r = line;
	*column_r = column;
}

/* End of the string whose opening quote is at text[at]: the index behind the closing quote, or
 * `bytes`. */
static size_t skip_string(const char *text, size_t bytes, size_t at)
{
	for (at++; at < bytes; at++) {
		if (text[at] == '\\')
			at++;
		else if (text[at] == '"')
			return at + 1;
	}
	return bytes;
}

/* Index of the bracket that goes too deep, or `bytes` when none does. */
static size_t find_too_deep(const char *text, size_t bytes)
{
	size_t depth = 0, at = 0;

	while (at < bytes) {
		switch (text[at]) {
		case '"':
			at = skip_string(text, bytes, at);
			continue;
		case '[':
		case '{':
			if (++depth > JSON_DEPTH_MAX)
				return at;
			break;
		case ']':
		case '}':
			depth -= depth > 0;
			break;
		}
		at++;
	}
	return bytes;
}

/* Parsing fails at text[at]. */
static json_t *fail_at(struct json_error *err_r, const char *text, size_t at, const char *message)
{
	int line, column;

	json_text_place(text, at, &line, &column);
	return fail(err_r, line, column, message);
}

json_t *json_text_parse(const char *text, size_t bytes, struct json_error *err_r)
{
	const char *nul = bytes ? memchr(text, '\0', bytes) : NULL;
	size_t deep = find_too_deep(text, bytes);
	json_error_t why;
	json_t *value;

	/* jansson passes over a NUL between two tokens as if it were not there. */
	if (nul)
		return fail_at(err_r, text, (size_t)(nul - text), "a NUL byte");
	if (deep < bytes)
		return fail_at(err_r, text, deep, "nested too deeply");
	value = json_loadb(text, bytes, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &why);
	if (!value)
		return fail(err_r, why.line, why.column, why.text);
	return value;
}
