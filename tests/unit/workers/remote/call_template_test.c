/* SPDX-License-Identifier: Apache-2.0 */
/* ${env.NAME} in URLs and headers: only what is allowed, never silently, and no secret in a
 * message. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "workers/remote/call_template.h"

static const char *const allowed[] = { "PAY_URL", "TOKEN", "UNSET", NULL };

static const struct {
	const char *text, *want; /* want NULL: refused */
} cases[] = {
	{ "http://x/y", "http://x/y" },
	{ "", "" },
	{ "${env.PAY_URL}/charges", "https://pay.example/v1/charges" },
	{ "${env.PAY_URL}${env.TOKEN}", "https://pay.example/v1s3cret" },
	{ "$${env.TOKEN}", "${env.TOKEN}" },
	{ "$$${env.TOKEN}", "$${env.TOKEN}" },
	{ "$100 {x}", "$100 {x}" },
	{ "${env.HOME}", NULL },
	{ "${env.UNSET}", NULL },
	{ "${env.PAY}", NULL },
	{ "${env.PAY_URLX}", NULL },
	{ "${env.}", NULL },
	{ "${payload.url}", NULL },
	{ "${env.PAY_URL", NULL },
	{ "${", NULL },
	{ "x ${}", NULL },
};

static void expands(void **state)
{
	struct arena *arena = arena_new(0);

	(void)state;
	setenv("PAY_URL", "https://pay.example/v1", 1);
	setenv("TOKEN", "s3cret", 1);
	unsetenv("UNSET");
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct error error = { 0 };
		const char *got = call_template_expand(arena, cases[i].text, allowed, &error);

		if ((got == NULL) != (cases[i].want == NULL) ||
		    (got && strcmp(got, cases[i].want) != 0))
			fail_msg("%s: got %s", cases[i].text, got ? got : error.message);
		if (!got) {
			assert_int_equal(error.code, ERROR_INVALID);
			assert_null(strstr(error.message, "s3cret"));
		}
	}
	arena_free(&arena);
}

static void headers(void **state)
{
	struct arena *arena = arena_new(0);
	struct error error = { 0 };
	const char *const good[] = { "Authorization: Bearer ${env.TOKEN}", "${env.TOKEN}: x",
				     "Empty:", NULL };
	const char *const bad[] = { "no colon", NULL };
	const char *const refused[] = { "A: ${env.HOME}", NULL };
	const char *const *got = call_template_headers(arena, good, allowed, &error);

	(void)state;
	assert_non_null(got);
	assert_string_equal(got[0], "Authorization: Bearer s3cret");
	assert_string_equal(got[1], "${env.TOKEN}: x"); /* names are plain */
	assert_string_equal(got[2], "Empty:");
	assert_null(got[3]);
	assert_null(call_template_headers(arena, bad, allowed, &error));
	assert_null(call_template_headers(arena, refused, allowed, &error));
	got = call_template_headers(arena, NULL, allowed, &error);
	assert_non_null(got);
	assert_null(got[0]);
	arena_free(&arena);
}

/* Whose address a URL is: PAY_URL has a path of its own, ORIGIN has none, HOST is a name alone. */
static const struct {
	const char *url;
	bool fixed;
} urls[] = {
	{ "${env.PAY_URL}/charges", true },
	{ "${env.PAY_URL}.evil.example/", true }, /* that is in the path */
	{ "${env.PAY_URL}", true },
	{ "${env.ORIGIN}", true },
	{ "${env.ORIGIN}/x", true },
	{ "${env.ORIGIN}?q=https://evil.example/", true },
	{ "${env.ORIGIN}#x", true },
	{ "https://${env.HOST}/x", true },
	{ "http://${env.HOST}", true },
	{ "https://${env.HOST}?x", true },
	{ "${env.ORIGIN}.evil.example/", false },
	{ "${env.ORIGIN}@evil.example/", false },
	{ "${env.ORIGIN}:443@evil.example/", false },
	{ "${env.ORIGIN}:8080/", false },
	{ "${env.ORIGIN}\\@evil.example/", false },
	{ "${env.ORIGIN}\\evil.example/", false },
	{ "${env.ORIGIN};x", false },
	{ "https://${env.HOST}.evil.example/", false },
	{ "https://${env.HOST}@evil.example/", false },
	{ "https://${env.HOST}:1/", false },
	{ "https://user@${env.HOST}/", false },
	{ "https://x.${env.HOST}/", false },
	{ "https:/${env.HOST}/", false },
	{ "ftp://${env.HOST}/", false },
	{ "${env.HOST}/x", false },
	{ "${env.HOST}://evil.example/", false },
	{ "${env.EMPTY}https://evil.example/", false },
	{ "https://${env.EMPTY}/x", false },
	{ "https://${env.EMPTY}evil.example/", false },
	{ "https://pay.example/v1", false },
	{ "https://evil.example/${env.PAY_URL}", false },
	{ "$${env.PAY_URL}/x", false },
	{ " ${env.PAY_URL}/x", false },
	{ "", false },
};

static void tells_whose_address_it_is(void **state)
{
	static const char *const names[] = { "PAY_URL", "ORIGIN", "HOST", "EMPTY", NULL };
	struct arena *arena = arena_new(0);

	(void)state;
	setenv("PAY_URL", "https://pay.example/v1", 1);
	setenv("ORIGIN", "https://pay.example", 1);
	setenv("HOST", "pay.example", 1);
	setenv("EMPTY", "", 1);
	for (size_t i = 0; i < ARRAY_LEN(urls); i++) {
		struct error error = { 0 };
		bool fixed = !urls[i].fixed;

		if (!call_template_url(arena, urls[i].url, names, &fixed, &error))
			fail_msg("%s: %s", urls[i].url, error.message);
		if (fixed != urls[i].fixed)
			fail_msg("%s: got %d", urls[i].url, fixed);
	}
	arena_free(&arena);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(expands), cmocka_unit_test(headers),
					    cmocka_unit_test(tells_whose_address_it_is) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
