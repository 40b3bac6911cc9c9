/* SPDX-License-Identifier: Apache-2.0 */
/* For implementers of a store only: what a claim cursor (claim.h) remembers. */
#ifndef COMMON_STORE_CLAIM_CURSOR_H
#define COMMON_STORE_CLAIM_CURSOR_H
#include "common/store/claim.h"

/* The seq below which nothing is looked for; 0 after a second, and always for a NULL cursor. */
int64_t claim_cursor_after(struct claim_cursor *cursor, const char *queue,
			   enum job_priority priority);
void claim_cursor_took(struct claim_cursor *cursor, const char *queue, enum job_priority priority,
		       int64_t seq);
/* Scans start from the beginning again. True: they did not before, so another look may find more.
 */
bool claim_cursor_rewind(struct claim_cursor *cursor);
/* A number that goes up by one each time: which queue is looked at first. */
size_t claim_cursor_turn(struct claim_cursor *cursor);

#endif
