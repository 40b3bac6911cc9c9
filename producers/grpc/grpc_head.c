/* SPDX-License-Identifier: Apache-2.0 */
/* The head of a call: which fields are kept, and what is refused before a byte of the request is
 * read. nghttp2 has checked that it is a well-formed HTTP/2 request. */
#include <inttypes.h>
#include <string.h>
#include <strings.h>

#include "common/base/clock.h"
#include "producers/grpc/grpc_call.h"
#include "producers/grpc/grpc_methods.h"
#include "producers/grpc/grpc_wire.h"

#define FIELD_BYTES     32 /* what RFC 9113 counts for a field beside its texts */
#define ENDLESS         8  /* times the limit: a head that was made to wear us out */
#define TIMEOUT_DIGITS  8  /* of gRPC's specification */
#define DEADLINE_MS_MAX (INT64_C(366) * 86400000)
#define CONTENT_TYPE    "application/grpc"

#define KEEP(name, member)                               \
	{                                                \
		name, offsetof(struct grpc_call, member) \
	}

static const struct {
	const char *name;
	size_t offset;
} kept[] = {
	KEEP(":method", http_method),       KEEP(":path", path),
	KEEP("content-type", content_type), KEEP("grpc-encoding", encoding),
	KEEP("grpc-timeout", timeout),      KEEP("authorization", authorization),
	KEEP("traceparent", traceparent),
};

static bool is_large(const struct grpc_call *call)
{
	return call->head_bytes > GRPC_HEAD_BYTES_MAX || call->head_fields > GRPC_HEAD_FIELDS_MAX;
}

bool grpc_call_field(struct grpc_call *call, const char *name, size_t name_bytes, const char *value,
		     size_t value_bytes)
{
	call->head_bytes += name_bytes + value_bytes + FIELD_BYTES;
	call->head_fields++;
	if (call->head_bytes > ENDLESS * GRPC_HEAD_BYTES_MAX)
		return false;
	if (is_large(call) || call->method || call->ended)
		return true;
	for (size_t i = 0; i < ARRAY_LEN(kept); i++) {
		const char **place = (const char **)(void *)((char *)call + kept[i].offset);
		if (strlen(kept[i].name) != name_bytes || memcmp(kept[i].name, name, name_bytes))
			continue;
		/* The first one holds, as over HTTP. */
		if (!*place)
			*place = arena_strndup(call->arena, value, value_bytes);
		break;
	}
	return true;
}

/* "5S", "100m": at most eight digits and a unit. -1: not one. */
static int64_t timeout_ms(const char *text)
{
	static const struct {
		char unit;
		int64_t ns;
	} units[] = {
		{ 'H', INT64_C(3600000000000) },
		{ 'M', INT64_C(60000000000) },
		{ 'S', INT64_C(1000000000) },
		{ 'm', 1000000 },
		{ 'u', 1000 },
		{ 'n', 1 },
	};
	size_t digits = strspn(text, "0123456789");
	int64_t n = 0;

	if (digits == 0 || digits > TIMEOUT_DIGITS || strlen(text) != digits + 1)
		return -1;
	for (size_t i = 0; i < digits; i++)
		n = n * 10 + (text[i] - '0');
	for (size_t i = 0; i < ARRAY_LEN(units); i++) {
		if (units[i].unit != text[digits])
			continue;
		if (n > DEADLINE_MS_MAX / (units[i].ns / 1000000 + 1))
			return DEADLINE_MS_MAX;
		return (n * units[i].ns + 999999) / 1000000;
	}
	return -1;
}

static bool content_type_fits(const char *type)
{
	size_t bytes = strlen(CONTENT_TYPE);

	if (!type || strncasecmp(type, CONTENT_TYPE, bytes) != 0)
		return false;
	type += bytes;
	if (strncasecmp(type, "+proto", 6) == 0)
		type += 6;
	return *type == 0 || *type == ';';
}

/* Not gRPC: answered as plain HTTP. False: refused. */
static bool check_http(struct grpc_call *call)
{
	struct grpc_trailers none = { .code = "2" };
	int status = 0;

	if (is_large(call))
		status = 431;
	else if (!call->http_method || strcmp(call->http_method, "POST") != 0)
		status = 405;
	else if (!content_type_fits(call->content_type))
		status = 415;
	if (status == 0)
		return true;
	call->ended = call->headed = true;
	call->code = status == 431 ? GRPC_RESOURCE_EXHAUSTED : GRPC_UNKNOWN;
	none.code = status == 431 ? "8" : "2";
	none.message = status == 431 ? "the metadata is larger than this gateway takes"
				     : "not a gRPC request";
	grpc_timer_drop(&call->patience);
	grpc_link_refuse(call->link, call->stream, status, &none);
	return false;
}

static void set_deadline(struct grpc_call *call)
{
	int64_t ms;

	if (!call->timeout)
		return;
	ms = timeout_ms(call->timeout);
	if (ms < 0) {
		grpc_call_end_plain(call, GRPC_INTERNAL, "grpc-timeout is malformed");
		return;
	}
	call->deadline_ms = clock_mono_ms() + ms;
	grpc_timer_set(&call->loop->wheel, &call->deadline, call->deadline_ms);
}

void grpc_call_begin(struct grpc_call *call)
{
	const char *detail;

	if (!check_http(call))
		return;
	call->method = grpc_method_find(call->path ? call->path : "");
	if (!call->method) {
		detail = arena_printf(call->arena, "there is no method %.200s",
				      call->path ? call->path : "");
		grpc_call_end_plain(call, GRPC_UNIMPLEMENTED, detail);
		return;
	}
	call->fields_left = call->method->batch ? GRPC_BATCH_FIELDS_MAX : GRPC_FIELDS_MAX;
	if (call->loop->draining && call->method->draining)
		call->method->draining(call);
	if (call->encoding && strcmp(call->encoding, "identity") != 0)
		grpc_call_end_plain(call, GRPC_UNIMPLEMENTED,
				    "compressed messages are not taken (grpc-accept-encoding)");
	else
		set_deadline(call);
}
