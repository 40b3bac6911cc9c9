/* SPDX-License-Identifier: Apache-2.0 */
/* The workers under one `windlass run`, by pool: how many there are to be, who is started for it,
 * and who retires. A worker that retires is nobody's any more; it stays until it has finished. */
#ifndef WORKERS_SUPERVISOR_CREW_H
#define WORKERS_SUPERVISOR_CREW_H
#include "common/config/definitions.h"
#include "workers/supervisor/child.h"
#include "workers/supervisor/scale_link.h"

struct crew {
	struct child **workers; /* in the order of their coming */
	size_t count, room;
	struct scale_orders wanted;
};

/* As the file and the settings say. */
void crew_init(struct crew *crew, const struct definitions *defs, const struct settings *settings);
void crew_release(struct crew *crew);
void crew_order(struct crew *crew, const struct scale_orders *orders);
/* Takes on and retires until there are as many as there are to be. Starts nobody itself. */
void crew_follow(struct crew *crew);
/* Forgets who has retired and ended. */
void crew_forget_ended(struct crew *crew);

#endif
