/* SPDX-License-Identifier: Apache-2.0 */
/* One connection to PostgreSQL: opened with time-outs at every level, opened again when it broke,
 * its plans pinned; and what the server's errors mean to us. */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/store/postgres/postgres_impl.h"
#include "common/store/postgres/safe_url.h"
#include "common/store/ration.h"

/* The engine's statements know their indexes; a queue's statistics are always stale, and a plan
 * made from them may be a thousand times slower. Handlers' write sets are run with these switched
 * back (write_set.c); their reads have a connection without them. */
static const char pins[] =
	"SELECT set_config('enable_seqscan', 'off', false), set_config('enable_hashjoin', 'off',"
	" false),"
	" set_config('enable_mergejoin', 'off', false), set_config('enable_bitmapscan', 'off',"
	" false),"
	" set_config('plan_cache_mode', 'force_generic_plan', false), set_config('jit', 'off',"
	" false)";
static const char limits[] =
	"SELECT set_config('statement_timeout', '5000', false), set_config('lock_timeout', '100',"
	" false),"
	" set_config('idle_in_transaction_session_timeout', '15000', false),"
	" set_config('synchronous_commit', 'on', false),"
	" set_config('search_path', 'public, pg_temp', false),"
	" set_config('default_transaction_isolation', 'read committed', false),"
	" set_config('client_min_messages', 'error', false), set_config('timezone', 'UTC', false),"
	" set_config('datestyle', 'ISO', false), set_config('intervalstyle', 'postgres', false),"
	" set_config('bytea_output', 'hex', false), set_config('extra_float_digits', '1', false)";
static const char read_only[] = "SELECT set_config('default_transaction_read_only', 'on', false)";

/* ---- errors */

static const struct {
	const char *prefix; /* of SQLSTATE */
	enum error_code code;
} meanings[] = {
	{ "08", ERROR_UNAVAILABLE },    /* connection exceptions */
	{ "57P", ERROR_UNAVAILABLE },   /* shutting down, starting up, database dropped */
	{ "25006", ERROR_UNAVAILABLE }, /* read only: this server is a standby now */
	{ "53300", ERROR_UNAVAILABLE }, /* too many connections */
	{ "40", ERROR_CONTENTION },     /* serialization failure, deadlock */
	{ "55P03", ERROR_CONTENTION },  /* lock_timeout */
	{ "53", ERROR_FULL },           /* disk, memory */
	{ "57014", ERROR_TIMEOUT },     /* statement_timeout */
	{ "", ERROR_SQL },
};

/* An error of the connection itself has no SQLSTATE: libpq gives it up and says so. */
int postgres_error(const PGconn *conn, const PGresult *result, struct error *err_r)
{
	const char *state = result ? PQresultErrorField(result, PG_DIAG_SQLSTATE) : NULL;
	const char *message = result ? PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY) : NULL;
	enum error_code code = ERROR_UNAVAILABLE;
	size_t i = 0;

	if (state) {
		while (strncmp(state, meanings[i].prefix, strlen(meanings[i].prefix)) != 0)
			i++;
		code = meanings[i].code;
	}
	if (!message)
		message = conn ? PQerrorMessage(conn) : "no connection";
	error_set(err_r, code, "%.*s", (int)strcspn(message, "\n"), message);
	snprintf(err_r->sqlstate, sizeof(err_r->sqlstate), "%s", state ? state : "");
	return -1;
}

/* ---- opening */

void postgres_connect_params(const char *url, const char *role, const char *what,
			     struct connect_params *p)
{
	static const char *const fixed[][2] = {
		{ "connect_timeout", "5" },     { "tcp_user_timeout", "15000" },
		{ "keepalives", "1" },          { "keepalives_idle", "5" },
		{ "keepalives_interval", "3" }, { "keepalives_count", "3" },
		{ "client_encoding", "UTF8" },
	};
	size_t n = 0;

	snprintf(p->name, sizeof(p->name), "windlass-%.40s%s%.20s", role, *what ? "-" : "", what);
	/* Later words win over earlier ones, and those of the URL over all before it. */
	p->keywords[n] = "dbname", p->values[n++] = url;
	for (size_t i = 0; i < ARRAY_LEN(fixed); i++, n++)
		p->keywords[n] = fixed[i][0], p->values[n] = fixed[i][1];
	p->keywords[n] = "application_name", p->values[n++] = p->name;
	CHECK(n < ARRAY_LEN(p->keywords));
	p->keywords[n] = p->values[n] = NULL;
}

/* What a server says besides results, such as why it hangs up, is no line of our log. */
static void ignore_notice(void *arg, const PGresult *notice)
{
	(void)arg;
	(void)notice;
}

void postgres_mute(PGconn *conn)
{
	PQsetNoticeReceiver(conn, ignore_notice, NULL);
}

PGconn *postgres_connect(const char *url, const char *role, const char *what, struct error *err_r)
{
	struct connect_params params;

	postgres_connect_params(url, role, what, &params);
	PGconn *conn = PQconnectdbParams(params.keywords, params.values, 1);

	postgres_mute(conn);
	if (PQstatus(conn) == CONNECTION_OK)
		return conn;
	postgres_error(conn, NULL, err_r);
	PQfinish(conn);
	return NULL;
}

static int settle_in(const struct postgres *pg, PGconn *conn, struct error *err_r)
{
	const char *const sql[] = { limits, pg->base.use == STORE_READ ? read_only : pins };

	for (size_t i = 0; i < ARRAY_LEN(sql); i++) {
		PGresult *result = PQexecParams(conn, sql[i], 0, NULL, NULL, NULL, NULL, 0);
		bool ok = PQresultStatus(result) == PGRES_TUPLES_OK;

		if (!ok)
			postgres_error(conn, result, err_r);
		PQclear(result);
		if (!ok)
			return -1;
	}
	CHECK(PQsetnonblocking(conn, 1) == 0 && PQenterPipelineMode(conn) == 1);
	return 0;
}

static int connect_again(struct postgres *pg, struct error *err_r)
{
	PGconn *conn = postgres_connect(pg->url, pg->role, pg->base.use == STORE_READ ? "read" : "",
					err_r);

	if (!conn)
		return -1;
	if (settle_in(pg, conn, err_r) < 0) {
		PQfinish(conn);
		err_r->code = ERROR_UNAVAILABLE;
		return -1;
	}
	pg->conn = conn;
	pg->pid = PQbackendPID(conn); /* libpq does not tell any more once it is broken */
	return 0;
}

void postgres_drop(struct postgres *pg)
{
	postgres_flight_clear(pg);
	prepared_forget_all(pg);
	if (pg->conn)
		PQfinish(pg->conn);
	pg->conn = NULL;
	pg->in_transaction = false;
	pg->commit_failpoint = NULL;
}

/* Did the server hang up while nobody asked it anything? Found out before the connection is used
 * again, a restarted server fails no request. */
static bool is_usable(PGconn *conn)
{
	struct pollfd poll_fd = { .fd = PQsocket(conn), .events = POLLIN };

	while (PQstatus(conn) == CONNECTION_OK && poll(&poll_fd, 1, 0) > 0)
		if (!PQconsumeInput(conn))
			return false;
	return PQstatus(conn) == CONNECTION_OK;
}

int postgres_enter(struct postgres *pg, struct error *err_r)
{
	error_clear(err_r);
	CHECK(!pg->in_transaction);
	postgres_flight_clear(pg);
	arena_reset(pg->scratch);
	pg->commit_failpoint = NULL;
	if (pg->conn && pg->cache_unsure) {
		postgres_plain(pg, "DEALLOCATE ALL");
		prepared_forget_all(pg);
		if (postgres_fly(pg, err_r) < 0)
			postgres_drop(pg);
		postgres_flight_clear(pg);
	}
	if (pg->conn && is_usable(pg->conn))
		return 0;
	postgres_drop(pg);
	return connect_again(pg, err_r);
}

void postgres_rollback(struct postgres *pg)
{
	struct error err;

	if (!pg->conn || !pg->in_transaction)
		return;
	postgres_plain(pg, "ROLLBACK");
	pg->in_transaction = false;
	if (postgres_fly(pg, &err) < 0)
		postgres_drop(pg);
}

/* ---- the store */

/* user, host, port and database only: no password, no query string. */
static void label(const char *url, char *label_r, size_t bytes)
{
	PQconninfoOption *options = PQconninfoParse(url, NULL);
	const char *part[4] = { "", "", "", "" };
	static const char *const words[] = { "user", "host", "port", "dbname" };

	for (PQconninfoOption *o = options; o && o->keyword; o++)
		for (size_t i = 0; i < ARRAY_LEN(words); i++)
			if (!strcmp(o->keyword, words[i]) && o->val)
				part[i] = o->val;
	snprintf(label_r, bytes, "postgresql://%s%s%s%s%s/%s", part[0], *part[0] ? "@" : "",
		 part[1], *part[2] ? ":" : "", part[2], part[3]);
	PQconninfoFree(options);
}

int postgres_open(const char *url, enum store_use use, const char *role, struct store **store_r,
		  struct error *err_r)
{
	char *safe_url = postgres_safe_url(url, err_r);

	if (!safe_url)
		return -1;
	struct postgres *pg = xcalloc(1, sizeof(*pg));

	pg->base.ops = &postgres_store_ops;
	pg->base.use = use;
	pg->url = safe_url;
	pg->role = xstrdup(role);
	pg->scratch = arena_new(64 * 1024);
	label(safe_url, pg->base.label, sizeof(pg->base.label));
	if (connect_again(pg, err_r) < 0) {
		postgres_close(&pg->base);
		return -1;
	}
	*store_r = &pg->base;
	return 0;
}

void postgres_close(struct store *store)
{
	struct postgres *pg = postgres_of(store);

	postgres_drop(pg);
	for (size_t i = 0; i < STATEMENT_ARGS_MAX; i++)
		if (pg->statement.arrays[i].bytes.data)
			strbuf_release(&pg->statement.arrays[i].bytes);
	for (size_t i = 0; i < ARRAY_LEN(pg->unique_walk); i++)
		free(pg->unique_walk[i]);
	queue_kinds_forget(pg);
	ration_free(&pg->ration);
	free(pg->answers);
	arena_free(&pg->scratch);
	explicit_bzero(pg->url, strlen(pg->url)); /* it may hold a password */
	free(pg->url);
	free(pg->role);
	free(pg);
}

int postgres_ping(struct store *store, struct error *err_r)
{
	struct postgres *pg = postgres_of(store);

	if (postgres_enter(pg, err_r) < 0)
		return -1;
	postgres_plain(pg, "SELECT 1");
	return postgres_fly(pg, err_r);
}
