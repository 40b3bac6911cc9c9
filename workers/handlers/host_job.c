/* SPDX-License-Identifier: Apache-2.0 */
/* A job inside a module host: made from its line, asking its engine, ended by a line. */
#include "workers/handlers/host_job.h"

#include <stdarg.h>
#include <string.h>
#include <unistd.h>

#include "common/base/clock.h"

/* ---- made from a line */
static int take_member(struct wl_job *job, const struct json_member *member)
{
	int64_t n;

	if (json_slice_is(member->key, "job")) {
		const char *id = json_slice_string(job->arena, member->value);

		if (!id || !uuid_parse(id, &job->uuid))
			return -1;
		uuid_format(&job->uuid, job->id);
	} else if (json_slice_is(member->key, "type")) {
		job->type = json_slice_string(job->arena, member->value);
	} else if (json_slice_is(member->key, "attempt")) {
		if (json_slice_int(member->value, &n) < 0)
			return -1;
		job->attempt = (int)n;
	} else if (json_slice_is(member->key, "payload")) {
		job->payload = arena_strndup(job->arena, member->value.text, member->value.bytes);
		job->payload_bytes = member->value.bytes;
	} else if (json_slice_is(member->key, "steps")) {
		job->steps.text =
			arena_strndup(job->arena, member->value.text, member->value.bytes);
		job->steps.bytes = member->value.bytes;
	}
	return 0;
}

int host_job_init(struct wl_job *job_r, struct host_link *link, struct host_slot *slot,
		  struct arena *arena, struct json_slice object)
{
	struct json_member member;
	const char *cursor = NULL;
	int got;

	*job_r = (struct wl_job){ .link = link, .slot = slot, .arena = arena };
	strbuf_init(&job_r->writes);
	strbuf_init(&job_r->locks);
	strbuf_init(&job_r->follow_ups);
	strbuf_init(&job_r->end);
	while ((got = json_slice_next(object, &cursor, &member)) == 1) {
		if (take_member(job_r, &member) < 0)
			return -1;
	}
	return got == 0 && job_r->id[0] && job_r->type && job_r->payload ? 0 : -1;
}

void host_job_release(struct wl_job *job)
{
	for (struct host_kept *kept = job->kept; kept; kept = kept->next)
		json_decref(kept->root);
	strbuf_release(&job->writes);
	strbuf_release(&job->locks);
	strbuf_release(&job->follow_ups);
	strbuf_release(&job->end);
}

void host_job_unstage(struct wl_job *job)
{
	strbuf_clear(&job->writes);
	strbuf_clear(&job->locks);
	strbuf_clear(&job->follow_ups);
}

json_t *host_job_parse(struct wl_job *job, const char *text, size_t bytes, const char **reason_r)
{
	struct json_error error;
	struct host_kept *kept;
	json_t *root = json_text_parse(text, bytes, &error);

	if (!root) {
		*reason_r = arena_printf(job->arena, "not JSON at line %d, column %d: %s",
					 error.line, error.column, error.message);
		return NULL;
	}
	kept = ARENA_NEW(job->arena, struct host_kept);
	*kept = (struct host_kept){ .next = job->kept, .root = root };
	job->kept = kept;
	return root;
}

/* ---- asking */
void host_job_open_line(struct wl_job *job)
{
	strbuf_addstr(&job->link->out, "{\"job\":\"");
	strbuf_add(&job->link->out, job->id, UUID_TEXT - 1);
	strbuf_addstr(&job->link->out, "\",");
}

static bool is_for(const struct wl_job *job, struct json_slice id)
{
	return id.bytes == UUID_TEXT + 1 && memcmp(id.text + 1, job->id, UUID_TEXT - 1) == 0;
}

static void mark_cancelled(struct wl_job *job, struct json_slice id)
{
	for (size_t i = 0; i < job->line_count; i++)
		job->line_jobs[i]->cancelled |= is_for(job->line_jobs[i], id);
}

/* Blanked, so that the loop passes over it. */
static void blank(struct json_slice line)
{
	memset((char *)(uintptr_t)line.text, ' ', line.bytes);
}

/* Deals with what has come; true when the answer with that number is there. */
static bool take_notes(struct wl_job *job, int64_t number, struct json_slice *answer_r)
{
	struct host_note note;
	bool found = false;

	while (!found && host_link_note(job->link, &note)) {
		if (note.cancel) {
			mark_cancelled(job, note.job);
		} else if (note.number == number && is_for(job, note.job)) {
			answer_r->text = arena_strndup(job->arena, note.line.text, note.line.bytes);
			answer_r->bytes = note.line.bytes;
			found = true;
		}
		blank(note.line);
	}
	return found;
}

void host_job_notes(struct wl_job *job)
{
	struct json_slice none;

	while (host_link_pump(job->link, false))
		;
	(void)take_notes(job, -1, &none);
}

struct json_slice host_job_ask(struct wl_job *job, const char *members)
{
	struct json_slice answer;
	int64_t number = ++job->asks;

	host_job_open_line(job);
	strbuf_addstr(&job->link->out, "\"ask\":");
	strbuf_addi(&job->link->out, number);
	strbuf_addch(&job->link->out, ',');
	strbuf_addstr(&job->link->out, members);
	strbuf_addstr(&job->link->out, "}\n");
	if (!host_link_flush(job->link))
		_exit(0); /* nobody is left to tell */
	while (!take_notes(job, number, &answer)) {
		if (job->link->ended)
			_exit(0);
		host_link_pump(job->link, true);
	}
	return answer;
}

/* ---- the end */
void host_job_leave(struct wl_job *job, const char *key, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	host_job_open_line(job);
	strbuf_printf(&job->link->out, "\"%s\":", key);
	strbuf_json(&job->link->out, arena_vprintf(job->arena, fmt, args));
	strbuf_addstr(&job->link->out, "}\n");
	va_end(args);
	/* Said before we go: nobody of this line is to blame for our end, and the rest of a batch
	 * runs again. */
	if (job->slot)
		atomic_store(&job->slot->state, SLOT_FINISHED);
	(void)host_link_flush(job->link);
	/* the handler is left in the middle of its work: its exit handlers must not run */
	_exit(0);
}

static void add_staged(struct strbuf *out, const char *key, const struct strbuf *elements)
{
	if (elements->len == 0)
		return;
	strbuf_printf(out, ",\"%s\":[", key);
	strbuf_add(out, elements->data, elements->len);
	strbuf_addch(out, ']');
}

void host_job_finish(struct wl_job *job, enum wl_outcome returned)
{
	struct strbuf *out = &job->link->out;

	host_job_open_line(job);
	if (returned == job->outcome && job->outcome != 0) {
		strbuf_add(out, job->end.data, job->end.len);
		if (returned == WL_DONE) {
			add_staged(out, "write", &job->writes);
			add_staged(out, "lock", &job->locks);
			add_staged(out, "enqueue", &job->follow_ups);
		}
	} else {
		strbuf_printf(
			out,
			"\"retry\":\"the handler returned %d, which none of wl_done, wl_retry, … had returned to it\"",
			(int)returned);
	}
	strbuf_addstr(out, "}\n");
}
