/* SPDX-License-Identifier: Apache-2.0 */
/* Admission: one look-up for a batch of deliveries, and the dispatched jobs that may run, read as a
 * claim reads them. Reads only. */
#include "common/base/idmap.h"
#include "common/store/postgres/postgres_impl.h"

/* Leases are taken apart once, not once for each of their jobs. IS TRUE: looked up in a hash table
 * whatever the planner thinks of joins. */
static const char dispatched[] = "SELECT" CLAIMED_SQL(
	"j.seq") ", t.id, t.batch, t.attempt, t.limited FROM (SELECT u.id, u.attempt, l.taken AS"
		 " since, l.batch, l.slots IS NOT NULL AS limited FROM windlass.lease l CROSS JOIN LATERAL unnest(l.ids, l.attempts) AS u(id,"
		 " attempt) WHERE l.batch IN (SELECT unnest($2::uuid[])) AND (u.id IN (SELECT"
		 " unnest($1::uuid[]))) IS TRUE AND NOT EXISTS (SELECT FROM windlass.done d WHERE d.id ="
		 " u.id)) t JOIN windlass.jobs j ON j.id = t.id";

/* Only those with something to say. Where no id at all lies between the least and the greatest of
 * the batch, none of them is looked up: ids begin with their message's time. */
static const char foreign[] =
	"SELECT * FROM (SELECT i.n, (SELECT EXISTS (SELECT FROM windlass.done d WHERE d.id BETWEEN $7"
	" AND $8)) AND EXISTS (SELECT FROM windlass.done d WHERE d.id = i.id) OR (SELECT EXISTS"
	" (SELECT FROM windlass.jobs j WHERE j.id BETWEEN $7 AND $8)) AND EXISTS (SELECT FROM"
	" windlass.jobs j WHERE j.id = i.id) AS known, i.ms BETWEEN 1 AND (extract(epoch FROM"
	" clock_timestamp()) * 1000)::int8 - $6::int8 AS old, i.key IS NOT NULL AND (EXISTS"
	" (SELECT FROM windlass.order_open o WHERE o.queue = i.queue AND o.key = i.key) OR EXISTS"
	" (SELECT FROM windlass.ready r WHERE r.queue = i.queue AND r.order_key = i.key)) AS behind"
	" FROM unnest($1::uuid[], $2::int8[], $3::text[], $4::text[], $5::int4[]) AS i(id, ms,"
	" queue, key, n) OFFSET 0) AS q WHERE known OR old OR behind";

struct check {
	struct postgres *pg;
	struct admission *items;
	size_t count;
	struct idmap *by_id;        /* the dispatched ones */
	size_t dispatched, foreign; /* places in the flight; SIZE_MAX: there are none */
	struct claim claim;         /* jobs that may run */
};

static bool is_foreign(const struct admission *item)
{
	return uuid_is_nil(&item->batch);
}

static void send_dispatched(struct check *c)
{
	postgres_say(c->pg, dispatched);
	struct array *ids = postgres_arg_array(c->pg, TYPE_UUID),
		     *batches = postgres_arg_array(c->pg, TYPE_UUID);

	for (size_t i = 0; i < c->count; i++) {
		if (is_foreign(&c->items[i]))
			continue;
		array_uuid(ids, &c->items[i].id);
		array_uuid(batches, &c->items[i].batch);
		idmap_put(c->by_id, &c->items[i].id, &c->items[i]);
	}
	if (ids->count)
		c->dispatched = postgres_send(c->pg);
}

static void send_foreign(struct check *c, int64_t keep_ms)
{
	postgres_say(c->pg, foreign);
	struct array *ids = postgres_arg_array(c->pg, TYPE_UUID),
		     *times = postgres_arg_array(c->pg, TYPE_INT8);
	struct array *queues = postgres_arg_array(c->pg, TYPE_TEXT),
		     *keys = postgres_arg_array(c->pg, TYPE_TEXT),
		     *numbers = postgres_arg_array(c->pg, TYPE_INT4);
	const struct uuid *least = NULL, *greatest = NULL;

	for (size_t i = 0; i < c->count; i++) {
		const struct admission *item = &c->items[i];

		if (!is_foreign(item))
			continue;
		if (!least || uuid_compare(&item->id, least) < 0)
			least = &item->id;
		if (!greatest || uuid_compare(&item->id, greatest) > 0)
			greatest = &item->id;
		array_uuid(ids, &item->id);
		array_i64(times, uuid_time_ms(&item->id));
		array_text(queues, item->queue);
		array_text(keys, item->queue ? item->order_key : NULL);
		array_i64(numbers, (int64_t)i);
	}
	if (!least)
		return;
	postgres_arg_i64(c->pg, keep_ms);
	postgres_arg_uuid(c->pg, least);
	postgres_arg_uuid(c->pg, greatest);
	c->foreign = postgres_send(c->pg);
}

static void read_dispatched(struct check *c)
{
	const PGresult *result = postgres_result(c->pg, c->dispatched);

	c->claim.jobs =
		ARENA_ARRAY(c->pg->scratch, struct claimed_job *, (size_t)PQntuples(result));
	for (int row = 0; row < PQntuples(result); row++) {
		struct uuid id = result_uuid(result, row, CLAIMED_COLUMNS),
			    batch = result_uuid(result, row, CLAIMED_COLUMNS + 1);
		const struct admission *item = idmap_get(c->by_id, &id);

		if (!uuid_equal(&item->batch, &batch) ||
		    result_i64(result, row, CLAIMED_COLUMNS + 2) != item->attempt)
			continue;
		struct claimed_job *job = claimed_read(result, row, &batch);

		job->limited = result_bool(result, row, CLAIMED_COLUMNS + 3);
		c->claim.jobs[c->claim.count++] = job;
	}
}

static void read_foreign(struct check *c)
{
	const PGresult *result = postgres_result(c->pg, c->foreign);

	for (int row = 0; row < PQntuples(result); row++)
		c->items[result_i64(result, row, 0)].verdict =
			result_bool(result, row, 1)   ? ADMISSION_KNOWN
			: result_bool(result, row, 2) ? ADMISSION_TOO_OLD
			: result_bool(result, row, 3) ? ADMISSION_BEHIND
						      : ADMISSION_RUN;
}

static int run(struct check *c, int64_t keep_ms, struct error *err_r)
{
	send_dispatched(c);
	send_foreign(c, keep_ms);
	if (postgres_fly(c->pg, err_r) < 0)
		return -1;
	if (c->foreign != SIZE_MAX)
		read_foreign(c);
	if (c->dispatched != SIZE_MAX)
		read_dispatched(c);
	return c->claim.count ? claimed_add_past(c->pg, &c->claim, err_r) : 0;
}

int postgres_admission_check(struct store *store, struct admission *items, size_t count,
			     int64_t keep_ms, struct error *err_r)
{
	struct check c = {
		.pg = postgres_of(store),
		.items = items,
		.count = count,
		.dispatched = SIZE_MAX,
		.foreign = SIZE_MAX,
	};

	if (postgres_enter(c.pg, err_r) < 0)
		return -1;
	for (size_t i = 0; i < count; i++)
		items[i].verdict = is_foreign(&items[i]) ? ADMISSION_RUN : ADMISSION_KNOWN;
	c.by_id = idmap_new();
	int rc = run(&c, keep_ms, err_r);

	for (size_t i = 0; rc == 0 && i < c.claim.count; i++) {
		struct admission *item = idmap_get(c.by_id, &c.claim.jobs[i]->id);

		item->job = c.claim.jobs[i];
		item->verdict = ADMISSION_RUN;
	}
	if (rc < 0)
		claimed_forget(&c.claim);
	idmap_free(&c.by_id);
	return rc;
}
