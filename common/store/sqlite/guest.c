/* SPDX-License-Identifier: Apache-2.0 */
/* Statements of handlers: what they may do (the authorizer), how $n is bound, the cache of prepared
 * ones, and reads as JSON. The authorizer is asked while a statement is prepared; store->guest says
 * whose statement it is. */
#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/digest.h"
#include "common/store/completion.h"
#include "common/store/sqlite/sqlite_impl.h"

static bool ours(const char *name)
{
	return name && sqlite3_strnicmp(name, "windlass_", 9) == 0;
}

/* Handlers read everything and write what is theirs. Nothing of the connection's state is in their
 * reach: no pragmas, no other files, no transactions, no temporary tables that would hide real
 * ones. */
int sqlite_authorise(void *data, int action, const char *a, const char *b, const char *database,
		     const char *trigger)
{
	const struct sqlite_store *store = data;

	(void)trigger;
	if (!store->guest)
		return SQLITE_OK;
	switch (action) {
	case SQLITE_SELECT:
	case SQLITE_READ:
	case SQLITE_RECURSIVE:
	case SQLITE_REINDEX: /* part of CREATE INDEX */
		return SQLITE_OK;
	case SQLITE_FUNCTION:
		return b && sqlite3_stricmp(b, "load_extension") == 0 ? SQLITE_DENY : SQLITE_OK;
	case SQLITE_INSERT:
	case SQLITE_UPDATE:
	case SQLITE_DELETE:
	case SQLITE_CREATE_TABLE:
	case SQLITE_CREATE_VIEW:
	case SQLITE_DROP_TABLE:
	case SQLITE_DROP_VIEW:
		break;
	case SQLITE_CREATE_INDEX:
	case SQLITE_CREATE_TRIGGER:
	case SQLITE_DROP_INDEX:
	case SQLITE_DROP_TRIGGER:
		if (ours(b))
			return SQLITE_DENY;
		break;
	case SQLITE_ALTER_TABLE:
		database = a;
		a = b;
		break;
	default:
		return SQLITE_DENY;
	}
	if (store->base.use == STORE_READ || ours(a) ||
	    (database && sqlite3_stricmp(database, "main") != 0))
		return SQLITE_DENY;
	return SQLITE_OK;
}

/* ---- preparing */

static uint64_t hash_of(const char *sql)
{
	uint64_t hash = 0xcbf29ce484222325u;

	for (; *sql; sql++)
		hash = (hash ^ (uint8_t)*sql) * 0x100000001b3u;
	return hash;
}

static int refuse(struct error *err_r, const char *sqlstate, const char *message)
{
	error_set(err_r, ERROR_SQL, "%s", message);
	memcpy(err_r->sqlstate, sqlstate, 6);
	return -1;
}

static int prepare_alone(struct sqlite_store *store, const char *sql, sqlite3_stmt **stmt_r,
			 struct error *err_r)
{
	sqlite3_stmt *second = NULL;
	const char *tail;

	if (sqlite3_prepare_v3(store->db, sql, -1, SQLITE_PREPARE_PERSISTENT, stmt_r, &tail) !=
	    SQLITE_OK)
		return sqlite_fail(store, err_r, "");
	if (!*stmt_r)
		return refuse(err_r, "42601", "the statement is empty");
	while (isspace((unsigned char)*tail) || *tail == ';')
		tail++;
	if (*tail && sqlite3_prepare_v3(store->db, tail, -1, 0, &second, NULL) == SQLITE_OK &&
	    !second)
		return 0; /* a comment */
	sqlite3_finalize(second);
	if (!*tail)
		return 0;
	sqlite3_finalize(*stmt_r);
	return refuse(err_r, "42601", "one statement at a time: there is more after the first");
}

static struct sqlite_guest *oldest(struct sqlite_store *store)
{
	struct sqlite_guest *found = &store->guests[0];

	for (size_t i = 1; i < SQLITE_GUESTS_MAX; i++)
		if (store->guests[i].used < found->used)
			found = &store->guests[i];
	return found;
}

static int prepare(struct sqlite_store *store, const char *sql, sqlite3_stmt **stmt_r,
		   struct error *err_r)
{
	uint64_t hash = hash_of(sql);
	struct sqlite_guest *guest;

	for (size_t i = 0; i < SQLITE_GUESTS_MAX; i++) {
		guest = &store->guests[i];
		if (guest->hash != hash || !guest->sql || strcmp(guest->sql, sql) != 0)
			continue;
		guest->used = ++store->guest_clock;
		*stmt_r = guest->stmt;
		return 0;
	}
	if (prepare_alone(store, sql, stmt_r, err_r))
		return -1;
	guest = oldest(store);
	sqlite3_finalize(guest->stmt);
	free(guest->sql);
	*guest = (struct sqlite_guest){
		.sql = xstrdup(sql), .hash = hash, .used = ++store->guest_clock, .stmt = *stmt_r
	};
	return 0;
}

void sqlite_guests_free(struct sqlite_store *store)
{
	for (size_t i = 0; i < SQLITE_GUESTS_MAX; i++) {
		sqlite3_finalize(store->guests[i].stmt);
		free(store->guests[i].sql);
	}
	memset(store->guests, 0, sizeof(store->guests));
}

/* ---- binding: SQLite numbers $-names by first appearance, so they are bound by what their names
 * say */

static int bind_value(sqlite3_stmt *stmt, int at, const struct sql_value *value)
{
	switch (value->kind) {
	case SQL_TEXT:
		return sqlite3_bind_text64(stmt, at, value->data ? value->data : "", value->bytes,
					   SQLITE_STATIC, SQLITE_UTF8);
	case SQL_INT:
		return sqlite3_bind_int64(stmt, at, value->i);
	case SQL_FLOAT:
		return sqlite3_bind_double(stmt, at, value->d);
	case SQL_BOOL:
		return sqlite3_bind_int(stmt, at, value->i != 0);
	case SQL_BLOB:
		return sqlite3_bind_blob64(stmt, at, value->data ? value->data : "", value->bytes,
					   SQLITE_STATIC);
	default:
		return sqlite3_bind_null(stmt, at);
	}
}

static long parameter_number(const char *name)
{
	char *end;
	long number;

	if (!name || name[0] != '$' || !isdigit((unsigned char)name[1]))
		return 0;
	number = strtol(name + 1, &end, 10);
	return *end ? 0 : number;
}

static int bind_all(struct sqlite_store *store, sqlite3_stmt *stmt,
		    const struct sql_statement *statement, struct error *err_r)
{
	int count = sqlite3_bind_parameter_count(stmt);
	long highest = 0;

	for (int at = 1; at <= count; at++) {
		long number = parameter_number(sqlite3_bind_parameter_name(stmt, at));

		if (number < 1)
			return refuse(
				err_r, "42P02",
				"parameters are written $1, $2, ... (a cast is CAST($1 AS type))");
		if ((size_t)number > statement->arg_count)
			return refuse(err_r, "42P02",
				      "the statement has more parameters than values");
		if (bind_value(stmt, at, &statement->args[number - 1]) != SQLITE_OK)
			return sqlite_fail(store, err_r, "");
		highest = number > highest ? number : highest;
	}
	if ((size_t)highest != statement->arg_count)
		return refuse(err_r, "42P02", "the statement has fewer parameters than values");
	return 0;
}

/* ---- running */

static int step_all(struct sqlite_store *store, sqlite3_stmt *stmt, int64_t *rows_r,
		    struct error *err_r)
{
	int64_t before = sqlite3_total_changes64(store->db), seen = 0;
	int rc;

	while ((rc = sqlite3_step(stmt)) == SQLITE_ROW)
		seen++;
	if (rc != SQLITE_DONE) {
		sqlite_fail(store, err_r, "");
		sqlite3_reset(stmt);
		return -1;
	}
	sqlite3_reset(stmt);
	if (sqlite3_stmt_readonly(stmt))
		*rows_r = seen;
	else
		*rows_r = sqlite3_total_changes64(store->db) == before
				  ? 0
				  : sqlite3_changes64(store->db);
	return 0;
}

int sqlite_guest_run(struct sqlite_store *store, const struct sql_statement *statement,
		     int64_t *rows_r, struct error *err_r)
{
	sqlite3_stmt *stmt = NULL;
	int rc;

	store->guest = true;
	store->deadline_ns = clock_mono_ns() + SQLITE_STATEMENT_LIMIT_MS * (int64_t)1000000;
	rc = prepare(store, statement->sql, &stmt, err_r);
	if (rc == 0)
		rc = bind_all(store, stmt, statement, err_r);
	if (rc == 0)
		rc = step_all(store, stmt, rows_r, err_r);
	store->deadline_ns = 0;
	store->guest = false;
	return rc;
}

/* ---- reading */

static void add_float(struct strbuf *out, double value)
{
	char text[40];

	if (!isfinite(value)) {
		strbuf_addstr(out, value > 0 ? "\"Infinity\"" : "\"-Infinity\"");
		return;
	}
	/* SQLite's %!.15g keeps a decimal point, so that a float stays one. */
	sqlite3_snprintf(sizeof(text), text, "%!.15g", value);
	if (strtod(text, NULL) != value)
		snprintf(text, sizeof(text), "%.17g", value);
	strbuf_addstr(out, text);
	if (!strpbrk(text, ".eE"))
		strbuf_addstr(out, ".0");
}

static void add_blob(struct strbuf *out, sqlite3_stmt *stmt, int column)
{
	const void *data = sqlite3_column_blob(stmt, column);

	base64_json(out, data, (size_t)sqlite3_column_bytes(stmt, column));
}

static void add_value(struct strbuf *out, sqlite3_stmt *stmt, int column)
{
	const char *text;

	switch (sqlite3_column_type(stmt, column)) {
	case SQLITE_INTEGER:
		strbuf_addi(out, sqlite3_column_int64(stmt, column));
		break;
	case SQLITE_FLOAT:
		add_float(out, sqlite3_column_double(stmt, column));
		break;
	case SQLITE_NULL:
		strbuf_addstr(out, "null");
		break;
	case SQLITE_BLOB:
		add_blob(out, stmt, column);
		break;
	default:
		text = (const char *)sqlite3_column_text(stmt, column);
		strbuf_json_n(out, text ? text : "", (size_t)sqlite3_column_bytes(stmt, column));
	}
}

static void add_row(struct strbuf *out, sqlite3_stmt *stmt, bool first)
{
	strbuf_addstr(out, first ? "[" : ",[");
	for (int i = 0; i < sqlite3_column_count(stmt); i++) {
		if (i)
			strbuf_addch(out, ',');
		add_value(out, stmt, i);
	}
	strbuf_addch(out, ']');
}

static int read_rows(struct sqlite_store *store, sqlite3_stmt *stmt, size_t bytes_max,
		     struct strbuf *out, struct error *err_r)
{
	size_t start = out->len;
	bool first = true;
	int rc;

	strbuf_addstr(out, "{\"columns\":[");
	for (int i = 0; i < sqlite3_column_count(stmt); i++) {
		if (i)
			strbuf_addch(out, ',');
		strbuf_json(out, sqlite3_column_name(stmt, i));
	}
	strbuf_addstr(out, "],\"rows\":[");
	while ((rc = sqlite3_step(stmt)) == SQLITE_ROW && out->len - start <= bytes_max) {
		add_row(out, stmt, first);
		first = false;
	}
	if (rc != SQLITE_DONE && rc != SQLITE_ROW)
		return sqlite_fail(store, err_r, "");
	strbuf_addstr(out, "]}");
	if (out->len - start > bytes_max)
		return error_set(err_r, ERROR_FULL, "the query's answer is larger than %zu bytes",
				 bytes_max);
	return 0;
}

int sqlite_reader_query(struct store *base, const struct sql_statement *statement, size_t bytes_max,
			struct strbuf *out, struct error *err_r)
{
	struct sqlite_store *store = sqlite_of(base);
	size_t start = out->len;
	sqlite3_stmt *stmt = NULL;
	int rc;

	CHECK(store->base.use == STORE_READ);
	if (sqlite_ensure(store, err_r))
		return -1;
	store->guest = true;
	store->deadline_ns = clock_mono_ns() + SQLITE_STATEMENT_LIMIT_MS * (int64_t)1000000;
	rc = prepare(store, statement->sql, &stmt, err_r);
	if (rc == 0)
		rc = bind_all(store, stmt, statement, err_r);
	if (rc == 0) {
		rc = read_rows(store, stmt, bytes_max, out, err_r);
		sqlite3_reset(stmt);
	}
	store->deadline_ns = 0;
	store->guest = false;
	if (rc && out->len > start) {
		out->len = start;
		out->data[start] = '\0';
	}
	return rc;
}
