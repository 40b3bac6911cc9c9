/* SPDX-License-Identifier: Apache-2.0 */
/* Every byte that could end a header line or a request, plain and in overlong UTF-8, at the front,
 * in the middle and at the end of everything of a call that becomes part of its head: method, URL,
 * header names and values, idempotency key. None may reach the server, and what looks odd and is
 * harmless must. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/check.h"
#include "tests/unit/workers/remote/asker.h"
#include "tests/unit/workers/remote/stub_server.h"

static struct remote *remote;
static struct stub_server *server;

/* How CR, LF, NUL, blank and colon look in too many bytes, and bytes that are no UTF-8 at all. */
static const char *const disguises[] = {
	"\xc0\x8d",
	"\xc0\x8a",
	"\xe0\x80\x8d",
	"\xe0\x80\x8a",
	"\xc0\x80",
	"\xf0\x80\x80\x8a",
	"\xf8\x80\x80\x80\x8a",
	"\xfc\x80\x80\x80\x80\x8a",
	"\xc0\xa0",
	"\xc0\xba",
	"\xed\xa0\x8a",
	"\xf4\x90\x80\x8a",
	"\x8a",
	"\x8d",
	"\xff",
	"\xc4",
	"\xc0",
	"\xe5\x98",
	"\xc1\xbf",
};

static const char *const ends[] = {
	"\r\nX-Injected: 1",
	"\nX-Injected: 1",
	"\rX-Injected: 1",
	"\r\n\r\nGET /injected HTTP/1.1\r\nHost: x\r\n\r\n",
	"\n\nGET /injected HTTP/1.1\n\n",
	"\r\n X-Folded: 1",
	"\v",
	"\f",
};

enum place { IN_METHOD, IN_URL, IN_HEADER_NAME, IN_HEADER_VALUE, IN_KEY, PLACES };

static int setup(void **state)
{
	struct error error;

	(void)state;
	signal(SIGPIPE, SIG_IGN);
	server = stub_server_new(false, NULL);
	remote = remote_new(NULL, &error);
	return remote ? 0 : -1;
}

static int teardown(void **state)
{
	(void)state;
	remote_free(&remote);
	stub_server_free(&server);
	return 0;
}

/* One call with the text at this place. */
static struct asked ask_with(enum place place, const char *text)
{
	char url[1024], header[1024];
	const char *headers[] = { header, NULL };

	snprintf(url, sizeof(url), "http://127.0.0.1:%d/%s", stub_server_port(server),
		 place == IN_URL ? text : "ok");
	snprintf(header, sizeof(header), "%s: %s", place == IN_HEADER_NAME ? text : "X-Test",
		 place == IN_HEADER_VALUE ? text : "v");
	return ask(remote, &(struct remote_request){
				   .method = place == IN_METHOD ? text : "POST",
				   .url = url,
				   .headers = headers,
				   .body = "{}",
				   .body_bytes = 2,
				   .idempotency_key = place == IN_KEY ? text : "key",
				   .timeout_ms = 5000,
				   .response_bytes_max = 1000,
			   });
}

static int refuse_everywhere(const char *hostile, bool tab)
{
	static const char *const formats[] = { "%s", "a%s", "%sa", "a%sa" };
	int cases = 0;

	for (int place = 0; place < PLACES; place++) {
		if (tab && place == IN_HEADER_VALUE)
			continue;
		for (size_t i = 0; i < ARRAY_LEN(formats); i++) {
			char text[512];
			struct asked asked;

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
			snprintf(text, sizeof(text), formats[i], hostile);
#pragma GCC diagnostic pop
			asked = ask_with((enum place)place, text);
			if (asked.fate != REMOTE_NOT_SENT || !asked.refused || !asked.error[0])
				fail_msg("place %d, \"%s\": fate %d, refused %d, %s", place, text,
					 asked.fate, asked.refused, asked.error);
			cases++;
		}
	}
	return cases;
}

static void nothing_hostile_is_sent(void **state)
{
	int cases = 0;

	(void)state;
	for (int c = 1; c <= 0x7f; c = c == 0x1f ? 0x7f : c + 1) {
		char text[2] = { (char)c, 0 };

		cases += refuse_everywhere(text, c == '\t');
	}
	for (size_t i = 0; i < ARRAY_LEN(disguises); i++)
		cases += refuse_everywhere(disguises[i], false);
	for (size_t i = 0; i < ARRAY_LEN(ends); i++)
		cases += refuse_everywhere(ends[i], false);
	assert_int_equal(stub_server_connections(server), 0);
	assert_true(cases > 1000);
	print_message("# table security {\"area\": \"Header injection\", \"requirement\": "
		      "\"C0, DEL and overlong UTF-8 in method, URL, header names, values and key "
		      "of a call\", \"cases\": %d}\n",
		      cases);
}

static void what_is_only_odd_arrives(void **state)
{
	static const char *const values[] = { "\ta b\t", "caf\xc3\xa9",       "%0d%0aX-Injected: 1",
					      "\\r\\n",  "\xe5\x98\x8a",      "\xc4\x8a",
					      "a: b",    "\xf0\x9f\x98\x80;", "\"<>&'" };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(values); i++) {
		const char *body, *head;
		size_t bytes;

		assert_int_equal(ask_with(IN_HEADER_VALUE, values[i]).fate, REMOTE_ANSWERED);
		head = stub_server_last(server, &body, &bytes);
		assert_null(strstr(head, "\nX-Injected"));
	}
	assert_int_equal(ask_with(IN_URL, "ok?x=%0d%0a").fate, REMOTE_ANSWERED);
	assert_int_equal(ask_with(IN_METHOD, "PROPFIND").fate, REMOTE_ANSWERED);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_hostile_is_sent),
		cmocka_unit_test(what_is_only_odd_arrives),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
