/* SPDX-License-Identifier: Apache-2.0 */
/* Firing on PostgreSQL: schedules are moved on, ticks get their rows, and the jobs of the ticks
 * that did are stored, in one transaction. Rows of schedules that somebody else is firing or
 * changing are passed over, so that nobody waits for a process that has stopped. */
#include <string.h>

#include "common/base/failpoint.h"
#include "common/base/idmap.h"
#include "common/store/postgres/postgres_impl.h"

/* The locks are taken in the order of names: two schedulers cannot deadlock. */
static const char fire_ticks[] =
	"WITH held AS (SELECT s.name, i.next, i.manual FROM windlass.schedule s JOIN"
	" unnest($1::text[], $2::int8[], $3::bool[], $4::int8[], $5::int8[]) AS i(name, version,"
	" manual, was, next) ON i.name = s.name WHERE s.version = i.version AND (i.manual OR"
	" (s.next_ms = i.was AND NOT s.paused)) ORDER BY s.name FOR UPDATE OF s SKIP LOCKED),"
	" moved AS (UPDATE windlass.schedule s SET next_ms = nullif(h.next, 9223372036854775807)"
	" FROM held h WHERE s.name = h.name AND NOT h.manual) INSERT INTO windlass.schedule_tick"
	" (schedule, tick, manual, job, reason) SELECT t.name, t.tick, h.manual, t.job, t.reason"
	" FROM unnest($6::text[], $7::int8[], $8::uuid[], $9::text[]) AS t(name, tick, job, reason)"
	" JOIN held h ON h.name = t.name ORDER BY t.name, t.tick ON CONFLICT DO NOTHING RETURNING"
	" job";
/* What the tick's row says of a job that was not stored. */
static const char tick_of_other[] =
	"UPDATE windlass.schedule_tick SET job = $4::uuid, reason = '" SCHEDULE_UNIQUE
	"' WHERE schedule = $1::text AND tick = $2::int8 AND manual = $3::bool";

struct firing {
	struct postgres *pg;
	struct schedule_fire *const *fires;
	size_t count;
	struct fired {
		const struct schedule_fire *fire;
		struct schedule_run *run;
	} * fired; /* runs with a job whose tick is ours */
	size_t fired_count;
};

static size_t send_fires(struct firing *firing)
{
	struct postgres *pg = firing->pg;
	static const Oid types[] = { TYPE_TEXT, TYPE_INT8, TYPE_BOOL, TYPE_INT8, TYPE_INT8,
				     TYPE_TEXT, TYPE_INT8, TYPE_UUID, TYPE_TEXT };
	struct array *a[ARRAY_LEN(types)];

	postgres_say(pg, fire_ticks);
	for (size_t i = 0; i < ARRAY_LEN(types); i++)
		a[i] = postgres_arg_array(pg, types[i]);
	for (size_t i = 0; i < firing->count; i++) {
		const struct schedule_fire *fire = firing->fires[i];

		array_text(a[0], fire->name);
		array_i64(a[1], fire->version);
		array_bool(a[2], fire->manual);
		array_i64(a[3], fire->was_ms);
		array_i64(a[4], fire->next_ms);
		for (size_t k = 0; k < fire->count; k++) {
			array_text(a[5], fire->name);
			array_i64(a[6], fire->runs[k].tick_ms);
			array_uuid(a[7], fire->runs[k].job ? &fire->runs[k].job->id : NULL);
			array_text(a[8], fire->runs[k].reason);
		}
	}
	return postgres_send(pg);
}

static void read_fired(struct firing *firing, const PGresult *result)
{
	struct idmap *ours = idmap_new();
	size_t room = (size_t)PQntuples(result) + 1;

	firing->fired = ARENA_ARRAY(firing->pg->scratch, struct fired, room);
	for (int row = 0; row < PQntuples(result); row++) {
		struct uuid id = result_uuid(result, row, 0);

		if (!uuid_is_nil(&id))
			idmap_put(ours, &id, firing);
	}
	for (size_t i = 0; i < firing->count; i++) {
		const struct schedule_fire *fire = firing->fires[i];

		for (size_t k = 0; k < fire->count; k++) {
			struct schedule_run *run = &fire->runs[k];

			run->fired = run->job && idmap_get(ours, &run->job->id);
			if (!run->fired)
				continue;
			run->accepted =
				(struct accepted_job){ .id = run->job->id, .state = JOB_AVAILABLE };
			firing->fired[firing->fired_count++] = (struct fired){ fire, run };
		}
	}
	idmap_free(&ours);
}

static bool same_key(const struct new_job *a, const struct new_job *b)
{
	return strcmp(a->unique_key, b->unique_key) == 0 && strcmp(a->type, b->type) == 0 &&
	       strcmp(a->tenant, b->tenant) == 0;
}

/* The place among `jobs` of one with the same unique key, or n. */
static size_t find_twin(struct new_job *const *jobs, size_t n, const struct new_job *job)
{
	size_t i = 0;

	while (i < n && !same_key(jobs[i], job))
		i++;
	return i;
}

/* Takes the unique keys. Of several jobs of one transaction that want the same, the first has it.
 */
static int take_unique(struct firing *firing, struct error *err_r)
{
	struct arena *arena = firing->pg->scratch;
	size_t room = firing->fired_count + 1, n = 0;
	struct new_job **jobs = ARENA_ARRAY(arena, struct new_job *, room);
	struct accepted_job **answers = ARENA_ARRAY(arena, struct accepted_job *, room);
	size_t *twins = ARENA_ARRAY(arena, size_t, room); /* 1 + the place of the first */

	for (size_t i = 0; i < firing->fired_count; i++) {
		struct schedule_run *run = firing->fired[i].run;
		size_t twin = run->job->unique_key ? find_twin(jobs, n, run->job) : n;

		if (twin < n)
			twins[i] = 1 + twin;
		if (twin < n || !run->job->unique_key)
			continue;
		jobs[n] = run->job;
		answers[n++] = &run->accepted;
	}
	if (n && postgres_take_unique(firing->pg, jobs, n, answers, err_r) < 0)
		return -1;
	for (size_t i = 0; i < firing->fired_count; i++) {
		struct schedule_run *run = firing->fired[i].run;

		if (!twins[i])
			continue;
		run->accepted = *answers[twins[i] - 1];
		run->accepted.unique_conflict = true;
	}
	return 0;
}

/* Jobs whose unique key is another's are not stored, and their ticks say so. */
static void tell_ticks(struct firing *firing)
{
	struct postgres *pg = firing->pg;

	for (size_t i = 0; i < firing->fired_count; i++) {
		const struct fired *fired = &firing->fired[i];

		if (!fired->run->accepted.unique_conflict)
			continue;
		postgres_say(pg, tick_of_other);
		postgres_arg_text(pg, fired->fire->name);
		postgres_arg_i64(pg, fired->run->tick_ms);
		postgres_arg_bool(pg, fired->fire->manual);
		postgres_arg_uuid(pg, &fired->run->accepted.id);
		postgres_send(pg);
	}
}

static void send_jobs(struct firing *firing)
{
	struct arena *arena = firing->pg->scratch;
	struct new_job **jobs = ARENA_ARRAY(arena, struct new_job *, firing->fired_count + 1);
	size_t n = 0;

	for (size_t i = 0; i < firing->fired_count; i++) {
		if (!firing->fired[i].run->accepted.unique_conflict)
			jobs[n++] = firing->fired[i].run->job;
	}
	if (n)
		postgres_insert_jobs(firing->pg, jobs, n, false);
	for (size_t i = 0; i < firing->count; i++) {
		const struct schedule_fire *fire = firing->fires[i];

		if (fire->audit && fire->count && fire->runs[0].fired)
			postgres_audit(firing->pg, fire->audit);
	}
}

static int run_once(struct postgres *pg, struct schedule_fire *const *fires, size_t count,
		    struct error *err_r)
{
	struct firing firing = { .pg = pg, .fires = fires, .count = count };

	if (postgres_enter(pg, err_r) < 0)
		return -1;
	postgres_begin(pg);
	size_t place = send_fires(&firing);

	if (postgres_fly(pg, err_r) < 0)
		return -1;
	read_fired(&firing, postgres_result(pg, place));
	if (take_unique(&firing, err_r) < 0)
		return -1;
	tell_ticks(&firing);
	send_jobs(&firing);
	if (FAILPOINT("schedule_before_commit")) {
		postgres_drop(pg);
		return error_set(err_r, ERROR_UNAVAILABLE, "failpoint");
	}
	return postgres_commit_fly(pg, err_r);
}

static int run_patiently(struct postgres *pg, struct schedule_fire *const *fires, size_t count,
			 struct error *err_r)
{
	int rc = -1;

	for (int tries = 0; tries < CONTENTION_TRIES && rc < 0; tries++) {
		rc = run_once(pg, fires, count, err_r);
		postgres_rollback(pg);
		if (rc < 0 && err_r->code != ERROR_CONTENTION)
			return -1;
	}
	return rc;
}

int postgres_schedule_fire(struct store *store, struct schedule_fire *const *fires, size_t count,
			   struct error *err_r)
{
	struct postgres *pg = postgres_of(store);

	if (run_patiently(pg, fires, count, err_r) == 0)
		return 0;
	if (err_r->code != ERROR_SQL)
		return -1;
	for (size_t i = 0; i < count; i++) {
		struct error *err = &fires[i]->error;

		if (run_patiently(pg, &fires[i], 1, err) == 0)
			continue;
		*err_r = *err;
		if (err->code != ERROR_SQL)
			return -1;
		for (size_t k = 0; k < fires[i]->count; k++)
			fires[i]->runs[k].fired = false;
	}
	return 0;
}
