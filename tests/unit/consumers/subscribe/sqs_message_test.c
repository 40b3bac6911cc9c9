/* SPDX-License-Identifier: Apache-2.0 */
/* What is made of the messages of a ReceiveMessage answer, and of what is none. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/json/json_text.h"
#include "consumers/subscribe/sqs_message.h"

static struct sqs_message *make(const char *text, bool dead, size_t bytes_max)
{
	struct json_error problem;
	json_t *json = json_text_parse(text, strlen(text), &problem);
	struct sqs_message *message;

	if (!json)
		fail_msg("%s", problem.message);
	message = sqs_message_new(json, dead, bytes_max);
	json_decref(json); /* the message has its own */
	return message;
}

static void full(void **state)
{
	struct sqs_message *message = make(
		"{\"MessageId\":\"id\",\"ReceiptHandle\":\"h\",\"Body\":\"b\xc3\xa4\",\"Attributes\":{"
		"\"SentTimestamp\":\"1700000000123\",\"ApproximateReceiveCount\":\"2\","
		"\"MessageGroupId\":\"g\"},\"MessageAttributes\":{"
		"\"Content-Type\":{\"DataType\":\"String\",\"StringValue\":\"a/b\"},"
		"\"n\":{\"DataType\":\"Number\",\"StringValue\":\"1\"},"
		"\"s\":{\"DataType\":\"String.x\",\"StringValue\":\"y\"},"
		"\"z\":{\"DataType\":\"Binary\",\"BinaryValue\":\"AA==\"}}}",
		false, 100);
	const struct message *m = &message->delivery.message;

	(void)state;
	assert_memory_equal(m->body, "b\xc3\xa4", 3);
	assert_int_equal(m->body_bytes, 3);
	assert_string_equal(m->identity, "id");
	assert_string_equal(message->handle, "h");
	assert_int_equal(m->time_ms, 1700000000123);
	assert_string_equal(m->key, "g");
	assert_true(m->redelivered);
	assert_string_equal(m->content_type, "a/b");
	assert_int_equal(m->header_count, 2);
	assert_null(m->dead_reason);
	assert_ptr_equal(message->delivery.feed_data, message);
	sqs_message_free(&message);
	assert_null(message);
}

static void bare(void **state)
{
	struct sqs_message *message =
		make("{\"MessageId\":\"id\",\"ReceiptHandle\":\"h\",\"Body\":\"\"}", false, 100);
	const struct message *m = &message->delivery.message;

	(void)state;
	assert_int_equal(m->body_bytes, 0);
	assert_int_equal(m->time_ms, 0);
	assert_null(m->key);
	assert_false(m->redelivered);
	assert_null(m->content_type);
	sqs_message_free(&message);
}

static void dead(void **state)
{
	struct sqs_message *message =
		make("{\"MessageId\":\"id\",\"ReceiptHandle\":\"h\",\"Body\":\"x\",\"Attributes\":{"
		     "\"DeadLetterQueueSourceArn\":\"arn:q\"}}",
		     true, 100);

	(void)state;
	assert_non_null(strstr(message->delivery.message.dead_reason, "(from arn:q)"));
	sqs_message_free(&message);
}

static void too_large(void **state)
{
	struct sqs_message *message = make(
		"{\"MessageId\":\"id\",\"ReceiptHandle\":\"h\",\"Body\":\"0123456789\"}", true, 9);
	const struct message *m = &message->delivery.message;

	(void)state;
	assert_int_equal(m->body_bytes, 0);
	assert_string_equal(m->dead_reason, "the message has 10 bytes; at most 9 are taken");
	sqs_message_free(&message);
}

static void none(void **state)
{
	static const char *const texts[] = {
		"{}",
		"[]",
		"{\"MessageId\":\"id\",\"ReceiptHandle\":\"h\"}",
		"{\"MessageId\":\"id\",\"Body\":\"b\"}",
		"{\"ReceiptHandle\":\"h\",\"Body\":\"b\"}",
		"{\"MessageId\":1,\"ReceiptHandle\":\"h\",\"Body\":\"b\"}",
		"{\"MessageId\":\"id\",\"ReceiptHandle\":\"h\",\"Body\":{}}",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(texts); i++)
		assert_null(make(texts[i], false, 100));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(full),      cmocka_unit_test(bare), cmocka_unit_test(dead),
		cmocka_unit_test(too_large), cmocka_unit_test(none),
	};

	return cmocka_run_group_tests_name("sqs_message", tests, NULL, NULL);
}
