/* SPDX-License-Identifier: Apache-2.0 */
/* Schedules on PostgreSQL: reading and changing them. Each change locks the schedule's row, as
 * firing does: what was answered is in force. */
#include "common/store/schedule.h"

#include "common/store/postgres/postgres_impl.h"

#define NEVER      "9223372036854775807"
#define NOW_MS     "(extract(epoch FROM clock_timestamp()) * 1000)::int8"
#define VIEW_NAMES " s.name, s.tenant, s.definition, s.version, s.of_file, s.paused, s.next_ms,"
/* the tick's index is walked from its end */
#define VIEW                                                                               \
	VIEW_NAMES " (SELECT max(k.tick) FROM windlass.schedule_tick k WHERE k.schedule =" \
		   " s.name), s.changed"
#define NEW_NEXT "nullif($4::int8, " NEVER ")"

static void read_view(const PGresult *result, int row, struct arena *arena,
		      struct schedule_view *view_r)
{
	*view_r = (struct schedule_view){
		.name = result_dup(result, row, 0, arena),
		.tenant = result_dup(result, row, 1, arena),
		.definition = result_dup(result, row, 2, arena),
		.version = result_i64(result, row, 3),
		.of_file = result_bool(result, row, 4),
		.paused = result_bool(result, row, 5),
		.next_ms =
			result_null(result, row, 6) ? SCHEDULE_NEVER : result_i64(result, row, 6),
		.last_ms = result_i64(result, row, 7),
		.changed_ms = result_ms(result, row, 8),
	};
}

static int clock_now(struct store *store, int64_t *now_ms_r, struct error *err_r)
{
	struct postgres *pg = postgres_of(store);

	if (postgres_enter(pg, err_r) < 0)
		return -1;
	postgres_say(pg, "SELECT " NOW_MS);
	size_t place = postgres_send(pg);

	if (postgres_fly(pg, err_r) < 0)
		return -1;
	*now_ms_r = result_i64(postgres_result(pg, place), 0, 0);
	return 0;
}

static int find(struct store *store, const char *tenant, const char *name, struct arena *arena,
		struct schedule_view *view_r, struct error *err_r)
{
	struct postgres *pg = postgres_of(store);

	if (postgres_enter(pg, err_r) < 0)
		return -1;
	postgres_say(pg, "SELECT" VIEW " FROM windlass.schedule s WHERE s.name = $1::text AND"
			 " ($2::text IS NULL OR s.tenant = $2)");
	postgres_arg_text(pg, name);
	postgres_arg_text(pg, tenant);
	size_t place = postgres_send(pg);

	if (postgres_fly(pg, err_r) < 0)
		return -1;
	if (!postgres_rows(pg, place))
		return error_set(err_r, ERROR_NOT_FOUND, "no schedule has that name");
	read_view(postgres_result(pg, place), 0, arena, view_r);
	return 0;
}

static void read_views(const PGresult *result, struct arena *arena, struct schedule_view **views_r,
		       size_t *count_r)
{
	*count_r = (size_t)PQntuples(result);
	*views_r = ARENA_ARRAY(arena, struct schedule_view, *count_r + 1);
	for (int row = 0; row < PQntuples(result); row++)
		read_view(result, row, arena, &(*views_r)[row]);
}

static int list(struct store *store, const char *tenant, const char *after, size_t limit,
		struct arena *arena, struct schedule_view **views_r, size_t *count_r,
		struct error *err_r)
{
	struct postgres *pg = postgres_of(store);

	if (postgres_enter(pg, err_r) < 0)
		return -1;
	postgres_say(pg, "SELECT" VIEW " FROM windlass.schedule s WHERE ($1::text IS NULL OR"
			 " s.tenant = $1) AND ($2::text IS NULL OR s.name > $2) ORDER BY s.name"
			 " LIMIT $3::int4");
	postgres_arg_text(pg, tenant);
	postgres_arg_text(pg, after);
	postgres_arg_i32(pg, (int32_t)limit);
	size_t place = postgres_send(pg);

	if (postgres_fly(pg, err_r) < 0)
		return -1;
	read_views(postgres_result(pg, place), arena, views_r, count_r);
	return 0;
}

/* ---- changes */

typedef int change_fn(struct postgres *pg, void *ctx, struct error *err_r);

/* In a transaction, which `change` commits; again when it met another one. */
static int change_patiently(struct store *store, change_fn *change, void *ctx, struct error *err_r)
{
	struct postgres *pg = postgres_of(store);
	int rc = -1;

	for (int tries = 0; tries < CONTENTION_TRIES && rc < 0; tries++) {
		if (postgres_enter(pg, err_r) < 0)
			return -1;
		postgres_begin(pg);
		rc = change(pg, ctx, err_r);
		postgres_rollback(pg);
		/* two made it at the same moment */
		if (rc < 0 && err_r->code != ERROR_CONTENTION && err_r->code != ERROR_SQL)
			break;
	}
	return rc;
}

struct locked {
	bool found, of_file, same; /* same: tenant and definition are as asked for */
	int64_t version;
};

/* Locks its row, if there is one. */
static int lock(struct postgres *pg, const char *name, const struct schedule_new *schedule,
		struct locked *locked_r, struct error *err_r)
{
	postgres_say(pg, "SELECT of_file, version, tenant = $2::text AND definition = $3::text FROM"
			 " windlass.schedule WHERE name = $1::text FOR UPDATE");
	postgres_arg_text(pg, name);
	postgres_arg_text(pg, schedule ? schedule->tenant : NULL);
	postgres_arg_text(pg, schedule ? schedule->definition : NULL);
	size_t place = postgres_send(pg);

	*locked_r = (struct locked){ 0 };
	if (postgres_fly(pg, err_r) < 0)
		return -1;
	if (!postgres_rows(pg, place))
		return 0;
	const PGresult *result = postgres_result(pg, place);

	*locked_r = (struct locked){ .found = true,
				     .of_file = result_bool(result, 0, 0),
				     .version = result_i64(result, 0, 1),
				     .same = result_bool(result, 0, 2) };
	return 0;
}

static void send_put(struct postgres *pg, const struct schedule_new *schedule, bool of_file)
{
	postgres_say(pg, "INSERT INTO windlass.schedule AS s (name, tenant, definition, next_ms,"
			 " of_file, version) VALUES ($1::text, $2::text, $3::text, " NEW_NEXT
			 ", $5::bool, nextval('windlass.job_seq')) ON CONFLICT (name) DO UPDATE SET"
			 " tenant = excluded.tenant, definition = excluded.definition, next_ms ="
			 " excluded.next_ms, of_file = excluded.of_file, version ="
			 " excluded.version, changed = now()");
	postgres_arg_text(pg, schedule->name);
	postgres_arg_text(pg, schedule->tenant);
	postgres_arg_text(pg, schedule->definition);
	postgres_arg_i64(pg, schedule->next_ms);
	postgres_arg_bool(pg, of_file);
	postgres_send(pg);
}

struct putting {
	const struct schedule_new *schedule;
	bool create, created;
	const struct audit *audit;
};

static int put_once(struct postgres *pg, void *ctx, struct error *err_r)
{
	struct putting *putting = ctx;
	struct locked locked;

	if (lock(pg, putting->schedule->name, putting->schedule, &locked, err_r) < 0)
		return -1;
	if (locked.found && locked.of_file)
		return error_set(err_r, ERROR_CONFLICT, SCHEDULE_OF_FILE);
	if (locked.found && putting->create)
		return error_set(err_r, ERROR_CONFLICT, "there is a schedule of that name");
	putting->created = !locked.found;
	if (locked.same)
		return 0;
	send_put(pg, putting->schedule, false);
	postgres_audit(pg, putting->audit);
	return postgres_commit_fly(pg, err_r);
}

static int put(struct store *store, const struct schedule_new *schedule, bool create,
	       const struct audit *audit, bool *created_r, struct error *err_r)
{
	struct putting putting = { schedule, create, false, audit };
	int rc = change_patiently(store, put_once, &putting, err_r);

	*created_r = rc == 0 && putting.created;
	return rc;
}

struct steering {
	const char *name;
	int64_t version, next_ms;
	bool paused;
	const struct audit *audit;
};

static void send_remove(struct postgres *pg, const char *name)
{
	postgres_say(pg, "DELETE FROM windlass.schedule WHERE name = $1::text");
	postgres_arg_text(pg, name);
	postgres_send(pg);
}

static int remove_once(struct postgres *pg, void *ctx, struct error *err_r)
{
	const struct steering *steering = ctx;
	struct locked locked;

	if (lock(pg, steering->name, NULL, &locked, err_r) < 0)
		return -1;
	if (!locked.found)
		return error_set(err_r, ERROR_NOT_FOUND, "no schedule has that name");
	if (locked.of_file)
		return error_set(err_r, ERROR_CONFLICT, SCHEDULE_OF_FILE);
	send_remove(pg, steering->name);
	postgres_audit(pg, steering->audit);
	return postgres_commit_fly(pg, err_r);
}

static int remove_one(struct store *store, const char *name, const struct audit *audit,
		      struct error *err_r)
{
	struct steering steering = { .name = name, .audit = audit };

	return change_patiently(store, remove_once, &steering, err_r);
}

static int pause_once(struct postgres *pg, void *ctx, struct error *err_r)
{
	const struct steering *steering = ctx;
	struct locked locked;

	if (lock(pg, steering->name, NULL, &locked, err_r) < 0)
		return -1;
	if (!locked.found)
		return error_set(err_r, ERROR_NOT_FOUND, "no schedule has that name");
	if (locked.version != steering->version)
		return error_set(err_r, ERROR_CONTENTION, "the schedule was changed meanwhile");
	postgres_say(pg, "UPDATE windlass.schedule SET paused = $2::bool, next_ms = CASE WHEN"
			 " $2::bool THEN next_ms ELSE nullif($3::int8, " NEVER ") END WHERE name ="
			 " $1::text AND paused <> $2::bool");
	postgres_arg_text(pg, steering->name);
	postgres_arg_bool(pg, steering->paused);
	postgres_arg_i64(pg, steering->next_ms);
	size_t place = postgres_send(pg);

	if (postgres_fly(pg, err_r) < 0)
		return -1;
	if (!postgres_rows(pg, place))
		return 0;
	postgres_audit(pg, steering->audit);
	return postgres_commit_fly(pg, err_r);
}

static int pause_one(struct store *store, const char *name, int64_t version, bool paused,
		     int64_t next_ms, const struct audit *audit, struct error *err_r)
{
	struct steering steering = { name, version, next_ms, paused, audit };

	return change_patiently(store, pause_once, &steering, err_r);
}

/* ---- the file's */

struct syncing {
	const struct schedule_new *schedules;
	size_t count, changed;
};

static void note_file(struct postgres *pg, const char *action, const char *name, const char *detail)
{
	const struct audit audit = { "file", action, name, detail };

	postgres_audit(pg, &audit);
}

static int sync_one(struct postgres *pg, const struct schedule_new *schedule, size_t *changed,
		    struct error *err_r)
{
	struct locked locked;

	if (lock(pg, schedule->name, schedule, &locked, err_r) < 0)
		return -1;
	if (locked.same && locked.of_file)
		return 0;
	send_put(pg, schedule, true);
	note_file(pg, "schedule.set", schedule->name, schedule->definition);
	++*changed;
	return postgres_fly(pg, err_r);
}

static int remove_others(struct postgres *pg, struct syncing *syncing, struct error *err_r)
{
	postgres_say(pg, "DELETE FROM windlass.schedule WHERE of_file AND NOT name ="
			 " ANY ($1::text[]) RETURNING name");
	struct array *names = postgres_arg_array(pg, TYPE_TEXT);

	for (size_t i = 0; i < syncing->count; i++)
		array_text(names, syncing->schedules[i].name);
	size_t place = postgres_send(pg);

	if (postgres_fly(pg, err_r) < 0)
		return -1;
	size_t count = (size_t)postgres_rows(pg, place);
	char **gone = ARENA_ARRAY(pg->scratch, char *, count + 1);

	for (size_t i = 0; i < count; i++)
		gone[i] = result_dup(postgres_result(pg, place), (int)i, 0, pg->scratch);
	for (size_t i = 0; i < count; i++)
		note_file(pg, "schedule.remove", gone[i], NULL);
	syncing->changed += count;
	return postgres_commit_fly(pg, err_r);
}

static int sync_once(struct postgres *pg, void *ctx, struct error *err_r)
{
	struct syncing *syncing = ctx;

	syncing->changed = 0;
	for (size_t i = 0; i < syncing->count; i++) {
		if (sync_one(pg, &syncing->schedules[i], &syncing->changed, err_r) < 0)
			return -1;
	}
	return remove_others(pg, syncing, err_r);
}

static int sync_all(struct store *store, const struct schedule_new *schedules, size_t count,
		    size_t *changed_r, struct error *err_r)
{
	struct syncing syncing = { schedules, count, 0 };
	int rc = change_patiently(store, sync_once, &syncing, err_r);

	*changed_r = syncing.changed;
	return rc;
}

/* ---- what is due, and what was */

static const char due_now[] =
	"SELECT" VIEW_NAMES " 0::int8, s.changed FROM windlass.schedule s WHERE NOT s.paused AND"
	" s.next_ms <= $1::int8 AND (s.next_ms, s.name) > ($2::int8, coalesce($3::text, ''))"
	" ORDER BY s.next_ms, s.name LIMIT $4::int4";
static const char soonest[] =
	"SELECT s.next_ms FROM windlass.schedule s WHERE NOT s.paused AND s.next_ms > $1::int8"
	" ORDER BY s.next_ms LIMIT 1";

static int due(struct store *store, const struct schedule_due *from, struct arena *arena,
	       struct schedule_view **views_r, size_t *count_r, int64_t *now_ms_r,
	       int64_t *soonest_ms_r, struct error *err_r)
{
	struct postgres *pg = postgres_of(store);

	if (clock_now(store, now_ms_r, err_r) < 0)
		return -1;
	postgres_say(pg, due_now);
	postgres_arg_i64(pg, *now_ms_r);
	postgres_arg_i64(pg, from->after ? from->after_ms : INT64_MIN);
	postgres_arg_text(pg, from->after);
	postgres_arg_i32(pg, (int32_t)from->limit);
	size_t place = postgres_send(pg);

	postgres_say(pg, soonest);
	postgres_arg_i64(pg, *now_ms_r);
	size_t later = postgres_send(pg);

	if (postgres_fly(pg, err_r) < 0)
		return -1;
	read_views(postgres_result(pg, place), arena, views_r, count_r);
	if (postgres_rows(pg, later))
		*soonest_ms_r = result_i64(postgres_result(pg, later), 0, 0);
	return 0;
}

static int runs(struct store *store, const char *name, int64_t before_ms, size_t limit,
		struct arena *arena, struct schedule_run_view **runs_r, size_t *count_r,
		struct error *err_r)
{
	struct postgres *pg = postgres_of(store);

	if (postgres_enter(pg, err_r) < 0)
		return -1;
	postgres_say(pg, "SELECT tick, at, manual, job, reason FROM windlass.schedule_tick WHERE"
			 " schedule = $1::text AND tick < $2::int8 ORDER BY tick DESC, manual DESC"
			 " LIMIT $3::int4");
	postgres_arg_text(pg, name);
	postgres_arg_i64(pg, before_ms);
	postgres_arg_i32(pg, (int32_t)limit);
	size_t place = postgres_send(pg);

	if (postgres_fly(pg, err_r) < 0)
		return -1;
	const PGresult *result = postgres_result(pg, place);

	*count_r = (size_t)PQntuples(result);
	*runs_r = ARENA_ARRAY(arena, struct schedule_run_view, *count_r + 1);
	for (int row = 0; row < PQntuples(result); row++)
		(*runs_r)[row] = (struct schedule_run_view){
			.tick_ms = result_i64(result, row, 0),
			.at_ms = result_ms(result, row, 1),
			.manual = result_bool(result, row, 2),
			.job = result_uuid(result, row, 3),
			.reason = result_dup(result, row, 4, arena),
		};
	return 0;
}

const struct schedule_ops postgres_schedule_ops = {
	.clock = clock_now,
	.find = find,
	.list = list,
	.put = put,
	.remove = remove_one,
	.pause = pause_one,
	.sync = sync_all,
	.due = due,
	.fire = postgres_schedule_fire,
	.runs = runs,
};
