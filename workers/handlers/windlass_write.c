/* SPDX-License-Identifier: Apache-2.0 */
/* What a handler stages: statements, locks, follow-up jobs; and the steps that commit them early.
 */
#include <stdarg.h>
#include <string.h>

#include "workers/handlers/host_job.h"
#include "workers/handlers/host_value.h"

static struct strbuf *next_element(struct strbuf *elements)
{
	if (elements->len > 0)
		strbuf_addch(elements, ',');
	return elements;
}

void wl_write(struct wl_job *job, int rows, const char *sql, struct wl_args args)
{
	struct strbuf *out = next_element(&job->writes);

	strbuf_addstr(out, "{\"sql\":");
	strbuf_json(out, sql);
	strbuf_addstr(out, ",\"args\":");
	host_value_add_args(out, args);
	if (rows >= 0) {
		strbuf_addstr(out, ",\"rows\":");
		strbuf_addi(out, rows);
	}
	strbuf_addch(out, '}');
}

void wl_lock(struct wl_job *job, const char *key)
{
	strbuf_json(next_element(&job->locks), key);
}

/* JSON of the handler's own making goes into our line as it stands, so it is checked first. */
static struct json_slice check_json(struct wl_job *job, const char *function, const char *text)
{
	struct json_slice slice = { .text = text, .bytes = strlen(text) };
	struct json_error error;
	json_t *root = json_text_parse(slice.text, slice.bytes, &error);

	if (!root)
		host_job_leave(job, "retry", "%s: not JSON at line %d, column %d: %s", function,
			       error.line, error.column, error.message);
	json_decref(root);
	return slice;
}

const char *wl_enqueue(struct wl_job *job, const char *type, const char *payload_json,
		       const char *options_json)
{
	struct strbuf *out;
	struct json_slice payload =
				  check_json(job, "wl_enqueue", payload_json ? payload_json : "{}"),
			  options = { 0 };
	struct uuid id;
	char text[UUID_TEXT];

	if (options_json)
		options = check_json(job, "wl_enqueue", options_json);
	/* Need not be the same on every attempt: only one attempt's write set is ever committed. */
	uuid_v7(&id);
	out = next_element(&job->follow_ups);
	strbuf_printf(out, "{\"id\":\"%s\",\"type\":", uuid_format(&id, text));
	strbuf_json(out, type);
	strbuf_addstr(out, ",\"payload\":");
	json_slice_add_line(out, payload);
	if (options_json) {
		strbuf_addstr(out, ",\"options\":");
		json_slice_add_line(out, options);
	}
	strbuf_addch(out, '}');
	return arena_strdup(job->arena, text);
}

/* ---- steps */
static const char *step_of_before(struct wl_job *job, const char *step)
{
	struct json_member member;
	const char *cursor = NULL;

	while (job->steps.bytes > 0 && json_slice_next(job->steps, &cursor, &member) == 1) {
		struct json_slice quoted = { .text = member.key.text - 1,
					     .bytes = member.key.bytes + 2 };
		const char *name = json_slice_string(job->arena, quoted);

		if (name && strcmp(name, step) == 0)
			return arena_strndup(job->arena, member.value.text, member.value.bytes);
	}
	return NULL;
}

const char *wl_stepped(struct wl_job *job, const char *step)
{
	for (const struct host_step *at = job->stepped; at; at = at->next) {
		if (strcmp(at->name, step) == 0)
			return at->value;
	}
	return step_of_before(job, step);
}

static void add_array(struct strbuf *out, const char *key, const struct strbuf *elements)
{
	strbuf_printf(out, ",\"%s\":[", key);
	strbuf_add(out, elements->data, elements->len);
	strbuf_addch(out, ']');
}

static struct json_slice ask_step(struct wl_job *job, const char *step, struct json_slice value)
{
	struct strbuf members;
	struct json_slice answer;

	strbuf_init(&members);
	strbuf_addstr(&members, "\"step\":");
	strbuf_json(&members, step);
	strbuf_addstr(&members, ",\"value\":");
	json_slice_add_line(&members, value);
	add_array(&members, "write", &job->writes);
	add_array(&members, "lock", &job->locks);
	add_array(&members, "enqueue", &job->follow_ups);
	answer = host_job_ask(job, members.data);
	strbuf_release(&members);
	return answer;
}

static void check_step(struct wl_job *job, const char *step, struct json_slice answer)
{
	struct json_slice error = json_slice_get(answer, "error"),
			  unmet = json_slice_get(answer, "unmet");
	int64_t index = 0;

	if (error.bytes > 0)
		host_job_leave(job, "retry", "step %s: %s", step,
			       json_slice_string(job->arena, error));
	if (unmet.bytes > 0) {
		(void)json_slice_int(unmet, &index);
		host_job_leave(job, "again",
			       "step %s: statement %d did not touch as many rows as it must", step,
			       (int)index + 1);
	}
}

const char *wl_step(struct wl_job *job, const char *step, const char *value_json_fmt, ...)
{
	const char *text = wl_stepped(job, step);
	struct host_step *done;
	struct json_slice answer, value;
	va_list args;

	if (text) { /* an earlier attempt has committed it, and what it wrote */
		host_job_unstage(job);
		return text;
	}
	va_start(args, value_json_fmt);
	text = value_json_fmt ? arena_vprintf(job->arena, value_json_fmt, args) : "null";
	va_end(args);
	answer = ask_step(job, step, check_json(job, "wl_step", text));
	check_step(job, step, answer);
	value = json_slice_get(answer, "value");
	host_job_unstage(job);
	done = ARENA_NEW(job->arena, struct host_step);
	*done = (struct host_step){ .next = job->stepped, .name = arena_strdup(job->arena, step) };
	done->value = value.bytes ? arena_strndup(job->arena, value.text, value.bytes) : text;
	job->stepped = done;
	return done->value;
}
