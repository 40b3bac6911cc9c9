/* SPDX-License-Identifier: Apache-2.0 */
/* Rows of a query, a chunk a statement, each behind the key of the last one: no snapshot is held
 * while jobs are stored, and whoever takes it up again needs only that key. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/strbuf.h"
#include "common/store/completion.h"
#include "producers/batch/row_source_impl.h"

static void add_name(struct strbuf *sql, const char *name)
{
	strbuf_addch(sql, '"');
	strbuf_addstr(sql, name); /* without quotes: batch_definition.c has looked */
	strbuf_addch(sql, '"');
}

/* One row more than is wanted tells whether there are more, and whether its key is another one. The
 * query's own end may be a comment. */
static const char *statement_of(const struct batch_definition *d, bool behind, size_t max,
				struct arena *arena)
{
	struct strbuf sql;
	const char *text;

	strbuf_init(&sql);
	strbuf_printf(&sql, "SELECT * FROM (%s\n) AS q", d->sql);
	if (behind) {
		strbuf_addstr(&sql, " WHERE q.");
		add_name(&sql, d->key);
		strbuf_addstr(&sql, " > $1");
	}
	strbuf_addstr(&sql, " ORDER BY q.");
	add_name(&sql, d->key);
	strbuf_printf(&sql, " LIMIT %zu", max + 1);
	text = arena_strndup(arena, sql.data, sql.len);
	strbuf_release(&sql);
	return text;
}

/* The key as the statement gets it: a number stays one, for SQLite compares by kind. */
static struct sql_value key_value(const char *position, struct arena *arena)
{
	struct json_slice text = { position, strlen(position) };
	struct sql_value value = { .kind = SQL_INT };

	if (*position == '"') {
		value.kind = SQL_TEXT;
		value.data = json_slice_string(arena, text);
		value.bytes = strlen(value.data);
	} else if (json_slice_int(text, &value.i) != 0) {
		value.kind = SQL_FLOAT;
		(void)json_slice_double(text, &value.d);
	}
	return value;
}

static int query(struct row_source *source, const char *position, size_t max, struct arena *arena,
		 struct strbuf *out, struct error *err_r)
{
	struct sql_value key = { 0 };
	struct sql_statement statement = {
		.sql = statement_of(source->definition, position != NULL, max, arena),
		.rows = SQL_ROWS_ANY,
	};

	if (position) {
		key = key_value(position, arena);
		statement.args = &key;
		statement.arg_count = 1;
	}
	return reader_query(source->store, &statement, BATCH_CHUNK_BYTES, out, err_r);
}

/* ---- the answer: {"columns":[…],"rows":[[…],…]} */

struct answer {
	struct json_slice *columns; /* with their quotes */
	size_t column_count, key;
	struct json_slice rows;
};

static int read_columns(const struct batch_definition *d, struct json_slice text,
			struct arena *arena, struct answer *answer_r, struct error *err_r)
{
	struct json_slice columns = json_slice_get(text, "columns"), name;
	const char *cursor = NULL;
	size_t count = 0;

	while (json_slice_element(columns, &cursor, &name) == 1)
		count++;
	answer_r->columns = ARENA_ARRAY(arena, struct json_slice, count);
	answer_r->key = SIZE_MAX;
	for (cursor = NULL; json_slice_element(columns, &cursor, &name) == 1;) {
		if (!strcmp(json_slice_string(arena, name), d->key))
			answer_r->key = answer_r->column_count;
		answer_r->columns[answer_r->column_count++] = name;
	}
	answer_r->rows = json_slice_get(text, "rows");
	if (answer_r->key == SIZE_MAX && count)
		return error_set(err_r, ERROR_INVALID, "the query has no column \"%s\"", d->key);
	return 0;
}

/* A row as an object; its key. */
static struct json_slice object_of(const struct answer *answer, struct json_slice row,
				   struct strbuf *out, struct json_slice *key_r)
{
	const char *cursor = NULL;
	size_t start = out->len;
	struct json_slice value;

	for (size_t i = 0; json_slice_element(row, &cursor, &value) == 1; i++) {
		strbuf_addch(out, i ? ',' : '{');
		strbuf_add(out, answer->columns[i].text, answer->columns[i].bytes);
		strbuf_addch(out, ':');
		strbuf_add(out, value.text, value.bytes);
		if (i == answer->key)
			*key_r = value;
	}
	strbuf_addch(out, '}');
	return (struct json_slice){ .bytes = out->len - start };
}

static int check_key(const struct batch_definition *d, struct json_slice before,
		     struct json_slice key, struct error *err_r)
{
	if (!key.bytes || strchr("{[tfn", *key.text))
		return error_set(err_r, ERROR_INVALID,
				 "the key column \"%s\" must hold numbers or text, never null",
				 d->key);
	if (before.bytes == key.bytes && !memcmp(before.text, key.text, key.bytes))
		return error_set(err_r, ERROR_INVALID,
				 "the key column \"%s\" is not unique: two rows have %.*s", d->key,
				 (int)(key.bytes < 100 ? key.bytes : 100), key.text);
	return 0;
}

/* Rows are written one after the other into one block of the arena. */
static int take_rows(struct row_source *source, const struct answer *answer, size_t max,
		     struct arena *arena, struct row_chunk *chunk, struct error *err_r)
{
	struct json_slice row, key = { 0 }, before = { 0 };
	const char *cursor = NULL;
	struct strbuf out;
	char *block;
	int rc = 0;

	strbuf_init(&out);
	chunk->rows = ARENA_ARRAY(arena, struct json_slice, max + 1);
	while (rc == 0 && chunk->count <= max &&
	       json_slice_element(answer->rows, &cursor, &row) == 1) {
		chunk->rows[chunk->count++] = object_of(answer, row, &out, &key);
		rc = check_key(source->definition, before, key, err_r);
		if (rc == 0 && chunk->count <= max)
			chunk->position = arena_strndup(arena, key.text, key.bytes);
		before = key;
	}
	block = arena_dup(arena, out.data, out.len + 1);
	strbuf_release(&out);
	chunk->last = chunk->count <= max;
	chunk->count -= !chunk->last;
	for (size_t i = 0; i < chunk->count; i++) {
		chunk->rows[i].text = block;
		block += chunk->rows[i].bytes;
	}
	return rc;
}

int row_query_read(struct row_source *source, const char *position, size_t max, struct arena *arena,
		   struct row_chunk *chunk_r, struct error *err_r)
{
	struct answer answer = { 0 };
	struct strbuf text;
	int rc;

	max = max < source->rows_max ? max : source->rows_max;
	strbuf_init(&text);
	rc = query(source, position, max, arena, &text, err_r);
	/* Long rows: fewer at once, down to a single one. */
	while (rc < 0 && err_r->code == ERROR_FULL && max > 1) {
		source->rows_max = max = max / 4 + 1 < max ? max / 4 + 1 : 1;
		rc = query(source, position, max, arena, &text, err_r);
	}
	if (rc == 0)
		rc = read_columns(source->definition, (struct json_slice){ text.data, text.len },
				  arena, &answer, err_r);
	*chunk_r = (struct row_chunk){ .position = position };
	if (rc == 0)
		rc = take_rows(source, &answer, max, arena, chunk_r, err_r);
	strbuf_release(&text);
	if (rc < 0 && err_r->code == ERROR_FULL)
		err_r->code = ERROR_INVALID;
	return rc;
}
