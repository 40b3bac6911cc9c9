/* SPDX-License-Identifier: Apache-2.0 */
/* How an engine is doing, for those who scale it: jobs in hand, hosts, jobs a second. Written by
 * the loop thread; read by the keeper, which puts it into the session, and by the admin listener.
 */
#ifndef WORKERS_ENGINE_FIGURES_H
#define WORKERS_ENGINE_FIGURES_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/store/session.h"

struct figures {
	_Atomic size_t in_hand;
	_Atomic int hosts;  /* that there may be */
	_Atomic int wanted; /* of these, as the keeper has read it; POOL_AS_FILE */
	_Atomic bool leaving;
	_Atomic double busy, rate_per_s; /* of late */
	/* the loop thread's */
	uint64_t ended;
	int64_t at_ms;
};

/* About once a second, loop thread. ended: jobs that are over, ever. */
void figures_tick(struct figures *figures, uint64_t ended, int64_t mono_ms);
/* Any thread. */
void figures_read(struct figures *figures, struct session_figures *read_r);

#endif
