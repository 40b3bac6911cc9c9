/* SPDX-License-Identifier: Apache-2.0 */
/* Jobs that are one declared call: no host runs them, the engine makes the call itself and ends the
 * attempt by the class of the answer. arrivals.c starts them; whoever has a type of this kind fills
 * in an http_call and gets receipts, intents, retries and the policies for unknown fates with it.
 * Loop thread. */
#ifndef WORKERS_ENGINE_HTTP_JOB_H
#define WORKERS_ENGINE_HTTP_JOB_H
#include "common/config/definitions.h"
#include "workers/engine/engine_impl.h"

#define HTTP_JOBS_MAX 2000 /* under way in one engine */

struct http_answer { /* what came of the call; lives until the judge returns */
	enum remote_fate fate;
	int status;
	const char *body; /* NUL-terminated as well; never NULL */
	size_t body_bytes;
	const char *error;      /* never NULL */
	int64_t retry_after_ms; /* of Retry-After, or when to come again when held; -1: none */
	bool found;             /* a receipt, or looked up: it was done, whatever its status */
	bool held;    /* NOT_SENT because the target has no room, or its breaker is open */
	bool refused; /* NOT_SENT, and it would be refused again */
	bool again;   /* an earlier attempt may have sent it as well */
};

/* Decides before the rules do. True: *outcome_r says how the attempt ends (strings in the job's
 * arena), as if a handler had said it; false: the rules decide. */
typedef bool http_judge_fn(const struct hand *hand, const struct http_answer *answer,
			   struct task_outcome *outcome_r);

struct http_call {        /* all of it lives in the job's arena, or in the definitions */
	const char *step; /* names its receipt, its intent and its idempotency key */
	const char *method, *url;
	const char *const *headers; /* "Name: value", NULL-terminated */
	const char *body;           /* NULL: none */
	size_t body_bytes;
	const char *idempotency_key; /* NULL: made of the job's id and the step; "": none is sent */
	const char *target;          /* a declared one, or NULL: by the URL's origin */
	bool guarded;                /* scheme, host or port came from a payload */
	bool plain_http;             /* guarded: http will do as well as https */
	int timeout_ms;              /* 0: 30 s; bounded by what is left of the attempt's */
	const struct http_rules *rules; /* NULL: http_rules_default */
	/* what is asked when the fate of an earlier one is unknown (rules->ambiguous is
	 * CALL_LOOKUP): a GET; else NULL */
	const char *lookup_url;
	const char *const *lookup_headers; /* of it, NULL-terminated */
	http_judge_fn *judge;              /* or NULL */
};

/* 2xx is good; 408, 425, 429, 5xx and network errors are tried again, with the same key. */
extern const struct http_rules http_rules_default;

/* The attempt of this hand is this call: sends it, now or once what has to be stored before it is
 * stored, and ends the attempt (endings_add) when the answer is there. */
void http_job_start(struct engine *engine, struct hand *hand, const struct http_call *call);
bool http_job_is(const struct hand *hand); /* its call is under way */
/* A job of an `http:` type: its definition's template for this payload; then as above. */
void http_job_run(struct engine *engine, struct hand *hand);
/* asks.c: what came of it, receipts done; the attempt ends. */
void http_job_answered(struct engine *engine, struct open_ask *open, const struct answer *answer);
/* Its call is aborted, or not made; the attempt ends by that. */
void http_job_cancel(struct engine *engine, struct hand *hand, enum task_cancel why);
void http_job_cancel_all(struct engine *engine); /* the grace time is over */

#endif
