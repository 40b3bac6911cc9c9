/* SPDX-License-Identifier: Apache-2.0 */
/* The engine's half of the host protocol: what is written to hosts, byte by byte, and what becomes
 * of what they say. */
#include "workers/pool/host_codec.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define ID  "01930000-0000-7000-8000-000000000000"
#define JOB "{\"job\":\"" ID "\","

struct world {
	struct arena *arena;
	struct definitions *defs;
	struct claimed_job job;
	struct task task;
	struct host_limits limits;
	struct host_line line;
};

static int open_world(void **state)
{
	static const char text[] =
		"jobs: {a: {sql: SELECT 1}, b: {sql: SELECT 1, payload: {required: [x]}}}\n";
	struct world *world = xcalloc(1, sizeof(*world));

	world->arena = arena_new(0);
	world->defs = definitions_parse(text, sizeof(text) - 1, "t.yaml", stderr);
	world->job = (struct claimed_job){
		.arena = world->arena, .tenant = "acme", .owner = "web", .type = "a", .attempt = 2
	};
	CHECK(world->defs && uuid_parse(ID, &world->job.id));
	world->job.payload = "{\"a\":\n1}";
	world->job.payload_bytes = strlen(world->job.payload);
	world->task = (struct task){ .job = &world->job, .defs = world->defs, .timeout_ms = 60000 };
	world->limits = (struct host_limits){ .payload_bytes_max = 100, .result_bytes_max = 20 };
	*state = world;
	return 0;
}

static int close_world(void **state)
{
	struct world *world = *state;

	arena_free(&world->arena);
	definitions_unref(&world->defs);
	free(world);
	return 0;
}

static void lines_for_hosts(void **state)
{
	struct world *world = *state;
	struct strbuf out;

	strbuf_init(&out);
	host_codec_job(&out, &world->task);
	assert_string_equal(
		out.data, JOB
		"\"type\":\"a\",\"attempt\":2,\"timeout_s\":60,\"tags\":[],\"payload\":{\"a\": 1}}");
	strbuf_clear(&out);
	world->task.timeout_ms = 1500;
	world->task.steps = "{\"s\":1}";
	world->job.tags = "[\"t\"]";
	host_codec_job(&out, &world->task);
	assert_string_equal(
		out.data, JOB
		"\"type\":\"a\",\"attempt\":2,\"timeout_s\":1.500,\"tags\":[\"t\"],\"payload\":{\"a\": 1},"
		"\"steps\":{\"s\":1}}");
	strbuf_clear(&out);
	host_codec_cancel(&out, &world->job.id, TASK_CANCEL_TIMEOUT);
	host_codec_answer(&out, &world->job.id, 7, "\"rows\":[]", 9);
	host_codec_hello(&out, (const char *const[]){ "a", "b", NULL }, 20);
	assert_string_equal(
		out.data, JOB
		"\"cancel\":\"timeout\"}\n" JOB "\"answer\":7,\"rows\":[]}\n"
		"{\"windlass\":1,\"types\":[\"a\",\"b\"],\"settings\":{\"result_bytes_max\":20}}\n");
	strbuf_release(&out);
}

static void broken_lines_are_named(void **state)
{
	static const struct {
		const char *text, *fault;
	} cases[] = {
		{ "{", "not JSON at column" },
		{ "{]", "not JSON" },
		{ "{\"job\":1}", "without \"job\"" },
		{ "{\"job\":\"x\",\"done\":1}", "is not an id" },
		{ JOB "\"done\":1,\"done\":2}", "not JSON" },
		{ JOB "\"done\":1,\"retry\":\"x\"}", "both \"done\" and \"retry\"" },
		{ JOB "\"hello\":1}", "nothing known" },
		{ "{\"hello\":1}", "without \"job\"" },
		{ "{\"ready\":1,\"concurrency\":0}", "from 1 to 1000" },
		{ "{\"ready\":1,\"concurrency\":1001}", "from 1 to 1000" },
		{ "{\"a\":\"\xff\"}", "not JSON" },
	};
	struct world *world = *state;

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		if (host_line_parse(cases[i].text, strlen(cases[i].text), &world->line) == 0 ||
		    !strstr(world->line.fault, cases[i].fault))
			fail_msg("%s: got \"%s\", wanted \"%s\"", cases[i].text, world->line.fault,
				 cases[i].fault);
	}
}

static void outcomes(void **state)
{
	static const struct {
		const char *text;
		int result;
		enum job_outcome kind;
		int64_t after_ms;
		const char *says; /* result, reason or fault */
	} cases[] = {
		{ JOB "\"done\":{\"a\": 1.50}}", 0, OUTCOME_DONE, -1, "{\"a\": 1.50}" },
		{ JOB "\"done\":null}", 0, OUTCOME_DONE, -1, NULL },
		{ JOB "\"done\":\"123456789012345678901\"}", 0, OUTCOME_RETRY, -1,
		  "the limit is 20" },
		{ JOB "\"retry\":\"why\"}", 0, OUTCOME_RETRY, -1, "why" },
		{ JOB "\"retry\":\"why\",\"after\":\"30s\"}", 0, OUTCOME_RETRY, 30000, "why" },
		{ JOB "\"retry\":\"why\",\"after\":1.5}", 0, OUTCOME_RETRY, 1500, "why" },
		{ JOB "\"retry\":\"why\",\"after\":\"soon\"}", -1, 0, 0,
		  "\"after\" is not a duration" },
		{ JOB "\"retry\":7}", -1, 0, 0, "not a string" },
		{ JOB "\"discard\":\"why\"}", 0, OUTCOME_DISCARD, -1, "why" },
		{ JOB "\"snooze\":\"10m\"}", 0, OUTCOME_SNOOZE, 600000, NULL },
		{ JOB "\"snooze\":-1}", -1, 0, 0, "\"snooze\" is not a duration" },
		{ JOB "\"cancelled\":true}", -1, 0, 0, "without having been asked" },
		{ JOB "\"again\":\"row\"}", 0, OUTCOME_RETRY, -1, "row" },
		{ JOB "\"done\":1,\"write\":{}}", -1, 0, 0, "\"write\" is not an array" },
		{ JOB "\"done\":1,\"write\":[{\"args\":[]}]}", -1, 0, 0, "without SQL" },
		{ JOB "\"done\":1,\"write\":[{\"sql\":\"x\",\"args\":[[]]}]}", -1, 0, 0,
		  "an argument is neither" },
		{ JOB "\"done\":1,\"write\":[{\"sql\":\"x\",\"rows\":-2}]}", -1, 0, 0, "\"rows\"" },
		{ JOB "\"done\":1,\"lock\":[\"\"]}", -1, 0, 0, "a lock is not" },
		{ JOB "\"done\":1,\"enqueue\":[{\"payload\":1}]}", -1, 0, 0, "without \"type\"" },
		{ JOB "\"done\":1,\"enqueue\":[{\"type\":\"zzz\"}]}", 0, OUTCOME_RETRY, -1,
		  "follow-up job zzz refused" },
		{ JOB "\"done\":1,\"enqueue\":[{\"type\":\"b\",\"payload\":{}}]}", 0, OUTCOME_RETRY,
		  -1, "follow-up job b refused" },
	};
	struct world *world = *state;

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct task_outcome got = { 0 };
		const char *says;
		int result;

		assert_int_equal(
			host_line_parse(cases[i].text, strlen(cases[i].text), &world->line), 0);
		assert_int_equal(world->line.kind, HOST_LINE_END);
		result = host_line_outcome(&world->line, &world->task, &world->limits, &got);
		says = result < 0 ? world->line.fault : got.reason ? got.reason : got.result;
		if (result != cases[i].result ||
		    (result == 0 &&
		     (got.kind != cases[i].kind || got.after_ms != cases[i].after_ms)) ||
		    !says != !cases[i].says || (says && !strstr(says, cases[i].says)))
			fail_msg("%s: got %d, outcome %d, \"%s\"", cases[i].text, result, got.kind,
				 says ? says : "NULL");
		host_line_release(&world->line);
	}
}

static void write_sets_have_limits(void **state)
{
	struct world *world = *state;
	struct task_outcome got;
	struct strbuf text;

	strbuf_init(&text);
	strbuf_addstr(&text, JOB "\"done\":1,\"write\":[");
	for (int i = 0; i < 1001; i++)
		strbuf_addstr(&text, i ? ",{\"sql\":\"x\"}" : "{\"sql\":\"x\"}");
	strbuf_addstr(&text, "]}");
	assert_int_equal(host_line_parse(text.data, text.len, &world->line), 0);
	assert_int_equal(host_line_outcome(&world->line, &world->task, &world->limits, &got), 0);
	assert_int_equal(got.kind, OUTCOME_RETRY);
	assert_non_null(strstr(got.reason, "more than 1000"));
	assert_int_equal(got.writes.statement_count, 0);
	host_line_release(&world->line);
	strbuf_clear(&text);
	strbuf_addstr(&text, JOB "\"done\":1,\"write\":[{\"sql\":\"x\",\"args\":[\"");
	for (int i = 0; i < 1024 * 1024; i += 16)
		strbuf_addstr(&text, "0123456789abcdef");
	strbuf_addstr(&text, "\"]}]}");
	assert_int_equal(host_line_parse(text.data, text.len, &world->line), 0);
	assert_int_equal(host_line_outcome(&world->line, &world->task, &world->limits, &got), 0);
	assert_int_equal(got.kind, OUTCOME_RETRY);
	assert_non_null(strstr(got.reason, "larger than 1 MiB"));
	host_line_release(&world->line);
	strbuf_release(&text);
}

static void follow_ups_belong_to_the_job(void **state)
{
	static const char text[] = JOB
		"\"done\":1,\"enqueue\":[{\"id\":\"01930000-0000-7000-8000-000000000009\",\"type\":\"b\","
		"\"payload\":{\"x\":1},\"options\":{\"priority\":\"low\"}},{\"type\":\"a\"}]}";
	struct world *world = *state;
	struct task_outcome got;
	const struct new_job *first, *second;

	assert_int_equal(host_line_parse(text, strlen(text), &world->line), 0);
	assert_int_equal(host_line_outcome(&world->line, &world->task, &world->limits, &got), 0);
	host_line_release(&world->line);
	assert_int_equal(got.writes.follow_up_count, 2);
	first = &got.writes.follow_ups[0];
	second = &got.writes.follow_ups[1];
	assert_int_equal(first->id.b[15], 9);
	assert_string_equal(first->tenant, "acme");
	assert_string_equal(first->owner, "job:" ID);
	assert_int_equal(first->priority, PRIORITY_LOW);
	assert_int_equal(first->payload_bytes, 7);
	assert_memory_equal(first->payload, "{\"x\":1}", 7);
	assert_false(uuid_is_nil(&second->id));
	assert_int_equal(second->payload_bytes, 2);
}

static void questions(void **state)
{
	static const struct {
		const char *text;
		int result;
		enum task_ask_kind kind;
		const char *fault;
	} cases[] = {
		{ JOB "\"ask\":1,\"query\":\"SELECT 1\"}", 0, TASK_ASK_QUERY, NULL },
		{ JOB "\"ask\":\"1\",\"query\":\"SELECT 1\"}", -1, 0, "\"ask\" is not a number" },
		{ JOB "\"ask\":1}", -1, 0, "an ask without" },
		{ JOB "\"ask\":1,\"query\":\"\"}", -1, 0, "without SQL" },
		{ JOB
		  "\"ask\":1,\"call\":\"c\",\"request\":{\"url\":\"u\",\"headers\":{\"A\":\"b\"}}}",
		  0, TASK_ASK_CALL, NULL },
		{ JOB "\"ask\":1,\"call\":\"c\",\"request\":{}}", -1, 0, "no \"url\"" },
		{ JOB "\"ask\":1,\"call\":\"c\"}", -1, 0, "no \"url\"" },
		{ JOB "\"ask\":1,\"call\":\"\",\"request\":{\"url\":\"u\"}}", -1, 0,
		  "\"call\" is not a name" },
		{ JOB
		  "\"ask\":1,\"call\":\"c\",\"request\":{\"url\":\"u\",\"headers\":{\"A\":\"b\\r\\nX: y\"}}}",
		  -1, 0, "a header" },
		{ JOB "\"ask\":1,\"call\":\"c\",\"request\":{\"url\":\"u\",\"timeout_ms\":-1}}", -1,
		  0, "timeout_ms" },
		{ JOB "\"ask\":1,\"call\":\"c\",\"request\":{\"url\":\"u\",\"body\":1}}", -1, 0,
		  "\"body\"" },
		{ JOB "\"ask\":1,\"step\":\"s\",\"value\":{}}", 0, TASK_ASK_STEP, NULL },
		{ JOB "\"ask\":1,\"step\":7}", -1, 0, "\"step\" is not a name" },
	};
	struct world *world = *state;

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct task_ask got = { 0 };
		const char *refused;
		int result;

		assert_int_equal(
			host_line_parse(cases[i].text, strlen(cases[i].text), &world->line), 0);
		result = host_line_ask(&world->line, &world->task, &world->limits, &got, &refused);
		if (result != cases[i].result || (result == 0 && got.kind != cases[i].kind) ||
		    (result < 0 && !strstr(world->line.fault, cases[i].fault)))
			fail_msg("%s: got %d, kind %d, \"%s\"", cases[i].text, result, got.kind,
				 world->line.fault);
		if (result == 0 && got.kind == TASK_ASK_CALL)
			assert_string_equal(got.call.headers[0], "A: b");
		host_line_release(&world->line);
	}
}

static void progress_is_clamped(void **state)
{
	static const char text[] = JOB "\"progress\":7,\"note\":\"n\"}",
			  bad[] = JOB "\"progress\":\"7\"}";
	struct world *world = *state;
	const char *note;
	double part;

	assert_int_equal(host_line_parse(text, strlen(text), &world->line), 0);
	assert_int_equal(host_line_progress(&world->line, &part, &note), 0);
	assert_true(part == 1);
	assert_string_equal(note, "n");
	host_line_release(&world->line);
	assert_int_equal(host_line_parse(bad, strlen(bad), &world->line), 0);
	assert_int_equal(host_line_progress(&world->line, &part, &note), -1);
	host_line_release(&world->line);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_world, close_world)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(lines_for_hosts),
		TEST(broken_lines_are_named),
		TEST(outcomes),
		TEST(write_sets_have_limits),
		TEST(questions),
		TEST(follow_ups_belong_to_the_job),
		TEST(progress_is_clamped),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
