/* SPDX-License-Identifier: Apache-2.0 */
/* BROKER_URL: what is understood and how, what is refused, and that no message shows a secret. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/strbuf.h"
#include "common/config/broker_url.h"

/* All of it as one line. */
static void describe(const struct broker_url *url, struct arena *arena, struct strbuf *out)
{
	strbuf_printf(out, "%s tls=%d user=%s password=%s path=%s", broker_url_label(url, arena),
		      url->tls, url->user ? url->user : "-", url->password ? url->password : "-",
		      url->path ? url->path : "-");
	for (size_t i = 0; i < url->host_count; i++)
		strbuf_printf(out, " %s|%d", url->hosts[i].host, url->hosts[i].port);
	for (size_t i = 0; i < url->option_count; i++)
		strbuf_printf(out, " %s=%s", url->options[i].name, url->options[i].value);
}

static void understands(void **state)
{
	static const struct {
		const char *text, *want;
	} cases[] = {
		{ "", " tls=0 user=- password=- path=-" },
		{ "amqp://rabbit",
		  "amqp://rabbit:5672/ tls=0 user=- password=- path=/ rabbit|5672" },
		{ "amqp://rabbit/",
		  "amqp://rabbit:5672/ tls=0 user=- password=- path=/ rabbit|5672" },
		{ "amqp://u@rabbit:1/a%2Fb",
		  "amqp://rabbit:1/a/b tls=0 user=u password=- path=a/b rabbit|1" },
		{ "amqps://u%40x:p%3A%2f@mq.example:5671/jobs?heartbeat=15&max_message=1048576",
		  "amqps://mq.example:5671/jobs tls=1 user=u@x password=p:/ path=jobs "
		  "mq.example|5671 heartbeat=15 max_message=1048576" },
		{ "amqp://guest:guest@127.0.0.9",
		  "amqp://127.0.0.9:5672/ tls=0 user=guest password=guest path=/ 127.0.0.9|5672" },
		{ "amqp://u:p@mq?insecure=true",
		  "amqp://mq:5672/ tls=0 user=u password=p path=/ mq|5672 insecure=true" },
		{ "kafka://a,b:19092,[::1]:3",
		  "kafka://a:9092,b:19092,[::1]:3 tls=0 user=- password=- path=- a|9092 b|19092 "
		  "::1|3" },
		{ "kafka://u:p@k:1?security=sasl_ssl&mechanism=SCRAM-SHA-512",
		  "kafka://k:1 tls=1 user=u password=p path=- k|1 security=sasl_ssl "
		  "mechanism=SCRAM-SHA-512" },
		{ "kafka://u:p@localhost:1?security=sasl_plaintext",
		  "kafka://localhost:1 tls=0 user=u password=p path=- localhost|1 "
		  "security=sasl_plaintext" },
		{ "kafka://k/?security=ssl",
		  "kafka://k:9092 tls=1 user=- password=- path=- k|9092 security=ssl" },
		{ "sqs://eu-west-1", "sqs://eu-west-1 tls=0 user=- password=- path=eu-west-1" },
		{ "sqs://", "sqs:// tls=0 user=- password=- path=" },
		{ "sqs://x?endpoint=http%3A//127.0.0.1:9324&account=000000000000",
		  "sqs://x at http://127.0.0.1:9324 tls=0 user=- password=- path=x "
		  "endpoint=http://127.0.0.1:9324 account=000000000000" },
		{ "sqs://x?endpoint=http://[::1]:9",
		  "sqs://x at http://[::1]:9 tls=0 user=- password=- path=x "
		  "endpoint=http://[::1]:9" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct arena *arena = arena_new(0);
		struct broker_url url;
		struct error error;
		struct strbuf got;

		strbuf_init(&got);
		if (broker_url_parse(cases[i].text, arena, &url, &error) != 0)
			fail_msg("%s: %s", cases[i].text, error.message);
		describe(&url, arena, &got);
		if (strcmp(got.data, cases[i].want) != 0)
			fail_msg("%s: got %s\nwant %s", cases[i].text, got.data, cases[i].want);
		assert_null(broker_url_option(&url, "none"));
		strbuf_release(&got);
		arena_free(&arena);
	}
}

static void refuses(void **state)
{
	static const struct {
		const char *text, *want;
	} cases[] = {
		{ "redis://geheim@h", "not the URL of a broker" },
		{ "amqp:", "not the URL of a broker" },
		{ "AMQP://h", "not the URL of a broker" },
		{ "amqp://", "no host" },
		{ "amqp://u:geheim@", "no host" },
		{ "amqp://a,b", "more than one host" },
		{ "amqp://h:0", "a port" },
		{ "amqp://h:65536", "a port" },
		{ "amqp://h:", "a port" },
		{ "amqp://h:5x", "a port" },
		{ "amqp://a b", "a host" },
		{ "amqp://[::1", "a [ without" },
		{ "amqp://[::1]x", "a host" },
		{ "amqp://[h]", "no IPv6" },
		{ "amqp://[1:2]", "a host" },
		{ "amqp://geheim%4@h", "user or password" },
		{ "amqp://u:geheim%zz@h", "user or password" },
		{ "amqp://u:geheim%00@localhost", "user or password" },
		{ "amqp://u:geheim%ff@localhost", "user or password" },
		{ "amqp://h/a/b", "the vhost" },
		{ "amqp://h/%", "the vhost" },
		{ "amqp://h/#a", "a # must" },
		{ "amqp://u:geheim@h", "the password would go unencrypted" },
		{ "amqp://u:geheim@127.0.0.1.example", "the password would go unencrypted" },
		{ "amqp://u:geheim@h?insecure=false", "the password would go unencrypted" },
		{ "amqp://h?insecure=yes", "the option insecure is not true or false" },
		{ "amqp://h?heartbeat=0", "the option heartbeat is not 1..3600" },
		{ "amqp://h?heartbeat", "an option without a value" },
		{ "amqp://h?security=ssl", "an option that this kind" },
		{ "amqp://h?geheim=1", "an option that this kind" },
		{ "amqp://h?heartbeat=1&heartbeat=2", "the option heartbeat is given twice" },
		{ "amqp://h?max_message=1", "the option max_message" },
		{ "kafka://a,", "no host" },
		{ "kafka://,a", "no host" },
		{ "kafka://h/topic", "a path" },
		{ "kafka://h?security=tls", "the option security is not plaintext, ssl" },
		{ "kafka://h?mechanism=scram", "the option mechanism" },
		{ "kafka://h?security=sasl_ssl", "security=sasl_… needs" },
		{ "kafka://u@h?security=sasl_ssl", "security=sasl_… needs" },
		{ "kafka://u:geheim@h?security=ssl", "a user needs security=sasl_ssl" },
		{ "kafka://u:geheim@127.0.0.1,h", "the password would go unencrypted" },
		{ "sqs://key:geheim@eu-west-1", "credentials of SQS" },
		{ "sqs://EU", "not the name of a region" },
		{ "sqs://x/y", "a path" },
		{ "sqs://x?account=1", "the option account is not 12 digits" },
		{ "sqs://x?visibility=2", "the option visibility is not 3..43200 seconds" },
		{ "sqs://x?endpoint=127.0.0.1", "the option endpoint" },
		{ "sqs://x?endpoint=https://geheim@h", "the option endpoint" },
		{ "sqs://x?endpoint=http://h:9324", "plain http to another machine" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct arena *arena = arena_new(0);
		struct broker_url url;
		struct error error;

		if (broker_url_parse(cases[i].text, arena, &url, &error) == 0)
			fail_msg("%s was taken", cases[i].text);
		if (!strstr(error.message, cases[i].want) || strstr(error.message, "geheim"))
			fail_msg("%s: got %s", cases[i].text, error.message);
		assert_int_equal(error.code, ERROR_INVALID);
		arena_free(&arena);
	}
}

static void insists_on_a_kind(void **state)
{
	struct arena *arena = arena_new(0);
	struct broker_url url;
	struct error error;

	(void)state;
	assert_int_equal(broker_url_parse_as(BROKER_AMQP, "amqps://h", arena, &url, &error), 0);
	assert_int_equal(broker_url_parse_as(BROKER_SQS, "amqps://h", arena, &url, &error), -1);
	assert_string_equal(error.message, "BROKER_URL does not begin with sqs://");
	assert_int_equal(broker_url_parse_as(BROKER_KAFKA, "", arena, &url, &error), -1);
	arena_free(&arena);
}

static void names_topics(void **state)
{
	static const struct {
		enum broker_kind kind;
		const char *queue, *topic, *want;
	} cases[] = {
		{ BROKER_AMQP, "a.b:c_d-e", NULL, "w.a.b:c_d-e" },
		{ BROKER_KAFKA, "a.b:c_d-e", NULL, "w.a.b-c_d-e" },
		{ BROKER_SQS, "a.b:c_d-e", NULL, "w-a-b-c_d-e" },
		{ BROKER_SQS, "a", "its.own", "its.own" },
	};
	struct arena *arena = arena_new(0);

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		assert_string_equal(
			broker_topic(cases[i].kind, "w.", cases[i].queue, cases[i].topic, arena),
			cases[i].want);
	arena_free(&arena);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(understands),
		cmocka_unit_test(refuses),
		cmocka_unit_test(insists_on_a_kind),
		cmocka_unit_test(names_topics),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
