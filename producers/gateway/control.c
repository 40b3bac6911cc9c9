/* SPDX-License-Identifier: Apache-2.0 */
/* POST /v1/jobs/{id}/cancel and /retry. */
#include "common/store/control.h"
#include "producers/gateway/exchange.h"
#include "producers/gateway/job_json.h"
#include "producers/gateway/routes.h"

#define REASON_BYTES_MAX 500

struct control {
	const char *reason;
	enum job_state state;
	bool retries; /* otherwise it cancels */
};

static void answer_control(struct exchange *exchange, int status, const struct control *control,
			   bool asked)
{
	struct strbuf json;

	strbuf_init(&json);
	strbuf_addstr(&json, "{\"id\":");
	job_json_id(&json, &exchange->id);
	strbuf_addstr(&json, ",\"state\":");
	strbuf_json(&json, job_state_name(control->state));
	if (asked)
		strbuf_addstr(&json, ",\"cancel_asked\":true");
	strbuf_addch(&json, '}');
	/* The job was in reach of another scope; its token is for those who may read it as well. */
	if (status == 202 && (exchange->caller->own_only ? caller_may(exchange->caller, SCOPE_READ)
							 : caller_reads_all(exchange->caller)))
		exchange_add_watch(exchange, &json, &exchange->id);
	exchange_answer(exchange, status, &json);
}

/* A conflict names the state that stands in the way. A job that has ended so could be retried: the
 * store says why this one cannot. */
static const char *conflict_text(struct exchange *exchange, const struct control *control)
{
	if (control->retries &&
	    (control->state == JOB_DISCARDED || control->state == JOB_CANCELLED))
		return arena_printf(exchange_arena(exchange), "the job is %s; %s",
				    job_state_name(control->state), exchange->task.error.message);
	return arena_printf(exchange_arena(exchange), "the job is %s and cannot be %s",
			    job_state_name(control->state),
			    control->retries ? "retried" : "cancelled");
}

/* True when the store refused. */
static bool control_refused(struct exchange *exchange)
{
	const struct control *control = exchange->own;
	const struct error *error = &exchange->task.error;

	if (exchange->task.rc == 0)
		return false;
	if (error->code == ERROR_CONFLICT)
		exchange_refuse(exchange, 409, "wrong-state", conflict_text(exchange, control));
	else
		exchange_refuse_store(exchange, error);
	return true;
}

/* ---- cancel */

static int ask_cancel(struct exchange *exchange, struct store *store, struct error *err_r)
{
	struct control *control = exchange->own;

	return control_cancel(store, &exchange->reach, &exchange->id, control->reason,
			      &control->state, err_r);
}

static void cancel_answered(struct exchange *exchange)
{
	const struct control *control = exchange->own;
	struct bell *bell = exchange->gateway->bell;

	if (control_refused(exchange))
		return;
	/* Also of one that has ended: a worker may just have taken it from the broker. What its
	 * end has made waits. */
	bell_ring(bell, BELL_CANCEL | BELL_READY);
	if (control->state == JOB_CANCELLED) {
		bell_ring_ended(bell, &exchange->id, 1);
		answer_control(exchange, 200, control, false);
	} else {
		bell_ring_moved(bell, &exchange->id, 1);
		answer_control(exchange, 202, control, true);
	}
}

/* An optional body {reason}. False: refused. */
static bool read_reason(struct exchange *exchange, struct control *control)
{
	static const char *const members[] = { "reason" };
	const json_t *reason;
	size_t bytes;

	request_body(exchange->request, &bytes);
	if (bytes == 0)
		return true;
	if (!exchange_parse_body(exchange) ||
	    !exchange_check_members(exchange, members, ARRAY_LEN(members)))
		return false;
	reason = json_object_get(exchange->body, "reason");
	if (!reason)
		return true;
	if (!json_is_string(reason) || json_string_length(reason) > REASON_BYTES_MAX) {
		exchange_refuse_at(exchange, 422, "invalid", "/reason",
				   "expected a string of at most 500 bytes");
		return false;
	}
	control->reason = json_string_value(reason);
	return true;
}

void cancel_job(struct exchange *exchange)
{
	struct control *control = ARENA_NEW(exchange_arena(exchange), struct control);

	exchange->own = control;
	if (exchange_check_params(exchange, NULL, 0) && exchange_parse_id(exchange) &&
	    read_reason(exchange, control))
		exchange_ask(exchange, ask_cancel, cancel_answered);
}

/* ---- retry */

static int ask_retry(struct exchange *exchange, struct store *store, struct error *err_r)
{
	struct control *control = exchange->own;

	return control_retry(store, &exchange->reach, &exchange->id, &control->state, err_r);
}

static void retry_answered(struct exchange *exchange)
{
	if (control_refused(exchange))
		return;
	bell_ring(exchange->gateway->bell, BELL_READY);
	bell_ring_moved(exchange->gateway->bell, &exchange->id, 1);
	answer_control(exchange, 202, exchange->own, false);
}

void retry_job(struct exchange *exchange)
{
	struct control *control = ARENA_NEW(exchange_arena(exchange), struct control);
	size_t bytes;

	control->retries = true;
	exchange->own = control;
	request_body(exchange->request, &bytes);
	if (!exchange_check_params(exchange, NULL, 0) || !exchange_parse_id(exchange) ||
	    (bytes > 0 &&
	     (!exchange_parse_body(exchange) || !exchange_check_members(exchange, NULL, 0))))
		return;
	exchange_ask(exchange, ask_retry, retry_answered);
}
