/* SPDX-License-Identifier: Apache-2.0 */
/* References in the payload of a job that waits: "${after.<name>.result.a.b}", also state, reason
 * and id; "$${after." is a plain "${after.". A string that is nothing but a reference becomes the
 * value, in a longer one the value becomes text. Names of members are left alone. */
#ifndef COMMON_JOB_CHAIN_PAYLOAD_H
#define COMMON_JOB_CHAIN_PAYLOAD_H
#include "common/job/chain.h"

/* The same with "${row.a.b}" for the members of a row (JSON text), from which a batch makes a job.
 */
char *chain_payload_row(const char *payload, size_t bytes, const char *row, size_t row_bytes,
			struct arena *arena, char **reason_r) must_check;
/* Are all references to the row well-formed? NULL: yes. */
const char *chain_payload_row_fault(const char *payload, size_t bytes, struct arena *arena);

/* The payload with the values, in the arena; NULL: *reason_r says what is not there. */
char *chain_payload_fill(const char *payload, size_t bytes, const struct chain_edge *edges,
			 size_t count, struct arena *arena, char **reason_r) must_check;

#endif
