/* SPDX-License-Identifier: Apache-2.0 */
/* The contract of a store, the part of schedules: what is due, and that a tick becomes a job once,
 * whoever fires it, how late, and however often. Every case runs on every store. */
#include "common/store/schedule.h"

#include <inttypes.h>
#include <stdio.h>

#include "tests/integration/store_fixture.h"

#define SECOND INT64_C(1000)

static const struct audit by_ops = { "ops", "schedule.set", "s", NULL };

static int64_t now_of(struct fixture *fx)
{
	int64_t now_ms;

	check_store(fx, schedule_clock(fx->store, &now_ms, &fx->error));
	return now_ms;
}

static bool put(struct fixture *fx, const char *name, const char *definition, int64_t next_ms)
{
	const struct schedule_new schedule = { name, "", definition, next_ms };
	bool created;

	check_store(fx, schedule_put(fx->store, &schedule, false, &by_ops, &created, &fx->error));
	return created;
}

static struct schedule_view find(struct fixture *fx, const char *name)
{
	struct schedule_view view;

	check_store(fx, schedule_find(fx->other, NULL, name, fx->arena, &view, &fx->error));
	return view;
}

static size_t due_now(struct fixture *fx, struct schedule_view **views_r, int64_t *soonest_ms_r)
{
	const struct schedule_due from = { .limit = 100 };
	int64_t now_ms;
	size_t count;

	check_store(fx, schedule_due(fx->store, &from, fx->arena, views_r, &count, &now_ms,
				     soonest_ms_r, &fx->error));
	return count;
}

static int64_t number(struct fixture *fx, const char *sql)
{
	int64_t n;

	assert_int_equal(sscanf(read_value(fx, sql), "%" SCNd64, &n), 1);
	return n;
}

static int64_t jobs_stored(struct fixture *fx)
{
	return number(fx, store_is_sqlite(fx->store)
				  ? "SELECT count(*) FROM windlass_jobs WHERE type = 'mail'"
				  : "SELECT count(*) FROM windlass.jobs WHERE type = 'mail'");
}

static size_t audited(struct fixture *fx)
{
	const struct audit_filter all = { .limit = 100 };
	struct audit_view *views;
	size_t count;

	check_store(fx, audit_list(fx->store, &all, fx->arena, &views, &count, &fx->error));
	return count;
}

/* One firing of one tick of a schedule as it was read. */
struct shot {
	struct new_job job;
	struct schedule_run run;
	struct schedule_fire fire;
};

static void aim(struct shot *shot, const struct schedule_view *view, int64_t next_ms)
{
	shot->job = a_job("mail");
	shot->run = (struct schedule_run){ .tick_ms = view->next_ms, .job = &shot->job };
	shot->fire = (struct schedule_fire){
		.name = view->name,
		.version = view->version,
		.was_ms = view->next_ms,
		.next_ms = next_ms,
		.runs = &shot->run,
		.count = 1,
	};
}

static bool shoot(struct fixture *fx, struct store *store, struct shot *shot)
{
	struct schedule_fire *fires[] = { &shot->fire };

	check_store(fx, schedule_fire(store, fires, 1, &fx->error));
	return shot->run.fired;
}

static size_t runs_of(struct fixture *fx, const char *name, struct schedule_run_view **runs_r)
{
	size_t count;

	check_store(fx, schedule_runs(fx->store, name, INT64_MAX, 100, fx->arena, runs_r, &count,
				      &fx->error));
	return count;
}

/* ---- cases */

static void a_tick_is_fired_once(struct fixture *fx)
{
	int64_t tick = now_of(fx) - 5 * SECOND, soonest;
	struct schedule_run_view *runs;
	struct schedule_view *views;
	struct shot mine, rivals, late;

	assert_true(put(fx, "s", "{}", tick));
	assert_true(put(fx, "later", "{}", tick + 3600 * SECOND));
	assert_int_equal(due_now(fx, &views, &soonest), 1);
	assert_true(soonest == tick + 3600 * SECOND);
	assert_string_equal(views[0].name, "s");
	aim(&mine, &views[0], tick + 10 * SECOND);
	aim(&rivals, &views[0], tick + 10 * SECOND);
	assert_true(shoot(fx, fx->store, &mine));
	assert_false(shoot(fx, fx->other, &rivals));
	assert_false(shoot(fx, fx->store, &mine));
	assert_int_equal(jobs_stored(fx), 1);
	assert_int_equal(state_of(fx, &mine.job.id), JOB_AVAILABLE);
	assert_true(find(fx, "s").next_ms == tick + 10 * SECOND);
	assert_true(find(fx, "s").last_ms == tick);
	/* Somebody who sets the schedule back gets the tick's row in the way. */
	put(fx, "s", "{\"other\":1}", tick);
	views[0] = find(fx, "s");
	aim(&late, &views[0], tick + 10 * SECOND);
	assert_false(shoot(fx, fx->store, &late));
	assert_true(find(fx, "s").next_ms == tick + 10 * SECOND);
	assert_int_equal(jobs_stored(fx), 1);
	assert_int_equal(runs_of(fx, "s", &runs), 1);
	assert_true(runs[0].tick_ms == tick && !runs[0].manual && !runs[0].reason);
	assert_uuid(&runs[0].job, &mine.job.id);
}

/* Read before, fired after: what was changed in between counts. */
static void changes_win(struct fixture *fx)
{
	int64_t tick = now_of(fx) - SECOND, soonest;
	struct schedule_view *views, view;
	struct shot shot;

	put(fx, "s", "{}", tick);
	assert_int_equal(due_now(fx, &views, &soonest), 1);
	aim(&shot, &views[0], tick + 10 * SECOND);
	put(fx, "s", "{\"changed\":true}", tick);
	assert_false(shoot(fx, fx->store, &shot));

	view = find(fx, "s");
	assert_true(view.version != views[0].version);
	aim(&shot, &view, tick + 10 * SECOND);
	check_store(fx, schedule_pause(fx->other, "s", view.version, true, 0, NULL, &fx->error));
	assert_false(shoot(fx, fx->store, &shot));
	assert_int_equal(due_now(fx, &views, &soonest), 0);
	assert_true(find(fx, "s").paused);
	check_store(fx, schedule_pause(fx->other, "s", view.version, false, tick + 20 * SECOND,
				       NULL, &fx->error));
	assert_true(find(fx, "s").next_ms == tick + 20 * SECOND);
	assert_false(shoot(fx, fx->store, &shot));
	assert_int_equal(
		schedule_pause(fx->other, "s", view.version + 1, true, 0, NULL, &fx->error), -1);
	assert_int_equal(fx->error.code, ERROR_CONTENTION);

	put(fx, "s", "{\"again\":true}", tick);
	view = find(fx, "s");
	aim(&shot, &view, SCHEDULE_NEVER);
	check_store(fx, schedule_remove(fx->other, "s", NULL, &fx->error));
	assert_false(shoot(fx, fx->store, &shot));
	assert_int_equal(jobs_stored(fx), 0);
	assert_int_equal(schedule_remove(fx->other, "s", NULL, &fx->error), -1);
	assert_int_equal(fx->error.code, ERROR_NOT_FOUND);
}

static void many_ticks_at_once(struct fixture *fx)
{
	int64_t tick = now_of(fx) - 50 * SECOND;
	struct schedule_run_view *runs;
	struct new_job jobs[10];
	struct schedule_run ticks[11];
	struct schedule_view view;
	struct schedule_fire fire = { .next_ms = SCHEDULE_NEVER, .runs = ticks, .count = 11 };
	struct schedule_fire *fires[] = { &fire };

	put(fx, "s", "{}", tick);
	view = find(fx, "s");
	fire.name = view.name;
	fire.version = view.version;
	fire.was_ms = view.next_ms;
	for (int i = 0; i < 10; i++) {
		jobs[i] = a_job("mail");
		jobs[i].unique_key = i >= 8 ? "same" : NULL;
		ticks[i] = (struct schedule_run){ .tick_ms = tick + i * SECOND, .job = &jobs[i] };
	}
	ticks[10] = (struct schedule_run){ .tick_ms = tick + 10 * SECOND, .reason = "no type" };
	check_store(fx, schedule_fire(fx->store, fires, 1, &fx->error));
	assert_string_equal(fire.error.message, "");
	assert_int_equal(jobs_stored(fx), 9);
	assert_true(find(fx, "s").next_ms == SCHEDULE_NEVER);
	assert_int_equal(runs_of(fx, "s", &runs), 11);
	assert_string_equal(runs[0].reason, "no type");
	assert_true(uuid_is_nil(&runs[0].job));
	/* one of the two has the key, and the other's row names it */
	assert_true(ticks[8].accepted.unique_conflict != ticks[9].accepted.unique_conflict);
	assert_uuid(&runs[1].job, &runs[2].job);
	assert_string_equal(runs[ticks[9].accepted.unique_conflict ? 1 : 2].reason,
			    SCHEDULE_UNIQUE);
	assert_null(runs[3].reason);
}

static void by_hand(struct fixture *fx)
{
	static const struct audit ran = { "ops", "schedule.run", "s", NULL };
	int64_t tick = now_of(fx) + 60 * SECOND;
	struct schedule_run_view *runs;
	struct schedule_view view;
	struct shot shot;

	put(fx, "s", "{}", tick);
	view = find(fx, "s");
	check_store(fx, schedule_pause(fx->store, "s", view.version, true, 0, NULL, &fx->error));
	aim(&shot, &view, 0);
	shot.fire.manual = true;
	shot.fire.audit = &ran;
	assert_true(shoot(fx, fx->store, &shot));
	assert_int_equal(audited(fx), 2);
	assert_true(find(fx, "s").next_ms == tick && find(fx, "s").paused);
	/* the tick of the same moment is still to come */
	check_store(fx,
		    schedule_pause(fx->store, "s", view.version, false, tick, NULL, &fx->error));
	aim(&shot, &view, SCHEDULE_NEVER);
	assert_true(shoot(fx, fx->store, &shot));
	assert_int_equal(runs_of(fx, "s", &runs), 2);
	assert_true(runs[0].manual != runs[1].manual && runs[0].tick_ms == runs[1].tick_ms);
	assert_int_equal(jobs_stored(fx), 2);
}

static void the_file_has_its_own(struct fixture *fx)
{
	int64_t now_ms = now_of(fx);
	const struct schedule_new first[] = { { "a", "", "{\"n\":1}", now_ms },
					      { "b", "acme", "{\"n\":2}", SCHEDULE_NEVER } };
	const struct schedule_new second[] = { { "b", "acme", "{\"n\":2}", now_ms },
					       { "mine", "", "{\"n\":4}", now_ms } };
	struct schedule_new mine = { "mine", "", "{}", now_ms };
	struct schedule_view *views, view;
	size_t changed, count;
	bool created;

	check_store(fx, schedule_put(fx->store, &mine, true, &by_ops, &created, &fx->error));
	assert_true(created);
	check_store(fx, schedule_sync(fx->store, first, 2, &changed, &fx->error));
	assert_int_equal(changed, 2);
	check_store(fx, schedule_sync(fx->other, first, 2, &changed, &fx->error));
	assert_int_equal(changed, 0);
	assert_int_equal(audited(fx), 3);
	assert_true(find(fx, "a").of_file && !find(fx, "mine").of_file);

	mine.name = "a";
	assert_int_equal(schedule_put(fx->store, &mine, false, NULL, &created, &fx->error), -1);
	assert_int_equal(fx->error.code, ERROR_CONFLICT);
	assert_int_equal(schedule_remove(fx->store, "a", NULL, &fx->error), -1);
	assert_int_equal(fx->error.code, ERROR_CONFLICT);
	view = find(fx, "a");
	check_store(fx, schedule_pause(fx->store, "a", view.version, true, 0, NULL, &fx->error));

	check_store(fx, schedule_sync(fx->store, second, 2, &changed, &fx->error));
	assert_int_equal(changed, 2); /* a goes, mine becomes the file's */
	assert_true(find(fx, "mine").of_file);
	assert_true(find(fx, "b").next_ms == SCHEDULE_NEVER); /* it is as it was */
	check_store(fx, schedule_list(fx->store, NULL, NULL, 10, fx->arena, &views, &count,
				      &fx->error));
	assert_int_equal(count, 2);
	check_store(fx, schedule_list(fx->store, "acme", NULL, 10, fx->arena, &views, &count,
				      &fx->error));
	assert_int_equal(count, 1);
	assert_string_equal(views[0].name, "b");
	check_store(fx,
		    schedule_list(fx->store, NULL, "b", 10, fx->arena, &views, &count, &fx->error));
	assert_int_equal(count, 1);
	assert_int_equal(schedule_find(fx->store, "beta", "b", fx->arena, &view, &fx->error), -1);
	assert_int_equal(fx->error.code, ERROR_NOT_FOUND);
}

static void the_same_is_no_change(struct fixture *fx)
{
	int64_t now_ms = now_of(fx);
	struct schedule_new again = { "s", "", "{}", now_ms };
	struct schedule_view before, after;
	bool created;

	assert_true(put(fx, "s", "{}", now_ms));
	before = find(fx, "s");
	assert_false(put(fx, "s", "{}", now_ms + 50 * SECOND));
	after = find(fx, "s");
	assert_true(before.version == after.version && before.next_ms == after.next_ms);
	assert_int_equal(audited(fx), 1);
	assert_int_equal(schedule_put(fx->store, &again, true, NULL, &created, &fx->error), -1);
	assert_int_equal(fx->error.code, ERROR_CONFLICT);
}

static void pages_of_what_is_due(struct fixture *fx)
{
	int64_t now_ms = now_of(fx), soonest;
	struct schedule_due from = { .limit = 3 };
	struct schedule_view *views;
	size_t count, seen = 0;
	char name[8];

	for (int i = 0; i < 8; i++) {
		snprintf(name, sizeof(name), "s%d", i);
		put(fx, name, "{}", now_ms - (i / 4 + 1) * SECOND);
	}
	do {
		check_store(fx, schedule_due(fx->store, &from, fx->arena, &views, &count, &now_ms,
					     &soonest, &fx->error));
		seen += count;
		if (count) {
			from.after_ms = views[count - 1].next_ms;
			from.after = views[count - 1].name;
		}
	} while (count == from.limit);
	assert_int_equal(seen, 8);
	assert_string_equal(from.after, "s3");
}

static void old_runs_are_forgotten(struct fixture *fx)
{
	struct schedule_run_view *runs;
	struct schedule_view view;
	struct shot shot;

	put(fx, "s", "{}", now_of(fx));
	view = find(fx, "s");
	aim(&shot, &view, SCHEDULE_NEVER);
	assert_true(shoot(fx, fx->store, &shot));
	check_store(fx, maintenance_retention(fx->store, 3600 * SECOND, 3600 * SECOND, &fx->error));
	assert_int_equal(runs_of(fx, "s", &runs), 1);
	pause_ms(30);
	check_store(fx, maintenance_retention(fx->store, 10, 3600 * SECOND, &fx->error));
	assert_int_equal(runs_of(fx, "s", &runs), 0);
}

int main(void)
{
	static const struct store_case cases[] = {
		{ "a_tick_is_fired_once", a_tick_is_fired_once },
		{ "changes_win", changes_win },
		{ "many_ticks_at_once", many_ticks_at_once },
		{ "by_hand", by_hand },
		{ "the_file_has_its_own", the_file_has_its_own },
		{ "the_same_is_no_change", the_same_is_no_change },
		{ "pages_of_what_is_due", pages_of_what_is_due },
		{ "old_runs_are_forgotten", old_runs_are_forgotten },
	};

	return store_cases_run("store_schedule", cases, ARRAY_LEN(cases));
}
