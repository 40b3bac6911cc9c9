/* SPDX-License-Identifier: Apache-2.0 */
/* The payload of an on_discard job: what is known of the job that ended, for the one that
 * compensates its steps. */
#ifndef COMMON_JOB_ON_DISCARD_H
#define COMMON_JOB_ON_DISCARD_H
#include "common/base/arena.h"
#include "common/job/job.h"

struct on_discard_source {
	struct uuid id;
	const char *type;
	const char *payload; /* JSON text */
	const char *steps;   /* JSON object text */
	const char *calls;   /* JSON object text {"charge":{"status":200,"body":"…"}}, or NULL */
	enum job_state state;
	const char *reason; /* or NULL */
};
/* {job,type,payload,steps,calls,state,reason} as JSON text in the arena. */
char *on_discard_payload(struct arena *arena, const struct on_discard_source *source);
/* The id of the on_discard job of `id`: always the same, so it exists at most once per end
 * (`attempt` of that end). */
void on_discard_id(const struct uuid *id, int attempt, struct uuid *id_r);

#endif
