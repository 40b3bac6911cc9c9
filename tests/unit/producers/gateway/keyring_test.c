/* SPDX-License-Identifier: Apache-2.0 */
/* Key lines, who is found, and what scopes allow. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/check.h"
#include "common/base/digest.h"
#include "producers/gateway/keyring.h"

#define HASH   "0000000000000000000000000000000000000000000000000000000000000000"
#define NOW_MS INT64_C(1800000000000)

static struct keyring *ring_of(struct arena *arena, const char *token, const char *rest)
{
	uint8_t hash[SHA256_BYTES];
	char hex[2 * SHA256_BYTES + 1];
	struct error err;

	digest_sha256(token, strlen(token), hash);
	digest_hex(hash, sizeof(hash), hex);
	struct keyring *ring = keyring_parse(arena_printf(arena, "hash=%s %s", hex, rest), &err);
	if (!ring)
		fail_msg("%s", err.message);
	return ring;
}

static void finds(void **state)
{
	struct arena *arena = arena_new(0);
	struct keyring *ring = ring_of(arena, "wl_web_secret_with_lines",
				       "id=web tenant=acme scopes=enqueue:order.*,read");
	const struct caller *caller = keyring_find(ring, "Bearer wl_web_secret_with_lines", NOW_MS);
	static const char *const wrong[] = {
		"",
		"Bearer",
		"Bearer ",
		"Bearer wl_",
		"Bearer wl_web",
		"Bearer wl_web_",
		"Bearer wl__secret_with_lines",
		"Bearer wl_web_secret_with_line",
		"Bearer wl_web_secret_with_linesx",
		"Bearer wl_we_secret_with_lines",
		"Basic wl_web_secret_with_lines",
		"wl_web_secret_with_lines",
		"Bearer xl_web_secret_with_lines",
	};

	(void)state;
	assert_non_null(caller);
	assert_string_equal(caller->id, "web");
	assert_string_equal(caller->tenant, "acme");
	assert_non_null(keyring_find(ring, "bearer   wl_web_secret_with_lines", NOW_MS));
	assert_null(keyring_find(ring, NULL, NOW_MS));
	for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
		if (keyring_find(ring, wrong[i], NOW_MS))
			fail_msg("%s was taken", wrong[i]);
	}
	keyring_free(&ring);
	arena_free(&arena);
}

static void expires(void **state)
{
	struct arena *arena = arena_new(0);
	struct keyring *ring =
		ring_of(arena, "wl_a_b", "id=a scopes=read expires=2027-01-15T08:00:00Z");

	(void)state;
	assert_non_null(keyring_find(ring, "Bearer wl_a_b", NOW_MS - 1));
	assert_null(keyring_find(ring, "Bearer wl_a_b", NOW_MS));
	keyring_free(&ring);
	arena_free(&arena);
}

static void scopes(void **state)
{
	struct arena *arena = arena_new(0);
	struct keyring *ring =
		ring_of(arena, "wl_a_b", "id=a scopes=enqueue:order.*,cancel,enqueue:mail.send");
	const struct caller *caller = keyring_find(ring, "Bearer wl_a_b", NOW_MS);

	(void)state;
	assert_true(caller_may_enqueue(caller, "order.checkout", "q"));
	assert_true(caller_may_enqueue(caller, "mail.send", "q"));
	assert_false(caller_may_enqueue(caller, "mail.sendx", "q"));
	assert_false(caller_may_enqueue(caller, "order", "q"));
	assert_true(caller_may(caller, SCOPE_CANCEL) && caller_may(caller, SCOPE_ENQUEUE) &&
		    caller_may(caller, SCOPE_NONE));
	assert_false(caller_may(caller, SCOPE_READ) || caller_may(caller, SCOPE_ADMIN));
	assert_string_equal(caller_reach(caller, SCOPE_CANCEL).tenant, "");
	assert_null(caller_reach(caller_anybody(), SCOPE_READ).tenant);
	assert_true(caller_may(caller_anybody(), SCOPE_READ) &&
		    caller_may_enqueue(caller_anybody(), "x", "q"));
	keyring_free(&ring);
	arena_free(&arena);
}

static void admin_of_a_tenant_sees_it_only(void **state)
{
	struct arena *arena = arena_new(0);
	struct keyring *bound = ring_of(arena, "wl_a_b", "id=a tenant=t scopes=admin");
	struct keyring *free_one = ring_of(arena, "wl_a_b", "id=a scopes=admin");

	(void)state;
	assert_string_equal(
		caller_reach(keyring_find(bound, "Bearer wl_a_b", NOW_MS), SCOPE_READ).tenant, "t");
	assert_false(keyring_find(bound, "Bearer wl_a_b", NOW_MS)->everywhere);
	assert_true(keyring_find(free_one, "Bearer wl_a_b", NOW_MS)->everywhere);
	keyring_free(&bound);
	keyring_free(&free_one);
	arena_free(&arena);
}

static void reads_lists(void **state)
{
	struct error err;
	struct keyring *ring = keyring_parse("# ours\n\nid=a hash=" HASH
					     " scopes=read\n;id=a hash=" HASH " scopes=read;\n",
					     &err);

	(void)state;
	assert_non_null(ring);
	assert_false(keyring_empty(ring));
	keyring_free(&ring);
	ring = keyring_parse(" \n;", &err);
	assert_true(keyring_empty(ring));
	keyring_free(&ring);
}

static void refuses(void **state)
{
	static const char *const cases[] = {
		"id=a",
		"id=a hash=" HASH,
		"hash=" HASH " scopes=read",
		"id=a scopes=read",
		"id=a hash=00 scopes=read",
		"id=a_b hash=" HASH " scopes=read",
		"id= hash=" HASH " scopes=read",
		"id=a hash=" HASH " scopes=write",
		"id=a hash=" HASH " scopes=enqueue:",
		"id=a hash=" HASH " scopes=",
		"id=a hash=" HASH " scopes=read expires=soon",
		"id=a hash=" HASH " scopes=read colour=red",
		"id=a hash=" HASH " scopes=read tenant=-",
		"id=a hash=" HASH " scopes=admin:x",
		"id=a hash=" HASH " scopes=read:",
		"id=a hash=" HASH " scopes=read:a[bc]",
		"id=a hash=" HASH " scopes=read:queue=",
		"id=a hash=" HASH " scopes=read:a+b",
		"id=a hash=" HASH " scopes=read:queue=a+queue=b",
		"id=a hash=" HASH " scopes=read rate=5",
		"id=a hash=" HASH " scopes=read rate=0/s",
		"id=a hash=" HASH " scopes=read rate=-1/s",
		"id=a hash=" HASH " scopes=read rate=1/h",
		"id=a hash=" HASH " scopes=read burst=5",
		"id=a hash=" HASH " scopes=read rate=1/s burst=0",
		"id=a hash=" HASH " scopes=read waiting=0",
		"id=a hash=" HASH " scopes=read waiting=10k",
		"read",
		"id=a hash=" HASH " scopes=read;id=a hash=" HASH " scopes=read;id=a hash=" HASH
		" scopes=read",
	};
	struct error err;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		if (keyring_parse(cases[i], &err))
			fail_msg("%s was taken", cases[i]);
		if (strncmp(err.message, "WINDLASS_API_KEYS: key ", 23) != 0)
			fail_msg("%s: %s", cases[i], err.message);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(finds),       cmocka_unit_test(expires),
		cmocka_unit_test(scopes),      cmocka_unit_test(admin_of_a_tenant_sees_it_only),
		cmocka_unit_test(reads_lists), cmocka_unit_test(refuses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
