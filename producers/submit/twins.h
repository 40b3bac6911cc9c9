/* SPDX-License-Identifier: Apache-2.0 */
/* Which requests may not share a transaction: two with the same idempotency key, client-made id or
 * unique key. Remembers hashes only, so a chance collision keeps a stranger waiting for one commit,
 * which is harmless. */
#ifndef PRODUCERS_SUBMIT_TWINS_H
#define PRODUCERS_SUBMIT_TWINS_H
#include "common/store/acceptance.h"

struct twins;

struct twins *twins_new(void);
void twins_free(struct twins **twins);
void twins_clear(struct twins *twins);
/* True: shares nothing with those added since the last clear, and is one of them now. False: a
 * twin, nothing was added. */
bool twins_add(struct twins *twins, const struct acceptance *request);

#endif
