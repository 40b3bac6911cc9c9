/* SPDX-License-Identifier: Apache-2.0 */
/* Which form of an answer an Accept header asks for. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/base/check.h"
#include "producers/gateway/graphql_accept.h"

static const struct {
	const char *header;
	enum graphql_accept want;
} cases[] = {
	{ NULL, ACCEPT_GRAPHQL },
	{ "", ACCEPT_GRAPHQL },
	{ "*/*", ACCEPT_GRAPHQL },
	{ "application/*", ACCEPT_GRAPHQL },
	{ "application/json", ACCEPT_JSON },
	{ "application/json, */*", ACCEPT_JSON },
	{ "text/event-stream", ACCEPT_EVENTS },
	{ "application/graphql-response+json, application/json;q=0.9", ACCEPT_GRAPHQL },
	{ "application/graphql-response+json;q=0.5, application/json", ACCEPT_JSON },
	{ "application/json ; charset=utf-8 ; q=0.2,text/event-stream;q=0.3", ACCEPT_EVENTS },
	{ "APPLICATION/JSON", ACCEPT_JSON },
	{ "image/png", ACCEPT_NONE },
	{ "application/json;q=0", ACCEPT_NONE },
	{ "image/png, application/json;q=0.1", ACCEPT_JSON },
	{ ",,;", ACCEPT_NONE },
};

static void header_to_form(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		if (graphql_accept_read(cases[i].header) != cases[i].want)
			fail_msg("%s: got %d, want %d",
				 cases[i].header ? cases[i].header : "(none)",
				 (int)graphql_accept_read(cases[i].header), (int)cases[i].want);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(header_to_form),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
