/* SPDX-License-Identifier: Apache-2.0 */
/* Runs each request through the checks and to its handler, and counts it when it ends. Everything
 * here is on server threads and never waits. */
#include "producers/gateway/front.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "producers/gateway/access.h"
#include "producers/gateway/admit.h"
#include "producers/gateway/event_stream.h"
#include "producers/gateway/exchange.h"
#include "producers/gateway/graphql_http.h"
#include "producers/gateway/limiter.h"
#include "producers/gateway/origin.h"
#include "producers/gateway/routes.h"
#include "producers/gateway/waiting.h"

#define CORS_MAX_AGE "600"
#define CORS_REQUEST_HEADERS \
	"Authorization, Content-Type, Idempotency-Key, Last-Event-ID, Prefer, traceparent"
#define CORS_ANSWER_HEADERS "Location, Retry-After, Idempotency-Replayed, Preference-Applied"
#define STATUS_COUNT        600
#define OTHER               route_count /* row of requests that match no route */

struct route_metrics {
	struct metric_series *seconds;
	_Atomic(struct metric_series *) by_status[STATUS_COUNT];
};

struct front {
	struct gateway *gateway;
	struct server *server; /* NULL: inner requests, which have neither Host nor Origin */
	struct route_metrics *metrics; /* route_count + 1 */
	_Atomic int port;              /* set again when the listener tells which one it got */
	bool admin; /* a separate admin listener on loopback: its admin routes ask for no key */
	bool tls;
	/* somebody may come in without a key: only loopback hosts and known origins */
	bool guarded;
};

/* ---- the checks; each is true, or has answered */

static bool check_host(struct front *front, struct exchange *exchange)
{
	const char *host = request_header(exchange->request, "Host");

	if (!front->guarded || (host && origin_host_is_loopback(host, front->port, front->tls)))
		return true;
	exchange_refuse(exchange, 421, "wrong-host",
			"without API keys only a loopback Host with this port is served");
	return false;
}

/* What lets a page of an allowed origin read the answer. True: it is one. */
static bool allow_origin(struct front *front, struct request *request)
{
	const char *origin = request_header(request, "Origin");
	bool allowed = origin && origin_list_has(front->gateway->origins, origin);

	request_answer_header(request, "Vary", "Origin");
	if (allowed) {
		request_answer_header(request, "Access-Control-Allow-Origin", origin);
		request_answer_header(request, "Access-Control-Expose-Headers",
				      CORS_ANSWER_HEADERS);
	}
	return allowed;
}

static bool check_origin(struct front *front, struct exchange *exchange)
{
	struct request *request = exchange->request;
	const char *origin = request_header(request, "Origin");
	const char *host = request_header(request, "Host");
	bool allowed = allow_origin(front, request);

	if (!origin || allowed || !front->guarded ||
	    (host && origin_is_same(origin, host, front->tls)))
		return true;
	exchange_refuse(exchange, 403, "wrong-origin",
			"this origin is not in WINDLASS_CORS_ORIGINS");
	return false;
}

/* OPTIONS never reaches a handler. */
static void answer_options(struct front *front, struct exchange *exchange,
			   const struct route_match *match)
{
	struct request *request = exchange->request;
	const char *origin = request_header(request, "Origin");

	if (!match->allow[0]) {
		exchange_refuse(exchange, 404, "unknown-path", "there is nothing at this path");
		return;
	}
	if (origin && request_header(request, "Access-Control-Request-Method")) {
		if (!origin_list_has(front->gateway->origins, origin)) {
			exchange_refuse(exchange, 403, "wrong-origin",
					"this origin is not in WINDLASS_CORS_ORIGINS");
			return;
		}
		request_answer_header(request, "Access-Control-Allow-Methods", match->allow);
		request_answer_header(request, "Access-Control-Allow-Headers",
				      CORS_REQUEST_HEADERS);
		request_answer_header(request, "Access-Control-Max-Age", CORS_MAX_AGE);
	}
	request_answer_header(request, "Allow", match->allow);
	request_answer(request, 204, NULL, NULL);
}

static bool find_route(struct front *front, struct exchange *exchange)
{
	struct request *request = exchange->request;
	struct route_match match;

	route_find(routes, route_count, request_method(request), request_target(request), &match);
	if (strcmp(request_method(request), "OPTIONS") == 0) {
		answer_options(front, exchange, &match);
		return false;
	}
	exchange->route = match.route;
	exchange->part = match.part;
	if (match.route)
		return true;
	if (match.allow[0]) {
		request_answer_header(request, "Allow", match.allow);
		exchange_refuse(exchange, 405, "wrong-method",
				"this path does not have that method");
	} else {
		exchange_refuse(exchange, 404, "unknown-path", "there is nothing at this path");
	}
	return false;
}

/* What the query has instead of a key, or NULL. A watch token has no dot and no underscore: it
 * cannot be taken for a key or another token. */
static const char *watch_token_param(const struct exchange *exchange)
{
	const struct target *target = request_target(exchange->request);
	const char *token = target_param(target, "watch_token");

	if (exchange->route->access != ACCESS_WATCH &&
	    exchange->route->access != ACCESS_WATCH_PARAM)
		return NULL;
	if (!token && exchange->route->access == ACCESS_WATCH_PARAM)
		token = target_param(target, "token");
	return token && !strpbrk(token, "._") ? token : NULL;
}

/* The header's, or that of ?token= where the route takes it. */
static const char *authorization_of(struct exchange *exchange)
{
	const char *header = request_header(exchange->request, "Authorization");
	const char *token = target_param(request_target(exchange->request), "token");
	enum route_access access = exchange->route->access;

	if (header || !token || (access != ACCESS_KEY_PARAM && access != ACCESS_WATCH_PARAM))
		return header;
	return arena_printf(exchange_arena(exchange), "Bearer %s", token);
}

/* 1: the caller has the token of this job; 0: it brought none; -1: refused. */
static int find_watcher(struct exchange *exchange)
{
	const char *token = watch_token_param(exchange);
	struct uuid id;

	if (!token)
		return 0;
	if (uuid_parse(exchange->part, &id) &&
	    watch_token_check(&exchange->gateway->watch, &id, token, clock_wall_ms())) {
		exchange->caller = caller_watcher();
		return 1;
	}
	request_answer_header(exchange->request, "WWW-Authenticate", "Bearer");
	exchange_refuse(exchange, 401, "bad-watch-token",
			"this watch token has expired, or is for another job");
	return -1;
}

/* Not with watch tokens: they are for one job. False: refused. */
static bool check_rate(struct front *front, struct exchange *exchange)
{
	struct limiter_room room;
	char number[24];

	if (!(exchange->caller->limits.rate_per_s > 0))
		return true;
	bool taken =
		limiter_take(front->gateway->limiter, exchange->caller, clock_mono_ns(), &room);
	snprintf(number, sizeof(number), "%" PRId64, room.limit);
	request_answer_header(exchange->request, "RateLimit-Limit", number);
	snprintf(number, sizeof(number), "%" PRId64, room.remaining);
	request_answer_header(exchange->request, "RateLimit-Remaining", number);
	snprintf(number, sizeof(number), "%" PRId64, room.reset_s);
	request_answer_header(exchange->request, "RateLimit-Reset", number);
	if (!taken)
		exchange_refuse_busy(exchange, 429, "too-many-requests",
				     "this caller asks more often than it may",
				     (int)room.retry_after_s);
	return taken;
}

/* False: refused. */
static bool find_caller(struct front *front, struct exchange *exchange)
{
	enum route_access access = exchange->route->access;
	const char *authorization = authorization_of(exchange);
	struct admit_refusal refusal;
	int watcher = find_watcher(exchange);

	if (watcher)
		return watcher > 0;
	exchange->caller = caller_anybody();
	if (access == ACCESS_PUBLIC || (front->admin && access >= ACCESS_ADMIN))
		return true;
	if (admit(front->gateway, authorization, &exchange->caller, &refusal))
		return true;
	exchange_refuse_entry(exchange, &refusal);
	return false;
}

static bool check_caller(struct front *front, struct exchange *exchange)
{
	enum scope scope = exchange->route->scope;

	if (!find_caller(front, exchange) || !check_rate(front, exchange))
		return false;
	if (!caller_may(exchange->caller, scope)) {
		exchange_refuse(exchange, 403, "not-in-scope",
				"this caller does not have the scope for that");
		return false;
	}
	if (exchange->route->access == ACCESS_OPERATOR && !exchange->caller->everywhere) {
		exchange_refuse(exchange, 403, "not-in-scope",
				"this concerns all tenants and the caller is bound to one");
		return false;
	}
	if (scope == SCOPE_READ || scope == SCOPE_CANCEL || scope == SCOPE_RETRY)
		exchange->reach = caller_reach(exchange->caller, scope);
	else
		exchange->reach = caller_own_reach(exchange->caller);
	return true;
}

static bool media_type_is(const char *header, const char *type)
{
	size_t bytes = strlen(type);

	return strncasecmp(header, type, bytes) == 0 &&
	       (header[bytes] == 0 || strchr("; \t", header[bytes]));
}

static bool check_media_type(struct exchange *exchange)
{
	const char *type = request_header(exchange->request, "Content-Type");
	const char *coding = request_header(exchange->request, "Content-Encoding");
	enum route_body body = exchange->route->body;
	bool fits = body == BODY_NONE || (body == BODY_OPTIONAL && !type);

	if (type && media_type_is(type, JSON_CONTENT_TYPE))
		fits = true;
	if (type && body == BODY_BATCH && media_type_is(type, NDJSON_CONTENT_TYPE))
		fits = true;
	if (coding && strcasecmp(coding, "identity") != 0)
		fits = false;
	if (fits)
		return true;
	exchange_refuse(exchange, 415, "wrong-content-type",
			body == BODY_BATCH
				? "expected application/json or application/x-ndjson, not encoded"
				: "expected application/json, not encoded");
	return false;
}

static size_t body_limit(const struct exchange *exchange)
{
	const struct settings *settings = exchange->gateway->settings;

	switch (exchange->route->body) {
	case BODY_JOB:
	case BODY_OPTIONAL:
		return (size_t)settings->body_bytes_max;
	case BODY_BATCH:
		return (size_t)settings->batch_bytes_max;
	case BODY_NONE:
		break;
	}
	return 0;
}

/* ---- the server's callbacks */

static void head_came(struct request *request, void *front_)
{
	struct front *front = front_;
	struct exchange *exchange = request_user(request);

	exchange->gateway = front->gateway;
	exchange->request = request;
	if (atomic_load(&front->gateway->closed)) {
		exchange_refuse_busy(exchange, 503, "stopping", "this gateway is being stopped", 1);
		return;
	}
	if (!check_host(front, exchange) || !check_origin(front, exchange) ||
	    !find_route(front, exchange))
		return;
	if (!check_caller(front, exchange) || !check_media_type(exchange))
		return;
	request_body_limit(request, body_limit(exchange));
	exchange->defs = gateway_definitions(front->gateway);
}

/* Refused by the server's guard: a page shall be able to read that, too. */
static void head_refused(struct request *request, void *front)
{
	(void)allow_origin(front, request);
}

static void request_came(struct request *request, void *front)
{
	struct exchange *exchange = request_user(request);

	(void)front;
	exchange->route->handler(exchange);
}

static void count_request(struct front *front, const struct exchange *exchange, int status,
			  double seconds)
{
	size_t row = exchange->route ? (size_t)(exchange->route - routes) : OTHER;
	struct route_metrics *metrics = &front->metrics[row];
	char label[80], code[8];

	if (status <= 0 || status >= STATUS_COUNT)
		return;
	struct metric_series *series =
		atomic_load_explicit(&metrics->by_status[status], memory_order_acquire);
	if (!series) {
		snprintf(label, sizeof(label), "%s %s", row == OTHER ? "-" : routes[row].method,
			 row == OTHER ? "-" : routes[row].pattern);
		snprintf(code, sizeof(code), "%d", status);
		series = metrics_series(front->gateway->metrics, METRIC_HTTP_REQUESTS, label, code);
		atomic_store_explicit(&metrics->by_status[status], series, memory_order_release);
	}
	metric_add(series, 1);
	metric_observe(metrics->seconds, seconds);
}

static void request_ended(struct request *request, void *front_)
{
	struct front *front = front_;
	struct exchange *exchange = request_user(request);
	int status = request_status(request);
	double seconds = (double)(clock_mono_ns() - request_started_ns(request)) / 1e9;

	count_request(front, exchange, status, seconds);
	log_line(LOG_DEBUG, "request",
		 LOG_S("route", exchange->route ? exchange->route->pattern : "-"),
		 LOG_I("status", status), LOG_D("seconds", seconds));
	/* a client that left while its job was being accepted has no further step */
	waiting_drop(exchange);
	graphql_http_release(exchange);
	event_stream_release(exchange);
	if (exchange->body)
		json_decref(exchange->body);
	if (exchange->defs)
		definitions_unref(&exchange->defs);
	caller_unref(&exchange->caller);
}

/* ---- life */

static void make_metrics(struct front *front)
{
	char label[80];

	front->metrics = xcalloc(route_count + 1, sizeof(*front->metrics));
	for (size_t i = 0; i <= route_count; i++) {
		snprintf(label, sizeof(label), "%s %s", i == OTHER ? "-" : routes[i].method,
			 i == OTHER ? "-" : routes[i].pattern);
		front->metrics[i].seconds =
			metrics_series(front->gateway->metrics, METRIC_HTTP_SECONDS, label, NULL);
	}
}

static bool listens_on_loopback(const char *listen_text)
{
	char host[256];
	int port;

	return server_split_address(listen_text, host, sizeof(host), &port) &&
	       server_is_loopback(host);
}

static struct server_options steps_of(struct front *front)
{
	return (struct server_options){
		.user_bytes = sizeof(struct exchange),
		.on_head = head_came,
		.on_refused = head_refused,
		.on_request = request_came,
		.on_end = request_ended,
		.ctx = front,
	};
}

struct front *front_new_inner(struct gateway *gateway, struct server_options *steps_r)
{
	struct front *front = xcalloc(1, sizeof(*front));

	front->gateway = gateway;
	make_metrics(front);
	*steps_r = steps_of(front);
	return front;
}

struct front *front_start(struct gateway *gateway, const struct front_options *options,
			  struct error *err_r)
{
	struct front *front = xcalloc(1, sizeof(*front));
	char host[256];
	int port;
	struct server_options server = steps_of(front);

	server.listen = options->listen;
	server.threads = options->threads;
	server.connections_max = options->connections_max;
	server.tls = options->tls;
	server.hsts_s = gateway->settings->tls_hsts_ms / 1000;
	front->gateway = gateway;
	front->admin = options->admin && listens_on_loopback(options->listen);
	front->guarded = access_open(gateway->access) || front->admin;
	front->tls = options->tls != NULL;
	make_metrics(front);
	/* A request may come before server_start returns, so the port is set before, too. */
	if (server_split_address(options->listen, host, sizeof(host), &port)) {
		atomic_store(&front->port, port);
		front->server = server_start(&server, err_r);
	} else {
		error_set(err_r, ERROR_INVALID, "%s is not host:port", options->listen);
	}
	if (!front->server) {
		free(front->metrics);
		free(front);
		return NULL;
	}
	front->port = server_port(front->server);
	return front;
}

void front_change_pair(struct front *front, struct tls_pair *pair)
{
	if (front->tls)
		server_change_pair(front->server, pair);
}

int front_port(const struct front *front)
{
	return front->port;
}

size_t front_pending(const struct front *front)
{
	return server_pending(front->server);
}

size_t front_connections(const struct front *front)
{
	return server_connections(front->server);
}

void front_drain(struct front *front)
{
	server_drain(front->server);
}

void front_stop(struct front **front_)
{
	struct front *front = *front_;

	*front_ = NULL;
	if (!front)
		return;
	server_stop(&front->server);
	free(front->metrics);
	free(front);
}
