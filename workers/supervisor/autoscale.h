/* SPDX-License-Identifier: Apache-2.0 */
/* What an autoscaler decides, from one look at its pool. Pure. */
#ifndef WORKERS_SUPERVISOR_AUTOSCALE_H
#define WORKERS_SUPERVISOR_AUTOSCALE_H
#include "common/service/pool_state.h"

struct autoscale_verdict {
	int workers; /* of each node; POOL_KEEP */
	bool calm;   /* fewer would be enough */
};

/* calm_ms: for how long fewer have been enough; -1: they were not. */
struct autoscale_verdict autoscale_decide(const struct pool_state *state, int64_t calm_ms);

#endif
