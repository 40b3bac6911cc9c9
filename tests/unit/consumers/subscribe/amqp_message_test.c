/* SPDX-License-Identifier: Apache-2.0 */
/* Properties and headers become a message: which of them, in which text, whose time, why dead. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "consumers/subscribe/amqp_message.h"

static amqp_table_entry_t entry(const char *name, uint8_t kind)
{
	return (amqp_table_entry_t){ .key = amqp_text(name), .value.kind = kind };
}

static amqp_table_entry_t text_entry(const char *name, const char *text)
{
	amqp_table_entry_t e = entry(name, AMQP_FIELD_KIND_UTF8);

	e.value.value.bytes = amqp_text(text);
	return e;
}

static const char *header(const struct message *message, const char *name)
{
	for (size_t i = 0; i < message->header_count; i++)
		if (strcmp(message->headers[i].name, name) == 0)
			return message->headers[i].value;
	return NULL;
}

static struct message read_message(struct arena *arena, amqp_table_entry_t *entries, int count,
				   amqp_basic_properties_t properties, bool dead)
{
	struct message message;

	if (count) {
		properties._flags |= AMQP_BASIC_HEADERS_FLAG;
		properties.headers = (amqp_table_t){ .num_entries = count, .entries = entries };
	}
	amqp_message_read(&properties, false, dead, arena, &message);
	return message;
}

static void nothing_is_said(void **state)
{
	struct arena *arena = arena_new(0);
	amqp_basic_properties_t none = { 0 };
	struct message message = read_message(arena, NULL, 0, none, false);

	(void)state;
	assert_null(message.identity);
	assert_null(message.content_type);
	assert_null(message.dead_reason);
	assert_int_equal(message.time_ms, 0);
	assert_int_equal(message.header_count, 0);
	assert_false(message.redelivered);
	arena_free(&arena);
}

static void properties(void **state)
{
	struct arena *arena = arena_new(0);
	amqp_basic_properties_t given = {
		._flags = AMQP_BASIC_MESSAGE_ID_FLAG | AMQP_BASIC_TIMESTAMP_FLAG |
			  AMQP_BASIC_CONTENT_TYPE_FLAG,
		.message_id = amqp_text("order-7"),
		.content_type = amqp_text("application/json"),
		.timestamp = 1700000000,
	};
	struct message message = read_message(arena, NULL, 0, given, false);

	(void)state;
	assert_string_equal(message.identity, "order-7");
	assert_string_equal(message.content_type, "application/json");
	assert_int_equal(message.time_ms, 1700000000000);
	given.message_id = amqp_empty_bytes;
	assert_null(read_message(arena, NULL, 0, given, false).identity);
	given.message_id = (amqp_bytes_t){ .len = 3, .bytes = (void *)(uintptr_t) "a\0b" };
	assert_null(read_message(arena, NULL, 0, given, false).identity);
	arena_free(&arena);
}

static void headers(void **state)
{
	struct arena *arena = arena_new(0);
	amqp_basic_properties_t none = { 0 };
	amqp_table_entry_t list[] = {
		text_entry("cloudEvents_type", "order.placed"),
		text_entry("cloudEvents:source", "/shop"),
		entry("cloudEvents_time", AMQP_FIELD_KIND_TIMESTAMP),
		entry("count", AMQP_FIELD_KIND_I32),
		entry("yes", AMQP_FIELD_KIND_BOOLEAN),
		entry("table", AMQP_FIELD_KIND_TABLE),
		entry("half", AMQP_FIELD_KIND_F64),
		entry("x-delivery-count", AMQP_FIELD_KIND_I64),
	};
	struct message message;

	(void)state;
	list[2].value.value.u64 = 1700000000;
	list[3].value.value.i32 = -5;
	list[4].value.value.boolean = 1;
	list[7].value.value.i64 = 2;
	message = read_message(arena, list, ARRAY_LEN(list), none, false);
	assert_string_equal(header(&message, "cloudEvents_type"), "order.placed");
	assert_string_equal(header(&message, "cloudEvents:source"), "/shop");
	assert_string_equal(header(&message, "cloudEvents_time"), "2023-11-14T22:13:20.000Z");
	assert_string_equal(header(&message, "count"), "-5");
	assert_string_equal(header(&message, "yes"), "true");
	assert_null(header(&message, "table"));
	assert_null(header(&message, "half"));
	assert_true(message.redelivered);
	list[7].value.value.i64 = 0;
	assert_false(read_message(arena, list, ARRAY_LEN(list), none, false).redelivered);
	arena_free(&arena);
}

static void too_many_headers(void **state)
{
	struct arena *arena = arena_new(0);
	amqp_basic_properties_t none = { 0 };
	amqp_table_entry_t list[300];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(list); i++)
		list[i] = text_entry("same", "text");
	assert_int_equal(read_message(arena, list, ARRAY_LEN(list), none, false).header_count, 100);
	arena_free(&arena);
}

struct time_case {
	uint64_t timestamp;
	int64_t exact_ms; /* timestamp_in_ms header; 0: none */
	int64_t want_ms;
};

static void times(void **state)
{
	static const struct time_case cases[] = {
		{ 1700000000, 0, 1700000000000 },
		{ 1700000000123, 0, 1700000000123 }, /* milliseconds, against the rules */
		{ 1700000000, 1700000000456, 1700000000456 },
		{ UINT64_MAX, 0, 0 },
		{ 0, 0, 0 },
	};
	struct arena *arena = arena_new(0);

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		amqp_basic_properties_t given = { ._flags = AMQP_BASIC_TIMESTAMP_FLAG,
						  .timestamp = cases[i].timestamp };
		amqp_table_entry_t exact = entry("timestamp_in_ms", AMQP_FIELD_KIND_I64);

		exact.value.value.i64 = cases[i].exact_ms;
		assert_int_equal(
			read_message(arena, &exact, cases[i].exact_ms ? 1 : 0, given, false)
				.time_ms,
			cases[i].want_ms);
	}
	arena_free(&arena);
}

static void deaths(void **state)
{
	struct arena *arena = arena_new(0);
	amqp_basic_properties_t none = { 0 };
	amqp_table_entry_t death[] = { text_entry("reason", "delivery_limit"),
				       text_entry("queue", "orders") };
	amqp_table_entry_t older[] = { text_entry("reason", "expired"),
				       text_entry("queue", "delay") };
	amqp_field_value_t list[2] = {
		{ .kind = AMQP_FIELD_KIND_TABLE, .value.table = { 2, death } },
		{ .kind = AMQP_FIELD_KIND_TABLE, .value.table = { 2, older } },
	};
	amqp_table_entry_t all = entry("x-death", AMQP_FIELD_KIND_ARRAY);
	amqp_table_entry_t first[] = { text_entry("x-first-death-reason", "maxlen"),
				       text_entry("x-first-death-queue", "small") };

	(void)state;
	all.value.value.array = (amqp_array_t){ .num_entries = 2, .entries = list };
	assert_string_equal(read_message(arena, &all, 1, none, true).dead_reason,
			    "delivery_limit (queue orders)");
	/* Elsewhere it only tells of a delay queue. */
	assert_null(read_message(arena, &all, 1, none, false).dead_reason);
	assert_string_equal(read_message(arena, first, 2, none, true).dead_reason,
			    "maxlen (queue small)");
	all.value.value.array.num_entries = 0;
	assert_string_equal(read_message(arena, &all, 1, none, true).dead_reason,
			    "it was put among the dead letters");
	all.value = (amqp_field_value_t){ .kind = AMQP_FIELD_KIND_I32 };
	assert_non_null(read_message(arena, &all, 1, none, true).dead_reason);
	arena_free(&arena);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_is_said), cmocka_unit_test(properties),
		cmocka_unit_test(headers),         cmocka_unit_test(too_many_headers),
		cmocka_unit_test(times),           cmocka_unit_test(deaths),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
