/* SPDX-License-Identifier: Apache-2.0 */
/* The lines that hosts write most, read in slices without a tree: a job that is done, with plain
 * statements or without, and one that has begun. What is not exactly of that form is left to
 * host_codec.c and host_write_set.c, which also know every fault: nothing is refused here. */
#include <string.h>

#include "workers/pool/host_codec.h"

/* ---- the line */
static bool take_id(struct json_slice value, struct uuid *id_r)
{
	return value.bytes == UUID_TEXT + 1 && uuid_parse_n(value.text + 1, value.bytes - 2, id_r);
}

bool host_plain_line(struct host_line *line)
{
	struct json_slice started = { 0 };
	struct json_member member;
	const char *cursor = NULL;
	bool job = false;
	int got;

	while ((got = json_slice_next(line->text, &cursor, &member)) == 1) {
		if (json_slice_is(member.key, "job") && take_id(member.value, &line->job))
			job = true;
		else if (json_slice_is(member.key, "done"))
			line->done = member.value;
		else if (json_slice_is(member.key, "write"))
			line->write = member.value;
		else if (json_slice_is(member.key, "started"))
			started = member.value;
		else
			return false;
	}
	if (got < 0 || !job || !line->done.bytes == !started.bytes)
		return false;
	line->kind = started.bytes ? HOST_LINE_STARTED : HOST_LINE_END;
	return true;
}

/* ---- its statements; each function returns false when they are not plain */
static bool read_value(struct json_slice value, struct arena *arena, struct sql_value *value_r)
{
	*value_r = (struct sql_value){ .kind = SQL_INT };
	if (json_slice_int(value, &value_r->i) == 0)
		return true;
	value_r->kind = SQL_TEXT;
	value_r->data = json_slice_string(arena, value);
	if (value_r->data) {
		value_r->bytes = strlen(value_r->data);
		return true;
	}
	value_r->kind = SQL_FLOAT;
	if (json_slice_double(value, &value_r->d) == 0)
		return true;
	value_r->kind = SQL_BOOL;
	value_r->i = json_slice_is(value, "true");
	if (value_r->i || json_slice_is(value, "false"))
		return true;
	value_r->kind = SQL_NULL;
	return json_slice_is(value, "null");
}

static bool count_elements(struct json_slice array, size_t max, size_t *count_r)
{
	struct json_slice element;
	const char *cursor = NULL;
	int got;

	*count_r = 0;
	while ((got = json_slice_element(array, &cursor, &element)) == 1)
		if (++*count_r > max)
			return false;
	return got == 0;
}

static bool read_args(struct json_slice args, struct arena *arena,
		      struct sql_statement *statement_r, size_t *bytes)
{
	struct json_slice element;
	const char *cursor = NULL;
	size_t n = 0;

	if (!count_elements(args, HOST_ARGS_MAX, &statement_r->arg_count))
		return false;
	struct sql_value *values = ARENA_ARRAY(arena, struct sql_value, statement_r->arg_count);

	while (json_slice_element(args, &cursor, &element) == 1) {
		if (!read_value(element, arena, &values[n]))
			return false;
		*bytes += values[n++].bytes + sizeof(int64_t);
	}
	statement_r->args = values;
	return true;
}

static bool read_statement(struct json_slice object, struct arena *arena,
			   struct sql_statement *statement_r, size_t *bytes)
{
	struct json_member member;
	const char *cursor = NULL;
	int got;

	*statement_r = (struct sql_statement){ .rows = SQL_ROWS_ANY };
	while ((got = json_slice_next(object, &cursor, &member)) == 1) {
		bool good = false;

		if (json_slice_is(member.key, "sql")) {
			statement_r->sql = json_slice_string(arena, member.value);
			good = statement_r->sql && *statement_r->sql;
		} else if (json_slice_is(member.key, "args")) {
			good = read_args(member.value, arena, statement_r, bytes);
		} else if (json_slice_is(member.key, "rows")) {
			good = json_slice_int(member.value, &statement_r->rows) == 0 &&
			       statement_r->rows >= SQL_ROWS_ANY;
		}
		if (!good)
			return false;
	}
	if (got < 0 || !statement_r->sql)
		return false;
	*bytes += strlen(statement_r->sql);
	return true;
}

bool host_plain_writes(const struct host_line *line, struct arena *arena,
		       struct write_set *writes_r, size_t *bytes_r)
{
	struct json_slice element;
	const char *cursor = NULL;
	size_t n = 0, count;

	*writes_r = (struct write_set){ 0 };
	*bytes_r = 0;
	if (!line->write.bytes)
		return true;
	if (!count_elements(line->write, WRITE_SET_STATEMENTS_MAX, &count))
		return false;
	struct sql_statement *statements = ARENA_ARRAY(arena, struct sql_statement, count);

	while (json_slice_element(line->write, &cursor, &element) == 1)
		if (!read_statement(element, arena, &statements[n++], bytes_r))
			return false;
	writes_r->statements = statements;
	writes_r->statement_count = count;
	return true;
}
