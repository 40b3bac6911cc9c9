/* SPDX-License-Identifier: Apache-2.0 */
/* A request of any bytes, and the same bytes as a follow-up's payload and options: what is taken is
 * a job within every limit, what is not is refused with a fault and a message. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/check.h"
#include "common/config/job_request.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static const char definitions_text[] = "queues: {q: {}}\n"
				       "jobs:\n"
				       "  a: {sql: SELECT 1}\n"
				       "  b: {sql: SELECT 1, payload: {required: [x, y~z]}}\n";

static const struct definitions *definitions(void)
{
	static struct definitions *defs;

	if (!defs)
		defs = definitions_parse(definitions_text, sizeof(definitions_text) - 1, "f.yaml",
					 stderr);
	CHECK(defs);
	return defs;
}

static void check_job(const struct new_job *job)
{
	CHECK(!uuid_is_nil(&job->id) && job->type && job->queue && job->tenant && job->owner);
	CHECK(job->payload_bytes > 0 && job->payload_bytes <= 4096);
	CHECK(job->delay_ms >= 0 && job->timeout_ms >= 0 && job->max_attempts >= 0 &&
	      job->max_attempts <= 1000);
	CHECK(!(job->delay_ms && job->due_ms) && job->unique_for_ms >= 0);
	CHECK(!job->order_key || (*job->order_key && strlen(job->order_key) <= JOB_KEY_MAX));
	CHECK(!job->unique_key || (*job->unique_key && strlen(job->unique_key) <= JOB_KEY_MAX));
	if (job->tags) {
		struct json_error error;
		json_t *tags = json_text_parse(job->tags, strlen(job->tags), &error);

		CHECK(json_is_array(tags) && json_array_size(tags) <= JOB_TAGS_MAX);
		json_decref(tags);
	}
}

static void check_error(const struct job_request_error *error)
{
	CHECK(error->fault >= JOB_REQUEST_INVALID && error->fault <= JOB_REQUEST_TOO_LARGE &&
	      *error->message);
	CHECK(!*error->pointer || *error->pointer == '/');
}

/* With a tree and without one: the same job, or the same refusal. */
static void compare_ways(const struct job_request_context *ctx, struct json_slice text,
			 json_t *root)
{
	struct arena *arena = arena_new(0);
	struct job_request_error errors[2];
	struct new_job jobs[2];
	int rc = job_request_parse(ctx, text, root, arena, &jobs[0], &errors[0]);

	CHECK(job_request_parse(ctx, text, NULL, arena, &jobs[1], &errors[1]) == rc);
	if (rc < 0) {
		CHECK(errors[0].fault == errors[1].fault);
		CHECK(!strcmp(errors[0].pointer, errors[1].pointer));
		CHECK(!strcmp(errors[0].message, errors[1].message));
	} else {
		CHECK(jobs[0].type == jobs[1].type && jobs[0].queue == jobs[1].queue);
		CHECK(jobs[0].payload_bytes == jobs[1].payload_bytes);
		CHECK(!memcmp(jobs[0].payload, jobs[1].payload, jobs[0].payload_bytes));
		CHECK(jobs[0].priority == jobs[1].priority && jobs[0].due_ms == jobs[1].due_ms);
		CHECK(jobs[0].delay_ms == jobs[1].delay_ms);
		CHECK(jobs[0].max_attempts == jobs[1].max_attempts);
		CHECK(jobs[0].client_id == jobs[1].client_id);
	}
	arena_free(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	struct job_request_context ctx = { .defs = definitions(),
					   .tenant = "",
					   .owner = "k",
					   .payload_bytes_max = 4096,
					   .now_ms = 1763879000000 };
	struct json_slice text = { .text = (const char *)data, .bytes = bytes };
	struct arena *arena = arena_new(0);
	struct job_request_error error;
	struct json_error json_error;
	struct new_job job;
	json_t *root = json_text_parse(text.text, bytes, &json_error);

	if (root)
		compare_ways(&ctx, text, root);
	if (root && job_request_parse(&ctx, text, root, arena, &job, &error) == 0)
		check_job(&job);
	else if (root)
		check_error(&error);
	json_decref(root);
	if (job_request_follow_up(&ctx, NULL, "b", text, (struct json_slice){ 0 }, arena, &job,
				  &error) == 0)
		check_job(&job);
	else
		check_error(&error);
	if (job_request_follow_up(&ctx, NULL, "a", (struct json_slice){ 0 }, text, arena, &job,
				  &error) == 0)
		check_job(&job);
	else
		check_error(&error);
	arena_free(&arena);
	return 0;
}
