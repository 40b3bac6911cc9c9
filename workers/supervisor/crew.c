/* SPDX-License-Identifier: Apache-2.0 */
/* Who is to go: one that is down, else the one that came last: it has had the least time to take
 * something long. */
#include "workers/supervisor/crew.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/arena.h"
#include "common/base/log.h"

void crew_init(struct crew *crew, const struct definitions *defs, const struct settings *settings)
{
	*crew = (struct crew){ 0 };
	for (size_t i = 0; i < definitions_pool_count(defs); i++) {
		const struct pool_definition *pool = definitions_pool_at(defs, i);
		struct scale_order *order = &crew->wanted.list[crew->wanted.count++];

		snprintf(order->pool, sizeof(order->pool), "%s", pool->name);
		order->workers = pool_definition_workers(pool, settings);
	}
}

void crew_release(struct crew *crew)
{
	for (size_t i = 0; i < crew->count; i++)
		free(crew->workers[i]);
	free(crew->workers);
	*crew = (struct crew){ 0 };
}

static const struct scale_order *order_of(const struct scale_orders *orders, const char *pool)
{
	for (size_t i = 0; i < orders->count; i++) {
		if (strcmp(orders->list[i].pool, pool) == 0)
			return &orders->list[i];
	}
	return NULL;
}

void crew_order(struct crew *crew, const struct scale_orders *orders)
{
	for (size_t i = 0; i < orders->count; i++) {
		const struct scale_order *new = &orders->list[i];
		const struct scale_order *old = order_of(&crew->wanted, new->pool);

		if (!old || old->workers != new->workers)
			log_line(LOG_INFO, "pool-scaled", LOG_S("pool", new->pool),
				 LOG_I("from", old ? old->workers : 0), LOG_I("to", new->workers));
	}
	crew->wanted = *orders;
}

static void take_on(struct crew *crew, const char *pool)
{
	struct child *child = xcalloc(1, sizeof(*child));

	*child = (struct child){ .role = "work", .process = PROCESS_NONE };
	snprintf(child->pool, sizeof(child->pool), "%s", pool);
	if (crew->count == crew->room) {
		crew->room = 2 * crew->room + 8;
		crew->workers = xrealloc(crew->workers, crew->room * sizeof(*crew->workers));
	}
	crew->workers[crew->count++] = child;
}

static int in_pool(const struct crew *crew, const char *pool, struct child **last_r)
{
	int count = 0;

	*last_r = NULL;
	for (size_t i = 0; i < crew->count; i++) {
		struct child *child = crew->workers[i];

		if (child->retiring || strcmp(child->pool, pool) != 0)
			continue;
		count++;
		if (!*last_r || (*last_r)->process.pid || !child->process.pid)
			*last_r = child;
	}
	return count;
}

static void follow(struct crew *crew, const char *pool, int wanted)
{
	struct child *last;
	int count = in_pool(crew, pool, &last);

	for (; count < wanted; count++)
		take_on(crew, pool);
	while (count > wanted) {
		child_retire(last);
		count = in_pool(crew, pool, &last);
	}
}

void crew_follow(struct crew *crew)
{
	for (size_t i = 0; i < crew->wanted.count; i++)
		follow(crew, crew->wanted.list[i].pool, crew->wanted.list[i].workers);
	for (size_t i = 0; i < crew->count; i++) {
		struct child *child = crew->workers[i];

		if (!child->retiring && !order_of(&crew->wanted, child->pool))
			child_retire(child);
	}
}

void crew_forget_ended(struct crew *crew)
{
	size_t left = 0;

	for (size_t i = 0; i < crew->count; i++) {
		struct child *child = crew->workers[i];

		if (child->retiring && !child->process.pid)
			free(child);
		else
			crew->workers[left++] = child;
	}
	crew->count = left;
}
