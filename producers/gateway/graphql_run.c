/* SPDX-License-Identifier: Apache-2.0 */
/* A run steps where its owner lives, and never waits there: asks are sent, the last answer wakes
 * the owner. On the inner thread nothing is done but that, and a mutation's next ask. */
#include "producers/gateway/graphql_run.h"

#include <string.h>

#include "common/http/problem.h"
#include "producers/gateway/graphql_asks.h"
#include "producers/gateway/graphql_shape.h"

#define DETAILS_MAX 100

/* ---- sending */

static void give_back(struct graphql_run *run)
{
	if (atomic_fetch_sub(&run->left, 1) == 1)
		run->woken(run);
}

static bool send_ask(struct graphql_run *run, struct graphql_ask *ask)
{
	if (atomic_load(&run->cancelled))
		inner_cancel(&ask->inner);
	if (inner_ask(run->inner, &ask->inner))
		return true; /* and it may be over by now, and the run with it */
	ask->busy = true;
	return false;
}

static void answered(struct inner_request *inner)
{
	struct graphql_ask *ask = inner->owner;
	struct graphql_run *run = ask->run;

	if (run->execution.operation->operation == OPERATION_MUTATION) {
		while (run->asked < run->ask_count) {
			if (send_ask(run, &run->asks[run->asked++]))
				return;
		}
	}
	give_back(run);
}

/* One more than there are asks, so that nothing is over before all were sent. */
static void send_all(struct graphql_run *run)
{
	bool serial = run->execution.operation->operation == OPERATION_MUTATION;

	atomic_store(&run->left, serial ? 1 : run->ask_count + 1);
	for (size_t i = 0; i < run->ask_count; i++) {
		struct graphql_ask *ask = &run->asks[i];

		ask->run = run;
		ask->inner.door = DOOR_GRAPHQL;
		ask->inner.authorization = run->authorization;
		ask->inner.traceparent = run->traceparent;
		ask->inner.done = answered;
		ask->inner.owner = ask;
	}
	if (serial) {
		while (run->asked < run->ask_count) {
			if (send_ask(run, &run->asks[run->asked++]))
				return;
		}
		give_back(run);
		return;
	}
	for (size_t i = 0; i < run->ask_count; i++) {
		if (!send_ask(run, &run->asks[i]))
			atomic_fetch_sub(&run->left, 1);
	}
	give_back(run);
}

/* ---- taking answers */

const char *graphql_run_problem(const json_t *problem, int status, int retry_after_s,
				json_t **extensions_r)
{
	static const char prefix[] = "urn:windlass:problem:";
	const char *type = json_string_value(json_object_get(problem, "type"));
	const char *detail = json_string_value(json_object_get(problem, "detail"));
	json_t *extensions = json_object(), *errors = json_object_get(problem, "errors");

	if (type && strncmp(type, prefix, strlen(prefix)) == 0)
		json_object_set_new(extensions, "code", json_string(type + strlen(prefix)));
	json_object_set_new(extensions, "status", json_integer(status));
	if (errors)
		json_object_set(extensions, "errors", errors);
	if (retry_after_s > 0)
		json_object_set_new(extensions, "retryAfter", json_integer(retry_after_s));
	*extensions_r = extensions;
	return detail ? detail : problem_status_title(status);
}

static void take_problem(struct graphql_run *run, const struct graphql_ask *ask,
			 const json_t *problem)
{
	json_t *extensions;
	const char *message = graphql_run_problem(problem, ask->inner.status,
						  ask->inner.retry_after_s, &extensions);

	execute_error(&run->execution, ask->field, message, extensions);
}

/* Our own text, which may be nested deeper than what is taken from outside. */
static json_t *parse(const struct graphql_ask *ask)
{
	return json_loadb(ask->inner.answer, ask->inner.answer_bytes, JSON_ALLOW_NUL, NULL);
}

/* The answer's JSON, a new reference; NULL: it was an error, and is told. */
static json_t *take_answer(struct graphql_run *run, struct graphql_ask *ask)
{
	json_t *answer = NULL;

	if (ask->busy) {
		execute_error(&run->execution, ask->field, "too many requests wait",
			      json_pack("{s:s,s:i}", "code", "too-busy", "status", 503));
		return NULL;
	}
	if (ask->inner.answer)
		answer = parse(ask);
	if (ask->inner.status >= 200 && ask->inner.status < 300 && answer)
		return answer;
	take_problem(run, ask, answer);
	json_decref(answer);
	return NULL;
}

static void take_fields(struct graphql_run *run)
{
	for (size_t i = 0; i < run->ask_count; i++) {
		struct graphql_ask *ask = &run->asks[i];
		json_t *answer = take_answer(run, ask);

		if (answer)
			execute_value(&run->execution, ask->field, ask->shape(answer));
		json_decref(answer);
		inner_request_release(&ask->inner);
	}
}

/* ---- what a list does not have is asked for job by job */

static bool wants_details(struct graphql_run *run, size_t field)
{
	static const char *const paths[][3] = { { "edges", "node", NULL }, { "nodes", NULL } };
	static const char *const names[] = { "payload", "attempts", "steps" };

	for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
		for (size_t j = 0; j < ARRAY_LEN(names); j++) {
			if (execute_selects(&run->execution, field, paths[i], names[j]))
				return true;
		}
	}
	return false;
}

static json_t *nodes_of(struct graphql_run *run, size_t field)
{
	struct root_field *root = &run->execution.fields[field];

	return strcmp(root->name, "jobs") == 0 ? json_object_get(root->value, "nodes") : NULL;
}

/* False: nothing is to be asked. */
static bool ask_details(struct graphql_run *run)
{
	size_t count = 0, room = 0;

	if (run->execution.operation->operation != OPERATION_QUERY)
		return false;
	for (size_t i = 0; i < run->execution.field_count; i++)
		room += json_array_size(nodes_of(run, i));
	run->asks = ARENA_ARRAY(run->arena, struct graphql_ask, room + 1);
	for (size_t i = 0; i < run->execution.field_count; i++) {
		json_t *nodes = nodes_of(run, i), *node;
		size_t n;

		if (!nodes || !wants_details(run, i))
			continue;
		if (json_array_size(nodes) > DETAILS_MAX) {
			execute_error(
				&run->execution, i,
				"first is at most 100 where payload, attempts or steps are "
				"asked for",
				json_pack("{s:s,s:i}", "code", "bad-parameter", "status", 400));
			continue;
		}
		json_array_foreach(nodes, n, node)
		{
			graphql_asks_detail(run->arena, &run->asks[count], i, n,
					    json_string_value(json_object_get(node, "id")));
			count++;
		}
	}
	run->ask_count = count;
	return count > 0;
}

/* A job that is gone meanwhile stays as the list had it. */
static void take_details(struct graphql_run *run)
{
	for (size_t i = 0; i < run->ask_count; i++) {
		struct graphql_ask *ask = &run->asks[i];
		json_t *node = json_array_get(nodes_of(run, ask->field), ask->item);
		json_t *job = NULL, *shape;

		if (!ask->busy && ask->inner.status == 200)
			job = parse(ask);
		if (job) {
			shape = graphql_shape_job(job);
			json_object_update(node, shape); /* the edge has the same object */
			json_decref(shape);
		}
		json_decref(job);
		inner_request_release(&ask->inner);
	}
}

/* ---- steps */

static bool start(struct graphql_run *run)
{
	struct execute_request request = {
		.types = run->door->types,
		.arena = run->arena,
		.document = run->prepared.document,
		.operation = run->prepared.operation,
		.variables = run->variables,
		.hide_suggestions = !run->door->introspection,
	};

	return execute_start(&run->execution, &request) &&
	       graphql_asks_make(&run->execution, &run->asks, &run->ask_count);
}

static json_t *finish(struct graphql_run *run)
{
	json_t *answer = execute_finish(&run->execution, run->prepared.text);

	run->stage = RUN_OVER;
	graphql_run_release(run);
	return answer;
}

json_t *graphql_run_step(struct graphql_run *run)
{
	switch (run->stage) {
	case RUN_NEW:
		if (!start(run))
			return finish(run);
		run->stage = RUN_FIELDS;
		send_all(run);
		return NULL;
	case RUN_FIELDS:
		take_fields(run);
		if (!ask_details(run))
			return finish(run);
		run->stage = RUN_DETAILS;
		send_all(run);
		return NULL;
	case RUN_DETAILS:
		take_details(run);
		return finish(run);
	case RUN_OVER:
		break;
	}
	CHECK(!"a run that is over makes no step");
	return NULL;
}

void graphql_run_cancel(struct graphql_run *run)
{
	atomic_store(&run->cancelled, true);
}

void graphql_run_release(struct graphql_run *run)
{
	for (size_t i = 0; i < run->ask_count; i++)
		inner_request_release(&run->asks[i].inner);
	run->ask_count = 0;
	if (run->execution.arena)
		execute_release(&run->execution);
}
