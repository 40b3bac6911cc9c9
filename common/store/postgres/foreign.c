/* SPDX-License-Identifier: Apache-2.0 */
/* Jobs that the store sees late or that change hands: a foreign job whose end is not a success gets
 * its row of jobs, and a job that takes long becomes its worker's. Called by the fence, inside the
 * completion's transaction. */
#include "common/store/postgres/postgres_impl.h"
#include "common/store/ration.h"

/* What exists is left alone: the store has had the job since an earlier delivery. Jobs of one key
 * get their places in the order of the array. */
static const char store_foreign[] =
	"WITH item AS MATERIALIZED (SELECT i.*, nextval('windlass.job_seq') AS seq FROM"
	" unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::text[], $6::text[],"
	" $7::text[], $8::text[], $9::text[], $10::text[], $11::text[], $12::text[], $13::text[],"
	" $14::int8[], $15::int8[], $16::int8[], $17::int4[], $18::int4[], $19::int2[],"
	" $20::int2[], $21::int2[], $22::bool[], $23::bool[]) AS i(id, batch, adopted, tenant,"
	" owner, queue, type, payload, tags, order_key, fair_key, traceparent, reason, created_ms,"
	" timeout_ms, delay_ms, max_attempts, attempt, priority, kind, outcome, unchecked,"
	" counts)), stored AS (INSERT INTO windlass.jobs (id, seq, created, timeout_ms,"
	" max_attempts, priority, unchecked, tenant, owner, queue, type, payload, tags, order_key,"
	" fair_key, traceparent) SELECT id, seq, CASE WHEN created_ms > 0 THEN"
	" to_timestamp(created_ms / 1000.0) ELSE now() END, timeout_ms, max_attempts, priority,"
	" unchecked, tenant, owner, queue, type, payload, tags, order_key, fair_key, traceparent"
	" FROM item i WHERE NOT EXISTS (SELECT FROM windlass.done d WHERE d.id = i.id) ON CONFLICT"
	" (id) DO NOTHING RETURNING id), back AS (INSERT INTO windlass.ready (id, seq, due, since,"
	" attempt, priority, queue, order_key, fair_key) SELECT id, seq, CASE WHEN delay_ms > 0"
	" THEN now() + delay_ms * interval '1 ms' END, now() + greatest(delay_ms, 0) * interval"
	" '1 ms', attempt, priority, queue, order_key, fair_key FROM item WHERE kind = 2 AND id IN"
	" (SELECT id FROM stored) RETURNING queue, due), noted AS (INSERT INTO windlass.attempt"
	" (id, batch, at, attempt, outcome, counts, reason) SELECT id, batch, now(), attempt,"
	" outcome, counts, reason FROM item WHERE kind = 2 AND outcome <> 7 AND id IN (SELECT id"
	" FROM stored)), counted AS (INSERT INTO windlass.tally SELECT queue, count(*) FILTER"
	" (WHERE due IS NULL), count(*) FILTER (WHERE due IS NOT NULL) FROM back GROUP BY queue),"
	" held AS (INSERT INTO windlass.lease (batch, owner, taken, ids, attempts) SELECT adopted,"
	" $24::uuid, now(), ARRAY[id], ARRAY[attempt] FROM item WHERE kind = 4 AND id IN (SELECT"
	" id FROM stored)), opened AS (INSERT INTO windlass.order_open (queue, key, id) SELECT"
	" i.queue, i.order_key, i.id FROM item i JOIN windlass.queue q ON q.name = i.queue AND"
	" q.ordered WHERE kind = 4 AND order_key IS NOT NULL AND id IN (SELECT id FROM stored)"
	" ORDER BY i.queue, i.order_key ON CONFLICT DO NOTHING) SELECT id FROM stored";

static const Oid columns[] = {
	TYPE_UUID, TYPE_UUID, TYPE_UUID, TYPE_TEXT, TYPE_TEXT, TYPE_TEXT, TYPE_TEXT, TYPE_TEXT,
	TYPE_TEXT, TYPE_TEXT, TYPE_TEXT, TYPE_TEXT, TYPE_TEXT, TYPE_INT8, TYPE_INT8, TYPE_INT8,
	TYPE_INT4, TYPE_INT4, TYPE_INT2, TYPE_INT2, TYPE_INT2, TYPE_BOOL, TYPE_BOOL,
};

static void array_positive(struct array *array, int64_t n)
{
	if (n > 0)
		array_i64(array, n);
	else
		array_null(array);
}

static void add_row(struct array *const a[], const struct completion *item)
{
	const struct claimed_job *job = item->job;
	const char *const texts[] = { job->tenant,      job->owner,  job->queue,     job->type,
				      job->payload,     job->tags,   job->order_key, job->fair_key,
				      job->traceparent, item->reason };
	size_t n = 3;

	array_uuid(a[0], &job->id);
	array_uuid(a[1], &job->batch);
	array_uuid(a[2], &item->adopted);
	for (size_t i = 0; i < ARRAY_LEN(texts); i++, n++)
		array_text(a[n], texts[i]);
	array_i64(a[n++], job->created_ms);
	array_positive(a[n++], job->timeout_ms);
	array_i64(a[n++], item->delay_ms);
	array_positive(a[n++], job->max_attempts);
	array_i64(a[n++], job->attempt);
	array_i64(a[n++], job->priority);
	array_i64(a[n++], item->kind);
	array_i64(a[n++], item->outcome);
	array_bool(a[n++], job->unchecked);
	array_bool(a[n++], item->counts);
	CHECK(n == ARRAY_LEN(columns));
}

size_t foreign_send(struct postgres *pg, struct completion *const *items, size_t count,
		    const struct uuid *session)
{
	struct array *a[ARRAY_LEN(columns)];

	postgres_say(pg, store_foreign);
	for (size_t i = 0; i < ARRAY_LEN(columns); i++)
		a[i] = postgres_arg_array(pg, columns[i]);
	for (size_t i = 0; i < count; i++)
		if (completion_stores(items[i]))
			add_row(a, items[i]);
	postgres_arg_uuid(pg, session);
	return postgres_send(pg);
}

/* ---- adoption */

/* Runs after the leases are locked, in a snapshot of its own. What a job holds of limits goes with
 * it. */
static const char adopt[] =
	"WITH item AS MATERIALIZED (SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::int4[],"
	" $4::uuid[], $6::text[]) AS i(id, batch, attempt, adopted, slots)), won AS MATERIALIZED"
	" (SELECT i.*, l.slots IS NOT NULL AS limited FROM item i JOIN windlass.lease l ON l.batch ="
	" i.batch AND i.id = ANY (l.ids) WHERE NOT EXISTS (SELECT FROM windlass.done d WHERE d.id ="
	" i.id))," CUT_SQL(
		"won",
		"h.batch IN (SELECT batch FROM won)") ", held AS (INSERT INTO"
						      " windlass.lease (batch, owner, taken, ids, attempts, slots) SELECT adopted, $5::uuid, now(),"
						      " ARRAY[id], ARRAY[attempt], CASE WHEN limited THEN slots END FROM won) SELECT id FROM won";

size_t adopt_send(struct postgres *pg, struct completion *const *items, size_t count,
		  const struct uuid *session)
{
	postgres_say(pg, adopt);
	struct array *ids = postgres_arg_array(pg, TYPE_UUID),
		     *batches = postgres_arg_array(pg, TYPE_UUID);
	struct array *attempts = postgres_arg_array(pg, TYPE_INT4),
		     *adopted = postgres_arg_array(pg, TYPE_UUID);

	for (size_t i = 0; i < count; i++) {
		if (items[i]->kind != COMPLETION_ADOPT || items[i]->job->source)
			continue;
		array_uuid(ids, &items[i]->job->id);
		array_uuid(batches, &items[i]->job->batch);
		array_i64(attempts, items[i]->job->attempt);
		array_uuid(adopted, &items[i]->adopted);
	}
	postgres_arg_uuid(pg, session);
	struct array *slots = postgres_arg_array(pg, TYPE_TEXT);

	for (size_t i = 0; i < count; i++)
		if (items[i]->kind == COMPLETION_ADOPT && !items[i]->job->source)
			array_text(slots,
				   ration_slots_of(pg->scratch, items[i]->job->queue,
						   items[i]->job->type, items[i]->job->fair_key));
	return postgres_send(pg);
}
