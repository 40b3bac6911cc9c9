/* SPDX-License-Identifier: Apache-2.0 */
/* Watch tokens: of one job, for an hour, in one spelling. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "producers/gateway/watch_token.h"

#define NOW_MS INT64_C(1800000000000)
#define OLD    "oooooooooooooooooooooooooooooooo"
#define NEW    "nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn"

static struct watch_keys keys_of(const char *text)
{
	struct watch_keys keys;
	struct error err;

	if (watch_keys_parse(text, &keys, &err) < 0)
		fail_msg("%s", err.message);
	return keys;
}

static void lasts_an_hour(void **state)
{
	struct watch_keys keys = keys_of(OLD);
	char text[WATCH_TOKEN_TEXT];
	struct uuid id, other;

	(void)state;
	uuid_v7(&id);
	uuid_v7(&other);
	watch_token_make(&keys, &id, NOW_MS, text);
	assert_int_equal(strlen(text), WATCH_TOKEN_TEXT - 1);
	assert_true(watch_token_check(&keys, &id, text, NOW_MS));
	assert_true(watch_token_check(&keys, &id, text, NOW_MS + WATCH_TOKEN_MS - 1));
	assert_false(watch_token_check(&keys, &id, text, NOW_MS + WATCH_TOKEN_MS));
	assert_false(watch_token_check(&keys, &other, text, NOW_MS));
}

static void has_one_spelling(void **state)
{
	struct watch_keys keys = keys_of(OLD);
	char text[WATCH_TOKEN_TEXT + 1] = "";
	struct uuid id;

	(void)state;
	uuid_v7(&id);
	watch_token_make(&keys, &id, NOW_MS, text);
	for (size_t i = 0; i < (WATCH_TOKEN_TEXT - 1) * 8; i++) {
		text[i / 8] ^= (char)(1 << i % 8);
		if (watch_token_check(&keys, &id, text, NOW_MS))
			fail_msg("with bit %zu flipped: %s", i, text);
		text[i / 8] ^= (char)(1 << i % 8);
	}
	assert_true(watch_token_check(&keys, &id, text, NOW_MS));
	text[WATCH_TOKEN_TEXT - 1] = '0';
	assert_false(watch_token_check(&keys, &id, text, NOW_MS));
	text[WATCH_TOKEN_TEXT - 2] = 0;
	assert_false(watch_token_check(&keys, &id, text, NOW_MS));
	assert_false(watch_token_check(&keys, &id, "", NOW_MS));
}

static void secrets_are_changed(void **state)
{
	struct watch_keys before = keys_of(OLD), between = keys_of(NEW "," OLD),
			  after = keys_of(NEW);
	char first[WATCH_TOKEN_TEXT], second[WATCH_TOKEN_TEXT];
	struct uuid id;

	(void)state;
	uuid_v7(&id);
	watch_token_make(&before, &id, NOW_MS, first);
	watch_token_make(&between, &id, NOW_MS, second);
	assert_true(watch_token_check(&between, &id, first, NOW_MS));
	assert_false(watch_token_check(&after, &id, first, NOW_MS));
	assert_true(watch_token_check(&after, &id, second, NOW_MS));
	assert_false(watch_token_check(&before, &id, second, NOW_MS));
}

static void refuses(void **state)
{
	static const char *const cases[] = { "x", (OLD ","), (OLD ",x"), (OLD "," NEW "," OLD),
					     ("," OLD) };
	struct watch_keys keys;
	struct error err;

	(void)state;
	assert_int_equal(watch_keys_parse("", &keys, &err), 0);
	assert_int_equal(keys.count, 0);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		/* a comma at the end promises nothing */
		int want = i == 1 ? 0 : -1;
		if (watch_keys_parse(cases[i], &keys, &err) != want)
			fail_msg("case %zu: %s", i, cases[i]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lasts_an_hour),
		cmocka_unit_test(has_one_spelling),
		cmocka_unit_test(secrets_are_changed),
		cmocka_unit_test(refuses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
