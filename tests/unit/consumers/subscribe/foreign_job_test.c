/* SPDX-License-Identifier: Apache-2.0 */
/* Messages of other services as jobs in memory: what they become when they are fine, what is kept
 * of them when they are not, and which ones take turns. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/arena.h"
#include "common/json/json_text.h"
#include "consumers/subscribe/foreign_job.h"

#define NOW INT64_C(1700000100000)

static const char yaml[] = "queues: {rows: {order: key}}\n"
			   "jobs:\n"
			   "  plain: {sql: SELECT 1, queue: q, priority: high}\n"
			   "  row: {sql: SELECT 1, queue: rows}\n"
			   "sources:\n"
			   "  any: {topic: a}\n"
			   "  typed: {topic: b, type: plain, order: key}\n"
			   "  rows: {topic: c, type: row}\n";

static struct definitions *defs;

static int setup(void **state)
{
	(void)state;
	defs = definitions_parse(yaml, strlen(yaml), "test.yaml", stderr);
	return defs ? 0 : -1;
}

static int teardown(void **state)
{
	(void)state;
	definitions_unref(&defs);
	return 0;
}

static struct foreign_rules rules_of(const char *source)
{
	return (struct foreign_rules){ .defs = defs,
				       .source = definitions_source(defs, source),
				       .name = source,
				       .payload_bytes_max = 100,
				       .now_ms = NOW };
}

static struct claimed_job *make(const char *source, const char *body, const char *refusal)
{
	const struct foreign_rules rules = rules_of(source);
	const struct message message = { .body = body,
					 .body_bytes = strlen(body),
					 .identity = "m",
					 .key = "k",
					 .time_ms = NOW - 1000 };

	return foreign_job(&message, &rules, refusal);
}

#define EVENT(type)                                                                \
	"{\"specversion\":\"1.0\",\"id\":\"1\",\"source\":\"/s\",\"type\":\"" type \
	"\",\"data\":{\"a\":1}}"

static const struct {
	const char *name, *source, *body, *refusal;
	/* want */
	const char *type, *queue, *payload; /* payload: how it begins */
	enum job_priority priority;
	bool refused;
} cases[] = {
	{ "a plain body", "typed", "{\"b\":2}", NULL, "plain", "q", "{\"b\":2}", PRIORITY_HIGH,
	  false },
	{ "an event", "any", EVENT("plain"), NULL, "plain", "q", "{\"a\":1}", PRIORITY_HIGH,
	  false },
	{ "an event of a type that is not known here", "any", EVENT("other"), NULL, "other",
	  "default", "{\"a\":1}", PRIORITY_NORMAL, false },
	{ "an event of a type that cannot be", "any", EVENT("/"), NULL, "windlass.undecodable",
	  "default", "{\"specversion\"", PRIORITY_NORMAL, true },
	{ "no event", "any", "{\"b\":2}", NULL, "windlass.undecodable", "default", "{\"b\":2}",
	  PRIORITY_NORMAL, true },
	{ "no JSON", "typed", "b=2", NULL, "plain", "q", "{\"text\":\"b=2\",\"bytes\":3,",
	  PRIORITY_HIGH, true },
	{ "no text", "typed", "\xfe", NULL, "plain", "q", "{\"base64\":\"/g==\",\"bytes\":1,",
	  PRIORITY_HIGH, true },
	{ "nothing", "typed", "", NULL, "plain", "q", "{\"text\":\"\",\"bytes\":0,", PRIORITY_HIGH,
	  true },
	{ "too large", "typed",
	  "{\"c\":\"1234567890123456789012345678901234567890123456789012345678901234567890"
	  "1234567890123456789012345678901234567890\"}",
	  NULL, "plain", "q", "{\"text\":\"{\\\"c\\\"", PRIORITY_HIGH, true },
	{ "refused by the broker", "typed", "{\"b\":2}", "expired", "plain", "q", "{\"b\":2}",
	  PRIORITY_HIGH, true },
};

static void messages(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct claimed_job *job = make(cases[i].source, cases[i].body, cases[i].refusal);

		if (strcmp(job->type, cases[i].type) != 0 ||
		    strcmp(job->queue, cases[i].queue) != 0 || job->priority != cases[i].priority ||
		    strncmp(job->payload, cases[i].payload, strlen(cases[i].payload)) != 0 ||
		    (job->refusal != NULL) != cases[i].refused)
			fail_msg("%s: type %s queue %s payload %s refusal %s", cases[i].name,
				 job->type, job->queue, job->payload,
				 job->refusal ? job->refusal : "-");
		assert_true(json_text_check(job->payload, job->payload_bytes));
		assert_int_equal(job->payload[job->payload_bytes], 0);
		assert_string_equal(job->source, cases[i].source);
		assert_int_equal(job->attempt, 1);
		assert_int_equal(job->created_ms, NOW - 1000);
		assert_true(job->unchecked && job->delivered && !job->behind);
		arena_free(&(struct arena *){ job->arena });
	}
}

static void the_same_message_is_the_same_job(void **state)
{
	struct claimed_job *first = make("typed", "{}", NULL), *second = make("typed", "{}", "x"),
			   *other = make("rows", "{}", NULL);

	(void)state;
	assert_true(uuid_equal(&first->id, &second->id));
	assert_false(uuid_equal(&first->id, &other->id));
	arena_free(&(struct arena *){ first->arena });
	arena_free(&(struct arena *){ second->arena });
	arena_free(&(struct arena *){ other->arena });
}

static void an_undated_event_waits_since_its_broker_got_it(void **state)
{
	static const char event[] = "{\"specversion\":\"1.0\",\"id\":\"1\",\"source\":\"/s\","
				    "\"type\":\"plain\",\"data\":{}}";
	static const struct {
		int64_t time_ms, since_ms;
	} times[] = { { 0, NOW }, { NOW - 500, NOW - 500 }, { NOW + 500, NOW } };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(times); i++) {
		const struct message message = { .body = event,
						 .body_bytes = sizeof(event) - 1,
						 .identity = "m",
						 .content_type = "application/cloudevents+json",
						 .time_ms = times[i].time_ms };
		const struct foreign_rules rules = rules_of("rows");
		struct claimed_job *job = foreign_job(&message, &rules, NULL);

		assert_null(job->refusal);
		assert_int_equal(job->created_ms, times[i].since_ms);
		assert_int_equal(job->due_ms, times[i].since_ms);
		arena_free(&(struct arena *){ job->arena });
	}
}

static void what_the_broker_said_is_kept(void **state)
{
	const struct message_header headers[] = { { "a", "1" }, { "b", "\xff" } };
	const struct message message = { .body = "x",
					 .body_bytes = 1,
					 .identity = "m",
					 .time_ms = NOW,
					 .headers = headers,
					 .header_count = 2,
					 .dead_reason = "expired" };
	const struct foreign_rules rules = rules_of("typed");
	struct claimed_job *job = foreign_job(&message, &rules, message.dead_reason);
	struct json_slice payload = { job->payload, job->payload_bytes };
	struct json_slice broker = json_slice_get(payload, "broker");

	(void)state;
	assert_true(json_text_check(job->payload, job->payload_bytes));
	assert_true(json_slice_is(json_slice_get(broker, "reason"), "\"expired\""));
	assert_true(json_slice_is(json_slice_get(broker, "identity"), "\"m\""));
	assert_memory_equal(json_slice_get(broker, "headers").text, "[[\"a\",\"1\"],[\"b\",", 16);
	arena_free(&(struct arena *){ job->arena });
}

/* Cut, and not in the middle of a character. */
static void large_bodies_are_cut(void **state)
{
	static char body[200001];
	struct claimed_job *job;
	struct json_slice text;

	(void)state;
	for (size_t i = 0; i < 100000; i++)
		memcpy(body + 2 * i, "\xc3\xa4", 2);
	memmove(body + 1, body, 199999);
	body[0] = 'x'; /* every character begins at an odd place */
	body[199999] = 0;
	job = make("typed", body, NULL);
	text = json_slice_get((struct json_slice){ job->payload, job->payload_bytes }, "text");
	assert_int_equal(text.bytes, 65535 + 2);
	assert_true(json_text_check(job->payload, job->payload_bytes));
	arena_free(&(struct arena *){ job->arena });
}

static void who_takes_turns(void **state)
{
	static const struct {
		const char *source, *refusal;
		bool want;
	} turns[] = {
		{ "typed", NULL, true }, /* its source says so */
		{ "rows", NULL, true },  /* its queue does */
		{ "typed", "x", false }, /* a dead letter waits for nobody */
	};
	struct uuid lanes[3];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(turns); i++) {
		const struct foreign_rules rules = rules_of(turns[i].source);
		struct claimed_job *job = make(turns[i].source, "{}", turns[i].refusal);

		assert_int_equal(foreign_job_ordered(job, &rules, &lanes[i]), turns[i].want);
		job->order_key = NULL;
		assert_false(foreign_job_ordered(job, &rules, &lanes[2]));
		arena_free(&(struct arena *){ job->arena });
	}
	assert_false(uuid_equal(&lanes[0], &lanes[1]));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(messages),
		cmocka_unit_test(the_same_message_is_the_same_job),
		cmocka_unit_test(an_undated_event_waits_since_its_broker_got_it),
		cmocka_unit_test(what_the_broker_said_is_kept),
		cmocka_unit_test(large_bodies_are_cut),
		cmocka_unit_test(who_takes_turns),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
