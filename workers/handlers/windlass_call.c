/* SPDX-License-Identifier: Apache-2.0 */
/* wl_call: a third party is asked through the engine, which keeps receipts. */
#include <string.h>

#include "common/base/digest.h"
#include "workers/handlers/host_job.h"
#include "workers/handlers/host_value.h"

/* Of two headers with one name the last wins. */
static void add_headers(struct strbuf *out, const char *const *headers)
{
	json_t *object = json_object();
	char *text;

	for (; headers && *headers; headers++) {
		const char *colon = strchr(*headers, ':'), *value;

		if (!colon)
			continue;
		value = colon + 1 + strspn(colon + 1, " \t");
		json_object_setn_new(object, *headers, (size_t)(colon - *headers),
				     json_string(value));
	}
	text = json_dumps(object, JSON_COMPACT);
	strbuf_addstr(out, text ? text : "{}");
	free(text);
	json_decref(object);
}

static void add_request(struct strbuf *out, const struct wl_request *request)
{
	strbuf_addstr(out, ",\"request\":{\"method\":");
	strbuf_json(out, request->method ? request->method : "GET");
	strbuf_addstr(out, ",\"url\":");
	strbuf_json(out, request->url);
	strbuf_addstr(out, ",\"headers\":");
	add_headers(out, request->headers);
	if (request->body) {
		strbuf_addstr(out, ",\"body\":");
		host_value_add_text(out, request->body,
				    request->body_bytes ? request->body_bytes
							: strlen(request->body));
	}
	strbuf_printf(out, ",\"timeout_ms\":%d}", request->timeout_ms);
}

static enum wl_fate fate_of(const json_t *root)
{
	const char *fate = json_string_value(json_object_get(root, "fate"));

	if (fate && strcmp(fate, "answered") == 0)
		return WL_ANSWERED;
	/* Without a fate the engine refused to send it. */
	return fate && strcmp(fate, "unknown") == 0 ? WL_UNKNOWN : WL_NOT_SENT;
}

static void read_body(struct arena *arena, const json_t *body, struct wl_reply *reply_r)
{
	const json_t *base64 = json_object_get(body, "base64");
	void *data;

	reply_r->body = "";
	if (json_is_string(body)) {
		reply_r->body = json_string_value(body);
		reply_r->body_bytes = json_string_length(body);
	} else if (json_is_string(base64) &&
		   base64_decode(arena, json_string_value(base64), json_string_length(base64),
				 &data, &reply_r->body_bytes) == 0) {
		reply_r->body = arena_strndup(arena, data, reply_r->body_bytes);
	}
}

struct wl_reply wl_call(struct wl_job *job, const char *step, const struct wl_request *request)
{
	struct wl_reply reply = { 0 };
	struct strbuf members;
	struct json_slice answer;
	const json_t *root;
	const char *reason;

	strbuf_init(&members);
	strbuf_addstr(&members, "\"call\":");
	strbuf_json(&members, step);
	add_request(&members, request);
	answer = host_job_ask(job, members.data);
	strbuf_release(&members);
	root = host_job_parse(job, answer.text, answer.bytes, &reason);
	if (!root)
		host_job_leave(job, "retry", "wl_call: the answer is %s", reason);
	reply.fate = fate_of(root);
	reply.status = (int)json_integer_value(json_object_get(root, "status"));
	read_body(job->arena, json_object_get(root, "body"), &reply);
	reply.error = json_string_value(json_object_get(root, "error"));
	if (reply.status >= 400 && (!reply.error || !reply.error[0]))
		reply.error = arena_printf(job->arena, "HTTP %d", reply.status);
	if (!reply.error)
		reply.error = reply.fate == WL_ANSWERED ? "" : "no reason given";
	return reply;
}
