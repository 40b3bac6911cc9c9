/* SPDX-License-Identifier: Apache-2.0 */
/* The contract of a store, the part of the audit: a change and its row are one transaction, pages
 * go from the newest, old rows go. Every case runs on every store. */
#include "common/store/audit.h"

#include "common/job/webhook.h"
#include "common/store/endpoint.h"

#include "tests/integration/store_fixture.h"

static const struct audit_filter everything = { .limit = 100 };

static size_t listed(struct fixture *fx, const struct audit_filter *filter,
		     struct audit_view **views_r)
{
	size_t count = 0;

	check_store(fx, audit_list(fx->other, filter, fx->arena, views_r, &count, &fx->error));
	return count;
}

static struct audit noted(const char *action, const char *object, const char *detail)
{
	return (struct audit){ .who = "ops", .action = action, .object = object, .detail = detail };
}

static void pauses_are_noted(struct fixture *fx)
{
	struct audit pause = noted("queue.pause", "q", NULL);
	struct audit resume = noted("queue.resume", "q", "{\"why\":\"mended\"}");
	struct audit_view *views;

	assert_int_equal(listed(fx, &everything, &views), 0);
	check_store(fx, control_pause(fx->store, "q", true, &pause, &fx->error));
	check_store(fx, control_pause(fx->store, "q", false, &resume, &fx->error));
	check_store(fx, control_pause(fx->store, "q", true, NULL, &fx->error));
	assert_int_equal(listed(fx, &everything, &views), 2);
	assert_string_equal(views[0].who, "ops");
	assert_string_equal(views[0].action, "queue.resume");
	assert_string_equal(views[0].object, "q");
	assert_string_equal(views[0].detail, "{\"why\":\"mended\"}");
	assert_string_equal(views[1].action, "queue.pause");
	assert_null(views[1].detail);
	assert_true(views[0].n > views[1].n && views[0].at_ms >= views[1].at_ms);
}

static void pages_and_filters(struct fixture *fx)
{
	struct audit_filter filter = { .limit = 2 };
	struct audit_view *views;

	for (int i = 0; i < 5; i++) {
		struct audit audit = noted(i % 2 ? "b" : "a", i < 3 ? "x" : "y", NULL);

		check_store(fx, control_pause(fx->store, "q", true, &audit, &fx->error));
	}
	assert_int_equal(listed(fx, &filter, &views), 2);
	filter.before = views[1].n;
	filter.limit = 100;
	assert_int_equal(listed(fx, &filter, &views), 3);
	assert_string_equal(views[2].object, "x");
	filter = (struct audit_filter){ .object = "x", .limit = 100 };
	assert_int_equal(listed(fx, &filter, &views), 3);
	filter.action = "b";
	assert_int_equal(listed(fx, &filter, &views), 1);
	filter = (struct audit_filter){ .who = "nobody", .limit = 100 };
	assert_int_equal(listed(fx, &filter, &views), 0);
}

static void discard_one(struct fixture *fx)
{
	struct new_job job = a_job("mail");

	accept_job(fx, job);
	finish_job(fx, claim_this(fx, &job.id), JOB_DISCARDED);
}

/* What changes nothing leaves no row. */
static void redrives_are_noted(struct fixture *fx)
{
	struct audit audit = noted("jobs.redrive", "", "{\"type\":\"mail\"}");
	struct job_filter filter = { .type = "mail" };
	struct audit_view *views;
	int64_t count;

	check_store(fx, control_redrive(fx->other, &filter, 0, false, &audit, &count, &fx->error));
	assert_int_equal(listed(fx, &everything, &views), 0);
	discard_one(fx);
	check_store(fx, control_redrive(fx->other, &filter, 0, true, &audit, &count, &fx->error));
	assert_int_equal(listed(fx, &everything, &views), 0);
	check_store(fx, control_redrive(fx->other, &filter, 0, false, &audit, &count, &fx->error));
	assert_int_equal(count, 1);
	assert_int_equal(listed(fx, &everything, &views), 1);
	assert_string_equal(views[0].detail, "{\"type\":\"mail\"}");
	assert_int_equal(claim_some(fx, 10).count, 1);
}

static void endpoints_are_noted(struct fixture *fx)
{
	struct audit audit = noted("webhook.enable", "https://app.example/told", NULL);
	struct new_job job = a_job(WEBHOOK_TYPE);
	struct audit_view *views;
	struct completion item;

	assert_int_equal(endpoint_enable(fx->other, audit.object, &audit, &fx->error), -1);
	assert_int_equal(fx->error.code, ERROR_NOT_FOUND);
	assert_int_equal(listed(fx, &everything, &views), 0);
	accept_job(fx, job);
	item = a_finish(claim_this(fx, &job.id), JOB_DISCARDED);
	item.disables = audit.object;
	assert_int_equal(commit_one(fx, &item), COMPLETION_COMMITTED);
	check_store(fx, endpoint_enable(fx->other, audit.object, &audit, &fx->error));
	assert_int_equal(listed(fx, &everything, &views), 1);
	assert_string_equal(views[0].object, "https://app.example/told");
}

static void old_rows_go(struct fixture *fx)
{
	struct audit audit = noted("queue.pause", "q", NULL);
	struct audit_view *views;

	check_store(fx, control_pause(fx->store, "q", true, &audit, &fx->error));
	check_store(fx, maintenance_retention(fx->other, 1000, 60000, &fx->error));
	assert_int_equal(listed(fx, &everything, &views), 1);
	pause_ms(20);
	check_store(fx, maintenance_retention(fx->other, 1, 1, &fx->error));
	assert_int_equal(listed(fx, &everything, &views), 0);
}

static const struct store_case cases[] = {
	{ "pauses_are_noted", pauses_are_noted },       { "pages_and_filters", pages_and_filters },
	{ "redrives_are_noted", redrives_are_noted },   { "old_rows_go", old_rows_go },
	{ "endpoints_are_noted", endpoints_are_noted },
};

int main(void)
{
	return store_cases_run("store_audit", cases, ARRAY_LEN(cases));
}
