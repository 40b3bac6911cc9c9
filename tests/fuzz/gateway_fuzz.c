/* SPDX-License-Identifier: Apache-2.0 */
/* What the gateway reads from outside by itself: targets, Prefer and wait, cursors, keys,
 * Authorization, Host and Origin. The first byte says which; what is taken must be within its
 * limits. */
#include <stdint.h>
#include <string.h>
#include <strings.h>

#include "common/base/check.h"
#include "common/http/target.h"
#include "producers/gateway/cursor.h"
#include "producers/gateway/keyring.h"
#include "producers/gateway/origin.h"
#include "producers/gateway/wait_time.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static void try_target(struct arena *arena, const char *text)
{
	struct target target;
	const char *why = NULL;

	if (target_parse(arena, text, &target, &why) < 0) {
		CHECK(why);
		return;
	}
	CHECK(text[0] == '/' && target.segment_count <= TARGET_SEGMENTS_MAX &&
	      target.param_count <= TARGET_PARAMS_MAX);
	for (size_t i = 0; i < target.segment_count; i++)
		CHECK(!strpbrk(target.segments[i], "\r\n"));
	for (size_t i = 0; i < target.param_count; i++)
		CHECK(target_param(&target, target.params[i].name) == target.params[i].value);
}

static void try_wait(struct arena *arena, const char *text)
{
	int64_t wait_ms;
	bool preferred;

	(void)arena;
	CHECK(wait_time_parse(NULL, text, &wait_ms, &preferred));
	CHECK(wait_ms >= 0 && wait_ms <= WAIT_MAX_MS);
	if (wait_time_parse(text, NULL, &wait_ms, &preferred))
		CHECK(wait_ms >= 0 && wait_ms <= WAIT_MAX_MS && !preferred);
}

static void try_cursor(struct arena *arena, const char *text)
{
	struct job_filter filter = { .type = "a" };
	char again[CURSOR_TEXT];

	(void)arena;
	if (!cursor_parse(text, &filter))
		return;
	cursor_format(&filter, &filter.before, again);
	CHECK(strcasecmp(text, again) == 0);
}

static void try_keys(struct arena *arena, const char *text)
{
	struct error err;
	struct keyring *ring = keyring_parse(text, &err);

	(void)arena;
	if (ring)
		CHECK(!keyring_find(ring, text, 0));
	keyring_free(&ring);
}

static void try_authorization(struct arena *arena, const char *text)
{
	static struct keyring *ring;
	struct error err;

	if (!ring)
		ring = keyring_parse(arena_printf(arena, "id=a scopes=read hash=%064d", 0), &err);
	CHECK(ring && !keyring_find(ring, text, 0));
}

static void try_origin(struct arena *arena, const char *text)
{
	struct error err;
	struct origin_list *list = origin_list_parse(text, &err);

	(void)arena;
	if (list)
		CHECK(!origin_list_has(list, "*") && !origin_list_has(list, "null") &&
		      !origin_list_has(list, ""));
	origin_list_free(&list);
	if (origin_host_is_loopback(text, 8080, strlen(text) % 2))
		CHECK(strstr(text, ":8080") || strstr(text, ":0"));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	static void (*const tries[])(struct arena *, const char *) = {
		try_target, try_wait, try_cursor, try_keys, try_authorization, try_origin,
	};
	struct arena *arena;

	if (bytes == 0 || bytes > 8192)
		return 0;
	arena = arena_new(0);
	tries[data[0] % ARRAY_LEN(tries)](arena,
					  arena_strndup(arena, (const char *)data + 1, bytes - 1));
	arena_free(&arena);
	return 0;
}
