/* SPDX-License-Identifier: Apache-2.0 */
/* wl_done, wl_retry, …: the outcome is noted in the job and written when the handler has returned
 * it. The last one counts. */
#include <stdarg.h>
#include <string.h>

#include "workers/handlers/host_job.h"

static enum wl_outcome note(struct wl_job *job, enum wl_outcome outcome)
{
	job->outcome = outcome;
	return outcome;
}

static void begin(struct wl_job *job, const char *key)
{
	strbuf_clear(&job->end);
	strbuf_printf(&job->end, "\"%s\":", key);
}

static enum wl_outcome refuse_result(struct wl_job *job, const char *text)
{
	struct json_error error;
	json_t *root = json_text_parse(text, strlen(text), &error);

	if (root) {
		json_decref(root);
		return 0;
	}
	begin(job, "retry");
	strbuf_json(&job->end,
		    arena_printf(job->arena,
				 "wl_done: the result is not JSON at line %d, column %d: %s",
				 error.line, error.column, error.message));
	return note(job, WL_RETRY);
}

enum wl_outcome wl_done(struct wl_job *job, const char *result_json_fmt, ...)
{
	const char *text;
	va_list args;

	if (!result_json_fmt) {
		begin(job, "done");
		strbuf_addstr(&job->end, "null");
		return note(job, WL_DONE);
	}
	va_start(args, result_json_fmt);
	text = arena_vprintf(job->arena, result_json_fmt, args);
	va_end(args);
	if (refuse_result(job, text))
		return WL_RETRY;
	begin(job, "done");
	json_slice_add_line(&job->end, (struct json_slice){ .text = text, .bytes = strlen(text) });
	return note(job, WL_DONE);
}

static void WL_PRINTF(3, 0)
	add_reason(struct wl_job *job, const char *key, const char *fmt, va_list args)
{
	begin(job, key);
	strbuf_json(&job->end, fmt ? arena_vprintf(job->arena, fmt, args) : "no reason given");
}

enum wl_outcome wl_retry(struct wl_job *job, int after_s, const char *why_fmt, ...)
{
	va_list args;

	va_start(args, why_fmt);
	add_reason(job, "retry", why_fmt, args);
	va_end(args);
	if (after_s >= 0)
		strbuf_printf(&job->end, ",\"after\":%d", after_s);
	return note(job, WL_RETRY);
}

enum wl_outcome wl_discard(struct wl_job *job, const char *why_fmt, ...)
{
	va_list args;

	va_start(args, why_fmt);
	add_reason(job, "discard", why_fmt, args);
	va_end(args);
	return note(job, WL_DISCARD);
}

enum wl_outcome wl_snooze(struct wl_job *job, int after_s)
{
	begin(job, "snooze");
	strbuf_addi(&job->end, after_s < 0 ? 0 : after_s);
	return note(job, WL_SNOOZE);
}

/* Only what was asked for can be obeyed: without a cancel line the engine would take the word for a
 * breach. SIGTERM without one means that the process is to go. */
enum wl_outcome wl_cancel(struct wl_job *job)
{
	host_job_notes(job);
	if (job->cancelled) {
		begin(job, "cancelled");
		strbuf_addstr(&job->end, "true");
	} else {
		begin(job, "retry");
		strbuf_json(&job->end, "wl_cancel: nobody had asked to stop");
	}
	return note(job, WL_CANCELLED);
}
