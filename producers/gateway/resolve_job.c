/* SPDX-License-Identifier: Apache-2.0 */
/* POST /v1/jobs/{id}/resolve: a person says what became of a call whose fate was unknown. */
#include <stdlib.h>
#include <string.h>

#include "common/store/control.h"
#include "producers/gateway/exchange.h"
#include "producers/gateway/job_json.h"
#include "producers/gateway/routes.h"

struct resolve {
	struct call_verdict verdict;
	enum job_state state;
};

static int ask_resolve(struct exchange *exchange, struct store *store, struct error *err_r)
{
	struct resolve *resolve = exchange->own;

	return control_resolve(store, &exchange->reach, &exchange->id, &resolve->verdict,
			       &resolve->state, err_r);
}

static void refuse(struct exchange *exchange, const struct resolve *resolve)
{
	const struct error *error = &exchange->task.error;

	if (error->code == ERROR_CONFLICT)
		exchange_refuse(exchange, 409, "wrong-state",
				arena_printf(exchange_arena(exchange),
					     "the job is %s; only a parked job can be resolved",
					     job_state_name(resolve->state)));
	else if (error->code == ERROR_INVALID)
		exchange_refuse_at(exchange, 422, "invalid", "/call", error->message);
	else
		exchange_refuse_store(exchange, error);
}

static void resolve_answered(struct exchange *exchange)
{
	const struct resolve *resolve = exchange->own;
	struct strbuf json;

	if (exchange->task.rc != 0) {
		refuse(exchange, resolve);
		return;
	}
	bell_ring(exchange->gateway->bell, BELL_READY);
	bell_ring_moved(exchange->gateway->bell, &exchange->id, 1);
	strbuf_init(&json);
	strbuf_addstr(&json, "{\"id\":");
	job_json_id(&json, &exchange->id);
	strbuf_addstr(&json, ",\"state\":");
	strbuf_json(&json, job_state_name(resolve->state));
	strbuf_addch(&json, '}');
	exchange_answer(exchange, 202, &json);
}

/* The answer that the call would have got: a text as it is, anything else as JSON. */
static void take_body(struct exchange *exchange, const json_t *body, struct call_verdict *verdict)
{
	char *dump;

	if (json_is_string(body)) {
		verdict->body = json_string_value(body);
	} else if (body) {
		dump = json_dumps(body, JSON_COMPACT | JSON_ENCODE_ANY);
		CHECK(dump);
		verdict->body = arena_strdup(exchange_arena(exchange), dump);
		free(dump);
	}
	verdict->body_bytes = verdict->body ? strlen(verdict->body) : 0;
}

/* NULL, or what was expected where. */
static const char *fault(const json_t *body, const char **pointer_r)
{
	const char *verdict = json_string_value(json_object_get(body, "verdict"));
	const json_t *status = json_object_get(body, "status");
	bool succeeded = verdict && !strcmp(verdict, "succeeded");

	*pointer_r = "/call";
	if (json_string_length(json_object_get(body, "call")) == 0)
		return "expected the name of the call, as the job's reason gives it";
	*pointer_r = "/verdict";
	if (!verdict || (!succeeded && strcmp(verdict, "not_sent") != 0))
		return "expected succeeded or not_sent";
	*pointer_r = "/status";
	if (status && (!json_is_integer(status) || json_integer_value(status) < 200 ||
		       json_integer_value(status) > 299))
		return "expected a status of 200..299";
	if (!succeeded && (status || json_object_get(body, "body")))
		return "what was not sent has no status and no body";
	return NULL;
}

/* False: refused. */
static bool read_verdict(struct exchange *exchange, struct call_verdict *verdict)
{
	static const char *const members[] = { "call", "verdict", "status", "body" };
	const char *pointer, *expected;
	const json_t *status;

	if (!exchange_parse_body(exchange) ||
	    !exchange_check_members(exchange, members, ARRAY_LEN(members)))
		return false;
	expected = fault(exchange->body, &pointer);
	if (expected) {
		exchange_refuse_at(exchange, 422, "invalid", pointer, expected);
		return false;
	}
	verdict->step = json_string_value(json_object_get(exchange->body, "call"));
	if (!strcmp(json_string_value(json_object_get(exchange->body, "verdict")), "not_sent")) {
		verdict->status = RECEIPT_NOT_SENT;
		return true;
	}
	status = json_object_get(exchange->body, "status");
	verdict->status = status ? (int)json_integer_value(status) : 200;
	take_body(exchange, json_object_get(exchange->body, "body"), verdict);
	return true;
}

void resolve_job(struct exchange *exchange)
{
	struct resolve *resolve = ARENA_NEW(exchange_arena(exchange), struct resolve);

	exchange->own = resolve;
	if (exchange_check_params(exchange, NULL, 0) && exchange_parse_id(exchange) &&
	    read_verdict(exchange, &resolve->verdict))
		exchange_ask(exchange, ask_resolve, resolve_answered);
}
