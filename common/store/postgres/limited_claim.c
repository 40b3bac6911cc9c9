/* SPDX-License-Identifier: Apache-2.0 */
/* Claims from queues with limits or turns. One at a time in the whole cluster, so that two do not
 * take the same room: a transaction of its own that does not wait for the disk, of four round trips
 * (what is in force and in hand; perhaps a recount; the rows that may be taken; the taking). What
 * to take is decided by common/store/ration.h. */
#include <string.h>

#include "common/base/failpoint.h"
#include "common/store/claim_cursor.h"
#include "common/store/postgres/postgres_impl.h"
#include "common/store/ration.h"

#define BUSY_RETRY_MS 10 /* another one has had the lock for too long */

struct limited {
	struct postgres *pg;
	const struct claim_request *request;
	int64_t lease_ms;
	struct uuid *ids; /* of the rows, in their order */
	size_t id_count, id_cap;
	bool cursor; /* lanes begin where the last claim ended */
};

/* ---- what is in force and in hand */

/* A process that stops in the middle must not keep the others waiting for long. */
static const char take_lock[] = "SELECT set_config('synchronous_commit', 'off', true),"
				" set_config('idle_in_transaction_session_timeout', '2000', true),"
				" pg_advisory_xact_lock(1819112805)";
static const char read_clock[] = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::int8";
static const char read_rules[] =
	"SELECT kind, name, concurrency, rate, key_concurrency, key_rate, fair, weights"
	" FROM windlass.limits_in_force";
static const char read_slots[] = "SELECT slots FROM windlass.lease WHERE slots IS NOT NULL";
static const char read_rates[] = "SELECT kind, name, paid FROM windlass.limit_rate WHERE key = ''";
static const char read_queues[] =
	"SELECT name, managed, ordered FROM windlass.queue WHERE name IN (SELECT"
	" unnest($1::text[])) AND managed > 0 AND NOT paused";
/* Key by key, each by a look into the index: how many jobs a key has makes no difference. */
#define NEXT_KEY(behind)                                                                    \
	"SELECT f.fair_key FROM windlass.ready f WHERE f.queue = l.queue AND f.priority ="  \
	" p.priority AND f.due IS NULL AND f.fair_key IS NOT NULL AND f.fair_key > " behind \
	" ORDER BY f.fair_key LIMIT 1"
static const char read_keys[] =
	"SELECT l.queue, p.priority, k.key, r.paid FROM unnest($1::text[], $2::text[]) AS l(queue,"
	" behind) JOIN windlass.queue q ON q.name = l.queue AND q.managed = 2 AND NOT q.paused CROSS"
	" JOIN unnest('{0,1,2}'::int2[]) AS p(priority) CROSS JOIN LATERAL (WITH RECURSIVE walk(key,"
	" n) AS ((SELECT x.fair_key, 1 FROM (" NEXT_KEY("l.behind") ") x) UNION ALL SELECT (" NEXT_KEY(
		"w.key") "), w.n + 1 FROM walk w WHERE w.key IS NOT NULL AND w.n < $3::int4) SELECT key"
			 " FROM walk WHERE key IS NOT NULL) k LEFT JOIN windlass.limit_rate r ON r.key ="
			 " k.key AND r.kind = 0 AND r.name = l.queue ORDER BY l.queue, p.priority, k.key";
/* What leases say is what they held at first. */
static const char count_jobs[] =
	"SELECT j.queue, j.type, j.fair_key, count(*) FROM windlass.lease l CROSS JOIN LATERAL"
	" unnest(l.ids) AS u(id) JOIN windlass.jobs j ON j.id = u.id WHERE l.slots IS NOT NULL"
	" AND NOT EXISTS (SELECT FROM windlass.done d WHERE d.id = u.id) GROUP BY 1, 2, 3";

void limits_read_row(const PGresult *result, int row, int column, struct limits *limits_r)
{
	*limits_r = (struct limits)LIMITS_UNSET;
	if (!result_null(result, row, column))
		limits_r->all.concurrency = result_i64(result, row, column);
	if (!result_null(result, row, column + 1))
		limits_r->all.rate_per_s = result_f64(result, row, column + 1);
	if (!result_null(result, row, column + 2))
		limits_r->key.concurrency = result_i64(result, row, column + 2);
	if (!result_null(result, row, column + 3))
		limits_r->key.rate_per_s = result_f64(result, row, column + 3);
	if (!result_null(result, row, column + 4))
		limits_r->fair = result_bool(result, row, column + 4);
	if (!result_null(result, row, column + 5))
		limits_r->weights = result_text(result, row, column + 5);
}

struct places { /* in the flight */
	size_t clock, rules, slots, rates, queues, keys;
};

static size_t send_plain(struct postgres *pg, const char *sql)
{
	postgres_say(pg, sql);
	return postgres_send(pg);
}

static void send_state(struct limited *c, struct places *at)
{
	struct postgres *pg = c->pg;

	queue_kinds_send(pg);
	postgres_begin(pg);
	send_plain(pg, take_lock);
	at->clock = send_plain(pg, read_clock);
	at->rules = send_plain(pg, read_rules);
	at->slots = send_plain(pg, read_slots);
	at->rates = send_plain(pg, read_rates);
	postgres_say(pg, read_queues);
	struct array *names = postgres_arg_array(pg, TYPE_TEXT);

	for (size_t i = 0; i < c->request->queue_count; i++)
		array_text(names, c->request->queues[i]);
	at->queues = postgres_send(pg);
	postgres_say(pg, read_keys);
	names = postgres_arg_array(pg, TYPE_TEXT);
	struct array *behind = postgres_arg_array(pg, TYPE_TEXT);

	for (size_t i = 0; i < c->request->queue_count; i++) {
		array_text(names, c->request->queues[i]);
		array_text(behind, ration_keys_after(pg->ration, c->request->queues[i]));
	}
	postgres_arg_i32(pg, RATION_KEYS_MAX);
	at->keys = postgres_send(pg);
}

static void read_rules_of(struct postgres *pg, const struct places *at)
{
	const PGresult *result = postgres_result(pg, at->rules);
	struct limits limits;

	for (int row = 0; row < PQntuples(result); row++) {
		limits_read_row(result, row, 2, &limits);
		ration_rule(pg->ration, (enum limits_kind)result_i64(result, row, 0),
			    result_text(result, row, 1), &limits);
	}
	result = postgres_result(pg, at->slots);
	for (int row = 0; row < PQntuples(result); row++)
		ration_lease(pg->ration, result_text(result, row, 0));
	result = postgres_result(pg, at->rates);
	for (int row = 0; row < PQntuples(result); row++)
		ration_paid(pg->ration, (enum limits_kind)result_i64(result, row, 0),
			    result_text(result, row, 1), NULL, result_i64(result, row, 2));
}

/* In the order of the request, which begins elsewhere each time. */
static void read_queues_of(struct limited *c, const PGresult *result)
{
	size_t turn = claim_cursor_turn(c->request->cursor), count = c->request->queue_count;

	for (size_t i = 0; i < count; i++) {
		const char *queue = c->request->queues[(i + turn) % count];

		for (int row = 0; row < PQntuples(result); row++)
			if (!strcmp(result_text(result, row, 0), queue))
				ration_queue(c->pg->ration, queue, result_i64(result, row, 1) == 2,
					     result_bool(result, row, 2));
	}
}

static void read_keys_of(struct postgres *pg, const PGresult *result)
{
	for (int row = 0; row < PQntuples(result); row++) {
		const char *queue = result_text(result, row, 0), *key = result_text(result, row, 2);

		ration_key(pg->ration, queue, (enum job_priority)result_i64(result, row, 1), key);
		if (!result_null(result, row, 3))
			ration_paid(pg->ration, LIMITS_QUEUE, queue, key,
				    result_i64(result, row, 3));
	}
}

static int recount(struct postgres *pg, struct error *err_r)
{
	size_t place = send_plain(pg, count_jobs);

	if (postgres_fly(pg, err_r) < 0)
		return -1;
	const PGresult *result = postgres_result(pg, place);

	ration_recount(pg->ration);
	for (int row = 0; row < PQntuples(result); row++)
		ration_job(pg->ration, result_text(result, row, 0), result_text(result, row, 1),
			   result_text(result, row, 2), result_i64(result, row, 3));
	return 0;
}

static int read_state(struct limited *c, struct error *err_r)
{
	struct postgres *pg = c->pg;
	struct places at;

	send_state(c, &at);
	if (postgres_fly(pg, err_r) < 0)
		return -1;
	queue_kinds_read(pg);
	ration_begin(pg->ration, c->request->max, result_i64(postgres_result(pg, at.clock), 0, 0));
	read_rules_of(pg, &at);
	read_queues_of(c, postgres_result(pg, at.queues));
	read_keys_of(pg, postgres_result(pg, at.keys));
	return ration_tight(pg->ration) ? recount(pg, err_r) : 0;
}

/* ---- the rows that may be taken */

/* may: of an ordered queue only the first of a key of which none is handed out; a broker gets no
 * job whose cancel is asked. */
#define ROW                                                                                        \
	"SELECT r.id, r.seq, r.fair_key, (NOT l.ordered OR r.order_key IS NULL OR (NOT EXISTS"     \
	" (SELECT FROM windlass.order_open o WHERE o.queue = r.queue AND o.key = r.order_key) AND" \
	" NOT EXISTS (SELECT FROM windlass.ready e WHERE e.queue = r.queue AND e.order_key ="      \
	" r.order_key AND e.seq < r.seq))) AND (NOT $9::bool OR NOT EXISTS (SELECT FROM"           \
	" windlass.cancel c WHERE c.id = r.id)) AS may FROM windlass.ready r WHERE r.queue ="      \
	" l.queue AND r.priority = l.priority AND r.due IS NULL AND r.seq > l.after"
static const char read_rows[] =
	"SELECT l.n, r.id, r.seq, r.fair_key, r.may, CASE WHEN $10::bool THEN (SELECT j.type FROM"
	" windlass.jobs j WHERE j.id = r.id) END FROM unnest($1::int4[], $2::text[], $3::int2[],"
	" $4::text[], $5::bool[], $6::int8[], $7::int4[], $8::bool[]) AS l(n, queue, priority, key,"
	" keyed, after, most, ordered) CROSS JOIN LATERAL ((" ROW
	" AND NOT l.keyed ORDER BY r.seq LIMIT l.most) UNION ALL (" ROW
	" AND l.keyed AND r.fair_key IS NOT NULL AND r.fair_key = l.key ORDER BY r.seq LIMIT"
	" l.most)) r ORDER BY l.n, r.seq";

static int64_t lane_after(const struct limited *c, const struct ration_lane *lane)
{
	int64_t after = 0;

	if (c->cursor && lane->rows == LANE_ALL && !lane->ordered)
		after = claim_cursor_after(c->request->cursor, lane->queue, lane->priority);
	return after > lane->after ? after : lane->after;
}

static size_t send_rows(struct limited *c, const struct ration_lane *lanes, size_t count,
			bool typed)
{
	static const Oid types[] = { TYPE_INT4, TYPE_TEXT, TYPE_INT2, TYPE_TEXT,
				     TYPE_BOOL, TYPE_INT8, TYPE_INT4, TYPE_BOOL };
	struct array *a[ARRAY_LEN(types)];

	postgres_say(c->pg, read_rows);
	for (size_t i = 0; i < ARRAY_LEN(types); i++)
		a[i] = postgres_arg_array(c->pg, types[i]);
	for (size_t i = 0; i < count; i++) {
		array_i64(a[0], (int64_t)i);
		array_text(a[1], lanes[i].queue);
		array_i64(a[2], lanes[i].priority);
		array_text(a[3], lanes[i].key);
		array_bool(a[4], lanes[i].rows == LANE_KEY);
		array_i64(a[5], lane_after(c, &lanes[i]));
		array_i64(a[6], (int64_t)lanes[i].max);
		array_bool(a[7], lanes[i].ordered);
	}
	postgres_arg_bool(c->pg, c->lease_ms > 0);
	postgres_arg_bool(c->pg, typed);
	return postgres_send(c->pg);
}

static int look(struct limited *c, struct error *err_r)
{
	struct postgres *pg = c->pg;
	bool typed;
	size_t count;
	const struct ration_lane *lanes = ration_plan(pg->ration, &count, &typed);

	if (!count)
		return 0;
	c->cursor = !typed;
	size_t place = send_rows(c, lanes, count, typed);

	if (postgres_fly(pg, err_r) < 0)
		return -1;
	const PGresult *result = postgres_result(pg, place);

	c->id_count = (size_t)PQntuples(result);
	c->ids = ARENA_ARRAY(pg->scratch, struct uuid, c->id_count + 1);
	for (int row = 0; row < PQntuples(result); row++) {
		c->ids[row] = result_uuid(result, row, 1);
		ration_row(pg->ration, (size_t)result_i64(result, row, 0), &c->ids[row],
			   result_i64(result, row, 2), result_text(result, row, 5),
			   result_text(result, row, 3), result_bool(result, row, 4));
	}
	return 0;
}

/* ---- the taking */

static const char take_rows[] =
	"WITH picked AS MATERIALIZED (SELECT r.ctid AS place, r.id, r.queue, r.order_key,"
	" r.order_key IS NOT NULL AND q.ordered AS keyed FROM (SELECT unnest($1::uuid[]) AS id) i"
	" JOIN windlass.ready r ON r.id = i.id JOIN windlass.queue q ON q.name = r.queue WHERE"
	" r.due IS NULL FOR UPDATE OF r SKIP LOCKED), opened AS (INSERT INTO windlass.order_open"
	" (queue, key, id) SELECT queue, order_key, id FROM picked WHERE keyed ORDER BY queue,"
	" order_key ON CONFLICT DO NOTHING RETURNING id), taken AS (DELETE FROM windlass.ready WHERE"
	" ctid = ANY (ARRAY(SELECT place FROM picked WHERE NOT keyed OR id IN (SELECT id FROM"
	" opened))) RETURNING id, seq, queue, priority, attempt + 1 AS attempt, since), held AS"
	" (INSERT INTO windlass.lease (batch, owner, taken, ids, attempts, slots, until, queue)"
	" SELECT $2::uuid, $3::uuid, now(), array_agg(id), array_agg(attempt), $4::text, CASE WHEN"
	" $5::int8 > 0 THEN clock_timestamp() + $5 * interval '1 ms' END, $6::text FROM taken HAVING"
	" count(*) > 0), counted AS (INSERT INTO windlass.tally SELECT queue, -count(*), 0 FROM taken"
	" GROUP BY queue) SELECT" CLAIMED_SQL(
		"t.seq") " FROM taken t JOIN windlass.jobs j ON j.id ="
			 " t.id ORDER BY array_position($1::uuid[], t.id)";
static const char pay_rates[] =
	"INSERT INTO windlass.limit_rate AS r (key, kind, name, paid) SELECT * FROM"
	" unnest($1::text[], $2::int2[], $3::text[], $4::int8[]) AS i(key, kind, name, paid) ORDER BY"
	" 1, 2, 3 ON CONFLICT (key, kind, name) DO UPDATE SET paid = excluded.paid";

static void send_rates(struct postgres *pg)
{
	size_t count;
	const struct ration_rate *rates = ration_rates(pg->ration, &count);

	if (!count)
		return;
	postgres_say(pg, pay_rates);
	struct array *keys = postgres_arg_array(pg, TYPE_TEXT),
		     *kinds = postgres_arg_array(pg, TYPE_INT2),
		     *names = postgres_arg_array(pg, TYPE_TEXT),
		     *paid = postgres_arg_array(pg, TYPE_INT8);

	for (size_t i = 0; i < count; i++) {
		array_text(keys, rates[i].key ? rates[i].key : "");
		array_i64(kinds, rates[i].kind);
		array_text(names, rates[i].name);
		array_i64(paid, rates[i].paid_us);
	}
	postgres_send(pg);
}

static size_t send_take(struct limited *c, const size_t *chosen, size_t count)
{
	struct postgres *pg = c->pg;

	postgres_say(pg, take_rows);
	struct array *ids = postgres_arg_array(pg, TYPE_UUID);

	for (size_t i = 0; i < count; i++)
		array_uuid(ids, &c->ids[chosen[i]]);
	postgres_arg_uuid(pg, &c->request->batch);
	postgres_arg_uuid(pg, &c->request->session);
	postgres_arg_text(pg, ration_slots(pg->ration));
	postgres_arg_i64(pg, c->lease_ms);
	postgres_arg_text(pg, c->lease_ms ? c->request->queues[0] : NULL);
	size_t place = postgres_send(pg);

	send_rates(pg);
	return place;
}

static void read_taken(struct limited *c, const PGresult *result, struct arena *arena,
		       struct claim *claim_r)
{
	claim_r->count = (size_t)PQntuples(result);
	claim_r->jobs = ARENA_ARRAY(arena, struct claimed_job *, claim_r->count + 1);
	for (size_t i = 0; i < claim_r->count; i++) {
		struct claimed_job *job = claim_r->jobs[i] =
			claimed_read(result, (int)i, &c->request->batch);

		job->limited = true;
		if (c->cursor)
			claim_cursor_took(c->request->cursor, job->queue, job->priority, job->seq);
	}
}

/* -1: undo the transaction. 0: it is committed, or there was nothing to commit. */
static int run(struct limited *c, struct arena *arena, struct claim *claim_r, struct error *err_r)
{
	struct postgres *pg = c->pg;
	struct error err;
	size_t count;

	if (read_state(c, err_r) < 0 || look(c, err_r) < 0)
		return -1;
	const size_t *chosen = ration_choose(pg->ration, &count);

	claim_r->retry_ms = ration_retry_ms(pg->ration);
	if (!count) {
		ration_took(pg->ration);
		claim_r->retry_ms = ration_retry_ms(pg->ration);
		postgres_rollback(pg);
		return 0;
	}
	size_t place = send_take(c, chosen, count);

	if (FAILPOINT("claim_before_commit")) {
		postgres_drop(pg);
		return error_set(err_r, ERROR_UNAVAILABLE, "failpoint");
	}
	if (postgres_commit_fly(pg, err_r) < 0)
		return -1;
	if (FAILPOINT("claim_after_commit"))
		return error_set(err_r, ERROR_UNKNOWN, "failpoint");
	ration_took(pg->ration);
	claim_r->retry_ms = ration_retry_ms(pg->ration);
	read_taken(c, postgres_result(pg, place), arena, claim_r);
	count = claim_r->count;
	if (claimed_add_past(pg, claim_r, &err) < 0)
		claimed_forget(claim_r);
	claim_r->unread = count && !claim_r->count;
	return 0;
}

int postgres_limited_claim(struct postgres *pg, const struct claim_request *request,
			   int64_t lease_ms, struct arena *arena, struct claim *claim_r,
			   struct error *err_r)
{
	struct limited c = { .pg = pg, .request = request, .lease_ms = lease_ms };

	*claim_r = (struct claim){ 0 };
	if (postgres_enter(pg, err_r) < 0)
		return -1;
	if (!pg->ration)
		pg->ration = ration_new();
	if (run(&c, arena, claim_r, err_r) == 0)
		return 0;
	postgres_rollback(pg);
	*claim_r = (struct claim){ 0 };
	if (err_r->code != ERROR_CONTENTION)
		return -1;
	claim_r->retry_ms = BUSY_RETRY_MS;
	return 0;
}
