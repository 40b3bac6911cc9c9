/* SPDX-License-Identifier: Apache-2.0 */
/* What only PostgreSQL has: folded write sets, jobs enqueued from SQL, LISTEN/NOTIFY, partitions,
 * connections that are killed. Runs nothing when TEST_POSTGRES_URL is not set. */
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "tests/integration/store_broker_words.h"

#define DAY_MS (24 * 3600 * (int64_t)1000)

/* Runs SQL as a job's write set does; it must work. */
static void run_sql(struct fixture *fx, const char *sql)
{
	struct new_job job = a_job("sql");
	struct completion item;

	job.queue = "sql";
	accept_job(fx, job);
	struct claim claim = claim_as(fx, fx->store, &fx->session, "sql", 1);

	assert_int_equal(claim.count, 1);
	item = a_finish(claim.jobs[0], JOB_COMPLETED);
	with_write(fx, &item, SQL_ROWS_ANY, sql, NULL, NULL);
	if (commit_items(fx, fx->store, COMPLETION_CAREFUL, &item, 1) ||
	    item.fate != COMPLETION_COMMITTED)
		fail_msg("%s: %s %s", sql, fx->error.message, item.error.message);
}

static int64_t number(struct fixture *fx, const char *sql)
{
	return atoll(read_value(fx, sql));
}

/* ---- folding */

#define ROWS 40

static const struct sql_value row_values[] = {
	{ .kind = SQL_INT, .i = 7 },
	{ .kind = SQL_TEXT, .data = "a \"quoted\\\" {text}, 'it''s'", .bytes = 27 },
	{ .kind = SQL_NULL },
	{ .kind = SQL_BOOL, .i = 1 },
	{ .kind = SQL_FLOAT, .d = 0.1 },
	{ .kind = SQL_TEXT, .data = "{\"k\":[1,2]}", .bytes = 11 },
	{ .kind = SQL_BLOB, .data = "\0\1\\\"\377", .bytes = 5 },
};

static const char make_rows[] =
	"CREATE TABLE effects_of_kinds (n int, t text, none uuid, b boolean, f double precision, j"
	" jsonb, x bytea, at timestamptz, c text)";
static const char insert_row[] =
	"INSERT INTO effects_of_kinds (n, t, none, b, f, j, x, at, c) VALUES ($1, $2, $3, $4, $5,"
	" $6::jsonb, $7, now(), 'const');";
static const char counting[] =
	"CREATE OR REPLACE FUNCTION effects_counted() RETURNS trigger LANGUAGE plpgsql AS"
	" 'BEGIN INSERT INTO effects VALUES (''statement'', TG_TABLE_NAME); RETURN NULL; END'";

static void make_counted_table(struct fixture *fx)
{
	run_sql(fx, "DROP TABLE IF EXISTS effects_of_kinds");
	run_sql(fx, make_rows);
	run_sql(fx, counting);
	run_sql(fx,
		"CREATE TRIGGER counted AFTER INSERT ON effects_of_kinds FOR EACH STATEMENT EXECUTE"
		" FUNCTION effects_counted()");
}

/* Equal INSERTs of many jobs are one statement, with the values that each would have written alone.
 */
static void equal_inserts_are_folded(struct fixture *fx)
{
	struct completion items[ROWS];
	struct sql_statement statement = {
		.sql = insert_row, .args = row_values, .arg_count = ARRAY_LEN(row_values), .rows = 1
	};
	struct claim claim;

	make_counted_table(fx);
	for (int i = 0; i < ROWS; i++)
		accept_job(fx, a_job("mail"));
	claim = claim_some(fx, ROWS);
	assert_int_equal(claim.count, ROWS);
	for (int i = 0; i < ROWS; i++) {
		items[i] = a_finish(claim.jobs[i], JOB_COMPLETED);
		items[i].writes =
			(struct write_set){ .statements = &statement, .statement_count = 1 };
	}
	check_store(fx, commit_items(fx, fx->store, COMPLETION_OPTIMISTIC, items, ROWS - 1));
	check_store(fx, commit_items(fx, fx->store, COMPLETION_OPTIMISTIC, &items[ROWS - 1], 1));
	assert_int_equal(number(fx, "SELECT count(*) FROM effects WHERE job = 'statement'"), 2);
	assert_int_equal(number(fx, "SELECT count(*) FROM effects_of_kinds"), ROWS);
	assert_int_equal(
		number(fx, "SELECT count(*) FROM (SELECT DISTINCT n, t, none, b, f, j, x, c FROM"
			   " effects_of_kinds) AS d"),
		1);
	assert_string_equal(read_value(fx, "SELECT t FROM effects_of_kinds LIMIT 1"),
			    "\"a \\\"quoted\\\\\\\" {text}, 'it''s'\"");
	assert_string_equal(read_value(fx, "SELECT encode(x, 'hex') FROM effects_of_kinds LIMIT 1"),
			    "\"00015c22ff\"");
	run_sql(fx, "DROP TABLE effects_of_kinds");
}

/* A job's own statements keep their order around what is folded. */
static void order_inside_a_job_is_kept(struct fixture *fx)
{
	enum { JOBS = 20 };
	struct completion items[JOBS];
	struct sql_value id[JOBS];
	char text[JOBS][UUID_TEXT];
	struct sql_statement statements[JOBS][3];
	struct claim claim;

	for (int i = 0; i < JOBS; i++)
		accept_job(fx, a_job("mail"));
	claim = claim_some(fx, JOBS);
	for (int i = 0; i < JOBS; i++) {
		id[i] = (struct sql_value){ .kind = SQL_TEXT,
					    .data = uuid_format(&claim.jobs[i]->id, text[i]),
					    .bytes = UUID_TEXT - 1 };
		statements[i][0] =
			(struct sql_statement){ "INSERT INTO effects VALUES ($1, 'first')", &id[i],
						1, 1 };
		statements[i][1] =
			(struct sql_statement){ "UPDATE effects SET what = 'second' WHERE job = $1",
						&id[i], 1, 1 };
		statements[i][2] =
			(struct sql_statement){ "INSERT INTO effects VALUES ($1, 'third')", &id[i],
						1, 1 };
		items[i] = a_finish(claim.jobs[i], JOB_COMPLETED);
		items[i].writes =
			(struct write_set){ .statements = statements[i], .statement_count = 3 };
	}
	check_store(fx, commit_items(fx, fx->store, COMPLETION_OPTIMISTIC, items, JOBS));
	assert_int_equal(effects(fx, "first"), 0);
	assert_int_equal(effects(fx, "second"), JOBS);
	assert_int_equal(effects(fx, "third"), JOBS);
}

/* One bad value among folded ones: nobody is blamed, and the careful pass finds it. */
static void fault_in_a_fold(struct fixture *fx)
{
	struct completion items[3];
	struct claim claim;

	run_sql(fx, "DROP TABLE IF EXISTS parents");
	run_sql(fx, "CREATE TABLE parents (n int)");
	for (int i = 0; i < 3; i++)
		accept_job(fx, a_job("mail"));
	claim = claim_some(fx, 3);
	for (int i = 0; i < 3; i++) {
		items[i] = a_finish(claim.jobs[i], JOB_COMPLETED);
		with_write(fx, &items[i], 1, "INSERT INTO parents VALUES ($1)",
			   i == 1 ? "seven" : "7", NULL);
	}
	assert_int_equal(commit_items(fx, fx->store, COMPLETION_OPTIMISTIC, items, 3), -1);
	assert_int_equal(fx->error.code, ERROR_SQL);
	check_store(fx, commit_items(fx, fx->store, COMPLETION_CAREFUL, items, 3));
	assert_int_equal(items[0].fate, COMPLETION_COMMITTED);
	assert_int_equal(items[1].fate, COMPLETION_FAILED);
	assert_string_equal(items[1].error.sqlstate, "22P02");
	assert_int_equal(items[2].fate, COMPLETION_COMMITTED);
	assert_int_equal(number(fx, "SELECT count(*) FROM parents"), 2);
}

/* ---- write sets */

static void transaction_control_is_refused(struct fixture *fx)
{
	static const char *const refused[] = { "COMMIT",
					       "  rollback",
					       "/* x */ END",
					       "-- x\nBEGIN",
					       "SAVEPOINT a",
					       "RESET ALL",
					       "SET jit = on",
					       "COPY effects FROM STDIN",
					       "LISTEN x",
					       "DISCARD ALL",
					       "DEALLOCATE ALL",
					       "PREPARE TRANSACTION 'x'",
					       "",
					       "DO 'BEGIN COMMIT; END'" };

	for (size_t i = 0; i < ARRAY_LEN(refused); i++) {
		struct completion item;

		accept_job(fx, a_job("mail"));
		item = a_finish(claim_one(fx), JOB_COMPLETED);
		with_write(fx, &item, SQL_ROWS_ANY, refused[i], NULL, NULL);
		check_store(fx, commit_items(fx, fx->store, COMPLETION_CAREFUL, &item, 1));
		if (item.fate != COMPLETION_FAILED)
			fail_msg("%s was let through", refused[i]);
	}
	assert_int_equal(effects(fx, NULL), 0);
}

/* Handlers' statements are planned without the engine's pins, on both passes. */
static void plans_are_unpinned_for_handlers(struct fixture *fx)
{
	for (int i = 0; i < 2; i++) {
		struct completion item;

		accept_job(fx, a_job("mail"));
		item = a_finish(claim_one(fx), JOB_COMPLETED);
		with_write(fx, &item, 1,
			   "INSERT INTO effects SELECT current_setting('enable_hashjoin'),"
			   " current_setting('enable_seqscan')",
			   NULL, NULL);
		check_store(fx,
			    commit_items(fx, fx->store,
					 i ? COMPLETION_CAREFUL : COMPLETION_OPTIMISTIC, &item, 1));
	}
	assert_int_equal(
		number(fx, "SELECT count(*) FROM effects WHERE job = 'on' AND what = 'on'"), 2);
}

/* More texts than a connection keeps prepared. */
static void many_statements(struct fixture *fx)
{
	for (int i = 0; i < 600; i += 50) {
		struct completion items[50];
		struct claim claim;

		for (int k = 0; k < 50; k++)
			accept_job(fx, a_job("mail"));
		claim = claim_some(fx, 50);
		for (int k = 0; k < 50; k++) {
			char *sql = arena_printf(fx->arena,
						 "INSERT INTO effects SELECT 'x%d', 'many'", i + k);

			items[k] = a_finish(claim.jobs[k], JOB_COMPLETED);
			with_write(fx, &items[k], 1, sql, NULL, NULL);
		}
		check_store(fx, commit_items(fx, fx->store, COMPLETION_OPTIMISTIC, items, 50));
	}
	assert_int_equal(effects(fx, "many"), 600);
}

/* ---- windlass.enqueue */

static void jobs_from_sql(struct fixture *fx)
{
	static const struct store_type type = { .name = "mail",
						.queue = "q",
						.priority = PRIORITY_LOW };
	static const char *const refused[] = {
		"SELECT windlass.enqueue('none', '{}')",
		"SELECT windlass.enqueue('mail', '{}', '{\"delai\": 1}')",
		"SELECT windlass.enqueue('mail', '{}', '{\"delay\": \"soon\"}')",
		"SELECT windlass.enqueue('mail', '{}', '{\"priority\": \"top\"}')",
		"SELECT windlass.enqueue('mail', '{}', '{\"tags\": [1]}')",
		"SELECT windlass.enqueue('mail', '{}', '[]')",
	};

	check_store(fx, store_sync_types(fx->store, &type, 1, &fx->error));
	run_sql(fx, "SELECT windlass.enqueue('mail', '{\"a\": 1}')");
	struct claimed_job *job = claim_one(fx);

	assert_true(job->unchecked);
	assert_string_equal(job->owner, "sql");
	assert_string_equal(job->payload, "{\"a\": 1}");
	assert_int_equal(job->priority, PRIORITY_LOW);
	assert_int_equal(uuid_version(&job->id), 7);
	run_sql(fx, "SELECT windlass.enqueue('mail', '{}',"
		    " '{\"queue\":\"r\",\"delay\":\"1h\",\"max_attempts\":3,\"timeout\":2.5,"
		    "\"tags\":[\"x\"],\"order_key\":\"o\",\"fair_key\":\"f\",\"tenant\":\"t\","
		    "\"priority\":\"high\"}')");
	assert_int_equal(
		number(fx, "SELECT count(*) FROM windlass.jobs j JOIN windlass.ready r USING (id)"
			   " WHERE j.queue = 'r' AND r.due > now() + interval '59 min'"
			   " AND j.max_attempts = 3 AND j.timeout_ms = 2500 AND j.tenant = 't'"
			   " AND j.priority = 0 AND j.tags = '[\"x\"]' AND r.order_key = 'o' AND"
			   " r.fair_key = 'f'"),
		1);
	for (size_t i = 0; i < ARRAY_LEN(refused); i++) {
		struct completion item;

		accept_job(fx, a_job("mail"));
		item = a_finish(claim_one(fx), JOB_COMPLETED);
		with_write(fx, &item, SQL_ROWS_ANY, refused[i], NULL, NULL);
		check_store(fx, commit_items(fx, fx->store, COMPLETION_CAREFUL, &item, 1));
		if (item.fate != COMPLETION_FAILED)
			fail_msg("%s was let through", refused[i]);
	}
}

/* ---- the bell */

static struct bell_event wait_for(struct bell *bell, unsigned what)
{
	struct bell_event event = { 0 };

	for (int i = 0; i < 50; i++)
		if (bell_wait(bell, 100, &event) == 1 &&
		    (what ? (event.what & what) : event.missed))
			return event;
	fail_msg("the bell did not ring");
	return event;
}

static void bells_ring(struct fixture *fx)
{
	static const struct store_type type = { .name = "mail",
						.queue = "q",
						.priority = PRIORITY_NORMAL };
	struct bell *listener = bell_open(fx->url, BELL_READY | BELL_ENDED, &fx->error);
	struct bell *ringer = bell_open(fx->url, 0, &fx->error);
	struct uuid ids[500];
	struct bell_event event;
	size_t seen = 0;

	assert_true(listener && ringer);
	wait_for(listener, 0);          /* connected: what was before is missed */
	bell_ring(ringer, BELL_CANCEL); /* nobody listens to this */
	bell_ring(ringer, BELL_READY);
	assert_int_equal(wait_for(listener, BELL_READY).what, BELL_READY);
	for (size_t i = 0; i < ARRAY_LEN(ids); i++)
		uuid_v7(&ids[i]);
	bell_ring_ended(ringer, ids, ARRAY_LEN(ids));
	while (seen < ARRAY_LEN(ids)) {
		event = wait_for(listener, BELL_ENDED);
		for (size_t i = 0; i < event.ended_count; i++)
			assert_uuid(&event.ended[i], &ids[seen + i]);
		seen += event.ended_count;
	}
	check_store(fx, store_sync_types(fx->store, &type, 1, &fx->error));
	run_sql(fx, "SELECT windlass.enqueue('mail')");
	wait_for(listener, BELL_READY);
	bell_wake(listener);
	assert_int_equal(bell_wait(listener, 10000, &event), 0);
	run_sql(fx,
		"SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
		" WHERE application_name LIKE 'windlass-bell%' AND datname = current_database()");
	wait_for(listener, 0);         /* it is lost */
	wait_for(listener, 0);         /* it is back; what was rung between is missed */
	bell_ring(ringer, BELL_READY); /* on a connection that has to be made again */
	wait_for(listener, BELL_READY);
	bell_close(&ringer);
	bell_close(&listener);
}

/* ---- claims */

static struct claim claim_or_commit(struct fixture *fx, const struct claim_request *request,
				    bool commit)
{
	struct completion_batch batch = { .claim = request, .mode = COMPLETION_OPTIMISTIC };
	struct claim claim = { 0 };

	if (commit)
		check_store(fx,
			    completion_commit(fx->store, &batch, fx->arena, &claim, &fx->error));
	else
		check_store(fx, claim_take(fx->store, request, fx->arena, &claim, &fx->error));
	return claim;
}

/* The lease is committed and then what the jobs' earlier attempts left cannot be read: whoever
 * claimed is told of the lease, or its jobs would be nobody's for as long as the session lives. */
static void claims_that_cannot_be_read_are_told(struct fixture *fx)
{
	const char *const queues[] = { "q" };
	struct claim_request request = {
		.session = fx->session, .queues = queues, .queue_count = 1, .max = 10
	};
	struct new_job job = a_job("mail");
	struct completion item;
	struct claim claim;

	accept_job(fx, job);
	item = a_retry(claim_one(fx), 0);
	assert_int_equal(commit_one(fx, &item), COMPLETION_COMMITTED);
	for (int commit = 0; commit < 2; commit++) {
		run_sql(fx, "ALTER TABLE windlass.call RENAME TO call_away");
		uuid_v7(&request.batch);
		claim = claim_or_commit(fx, &request, commit);
		assert_int_equal(claim.count, 0);
		assert_true(claim.unread);
		run_sql(fx, "ALTER TABLE windlass.call_away RENAME TO call");
		check_store(fx, session_release_batch(fx->store, &request.batch, &fx->error));
	}
	uuid_v7(&request.batch);
	claim = claim_or_commit(fx, &request, false);
	hold(fx, &claim);
	assert_int_equal(claim.count, 1);
	assert_false(claim.unread);
	assert_uuid(&claim.jobs[0]->id, &job.id);
}

/* ---- connections */

static void killed_connections_come_back(struct fixture *fx)
{
	struct new_job job = a_job("mail");
	struct accepted_job accepted;
	struct acceptance request = a_request(fx, &job, 1), *list = &request;
	bool stored;

	request.accepted = &accepted;
	run_sql(fx,
		"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name ="
		" 'windlass-other'"
		" AND datname = current_database()");
	pause_ms(50);
	/* The connection is found broken by this operation or, when the news was quick, before it.
	 * A COMMIT was on its way. */
	int rc = acceptance_commit(fx->other, &list, 1, &fx->error);

	if (rc < 0) {
		assert_int_equal(fx->error.code, ERROR_UNKNOWN);
		check_store(fx, acceptance_probe(fx->other, &list, 1, &stored, &fx->error));
		assert_false(stored);
		check_store(fx, acceptance_commit(fx->other, &list, 1, &fx->error));
	}
	check_store(fx, acceptance_probe(fx->other, &list, 1, &stored, &fx->error));
	assert_true(stored);
	claim_this(fx, &job.id);
}

static const char sleep_at_commit[] =
	"CREATE CONSTRAINT TRIGGER sleepy AFTER INSERT ON windlass.jobs DEFERRABLE INITIALLY"
	" DEFERRED FOR EACH ROW EXECUTE FUNCTION effects_sleep()";

/* Breaks the connection that comes from this port, a moment after it was told to. */
static void *cut_soon(void *port)
{
	pause_ms(300);
	for (int fd = 3; fd < 256; fd++) {
		struct sockaddr_in own;
		socklen_t bytes = sizeof(own);

		if (getsockname(fd, (struct sockaddr *)&own, &bytes) == 0 &&
		    own.sin_family == AF_INET && ntohs(own.sin_port) == *(const int64_t *)port)
			shutdown(fd, SHUT_RDWR);
	}
	return NULL;
}

/* The server is still at the COMMIT when we have lost the connection: it must have ended, one way
 * or the other, before the probe says that nothing is stored. */
static void probe_ends_what_is_under_way(struct fixture *fx)
{
	struct new_job job = a_job("mail");
	struct accepted_job accepted;
	struct acceptance request = a_request(fx, &job, 1), *list = &request;
	bool stored = true;
	pthread_t cutter;
	int64_t port;

	request.accepted = &accepted;
	run_sql(fx, "CREATE OR REPLACE FUNCTION effects_sleep() RETURNS trigger LANGUAGE plpgsql AS"
		    " 'BEGIN PERFORM pg_sleep(1.5); RETURN NULL; END'");
	run_sql(fx, sleep_at_commit);
	check_store(fx, store_ping(fx->other, &fx->error));
	port = number(fx, "SELECT client_port FROM pg_stat_activity WHERE application_name ="
			  " 'windlass-other' AND datname = current_database()");
	assert_int_equal(pthread_create(&cutter, NULL, cut_soon, &port), 0);
	assert_int_equal(acceptance_commit(fx->other, &list, 1, &fx->error), -1);
	assert_int_equal(fx->error.code, ERROR_UNKNOWN);
	pthread_join(cutter, NULL);
	check_store(fx, acceptance_probe(fx->other, &list, 1, &stored, &fx->error));
	assert_false(stored);
	pause_ms(2000);
	assert_int_equal(claim_some(fx, 1).count, 0);
}

static void unreachable(struct fixture *fx)
{
	struct store *store = NULL;

	assert_int_equal(store_open("postgresql://nobody@127.0.0.1:1/none", STORE_WRITE, "test",
				    &store, &fx->error),
			 -1);
	assert_int_equal(fx->error.code, ERROR_UNAVAILABLE);
	assert_int_equal(store_open("postgresql://nobody@127.0.0.1:port/none", STORE_WRITE, "test",
				    &store, &fx->error),
			 -1);
	assert_null(store);
}

/* ---- retention */

static struct new_job aged_job(int64_t age_ms)
{
	struct new_job job = a_job("mail");
	uint64_t ms = (uint64_t)(clock_wall_ms() - age_ms);

	for (int i = 5; i >= 0; i--, ms >>= 8)
		job.id.b[i] = (uint8_t)ms;
	return job;
}

static void old_days_are_dropped(struct fixture *fx)
{
	struct new_job old = aged_job(9 * DAY_MS), dead = aged_job(9 * DAY_MS),
		       late = aged_job(9 * DAY_MS), held = aged_job(9 * DAY_MS),
		       waits = aged_job(9 * DAY_MS), young = aged_job(2 * DAY_MS);
	struct job_view view;

	run_sql(fx,
		"SELECT windlass.make_day(p, (now() AT TIME ZONE 'UTC')::date - n)"
		" FROM unnest('{jobs,done,attempt,step,call}'::text[]) p, unnest('{9,2}'::int[])"
		" n");
	accept_job(fx, old);
	finish_job(fx, claim_this(fx, &old.id), JOB_COMPLETED);
	accept_job(fx, dead);
	finish_job(fx, claim_this(fx, &dead.id), JOB_DISCARDED);
	run_sql(fx,
		"UPDATE windlass.done SET finished = finished - interval '8 days 23 hours' WHERE id"
		" < windlass.day_floor((now() AT TIME ZONE"
		" 'UTC')::date - 5)");
	accept_job(fx, late);
	finish_job(fx, claim_this(fx, &late.id), JOB_COMPLETED);
	accept_job(fx, young);
	finish_job(fx, claim_this(fx, &young.id), JOB_COMPLETED);
	accept_job(fx, held);
	struct claimed_job *job = claim_this(fx, &held.id);

	accept_job(fx, waits);
	check_store(fx, maintenance_retention(fx->store, 7 * DAY_MS, 30 * DAY_MS, &fx->error));
	assert_int_equal(
		number(fx,
		       "SELECT count(*) FROM pg_class WHERE relname = 'jobs' || to_char((now() AT"
		       " TIME ZONE 'UTC')::date - 9,"
		       " '_YYYYMMDD')"),
		0);
	assert_int_equal(query_job(fx->store, NULL, &old.id, fx->arena, &view, &fx->error), -1);
	assert_int_equal(fx->error.code, ERROR_NOT_FOUND);
	assert_int_equal(state_of(fx, &dead.id), JOB_DISCARDED);
	assert_int_equal(view_of(fx, &dead.id).attempt_count, 1);
	assert_int_equal(state_of(fx, &late.id), JOB_COMPLETED);
	assert_int_equal(state_of(fx, &young.id), JOB_COMPLETED);
	assert_int_equal(state_of(fx, &held.id), JOB_RUNNING);
	finish_job(fx, job, JOB_COMPLETED);
	assert_int_equal(state_of(fx, &held.id), JOB_COMPLETED);
	claim_this(fx, &waits.id);
	check_store(fx, maintenance_retention(fx->store, 7 * DAY_MS, 8 * DAY_MS, &fx->error));
	assert_int_equal(query_job(fx->store, NULL, &dead.id, fx->arena, &view, &fx->error), -1);
}

#define CROWD      20001
#define CROWD_DAY  "(now() AT TIME ZONE 'UTC')::date - 9"
#define CROWD_PART "to_char(" CROWD_DAY ", '_YYYYMMDD')"
#define CROWD_IDS                                                                             \
	"(SELECT n, (left(replace(windlass.day_floor(" CROWD_DAY ")::text, '-', ''), 12)"     \
	" || '70008' || lpad(to_hex(n), 15, '0'))::uuid AS id FROM generate_series(1, 26001)" \
	" AS n) AS crowd"

/* A day of 20,001 jobs that must stay and 6,000 that may go. */
static void make_crowd(struct fixture *fx)
{
	run_sql(fx, "SELECT windlass.make_day(p, " CROWD_DAY
		    ") FROM unnest('{jobs,done,attempt,step,call}'::text[]) AS p");
	run_sql(fx, "INSERT INTO windlass.jobs (id, seq, created, priority, tenant, owner, queue,"
		    " type, payload) SELECT id, n, now() - interval '9 days', 1, '', 'test', 'q',"
		    " 'crowd', '{}' FROM " CROWD_IDS);
	run_sql(fx,
		"INSERT INTO windlass.done (id, finished, attempt, state) SELECT id, now() -"
		" interval '8 days', 1, CASE WHEN n <= 20001 THEN 9 ELSE 8 END FROM " CROWD_IDS);
}

/* How many of the crowd are in the default partition, or in that of their day. */
static int64_t crowd(struct fixture *fx, bool in_default)
{
	return number(fx, arena_printf(fx->arena,
				       "SELECT count(*) FROM windlass.jobs j JOIN windlass.done d"
				       " USING (id) WHERE j.type = 'crowd' AND (j.tableoid ="
				       " 'windlass.jobs_default'::regclass) = %s",
				       in_default ? "true" : "false"));
}

/* Too many to be moved under a lock: the day stays, and what may go goes 5,000 a call. */
static void crowded_days_are_thinned(struct fixture *fx)
{
	static const int64_t left[] = { CROWD + 1000, CROWD, CROWD };

	make_crowd(fx);
	for (size_t i = 0; i < ARRAY_LEN(left); i++) {
		check_store(fx,
			    maintenance_retention(fx->store, 7 * DAY_MS, 30 * DAY_MS, &fx->error));
		assert_int_equal(crowd(fx, false), left[i]);
		assert_int_equal(crowd(fx, true), 0);
	}
	run_sql(fx, "UPDATE windlass.done SET finished = now() - interval '31 days' WHERE id IN"
		    " (SELECT id FROM " CROWD_IDS " WHERE n <= 2)");
	check_store(fx, maintenance_retention(fx->store, 7 * DAY_MS, 30 * DAY_MS, &fx->error));
	assert_int_equal(number(fx, "SELECT count(*) FROM pg_class WHERE relname = 'jobs' ||"
				    " " CROWD_PART),
			 0);
	assert_int_equal(crowd(fx, false), 0);
	assert_int_equal(crowd(fx, true), CROWD - 2);
}

/* Messages are as old as they say, whenever they come. */
static void completed_messages_are_kept_as_long(struct fixture *fx)
{
	struct claimed_job *old = new_message(fx), *late = new_message(fx), *dead = new_message(fx);
	struct completion item = a_retry(dead, 60000);
	struct job_view view;

	run_sql(fx, "SELECT windlass.make_day(p, (now() AT TIME ZONE 'UTC')::date - 9)"
		    " FROM unnest('{jobs,done,attempt,step,call}'::text[]) p");
	old->id = aged_job(9 * DAY_MS).id;
	late->id = aged_job(9 * DAY_MS).id;
	dead->id = aged_job(9 * DAY_MS).id;
	finish_job(fx, old, JOB_COMPLETED);
	run_sql(fx, "UPDATE windlass.done SET finished = finished - interval '8 days' WHERE source"
		    " = 'partner'");
	finish_job(fx, late, JOB_COMPLETED);
	assert_int_equal(commit_one(fx, &item), COMPLETION_COMMITTED);
	check_store(fx, maintenance_retention(fx->store, 7 * DAY_MS, 30 * DAY_MS, &fx->error));
	assert_int_equal(query_job(fx->store, NULL, &old->id, fx->arena, &view, &fx->error), -1);
	assert_int_equal(state_of(fx, &late->id), JOB_COMPLETED);
	assert_int_equal(admit_foreign(fx, &late->id), ADMISSION_KNOWN);
	assert_int_equal(admit_foreign(fx, &old->id), ADMISSION_TOO_OLD);
	assert_int_equal(state_of(fx, &dead->id), JOB_RETRYABLE);
	run_sql(fx, "UPDATE windlass.done SET finished = finished - interval '8 days' WHERE source"
		    " = 'partner'");
	check_store(fx, maintenance_retention(fx->store, 7 * DAY_MS, 30 * DAY_MS, &fx->error));
	assert_int_equal(query_job(fx->store, NULL, &late->id, fx->arena, &view, &fx->error), -1);
}

static void states_of_jobs_on_brokers(struct fixture *fx)
{
	static const char states[] = "SELECT string_agg(state, ' ' ORDER BY state) FROM"
				     " windlass.job_states j WHERE NOT EXISTS (SELECT FROM"
				     " windlass.jobs s WHERE s.id = j.job_id AND s.type = 'setup')";
	struct claimed_job *job = dispatched_job(fx), *other = dispatched_job(fx);
	struct completion item = an_adoption(other);

	finish_job(fx, new_message(fx), JOB_COMPLETED);
	assert_string_equal(read_value(fx, states), "\"completed queued queued\"");
	assert_int_equal(adopt(fx, COMPLETION_OPTIMISTIC, &item), COMPLETION_COMMITTED);
	assert_string_equal(read_value(fx, states), "\"completed queued running\"");
	finish_job(fx, job, JOB_DISCARDED);
	assert_string_equal(read_value(fx, states), "\"completed discarded running\"");
}

static void days_are_made_ahead(struct fixture *fx)
{
	static const char days[] =
		"SELECT count(*) FROM pg_inherits WHERE inhparent = 'windlass.step'::regclass";
	const char *name = read_value(
		fx, "SELECT 'step_' || to_char((now() AT TIME ZONE 'UTC')::date + 2, 'YYYYMMDD')");

	/* yesterday to the day after tomorrow, and the default */
	assert_int_equal(number(fx, days), 5);
	run_sql(fx, arena_printf(fx->arena, "DROP TABLE windlass.%s", name));
	assert_int_equal(number(fx, days), 4);
	check_store(fx, maintenance_retention(fx->store, 7 * DAY_MS, 30 * DAY_MS, &fx->error));
	assert_int_equal(number(fx, days), 5);
}

int main(void)
{
	static const struct store_case cases[] = {
		{ "equal_inserts_are_folded", equal_inserts_are_folded },
		{ "order_inside_a_job_is_kept", order_inside_a_job_is_kept },
		{ "fault_in_a_fold", fault_in_a_fold },
		{ "transaction_control_is_refused", transaction_control_is_refused },
		{ "plans_are_unpinned_for_handlers", plans_are_unpinned_for_handlers },
		{ "many_statements", many_statements },
		{ "jobs_from_sql", jobs_from_sql },
		{ "bells_ring", bells_ring },
		{ "claims_that_cannot_be_read_are_told", claims_that_cannot_be_read_are_told },
		{ "probe_ends_what_is_under_way", probe_ends_what_is_under_way },
		{ "killed_connections_come_back", killed_connections_come_back },
		{ "unreachable", unreachable },
		{ "old_days_are_dropped", old_days_are_dropped },
		{ "crowded_days_are_thinned", crowded_days_are_thinned },
		{ "completed_messages_are_kept_as_long", completed_messages_are_kept_as_long },
		{ "states_of_jobs_on_brokers", states_of_jobs_on_brokers },
		{ "days_are_made_ahead", days_are_made_ahead },
	};

	return postgres_cases_run("postgres_store", cases, ARRAY_LEN(cases));
}
