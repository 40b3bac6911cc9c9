/* SPDX-License-Identifier: Apache-2.0 */
/* What those who watch ask of a store: many jobs at once, as one by one; and which have moved since
 * a moment. Every case runs on every store. */
#include "common/base/clock.h"
#include "tests/integration/store_fixture.h"

static void same_text(const char *got, const char *want)
{
	if (got && want)
		assert_string_equal(got, want);
	else
		assert_true(!got && !want);
}

static void same_view(const struct job_view *got, const struct job_view *want)
{
	assert_uuid(&got->id, &want->id);
	assert_int_equal(got->state, want->state);
	assert_int_equal(got->attempt, want->attempt);
	assert_int_equal(got->created_ms, want->created_ms);
	assert_int_equal(got->due_ms, want->due_ms);
	assert_int_equal(got->finished_ms, want->finished_ms);
	assert_int_equal(got->cancel_asked, want->cancel_asked);
	assert_true(got->progress == want->progress);
	same_text(got->progress_note, want->progress_note);
	same_text(got->type, want->type);
	same_text(got->queue, want->queue);
	same_text(got->tags, want->tags);
	same_text(got->payload, want->payload);
	same_text(got->result, want->result);
	same_text(got->reason, want->reason);
	same_text(got->steps, want->steps);
	assert_int_equal(got->attempt_count, want->attempt_count);
	for (size_t i = 0; i < got->attempt_count; i++) {
		assert_int_equal(got->attempts[i].attempt, want->attempts[i].attempt);
		assert_int_equal(got->attempts[i].outcome, want->attempts[i].outcome);
		same_text(got->attempts[i].reason, want->attempts[i].reason);
	}
}

/* One in each state. */
static size_t all_kinds(struct fixture *fx, struct uuid *ids)
{
	struct new_job tagged = a_job("mail"), later = a_job("later");
	struct progress progress = { .part = 0.25, .note = "a quarter" };
	struct completion item;
	struct claimed_job *job;

	tagged.tags = "[\"a\",\"b\"]";
	ids[0] = accept_job(fx, tagged).id;
	finish_job(fx, claim_this(fx, &ids[0]), JOB_COMPLETED);
	ids[1] = accept_job(fx, a_job("mail")).id;
	job = claim_this(fx, &ids[1]);
	item = a_step(job, "one", "{\"x\":1}");
	assert_int_equal(commit_one(fx, &item), COMPLETION_COMMITTED);
	item = a_retry(job, 60000);
	item.reason = "not yet";
	assert_int_equal(commit_one(fx, &item), COMPLETION_COMMITTED);
	ids[2] = accept_job(fx, a_job("thumb")).id;
	job = claim_this(fx, &ids[2]);
	progress.id = ids[2];
	progress.attempt = job->attempt;
	check_store(fx, progress_save(fx->store, &progress, 1, &fx->error));
	later.delay_ms = 60000;
	ids[3] = accept_job(fx, later).id;
	ids[4] = accept_job(fx, a_job("mail")).id;
	return 5;
}

static void many_as_one_by_one(struct fixture *fx)
{
	struct uuid ids[6];
	size_t count = all_kinds(fx, ids);
	struct job_view views[6];
	int64_t now_ms = 0;
	bool found[6];

	uuid_v7(&ids[count]);
	check_store(fx, query_views(fx->other, ids, count + 1, fx->arena, found, views, &now_ms,
				    &fx->error));
	for (size_t i = 0; i < count; i++) {
		struct job_view one = view_of(fx, &ids[i]);

		assert_true(found[i]);
		same_view(&views[i], &one);
	}
	assert_false(found[count]);
	assert_true(now_ms > clock_wall_ms() - 60000 && now_ms < clock_wall_ms() + 60000);
}

static bool moved(struct fixture *fx, struct moved_filter filter, const struct uuid *id)
{
	struct uuid ids[100];
	bool found = false;
	size_t count;

	filter.limit = ARRAY_LEN(ids);
	check_store(fx, query_moved(fx->other, &filter, ids, &count, &fx->error));
	for (size_t i = 0; i < count; i++) {
		found |= uuid_equal(&ids[i], id);
		assert_true(i == 0 || uuid_compare(&ids[i], &ids[i - 1]) < 0);
	}
	return found;
}

static void what_moved_since(struct fixture *fx)
{
	int64_t before_ms = clock_wall_ms() - 2000, after_ms = clock_wall_ms() + 60000;
	struct uuid ids[6];
	size_t count = all_kinds(fx, ids);

	for (size_t i = 0; i < count; i++)
		assert_true(moved(fx, (struct moved_filter){ .since_ms = before_ms }, &ids[i]));
	assert_true(
		moved(fx, (struct moved_filter){ .since_ms = before_ms, .ended = true }, &ids[0]));
	assert_false(
		moved(fx, (struct moved_filter){ .since_ms = before_ms, .ended = true }, &ids[1]));
	assert_false(moved(fx, (struct moved_filter){ .since_ms = after_ms }, &ids[0]));
	assert_false(moved(fx, (struct moved_filter){ .since_ms = after_ms }, &ids[4]));
}

static void of_filters_and_reach(struct fixture *fx)
{
	static const struct reach_rule thumbs = { .type = "th*" };
	int64_t since_ms = clock_wall_ms() - 2000;
	struct moved_filter tag = { .since_ms = since_ms, .tag = "b" },
			    type = { .since_ms = since_ms, .type = "thumb" },
			    queue = { .since_ms = since_ms, .queue = "elsewhere" },
			    owner = { .since_ms = since_ms, .reach = { .owner = "nobody" } },
			    rules = { .since_ms = since_ms,
				      .reach = { .rules = &thumbs, .rule_count = 1 } };
	struct uuid ids[6];

	all_kinds(fx, ids);
	assert_true(moved(fx, tag, &ids[0]));
	assert_false(moved(fx, tag, &ids[1]));
	assert_true(moved(fx, type, &ids[2]));
	assert_false(moved(fx, type, &ids[0]));
	assert_false(moved(fx, queue, &ids[0]));
	assert_false(moved(fx, owner, &ids[0]));
	assert_true(moved(fx, rules, &ids[2]));
	assert_false(moved(fx, rules, &ids[1]));
}

/* Page by page, each once. */
static void pages(struct fixture *fx)
{
	struct moved_filter filter = { .since_ms = clock_wall_ms() - 2000, .limit = 7 };
	size_t seen = 0, count;
	struct uuid ids[7], jobs[30];

	for (int i = 0; i < 30; i++)
		jobs[i] = accept_job(fx, a_job("paged")).id;
	filter.type = "paged";
	do {
		check_store(fx, query_moved(fx->other, &filter, ids, &count, &fx->error));
		for (size_t i = 0; i < count; i++, seen++)
			assert_uuid(&ids[i], &jobs[29 - seen]);
		if (count)
			filter.before = ids[count - 1];
	} while (count == filter.limit);
	assert_int_equal(seen, 30);
}

static const struct store_case cases[] = {
	{ "many_as_one_by_one", many_as_one_by_one },
	{ "what_moved_since", what_moved_since },
	{ "of_filters_and_reach", of_filters_and_reach },
	{ "pages", pages },
};

int main(void)
{
	return store_cases_run("store_watched", cases, ARRAY_LEN(cases));
}
