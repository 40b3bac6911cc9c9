/* SPDX-License-Identifier: Apache-2.0 */
/* See server_inner.h. The accessors of server_request.c work on what is filled in here; only
 * parking differs, and asking whether the client is still there. */
#include "common/http/server_inner.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/base/clock.h"
#include "common/http/server_impl.h"

#define ARENA_BLOCK_BYTES (8 * 1024)

struct request *request_inner_new(const struct server_options *options, request_woken_fn *woken)
{
	struct request *request = xcalloc(1, sizeof(*request));

	CHECK(options->on_head && options->on_request && options->on_end && woken);
	request->inner = xcalloc(1, sizeof(*request->inner));
	request->inner->options = *options;
	request->inner->woken = woken;
	request->arena = arena_new(ARENA_BLOCK_BYTES);
	request->user = xcalloc(1, options->user_bytes);
	return request;
}

void request_inner_free(struct request **request_)
{
	struct request *request = *request_;

	*request_ = NULL;
	if (!request)
		return;
	CHECK(!request->open);
	arena_free(&request->arena);
	free(request->user);
	free(request->inner);
	free(request);
}

static bool take_target(struct request *request, const char *target)
{
	struct problem problem = { .status = 400 };
	size_t bytes = strlen(target);

	request->target_too_long = bytes > SERVER_TARGET_BYTES_MAX;
	if (request->target_too_long) {
		problem.status = 414;
		problem.detail = "the request target is too long";
	} else {
		request->target_raw = arena_strndup(request->arena, target, bytes);
		if (target_parse(request->arena, request->target_raw, &request->target,
				 &problem.detail) == 0)
			return true;
	}
	request_refuse(request, &problem);
	return false;
}

/* A door takes these from its own protocol, where they may hold anything. */
static bool is_field_text(const char *text)
{
	for (const unsigned char *p = (const unsigned char *)text; *p; p++) {
		if ((*p < 0x20 && *p != '\t') || *p == 0x7f)
			return false;
	}
	return true;
}

static bool take_fields(struct request *request, const struct inner_head *head)
{
	static const struct problem problem = { .status = 400,
						.detail = "a header field is malformed" };

	CHECK(head->field_count <= INNER_FIELDS_MAX);
	for (size_t i = 0; i < head->field_count; i++) {
		const struct inner_field *field = &head->fields[i];
		if (!is_field_text(field->value)) {
			request_refuse(request, &problem);
			return false;
		}
		request->headers[request->header_count++] =
			(struct header){ .name = field->name,
					 .value = field->value,
					 .value_bytes = strlen(field->value) };
	}
	return true;
}

static void take_body(struct request *request, const struct inner_head *head)
{
	if (!head->body || request->answer.status)
		return;
	CHECK(head->body[head->body_bytes] == 0);
	request->announced_bytes = head->body_bytes;
	if (head->body_bytes > request->body_limit) {
		server_refuse_too_large(request);
		return;
	}
	/* steps only read it: request_body gives it as const */
	memcpy(&request->body, &head->body, sizeof(head->body));
	request->body_bytes = head->body_bytes;
}

bool request_inner_begin(struct request *request, const struct inner_head *head, void *owner)
{
	const struct server_options *options = &request->inner->options;

	CHECK(!request->open);
	request->open = true;
	request->inner->owner = owner;
	request->inner->gone = head->gone;
	request->method = head->method;
	request->version = "HTTP/1.1";
	request->started_ns = clock_mono_ns();
	if (take_target(request, head->target) && take_fields(request, head)) {
		options->on_head(request, options->ctx);
		CHECK(!request->parked);
		take_body(request, head);
	}
	return request_inner_step(request);
}

bool request_inner_step(struct request *request)
{
	const struct server_options *options = &request->inner->options;
	request_step_fn *step = request->next ? request->next : options->on_request;

	CHECK(request->open);
	request->parked = false;
	request->next = NULL;
	if (!request->answer.status)
		step(request, options->ctx);
	if (request->parked)
		return false;
	CHECK(request->answer.status);
	return true;
}

const char *request_inner_header(const struct request *request, const char *name)
{
	const struct answer *answer = &request->answer;

	for (size_t i = 0; i < answer->header_count; i++) {
		if (strcasecmp(answer->headers[i].name, name) == 0)
			return answer->headers[i].value;
	}
	return NULL;
}

void request_inner_end(struct request *request, struct inner_answer *answer_r)
{
	struct request_inner *inner = request->inner;
	const struct answer *answer = &request->answer;
	struct arena *arena = request->arena;
	void *user = request->user;
	size_t rest = offsetof(struct request, header_count);

	CHECK(request->open && answer->status && !request->parked);
	inner->options.on_end(request, inner->options.ctx);
	*answer_r = (struct inner_answer){ .status = answer->status,
					   .content_type = answer->content_type,
					   .body = answer->body,
					   .bytes = answer->bytes,
					   .body_static = answer->body_static };
	arena_reset(arena);
	memset(user, 0, inner->options.user_bytes);
	memset(request, 0, offsetof(struct request, headers));
	memset((char *)request + rest, 0, sizeof(*request) - rest);
	request->inner = inner;
	request->arena = arena;
	request->user = user;
	inner->owner = NULL;
	inner->gone = NULL;
}
