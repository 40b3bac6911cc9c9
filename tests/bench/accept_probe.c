/* SPDX-License-Identifier: Apache-2.0 */
/* The limit of durable acceptance over HTTP: libmicrohttpd and one PostgreSQL transaction for what
 * has arrived, nothing else. No parsing, no checks, no keys. Usage: accept_probe URL PORT; runs
 * until SIGTERM. The gateway is measured against it. */
#include <errno.h>
#include <microhttpd.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>

#include "common/base/arena.h"
#include "common/base/mailbox.h"
#include "common/base/strbuf.h"
#include "common/base/uuid.h"
#include "tests/bench/probe.h"

#define BATCH_MAX 256

struct request {
	struct MHD_Connection *connection;
	struct strbuf body;
	struct uuid id;
	bool stored;
};

static struct mailbox *box;

static const char insert[] =
	"WITH new AS MATERIALIZED (SELECT id, p, nextval('probe_seq') AS seq FROM unnest($1::uuid[], $2::text[]) AS t(id, p)),"
	" j AS (INSERT INTO probe_jobs(id, seq, created, queue, type, payload) SELECT id, seq, now(), 'bench', 'noop', p FROM new)"
	" INSERT INTO probe_ready(id, seq, queue, priority) SELECT id, seq, 'bench', 1 FROM new";

static void rows_insert(PGconn *pg, struct request **requests, size_t count)
{
	struct strbuf ids, bodies;
	char text[UUID_TEXT];

	strbuf_init(&ids);
	strbuf_init(&bodies);
	for (size_t i = 0; i < count; i++) {
		strbuf_addch(&ids, i ? ',' : '{');
		strbuf_addstr(&ids, uuid_format(&requests[i]->id, text));
		strbuf_addstr(&bodies, i ? ",\"" : "{\"");
		for (const char *at = requests[i]->body.data; *at; at++) {
			if (*at == '"' || *at == '\\')
				strbuf_addch(&bodies, '\\');
			strbuf_addch(&bodies, *at);
		}
		strbuf_addch(&bodies, '"');
	}
	strbuf_addch(&ids, '}');
	strbuf_addch(&bodies, '}');
	PQclear(probe_must(pg, PQexecPrepared(pg, "insert", 2,
					      (const char *[]){ ids.data, bodies.data }, NULL, NULL,
					      0)));
	strbuf_release(&ids);
	strbuf_release(&bodies);
}

static void *writer(void *arg)
{
	void *items[BATCH_MAX];
	size_t count;

	while ((count = mailbox_take(box, items, BATCH_MAX, -1)) > 0) {
		rows_insert(arg, (struct request **)items, count);
		for (size_t i = 0; i < count; i++) {
			struct request *request = items[i];

			request->stored = true;
			MHD_resume_connection(request->connection);
		}
	}
	return NULL;
}

static enum MHD_Result answer(struct MHD_Connection *connection, struct request *request)
{
	char text[UUID_TEXT], body[80];
	int n = snprintf(body, sizeof(body), "{\"id\":\"%s\",\"state\":\"available\"}",
			 uuid_format(&request->id, text));
	struct MHD_Response *response =
		MHD_create_response_from_buffer((size_t)n, body, MHD_RESPMEM_MUST_COPY);
	enum MHD_Result queued = MHD_queue_response(connection, 202, response);

	MHD_destroy_response(response);
	return queued;
}

static enum MHD_Result handle(void *cls, struct MHD_Connection *connection, const char *url,
			      const char *method, const char *version, const char *data,
			      size_t *bytes, void **state)
{
	struct request *request = *state;

	(void)cls, (void)url, (void)method, (void)version;
	if (!request) {
		request = *state = xcalloc(1, sizeof(*request));
		request->connection = connection;
		strbuf_init(&request->body);
		return MHD_YES;
	}
	if (*bytes) {
		strbuf_add(&request->body, data, *bytes);
		*bytes = 0;
		return MHD_YES;
	}
	if (request->stored)
		return answer(connection, request);
	uuid_v7(&request->id);
	MHD_suspend_connection(connection);
	CHECK(mailbox_send(box, request));
	return MHD_YES;
}

static void completed(void *cls, struct MHD_Connection *connection, void **state,
		      enum MHD_RequestTerminationCode why)
{
	struct request *request = *state;

	(void)cls, (void)connection, (void)why;
	if (!request)
		return;
	strbuf_release(&request->body);
	free(request);
}

int main(int argc, char **argv)
{
	static const char tables[] =
		"SET client_min_messages = warning; DROP TABLE IF EXISTS probe_jobs, probe_ready; DROP SEQUENCE IF EXISTS probe_seq;"
		"CREATE SEQUENCE probe_seq;"
		"CREATE TABLE probe_jobs(id uuid PRIMARY KEY, seq bigint, created timestamptz, queue text, type text, payload text);"
		"CREATE TABLE probe_ready(id uuid UNIQUE, seq bigint, queue text, priority smallint);"
		"CREATE INDEX ON probe_ready(queue, priority, seq)";
	pthread_t thread;
	sigset_t set;
	int got;

	CHECK(argc == 3);
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	PGconn *pg = probe_connect(argv[1]);

	probe_run(pg, tables);
	probe_run(pg, "SET jit = off; SET plan_cache_mode = force_generic_plan");
	PQclear(probe_must(pg, PQprepare(pg, "insert", insert, 0, NULL)));
	box = mailbox_new(65536);
	CHECK(pthread_create(&thread, NULL, writer, pg) == 0);
	struct MHD_Daemon *daemon = MHD_start_daemon(
		MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_TURBO,
		(uint16_t)atoi(argv[2]), NULL, NULL, handle, NULL, MHD_OPTION_NOTIFY_COMPLETED,
		completed, NULL, MHD_OPTION_CONNECTION_LIMIT, 4096u, MHD_OPTION_END);
	CHECK(daemon);
	sigwait(&set, &got);
	_Exit(0);
}
