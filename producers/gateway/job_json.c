/* SPDX-License-Identifier: Apache-2.0 */
/* Writes jobs as JSON into one buffer. Texts that the store gives us as JSON were validated when
 * they came in. Pure. */
#include "producers/gateway/job_json.h"

#include <string.h>

#include "common/base/clock.h"

static void add_name(struct strbuf *out, const char *name)
{
	strbuf_addstr(out, ",\"");
	strbuf_addstr(out, name);
	strbuf_addstr(out, "\":");
}

static void add_text(struct strbuf *out, const char *name, const char *text)
{
	if (!text)
		return;
	add_name(out, name);
	strbuf_json(out, text);
}

static void add_raw(struct strbuf *out, const char *name, const char *json, size_t bytes)
{
	if (!json)
		return;
	add_name(out, name);
	strbuf_add(out, json, bytes);
}

static void add_number(struct strbuf *out, const char *name, int64_t number)
{
	add_name(out, name);
	strbuf_addi(out, number);
}

static void add_time(struct strbuf *out, const char *name, int64_t wall_ms)
{
	char text[CLOCK_TEXT];

	if (wall_ms <= 0)
		return;
	add_name(out, name);
	strbuf_addch(out, '"');
	strbuf_addstr(out, clock_format(wall_ms, text));
	strbuf_addch(out, '"');
}

void job_json_id(struct strbuf *out, const struct uuid *id)
{
	char text[UUID_TEXT];

	strbuf_addch(out, '"');
	strbuf_add(out, uuid_format(id, text), UUID_TEXT - 1);
	strbuf_addch(out, '"');
}

static void add_attempts(struct strbuf *out, const struct job_view *view)
{
	if (!view->attempts && !view->payload) /* a list */
		return;
	add_name(out, "attempts");
	strbuf_addch(out, '[');
	for (size_t i = 0; i < view->attempt_count; i++) {
		const struct attempt_view *attempt = &view->attempts[i];
		strbuf_addstr(out, i ? ",{\"attempt\":" : "{\"attempt\":");
		strbuf_addi(out, attempt->attempt);
		add_text(out, "outcome", job_outcome_name(attempt->outcome));
		add_time(out, "at", attempt->at_ms);
		add_text(out, "reason", attempt->reason);
		strbuf_addch(out, '}');
	}
	strbuf_addch(out, ']');
}

static void add_progress(struct strbuf *out, const struct job_view *view)
{
	if (view->progress < 0)
		return;
	add_name(out, "progress");
	strbuf_printf(out, "{\"part\":%.6g", view->progress);
	add_text(out, "note", view->progress_note);
	strbuf_addch(out, '}');
}

static void add_limits(struct strbuf *out, const struct job_view *view,
		       const struct definitions *defs)
{
	const struct job_type *type =
		view->type && defs ? definitions_type(defs, view->type) : NULL;
	int max_attempts = view->max_attempts ? view->max_attempts
			   : type             ? type->retry.max_attempts
					      : 0;
	int64_t timeout_ms = view->timeout_ms ? view->timeout_ms : type ? type->timeout_ms : 0;
	char text[24];

	if (max_attempts > 0)
		add_number(out, "max_attempts", max_attempts);
	if (timeout_ms > 0)
		add_text(out, "timeout", duration_format(timeout_ms, text));
}

static void add_who(struct strbuf *out, const struct job_view *view)
{
	add_text(out, "owner", view->owner);
	add_text(out, "source", view->source);
	if (view->tenant && view->tenant[0])
		add_text(out, "tenant", view->tenant);
	add_text(out, "order_key", view->order_key);
	add_text(out, "fair_key", view->fair_key);
	add_text(out, "unique_key", view->unique_key);
	add_text(out, "traceparent", view->traceparent);
	add_text(out, "callback_url", view->callback);
	add_raw(out, "tags", view->tags, view->tags ? strlen(view->tags) : 0);
}

void job_json_write(struct strbuf *out, const struct job_view *view, const struct definitions *defs)
{
	strbuf_reserve(out, 512 + view->payload_bytes);
	strbuf_addstr(out, "{\"id\":");
	job_json_id(out, &view->id);
	add_text(out, "state", job_state_name(view->state));
	add_text(out, "type", view->type);
	add_text(out, "queue", view->queue);
	if (!view->source) /* then nobody has kept it */
		add_text(out, "priority", job_priority_name(view->priority));
	add_number(out, "attempt", view->attempt);
	add_limits(out, view, defs);
	add_time(out, "created_at", view->created_ms);
	if (!job_state_terminal(view->state))
		add_time(out, "due_at", view->due_ms);
	add_time(out, "finished_at", view->finished_ms);
	add_raw(out, "payload", view->payload, view->payload_bytes);
	add_raw(out, "result", view->result, view->result ? strlen(view->result) : 0);
	add_text(out, "reason", view->reason);
	add_progress(out, view);
	if (view->cancel_asked)
		add_raw(out, "cancel_asked", "true", 4);
	add_attempts(out, view);
	add_raw(out, "open_calls", view->open_calls,
		view->open_calls ? strlen(view->open_calls) : 0);
	add_raw(out, "after", view->after, view->after ? strlen(view->after) : 0);
	add_raw(out, "steps", view->steps, view->steps ? strlen(view->steps) : 0);
	add_who(out, view);
	strbuf_addch(out, '}');
}

/* {id, type, then?} of each, to any depth: what is told once, at acceptance. */
static void add_then(struct strbuf *out, const struct new_job *job)
{
	if (!job->then_count)
		return;
	add_name(out, "then");
	for (size_t i = 0; i < job->then_count; i++) {
		strbuf_addstr(out, i ? ",{\"id\":" : "[{\"id\":");
		job_json_id(out, &job->then[i].id);
		add_text(out, "type", job->then[i].type);
		add_then(out, &job->then[i]);
		strbuf_addch(out, '}');
	}
	strbuf_addch(out, ']');
}

void job_json_accepted(struct strbuf *out, const struct new_job *job,
		       const struct accepted_job *accepted)
{
	strbuf_addstr(out, "{\"id\":");
	job_json_id(out, &accepted->id);
	add_text(out, "state", job_state_name(accepted->state));
	add_text(out, "type", job->type);
	add_text(out, "queue", job->queue);
	add_text(out, "priority", job_priority_name(job->priority));
	if (accepted->unique_conflict)
		add_raw(out, "unique_conflict", "true", 4);
	if (!uuid_is_nil(&accepted->replaced)) {
		add_name(out, "replaced");
		job_json_id(out, &accepted->replaced);
	}
	/* of a replay without a client-made id these are not the ids of then */
	if (uuid_equal(&accepted->id, &job->id))
		add_then(out, job);
	strbuf_addch(out, '}');
}

void job_json_watch(struct strbuf *out, const char *token)
{
	CHECK(out->len > 0 && out->data[out->len - 1] == '}');
	out->len--;
	add_text(out, "watch_token", token);
	strbuf_addch(out, '}');
}
