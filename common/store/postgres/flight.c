/* SPDX-License-Identifier: Apache-2.0 */
/* Flights: statements are queued, sent together and answered together (libpq's pipeline mode), so
 * that a transaction of hundreds of statements costs one or two round trips. Every wait has an end,
 * also when the server is frozen. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/failpoint.h"
#include "common/store/postgres/postgres_impl.h"

/* Longer than statement_timeout and what keepalives need: only a peer that is frozen is silent for
 * so long. */
#define SILENCE_MS 20000

/* ---- queueing */

static struct answer *expect(struct postgres *pg, size_t *place_r)
{
	if (pg->flown)
		postgres_flight_clear(pg);
	if (pg->answer_count == pg->answer_cap) {
		pg->answer_cap = pg->answer_cap ? 2 * pg->answer_cap : 64;
		pg->answers = xrealloc(pg->answers, pg->answer_cap * sizeof(*pg->answers));
	}
	*place_r = pg->answer_count;
	pg->answers[pg->answer_count] = (struct answer){ .keep = true };
	return &pg->answers[pg->answer_count++];
}

/* A call that queues fails only when the connection is broken; postgres_fly will find that out. */
size_t postgres_plain(struct postgres *pg, const char *sql)
{
	size_t place;

	expect(pg, &place);
	PQsendQueryParams(pg->conn, sql, 0, NULL, NULL, NULL, NULL, 1);
	return place;
}

void postgres_deallocate(struct postgres *pg, const char *name)
{
	char sql[64];
	size_t place;

	snprintf(sql, sizeof(sql), "DEALLOCATE %s", name);
	expect(pg, &place)->deallocate = true;
	PQsendQueryParams(pg->conn, sql, 0, NULL, NULL, NULL, NULL, 1);
}

static struct prepared *prepare(struct postgres *pg, const char *sql, int count, const Oid *types)
{
	struct prepared *prepared = prepared_find(pg, sql);
	size_t place;

	if (prepared)
		return prepared;
	prepared = prepared_add(pg, sql);
	struct answer *answer = expect(pg, &place);

	answer->prepare = true;
	answer->prepared = prepared;
	PQsendPrepare(pg->conn, prepared->name, sql, types ? count : 0, types);
	return prepared;
}

size_t postgres_send(struct postgres *pg)
{
	struct statement *st = &pg->statement;
	struct prepared *prepared = prepare(pg, st->sql, st->count, NULL);
	size_t place;

	postgres_statement_seal(pg);
	expect(pg, &place)->prepared = prepared;
	PQsendQueryPrepared(pg->conn, prepared->name, st->count, st->values, st->lengths,
			    st->formats, 1);
	return place;
}

void postgres_begin(struct postgres *pg)
{
	CHECK(!pg->in_transaction);
	pg->in_transaction = true;
	postgres_say(pg, "BEGIN");
	postgres_send(pg);
}

void postgres_commit(struct postgres *pg)
{
	CHECK(pg->in_transaction);
	postgres_say(pg, "COMMIT");
	postgres_send(pg);
	pg->commit_sent = true;
}

size_t postgres_send_foreign(struct postgres *pg, const char *sql, int count,
			     const char *const *values, const int *lengths, const int *formats,
			     const Oid *types)
{
	struct prepared *prepared = prepare(pg, sql, count, types);
	size_t place;
	struct answer *answer = expect(pg, &place);

	answer->prepared = prepared;
	answer->keep = false;
	PQsendQueryPrepared(pg->conn, prepared->name, count, values, lengths, formats, 0);
	return place;
}

size_t postgres_describe(struct postgres *pg, const char *sql)
{
	struct prepared *prepared = prepare(pg, sql, 0, NULL);
	size_t place;

	expect(pg, &place)->prepared = prepared;
	PQsendDescribePrepared(pg->conn, prepared->name);
	return place;
}

void postgres_flight_clear(struct postgres *pg)
{
	for (size_t i = 0; i < pg->answer_count; i++)
		PQclear(pg->answers[i].result);
	pg->answer_count = 0;
	pg->commit_sent = false;
	pg->flown = false;
}

/* ---- flying */

static bool wait_io(struct postgres *pg, short events, int64_t deadline_ms)
{
	struct pollfd p = { .fd = PQsocket(pg->conn), .events = events };
	int64_t left_ms = deadline_ms - clock_mono_ms();
	int n;

	if (p.fd < 0 || left_ms <= 0)
		return false;
	do
		n = poll(&p, 1, (int)left_ms);
	while (n < 0 && errno == EINTR);
	return n > 0;
}

/* Sends all there is; reads meanwhile, because a server that cannot write does not read. */
static bool send_out(struct postgres *pg)
{
	int64_t deadline_ms = clock_mono_ms() + SILENCE_MS;
	int rc;

	while ((rc = PQflush(pg->conn)) > 0)
		if (!wait_io(pg, POLLIN | POLLOUT, deadline_ms) || !PQconsumeInput(pg->conn))
			return false;
	return rc == 0;
}

/* Waits for the answer that comes next (NULL: the end of one statement's answers). False: the
 * connection is lost or silent. */
static bool postgres_wait(struct postgres *pg, PGresult **result_r)
{
	int64_t deadline_ms = clock_mono_ms() + SILENCE_MS;

	*result_r = NULL;
	while (PQisBusy(pg->conn))
		if (!wait_io(pg, POLLIN, deadline_ms) || !PQconsumeInput(pg->conn))
			return false;
	*result_r = PQgetResult(pg->conn);
	return PQstatus(pg->conn) == CONNECTION_OK;
}

/* Hands a row on, if this is one. False: it was one too many; the connection is of no use with the
 * rest on its way. */
static bool pass_row(struct postgres *pg, const struct answer *answer, PGresult *result)
{
	ExecStatusType status = PQresultStatus(result);

	if (!pg->row || answer->keep || answer->prepare ||
	    (status != PGRES_SINGLE_TUPLE && status != PGRES_TUPLES_OK))
		return true;
	return pg->row(pg->row_context, result);
}

/* All results of one statement; the last is kept. */
static bool gather_one(struct postgres *pg, struct answer *answer)
{
	PGresult *result;

	if (pg->row && !answer->keep && !answer->prepare)
		PQsetSingleRowMode(pg->conn);
	for (;;) {
		if (!postgres_wait(pg, &result)) {
			PQclear(answer->result);
			answer->result = result; /* may say why, as 57P01 does */
			return false;
		}
		if (!result && answer->result)
			return true;
		if (!result)
			continue; /* the end of the flight before */
		PQclear(answer->result);
		answer->result = result;
		if (!pass_row(pg, answer, result)) {
			pg->overrun = true;
			return false;
		}
	}
}

static bool succeeded(const struct answer *answer)
{
	ExecStatusType status = PQresultStatus(answer->result);

	return status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK;
}

static bool gather(struct postgres *pg)
{
	PGresult *result = NULL;

	pg->failed_at = SIZE_MAX;
	for (size_t i = 0; i < pg->answer_count; i++) {
		struct answer *answer = &pg->answers[i];

		if (!gather_one(pg, answer)) {
			pg->failed_at = pg->failed_at == SIZE_MAX ? i : pg->failed_at;
			return false;
		}
		if (!succeeded(answer)) {
			pg->failed_at = pg->failed_at == SIZE_MAX ? i : pg->failed_at;
			continue;
		}
		if (answer->prepare && answer->prepared)
			answer->prepared->sure = true;
		answer->rows = PQresultStatus(answer->result) == PGRES_TUPLES_OK
				       ? PQntuples(answer->result)
				       : atoll(PQcmdTuples(answer->result));
		if (!answer->keep) {
			PQclear(answer->result);
			answer->result = NULL;
		}
	}
	while (postgres_wait(pg, &result)) {
		bool end = PQresultStatus(result) == PGRES_PIPELINE_SYNC;

		PQclear(result);
		if (end)
			return true;
	}
	PQclear(result);
	return false;
}

/* What a failed flight was to prepare or to deallocate may be there or not. A statement that failed
 * for what it is, not for its data, is prepared anew: its table may have been altered. */
static void forget_unsure(struct postgres *pg, const char *sqlstate)
{
	struct prepared *failed = pg->answers[pg->failed_at].prepared;

	if (failed && (!strncmp(sqlstate, "0A", 2) || !strncmp(sqlstate, "26", 2)))
		failed->sure = false;
	for (size_t i = pg->failed_at; i < pg->answer_count; i++)
		pg->cache_unsure = pg->cache_unsure || pg->answers[i].deallocate;
	for (size_t i = pg->cache_count; i-- > 0;)
		if (!pg->cache[i]->sure)
			prepared_forget(pg, pg->cache[i]);
	for (size_t i = 0; i < pg->answer_count; i++)
		pg->answers[i].prepared = NULL;
}

static int lost(struct postgres *pg, struct error *err_r)
{
	bool unknown = pg->commit_sent;
	size_t at = pg->failed_at;

	if (pg->overrun) {
		postgres_drop(pg);
		return error_set(err_r, ERROR_FULL, "the result is too big");
	}
	postgres_error(pg->conn, at == SIZE_MAX ? NULL : pg->answers[at].result, err_r);
	if (!*err_r->message)
		error_set(err_r, ERROR_UNAVAILABLE, "the server did not answer");
	if (unknown) /* a probe that gets lost itself still asks about this one */
		pg->lost_pid = pg->pid;
	err_r->code = unknown ? ERROR_UNKNOWN : ERROR_UNAVAILABLE;
	postgres_drop(pg);
	return -1;
}

int postgres_fly(struct postgres *pg, struct error *err_r)
{
	if (!pg->conn)
		return error_set(err_r, ERROR_UNAVAILABLE, "no connection");
	CHECK(pg->answer_count && !pg->flown);
	pg->flown = true;
	pg->overrun = false;
	bool sent = PQpipelineSync(pg->conn) == 1 && send_out(pg);

	if (pg->commit_sent && pg->commit_failpoint && FAILPOINT(pg->commit_failpoint))
		sent = false;
	pg->failed_at = SIZE_MAX;
	if (!sent || !gather(pg))
		return lost(pg, err_r);
	/* A COMMIT that was reached ends the transaction whatever it says; one behind a failure was
	 * skipped. */
	if (pg->commit_sent && pg->failed_at >= pg->answer_count - 1)
		pg->in_transaction = false;
	if (pg->failed_at == SIZE_MAX)
		return 0;
	postgres_error(pg->conn, pg->answers[pg->failed_at].result, err_r);
	/* "Read only" tells a writer that its server is a standby now; a reader that its statement
	 * writes. */
	if (pg->base.use == STORE_READ && !strcmp(err_r->sqlstate, "25006"))
		err_r->code = ERROR_SQL;
	if (err_r->code == ERROR_UNAVAILABLE)
		postgres_drop(pg);
	else
		forget_unsure(pg, err_r->sqlstate);
	return -1;
}

int postgres_commit_fly(struct postgres *pg, struct error *err_r)
{
	postgres_commit(pg);
	if (postgres_fly(pg, err_r) == 0)
		return 0;
	postgres_rollback(pg);
	return -1;
}

const PGresult *postgres_result(const struct postgres *pg, size_t place)
{
	CHECK(place < pg->answer_count && pg->answers[place].result);
	return pg->answers[place].result;
}

int64_t postgres_rows(const struct postgres *pg, size_t place)
{
	CHECK(place < pg->answer_count);
	return pg->answers[place].rows;
}
