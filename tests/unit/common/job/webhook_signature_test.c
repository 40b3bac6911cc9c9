/* SPDX-License-Identifier: Apache-2.0 */
/* Signatures by the vectors that the specification's own libraries are tested with, and which texts
 * are keys. That a stock verifier takes them, and nothing else, is tests/scenario/test_webhooks.py.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/check.h"
#include "common/job/webhook_signature.h"

#define PUBLISHED "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
#define SECOND    "whsec_a2tra2tra2tra2tra2tra2tra2tra2tr" /* 24 times k */

static const struct {
	const char *name, *keys, *id;
	int64_t timestamp_s;
	const char *body, *want;
} vectors[] = {
	{ "published", PUBLISHED, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330,
	  "{\"test\": 2432232314}", "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=" },
	{ "another key", SECOND, "id", 5, "x", "v1,cNsmYEryCdnNQai8pGA2GA59Raz61+HNd1472NOJPgc=" },
	{ "both", PUBLISHED " " SECOND, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330,
	  "{\"test\": 2432232314}", "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE= v1," },
};

static void signs_as_published(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(vectors); i++) {
		struct arena *arena = arena_new(0);
		struct webhook_keys keys;
		struct error error;
		const char *got;

		assert_int_equal(webhook_keys_parse(vectors[i].keys, &keys, &error), 0);
		got = webhook_sign(arena, &keys, vectors[i].id, vectors[i].timestamp_s,
				   vectors[i].body, strlen(vectors[i].body));
		if (strncmp(got, vectors[i].want, strlen(vectors[i].want)) != 0)
			fail_msg("%s: got %s, want %s", vectors[i].name, got, vectors[i].want);
		assert_int_equal(strlen(got), keys.count * 47 + keys.count - 1);
		arena_free(&arena);
	}
}

/* Whatever is different, the signature is. */
static void covers_everything(void **state)
{
	static const struct {
		const char *id;
		int64_t timestamp_s;
		const char *body;
	} others[] = { { "id", 5, "x" }, { "ie", 5, "x" },  { "id", 6, "x" },
		       { "id", 5, "y" }, { "id", 5, "x " }, { "id.5", 5, "x" } };
	struct arena *arena = arena_new(0);
	const char *first = NULL;
	struct webhook_keys keys;
	struct error error;

	(void)state;
	assert_int_equal(webhook_keys_parse(SECOND, &keys, &error), 0);
	for (size_t i = 0; i < ARRAY_LEN(others); i++) {
		const char *got = webhook_sign(arena, &keys, others[i].id, others[i].timestamp_s,
					       others[i].body, strlen(others[i].body));

		if (first && strcmp(first, got) == 0)
			fail_msg("signature %zu is that of the first", i);
		first = first ? first : got;
	}
	arena_free(&arena);
}

static const struct {
	const char *text;
	int count; /* -1: refused */
} texts[] = {
	{ "", 0 },
	{ " ,\n", 0 },
	{ PUBLISHED, 1 },
	{ PUBLISHED "\n", 1 },
	{ PUBLISHED "," SECOND, 2 },
	{ PUBLISHED ", " SECOND, 2 },
	{ PUBLISHED " " SECOND " " SECOND, -1 },
	{ "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", -1 },
	{ "whsec_", -1 },
	{ "whsec_a2tra2s=", -1 }, /* 5 bytes */
	{ "whsec_!!!!", -1 },
	{ "whsec_"
	  "a2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2tr",
	  -1 }, /* 66 bytes */
};

static void keys_are_checked(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		struct webhook_keys keys;
		struct error error = { 0 };
		int rc = webhook_keys_parse(texts[i].text, &keys, &error);
		int got = rc < 0 ? -1 : (int)keys.count;

		if (got != texts[i].count)
			fail_msg("\"%s\": got %d, want %d", texts[i].text, got, texts[i].count);
		/* A refusal holds no part of a key. */
		if (rc < 0 && strstr(error.message, "a2tr"))
			fail_msg("%s", error.message);
	}
}

static void wiped(void **state)
{
	static const struct webhook_keys nothing;
	struct webhook_keys keys;
	struct error error;

	(void)state;
	assert_int_equal(webhook_keys_parse(PUBLISHED, &keys, &error), 0);
	webhook_keys_wipe(&keys);
	assert_memory_equal(&keys, &nothing, sizeof(keys));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(signs_as_published),
		cmocka_unit_test(covers_everything),
		cmocka_unit_test(keys_are_checked),
		cmocka_unit_test(wiped),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
