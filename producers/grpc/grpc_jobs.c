/* SPDX-License-Identifier: Apache-2.0 */
/* The unary methods of windlass.v1.Jobs: each makes one request of the HTTP API out of its message,
 * and a message out of the answer. Nothing is judged here but what has no place over HTTP. */
#include <stdio.h>
#include <string.h>

#include <windlass/v1/jobs.pb-c.h>

#include "common/base/clock.h"
#include "common/job/job.h"
#include "producers/grpc/grpc_json.h"
#include "producers/grpc/grpc_methods.h"

static struct json_slice answer_of(const struct grpc_call *call)
{
	return (struct json_slice){ call->ask.answer, call->ask.answer_bytes };
}

static void give_and_end(struct grpc_call *call, const ProtobufCMessage *message)
{
	grpc_call_give(call, message);
	grpc_call_end_ok(call);
}

static void target(struct grpc_call *call, const char *path)
{
	strbuf_clear(&call->ask_target);
	strbuf_clear(&call->ask_body);
	strbuf_addstr(&call->ask_target, path);
}

/* "&name=value", with the question mark where it is the first; nothing for an empty value. */
static void add_param(struct grpc_call *call, const char *name, const char *value)
{
	struct strbuf *out = &call->ask_target;

	if (!*value)
		return;
	strbuf_addch(out, strchr(out->data, '?') ? '&' : '?');
	strbuf_addstr(out, name);
	strbuf_addch(out, '=');
	inner_escape(out, value);
}

/* "/v1/jobs/{id}". False: refused. */
static bool target_job(struct grpc_call *call, const char *id)
{
	if (!*id) {
		grpc_call_refuse(call, 422, "invalid", "/id", "expected the id of a job", 0);
		return false;
	}
	target(call, "/v1/jobs/");
	inner_escape(&call->ask_target, id);
	return true;
}

static void refuse_json(struct grpc_call *call, const struct json_error *error, const char *field)
{
	const char *detail = arena_printf(call->arena, "%s (line %d, column %d)", error->message,
					  error->line, error->column);

	grpc_call_refuse(call, 400, "malformed-json", arena_printf(call->arena, "/%s", field),
			 detail, 0);
}

/* ---- Enqueue */

static void enqueued(struct grpc_call *call)
{
	Windlass__V1__EnqueueResponse response = WINDLASS__V1__ENQUEUE_RESPONSE__INIT;
	Windlass__V1__Job job = WINDLASS__V1__JOB__INIT;

	grpc_json_read(call->arena, answer_of(call), &job.base);
	grpc_json_read(call->arena, answer_of(call), &response.base);
	response.job = &job;
	response.replayed = call->ask.replayed;
	give_and_end(call, &response.base);
}

void grpc_enqueue(struct grpc_call *call, const uint8_t *data, size_t bytes)
{
	ProtobufCMessage *message =
		grpc_call_unpack(call, &windlass__v1__enqueue_request__descriptor, data, bytes);
	const Windlass__V1__EnqueueRequest *request = (const void *)message;
	struct json_error error;
	const char *field;

	if (!message)
		return;
	if (!request->job) {
		grpc_call_refuse(call, 422, "invalid", "", "expected a job", 0);
		return;
	}
	target(call, "/v1/jobs");
	if (request->wait)
		add_param(call, "wait", grpc_json_duration(call->arena, request->wait));
	if (!grpc_json_write(&call->ask_body, &request->job->base, &error, &field)) {
		refuse_json(call, &error, field);
		return;
	}
	call->ask.idempotency_key = *request->idempotency_key ? request->idempotency_key : NULL;
	grpc_call_ask(call, "POST", enqueued);
}

/* ---- Get, Wait */

static void give_job(struct grpc_call *call)
{
	Windlass__V1__Job job = WINDLASS__V1__JOB__INIT;

	grpc_json_read(call->arena, answer_of(call), &job.base);
	give_and_end(call, &job.base);
}

void grpc_get(struct grpc_call *call, const uint8_t *data, size_t bytes)
{
	ProtobufCMessage *message =
		grpc_call_unpack(call, &windlass__v1__get_request__descriptor, data, bytes);
	const Windlass__V1__GetRequest *request = (const void *)message;

	if (!message || !target_job(call, request->id))
		return;
	add_param(call, "watch_token", request->watch_token);
	grpc_call_ask(call, "GET", give_job);
}

struct wait {
	const Windlass__V1__WaitRequest *request;
	int64_t until_ms; /* monotonic; 0: as long as the call */
};

static void ask_wait(struct grpc_call *call);

static bool has_ended(const struct grpc_call *call)
{
	char *name = json_slice_string(call->arena, json_slice_get(answer_of(call), "state"));
	enum job_state state;

	return name && job_state_parse(name, &state) && job_state_terminal(state);
}

static void waited(struct grpc_call *call)
{
	const struct wait *wait = call->own;

	if (has_ended(call) || (wait->until_ms && clock_mono_ms() >= wait->until_ms))
		give_job(call);
	else if (atomic_load(&call->loop->gateway->draining))
		grpc_call_refuse(call, 503, "stopping", NULL,
				 "this gateway is being stopped; ask another", 1);
	else
		ask_wait(call);
}

static void ask_wait(struct grpc_call *call)
{
	const struct wait *wait = call->own;
	int64_t ms = GRPC_WAIT_MS;
	char text[32];

	if (wait->until_ms) {
		ms = wait->until_ms - clock_mono_ms();
		if (ms < 0)
			ms = 0;
		if (ms > GRPC_WAIT_MS)
			ms = GRPC_WAIT_MS;
	}
	if (!target_job(call, wait->request->id))
		return;
	snprintf(text, sizeof(text), "%lldms", (long long)ms);
	add_param(call, "wait", text);
	add_param(call, "watch_token", wait->request->watch_token);
	grpc_call_ask(call, "GET", waited);
}

void grpc_wait(struct grpc_call *call, const uint8_t *data, size_t bytes)
{
	ProtobufCMessage *message =
		grpc_call_unpack(call, &windlass__v1__wait_request__descriptor, data, bytes);
	const Windlass__V1__WaitRequest *request = (const void *)message;
	struct wait *wait = ARENA_NEW(call->arena, struct wait);
	int64_t ms;

	if (!message)
		return;
	if (request->timeout &&
	    duration_parse(grpc_json_duration(call->arena, request->timeout), &ms) < 0) {
		grpc_call_refuse(call, 422, "invalid", "/timeout", "expected a duration", 0);
		return;
	}
	wait->request = request;
	wait->until_ms = request->timeout ? clock_mono_ms() + ms : 0;
	call->own = wait;
	ask_wait(call);
}

/* ---- Cancel */

static void cancelled(struct grpc_call *call)
{
	Windlass__V1__CancelResponse response = WINDLASS__V1__CANCEL_RESPONSE__INIT;

	grpc_json_read(call->arena, answer_of(call), &response.base);
	give_and_end(call, &response.base);
}

void grpc_cancel(struct grpc_call *call, const uint8_t *data, size_t bytes)
{
	ProtobufCMessage *message =
		grpc_call_unpack(call, &windlass__v1__cancel_request__descriptor, data, bytes);
	const Windlass__V1__CancelRequest *request = (const void *)message;

	if (!message || !target_job(call, request->id))
		return;
	strbuf_addstr(&call->ask_target, "/cancel");
	if (*request->reason) {
		strbuf_addstr(&call->ask_body, "{\"reason\":");
		strbuf_json(&call->ask_body, request->reason);
		strbuf_addch(&call->ask_body, '}');
	}
	grpc_call_ask(call, "POST", cancelled);
}

/* ---- List */

static void listed(struct grpc_call *call)
{
	Windlass__V1__ListResponse response = WINDLASS__V1__LIST_RESPONSE__INIT;

	grpc_json_read(call->arena, answer_of(call), &response.base);
	give_and_end(call, &response.base);
}

static void add_state(struct grpc_call *call, int number)
{
	_Static_assert((int)WINDLASS__V1__JOB_STATE__JOB_STATE_CANCELLED == (int)JOB_CANCELLED &&
			       (int)WINDLASS__V1__JOB_STATE__JOB_STATE_SCHEDULED ==
				       (int)JOB_SCHEDULED,
		       "the same numbers");
	if (number == 0)
		return;
	if (number < JOB_SCHEDULED || number > JOB_CANCELLED)
		add_param(call, "state", "unknown");
	else
		add_param(call, "state", job_state_name((enum job_state)number));
}

void grpc_list(struct grpc_call *call, const uint8_t *data, size_t bytes)
{
	ProtobufCMessage *message =
		grpc_call_unpack(call, &windlass__v1__list_request__descriptor, data, bytes);
	const Windlass__V1__ListRequest *request = (const void *)message;
	char limit[16];

	if (!message)
		return;
	target(call, "/v1/jobs");
	add_state(call, (int)request->state);
	add_param(call, "type", request->type);
	add_param(call, "queue", request->queue);
	add_param(call, "tag", request->tag);
	snprintf(limit, sizeof(limit), "%u", request->limit);
	add_param(call, "limit", request->limit ? limit : "");
	add_param(call, "cursor", request->cursor);
	grpc_call_ask(call, "GET", listed);
}
