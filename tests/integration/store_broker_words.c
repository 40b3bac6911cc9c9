/* SPDX-License-Identifier: Apache-2.0 */
/* See store_broker_words.h. */
#include "tests/integration/store_broker_words.h"

const struct uuid broker = { { 0xb0, 1, 2, 3, 4, 5, 0x50, 7, 0x80, 9 } };

struct claim dispatch_some(struct fixture *fx, const char *queue, size_t max, int64_t lease_ms)
{
	struct dispatch_request request = {
		.owner = broker, .queue = queue, .max = max, .lease_ms = lease_ms
	};
	struct claim claim;

	uuid_v7(&request.batch);
	check_store(fx, dispatch_take(fx->store, &request, fx->arena, &claim, &fx->error));
	hold(fx, &claim);
	return claim;
}

struct claimed_job *dispatch_one(struct fixture *fx)
{
	struct claim claim = dispatch_some(fx, "q", 1, 60000);

	assert_int_equal(claim.count, 1);
	return claim.jobs[0];
}

struct claimed_job *dispatched_job(struct fixture *fx)
{
	accept_job(fx, a_job("mail"));
	return dispatch_one(fx);
}

int64_t jobs_out(struct fixture *fx, const char *queue)
{
	struct dispatch_view *views;
	size_t count;

	check_store(fx, dispatch_survey(fx->other, &broker, fx->arena, &views, &count, &fx->error));
	for (size_t i = 0; i < count; i++) {
		assert_true(views[i].out == 0 || views[i].oldest_ms >= 0);
		if (strcmp(views[i].queue, queue) == 0)
			return views[i].out;
	}
	return 0;
}

void admit_all(struct fixture *fx, struct admission *items, size_t count)
{
	struct claim claim = { .jobs = ARENA_ARRAY(fx->arena, struct claimed_job *, count) };

	check_store(fx, admission_check(fx->other, items, count, KEEP_MS, &fx->error));
	for (size_t i = 0; i < count; i++)
		if (items[i].job)
			claim.jobs[claim.count++] = items[i].job;
	hold(fx, &claim);
}

struct admission delivery(const struct claimed_job *job)
{
	return (struct admission){ .id = job->id, .batch = job->batch, .attempt = job->attempt };
}

enum admission_verdict admit_one(struct fixture *fx, struct admission item)
{
	admit_all(fx, &item, 1);
	return item.verdict;
}

enum admission_verdict admit_foreign(struct fixture *fx, const struct uuid *id)
{
	return admit_one(fx, (struct admission){ .id = *id });
}

/* A message of somebody else, as a subscriber makes a job of it; every take has a batch id. */
struct claimed_job *a_message(struct fixture *fx, const struct uuid *id)
{
	struct claimed_job *job = ARENA_NEW(fx->arena, struct claimed_job);

	*job = (struct claimed_job){
		.id = *id,
		.tenant = "",
		.owner = "source:partner",
		.queue = "q",
		.type = "order",
		.payload = "{\"n\": 1}",
		.payload_bytes = 8,
		.priority = PRIORITY_NORMAL,
		.attempt = 1,
		.max_attempts = 4,
		.tags = "[\"a\"]",
		.traceparent = "00-1-2-01",
		.unchecked = true,
		.source = "partner",
	};
	uuid_v7(&job->batch);
	return job;
}

struct claimed_job *new_message(struct fixture *fx)
{
	struct uuid id;

	uuid_v7(&id);
	return a_message(fx, &id);
}

struct completion an_adoption(const struct claimed_job *job)
{
	struct completion item = { .kind = COMPLETION_ADOPT, .job = job };

	uuid_v7(&item.adopted);
	return item;
}

/* As commit_one, for the session that adopts. */
enum completion_fate adopt(struct fixture *fx, enum completion_mode mode, struct completion *item)
{
	struct completion_batch batch = {
		.items = &item, .count = 1, .mode = mode, .session = fx->session
	};
	struct claim claim;

	check_store(fx, completion_commit(fx->store, &batch, fx->arena, &claim, &fx->error));
	return item->fate;
}

void release_leases(struct fixture *fx, int64_t want)
{
	int64_t released;

	check_store(fx, maintenance_release(fx->other, &released, &fx->error));
	assert_int_equal(released, want);
}

size_t listed(struct fixture *fx, enum job_state state)
{
	struct job_filter filter = { .state = state, .queue = "q", .type = "mail", .limit = 1000 };
	struct job_view *views;
	size_t count;

	check_store(fx, query_jobs(fx->other, &filter, fx->arena, &views, &count, &fx->error));
	for (size_t i = 0; i < count; i++)
		assert_int_equal(views[i].state, state);
	return count;
}

bool cancel_asked(struct fixture *fx, const struct uuid *id)
{
	bool yes;

	check_store(fx, control_cancels(fx->other, id, 1, &yes, &fx->error));
	return yes;
}

enum job_state cancel_job(struct fixture *fx, const struct uuid *id)
{
	enum job_state state;

	check_store(fx, control_cancel(fx->other, NULL, id, "no more", &state, &fx->error));
	return state;
}
