/* SPDX-License-Identifier: Apache-2.0 */
/* One-row INSERTs of arguments and constants rewritten as one INSERT over arrays. Only what this
 * small grammar knows is rewritten; anything else (ON CONFLICT, RETURNING, sub-queries, functions,
 * comments) is left alone. */
#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/store/postgres/postgres_impl.h"

struct scan {
	const char *p;
	struct strbuf *out;
	size_t arg_count;
};

/* ---- the grammar. Each function takes its part from the text, or returns false. */

static void blanks(struct scan *s)
{
	while (isspace((unsigned char)*s->p))
		s->p++;
}

static bool word(struct scan *s, const char *text)
{
	size_t bytes = strlen(text);

	blanks(s);
	if (strncasecmp(s->p, text, bytes) != 0 || isalnum((unsigned char)s->p[bytes]) ||
	    s->p[bytes] == '_')
		return false;
	s->p += bytes;
	return true;
}

static bool sign(struct scan *s, char c)
{
	blanks(s);
	if (*s->p != c)
		return false;
	s->p++;
	return true;
}

static void copy(struct scan *s, const char *from)
{
	strbuf_add(s->out, from, (size_t)(s->p - from));
}

/* Text in quotes; a doubled quote stands for one. */
static bool quoted(struct scan *s, char quote)
{
	const char *from = s->p;

	if (*s->p != quote)
		return false;
	for (s->p++; *s->p && (*s->p != quote || s->p[1] == quote); s->p++)
		if (*s->p == quote)
			s->p++;
	if (!*s->p)
		return false;
	s->p++;
	copy(s, from);
	return true;
}

static bool identifier(struct scan *s)
{
	blanks(s);
	const char *from = s->p;

	if (*s->p == '"')
		return quoted(s, '"');
	if (!isalpha((unsigned char)*s->p) && *s->p != '_')
		return false;
	while (isalnum((unsigned char)*s->p) || *s->p == '_')
		s->p++;
	copy(s, from);
	return true;
}

static bool table(struct scan *s)
{
	while (identifier(s)) {
		if (!sign(s, '.'))
			return true;
		strbuf_addch(s->out, '.');
	}
	return false;
}

static bool columns(struct scan *s)
{
	if (!sign(s, '('))
		return true;
	strbuf_addch(s->out, '(');
	while (identifier(s)) {
		if (sign(s, ')')) {
			strbuf_addch(s->out, ')');
			return true;
		}
		if (!sign(s, ','))
			return false;
		strbuf_addch(s->out, ',');
	}
	return false;
}

static bool argument(struct scan *s)
{
	char *end;

	if (*s->p != '$' || !isdigit((unsigned char)s->p[1]))
		return false;
	unsigned long n = strtoul(s->p + 1, &end, 10);

	if (n < 1 || n > s->arg_count)
		return false;
	s->p = end;
	strbuf_printf(s->out, "r.c%lu", n);
	return true;
}

static bool number(struct scan *s)
{
	const char *from = s->p;

	if (*s->p == '-')
		s->p++;
	if (!isdigit((unsigned char)*s->p))
		return false;
	while (isdigit((unsigned char)*s->p) || *s->p == '.')
		s->p++;
	copy(s, from);
	return true;
}

static bool constant(struct scan *s)
{
	static const char *const words[] = { "NULL", "TRUE", "FALSE", "CURRENT_TIMESTAMP" };

	if (word(s, "now")) {
		strbuf_addstr(s->out, "now()");
		return sign(s, '(') && sign(s, ')');
	}
	for (size_t i = 0; i < ARRAY_LEN(words); i++)
		if (word(s, words[i])) {
			strbuf_addstr(s->out, words[i]);
			return true;
		}
	return false;
}

static bool item(struct scan *s)
{
	blanks(s);
	if (!argument(s) && !number(s) && !quoted(s, '\'') && !constant(s))
		return false;
	blanks(s);
	if (s->p[0] != ':' || s->p[1] != ':')
		return true;
	s->p += 2;
	strbuf_addstr(s->out, "::");
	return table(s); /* a type's name looks like a table's */
}

static bool values(struct scan *s)
{
	if (!sign(s, '('))
		return false;
	while (item(s)) {
		if (sign(s, ')')) {
			sign(s, ';');
			blanks(s);
			return !*s->p;
		}
		if (!sign(s, ','))
			return false;
		strbuf_addch(s->out, ',');
	}
	return false;
}

static void add_source(struct strbuf *out, size_t arg_count)
{
	strbuf_addstr(out, " FROM unnest(");
	for (size_t i = 1; i <= arg_count; i++)
		strbuf_printf(out, "%s$%zu", i > 1 ? "," : "", i);
	strbuf_addstr(out, ") AS r(");
	for (size_t i = 1; i <= arg_count; i++)
		strbuf_printf(out, "%sc%zu", i > 1 ? "," : "", i);
	strbuf_addch(out, ')');
}

char *fold_insert(struct arena *arena, const char *sql, size_t arg_count)
{
	struct strbuf out;
	struct scan s = { .p = sql, .out = &out, .arg_count = arg_count };
	char *folded = NULL;

	if (!word(&s, "INSERT") || !word(&s, "INTO"))
		return NULL;
	strbuf_init(&out);
	strbuf_addstr(&out, "INSERT INTO ");
	bool plain = table(&s) && columns(&s) && word(&s, "VALUES");

	strbuf_addstr(&out, " SELECT ");
	if (plain && values(&s)) {
		add_source(&out, arg_count);
		folded = arena_strndup(arena, out.data, out.len);
	}
	strbuf_release(&out);
	return folded;
}

/* ---- arguments */

static const char *hex_text(struct arena *arena, const struct sql_value *value)
{
	static const char digits[] = "0123456789abcdef";
	char *text = arena_alloc(arena, 2 * value->bytes + 3), *p = text;

	*p++ = '\\';
	*p++ = 'x';
	for (size_t i = 0; i < value->bytes; i++) {
		*p++ = digits[(unsigned char)value->data[i] >> 4];
		*p++ = digits[(unsigned char)value->data[i] & 15];
	}
	*p = '\0';
	return text;
}

const char *write_value_text(struct arena *arena, const struct sql_value *value)
{
	char *text;

	switch (value->kind) {
	case SQL_NULL:
		return NULL;
	case SQL_TEXT:
		return value->data;
	case SQL_BOOL:
		return value->i ? "true" : "false";
	case SQL_INT:
		text = arena_alloc(arena, 24);
		snprintf(text, 24, "%" PRId64, value->i);
		return text;
	case SQL_FLOAT:
		text = arena_alloc(arena, 32);
		snprintf(text, 32, "%.17g", value->d);
		return text;
	case SQL_BLOB:
		return hex_text(arena, value);
	}
	CHECK(!"a kind of value");
	return NULL;
}

static const struct sql_value *value_of(const struct write_group *group, size_t member, size_t n)
{
	const struct write_member *m = &group->members[member];

	return &m->item->writes.statements[m->index].args[n];
}

static bool add_binary(struct arena *arena, struct array *array, const struct sql_value *value)
{
	bool small = value->i >= INT32_MIN && value->i <= INT32_MAX;
	struct uuid id;

	if (value->kind == SQL_NULL) {
		array_null(array);
	} else if (array->element == TYPE_TEXT) {
		array_text(array, write_value_text(arena, value));
	} else if (array->element == TYPE_UUID) {
		if (value->kind != SQL_TEXT || !uuid_parse(value->data, &id))
			return false;
		array_uuid(array, &id);
	} else {
		if (value->kind != SQL_INT || (array->element == TYPE_INT4 && !small))
			return false;
		array_i64(array, value->i);
	}
	return true;
}

bool fold_binary(struct arena *arena, const struct write_group *group, size_t n, Oid array_type,
		 struct array *array_r)
{
	static const Oid types[][2] = { { TYPE_UUID_ARRAY, TYPE_UUID },
					{ TYPE_TEXT_ARRAY, TYPE_TEXT },
					{ TYPE_INT8_ARRAY, TYPE_INT8 },
					{ TYPE_INT4_ARRAY, TYPE_INT4 } };
	Oid element = 0;

	for (size_t i = 0; i < ARRAY_LEN(types); i++)
		element = types[i][0] == array_type ? types[i][1] : element;
	if (!element)
		return false;
	array_begin(array_r, element);
	for (size_t i = 0; i < group->count; i++)
		if (!add_binary(arena, array_r, value_of(group, i, n)))
			return false;
	return true;
}

static void add_quoted(struct strbuf *out, const char *text)
{
	strbuf_addch(out, '"');
	for (;;) {
		size_t plain = strcspn(text, "\"\\");

		strbuf_add(out, text, plain);
		text += plain;
		if (!*text)
			break;
		strbuf_addch(out, '\\');
		strbuf_addch(out, *text++);
	}
	strbuf_addch(out, '"');
}

char *fold_literal(struct arena *arena, const struct write_group *group, size_t n)
{
	struct strbuf out;

	strbuf_init(&out);
	for (size_t i = 0; i < group->count; i++) {
		const struct sql_value *value = value_of(group, i, n);
		const char *text = write_value_text(arena, value);

		strbuf_addch(&out, i ? ',' : '{');
		if (!text)
			strbuf_addstr(&out, "NULL");
		else if (value->kind == SQL_INT)
			strbuf_addstr(&out, text);
		else
			add_quoted(&out, text);
	}
	strbuf_addch(&out, '}');
	char *literal = arena_strndup(arena, out.data, out.len);

	strbuf_release(&out);
	return literal;
}
