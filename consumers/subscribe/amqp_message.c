/* SPDX-License-Identifier: Apache-2.0 */
/* See amqp_message.h. What is text, a number, a yes or no or a time becomes a header; tables,
 * arrays and bytes do not, and neither does a text with a NUL in it. */
#include "consumers/subscribe/amqp_message.h"

#include <inttypes.h>
#include <string.h>

#include <amqp.h>

#include "common/base/clock.h"

#define HEADERS_MAX 100
/* Seconds by the specification, but milliseconds are often sent; as seconds this is the year 5138.
 */
#define SECONDS_MAX 100000000000

static const char *text_of(amqp_bytes_t bytes, struct arena *arena)
{
	if (bytes.len == 0)
		return "";
	return memchr(bytes.bytes, '\0', bytes.len) ? NULL
						    : arena_strndup(arena, bytes.bytes, bytes.len);
}

static bool whole_number(const amqp_field_value_t *value, int64_t *n_r)
{
	switch (value->kind) {
	case AMQP_FIELD_KIND_I8:
		*n_r = value->value.i8;
		return true;
	case AMQP_FIELD_KIND_U8:
		*n_r = value->value.u8;
		return true;
	case AMQP_FIELD_KIND_I16:
		*n_r = value->value.i16;
		return true;
	case AMQP_FIELD_KIND_U16:
		*n_r = value->value.u16;
		return true;
	case AMQP_FIELD_KIND_I32:
		*n_r = value->value.i32;
		return true;
	case AMQP_FIELD_KIND_U32:
		*n_r = value->value.u32;
		return true;
	case AMQP_FIELD_KIND_I64:
		*n_r = value->value.i64;
		return true;
	case AMQP_FIELD_KIND_U64:
		*n_r = (int64_t)value->value.u64;
		return value->value.u64 <= INT64_MAX;
	default:
		return false;
	}
}

/* 0: no time that can be believed. */
static int64_t time_ms(uint64_t timestamp)
{
	if (timestamp > (uint64_t)SECONDS_MAX * 1000)
		return 0;
	return timestamp > SECONDS_MAX ? (int64_t)timestamp : (int64_t)timestamp * 1000;
}

static const char *header_text(const amqp_field_value_t *value, struct arena *arena)
{
	int64_t n;

	if (value->kind == AMQP_FIELD_KIND_UTF8)
		return text_of(value->value.bytes, arena);
	if (value->kind == AMQP_FIELD_KIND_BOOLEAN)
		return value->value.boolean ? "true" : "false";
	if (value->kind == AMQP_FIELD_KIND_TIMESTAMP)
		return clock_format(time_ms(value->value.u64), arena_alloc(arena, CLOCK_TEXT));
	if (whole_number(value, &n))
		return arena_printf(arena, "%" PRId64, n);
	return NULL;
}

static void read_headers(const amqp_table_t *table, struct arena *arena, struct message *message)
{
	size_t max = table->num_entries < HEADERS_MAX ? (size_t)table->num_entries : HEADERS_MAX;
	struct message_header *headers = ARENA_ARRAY(arena, struct message_header, max + 1);

	for (size_t i = 0; i < max; i++) {
		const char *name = text_of(table->entries[i].key, arena);
		const char *value = header_text(&table->entries[i].value, arena);

		if (name && value)
			headers[message->header_count++] = (struct message_header){ name, value };
	}
	message->headers = headers;
}

static int64_t read_time(const amqp_basic_properties_t *properties, const amqp_table_t *table)
{
	const amqp_field_value_t *exact = amqp_table_find(table, "timestamp_in_ms");
	int64_t ms;

	if (exact && whole_number(exact, &ms) && ms > 0)
		return ms;
	return properties->_flags & AMQP_BASIC_TIMESTAMP_FLAG ? time_ms(properties->timestamp) : 0;
}

static const char *entry_text(const amqp_table_t *table, const char *name, struct arena *arena)
{
	const amqp_field_value_t *value = amqp_table_find(table, name);

	return value && value->kind == AMQP_FIELD_KIND_UTF8 ? text_of(value->value.bytes, arena)
							    : NULL;
}

/* x-death has the newest death first. */
static const char *read_death(const amqp_table_t *headers, struct arena *arena)
{
	const amqp_field_value_t *deaths = amqp_table_find(headers, "x-death");
	const amqp_field_value_t *last = NULL;
	const char *reason = NULL, *queue = NULL;

	if (deaths && deaths->kind == AMQP_FIELD_KIND_ARRAY && deaths->value.array.num_entries > 0)
		last = &deaths->value.array.entries[0];
	if (last && last->kind == AMQP_FIELD_KIND_TABLE) {
		reason = entry_text(&last->value.table, "reason", arena);
		queue = entry_text(&last->value.table, "queue", arena);
	}
	if (!reason)
		reason = entry_text(headers, "x-first-death-reason", arena);
	if (!queue)
		queue = entry_text(headers, "x-first-death-queue", arena);
	if (!reason)
		return "it was put among the dead letters";
	return queue ? arena_printf(arena, "%s (queue %s)", reason, queue) : reason;
}

void amqp_message_read(const amqp_basic_properties_t *properties, bool redelivered, bool dead,
		       struct arena *arena, struct message *message_r)
{
	amqp_table_t none = { 0 };
	const amqp_table_t *table =
		properties->_flags & AMQP_BASIC_HEADERS_FLAG ? &properties->headers : &none;
	const amqp_field_value_t *count = amqp_table_find(table, "x-delivery-count");
	int64_t returns;

	*message_r = (struct message){ .redelivered = redelivered };
	if (properties->_flags & AMQP_BASIC_CONTENT_TYPE_FLAG)
		message_r->content_type = text_of(properties->content_type, arena);
	if ((properties->_flags & AMQP_BASIC_MESSAGE_ID_FLAG) && properties->message_id.len > 0)
		message_r->identity = text_of(properties->message_id, arena);
	message_r->time_ms = read_time(properties, table);
	read_headers(table, arena, message_r);
	if (count && whole_number(count, &returns) && returns > 0)
		message_r->redelivered = true;
	if (dead)
		message_r->dead_reason = read_death(table, arena);
}
