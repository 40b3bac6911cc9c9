/* SPDX-License-Identifier: Apache-2.0 */
/* What roles look up in a definitions object: types, queues, sources, targets and schedules, by
 * name and by place. */
#include <string.h>

#include "common/config/definitions_impl.h"

const struct job_type *definitions_type(const struct definitions *defs, const char *name)
{
	size_t low = 0, high = defs->type_count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		int order = strcmp(name, defs->by_name[middle]->name);

		if (order == 0)
			return defs->by_name[middle];
		if (order < 0)
			high = middle;
		else
			low = middle + 1;
	}
	return NULL;
}

size_t definitions_type_count(const struct definitions *defs)
{
	return defs->type_count;
}

const struct job_type *definitions_type_at(const struct definitions *defs, size_t index)
{
	CHECK(index < defs->type_count);
	return &defs->types[index];
}

const struct queue_definition *definitions_queue(const struct definitions *defs, const char *name)
{
	for (size_t i = 0; i < defs->queue_count; i++) {
		if (strcmp(defs->queues[i].name, name) == 0)
			return &defs->queues[i];
	}
	return NULL;
}

size_t definitions_queue_count(const struct definitions *defs)
{
	return defs->queue_count;
}

const struct queue_definition *definitions_queue_at(const struct definitions *defs, size_t index)
{
	CHECK(index < defs->queue_count);
	return &defs->queues[index];
}

size_t definitions_source_count(const struct definitions *defs)
{
	return defs->source_count;
}

const struct source_definition *definitions_source_at(const struct definitions *defs, size_t index)
{
	CHECK(index < defs->source_count);
	return &defs->sources[index];
}

const struct source_definition *definitions_source(const struct definitions *defs, const char *name)
{
	for (size_t i = 0; i < defs->source_count; i++) {
		if (strcmp(defs->sources[i].name, name) == 0)
			return &defs->sources[i];
	}
	return NULL;
}

size_t definitions_target_count(const struct definitions *defs)
{
	return defs->target_count;
}

const struct target_definition *definitions_target_at(const struct definitions *defs, size_t index)
{
	CHECK(index < defs->target_count);
	return &defs->targets[index];
}

const struct target_definition *definitions_target(const struct definitions *defs, const char *name)
{
	for (size_t i = 0; i < defs->target_count; i++) {
		if (strcmp(defs->targets[i].name, name) == 0)
			return &defs->targets[i];
	}
	return NULL;
}

size_t definitions_schedule_count(const struct definitions *defs)
{
	return defs->schedule_count;
}

const struct schedule_entry *definitions_schedule_at(const struct definitions *defs, size_t index)
{
	CHECK(index < defs->schedule_count);
	return &defs->schedules[index];
}

const char *definitions_file(const struct definitions *defs)
{
	return defs->file;
}

const char *definitions_fair_key(const struct definitions *defs, const struct new_job *job)
{
	const struct queue_definition *queue = definitions_queue(defs, job->queue);
	bool tenant = queue && queue->tenant_keys && job->tenant && *job->tenant;

	return job->fair_key || !tenant ? job->fair_key : job->tenant;
}
