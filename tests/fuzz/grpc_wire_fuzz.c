/* SPDX-License-Identifier: Apache-2.0 */
/* Protobuf from outside: every request message of jobs.proto is looked through, unpacked and
 * written as JSON; what comes out must be JSON, and must give the same message again. The first
 * byte says which message. Also: answers of the API read into messages, and refusals into a status.
 */
#include <stdint.h>
#include <string.h>

#include <windlass/v1/jobs.pb-c.h>

#include "common/base/check.h"
#include "producers/grpc/grpc_json.h"
#include "producers/grpc/grpc_status.h"
#include "producers/grpc/grpc_wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static const ProtobufCMessageDescriptor *const types[] = {
	&windlass__v1__enqueue_request__descriptor,
	&windlass__v1__enqueue_batch_request__descriptor,
	&windlass__v1__get_request__descriptor,
	&windlass__v1__wait_request__descriptor,
	&windlass__v1__watch_request__descriptor,
	&windlass__v1__cancel_request__descriptor,
	&windlass__v1__list_request__descriptor,
	&windlass__v1__job_request__descriptor,
};

/* A payload may be as deep as JSON may be, and is then too deep within the job. */
static void check_json(const char *text, size_t bytes)
{
	struct json_error error;

	if (json_text_check(text, bytes))
		return;
	CHECK(!json_text_parse(text, bytes, &error));
	CHECK(strstr(error.message, "deeply"));
}

static void try_message(struct arena *arena, const ProtobufCMessageDescriptor *type,
			const uint8_t *data, size_t bytes)
{
	size_t fields = GRPC_FIELDS_MAX;
	const char *why = NULL, *field = NULL;
	struct json_error error;
	struct strbuf json;
	ProtobufCMessage *message = grpc_wire_unpack(arena, type, data, bytes, &fields, &why);

	if (!message) {
		CHECK(why);
		return;
	}
	CHECK(fields <= GRPC_FIELDS_MAX);
	strbuf_init(&json);
	if (grpc_json_write(&json, message, &error, &field))
		check_json(json.data, json.len);
	else
		CHECK(field && error.line > 0);
	strbuf_release(&json);
}

static void try_answer(struct arena *arena, const uint8_t *data, size_t bytes)
{
	Windlass__V1__Job job = WINDLASS__V1__JOB__INIT;
	Windlass__V1__ListResponse list = WINDLASS__V1__LIST_RESPONSE__INIT;
	struct json_slice text = { (const char *)data, bytes };
	struct grpc_status status;

	if (!json_text_check(text.text, text.bytes))
		return;
	grpc_json_read(arena, text, &job.base);
	grpc_json_read(arena, text, &list.base);
	CHECK(protobuf_c_message_get_packed_size(&job.base) < bytes * 8 + 1024);
	grpc_status_of_problem(arena, 422, text.text, text.bytes, 1, &status);
	CHECK(status.code == GRPC_INVALID_ARGUMENT || status.code == GRPC_ALREADY_EXISTS);
	CHECK(strlen(status.message) <= 3 * 1024);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	struct arena *arena;
	size_t which;

	if (bytes == 0)
		return 0;
	arena = arena_new(0);
	which = data[0] % (ARRAY_LEN(types) + 1);
	if (which < ARRAY_LEN(types))
		try_message(arena, types[which], data + 1, bytes - 1);
	else
		try_answer(arena, data + 1, bytes - 1);
	arena_free(&arena);
	return 0;
}
