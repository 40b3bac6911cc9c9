/* SPDX-License-Identifier: Apache-2.0 */
/* Entries are named by their place in the batch, "0" to "9". */
#include "common/broker/sqs_batch.h"

#include <string.h>

#include "common/base/check.h"
#include "common/base/digest.h"
#include "common/broker/sqs_client.h"

#define GROUP_BYTES_MAX 128
#define ATTRIBUTE_TYPE  "String"

void sqs_batch_begin(struct sqs_batch *batch, const char *queue_url)
{
	batch->count = batch->bytes = 0;
	strbuf_init(&batch->text);
	strbuf_addstr(&batch->text, "{\"QueueUrl\":");
	strbuf_json(&batch->text, queue_url);
	strbuf_addstr(&batch->text, ",\"Entries\":[");
}

void sqs_batch_end(struct sqs_batch *batch)
{
	CHECK(batch->count > 0);
	strbuf_addstr(&batch->text, "]}");
}

static void begin_entry(struct sqs_batch *batch)
{
	CHECK(batch->count < SQS_BATCH_MAX);
	strbuf_printf(&batch->text, "%s{\"Id\":\"%zu\"", batch->count ? "," : "", batch->count);
	batch->count++;
}

static void add_text(struct sqs_batch *batch, const char *name, const char *value)
{
	strbuf_printf(&batch->text, ",\"%s\":", name);
	strbuf_json(&batch->text, value);
}

static size_t attribute_size(const char *name, const char *value)
{
	return value ? strlen(name) + sizeof(ATTRIBUTE_TYPE) - 1 + strlen(value) : 0;
}

size_t sqs_message_size(const struct sqs_outgoing *message)
{
	return message->body_bytes + attribute_size("content-type", message->content_type) +
	       attribute_size("traceparent", message->traceparent);
}

bool sqs_batch_fits(const struct sqs_batch *batch, size_t bytes, size_t bytes_max)
{
	if (batch->count == 0)
		return true;
	return batch->count < SQS_BATCH_MAX && bytes <= bytes_max &&
	       batch->bytes <= bytes_max - bytes;
}

/* U+FFFE and U+FFFF are no characters to SQS. In JSON they can only be inside a string, where their
 * escape says the same. */
static void add_body(struct strbuf *text, const char *body, size_t bytes)
{
	const char *at = body, *end = body + bytes, *found;
	struct strbuf clean;

	if (!memmem(body, bytes, "\xef\xbf\xbe", 3) && !memmem(body, bytes, "\xef\xbf\xbf", 3)) {
		strbuf_json_n(text, body, bytes);
		return;
	}
	strbuf_init(&clean);
	while ((found = memmem(at, (size_t)(end - at), "\xef\xbf", 2)) && end - found > 2) {
		strbuf_add(&clean, at, (size_t)(found - at));
		if (found[2] == '\xbe' || found[2] == '\xbf')
			strbuf_addstr(&clean, found[2] == '\xbe' ? "\\ufffe" : "\\uffff");
		else
			strbuf_add(&clean, found, 3);
		at = found + 3;
	}
	strbuf_add(&clean, at, (size_t)(end - at));
	strbuf_json_n(text, clean.data, clean.len);
	strbuf_release(&clean);
}

static void add_attribute(struct strbuf *text, const char *name, const char *value, bool first)
{
	strbuf_printf(text, "%s\"%s\":{\"DataType\":\"" ATTRIBUTE_TYPE "\",\"StringValue\":",
		      first ? "" : ",", name);
	strbuf_json(text, value);
	strbuf_addch(text, '}');
}

void sqs_batch_add_message(struct sqs_batch *batch, const struct sqs_outgoing *message)
{
	bool typed = message->content_type != NULL;

	begin_entry(batch);
	batch->bytes += sqs_message_size(message);
	strbuf_addstr(&batch->text, ",\"MessageBody\":");
	add_body(&batch->text, message->body, message->body_bytes);
	if (typed || message->traceparent) {
		strbuf_addstr(&batch->text, ",\"MessageAttributes\":{");
		if (typed)
			add_attribute(&batch->text, "content-type", message->content_type, true);
		if (message->traceparent)
			add_attribute(&batch->text, "traceparent", message->traceparent, !typed);
		strbuf_addch(&batch->text, '}');
	}
	if (message->group)
		add_text(batch, "MessageGroupId", message->group);
	if (message->deduplication)
		add_text(batch, "MessageDeduplicationId", message->deduplication);
	strbuf_addch(&batch->text, '}');
}

void sqs_batch_add_handle(struct sqs_batch *batch, const char *handle)
{
	begin_entry(batch);
	add_text(batch, "ReceiptHandle", handle);
	strbuf_addch(&batch->text, '}');
}

void sqs_batch_add_visibility(struct sqs_batch *batch, const char *handle, int64_t visible_s)
{
	CHECK(visible_s >= 0 && visible_s <= SQS_VISIBILITY_MAX_S);
	begin_entry(batch);
	add_text(batch, "ReceiptHandle", handle);
	strbuf_addstr(&batch->text, ",\"VisibilityTimeout\":");
	strbuf_addi(&batch->text, visible_s);
	strbuf_addch(&batch->text, '}');
}

/* Place of an entry in its batch; count or more: none of ours. */
static size_t place_of(const json_t *entry)
{
	const char *id = json_string_value(json_object_get(entry, "Id"));

	return id && id[0] >= '0' && id[0] <= '9' && !id[1] ? (size_t)(id[0] - '0') : SQS_BATCH_MAX;
}

void sqs_batch_read(const json_t *answer, size_t count, enum sqs_verdict verdicts_r[SQS_BATCH_MAX])
{
	const json_t *done = json_object_get(answer, "Successful");
	const json_t *failed = json_object_get(answer, "Failed");

	CHECK(count <= SQS_BATCH_MAX);
	for (size_t i = 0; i < SQS_BATCH_MAX; i++)
		verdicts_r[i] = SQS_ENTRY_LATER;
	for (size_t i = 0; i < json_array_size(done); i++) {
		size_t at = place_of(json_array_get(done, i));

		if (at < count)
			verdicts_r[at] = SQS_ENTRY_DONE;
	}
	for (size_t i = 0; i < json_array_size(failed); i++) {
		const json_t *entry = json_array_get(failed, i);
		const char *code = json_string_value(json_object_get(entry, "Code"));
		bool ours = json_is_true(json_object_get(entry, "SenderFault"));
		size_t at = place_of(entry);

		if (at >= count)
			continue;
		/* Too many requests are called the sender's fault too. */
		verdicts_r[at] = ours && !sqs_code_is_throttle(code ? code : "") ? SQS_ENTRY_REFUSED
										 : SQS_ENTRY_LATER;
	}
}

void sqs_group_id(const char *key, char group_r[129])
{
	uint8_t digest[SHA256_BYTES];
	size_t bytes = strlen(key);
	bool plain = bytes > 0 && bytes <= GROUP_BYTES_MAX;

	for (size_t i = 0; plain && i < bytes; i++)
		plain = key[i] > ' ' && key[i] < 0x7f;
	if (plain) {
		memcpy(group_r, key, bytes + 1);
		return;
	}
	digest_sha256(key, bytes, digest);
	digest_hex(digest, sizeof(digest), group_r);
}
