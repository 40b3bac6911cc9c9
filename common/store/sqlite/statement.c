/* SPDX-License-Identifier: Apache-2.0 */
/* Our own statements: prepared once a connection and found again by the address of their text,
 * bound by a string of kinds, stepped. Statements of handlers are guest.c's. */
#include "common/store/sqlite/sqlite_impl.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

static sqlite3_stmt *prepared(struct sqlite_store *store, const char *sql, struct error *err_r)
{
	size_t at = ((uintptr_t)sql >> 3) * 0x9e3779b97f4a7c15u >> 56;

	for (;; at = (at + 1) % SQLITE_STATEMENTS_MAX) {
		if (store->statements[at].sql == sql)
			return store->statements[at].stmt;
		if (!store->statements[at].sql)
			break;
	}
	CHECK(store->statement_count < SQLITE_STATEMENTS_MAX - 1);
	if (sqlite3_prepare_v3(store->db, sql, -1, SQLITE_PREPARE_PERSISTENT,
			       &store->statements[at].stmt, NULL) != SQLITE_OK) {
		sqlite_fail(store, err_r, "prepare");
		return NULL;
	}
	store->statements[at].sql = sql;
	store->statement_count++;
	return store->statements[at].stmt;
}

static int bind_blob(sqlite3_stmt *stmt, int at, const void *data, size_t bytes)
{
	return data ? sqlite3_bind_blob64(stmt, at, data, bytes, SQLITE_STATIC)
		    : sqlite3_bind_null(stmt, at);
}

static sqlite3_stmt *bind_list(struct sqlite_store *store, struct error *err_r, const char *sql,
			       const char *kinds, va_list args)
{
	sqlite3_stmt *stmt = prepared(store, sql, err_r);
	const struct uuid *id;
	const char *text;
	const void *data;
	int rc = SQLITE_OK, at = 0;

	for (; stmt && *kinds && rc == SQLITE_OK; kinds++) {
		at++;
		switch (*kinds) {
		case 'i':
			rc = sqlite3_bind_int64(stmt, at, va_arg(args, int64_t));
			break;
		case 'd':
			rc = sqlite3_bind_double(stmt, at, va_arg(args, double));
			break;
		case 's':
			text = va_arg(args, const char *);
			rc = sqlite3_bind_text(stmt, at, text, -1, SQLITE_STATIC);
			break;
		case 'u':
		case 'U':
			id = va_arg(args, const struct uuid *);
			rc = bind_blob(stmt, at,
				       *kinds == 'U' && (!id || uuid_is_nil(id)) ? NULL : id,
				       sizeof(*id));
			break;
		case 'b':
		case 't': /* text with its length */
			data = va_arg(args, const void *);
			rc = *kinds == 'b'
				     ? bind_blob(stmt, at, data, va_arg(args, size_t))
				     : sqlite3_bind_text64(stmt, at, data, va_arg(args, size_t),
							   SQLITE_STATIC, SQLITE_UTF8);
			break;
		default:
			CHECK(!"a kind of value");
		}
	}
	if (!stmt)
		return NULL;
	if (rc != SQLITE_OK) {
		sqlite_fail(store, err_r, "bind");
		return NULL;
	}
	CHECK(at == sqlite3_bind_parameter_count(stmt));
	return stmt;
}

sqlite3_stmt *sqlite_bind(struct sqlite_store *store, struct error *err_r, const char *sql,
			  const char *kinds, ...)
{
	sqlite3_stmt *stmt;
	va_list args;

	va_start(args, kinds);
	stmt = bind_list(store, err_r, sql, kinds, args);
	va_end(args);
	return stmt;
}

int sqlite_next(struct sqlite_store *store, sqlite3_stmt *stmt, struct error *err_r)
{
	int rc = sqlite3_step(stmt);

	if (rc == SQLITE_ROW)
		return 1;
	if (rc != SQLITE_DONE)
		sqlite_fail(store, err_r, "");
	sqlite3_reset(stmt);
	return rc == SQLITE_DONE ? 0 : -1;
}

void sqlite_done(sqlite3_stmt *stmt)
{
	sqlite3_reset(stmt);
}

int sqlite_run(struct sqlite_store *store, struct error *err_r, const char *sql, const char *kinds,
	       ...)
{
	sqlite3_stmt *stmt;
	va_list args;
	int rc;

	va_start(args, kinds);
	stmt = bind_list(store, err_r, sql, kinds, args);
	va_end(args);
	if (!stmt)
		return -1;
	do {
		rc = sqlite_next(store, stmt, err_r);
	} while (rc == 1);
	store->changed = sqlite3_changes64(store->db);
	return rc;
}

int sqlite_number(struct sqlite_store *store, struct error *err_r, int64_t *value_r,
		  const char *sql, const char *kinds, ...)
{
	sqlite3_stmt *stmt;
	va_list args;
	int rc;

	va_start(args, kinds);
	stmt = bind_list(store, err_r, sql, kinds, args);
	va_end(args);
	if (!stmt)
		return -1;
	rc = sqlite_next(store, stmt, err_r);
	if (rc == 1) {
		*value_r = sqlite3_column_int64(stmt, 0);
		sqlite_done(stmt);
	}
	return rc;
}

void sqlite_statements_free(struct sqlite_store *store)
{
	for (size_t i = 0; i < SQLITE_STATEMENTS_MAX; i++)
		sqlite3_finalize(store->statements[i].stmt);
	memset(store->statements, 0, sizeof(store->statements));
	store->statement_count = 0;
}

bool sqlite_column_uuid(sqlite3_stmt *stmt, int column, struct uuid *id_r)
{
	const void *data = sqlite3_column_blob(stmt, column);
	bool whole = data && sqlite3_column_bytes(stmt, column) == (int)sizeof(*id_r);

	memset(id_r, 0, sizeof(*id_r));
	if (whole)
		memcpy(id_r, data, sizeof(*id_r));
	return whole;
}

char *sqlite_column_dup(sqlite3_stmt *stmt, int column, struct arena *arena)
{
	const char *text = (const char *)sqlite3_column_text(stmt, column);

	return text ? arena_strndup(arena, text, (size_t)sqlite3_column_bytes(stmt, column)) : NULL;
}
