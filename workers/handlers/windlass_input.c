/* SPDX-License-Identifier: Apache-2.0 */
/* wl_ functions that look at what came in: id, attempt, payload, cancellation; and progress. The
 * payload is parsed when a handler first looks into it. */
#include <stdarg.h>
#include <string.h>

#include "common/base/clock.h"
#include "workers/handlers/host_job.h"
#include "workers/handlers/host_main.h"

#define POLL_EVERY_NS     (1 * INT64_C(1000000)) /* wl_cancelled may be called in a tight loop */
#define PROGRESS_EVERY_NS (100 * INT64_C(1000000))

const char *wl_id(struct wl_job *job)
{
	return job->id;
}

int wl_attempt(struct wl_job *job)
{
	return job->attempt;
}

const char *wl_payload(struct wl_job *job, size_t *bytes_r)
{
	if (bytes_r)
		*bytes_r = job->payload_bytes;
	return job->payload;
}

static json_t *find(struct wl_job *job, const char *pointer)
{
	const char *reason;

	if (!job->parsed)
		job->parsed = host_job_parse(job, job->payload, job->payload_bytes, &reason);
	return job->parsed ? json_pointer_get(job->parsed, pointer) : NULL;
}

const char *wl_str(struct wl_job *job, const char *pointer, const char *fallback)
{
	const char *text = json_string_value(find(job, pointer));

	return text ? text : fallback;
}

static int64_t integer_of(const json_t *value, int64_t fallback)
{
	if (json_is_integer(value))
		return json_integer_value(value);
	/* 3.0 is a whole number as well; anything beyond 2^53 has lost its digits already. */
	if (json_is_real(value) && json_real_value(value) >= -9007199254740992.0 &&
	    json_real_value(value) <= 9007199254740992.0)
		return (int64_t)json_real_value(value);
	return fallback;
}

int64_t wl_int(struct wl_job *job, const char *pointer, int64_t fallback)
{
	return integer_of(find(job, pointer), fallback);
}

double wl_num(struct wl_job *job, const char *pointer, double fallback)
{
	const json_t *value = find(job, pointer);

	return json_is_number(value) ? json_number_value(value) : fallback;
}

size_t wl_len(struct wl_job *job, const char *pointer)
{
	return json_array_size(find(job, pointer));
}

const char *wl_at(struct wl_job *job, const char *fmt, ...)
{
	va_list args;
	const char *text;

	va_start(args, fmt);
	text = arena_vprintf(job->arena, fmt, args);
	va_end(args);
	return text;
}

const char *wl_new_id(struct wl_job *job, const char *name)
{
	struct uuid id;
	char text[UUID_TEXT];

	uuid_named(&job->uuid, name, strlen(name), &id);
	return arena_strdup(job->arena, uuid_format(&id, text));
}

bool wl_cancelled(struct wl_job *job)
{
	int64_t now_ns = clock_mono_ns();

	if (!job->cancelled && now_ns - job->polled_ns >= POLL_EVERY_NS) {
		job->polled_ns = now_ns;
		host_job_notes(job);
	}
	return job->cancelled || host_term_asked();
}

void wl_progress(struct wl_job *job, double part, const char *note)
{
	int64_t now_ns = clock_mono_ns();
	struct strbuf *out = &job->link->out;

	if (!(part >= 0))
		part = 0;
	if (part > 1)
		part = 1;
	if (job->progressed_ns && now_ns - job->progressed_ns < PROGRESS_EVERY_NS)
		return;
	job->progressed_ns = now_ns;
	host_job_open_line(job);
	strbuf_printf(out, "\"progress\":%.6f", part);
	if (note) {
		strbuf_addstr(out, ",\"note\":");
		strbuf_json(out, note);
	}
	strbuf_addstr(out, "}\n");
	(void)host_link_flush(job->link);
}

static json_t *find_in(struct wl_job *job, const char *json, const char *pointer)
{
	const char *reason;
	json_t *root = json ? host_job_parse(job, json, strlen(json), &reason) : NULL;

	return root ? json_pointer_get(root, pointer) : NULL;
}

const char *wl_json_str(struct wl_job *job, const char *json, const char *pointer,
			const char *fallback)
{
	const char *text = json_string_value(find_in(job, json, pointer));

	return text ? text : fallback;
}

int64_t wl_json_int(struct wl_job *job, const char *json, const char *pointer, int64_t fallback)
{
	return integer_of(find_in(job, json, pointer), fallback);
}

const char *wl_quote(struct wl_job *job, const char *text)
{
	struct strbuf quoted;
	const char *copy;

	strbuf_init(&quoted);
	strbuf_json(&quoted, text);
	copy = arena_strndup(job->arena, quoted.data, quoted.len);
	strbuf_release(&quoted);
	return copy;
}
