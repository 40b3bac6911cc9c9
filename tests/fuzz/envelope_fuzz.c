/* SPDX-License-Identifier: Apache-2.0 */
/* A message of any bytes, from a queue of ours and from sources of every kind: what is taken is a
 * job within every limit, with an id of its own; what is not has a reason that can be stored. */
#include <stdint.h>
#include <string.h>

#include "common/base/check.h"
#include "common/base/utf8.h"
#include "common/broker/envelope.h"
#include "common/broker/message.h"
#include "common/json/json_text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

#define NOW INT64_C(1763879000000)

static void check_foreign(const struct message *message, const struct envelope_rules *rules)
{
	struct arena *arena = arena_new(0);
	struct envelope_foreign job, again;
	const char *why;
	int rc = envelope_read_foreign(message, rules, arena, &job, &why);

	CHECK(uuid_version(&job.id) == 8 && job.time_ms >= 0);
	CHECK(!job.order_key || (strlen(job.order_key) <= JOB_KEY_MAX &&
				 utf8_text(job.order_key, strlen(job.order_key))));
	if (rc == 0) {
		CHECK(job.type && job_name_valid(job.type));
		CHECK(job.payload_bytes <= rules->payload_bytes_max &&
		      strlen(job.payload) == job.payload_bytes &&
		      json_text_check(job.payload, job.payload_bytes));
	} else {
		CHECK(why && *why);
	}
	CHECK(envelope_read_foreign(message, rules, arena, &again, &why) == rc);
	if (message->identity || rc < 0)
		CHECK(uuid_equal(&job.id, &again.id));
	arena_free(&arena);
}

/* The first byte says which way it comes; the rest is the body, or attributes up to a line end
 * each and then the body. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	static const char *const names[] = { "ce_id", "ce_source", "ce_type", "content-type" };
	struct message_header headers[5] = { { "ce_specversion", "1.0" } };
	struct envelope_rules rules = { .source = "s", .payload_bytes_max = 4096, .now_ms = NOW };
	struct message message = { .headers = headers, .identity = "t/0/1", .time_ms = NOW };
	struct arena *arena = arena_new(0);
	const char *text, *end, *why;
	struct uuid id, batch;
	int attempt;
	uint8_t way = bytes ? data[0] : 0;

	text = (const char *)data + (bytes > 0);
	end = (const char *)data + bytes;
	(void)!envelope_read_job(text, (size_t)(end - text), &id, &batch, &attempt, &why);
	for (size_t i = 0; (way & 1) && i < ARRAY_LEN(names); i++) {
		const char *line = text ? memchr(text, '\n', (size_t)(end - text)) : NULL;

		if (!line)
			break;
		headers[i + 1].name = names[i];
		headers[i + 1].value = arena_strndup(arena, text, (size_t)(line - text));
		message.header_count = i + 2;
		text = line + 1;
	}
	message.body = text;
	message.body_bytes = (size_t)(end - text);
	rules.type = way & 2 ? "a.type" : NULL;
	rules.identity_at_least_once = way & 4;
	message.identity = way & 8 ? NULL : message.identity;
	message.time_ms = way & 16 ? 0 : message.time_ms;
	message.content_type = way & 32 ? ENVELOPE_CONTENT_TYPE : NULL;
	check_foreign(&message, &rules);
	arena_free(&arena);
	return 0;
}
