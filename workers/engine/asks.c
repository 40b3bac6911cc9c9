/* SPDX-License-Identifier: Apache-2.0 */
/* What running handlers ask for: rows, steps, calls to third parties. Steps, and calls that must
 * not be sent before it is written down that they will be, go through the effects thread. Each
 * question is answered on the loop, a page after the answer came in from whatever thread; a
 * question whose attempt has ended meanwhile is only counted off. */
#include "workers/engine/engine_impl.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/arena.h"
#include "common/base/clock.h"
#include "common/json/json_text.h"
#include "workers/engine/http_job.h"

static const char forbidden_step[] = "it made a step, and its type says record: failures";
static const char forbidden_call[] = "it made a call, and its type says record: failures";
static const char not_ours[] = "the job is not this worker's any more";

static struct answer *answer_new(struct open_ask *open)
{
	struct answer *answer = xcalloc(1, sizeof(*answer));

	answer->open = open;
	strbuf_init(&answer->members);
	return answer;
}

static void answer_free(struct answer *answer)
{
	strbuf_release(&answer->members);
	free(answer->body);
	free(answer->error);
	free(answer);
}

static void send_answer(struct engine *engine, struct answer *answer)
{
	CHECK(mailbox_send(engine->answers, answer));
}

void asks_fail(struct engine *engine, struct open_ask *open, const char *message)
{
	struct answer *answer = answer_new(open);

	strbuf_addstr(&answer->members, "\"error\":");
	strbuf_json(&answer->members, message);
	answer->error = xstrdup(message);
	send_answer(engine, answer);
}

void asks_query_done(void *engine, void *open, const char *text, size_t bytes,
		     const struct error *error)
{
	struct answer *answer;

	if (error) {
		asks_fail(engine, open, error->message);
		return;
	}
	CHECK(bytes >= 2 && text[0] == '{' && text[bytes - 1] == '}');
	answer = answer_new(open);
	strbuf_add(&answer->members, text + 1, bytes - 2);
	send_answer(engine, answer);
}

/* ---- steps */

static void answer_step(struct engine *engine, struct open_ask *open, struct json_slice value)
{
	struct answer *answer = answer_new(open);

	strbuf_addstr(&answer->members, "\"value\":");
	json_slice_add_line(&answer->members, value);
	send_answer(engine, answer);
}

static struct json_slice slice_of(const char *text)
{
	return (struct json_slice){ .text = text, .bytes = text ? strlen(text) : 0 };
}

static void submit(struct engine *engine, struct open_ask *open)
{
	struct task *task = &open->hand->task;

	open->completion->kind = COMPLETION_STEP;
	open->completion->job = task->job;
	calls_receipts_taken(task, open->completion);
	open->effect.completion = open->completion;
	list_append(&engine->submits, &open->effect.link);
	engine->submit_count++;
}

static void start_step(struct engine *engine, struct open_ask *open)
{
	struct task *task = &open->hand->task;
	struct task_ask *ask = open->ask;
	struct json_slice known = { 0 };

	if (task->steps)
		known = json_slice_get(slice_of(task->steps), ask->step);
	if (known.bytes) {
		answer_step(engine, open, known);
		return;
	}
	*open->completion = (struct completion){
		.step = ask->step,
		.step_value = ask->step_value,
		.writes = ask->writes,
	};
	submit(engine, open);
}

static void store(struct engine *engine, struct open_ask *open)
{
	open->completion = ARENA_NEW(open->hand->task.job->arena, struct completion);
	if (open->ask->kind == TASK_ASK_STEP) {
		start_step(engine, open);
	} else {
		calls_add_intent(open);
		submit(engine, open);
	}
}

/* A step of a job that the store has no row of, and an intent that a broker's next delivery has to
 * find: the job is adopted first. */
static bool adopts_first(const struct hand *hand, const struct open_ask *open)
{
	return hand->task.job->source || (open->ask->kind == TASK_ASK_CALL && hand->lent);
}

/* One of a job is under way at a time: two of them must not be in one transaction. */
void asks_start_next(struct engine *engine, struct hand *hand)
{
	for (struct list *at = hand->asks.next; at != &hand->asks; at = at->next) {
		struct open_ask *open = list_entry(at, struct open_ask, link);

		if (!open->stored)
			continue;
		if (open->started || hand->adopting)
			return;
		if (hand->ended) {
			asks_fail(engine, open, "the attempt is over");
		} else if (hand->lost) {
			asks_fail(engine, open, not_ours);
		} else if (adopts_first(hand, open)) {
			detach_now(engine, hand);
			return;
		} else {
			store(engine, open);
		}
		open->started = true;
		return;
	}
}

static void remember_step(struct task *task, const char *name, const char *value)
{
	struct strbuf steps;

	strbuf_init(&steps);
	if (task->steps)
		strbuf_add(&steps, task->steps, strlen(task->steps) - 1);
	strbuf_addstr(&steps, steps.len > 1 ? "," : steps.len ? "" : "{");
	strbuf_json(&steps, name);
	strbuf_addch(&steps, ':');
	strbuf_addstr(&steps, value);
	strbuf_addch(&steps, '}');
	task->steps = arena_strndup(task->job->arena, steps.data, steps.len);
	strbuf_release(&steps);
}

static void step_committed(struct engine *engine, struct open_ask *open, const char *stored_value)
{
	struct task *task = &open->hand->task;
	const char *value = stored_value ? stored_value : open->ask->step_value;

	remember_step(task, open->ask->step, value);
	answer_step(engine, open, slice_of(value));
}

void asks_step_back(struct engine *engine, struct effect *effect)
{
	struct open_ask *open = list_entry(effect, struct open_ask, effect);
	struct answer *answer;

	calls_receipts_back(&open->hand->task, effect->completion->fate == COMPLETION_COMMITTED);
	if (open->ask->kind == TASK_ASK_CALL) {
		if (effect->completion->fate) /* else endings_drop frees it */
			calls_intent_back(engine, open);
		return;
	}
	switch (effect->completion->fate) {
	case COMPLETION_COMMITTED:
		step_committed(engine, open, effect->step_value);
		break;
	case COMPLETION_UNMET:
		answer = answer_new(open);
		strbuf_printf(&answer->members, "\"unmet\":%zu", effect->completion->bad_statement);
		send_answer(engine, answer);
		break;
	case COMPLETION_FAILED:
		asks_fail(engine, open, effect->completion->error.message);
		break;
	case COMPLETION_LOST:
		asks_fail(engine, open, not_ours);
		break;
	default:
		break; /* stopped: endings_drop frees it */
	}
	free(effect->step_value);
	effect->step_value = NULL;
}

/* The first that has not been started, or NULL. */
static struct open_ask *waiting_to_be_stored(struct hand *hand)
{
	for (struct list *at = hand->asks.next; at != &hand->asks; at = at->next) {
		struct open_ask *open = list_entry(at, struct open_ask, link);

		if (open->stored && !open->started)
			return open;
	}
	return NULL;
}

void asks_adopted(struct engine *engine, struct hand *hand, const struct completion *adoption)
{
	struct open_ask *open = waiting_to_be_stored(hand);

	if (open && adoption->fate == COMPLETION_FAILED) {
		asks_fail(engine, open, adoption->error.message);
		open->started = true;
		return;
	}
	asks_start_next(engine, hand);
}

/* ---- all kinds */

/* True: its type says that it leaves no trace, and this would. */
static bool is_forbidden(const struct hand *hand, enum task_ask_kind kind)
{
	return hand->task.type->record_failures && kind != TASK_ASK_QUERY;
}

struct open_ask *asks_add(struct engine *engine, struct task_ask *ask)
{
	struct hand *hand = hand_of(ask->task);
	struct open_ask *open = ARENA_NEW(ask->task->job->arena, struct open_ask);

	CHECK(!hand->ended);
	engine->asks_open++;
	open->hand = hand;
	open->ask = ask;
	open->stored = ask->kind == TASK_ASK_STEP;
	list_init(&open->effect.link);
	list_append(&hand->asks, &open->link);
	return open;
}

void asks_open(struct engine *engine, struct task_ask *ask)
{
	static const char full[] = "\"error\":\"too many questions are waiting\"";
	struct hand *hand = hand_of(ask->task);
	struct open_ask *open;

	if (engine->asks_open >= ANSWERS_MAX - HAND_MAX) {
		pool_answer(engine->pool, ask, full, strlen(full));
		return;
	}
	open = asks_add(engine, ask);
	if (is_forbidden(hand, ask->kind)) {
		hand->forbidden = ask->kind == TASK_ASK_STEP ? forbidden_step : forbidden_call;
		open->started = true;
		asks_fail(engine, open, hand->forbidden);
		return;
	}
	switch (ask->kind) {
	case TASK_ASK_QUERY:
		if (!readers_ask(engine->readers, &ask->query, open))
			asks_fail(engine, open, "too many queries are waiting");
		break;
	case TASK_ASK_CALL:
		calls_start(engine, open);
		break;
	case TASK_ASK_STEP:
		asks_start_next(engine, hand);
		break;
	}
}

void asks_abort(struct engine *engine, struct hand *hand)
{
	for (struct list *at = hand->asks.next; at != &hand->asks; at = at->next) {
		struct open_ask *open = list_entry(at, struct open_ask, link);

		if (open->call)
			remote_abort(engine->o.remote, open->call);
	}
}

void asks_cancel(struct engine *engine, struct hand *hand)
{
	if (hand->ended || !engine->pool)
		return;
	if (http_job_is(hand))
		http_job_cancel(engine, hand, TASK_CANCEL_REQUESTED);
	else if (hand->task.type->kind == HANDLER_MODULE || hand->task.type->kind == HANDLER_EXEC)
		pool_cancel(engine->pool, &hand->task, TASK_CANCEL_REQUESTED);
}

static void pass_on(struct engine *engine, struct answer *answer)
{
	struct open_ask *open = answer->open;
	struct hand *hand = open->hand;

	if (open->asking && calls_looked_up(engine, open, answer)) {
		answer_free(answer);
		return;
	}
	if (answer->fate)
		calls_answered(hand, open, answer, &answer->members);
	list_remove(&open->link);
	engine->asks_open--;
	if (open->http) {
		http_job_answered(engine, open, answer); /* its attempt is over */
	} else {
		if (!hand->ended && engine->pool)
			pool_answer(engine->pool, open->ask, answer->members.data,
				    answer->members.len);
		asks_start_next(engine, hand);
		endings_go_on(engine, hand);
	}
	answer_free(answer);
}

void asks_page(struct engine *engine)
{
	void *items[64];
	size_t count = mailbox_take(engine->answers, items, ARRAY_LEN(items), 0);

	for (size_t i = 0; i < count; i++)
		pass_on(engine, items[i]);
}
