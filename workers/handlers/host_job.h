/* SPDX-License-Identifier: Apache-2.0 */
/* The inside of struct wl_job, shared by the host's loop and the wl_ functions (windlass_*.c). */
#ifndef WORKERS_HANDLERS_HOST_JOB_H
#define WORKERS_HANDLERS_HOST_JOB_H
#include <jansson.h>

#include "common/base/arena.h"
#include "workers/handlers/host_cell.h"
#include "workers/handlers/host_link.h"
#include "workers/handlers/windlass.h"

struct host_kept { /* a parsed text that strings of the job point into */
	struct host_kept *next;
	json_t *root;
};

struct host_step { /* committed by this attempt */
	struct host_step *next;
	const char *name, *value;
};

struct wl_job {
	struct host_link *link;
	struct host_slot *slot; /* NULL: no cell */
	struct arena *arena;    /* of the line; everything a wl_ function returns */
	char id[UUID_TEXT];
	struct uuid uuid;
	const char *type;
	int attempt;
	const char *payload; /* NUL-terminated, in the arena */
	size_t payload_bytes;
	json_t *parsed;          /* payload, when it was looked into */
	struct json_slice steps; /* as they came; bytes 0: none */
	struct host_step *stepped;
	struct host_kept *kept;
	struct strbuf writes, locks, follow_ups; /* staged: elements with commas between */
	int64_t asks;
	int64_t polled_ns, progressed_ns;
	bool cancelled;
	enum wl_outcome outcome; /* what the last of wl_done … was; 0: none yet */
	struct strbuf end; /* members of the line that ends the attempt, without the staged ones */
	struct wl_job *const *line_jobs; /* all jobs of the line, for notes */
	size_t line_count;
};

/* From an object of a job line; strings are copied. 0, or -1: not one. */
int host_job_init(struct wl_job *job_r, struct host_link *link, struct host_slot *slot,
		  struct arena *arena, struct json_slice object) must_check;
void host_job_release(struct wl_job *job);
/* The handler returned this: appends the line that ends the attempt to the link. */
void host_job_finish(struct wl_job *job, enum wl_outcome returned);
/* Parses text and keeps it as long as the job; NULL when it is not JSON: *reason_r says why. */
json_t *host_job_parse(struct wl_job *job, const char *text, size_t bytes, const char **reason_r);
/* Sends {"job":…,"ask":n,MEMBERS} and waits for the answer; its line in the arena. Does not return
 * when the engine is gone. */
struct json_slice host_job_ask(struct wl_job *job, const char *members);
/* Reads what has come and marks cancelled jobs of this line. */
void host_job_notes(struct wl_job *job);
/* Appends {"job":"…", to the link's output. */
void host_job_open_line(struct wl_job *job);
/* Reports "retry" or "again" with the reason and leaves the process: what "ends" means in
 * windlass.h. */
_Noreturn void host_job_leave(struct wl_job *job, const char *key, const char *fmt, ...)
	printf_like(3, 4);
void host_job_unstage(struct wl_job *job); /* forgets writes, locks and follow-ups */

#endif
