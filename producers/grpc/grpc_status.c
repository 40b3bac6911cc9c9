/* SPDX-License-Identifier: Apache-2.0 */
/* Translates refusals. The words are the API's; what is chosen here is only the code. Pure. */
#include "producers/grpc/grpc_status.h"

#include <stdio.h>
#include <string.h>

#include <google/rpc/status.pb-c.h>

#include "common/json/json_text.h"

#define SLUG_PREFIX       "urn:windlass:problem:"
#define DOMAIN            "windlass"
#define TYPE_PREFIX       "type.googleapis.com/"
#define MESSAGE_BYTES_MAX 1024
/* Clients take 8 KiB of metadata unless told otherwise; base64 adds a third. */
#define DETAILS_BYTES_MAX 4096
#define VIOLATIONS_MAX    64
#define DETAILS_MAX       3
#define NOTES_MAX         4

static const struct {
	int http_status;
	const char *slug; /* NULL: all others of this status */
	enum grpc_code code;
} codes[] = {
	{ 400, NULL, GRPC_INVALID_ARGUMENT },
	{ 401, NULL, GRPC_UNAUTHENTICATED },
	{ 403, NULL, GRPC_PERMISSION_DENIED },
	{ 404, NULL, GRPC_NOT_FOUND },
	{ 405, NULL, GRPC_UNIMPLEMENTED },
	{ 409, NULL, GRPC_FAILED_PRECONDITION },
	{ 410, NULL, GRPC_NOT_FOUND },
	{ 413, NULL, GRPC_RESOURCE_EXHAUSTED },
	{ 415, NULL, GRPC_INVALID_ARGUMENT },
	{ 422, "id-taken", GRPC_ALREADY_EXISTS },
	{ 422, NULL, GRPC_INVALID_ARGUMENT },
	{ 429, NULL, GRPC_RESOURCE_EXHAUSTED },
	{ 431, NULL, GRPC_RESOURCE_EXHAUSTED },
	{ 499, NULL, GRPC_CANCELLED },
	{ 500, NULL, GRPC_INTERNAL },
	{ 503, NULL, GRPC_UNAVAILABLE },
	/* stored or not: what a client may do now is not what UNAVAILABLE would say */
	{ 504, NULL, GRPC_UNKNOWN },
	{ 507, NULL, GRPC_UNAVAILABLE },
};

static const char *const names[GRPC_CODE_COUNT] = {
	[GRPC_OK] = "OK",
	[GRPC_CANCELLED] = "CANCELLED",
	[GRPC_UNKNOWN] = "UNKNOWN",
	[GRPC_INVALID_ARGUMENT] = "INVALID_ARGUMENT",
	[GRPC_DEADLINE_EXCEEDED] = "DEADLINE_EXCEEDED",
	[GRPC_NOT_FOUND] = "NOT_FOUND",
	[GRPC_ALREADY_EXISTS] = "ALREADY_EXISTS",
	[GRPC_PERMISSION_DENIED] = "PERMISSION_DENIED",
	[GRPC_RESOURCE_EXHAUSTED] = "RESOURCE_EXHAUSTED",
	[GRPC_FAILED_PRECONDITION] = "FAILED_PRECONDITION",
	[GRPC_UNIMPLEMENTED] = "UNIMPLEMENTED",
	[GRPC_INTERNAL] = "INTERNAL",
	[GRPC_UNAVAILABLE] = "UNAVAILABLE",
	[GRPC_UNAUTHENTICATED] = "UNAUTHENTICATED",
};

const char *grpc_code_name(enum grpc_code code)
{
	return (unsigned)code < GRPC_CODE_COUNT && names[code] ? names[code] : "UNKNOWN";
}

static enum grpc_code code_of(int http_status, const char *slug)
{
	for (size_t i = 0; i < ARRAY_LEN(codes); i++) {
		if (codes[i].http_status == http_status &&
		    (!codes[i].slug || strcmp(codes[i].slug, slug) == 0))
			return codes[i].code;
	}
	return GRPC_UNKNOWN;
}

/* ---- how they stand in trailers */

static char *percent_encode(struct arena *arena, const char *text)
{
	static const char digits[] = "0123456789ABCDEF";
	size_t bytes = strnlen(text, MESSAGE_BYTES_MAX);
	char *out = arena_alloc(arena, bytes * 3 + 1), *at = out;

	for (size_t i = 0; i < bytes; i++) {
		unsigned char c = (unsigned char)text[i];
		if (c >= 0x20 && c <= 0x7e && c != '%') {
			*at++ = (char)c;
			continue;
		}
		*at++ = '%';
		*at++ = digits[c >> 4];
		*at++ = digits[c & 15];
	}
	*at = 0;
	return out;
}

/* Without padding, as gRPC has it. */
static char *base64(struct arena *arena, const uint8_t *data, size_t bytes)
{
	static const char digits[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	char *out = arena_alloc(arena, bytes * 4 / 3 + 4), *at = out;
	uint32_t bits = 0;
	int count = 0;

	for (size_t i = 0; i < bytes; i++) {
		bits = bits << 8 | data[i];
		for (count += 8; count >= 6; count -= 6)
			*at++ = digits[bits >> (count - 6) & 63];
	}
	if (count > 0)
		*at++ = digits[bits << (6 - count) & 63];
	*at = 0;
	return out;
}

/* ---- the details */

struct details {
	struct arena *arena;
	Google__Protobuf__Any *any[DETAILS_MAX];
	size_t count, bytes;
};

static void add_detail(struct details *details, const ProtobufCMessage *message)
{
	Google__Protobuf__Any *any = ARENA_NEW(details->arena, Google__Protobuf__Any);

	google__protobuf__any__init(any);
	any->type_url = arena_printf(details->arena, TYPE_PREFIX "%s", message->descriptor->name);
	any->value.len = protobuf_c_message_get_packed_size(message);
	any->value.data = arena_alloc(details->arena, any->value.len + 1);
	protobuf_c_message_pack(message, any->value.data);
	details->any[details->count++] = any;
	details->bytes += any->value.len + strlen(any->type_url);
}

/* The problem's `errors`, as many as there is room for: how many were left out. */
static size_t add_violations(struct details *details, struct json_slice errors)
{
	Google__Rpc__BadRequest bad = GOOGLE__RPC__BAD_REQUEST__INIT;
	Google__Rpc__BadRequest__FieldViolation *violations[VIOLATIONS_MAX], *one;
	size_t left_out = 0, bytes = 0;
	const char *cursor = NULL;
	struct json_slice value;

	bad.field_violations = violations;
	while (errors.bytes > 0 && json_slice_element(errors, &cursor, &value) == 1) {
		char *pointer = json_slice_string(details->arena, json_slice_get(value, "pointer"));
		char *detail = json_slice_string(details->arena, json_slice_get(value, "detail"));
		char *keyword = json_slice_string(details->arena, json_slice_get(value, "keyword"));

		bytes += value.bytes;
		if (bytes > DETAILS_BYTES_MAX / 2 || bad.n_field_violations == VIOLATIONS_MAX) {
			left_out++;
			continue;
		}
		one = ARENA_NEW(details->arena, Google__Rpc__BadRequest__FieldViolation);
		google__rpc__bad_request__field_violation__init(one);
		if (pointer)
			one->field = pointer;
		if (detail)
			one->description = detail;
		if (keyword)
			one->reason = keyword;
		violations[bad.n_field_violations++] = one;
	}
	if (bad.n_field_violations > 0)
		add_detail(details, &bad.base);
	return left_out;
}

static void add_retry(struct details *details, int retry_after_s)
{
	Google__Rpc__RetryInfo retry = GOOGLE__RPC__RETRY_INFO__INIT;
	Google__Protobuf__Duration delay = GOOGLE__PROTOBUF__DURATION__INIT;

	if (retry_after_s <= 0)
		return;
	delay.seconds = retry_after_s;
	retry.retry_delay = &delay;
	add_detail(details, &retry.base);
}

static void add_note(struct details *details, Google__Rpc__ErrorInfo *info, const char *key,
		     int64_t number)
{
	Google__Rpc__ErrorInfo__MetadataEntry *note;

	if (number == 0)
		return;
	note = ARENA_NEW(details->arena, Google__Rpc__ErrorInfo__MetadataEntry);
	google__rpc__error_info__metadata_entry__init(note);
	note->key = arena_strdup(details->arena, key);
	note->value = arena_printf(details->arena, "%lld", (long long)number);
	info->metadata[info->n_metadata++] = note;
}

static int64_t number_of(struct json_slice problem, const char *key)
{
	int64_t n = 0;

	return json_slice_int(json_slice_get(problem, key), &n) == 0 ? n : 0;
}

static void add_info(struct details *details, struct json_slice problem, char *slug,
		     int http_status, size_t left_out)
{
	Google__Rpc__ErrorInfo info = GOOGLE__RPC__ERROR_INFO__INIT;
	Google__Rpc__ErrorInfo__MetadataEntry *notes[NOTES_MAX];

	info.reason = slug;
	info.domain = arena_strdup(details->arena, DOMAIN);
	info.metadata = notes;
	add_note(details, &info, "status", http_status);
	add_note(details, &info, "line", number_of(problem, "line"));
	add_note(details, &info, "column", number_of(problem, "column"));
	add_note(details, &info, "more_errors",
		 number_of(problem, "more_errors") + (int64_t)left_out);
	add_detail(details, &info.base);
}

static char *pack(struct details *details, enum grpc_code code, char *message)
{
	Google__Rpc__Status status = GOOGLE__RPC__STATUS__INIT;
	uint8_t *data;
	size_t bytes;

	status.code = code;
	status.message = message;
	status.details = details->any;
	status.n_details = details->count;
	bytes = google__rpc__status__get_packed_size(&status);
	data = arena_alloc(details->arena, bytes);
	google__rpc__status__pack(&status, data);
	return base64(details->arena, data, bytes);
}

void grpc_status_of_problem(struct arena *arena, int http_status, const char *problem_text,
			    size_t bytes, int retry_after_s, struct grpc_status *status_r)
{
	struct json_slice problem = problem_text ? (struct json_slice){ problem_text, bytes }
						 : (struct json_slice){ "{}", 2 };
	struct details details = { .arena = arena };
	char *type = json_slice_string(arena, json_slice_get(problem, "type"));
	char *message = json_slice_string(arena, json_slice_get(problem, "detail"));
	size_t left_out;

	if (!message)
		message = json_slice_string(arena, json_slice_get(problem, "title"));
	if (!message)
		message = arena_printf(arena, "the answer was HTTP status %d", http_status);
	if (!type || strncmp(type, SLUG_PREFIX, strlen(SLUG_PREFIX)) != 0)
		type = arena_strdup(arena, SLUG_PREFIX "none");
	type += strlen(SLUG_PREFIX);
	left_out = add_violations(&details, json_slice_get(problem, "errors"));
	add_retry(&details, retry_after_s);
	add_info(&details, problem, type, http_status, left_out);
	status_r->code = code_of(http_status, type);
	status_r->message = percent_encode(arena, message);
	status_r->details = pack(&details, status_r->code, message);
}

void grpc_status_plain(struct arena *arena, enum grpc_code code, const char *message,
		       struct grpc_status *status_r)
{
	status_r->code = code;
	status_r->message = percent_encode(arena, message);
	status_r->details = NULL;
}
