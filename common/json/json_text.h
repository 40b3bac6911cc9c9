/* SPDX-License-Identifier: Apache-2.0 */
/* JSON from outside: strict parsing on jansson with the limits that every door shares, and slices
 * of the text as it was sent, so that a payload can be stored verbatim without a second dump. */
#ifndef COMMON_JSON_JSON_TEXT_H
#define COMMON_JSON_JSON_TEXT_H
#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "common/base/arena.h"
#include "common/base/check.h"
#include "common/base/strbuf.h"

#define JSON_DEPTH_MAX 64

struct json_error {
	int line, column; /* from 1; column in characters */
	char message[200];
};

/* Parses text (any JSON value) strictly: UTF-8, no duplicate keys, depth <= JSON_DEPTH_MAX, no
 * number out of range, no NUL in strings, nothing after the value. Returns a new reference, or NULL
 * with *err_r filled in. Depth is checked before parsing. */
json_t *json_text_parse(const char *text, size_t bytes, struct json_error *err_r) must_check;
/* Would json_text_parse take it? Without making the tree, for text that is only passed on or read
 * in slices. Ask json_text_parse why not. */
bool json_text_check(const char *text, size_t bytes) must_check;
/* Line and column (from 1) of the byte at text[at]: lines end with LF, columns count characters. */
void json_text_place(const char *text, size_t at, int *line_r, int *column_r);

/* ---- slices of text that json_text_parse (or our own writer) has found valid */
struct json_slice {
	const char *text; /* not NUL-terminated */
	size_t bytes;     /* 0: absent */
};
struct json_member {
	struct json_slice key;   /* without the quotes, escapes not undone */
	struct json_slice value; /* without white space around it */
};
/* Walks the members of an object: *cursor = NULL to start; 1 a member, 0 the end, -1 not an object
 * or broken. */
int json_slice_next(struct json_slice object, const char **cursor, struct json_member *member_r);
/* Walks the elements of an array in the same way. */
int json_slice_element(struct json_slice array, const char **cursor, struct json_slice *value_r);
/* Value of a top-level member of an object; bytes == 0 when absent. Keys with escapes are not
 * matched. */
struct json_slice json_slice_get(struct json_slice object, const char *key);
bool json_slice_is(struct json_slice s, const char *text); /* compares the raw text */
/* Undoes quotes and escapes of a string slice; NULL when it is not a string. */
char *json_slice_string(struct arena *arena, struct json_slice s);
int json_slice_int(struct json_slice s, int64_t *n_r); /* 0, or -1 when not an integer in range */
int json_slice_double(struct json_slice s, double *d_r);
/* Appends the value with line feeds and carriage returns (which are only white space in JSON)
 * replaced by blanks. */
void json_slice_add_line(struct strbuf *sb, struct json_slice s);

/* ---- pointers, RFC 6901; `pointer` with or without the first slash; NULL when nothing is there */
json_t *json_pointer_get(json_t *root, const char *pointer);
/* Appends one reference token, escaped ("~" -> "~0", "/" -> "~1"), with its slash in front. */
void json_pointer_add(struct strbuf *sb, const char *token);

#endif
