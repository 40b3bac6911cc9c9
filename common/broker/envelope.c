/* SPDX-License-Identifier: Apache-2.0 */
/* Writing messages. Members come in a fixed order, what readers look for before the data. Texts
 * that the store has checked are copied as they are. */
#include "common/broker/envelope.h"

#include <string.h>

#include "common/base/clock.h"
#include "common/json/json_text.h"

#define JOB_SOURCE    "/windlass/queues/"
#define RESULT_SOURCE "/windlass/jobs"

/* Everything up to the extensions; the object stays open. */
static void add_head(struct strbuf *out, const struct uuid *id, int64_t time_ms,
		     const char *traceparent)
{
	char id_text[UUID_TEXT], time[CLOCK_TEXT];

	strbuf_addstr(out, "{\"specversion\":\"1.0\",\"id\":\"");
	strbuf_addstr(out, uuid_format(id, id_text));
	strbuf_addstr(out, "\",\"time\":\"");
	strbuf_addstr(out, clock_format(time_ms, time));
	strbuf_addstr(out, "\",\"datacontenttype\":\"application/json\"");
	if (traceparent) {
		strbuf_addstr(out, ",\"traceparent\":");
		strbuf_json(out, traceparent);
	}
}

void envelope_add_job(struct strbuf *out, const struct envelope_job *job, size_t bytes_max)
{
	char batch[UUID_TEXT];
	size_t start = out->len;

	add_head(out, &job->id, job->created_ms, job->traceparent);
	strbuf_addstr(out, ",\"source\":\"" JOB_SOURCE);
	strbuf_addstr(out, job->queue);
	strbuf_addstr(out, "\",\"type\":\"");
	strbuf_addstr(out, job->type);
	strbuf_addstr(out, "\",\"windlassbatch\":\"");
	strbuf_addstr(out, uuid_format(&job->batch, batch));
	strbuf_addstr(out, "\",\"windlassattempt\":");
	strbuf_addi(out, job->attempt);
	if (out->len - start + strlen(",\"data\":}") + job->payload_bytes > bytes_max) {
		strbuf_addstr(out, ",\"windlasspayload\":\"stored\"}");
		return;
	}
	strbuf_addstr(out, ",\"data\":");
	strbuf_add(out, job->payload, job->payload_bytes);
	strbuf_addch(out, '}');
}

void envelope_add_result(struct strbuf *out, const struct envelope_result *result, size_t bytes_max)
{
	const char *data = result->result ? result->result : "null";
	size_t start = out->len, bytes = strlen(data);
	char id[UUID_TEXT];

	add_head(out, &result->id, result->finished_ms, result->traceparent);
	strbuf_addstr(out, ",\"source\":\"" RESULT_SOURCE "\",\"subject\":\"");
	strbuf_addstr(out, uuid_format(&result->id, id));
	strbuf_addstr(out, "\",\"type\":\"");
	strbuf_addstr(out, result->type);
	strbuf_addstr(out, ".completed\"");
	if (out->len - start + strlen(",\"data\":}") + bytes > bytes_max) {
		strbuf_addstr(out, ",\"windlassresult\":\"stored\"}");
		return;
	}
	strbuf_addstr(out, ",\"data\":");
	strbuf_add(out, data, bytes);
	strbuf_addch(out, '}');
}

/* ---- a queue of ours */

struct ours { /* what has been found so far */
	bool id, batch, attempt, source;
};

static void read_member(const struct json_member *member, struct uuid *id_r, struct uuid *batch_r,
			int *attempt_r, struct ours *found)
{
	struct json_slice value = member->value;
	int64_t n;

	if (json_slice_is(member->key, "id"))
		found->id = value.bytes > 2 && uuid_parse_n(value.text + 1, value.bytes - 2, id_r);
	else if (json_slice_is(member->key, "windlassbatch"))
		found->batch =
			value.bytes > 2 && uuid_parse_n(value.text + 1, value.bytes - 2, batch_r);
	else if (json_slice_is(member->key, "source"))
		found->source = value.bytes > strlen(JOB_SOURCE) &&
				memcmp(value.text, "\"" JOB_SOURCE, strlen(JOB_SOURCE) + 1) == 0;
	else if (json_slice_is(member->key, "windlassattempt") && json_slice_int(value, &n) == 0 &&
		 n > 0 && n <= INT32_MAX) {
		*attempt_r = (int)n;
		found->attempt = true;
	}
}

/* It is only asked about: whatever else is in the message, the store knows the job or does not. So
 * the walk ends where the data begins. */
int envelope_read_job(const char *body, size_t bytes, struct uuid *id_r, struct uuid *batch_r,
		      int *attempt_r, const char **why_r)
{
	struct json_slice event = { .text = body, .bytes = bytes };
	struct json_member member;
	const char *cursor = NULL;
	struct ours found = { 0 };
	int more;

	while ((more = json_slice_next(event, &cursor, &member)) == 1) {
		read_member(&member, id_r, batch_r, attempt_r, &found);
		if (found.id && found.batch && found.attempt && found.source)
			return 0;
	}
	*why_r = more < 0 ? "not a JSON object"
			  : "not a message of Windlass: no id, lease or attempt in it";
	return -1;
}
