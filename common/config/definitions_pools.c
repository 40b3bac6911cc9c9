/* SPDX-License-Identifier: Apache-2.0 */
/* Pools: which workers serve which queues. Every queue is in exactly one pool: what no pool names
 * is in `default`, which is there by itself when it is needed. */
#include "common/config/definitions_pools.h"

#include <stddef.h>
#include <string.h>

#include "common/config/definitions_impl.h"
#include "common/config/settings.h"

#define POOL(field) offsetof(struct pool_definition, field)

static const struct key_row autoscale_rows[] = {
	{ .name = "min",
	  .kind = KEY_INT,
	  .offset = POOL(autoscale.min),
	  .max = POOL_WORKERS_LIMIT,
	  .default_text = "1",
	  .help = "Fewest workers of each node." },
	{ .name = "max",
	  .kind = KEY_INT,
	  .offset = POOL(autoscale.max),
	  .min = 1,
	  .max = POOL_WORKERS_LIMIT,
	  .required = true,
	  .help = "Most workers of each node." },
	{ .name = "age",
	  .kind = KEY_DURATION,
	  .offset = POOL(autoscale.age_ms),
	  .min = 100,
	  .max = 86400000,
	  .default_text = "5s",
	  .help = "Workers are added while the oldest available job is older." },
	{ .name = "utilisation",
	  .kind = KEY_PART,
	  .offset = POOL(autoscale.utilisation),
	  .default_text = "0.8",
	  .help = "The part of the hosts that is to be busy: workers are added above it, and taken away when fewer would stay below it." },
	{ .name = "calm",
	  .kind = KEY_DURATION,
	  .offset = POOL(autoscale.calm_ms),
	  .min = 1000,
	  .max = 86400000,
	  .default_text = "1m",
	  .help = "Fewer workers must have been enough for so long before some are taken away." },
};
static const struct key_rows autoscale_keys = KEY_ROWS(autoscale_rows);

static const struct key_row pool_rows[] = {
	{ .name = "queues",
	  .kind = KEY_TEXTS,
	  .offset = POOL(queues),
	  .max = 1000,
	  .help = "Queues that its workers serve. Those that no pool names are the pool default's." },
	{ .name = "workers",
	  .kind = KEY_INT,
	  .offset = POOL(workers),
	  .max = POOL_WORKERS_LIMIT,
	  .help = "Worker processes that each `windlass run` keeps for it; WINDLASS_WORKERS when absent." },
	{ .name = "hosts",
	  .kind = KEY_INT,
	  .offset = POOL(hosts),
	  .min = 1,
	  .max = 1024,
	  .help = "Jobs that one of its workers runs at once; WINDLASS_CONCURRENCY when absent." },
	{ .name = "autoscale",
	  .kind = KEY_MAP,
	  .members = &autoscale_keys,
	  .help = "Lets the number of workers follow the work." },
};
const struct key_rows definitions_pool_keys = KEY_ROWS(pool_rows);

/* ---- reading */

static const struct pool_definition *named_by(const struct definitions *defs, const char *queue)
{
	for (size_t i = 0; i < defs->pool_count; i++) {
		for (const char *const *q = defs->pools[i].queues; *q; q++) {
			if (strcmp(*q, queue) == 0)
				return &defs->pools[i];
		}
	}
	return NULL;
}

static void check_queues(struct key_reader *reader, struct definitions *defs,
			 const struct pool_definition *pool, struct yaml_place place)
{
	if (!*pool->queues && strcmp(pool->name, POOL_DEFAULT) != 0)
		problem_add(reader->problems, place,
			    "pool `%s` names no `queues`; only the pool default may do without",
			    pool->name);
	for (const char *const *queue = pool->queues; *queue; queue++) {
		const struct pool_definition *other = named_by(defs, *queue);

		if (!definitions_queue(defs, *queue) && strcmp(*queue, WEBHOOK_QUEUE) != 0)
			problem_add(reader->problems, place,
				    "pool `%s`: no type, source or queue definition names the "
				    "queue `%s`",
				    pool->name, *queue);
		if (other != pool)
			problem_add(reader->problems, place,
				    "queue `%s` is in the pools `%s` and `%s`; expected one",
				    *queue, other->name, pool->name);
	}
}

static void check_autoscale(struct key_reader *reader, struct pool_definition *pool,
			    const struct yaml_node *map)
{
	const struct yaml_node *node = map ? definitions_member(map, "autoscale") : NULL;

	if (!node)
		pool->autoscale = (struct pool_autoscale){ .max = 0 };
	else if (pool->autoscale.max && pool->autoscale.min > pool->autoscale.max)
		problem_add(reader->problems, node->place,
			    "`autoscale`: min %d is more than max %d", pool->autoscale.min,
			    pool->autoscale.max);
}

static void read_pool(struct key_reader *reader, struct definitions *defs,
		      const struct yaml_node *key, const struct yaml_node *value)
{
	struct pool_definition *pool = &defs->pools[defs->pool_count];
	const struct yaml_node *map = value->kind == YAML_MAP ? value : NULL;

	if (!job_name_valid(key->text)) {
		problem_add(reader->problems, key->place,
			    "bad name %s; expected " DEFINITIONS_NAME_RULE,
			    yaml_describe(key, reader->arena));
		return;
	}
	if (!map && !yaml_is_null(value))
		problem_add(reader->problems, value->place, "bad value %s of `%s`; expected a map",
			    yaml_describe(value, reader->arena), key->text);
	pool->name = key->text;
	pool->workers = -1;
	pool->line = key->place.line;
	pool->column = key->place.column;
	definitions_read_keys(reader, &definitions_pool_keys, map, pool);
	check_autoscale(reader, pool, map);
	defs->pool_count++;
	check_queues(reader, defs, pool, key->place);
}

void definitions_cover_pools(struct definitions *defs)
{
	static const char *const none[] = { NULL };
	bool covered = defs->pool_count > 0;

	for (size_t i = 0; i < defs->queue_count; i++)
		covered = covered && named_by(defs, defs->queues[i].name);
	if (!covered && !definitions_pool(defs, POOL_DEFAULT))
		defs->pools[defs->pool_count++] = (struct pool_definition){ .name = POOL_DEFAULT,
									    .queues = none,
									    .workers = -1 };
}

void definitions_read_pools(struct key_reader *reader, struct definitions *defs,
			    const struct yaml_node *node)
{
	const struct yaml_node *pools = node && node->kind == YAML_MAP ? node : NULL;

	if (node && !pools)
		problem_add(reader->problems, node->place,
			    "bad value %s of `pools`; expected a map",
			    yaml_describe(node, reader->arena));
	if (pools && pools->count >= POOLS_MAX) {
		problem_add(reader->problems, node->place, "`pools` has %zu; expected at most %d",
			    pools->count, POOLS_MAX - 1);
		pools = NULL;
	}
	defs->pools =
		ARENA_ARRAY(defs->arena, struct pool_definition, (pools ? pools->count : 0) + 1);
	for (size_t i = 0; pools && i < pools->count; i++)
		read_pool(reader, defs, pools->keys[i], pools->items[i]);
	definitions_cover_pools(defs);
}

/* ---- asking */

size_t definitions_pool_count(const struct definitions *defs)
{
	return defs->pool_count;
}

const struct pool_definition *definitions_pool_at(const struct definitions *defs, size_t index)
{
	CHECK(index < defs->pool_count);
	return &defs->pools[index];
}

const struct pool_definition *definitions_pool(const struct definitions *defs, const char *name)
{
	for (size_t i = 0; i < defs->pool_count; i++) {
		if (strcmp(defs->pools[i].name, name) == 0)
			return &defs->pools[i];
	}
	return NULL;
}

/* A queue that this file does not know is nobody's, unless there is a pool for such. */
const struct pool_definition *definitions_pool_of_queue(const struct definitions *defs,
							const char *queue)
{
	const struct pool_definition *pool = named_by(defs, queue);

	return pool ? pool : definitions_pool(defs, POOL_DEFAULT);
}

bool definitions_pool_serves(const struct definitions *defs, const char *pool, const char *queue)
{
	const struct pool_definition *of = *pool ? definitions_pool_of_queue(defs, queue) : NULL;

	return !*pool || (of && strcmp(of->name, pool) == 0);
}

bool definitions_pool_reads(const struct definitions *defs, const char *pool,
			    const struct source_definition *source)
{
	const struct job_type *type = source->type ? definitions_type(defs, source->type) : NULL;

	if (type)
		return definitions_pool_serves(defs, pool, type->queue);
	/* Its messages are of many types: the one for everything else reads it, else the first. */
	return !*pool ||
	       strcmp(pool, definitions_pool(defs, POOL_DEFAULT) ? POOL_DEFAULT
								 : defs->pools[0].name) == 0;
}

int pool_definition_workers(const struct pool_definition *pool, const struct settings *settings)
{
	int workers = pool->workers >= 0 ? pool->workers : settings->workers;

	if (!pool->autoscale.max)
		return workers;
	return workers < pool->autoscale.min   ? pool->autoscale.min
	       : workers > pool->autoscale.max ? pool->autoscale.max
					       : workers;
}

int pool_definition_hosts(const struct pool_definition *pool, const struct settings *settings)
{
	return pool->hosts ? pool->hosts : settings->concurrency;
}
