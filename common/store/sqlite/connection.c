/* SPDX-License-Identifier: Apache-2.0 */
/* One connection to a SQLite file: opening it with the pragmas that the guarantees need, closing
 * it, and what its failures mean. A connection whose file system failed is never used again: it is
 * closed, and the next operation opens a new one. Also the table of operations. */
#include "common/store/ration.h"
#include "common/store/sqlite/sqlite_impl.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* A checkpoint copies the log into the file and syncs both; it runs inside a COMMIT. At 4,000 pages
 * (16 MiB) it costs each commit little, and the log stays small enough to be read back quickly
 * after a crash. */
static const char pragmas[] = "PRAGMA synchronous = FULL;"
			      "PRAGMA foreign_keys = ON;"
			      "PRAGMA secure_delete = OFF;"
			      "PRAGMA temp_store = MEMORY;"
			      "PRAGMA cache_size = -4000;"
			      "PRAGMA journal_size_limit = 33554432;"
			      "PRAGMA wal_autocheckpoint = 4000;";

int sqlite_path(const char *url, char path_r[SQLITE_PATH_BYTES], struct error *err_r)
{
	const char *path = url + strlen("sqlite:");
	int bytes;

	if (strncmp(url, "sqlite:", strlen("sqlite:")) != 0)
		return error_set(err_r, ERROR_INVALID, "not a SQLite URL: expected sqlite:PATH");
	if (strncmp(path, "///", 3) == 0)
		path += 2;
	if (path[0] == '\0' || strcmp(path, ":memory:") == 0 || path[strlen(path) - 1] == '/')
		return error_set(err_r, ERROR_INVALID, "sqlite:%s: expected the path of a file",
				 path);
	/* "./" in front: SQLite would take file:... for a URI. */
	bytes = snprintf(path_r, SQLITE_PATH_BYTES, "%s%s", path[0] == '/' ? "" : "./", path);
	if (bytes >= SQLITE_PATH_BYTES - 16)
		return error_set(err_r, ERROR_INVALID, "sqlite: the path is too long");
	return 0;
}

static const char *constraint_state(int code)
{
	switch (code) {
	case SQLITE_CONSTRAINT_UNIQUE:
	case SQLITE_CONSTRAINT_PRIMARYKEY:
	case SQLITE_CONSTRAINT_ROWID:
		return "23505";
	case SQLITE_CONSTRAINT_FOREIGNKEY:
		return "23503";
	case SQLITE_CONSTRAINT_NOTNULL:
		return "23502";
	case SQLITE_CONSTRAINT_CHECK:
		return "23514";
	default:
		return "23000";
	}
}

static const char *statement_state(int code)
{
	switch (code & 0xff) {
	case SQLITE_CONSTRAINT:
		return constraint_state(code);
	case SQLITE_INTERRUPT:
		return "57014";
	case SQLITE_AUTH:
		return "42501";
	case SQLITE_READONLY:
		return "25006";
	case SQLITE_MISMATCH:
		return "42804";
	case SQLITE_TOOBIG:
		return "54000";
	default:
		return "42000";
	}
}

static enum error_code meaning(struct sqlite_store *store, int code)
{
	switch (code & 0xff) {
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		return ERROR_CONTENTION;
	case SQLITE_FULL:
		return ERROR_FULL;
	case SQLITE_ERROR:
	case SQLITE_CONSTRAINT:
	case SQLITE_MISMATCH:
	case SQLITE_INTERRUPT:
	case SQLITE_AUTH:
	case SQLITE_TOOBIG:
	case SQLITE_RANGE:
		return ERROR_SQL;
	case SQLITE_READONLY:
		return store->guest ? ERROR_SQL : ERROR_UNAVAILABLE;
	case SQLITE_IOERR:
	case SQLITE_CANTOPEN: /* the shared-memory file of the log did not fit */
		return store->db && sqlite3_system_errno(store->db) == ENOSPC ? ERROR_FULL
									      : ERROR_UNAVAILABLE;
	default:
		return ERROR_UNAVAILABLE;
	}
}

int sqlite_fail(struct sqlite_store *store, struct error *err_r, const char *what)
{
	int code = store->db ? sqlite3_extended_errcode(store->db) : SQLITE_NOMEM;
	enum error_code means = meaning(store, code);

	if (means == ERROR_UNAVAILABLE || (code & 0xff) == SQLITE_IOERR)
		store->broken = true;
	if (means == ERROR_FULL)
		store->full = true;
	error_set(err_r, means, "%s%s%s (%s, %d)", what, what[0] ? ": " : "",
		  store->db ? sqlite3_errmsg(store->db) : "out of memory",
		  sqlite3_errstr(code & 0xff), code);
	if (means == ERROR_SQL)
		memcpy(err_r->sqlstate, statement_state(code), 6);
	return -1;
}

/* SQLite asks every 10,000 steps of its machine: the statement limit. */
static int out_of_time(void *data)
{
	struct sqlite_store *store = data;

	return store->deadline_ns && clock_mono_ns() > store->deadline_ns;
}

static int write_ahead(struct sqlite_store *store, struct error *err_r)
{
	sqlite3_stmt *stmt;
	bool wal = false;

	if (sqlite3_prepare_v2(store->db, "PRAGMA journal_mode = WAL", -1, &stmt, NULL) !=
	    SQLITE_OK)
		return sqlite_fail(store, err_r, "journal mode");
	if (sqlite3_step(stmt) == SQLITE_ROW)
		wal = strcmp((const char *)sqlite3_column_text(stmt, 0), "wal") == 0;
	if (sqlite3_finalize(stmt) != SQLITE_OK)
		return sqlite_fail(store, err_r, "journal mode");
	if (!wal)
		return error_set(
			err_r, ERROR_UNAVAILABLE,
			"%s: this file system cannot hold a write-ahead log (shared memory is missing)",
			store->path);
	return 0;
}

static int set_up(struct sqlite_store *store, struct error *err_r)
{
	sqlite3_extended_result_codes(store->db, 1);
	sqlite3_busy_timeout(store->db, SQLITE_FOREIGN_LIMIT_MS);
	sqlite3_db_config(store->db, SQLITE_DBCONFIG_DEFENSIVE, 1, (int *)NULL);
	sqlite3_limit(store->db, SQLITE_LIMIT_ATTACHED, 0);
	sqlite3_progress_handler(store->db, 10000, out_of_time, store);
	if (store->base.use == STORE_WRITE && write_ahead(store, err_r))
		return -1;
	if (sqlite3_exec(store->db, pragmas, NULL, NULL, NULL) != SQLITE_OK ||
	    (store->base.use == STORE_READ &&
	     sqlite3_exec(store->db, "PRAGMA query_only = ON", NULL, NULL, NULL) != SQLITE_OK))
		return sqlite_fail(store, err_r, "set up");
	/* Once, for good: each call makes SQLite prepare all its statements again. store->guest
	 * says what it lets through. */
	sqlite3_set_authorizer(store->db, sqlite_authorise, store);
	store->relaxed = false;
	return 0;
}

/* SQLite would make it readable for everybody. Its log and index files get the mode of this one.
 * What fails here is told by SQLite. */
static void make_private(const char *path)
{
	struct stat st;
	int fd;

	/* Closing a file that is open elsewhere in this process would end SQLite's locks on it. */
	if (stat(path, &st) == 0 || errno != ENOENT)
		return;
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, SQLITE_NEW_MODE);
	if (fd < 0)
		return;
	(void)fchmod(fd, SQLITE_NEW_MODE);
	close(fd);
}

static int connect_file(struct sqlite_store *store, struct error *err_r)
{
	int rc;

	if (!store->shared) {
		store->shared = bell_file_open(store->path, err_r);
		if (!store->shared)
			return -1;
	}
	/* The change to write-ahead logging needs the file for itself. */
	if (bell_file_lock(store->shared, SQLITE_LOCK_LIMIT_MS, err_r))
		return -1;
	make_private(store->path);
	rc = sqlite3_open_v2(store->path, &store->db,
			     SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX,
			     NULL);
	rc = rc == SQLITE_OK ? set_up(store, err_r) : sqlite_fail(store, err_r, store->path);
	bell_file_unlock(store->shared);
	if (rc)
		sqlite_disconnect(store);
	return rc;
}

int sqlite_ensure(struct sqlite_store *store, struct error *err_r)
{
	CHECK(!store->tx.open);
	if (store->broken)
		sqlite_disconnect(store);
	if (store->db)
		return 0;
	return connect_file(store, err_r);
}

void sqlite_disconnect(struct sqlite_store *store)
{
	sqlite_statements_free(store);
	sqlite_guests_free(store);
	if (store->db)
		CHECK(sqlite3_close(store->db) == SQLITE_OK);
	store->db = NULL;
	store->broken = false;
}

static void close_store(struct store *base)
{
	struct sqlite_store *store = sqlite_of(base);

	CHECK(!store->tx.open);
	sqlite_disconnect(store);
	if (store->shared)
		bell_file_close(&store->shared);
	ration_free(&store->ration);
	free(store);
}

static int open_store(const char *url, enum store_use use, const char *role, struct store **store_r,
		      struct error *err_r)
{
	struct sqlite_store *store = xcalloc(1, sizeof(*store));

	(void)role; /* a file has no list of its clients */
	store->base = (struct store){ .ops = &sqlite_store_ops, .use = use };
	if (sqlite_path(url, store->path, err_r)) {
		free(store);
		return -1;
	}
	snprintf(store->base.label, sizeof(store->base.label), "sqlite:%s",
		 url + strlen("sqlite:"));
	if (sqlite_ensure(store, err_r)) {
		close_store(&store->base);
		return -1;
	}
	*store_r = &store->base;
	return 0;
}

static int ping(struct store *base, struct error *err_r)
{
	struct sqlite_store *store = sqlite_of(base);
	int64_t pages;

	if (sqlite_ensure(store, err_r) ||
	    sqlite_number(store, err_r, &pages,
			  "SELECT count(*) FROM (SELECT 1 FROM sqlite_schema LIMIT 1)", "") < 0)
		return -1;
	return 0;
}

const struct store_ops sqlite_store_ops = {
	.scheme = "sqlite",
	.open = open_store,
	.close = close_store,
	.ping = ping,
	.migrate = sqlite_migrate,
	.schema = sqlite_schema,
	.sync_types = sqlite_sync_types,
	.sync_queues = sqlite_sync_queues,
	.limits_sync = sqlite_limits_sync,
	.limits_set = sqlite_limits_set,
	.limits_list = sqlite_limits_list,
	.acceptance_commit = sqlite_acceptance_commit,
	.acceptance_probe = sqlite_acceptance_probe,
	.claim_take = sqlite_claim_take,
	.completion_commit = sqlite_completion_commit,
	.progress_save = sqlite_progress_save,
	.admission_check = sqlite_admission_check,
	.dispatch_take = sqlite_dispatch_take,
	.dispatch_return = sqlite_dispatch_return,
	.dispatch_survey = sqlite_dispatch_survey,
	.outbox_read = sqlite_outbox_read,
	.outbox_delete = sqlite_outbox_delete,
	.outbox_depth = sqlite_outbox_depth,
	.share_secret = sqlite_share_secret,
	.endpoint_disabled = sqlite_endpoint_disabled,
	.endpoint_enable = sqlite_endpoint_enable,
	.audit_list = sqlite_audit_list,
	.pool_scale = sqlite_pool_scale,
	.pool_list = sqlite_pool_list,
	.pool_turn = sqlite_pool_turn,
	.pool_decide = sqlite_pool_decide,
	.position_load = sqlite_position_load,
	.position_save = sqlite_position_save,
	.reader_query = sqlite_reader_query,
	.control_cancel = sqlite_control_cancel,
	.control_retry = sqlite_control_retry,
	.control_resolve = sqlite_control_resolve,
	.control_redrive = sqlite_control_redrive,
	.control_pause = sqlite_control_pause,
	.control_cancels = sqlite_control_cancels,
	.query_job = sqlite_query_job,
	.query_jobs = sqlite_query_jobs,
	.query_finished = sqlite_query_finished,
	.query_views = sqlite_query_views,
	.query_moved = sqlite_query_moved,
	.query_queues = sqlite_query_queues,
	.query_depth = sqlite_query_depth,
	.query_sessions = sqlite_query_sessions,
	.query_workers = sqlite_query_workers,
	.session_renew = sqlite_session_renew,
	.session_report = sqlite_session_report,
	.session_figure = sqlite_session_figure,
	.session_end = sqlite_session_end,
	.session_sweep = sqlite_session_sweep,
	.session_release_batch = sqlite_session_release_batch,
	.batch_begin = sqlite_batch_begin,
	.batch_take = sqlite_batch_take,
	.batch_leave = sqlite_batch_leave,
	.batch_list = sqlite_batch_list,
	.batch_get = sqlite_batch_get,
	.batch_cancel = sqlite_batch_cancel,
	.batch_retry = sqlite_batch_retry,
	.batch_sweep = sqlite_batch_sweep,
	.chain_sweep = sqlite_chain_sweep,
	.schedule = &sqlite_schedule_ops,
	.maintenance_promote = sqlite_maintenance_promote,
	.maintenance_release = sqlite_maintenance_release,
	.maintenance_fold = sqlite_maintenance_fold,
	.maintenance_retention = sqlite_maintenance_retention,
};
