/* SPDX-License-Identifier: Apache-2.0 */
/* Statements of handlers on SQLite: what they must not do, whatever they say, and that one of them
 * cannot spoil its neighbours. */
#include "tests/integration/store_fixture.h"

/* Two jobs with an effect each; the first one also says `sql`. Returns the fate of the first; the
 * second must be committed. */
static enum completion_fate beside_a_neighbour(struct fixture *fx, const char *sql,
					       struct error *error_r)
{
	struct completion items[2];
	struct claim claim;

	accept_job(fx, a_job("guest"));
	accept_job(fx, a_job("guest"));
	claim = claim_some(fx, 2);
	assert_int_equal(claim.count, 2);
	for (size_t i = 0; i < 2; i++) {
		items[i] = a_finish(claim.jobs[i], JOB_COMPLETED);
		with_effect(fx, &items[i], i ? "neighbour" : "guest");
	}
	with_write(fx, &items[0], SQL_ROWS_ANY, sql, NULL, NULL);
	check_store(fx, commit_items(fx, fx->store, COMPLETION_CAREFUL, items, 2));
	assert_int_equal(items[1].fate, COMPLETION_COMMITTED);
	*error_r = items[0].error;
	if (items[0].fate != COMPLETION_COMMITTED) {
		assert_int_equal(state_of(fx, &claim.jobs[0]->id), JOB_RUNNING);
		assert_int_equal(queue_of(fx, "q").running, 1);
		finish_job(fx, claim.jobs[0], JOB_COMPLETED);
	}
	return items[0].fate;
}

static void refused(struct fixture *fx)
{
	static const char *const statements[] = {
		"ATTACH DATABASE '/tmp/windlass-stolen.db' AS other",
		"DETACH DATABASE main",
		"PRAGMA synchronous = OFF",
		"PRAGMA journal_mode = DELETE",
		"SELECT * FROM pragma_table_info('effects')",
		"DELETE FROM windlass_done",
		"UPDATE windlass_jobs SET payload = '{}'",
		"INSERT INTO WINDLASS_queue (name) VALUES ('x')",
		"DROP TABLE windlass_ready",
		"ALTER TABLE windlass_jobs ADD COLUMN more TEXT",
		"ALTER TABLE effects RENAME TO windlass_effects",
		"CREATE INDEX mine ON windlass_jobs (payload)",
		"CREATE TRIGGER mine AFTER INSERT ON windlass_done BEGIN DELETE FROM effects; END",
		"CREATE TABLE windlass_mine (a TEXT)",
		"CREATE TEMP TABLE windlass_jobs (a TEXT)",
		"CREATE TEMP VIEW effects AS SELECT 1",
		"COMMIT",
		"ROLLBACK",
		"SAVEPOINT mine",
		"RELEASE job",
		"VACUUM",
		"SELECT load_extension('/tmp/x.so')",
		"CREATE VIRTUAL TABLE v USING fts5(a)",
		"INSERT INTO effects VALUES ('a', 'b'); DELETE FROM effects",
		"",
		"-- nothing",
		"INSERT INTO effects VALUES ($1, 'b')",
		"INSERT INTO effects VALUES (?1, 'b')",
		"INSERT INTO effects VALUES (:name, 'b')",
	};
	struct error error;

	for (size_t i = 0; i < ARRAY_LEN(statements); i++) {
		if (beside_a_neighbour(fx, statements[i], &error) != COMPLETION_FAILED)
			fail_msg("was let through: %s", statements[i]);
		if (!error.message[0] || error.code != ERROR_SQL)
			fail_msg("%s: %s %s", statements[i], error_code_name(error.code),
				 error.message);
	}
	assert_int_equal(effects(fx, "guest"), 0);
	assert_int_equal(effects(fx, "neighbour"), (int64_t)ARRAY_LEN(statements));
}

static void allowed(struct fixture *fx)
{
	static const char *const statements[] = {
		"CREATE TABLE mine (a TEXT UNIQUE, b INTEGER); ",
		"INSERT INTO mine VALUES ('x', 1) -- why",
		"INSERT INTO mine VALUES ('x', 2) ON CONFLICT (a) DO UPDATE SET b = b + 1 RETURNING b",
		"WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 3) INSERT INTO mine SELECT 'n' || i, i FROM n",
		"UPDATE mine SET b = (SELECT count(*) FROM windlass_jobs)",
		"CREATE INDEX mine_b ON mine (b)",
		"CREATE TRIGGER mine_t AFTER INSERT ON mine BEGIN UPDATE mine SET b = 0 WHERE a = new.a; END",
		"ALTER TABLE mine ADD COLUMN c TEXT",
		"DELETE FROM mine WHERE a = 'n1'",
	};
	struct error error;

	for (size_t i = 0; i < ARRAY_LEN(statements); i++)
		if (beside_a_neighbour(fx, statements[i], &error) != COMPLETION_COMMITTED)
			fail_msg("%s: %s", statements[i], error.message);
	assert_string_equal(read_value(fx, "SELECT count(*) FROM mine"), "3");
}

static enum completion_fate alone(struct fixture *fx, const char *sql)
{
	struct completion item;

	accept_job(fx, a_job("guest"));
	item = a_finish(claim_one(fx), JOB_COMPLETED);
	with_write(fx, &item, SQL_ROWS_ANY, sql, NULL, NULL);
	check_store(fx, commit_items(fx, fx->store, COMPLETION_CAREFUL, &item, 1));
	if (item.fate != COMPLETION_COMMITTED)
		finish_job(fx, item.job, JOB_DISCARDED);
	return item.fate;
}

/* A trigger of the user's that writes where the user may not. */
static void triggers_are_guests_too(struct fixture *fx)
{
	assert_int_equal(
		alone(fx,
		      "CREATE TRIGGER sneak AFTER INSERT ON effects BEGIN DELETE FROM windlass_done; END"),
		COMPLETION_COMMITTED);
	assert_int_equal(alone(fx, "INSERT INTO effects VALUES ('a', 'b')"), COMPLETION_FAILED);
	assert_int_equal(alone(fx, "DROP TRIGGER sneak"), COMPLETION_COMMITTED);
	assert_int_equal(alone(fx, "INSERT INTO effects VALUES ('a', 'b')"), COMPLETION_COMMITTED);
	assert_int_equal(effects(fx, "b"), 1);
}

/* These undo the whole transaction inside SQLite; what the neighbour did must be done again. */
static void taking_the_transaction_down(struct fixture *fx)
{
	static const char *const statements[] = {
		"INSERT OR ROLLBACK INTO one VALUES (1)",
		"INSERT INTO one VALUES (2)", /* the trigger's RAISE(ROLLBACK) */
	};
	struct error error;

	assert_int_equal(beside_a_neighbour(fx, "CREATE TABLE one (a INTEGER PRIMARY KEY)", &error),
			 COMPLETION_COMMITTED);
	assert_int_equal(beside_a_neighbour(fx, "INSERT INTO one VALUES (1)", &error),
			 COMPLETION_COMMITTED);
	assert_int_equal(
		beside_a_neighbour(
			fx,
			"CREATE TRIGGER no AFTER INSERT ON one BEGIN SELECT RAISE(ROLLBACK, 'never'); END",
			&error),
		COMPLETION_COMMITTED);
	for (size_t i = 0; i < ARRAY_LEN(statements); i++)
		if (beside_a_neighbour(fx, statements[i], &error) != COMPLETION_FAILED)
			fail_msg("was let through: %s", statements[i]);
	assert_int_equal(effects(fx, "guest"), 3);
	assert_int_equal(effects(fx, "neighbour"), 5);
}

static void time_limit(struct fixture *fx)
{
	struct error error;
	int64_t start = clock_mono_ms(), took;

	assert_int_equal(
		beside_a_neighbour(
			fx,
			"INSERT INTO effects WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n) "
			"SELECT 'x', 'guest' FROM n WHERE i < 0",
			&error),
		COMPLETION_FAILED);
	took = clock_mono_ms() - start;
	assert_string_equal(error.sqlstate, "57014");
	assert_true(took >= 4900 && took < 15000);
}

static void row_counts(struct fixture *fx)
{
	static const struct {
		const char *sql;
		int64_t rows;
	} table[] = {
		{ "INSERT INTO effects VALUES ('a', 'x'), ('b', 'x')", 2 },
		{ "UPDATE effects SET job = 'c' WHERE what = 'x'", 2 },
		{ "SELECT * FROM effects WHERE what = 'x'", 2 },
		{ "SELECT * FROM effects WHERE what = 'y'", 0 },
		{ "DELETE FROM effects WHERE what = 'y'", 0 },
		{ "UPDATE effects SET job = 'd' WHERE what = 'x' RETURNING job", 2 },
		{ "CREATE TABLE empty (a TEXT)", 0 },
		{ "DELETE FROM effects WHERE what = 'x'", 2 },
	};

	for (size_t i = 0; i < ARRAY_LEN(table); i++) {
		struct completion item;

		accept_job(fx, a_job("rows"));
		item = a_finish(claim_one(fx), JOB_COMPLETED);
		with_write(fx, &item, table[i].rows, table[i].sql, NULL, NULL);
		check_store(fx, commit_items(fx, fx->store, COMPLETION_CAREFUL, &item, 1));
		if (item.fate != COMPLETION_COMMITTED)
			fail_msg("%s: fate %d, want %ld rows", table[i].sql, (int)item.fate,
				 (long)table[i].rows);
	}
}

/* More statements than are kept prepared, each used twice. */
static void many_statements(struct fixture *fx)
{
	for (int round = 0; round < 2; round++) {
		struct completion item;

		accept_job(fx, a_job("many"));
		item = a_finish(claim_one(fx), JOB_COMPLETED);
		for (int i = 0; i < 150; i++)
			with_write(
				fx, &item, 1,
				arena_printf(fx->arena, "INSERT INTO effects VALUES ('%d', $1)", i),
				"many", NULL);
		assert_int_equal(commit_one(fx, &item), COMPLETION_COMMITTED);
	}
	assert_int_equal(effects(fx, "many"), 300);
	assert_string_equal(read_value(fx, "SELECT count(DISTINCT job) FROM effects"), "150");
}

static void readers_see_no_way_out(struct fixture *fx)
{
	static const char *const statements[] = { "PRAGMA query_only = OFF",
						  "ATTACH '/tmp/windlass-stolen.db' AS o",
						  "BEGIN IMMEDIATE" };
	struct strbuf out;

	strbuf_init(&out);
	for (size_t i = 0; i < ARRAY_LEN(statements); i++) {
		struct sql_statement statement = { .sql = statements[i], .rows = SQL_ROWS_ANY };

		assert_int_equal(reader_query(fx->reader, &statement, 1000, &out, &fx->error), -1);
		assert_int_equal(fx->error.code, ERROR_SQL);
	}
	strbuf_release(&out);
	assert_string_equal(read_value(fx, "SELECT 1.0"), "1.0");
	assert_string_equal(read_value(fx, "SELECT 1e300 * 1e300"), "\"Infinity\"");
	assert_string_equal(read_value(fx, "SELECT x'00ff'"), "{\"base64\":\"AP8=\"}");
}

static const struct store_case cases[] = {
	{ "refused", refused },
	{ "allowed", allowed },
	{ "triggers_are_guests_too", triggers_are_guests_too },
	{ "taking_the_transaction_down", taking_the_transaction_down },
	{ "time_limit", time_limit },
	{ "row_counts", row_counts },
	{ "many_statements", many_statements },
	{ "readers_see_no_way_out", readers_see_no_way_out },
};

int main(void)
{
	return sqlite_cases_run("guest", cases, ARRAY_LEN(cases));
}
