/* SPDX-License-Identifier: Apache-2.0 */
/* The effects thread: the one store connection through which an engine commits what its jobs ended
 * in, and through which it takes the next ones. A batch is what arrived while the previous commit
 * ran; it never waits on a timer for more. All functions but effects_ring are called on the
 * engine's loop thread. */
#ifndef WORKERS_EFFECTS_EFFECTS_H
#define WORKERS_EFFECTS_EFFECTS_H
#include <stdint.h>

#include "common/broker/subscriber.h"
#include "common/service/metrics.h"
#include "common/store/bell.h"
#include "workers/effects/effect.h"

struct effects;

struct effects_options {
	struct store *store;           /* the thread's own from now on */
	struct subscriber *subscriber; /* the same */
	struct bell *bell;             /* is rung after commits */
	const struct consumer_ops *consumers;
	struct metrics *metrics;
};

struct effects *effects_new(const struct effects_options *options); /* starts the thread */
/* Readable when effects_collect has something. */
int effects_fd(const struct effects *effects);
/* Hands over all `count` effects in the list (emptied; no two open ones of one job but twins), and
 * says how many jobs may be claimed in all since the beginning: what has been collected plus the
 * room there is. */
void effects_submit(struct effects *effects, struct list *items, size_t count,
		    uint64_t claim_limit);
/* What came back: effects with their fates are appended to the list; claimed jobs, malloc'ed, are
 * the caller's with their array. */
void effects_collect(struct effects *effects, struct list *items_r, struct claimed_job ***jobs_r,
		     size_t *job_count_r);
/* Work may be available, look. Any thread. */
void effects_ring(struct effects *effects);
/* The subscriber has something to do, its `tend` is called soon. Any thread. */
void effects_tend(struct effects *effects);
/* Stops the thread: when `now` is false after everything submitted has been committed as long as
 * the store is there, else as soon as the store returns. Waits for it. What has no fate comes back
 * with fate 0 through effects_collect. */
void effects_stop(struct effects *effects, bool now);
void effects_free(struct effects **effects);

#endif
