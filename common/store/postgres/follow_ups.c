/* SPDX-License-Identifier: Apache-2.0 */
/* The jobs that write sets enqueue, and those that tell of a completed one. Those without a unique
 * key ride in the flight of their writes; whether one with a key is stored is decided after it,
 * when it is known whose writes stay, with the statements that acceptance uses. Called by
 * completion.c inside its transaction. */
#include <stdlib.h>
#include <string.h>

#include "common/base/idmap.h"
#include "common/store/postgres/postgres_impl.h"

/* Puts those jobs with or without a unique key into `list`, unless it is NULL; returns how many. */
static size_t add(struct new_job *jobs, size_t count, bool unique, struct new_job **list)
{
	size_t n = 0;

	for (size_t i = 0; i < count; i++) {
		if (!jobs[i].unique_key == unique)
			continue;
		if (list)
			list[n] = &jobs[i];
		n++;
	}
	return n;
}

static size_t collect(struct postgres *pg, struct completion *const *items, size_t count,
		      bool unique, struct new_job ***jobs_r)
{
	struct new_job **list = NULL;
	size_t n = 0;

	for (int pass = 0; pass < 2; pass++) {
		if (pass)
			*jobs_r = list = ARENA_ARRAY(pg->scratch, struct new_job *, n);
		n = 0;
		for (size_t i = 0; i < count; i++) {
			struct write_set *writes = &items[i]->writes;

			if (!completion_writes(items[i]))
				continue;
			n += add(writes->follow_ups, writes->follow_up_count, unique,
				 list ? list + n : NULL);
			n += add(items[i]->webhooks, items[i]->webhook_count, unique,
				 list ? list + n : NULL);
		}
		if (!n)
			return 0;
	}
	return n;
}

void follow_ups_send(struct postgres *pg, struct completion *const *items, size_t count)
{
	struct new_job **jobs;
	size_t n = collect(pg, items, count, false, &jobs);

	if (n)
		postgres_insert_jobs(pg, jobs, n, true);
}

/* ---- those with a key */

static const char known_ids[] = "SELECT id FROM windlass.jobs WHERE id = ANY ($1::uuid[])";

/* Ids are stable over attempts: one that is stored already must not meet its own key. */
static int leave_known(struct postgres *pg, struct new_job **jobs, size_t *count,
		       struct error *err_r)
{
	size_t n = 0;

	postgres_say(pg, known_ids);
	struct array *ids = postgres_arg_array(pg, TYPE_UUID);

	for (size_t i = 0; i < *count; i++)
		array_uuid(ids, &jobs[i]->id);
	size_t place = postgres_send(pg);

	if (postgres_fly(pg, err_r) < 0)
		return -1;
	if (!postgres_rows(pg, place))
		return 0;
	struct idmap *known = idmap_new();

	for (int row = 0; row < (int)postgres_rows(pg, place); row++) {
		struct uuid id = result_uuid(postgres_result(pg, place), row, 0);

		idmap_put(known, &id, known);
	}
	for (size_t i = 0; i < *count; i++)
		if (!idmap_get(known, &jobs[i]->id))
			jobs[n++] = jobs[i];
	*count = n;
	idmap_free(&known);
	return 0;
}

struct ranked {
	struct new_job *job;
	size_t place;
};

static int compare_keys(const struct new_job *a, const struct new_job *b)
{
	int rc = strcmp(a->tenant, b->tenant);

	rc = rc ? rc : strcmp(a->type, b->type);
	return rc ? rc : strcmp(a->unique_key, b->unique_key);
}

static int by_key(const void *a, const void *b)
{
	const struct ranked *x = a, *y = b;
	int rc = compare_keys(x->job, y->job);

	return rc ? rc : (x->place > y->place) - (x->place < y->place);
}

/* One job a key, the one that would be left if they came one after the other: the last that
 * replaces, or else the first. */
static void leave_twins(struct postgres *pg, struct new_job **jobs, size_t *count)
{
	struct ranked *ranked = ARENA_ARRAY(pg->scratch, struct ranked, *count);
	size_t n = 0;

	for (size_t i = 0; i < *count; i++)
		ranked[i] = (struct ranked){ jobs[i], i };
	qsort(ranked, *count, sizeof(*ranked), by_key);
	for (size_t i = 0; i < *count; i++) {
		struct new_job *job = ranked[i].job;

		if (!n || compare_keys(jobs[n - 1], job) != 0)
			jobs[n++] = job;
		else if (job->unique_conflict == UNIQUE_REPLACE)
			jobs[n - 1] = job;
	}
	*count = n;
}

int follow_ups_unique(struct postgres *pg, struct completion *const *items, size_t count,
		      struct error *err_r)
{
	struct new_job **jobs;
	size_t n = collect(pg, items, count, true, &jobs), kept = 0;

	if (!n)
		return 0;
	if (leave_known(pg, jobs, &n, err_r) < 0)
		return -1;
	leave_twins(pg, jobs, &n);
	struct accepted_job *answers = ARENA_ARRAY(pg->scratch, struct accepted_job, n);
	struct accepted_job **list = ARENA_ARRAY(pg->scratch, struct accepted_job *, n);

	for (size_t i = 0; i < n; i++)
		list[i] = &answers[i];
	if (n && postgres_take_unique(pg, jobs, n, list, err_r) < 0)
		return -1;
	for (size_t i = 0; i < n; i++)
		if (!answers[i].unique_conflict)
			jobs[kept++] = jobs[i];
	if (!kept)
		return 0;
	postgres_insert_jobs(pg, jobs, kept, true);
	return postgres_fly(pg, err_r);
}
