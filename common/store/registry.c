/* SPDX-License-Identifier: Apache-2.0 */
/* From definitions to the store's rows of types and queues. Those of other versions of the file
 * stay. */
#include "common/store/registry.h"

#include <stdlib.h>

#include "common/base/arena.h"

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

int registry_sync(struct store *store, const struct definitions *defs, struct error *err_r)
{
	if (sync_types(store, defs, err_r) < 0)
		return -1;
	return sync_queues(store, defs, err_r);
}
