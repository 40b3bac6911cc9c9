/* SPDX-License-Identifier: Apache-2.0 */
/* Jobs that a broker delivered become the worker's own when they take long, so that their messages
 * can be acknowledged before a broker loses patience; and before their first step when the store
 * has no row of them. While an adoption is under way nothing else of the job is: its end and its
 * steps wait for the answer. */
#include "common/base/clock.h"
#include "common/base/log.h"
#include "workers/engine/engine_impl.h"

/* However long a type may stay: a dispatched job's lease runs out, and it was not taken at once. */
static int64_t bounded_ms(const struct engine *engine, int64_t after_ms)
{
	const struct settings *settings = engine->o.service->settings;
	int64_t most_ms = settings->dispatch_lease_ms / 2;

	if (!after_ms)
		after_ms = settings->detach_after_ms;
	return most_ms && after_ms > most_ms ? most_ms : after_ms;
}

static int64_t detach_after_ns(const struct engine *engine, const struct hand *hand)
{
	return bounded_ms(engine, hand->task.type->detach_after_ms) * 1000000;
}

void detach_learn(struct engine *engine)
{
	int64_t least_ms = bounded_ms(engine, 0);

	for (size_t i = 0; i < definitions_type_count(engine->defs); i++) {
		const struct job_type *type = definitions_type_at(engine->defs, i);
		int64_t after_ms = bounded_ms(engine, type->detach_after_ms);

		least_ms = after_ms < least_ms ? after_ms : least_ms;
	}
	/* hands of older definitions may still be there: the least of all times is never missed */
	if (!engine->detach_least_ns || least_ms * 1000000 < engine->detach_least_ns)
		engine->detach_least_ns = least_ms * 1000000;
}

static void wake_at(struct engine *engine, int64_t due_ns)
{
	if (engine->detach_ns && engine->detach_ns <= due_ns)
		return;
	engine->detach_ns = due_ns;
	loop_timer_set(engine->detach, due_ns);
}

void detach_watch(struct engine *engine, struct hand *hand)
{
	if (!hand->task.job->delivered)
		return;
	hand->lent = true;
	list_append(&engine->lent, &hand->lent_link);
	wake_at(engine, hand->task.taken_ns + engine->detach_least_ns);
}

static void forget(struct hand *hand)
{
	hand->lent = false;
	list_remove(&hand->lent_link);
}

void detach_now(struct engine *engine, struct hand *hand)
{
	CHECK(hand->lent && !hand->adopting);
	forget(hand);
	hand->adopting = true;
	if (!hand->adoption)
		hand->adoption = ARENA_NEW(hand->task.job->arena, struct completion);
	*hand->adoption = (struct completion){ .kind = COMPLETION_ADOPT, .job = hand->task.job };
	uuid_v7(&hand->adoption->adopted);
	/* a step of it may be with the effects thread already */
	hand->adopt = (struct effect){ .completion = hand->adoption,
				       .twin = true,
				       .adopts = hand->task.job };
	list_init(&hand->adopt.link);
	list_append(&engine->submits, &hand->adopt.link);
	engine->submit_count++;
}

/* The list is in the order of arrival, so it is walked no further than the first that nobody's
 * time-out concerns yet. */
void detach_due(void *ctx)
{
	struct engine *engine = ctx;
	int64_t now_ns = clock_mono_ns(), next_ns = 0;
	struct list *next;

	engine->detach_ns = 0;
	for (struct list *at = engine->lent.next; at != &engine->lent; at = next) {
		struct hand *hand = list_entry(at, struct hand, lent_link);
		int64_t due_ns = hand->task.taken_ns + detach_after_ns(engine, hand);
		int64_t least_ns = hand->task.taken_ns + engine->detach_least_ns;

		next = at->next;
		if (!hand->ended && due_ns <= now_ns) {
			detach_now(engine, hand);
			continue;
		}
		if (hand->ended) /* it may run again */
			due_ns = now_ns + engine->detach_least_ns;
		if (!next_ns || due_ns < next_ns)
			next_ns = due_ns;
		if (least_ns > now_ns) {
			next_ns = least_ns < next_ns ? least_ns : next_ns;
			break;
		}
	}
	if (next_ns)
		wake_at(engine, next_ns);
}

/* Somebody else has it, or its end: nothing that it does from now on is stored. */
static void lost(struct engine *engine, struct hand *hand)
{
	char id[UUID_TEXT];

	log_line(LOG_WARN, "job-lost", LOG_S("id", uuid_format(&hand->task.job->id, id)),
		 LOG_S("type", hand->task.job->type));
	hand->lost = true;
	asks_cancel(engine, hand);
}

/* The store did not take it: tried again after a while, as if it had just come in. */
static void watch_again(struct engine *engine, struct hand *hand)
{
	hand->lent = true;
	hand->task.taken_ns = clock_mono_ns();
	list_append(&engine->lent, &hand->lent_link);
	wake_at(engine, hand->task.taken_ns + engine->detach_least_ns);
}

void detach_back(struct engine *engine, struct effect *effect)
{
	struct hand *hand = list_entry(effect, struct hand, adopt);
	const struct completion *done = effect->completion;
	bool ended = hand->ended; /* or it ends as lost, and is on its way already */

	hand->adopting = false;
	if (!done->fate)
		return; /* the effects thread was stopped: endings_drop frees it */
	if (done->fate == COMPLETION_LOST)
		lost(engine, hand);
	else if (done->fate != COMPLETION_COMMITTED)
		watch_again(engine, hand);
	asks_adopted(engine, hand, done);
	if (ended)
		endings_go_on(engine, hand);
}
