/* SPDX-License-Identifier: Apache-2.0 */
/* The one place that knows how a field of a message looks in JSON. Judges nothing but JSON texts:
 * what is out of range is written so that the API refuses it, with its own words. */
#include "producers/grpc/grpc_json.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <google/protobuf/duration.pb-c.h>
#include <google/protobuf/timestamp.pb-c.h>

#include "common/base/clock.h"

#define NAME_BYTES_MAX 32
#define UNSPECIFIED    "UNSPECIFIED"
#define YEAR_1_S       INT64_C(-62135596800)
#define YEAR_9999_S    INT64_C(253402300799)

static const void *place_of(const ProtobufCMessage *message, const ProtobufCFieldDescriptor *field)
{
	return (const char *)message + field->offset;
}

static bool is_json_text(const ProtobufCFieldDescriptor *field)
{
	static const char *const names[] = { "payload", "result", "steps", "after", "then" };

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		if (strcmp(field->name, names[i]) == 0)
			return true;
	}
	return false;
}

/* "PRIORITY_" of the enum whose first value is PRIORITY_UNSPECIFIED. */
static size_t prefix_bytes(const ProtobufCEnumDescriptor *type)
{
	const char *zero = type->values[0].name;
	const char *end = strstr(zero, UNSPECIFIED);

	CHECK(end);
	return (size_t)(end - zero);
}

/* ---- to JSON */

static void write_enum(struct strbuf *out, const ProtobufCEnumDescriptor *type, int number)
{
	const ProtobufCEnumValue *value = protobuf_c_enum_descriptor_get_value(type, number);

	if (!value) {
		strbuf_addi(out, number);
		return;
	}
	strbuf_addch(out, '"');
	for (const char *p = value->name + prefix_bytes(type); *p; p++)
		strbuf_addch(out, (char)tolower((unsigned char)*p));
	strbuf_addch(out, '"');
}

static bool duration_valid(const Google__Protobuf__Duration *duration)
{
	return duration->seconds >= 0 && duration->nanos >= 0 && duration->nanos < 1000000000;
}

static void write_duration(struct strbuf *out, const Google__Protobuf__Duration *duration)
{
	if (!duration_valid(duration))
		strbuf_addstr(out, "\"-1s\"");
	else
		strbuf_printf(out, "\"%" PRId64 ".%09" PRId32 "s\"", duration->seconds,
			      duration->nanos);
}

char *grpc_json_duration(struct arena *arena, const Google__Protobuf__Duration *duration)
{
	if (!duration_valid(duration))
		return arena_strdup(arena, "-1");
	return arena_printf(arena, "%" PRId64 ".%09" PRId32, duration->seconds, duration->nanos);
}

static void write_time(struct strbuf *out, const Google__Protobuf__Timestamp *time)
{
	char text[CLOCK_TEXT];

	if (time->seconds < YEAR_1_S || time->seconds > YEAR_9999_S || time->nanos < 0 ||
	    time->nanos >= 1000000000) {
		strbuf_addstr(out, "\"not a time\"");
		return;
	}
	strbuf_addch(out, '"');
	strbuf_addstr(out, clock_format(time->seconds * 1000 + time->nanos / 1000000, text));
	strbuf_addch(out, '"');
}

static bool write_text(struct strbuf *out, const ProtobufCFieldDescriptor *field, const char *text,
		       struct json_error *error_r, const char **field_r)
{
	size_t bytes = strlen(text);

	if (!is_json_text(field)) {
		strbuf_json_n(out, text, bytes);
		return true;
	}
	/* It is put between other members: it must be a value, and nothing but one. */
	if (!json_text_check(text, bytes)) {
		json_decref(json_text_parse(text, bytes, error_r));
		*field_r = field->name;
		return false;
	}
	strbuf_add(out, text, bytes);
	return true;
}

static bool write_value(struct strbuf *out, const ProtobufCFieldDescriptor *field, const void *at,
			struct json_error *error_r, const char **field_r)
{
	const ProtobufCMessage *inside;

	switch (field->type) {
	case PROTOBUF_C_TYPE_STRING:
		return write_text(out, field, *(char *const *)at, error_r, field_r);
	case PROTOBUF_C_TYPE_ENUM:
		write_enum(out, field->descriptor, *(const int *)at);
		return true;
	case PROTOBUF_C_TYPE_UINT32:
		strbuf_addi(out, *(const uint32_t *)at);
		return true;
	case PROTOBUF_C_TYPE_MESSAGE:
		inside = *(ProtobufCMessage *const *)at;
		if (inside->descriptor == &google__protobuf__duration__descriptor)
			write_duration(out, *(Google__Protobuf__Duration *const *)at);
		else if (inside->descriptor == &google__protobuf__timestamp__descriptor)
			write_time(out, *(Google__Protobuf__Timestamp *const *)at);
		else
			return grpc_json_write(out, inside, error_r, field_r);
		return true;
	default:
		CHECK(!"a type that no request has");
	}
	return false;
}

static bool is_default(const ProtobufCFieldDescriptor *field, const void *at)
{
	switch (field->type) {
	case PROTOBUF_C_TYPE_STRING:
		return **(char *const *)at == 0;
	case PROTOBUF_C_TYPE_MESSAGE:
		return *(ProtobufCMessage *const *)at == NULL;
	default:
		return *(const uint32_t *)at == 0;
	}
}

static bool write_array(struct strbuf *out, const ProtobufCFieldDescriptor *field,
			const char *elements, size_t count, struct json_error *error_r,
			const char **field_r)
{
	CHECK(field->type == PROTOBUF_C_TYPE_STRING || field->type == PROTOBUF_C_TYPE_MESSAGE);
	strbuf_addch(out, '[');
	for (size_t i = 0; i < count; i++) {
		if (i)
			strbuf_addch(out, ',');
		if (!write_value(out, field, elements + i * sizeof(void *), error_r, field_r))
			return false;
	}
	strbuf_addch(out, ']');
	return true;
}

bool grpc_json_write(struct strbuf *out, const ProtobufCMessage *message,
		     struct json_error *error_r, const char **field_r)
{
	const ProtobufCMessageDescriptor *type = message->descriptor;
	char before = '{';

	for (unsigned i = 0; i < type->n_fields; i++) {
		const ProtobufCFieldDescriptor *field = &type->fields[i];
		const void *at = place_of(message, field);
		bool repeated = field->label == PROTOBUF_C_LABEL_REPEATED;
		size_t count = repeated ? *(const size_t *)(const void *)((const char *)message +
									  field->quantifier_offset)
					: 0;

		if (repeated ? count == 0 : is_default(field, at))
			continue;
		strbuf_addch(out, before);
		before = ',';
		strbuf_json(out, field->name);
		strbuf_addch(out, ':');
		if (repeated ? !write_array(out, field, *(char *const *)at, count, error_r, field_r)
			     : !write_value(out, field, at, error_r, field_r))
			return false;
	}
	if (before == '{')
		strbuf_addch(out, '{');
	strbuf_addch(out, '}');
	return true;
}

/* ---- from JSON */

static int read_enum(const ProtobufCEnumDescriptor *type, struct json_slice value)
{
	size_t prefix = prefix_bytes(type);

	for (unsigned i = 0; i < type->n_values; i++) {
		const char *name = type->values[i].name + prefix;
		if (strlen(name) + 2 == value.bytes &&
		    strncasecmp(name, value.text + 1, value.bytes - 2) == 0)
			return type->values[i].value;
	}
	return 0;
}

static void read_duration(struct arena *arena, struct json_slice value, ProtobufCMessage *message)
{
	Google__Protobuf__Duration *duration = (Google__Protobuf__Duration *)(void *)message;
	const char *text = json_slice_string(arena, value);
	int64_t ms;

	if (!text || duration_parse(text, &ms) < 0)
		return;
	duration->seconds = ms / 1000;
	duration->nanos = (int32_t)(ms % 1000) * 1000000;
}

static void read_time(struct arena *arena, struct json_slice value, ProtobufCMessage *message)
{
	Google__Protobuf__Timestamp *time = (Google__Protobuf__Timestamp *)(void *)message;
	const char *text = json_slice_string(arena, value);
	int64_t ms;

	if (!text || clock_parse(text, &ms) < 0)
		return;
	time->seconds = ms / 1000;
	time->nanos = (int32_t)(ms % 1000) * 1000000;
}

static ProtobufCMessage *read_message(struct arena *arena, struct json_slice value,
				      const ProtobufCMessageDescriptor *type)
{
	ProtobufCMessage *message = arena_alloc(arena, type->sizeof_message);

	protobuf_c_message_init(type, message);
	if (type == &google__protobuf__duration__descriptor)
		read_duration(arena, value, message);
	else if (type == &google__protobuf__timestamp__descriptor)
		read_time(arena, value, message);
	else
		grpc_json_read(arena, value, message);
	return message;
}

static void read_value(struct arena *arena, const ProtobufCFieldDescriptor *field,
		       struct json_slice value, void *at)
{
	int64_t n = 0;
	char *text;

	switch (field->type) {
	case PROTOBUF_C_TYPE_STRING:
		text = is_json_text(field) ? arena_strndup(arena, value.text, value.bytes)
					   : json_slice_string(arena, value);
		if (text)
			*(char **)at = text;
		break;
	case PROTOBUF_C_TYPE_ENUM:
		*(int *)at = value.bytes > 2 ? read_enum(field->descriptor, value) : 0;
		break;
	case PROTOBUF_C_TYPE_UINT32:
		if (json_slice_int(value, &n) == 0)
			*(uint32_t *)at = (uint32_t)n;
		break;
	case PROTOBUF_C_TYPE_DOUBLE:
		(void)json_slice_double(value, at);
		break;
	case PROTOBUF_C_TYPE_BOOL:
		*(protobuf_c_boolean *)at = json_slice_is(value, "true");
		break;
	case PROTOBUF_C_TYPE_MESSAGE:
		*(ProtobufCMessage **)at = read_message(arena, value, field->descriptor);
		break;
	default:
		CHECK(!"a type that no answer has");
	}
}

static size_t element_bytes(const ProtobufCFieldDescriptor *field)
{
	return field->type == PROTOBUF_C_TYPE_UINT32 ? sizeof(uint32_t) : sizeof(void *);
}

static void read_array(struct arena *arena, const ProtobufCFieldDescriptor *field,
		       struct json_slice array, ProtobufCMessage *message)
{
	static const char none[] = "";
	size_t count = 0, bytes = element_bytes(field), i = 0;
	const char *cursor = NULL;
	struct json_slice value;
	char *elements;

	while (json_slice_element(array, &cursor, &value) == 1)
		count++;
	elements = arena_zalloc(arena, (count + 1) * bytes);
	cursor = NULL;
	while (json_slice_element(array, &cursor, &value) == 1 && i < count) {
		void *at = elements + i++ * bytes;
		if (field->type == PROTOBUF_C_TYPE_STRING) /* null stays an empty text */
			*(const char **)at = none;
		read_value(arena, field, value, at);
	}
	*(void **)(void *)((char *)message + field->offset) = elements;
	*(size_t *)(void *)((char *)message + field->quantifier_offset) = count;
}

void grpc_json_read(struct arena *arena, struct json_slice object, ProtobufCMessage *message)
{
	const ProtobufCFieldDescriptor *field;
	const char *cursor = NULL;
	struct json_member member;
	char name[NAME_BYTES_MAX];

	while (json_slice_next(object, &cursor, &member) == 1) {
		if (member.key.bytes >= sizeof(name))
			continue;
		memcpy(name, member.key.text, member.key.bytes);
		name[member.key.bytes] = 0;
		field = protobuf_c_message_descriptor_get_field_by_name(message->descriptor, name);
		if (!field || (json_slice_is(member.value, "null") && !is_json_text(field)))
			continue;
		if (field->label == PROTOBUF_C_LABEL_REPEATED)
			read_array(arena, field, member.value, message);
		else
			read_value(arena, field, member.value, (char *)message + field->offset);
	}
}
