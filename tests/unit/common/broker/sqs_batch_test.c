/* SPDX-License-Identifier: Apache-2.0 */
/* Batches by count and by size, what they say, and what answers say about their entries. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/broker/sqs_batch.h"
#include "common/broker/sqs_client.h"
#include "common/json/json_text.h"

static void fits(void **state)
{
	static const struct {
		size_t count, bytes, more, max;
		bool want;
	} cases[] = {
		{ 0, 0, 100, 100, true },
		{ 0, 0, 101, 100, true }, /* alone: SQS says what it thinks */
		{ 1, 50, 50, 100, true },
		{ 1, 50, 51, 100, false },
		{ 9, 90, 10, 100, true },
		{ 10, 10, 1, 100, false },
		{ 1, 100, 0, 100, true },
		{ 1, 1, SIZE_MAX, 100, false },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct sqs_batch batch = { .count = cases[i].count, .bytes = cases[i].bytes };

		if (sqs_batch_fits(&batch, cases[i].more, cases[i].max) != cases[i].want)
			fail_msg("case %zu", i);
	}
}

static void writes_messages(void **state)
{
	struct sqs_outgoing plain = { .body = "{\"a\":1}", .body_bytes = 7 };
	struct sqs_outgoing full = { .body = "\"\xef\xbf\xbe\xef\xbf\xbd\xef\xbf\xbf\"",
				     .body_bytes = 11,
				     .content_type = "t/x",
				     .traceparent = "00-1",
				     .group = "g",
				     .deduplication = "d" };
	struct sqs_batch batch;

	(void)state;
	assert_int_equal(sqs_message_size(&plain), 7);
	assert_int_equal(sqs_message_size(&full), 11 + 12 + 6 + 3 + 11 + 6 + 4);
	sqs_batch_begin(&batch, "http://q");
	sqs_batch_add_message(&batch, &plain);
	sqs_batch_add_message(&batch, &full);
	sqs_batch_end(&batch);
	assert_int_equal(batch.count, 2);
	assert_int_equal(batch.bytes, 7 + 53);
	assert_string_equal(
		batch.text.data,
		"{\"QueueUrl\":\"http://q\",\"Entries\":["
		"{\"Id\":\"0\",\"MessageBody\":\"{\\\"a\\\":1}\"},"
		"{\"Id\":\"1\",\"MessageBody\":\"\\\"\\\\ufffe\xef\xbf\xbd\\\\uffff\\\"\","
		"\"MessageAttributes\":{\"content-type\":{\"DataType\":\"String\",\"StringValue\":"
		"\"t/x\"},\"traceparent\":{\"DataType\":\"String\",\"StringValue\":\"00-1\"}},"
		"\"MessageGroupId\":\"g\",\"MessageDeduplicationId\":\"d\"}]}");
	strbuf_release(&batch.text);
}

static void writes_handles(void **state)
{
	struct sqs_batch batch;

	(void)state;
	sqs_batch_begin(&batch, "u");
	sqs_batch_add_handle(&batch, "h/+\"");
	sqs_batch_end(&batch);
	assert_string_equal(batch.text.data, "{\"QueueUrl\":\"u\",\"Entries\":[{\"Id\":\"0\","
					     "\"ReceiptHandle\":\"h/+\\\"\"}]}");
	strbuf_release(&batch.text);
	sqs_batch_begin(&batch, "u");
	sqs_batch_add_visibility(&batch, "a", 0);
	sqs_batch_add_visibility(&batch, "b", 43200);
	sqs_batch_end(&batch);
	assert_string_equal(
		batch.text.data,
		"{\"QueueUrl\":\"u\",\"Entries\":[{\"Id\":\"0\",\"ReceiptHandle\":\"a\","
		"\"VisibilityTimeout\":0},{\"Id\":\"1\",\"ReceiptHandle\":\"b\","
		"\"VisibilityTimeout\":43200}]}");
	strbuf_release(&batch.text);
}

static void reads_verdicts(void **state)
{
	/* L later, D done, R refused */
	static const struct {
		const char *answer, *want;
	} cases[] = {
		{ "{\"Successful\":[{\"Id\":\"0\"},{\"Id\":\"2\"}],\"Failed\":[{\"Id\":\"1\","
		  "\"SenderFault\":true,\"Code\":\"InvalidMessageContents\"}]}",
		  "DRD" },
		{ "{\"Failed\":[{\"Id\":\"0\",\"SenderFault\":false,\"Code\":\"InternalError\"},"
		  "{\"Id\":\"1\",\"SenderFault\":true,\"Code\":\"RequestThrottled\"},"
		  "{\"Id\":\"2\",\"SenderFault\":true,\"Code\":\"ReceiptHandleIsInvalid\"}]}",
		  "LLR" },
		{ "{\"Successful\":[{\"Id\":\"1\"}]}", "LDL" },
		{ "{\"Successful\":[{\"Id\":\"3\"},{\"Id\":\"x\"},{\"Id\":\"00\"},{},7,{\"Id\":1}]}",
		  "LLL" },
		{ "{\"Successful\":{\"Id\":\"0\"},\"Failed\":3}", "LLL" },
		{ "{}", "LLL" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		enum sqs_verdict verdicts[SQS_BATCH_MAX];
		struct json_error problem;
		json_t *json = json_text_parse(cases[i].answer, strlen(cases[i].answer), &problem);
		char got[4] = "";

		assert_non_null(json);
		sqs_batch_read(json, 3, verdicts);
		for (size_t k = 0; k < 3; k++)
			got[k] = "LDR"[verdicts[k]];
		assert_string_equal(got, cases[i].want);
		json_decref(json);
	}
}

static void groups(void **state)
{
	char group[129], key[200];

	(void)state;
	sqs_group_id("order:17/a", group);
	assert_string_equal(group, "order:17/a");
	sqs_group_id("", group);
	assert_int_equal(strlen(group), 64);
	sqs_group_id("two words", group);
	assert_int_equal(strlen(group), 64);
	sqs_group_id("\xc3\xa4", group);
	assert_int_equal(strlen(group), 64);
	memset(key, 'k', sizeof(key));
	key[128] = 0;
	sqs_group_id(key, group);
	assert_string_equal(group, key);
	key[128] = 'k';
	key[129] = 0;
	sqs_group_id(key, group);
	assert_int_equal(strlen(group), 64);
}

static void fates(void **state)
{
	static const struct {
		int status;
		const char *code;
		enum sqs_fate want;
	} cases[] = {
		{ 200, "", SQS_DONE },
		{ 400, "QueueDoesNotExist", SQS_NOT_FOUND },
		{ 400, "RequestThrottled", SQS_THROTTLED },
		{ 403, "RequestThrottled", SQS_THROTTLED },
		{ 503, "", SQS_THROTTLED },
		{ 429, "", SQS_THROTTLED },
		{ 400, "OverLimit", SQS_THROTTLED },
		{ 403, "ExpiredTokenException", SQS_AWAY },
		{ 403, "InvalidSignatureException", SQS_AWAY },
		{ 400, "QueueDeletedRecently", SQS_AWAY },
		{ 403, "AccessDeniedException", SQS_DENIED },
		{ 400, "AccessDenied", SQS_DENIED },
		{ 403, "", SQS_DENIED },
		{ 400, "BatchRequestTooLong", SQS_INVALID },
		{ 413, "", SQS_INVALID },
		{ 500, "InternalFailure", SQS_AWAY },
		{ 502, "", SQS_AWAY },
		{ 301, "", SQS_AWAY },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		enum sqs_fate got = sqs_fate_of(cases[i].status, cases[i].code);

		if (got != cases[i].want)
			fail_msg("%d %s: %d", cases[i].status, cases[i].code, got);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(fits),           cmocka_unit_test(writes_messages),
		cmocka_unit_test(writes_handles), cmocka_unit_test(reads_verdicts),
		cmocka_unit_test(groups),         cmocka_unit_test(fates),
	};

	return cmocka_run_group_tests_name("sqs_batch", tests, NULL, NULL);
}
