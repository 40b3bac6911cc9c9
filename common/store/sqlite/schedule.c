/* SPDX-License-Identifier: Apache-2.0 */
/* Schedules on SQLite: reading and changing them. The writers' mutex puts changes and firing one
 * after the other. */
#include "common/store/schedule.h"

#include <string.h>

#include "common/store/sqlite/sqlite_impl.h"

#define VIEW_NAMES \
	"SELECT s.name, s.tenant, s.definition, s.version, s.of_file, s.paused, s.next_ms, "
#define VIEW                                                                                       \
	VIEW_NAMES "(SELECT max(k.tick) FROM windlass_schedule_tick k WHERE k.schedule = s.name)," \
		   " s.changed FROM windlass_schedule s "
/* SCHEDULE_NEVER is NULL in the table. */
#define NULL_IF_NEVER(parameter) "nullif(" parameter ", 9223372036854775807)"

static void read_view(sqlite3_stmt *stmt, struct arena *arena, struct schedule_view *view_r)
{
	*view_r = (struct schedule_view){
		.name = sqlite_column_dup(stmt, 0, arena),
		.tenant = sqlite_column_dup(stmt, 1, arena),
		.definition = sqlite_column_dup(stmt, 2, arena),
		.version = sqlite3_column_int64(stmt, 3),
		.of_file = sqlite3_column_int(stmt, 4),
		.paused = sqlite3_column_int(stmt, 5),
		.next_ms = sqlite3_column_type(stmt, 6) == SQLITE_NULL
				   ? SCHEDULE_NEVER
				   : sqlite3_column_int64(stmt, 6),
		.last_ms = sqlite3_column_int64(stmt, 7),
		.changed_ms = sqlite3_column_int64(stmt, 8),
	};
}

static int clock_now(struct store *base, int64_t *now_ms_r, struct error *err_r)
{
	(void)base, (void)err_r;
	*now_ms_r = clock_wall_ms();
	return 0;
}

static int find(struct store *base, const char *tenant, const char *name, struct arena *arena,
		struct schedule_view *view_r, struct error *err_r)
{
	struct sqlite_store *store = sqlite_of(base);
	sqlite3_stmt *stmt;
	int rc;

	if (sqlite_ensure(store, err_r))
		return -1;
	stmt = sqlite_bind(store, err_r, VIEW "WHERE s.name = ?1 AND (?2 IS NULL OR s.tenant = ?2)",
			   "ss", name, tenant);
	rc = stmt ? sqlite_next(store, stmt, err_r) : -1;
	if (rc == 0)
		return error_set(err_r, ERROR_NOT_FOUND, "no schedule has that name");
	if (rc < 0)
		return -1;
	read_view(stmt, arena, view_r);
	sqlite_done(stmt);
	return 0;
}

static int read_views(struct sqlite_store *store, sqlite3_stmt *stmt, size_t limit,
		      struct arena *arena, struct schedule_view **views_r, size_t *count_r,
		      struct error *err_r)
{
	int rc;

	if (!stmt)
		return -1;
	*views_r = ARENA_ARRAY(arena, struct schedule_view, limit);
	while ((rc = sqlite_next(store, stmt, err_r)) == 1)
		read_view(stmt, arena, &(*views_r)[(*count_r)++]);
	return rc;
}

static int list(struct store *base, const char *tenant, const char *after, size_t limit,
		struct arena *arena, struct schedule_view **views_r, size_t *count_r,
		struct error *err_r)
{
	struct sqlite_store *store = sqlite_of(base);

	if (sqlite_ensure(store, err_r))
		return -1;
	return read_views(store,
			  sqlite_bind(store, err_r,
				      VIEW "WHERE (?1 IS NULL OR s.tenant = ?1) AND (?2 IS NULL OR "
					   "s.name > ?2) ORDER BY s.name LIMIT ?3",
				      "ssi", tenant, after, (int64_t)limit),
			  limit, arena, views_r, count_r, err_r);
}

/* ---- changes */

struct known {
	bool found, of_file, same; /* same: tenant and definition are as asked for */
	int64_t version;
};

static int look(struct sqlite_store *store, const char *name, const struct schedule_new *schedule,
		struct known *known_r, struct error *err_r)
{
	sqlite3_stmt *stmt =
		sqlite_bind(store, err_r,
			    "SELECT of_file, version, tenant = ?2 AND definition = ?3 FROM "
			    "windlass_schedule WHERE name = ?1",
			    "sss", name, schedule ? schedule->tenant : NULL,
			    schedule ? schedule->definition : NULL);
	int rc = stmt ? sqlite_next(store, stmt, err_r) : -1;

	*known_r = (struct known){ 0 };
	if (rc != 1)
		return rc;
	*known_r = (struct known){ .found = true,
				   .of_file = sqlite3_column_int(stmt, 0),
				   .version = sqlite3_column_int64(stmt, 1),
				   .same = sqlite3_column_int(stmt, 2) };
	sqlite_done(stmt);
	return 0;
}

static int write_schedule(struct sqlite_store *store, const struct schedule_new *schedule,
			  bool of_file, struct error *err_r)
{
	int64_t version;

	if (sqlite_seq(store, &version, err_r))
		return -1;
	return sqlite_run(store, err_r,
			  "INSERT INTO windlass_schedule (name, tenant, definition, next_ms, "
			  "of_file, version, changed) VALUES (?1, ?2, ?3, " NULL_IF_NEVER(
				  "?4") ", ?5, ?6, ?7) ON CONFLICT DO UPDATE SET tenant = ?2, "
					"definition = ?3, next_ms = " NULL_IF_NEVER(
						"?4") ", of_file = ?5, version = ?6, changed = ?7",
			  "sssiiii", schedule->name, schedule->tenant, schedule->definition,
			  schedule->next_ms, (int64_t)of_file, version, store->tx.now_ms);
}

/* Ends what a change has begun. */
static int end(struct sqlite_store *store, int rc, const struct audit *audit, struct error *err_r)
{
	if (rc == 0 && sqlite_audit(store, audit, err_r) == 0)
		return sqlite_commit(store, err_r);
	sqlite_rollback(store);
	return -1;
}

static int put(struct store *base, const struct schedule_new *schedule, bool create,
	       const struct audit *audit, bool *created_r, struct error *err_r)
{
	struct sqlite_store *store = sqlite_of(base);
	struct known known;
	int rc;

	if (sqlite_begin(store, SQLITE_DURABLE, err_r))
		return -1;
	rc = look(store, schedule->name, schedule, &known, err_r);
	if (rc == 0 && known.found && known.of_file)
		rc = error_set(err_r, ERROR_CONFLICT, SCHEDULE_OF_FILE);
	else if (rc == 0 && known.found && create)
		rc = error_set(err_r, ERROR_CONFLICT, "there is a schedule of that name");
	if (rc == 0 && known.same) {
		sqlite_rollback(store);
		return 0;
	}
	if (rc == 0)
		rc = write_schedule(store, schedule, false, err_r);
	rc = end(store, rc, audit, err_r);
	*created_r = rc == 0 && !known.found;
	return rc;
}

static int remove_one(struct store *base, const char *name, const struct audit *audit,
		      struct error *err_r)
{
	struct sqlite_store *store = sqlite_of(base);
	struct known known;
	int rc;

	if (sqlite_begin(store, SQLITE_DURABLE, err_r))
		return -1;
	rc = look(store, name, NULL, &known, err_r);
	if (rc == 0 && !known.found)
		rc = error_set(err_r, ERROR_NOT_FOUND, "no schedule has that name");
	else if (rc == 0 && known.of_file)
		rc = error_set(err_r, ERROR_CONFLICT, SCHEDULE_OF_FILE);
	if (rc == 0)
		rc = sqlite_run(store, err_r, "DELETE FROM windlass_schedule WHERE name = ?1", "s",
				name);
	return end(store, rc, audit, err_r);
}

static int pause_one(struct store *base, const char *name, int64_t version, bool paused,
		     int64_t next_ms, const struct audit *audit, struct error *err_r)
{
	struct sqlite_store *store = sqlite_of(base);
	struct known known;
	int rc;

	if (sqlite_begin(store, SQLITE_DURABLE, err_r))
		return -1;
	rc = look(store, name, NULL, &known, err_r);
	if (rc == 0 && !known.found)
		rc = error_set(err_r, ERROR_NOT_FOUND, "no schedule has that name");
	else if (rc == 0 && known.version != version)
		rc = error_set(err_r, ERROR_CONTENTION, "the schedule was changed meanwhile");
	if (rc == 0)
		rc = sqlite_run(store, err_r,
				"UPDATE windlass_schedule SET paused = ?2, next_ms = CASE WHEN ?2 "
				"THEN next_ms ELSE " NULL_IF_NEVER("?3") " END WHERE name = ?1 "
									 "AND paused <> ?2",
				"sii", name, (int64_t)paused, next_ms);
	if (rc == 0 && !store->changed) {
		sqlite_rollback(store);
		return 0;
	}
	return end(store, rc, audit, err_r);
}

/* ---- the file's */

static int note_file(struct sqlite_store *store, const char *action, const char *name,
		     const char *detail, struct error *err_r)
{
	const struct audit audit = { "file", action, name, detail };

	return sqlite_audit(store, &audit, err_r);
}

static int sync_one(struct sqlite_store *store, const struct schedule_new *schedule,
		    size_t *changed_r, struct error *err_r)
{
	struct known known;

	if (look(store, schedule->name, schedule, &known, err_r))
		return -1;
	if (known.same && known.of_file)
		return 0;
	++*changed_r;
	if (write_schedule(store, schedule, true, err_r))
		return -1;
	return note_file(store, "schedule.set", schedule->name, schedule->definition, err_r);
}

/* A JSON array of their names. */
static char *names_of(const struct schedule_new *schedules, size_t count, struct arena *arena)
{
	struct strbuf names;
	char *text;

	strbuf_init(&names);
	strbuf_addch(&names, '[');
	for (size_t i = 0; i < count; i++) {
		if (i)
			strbuf_addch(&names, ',');
		strbuf_json(&names, schedules[i].name);
	}
	strbuf_addch(&names, ']');
	text = arena_strndup(arena, names.data, names.len);
	strbuf_release(&names);
	return text;
}

static int remove_others(struct sqlite_store *store, const struct schedule_new *schedules,
			 size_t count, size_t *changed_r, struct error *err_r)
{
	struct arena *arena = store->tx.arena;
	const char *names = names_of(schedules, count, arena);

	for (;;) {
		sqlite3_stmt *stmt =
			sqlite_bind(store, err_r,
				    "SELECT name FROM windlass_schedule WHERE of_file AND name NOT "
				    "IN (SELECT value FROM json_each(?1)) LIMIT 1",
				    "s", names);
		int rc = stmt ? sqlite_next(store, stmt, err_r) : -1;
		char *name;

		if (rc != 1)
			return rc;
		name = sqlite_column_dup(stmt, 0, arena);
		sqlite_done(stmt);
		++*changed_r;
		if (sqlite_run(store, err_r, "DELETE FROM windlass_schedule WHERE name = ?1", "s",
			       name) ||
		    note_file(store, "schedule.remove", name, NULL, err_r))
			return -1;
	}
}

static int sync_all(struct store *base, const struct schedule_new *schedules, size_t count,
		    size_t *changed_r, struct error *err_r)
{
	struct sqlite_store *store = sqlite_of(base);
	int rc = 0;

	if (sqlite_begin(store, SQLITE_DURABLE, err_r))
		return -1;
	for (size_t i = 0; rc == 0 && i < count; i++)
		rc = sync_one(store, &schedules[i], changed_r, err_r);
	if (rc == 0)
		rc = remove_others(store, schedules, count, changed_r, err_r);
	return end(store, rc, NULL, err_r);
}

/* ---- what is due, and what was */

static int find_soonest(struct sqlite_store *store, int64_t now_ms, int64_t *soonest_ms_r,
			struct error *err_r)
{
	int64_t next;
	int rc = sqlite_number(store, err_r, &next,
			       "SELECT next_ms FROM windlass_schedule WHERE next_ms IS NOT NULL "
			       "AND NOT paused AND next_ms > ?1 ORDER BY next_ms LIMIT 1",
			       "i", now_ms);

	if (rc == 1)
		*soonest_ms_r = next;
	return rc < 0 ? -1 : 0;
}

static int due(struct store *base, const struct schedule_due *from, struct arena *arena,
	       struct schedule_view **views_r, size_t *count_r, int64_t *now_ms_r,
	       int64_t *soonest_ms_r, struct error *err_r)
{
	struct sqlite_store *store = sqlite_of(base);
	sqlite3_stmt *stmt;

	*now_ms_r = clock_wall_ms();
	if (sqlite_ensure(store, err_r) || find_soonest(store, *now_ms_r, soonest_ms_r, err_r))
		return -1;
	stmt = sqlite_bind(store, err_r,
			   VIEW_NAMES "0, s.changed FROM windlass_schedule s WHERE s.next_ms IS "
				      "NOT NULL AND NOT s.paused AND s.next_ms <= ?1 AND "
				      "(s.next_ms, s.name) > (?2, coalesce(?3, '')) ORDER BY "
				      "s.next_ms, s.name LIMIT ?4",
			   "iisi", *now_ms_r, from->after ? from->after_ms : INT64_MIN, from->after,
			   (int64_t)from->limit);
	return read_views(store, stmt, from->limit, arena, views_r, count_r, err_r);
}

static int runs(struct store *base, const char *name, int64_t before_ms, size_t limit,
		struct arena *arena, struct schedule_run_view **runs_r, size_t *count_r,
		struct error *err_r)
{
	struct sqlite_store *store = sqlite_of(base);
	sqlite3_stmt *stmt;
	int rc;

	if (sqlite_ensure(store, err_r))
		return -1;
	stmt = sqlite_bind(store, err_r,
			   "SELECT tick, at, manual, job, reason FROM windlass_schedule_tick WHERE "
			   "schedule = ?1 AND tick < ?2 ORDER BY tick DESC, manual DESC LIMIT ?3",
			   "sii", name, before_ms, (int64_t)limit);
	if (!stmt)
		return -1;
	*runs_r = ARENA_ARRAY(arena, struct schedule_run_view, limit);
	while ((rc = sqlite_next(store, stmt, err_r)) == 1) {
		struct schedule_run_view *run = &(*runs_r)[(*count_r)++];

		run->tick_ms = sqlite3_column_int64(stmt, 0);
		run->at_ms = sqlite3_column_int64(stmt, 1);
		run->manual = sqlite3_column_int(stmt, 2);
		sqlite_column_uuid(stmt, 3, &run->job);
		run->reason = sqlite_column_dup(stmt, 4, arena);
	}
	return rc;
}

const struct schedule_ops sqlite_schedule_ops = {
	.clock = clock_now,
	.find = find,
	.list = list,
	.put = put,
	.remove = remove_one,
	.pause = pause_one,
	.sync = sync_all,
	.due = due,
	.fire = sqlite_schedule_fire,
	.runs = runs,
};
