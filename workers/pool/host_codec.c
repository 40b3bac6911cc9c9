/* SPDX-License-Identifier: Apache-2.0 */
/* Lines of the host protocol. Job lines are put together from the texts as they were stored:
 * nothing is parsed or dumped on the way to a handler. Lines of hosts are parsed strictly once;
 * results stay the raw text that the handler wrote. */
#include "workers/pool/host_codec.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/digest.h"

#define REASON_BYTES_MAX 2000
#define NAME_BYTES_MAX   200 /* of a step or a call */
#define HEADERS_MAX      50

/* ---- to the host */
#define ADD(out, literal) strbuf_add((out), (literal), sizeof(literal) - 1)

static void add_id(struct strbuf *out, const struct uuid *id)
{
	char text[UUID_TEXT];

	ADD(out, "\"job\":\"");
	strbuf_add(out, uuid_format(id, text), UUID_TEXT - 1);
	ADD(out, "\"");
}

void host_codec_hello(struct strbuf *out, const char *const *types, int64_t result_bytes_max)
{
	ADD(out, "{\"windlass\":1,\"types\":[");
	for (size_t i = 0; types[i]; i++) {
		if (i > 0)
			ADD(out, ",");
		strbuf_json(out, types[i]);
	}
	ADD(out, "],\"settings\":{\"result_bytes_max\":");
	strbuf_addi(out, result_bytes_max);
	ADD(out, "}}\n");
}

static void add_text(struct strbuf *out, const char *json)
{
	json_slice_add_line(out, (struct json_slice){ .text = json, .bytes = strlen(json) });
}

static void add_seconds(struct strbuf *out, int64_t ms)
{
	strbuf_addi(out, ms / 1000);
	if (ms % 1000)
		strbuf_printf(out, ".%03d", (int)(ms % 1000));
}

void host_codec_job(struct strbuf *out, const struct task *task)
{
	const struct claimed_job *job = task->job;

	ADD(out, "{");
	add_id(out, &job->id);
	ADD(out, ",\"type\":");
	strbuf_json(out, job->type);
	ADD(out, ",\"attempt\":");
	strbuf_addi(out, job->attempt);
	ADD(out, ",\"timeout_s\":");
	add_seconds(out, task->timeout_ms);
	ADD(out, ",\"tags\":");
	add_text(out, job->tags ? job->tags : "[]");
	ADD(out, ",\"payload\":");
	json_slice_add_line(
		out, (struct json_slice){ .text = job->payload, .bytes = job->payload_bytes });
	if (task->steps) {
		ADD(out, ",\"steps\":");
		add_text(out, task->steps);
	}
	ADD(out, "}");
}

static const char *cancel_name(enum task_cancel why)
{
	switch (why) {
	case TASK_CANCEL_TIMEOUT:
		return "timeout";
	case TASK_CANCEL_DRAIN:
		return "drain";
	default:
		return "requested";
	}
}

void host_codec_cancel(struct strbuf *out, const struct uuid *job, enum task_cancel why)
{
	ADD(out, "{");
	add_id(out, job);
	strbuf_printf(out, ",\"cancel\":\"%s\"}\n", cancel_name(why));
}

void host_codec_answer(struct strbuf *out, const struct uuid *job, int64_t number,
		       const char *members, size_t bytes)
{
	ADD(out, "{");
	add_id(out, job);
	ADD(out, ",\"answer\":");
	strbuf_addi(out, number);
	ADD(out, ",");
	json_slice_add_line(out, (struct json_slice){ .text = members, .bytes = bytes });
	ADD(out, "}\n");
}

/* ---- from the host: what kind of line it is */
int host_line_fault(struct host_line *line, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintf(line->fault, sizeof(line->fault), fmt, args);
	va_end(args);
	return -1;
}

static const struct {
	const char *key;
	enum host_line_kind kind;
} line_keys[] = {
	{ "done", HOST_LINE_END },          { "retry", HOST_LINE_END },
	{ "discard", HOST_LINE_END },       { "snooze", HOST_LINE_END },
	{ "cancelled", HOST_LINE_END },     { "again", HOST_LINE_END },
	{ "progress", HOST_LINE_PROGRESS }, { "ask", HOST_LINE_ASK },
	{ "started", HOST_LINE_STARTED },
};

static int classify_job_line(struct host_line *line, const char *id)
{
	const char *found = NULL;

	if (!uuid_parse(id, &line->job))
		return host_line_fault(line, "\"job\" is not an id");
	for (size_t i = 0; i < ARRAY_LEN(line_keys); i++) {
		if (!json_object_get(line->root, line_keys[i].key))
			continue;
		if (found)
			return host_line_fault(line, "both \"%s\" and \"%s\" in one line", found,
					       line_keys[i].key);
		found = line_keys[i].key;
		line->kind = line_keys[i].kind;
	}
	return found ? 0 : host_line_fault(line, "a line that says nothing known about its job");
}

static int classify_ready_line(struct host_line *line, const json_t *ready)
{
	const json_t *concurrency = json_object_get(line->root, "concurrency");
	json_int_t n = concurrency ? json_integer_value(concurrency) : 1;

	if (json_is_false(ready) || (json_is_integer(ready) && json_integer_value(ready) == 0)) {
		line->kind = HOST_LINE_UNREADY;
		line->reason = json_string_value(json_object_get(line->root, "reason"));
		if (!line->reason)
			line->reason = "no reason given";
		return 0;
	}
	if (n < 1 || n > 1000)
		return host_line_fault(line, "\"concurrency\" must be a number from 1 to 1000");
	line->kind = HOST_LINE_READY;
	line->concurrency = (int)n;
	return 0;
}

static int classify(struct host_line *line)
{
	const json_t *id = json_object_get(line->root, "job"), *ready;

	if (json_is_string(id))
		return classify_job_line(line, json_string_value(id));
	ready = json_object_get(line->root, "ready");
	if (!id && ready)
		return classify_ready_line(line, ready);
	return host_line_fault(line, "a line without \"job\"");
}

int host_line_grow(struct host_line *line)
{
	struct json_error error;

	line->root = json_text_parse(line->text.text, line->text.bytes, &error);
	if (line->root)
		return 0;
	return host_line_fault(line, "not JSON at column %d: %.100s", error.column, error.message);
}

int host_line_parse(const char *text, size_t bytes, struct host_line *line_r)
{
	*line_r = (struct host_line){ .text = { .text = text, .bytes = bytes } };
	if (json_text_check(text, bytes) && host_plain_line(line_r))
		return 0;
	*line_r = (struct host_line){ .text = { .text = text, .bytes = bytes } };
	if (host_line_grow(line_r) < 0)
		return -1;
	if (!json_is_object(line_r->root))
		host_line_fault(line_r, "not a JSON object");
	else if (classify(line_r) == 0)
		return 0;
	host_line_release(line_r);
	return -1;
}

void host_line_release(struct host_line *line)
{
	json_decref(line->root);
	line->root = NULL;
}

/* ---- outcomes */
static int read_reason(struct host_line *line, const json_t *value, struct arena *arena,
		       const char **reason_r)
{
	size_t bytes = json_string_length(value);

	if (!json_is_string(value))
		return host_line_fault(line, "the reason is not a string");
	/* A cut in the middle of a character is healed: continuation bytes are dropped up to its
	 * start. */
	if (bytes > REASON_BYTES_MAX) {
		bytes = REASON_BYTES_MAX;
		while (bytes > 0 && ((unsigned char)json_string_value(value)[bytes] & 0xC0) == 0x80)
			bytes--;
	}
	*reason_r = arena_strndup(arena, json_string_value(value), bytes);
	return 0;
}

static int read_duration(struct host_line *line, const json_t *value, const char *key,
			 int64_t *ms_r)
{
	char text[64];

	if (json_is_number(value)) {
		snprintf(text, sizeof(text), "%.3f", json_number_value(value));
		if (duration_parse(text, ms_r) == 0)
			return 0;
	} else if (json_is_string(value) && duration_parse(json_string_value(value), ms_r) == 0) {
		return 0;
	}
	return host_line_fault(line, "\"%s\" is not a duration", key);
}

static int read_done(struct host_line *line, const struct task *task,
		     const struct host_limits *limits, struct task_outcome *outcome_r)
{
	struct json_slice result = line->root ? json_slice_get(line->text, "done") : line->done;
	struct arena *arena = task->job->arena;
	const char *refused;
	int got;

	if (result.bytes == 0)
		return host_line_fault(line, "\"done\" is written with escapes");
	got = host_write_set_read(line, task, limits, &outcome_r->writes, &refused);
	if (got < 0)
		return -1;
	if (got == 0 && (int64_t)result.bytes > limits->result_bytes_max) {
		refused = arena_printf(arena, "its result has %zu bytes, the limit is %lld",
				       result.bytes, (long long)limits->result_bytes_max);
		got = 1;
	}
	if (got > 0) {
		*outcome_r = (struct task_outcome){ .kind = OUTCOME_RETRY,
						    .after_ms = -1,
						    .reason = refused };
		return 0;
	}
	outcome_r->kind = OUTCOME_DONE;
	if (!json_slice_is(result, "null"))
		outcome_r->result = arena_strndup(arena, result.text, result.bytes);
	return 0;
}

static int read_retry(struct host_line *line, const json_t *why, struct arena *arena,
		      struct task_outcome *outcome_r)
{
	const json_t *after = json_object_get(line->root, "after");

	outcome_r->kind = OUTCOME_RETRY;
	if (after && !json_is_null(after) &&
	    read_duration(line, after, "after", &outcome_r->after_ms) < 0)
		return -1;
	return read_reason(line, why, arena, &outcome_r->reason);
}

int host_line_outcome(struct host_line *line, const struct task *task,
		      const struct host_limits *limits, struct task_outcome *outcome_r)
{
	struct arena *arena = task->job->arena;
	const json_t *value;

	CHECK(line->kind == HOST_LINE_END);
	*outcome_r = (struct task_outcome){ .after_ms = -1 };
	if (!line->root || json_object_get(line->root, "done"))
		return read_done(line, task, limits, outcome_r);
	if ((value = json_object_get(line->root, "retry")))
		return read_retry(line, value, arena, outcome_r);
	if ((value = json_object_get(line->root, "discard"))) {
		outcome_r->kind = OUTCOME_DISCARD;
		return read_reason(line, value, arena, &outcome_r->reason);
	}
	if ((value = json_object_get(line->root, "snooze"))) {
		outcome_r->kind = OUTCOME_SNOOZE;
		return read_duration(line, value, "snooze", &outcome_r->after_ms);
	}
	if ((value = json_object_get(line->root, "again"))) {
		outcome_r->kind = OUTCOME_RETRY;
		outcome_r->again = true;
		return read_reason(line, value, arena, &outcome_r->reason);
	}
	outcome_r->kind = OUTCOME_CANCELLED;
	if (task->cancel == TASK_GO_ON)
		return host_line_fault(line, "\"cancelled\" without having been asked to");
	return 0;
}

/* ---- progress and asks */
int host_line_progress(struct host_line *line, double *part_r, const char **note_r)
{
	const json_t *part = json_object_get(line->root, "progress"),
		     *note = json_object_get(line->root, "note");

	if (!json_is_number(part))
		return host_line_fault(line, "\"progress\" is not a number");
	if (note && !json_is_null(note) && !json_is_string(note))
		return host_line_fault(line, "\"note\" is not a string");
	*part_r = fmin(1, fmax(0, json_number_value(part)));
	*note_r = json_string_value(note);
	return 0;
}

static int read_name(struct host_line *line, const json_t *value, const char *key,
		     struct arena *arena, const char **name_r)
{
	size_t bytes = json_string_length(value);

	if (!json_is_string(value) || bytes == 0 || bytes > NAME_BYTES_MAX)
		return host_line_fault(line, "\"%s\" is not a name of 1 to %d bytes", key,
				       NAME_BYTES_MAX);
	*name_r = arena_strdup(arena, json_string_value(value));
	return 0;
}

static int read_headers(struct host_line *line, json_t *headers, struct arena *arena,
			struct task_call *call_r)
{
	const char **list, *name;
	size_t count = 0;
	json_t *value;

	if (headers && !json_is_object(headers))
		return host_line_fault(line, "\"headers\" is not an object");
	if (json_object_size(headers) > HEADERS_MAX)
		return host_line_fault(line, "more than %d headers", HEADERS_MAX);
	list = ARENA_ARRAY(arena, const char *, json_object_size(headers) + 1);
	json_object_foreach(headers, name, value)
	{
		if (!json_is_string(value) || strpbrk(name, "\r\n:") ||
		    strpbrk(json_string_value(value), "\r\n"))
			return host_line_fault(line,
					       "a header is not a name with a string of one line");
		list[count++] = arena_printf(arena, "%s: %s", name, json_string_value(value));
	}
	call_r->headers = list;
	return 0;
}

static int read_body(struct host_line *line, const json_t *body, struct arena *arena,
		     struct task_call *call_r)
{
	const json_t *base64 = json_object_get(body, "base64");
	void *data;

	if (!body || json_is_null(body))
		return 0;
	if (json_is_string(body)) {
		call_r->body_bytes = json_string_length(body);
		call_r->body = arena_strndup(arena, json_string_value(body), call_r->body_bytes);
		return 0;
	}
	if (!json_is_string(base64) ||
	    base64_decode(arena, json_string_value(base64), json_string_length(base64), &data,
			  &call_r->body_bytes) < 0)
		return host_line_fault(line, "\"body\" is neither a string nor {\"base64\":…}");
	call_r->body = data;
	return 0;
}

static int read_call(struct host_line *line, struct arena *arena, struct task_call *call_r)
{
	json_t *request = json_object_get(line->root, "request");
	const json_t *method = json_object_get(request, "method"),
		     *url = json_object_get(request, "url"), *timeout;

	if (read_name(line, json_object_get(line->root, "call"), "call", arena, &call_r->step) < 0)
		return -1;
	if (!json_is_string(url) || (method && !json_is_string(method)))
		return host_line_fault(
			line, "\"request\" has no \"url\", or its \"method\" is not a string");
	call_r->method = arena_strdup(arena, method ? json_string_value(method) : "GET");
	call_r->url = arena_strdup(arena, json_string_value(url));
	timeout = json_object_get(request, "timeout_ms");
	if (timeout && (!json_is_integer(timeout) || json_integer_value(timeout) < 0 ||
			json_integer_value(timeout) > 86400000))
		return host_line_fault(line, "\"timeout_ms\" is not a number of milliseconds");
	call_r->timeout_ms = (int)json_integer_value(timeout);
	if (read_headers(line, json_object_get(request, "headers"), arena, call_r) < 0)
		return -1;
	return read_body(line, json_object_get(request, "body"), arena, call_r);
}

static int read_step(struct host_line *line, struct task *task, const struct host_limits *limits,
		     struct task_ask *ask_r, const char **refused_r)
{
	struct arena *arena = task->job->arena;
	struct json_slice value = json_slice_get(line->text, "value");

	if (read_name(line, json_object_get(line->root, "step"), "step", arena, &ask_r->step) < 0)
		return -1;
	ask_r->step_value = value.bytes ? arena_strndup(arena, value.text, value.bytes) : "null";
	if ((int64_t)value.bytes > limits->result_bytes_max) {
		*refused_r = "the step's value is larger than a result may be";
		return 0;
	}
	return host_write_set_read(line, task, limits, &ask_r->writes, refused_r) < 0 ? -1 : 0;
}

int host_line_ask(struct host_line *line, struct task *task, const struct host_limits *limits,
		  struct task_ask *ask_r, const char **refused_r)
{
	const json_t *number = json_object_get(line->root, "ask"),
		     *query = json_object_get(line->root, "query");
	size_t bytes = 0;

	CHECK(line->kind == HOST_LINE_ASK);
	*ask_r = (struct task_ask){ .task = task, .number = json_integer_value(number) };
	*refused_r = NULL;
	if (!json_is_integer(number))
		return host_line_fault(line, "\"ask\" is not a number");
	if (query) {
		ask_r->kind = TASK_ASK_QUERY;
		return host_statement_read(line, query, json_object_get(line->root, "args"),
					   task->job->arena, &ask_r->query, &bytes);
	}
	if (json_object_get(line->root, "call")) {
		ask_r->kind = TASK_ASK_CALL;
		return read_call(line, task->job->arena, &ask_r->call);
	}
	if (json_object_get(line->root, "step")) {
		ask_r->kind = TASK_ASK_STEP;
		return read_step(line, task, limits, ask_r, refused_r);
	}
	return host_line_fault(line, "an ask without \"query\", \"call\" or \"step\"");
}
