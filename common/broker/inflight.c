/* SPDX-License-Identifier: Apache-2.0 */
/* The in-flight table: an idmap with a maximum and a rule for twins. Asked by the engine at every
 * arrival and end, and when cancel requests are looked for. */
#include "common/broker/inflight.h"

#include <stdlib.h>

#include "common/base/arena.h"
#include "common/base/idmap.h"

struct inflight {
	struct idmap *jobs;
	size_t max;
};

struct inflight *inflight_new(size_t max)
{
	struct inflight *inflight = xcalloc(1, sizeof(*inflight));

	CHECK(max > 0);
	inflight->jobs = idmap_new();
	inflight->max = max;
	return inflight;
}

void inflight_free(struct inflight **inflight)
{
	if (!*inflight)
		return;
	idmap_free(&(*inflight)->jobs);
	free(*inflight);
	*inflight = NULL;
}

bool inflight_add(struct inflight *inflight, const struct uuid *id, void *value)
{
	CHECK(value);
	if (idmap_get(inflight->jobs, id))
		return false;
	CHECK(inflight_count(inflight) < inflight->max);
	CHECK(!idmap_put(inflight->jobs, id, value));
	return true;
}

void *inflight_get(const struct inflight *inflight, const struct uuid *id)
{
	return idmap_get(inflight->jobs, id);
}

void inflight_remove(struct inflight *inflight, const struct uuid *id)
{
	CHECK(idmap_take(inflight->jobs, id));
}

size_t inflight_count(const struct inflight *inflight)
{
	return idmap_count(inflight->jobs);
}

size_t inflight_room(const struct inflight *inflight)
{
	return inflight->max - inflight_count(inflight);
}

size_t inflight_ids(const struct inflight *inflight, struct uuid *ids_r, size_t max)
{
	size_t cursor = 0, count = 0;
	void *value;

	while (count < max && idmap_next(inflight->jobs, &cursor, &ids_r[count], &value))
		count++;
	return count;
}
