/* SPDX-License-Identifier: Apache-2.0 */
/* A message that another service sent, as a job in memory: the store has no row of it yet. One that
 * is no job becomes one all the same, with a refusal: it is discarded, and so is kept where people
 * look for what went wrong. Pure, but for the wall clock that it is given. */
#ifndef CONSUMERS_SUBSCRIBE_FOREIGN_JOB_H
#define CONSUMERS_SUBSCRIBE_FOREIGN_JOB_H
#include "common/broker/message.h"
#include "common/config/definitions.h"
#include "common/store/claim.h"

#define FOREIGN_UNKNOWN_TYPE "windlass.undecodable" /* of a message that does not say any */

struct foreign_rules {
	const struct definitions *defs;
	const struct source_definition *source; /* NULL: it lay in a queue of ours */
	const char *name;                       /* of the source, or of the place where it lay */
	size_t payload_bytes_max;
	int64_t now_ms;
};

/* Never NULL; in an arena of its own, without a lease (batch). `refusal`: it is known already why
 * it is no job; or NULL. */
struct claimed_job *foreign_job(const struct message *message, const struct foreign_rules *rules,
				const char *refusal);
/* True: it takes its turn with others of its key, and *lane_r names that key. */
bool foreign_job_ordered(const struct claimed_job *job, const struct foreign_rules *rules,
			 struct uuid *lane_r);
/* What a broker says, as far as the store can keep it: in the arena, or static. */
const char *foreign_job_refusal(struct arena *arena, const char *reason);
/* Where a dead letter came from, by what the broker says: a source, or NULL. */
const struct source_definition *foreign_job_buried(const struct definitions *defs,
						   const struct message *message);

#endif
