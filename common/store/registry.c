/* SPDX-License-Identifier: Apache-2.0 */
/* From definitions to the store's rows of types, queues and limits. Those of other versions of the
 * file stay. */
#include "common/store/registry.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/arena.h"
#include "common/config/schedule_definition.h"
#include "common/store/limits.h"
#include "common/store/schedule.h"

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

/* The first tick after now; the definitions were checked when they were read. */
static int first_tick(const char *definition, int64_t now_ms, struct arena *arena,
		      struct schedule_new *schedule, struct error *err_r)
{
	struct json_slice text = { definition, strlen(definition) };
	struct zones *zones = zones_new();
	struct schedule_definition parsed;
	struct job_request_error fault;
	struct json_error broken;
	json_t *root = json_text_parse(text.text, text.bytes, &broken);
	int rc = -1;

	if (root && schedule_definition_parse(text, root, zones, &parsed, &fault) == 0) {
		schedule->tenant = arena_strdup(arena, parsed.tenant);
		schedule->next_ms = timing_next(&parsed.timing, parsed.zone, now_ms);
		rc = 0;
	} else {
		error_set(err_r, ERROR_INVALID, "schedule %s: %s", schedule->name,
			  root ? fault.message : broken.message);
	}
	json_decref(root);
	zones_free(&zones);
	return rc;
}

int registry_sync_schedules(struct store *store, const struct definitions *defs,
			    struct error *err_r)
{
	size_t count = definitions_schedule_count(defs), changed;
	struct arena *arena = arena_new(0);
	struct schedule_new *rows = ARENA_ARRAY(arena, struct schedule_new, count + 1);
	int64_t now_ms;
	int rc = schedule_clock(store, &now_ms, err_r);

	for (size_t i = 0; rc == 0 && i < count; i++) {
		const struct schedule_entry *entry = definitions_schedule_at(defs, i);

		rows[i] = (struct schedule_new){ .name = entry->name,
						 .definition = entry->definition };
		rc = first_tick(entry->definition, now_ms, arena, &rows[i], err_r);
	}
	if (rc == 0)
		rc = schedule_sync(store, rows, count, &changed, err_r);
	arena_free(&arena);
	return rc;
}
