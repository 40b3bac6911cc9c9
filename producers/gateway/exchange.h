/* SPDX-License-Identifier: Apache-2.0 */
/* One request and what the gateway knows of it, and what all handlers need: refusing, asking the
 * store, reading the body. A handler is called on a server thread when the body is in; it answers,
 * or parks the request for a reader, the submitter or the waiters and goes on in the next step. */
#ifndef PRODUCERS_GATEWAY_EXCHANGE_H
#define PRODUCERS_GATEWAY_EXCHANGE_H
#include "common/config/job_request.h"
#include "common/http/server.h"
#include "common/json/json_text.h"
#include "common/store/audit.h"
#include "producers/gateway/admit.h"
#include "producers/gateway/gateway.h"
#include "producers/gateway/readers.h"
#include "producers/gateway/route.h"
#include "producers/gateway/waiters.h"
#include "producers/submit/submitter.h"

#define JSON_CONTENT_TYPE   "application/json"
#define NDJSON_CONTENT_TYPE "application/x-ndjson"

typedef void exchange_step_fn(struct exchange *exchange);
typedef int exchange_ask_fn(struct exchange *exchange, struct store *store, struct error *err_r);

struct exchange { /* lies in the request, zeroed for each */
	struct gateway *gateway;
	struct request *request;
	const struct route *route;   /* NULL: refused before one was found */
	const char *part;            /* {id} or {name} */
	const struct caller *caller; /* a reference, released at the end */
	struct reach reach;          /* the jobs that the store may show and touch for it */
	struct definitions *defs;    /* a reference, released at the end */
	json_t *body;                /* parsed body, released at the end */
	struct uuid id;
	exchange_step_fn *next;
	exchange_ask_fn *ask;
	struct reader_task task;
	struct job_view view;
	/* waiting */
	struct waiter waiter;
	int64_t wait_ms;
	bool wait_preferred;
	bool holding; /* the waiter is in the table, and ours */
	enum waiter_why why;
	/* submission */
	struct submission submission;
	struct new_job job;
	struct accepted_job accepted;
	exchange_step_fn *after_wait;    /* waiting_look's */
	struct graphql_request *graphql; /* or NULL; graphql_http.h */
	struct event_stream *stream;     /* or NULL; event_stream.h */
	void *own;                       /* the handler's, in the request's arena */
};

struct arena *exchange_arena(struct exchange *exchange);

/* Refuses with one sentence; exchange_refuse_at adds a JSON pointer to the wrong part of the body.
 */
void exchange_refuse(struct exchange *exchange, int status, const char *slug, const char *detail);
void exchange_refuse_at(struct exchange *exchange, int status, const char *slug,
			const char *pointer, const char *detail);
/* Refuses with all that is wrong with a job. */
void exchange_refuse_request(struct exchange *exchange, int status, const char *slug,
			     const struct job_request_error *error);
/* The same as places of a problem document, at most SCHEMA_FAULTS_MAX: how many; at least one. */
size_t exchange_places(const struct job_request_error *error, struct problem_place *places_r);
/* Refuses with what the store said: 404/410, 409, 503, 504, 500. */
void exchange_refuse_store(struct exchange *exchange, const struct error *error);
/* Refuses a caller that was not admitted. */
void exchange_refuse_entry(struct exchange *exchange, const struct admit_refusal *refusal);
/* 503 with Retry-After. */
void exchange_refuse_busy(struct exchange *exchange, int status, const char *slug,
			  const char *detail, int retry_after_s);

/* Answers with JSON; takes the buffer's memory. */
void exchange_answer(struct exchange *exchange, int status, struct strbuf *json);
/* Adds the watch token of this job to the object that was written last. */
void exchange_add_watch(struct exchange *exchange, struct strbuf *json, const struct uuid *id);
void exchange_location(struct exchange *exchange, const struct uuid *id);

/* Parses the body as one JSON value into exchange->body. False: refused (400). */
bool exchange_parse_body(struct exchange *exchange);
/* The same verdict, at a fraction of the cost: exchange->body may stay NULL. */
bool exchange_check_body(struct exchange *exchange);
/* Reads {id} into exchange->id. False: refused (404). */
bool exchange_parse_id(struct exchange *exchange);
/* Reads ?wait and Prefer into exchange->wait_ms. False: refused (400). */
bool exchange_parse_wait(struct exchange *exchange);
/* Every query parameter must be one of these. False: refused (400). */
bool exchange_check_params(struct exchange *exchange, const char *const *names, size_t count);
/* Every member of the object in exchange->body must be one of these. False: refused (422). */
bool exchange_check_members(struct exchange *exchange, const char *const *names, size_t count);

/* Parks the request; a reader runs `ask`; then `next` runs with exchange->task.rc and .error. Ends
 * the step. */
void exchange_ask(struct exchange *exchange, exchange_ask_fn *ask, exchange_step_fn *next);
/* The same without a store connection, for long computations. */
void exchange_compute(struct exchange *exchange, exchange_ask_fn *compute, exchange_step_fn *next);
/* exchange_ask for the job exchange->id within exchange->reach, into exchange->view. */
void exchange_ask_job(struct exchange *exchange, exchange_step_fn *next);

/* What the store notes of a change that this caller asks for; in the request's arena. audit.c */
struct audit *exchange_audit(struct exchange *exchange, const char *action, const char *object,
			     const char *detail);

/* For those that park by themselves: park with the next step; wake. */
void exchange_park(struct exchange *exchange, exchange_step_fn *next);
void exchange_wake(struct exchange *exchange);

#endif
