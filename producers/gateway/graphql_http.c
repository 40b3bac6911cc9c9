/* SPDX-License-Identifier: Apache-2.0 */
/* By the rules of GraphQL over HTTP: what has no `data` is 400 as application/graphql-response+json
 * and 200 as application/json, which says what older clients expect; a document that asks for too
 * much is 400 in any case. */
#include "producers/gateway/graphql_http.h"

#include <stdlib.h>
#include <string.h>

#include "producers/gateway/graphql_accept.h"
#include "producers/gateway/graphql_run.h"
#include "producers/gateway/graphql_sse.h"
#include "producers/gateway/routes.h"

#define GRAPHQL_CONTENT_TYPE "application/graphql-response+json; charset=utf-8"

struct graphql_request { /* in the request's arena */
	struct graphql_run run;
	struct exchange *exchange;
	enum graphql_accept accept;
	json_t *answer;
};

/* ---- answering */

static void count(struct exchange *exchange, const char *operation, const char *outcome)
{
	metric_add(metrics_series(exchange->gateway->metrics, METRIC_GRAPHQL, operation, outcome),
		   1);
}

/* Takes the reference. */
static void answer(struct exchange *exchange, enum graphql_accept accept, int status,
		   json_t *response)
{
	char *text = json_dumps(response, JSON_COMPACT);
	struct strbuf out;

	CHECK(text);
	strbuf_init(&out);
	if (accept == ACCEPT_EVENTS)
		strbuf_printf(&out, "event: next\ndata: %s\n\nevent: complete\ndata:\n\n", text);
	else
		strbuf_addstr(&out, text);
	free(text);
	json_decref(response);
	request_answer(exchange->request, accept == ACCEPT_EVENTS ? 200 : status,
		       accept == ACCEPT_EVENTS ? "text/event-stream"
		       : accept == ACCEPT_JSON ? JSON_CONTENT_TYPE
					       : GRAPHQL_CONTENT_TYPE,
		       &out);
}

/* Before anything was run. Takes the reference. */
static void refuse(struct exchange *exchange, enum graphql_accept accept, json_t *response)
{
	json_t *error = json_array_get(json_object_get(response, "errors"), 0);
	bool coded = json_object_get(error, "extensions") != NULL;

	count(exchange, "-", "refused");
	answer(exchange, accept, accept == ACCEPT_JSON && !coded ? 200 : 400, response);
}

static void bad(struct exchange *exchange, enum graphql_accept accept, const char *why)
{
	count(exchange, "-", "refused");
	answer(exchange, accept, 400, graphql_refusal(why, NULL));
}

/* ---- running */

static bool is_get(const struct exchange *exchange)
{
	return strcmp(exchange->route->method, "GET") == 0;
}

static void step(struct exchange *exchange);

static void woken(struct graphql_run *run)
{
	exchange_wake(run->owner);
}

static void finish(struct exchange *exchange)
{
	struct graphql_request *request = exchange->graphql;
	const struct node *operation = request->run.prepared.operation;
	json_t *response = request->answer;
	bool data = json_object_get(response, "data") != NULL;
	bool errors = json_object_get(response, "errors") != NULL;

	request->answer = NULL;
	count(exchange, document_operation_word(operation->operation),
	      !data    ? "refused"
	      : errors ? "errors"
		       : "ok");
	answer(exchange, request->accept, data || request->accept == ACCEPT_JSON ? 200 : 400,
	       response);
}

/* Parked first: what is asked may be answered before the step is over. */
static void step(struct exchange *exchange)
{
	struct graphql_request *request = exchange->graphql;
	json_t *response;

	exchange_park(exchange, step);
	response = graphql_run_step(&request->run);
	if (!response)
		return;
	request->answer = response;
	exchange->next = finish;
	exchange_wake(exchange);
}

/* The header's, or that of ?token=, as the front has taken it. */
static const char *authorization_of(struct exchange *exchange)
{
	const char *header = request_header(exchange->request, "Authorization");
	const char *token = target_param(request_target(exchange->request), "token");

	if (header || !token || !is_get(exchange))
		return header;
	return arena_printf(exchange_arena(exchange), "Bearer %s", token);
}

static void run(struct exchange *exchange, const struct graphql_prepared *prepared,
		const struct graphql_call *call, enum graphql_accept accept)
{
	struct graphql_request *request =
		ARENA_NEW(exchange_arena(exchange), struct graphql_request);

	request->exchange = exchange;
	request->accept = accept;
	request->run = (struct graphql_run){
		.door = exchange->gateway->graphql,
		.inner = exchange->gateway->inner,
		.arena = exchange_arena(exchange),
		.prepared = *prepared,
		.variables = call->variables,
		.authorization = authorization_of(exchange),
		.traceparent = request_header(exchange->request, "traceparent"),
		.woken = woken,
		.owner = exchange,
	};
	exchange->graphql = request;
	step(exchange);
}

/* Before the stream has begun, a refusal is an answer like any other. */
static void subscribe(struct exchange *exchange, const struct graphql_prepared *prepared,
		      const struct graphql_call *call, enum graphql_accept accept)
{
	struct graphql_subscription *subscription =
		ARENA_NEW(exchange_arena(exchange), struct graphql_subscription);
	json_t *response;

	if (accept != ACCEPT_EVENTS) {
		bad(exchange, accept,
		    "Subscriptions are answered as text/event-stream, or over a WebSocket.");
		return;
	}
	subscription->door = exchange->gateway->graphql;
	subscription->prepared = *prepared;
	subscription->variables = call->variables;
	if (graphql_subscription_read(subscription, exchange_arena(exchange), &response)) {
		count(exchange, "subscription", "ok");
		graphql_sse_start(exchange, subscription);
	} else {
		refuse(exchange, ACCEPT_GRAPHQL, response);
	}
}

static void serve(struct exchange *exchange, const struct graphql_call *call,
		  enum graphql_accept accept)
{
	struct graphql_prepared prepared;
	json_t *response;

	if (!graphql_prepare(exchange->gateway->graphql, exchange_arena(exchange), call, &prepared,
			     &response)) {
		refuse(exchange, accept, response);
	} else if (prepared.operation->operation == OPERATION_MUTATION && is_get(exchange)) {
		request_answer_header(exchange->request, "Allow", "POST");
		count(exchange, "mutation", "refused");
		answer(exchange, accept == ACCEPT_EVENTS ? ACCEPT_GRAPHQL : accept, 405,
		       graphql_refusal("A mutation is sent with POST.", NULL));
	} else if (prepared.operation->operation == OPERATION_SUBSCRIPTION) {
		subscribe(exchange, &prepared, call, accept);
	} else {
		run(exchange, &prepared, call, accept);
	}
}

/* ---- reading */

/* False: refused. */
static bool negotiate(struct exchange *exchange, enum graphql_accept *accept_r)
{
	*accept_r = graphql_accept_read(request_header(exchange->request, "Accept"));
	if (*accept_r != ACCEPT_NONE)
		return true;
	exchange_refuse(exchange, 406, "not-acceptable",
			"there is application/graphql-response+json, application/json and "
			"text/event-stream");
	return false;
}

void post_graphql(struct exchange *exchange)
{
	enum graphql_accept accept;
	struct graphql_call call;
	const char *why;

	if (!negotiate(exchange, &accept) || !exchange_check_params(exchange, NULL, 0) ||
	    !exchange_parse_body(exchange))
		return;
	why = graphql_call_read(exchange->body, &call);
	if (why)
		bad(exchange, accept, why);
	else
		serve(exchange, &call, accept);
}

/* Parameters are the members of a POST's body; two of them are JSON. */
static const char *read_params(struct exchange *exchange)
{
	const struct target *target = request_target(exchange->request);
	json_t *body = json_object();

	exchange->body = body;
	for (size_t i = 0; i < target->param_count; i++) {
		const char *name = target->params[i].name, *value = target->params[i].value;
		bool json = strcmp(name, "variables") == 0 || strcmp(name, "extensions") == 0;
		struct json_error error;
		json_t *member =
			json ? json_text_parse(value, strlen(value), &error) : json_string(value);

		if (strcmp(name, "token") == 0) { /* nobody's but the front's */
			json_decref(member);
			continue;
		}
		if (!member)
			return "`variables` and `extensions` are JSON.";
		json_object_set_new(body, name, member);
	}
	return NULL;
}

void get_graphql(struct exchange *exchange)
{
	static const char *const params[] = { "query",      "operationName", "variables",
					      "documentId", "extensions",    "token",
					      "lastEventId" };
	enum graphql_accept accept;
	struct graphql_call call;
	const char *why;

	if (!negotiate(exchange, &accept) ||
	    !exchange_check_params(exchange, params, ARRAY_LEN(params)))
		return;
	why = read_params(exchange);
	if (!why)
		why = graphql_call_read(exchange->body, &call);
	if (why)
		bad(exchange, accept, why);
	else
		serve(exchange, &call, accept);
}

void graphql_http_release(struct exchange *exchange)
{
	struct graphql_request *request = exchange->graphql;

	if (!request)
		return;
	exchange->graphql = NULL;
	json_decref(request->answer);
	graphql_run_release(&request->run);
}
