/* SPDX-License-Identifier: Apache-2.0 */
/* OAuth 2.0 tokens with a clock of its own: the request, which answers hold a token, when the next
 * one is asked for, and what a 401 does. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/check.h"
#include "workers/remote/token.h"

#define S INT64_C(1000000000)

static struct token_source *source_new(void)
{
	return token_source_new("https://id/token", "me & you", "s:cr/t", "a b");
}

static int answer(struct token_source *source, int status, const char *body, int64_t now_ns)
{
	struct error error;
	int result = token_take(source, status, body, strlen(body), now_ns, &error);

	assert_true(result == 0 || !strstr(error.message, "hunter2"));
	return result;
}

static void asks_as_the_standard_says(void **state)
{
	struct token_source *source = source_new();
	struct strbuf form, authorization;

	(void)state;
	strbuf_init(&form);
	strbuf_init(&authorization);
	token_request(source, &form, &authorization);
	assert_string_equal(form.data, "grant_type=client_credentials&scope=a+b");
	/* me+%26+you:s%3Acr%2Ft */
	assert_string_equal(authorization.data,
			    "Authorization: Basic bWUrJTI2K3lvdTpzJTNBY3IlMkZ0");
	strbuf_release(&form);
	strbuf_release(&authorization);
	token_source_free(&source);
}

static const struct {
	int status;
	const char *body;
} bad[] = {
	{ 400, "{\"error\":\"invalid_client\",\"access_token\":\"hunter2\"}" },
	{ 500, "{\"access_token\":\"hunter2\"}" },
	{ 200, "" },
	{ 200, "hunter2" },
	{ 200, "[\"hunter2\"]" },
	{ 200, "{\"access_token\":\"\"}" },
	{ 200, "{\"access_token\":5}" },
	{ 200, "{\"access_token\":\"hunter2\\r\\nX: y\"}" },
	{ 200, "{\"access_token\":\"hun ter2\"}" },
	{ 200, "{\"access_token\":\"hunter2\",\"token_type\":\"mac\"}" },
};

static void takes_only_tokens(void **state)
{
	struct token_source *source = source_new();

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		if (answer(source, bad[i].status, bad[i].body, S) == 0)
			fail_msg("taken: %s", bad[i].body);
	}
	assert_false(token_good(source, S));
	assert_int_equal(
		answer(source, 200, "{\"access_token\":\"t.1-~+/=\",\"token_type\":\"Bearer\"}", S),
		0);
	assert_string_equal(source->header, "Authorization: Bearer t.1-~+/=");
	assert_true(token_good(source, 300 * S));
	assert_false(token_good(source, 302 * S));
	token_source_free(&source);
}

static void asks_again_before_it_expires(void **state)
{
	struct token_source *source = source_new();

	(void)state;
	assert_true(token_wanted(source, 0));
	source->fetching = true;
	assert_false(token_wanted(source, 0)); /* one at a time */
	source->fetching = false;
	assert_int_equal(answer(source, 200, "{\"access_token\":\"a\",\"expires_in\":3600}", 0), 0);
	assert_false(token_wanted(source, 3539 * S));
	assert_true(token_wanted(source, 3540 * S));
	assert_true(token_good(source, 3540 * S));
	assert_int_equal(answer(source, 200, "{\"access_token\":\"b\",\"expires_in\":10}", 0), 0);
	assert_false(token_wanted(source, 8 * S));
	assert_true(token_wanted(source, 9 * S));
	assert_false(token_good(source, 10 * S));
	token_source_free(&source);
}

static void a_401_makes_one_new_token(void **state)
{
	struct token_source *source = source_new();

	(void)state;
	assert_int_equal(answer(source, 200, "{\"access_token\":\"a\"}", 0), 0);
	assert_true(token_refused(source, 1, S));
	assert_false(token_good(source, S));
	assert_true(token_refused(source, 1, S)); /* of the same token: with the next one, too */
	assert_int_equal(answer(source, 200, "{\"access_token\":\"b\"}", 2 * S), 0);
	assert_true(token_refused(source, 1, 3 * S)); /* the newer one was not refused */
	assert_true(token_good(source, 3 * S));
	assert_false(token_refused(source, 2, 3 * S)); /* it is not the token, then */
	assert_true(token_good(source, 3 * S));
	assert_true(token_refused(source, 2, 12 * S));
	token_source_free(&source);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(asks_as_the_standard_says),
		cmocka_unit_test(takes_only_tokens),
		cmocka_unit_test(asks_again_before_it_expires),
		cmocka_unit_test(a_401_makes_one_new_token),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
