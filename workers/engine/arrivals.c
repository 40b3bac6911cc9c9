/* SPDX-License-Identifier: Apache-2.0 */
/* Claimed jobs come in: each becomes a hand and goes to the pool, straight to its end (`sql:`
 * types), on the wire (`http:` types), or back. Also knows how many more may come. */
#include "workers/engine/engine_impl.h"

#include <stdlib.h>

#include "common/base/arena.h"
#include "common/base/clock.h"
#include "common/base/failpoint.h"
#include "workers/engine/http_job.h"
#include "workers/engine/webhook_job.h"
#include "workers/handlers/sql_handler.h"

#define SQL_ROOM      256  /* jobs ahead when none of them needs a host */
#define SHARE_MEMORY  64   /* jobs that the shares look back on */
#define TWIN_DELAY_MS 1000 /* a job that is still in hand from an earlier lease of ours */

/* Calls wait for others, not for hosts. */
static size_t http_room(const struct engine *engine)
{
	size_t most = (size_t)(engine->http_share * HTTP_JOBS_MAX);

	return most > engine->http_count ? most - engine->http_count : 0;
}

size_t arrivals_room(const struct engine *engine)
{
	size_t room, most = inflight_room(engine->inflight);

	if (engine->phase != ENGINE_RUNNING)
		return 0;
	room = pool_room(engine->pool) + (size_t)(engine->sql_share * SQL_ROOM) + http_room(engine);
	return room < most ? room : most;
}

static void end_now(struct engine *engine, struct hand *hand, enum job_outcome outcome,
		    const char *reason)
{
	hand->task.outcome = (struct task_outcome){ .kind = outcome,
						    .reason = reason,
						    .after_ms = hand->after_ms };
	endings_add(engine, &hand->task);
}

static void run_sql(struct engine *engine, struct hand *hand)
{
	struct task *task = &hand->task;
	struct error error;

	task->started_ns = clock_mono_ns();
	task->outcome = (struct task_outcome){ .kind = OUTCOME_DONE };
	if (sql_handler_writes(task->type, task->job, &task->outcome.writes, &error) < 0)
		end_now(engine, hand, OUTCOME_DISCARD,
			arena_strdup(task->job->arena, error.message));
	else
		endings_add(engine, task);
}

void arrivals_run(struct engine *engine, struct hand *hand)
{
	if (engine->phase != ENGINE_RUNNING)
		end_now(engine, hand, OUTCOME_RELEASED, NULL);
	else if (hand->task.type->kind == HANDLER_SQL)
		run_sql(engine, hand);
	else if (hand->task.type->kind == HANDLER_HTTP)
		http_job_run(engine, hand);
	else if (hand->task.type->kind == HANDLER_WEBHOOK)
		webhook_job_run(engine, hand);
	else
		pool_run(engine->pool, &hand->task);
}

static struct hand *hand_new(struct engine *engine, struct claimed_job *job,
			     const struct job_type *type)
{
	struct hand *hand = ARENA_NEW(job->arena, struct hand);
	struct task *task = &hand->task;

	list_init(&task->link);
	list_init(&hand->end.link);
	list_init(&hand->asks);
	list_init(&hand->lent_link);
	list_init(&hand->http_link);
	hand->end.completion = &task->completion;
	hand->cancel_asked = job->cancel_asked;
	task->job = job;
	task->defs = definitions_ref(engine->defs);
	task->type = type;
	task->timeout_ms = job->timeout_ms ? job->timeout_ms : type ? type->timeout_ms : 0;
	task->steps = job->steps;
	task->receipts = job->receipts;
	task->receipt_count = task->receipts_saved = task->receipts_taken = job->receipt_count;
	task->taken_ns = clock_mono_ns();
	return hand;
}

static void remember_kind(struct engine *engine, const struct job_type *type)
{
	double sql = type && type->kind == HANDLER_SQL,
	       http = type && (type->kind == HANDLER_HTTP || type->kind == HANDLER_WEBHOOK);

	engine->sql_share += (sql - engine->sql_share) / SHARE_MEMORY;
	engine->http_share += (http - engine->http_share) / SHARE_MEMORY;
}

static void take(struct engine *engine, struct claimed_job *job, int64_t mono_ms, int64_t wall_ms)
{
	struct receive_verdict verdict;
	struct hand *hand;

	engine->o.consumers->arrive(engine->o.receive, engine->defs, job, mono_ms, &verdict);
	hand = hand_new(engine, job, verdict.type);
	hand->silent = verdict.silent;
	hand->after_ms = verdict.after_ms;
	hand->wait_ms = wall_ms > job->due_ms ? wall_ms - job->due_ms : 0;
	remember_kind(engine, verdict.type);
	if (!inflight_add(engine->inflight, &job->id, hand)) {
		hand->twin = hand->silent = hand->end.twin = true;
		hand->after_ms = TWIN_DELAY_MS;
		end_now(engine, hand, OUTCOME_RELEASED, "still in hand from an earlier lease");
	} else if (FAILPOINT("after_fetch")) {
		end_now(engine, hand, OUTCOME_RELEASED, "failpoint");
	} else if (verdict.end) {
		end_now(engine, hand, verdict.end, verdict.reason);
	} else {
		detach_watch(engine, hand);
		arrivals_run(engine, hand);
	}
}

void arrivals_take(struct engine *engine, struct claimed_job **jobs, size_t count)
{
	int64_t mono_ms = clock_mono_ms(), wall_ms = clock_wall_ms();

	engine->received += count;
	for (size_t i = 0; i < count; i++)
		take(engine, jobs[i], mono_ms, wall_ms);
	free(jobs);
}
