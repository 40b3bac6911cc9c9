/* SPDX-License-Identifier: Apache-2.0 */
/* Who waits for what: a target's list holds those that wait for its room or rate, first come first
 * served; a token source's those that wait for a token, which count as under way already. A call
 * that has no use in waiting is held: its owner comes again later. */
#include "workers/remote/flow.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/arena.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/service/metrics.h"
#include "workers/remote/remote_loop.h"
#include "workers/remote/targets.h"

#define PART_MAX         128 /* calls that look for connections among each other's */
#define MS_NS            INT64_C(1000000)
#define NEVER_NS         INT64_MAX
#define TOKEN_TIMEOUT_MS 10000
#define TOKEN_BYTES_MAX  65536

struct flow {
	struct remote_loop *loop;
	struct targets *targets;
	CURLSH *share; /* TLS sessions */
	char *ca_file; /* or NULL */
	struct list every, queued /* targets with somebody waiting */;
	bool stopping;
	flow_ended_fn *ended;
	void *ctx;
};

static void pump(struct flow *flow, struct target *target);
static void go(struct flow *flow, struct remote_call *call);

static bool enter_loop(struct flow *flow, struct remote_call *call)
{
	call->place = remote_loop_add(flow->loop, call->easy);
	call->in_loop = call->place >= 0;
	return call->in_loop;
}

static void leave_loop(struct flow *flow, struct remote_call *call)
{
	if (call->in_loop)
		remote_loop_remove(flow->loop, call->easy, call->place);
	call->in_loop = false;
}

/* ---- out */

static void tell(struct flow *flow, struct remote_call *call, CURLcode result)
{
	list_remove(&call->link);
	list_remove(&call->every);
	remote_call_finish(&call, result);
	flow->ended(flow->ctx);
}

static void hold(struct flow *flow, struct remote_call *call, int64_t hold_ms, const char *why)
{
	call->hold_ms = hold_ms > 0 ? hold_ms : 1;
	snprintf(call->error, sizeof(call->error), "%s", why);
	if (call->target) {
		call->target->held++;
		if (call->target->series.held)
			metric_add(call->target->series.held, 1);
	}
	tell(flow, call, CURLE_OK);
}

static enum target_outcome outcome_of(const struct remote_call *call, CURLcode result)
{
	if (result == CURLE_OK)
		return remote_call_status(call) >= 500 ? TARGET_FAILED : TARGET_ANSWERED;
	/* aborted, refused by ourselves, or an answer that we did not want to the end */
	if (result == CURLE_ABORTED_BY_CALLBACK || remote_call_cut_off(call, result) ||
	    result == CURLE_URL_MALFORMAT || result == CURLE_UNSUPPORTED_PROTOCOL ||
	    result == CURLE_FAILED_INIT || call->guard.last)
		return TARGET_SILENT;
	return TARGET_FAILED;
}

static void count(struct target *target, enum target_outcome outcome, int64_t took_ns)
{
	const struct target_series *series = &target->series;

	if (!series->answered)
		return;
	metric_add(outcome == TARGET_ANSWERED ? series->answered
		   : outcome == TARGET_FAILED ? series->failed
					      : series->silent,
		   1);
	metric_move(series->in_flight, -1);
	metric_observe(series->seconds, (double)took_ns / 1e9);
	if (series->breaker)
		metric_set(series->breaker, target->breaker.state - BREAKER_CLOSED);
}

static void leave_target(struct remote_call *call, enum target_outcome outcome)
{
	struct target *target = call->target;
	int64_t now_ns = clock_mono_ns(), took_ns = now_ns - call->begun_ns;
	enum breaker_state before = target->breaker.state;

	call->begun_ns = 0;
	target_end(target, outcome, call->again, call->probe, took_ns, now_ns);
	count(target, outcome, took_ns);
	if (target->breaker.state != before)
		log_line(target->breaker.state == BREAKER_OPEN ? LOG_WARN : LOG_INFO,
			 "target-breaker", LOG_S("target", target->name ? target->name : "other"),
			 LOG_S("origin", target->origin),
			 LOG_S("state", breaker_state_name(target->breaker.state)));
}

/* Has its target's token been refused, and may it go once more with another? */
static bool once_more(struct remote_call *call, CURLcode result)
{
	struct token_source *token = call->target->token;

	if (result != CURLE_OK || !token || call->own_authorization || call->tried_again ||
	    remote_call_status(call) != 401)
		return false;
	call->tried_again = true;
	return token_refused(token, call->token_number, clock_mono_ns());
}

static void end(struct flow *flow, struct remote_call *call, CURLcode result)
{
	struct target *target = call->target;
	bool was_begun = call->begun_ns != 0;

	leave_loop(flow, call);
	if (was_begun && once_more(call, result)) {
		remote_call_rewind(call);
		go(flow, call);
		return;
	}
	if (was_begun && result == CURLE_OK)
		target->multiplexed = remote_call_multiplexed(call);
	if (was_begun)
		leave_target(call, outcome_of(call, result));
	tell(flow, call, result);
	if (was_begun) {
		pump(flow, target);
		targets_release(flow->targets, target);
	}
}

/* ---- tokens */

struct fetch { /* of a token */
	struct flow *flow;
	struct target *target;
};

static void let_waiting_go(struct flow *flow, struct token_source *token, const char *why)
{
	struct list waiting;
	bool good = token_good(token, clock_mono_ns());

	list_init(&waiting);
	while (!list_empty(&token->waiting)) {
		struct list *first = token->waiting.next;

		list_remove(first);
		list_append(&waiting, first);
	}
	while (!list_empty(&waiting)) {
		struct remote_call *call = list_first(&waiting, struct remote_call, link);

		list_remove(&call->link);
		if (good) {
			go(flow, call);
		} else {
			snprintf(call->error, sizeof(call->error), "%.250s", why);
			end(flow, call, CURLE_FAILED_INIT);
		}
	}
}

static void on_token(void *ctx, const struct remote_reply *reply)
{
	struct fetch *fetch = ctx;
	struct target *target = fetch->target;
	struct token_source *token = target->token;
	struct error error = { 0 };
	int result = -1;

	token->fetching = false;
	if (reply->fate == REMOTE_ANSWERED)
		result = token_take(token, reply->status, reply->body, reply->body_bytes,
				    clock_mono_ns(), &error);
	else
		error_set(&error, ERROR_UNAVAILABLE, "no token: %.200s", reply->error);
	if (result < 0)
		log_line(LOG_WARN, "no-token", LOG_S("target", target->name),
			 LOG_S("why", error.message));
	target->in_flight++; /* it stays, whoever ends now */
	let_waiting_go(fetch->flow, token, error.message);
	target->in_flight--;
	targets_release(fetch->flow->targets, target);
	free(fetch);
}

static void end_fetch(struct flow *flow, struct remote_call *call, CURLcode result)
{
	leave_loop(flow, call);
	list_remove(&call->every);
	remote_call_finish(&call, result);
}

/* The request for a token: nothing of the target's limits applies to it. */
static struct remote_call *fetch_call(struct flow *flow, const struct token_source *token)
{
	struct strbuf form, authorization;
	const char *headers[] = { NULL, "Content-Type: application/x-www-form-urlencoded",
				  "Accept: application/json", NULL };
	struct remote_request request = {
		.method = "POST",
		.url = token->url,
		.headers = headers,
		.timeout_ms = TOKEN_TIMEOUT_MS,
		.response_bytes_max = TOKEN_BYTES_MAX,
	};
	struct remote_call *call;

	strbuf_init(&form);
	strbuf_init(&authorization);
	token_request(token, &form, &authorization);
	headers[0] = authorization.data;
	request.body = form.data;
	request.body_bytes = form.len;
	call = remote_call_new(&request, flow->ca_file, NULL);
	explicit_bzero(authorization.data, authorization.len);
	strbuf_release(&authorization);
	strbuf_release(&form);
	return call;
}

static void fetch_token(struct flow *flow, struct target *target)
{
	struct remote_call_terms terms = { .left_ms = TOKEN_TIMEOUT_MS, .share = flow->share };
	struct remote_call *call = fetch_call(flow, target->token);
	struct fetch *fetch = xcalloc(1, sizeof(*fetch));

	*fetch = (struct fetch){ .flow = flow, .target = target };
	call->done = on_token;
	call->ctx = fetch;
	call->fetch_for = target;
	target->token->fetching = true;
	list_append(&flow->every, &call->every);
	if (call->easy)
		remote_call_prepare(call, &terms);
	if (!call->easy || !enter_loop(flow, call))
		end_fetch(flow, call, CURLE_FAILED_INIT);
}

/* False: it waits for a token, or there is none to be had. */
static bool bring_token(struct flow *flow, struct remote_call *call)
{
	struct target *target = call->target;
	struct token_source *token = target->token;

	if (!token || call->own_authorization)
		return true;
	if (token_wanted(token, clock_mono_ns()))
		fetch_token(flow, target);
	if (token_good(token, clock_mono_ns())) {
		call->bearer = xstrdup(token->header);
		call->token_number = token->number;
		return true;
	}
	if (token->fetching) {
		list_append(&token->waiting, &call->link);
	} else {
		snprintf(call->error, sizeof(call->error), "no token can be asked for");
		end(flow, call, CURLE_FAILED_INIT);
	}
	return false;
}

/* ---- in */

/* It is under way at its target: into libcurl's hands, when it has its token. */
static void go(struct flow *flow, struct remote_call *call)
{
	struct target *target = call->target;
	struct remote_call_terms terms = {
		.ca = target->ca,
		.cert = target->cert,
		.key = target->key,
		.connect_ms = target->connect_timeout_ms,
		.left_ms = (call->deadline_ns - clock_mono_ns()) / MS_NS,
		.http2 = target->http2,
		.multiplexed = target->multiplexed,
		.declared = target->name != NULL,
		.share = flow->share,
	};

	if (terms.left_ms <= 0) {
		snprintf(call->error, sizeof(call->error), "no time is left for the call");
		end(flow, call, CURLE_FAILED_INIT);
		return;
	}
	if (!bring_token(flow, call))
		return;
	terms.authorization = call->bearer ? call->bearer : target->authorization;
	remote_call_prepare(call, &terms);
	if (!enter_loop(flow, call)) {
		snprintf(call->error, sizeof(call->error), "libcurl refused the call");
		end(flow, call, CURLE_FAILED_INIT);
	}
}

static void start(struct flow *flow, struct remote_call *call, int64_t now_ns)
{
	call->begun_ns = now_ns;
	if (call->target->series.in_flight)
		metric_move(call->target->series.in_flight, 1);
	go(flow, call);
}

static void unqueue(struct remote_call *call)
{
	list_remove(&call->link);
	if (--call->target->waiting_count == 0)
		list_remove(&call->target->queue_link);
}

static const char *gate_reason(const struct target *target)
{
	return target->breaker.state == BREAKER_CLOSED
		       ? "its target's retry budget is used up"
		       : "its target fails and is left alone for a while";
}

/* Ends the waiting of those whose time is over. */
static void drop_late(struct flow *flow, struct target *target, int64_t now_ns)
{
	struct list *next;

	if (now_ns + MS_NS <= target->late_ns)
		return;
	target->late_ns = NEVER_NS;
	for (struct list *at = target->waiting.next; at != &target->waiting; at = next) {
		struct remote_call *call = list_entry(at, struct remote_call, link);

		next = at->next;
		if (call->deadline_ns < now_ns + MS_NS) {
			unqueue(call);
			hold(flow, call, target_again_ms(target), "its target had no room in time");
		} else if (call->deadline_ns < target->late_ns) {
			target->late_ns = call->deadline_ns;
		}
	}
}

/* Lets go who may. */
static void pump(struct flow *flow, struct target *target)
{
	int64_t now_ns = clock_mono_ns(), wait_ns = 0;

	if (target->pumping || flow->stopping || list_empty(&target->waiting))
		return;
	target->pumping = true;
	drop_late(flow, target, now_ns);
	while (!list_empty(&target->waiting)) {
		struct remote_call *call = list_first(&target->waiting, struct remote_call, link);

		if (target_gate(target, call->again, now_ns, &wait_ns) == TARGET_HOLD) {
			unqueue(call);
			hold(flow, call, wait_ns / MS_NS, gate_reason(target));
			continue;
		}
		if (target_take(target, call->again, now_ns, &call->probe, &wait_ns) == TARGET_WAIT)
			break;
		unqueue(call);
		start(flow, call, now_ns);
	}
	target->wake_ns = wait_ns < NEVER_NS - now_ns ? now_ns + wait_ns : NEVER_NS;
	if (target->late_ns < target->wake_ns)
		target->wake_ns = target->late_ns;
	target->pumping = false;
}

/* There is neither room nor rate now. */
static void queue(struct flow *flow, struct remote_call *call, int64_t wait_ns, int64_t now_ns)
{
	struct target *target = call->target;
	int64_t wake_ns = wait_ns < NEVER_NS - now_ns ? now_ns + wait_ns : NEVER_NS;

	if (target->waiting_count >= target->limits.waiting_max ||
	    now_ns + target_queue_ns(target) >= call->deadline_ns) {
		hold(flow, call, target_again_ms(target), "its target has no room");
		return;
	}
	if (target->waiting_count++ == 0) {
		list_append(&flow->queued, &target->queue_link);
		target->late_ns = target->wake_ns = NEVER_NS;
	}
	list_append(&target->waiting, &call->link);
	if (call->deadline_ns < target->late_ns)
		target->late_ns = call->deadline_ns;
	if (target->late_ns < wake_ns)
		wake_ns = target->late_ns;
	if (wake_ns < target->wake_ns)
		target->wake_ns = wake_ns;
}

static void admit(struct flow *flow, struct remote_call *call, int64_t now_ns)
{
	struct target *target = call->target;
	int64_t wait_ns, timeout_ms = call->timeout_ms;
	enum target_verdict verdict = TARGET_WAIT;

	if (target->timeout_ms && target->timeout_ms < timeout_ms)
		timeout_ms = target->timeout_ms;
	call->deadline_ns = now_ns + timeout_ms * MS_NS;
	if (target_gate(target, call->again, now_ns, &wait_ns) == TARGET_HOLD) {
		hold(flow, call, wait_ns / MS_NS, gate_reason(target));
		return;
	}
	wait_ns = NEVER_NS;
	if (list_empty(&target->waiting))
		verdict = target_take(target, call->again, now_ns, &call->probe, &wait_ns);
	if (verdict == TARGET_GO)
		start(flow, call, now_ns);
	else
		queue(flow, call, wait_ns, now_ns);
}

void flow_take(struct flow *flow, struct remote_call *call)
{
	int64_t now_ns = clock_mono_ns();
	const char *why;

	list_append(&flow->every, &call->every);
	if (!call->easy) {
		tell(flow, call, CURLE_URL_MALFORMAT);
		return;
	}
	call->target = targets_find(flow->targets, call->target_name, call->url, now_ns, &why);
	if (call->target && !call->target->fault) {
		admit(flow, call, now_ns);
		return;
	}
	call->refused = !call->target;
	remote_call_refuse(call, call->target ? call->target->fault : why);
	tell(flow, call, CURLE_URL_MALFORMAT);
}

/* ---- aborts */

static void abort_call(struct flow *flow, struct remote_call *call)
{
	if (call->fetch_for) {
		end_fetch(flow, call, CURLE_ABORTED_BY_CALLBACK);
		return;
	}
	if (!call->begun_ns)
		unqueue(call);
	end(flow, call, CURLE_ABORTED_BY_CALLBACK);
}

void flow_abort(struct flow *flow, uint64_t handle)
{
	for (struct list *at = flow->every.next; at != &flow->every; at = at->next) {
		struct remote_call *call = list_entry(at, struct remote_call, every);

		if (call->handle == handle) {
			abort_call(flow, call);
			return;
		}
	}
}

void flow_abort_all(struct flow *flow)
{
	struct list *next;

	flow->stopping = true;
	/* the requests for tokens last: calls wait for them */
	for (struct list *at = flow->every.next; at != &flow->every; at = next) {
		struct remote_call *call = list_entry(at, struct remote_call, every);

		next = at->next;
		if (!call->fetch_for)
			abort_call(flow, call);
	}
	while (!list_empty(&flow->every))
		abort_call(flow, list_first(&flow->every, struct remote_call, every));
}

/* ---- the flow */

static void on_transfer(void *ctx, CURL *easy, CURLcode result)
{
	struct flow *flow = ctx;
	char *private = NULL;
	struct remote_call *call;

	CHECK(curl_easy_getinfo(easy, CURLINFO_PRIVATE, &private) == CURLE_OK && private);
	call = (struct remote_call *)(void *)private;
	if (call->fetch_for)
		end_fetch(flow, call, result);
	else
		end(flow, call, result);
}

static int64_t next_wake_ns(const struct flow *flow)
{
	int64_t wake_ns = NEVER_NS;

	for (const struct list *at = flow->queued.next; at != &flow->queued; at = at->next) {
		const struct target *target = list_entry(at, struct target, queue_link);

		if (target->wake_ns < wake_ns)
			wake_ns = target->wake_ns;
	}
	return wake_ns;
}

void flow_run(struct flow *flow, int64_t timeout_ms)
{
	int64_t wake_ns = next_wake_ns(flow), now_ns = clock_mono_ns();
	struct list *next;

	if (wake_ns <= now_ns)
		timeout_ms = 0;
	else if ((wake_ns - now_ns) / MS_NS < timeout_ms)
		timeout_ms = (wake_ns - now_ns) / MS_NS + 1;
	remote_loop_run(flow->loop, timeout_ms);
	now_ns = clock_mono_ns();
	for (struct list *at = flow->queued.next; at != &flow->queued; at = next) {
		struct target *target = list_entry(at, struct target, queue_link);

		next = at->next;
		if (target->wake_ns > now_ns)
			continue;
		pump(flow, target);
		targets_release(flow->targets, target);
	}
}

void flow_configure(struct flow *flow, const struct definitions *defs)
{
	targets_configure(flow->targets, defs, clock_mono_ns());
}

void flow_observe(struct flow *flow, struct metrics *metrics)
{
	targets_observe(flow->targets, metrics);
}

void flow_describe(struct flow *flow, struct strbuf *out)
{
	targets_describe(flow->targets, clock_mono_ns(), out);
}

void flow_wake(struct flow *flow)
{
	remote_loop_wake(flow->loop);
}

struct flow *flow_new(const char *ca_file, flow_ended_fn *ended, void *ctx)
{
	struct flow *flow = xcalloc(1, sizeof(*flow));

	flow->ended = ended;
	flow->ctx = ctx;
	flow->ca_file = ca_file ? xstrdup(ca_file) : NULL;
	list_init(&flow->every);
	list_init(&flow->queued);
	flow->loop = remote_loop_new(PART_MAX, on_transfer, flow);
	flow->targets = targets_new();
	flow->share = curl_share_init();
	CHECK(flow->share);
	CHECK(curl_share_setopt(flow->share, CURLSHOPT_SHARE, CURL_LOCK_DATA_SSL_SESSION) ==
	      CURLSHE_OK);
	return flow;
}

void flow_free(struct flow **flow)
{
	struct flow *f = *flow;

	CHECK(list_empty(&f->every));
	remote_loop_free(&f->loop);
	targets_free(&f->targets);
	CHECK(curl_share_cleanup(f->share) == CURLSHE_OK);
	free(f->ca_file);
	free(f);
	*flow = NULL;
}
