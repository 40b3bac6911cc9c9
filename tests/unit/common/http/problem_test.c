/* SPDX-License-Identifier: Apache-2.0 */
/* Problem documents: members in order, left out when absent, text escaped. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/check.h"
#include "common/http/problem.h"

static const struct problem_place places[] = {
	{ .pointer = "/a~1b", .keyword = "pattern", .detail = "no \"quotes\"" }, { 0 }
};

static const struct {
	const char *name;
	struct problem problem;
	const char *want;
} cases[] = {
	{ "bare",
	  { .status = 404 },
	  "{\"type\":\"about:blank\",\"title\":\"Not Found\",\"status\":404}\n" },
	{ "slug and detail",
	  { .status = 422, .slug = "invalid", .detail = "a\nb", .instance = "/x" },
	  "{\"type\":\"urn:windlass:problem:invalid\",\"title\":\"Unprocessable Content\",\"status\":422,"
	  "\"detail\":\"a\\nb\",\"instance\":\"/x\"}\n" },
	{ "own title",
	  { .status = 418, .title = "Teapot" },
	  "{\"type\":\"about:blank\",\"title\":\"Teapot\",\"status\":418}\n" },
	{ "unknown status",
	  { .status = 599 },
	  "{\"type\":\"about:blank\",\"title\":\"Error\",\"status\":599}\n" },
	{ "places",
	  { .status = 422, .places = places, .place_count = 2 },
	  "{\"type\":\"about:blank\",\"title\":\"Unprocessable Content\",\"status\":422,"
	  "\"errors\":[{\"pointer\":\"/a~1b\",\"keyword\":\"pattern\",\"detail\":\"no \\\"quotes\\\"\"},{\"pointer\":\"\"}]}\n" },
	{ "line and column",
	  { .status = 400, .line = 3, .column = 14 },
	  "{\"type\":\"about:blank\",\"title\":\"Bad Request\",\"status\":400,\"line\":3,\"column\":14}\n" },
};

static void writes(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct strbuf out;
		strbuf_init(&out);
		problem_write(&cases[i].problem, &out);
		if (strcmp(out.data, cases[i].want) != 0)
			fail_msg("%s: got %s want %s", cases[i].name, out.data, cases[i].want);
		strbuf_release(&out);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(writes) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
