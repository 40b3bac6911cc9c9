/* SPDX-License-Identifier: Apache-2.0 */
/* GET /v1/pools, PUT /v1/workers/{pool}, GET /v1/scaling/{name}, GET /stoppable: the pools of
 * workers, for people and for autoscalers. */
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/service/pool_state.h"
#include "producers/gateway/exchange.h"
#include "producers/gateway/routes.h"

static int ask_facts(struct exchange *exchange, struct store *store, struct error *err_r)
{
	return pool_facts_read(store, exchange_arena(exchange), exchange->own, err_r);
}

static void add_number(struct strbuf *json, const char *name, int64_t number)
{
	strbuf_printf(json, ",\"%s\":", name);
	strbuf_addi(json, number);
}

static void add_seconds(struct strbuf *json, const char *name, int64_t ms)
{
	if (ms < 0)
		strbuf_printf(json, ",\"%s\":null", name);
	else
		strbuf_printf(json, ",\"%s\":%.3f", name, (double)ms / 1000);
}

static double part(int busy, int hosts)
{
	return hosts > 0 ? (double)(busy < hosts ? busy : hosts) / hosts : 0;
}

/* ---- GET /v1/pools */

static void add_wanted(struct strbuf *json, const struct pool_wanted *wanted)
{
	char at[CLOCK_TEXT];

	add_number(json, "workers", wanted->workers);
	add_number(json, "hosts", wanted->hosts);
	strbuf_addstr(json, ",\"by\":");
	strbuf_json(json, wanted->who ? wanted->who : "file");
	if (wanted->at_ms)
		strbuf_printf(json, ",\"at\":\"%s\"", clock_format(wanted->at_ms, at));
	else
		strbuf_addstr(json, ",\"at\":null");
}

static void add_crew(struct strbuf *json, const struct pool_crew *crew)
{
	add_number(json, "running", crew->workers - crew->leaving);
	add_number(json, "leaving", crew->leaving);
	add_number(json, "hosts_running", crew->hosts);
	add_number(json, "busy", crew->busy);
	strbuf_printf(json, ",\"utilisation\":%.3f,\"rate\":%.2f", part(crew->busy, crew->hosts),
		      crew->rate_per_s);
}

static void add_autoscale(struct strbuf *json, const struct pool_autoscale *autoscale)
{
	if (!autoscale->max) {
		strbuf_addstr(json, ",\"autoscale\":null");
		return;
	}
	strbuf_printf(json, ",\"autoscale\":{\"min\":%d,\"max\":%d", autoscale->min,
		      autoscale->max);
	add_seconds(json, "age_seconds", autoscale->age_ms);
	strbuf_printf(json, ",\"utilisation\":%g", autoscale->utilisation);
	add_seconds(json, "calm_seconds", autoscale->calm_ms);
	strbuf_addch(json, '}');
}

static void add_queues(struct strbuf *json, const struct definitions *defs,
		       const struct pool_definition *pool)
{
	bool first = true;

	strbuf_addstr(json, ",\"queues\":[");
	for (size_t i = 0; i < definitions_queue_count(defs); i++) {
		const char *name = definitions_queue_at(defs, i)->name;

		if (definitions_pool_of_queue(defs, name) != pool)
			continue;
		if (!first)
			strbuf_addch(json, ',');
		strbuf_json(json, name);
		first = false;
	}
	strbuf_addch(json, ']');
}

/* Nodes whose counts are their own. */
static void add_nodes(struct strbuf *json, const struct exchange *exchange,
		      const struct pool_facts *facts, const struct pool_definition *pool)
{
	bool first = true;

	strbuf_addstr(json, ",\"nodes\":[");
	for (size_t i = 0; i < facts->row_count; i++) {
		const struct pool_row *row = &facts->rows[i];
		struct pool_wanted wanted;

		if (!*row->node || strcmp(row->pool, pool->name) != 0)
			continue;
		wanted = pool_wanted_on(facts->rows, facts->row_count, pool,
					exchange->gateway->settings, row->node);
		strbuf_addstr(json, first ? "{\"node\":" : ",{\"node\":");
		strbuf_json(json, row->node);
		add_wanted(json, &wanted);
		strbuf_addch(json, '}');
		first = false;
	}
	strbuf_addch(json, ']');
}

static void add_pool(struct strbuf *json, struct exchange *exchange, const struct pool_facts *facts,
		     const struct pool_definition *pool)
{
	struct pool_state state;

	pool_state_make(facts, exchange->defs, pool, exchange->gateway->settings, &state);
	strbuf_addstr(json, "{\"name\":");
	strbuf_json(json, pool->name);
	add_wanted(json, &state.all);
	add_crew(json, &state.crew);
	add_autoscale(json, &pool->autoscale);
	add_queues(json, exchange->defs, pool);
	add_nodes(json, exchange, facts, pool);
	strbuf_addch(json, '}');
}

static void answer_pools(struct exchange *exchange)
{
	struct strbuf json;

	if (exchange->task.rc < 0) {
		exchange_refuse_store(exchange, &exchange->task.error);
		return;
	}
	strbuf_init(&json);
	strbuf_addstr(&json, "{\"items\":[");
	for (size_t i = 0; i < definitions_pool_count(exchange->defs); i++) {
		if (i)
			strbuf_addch(&json, ',');
		add_pool(&json, exchange, exchange->own, definitions_pool_at(exchange->defs, i));
	}
	strbuf_addstr(&json, "]}");
	exchange_answer(exchange, 200, &json);
}

void list_pools(struct exchange *exchange)
{
	exchange->own = ARENA_NEW(exchange_arena(exchange), struct pool_facts);
	if (exchange_check_params(exchange, NULL, 0))
		exchange_ask(exchange, ask_facts, answer_pools);
}

/* ---- PUT /v1/workers/{pool} */

struct scaling {
	const struct pool_definition *pool;
	struct pool_scale scale;
	struct pool_facts facts; /* afterwards */
};

static bool bad(struct exchange *exchange, const char *pointer, const char *detail)
{
	exchange_refuse_at(exchange, 422, "invalid", pointer, detail);
	return false;
}

/* Absent: as it is; null: as the file says. */
static bool read_count(struct exchange *exchange, const char *member, int least, int most,
		       int *count_r)
{
	struct arena *arena = exchange_arena(exchange);
	const json_t *value = json_object_get(exchange->body, member);

	*count_r = value ? POOL_AS_FILE : POOL_KEEP;
	if (!value || json_is_null(value))
		return true;
	if (!json_is_integer(value) || json_integer_value(value) < least ||
	    json_integer_value(value) > most)
		return bad(exchange, arena_printf(arena, "/%s", member),
			   arena_printf(arena,
					"expected a number from %d to %d, or null: as the "
					"file says",
					least, most));
	*count_r = (int)json_integer_value(value);
	return true;
}

static bool read_node(struct exchange *exchange, struct pool_scale *scale)
{
	const json_t *value = json_object_get(exchange->body, "node");
	const char *node = json_string_value(value);

	scale->node = "";
	if (!value || json_is_null(value))
		return true;
	if (!node || !job_name_valid(node))
		return bad(exchange, "/node", "expected the name of a node, or null: all of them");
	scale->node = node;
	return true;
}

static bool read_scale(struct exchange *exchange, struct scaling *scaling)
{
	const struct pool_autoscale *bounds = &scaling->pool->autoscale;
	struct pool_scale *scale = &scaling->scale;

	if (!read_node(exchange, scale) ||
	    !read_count(exchange, "workers", 0, POOL_WORKERS_LIMIT, &scale->workers) ||
	    !read_count(exchange, "hosts", 1, POOL_HOSTS_MAX, &scale->hosts))
		return false;
	if (scale->workers == POOL_KEEP && scale->hosts == POOL_KEEP)
		return bad(exchange, "", "expected workers or hosts");
	if (bounds->max && !*scale->node && scale->workers >= 0 &&
	    (scale->workers < bounds->min || scale->workers > bounds->max))
		return bad(exchange, "/workers",
			   arena_printf(exchange_arena(exchange),
					"this pool is autoscaled between %d and %d workers",
					bounds->min, bounds->max));
	return true;
}

static int ask_scale(struct exchange *exchange, struct store *store, struct error *err_r)
{
	struct scaling *scaling = exchange->own;
	char *detail = json_dumps(exchange->body, JSON_COMPACT);
	int rc = pool_scale(store, &scaling->scale,
			    exchange_audit(exchange, "pool.scale", scaling->pool->name, detail),
			    err_r);

	free(detail);
	if (rc < 0)
		return -1;
	return pool_facts_read(store, exchange_arena(exchange), &scaling->facts, err_r);
}

static void scale_answered(struct exchange *exchange)
{
	const struct scaling *scaling = exchange->own;
	struct strbuf json;

	if (exchange->task.rc < 0) {
		exchange_refuse_store(exchange, &exchange->task.error);
		return;
	}
	bell_ring(exchange->gateway->bell, BELL_SCALE);
	strbuf_init(&json);
	add_pool(&json, exchange, &scaling->facts, scaling->pool);
	exchange_answer(exchange, 200, &json);
}

void put_workers(struct exchange *exchange)
{
	static const char *const members[] = { "workers", "hosts", "node" };
	struct scaling *scaling = ARENA_NEW(exchange_arena(exchange), struct scaling);

	exchange->own = scaling;
	scaling->pool = definitions_pool(exchange->defs, exchange->part);
	if (!exchange_check_params(exchange, NULL, 0))
		return;
	if (!scaling->pool) {
		exchange_refuse(exchange, 404, "unknown-pool", "the definitions have no such pool");
		return;
	}
	scaling->scale.pool = scaling->pool->name;
	if (exchange_parse_body(exchange) &&
	    exchange_check_members(exchange, members, ARRAY_LEN(members)) &&
	    read_scale(exchange, scaling))
		exchange_ask(exchange, ask_scale, scale_answered);
}

/* ---- GET /v1/scaling/{name} */

/* Every figure is a number, so that a scaler can read each: what is not known yet is the estimate,
 * while nothing has ended lately. */
static void add_scaling(struct strbuf *json, const char *kind, const char *name,
			const struct pool_state *state, int64_t queued, int64_t in_flight,
			int64_t oldest_ms)
{
	int64_t waiting = state->available + state->queued;

	strbuf_addstr(json, "{\"name\":");
	strbuf_json(json, name);
	strbuf_printf(json, ",\"kind\":\"%s\",\"pool\":", kind);
	strbuf_json(json, state->pool->name);
	add_number(json, "queued", queued);
	add_seconds(json, "oldest_age_s", oldest_ms > 0 ? oldest_ms : 0);
	add_number(json, "in_flight", in_flight);
	if (waiting <= 0)
		strbuf_addstr(json, ",\"drain_estimate_s\":0");
	else if (state->crew.rate_per_s > 0)
		strbuf_printf(json, ",\"drain_estimate_s\":%.1f",
			      (double)waiting / state->crew.rate_per_s);
	else
		strbuf_addstr(json, ",\"drain_estimate_s\":null");
	add_number(json, "workers", state->all.workers);
	add_number(json, "running", state->crew.workers - state->crew.leaving);
	strbuf_printf(json, ",\"utilisation\":%.3f}", part(state->crew.busy, state->crew.hosts));
}

static void answer_scaling(struct exchange *exchange)
{
	const struct pool_facts *facts = exchange->own;
	const char *name = exchange->part;
	const struct pool_definition *pool = definitions_pool(exchange->defs, name);
	const struct queue_view *queue = pool ? NULL : pool_facts_queue(facts, name);
	static const struct queue_view empty = { .oldest_ms = -1 };
	struct pool_state state;
	struct strbuf json;

	if (exchange->task.rc < 0) {
		exchange_refuse_store(exchange, &exchange->task.error);
		return;
	}
	strbuf_init(&json);
	pool_state_make(facts, exchange->defs,
			pool ? pool : definitions_pool_of_queue(exchange->defs, name),
			exchange->gateway->settings, &state);
	queue = queue ? queue : &empty;
	if (pool)
		add_scaling(&json, "pool", name, &state, state.available + state.queued,
			    state.running, state.oldest_ms);
	else
		add_scaling(&json, "queue", name, &state,
			    (queue->paused ? 0 : queue->available) + queue->queued, queue->running,
			    queue->paused ? -1 : queue->oldest_ms);
	exchange_answer(exchange, 200, &json);
}

void get_scaling(struct exchange *exchange)
{
	exchange->own = ARENA_NEW(exchange_arena(exchange), struct pool_facts);
	if (!exchange_check_params(exchange, NULL, 0))
		return;
	if (!definitions_pool(exchange->defs, exchange->part) &&
	    !(definitions_queue(exchange->defs, exchange->part) &&
	      definitions_pool_of_queue(exchange->defs, exchange->part))) {
		exchange_refuse(exchange, 404, "unknown-pool",
				"the definitions have no such pool or queue");
		return;
	}
	exchange_ask(exchange, ask_facts, answer_scaling);
}

/* ---- GET /stoppable: of the whole `windlass run` */

void get_stoppable(struct exchange *exchange)
{
	int64_t in_hand = (int64_t)metrics_gauge(exchange->gateway->metrics, METRIC_JOBS_IN_FLIGHT);
	struct strbuf json;

	strbuf_init(&json);
	strbuf_addstr(&json, in_hand > 0 ? "{\"stoppable\":false" : "{\"stoppable\":true");
	add_number(&json, "in_hand", in_hand);
	strbuf_addch(&json, '}');
	exchange_answer(exchange, in_hand > 0 ? 503 : 200, &json);
}
