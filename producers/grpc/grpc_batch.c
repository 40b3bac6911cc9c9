/* SPDX-License-Identifier: Apache-2.0 */
/* EnqueueBatch: what the client streams becomes one body of the batch route, so that all of it is
 * accepted or none. */
#include <string.h>

#include <windlass/v1/jobs.pb-c.h>

#include "producers/grpc/grpc_json.h"
#include "producers/grpc/grpc_methods.h"

#define JOBS_MAX 10000 /* of the batch route */

struct batch {
	size_t count;
	const char *key;
};

static bool take_key(struct grpc_call *call, struct batch *batch, const char *key)
{
	if (!*key)
		return true;
	if (batch->key && strcmp(batch->key, key) != 0) {
		grpc_call_refuse(call, 400, "bad-idempotency-key", NULL,
				 "two messages of the batch have different keys", 0);
		return false;
	}
	batch->key = arena_strdup(call->arena, key);
	return true;
}

static bool take_job(struct grpc_call *call, struct batch *batch,
		     const Windlass__V1__JobRequest *job)
{
	const struct settings *settings = call->loop->gateway->settings;
	struct json_error error;
	const char *field, *detail, *pointer;

	strbuf_addch(&call->ask_body, batch->count ? ',' : '[');
	if (!grpc_json_write(&call->ask_body, &job->base, &error, &field)) {
		detail = arena_printf(call->arena, "%s (line %d, column %d)", error.message,
				      error.line, error.column);
		pointer = arena_printf(call->arena, "/%zu/%s", batch->count, field);
		grpc_call_refuse(call, 400, "malformed-json", pointer, detail, 0);
		return false;
	}
	batch->count++;
	/* The API would say the same, of a body that we would have had to keep until then. */
	if (batch->count > JOBS_MAX || call->ask_body.len > (size_t)settings->batch_bytes_max) {
		grpc_call_refuse(call, 413, "body-too-large", NULL,
				 "the batch is larger than this gateway takes", 0);
		return false;
	}
	return true;
}

void grpc_batch_message(struct grpc_call *call, const uint8_t *data, size_t bytes)
{
	struct arena *arena = arena_new(0), *own = call->arena;
	const Windlass__V1__EnqueueBatchRequest *request;
	struct batch *batch = call->own;

	if (!batch)
		batch = call->own = ARENA_NEW(own, struct batch);
	/* The message is needed no longer than this function runs. */
	call->arena = arena;
	request = (const void *)grpc_call_unpack(
		call, &windlass__v1__enqueue_batch_request__descriptor, data, bytes);
	call->arena = own;
	size_t before = call->ask_body.len;
	if (request && take_key(call, batch, request->idempotency_key)) {
		for (size_t i = 0; i < request->n_jobs; i++) {
			if (!take_job(call, batch, request->jobs[i]))
				break;
		}
	}
	grpc_call_keep(call, call->ask_body.len - before);
	arena_free(&arena);
}

static void batch_accepted(struct grpc_call *call)
{
	Windlass__V1__EnqueueBatchResponse response = WINDLASS__V1__ENQUEUE_BATCH_RESPONSE__INIT;
	struct json_slice answer = { call->ask.answer, call->ask.answer_bytes };

	grpc_json_read(call->arena, answer, &response.base);
	response.replayed = call->ask.replayed;
	grpc_call_give(call, &response.base);
	grpc_call_end_ok(call);
}

void grpc_batch_finished(struct grpc_call *call)
{
	const struct batch *batch = call->own;

	if (!batch || batch->count == 0)
		strbuf_addch(&call->ask_body, '[');
	strbuf_addch(&call->ask_body, ']');
	strbuf_clear(&call->ask_target);
	strbuf_addstr(&call->ask_target, "/v1/jobs/batch");
	call->ask.idempotency_key = batch ? batch->key : NULL;
	grpc_call_ask(call, "POST", batch_accepted);
}
