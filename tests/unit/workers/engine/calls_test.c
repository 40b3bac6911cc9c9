/* SPDX-License-Identifier: Apache-2.0 */
/* What is written down about calls, and when: intents, receipts, and nothing twice. The engine is
 * made up as far as this needs it: no pool, no threads, and a remote that is gone already. What
 * calls do is tests/scenario/test_http_jobs.py. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/arena.h"
#include "workers/engine/engine_impl.h"

static const char yaml[] = "jobs:\n"
			   "  charge: {exec: [charge], env: [CALLS_TEST_TOKEN]}\n"
			   "targets:\n"
			   "  parks: {url: \"http://127.0.0.1:1/park\", ambiguous: park}\n"
			   "  asks: {url: \"http://127.0.0.1:1/ask\", ambiguous: lookup,"
			   " lookup: {url: \"http://127.0.0.1:1/found/${call.key}\"}}\n";

#define PARK  "http://127.0.0.1:1/park"
#define ASK   "http://127.0.0.1:1/ask"
#define PLAIN "http://127.0.0.1:1/plain"

static struct engine *engine;
static struct hand *hand;
static char told[200];

static bool settle(const struct attempt_end *end, const struct settle_rules *rules,
		   struct completion *completion_r)
{
	(void)rules;
	(void)completion_r;
	snprintf(told, sizeof(told), "%s", end->park);
	return true;
}

static struct hand *hand_of_type(const char *type)
{
	struct arena *arena = arena_new(0);
	struct claimed_job *job = ARENA_NEW(arena, struct claimed_job);
	struct hand *made = ARENA_NEW(arena, struct hand);

	job->arena = arena;
	job->type = type;
	made->task.job = job;
	made->task.defs = engine->defs;
	made->task.type = definitions_type(engine->defs, type);
	list_init(&made->asks);
	list_init(&made->lent_link);
	return made;
}

static int setup(void **state)
{
	(void)state;
	engine = xcalloc(1, sizeof(*engine));
	engine->defs = definitions_parse(yaml, strlen(yaml), "test.yaml", stderr);
	if (!engine->defs)
		return -1;
	engine->answers = mailbox_new(8);
	list_init(&engine->submits);
	list_init(&engine->endings);
	hand = hand_of_type("charge");
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	while (mailbox_count(engine->answers) > 0)
		asks_page(engine);
	arena_free(&(struct arena *){ hand->task.job->arena });
	mailbox_free(&engine->answers);
	definitions_unref(&engine->defs);
	free(engine);
	return 0;
}

static struct open_ask *call(const char *step, const char *url, const char *header)
{
	struct arena *arena = hand->task.job->arena;
	struct task_ask *ask = ARENA_NEW(arena, struct task_ask);
	const char **headers = ARENA_ARRAY(arena, const char *, 2);

	headers[0] = header;
	*ask = (struct task_ask){
		.task = &hand->task,
		.kind = TASK_ASK_CALL,
		.call = { .step = step, .method = "POST", .url = url, .headers = headers },
	};
	asks_open(engine, ask);
	return list_entry(hand->asks.prev, struct open_ask, link);
}

/* The transaction that carries its intent comes back from the effects thread. */
static void store(struct open_ask *open, enum completion_fate fate)
{
	assert_true(open->started);
	list_remove(&open->effect.link);
	engine->submit_count--;
	open->completion->fate = fate;
	asks_step_back(engine, &open->effect);
}

/* Takes the next answer, which must be this one, and passes it on: as it is, or as another. */
static void answered(enum remote_fate fate, const char *error, int status)
{
	struct answer *answer;
	void *item;

	assert_int_equal(mailbox_take(engine->answers, &item, 1, 0), 1);
	answer = item;
	assert_int_equal(answer->fate, fate);
	if (!strstr(answer->error, error))
		fail_msg("answered %s", answer->error);
	answer->fate = status ? REMOTE_ANSWERED : fate;
	answer->status = status;
	assert_true(mailbox_send(engine->answers, answer));
	asks_page(engine);
}

static void not_sent(void)
{
	answered(REMOTE_NOT_SENT, "stopping", 0);
}

/* As if there were a remote. */
static void replied(int status)
{
	answered(REMOTE_NOT_SENT, "stopping", status);
}

/* What is not known to the store yet has the step once, with that status. */
static void unsaved(const char *step, int status)
{
	size_t seen = 0;

	for (size_t i = hand->task.receipts_saved; i < hand->task.receipt_count; i++) {
		if (strcmp(hand->task.receipts[i].step, step) != 0)
			continue;
		assert_int_equal(hand->task.receipts[i].status, status);
		seen++;
	}
	assert_int_equal(seen, 1);
}

/* An earlier attempt was about to make this call. */
static void put_intent(const char *step)
{
	struct task *task = &hand->task;

	task->receipts = ARENA_ARRAY(task->job->arena, struct receipt, 1);
	task->receipts[0] = (struct receipt){ .step = step, .status = RECEIPT_INTENT };
	task->receipt_count = task->receipts_saved = task->receipts_taken = 1;
}

/* It would be found by the next attempt, which could not know that nothing was sent. */
static void what_cannot_be_sent_leaves_no_intent(void **state)
{
	static const char *const urls[] = { PARK, ASK, PLAIN };
	static const struct {
		const char *header, *want;
	} cases[] = {
		{ "Authorization: ${env.CALLS_TEST_TOKEN}", "is not set" },
		{ "Authorization: ${env.HOME}", "is not in the type's env" },
		{ "nonsense", "a header is" },
	};

	(void)state;
	unsetenv("CALLS_TEST_TOKEN");
	for (size_t i = 0; i < ARRAY_LEN(urls) * ARRAY_LEN(cases); i++) {
		call("charge", urls[i % ARRAY_LEN(urls)], cases[i / ARRAY_LEN(urls)].header);
		assert_int_equal(engine->submit_count, 0);
		assert_int_equal(hand->task.receipt_count, 0);
		answered(0, cases[i / ARRAY_LEN(urls)].want, 0);
	}
}

static void an_intent_goes_first(void **state)
{
	struct open_ask *open = call("charge", PARK, NULL);

	(void)state;
	assert_int_equal(engine->submit_count, 1);
	assert_int_equal(open->completion->receipt_count, 1);
	assert_int_equal(open->completion->receipts[0].status, RECEIPT_INTENT);
	store(open, COMPLETION_FAILED);
	answered(REMOTE_NOT_SENT, "could not be written down", 0);
	unsaved("charge", RECEIPT_NOT_SENT);
	assert_null(hand->park);
}

/* The engine is stopping: transactions and replies to look-ups still come in. */
static void nothing_is_sent_when_the_remote_is_gone(void **state)
{
	(void)state;
	store(call("a", PARK, NULL), COMPLETION_COMMITTED);
	not_sent();
	unsaved("a", RECEIPT_NOT_SENT);
	hand->task.receipt_count = 0;
	put_intent("b");
	call("b", ASK, NULL);
	replied(404); /* to the look-up: it is sent then */
	not_sent();
}

/* A step's answer comes in while an older word on it is with the effects thread. */
static void a_transaction_saves_what_it_took(void **state)
{
	struct open_ask *other;

	(void)state;
	store(call("a", PARK, NULL), COMPLETION_COMMITTED);
	not_sent();
	other = call("b", PARK, NULL);
	assert_int_equal(other->completion->receipt_count, 2); /* that "a" was not sent, too */
	call("a", PLAIN, NULL);                                /* is made again somewhere else */
	replied(200);
	store(other, COMPLETION_COMMITTED);
	unsaved("a", 200);
}

/* Who names a step after its token has it in what people read. */
static void a_parked_call_tells_no_secret(void **state)
{
	struct settings settings = { .broker_url = "" };
	struct service service = { .settings = &settings };
	const struct consumer_ops consumers = { .settle = settle };

	(void)state;
	setenv("CALLS_TEST_TOKEN", "very-secret", 1);
	engine->o.service = &service;
	engine->o.consumers = &consumers;
	list_init(&hand->task.link);
	list_init(&hand->end.link);
	store(call("very-secret", PARK, NULL), COMPLETION_COMMITTED);
	replied(500);
	endings_add(engine, &hand->task);
	endings_page(engine);
	assert_string_equal(told,
			    "call `${env.CALLS_TEST_TOKEN}` was sent and its fate is unknown: "
			    "status 500");
}

static void a_transaction_that_failed_leaves_each_step_once(void **state)
{
	struct open_ask *other;

	(void)state;
	store(call("a", PARK, NULL), COMPLETION_COMMITTED);
	not_sent();
	other = call("b", PARK, NULL);
	call("a", PLAIN, NULL);
	replied(200);
	call("c", PLAIN, NULL);
	replied(201);
	store(other, COMPLETION_FAILED);
	unsaved("a", 200);
	unsaved("b", RECEIPT_NOT_SENT);
	unsaved("c", 201);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(what_cannot_be_sent_leaves_no_intent, setup,
						teardown),
		cmocka_unit_test_setup_teardown(an_intent_goes_first, setup, teardown),
		cmocka_unit_test_setup_teardown(nothing_is_sent_when_the_remote_is_gone, setup,
						teardown),
		cmocka_unit_test_setup_teardown(a_transaction_saves_what_it_took, setup, teardown),
		cmocka_unit_test_setup_teardown(a_parked_call_tells_no_secret, setup, teardown),
		cmocka_unit_test_setup_teardown(a_transaction_that_failed_leaves_each_step_once,
						setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
