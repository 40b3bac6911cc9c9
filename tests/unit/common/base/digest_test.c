/* SPDX-License-Identifier: Apache-2.0 */
/* Published test vectors (FIPS 180-4, RFC 4648) and the texts that must not decode. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/digest.h"

static void sha256(void **state)
{
	static const struct {
		const char *text, *want;
	} cases[] = {
		{ "", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855" },
		{ "abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" },
		{ "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
		  "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1" },
	};
	uint8_t digest[SHA256_BYTES];
	char text[2 * SHA256_BYTES + 1];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		digest_sha256(cases[i].text, strlen(cases[i].text), digest);
		digest_hex(digest, sizeof(digest), text);
		assert_string_equal(text, cases[i].want);
	}
}

static void unhex(void **state)
{
	static const char *const bad[] = { "0", "0g", "g0", "012", "0x", " 0", "0:", "@0", "0`" };
	uint8_t data[8];

	(void)state;
	assert_true(digest_unhex("00fFa9Be", 8, data));
	assert_memory_equal(data, "\x00\xff\xa9\xbe", 4);
	assert_true(digest_unhex("", 0, data));
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		if (digest_unhex(bad[i], strlen(bad[i]), data))
			fail_msg("%s was taken for hex", bad[i]);
	}
}

static void equal(void **state)
{
	(void)state;
	assert_true(digest_equal("secret", "secret", 6));
	assert_false(digest_equal("secret", "secreT", 6));
	assert_true(digest_equal("secret", "secreT", 5));
}

static void base64(void **state)
{
	static const struct {
		const char *plain, *coded;
	} cases[] = {
		{ "", "" },
		{ "f", "Zg==" },
		{ "fo", "Zm8=" },
		{ "foo", "Zm9v" },
		{ "foob", "Zm9vYg==" },
		{ "fooba", "Zm9vYmE=" },
		{ "foobar", "Zm9vYmFy" },
		{ "\xfb\xff\xbf", "+/+/" },
	};
	struct arena *arena = arena_new(0);
	size_t bytes;
	void *data;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		size_t want = strlen(cases[i].plain);

		assert_string_equal(base64_encode(arena, cases[i].plain, want), cases[i].coded);
		assert_int_equal(
			base64_decode(arena, cases[i].coded, strlen(cases[i].coded), &data, &bytes),
			0);
		assert_int_equal(bytes, want);
		assert_memory_equal(data, cases[i].plain, want + 1);
	}
	arena_free(&arena);
}

static void base64_in_json(void **state)
{
	static const char want[] = "[{\"base64\":\"\"},{\"base64\":\"AP/+\"}";
	struct strbuf out;

	(void)state;
	strbuf_init(&out);
	strbuf_addch(&out, '[');
	base64_json(&out, NULL, 0);
	strbuf_addch(&out, ',');
	base64_json(&out, "\0\xff\xfe", 3);
	assert_string_equal(out.data, want);
	assert_int_equal(out.len, strlen(want));
	strbuf_release(&out);
}

static void base64_refuses(void **state)
{
	static const char *const bad[] = { "Z",      "Zg",   "Zg=",  "Zg===", "Zh==",
					   "Zm9=",   "====", "=Zg=", "Z===",  "Zg==Zg==",
					   "Zm9v\n", "Zm-_", "Zm 9", "Zg=a" };
	struct arena *arena = arena_new(0);
	size_t bytes;
	void *data;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		if (base64_decode(arena, bad[i], strlen(bad[i]), &data, &bytes) != -1)
			fail_msg("%s was decoded", bad[i]);
	}
	arena_free(&arena);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sha256),         cmocka_unit_test(unhex),
		cmocka_unit_test(equal),          cmocka_unit_test(base64),
		cmocka_unit_test(base64_in_json), cmocka_unit_test(base64_refuses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
