/* SPDX-License-Identifier: Apache-2.0 */
/* The secrets that processes share by way of the store. */
#include <string.h>

#include "common/store/sqlite/sqlite_impl.h"

static int read_secret(struct sqlite_store *store, const char *name,
		       uint8_t secret[STORE_SECRET_BYTES], struct error *err_r)
{
	sqlite3_stmt *stmt = sqlite_bind(
		store, err_r, "SELECT value FROM windlass_secret WHERE name = ?1", "s", name);
	int rc = stmt ? sqlite_next(store, stmt, err_r) : -1;

	if (rc != 1)
		return rc;
	if (sqlite3_column_bytes(stmt, 0) != STORE_SECRET_BYTES)
		rc = error_set(err_r, ERROR_INTERNAL,
			       "the store's secret is not as it was written");
	else
		memcpy(secret, sqlite3_column_blob(stmt, 0), STORE_SECRET_BYTES);
	sqlite_done(stmt);
	return rc;
}

int sqlite_share_secret(struct store *base, const char *name, uint8_t secret[STORE_SECRET_BYTES],
			struct error *err_r)
{
	struct sqlite_store *store = sqlite_of(base);
	int rc;

	if (sqlite_begin(store, SQLITE_DURABLE, err_r))
		return -1;
	rc = read_secret(store, name, secret, err_r);
	if (rc == 0)
		rc = sqlite_run(store, err_r,
				"INSERT INTO windlass_secret (name, value) VALUES (?1, ?2)", "sb",
				name, secret, (size_t)STORE_SECRET_BYTES);
	if (rc < 0) {
		sqlite_rollback(store);
		return -1;
	}
	return sqlite_commit(store, err_r);
}
