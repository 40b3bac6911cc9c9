/* SPDX-License-Identifier: Apache-2.0 */
/* Jobs become rows: jobs, ready and a tally, in one statement over arrays. Used by acceptance, by
 * follow-ups of completions and by on_discard; and unique keys, which decide beforehand whether a
 * job is stored at all. */
#include <string.h>

#include "common/base/idmap.h"
#include "common/store/postgres/postgres_impl.h"

#define NEW_JOB_ITEMS                                                                            \
	"WITH item AS MATERIALIZED (SELECT i.*, nextval('windlass.job_seq') AS seq, CASE WHEN"   \
	" delay_ms > 0 THEN now() + delay_ms * interval '1 ms' WHEN due_ms > 0"                  \
	" AND to_timestamp(due_ms / 1000.0) > now() THEN to_timestamp(due_ms / 1000.0) END AS"   \
	" due FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[],"           \
	" $6::text[], $7::int2[], $8::int8[], $9::int8[], $10::int4[], $11::int8[],"             \
	" $12::text[], $13::text[], $14::text[], $15::text[], $16::text[], $17::bytea[]) AS"     \
	" i(id, tenant, owner, queue, type, payload, priority, due_ms, delay_ms, max_attempts,"  \
	" timeout_ms, tags, order_key, fair_key, unique_key, traceparent, fingerprint)), stored" \
	" AS (INSERT INTO windlass.jobs (id, seq, created, timeout_ms, max_attempts, priority,"  \
	" tenant, owner, queue, type, payload, tags, order_key, fair_key, unique_key,"           \
	" traceparent, fingerprint) SELECT id, seq, now(), timeout_ms, max_attempts, priority,"  \
	" tenant, owner, queue, type, payload, tags, order_key, fair_key, unique_key,"           \
	" traceparent, fingerprint FROM item"

#define NEW_JOB_READY(from)                                                                  \
	"), waiting AS (INSERT INTO windlass.ready (id, seq, due, since, priority, queue,"   \
	" order_key, fair_key) SELECT id, seq, due, coalesce(due, now()), priority, queue,"  \
	" order_key, fair_key FROM"                                                          \
	" " from " RETURNING id, queue, due), counted AS (INSERT INTO"                       \
	" windlass.tally SELECT queue, count(*) FILTER (WHERE due IS NULL), count(*) FILTER" \
	" (WHERE due IS NOT NULL) FROM waiting GROUP BY queue) SELECT id FROM waiting"       \
	" WHERE due IS NOT NULL"

static const char insert_new[] = NEW_JOB_ITEMS NEW_JOB_READY("item");
static const char insert_unknown[] =
	NEW_JOB_ITEMS " ON CONFLICT (id) DO NOTHING RETURNING id" NEW_JOB_READY(
		"item WHERE id IN (SELECT id FROM stored)");

static struct array *texts(struct postgres *pg)
{
	return postgres_arg_array(pg, TYPE_TEXT);
}

static void add_job(struct array *const *a, const struct new_job *job)
{
	array_uuid(a[0], &job->id);
	array_text(a[1], job->tenant);
	array_text(a[2], job->owner);
	array_text(a[3], job->queue);
	array_text(a[4], job->type);
	array_bytes(a[5], job->payload, job->payload_bytes);
	array_i64(a[6], job->priority);
	array_i64(a[7], job->due_ms);
	array_i64(a[8], job->delay_ms);
	if (job->max_attempts)
		array_i64(a[9], job->max_attempts);
	else
		array_null(a[9]);
	if (job->timeout_ms)
		array_i64(a[10], job->timeout_ms);
	else
		array_null(a[10]);
	array_text(a[11], job->tags);
	array_text(a[12], job->order_key);
	array_text(a[13], job->fair_key);
	array_text(a[14], job->unique_key);
	array_text(a[15], job->traceparent);
	array_bytes(a[16], job->client_id ? job->fingerprint : NULL, sizeof(job->fingerprint));
}

size_t postgres_insert_jobs(struct postgres *pg, struct new_job *const *jobs, size_t count,
			    bool skip_known)
{
	struct array *a[17];

	postgres_say(pg, skip_known ? insert_unknown : insert_new);
	a[0] = postgres_arg_array(pg, TYPE_UUID);
	for (size_t i = 1; i < 6; i++)
		a[i] = texts(pg);
	a[6] = postgres_arg_array(pg, TYPE_INT2);
	a[7] = postgres_arg_array(pg, TYPE_INT8);
	a[8] = postgres_arg_array(pg, TYPE_INT8);
	a[9] = postgres_arg_array(pg, TYPE_INT4);
	a[10] = postgres_arg_array(pg, TYPE_INT8);
	for (size_t i = 11; i < 16; i++)
		a[i] = texts(pg);
	a[16] = postgres_arg_array(pg, TYPE_BYTEA);
	for (size_t i = 0; i < count; i++)
		add_job(a, jobs[i]);
	return postgres_send(pg);
}

/* ---- unique keys */

/* The key of a job that has ended, or whose time is over, is free. Sorted, so that two batches
 * cannot deadlock. The ended job is looked up in this statement's snapshot: one that ends at this
 * very moment still counts as running. */
static const char take_keys[] =
	"INSERT INTO windlass.unique_key AS u (tenant, type, key, id, until)"
	" SELECT tenant, type, key, id, CASE WHEN for_ms > 0 THEN now() + for_ms * interval '1 ms'"
	" END FROM unnest($1::text[], $2::text[], $3::text[], $4::uuid[], $5::int8[]) AS i(tenant,"
	" type, key, id, for_ms) ORDER BY tenant, type, key ON CONFLICT (tenant, type, key) DO"
	" UPDATE SET id = excluded.id, until = excluded.until WHERE CASE WHEN u.until IS NOT NULL"
	" THEN u.until <= now() ELSE EXISTS (SELECT FROM windlass.done d WHERE d.id = u.id)"
	" OR NOT EXISTS (SELECT FROM windlass.jobs j WHERE j.id = u.id) END RETURNING id";

static const char who_has_keys[] =
	"SELECT i.n, u.id," JOB_STATE_SQL
	" FROM unnest($1::text[], $2::text[], $3::text[], $4::int4[]) AS i(tenant, type, key, n)"
	" JOIN windlass.unique_key u ON u.tenant = i.tenant AND u.type = i.type AND u.key = i.key"
	" LEFT JOIN windlass.done d ON d.id = u.id LEFT JOIN windlass.ready r ON r.id = u.id";

static const char move_key[] =
	"UPDATE windlass.unique_key SET id = $4::uuid, until = CASE WHEN $5::int8 > 0 THEN now() +"
	" $5 * interval '1 ms' END"
	" WHERE tenant = $1::text AND type = $2::text AND key = $3::text";

static size_t send_take(struct postgres *pg, struct new_job *const *jobs, size_t count)
{
	struct array *a[5];

	postgres_say(pg, take_keys);
	for (size_t i = 0; i < 5; i++)
		a[i] = postgres_arg_array(pg, i < 3 ? TYPE_TEXT : i == 3 ? TYPE_UUID : TYPE_INT8);
	for (size_t i = 0; i < count; i++) {
		array_text(a[0], jobs[i]->tenant);
		array_text(a[1], jobs[i]->type);
		array_text(a[2], jobs[i]->unique_key);
		array_uuid(a[3], &jobs[i]->id);
		array_i64(a[4], jobs[i]->unique_for_ms);
	}
	return postgres_send(pg);
}

static size_t send_who(struct postgres *pg, struct new_job *const *jobs, size_t count,
		       const bool *took)
{
	struct array *a[4];

	postgres_say(pg, who_has_keys);
	for (size_t i = 0; i < 4; i++)
		a[i] = postgres_arg_array(pg, i < 3 ? TYPE_TEXT : TYPE_INT4);
	for (size_t i = 0; i < count; i++) {
		if (took[i])
			continue;
		array_text(a[0], jobs[i]->tenant);
		array_text(a[1], jobs[i]->type);
		array_text(a[2], jobs[i]->unique_key);
		array_i64(a[3], (int64_t)i);
	}
	return postgres_send(pg);
}

/* The waiting job that holds the key is cancelled and this one takes the key; a job that runs keeps
 * it. */
static int replace(struct postgres *pg, const struct new_job *job, struct accepted_job *accepted,
		   struct error *err_r)
{
	bool ended = false;

	if (postgres_cancel_waiting(pg, &accepted->id, 1,
				    "replaced by a job with the same unique key", &ended,
				    err_r) < 0)
		return -1;
	if (!ended)
		return 0;
	accepted->replaced = accepted->id;
	accepted->id = job->id;
	accepted->unique_conflict = false;
	postgres_say(pg, move_key);
	postgres_arg_text(pg, job->tenant);
	postgres_arg_text(pg, job->type);
	postgres_arg_text(pg, job->unique_key);
	postgres_arg_uuid(pg, &job->id);
	postgres_arg_i64(pg, job->unique_for_ms);
	postgres_send(pg);
	return postgres_fly(pg, err_r);
}

static size_t mark_taken(struct postgres *pg, size_t place, struct new_job *const *jobs,
			 size_t count, bool *took)
{
	const PGresult *result = postgres_result(pg, place);
	struct idmap *taken = idmap_new();

	for (int row = 0; row < PQntuples(result); row++) {
		struct uuid id = result_uuid(result, row, 0);

		idmap_put(taken, &id, pg);
	}
	for (size_t i = 0; i < count; i++)
		took[i] = idmap_get(taken, &jobs[i]->id) != NULL;
	idmap_free(&taken);
	return (size_t)PQntuples(result);
}

int postgres_take_unique(struct postgres *pg, struct new_job *const *jobs, size_t count,
			 struct accepted_job *const *accepted_r, struct error *err_r)
{
	bool *took = ARENA_ARRAY(pg->scratch, bool, count);

	size_t place = send_take(pg, jobs, count);

	if (postgres_fly(pg, err_r) < 0)
		return -1;
	if (mark_taken(pg, place, jobs, count, took) == count)
		return 0;
	place = send_who(pg, jobs, count, took);
	if (postgres_fly(pg, err_r) < 0)
		return -1;
	const PGresult *result = postgres_result(pg, place);

	for (int row = 0; row < PQntuples(result); row++) {
		struct accepted_job *accepted = accepted_r[result_i64(result, row, 0)];

		accepted->unique_conflict = true;
		accepted->id = result_uuid(result, row, 1);
		accepted->state = (enum job_state)result_i64(result, row, 2);
	}
	for (size_t i = 0; i < count; i++)
		if (accepted_r[i]->unique_conflict && jobs[i]->unique_conflict == UNIQUE_REPLACE &&
		    replace(pg, jobs[i], accepted_r[i], err_r) < 0)
			return -1;
	return 0;
}
