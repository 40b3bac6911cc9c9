/* SPDX-License-Identifier: Apache-2.0 */
/* When jobs are adopted, and what the answer means for steps and ends that wait for it. The engine
 * is made up as far as this needs it: no pool, no threads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/arena.h"
#include "common/base/clock.h"
#include "workers/engine/engine_impl.h"

#define HANDS 4

static const char yaml[] = "jobs:\n"
			   "  slow: {sql: SELECT 1, detach_after: 100s}\n"
			   "  quick: {sql: SELECT 1, detach_after: 1s}\n"
			   "  plain: {sql: SELECT 1}\n";

static struct engine *engine;
static struct settings settings = { .detach_after_ms = 10000 };
static struct service service = { .settings = &settings };
static struct hand *hands[HANDS];
static size_t hand_count;

static int setup(void **state)
{
	(void)state;
	engine = xcalloc(1, sizeof(*engine));
	engine->o.service = &service;
	engine->defs = definitions_parse(yaml, strlen(yaml), "test.yaml", stderr);
	engine->loop = loop_new();
	engine->detach = loop_timer_new(engine->loop, detach_due, engine);
	engine->answers = mailbox_new(8);
	list_init(&engine->lent);
	list_init(&engine->submits);
	list_init(&engine->endings);
	settings.dispatch_lease_ms = 60000;
	detach_learn(engine);
	hand_count = 0;
	return engine->defs ? 0 : -1;
}

static int teardown(void **state)
{
	(void)state;
	for (size_t i = 0; i < hand_count; i++)
		arena_free(&(struct arena *){ hands[i]->task.job->arena });
	mailbox_free(&engine->answers);
	loop_timer_free(&engine->detach);
	loop_free(&engine->loop);
	definitions_unref(&engine->defs);
	free(engine);
	return 0;
}

/* A hand that came in so long ago. */
static struct hand *hand_of_type(const char *type, int64_t age_ms, const char *source)
{
	struct arena *arena = arena_new(0);
	struct claimed_job *job = ARENA_NEW(arena, struct claimed_job);
	struct hand *hand = ARENA_NEW(arena, struct hand);

	job->arena = arena;
	job->type = type;
	job->delivered = true;
	job->source = source;
	hand->task.job = job;
	hand->task.type = definitions_type(engine->defs, type);
	hand->task.taken_ns = clock_mono_ns() - age_ms * 1000000;
	list_init(&hand->task.link);
	list_init(&hand->asks);
	list_init(&hand->lent_link);
	detach_watch(engine, hand);
	hands[hand_count++] = hand;
	return hand;
}

/* The adoption comes back from the effects thread. */
static void answer(struct hand *hand, enum completion_fate fate)
{
	assert_true(hand->adopting);
	list_remove(&hand->adopt.link);
	engine->submit_count--;
	hand->adoption->fate = fate;
	error_set(&hand->adoption->error, ERROR_SQL, "broken");
	detach_back(engine, &hand->adopt);
}

static struct open_ask *ask_step(struct hand *hand)
{
	struct task_ask *ask = ARENA_NEW(hand->task.job->arena, struct task_ask);

	*ask = (struct task_ask){
		.task = &hand->task, .kind = TASK_ASK_STEP, .step = "a", .step_value = "1"
	};
	asks_open(engine, ask);
	return list_entry(hand->asks.prev, struct open_ask, link);
}

static void answered(const char *want)
{
	void *item;

	assert_int_equal(mailbox_take(engine->answers, &item, 1, 0), 1);
	if (!strstr(((struct answer *)item)->members.data, want))
		fail_msg("answered %s", ((struct answer *)item)->members.data);
	strbuf_release(&((struct answer *)item)->members);
	free(((struct answer *)item)->error);
	free(item);
}

static void those_that_take_long_are_adopted(void **state)
{
	struct hand *slow = hand_of_type("slow", 25000, NULL),
		    *plain = hand_of_type("plain", 20000, NULL),
		    *quick = hand_of_type("quick", 2000, NULL),
		    *young = hand_of_type("quick", 0, NULL);

	(void)state;
	detach_due(engine);
	assert_false(slow->adopting);
	assert_true(plain->adopting);
	assert_true(quick->adopting);
	assert_false(young->adopting);
	assert_int_equal(engine->submit_count, 2);
	assert_true(plain->adopt.twin && plain->adopt.adopts == plain->task.job);
	assert_int_equal(plain->adoption->kind, COMPLETION_ADOPT);
	assert_false(uuid_is_nil(&plain->adoption->adopted));
	assert_true(engine->detach_ns > 0);
	assert_in_range(engine->detach_ns - clock_mono_ns(), 1, INT64_C(1000000000));
	answer(plain, COMPLETION_COMMITTED);
	detach_due(engine); /* once is enough */
	assert_false(plain->adopting || plain->lost);
	assert_int_equal(engine->submit_count, 1);
}

/* Its type would let it stay for longer than its lease. */
static void none_outlives_its_lease(void **state)
{
	struct hand *hand = hand_of_type("slow", 40000, NULL);

	(void)state;
	detach_due(engine);
	assert_true(hand->adopting);
}

static void claimed_jobs_stay_what_they_are(void **state)
{
	struct hand *hand = hand_of_type("quick", 0, NULL);

	(void)state;
	list_remove(&hand->lent_link);
	hand->lent = false;
	hand->task.job->delivered = false;
	detach_watch(engine, hand);
	assert_true(list_empty(&engine->lent) && !hand->lent);
}

static void ended_ones_are_let_be(void **state)
{
	struct hand *hand = hand_of_type("quick", 5000, NULL);

	(void)state;
	hand->ended = true;
	detach_due(engine);
	assert_false(hand->adopting);
	hand->ended = false; /* it runs again */
	detach_due(engine);
	assert_true(hand->adopting);
}

static void an_end_waits_for_the_answer(void **state)
{
	struct hand *hand = hand_of_type("quick", 5000, NULL);

	(void)state;
	detach_due(engine);
	endings_add(engine, &hand->task);
	assert_true(list_empty(&engine->endings));
	answer(hand, COMPLETION_COMMITTED);
	assert_false(list_empty(&engine->endings));
	assert_ptr_equal(engine->endings.next, &hand->task.link);
}

static void a_foreign_step_comes_after_the_adoption(void **state)
{
	struct hand *hand = hand_of_type("plain", 0, "s");
	struct open_ask *open = ask_step(hand);

	(void)state;
	assert_true(hand->adopting && !open->started);
	assert_int_equal(engine->submit_count, 1);
	hand->task.job->source = NULL; /* as the effects thread does it */
	answer(hand, COMPLETION_COMMITTED);
	assert_true(open->started);
	assert_int_equal(engine->submit_count, 1);
	assert_ptr_equal(engine->submits.next, &open->effect.link);
}

static void steps_of_ours_need_none(void **state)
{
	struct hand *hand = hand_of_type("plain", 0, NULL);
	struct open_ask *open = ask_step(hand);

	(void)state;
	assert_true(open->started && !hand->adopting);
}

static void a_lost_job_makes_no_step(void **state)
{
	struct hand *hand = hand_of_type("plain", 0, "s");

	(void)state;
	ask_step(hand);
	answer(hand, COMPLETION_LOST);
	assert_true(hand->lost && !hand->lent);
	answered("not this worker's");
	assert_int_equal(engine->submit_count, 0);
	ask_step(hand);
	assert_false(hand->adopting);
}

static void a_refused_adoption_is_tried_again(void **state)
{
	struct hand *hand = hand_of_type("quick", 5000, "s");

	(void)state;
	ask_step(hand);
	answer(hand, COMPLETION_FAILED);
	answered("broken");
	assert_true(hand->lent && !hand->lost);
	detach_due(engine);
	assert_false(hand->adopting); /* not at once */
	hand->task.taken_ns -= INT64_C(5000000000);
	detach_due(engine);
	assert_true(hand->adopting);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(those_that_take_long_are_adopted),
		TEST(none_outlives_its_lease),
		TEST(claimed_jobs_stay_what_they_are),
		TEST(ended_ones_are_let_be),
		TEST(an_end_waits_for_the_answer),
		TEST(a_foreign_step_comes_after_the_adoption),
		TEST(steps_of_ours_need_none),
		TEST(a_lost_job_makes_no_step),
		TEST(a_refused_adoption_is_tried_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
