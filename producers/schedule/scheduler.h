/* SPDX-License-Identifier: Apache-2.0 */
/* The scheduler: one thread with one store connection that turns ticks of schedules into jobs. Any
 * number of them may run on one store, in as many processes; none leads. What is due, and what time
 * it is, the store says. */
#ifndef PRODUCERS_SCHEDULE_SCHEDULER_H
#define PRODUCERS_SCHEDULE_SCHEDULER_H
#include "common/config/definitions.h"
#include "common/service/metrics.h"
#include "common/store/bell.h"

struct scheduler_options {
	const char *database_url;
	size_t payload_bytes_max;
	struct bell *bell; /* rung after each commit; borrowed */
	struct metrics *metrics;
	/* a reference to the definitions of the moment; any thread */
	struct definitions *(*definitions)(void *ctx);
	void *ctx;
};

struct scheduler;

struct scheduler *scheduler_start(const struct scheduler_options *options);
/* Ends after the commit that runs. NULL-safe. */
void scheduler_stop(struct scheduler **scheduler);

#endif
