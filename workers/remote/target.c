/* SPDX-License-Identifier: Apache-2.0 */
/* The limits of one target. The rate is a token bucket that holds a quarter of a second's worth: a
 * limit of a third party is kept, not only on average. The retry budget is a token bucket that
 * calls which go well fill: a call that is made again takes one, and gives it back when it is
 * answered, so that only a target that fails is spared. What is held for it comes again the later
 * the more was held in vain, so that a long outage costs little and a short one is over soon. */
#include "workers/remote/target.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/arena.h"
#include "common/base/clock.h"

#define SECOND_NS          INT64_C(1000000000)
#define BURST_S            0.25
#define RETRY_TOKENS_START 10.0
#define RETRY_TOKENS_MAX   100.0
#define RETRY_PER_S        1.0 /* whatever happens: somebody must find out */
#define HELD_MS            20  /* for each that was held since one was answered, */
#define HELD_LEAST_MS      500
#define HELD_MOST_MS       10000
#define MEAN_PART          0.1
#define AGAIN_LEAST_MS     200
#define AGAIN_MOST_MS      30000

/* ---- buckets */

static double burst_of(const struct target *target)
{
	double burst = target->limits.rate_per_s * BURST_S;

	return burst > 1 ? burst : 1;
}

static void fill_starts(struct target *target, int64_t now_ns)
{
	double burst = burst_of(target);

	target->start_tokens +=
		(double)(now_ns - target->start_ns) / (double)SECOND_NS * target->limits.rate_per_s;
	if (target->start_tokens > burst)
		target->start_tokens = burst;
	target->start_ns = now_ns;
}

static void add_retries(struct target *target, double tokens)
{
	target->retry_tokens += tokens;
	if (target->retry_tokens > RETRY_TOKENS_MAX)
		target->retry_tokens = RETRY_TOKENS_MAX;
}

static void fill_retries(struct target *target, int64_t now_ns)
{
	add_retries(target, (double)(now_ns - target->retry_ns) / (double)SECOND_NS * RETRY_PER_S);
	target->retry_ns = now_ns;
}

/* By half less or more: they must not all come at once. */
static int64_t spread_ms(int64_t ms)
{
	return ms / 2 + (int64_t)random_below((uint64_t)ms);
}

static int64_t hold_retry_ns(struct target *target)
{
	int64_t ms = target->retries_held * HELD_MS;

	if (ms < HELD_MOST_MS)
		target->retries_held++;
	return spread_ms(ms < HELD_LEAST_MS ? HELD_LEAST_MS : ms) * (SECOND_NS / 1000);
}

/* ---- calls */

enum target_verdict target_gate(struct target *target, bool again, int64_t now_ns,
				int64_t *wait_ns_r)
{
	*wait_ns_r = breaker_wait_ns(&target->breaker, now_ns);
	if (*wait_ns_r > 0) { /* not all at once: the first one is to open the door for the rest */
		*wait_ns_r += (int64_t)random_below((uint64_t)*wait_ns_r / 2 + 1);
		return TARGET_HOLD;
	}
	fill_retries(target, now_ns);
	if (again && target->retry_tokens < 1) {
		*wait_ns_r = hold_retry_ns(target);
		return TARGET_HOLD;
	}
	return TARGET_GO;
}

enum target_verdict target_take(struct target *target, bool again, int64_t now_ns, bool *probe_r,
				int64_t *wait_ns_r)
{
	*wait_ns_r = INT64_MAX;
	if (target->in_flight >= target->limits.concurrency)
		return TARGET_WAIT;
	if (target->limits.rate_per_s > 0) {
		fill_starts(target, now_ns);
		if (target->start_tokens < 1) {
			*wait_ns_r = (int64_t)((1 - target->start_tokens) /
					       target->limits.rate_per_s * (double)SECOND_NS) +
				     1;
			return TARGET_WAIT;
		}
		target->start_tokens -= 1;
	}
	if (again)
		target->retry_tokens -= 1;
	target->in_flight++;
	*probe_r = breaker_begin(&target->breaker, now_ns);
	return TARGET_GO;
}

void target_end(struct target *target, enum target_outcome outcome, bool again, bool probe,
		int64_t took_ns, int64_t now_ns)
{
	CHECK(target->in_flight > 0);
	target->in_flight--;
	target->calls++;
	target->failures += outcome == TARGET_FAILED;
	if (outcome == TARGET_SILENT)
		breaker_forget(&target->breaker, probe);
	else
		breaker_end(&target->breaker, probe, outcome == TARGET_FAILED, now_ns);
	if (outcome != TARGET_FAILED && again)
		add_retries(target, 1);
	if (outcome == TARGET_ANSWERED && again)
		target->retries_held = 0;
	/* what is made again is no reason to make more again while it fails */
	if (outcome == TARGET_ANSWERED || !again)
		add_retries(target, target->limits.retry_percent / 100.0);
	if (outcome == TARGET_ANSWERED)
		target->mean_ns = target->mean_ns == 0 ? (double)took_ns
						       : target->mean_ns * (1 - MEAN_PART) +
								 (double)took_ns * MEAN_PART;
}

int64_t target_queue_ns(const struct target *target)
{
	double ahead = target->waiting_count + 1.0;
	double room_ns = target->in_flight >= target->limits.concurrency
				 ? ahead * target->mean_ns / target->limits.concurrency
				 : 0;
	double rate_ns = target->limits.rate_per_s > 0
				 ? (ahead - target->start_tokens) / target->limits.rate_per_s *
					   (double)SECOND_NS
				 : 0;
	double most_ns = room_ns > rate_ns ? room_ns : rate_ns;

	return most_ns < 0 ? 0 : most_ns < 1e15 ? (int64_t)most_ns : INT64_C(1000000000000000);
}

int64_t target_again_ms(const struct target *target)
{
	int64_t ms = target_queue_ns(target) / 1000000;

	ms = ms < AGAIN_LEAST_MS ? AGAIN_LEAST_MS : ms > AGAIN_MOST_MS ? AGAIN_MOST_MS : ms;
	return spread_ms(ms);
}

/* ---- the object */

static void set_limits(struct target *target, const struct target_limits *limits, int64_t now_ns)
{
	target->limits = *limits;
	target->start_tokens = burst_of(target);
	target->start_ns = now_ns;
	target->retry_tokens = RETRY_TOKENS_START;
	target->retry_ns = now_ns;
	breaker_init(&target->breaker, &limits->breaker);
}

struct target *target_new(const char *origin, const char *prefix,
			  const struct target_limits *limits, int64_t now_ns)
{
	struct target *target = xcalloc(1, sizeof(*target));

	list_init(&target->link);
	list_init(&target->waiting);
	list_init(&target->queue_link);
	target->origin = xstrdup(origin);
	target->prefix = xstrdup(prefix);
	set_limits(target, limits, now_ns);
	return target;
}

bool target_idle(const struct target *target)
{
	return target->in_flight == 0 && list_empty(&target->waiting);
}

static void wipe(char *secret)
{
	if (secret)
		explicit_bzero(secret, strlen(secret));
	free(secret);
}

void target_free(struct target **target)
{
	struct target *t = *target;

	CHECK(target_idle(t));
	list_remove(&t->link);
	token_source_free(&t->token);
	wipe(t->authorization);
	free(t->ca);
	free(t->cert);
	free(t->key);
	free(t->fault);
	free(t->fingerprint);
	free(t->prefix);
	free(t->origin);
	free(t->name);
	free(t);
	*target = NULL;
}

void target_describe(const struct target *target, int64_t now_ns, struct strbuf *out)
{
	int64_t wait_ns = breaker_wait_ns(&target->breaker, now_ns);

	strbuf_addstr(out, "{\"name\":");
	if (target->name)
		strbuf_json(out, target->name);
	else
		strbuf_addstr(out, "null");
	strbuf_addstr(out, ",\"origin\":");
	strbuf_json(out, target->origin);
	strbuf_printf(out,
		      ",\"breaker\":\"%s\",\"probe_in_ms\":%lld,\"in_flight\":%d,\"waiting\":%d,"
		      "\"calls\":%llu,\"failures\":%llu,\"held\":%llu,\"mean_ms\":%.1f",
		      breaker_state_name(target->breaker.state), (long long)(wait_ns / 1000000),
		      target->in_flight, target->waiting_count, (unsigned long long)target->calls,
		      (unsigned long long)target->failures, (unsigned long long)target->held,
		      target->mean_ns / 1e6);
	strbuf_printf(out, ",\"concurrency\":%d,\"rate_per_s\":%.6g,\"fault\":",
		      target->limits.concurrency, target->limits.rate_per_s);
	if (target->fault)
		strbuf_json(out, target->fault);
	else
		strbuf_addstr(out, "null");
	strbuf_addch(out, '}');
}
