/* SPDX-License-Identifier: Apache-2.0 */
/* The texts stay where jansson has put them. The few that are made here are kept in the same JSON
 * value, so that they live as long. */
#include "consumers/subscribe/sqs_message.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/base/arena.h"

#define HEADERS_MAX 32 /* SQS allows ten */

static const char *text_at(const json_t *object, const char *name)
{
	return json_string_value(json_object_get(object, name));
}

/* SQS writes numbers as text. */
static int64_t number_at(const json_t *object, const char *name)
{
	const char *text = text_at(object, name);

	return text ? strtoll(text, NULL, 10) : 0;
}

static void read_headers(struct message *message, json_t *attributes)
{
	size_t count = json_object_size(attributes);
	struct message_header *headers;
	const char *name;
	json_t *value;

	if (!count)
		return;
	headers = xcalloc(count < HEADERS_MAX ? count : HEADERS_MAX, sizeof(*headers));
	message->headers = headers;
	json_object_foreach(attributes, name, value)
	{
		const char *text = text_at(value, "StringValue"),
			   *type = text_at(value, "DataType");

		if (!text || !type || strncmp(type, "String", 6) != 0 ||
		    message->header_count == HEADERS_MAX)
			continue;
		if (!strcasecmp(name, "content-type"))
			message->content_type = text;
		headers[message->header_count++] = (struct message_header){ name, text };
	}
}

/* Keeps a text as long as the message. */
static const char *keep(struct sqs_message *message, struct strbuf *text)
{
	json_t *value = json_stringn(text->data, text->len);

	CHECK(value && json_object_set_new(message->json, "", value) == 0);
	strbuf_release(text);
	return json_string_value(value);
}

static const char *why_dead(struct sqs_message *message, const json_t *attributes)
{
	const char *source = text_at(attributes, "DeadLetterQueueSourceArn");
	struct strbuf text;

	strbuf_init(&text);
	strbuf_addstr(&text, "SQS gave it up: it was received too often without coming to an end");
	if (source)
		strbuf_printf(&text, " (from %.300s)", source);
	return keep(message, &text);
}

static void read_body(struct sqs_message *message, const json_t *body, size_t bytes_max)
{
	struct message *m = &message->delivery.message;
	struct strbuf text;

	m->body = json_string_value(body);
	m->body_bytes = json_string_length(body);
	if (m->body_bytes <= bytes_max)
		return;
	strbuf_init(&text);
	strbuf_printf(&text, "the message has %zu bytes; at most %zu are taken", m->body_bytes,
		      bytes_max);
	m->body = "";
	m->body_bytes = 0;
	CHECK(json_object_del(message->json, "Body") == 0);
	m->dead_reason = keep(message, &text);
}

struct sqs_message *sqs_message_new(json_t *json, bool dead, size_t body_bytes_max)
{
	json_t *attributes = json_object_get(json, "Attributes");
	const json_t *body = json_object_get(json, "Body");
	const char *handle = text_at(json, "ReceiptHandle"), *id = text_at(json, "MessageId");
	struct sqs_message *message;
	struct message *m;

	if (!json_is_string(body) || !handle || !id)
		return NULL;
	message = xcalloc(1, sizeof(*message));
	m = &message->delivery.message;
	list_init(&message->link);
	list_init(&message->visible.link);
	message->json = json_incref(json);
	message->handle = handle;
	message->delivery.feed_data = message;
	m->identity = id;
	m->time_ms = number_at(attributes, "SentTimestamp");
	m->key = text_at(attributes, "MessageGroupId");
	m->redelivered = number_at(attributes, "ApproximateReceiveCount") > 1;
	read_headers(m, json_object_get(json, "MessageAttributes"));
	if (dead)
		m->dead_reason = why_dead(message, attributes);
	read_body(message, body, body_bytes_max);
	return message;
}

void sqs_message_free(struct sqs_message **message)
{
	free((void *)(uintptr_t)(*message)->delivery.message.headers);
	json_decref((*message)->json);
	free(*message);
	*message = NULL;
}
