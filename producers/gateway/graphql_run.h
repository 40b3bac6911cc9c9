/* SPDX-License-Identifier: Apache-2.0 */
/* One query or mutation on its way: its fields become inner requests, at once for a query, one
 * after the other for a mutation, and their answers its values. Problem documents become errors. */
#ifndef PRODUCERS_GATEWAY_GRAPHQL_RUN_H
#define PRODUCERS_GATEWAY_GRAPHQL_RUN_H
#include "producers/gateway/graphql.h"
#include "producers/gateway/inner.h"
#include "producers/graphql/execute.h"

struct graphql_run;
/* Something has come back: call graphql_run_step again. On the inner thread, or in the step itself;
 * must not block. */
typedef void graphql_run_fn(struct graphql_run *run);

struct graphql_run { /* zeroed and filled in by the owner, down to `owner` */
	const struct graphql *door;
	struct inner *inner;
	struct arena *arena; /* whoever calls the step may use it */
	struct graphql_prepared prepared;
	json_t *variables;
	const char *authorization, *traceparent; /* or NULL */
	graphql_run_fn *woken;
	void *owner;
	/* its own */
	struct execution execution;
	struct graphql_ask *asks;
	size_t ask_count, asked; /* of a mutation: those that were begun */
	_Atomic size_t left;
	_Atomic bool cancelled;
	enum { RUN_NEW, RUN_FIELDS, RUN_DETAILS, RUN_OVER } stage;
};

/* The answer, a new reference; NULL: wait for woken(). One thread at a time. */
json_t *graphql_run_step(struct graphql_run *run);
/* The client is gone: what is under way ends early. Any thread, until the answer is there. */
void graphql_run_cancel(struct graphql_run *run);
/* After the answer. Twice does not hurt. */
void graphql_run_release(struct graphql_run *run);
/* {"message", "extensions"} of a problem document: the message is lent by it, extensions are new.
 */
const char *graphql_run_problem(const json_t *problem, int status, int retry_after_s,
				json_t **extensions_r);

#endif
