/* SPDX-License-Identifier: Apache-2.0 */
/* Messages as JSON and back: names, enums, times, JSON texts as they stand, what is left out; and
 * what is refused before it is unpacked. */
#include "producers/grpc/grpc_json.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include <windlass/v1/jobs.pb-c.h>

#include "producers/grpc/grpc_wire.h"

static void requests_as_json(void **state)
{
	Google__Protobuf__Duration delay = GOOGLE__PROTOBUF__DURATION__INIT;
	Google__Protobuf__Timestamp at = GOOGLE__PROTOBUF__TIMESTAMP__INIT;
	Windlass__V1__Unique unique = WINDLASS__V1__UNIQUE__INIT;
	Windlass__V1__JobRequest job = WINDLASS__V1__JOB_REQUEST__INIT;
	char *tags[] = { "a", "b\"" };
	struct json_error error;
	struct strbuf out;
	const char *field;

	(void)state;
	strbuf_init(&out);
	assert_true(grpc_json_write(&out, &job.base, &error, &field));
	assert_string_equal(out.data, "{}");
	strbuf_clear(&out);
	delay.seconds = 1;
	delay.nanos = 500000000;
	at.seconds = 1;
	unique.key = "k";
	unique.for_ = &delay;
	unique.on_conflict = WINDLASS__V1__UNIQUE__ON_CONFLICT__ON_CONFLICT_REPLACE;
	job.type = "t";
	job.payload = "{ \"a\": 1.50 }";
	job.priority = 17;
	job.run_at = &at;
	job.unique = &unique;
	job.tags = tags;
	job.n_tags = 2;
	assert_true(grpc_json_write(&out, &job.base, &error, &field));
	assert_string_equal(
		out.data,
		"{\"type\":\"t\",\"payload\":{ \"a\": 1.50 },\"priority\":17,"
		"\"run_at\":\"1970-01-01T00:00:01.000Z\","
		"\"unique\":{\"key\":\"k\",\"for\":\"1.500000000s\",\"on_conflict\":\"replace\"},"
		"\"tags\":[\"a\",\"b\\\"\"]}");
	strbuf_clear(&out);
	job.payload = "{},\"queue\":\"other\"";
	assert_false(grpc_json_write(&out, &job.base, &error, &field));
	assert_string_equal(field, "payload");
	strbuf_release(&out);
}

static void answers_as_messages(void **state)
{
	static const char text[] =
		"{\"id\":\"i\",\"state\":\"running\",\"unknown\":{\"id\":1},\"attempt\":3,"
		"\"timeout\":\"1500ms\",\"created_at\":\"1970-01-01T00:00:01.250Z\","
		"\"payload\":{ \"a\": [1] },\"result\":null,\"progress\":{\"part\":0.5},"
		"\"cancel_asked\":true,\"tags\":[\"x\",null],\"queue\":null}";
	Windlass__V1__Job job = WINDLASS__V1__JOB__INIT;
	struct arena *arena = arena_new(0);

	(void)state;
	grpc_json_read(arena, (struct json_slice){ text, strlen(text) }, &job.base);
	assert_string_equal(job.id, "i");
	assert_int_equal(job.state, WINDLASS__V1__JOB_STATE__JOB_STATE_RUNNING);
	assert_int_equal(job.attempt, 3);
	assert_int_equal(job.timeout->seconds, 1);
	assert_int_equal(job.timeout->nanos, 500000000);
	assert_int_equal(job.created_at->nanos, 250000000);
	assert_string_equal(job.payload, "{ \"a\": [1] }");
	assert_string_equal(job.result, "null");
	assert_true(job.progress->part == 0.5 && job.cancel_asked);
	assert_int_equal(job.n_tags, 2);
	assert_string_equal(job.tags[1], "");
	assert_string_equal(job.queue, "");
	arena_free(&arena);
}

static void what_is_not_unpacked(void **state)
{
	static const struct {
		const char *data;
		size_t bytes, fields;
		bool taken;
	} cases[] = {
		{ "\x0a\1x", 3, 10, true },        { "", 0, 10, true },
		{ "\x0a\5ab", 4, 10, false },      { "\x0a\2\xc3\x28", 4, 10, false },
		{ "\x0a\3a\0b", 5, 10, false },    { "\xff\xff", 2, 10, false },
		{ "\x0a\1x\x0a\1y", 6, 1, false }, { "\x03", 1, 10, false },
		{ "\x00\x00", 2, 10, false },      { "\xfa\x01\1\xff", 4, 10, true },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct arena *arena = arena_new(0);
		size_t fields = cases[i].fields;
		const char *why = NULL;
		ProtobufCMessage *got = grpc_wire_unpack(
			arena, &windlass__v1__get_request__descriptor,
			(const uint8_t *)cases[i].data, cases[i].bytes, &fields, &why);

		if ((got != NULL) != cases[i].taken)
			fail_msg("case %zu: %s", i, got ? "taken" : why);
		assert_true(got || why);
		arena_free(&arena);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(requests_as_json),
		cmocka_unit_test(answers_as_messages),
		cmocka_unit_test(what_is_not_unpacked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
