/* SPDX-License-Identifier: Apache-2.0 */
/* The jobs that one engine has in hand, by id: from the moment they came in until the store has
 * their end. Bounded. One thread. What a value is, is its owner's business. */
#ifndef COMMON_BROKER_INFLIGHT_H
#define COMMON_BROKER_INFLIGHT_H
#include <stdbool.h>
#include <stddef.h>

#include "common/base/uuid.h"

struct inflight;

struct inflight *inflight_new(size_t max);
void inflight_free(struct inflight **inflight); /* does not free the values */
/* False: the job is in hand already (a lease of ours ran out and we claimed it again), nothing is
 * changed. More than max at once is a bug: whoever takes asks inflight_room first. */
bool must_check inflight_add(struct inflight *inflight, const struct uuid *id, void *value);
void *inflight_get(const struct inflight *inflight, const struct uuid *id); /* NULL: not in hand */
void inflight_remove(struct inflight *inflight, const struct uuid *id);     /* must be in hand */
size_t inflight_count(const struct inflight *inflight);
size_t inflight_room(const struct inflight *inflight);
/* Copies up to max of the ids, in no order. Returns how many. */
size_t inflight_ids(const struct inflight *inflight, struct uuid *ids_r, size_t max);

#endif
