/* SPDX-License-Identifier: Apache-2.0 */
/* Requests: what each member becomes, what is refused with which pointer, the rules for client-made
 * ids, follow-ups of handlers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/check.h"
#include "common/base/digest.h"
#include "common/base/utf8.h"
#include "common/config/job_request.h"

#define NOW_MS INT64_C(1795415000000) /* 2026-11-23 */

static const char definitions_text[] = "queues: {spare: {}}\n"
				       "jobs:\n"
				       "  a: {sql: SELECT 1, queue: q1, priority: high}\n"
				       "  b: {sql: SELECT 1, payload: {required: [who, 'a/b']}}\n"
				       "  c:\n"
				       "    sql: SELECT 1\n"
				       "    payload:\n"
				       "      properties:\n"
				       "        n: {type: integer, minimum: 1.5, maximum: 9}\n"
				       "        at: {format: date-time}\n"
				       "        v: {enum: [1, '1', true, null, no]}\n";

struct fixture {
	struct definitions *defs;
	struct job_request_context ctx;
	struct arena *arena;
	struct new_job job;
	struct job_request_error error;
};

static int setup(void **state)
{
	static struct fixture fixture;

	fixture.defs =
		definitions_parse(definitions_text, strlen(definitions_text), "jobs.yaml", stderr);
	fixture.arena = arena_new(0);
	fixture.ctx = (struct job_request_context){ .defs = fixture.defs,
						    .tenant = "acme",
						    .owner = "web",
						    .payload_bytes_max = 64,
						    .now_ms = NOW_MS };
	*state = &fixture;
	return fixture.defs ? 0 : -1;
}

static int teardown(void **state)
{
	struct fixture *fixture = *state;

	definitions_unref(&fixture->defs);
	arena_free(&fixture->arena);
	return 0;
}

static struct json_slice slice(const char *text)
{
	return (struct json_slice){ .text = text, .bytes = text ? strlen(text) : 0 };
}

static void parse_without_tree(struct fixture *fixture, const char *text, int rc)
{
	struct job_request_error error;
	struct new_job job;

	assert_int_equal(
		job_request_parse(&fixture->ctx, slice(text), NULL, fixture->arena, &job, &error),
		rc);
	assert_int_equal(error.fault, fixture->error.fault);
	assert_string_equal(error.pointer, fixture->error.pointer);
	assert_string_equal(error.message, fixture->error.message);
	if (rc != 0)
		return;
	assert_ptr_equal(job.type, fixture->job.type);
	assert_ptr_equal(job.queue, fixture->job.queue);
	assert_int_equal(job.priority, fixture->job.priority);
	assert_int_equal(job.delay_ms, fixture->job.delay_ms);
	assert_int_equal(job.due_ms, fixture->job.due_ms);
	assert_int_equal(job.payload_bytes, fixture->job.payload_bytes);
	assert_memory_equal(job.payload, fixture->job.payload, job.payload_bytes);
}

static int parse(struct fixture *fixture, const char *text)
{
	struct json_error error;
	json_t *root = json_text_parse(text, strlen(text), &error);
	int rc;

	if (!root)
		fail_msg("%s: %s", text, error.message);
	rc = job_request_parse(&fixture->ctx, slice(text), root, fixture->arena, &fixture->job,
			       &fixture->error);
	json_decref(root);
	parse_without_tree(fixture, text, rc);
	return rc;
}

static void id_of(int64_t at_ms, char text_r[UUID_TEXT])
{
	struct uuid id;

	uuid_v7(&id);
	for (int i = 0; i < 6; i++)
		id.b[i] = (uint8_t)(at_ms >> (40 - 8 * i));
	uuid_format(&id, text_r);
}

static void takes_the_least(void **state)
{
	struct fixture *f = *state;
	const struct new_job *job = &f->job;

	assert_int_equal(parse(f, "{\"type\":\"a\"}"), 0);
	assert_string_equal(job->type, "a");
	assert_string_equal(job->queue, "q1");
	assert_int_equal(job->priority, PRIORITY_HIGH);
	assert_string_equal(job->tenant, "acme");
	assert_string_equal(job->owner, "web");
	assert_memory_equal(job->payload, "{}", job->payload_bytes);
	assert_int_equal(job->payload_bytes, 2);
	assert_int_equal(uuid_version(&job->id), 7);
	assert_false(job->client_id);
	assert_int_equal(job->max_attempts, 0);
	assert_null(job->tags);
	assert_null(job->unique_key);
}

static void takes_every_member(void **state)
{
	struct fixture *f = *state;
	const struct new_job *job = &f->job;
	uint8_t fingerprint[SHA256_BYTES];
	char text[1024], id[UUID_TEXT], made[UUID_TEXT];

	id_of(NOW_MS - 1000, id);
	snprintf(
		text, sizeof(text),
		"{\"type\":\"b\",\"payload\": {\"who\" : 1, \"a/b\":null } ,\"id\":\"%s\",\"queue\":\"spare\",\"priority\":\"low\","
		"\"delay\":\"1m\",\"order_key\":\"o\",\"fair_key\":\"f\",\"unique\":{\"key\":\"u\",\"for\":90,\"on_conflict\":\"replace\"},"
		"\"max_attempts\":3,\"timeout\":1.5,\"tags\":[\"x\",\"y.z\"]}",
		id);
	if (parse(f, text) != 0)
		fail_msg("%s %s", f->error.pointer, f->error.message);
	assert_string_equal(uuid_format(&job->id, made), id);
	assert_true(job->client_id);
	digest_sha256(text, strlen(text), fingerprint);
	assert_memory_equal(job->fingerprint, fingerprint, sizeof(fingerprint));
	assert_int_equal(job->payload_bytes, strlen("{\"who\" : 1, \"a/b\":null }"));
	assert_memory_equal(job->payload, "{\"who\" : 1, \"a/b\":null }",
			    job->payload_bytes); /* as it was sent */
	assert_string_equal(job->queue, "spare");
	assert_int_equal(job->priority, PRIORITY_LOW);
	assert_int_equal(job->delay_ms, 60000);
	assert_string_equal(job->order_key, "o");
	assert_string_equal(job->fair_key, "f");
	assert_string_equal(job->unique_key, "u");
	assert_int_equal(job->unique_for_ms, 90000);
	assert_int_equal(job->unique_conflict, UNIQUE_REPLACE);
	assert_int_equal(job->max_attempts, 3);
	assert_int_equal(job->timeout_ms, 1500);
	assert_string_equal(job->tags, "[\"x\",\"y.z\"]");
}

static void reads_run_at(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(parse(f, "{\"type\":\"a\",\"run_at\":\"2026-12-24T18:00:00+01:00\"}"), 0);
	assert_int_equal(f->job.due_ms, INT64_C(1798131600000));
	assert_int_equal(parse(f, "{\"type\":\"a\",\"run_at\":\"2020-12-24T18:00:00Z\"}"), 0);
	assert_int_equal(f->job.due_ms, 0); /* past: now */
}

static const struct {
	const char *text;
	enum job_request_fault fault;
	const char *pointer, *message; /* message: a part of it */
} refusals[] = {
	{ "[]", JOB_REQUEST_INVALID, "", "expected an object" },
	{ "{}", JOB_REQUEST_INVALID, "/type", "expected the name" },
	{ "{\"type\":5}", JOB_REQUEST_INVALID, "/type", "expected the name" },
	{ "{\"type\":\"zz\"}", JOB_REQUEST_UNKNOWN_TYPE, "/type", "unknown job type \"zz\"" },
	{ "{\"type\":\"a\",\"pay\":1}", JOB_REQUEST_INVALID, "/pay", "did you mean \"payload\"" },
	{ "{\"type\":\"a\",\"x/y\":1}", JOB_REQUEST_INVALID, "/x~1y", "unknown member" },
	{ "{\"type\":\"a\",\"ttl\":1}", JOB_REQUEST_INVALID, "/ttl",
	  "not available in this version" },
	{ "{\"type\":\"a\",\"callback\":1}", JOB_REQUEST_INVALID, "/callback",
	  "did you mean \"callback_url\"" },
	{ "{\"type\":\"a\",\"callback_url\":\"https://a.example\"}", JOB_REQUEST_INVALID,
	  "/callback_url", "WINDLASS_WEBHOOK_SECRET" },
	{ "{\"type\":\"windlass.webhook\"}", JOB_REQUEST_INVALID, "/type", "Windlass's own" },
	{ "{\"type\":\"a\",\"queue\":\"windlass.webhooks\"}", JOB_REQUEST_INVALID, "/queue",
	  "Windlass's own" },
	{ "{\"type\":\"b\"}", JOB_REQUEST_PAYLOAD, "/payload/who", "missing" },
	{ "{\"type\":\"b\",\"payload\":{\"who\":1}}", JOB_REQUEST_PAYLOAD, "/payload/a~1b",
	  "missing" },
	{ "{\"type\":\"b\",\"payload\":[1]}", JOB_REQUEST_PAYLOAD, "/payload",
	  "must be an object" },
	{ "{\"type\":\"c\",\"payload\":{\"n\":1}}", JOB_REQUEST_PAYLOAD, "/payload/n",
	  "must be at least 1.5" },
	{ "{\"type\":\"c\",\"payload\":{\"at\":\"now\"}}", JOB_REQUEST_PAYLOAD, "/payload/at",
	  "must be in the format \"date-time\"" },
	{ "{\"type\":\"c\",\"payload\":{\"v\":false}}", JOB_REQUEST_PAYLOAD, "/payload/v",
	  "must be one of 1,\"1\",true,null,\"no\"" },
	{ "{\"type\":\"a\",\"payl\\u006fad\":{}}", JOB_REQUEST_INVALID, "/payload",
	  "without escapes" },
	{ "{\"type\":\"a\",\"payload\":\"12345678901234567890123456789012345678901234567890123456789012345\"}",
	  JOB_REQUEST_TOO_LARGE, "/payload", "67 bytes; expected at most 64" },
	{ "{\"type\":\"a\",\"id\":\"x\"}", JOB_REQUEST_INVALID, "/id", "UUID of version 7" },
	{ "{\"type\":\"a\",\"id\":\"9b2f1c1e-1f1a-4b7e-8d3c-0a1b2c3d4e5f\"}", JOB_REQUEST_INVALID,
	  "/id", "UUID of version 7" },
	{ "{\"type\":\"a\",\"id\":7}", JOB_REQUEST_INVALID, "/id", "UUID of version 7" },
	{ "{\"type\":\"a\",\"queue\":\"nope\"}", JOB_REQUEST_INVALID, "/queue",
	  "unknown queue \"nope\"" },
	{ "{\"type\":\"a\",\"queue\":\"a b\"}", JOB_REQUEST_INVALID, "/queue", "expected a name" },
	{ "{\"type\":\"a\",\"priority\":\"urgent\"}", JOB_REQUEST_INVALID, "/priority",
	  "\"high\", \"normal\"" },
	{ "{\"type\":\"a\",\"priority\":1}", JOB_REQUEST_INVALID, "/priority",
	  "\"high\", \"normal\"" },
	{ "{\"type\":\"a\",\"delay\":-1}", JOB_REQUEST_INVALID, "/delay", "not a duration" },
	{ "{\"type\":\"a\",\"delay\":\"soon\"}", JOB_REQUEST_INVALID, "/delay", "not a duration" },
	{ "{\"type\":\"a\",\"delay\":1e300}", JOB_REQUEST_INVALID, "/delay", "not a duration" },
	{ "{\"type\":\"a\",\"run_at\":\"tomorrow\"}", JOB_REQUEST_INVALID, "/run_at", "RFC 3339" },
	{ "{\"type\":\"a\",\"run_at\":\"2099-01-01T00:00:00Z\"}", JOB_REQUEST_INVALID, "/run_at",
	  "ten years" },
	{ "{\"type\":\"a\",\"delay\":1,\"run_at\":\"2026-12-24T18:00:00Z\"}", JOB_REQUEST_INVALID,
	  "/run_at", "\"delay\"" },
	{ "{\"type\":\"a\",\"order_key\":\"\"}", JOB_REQUEST_INVALID, "/order_key", "1 to 255" },
	{ "{\"type\":\"a\",\"fair_key\":\"a\\nb\"}", JOB_REQUEST_INVALID, "/fair_key", "control" },
	{ "{\"type\":\"a\",\"unique\":\"x\"}", JOB_REQUEST_INVALID, "/unique",
	  "expected an object" },
	{ "{\"type\":\"a\",\"unique\":{}}", JOB_REQUEST_INVALID, "/unique/key", "missing" },
	{ "{\"type\":\"a\",\"unique\":{\"key\":\"x\",\"on_conflict\":\"skip\"}}",
	  JOB_REQUEST_INVALID, "/unique/on_conflict", "\"return\" or \"replace\"" },
	{ "{\"type\":\"a\",\"unique\":{\"key\":\"x\",\"for\":0}}", JOB_REQUEST_INVALID,
	  "/unique/for", "out of range" },
	{ "{\"type\":\"a\",\"unique\":{\"key\":\"x\",\"fro\":0}}", JOB_REQUEST_INVALID,
	  "/unique/fro", "did you mean \"for\"" },
	{ "{\"type\":\"a\",\"max_attempts\":0}", JOB_REQUEST_INVALID, "/max_attempts",
	  "1 to 1000" },
	{ "{\"type\":\"a\",\"max_attempts\":1.5}", JOB_REQUEST_INVALID, "/max_attempts",
	  "1 to 1000" },
	{ "{\"type\":\"a\",\"timeout\":\"10ms\"}", JOB_REQUEST_INVALID, "/timeout",
	  "out of range" },
	{ "{\"type\":\"a\",\"tags\":\"x\"}", JOB_REQUEST_INVALID, "/tags", "list of at most 16" },
	{ "{\"type\":\"a\",\"tags\":[\"x\",\"a b\"]}", JOB_REQUEST_INVALID, "/tags/1",
	  "expected a name" },
	{ "{\"type\":\"a\",\"tags\":[1,2,3,4,5,6,7,8,9,0,1,2,3,4,5,6,7]}", JOB_REQUEST_INVALID,
	  "/tags", "list of at most 16" },
};

static void refuses(void **state)
{
	struct fixture *f = *state;
	int wrong = 0;

	for (size_t i = 0; i < ARRAY_LEN(refusals); i++) {
		if (parse(f, refusals[i].text) != -1 || f->error.fault != refusals[i].fault ||
		    strcmp(f->error.pointer, refusals[i].pointer) != 0 ||
		    !strstr(f->error.message, refusals[i].message)) {
			wrong++;
			print_error("%s\n got %d %s: %s\n", refusals[i].text, f->error.fault,
				    f->error.pointer, f->error.message);
		}
	}
	assert_int_equal(wrong, 0);
}

static void bounds_the_age_of_ids(void **state)
{
	static const struct {
		int64_t at_ms;
		int want;
	} cases[] = {
		{ NOW_MS, 0 },
		{ NOW_MS - 24 * 3600000, 0 },
		{ NOW_MS - 24 * 3600000 - 1, -1 },
		{ NOW_MS + 300000, 0 },
		{ NOW_MS + 300001, -1 },
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		char text[128], id[UUID_TEXT];

		id_of(cases[i].at_ms, id);
		snprintf(text, sizeof(text), "{\"type\":\"a\",\"id\":\"%s\"}", id);
		assert_int_equal(parse(f, text), cases[i].want);
	}
}

static void makes_follow_ups(void **state)
{
	struct fixture *f = *state;
	struct uuid id;
	const struct new_job *job = &f->job;

	uuid_v7(&id);
	assert_int_equal(job_request_follow_up(&f->ctx, &id, "a", slice(NULL),
					       slice("{\"delay\":5,\"unique\":{\"key\":\"k\"}}"),
					       f->arena, &f->job, &f->error),
			 0);
	assert_true(uuid_equal(&job->id, &id));
	assert_false(job->client_id);
	assert_int_equal(job->delay_ms, 5000);
	assert_string_equal(job->unique_key, "k");
	assert_memory_equal(job->payload, "{}", 2);
	assert_int_equal(job_request_follow_up(&f->ctx, NULL, "a", slice("[1]"), slice(NULL),
					       f->arena, &f->job, &f->error),
			 0);
	assert_int_equal(uuid_version(&job->id), 7);
}

static void refuses_follow_ups(void **state)
{
	static const struct {
		const char *type, *payload, *options, *pointer, *message;
	} cases[] = {
		{ "zz", "{}", NULL, "/type", "unknown job type" },
		{ "a", "{", NULL, "/payload", "1:" },
		{ "b", "{}", NULL, "/payload/who", "missing" },
		{ "a", "{}", "{\"id\":\"x\"}", "/options/id", "unknown member" },
		{ "a", "{}", "{\"type\":\"x\"}", "/options/type", "unknown member" },
		{ "a", "{}", "[]", "/options", "expected an object" },
		{ "a", "{}", "{\"delay\"}", "/options", "1:" },
		{ "a", "{}", "{\"delay\":1,\"run_at\":\"2026-12-24T18:00:00Z\"}", "/options/run_at",
		  "\"delay\"" },
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		if (job_request_follow_up(&f->ctx, NULL, cases[i].type, slice(cases[i].payload),
					  slice(cases[i].options), f->arena, &f->job,
					  &f->error) != -1 ||
		    strcmp(f->error.pointer, cases[i].pointer) != 0 ||
		    !strstr(f->error.message, cases[i].message))
			fail_msg("case %zu: %s: %s", i, f->error.pointer, f->error.message);
	}
}

static void tells_all_faults(void **state)
{
	static const char *const want[][2] = {
		{ "/payload/n", "type" },
		{ "/payload/n", "maximum" },
		{ "/payload/at", "format" },
		{ "/payload/v", "enum" },
	};
	struct fixture *f = *state;
	const struct schema_faults *faults = &f->error.faults;

	assert_int_equal(parse(f, "{\"type\":\"c\",\"payload\":{\"n\":9.5,\"at\":\"x\",\"v\":2}}"),
			 -1);
	assert_int_equal(faults->count, ARRAY_LEN(want));
	for (size_t i = 0; i < ARRAY_LEN(want); i++) {
		assert_string_equal(faults->faults[i].pointer, want[i][0]);
		assert_string_equal(faults->faults[i].keyword, want[i][1]);
	}
	assert_string_equal(
		job_request_reason(&f->error, "", f->arena),
		"/payload/n: must be a whole number (type); /payload/n: must be at most 9 (maximum); "
		"/payload/at: must be in the format \"date-time\" (format); and 1 more");
}

/* A member's name may be as long as a payload: what is told of it is not, and is UTF-8. */
static void cuts_long_names(void **state)
{
	struct fixture *f = *state;
	const struct job_type *type;
	struct definitions *defs;
	struct strbuf payload;
	static const char text[] =
		"jobs: {a: {sql: SELECT 1, payload: {additionalProperties: false}}}";

	strbuf_init(&payload);
	strbuf_addstr(&payload, "{\"x");
	for (int i = 0; i < 1000; i++)
		strbuf_addstr(&payload, "ä");
	strbuf_addstr(&payload, "\":1}");
	defs = definitions_parse(text, sizeof(text) - 1, "f.yaml", stderr);
	type = definitions_type(defs, "a");
	assert_int_equal(job_request_payload(type, slice(payload.data), f->arena, &f->error), -1);
	assert_true(strlen(f->error.faults.faults[0].pointer) < 510);
	assert_true(utf8_text(f->error.faults.faults[0].pointer,
			      strlen(f->error.faults.faults[0].pointer)));
	const char *reason = job_request_reason(&f->error, "payload", f->arena);
	assert_true(strlen(reason) < 200 && utf8_text(reason, strlen(reason)));
	strbuf_release(&payload);
	definitions_unref(&defs);
}

static void checks_payloads_from_elsewhere(void **state)
{
	struct fixture *f = *state;
	const struct job_type *a = definitions_type(f->defs, "a"),
			      *b = definitions_type(f->defs, "b");

	assert_int_equal(job_request_payload(a, slice("5"), f->arena, &f->error), 0);
	assert_int_equal(
		job_request_payload(b, slice("{\"who\":1,\"a/b\":2}"), f->arena, &f->error), 0);
	assert_int_equal(job_request_payload(b, slice("{\"who\":1}"), f->arena, &f->error), -1);
	assert_string_equal(f->error.pointer, "/a~1b");
	assert_int_equal(f->error.fault, JOB_REQUEST_PAYLOAD);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(takes_the_least),
		cmocka_unit_test(takes_every_member),
		cmocka_unit_test(reads_run_at),
		cmocka_unit_test(refuses),
		cmocka_unit_test(bounds_the_age_of_ids),
		cmocka_unit_test(makes_follow_ups),
		cmocka_unit_test(refuses_follow_ups),
		cmocka_unit_test(tells_all_faults),
		cmocka_unit_test(cuts_long_names),
		cmocka_unit_test(checks_payloads_from_elsewhere),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
