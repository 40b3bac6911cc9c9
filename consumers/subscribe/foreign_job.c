/* SPDX-License-Identifier: Apache-2.0 */
/* The envelope says what the message means; here it becomes a claimed_job. What the store would
 * refuse to keep (texts that are no UTF-8, names that are none) ends here. */
#include "consumers/subscribe/foreign_job.h"

#include <string.h>
#include <strings.h>

#include "common/base/digest.h"
#include "common/base/utf8.h"
#include "common/broker/envelope.h"
#include "common/job/webhook.h"
#include "common/json/json_text.h"

#define BODY_SHOWN_MAX (64 * 1024) /* of a body that is no JSON */
#define HEADERS_SHOWN  32
#define TEXT_SHOWN_MAX 1024 /* of a header, a key … */
#define DEFAULT_QUEUE  "default"

/* ---- payload of a message that is no job */

/* Not in the middle of a character. */
static size_t cut(const char *text, size_t bytes, size_t max)
{
	if (bytes <= max)
		return bytes;
	while (max > 0 && ((unsigned char)text[max] & 0xc0) == 0x80)
		max--;
	return max;
}

static void add_body(struct strbuf *out, struct arena *arena, const struct message *message)
{
	size_t bytes = cut(message->body, message->body_bytes, BODY_SHOWN_MAX);

	if (utf8_text(message->body, bytes)) {
		strbuf_addstr(out, "{\"text\":");
		strbuf_json_n(out, message->body, bytes);
	} else {
		strbuf_addstr(out, "{\"base64\":");
		strbuf_json(out, base64_encode(arena, message->body, bytes));
	}
	strbuf_printf(out, ",\"bytes\":%zu", message->body_bytes);
}

static void add_text(struct strbuf *out, const char *name, const char *text)
{
	if (!text)
		return;
	strbuf_json(out, name);
	strbuf_addch(out, ':');
	strbuf_json_n(out, text, cut(text, strlen(text), TEXT_SHOWN_MAX));
	strbuf_addch(out, ',');
}

static void add_broker(struct strbuf *out, const struct message *message)
{
	size_t count =
		message->header_count < HEADERS_SHOWN ? message->header_count : HEADERS_SHOWN;

	strbuf_addstr(out, ",\"broker\":{");
	add_text(out, "identity", message->identity);
	add_text(out, "content_type", message->content_type);
	add_text(out, "key", message->key);
	add_text(out, "reason", message->dead_reason);
	strbuf_printf(out, "\"time_ms\":%lld,\"headers\":[", (long long)message->time_ms);
	for (size_t i = 0; i < count; i++) {
		const struct message_header *header = &message->headers[i];

		strbuf_addstr(out, i ? ",[" : "[");
		strbuf_json(out, header->name);
		strbuf_addch(out, ',');
		strbuf_json_n(out, header->value,
			      cut(header->value, strlen(header->value), TEXT_SHOWN_MAX));
		strbuf_addch(out, ']');
	}
	strbuf_addstr(out, "]}}");
}

static void set_payload(struct claimed_job *job, const char *text, size_t bytes)
{
	job->payload = arena_strndup(job->arena, text, bytes);
	job->payload_bytes = bytes;
}

/* JSON stays what it is, so that the job may be run after all. */
static void refused_payload(struct claimed_job *job, const struct message *message,
			    size_t bytes_max)
{
	struct strbuf out;

	if (message->body_bytes && message->body_bytes <= bytes_max &&
	    json_text_check(message->body, message->body_bytes)) {
		set_payload(job, message->body, message->body_bytes);
		return;
	}
	strbuf_init(&out);
	add_body(&out, job->arena, message);
	add_broker(&out, message);
	set_payload(job, out.data, out.len);
	strbuf_release(&out);
}

/* ---- the job */

const char *foreign_job_refusal(struct arena *arena, const char *reason)
{
	bool text = utf8_text(reason, strlen(reason));

	return text ? arena_strdup(arena, reason) : "refused, for a reason that is no text";
}

static void set_type(struct claimed_job *job, const struct foreign_rules *rules, const char *name)
{
	const struct job_type *type = name ? definitions_type(rules->defs, name) : NULL;

	job->type = arena_strdup(job->arena, name ? name : FOREIGN_UNKNOWN_TYPE);
	job->queue = arena_strdup(job->arena, type ? type->queue : DEFAULT_QUEUE);
	job->priority = type ? type->priority : PRIORITY_NORMAL;
}

/* What its id is not dated by may still say how long it has waited. */
static int64_t created_ms(const struct message *message, const struct envelope_foreign *foreign,
			  int64_t now_ms)
{
	int64_t time_ms = foreign->time_ms ? foreign->time_ms : message->time_ms;

	return time_ms > 0 && time_ms < now_ms ? time_ms : now_ms;
}

struct claimed_job *foreign_job(const struct message *message, const struct foreign_rules *rules,
				const char *refusal)
{
	struct arena *arena = arena_new(0);
	struct claimed_job *job = ARENA_NEW(arena, struct claimed_job);
	struct envelope_rules envelope = {
		.source = rules->name,
		.type = rules->source ? rules->source->type : NULL,
		.identity_at_least_once = !rules->source || rules->source->identity_at_least_once,
		.payload_bytes_max = rules->payload_bytes_max,
		.now_ms = rules->now_ms,
	};
	struct envelope_foreign foreign;
	const char *why = NULL;
	bool read = envelope_read_foreign(message, &envelope, arena, &foreign, &why) == 0;

	*job = (struct claimed_job){
		.arena = arena,
		.id = foreign.id,
		.tenant = "",
		.owner = arena_printf(arena, "source:%s", rules->name),
		.payload = foreign.payload,
		.payload_bytes = foreign.payload_bytes,
		.attempt = 1,
		.traceparent = foreign.traceparent,
		.order_key = foreign.order_key,
		.created_ms = created_ms(message, &foreign, rules->now_ms),
		.unchecked = true,
		.source = arena_strdup(arena, rules->name),
		.delivered = true,
	};
	job->due_ms = job->created_ms;
	set_type(job, rules, foreign.type);
	if (read && !refusal && webhook_reserved(job->type))
		refusal = "types that begin with " RESERVED_PREFIX " are Windlass's own";
	if (refusal || !read)
		job->refusal = foreign_job_refusal(arena, refusal ? refusal : why);
	if (!read)
		refused_payload(job, message, rules->payload_bytes_max);
	return job;
}

const struct source_definition *foreign_job_buried(const struct definitions *defs,
						   const struct message *message)
{
	const char *queue = NULL;

	for (size_t i = 0; i < message->header_count && !queue; i++) {
		if (!strcasecmp(message->headers[i].name, "x-first-death-queue"))
			queue = message->headers[i].value;
	}
	for (size_t i = 0; queue && i < definitions_source_count(defs); i++) {
		const struct source_definition *source = definitions_source_at(defs, i);

		if (!strcmp(source->topic, queue))
			return source;
	}
	return NULL;
}

bool foreign_job_ordered(const struct claimed_job *job, const struct foreign_rules *rules,
			 struct uuid *lane_r)
{
	const struct queue_definition *queue = definitions_queue(rules->defs, job->queue);
	static const struct uuid space = { .b = { 0 } };
	bool by_queue = queue && queue->ordered;
	struct strbuf name;

	if (job->refusal || !job->order_key)
		return false;
	if (!by_queue && !(rules->source && rules->source->ordered))
		return false;
	strbuf_init(&name);
	strbuf_addstr(&name, by_queue ? "queue" : "source");
	strbuf_add(&name, "", 1);
	strbuf_addstr(&name, by_queue ? job->queue : rules->name);
	strbuf_add(&name, "", 1);
	strbuf_addstr(&name, job->order_key);
	uuid_named(&space, name.data, name.len, lane_r);
	strbuf_release(&name);
	return true;
}
