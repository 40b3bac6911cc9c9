/* SPDX-License-Identifier: Apache-2.0 */
/* Reads for handlers: a statement of theirs in a read-only transaction, its rows as JSON. Row by
 * row, so that a result that is too big is given up early instead of being held in memory. */
#include <string.h>

#include "common/base/digest.h"
#include "common/store/postgres/postgres_impl.h"

/* ---- values */

static void add_blob(struct strbuf *out, struct arena *arena, const char *hex, size_t bytes)
{
	size_t length = bytes >= 2 ? bytes / 2 - 1 : 0;
	uint8_t *data = arena_alloc(arena, length + 1);

	if (!length || !digest_unhex(hex + 2, 2 * length, data))
		length = 0;
	base64_json(out, data, length);
}

static void add_value(struct strbuf *out, struct arena *arena, const PGresult *result, int row,
		      int column)
{
	const char *text = PQgetvalue(result, row, column);
	size_t bytes = (size_t)PQgetlength(result, row, column);

	if (PQgetisnull(result, row, column)) {
		strbuf_addstr(out, "null");
		return;
	}
	switch (PQftype(result, column)) {
	case TYPE_BOOL:
		strbuf_addstr(out, *text == 't' ? "true" : "false");
		break;
	case TYPE_INT2:
	case TYPE_INT4:
	case TYPE_INT8:
		strbuf_add(out, text, bytes);
		break;
	case TYPE_FLOAT4:
	case TYPE_FLOAT8:
		/* JSON has no NaN and no Infinity: they are text. */
		if (strpbrk(text, "aiyI"))
			strbuf_json_n(out, text, bytes);
		else
			strbuf_add(out, text, bytes);
		break;
	case TYPE_BYTEA:
		add_blob(out, arena, text, bytes);
		break;
	default:
		strbuf_json_n(out, text, bytes);
	}
}

static void add_columns(struct strbuf *out, const PGresult *result)
{
	strbuf_addstr(out, "{\"columns\":[");
	for (int i = 0; i < PQnfields(result); i++) {
		if (i)
			strbuf_addch(out, ',');
		strbuf_json(out, PQfname(result, i));
	}
	strbuf_addstr(out, "],\"rows\":[");
}

static void add_row(struct strbuf *out, struct arena *arena, const PGresult *result, int row)
{
	for (int i = 0; i < PQnfields(result); i++) {
		strbuf_addch(out, i ? ',' : '[');
		add_value(out, arena, result, row, i);
	}
	strbuf_addstr(out, PQnfields(result) ? "]" : "[]");
}

/* ---- the query */

/* Each read has its own transaction, so a statement cannot make the connection writable for the
 * next one. */
static void send_read(struct postgres *pg, const struct sql_statement *statement)
{
	size_t n = statement->arg_count;
	const char **values = ARENA_ARRAY(pg->scratch, const char *, n);
	int *lengths = ARENA_ARRAY(pg->scratch, int, n),
	    *formats = ARENA_ARRAY(pg->scratch, int, n);

	for (size_t i = 0; i < n; i++) {
		const struct sql_value *value = &statement->args[i];

		values[i] = write_value_text(pg->scratch, value);
		if (value->kind != SQL_BLOB)
			continue;
		values[i] = value->bytes ? value->data : "";
		lengths[i] = (int)value->bytes;
		formats[i] = 1;
	}
	postgres_begin(pg);
	postgres_plain(pg, "SET TRANSACTION READ ONLY");
	postgres_send_foreign(pg, statement->sql, (int)n, values, lengths, formats, NULL);
	/* skipped when the statement fails: then it is said again */
	postgres_plain(pg, "ROLLBACK");
}

struct reading {
	struct strbuf *out;
	struct arena *arena;
	size_t bytes_max, start;
	bool any, first;
};

/* Gets each row as it comes; false: too much. */
static bool take_row(void *context, const PGresult *result)
{
	struct reading *r = context;

	if (!r->any)
		add_columns(r->out, result);
	r->any = true;
	for (int row = 0; row < PQntuples(result); row++) {
		if (!r->first)
			strbuf_addch(r->out, ',');
		r->first = false;
		add_row(r->out, r->arena, result, row);
	}
	return r->out->len - r->start <= r->bytes_max;
}

int postgres_reader_query(struct store *store, const struct sql_statement *statement,
			  size_t bytes_max, struct strbuf *out_r, struct error *err_r)
{
	struct postgres *pg = postgres_of(store);
	struct reading reading = {
		.out = out_r, .bytes_max = bytes_max, .start = out_r->len, .first = true
	};

	if (postgres_enter(pg, err_r) < 0)
		return -1;
	reading.arena = pg->scratch;
	send_read(pg, statement);
	pg->row = take_row;
	pg->row_context = &reading;
	int rc = postgres_fly(pg, err_r);

	pg->row = NULL;
	pg->in_transaction = pg->in_transaction && rc < 0;
	postgres_rollback(pg);
	if (rc == 0 && !reading.any)
		strbuf_addstr(out_r, "{\"columns\":[],\"rows\":[");
	if (rc == 0)
		strbuf_addstr(out_r, "]}");
	else if (out_r->len > reading.start)
		out_r->data[out_r->len = reading.start] = '\0';
	if (rc < 0 && err_r->code == ERROR_TIMEOUT)
		err_r->code = ERROR_SQL;
	return rc;
}
