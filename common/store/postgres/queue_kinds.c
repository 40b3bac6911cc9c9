/* SPDX-License-Identifier: Apache-2.0 */
/* What a connection knows of queues: whether there are ordered ones, and which have limits. It is
 * looked up with a claim, once a second; what a claim's own statement says is exact, so a queue
 * that has just become another kind is at most not served in between. */
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/store/postgres/postgres_impl.h"

#define KNOWN_MS 1000

static const char look[] =
	"SELECT q.name, q.ordered, q.managed > 0 FROM windlass.queue q WHERE q.ordered OR q.managed"
	" > 0";

void queue_kinds_forget(struct postgres *pg)
{
	for (size_t i = 0; i < pg->kinds.managed_count; i++)
		free(pg->kinds.managed[i]);
	free(pg->kinds.managed);
	pg->kinds = (struct queue_kinds){ .place = SIZE_MAX };
}

void queue_kinds_send(struct postgres *pg)
{
	pg->kinds.place = SIZE_MAX;
	if (pg->kinds.known_ms && clock_mono_ms() - pg->kinds.known_ms < KNOWN_MS)
		return;
	postgres_say(pg, look);
	pg->kinds.place = postgres_send(pg);
}

void queue_kinds_read(struct postgres *pg)
{
	if (pg->kinds.place == SIZE_MAX)
		return;
	const PGresult *result = postgres_result(pg, pg->kinds.place);

	queue_kinds_forget(pg);
	pg->kinds.known_ms = clock_mono_ms();
	pg->kinds.managed = xcalloc((size_t)PQntuples(result) + 1, sizeof(char *));
	for (int row = 0; row < PQntuples(result); row++) {
		pg->kinds.ordered = pg->kinds.ordered || result_bool(result, row, 1);
		if (result_bool(result, row, 2))
			pg->kinds.managed[pg->kinds.managed_count++] =
				xstrdup(result_text(result, row, 0));
	}
}

int queue_kinds_learn(struct postgres *pg, struct error *err_r)
{
	if (pg->kinds.known_ms)
		return 0;
	if (postgres_enter(pg, err_r) < 0)
		return -1;
	queue_kinds_send(pg);
	if (postgres_fly(pg, err_r) < 0)
		return -1;
	queue_kinds_read(pg);
	return 0;
}

bool queue_kinds_managed(const struct postgres *pg, const char *queue)
{
	for (size_t i = 0; i < pg->kinds.managed_count; i++)
		if (!strcmp(pg->kinds.managed[i], queue))
			return true;
	return false;
}
