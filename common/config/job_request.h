/* SPDX-License-Identifier: Apache-2.0 */
/* A job as a client or a handler asks for it, checked against the definitions: the one place that
 * turns a request into a struct new_job, for every door (REST, batch, follow-ups of handlers; later
 * schedules, brokers and the other doors). */
#ifndef COMMON_CONFIG_JOB_REQUEST_H
#define COMMON_CONFIG_JOB_REQUEST_H
#include "common/base/arena.h"
#include "common/config/definitions.h"
#include "common/job/job.h"
#include "common/json/json_text.h"

enum job_request_fault {
	JOB_REQUEST_INVALID = 1,  /* 422 with pointer */
	JOB_REQUEST_UNKNOWN_TYPE, /* 422 */
	JOB_REQUEST_PAYLOAD,      /* 422: its type refuses the payload */
	JOB_REQUEST_TOO_LARGE,    /* 413 */
};

struct job_request_error {
	enum job_request_fault fault;
	char pointer[256]; /* RFC 6901 into the request, "" for the whole */
	char message[256];
	/* JOB_REQUEST_PAYLOAD by the type's schema: all of it, in the arena; pointer and message
	 * are the first one's */
	struct schema_faults faults;
};

struct job_request_context {
	const struct definitions *defs;
	const char *tenant, *owner;
	bool after_any; /* new_job.after_any */
	bool unfilled;  /* the payload is filled in later: its type has no say yet */
	size_t payload_bytes_max;
	/* wall clock, for the age check of client-made ids (at most 24 h old, 5 minutes ahead) */
	int64_t now_ms;
};

/* request: text of an object {type, payload, id?, queue?, priority?, delay? | run_at?, order_key?,
 * fair_key?, unique?: {key, for, on_conflict}, max_attempts?, timeout?, tags?, callback_url?,
 * after?: [id | {id, on_failure?}] or {name: the same}, then?: one request like this or a list of
 * them, without id, after, delay, run_at and unique, with on_failure?};
 * root: the same parsed, or NULL: json_text_check has taken the text, and no tree is made of more
 * than it needs. Unknown members are refused by name. payload absent means {}. Strings of *job_r
 * live in the arena or in the request's text, which must outlive it. Without a client-made id a new
 * UUIDv7 is given. 0, or -1 with *err_r. */
int job_request_parse(const struct job_request_context *ctx, struct json_slice request,
		      json_t *root, struct arena *arena, struct new_job *job_r,
		      struct job_request_error *err_r) must_check;
/* The same for a follow-up that a handler staged: type and payload (JSON text, checked here) and
 * options (JSON object text of the same members without type, payload and id; or NULL); `id` is the
 * handler's or nil. */
int job_request_follow_up(const struct job_request_context *ctx, const struct uuid *id,
			  const char *type, struct json_slice payload, struct json_slice options,
			  struct arena *arena, struct new_job *job_r,
			  struct job_request_error *err_r) must_check;
/* Is this payload (valid JSON text) one that the type takes? For jobs that came in by SQL or a
 * broker. */
int job_request_payload(const struct job_type *type, struct json_slice payload, struct arena *arena,
			struct job_request_error *err_r) must_check;
/* One short line for people: "payload/amount: must be at least 1 (minimum)". root: what the
 * pointers begin at. */
const char *job_request_reason(const struct job_request_error *error, const char *root,
			       struct arena *arena);

#endif
