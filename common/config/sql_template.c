/* SPDX-License-Identifier: Apache-2.0 */
/* Walks the SQL text just far enough to tell code from quotes and comments, in the common ground of
 * PostgreSQL and SQLite. Never looks at values: those are bound when a job runs. */
#include "common/config/sql_template.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/base/strbuf.h"

struct scan {
	const char *text, *at;
	const char *const *env;
	struct arena *arena;
	struct strbuf sql;
	const char *sources[SQL_TEMPLATE_PARAMETERS_MAX];
	size_t source_count;
	const char *ended; /* the semicolon behind the statement, or NULL */
	struct substitution_problem *problem;
};

static int refuse(struct scan *scan, const char *at, const char *fmt, ...) printf_like(3, 4);

static int refuse(struct scan *scan, const char *at, const char *fmt, ...)
{
	va_list args;

	scan->problem->offset = (size_t)(at - scan->text);
	va_start(args, fmt);
	vsnprintf(scan->problem->message, sizeof(scan->problem->message), fmt, args);
	va_end(args);
	return -1;
}

static void copy(struct scan *scan, size_t bytes)
{
	strbuf_add(&scan->sql, scan->at, bytes);
	scan->at += bytes;
}

static bool is_word(char c)
{
	return isalnum((unsigned char)c) || c == '_' || (unsigned char)c >= 0x80;
}

static int on_reference(struct scan *scan)
{
	const struct substitution_rules rules = { .env = scan->env };
	size_t offset = (size_t)(scan->at - scan->text), end;
	const char *source;

	if (scan->source_count == SQL_TEMPLATE_PARAMETERS_MAX)
		return refuse(scan, scan->at, "too many values; expected at most %d",
			      SQL_TEMPLATE_PARAMETERS_MAX);
	if (substitution_take(scan->text, offset, &rules, scan->arena, &source, &end,
			      scan->problem) != 0)
		return -1;
	scan->sources[scan->source_count++] = source;
	strbuf_printf(&scan->sql, "$%zu", scan->source_count);
	scan->at = scan->text + end;
	/* "${a}2" must not become "$12". */
	if (is_word(*scan->at))
		strbuf_addch(&scan->sql, ' ');
	return 0;
}

static bool take_escape(struct scan *scan)
{
	if (strncmp(scan->at, SUBSTITUTION_ESCAPE, 3) != 0)
		return false;
	strbuf_addstr(&scan->sql, "${");
	scan->at += 3;
	return true;
}

/* Copies up to and with `end`; a doubled quote is two quotes beside each other and needs no care.
 */
static int copy_quoted(struct scan *scan, size_t start_bytes, const char *end, bool backslashes,
		       const char *noun)
{
	const char *start = scan->at;
	size_t end_bytes = strlen(end);

	copy(scan, start_bytes);
	while (*scan->at) {
		if (strncmp(scan->at, end, end_bytes) == 0) {
			copy(scan, end_bytes);
			return 0;
		}
		if (take_escape(scan))
			continue;
		if (strncmp(scan->at, "${", 2) == 0)
			return refuse(
				scan, scan->at,
				"no value can stand inside %s: write ${…} outside of it, without quotes",
				noun);
		copy(scan, backslashes && *scan->at == '\\' && scan->at[1] ? 2 : 1);
	}
	return *end == '\n' ? 0 : refuse(scan, start, "%s is not closed", noun);
}

/* E'…' of PostgreSQL, where a backslash escapes. */
static bool is_escape_string(const struct scan *scan)
{
	const char *at = scan->at;

	return at > scan->text && tolower((unsigned char)at[-1]) == 'e' &&
	       (at - 1 == scan->text || !is_word(at[-2]));
}

static int on_dollar(struct scan *scan)
{
	const char *at = scan->at, *p = at + 1;
	char tag[64];

	if (take_escape(scan))
		return 0;
	if (*p == '{')
		return on_reference(scan);
	if (at > scan->text && is_word(at[-1])) {
		copy(scan, 1); /* inside a name */
		return 0;
	}
	if (isdigit((unsigned char)*p))
		return refuse(
			scan, at,
			"numbered parameters are made from ${…}; write ${payload.NAME} instead");
	while (is_word(*p))
		p++;
	if (*p != '$' || (size_t)(p - at) + 2 > sizeof(tag))
		return refuse(scan, at, "a lone $; expected ${…}, or $${ for a plain ${");
	memcpy(tag, at, (size_t)(p - at) + 1);
	tag[p - at + 1] = 0;
	return copy_quoted(scan, strlen(tag), tag, false, "a dollar-quoted text");
}

static int scan_next(struct scan *scan)
{
	const char *at = scan->at;

	if (at[0] == '-' && at[1] == '-')
		return copy_quoted(scan, 2, "\n", false, "a comment");
	if (at[0] == '/' && at[1] == '*')
		return copy_quoted(scan, 2, "*/", false, "a comment");
	if (scan->ended && !isspace((unsigned char)*at))
		return refuse(scan, scan->ended, "more than one statement; expected one");
	switch (*at) {
	case '\'':
		return copy_quoted(scan, 1, "'", is_escape_string(scan), "a quoted text");
	case '"':
		return copy_quoted(scan, 1, "\"", false, "a quoted name");
	case '$':
		return on_dollar(scan);
	case ';':
		scan->ended = at;
		scan->at++;
		return 0;
	default:
		copy(scan, 1);
		return 0;
	}
}

int sql_template_parse(const char *text, const char *const *env, struct arena *arena,
		       struct sql_template *template_r, struct substitution_problem *problem_r)
{
	struct scan scan = {
		.text = text, .at = text, .env = env, .arena = arena, .problem = problem_r
	};
	int rc = 0;

	strbuf_init(&scan.sql);
	if (!text[strspn(text, " \t\r\n;")])
		rc = refuse(&scan, text, "empty; expected an SQL statement");
	while (rc == 0 && *scan.at)
		rc = scan_next(&scan);
	if (rc == 0) {
		template_r->sql = arena_strndup(arena, scan.sql.data, scan.sql.len);
		template_r->sources =
			arena_dup(arena, scan.sources, scan.source_count * sizeof(scan.sources[0]));
		template_r->source_count = scan.source_count;
	}
	strbuf_release(&scan.sql);
	return rc;
}
