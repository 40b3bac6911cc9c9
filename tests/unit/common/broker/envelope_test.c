/* SPDX-License-Identifier: Apache-2.0 */
/* What is written can be read again, and is JSON; what is no message of ours is said to be none. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/broker/envelope.h"
#include "common/json/json_text.h"

#define TRACE "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

static struct envelope_job sample(void)
{
	static const char payload[] = "{\"note\": \"caf\xc3\xa9\", \"n\": [1,2]}";
	struct envelope_job job = { .attempt = 3,
				    .queue = "orders",
				    .type = "order.checkout",
				    .payload = payload,
				    .payload_bytes = sizeof(payload) - 1,
				    .created_ms = 1763879000123,
				    .traceparent = TRACE };

	assert_true(uuid_parse("01890a5d-ac96-774b-bcce-b302099a8057", &job.id));
	assert_true(uuid_parse("01890a5d-ac97-7000-8000-000000000001", &job.batch));
	return job;
}

static void assert_member(json_t *event, const char *name, const char *want)
{
	const char *got = json_string_value(json_object_get(event, name));

	if (!got || strcmp(got, want) != 0)
		fail_msg("%s: got %s, want %s", name, got ? got : "none", want);
}

static json_t *parse(const struct strbuf *text)
{
	struct json_error error;
	json_t *event = json_text_parse(text->data, text->len, &error);

	if (!event)
		fail_msg("%s: %s", text->data, error.message);
	return event;
}

static void writes_a_job(void **state)
{
	struct envelope_job job = sample();
	struct strbuf out;
	json_t *event;

	(void)state;
	strbuf_init(&out);
	envelope_add_job(&out, &job, 10000);
	event = parse(&out);
	assert_member(event, "specversion", "1.0");
	assert_member(event, "id", "01890a5d-ac96-774b-bcce-b302099a8057");
	assert_member(event, "source", "/windlass/queues/orders");
	assert_member(event, "type", "order.checkout");
	assert_member(event, "time", "2025-11-23T06:23:20.123Z");
	assert_member(event, "datacontenttype", "application/json");
	assert_member(event, "windlassbatch", "01890a5d-ac97-7000-8000-000000000001");
	assert_member(event, "traceparent", TRACE);
	assert_int_equal(json_integer_value(json_object_get(event, "windlassattempt")), 3);
	assert_null(json_object_get(event, "windlasspayload"));
	assert_non_null(strstr(out.data, job.payload)); /* verbatim */
	json_decref(event);
	strbuf_release(&out);
}

static void leaves_large_data_in_the_store(void **state)
{
	struct envelope_job job = sample();
	struct strbuf whole, cut;
	json_t *event;

	(void)state;
	strbuf_init(&whole);
	strbuf_init(&cut);
	envelope_add_job(&whole, &job, SIZE_MAX);
	strbuf_addstr(&cut, "before");
	envelope_add_job(&cut, &job, whole.len);
	assert_string_equal(cut.data + 6, whole.data);
	strbuf_clear(&cut);
	envelope_add_job(&cut, &job, whole.len - 1);
	event = parse(&cut);
	assert_member(event, "windlasspayload", "stored");
	assert_null(json_object_get(event, "data"));
	json_decref(event);
	strbuf_release(&whole);
	strbuf_release(&cut);
}

static void reads_its_own(void **state)
{
	struct envelope_job job = sample();
	struct uuid id, batch;
	struct strbuf out;
	const char *why;
	int attempt;

	(void)state;
	for (size_t bytes_max = 0; bytes_max <= 10000; bytes_max += 10000) {
		strbuf_init(&out);
		envelope_add_job(&out, &job, bytes_max);
		assert_int_equal(envelope_read_job(out.data, out.len, &id, &batch, &attempt, &why),
				 0);
		assert_true(uuid_equal(&id, &job.id) && uuid_equal(&batch, &job.batch));
		assert_int_equal(attempt, 3);
		strbuf_release(&out);
	}
}

static void refuses_what_is_not_ours(void **state)
{
#define ID    "\"id\":\"01890a5d-ac96-774b-bcce-b302099a8057\""
#define BATCH "\"windlassbatch\":\"01890a5d-ac96-774b-bcce-b302099a8057\""
#define FROM  "\"source\":\"/windlass/queues/q\""
	static const char *const cases[] = {
		"",
		"null",
		"[]",
		"{}",
		"{" ID,
		"{" ID "," BATCH "," FROM "}",
		"{" ID "," BATCH ",\"windlassattempt\":1}",
		"{" ID "," BATCH "," FROM ",\"windlassattempt\":0}",
		"{" ID "," BATCH "," FROM ",\"windlassattempt\":\"1\"}",
		"{" ID "," BATCH "," FROM ",\"windlassattempt\":3000000000}",
		"{" ID "," BATCH ",\"source\":\"/windlass/jobs\",\"windlassattempt\":1}",
		"{\"id\":\"x\"," BATCH "," FROM ",\"windlassattempt\":1}",
		"{\"id\":7," BATCH "," FROM ",\"windlassattempt\":1}",
		"{" ID ",\"windlassbatch\":null," FROM ",\"windlassattempt\":1}",
	};
	struct uuid id, batch;
	int attempt;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		const char *why = NULL;

		if (envelope_read_job(cases[i], strlen(cases[i]), &id, &batch, &attempt, &why) == 0)
			fail_msg("taken: %s", cases[i]);
		assert_non_null(why);
	}
}

static void writes_a_result(void **state)
{
	struct envelope_result result = { .type = "order.checkout",
					  .result = "{\"ok\":true}",
					  .finished_ms = 1763879000123 };
	struct strbuf out;
	size_t bytes;
	json_t *event;

	(void)state;
	assert_true(uuid_parse("01890a5d-ac96-774b-bcce-b302099a8057", &result.id));
	strbuf_init(&out);
	envelope_add_result(&out, &result, SIZE_MAX);
	event = parse(&out);
	assert_member(event, "type", "order.checkout.completed");
	assert_member(event, "source", "/windlass/jobs");
	assert_member(event, "subject", "01890a5d-ac96-774b-bcce-b302099a8057");
	assert_null(json_object_get(event, "traceparent"));
	assert_true(json_is_true(json_object_get(json_object_get(event, "data"), "ok")));
	json_decref(event);
	strbuf_clear(&out);
	result.result = NULL;
	envelope_add_result(&out, &result, SIZE_MAX);
	event = parse(&out);
	assert_true(json_is_null(json_object_get(event, "data")));
	json_decref(event);
	bytes = out.len;
	for (size_t less = 0; less < 2; less++) {
		strbuf_clear(&out);
		envelope_add_result(&out, &result, bytes - less);
		event = parse(&out);
		assert_int_equal(json_object_get(event, "data") == NULL, less);
		if (less)
			assert_member(event, "windlassresult", "stored");
		json_decref(event);
	}
	strbuf_release(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(writes_a_job),    cmocka_unit_test(leaves_large_data_in_the_store),
		cmocka_unit_test(reads_its_own),   cmocka_unit_test(refuses_what_is_not_ours),
		cmocka_unit_test(writes_a_result),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
