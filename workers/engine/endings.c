/* SPDX-License-Identifier: Apache-2.0 */
/* Attempts that are over: the consumers' side decides what is stored, the effects thread stores it,
 * and what comes back is either gone for good, or was refused by the store and is decided again. */
#include "workers/engine/engine_impl.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/arena.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "workers/engine/conceal.h"
#include "workers/engine/endpoints.h"

#define REFUSALS_MAX     10 /* more than unmet expectations can be, and then some */
#define REFUSED_DELAY_MS 60000

void endings_add(struct engine *engine, struct task *task)
{
	struct hand *hand = hand_of(task);

	CHECK(!hand->ended);
	hand->ended = true;
	if (!task->ended_ns)
		task->ended_ns = clock_mono_ns();
	asks_abort(engine, hand);
	endings_go_on(engine, hand);
}

void endings_go_on(struct engine *engine, struct hand *hand)
{
	if (hand->ended && list_empty(&hand->asks) && !hand->adopting)
		list_append(&engine->endings, &hand->task.link);
}

/* What the handler said, with what only the engine knows. */
static void describe(const struct hand *hand, struct attempt_end *end_r)
{
	const struct task *task = &hand->task;
	const struct task_outcome *outcome = &task->outcome;

	*end_r = (struct attempt_end){
		.job = task->job,
		.type = task->type,
		.outcome = outcome->kind,
		.again = outcome->again,
		.again_count = task->again_count,
		.cancel_asked = hand->cancel_asked,
		.after_ms = outcome->after_ms,
		.reason = outcome->reason,
		.result = outcome->result,
		.writes = outcome->writes,
		.receipts = task->receipts + task->receipts_saved,
		.receipt_count = task->receipt_count - task->receipts_saved,
		.disables = outcome->disables,
		.forbidden = hand->forbidden,
		.park = hand->park,
		.lost = hand->lost,
	};
	if (outcome->kind != OUTCOME_CANCELLED || hand->cancel_asked)
		return;
	/* It stopped because it was told to, but nobody had asked for its end. */
	end_r->outcome = task->cancel == TASK_CANCEL_TIMEOUT ? OUTCOME_RETRY : OUTCOME_RELEASED;
	end_r->after_ms = task->cancel == TASK_CANCEL_TIMEOUT ? -1 : 0;
	end_r->reason = task->cancel == TASK_CANCEL_TIMEOUT ? "timed out" : NULL;
}

static void run_again(struct engine *engine, struct hand *hand)
{
	struct task *task = &hand->task;

	task->again_count++;
	task->outcome = (struct task_outcome){ 0 };
	task->cancel = TASK_GO_ON;
	task->started_ns = task->ended_ns = 0;
	task->host = NULL;
	hand->ended = false;
	hand->forbidden = hand->park = NULL;
	hand->after_ms = 0;
	arrivals_run(engine, hand);
}

static void settle(struct engine *engine, struct hand *hand, const struct attempt_end *end)
{
	const struct settings *settings = engine->o.service->settings;
	const struct settle_rules rules = { .result_bytes_max = (size_t)settings->result_bytes_max,
					    .publishes = *settings->broker_url != '\0' };
	struct attempt_end told = *end;

	told.reason = conceal_variables(end->type, end->reason, end->job->arena);
	told.park = conceal_variables(end->type, end->park, end->job->arena);
	if (!engine->o.consumers->settle(&told, &rules, &hand->task.completion)) {
		run_again(engine, hand);
		return;
	}
	hand->end.contentions = 0;
	list_append(&engine->submits, &hand->end.link);
	engine->submit_count++;
}

void endings_page(struct engine *engine)
{
	/* One that runs again may be back at once: it waits for the next page, so that this ends.
	 */
	struct list ended;

	list_init(&ended);
	while (!list_empty(&engine->endings)) {
		struct list *first = engine->endings.next;

		list_remove(first);
		list_append(&ended, first);
	}
	while (!list_empty(&ended)) {
		struct task *task = list_first(&ended, struct task, link);
		struct attempt_end end;

		list_remove(&task->link);
		describe(hand_of(task), &end);
		settle(engine, hand_of(task), &end);
	}
}

static void hand_free(struct hand *hand)
{
	struct definitions *defs = hand->task.defs;
	struct arena *arena = hand->task.job->arena;

	CHECK(list_empty(&hand->asks));
	list_remove(&hand->lent_link);
	arena_free(&arena);
	definitions_unref(&defs);
}

static void gone(struct engine *engine, struct hand *hand)
{
	struct task *task = &hand->task;
	const struct completion *completion = &task->completion;
	const struct outcome_times times = {
		.wait_ms = hand->wait_ms,
		.started_ns = task->started_ns,
		.ended_ns = task->ended_ns,
		.committed_ns = hand->end.committed_ns,
		.wall_ms = clock_wall_ms(),
	};

	if (completion->fate == COMPLETION_COMMITTED && completion->kind == COMPLETION_LATER &&
	    completion->delay_ms > 0)
		keeper_due(engine->keeper, completion->delay_ms);
	if (completion->fate == COMPLETION_COMMITTED && completion->kind == COMPLETION_FINISH)
		keeper_ended(engine->keeper, &task->job->id);
	if (completion->fate == COMPLETION_COMMITTED && completion->disables)
		endpoints_add(engine->endpoints, completion->disables);
	if (hand->lost)
		task->completion.fate = COMPLETION_LOST;
	if (!hand->silent)
		outcome_log_add(engine->log, task->type ? task->type->name : task->job->type,
				completion, &times);
	if (!hand->twin)
		inflight_remove(engine->inflight, &task->job->id);
	hand_free(hand);
}

/* Even an end without writes was refused: the text must be at fault. The job waits, without
 * anybody's text. */
static void give_up(const struct hand *hand, const struct completion *completion,
		    struct attempt_end *end)
{
	char id[UUID_TEXT];

	log_line(LOG_ERROR, "end-refused", LOG_S("id", uuid_format(&hand->task.job->id, id)),
		 LOG_S("type", hand->task.job->type), LOG_S("error", completion->error.message));
	end->again = false;
	end->outcome = OUTCOME_RELEASED;
	end->after_ms = REFUSED_DELAY_MS;
	end->reason = "the store refuses to record its end";
	end->receipt_count = 0;
}

/* So that a second refusal is not taken for the first. */
static void remember(struct hand *hand, const struct attempt_end *end)
{
	hand->task.outcome = (struct task_outcome){
		.kind = end->outcome,
		.again = end->again,
		.after_ms = end->after_ms,
		.reason = end->reason,
		.disables = end->disables,
	};
}

void endings_back(struct engine *engine, struct effect *effect)
{
	struct hand *hand = list_entry(effect, struct hand, end);
	const struct completion *completion = effect->completion;
	struct attempt_end end;

	if (completion->fate == COMPLETION_COMMITTED || completion->fate == COMPLETION_LOST) {
		gone(engine, hand);
		return;
	}
	if (!completion->fate) { /* the effects thread was stopped */
		if (hand->twin)
			hand_free(hand);
		return;
	}
	describe(hand, &end);
	engine->o.consumers->refused(completion, &end);
	if (++hand->refusals >= REFUSALS_MAX)
		give_up(hand, completion, &end);
	remember(hand, &end);
	settle(engine, hand, &end);
}

static void drop_twins(struct list *effects)
{
	while (!list_empty(effects)) {
		/* or a step, or an adoption */
		struct effect *effect = list_first(effects, struct effect, link);

		list_remove(&effect->link);
		if (effect->twin && !effect->adopts)
			hand_free(list_entry(effect, struct hand, end));
	}
}

void endings_drop(struct engine *engine)
{
	struct uuid id;

	endings_page(engine);
	drop_twins(&engine->submits);
	while (inflight_ids(engine->inflight, &id, 1) == 1) {
		struct hand *hand = inflight_get(engine->inflight, &id);

		list_init(&hand->asks);
		inflight_remove(engine->inflight, &id);
		hand_free(hand);
	}
}
