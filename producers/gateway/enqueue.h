/* SPDX-License-Identifier: Apache-2.0 */
/* From the text of a job request to an accepted job: what POST /v1/jobs, the batch and copy have in
 * common. */
#ifndef PRODUCERS_GATEWAY_ENQUEUE_H
#define PRODUCERS_GATEWAY_ENQUEUE_H
#include "producers/gateway/exchange.h"

#define ENQUEUE_NOT_IN_SCOPE "this caller may not enqueue this type in this queue"

/* The context of this caller for job_request_parse. */
struct job_request_context enqueue_context(const struct exchange *exchange);
/* May this caller enqueue it, and all that is to follow it? */
bool enqueue_in_scope(const struct exchange *exchange, const struct new_job *job);
/* Refuses a request that is no job, with all that is wrong with it. */
void enqueue_refuse_request(struct exchange *exchange, const struct job_request_error *error);
/* A W3C traceparent header's value, or NULL. */
const char *enqueue_traceparent(const struct exchange *exchange);

/* Fills in the idempotency part of exchange->submission from the header and this fingerprint text.
 * False: refused. */
bool enqueue_take_key(struct exchange *exchange, const char *text, size_t bytes);
/* Sends exchange->submission, whose jobs are set; then `next`. enqueue_refused tells there whether
 * it was stored. */
void enqueue_send(struct exchange *exchange, exchange_step_fn *next);
bool enqueue_refused(struct exchange *exchange);

/* One job: checks it, stores it, waits for it if exchange->wait_ms says so, and answers. request
 * must stay alive; root is the same parsed. key_text is what an Idempotency-Key is bound to. */
void enqueue_one(struct exchange *exchange, struct json_slice request, json_t *root,
		 struct json_slice key_text);

#endif
