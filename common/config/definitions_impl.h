/* SPDX-License-Identifier: Apache-2.0 */
/* What a definitions object holds. For definitions.c, which fills it in, and definitions_lookup.c.
 */
#ifndef COMMON_CONFIG_DEFINITIONS_IMPL_H
#define COMMON_CONFIG_DEFINITIONS_IMPL_H
#include <stdatomic.h>

#include "common/base/arena.h"
#include "common/config/definitions.h"

struct definitions {
	atomic_int references;
	struct arena *arena;
	struct job_type *types; /* in the order of the file */
	size_t type_count;
	struct queue_definition *queues;
	size_t queue_count;
	struct source_definition *sources;
	size_t source_count;
	struct target_definition *targets;
	size_t target_count;
	struct pool_definition *pools;
	size_t pool_count;
	struct schedule_entry *schedules;
	size_t schedule_count;
	const struct job_type **by_name; /* sorted */
	const char *file;
	bool webhooks, webhooks_http;
};

#endif
