/* SPDX-License-Identifier: Apache-2.0 */
/* See store_fixture.h. Everything goes through the store's own headers, so that both stores are
 * asked the same questions; tables of the tests are made by a job's write set, as a user's would be
 * changed. */
#include "tests/integration/store_fixture.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

/* ---- a fresh store */

static int remove_entry(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	(void)st;
	(void)flag;
	(void)ftw;
	return remove(path);
}

static void fresh_sqlite(struct fixture *fx)
{
	snprintf(fx->folder, sizeof(fx->folder), "/tmp/windlass-store-XXXXXX");
	assert_non_null(mkdtemp(fx->folder));
	snprintf(fx->file_url, sizeof(fx->file_url), "sqlite:%s/queue.db", fx->folder);
	fx->url = fx->file_url;
}

static void fresh_postgres(struct fixture *fx)
{
	char command[1024];

	snprintf(
		command, sizeof(command),
		"PGOPTIONS='-c client_min_messages=warning' psql -qX -v ON_ERROR_STOP=1 '%s' "
		"-c 'DROP SCHEMA IF EXISTS windlass CASCADE' -c 'DROP TABLE IF EXISTS effects, parents, children' >/dev/null",
		fx->url);
	assert_int_equal(system(command), 0);
}

static void open_all(struct fixture *fx)
{
	int applied;

	check_store(fx, store_open(fx->url, STORE_WRITE, "test", &fx->store, &fx->error));
	check_store(fx, store_migrate(fx->store, &applied, &fx->error));
	assert_true(applied > 0);
	check_store(fx, store_open(fx->url, STORE_WRITE, "other", &fx->other, &fx->error));
	check_store(fx, store_open(fx->url, STORE_READ, "reader", &fx->reader, &fx->error));
}

static void make_effects(struct fixture *fx)
{
	struct completion item;

	accept_job(fx, a_job("setup"));
	item = a_finish(claim_one(fx), JOB_COMPLETED);
	with_write(fx, &item, SQL_ROWS_ANY, "CREATE TABLE effects (job TEXT, what TEXT)", NULL,
		   NULL);
	assert_int_equal(commit_one(fx, &item), COMPLETION_COMMITTED);
}

static int set_up(void **state)
{
	struct fixture *fx = xcalloc(1, sizeof(*fx));
	const char *url = *state;

	fx->arena = arena_new(0);
	fx->url = url;
	if (strcmp(url, "sqlite") == 0)
		fresh_sqlite(fx);
	else
		fresh_postgres(fx);
	open_all(fx);
	uuid_v7(&fx->session);
	uuid_v7(&fx->rival);
	renew(fx, &fx->session, 60000);
	renew(fx, &fx->rival, 60000);
	make_effects(fx);
	*state = fx;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *fx = *state;

	for (size_t i = 0; i < fx->held_count; i++) {
		struct arena *arena = fx->held[i]->arena;

		arena_free(&arena);
	}
	free(fx->held);
	store_close(&fx->reader);
	store_close(&fx->other);
	store_close(&fx->store);
	arena_free(&fx->arena);
	if (fx->folder[0])
		nftw(fx->folder, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
	free(fx);
	return 0;
}

/* ---- every case on every store */

struct bound_case {
	const struct store_case *which;
	char *url;
};

static int set_up_bound(void **state)
{
	const struct bound_case *bound = *state;
	void *inner = bound->url;

	if (set_up(&inner))
		return -1;
	*state = inner;
	((struct fixture *)inner)->run = bound->which->run;
	return 0;
}

static void run_bound(void **state)
{
	struct fixture *fx = *state;

	fx->run(fx);
}

static const char *const store_names[] = { "sqlite", "postgresql" };

/* urls[i]: of the store store_names[i]; NULL: not on this one. */
static int run_all(const char *suite, const struct store_case *cases, size_t count,
		   char *const urls[2])
{
	struct CMUnitTest *tests = xcalloc(count * 2, sizeof(*tests));
	struct bound_case *bound = xcalloc(count * 2, sizeof(*bound));
	struct arena *arena = arena_new(0);
	size_t n = 0;
	int failed;

	for (size_t i = 0; i < count * 2; i++) {
		size_t store = i / count;

		if (!urls[store] || !urls[store][0])
			continue;
		bound[n] = (struct bound_case){ &cases[i % count], urls[store] };
		tests[n] = (struct CMUnitTest){
			.name = arena_printf(arena, "%s.%s", cases[i % count].name,
					     store_names[store]),
			.test_func = run_bound,
			.setup_func = set_up_bound,
			.teardown_func = tear_down,
			.initial_state = &bound[n],
		};
		n++;
	}
	failed = _cmocka_run_group_tests(suite, tests, n, NULL, NULL);
	arena_free(&arena);
	free(bound);
	free(tests);
	return failed;
}

static char sqlite[] = "sqlite";

int store_cases_run(const char *suite, const struct store_case *cases, size_t count)
{
	char *urls[] = { sqlite, getenv("TEST_POSTGRES_URL") };

	return run_all(suite, cases, count, urls);
}

int sqlite_cases_run(const char *suite, const struct store_case *cases, size_t count)
{
	char *urls[] = { sqlite, NULL };

	return run_all(suite, cases, count, urls);
}

int postgres_cases_run(const char *suite, const struct store_case *cases, size_t count)
{
	char *urls[] = { NULL, getenv("TEST_POSTGRES_URL") };

	return run_all(suite, cases, count, urls);
}

/* ---- clients */

struct new_job a_job(const char *type)
{
	struct new_job job = {
		.tenant = "",
		.owner = "test",
		.queue = "q",
		.type = type,
		.payload = "{}",
		.payload_bytes = 2,
		.priority = PRIORITY_NORMAL,
	};

	uuid_v7(&job.id);
	return job;
}

struct acceptance a_request(struct fixture *fx, struct new_job *jobs, size_t count)
{
	return (struct acceptance){
		.jobs = jobs,
		.job_count = count,
		.accepted = ARENA_ARRAY(fx->arena, struct accepted_job, count),
	};
}

enum acceptance_verdict accept_request(struct fixture *fx, struct acceptance *request)
{
	struct acceptance *list[] = { request };

	check_store(fx, acceptance_commit(fx->store, list, 1, &fx->error));
	return request->verdict;
}

struct accepted_job accept_job(struct fixture *fx, struct new_job job)
{
	struct acceptance request = a_request(fx, &job, 1);

	assert_int_equal(accept_request(fx, &request), ACCEPTANCE_ACCEPTED);
	return request.accepted[0];
}

/* ---- workers */

void hold(struct fixture *fx, const struct claim *claim)
{
	fx->held = xrealloc(fx->held,
			    (fx->held_count + claim->count + 1) * sizeof(struct claimed_job *));
	for (size_t i = 0; i < claim->count; i++)
		fx->held[fx->held_count++] = claim->jobs[i];
}

struct claim claim_as(struct fixture *fx, struct store *store, const struct uuid *session,
		      const char *queue, size_t max)
{
	struct claim_cursor *cursor = claim_cursor_new();
	struct claim_request request = { .session = *session,
					 .queues = &queue,
					 .queue_count = 1,
					 .max = max,
					 .cursor = cursor };
	struct claim claim;
	int rc;

	uuid_v7(&request.batch);
	rc = claim_take(store, &request, fx->arena, &claim, &fx->error);
	claim_cursor_free(&cursor);
	check_store(fx, rc);
	hold(fx, &claim);
	return claim;
}

struct claim claim_some(struct fixture *fx, size_t max)
{
	return claim_as(fx, fx->store, &fx->session, "q", max);
}

struct claimed_job *claim_one(struct fixture *fx)
{
	struct claim claim = claim_some(fx, 1);

	assert_int_equal(claim.count, 1);
	return claim.jobs[0];
}

struct claimed_job *claim_this(struct fixture *fx, const struct uuid *id)
{
	struct claimed_job *job = claim_one(fx);

	assert_uuid(&job->id, id);
	return job;
}

void renew(struct fixture *fx, const struct uuid *session, int64_t lease_ms)
{
	struct session_info info = {
		.id = *session, .host = "here", .pid = (int)getpid(), .lease_ms = lease_ms
	};
	bool fresh;

	check_store(fx, session_renew(fx->store, &info, &fresh, &fx->error));
}

struct completion a_finish(const struct claimed_job *job, enum job_state state)
{
	static const enum job_outcome outcomes[] = {
		[JOB_COMPLETED] = OUTCOME_DONE,
		[JOB_DISCARDED] = OUTCOME_DISCARD,
		[JOB_CANCELLED] = OUTCOME_CANCELLED,
	};

	return (struct completion){
		.kind = COMPLETION_FINISH,
		.job = job,
		.outcome = outcomes[state],
		.state = state,
		.reason = state == JOB_DISCARDED ? "no good" : NULL,
	};
}

struct completion a_retry(const struct claimed_job *job, int64_t delay_ms)
{
	return (struct completion){
		.kind = COMPLETION_LATER,
		.job = job,
		.outcome = OUTCOME_RETRY,
		.delay_ms = delay_ms,
		.counts = true,
		.reason = "not now",
	};
}

struct completion a_step(const struct claimed_job *job, const char *step, const char *value)
{
	return (struct completion){
		.kind = COMPLETION_STEP, .job = job, .step = step, .step_value = value
	};
}

void with_write(struct fixture *fx, struct completion *item, int64_t rows, const char *sql,
		const char *arg1, const char *arg2)
{
	size_t count = item->writes.statement_count;
	struct sql_statement *list = ARENA_ARRAY(fx->arena, struct sql_statement, count + 1);
	struct sql_value *args = ARENA_ARRAY(fx->arena, struct sql_value, 2);

	if (count)
		memcpy(list, item->writes.statements, count * sizeof(*list));
	if (arg1)
		args[0] = (struct sql_value){ .kind = SQL_TEXT,
					      .data = arena_strdup(fx->arena, arg1),
					      .bytes = strlen(arg1) };
	if (arg2)
		args[1] = (struct sql_value){ .kind = SQL_TEXT,
					      .data = arena_strdup(fx->arena, arg2),
					      .bytes = strlen(arg2) };
	list[count] = (struct sql_statement){
		.sql = arena_strdup(fx->arena, sql),
		.args = args,
		.arg_count = (size_t) !!arg1 + !!arg2,
		.rows = rows,
	};
	item->writes.statements = list;
	item->writes.statement_count = count + 1;
}

void with_effect(struct fixture *fx, struct completion *item, const char *what)
{
	char id[UUID_TEXT];

	with_write(fx, item, 1, "INSERT INTO effects VALUES ($1, $2)",
		   uuid_format(&item->job->id, id), what);
}

int commit_items(struct fixture *fx, struct store *store, enum completion_mode mode,
		 struct completion *items, size_t count)
{
	struct completion **list = ARENA_ARRAY(fx->arena, struct completion *, count + 1);
	struct completion_batch batch = { .items = list, .count = count, .mode = mode };
	struct claim claim;

	for (size_t i = 0; i < count; i++)
		list[i] = &items[i];
	return completion_commit(store, &batch, fx->arena, &claim, &fx->error);
}

enum completion_fate commit_one(struct fixture *fx, struct completion *item)
{
	check_store(fx, commit_items(fx, fx->store, COMPLETION_OPTIMISTIC, item, 1));
	return item->fate;
}

void finish_job(struct fixture *fx, const struct claimed_job *job, enum job_state state)
{
	struct completion item = a_finish(job, state);

	assert_int_equal(commit_one(fx, &item), COMPLETION_COMMITTED);
}

/* ---- looking */

struct job_view view_of(struct fixture *fx, const struct uuid *id)
{
	struct job_view view;

	check_store(fx, query_job(fx->other, NULL, id, fx->arena, &view, &fx->error));
	return view;
}

enum job_state state_of(struct fixture *fx, const struct uuid *id)
{
	return view_of(fx, id).state;
}

struct queue_view queue_of(struct fixture *fx, const char *name)
{
	struct queue_view *queues;
	size_t count;

	check_store(fx, maintenance_fold(fx->other, &fx->error));
	check_store(fx, query_queues(fx->other, fx->arena, &queues, &count, &fx->error));
	for (size_t i = 0; i < count; i++)
		if (strcmp(queues[i].name, name) == 0)
			return queues[i];
	fail_msg("no queue is called %s", name);
	return (struct queue_view){ 0 };
}

const char *read_value(struct fixture *fx, const char *sql)
{
	struct sql_statement statement = { .sql = sql, .rows = SQL_ROWS_ANY };
	struct strbuf out;
	const char *rows;
	char *value;

	strbuf_init(&out);
	check_store(fx, reader_query(fx->reader, &statement, 1 << 20, &out, &fx->error));
	rows = strstr(out.data, "\"rows\":[[");
	if (!rows)
		fail_msg("no row: %s", out.data);
	value = arena_strdup(fx->arena, rows + strlen("\"rows\":[["));
	*strchr(value, ']') = '\0';
	strbuf_release(&out);
	return value;
}

int64_t effects(struct fixture *fx, const char *what)
{
	const char *sql = "SELECT count(*) FROM effects";

	if (what)
		sql = arena_printf(fx->arena, "SELECT count(*) FROM effects WHERE what = '%s'",
				   what);
	return atoll(read_value(fx, sql));
}

void promote(struct fixture *fx, int64_t want)
{
	int64_t promoted, next_ms;

	check_store(fx, maintenance_promote(fx->other, &promoted, &next_ms, &fx->error));
	assert_int_equal(promoted, want);
}
