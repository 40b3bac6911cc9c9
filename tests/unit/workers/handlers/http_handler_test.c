/* SPDX-License-Identifier: Apache-2.0 */
/* `http:` templates filled in for a job: every place and what a payload must not do there. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/arena.h"
#include "common/config/definitions.h"
#include "workers/handlers/http_handler.h"

static const char payload[] =
	"{\"who\":\"it's \\\"me\\\"\",\"path\":\"a/b?c#d%\",\"n\":-7,\"dots\":\"..\",\"nil\":null,\"crlf\":\"x\\r\\nY: z\","
	"\"list\":[1,{\"k\":\"v\"}],\"utf8\":\"\\u00e9\",\"url\":\"https://other.test/x?y=1\",\"empty\":\"\"}";

static const struct {
	const char *members; /* of http, YAML */
	const char *url;     /* NULL: refused */
	const char *header, *body;
} cases[] = {
	{ "url: 'https://h/${payload.path}'", "https://h/a%2Fb%3Fc%23d%25", NULL, NULL },
	{ "url: 'https://h/x?q=${payload.who}&n=${payload.n}'",
	  "https://h/x?q=it%27s%20%22me%22&n=-7", NULL, NULL },
	{ "url: 'https://h/x?q=${payload.list}'", "https://h/x?q=%5B1%2C%7B%22k%22%3A%22v%22%7D%5D",
	  NULL, NULL },
	{ "url: 'https://h/${payload.utf8}/${job.type}/${job.attempt}/${job.id}'",
	  "https://h/%C3%A9/send/3/0193abcd-0000-7000-8000-000000000001", NULL, NULL },
	{ "url: '${env.HTTP_HANDLER_TEST}/y'", "https://base.test/v1/y", NULL, NULL },
	{ "url: 'https://h/$${x}'", "https://h/${x}", NULL, NULL },
	{ "url: 'https://h/${payload.dots}'", NULL, NULL, NULL },
	{ "url: 'https://h/${payload.empty}'", NULL, NULL, NULL },
	{ "url: 'https://h/x?q=${payload.empty}'", "https://h/x?q=", NULL, NULL },
	{ "url: 'https://h/${payload.nil}'", NULL, NULL, NULL },
	{ "url: 'https://h/${payload.missing}'", NULL, NULL, NULL },
	{ "url: '${payload.url}', url_from_payload: true", "https://other.test/x?y=1", NULL, NULL },
	{ "url: 'https://${payload.crlf}/', url_from_payload: true", NULL, NULL, NULL },
	{ "url: 'https://h/', headers: {X-Who: 'by ${payload.who}'}", "https://h/",
	  "X-Who: by it's \"me\"", NULL },
	{ "url: 'https://h/', headers: {X-Who: '${payload.crlf}'}", NULL, NULL, NULL },
	{ "url: 'https://h/', headers: {X-Key: '${call.key}'}", "https://h/", "X-Key: k-1", NULL },
	{ "url: 'https://h/', body: '${payload}'", "https://h/", NULL, payload },
	{ "url: 'https://h/', body: '{\"w\": ${payload.who}, \"m\": ${payload.missing}}'",
	  "https://h/", NULL, "{\"w\": \"it's \\\"me\\\"\", \"m\": null}" },
	{ "url: 'https://h/', body: {w: '${payload.who}', t: 'by ${payload.who}!', l: ['${payload.list}', 1, '1', true, null], \"q\\\"\": '\"'}",
	  "https://h/", NULL,
	  "{\"w\":\"it's \\\"me\\\"\",\"t\":\"by it's \\\"me\\\"!\",\"l\":[[1,{\"k\":\"v\"}],1,\"1\",true,null],\"q\\\"\":\"\\\"\"}" },
	{ "url: 'https://h/', body: {}", "https://h/", NULL, "{}" },
	{ "url: 'https://h/${env.HTTP_HANDLER_TEST_UNSET}'", NULL, NULL, NULL },
};

static void fills_in(void **state)
{
	(void)state;
	setenv("HTTP_HANDLER_TEST", "https://base.test/v1", 1);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct claimed_job job = { .arena = arena_new(0),
					   .type = "send",
					   .attempt = 3,
					   .payload = payload,
					   .payload_bytes = strlen(payload) };
		char *yaml =
			arena_printf(job.arena, "jobs: {send: {http: {%s}}}\n", cases[i].members);
		struct definitions *defs = definitions_parse(yaml, strlen(yaml), "t.yaml", stderr);
		struct http_parts parts;
		struct error error = { 0 };
		int rc;

		assert_non_null(defs);
		assert_true(uuid_parse("0193abcd-0000-7000-8000-000000000001", &job.id));
		rc = http_handler_parts(&definitions_type(defs, "send")->http, &job, "k-1", &parts,
					&error);
		if ((rc == 0) != (cases[i].url != NULL))
			fail_msg("%s: %d %s", cases[i].members, rc, error.message);
		if (rc == 0 && strcmp(parts.url, cases[i].url) != 0)
			fail_msg("%s: got %s", cases[i].members, parts.url);
		if (rc == 0 && cases[i].header)
			assert_string_equal(parts.headers[0], cases[i].header);
		if (rc == 0 && cases[i].body)
			assert_string_equal(parts.body, cases[i].body);
		if (rc < 0)
			assert_int_equal(error.code, strstr(cases[i].members, "UNSET")
							     ? ERROR_UNAVAILABLE
							     : ERROR_INVALID);
		definitions_unref(&defs);
		arena_free(&job.arena);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(fills_in) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
