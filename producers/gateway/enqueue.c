/* SPDX-License-Identifier: Apache-2.0 */
/* Acceptance as clients see it. 202 is only said in the step after the submitter's done(). */
#include "producers/gateway/enqueue.h"

#include <stdio.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/digest.h"
#include "producers/gateway/job_json.h"
#include "producers/gateway/limiter.h"
#include "producers/gateway/waiting.h"

#define FULL_RETRY_S 5
#define AWAY_RETRY_S 2

struct job_request_context enqueue_context(const struct exchange *exchange)
{
	return (struct job_request_context){
		.defs = exchange->defs,
		.tenant = exchange->caller->tenant,
		.owner = exchange->caller->id,
		.after_any = caller_reads_all(exchange->caller),
		.payload_bytes_max = (size_t)exchange->gateway->settings->body_bytes_max,
		.now_ms = clock_wall_ms(),
	};
}

static int fault_status(enum job_request_fault fault)
{
	return fault == JOB_REQUEST_TOO_LARGE ? 413 : 422;
}

static const char *fault_slug(enum job_request_fault fault)
{
	switch (fault) {
	case JOB_REQUEST_UNKNOWN_TYPE:
		return "unknown-type";
	case JOB_REQUEST_PAYLOAD:
		return "payload-refused";
	case JOB_REQUEST_TOO_LARGE:
		return "body-too-large";
	case JOB_REQUEST_INVALID:
		break;
	}
	return "invalid";
}

const char *enqueue_traceparent(const struct exchange *exchange)
{
	const char *text = request_header(exchange->request, "traceparent");

	return text && job_traceparent_valid(text) ? text : NULL;
}

bool enqueue_in_scope(const struct exchange *exchange, const struct new_job *job)
{
	bool may = caller_may_enqueue(exchange->caller, job->type, job->queue);

	for (size_t i = 0; may && i < job->then_count; i++)
		may = enqueue_in_scope(exchange, &job->then[i]);
	return may;
}

/* ---- the idempotency key */

/* The draft wants a quoted string; a bare one is taken as well. NULL: neither. */
static const char *read_key(struct exchange *exchange, const char *header)
{
	size_t bytes = strlen(header);

	if (header[0] == '"') {
		if (bytes < 2 || header[bytes - 1] != '"' || memchr(header + 1, '"', bytes - 2))
			return NULL;
		header = arena_strndup(exchange_arena(exchange), header + 1, bytes - 2);
		bytes -= 2;
	}
	if (bytes == 0 || bytes > JOB_KEY_MAX)
		return NULL;
	for (size_t i = 0; i < bytes; i++) {
		if (header[i] < 0x20 || header[i] > 0x7e || header[i] == '\\')
			return NULL;
	}
	return header;
}

bool enqueue_take_key(struct exchange *exchange, const char *text, size_t bytes)
{
	struct acceptance *acceptance = &exchange->submission.acceptance;
	const char *header = request_header(exchange->request, "Idempotency-Key");

	if (!header)
		return true;
	acceptance->idempotency_key = read_key(exchange, header);
	if (!acceptance->idempotency_key) {
		exchange_refuse(
			exchange, 400, "bad-idempotency-key",
			"Idempotency-Key is 1 to 255 printable ASCII characters, in quotes or bare");
		return false;
	}
	/* A tenant holds no slash, and no pattern ends in another one: the parts cannot run into
	 * each other, whatever a token calls its owner. */
	acceptance->idempotency_scope =
		arena_printf(exchange_arena(exchange), "%s/%s%s", exchange->caller->tenant,
			     exchange->caller->id, exchange->route->pattern);
	digest_sha256(text, bytes, acceptance->fingerprint);
	return true;
}

/* ---- sending */

/* On the submitter's thread, so that a client that has left does not matter. */
static void count_accepted(struct exchange *exchange)
{
	const struct acceptance *acceptance = &exchange->submission.acceptance;

	if (exchange->caller->limits.waiting_max == 0 ||
	    exchange->submission.result != SUBMIT_DONE ||
	    acceptance->verdict != ACCEPTANCE_ACCEPTED)
		return;
	for (size_t i = 0; i < acceptance->job_count; i++) {
		if (!acceptance->accepted[i].unique_conflict)
			limiter_accepted(exchange->gateway->limiter, exchange->caller,
					 &acceptance->accepted[i].id);
	}
}

static void submission_done(struct submission *submission)
{
	count_accepted(submission->owner);
	exchange_wake(submission->owner);
}

void enqueue_send(struct exchange *exchange, exchange_step_fn *next)
{
	struct submission *submission = &exchange->submission;

	if (exchange->caller->limits.waiting_max > 0 &&
	    !limiter_has_room(exchange->gateway->limiter, exchange->caller,
			      submission->acceptance.job_count)) {
		waiting_drop(exchange);
		exchange_refuse_busy(exchange, 429, "quota-reached",
				     "this caller has as many unfinished jobs as it may",
				     FULL_RETRY_S);
		return;
	}
	submission->defs = exchange->defs;
	submission->done = submission_done;
	submission->owner = exchange;
	exchange_park(exchange, next);
	if (submitter_send(exchange->gateway->submitter, submission))
		return;
	submission->result = SUBMIT_BUSY;
	exchange_wake(exchange);
}

static void refuse_full(struct exchange *exchange)
{
	const char *detail = arena_printf(exchange_arena(exchange),
					  "queue %s has as many waiting jobs as it may",
					  exchange->submission.full_queue);

	exchange_refuse_busy(exchange, 429, "queue-full", detail, FULL_RETRY_S);
}

static bool result_refused(struct exchange *exchange)
{
	switch (exchange->submission.result) {
	case SUBMIT_DONE:
		return false;
	case SUBMIT_QUEUE_FULL:
		refuse_full(exchange);
		return true;
	case SUBMIT_BUSY:
		exchange_refuse_busy(exchange, 503, "too-busy",
				     "too many requests wait for the store; nothing was stored", 1);
		return true;
	case SUBMIT_UNAVAILABLE:
		exchange_refuse_busy(exchange, 503, "store-unavailable",
				     "the store is away; nothing was stored", AWAY_RETRY_S);
		return true;
	case SUBMIT_UNKNOWN:
		break;
	}
	exchange_refuse(
		exchange, 504, "outcome-unknown",
		"the store did not confirm: stored or not. Ask again with the same Idempotency-Key or id");
	return true;
}

static void refuse_after(struct exchange *exchange, const char *slug, const char *detail)
{
	const struct acceptance *acceptance = &exchange->submission.acceptance;
	struct arena *arena = exchange_arena(exchange);
	const char *edge = "";

	if (acceptance->verdict == ACCEPTANCE_NO_SUCH_JOB)
		edge = arena_printf(
			arena, "/%s",
			acceptance->jobs[acceptance->bad_index].after[acceptance->bad_after].name);
	exchange_refuse_at(exchange, 422, slug,
			   acceptance->job_count == 1 ? arena_printf(arena, "/after%s", edge)
						      : arena_printf(arena, "/%zu/after%s",
								     acceptance->bad_index, edge),
			   detail);
}

bool enqueue_refused(struct exchange *exchange)
{
	const struct acceptance *acceptance = &exchange->submission.acceptance;
	const char *pointer;

	if (result_refused(exchange))
		return true;
	switch (acceptance->verdict) {
	case ACCEPTANCE_REPLAYED:
		request_answer_header(exchange->request, "Idempotency-Replayed", "true");
		return false;
	case ACCEPTANCE_ACCEPTED:
		return false;
	case ACCEPTANCE_KEY_REUSED:
		exchange_refuse(exchange, 422, "idempotency-key-reused",
				"this Idempotency-Key came with another body before");
		return true;
	case ACCEPTANCE_ID_TAKEN:
		pointer = acceptance->job_count == 1
				  ? "/id"
				  : arena_printf(exchange_arena(exchange), "/%zu/id",
						 acceptance->bad_index);
		exchange_refuse_at(exchange, 422, "id-taken", pointer,
				   "this id was used for another job");
		return true;
	case ACCEPTANCE_NO_SUCH_JOB:
		refuse_after(exchange, "no-such-job",
			     "no job of this id is there to be waited for");
		return true;
	case ACCEPTANCE_STALE: /* only of chunks, which are not enqueued here */
		break;
	case ACCEPTANCE_CIRCLE:
		refuse_after(exchange, "circle", "jobs would wait for each other for ever");
		return true;
	case ACCEPTANCE_FAILED:
		break;
	}
	exchange_refuse_store(exchange, &acceptance->error);
	return true;
}

/* ---- one job */

/* A watch token is given for what the caller has enqueued; for a job that was there before, only to
 * those who may read all of the tenant's. */
static bool may_watch(const struct exchange *exchange)
{
	return !exchange->accepted.unique_conflict || caller_reads_all(exchange->caller);
}

static void answer_accepted(struct exchange *exchange, enum job_state state)
{
	struct accepted_job accepted = exchange->accepted;
	struct strbuf json;

	accepted.state = state;
	strbuf_init(&json);
	strbuf_reserve(&json, 384);
	job_json_accepted(&json, &exchange->job, &accepted);
	if (may_watch(exchange))
		exchange_add_watch(exchange, &json, &accepted.id);
	exchange_location(exchange, &accepted.id);
	exchange_answer(exchange, 202, &json);
}

static void answer_finished(struct exchange *exchange)
{
	struct strbuf json;

	strbuf_init(&json);
	job_json_write(&json, &exchange->view, exchange->defs);
	if (may_watch(exchange))
		exchange_add_watch(exchange, &json, &exchange->view.id);
	exchange_location(exchange, &exchange->view.id);
	exchange_answer(exchange, 200, &json);
}

static void confirm_preference(struct exchange *exchange)
{
	char text[32];

	if (!exchange->wait_preferred)
		return;
	snprintf(text, sizeof(text), "wait=%lld", (long long)exchange->wait_ms / 1000);
	request_answer_header(exchange->request, "Preference-Applied", text);
}

static void answer_looked(struct exchange *exchange)
{
	confirm_preference(exchange);
	if (exchange->task.rc < 0)
		answer_accepted(exchange, exchange->accepted.state);
	else if (job_state_terminal(exchange->view.state))
		answer_finished(exchange);
	else
		answer_accepted(exchange, exchange->view.state);
}

/* What the look-up of ended jobs leaves out is what the client said. */
static void complete_view(struct exchange *exchange)
{
	const struct new_job *job = &exchange->job;
	struct job_view *view = &exchange->view;

	view->payload = job->payload;
	view->payload_bytes = job->payload_bytes;
	view->priority = job->priority;
	view->max_attempts = job->max_attempts;
	view->timeout_ms = job->timeout_ms;
	view->tags = job->tags;
	view->order_key = job->order_key;
	view->fair_key = job->fair_key;
	view->unique_key = job->unique_key;
	view->traceparent = job->traceparent;
	view->callback = job->callback;
}

static void waited(struct exchange *exchange)
{
	if (exchange->why == WAITER_LATE) {
		exchange_ask_job(exchange, answer_looked);
		return;
	}
	confirm_preference(exchange);
	complete_view(exchange);
	answer_finished(exchange);
}

/* Who enqueued a job sees how it goes, whatever else it may read. One that was there before is
 * somebody's: it is seen by those who may read it. False: this caller may not. */
static bool set_reach(struct exchange *exchange)
{
	if (!exchange->accepted.unique_conflict)
		exchange->reach = caller_own_reach(exchange->caller);
	else if (caller_may(exchange->caller, SCOPE_READ))
		exchange->reach = caller_reach(exchange->caller, SCOPE_READ);
	else
		return false;
	return true;
}

static void accepted_one(struct exchange *exchange)
{
	const struct accepted_job *accepted = &exchange->accepted;

	if (enqueue_refused(exchange)) {
		waiting_drop(exchange);
		return;
	}
	bool own = uuid_equal(&accepted->id, &exchange->job.id) &&
		   exchange->submission.acceptance.verdict == ACCEPTANCE_ACCEPTED;
	exchange->id = accepted->id;
	if (!set_reach(exchange)) {
		waiting_drop(exchange);
		answer_accepted(exchange, accepted->state);
	} else if (exchange->wait_ms == 0) {
		answer_accepted(exchange, accepted->state);
	} else if (own) {
		waiting_park(exchange, waited);
	} else {
		waiting_drop(exchange);
		waiting_look(exchange, answer_looked);
	}
}

void enqueue_refuse_request(struct exchange *exchange, const struct job_request_error *error)
{
	exchange_refuse_request(exchange, fault_status(error->fault), fault_slug(error->fault),
				error);
}

void enqueue_one(struct exchange *exchange, struct json_slice request, json_t *root,
		 struct json_slice key_text)
{
	struct acceptance *acceptance = &exchange->submission.acceptance;
	struct job_request_context context = enqueue_context(exchange);
	struct job_request_error error;

	if (job_request_parse(&context, request, root, exchange_arena(exchange), &exchange->job,
			      &error) < 0) {
		enqueue_refuse_request(exchange, &error);
		return;
	}
	if (!enqueue_in_scope(exchange, &exchange->job)) {
		exchange_refuse_at(exchange, 403, "not-in-scope", "/type", ENQUEUE_NOT_IN_SCOPE);
		return;
	}
	if (!enqueue_take_key(exchange, key_text.text, key_text.bytes))
		return;
	exchange->job.traceparent = enqueue_traceparent(exchange);
	acceptance->jobs = &exchange->job;
	acceptance->job_count = 1;
	acceptance->accepted = &exchange->accepted;
	if (exchange->wait_ms > 0)
		waiting_hold(exchange, &exchange->job.id);
	enqueue_send(exchange, accepted_one);
}
