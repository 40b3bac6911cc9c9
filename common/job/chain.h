/* SPDX-License-Identifier: Apache-2.0 */
/* Chains: jobs that wait for other jobs, and what the ends of those put into their payloads. Pure;
 * the stores decide by it when a waiting job may run. */
#ifndef COMMON_JOB_CHAIN_H
#define COMMON_JOB_CHAIN_H
#include "common/base/arena.h"
#include "common/base/check.h"
#include "common/job/job.h"

#define CHAIN_PREVIOUS          "previous" /* the name of the job whose `then` this is */
#define CHAIN_PAYLOAD_BYTES_MAX (1024 * 1024)

/* A job that is waited for, as far as it has come. */
struct chain_edge {
	struct job_after after;
	enum job_state state;        /* terminal, or 0: it has not ended */
	const char *result, *reason; /* or NULL; the result is JSON text */
};

enum chain_verdict { CHAIN_WAITS = 1, CHAIN_FREE, CHAIN_DISCARD };

/* What becomes of a job with these edges. CHAIN_FREE: *payload_r is its payload with the references
 * replaced, or NULL when it stays as it is; CHAIN_DISCARD: *reason_r. Both live in the arena. */
enum chain_verdict chain_decide(const struct chain_edge *edges, size_t count, const char *payload,
				size_t payload_bytes, struct arena *arena, char **payload_r,
				char **reason_r) must_check;

/* Does the payload (JSON text) refer to jobs that are waited for? */
bool chain_refers(const char *payload, size_t bytes);
/* Are all its references well-formed, each to one of these? NULL: yes; else what is wrong, in the
 * arena. */
const char *chain_reference_fault(const char *payload, size_t bytes, const struct job_after *after,
				  size_t count, struct arena *arena);
/* The id of the n-th job of its `then`: the same however often the request is made. */
void chain_then_id(const struct uuid *id, size_t n, struct uuid *id_r);
/* Do jobs of one request wait for each other in a circle? *bad_r: one of them. */
bool chain_has_cycle(const struct new_job *jobs, size_t count, size_t *bad_r);

const char *edge_failure_name(enum edge_failure failure);
bool edge_failure_parse(const char *text, enum edge_failure *failure_r);

#endif
