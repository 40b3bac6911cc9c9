/* SPDX-License-Identifier: Apache-2.0 */
/* From definitions to the store's rows of types, queues and limits. Those of other versions of the
 * file stay. */
#include "common/store/registry.h"

#include <stdlib.h>

#include "common/base/arena.h"
#include "common/store/limits.h"

static int sync_types(struct store *store, const struct definitions *defs, struct error *err_r)
{
	struct arena *arena = arena_new(0);
	size_t count = definitions_type_count(defs);
	struct store_type *rows = xcalloc(count + 1, sizeof(*rows));
	int rc;

	for (size_t i = 0; i < count; i++) {
		const struct job_type *type = definitions_type_at(defs, i);

		rows[i] = (struct store_type){
			.name = type->name,
			.queue = type->queue,
			.priority = type->priority,
			.on_discard = type->on_discard,
			.hooks = webhook_hooks_text(arena, &type->hooks),
		};
	}
	rc = store_sync_types(store, rows, count, err_r);
	free(rows);
	arena_free(&arena);
	return rc;
}

static int sync_queues(struct store *store, const struct definitions *defs, struct error *err_r)
{
	size_t count = definitions_queue_count(defs);
	struct store_queue *rows = xcalloc(count + 1, sizeof(*rows));
	int rc;

	for (size_t i = 0; i < count; i++) {
		const struct queue_definition *queue = definitions_queue_at(defs, i);

		rows[i] = (struct store_queue){ .name = queue->name, .ordered = queue->ordered };
	}
	rc = store_sync_queues(store, rows, count, err_r);
	free(rows);
	return rc;
}

static struct limit limit_of(const struct limit_definition *limits)
{
	return (struct limit){
		.concurrency = limits->concurrency ? limits->concurrency : LIMIT_UNSET,
		.rate_per_s = limits->rate_per_s > 0 ? limits->rate_per_s : LIMIT_UNSET,
	};
}

static int sync_limits(struct store *store, const struct definitions *defs, struct error *err_r)
{
	size_t queues = definitions_queue_count(defs), types = definitions_type_count(defs);
	struct limits_row *rows = xcalloc(queues + types + 1, sizeof(*rows));
	int rc;

	for (size_t i = 0; i < queues; i++) {
		const struct queue_definition *queue = definitions_queue_at(defs, i);

		rows[i] = (struct limits_row){ LIMITS_QUEUE, queue->name, LIMITS_UNSET };
		rows[i].limits.all = limit_of(&queue->limits);
		rows[i].limits.key = limit_of(&queue->key_limits);
		rows[i].limits.fair = queue->fair ? 1 : LIMIT_UNSET;
		rows[i].limits.weights = queue->weights;
	}
	for (size_t i = 0; i < types; i++) {
		const struct job_type *type = definitions_type_at(defs, i);

		rows[queues + i] = (struct limits_row){ LIMITS_TYPE, type->name, LIMITS_UNSET };
		rows[queues + i].limits.all = limit_of(&type->limits);
	}
	rc = limits_sync(store, rows, queues + types, err_r);
	free(rows);
	return rc;
}

int registry_sync(struct store *store, const struct definitions *defs, struct error *err_r)
{
	if (sync_types(store, defs, err_r) < 0 || sync_queues(store, defs, err_r) < 0)
		return -1;
	return sync_limits(store, defs, err_r);
}
