/* SPDX-License-Identifier: Apache-2.0 */
/* Jobs become rows: jobs, ready and a tally, in one statement over arrays. Used by acceptance, by
 * follow-ups of completions and by on_discard; and unique keys, which decide beforehand whether a
 * job is stored at all. */
#include <string.h>

#include "common/base/idmap.h"
#include "common/store/postgres/postgres_impl.h"

/* ---- columns */

enum group { EACH_ITS_OWN = COLUMN_EACH_ITS_OWN, OF_CALLER, OF_TYPE, OF_TRACE, RARE };

/* clang-format off */
#define ALL_COLUMNS(X) \
	X(id, "uuid", TYPE_UUID, EACH_ITS_OWN) \
	X(payload, "text", TYPE_TEXT, EACH_ITS_OWN) \
	X(tenant, "text", TYPE_TEXT, OF_CALLER) \
	X(owner, "text", TYPE_TEXT, OF_CALLER) \
	X(queue, "text", TYPE_TEXT, OF_TYPE) \
	X(type, "text", TYPE_TEXT, OF_TYPE) \
	X(priority, "int8", TYPE_INT8, OF_TYPE) \
	X(traceparent, "text", TYPE_TEXT, OF_TRACE) \
	X(due_ms, "int8", TYPE_INT8, RARE) \
	X(delay_ms, "int8", TYPE_INT8, RARE) \
	X(max_attempts, "int8", TYPE_INT8, RARE) \
	X(timeout_ms, "int8", TYPE_INT8, RARE) \
	X(tags, "text", TYPE_TEXT, RARE) \
	X(order_key, "text", TYPE_TEXT, RARE) \
	X(fair_key, "text", TYPE_TEXT, RARE) \
	X(unique_key, "text", TYPE_TEXT, RARE) \
	X(callback, "text", TYPE_TEXT, RARE) \
	X(batch, "uuid", TYPE_UUID, RARE) \
	X(fingerprint, "bytea", TYPE_BYTEA, RARE)
/* clang-format on */

#define COLUMN_NUMBER(name, type, element, group) COLUMN_##name,
#define COLUMN_FACTS(name, type, element, group)  { #name, type, element, group },

enum column { ALL_COLUMNS(COLUMN_NUMBER) COLUMNS };

static const struct column_facts columns[COLUMNS] = { ALL_COLUMNS(COLUMN_FACTS) };

static struct cell cell_of(const void *rows, size_t row, size_t column)
{
	struct new_job *const *jobs = rows;
	const struct new_job *job = jobs[row];
	static const struct cell null;

	switch ((enum column)column) {
	case COLUMN_id:
		return cell_uuid(&job->id);
	case COLUMN_payload:
		return cell_bytes(job->payload, job->payload_bytes);
	case COLUMN_tenant:
		return cell_text(job->tenant);
	case COLUMN_owner:
		return cell_text(job->owner);
	case COLUMN_queue:
		return cell_text(job->queue);
	case COLUMN_type:
		return cell_text(job->type);
	case COLUMN_priority:
		return cell_number(job->priority);
	case COLUMN_traceparent:
		return cell_text(job->traceparent);
	case COLUMN_due_ms: /* a job that waits for others is due at infinity */
		return cell_number(job->after_count ? INT64_MAX : job->due_ms);
	case COLUMN_delay_ms:
		return cell_number(job->delay_ms);
	case COLUMN_max_attempts:
		return job->max_attempts ? cell_number(job->max_attempts) : null;
	case COLUMN_timeout_ms:
		return job->timeout_ms ? cell_number(job->timeout_ms) : null;
	case COLUMN_tags:
		return cell_text(job->tags);
	case COLUMN_order_key:
		return cell_text(job->order_key);
	case COLUMN_fair_key:
		return cell_text(job->fair_key);
	case COLUMN_unique_key:
		return cell_text(job->unique_key);
	case COLUMN_callback:
		return cell_text(job->callback);
	case COLUMN_batch:
		return uuid_is_nil(&job->run) ? null : cell_uuid(&job->run);
	case COLUMN_fingerprint:
		return job->client_id ? cell_bytes(job->fingerprint, sizeof(job->fingerprint))
				      : null;
	case COLUMNS:
		break;
	}
	CHECK(!"a column");
	return null;
}

/* ---- the statement */

#define IN_JOBS                                                                             \
	"id, seq, timeout_ms, max_attempts, priority, tenant, owner, queue, type, payload," \
	" tags, order_key, fair_key, unique_key, callback, batch, traceparent, fingerprint"
#define IN_READY "id, seq, due, priority, queue, order_key, fair_key"

static const char items_begin[] =
	"WITH item AS MATERIALIZED (SELECT i.*, nextval('windlass.job_seq') AS seq, CASE WHEN"
	" delay_ms > 0 THEN now() + delay_ms * interval '1 ms' WHEN due_ms > 0 THEN CASE WHEN"
	" due_ms = 9223372036854775807 THEN 'infinity' WHEN to_timestamp(due_ms / 1000.0) > now()"
	" THEN to_timestamp(due_ms / 1000.0) END END AS due FROM (";
static const char into_jobs[] = ") AS i), stored AS (INSERT INTO windlass.jobs (created, " IN_JOBS
				") SELECT now(), " IN_JOBS " FROM item";
static const char into_ready[] = "), waiting AS (INSERT INTO windlass.ready (since, " IN_READY
				 ") SELECT coalesce(due, now()), " IN_READY " FROM item";

#define COUNT_AND_TELL(from)                                                             \
	"), counted AS (INSERT INTO windlass.tally SELECT queue, count(*) FILTER (WHERE" \
	" due IS NULL), count(*) FILTER (WHERE due IS NOT NULL) FROM " from " GROUP BY"  \
	" queue) SELECT id FROM " from " WHERE due IS NOT NULL"

static const char all_new[] = COUNT_AND_TELL("item");
static const char skip_stored[] = " ON CONFLICT (id) DO NOTHING RETURNING id";
static const char those_stored[] =
	" WHERE id IN (SELECT id FROM stored) RETURNING id, queue, due" COUNT_AND_TELL("waiting");

static const char *statement_for(struct arena *arena, const struct columns *rows, unsigned arrays,
				 bool skip_known)
{
	struct strbuf sql;

	strbuf_init(&sql);
	strbuf_addstr(&sql, items_begin);
	columns_select(&sql, rows, arrays);
	strbuf_addstr(&sql, into_jobs);
	strbuf_addstr(&sql, skip_known ? skip_stored : "");
	strbuf_addstr(&sql, into_ready);
	strbuf_addstr(&sql, skip_known ? those_stored : all_new);
	const char *text = arena_strndup(arena, sql.data, sql.len);

	strbuf_release(&sql);
	return text;
}

size_t postgres_insert_jobs(struct postgres *pg, struct new_job *const *jobs, size_t count,
			    bool skip_known)
{
	struct columns rows = { columns, COLUMNS, cell_of, jobs, count };
	unsigned arrays = columns_differ(&rows);

	postgres_say(pg, statement_for(pg->scratch, &rows, arrays, skip_known));
	columns_args(pg, &rows, arrays);
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

static const char who_has_keys[] = "SELECT i.n, u.id," JOB_STATE_SQL(
	"u.id") " FROM unnest($1::text[], $2::text[], $3::text[], $4::int4[]) AS i(tenant, type, key, n)"
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

#define REPLACED "replaced by a job with the same unique key"

/* The job that holds the key and waits, be it on a broker, is cancelled and this one takes the key;
 * one that runs keeps it. */
static int replace(struct postgres *pg, const struct new_job *job, struct accepted_job *accepted,
		   struct error *err_r)
{
	bool ended = false;

	if (postgres_cancel_waiting(pg, &accepted->id, 1, REPLACED, &ended, err_r) < 0)
		return -1;
	if (!ended && accepted->state == JOB_QUEUED &&
	    postgres_cancel_queued(pg, &accepted->id, REPLACED, &ended, err_r) < 0)
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
