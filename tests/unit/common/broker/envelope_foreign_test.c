/* SPDX-License-Identifier: Apache-2.0 */
/* Other services' messages: what becomes of them, why not, and that the same message is the same
 * job however often it comes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/broker/envelope.h"
#include "common/broker/message.h"

#define NOW     INT64_C(1763879000000)
#define SENT    (NOW - 5000)
#define EVENT   "application/cloudevents+json; charset=utf-8"
#define TRACE   "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
#define HEAD    "\"specversion\":\"1.0\",\"id\":\"A-1\",\"source\":\"/shop\",\"type\":\"order.new\""
#define UUID7   "019aaf61-9b80-774b-bcce-b302099a8057"
#define HEADERS 4

struct sent { /* a message, or how it differs from one that is sent with a body alone */
	const char *body, *content_type, *identity, *key;
	struct message_header headers[HEADERS];
	int64_t time_ms;
};

static struct message made(const struct sent *sent)
{
	struct message message = { .body = sent->body,
				   .body_bytes = strlen(sent->body),
				   .content_type = sent->content_type,
				   .headers = sent->headers,
				   .identity = sent->identity ? sent->identity : "t/0/17",
				   .time_ms = sent->time_ms ? sent->time_ms : SENT,
				   .key = sent->key };

	while (message.header_count < HEADERS && sent->headers[message.header_count].name)
		message.header_count++;
	if (sent->identity && !*sent->identity)
		message.identity = NULL;
	if (sent->time_ms < 0)
		message.time_ms = 0;
	return message;
}

static const struct envelope_rules any = { .source = "partner",
					   .payload_bytes_max = 1000,
					   .now_ms = NOW };
static const struct envelope_rules typed = {
	.source = "partner", .type = "thing.do", .payload_bytes_max = 1000, .now_ms = NOW
};
static const struct envelope_rules loose = { .source = "partner",
					     .type = "thing.do",
					     .identity_at_least_once = true,
					     .payload_bytes_max = 1000,
					     .now_ms = NOW };

static int read_sent(const struct sent *sent, const struct envelope_rules *rules,
		     struct arena *arena, struct envelope_foreign *foreign_r, const char **why_r)
{
	struct message message = made(sent);

	return envelope_read_foreign(&message, rules, arena, foreign_r, why_r);
}

static void assert_text(const char *name, const char *what, const char *got, const char *want)
{
	if (!got != !want || (got && strcmp(got, want) != 0))
		fail_msg("%s: %s is %s, want %s", name, what, got ? got : "none",
			 want ? want : "none");
}

static const struct {
	const char *name;
	struct sent sent;
	const struct envelope_rules *rules;
	const char *type, *payload, *key, *trace;
	int64_t time_ms;
} taken[] = {
	{ "structured",
	  { .body = "{" HEAD ",\"data\": {\"n\": 1} }", EVENT },
	  &any,
	  "order.new",
	  "{\"n\": 1}",
	  NULL,
	  NULL,
	  0 },
	{ "its source's type wins",
	  { .body = "{" HEAD ",\"data\":[]}", EVENT },
	  &typed,
	  "thing.do",
	  "[]",
	  NULL,
	  NULL,
	  0 },
	{ "upper case content type",
	  { .body = "{" HEAD "}", "Application/CloudEvents+JSON" },
	  &any,
	  "order.new",
	  "{}",
	  NULL,
	  NULL,
	  0 },
	{ "no data", { .body = "{" HEAD "}", EVENT }, &any, "order.new", "{}", NULL, NULL, 0 },
	{ "null data",
	  { .body = "{" HEAD ",\"data\":null,\"data_base64\":null,\"time\":null}", EVENT },
	  &any,
	  "order.new",
	  "{}",
	  NULL,
	  NULL,
	  0 },
	{ "time of its own",
	  { .body = "{" HEAD ",\"time\":\"2025-11-23T06:00:00Z\"}", EVENT },
	  &any,
	  "order.new",
	  "{}",
	  NULL,
	  NULL,
	  1763877600000 },
	{ "extensions",
	  { .body = "{" HEAD ",\"partitionkey\":\"k\\u00e9\",\"traceparent\":\"" TRACE
		    "\",\"other\":1}",
	    EVENT,
	    NULL,
	    "not this" },
	  &any,
	  "order.new",
	  "{}",
	  "k\xc3\xa9",
	  TRACE,
	  0 },
	{ "the message's key",
	  { .body = "{" HEAD "}", EVENT, NULL, "k2", { { "traceparent", TRACE } } },
	  &any,
	  "order.new",
	  "{}",
	  "k2",
	  TRACE,
	  0 },
	{ "bad trace",
	  { .body = "{" HEAD ",\"traceparent\":\"00-1\"}", EVENT },
	  &any,
	  "order.new",
	  "{}",
	  NULL,
	  NULL,
	  0 },
	{ "base64",
	  { .body = "{" HEAD ",\"data_base64\":\"eyJhIjoxfQ==\"}", EVENT },
	  &any,
	  "order.new",
	  "{\"a\":1}",
	  NULL,
	  NULL,
	  0 },
	{ "vendor JSON",
	  { .body = "{" HEAD ",\"datacontenttype\":\"application/vnd.x+json;v=1\",\"data\":2}",
	    EVENT },
	  &any,
	  "order.new",
	  "2",
	  NULL,
	  NULL,
	  0 },
	{ "without a content type",
	  { .body = "{" HEAD ",\"data\":1}" },
	  &any,
	  "order.new",
	  "1",
	  NULL,
	  NULL,
	  0 },
	{ "binary, Kafka",
	  { .body = "{\"b\":2}",
	    "application/json",
	    NULL,
	    NULL,
	    { { "ce_specversion", "1.0" },
	      { "ce_id", "1" },
	      { "ce_source", "/s" },
	      { "ce_type", "order.new" } } },
	  &any,
	  "order.new",
	  "{\"b\":2}",
	  NULL,
	  NULL,
	  0 },
	{ "binary, AMQP",
	  { .body = "",
	    NULL,
	    NULL,
	    NULL,
	    { { "cloudEvents:specversion", "1.0" },
	      { "cloudEvents_id", "1" },
	      { "cloudEvents:source", "/s" },
	      { "cloudEvents:type", "order.new" } } },
	  &any,
	  "order.new",
	  "{}",
	  NULL,
	  NULL,
	  0 },
	{ "plain",
	  { .body = " {\"a\":1}\n" },
	  &typed,
	  "thing.do",
	  " {\"a\":1}\n",
	  NULL,
	  NULL,
	  SENT },
	{ "plain that calls itself otherwise",
	  { .body = "7", "application/octet-stream" },
	  &typed,
	  "thing.do",
	  "7",
	  NULL,
	  NULL,
	  SENT },
	{ "time of a UUIDv7",
	  { .body = "{}", NULL, UUID7, NULL, { { 0 } }, -1 },
	  &typed,
	  "thing.do",
	  "{}",
	  NULL,
	  NULL,
	  1763879000960 },
	{ "no time",
	  { .body = "{}", NULL, "x", NULL, { { 0 } }, -1 },
	  &typed,
	  "thing.do",
	  "{}",
	  NULL,
	  NULL,
	  0 },
	{ "a time that cannot be",
	  { .body = "{" HEAD ",\"time\":\"2999-01-01T00:00:00Z\"}", EVENT },
	  &any,
	  "order.new",
	  "{}",
	  NULL,
	  NULL,
	  0 },
};

static void takes(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(taken); i++) {
		struct arena *arena = arena_new(0);
		struct envelope_foreign got;
		const char *why;

		if (read_sent(&taken[i].sent, taken[i].rules, arena, &got, &why) != 0)
			fail_msg("%s: %s", taken[i].name, why);
		assert_text(taken[i].name, "type", got.type, taken[i].type);
		assert_text(taken[i].name, "payload", got.payload, taken[i].payload);
		assert_int_equal(got.payload_bytes, strlen(got.payload));
		assert_text(taken[i].name, "key", got.order_key, taken[i].key);
		assert_text(taken[i].name, "trace", got.traceparent, taken[i].trace);
		if (got.time_ms != taken[i].time_ms)
			fail_msg("%s: time %lld", taken[i].name, (long long)got.time_ms);
		assert_int_equal(uuid_time_ms(&got.id), got.time_ms);
		assert_int_equal(uuid_version(&got.id), 8);
		arena_free(&arena);
	}
}

static const struct {
	const char *name;
	struct sent sent;
	const struct envelope_rules *rules;
	const char *why; /* part of it */
} refused[] = {
	{ "not JSON", { .body = "{" HEAD ",}", EVENT }, &any, "the event is not JSON: line 1" },
	{ "empty", { .body = "", EVENT }, &any, "not JSON" },
	{ "bad UTF-8", { .body = "{" HEAD ",\"data\":\"\xff\"}", EVENT }, &any, "not JSON" },
	{ "twice", { .body = "{" HEAD ",\"id\":\"2\"}", EVENT }, &any, "duplicate" },
	{ "no object", { .body = "[1]", EVENT }, &any, "not a JSON object" },
	{ "no id",
	  { .body = "{\"specversion\":\"1.0\",\"source\":\"/s\",\"type\":\"t\"}", EVENT },
	  &any,
	  "no `id`" },
	{ "empty source",
	  { .body = "{\"specversion\":\"1.0\",\"id\":\"1\",\"source\":\"\",\"type\":\"t\"}",
	    EVENT },
	  &any,
	  "no `source`" },
	{ "id is a number",
	  { .body = "{\"specversion\":\"1.0\",\"id\":1,\"source\":\"/s\",\"type\":\"t\"}", EVENT },
	  &any,
	  "`id` is not a text" },
	{ "version 0.3",
	  { .body = "{\"specversion\":\"0.3\",\"id\":\"1\",\"source\":\"/s\",\"type\":\"t\"}",
	    EVENT },
	  &any,
	  "`specversion`" },
	{ "time", { .body = "{" HEAD ",\"time\":\"yesterday\"}", EVENT }, &any, "`time`" },
	{ "XML",
	  { .body = "{" HEAD ",\"datacontenttype\":\"text/xml\",\"data\":\"<a/>\"}", EVENT },
	  &any,
	  "not JSON by its `datacontenttype`" },
	{ "base64 of no JSON",
	  { .body = "{" HEAD ",\"data_base64\":\"AAE=\"}", EVENT },
	  &any,
	  "what `data_base64` holds is not JSON" },
	{ "no base64",
	  { .body = "{" HEAD ",\"data_base64\":\"*\"}", EVENT },
	  &any,
	  "`data_base64` is not base64" },
	{ "both",
	  { .body = "{" HEAD ",\"data\":1,\"data_base64\":\"MQ==\"}", EVENT },
	  &any,
	  "both" },
	{ "batch", { .body = "[]", "application/cloudevents-batch+json" }, &any, "batch" },
	{ "another format",
	  { .body = "x", "application/cloudevents+avro" },
	  &any,
	  "other than JSON" },
	{ "type is no name",
	  { .body = "{\"specversion\":\"1.0\",\"id\":\"1\",\"source\":\"/s\",\"type\":\"a b\"}",
	    EVENT },
	  &any,
	  "not the name of a job type" },
	{ "plain without a type", { .body = "{}" }, &any, "names no type" },
	{ "plain that is no JSON", { .body = "hello" }, &typed, "the message is not JSON" },
	{ "binary that is no JSON",
	  { .body = "hello",
	    NULL,
	    NULL,
	    NULL,
	    { { "ce-specversion", "1.0" },
	      { "ce-id", "1" },
	      { "ce-source", "/s" },
	      { "ce-type", "t" } } },
	  &any,
	  "the data is not JSON" },
	{ "no identity", { .body = "{}", NULL, "" }, &typed, "nothing names the message" },
};

static void refuses(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(refused); i++) {
		struct arena *arena = arena_new(0);
		struct envelope_foreign got, again;
		const char *why;

		if (read_sent(&refused[i].sent, refused[i].rules, arena, &got, &why) == 0)
			fail_msg("%s was taken", refused[i].name);
		if (!strstr(why, refused[i].why))
			fail_msg("%s: %s", refused[i].name, why);
		/* its refusal is kept under the same id, however often it comes */
		assert_int_equal(read_sent(&refused[i].sent, refused[i].rules, arena, &again, &why),
				 -1);
		assert_true(uuid_equal(&got.id, &again.id) && uuid_version(&got.id) == 8);
		arena_free(&arena);
	}
}

static void refuses_what_is_too_large_or_deep(void **state)
{
	struct arena *arena = arena_new(0);
	struct envelope_foreign got;
	const char *why;
	char text[2003];

	(void)state;
	memset(text, 'x', sizeof(text));
	text[0] = text[1001] = '"';
	text[1002] = 0;
	assert_int_equal(read_sent(&(struct sent){ .body = text }, &typed, arena, &got, &why), -1);
	assert_string_equal(why, "a payload of 1002 bytes; at most 1000 are taken");
	memset(text, '[', 65);
	memset(text + 65, ']', 65);
	text[130] = 0;
	assert_int_equal(read_sent(&(struct sent){ .body = text }, &typed, arena, &got, &why), -1);
	assert_non_null(strstr(why, "nested too deeply"));
	arena_free(&arena);
}

static struct uuid id_of(const struct sent *sent, const struct envelope_rules *rules)
{
	struct arena *arena = arena_new(0);
	struct envelope_foreign got;
	const char *why;

	if (read_sent(sent, rules, arena, &got, &why) != 0)
		fail_msg("%s: %s", sent->body, why);
	arena_free(&arena);
	return got.id;
}

/* Pairs of messages that are one job, and pairs that are two. */
static void identifies(void **state)
{
#define AT(time) "{" HEAD ",\"time\":\"2025-11-23T06:00:0" time "Z\"}"
	static const struct {
		const char *name;
		struct sent one, two;
		bool same;
	} cases[] = {
		{ "an event sent twice",
		  { .body = AT("1"), EVENT, "t/0/1" },
		  { .body = AT("1"), EVENT, "t/0/2", NULL, { { 0 } }, SENT + 7 },
		  true },
		{ "two events of other times",
		  { .body = AT("1"), EVENT },
		  { .body = AT("2"), EVENT },
		  false },
		{ "an event without a time, sent twice",
		  { .body = "{" HEAD "}", EVENT, "t/0/1" },
		  { .body = "{" HEAD "}", EVENT, "t/0/2", NULL, { { 0 } }, SENT + 7 },
		  true },
		{ "redelivered",
		  { .body = "{}", NULL, "t/0/1" },
		  { .body = "{}", NULL, "t/0/1" },
		  true },
		{ "two messages of the same text",
		  { .body = "{}", NULL, "t/0/1" },
		  { .body = "{}", NULL, "t/0/2" },
		  false },
		{ "an id that looks like another's source and id",
		  { .body = AT("1"), EVENT },
		  { .body = "{\"a\":1}", NULL, "A-1", NULL, { { 0 } }, 1763877601000 },
		  false },
	};
	struct envelope_rules other = typed;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct uuid one = id_of(&cases[i].one, &typed), two = id_of(&cases[i].two, &typed);

		if (uuid_equal(&one, &two) != cases[i].same)
			fail_msg("%s: %s", cases[i].name, cases[i].same ? "two jobs" : "one job");
	}
	other.source = "somebody";
	struct uuid one = id_of(&cases[0].one, &typed), two = id_of(&cases[0].one, &other);
	assert_false(uuid_equal(&one, &two));
	one = id_of(&(struct sent){ .body = "{}", NULL, "" }, &loose);
	two = id_of(&(struct sent){ .body = "{}", NULL, "" }, &loose);
	assert_false(uuid_equal(&one, &two));
}

static void keys_that_cannot_be_kept(void **state)
{
	struct arena *arena = arena_new(0);
	struct envelope_foreign one, two;
	const char *why;
	char key[300];

	(void)state;
	memset(key, 'k', sizeof(key));
	key[299] = 0;
	assert_int_equal(
		read_sent(&(struct sent){ .body = "{}", .key = key }, &typed, arena, &one, &why),
		0);
	assert_int_equal(strlen(one.order_key), 64);
	key[298] = 0;
	assert_int_equal(
		read_sent(&(struct sent){ .body = "{}", .key = key }, &typed, arena, &two, &why),
		0);
	assert_string_not_equal(one.order_key, two.order_key);
	assert_int_equal(
		read_sent(&(struct sent){ .body = "{}", .key = "\xff" }, &typed, arena, &one, &why),
		0);
	assert_int_equal(strlen(one.order_key), 64);
	assert_int_equal(
		read_sent(&(struct sent){ .body = "{}", .key = "" }, &typed, arena, &one, &why), 0);
	assert_null(one.order_key);
	arena_free(&arena);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(takes),
		cmocka_unit_test(refuses),
		cmocka_unit_test(refuses_what_is_too_large_or_deep),
		cmocka_unit_test(identifies),
		cmocka_unit_test(keys_that_cannot_be_kept),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
