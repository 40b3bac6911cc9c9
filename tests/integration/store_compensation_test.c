/* SPDX-License-Identifier: Apache-2.0 */
/* Jobs that ended with committed steps: those that were compensated stay ended under their own id,
 * those that were not go on after their steps. Every case runs on every store. */
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/integration/store_fixture.h"

/* What ended jobs of type "order" are compensated by; "plain" has nothing. */
static void know_types(struct fixture *fx)
{
	static const struct store_type types[] = {
		{ .name = "order",
		  .queue = "q",
		  .priority = PRIORITY_NORMAL,
		  .on_discard = "order.release" },
		{ .name = "order.release", .queue = "repair", .priority = PRIORITY_HIGH },
		{ .name = "plain", .queue = "q", .priority = PRIORITY_NORMAL },
	};

	check_store(fx, store_sync_types(fx->store, types, ARRAY_LEN(types), &fx->error));
}

/* A job of this type that is handed out, commits a step or none, and ends so. */
static struct uuid ended_job(struct fixture *fx, const char *type, bool step, enum job_state state)
{
	struct new_job job = a_job(type);
	struct claimed_job *got;
	struct completion item;

	accept_job(fx, job);
	got = claim_this(fx, &job.id);
	if (step) {
		item = a_step(got, "reserve", "1");
		assert_int_equal(commit_one(fx, &item), COMPLETION_COMMITTED);
	}
	finish_job(fx, got, state);
	return job.id;
}

static void stays_ended(struct fixture *fx, const struct uuid *id, enum job_state want)
{
	enum job_state state = 0;

	assert_int_equal(control_retry(fx->other, NULL, id, &state, &fx->error), -1);
	assert_int_equal(fx->error.code, ERROR_CONFLICT);
	assert_non_null(strstr(fx->error.message, "compensated"));
	assert_non_null(strstr(fx->error.message, "copy"));
	assert_int_equal(state, want);
	assert_int_equal(state_of(fx, id), want);
	assert_int_equal(claim_some(fx, 10).count, 0);
}

static void compensated_jobs_are_not_retried(struct fixture *fx)
{
	struct uuid discarded, cancelled;

	know_types(fx);
	discarded = ended_job(fx, "order", true, JOB_DISCARDED);
	cancelled = ended_job(fx, "order", true, JOB_CANCELLED);
	assert_int_equal(claim_as(fx, fx->store, &fx->session, "repair", 10).count, 2);
	stays_ended(fx, &discarded, JOB_DISCARDED);
	stays_ended(fx, &cancelled, JOB_CANCELLED);
	for (size_t i = 0; i < view_of(fx, &discarded).attempt_count; i++)
		assert_int_equal(view_of(fx, &discarded).attempts[i].outcome, OUTCOME_DISCARD);
}

static void compensated_while_waiting(struct fixture *fx)
{
	struct new_job job = a_job("order");
	struct claimed_job *got;
	struct completion item;
	enum job_state state;

	know_types(fx);
	accept_job(fx, job);
	got = claim_this(fx, &job.id);
	item = a_step(got, "reserve", "1");
	assert_int_equal(commit_one(fx, &item), COMPLETION_COMMITTED);
	item = a_retry(got, 60000);
	assert_int_equal(commit_one(fx, &item), COMPLETION_COMMITTED);
	check_store(fx, control_cancel(fx->other, NULL, &job.id, "no", &state, &fx->error));
	stays_ended(fx, &job.id, JOB_CANCELLED);
	assert_string_equal(view_of(fx, &job.id).reason, "no");
}

/* Nothing undoes these steps, or there are none: the job goes on. */
static void others_go_on(struct fixture *fx)
{
	struct uuid stepped, bare;
	struct claimed_job *got;
	enum job_state state;

	know_types(fx);
	stepped = ended_job(fx, "plain", true, JOB_DISCARDED);
	check_store(fx, control_retry(fx->other, NULL, &stepped, &state, &fx->error));
	got = claim_this(fx, &stepped);
	assert_string_equal(got->steps, "{\"reserve\":1}");
	bare = ended_job(fx, "order", false, JOB_DISCARDED);
	check_store(fx, control_retry(fx->other, NULL, &bare, &state, &fx->error));
	got = claim_this(fx, &bare);
	/* This time it gets further, and is compensated. */
	struct completion item = a_step(got, "reserve", "1");

	assert_int_equal(commit_one(fx, &item), COMPLETION_COMMITTED);
	finish_job(fx, got, JOB_DISCARDED);
	stays_ended(fx, &bare, JOB_DISCARDED);
}

static void redrive_skips_the_compensated(struct fixture *fx)
{
	struct job_filter filter = { .limit = 2 };
	struct uuid spared[2];
	int64_t count;

	know_types(fx);
	spared[0] = ended_job(fx, "order", true, JOB_DISCARDED);
	spared[1] = ended_job(fx, "order", true, JOB_DISCARDED);
	ended_job(fx, "order", false, JOB_DISCARDED);
	ended_job(fx, "plain", true, JOB_DISCARDED);
	check_store(fx, control_redrive(fx->other, &filter, 0, true, NULL, &count, &fx->error));
	assert_int_equal(count, 2);
	check_store(fx, control_redrive(fx->other, &filter, 0, false, NULL, &count, &fx->error));
	assert_int_equal(count, 2);
	assert_int_equal(claim_some(fx, 10).count, 2);
	for (size_t i = 0; i < ARRAY_LEN(spared); i++)
		assert_int_equal(state_of(fx, &spared[i]), JOB_DISCARDED);
	check_store(fx, control_redrive(fx->other, &filter, 0, false, NULL, &count, &fx->error));
	assert_int_equal(count, 0);
}

static void by_hand(struct fixture *fx, const char *sqlite_sql, const char *postgres_sql)
{
	char command[1024];
	sqlite3 *db;

	if (store_is_sqlite(fx->store)) {
		assert_int_equal(sqlite3_open(fx->file_url + strlen("sqlite:"), &db), SQLITE_OK);
		assert_int_equal(sqlite3_exec(db, sqlite_sql, NULL, NULL, NULL), SQLITE_OK);
		sqlite3_close(db);
		return;
	}
	snprintf(command, sizeof(command), "psql -qX '%s' -c \"%s\"", fx->url, postgres_sql);
	assert_int_equal(system(command), 0);
}

/* The job that undid the steps is forgotten before the one that is kept for people. */
static void compensation_outlives_its_job(struct fixture *fx)
{
	struct uuid id;

	know_types(fx);
	id = ended_job(fx, "order", true, JOB_DISCARDED);
	by_hand(fx, "DELETE FROM windlass_jobs WHERE type = 'order.release'",
		"DELETE FROM windlass.jobs WHERE type = 'order.release'");
	stays_ended(fx, &id, JOB_DISCARDED);
}

static const struct store_case cases[] = {
	{ "compensated_jobs_are_not_retried", compensated_jobs_are_not_retried },
	{ "compensated_while_waiting", compensated_while_waiting },
	{ "others_go_on", others_go_on },
	{ "redrive_skips_the_compensated", redrive_skips_the_compensated },
	{ "compensation_outlives_its_job", compensation_outlives_its_job },
};

int main(void)
{
	return store_cases_run("store_compensation", cases, ARRAY_LEN(cases));
}
