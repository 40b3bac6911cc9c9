/* SPDX-License-Identifier: Apache-2.0 */
/* What is outside of a reach is not found, not listed, not cancelled, not retried and not redriven,
 * and takes no place on a page. Every case runs on every store. */
#include "tests/integration/store_fixture.h"

static const struct reach_rule mails[] = { { .type = "mail.*" } };
static const struct reach_rule mails_in_q[] = { { .type = "mail.?end", .queue = "q" } };
static const struct reach_rule q2_or_note[] = { { .queue = "q2" }, { .type = "note" } };
static const struct reach_rule odd[] = { { .type = "m%" },
					 { .type = "mail_send" },
					 { .type = "[m]*" } };

static const struct {
	struct reach reach;
	bool sees[4]; /* of jobs_of_all_kinds */
} reaches[] = {
	{ { .tenant = NULL }, { true, true, true, true } },
	{ { .tenant = "t1" }, { true, true, false, true } },
	{ { .owner = "ann" }, { true, false, true, false } },
	{ { .tenant = "t1", .owner = "ann" }, { true, false, false, false } },
	{ { .rules = mails, .rule_count = 1 }, { true, true, false, false } },
	{ { .rules = mails_in_q, .rule_count = 1 }, { true, false, false, false } },
	{ { .rules = q2_or_note, .rule_count = 2 }, { false, true, true, false } },
	{ { .owner = "bob", .rules = q2_or_note, .rule_count = 2 }, { false, true, false, false } },
	{ { .rules = odd, .rule_count = 3 }, { false, false, false, false } },
};

static void jobs_of_all_kinds(struct fixture *fx, struct new_job jobs[4])
{
	static const char *const rows[4][4] = { { "mail.send", "q", "t1", "ann" },
						{ "mail.send", "q2", "t1", "bob" },
						{ "note", "q", "t2", "ann" },
						{ "email.send", "q", "t1", "bob" } };

	for (size_t i = 0; i < 4; i++) {
		jobs[i] = a_job(rows[i][0]);
		jobs[i].queue = rows[i][1];
		jobs[i].tenant = rows[i][2];
		jobs[i].owner = rows[i][3];
		accept_job(fx, jobs[i]);
	}
}

static size_t list_page(struct fixture *fx, const struct job_filter *filter,
			struct job_view **views_r)
{
	size_t count;

	check_store(fx, query_jobs(fx->other, filter, fx->arena, views_r, &count, &fx->error));
	return count;
}

static void reach_limits_what_is_seen(struct fixture *fx)
{
	struct new_job jobs[4];
	struct job_view view, *views;

	jobs_of_all_kinds(fx, jobs);
	for (size_t r = 0; r < ARRAY_LEN(reaches); r++) {
		struct job_filter filter = { .reach = reaches[r].reach, .limit = 1 };
		size_t want = 0, seen = 0;

		for (size_t i = 0; i < 4; i++) {
			int rc = query_job(fx->store, &reaches[r].reach, &jobs[i].id, fx->arena,
					   &view, &fx->error);
			if ((rc == 0) != reaches[r].sees[i])
				fail_msg("reach %zu, job %zu: %d", r, i, rc);
			want += reaches[r].sees[i];
		}
		/* pages of one: nothing outside takes up a place */
		while (list_page(fx, &filter, &views) == 1) {
			filter.before = views[0].id;
			for (size_t i = 0; i < 4; i++)
				seen += uuid_equal(&views[0].id, &jobs[i].id);
		}
		if (seen != want)
			fail_msg("reach %zu lists %zu instead of %zu", r, seen, want);
	}
}

static void reach_limits_what_is_done(struct fixture *fx)
{
	for (size_t r = 0; r < ARRAY_LEN(reaches); r++) {
		struct job_filter filter = { .reach = reaches[r].reach, .state = JOB_CANCELLED };
		struct new_job jobs[4];
		enum job_state state;
		int64_t want = 0, count;

		jobs_of_all_kinds(fx, jobs);
		for (size_t i = 0; i < 4; i++) {
			int rc = control_cancel(fx->store, &reaches[r].reach, &jobs[i].id, NULL,
						&state, &fx->error);
			if ((rc == 0) != reaches[r].sees[i])
				fail_msg("reach %zu, job %zu is cancelled: %d", r, i, rc);
			want += reaches[r].sees[i];
			rc = control_retry(fx->store, &reaches[r].reach, &jobs[i].id, &state,
					   &fx->error);
			if ((rc == 0) != reaches[r].sees[i])
				fail_msg("reach %zu, job %zu is retried: %d", r, i, rc);
			check_store(fx, control_cancel(fx->store, NULL, &jobs[i].id, NULL, &state,
						       &fx->error));
		}
		check_store(fx, control_redrive(fx->store, &filter, 0, false, NULL, &count,
						&fx->error));
		if (count != want)
			fail_msg("reach %zu redrives %d instead of %d", r, (int)count, (int)want);
		filter.reach = reaches[0].reach;
		check_store(fx, control_redrive(fx->store, &filter, 0, false, NULL, &count,
						&fx->error));
	}
}

static const struct store_case cases[] = {
	{ "limits_what_is_seen", reach_limits_what_is_seen },
	{ "limits_what_is_done", reach_limits_what_is_done },
};

int main(void)
{
	return store_cases_run("store_reach", cases, ARRAY_LEN(cases));
}
