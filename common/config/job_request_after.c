/* SPDX-License-Identifier: Apache-2.0 */
/* The members of a job request that tie jobs together: `after`, jobs that it waits for, and `then`,
 * jobs that wait for it. Whether those that are named exist is the store's to say. */
#include <stdio.h>
#include <string.h>

#include "common/config/job_request_impl.h"
#include "common/job/chain.h"

/* ---- jobs that it waits for */

int request_on_failure(struct request *request, const char *pointer, const json_t *value)
{
	const char *text = json_string_value(value);

	if (text && edge_failure_parse(text, &request->on_failure))
		return 0;
	return request_refuse_at(request, pointer, "expected \"discard\", \"run\" or \"wait\"");
}

/* An id, or {id, on_failure}. */
static int read_edge(struct request *request, const char *pointer, const json_t *value,
		     struct job_after *after_r)
{
	const json_t *id = value;
	const char *name;
	json_t *member;

	after_r->on_failure = EDGE_DISCARD;
	if (json_is_object(value)) {
		id = json_object_get(value, "id");
		/* Only walked; jansson's iteration wants it writable. */
		json_object_foreach((json_t *)(uintptr_t)value, name, member)
		{
			if (strcmp(name, "on_failure") == 0) {
				if (request_on_failure(request, pointer, member) != 0)
					return -1;
				after_r->on_failure = request->on_failure;
			} else if (strcmp(name, "id") != 0) {
				return request_refuse_at(
					request, pointer,
					"expected an id, or \"id\" and \"on_failure\"");
			}
		}
	}
	if (!json_is_string(id) ||
	    !uuid_parse_n(json_string_value(id), json_string_length(id), &after_r->id))
		return request_refuse_at(request, pointer, "expected the id of a job");
	return 0;
}

static int add_edge(struct request *request, const char *parent, const char *name,
		    const json_t *value, struct job_after *after)
{
	struct new_job *job = request->job;
	struct job_after *edge = &after[job->after_count];
	const char *pointer = arena_printf(request->arena, "%s/%s", parent, name);

	if (!job_name_valid(name) || strpbrk(name, ".:"))
		return request_refuse_at(
			request, parent,
			"a name of a job that is waited for is letters, digits, _ and -");
	if (read_edge(request, pointer, value, edge) != 0)
		return -1;
	for (size_t i = 0; i < job->after_count; i++)
		if (uuid_equal(&after[i].id, &edge->id))
			return request_refuse_at(request, pointer, "this job is named twice");
	edge->name = arena_strdup(request->arena, name);
	job->after_count++;
	return 0;
}

int request_on_after(struct request *request, const char *pointer, const json_t *value)
{
	size_t count = json_is_array(value) ? json_array_size(value) : json_object_size(value);
	struct job_after *after;
	const char *name;
	json_t *member;

	if ((!json_is_array(value) && !json_is_object(value)) || !count || count > JOB_AFTER_MAX)
		return request_refuse_at(
			request, pointer,
			"expected a list of 1 to %d ids, or an object of names and ids",
			JOB_AFTER_MAX);
	request->job->after = after = ARENA_ARRAY(request->arena, struct job_after, count);
	request->job->after_any = request->ctx->after_any;
	for (size_t i = 0; json_is_array(value) && i < count; i++) {
		char place[24];

		snprintf(place, sizeof(place), "%zu", i);
		if (add_edge(request, pointer, place, json_array_get(value, i), after) != 0)
			return -1;
	}
	json_object_foreach((json_t *)(uintptr_t)value, name, member)
	{
		if (add_edge(request, pointer, name, member, after) != 0)
			return -1;
	}
	return 0;
}

int request_check_references(struct request *request)
{
	const struct new_job *job = request->job;
	const char *fault = chain_reference_fault(job->payload, job->payload_bytes, job->after,
						  job->after_count, request->arena);

	return fault ? request_refuse_at(request, "/payload", "%s", fault) : 0;
}

/* ---- jobs that wait for this one */

/* A job of `then` is a request like others; what is wrong in it is said with its place. */
static int add_then(struct request *parent, struct json_slice text, const char *pointer,
		    struct new_job *job_r)
{
	struct job_after *after = ARENA_NEW(parent->arena, struct job_after);
	struct request request = *parent;
	char inner[sizeof(parent->err->pointer)];

	*job_r = (struct new_job){ .after = after, .after_count = 1, .after_any = true };
	after->name = CHAIN_PREVIOUS;
	request.job = job_r;
	request.where = THEN;
	request.depth++;
	request.on_failure = EDGE_DISCARD;
	chain_then_id(&parent->job->id, parent->job->then_count, &job_r->id);
	after->id = parent->job->id;
	if (request_read_text(&request, text) == 0 && request_read_then(&request, text) == 0) {
		after->on_failure = request.on_failure;
		return 0;
	}
	memcpy(inner, parent->err->pointer, sizeof(inner));
	snprintf(parent->err->pointer, sizeof(inner), "%s%.*s", pointer,
		 (int)(sizeof(inner) - 1 - strlen(pointer)), inner);
	for (size_t i = 0; i < parent->err->faults.count; i++) {
		struct schema_fault *fault = &parent->err->faults.faults[i];

		fault->pointer = arena_printf(parent->arena, "%s%s", pointer, fault->pointer);
	}
	return -1;
}

static int read_then_list(struct request *request, struct json_slice list)
{
	struct new_job *then = ARENA_ARRAY(request->arena, struct new_job, JOB_THEN_MAX);
	const char *cursor = NULL;
	struct json_slice text;
	char pointer[32];

	request->job->then = then;
	while (json_slice_element(list, &cursor, &text) == 1) {
		snprintf(pointer, sizeof(pointer), "/then/%zu", request->job->then_count);
		if (request->job->then_count == JOB_THEN_MAX)
			return request_refuse_at(request, "/then", "expected at most %d jobs",
						 JOB_THEN_MAX);
		if (add_then(request, text, pointer, &then[request->job->then_count]) != 0)
			return -1;
		request->job->then_count++;
	}
	return 0;
}

int request_read_then(struct request *request, struct json_slice text)
{
	struct json_slice then = json_slice_get(text, "then");

	if (!then.bytes)
		return 0;
	if (request->depth == JOB_THEN_DEPTH)
		return request_refuse_at(request, "/then", "at most %d deep", JOB_THEN_DEPTH);
	if (then.text[0] == '[')
		return read_then_list(request, then);
	request->job->then = ARENA_NEW(request->arena, struct new_job);
	if (add_then(request, then, "/then", request->job->then) != 0)
		return -1;
	request->job->then_count = 1;
	return 0;
}
