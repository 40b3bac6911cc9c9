/* SPDX-License-Identifier: Apache-2.0 */
/* GET and PUT of /v1/queues/{name}/limits and /v1/types/{name}/limits, GET /v1/limits. What is set
 * here stands in the stead of the definitions file; what a PUT leaves out, or says null of, is the
 * file's again, and "none" is no limit whatever the file says. */
#include "common/store/limits.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/config/rate.h"
#include "common/store/audit.h"
#include "producers/gateway/exchange.h"
#include "producers/gateway/routes.h"

struct limits_ask {
	struct limits_row row;
	bool set;          /* PUT */
	const char *asked; /* the body, for the audit */
	struct limits_view *views;
	size_t count;
};

/* ---- answers */

static void add_rate(struct strbuf *json, double per_s)
{
	static const struct {
		const char *unit;
		double seconds;
	} units[] = { { "/s", 1 }, { "/m", 60 }, { "/h", 3600 } };
	size_t n = 0;

	/* The unit in which it is a whole number, if there is one. */
	while (n + 1 < ARRAY_LEN(units) &&
	       fabs(per_s * units[n].seconds - round(per_s * units[n].seconds)) > 1e-6)
		n++;
	strbuf_printf(json, "\"%.6g%s\"", per_s * units[n].seconds, units[n].unit);
}

static void add_limit(struct strbuf *json, const struct limit *limit)
{
	strbuf_addstr(json, "\"concurrency\":");
	if (limit->concurrency == LIMIT_UNSET)
		strbuf_addstr(json, "null");
	else if (limit->concurrency == LIMIT_NONE)
		strbuf_addstr(json, "\"none\"");
	else
		strbuf_addi(json, limit->concurrency);
	strbuf_addstr(json, ",\"rate\":");
	if (limit->rate_per_s < 0)
		strbuf_addstr(json, "null");
	else if (limit->rate_per_s == LIMIT_NONE)
		strbuf_addstr(json, "\"none\"");
	else
		add_rate(json, limit->rate_per_s);
}

static void add_limits(struct strbuf *json, const char *member, const struct limits *limits,
		       enum limits_kind kind)
{
	strbuf_printf(json, ",\"%s\":{", member);
	add_limit(json, &limits->all);
	if (kind == LIMITS_QUEUE) {
		strbuf_addstr(json, ",\"per_key\":{");
		add_limit(json, &limits->key);
		strbuf_printf(json, "},\"fair\":%s,\"weights\":%s",
			      limits->fair == LIMIT_UNSET ? "null"
			      : limits->fair              ? "true"
							  : "false",
			      limits->weights ? limits->weights : "null");
	}
	strbuf_addch(json, '}');
}

static void add_view(struct strbuf *json, const struct limits_view *view)
{
	struct limits force = limits_in_force(&view->file, &view->set);

	strbuf_printf(json,
		      "{\"of\":\"%s\",\"name\":", view->kind == LIMITS_TYPE ? "type" : "queue");
	strbuf_json(json, view->name);
	add_limits(json, "in_force", &force, view->kind);
	add_limits(json, "file", &view->file, view->kind);
	add_limits(json, "set", &view->set, view->kind);
	strbuf_addstr(json, ",\"in_hand\":");
	strbuf_addi(json, view->in_hand);
	strbuf_printf(json, ",\"next_seconds\":%.3f}", (double)view->spent_ms / 1000);
}

static void answer_one(struct exchange *exchange)
{
	const struct limits_ask *ask = exchange->own;
	struct limits_view none = {
		ask->row.kind, ask->row.name, LIMITS_UNSET, LIMITS_UNSET, 0, 0
	};
	const struct limits_view *view = &none;
	struct strbuf json;

	if (exchange->task.rc < 0) {
		exchange_refuse_store(exchange, &exchange->task.error);
		return;
	}
	if (ask->set) /* what waited may go now */
		bell_ring(exchange->gateway->bell, BELL_READY);
	for (size_t i = 0; i < ask->count; i++)
		if (ask->views[i].kind == ask->row.kind &&
		    !strcmp(ask->views[i].name, ask->row.name))
			view = &ask->views[i];
	strbuf_init(&json);
	add_view(&json, view);
	exchange_answer(exchange, 200, &json);
}

static void answer_all(struct exchange *exchange)
{
	const struct limits_ask *ask = exchange->own;
	struct strbuf json;

	if (exchange->task.rc < 0) {
		exchange_refuse_store(exchange, &exchange->task.error);
		return;
	}
	strbuf_init(&json);
	strbuf_addstr(&json, "{\"items\":[");
	for (size_t i = 0; i < ask->count; i++) {
		if (i)
			strbuf_addch(&json, ',');
		add_view(&json, &ask->views[i]);
	}
	strbuf_addstr(&json, "]}");
	exchange_answer(exchange, 200, &json);
}

static int ask_store(struct exchange *exchange, struct store *store, struct error *err_r)
{
	struct limits_ask *ask = exchange->own;
	const char *action = ask->row.kind == LIMITS_TYPE ? "type.limits" : "queue.limits";

	if (ask->set &&
	    limits_set(store, &ask->row,
		       exchange_audit(exchange, action, ask->row.name, ask->asked), err_r) < 0)
		return -1;
	return limits_list(store, exchange_arena(exchange), &ask->views, &ask->count, err_r);
}

/* ---- what is asked for */

static bool bad(struct exchange *exchange, const char *pointer, const char *detail)
{
	exchange_refuse_at(exchange, 422, "invalid", pointer, detail);
	return false;
}

static bool is_none(const json_t *value)
{
	return json_is_string(value) && !strcmp(json_string_value(value), "none");
}

/* prefix: "" or "/per_key" */
static bool read_limit(struct exchange *exchange, const json_t *from, const char *prefix,
		       struct limit *limit)
{
	const json_t *concurrency = json_object_get(from, "concurrency");
	const json_t *rate = json_object_get(from, "rate");
	json_int_t n = json_integer_value(concurrency);

	if (is_none(concurrency))
		limit->concurrency = LIMIT_NONE;
	else if (n >= 1 && n <= LIMIT_CONCURRENCY_MAX)
		limit->concurrency = n;
	else if (concurrency && !json_is_null(concurrency))
		return bad(exchange,
			   arena_printf(exchange_arena(exchange), "%s/concurrency", prefix),
			   "expected a whole number of 1..1000000, \"none\" or null");
	if (is_none(rate))
		limit->rate_per_s = LIMIT_NONE;
	else if (rate && !json_is_null(rate) &&
		 (!json_is_string(rate) ||
		  rate_parse(json_string_value(rate), LIMIT_RATE_MAX, &limit->rate_per_s) < 0))
		return bad(
			exchange, arena_printf(exchange_arena(exchange), "%s/rate", prefix),
			"expected a rate as in \"50/s\", \"100/m\" or \"1000/h\", \"none\" or null");
	return true;
}

static bool read_per_key(struct exchange *exchange, struct limits *limits)
{
	const json_t *per_key = json_object_get(exchange->body, "per_key");
	const char *name;
	json_t *value;

	if (!per_key || json_is_null(per_key))
		return true;
	if (!json_is_object(per_key))
		return bad(exchange, "/per_key", "expected an object");
	json_object_foreach((json_t *)(uintptr_t)per_key, name,
			    value) if (strcmp(name, "concurrency") != 0 &&
				       strcmp(name, "rate") !=
					       0) return bad(exchange,
							     arena_printf(exchange_arena(exchange),
									  "/per_key/%s", name),
							     "expected concurrency or rate");
	return read_limit(exchange, per_key, "/per_key", &limits->key);
}

static bool read_weights(struct exchange *exchange, struct limits *limits)
{
	json_t *weights = json_object_get(exchange->body, "weights"), *value;
	const char *key;

	if (!weights || json_is_null(weights))
		return true;
	if (!json_is_object(weights) || json_object_size(weights) > LIMIT_WEIGHTS_MAX)
		return bad(exchange, "/weights", "expected an object of at most 1000 members");
	json_object_foreach(weights, key, value) if (
		!json_is_integer(value) || json_integer_value(value) < 1 ||
		json_integer_value(value) > LIMIT_WEIGHT_MAX ||
		strlen(key) >
			JOB_KEY_MAX) return bad(exchange, "/weights",
						"expected whole numbers of 1..1000 by fair key");
	char *text = json_dumps(weights, JSON_COMPACT);

	limits->weights = arena_strdup(exchange_arena(exchange), text);
	free(text);
	return true;
}

static bool read_turns(struct exchange *exchange, struct limits *limits)
{
	const json_t *fair = json_object_get(exchange->body, "fair");

	if (fair && !json_is_null(fair) && !json_is_boolean(fair))
		return bad(exchange, "/fair", "expected true, false or null");
	if (json_is_boolean(fair))
		limits->fair = json_is_true(fair);
	return read_weights(exchange, limits);
}

static bool read_body(struct exchange *exchange, struct limits_ask *ask)
{
	static const char *const members[] = { "concurrency", "rate", "per_key", "fair",
					       "weights" };
	bool queue = ask->row.kind == LIMITS_QUEUE;
	struct limits *limits = &ask->row.limits;

	if (!exchange_parse_body(exchange) ||
	    !exchange_check_members(exchange, members, queue ? ARRAY_LEN(members) : 2))
		return false;
	char *text = json_dumps(exchange->body, JSON_COMPACT);

	ask->asked = arena_strdup(exchange_arena(exchange), text);
	free(text);
	return read_limit(exchange, exchange->body, "", &limits->all) &&
	       (!queue || (read_per_key(exchange, limits) && read_turns(exchange, limits)));
}

static void begin(struct exchange *exchange, enum limits_kind kind, bool set)
{
	struct limits_ask *ask = ARENA_NEW(exchange_arena(exchange), struct limits_ask);
	const char *name = exchange->part;
	bool known = job_name_valid(name) &&
		     (kind == LIMITS_TYPE ? definitions_type(exchange->defs, name) != NULL
					  : definitions_queue(exchange->defs, name) != NULL);

	exchange->own = ask;
	*ask = (struct limits_ask){ .row = { kind, name, LIMITS_UNSET }, .set = set };
	if (!exchange_check_params(exchange, NULL, 0))
		return;
	if (!known)
		exchange_refuse(exchange, 404,
				kind == LIMITS_TYPE ? "unknown-type" : "unknown-queue",
				"the definitions file does not name it");
	else if (!set || read_body(exchange, ask))
		exchange_ask(exchange, ask_store, answer_one);
}

void get_queue_limits(struct exchange *exchange)
{
	begin(exchange, LIMITS_QUEUE, false);
}

void put_queue_limits(struct exchange *exchange)
{
	begin(exchange, LIMITS_QUEUE, true);
}

void get_type_limits(struct exchange *exchange)
{
	begin(exchange, LIMITS_TYPE, false);
}

void put_type_limits(struct exchange *exchange)
{
	begin(exchange, LIMITS_TYPE, true);
}

void list_limits(struct exchange *exchange)
{
	exchange->own = ARENA_NEW(exchange_arena(exchange), struct limits_ask);
	if (exchange_check_params(exchange, NULL, 0))
		exchange_ask(exchange, ask_store, answer_all);
}
