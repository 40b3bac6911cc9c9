/* SPDX-License-Identifier: Apache-2.0 */
/* Frames: what is put is got again, whatever the pieces it arrives in; what is not AMQP, or larger
 * than was agreed, is refused before anything is made of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/arena.h"
#include "common/broker/amqp_frame.h"
#include "common/broker/amqp_queue.h"

static void set_up(struct strbuf *out, amqp_pool_t *pool)
{
	strbuf_init(out);
	init_amqp_pool(pool, 4096);
}

static void tear_down(struct strbuf *out, amqp_pool_t *pool)
{
	strbuf_release(out);
	empty_amqp_pool(pool);
}

/* The whole frame at `at`; cut anywhere before its end it must not be one. */
static size_t get_whole(const struct strbuf *in, size_t at, amqp_pool_t *pool,
			amqp_frame_t *frame_r)
{
	struct error error;
	ssize_t bytes = amqp_get_frame(in->data + at, in->len - at, AMQP_FRAME_BYTES_MAX, pool,
				       frame_r, &error);

	assert_true(bytes > 0);
	for (size_t cut = 0; cut < (size_t)bytes; cut += cut < 100 ? 1 : 997)
		assert_int_equal(amqp_get_frame(in->data + at, cut, AMQP_FRAME_BYTES_MAX, pool,
						frame_r, &error),
				 0);
	bytes = amqp_get_frame(in->data + at, in->len - at, AMQP_FRAME_BYTES_MAX, pool, frame_r,
			       &error);
	assert_true(bytes > 0);
	return (size_t)bytes;
}

static void a_declaration(void **state)
{
	struct strbuf out;
	amqp_pool_t pool;
	amqp_frame_t frame;
	const amqp_queue_declare_t *declare;
	const amqp_field_value_t *value;

	(void)state;
	set_up(&out, &pool);
	amqp_put_declare(&out, 7, &(struct amqp_queue){ .name = "orders", .dead = "w.dead" });
	assert_int_equal(get_whole(&out, 0, &pool, &frame), out.len);
	assert_int_equal(frame.channel, 7);
	assert_int_equal(frame.payload.method.id, AMQP_QUEUE_DECLARE_METHOD);
	declare = frame.payload.method.decoded;
	assert_true(amqp_text_is(declare->queue, "orders"));
	assert_true(declare->durable && !declare->passive && !declare->exclusive);
	value = amqp_table_find(&declare->arguments, "x-dead-letter-routing-key");
	assert_non_null(value);
	assert_true(amqp_text_is(value->value.bytes, "w.dead"));
	value = amqp_table_find(&declare->arguments, "x-dead-letter-exchange");
	assert_non_null(value);
	assert_int_equal(value->value.bytes.len, 0);
	value = amqp_table_find(&declare->arguments, "x-delivery-limit");
	assert_non_null(value);
	assert_int_equal(value->value.i32, 100);
	assert_null(amqp_table_find(&declare->arguments, "x-message-ttl"));
	assert_null(amqp_table_find(&declare->arguments, "x-single-active-consumer"));
	tear_down(&out, &pool);
}

/* With all that one may have. */
static void a_declaration_for_one_consumer(void **state)
{
	struct amqp_queue queue = { .name = "turns", .dead = "w.dead", .single = true };
	struct strbuf out;
	amqp_pool_t pool;
	amqp_frame_t frame;
	const amqp_queue_declare_t *declare;
	const amqp_field_value_t *value;

	(void)state;
	set_up(&out, &pool);
	amqp_put_declare(&out, 7, &queue);
	assert_int_equal(get_whole(&out, 0, &pool, &frame), out.len);
	declare = frame.payload.method.decoded;
	value = amqp_table_find(&declare->arguments, "x-single-active-consumer");
	assert_non_null(value);
	assert_int_equal(value->kind, AMQP_FIELD_KIND_BOOLEAN);
	assert_true(value->value.boolean);
	assert_non_null(amqp_table_find(&declare->arguments, "x-overflow"));
	tear_down(&out, &pool);
}

static void a_large_body(void **state)
{
	amqp_basic_properties_t properties = { ._flags = AMQP_BASIC_MESSAGE_ID_FLAG,
					       .message_id = amqp_text("m-1") };
	size_t bytes = 3 * AMQP_FRAME_BYTES_MAX + 17, at, got = 0;
	char *body = xmalloc(bytes);
	struct strbuf out;
	amqp_pool_t pool;
	amqp_frame_t frame;

	(void)state;
	set_up(&out, &pool);
	for (size_t i = 0; i < bytes; i++)
		body[i] = (char)(i * 31);
	amqp_put_content(&out, 1, &properties, body, bytes, AMQP_FRAME_BYTES_MAX);
	amqp_put_heartbeat(&out);
	at = get_whole(&out, 0, &pool, &frame);
	assert_int_equal(frame.frame_type, AMQP_FRAME_HEADER);
	assert_int_equal(frame.payload.properties.body_size, bytes);
	while (got < bytes) {
		amqp_bytes_t part;

		at += get_whole(&out, at, &pool, &frame);
		assert_int_equal(frame.frame_type, AMQP_FRAME_BODY);
		part = frame.payload.body_fragment;
		assert_memory_equal(part.bytes, body + got, part.len);
		got += part.len;
	}
	assert_int_equal(got, bytes);
	at += get_whole(&out, at, &pool, &frame);
	assert_int_equal(frame.frame_type, AMQP_FRAME_HEARTBEAT);
	assert_int_equal(at, out.len);
	free(body);
	tear_down(&out, &pool);
}

struct bad_case {
	const char *name;
	const char *bytes;
	size_t count;
	const char *want; /* in the message */
};

static void what_is_no_frame(void **state)
{
	static const struct bad_case cases[] = {
		{ "another protocol", "AMQP\0\1\0\0", 8, "another AMQP" },
		{ "a frame of 4 GB", "\1\0\1\377\377\377\377", 7, "4294967295 bytes" },
		{ "a frame of 1 MB", "\3\0\1\0\20\0\0", 7, "1048576 bytes" },
		{ "no end", "\3\0\1\0\0\0\1xY", 9, "without its end" },
		{ "an unknown type", "\7\0\1\0\0\0\0\316", 8, "cannot be read" },
		{ "a method without an id", "\1\0\1\0\0\0\2ab\316", 10, "cannot be read" },
		{ "an unknown method", "\1\0\1\0\0\0\4\0\1\0\1\316", 12, "cannot be read" },
		{ "a method cut short", "\1\0\1\0\0\0\5\0\74\0\74\11\316", 13, "cannot be read" },
		{ "a header cut short", "\2\0\1\0\0\0\2\0\74\316", 10, "cannot be read" },
		{ "an HTTP server", "HTTP/1.1 400 Bad Request\r\n", 26, "bytes" },
	};
	amqp_pool_t pool;
	struct strbuf out;

	(void)state;
	set_up(&out, &pool);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct error error = { 0 };
		amqp_frame_t frame;
		ssize_t rc = amqp_get_frame(cases[i].bytes, cases[i].count, AMQP_FRAME_BYTES_MAX,
					    &pool, &frame, &error);

		if (rc != -1 || !strstr(error.message, cases[i].want))
			fail_msg("%s: %zd, \"%s\"", cases[i].name, rc, error.message);
	}
	tear_down(&out, &pool);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_declaration),
		cmocka_unit_test(a_declaration_for_one_consumer),
		cmocka_unit_test(a_large_body),
		cmocka_unit_test(what_is_no_frame),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
