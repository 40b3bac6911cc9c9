/* SPDX-License-Identifier: Apache-2.0 */
/* The members of a request that tie jobs together: after and then, and what is refused of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/check.h"
#include "common/config/job_request.h"
#include "common/job/chain.h"

#define A "018f3c4e-7b1a-7c3d-8e5f-0123456789ab"
#define B "018f3c4e-7b1a-7c3d-8e5f-0123456789ac"

static const char definitions_text[] = "jobs:\n"
				       "  a: {sql: SELECT 1, queue: q1}\n"
				       "  b: {sql: SELECT 1, payload: {required: [who]}}\n";

static struct definitions *defs;
static struct arena *arena;
static struct new_job job;
static struct job_request_error error;

static int setup(void **state)
{
	(void)state;
	defs = definitions_parse(definitions_text, strlen(definitions_text), "jobs.yaml", stderr);
	arena = arena_new(0);
	return defs ? 0 : -1;
}

static int teardown(void **state)
{
	(void)state;
	definitions_unref(&defs);
	arena_free(&arena);
	return 0;
}

/* Without a tree, and with one. */
static int parse(const char *text)
{
	struct job_request_context ctx = {
		.defs = defs, .tenant = "acme", .owner = "web", .payload_bytes_max = 1000
	};
	struct json_slice slice = { text, strlen(text) };
	struct json_error bad;
	json_t *root = json_text_parse(text, strlen(text), &bad);
	int rc, again;

	assert_non_null(root);
	again = job_request_parse(&ctx, slice, root, arena, &job, &error);
	rc = job_request_parse(&ctx, slice, NULL, arena, &job, &error);
	json_decref(root);
	assert_int_equal(rc, again);
	return rc;
}

static void after_is_a_list_or_names(void **state)
{
	(void)state;
	assert_int_equal(parse("{\"type\":\"a\",\"after\":[\"" A "\",{\"id\":\"" B
			       "\",\"on_failure\":\"wait\"}]}"),
			 0);
	assert_int_equal(job.after_count, 2);
	assert_string_equal(job.after[1].name, "1");
	assert_int_equal(job.after[0].on_failure, EDGE_DISCARD);
	assert_int_equal(job.after[1].on_failure, EDGE_WAIT);
	assert_int_equal(parse("{\"after\":{\"left\":\"" A "\"},\"type\":\"a\","
			       "\"payload\":{\"x\":\"${after.left.result.y}\"}}"),
			 0);
	assert_string_equal(job.after[0].name, "left");
	/* the schema judges what comes out of it, when it is known */
	assert_int_equal(parse("{\"after\":[\"" A "\"],\"type\":\"b\","
			       "\"payload\":\"${after.0.result}\"}"),
			 0);
	assert_int_equal(parse("{\"after\":[\"" A "\"],\"type\":\"b\",\"payload\":{}}"), -1);
}

static void then_is_a_job_or_more(void **state)
{
	struct uuid id;

	(void)state;
	assert_int_equal(
		parse("{\"type\":\"a\",\"then\":{\"type\":\"b\",\"on_failure\":\"run\",\"payload\":"
		      "{\"who\":\"${after.previous.result}\"},\"then\":[{\"type\":\"a\"},{"
		      "\"type\":\"a\",\"priority\":\"low\"}]}}"),
		0);
	assert_int_equal(job.then_count, 1);
	assert_int_equal(job.after_count, 0);
	const struct new_job *then = job.then;

	chain_then_id(&job.id, 0, &id);
	assert_true(uuid_equal(&id, &then->id));
	assert_true(uuid_equal(&then->after[0].id, &job.id));
	assert_string_equal(then->after[0].name, "previous");
	assert_int_equal(then->after[0].on_failure, EDGE_RUN);
	assert_string_equal(then->type, "b");
	assert_string_equal(then->tenant, "acme");
	assert_int_equal(then->then_count, 2);
	assert_int_equal(then->then[1].priority, PRIORITY_LOW);
	assert_int_equal(then->then[1].after[0].on_failure, EDGE_DISCARD);
	assert_true(uuid_equal(&then->then[1].after[0].id, &then->id));
}

static void bad_ones_are_refused(void **state)
{
	static const struct {
		const char *text, *pointer;
	} cases[] = {
		{ "{\"type\":\"a\",\"after\":[]}", "/after" },
		{ "{\"type\":\"a\",\"after\":\"" A "\"}", "/after" },
		{ "{\"type\":\"a\",\"after\":[\"x\"]}", "/after/0" },
		{ "{\"type\":\"a\",\"after\":[\"" A "\",\"" A "\"]}", "/after/1" },
		{ "{\"type\":\"a\",\"after\":{\"a.b\":\"" A "\"}}", "/after" },
		{ "{\"type\":\"a\",\"after\":{\"x\":{\"id\":\"" A "\",\"if\":1}}}", "/after/x" },
		{ "{\"type\":\"a\",\"after\":{\"x\":{\"id\":\"" A "\",\"on_failure\":\"no\"}}}",
		  "/after/x" },
		{ "{\"type\":\"a\",\"after\":[\"" A "\"],\"delay\":5}", "/delay" },
		{ "{\"type\":\"a\",\"after\":[\"" A "\"],\"payload\":[\"${after.x.result}\"]}",
		  "/payload" },
		{ "{\"type\":\"a\",\"on_failure\":\"run\"}", "/on_failure" },
		{ "{\"type\":\"a\",\"then\":3}", "/then" },
		{ "{\"type\":\"a\",\"then\":{\"type\":\"none\"}}", "/then/type" },
		{ "{\"type\":\"a\",\"then\":[{\"type\":\"a\"},{\"type\":\"b\"}]}",
		  "/then/1/payload/who" },
		{ "{\"type\":\"a\",\"then\":{\"type\":\"a\",\"id\":\"" A "\"}}", "/then/id" },
		{ "{\"type\":\"a\",\"then\":{\"type\":\"a\",\"after\":[\"" A "\"]}}",
		  "/then/after" },
		{ "{\"type\":\"a\",\"then\":{\"type\":\"a\",\"delay\":1}}", "/then/delay" },
		{ "{\"type\":\"a\",\"then\":{\"type\":\"a\",\"then\":{\"type\":\"a\",\"x\":1}}}",
		  "/then/then/x" },
		{ "{\"type\":\"a\",\"th\\u0065n\":{\"type\":\"a\"}}", "/then" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		if (parse(cases[i].text) == 0)
			fail_msg("%s is taken", cases[i].text);
		if (strncmp(error.pointer, cases[i].pointer, strlen(cases[i].pointer)) != 0)
			fail_msg("%s: %s (%s)", cases[i].text, error.pointer, error.message);
	}
}

static void depth_and_breadth_have_a_limit(void **state)
{
	struct strbuf text;

	(void)state;
	strbuf_init(&text);
	for (int i = 0; i <= JOB_THEN_DEPTH; i++)
		strbuf_addstr(&text, "{\"type\":\"a\",\"then\":");
	strbuf_addstr(&text, "{\"type\":\"a\"}");
	for (int i = 0; i <= JOB_THEN_DEPTH; i++)
		strbuf_addch(&text, '}');
	assert_int_equal(parse(text.data), -1);
	assert_non_null(strstr(error.message, "deep"));
	strbuf_clear(&text);
	strbuf_addstr(&text, "{\"type\":\"a\",\"then\":[");
	for (int i = 0; i <= JOB_THEN_MAX; i++)
		strbuf_addstr(&text, i ? ",{\"type\":\"a\"}" : "{\"type\":\"a\"}");
	strbuf_addstr(&text, "]}");
	assert_int_equal(parse(text.data), -1);
	strbuf_release(&text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(after_is_a_list_or_names),
		cmocka_unit_test(then_is_a_job_or_more),
		cmocka_unit_test(bad_ones_are_refused),
		cmocka_unit_test(depth_and_breadth_have_a_limit),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
