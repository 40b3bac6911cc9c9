/* SPDX-License-Identifier: Apache-2.0 */
/* Reading what other services send. Everything here comes from outside: the text is checked once as
 * strictly as a request's, then read in slices; the first thing that is wrong is the reason of a
 * dead letter, and reading goes on for what the letter's identity needs. */
#include <stdarg.h>
#include <string.h>
#include <strings.h>

#include "common/base/clock.h"
#include "common/base/digest.h"
#include "common/base/utf8.h"
#include "common/broker/envelope.h"
#include "common/broker/message.h"
#include "common/json/json_text.h"

#define EVENT_TYPE "application/cloudevents"
#define AHEAD_MS   (24 * INT64_C(3600000)) /* a time further ahead is nobody's */

struct event { /* what a CloudEvent says; all may be NULL */
	const char *specversion, *id, *source, *type, *time, *datacontenttype;
	const char *partitionkey, *traceparent;
};

static const struct attribute {
	const char *name;
	size_t offset; /* in struct event */
} attributes[] = {
	{ "specversion", offsetof(struct event, specversion) },
	{ "id", offsetof(struct event, id) },
	{ "source", offsetof(struct event, source) },
	{ "type", offsetof(struct event, type) },
	{ "time", offsetof(struct event, time) },
	{ "datacontenttype", offsetof(struct event, datacontenttype) },
	{ "partitionkey", offsetof(struct event, partitionkey) },
	{ "traceparent", offsetof(struct event, traceparent) },
};

struct reading {
	const struct message *message;
	const struct envelope_rules *rules;
	struct arena *arena;
	struct event event;
	struct json_slice payload; /* absent: none */
	const char *why;           /* the first thing that is wrong */
};

static void refuse(struct reading *r, const char *fmt, ...) printf_like(2, 3);
static void refuse(struct reading *r, const char *fmt, ...)
{
	va_list args;

	if (r->why)
		return;
	va_start(args, fmt);
	r->why = arena_vprintf(r->arena, fmt, args);
	va_end(args);
}

static const char **attribute(struct event *event, const char *name, size_t bytes)
{
	for (size_t i = 0; i < ARRAY_LEN(attributes); i++) {
		if (strlen(attributes[i].name) == bytes &&
		    memcmp(attributes[i].name, name, bytes) == 0)
			return (const char **)(void *)((char *)event + attributes[i].offset);
	}
	return NULL;
}

static bool is_type(const char *content_type, size_t bytes, const char *type)
{
	return bytes == strlen(type) && strncasecmp(content_type, type, bytes) == 0;
}

/* application/json, text/json, or something+json; parameters do not matter. */
static bool is_json_type(const char *content_type)
{
	size_t bytes = strcspn(content_type, "; \t");

	return is_type(content_type, bytes, "application/json") ||
	       is_type(content_type, bytes, "text/json") ||
	       (bytes > 5 && is_type(content_type + bytes - 5, 5, "+json"));
}

static const char *header(const struct message *message, const char *name)
{
	for (size_t i = 0; i < message->header_count; i++) {
		if (strcasecmp(message->headers[i].name, name) == 0)
			return message->headers[i].value;
	}
	return NULL;
}

static const char *content_type(const struct message *message)
{
	return message->content_type ? message->content_type : header(message, "content-type");
}

/* ---- JSON */

static bool check_json(struct reading *r, const char *text, size_t bytes, const char *what)
{
	struct json_error error;
	json_t *value;

	if (json_text_check(text, bytes))
		return true;
	value = json_text_parse(text, bytes, &error);
	CHECK(!value);
	refuse(r, "%s is not JSON: line %d, column %d: %s", what, error.line, error.column,
	       error.message);
	return false;
}

static void take_base64(struct reading *r, struct json_slice value)
{
	const char *text = json_slice_string(r->arena, value);
	void *data;
	size_t bytes;

	if (!text || base64_decode(r->arena, text, strlen(text), &data, &bytes) != 0)
		refuse(r, "`data_base64` is not base64");
	else if (check_json(r, data, bytes, "what `data_base64` holds"))
		r->payload = (struct json_slice){ data, bytes };
}

/* A null is as good as nothing. */
static void take_member(struct reading *r, const struct json_member *member)
{
	const char **field = attribute(&r->event, member->key.text, member->key.bytes);
	bool data = json_slice_is(member->key, "data"),
	     base64 = json_slice_is(member->key, "data_base64");

	if (json_slice_is(member->value, "null"))
		return;
	if ((data || base64) && r->payload.bytes)
		refuse(r, "both `data` and `data_base64`");
	else if (data)
		r->payload = member->value;
	else if (base64)
		take_base64(r, member->value);
	else if (field && !*field) {
		*field = json_slice_string(r->arena, member->value);
		if (!*field)
			refuse(r, "`%.*s` is not a text", (int)member->key.bytes, member->key.text);
	}
}

/* ---- the three forms */

static void read_structured(struct reading *r)
{
	struct json_slice body = { r->message->body, r->message->body_bytes };
	struct json_member member;
	const char *cursor = NULL;
	int more;

	if (!check_json(r, body.text, body.bytes, "the event"))
		return;
	while ((more = json_slice_next(body, &cursor, &member)) == 1)
		take_member(r, &member);
	if (more < 0)
		refuse(r, "the event is not a JSON object");
}

/* Behind the prefix of a CloudEvents attribute, or NULL. */
static const char *attribute_name(const char *header_name)
{
	static const char *const prefixes[] = { "ce_", "ce-", "cloudEvents_", "cloudEvents:" };

	for (size_t i = 0; i < ARRAY_LEN(prefixes); i++) {
		if (strncasecmp(header_name, prefixes[i], strlen(prefixes[i])) == 0)
			return header_name + strlen(prefixes[i]);
	}
	return NULL;
}

static void read_binary(struct reading *r)
{
	const struct message *message = r->message;

	for (size_t i = 0; i < message->header_count; i++) {
		const char *name = attribute_name(message->headers[i].name);
		const char **field = name ? attribute(&r->event, name, strlen(name)) : NULL;

		if (field && !*field)
			*field = arena_strdup(r->arena, message->headers[i].value);
	}
	r->event.datacontenttype = content_type(message);
	if (message->body_bytes &&
	    (!r->event.datacontenttype || is_json_type(r->event.datacontenttype)) &&
	    check_json(r, message->body, message->body_bytes, "the data"))
		r->payload = (struct json_slice){ message->body, message->body_bytes };
}

/* Senders that cannot set a content type, or do not think of it, send events all the same. */
static bool looks_structured(const struct message *message)
{
	static const char *const needed[] = { "specversion", "id", "source", "type" };
	struct json_slice body = { message->body, message->body_bytes };

	for (size_t i = 0; i < ARRAY_LEN(needed); i++) {
		if (json_slice_get(body, needed[i]).bytes == 0)
			return false;
	}
	return true;
}

static void read_plain(struct reading *r)
{
	if (!r->rules->type)
		refuse(r, "not a CloudEvent, and its source names no type");
	if (check_json(r, r->message->body, r->message->body_bytes, "the message"))
		r->payload = (struct json_slice){ r->message->body, r->message->body_bytes };
}

static void check_event(struct reading *r)
{
	const struct event *event = &r->event;
	const char *const needed[] = { event->id, event->source, event->type };
	static const char *const names[] = { "id", "source", "type" };
	int64_t time_ms;

	if (!event->specversion || strcmp(event->specversion, "1.0") != 0)
		refuse(r, "`specversion` is not 1.0");
	for (size_t i = 0; i < ARRAY_LEN(needed); i++) {
		if (!needed[i] || !*needed[i])
			refuse(r, "the event has no `%s`", names[i]);
	}
	if (event->datacontenttype && !is_json_type(event->datacontenttype))
		refuse(r, "the event's data is not JSON by its `datacontenttype`");
	if (event->time && clock_parse(event->time, &time_ms) != 0)
		refuse(r, "`time` is not an RFC 3339 time");
}

static void read_form(struct reading *r)
{
	const char *type = content_type(r->message);
	size_t prefix = strlen(EVENT_TYPE);

	if (type && strncasecmp(type, EVENT_TYPE, prefix) == 0) {
		if (is_type(type + prefix, strcspn(type + prefix, "; \t"), "+json"))
			read_structured(r);
		else if (strncasecmp(type + prefix, "-batch", 6) == 0)
			refuse(r, "a batch of events; expected one event a message");
		else
			refuse(r, "an event in a format other than JSON");
	} else if (header(r->message, "ce_specversion") || header(r->message, "ce-specversion") ||
		   header(r->message, "cloudEvents_specversion") ||
		   header(r->message, "cloudEvents:specversion")) {
		read_binary(r);
	} else if (looks_structured(r->message)) {
		read_structured(r);
	} else {
		read_plain(r);
		return;
	}
	check_event(r);
}

/* ---- identity */

static bool usable(const struct reading *r, int64_t time_ms)
{
	return time_ms > 0 && time_ms <= r->rules->now_ms + AHEAD_MS;
}

/* Time of the event, or 0. */
static int64_t event_time(const struct reading *r)
{
	int64_t time_ms;

	if (!r->event.time || clock_parse(r->event.time, &time_ms) != 0)
		return 0;
	return usable(r, time_ms) ? time_ms : 0;
}

/* The time of a UUIDv7, or 0. */
static int64_t dated_time(const struct reading *r, const char *identity)
{
	struct uuid id;

	if (!identity || !uuid_parse(identity, &id) || uuid_version(&id) != 7)
		return 0;
	return usable(r, uuid_time_ms(&id)) ? uuid_time_ms(&id) : 0;
}

/* It must be the same whenever the message comes again. A sender that repeats an event repeats what
 * the event says, while the broker stamps each sending anew; a message that has only the broker's
 * identity has the broker's time. 0: undated. */
static int64_t own_time(const struct reading *r, bool event)
{
	int64_t time_ms = event                            ? event_time(r)
			  : usable(r, r->message->time_ms) ? r->message->time_ms
							   : 0;

	return time_ms ? time_ms : dated_time(r, event ? r->event.id : r->message->identity);
}

static void name_id(const struct reading *r, const char *const *parts, size_t count,
		    struct envelope_foreign *foreign_r)
{
	struct uuid space = { .b = { 0 } };
	struct strbuf name;

	for (int i = 0; i < 6; i++)
		space.b[i] = (uint8_t)(foreign_r->time_ms >> (40 - 8 * i));
	strbuf_init(&name);
	strbuf_add(&name, r->rules->source, strlen(r->rules->source) + 1);
	for (size_t i = 0; i < count; i++)
		strbuf_add(&name, parts[i], strlen(parts[i]) + 1);
	if (!count)
		strbuf_add(&name, r->message->body, r->message->body_bytes);
	uuid_named_dated(&space, name.data, name.len, &foreign_r->id);
	strbuf_release(&name);
}

/* Nothing names it: it runs as often as it is delivered, if its source says so. */
static void identify_nameless(struct reading *r, struct envelope_foreign *foreign_r)
{
	struct uuid fresh;
	char text[UUID_TEXT];
	const char *parts[] = { "fresh", text };

	foreign_r->time_ms = r->rules->now_ms;
	if (!r->rules->identity_at_least_once)
		refuse(r, "nothing names the message: neither an event's source and id nor a "
			  "message id; `identity: at_least_once` would take it");
	uuid_v7(&fresh);
	uuid_format(&fresh, text);
	name_id(r, parts, r->why ? 0 : ARRAY_LEN(parts), foreign_r);
}

static void identify(struct reading *r, struct envelope_foreign *foreign_r)
{
	const struct event *event = &r->event;
	bool named = event->source && *event->source && event->id && *event->id;
	const char *event_parts[] = { "event", event->source, event->id };
	const char *message_parts[] = { "message", r->message->identity };

	if (!named && !r->message->identity) {
		identify_nameless(r, foreign_r);
		return;
	}
	foreign_r->time_ms = own_time(r, named);
	if (named)
		name_id(r, event_parts, ARRAY_LEN(event_parts), foreign_r);
	else
		name_id(r, message_parts, ARRAY_LEN(message_parts), foreign_r);
}

/* ---- the job */

/* Keys are only compared: one that the store could not keep as it is gives way to its hash. */
static const char *order_key(struct reading *r)
{
	const char *key = r->event.partitionkey ? r->event.partitionkey : r->message->key;
	size_t bytes = key ? strlen(key) : 0;
	uint8_t digest[SHA256_BYTES];
	char *text;

	if (!bytes)
		return NULL;
	if (bytes <= JOB_KEY_MAX && utf8_text(key, bytes))
		return arena_strndup(r->arena, key, bytes);
	digest_sha256(key, bytes, digest);
	text = arena_alloc(r->arena, 2 * SHA256_BYTES + 1);
	digest_hex(digest, SHA256_BYTES, text);
	return text;
}

static const char *traceparent(struct reading *r)
{
	const char *text = r->event.traceparent;

	if (!text)
		text = header(r->message, "traceparent");
	return text && job_traceparent_valid(text) ? arena_strdup(r->arena, text) : NULL;
}

int envelope_read_foreign(const struct message *message, const struct envelope_rules *rules,
			  struct arena *arena, struct envelope_foreign *foreign_r,
			  const char **why_r)
{
	struct reading r = { .message = message, .rules = rules, .arena = arena };

	*foreign_r = (struct envelope_foreign){ 0 };
	read_form(&r);
	foreign_r->type = rules->type ? rules->type : r.event.type;
	if (foreign_r->type && !job_name_valid(foreign_r->type)) {
		refuse(&r, "the event's `type` is not the name of a job type");
		foreign_r->type = NULL;
	}
	if (r.payload.bytes > rules->payload_bytes_max)
		refuse(&r, "a payload of %zu bytes; at most %zu are taken", r.payload.bytes,
		       rules->payload_bytes_max);
	identify(&r, foreign_r);
	foreign_r->payload = "{}";
	foreign_r->payload_bytes = 2;
	if (r.payload.bytes && !r.why) {
		foreign_r->payload = arena_strndup(arena, r.payload.text, r.payload.bytes);
		foreign_r->payload_bytes = r.payload.bytes;
	}
	foreign_r->order_key = order_key(&r);
	foreign_r->traceparent = traceparent(&r);
	*why_r = r.why;
	return r.why ? -1 : 0;
}
