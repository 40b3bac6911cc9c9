/* SPDX-License-Identifier: Apache-2.0 */
/* The small parsers of outside text: times, durations, ids, hex, base64, names. What one takes must
 * come back the same when it is written and read again; and whatever the bytes, strbuf_json must
 * write a string that parses. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/base/arena.h"
#include "common/base/check.h"
#include "common/base/clock.h"
#include "common/base/digest.h"
#include "common/base/strbuf.h"
#include "common/base/uuid.h"
#include "common/job/job.h"
#include "common/json/json_text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static void fuzz_clock(const char *text)
{
	char written[CLOCK_TEXT];
	int64_t ms, again_ms;

	if (clock_parse(text, &ms) != 0)
		return;
	clock_format(ms, written);
	CHECK(clock_parse(written, &again_ms) == 0);
	CHECK(ms == again_ms);
}

static void fuzz_duration(const char *text)
{
	int64_t ms, again_ms;
	char written[24];

	if (duration_parse(text, &ms) != 0)
		return;
	CHECK(ms >= 0);
	CHECK(duration_parse(duration_format(ms, written), &again_ms) == 0);
	CHECK(ms == again_ms);
}

static void fuzz_uuid(const char *text, size_t bytes)
{
	char written[UUID_TEXT], hex[33];
	struct uuid id, again;

	if (uuid_parse_n(text, bytes, &id)) {
		CHECK(strncasecmp(uuid_format(&id, written), text, bytes) == 0);
		uuid_hex(&id, hex);
		CHECK(uuid_parse_hex(hex, &again) && uuid_equal(&id, &again));
	}
	if (bytes == 32 && uuid_parse_hex(text, &id)) {
		uuid_hex(&id, hex);
		CHECK(strncasecmp(hex, text, 32) == 0);
	}
}

static void fuzz_base64(struct arena *arena, const char *text, size_t bytes)
{
	size_t data_bytes;
	void *data;
	char *again;

	if (base64_decode(arena, text, bytes, &data, &data_bytes) == 0) {
		again = base64_encode(arena, data, data_bytes);
		CHECK(strlen(again) == bytes && memcmp(again, text, bytes) == 0);
	}
	again = base64_encode(arena, text, bytes);
	CHECK(base64_decode(arena, again, strlen(again), &data, &data_bytes) == 0);
	CHECK(data_bytes == bytes && memcmp(data, text, bytes) == 0);
}

static void fuzz_hex(struct arena *arena, const char *text, size_t bytes)
{
	uint8_t *data = arena_alloc(arena, bytes / 2 + 1);
	char *again = arena_alloc(arena, bytes + 1);

	if (digest_unhex(text, bytes, data)) {
		digest_hex(data, bytes / 2, again);
		CHECK(strncasecmp(again, text, bytes) == 0);
	}
}

static void fuzz_json_string(const char *text, size_t bytes)
{
	json_t *plain = json_stringn(text, bytes), *read;
	struct json_error error;
	struct strbuf sb;

	strbuf_init(&sb);
	strbuf_json_n(&sb, text, bytes);
	read = json_text_parse(sb.data, sb.len, &error);
	CHECK((read == NULL) == (bytes > 0 && memchr(text, '\0', bytes) != NULL));
	/* jansson makes a string of valid UTF-8 only, and that must come through as it is. */
	if (plain && read)
		CHECK(json_equal(plain, read));
	json_decref(plain);
	json_decref(read);
	strbuf_release(&sb);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	const char *text = (const char *)data;
	struct arena *arena = arena_new(0);
	char *copy = malloc(bytes + 1);

	/* In memory of its exact size, unlike in the arena, so that a sanitizer sees a step too
	 * far. */
	CHECK(copy != NULL);
	if (bytes > 0)
		memcpy(copy, text, bytes);
	copy[bytes] = '\0';
	fuzz_clock(copy);
	fuzz_duration(copy);
	fuzz_uuid(text, bytes);
	fuzz_base64(arena, text, bytes);
	fuzz_hex(arena, text, bytes);
	fuzz_json_string(text, bytes);
	if (job_name_valid(copy))
		CHECK(strlen(copy) <= JOB_TYPE_MAX);
	free(copy);
	arena_free(&arena);
	return 0;
}
