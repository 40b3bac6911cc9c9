/* SPDX-License-Identifier: Apache-2.0 */
/* Server reflection, v1 and v1alpha, whose messages are the same on the wire: tells tools what the
 * .proto files say. Both sides stream; each request is answered at once. */
#include <stdlib.h>
#include <string.h>

#include <grpc/reflection/v1/reflection.pb-c.h>

#include "producers/grpc/grpc_descriptors.h"
#include "producers/grpc/grpc_methods.h"

#define REQUESTS_MAX 1000 /* of one call */

typedef Grpc__Reflection__V1__ServerReflectionRequest request_message;
typedef Grpc__Reflection__V1__ServerReflectionResponse response_message;

static void say_error(response_message *response, Grpc__Reflection__V1__ErrorResponse *error,
		      enum grpc_code code, const char *message)
{
	grpc__reflection__v1__error_response__init(error);
	error->error_code = code;
	error->error_message = (char *)(uintptr_t)message;
	response->message_response_case =
		GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_ERROR_RESPONSE;
	response->error_response = error;
}

/* The file and what it imports, each once. */
static void add_file(Grpc__Reflection__V1__FileDescriptorResponse *answer, size_t place)
{
	const struct grpc_file *file = &grpc_files[place];
	ProtobufCBinaryData *data;

	for (size_t i = 0; i < answer->n_file_descriptor_proto; i++) {
		if (answer->file_descriptor_proto[i].data == file->descriptor)
			return;
	}
	data = &answer->file_descriptor_proto[answer->n_file_descriptor_proto++];
	data->data = (uint8_t *)(uintptr_t)file->descriptor;
	data->len = file->bytes;
	for (size_t i = 0; i < file->need_count; i++)
		add_file(answer, file->needs[i]);
}

static void say_file(struct grpc_call *call, response_message *response, size_t place)
{
	Grpc__Reflection__V1__FileDescriptorResponse *answer =
		ARENA_NEW(call->arena, Grpc__Reflection__V1__FileDescriptorResponse);

	grpc__reflection__v1__file_descriptor_response__init(answer);
	answer->file_descriptor_proto =
		ARENA_ARRAY(call->arena, ProtobufCBinaryData, grpc_file_count);
	add_file(answer, place);
	response->message_response_case =
		GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_FILE_DESCRIPTOR_RESPONSE;
	response->file_descriptor_response = answer;
}

static size_t file_named(const char *name)
{
	size_t i = 0;

	while (i < grpc_file_count && strcmp(grpc_files[i].name, name) != 0)
		i++;
	return i;
}

static int compare_symbols(const void *name, const void *symbol)
{
	return strcmp(name, ((const struct grpc_symbol *)symbol)->name);
}

static size_t file_with(const char *symbol)
{
	const struct grpc_symbol *found = bsearch(symbol, grpc_symbols, grpc_symbol_count,
						  sizeof(*grpc_symbols), compare_symbols);

	return found ? found->file : grpc_file_count;
}

static void say_services(struct grpc_call *call, response_message *response)
{
	Grpc__Reflection__V1__ListServiceResponse *list =
		ARENA_NEW(call->arena, Grpc__Reflection__V1__ListServiceResponse);

	grpc__reflection__v1__list_service_response__init(list);
	list->service = ARENA_ARRAY(call->arena, Grpc__Reflection__V1__ServiceResponse *,
				    grpc_service_count);
	for (size_t i = 0; i < grpc_service_count; i++) {
		Grpc__Reflection__V1__ServiceResponse *service =
			ARENA_NEW(call->arena, Grpc__Reflection__V1__ServiceResponse);
		grpc__reflection__v1__service_response__init(service);
		service->name = (char *)(uintptr_t)grpc_services[i];
		list->service[list->n_service++] = service;
	}
	response->message_response_case =
		GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_LIST_SERVICES_RESPONSE;
	response->list_services_response = list;
}

/* None of our types has extensions. */
static void say_no_extensions(struct grpc_call *call, response_message *response, char *type)
{
	Grpc__Reflection__V1__ExtensionNumberResponse *answer =
		ARENA_NEW(call->arena, Grpc__Reflection__V1__ExtensionNumberResponse);

	grpc__reflection__v1__extension_number_response__init(answer);
	answer->base_type_name = type;
	response->message_response_case =
		GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_ALL_EXTENSION_NUMBERS_RESPONSE;
	response->all_extension_numbers_response = answer;
}

static void answer(struct grpc_call *call, const request_message *request,
		   response_message *response, Grpc__Reflection__V1__ErrorResponse *error)
{
	size_t place = grpc_file_count;

	switch (request->message_request_case) {
	case GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_LIST_SERVICES:
		say_services(call, response);
		return;
	case GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_ALL_EXTENSION_NUMBERS_OF_TYPE:
		if (file_with(request->all_extension_numbers_of_type) < grpc_file_count) {
			say_no_extensions(call, response, request->all_extension_numbers_of_type);
			return;
		}
		break;
	case GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_FILE_BY_FILENAME:
		place = file_named(request->file_by_filename);
		break;
	case GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_FILE_CONTAINING_SYMBOL:
		place = file_with(request->file_containing_symbol);
		break;
	default:
		break;
	}
	if (place < grpc_file_count)
		say_file(call, response, place);
	else
		say_error(response, error, GRPC_NOT_FOUND, "there is nothing of that name");
}

void grpc_reflect(struct grpc_call *call, const uint8_t *data, size_t bytes)
{
	Grpc__Reflection__V1__ErrorResponse error;
	response_message response = GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__INIT;
	request_message *request;

	/* Answers are larger than requests: who asks without reading is not answered for ever. */
	if (call->message_count > REQUESTS_MAX || call->unread_bytes > GRPC_UNREAD_MAX * 16) {
		grpc_call_end_plain(call, GRPC_RESOURCE_EXHAUSTED, "too many requests in one call");
		return;
	}
	request = (void *)grpc_call_unpack(
		call, &grpc__reflection__v1__server_reflection_request__descriptor, data, bytes);
	if (!request)
		return;
	response.valid_host = request->host;
	response.original_request = request;
	answer(call, request, &response, &error);
	grpc_call_give(call, &response.base);
}

void grpc_reflect_finished(struct grpc_call *call)
{
	grpc_call_end_ok(call);
}
