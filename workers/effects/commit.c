/* SPDX-License-Identifier: Apache-2.0 */
/* The policy of the group commit. Each function works on a span of the round's items and leaves
 * them with a fate, or returns -1 for weather that concerns the whole store. Nothing but staged
 * write sets is ever run again here. */
#include "workers/effects/commit.h"

#include <string.h>

#include "common/base/clock.h"
#include "common/base/failpoint.h"

#define CAREFUL_ABOVE   0.01 /* failure rate from which on we begin with savepoints */
#define RATE_MEMORY     512  /* jobs that the rate looks back on */
#define REMOVALS_MAX    2    /* times that known faults are taken out before savepoints are used */
#define UNKNOWN_REPEATS 3    /* in place */
/* before a contended span is tried again: up to this, doubled a halving */
#define JITTER_MS 10
#define CLAIM_MAX 512 /* jobs claimed in a transaction that also completes */

static const char *const retry_why[] = {
	[ERROR_SQL] = "sql",
	[ERROR_CONFLICT] = "unmet",
	[ERROR_CONTENTION] = "contention",
	[ERROR_UNKNOWN] = "unknown",
};

static void count_retry(struct committer *c, const struct error *error)
{
	const char *why = error->code < ARRAY_LEN(retry_why) ? retry_why[error->code] : NULL;

	metric_add(
		metrics_series(c->metrics, METRIC_STORE_ERRORS, error_code_name(error->code), NULL),
		1);
	if (why)
		metric_add(metrics_series(c->metrics, METRIC_COMMIT_RETRIES, why, NULL), 1);
}

/* From here on it is a job like any that the session has claimed. */
static void adopted(struct effect *effect)
{
	CHECK(effect->adopts && effect->adopts == effect->completion->job);
	effect->adopts->batch = effect->completion->adopted;
	effect->adopts->source = NULL;
}

static void settle_items(struct committer *c, struct effect **items, size_t count)
{
	int64_t now_ns = clock_mono_ns();

	for (size_t i = 0; i < count; i++) {
		struct completion *done = items[i]->completion;
		bool over = done->fate == COMPLETION_COMMITTED || done->fate == COMPLETION_LOST;

		CHECK(done->fate);
		items[i]->committed_ns = now_ns;
		if (done->kind == COMPLETION_ADOPT && done->fate == COMPLETION_COMMITTED)
			adopted(items[i]);
		if (over && done->kind != COMPLETION_STEP)
			c->subscriber->ops->settle(c->subscriber, done->job,
						   c->consumers->verb(done));
	}
}

static int run_transaction(struct committer *c, const struct completion_batch *batch,
			   struct commit_round *round, struct claim *claim_r, struct error *err_r)
{
	if (FAILPOINT("before_commit_batch"))
		return error_set(err_r, ERROR_UNAVAILABLE, "failpoint");
	if (completion_commit(c->store, batch, round->arena, claim_r, err_r) < 0)
		return -1;
	if (FAILPOINT("after_commit_before_ack"))
		return error_set(err_r, ERROR_UNKNOWN, "failpoint");
	return 0;
}

/* One transaction with these items, and the round's claim when it has not been made yet. */
static int commit_once(struct committer *c, struct commit_round *round, struct effect **items,
		       size_t count, enum completion_mode mode, struct error *err_r)
{
	struct completion *completions[COMMIT_ITEMS_MAX];
	struct completion_batch batch = { .items = completions, .count = count, .mode = mode };
	struct claim claim = { 0 };
	int rc;

	for (size_t i = 0; i < count; i++) {
		completions[i] = items[i]->completion;
		completions[i]->fate = 0;
		error_clear(&completions[i]->error);
	}
	c->subscriber->ops->ride(c->subscriber, &batch,
				 round->claim_max < CLAIM_MAX ? round->claim_max : CLAIM_MAX);
	rc = run_transaction(c, &batch, round, &claim, err_r);
	c->subscriber->ops->rode(c->subscriber, &batch, &claim, rc < 0 ? err_r : NULL);
	if (rc < 0) {
		count_retry(c, err_r);
		return -1;
	}
	if (batch.claim) {
		round->claim = claim;
		round->claimed = true;
		round->claim_max = 0;
	}
	metric_observe(metrics_series(c->metrics, METRIC_COMMIT_BATCH, "complete", NULL),
		       (double)count);
	settle_items(c, items, count);
	return 0;
}

void commit_nothing(struct committer *committer, struct effect *item)
{
	CHECK(item->completion->kind == COMPLETION_NOTHING);
	item->completion->fate = COMPLETION_COMMITTED;
	settle_items(committer, &item, 1);
}

/* The store is away, full, or silent after a COMMIT: it concerns everybody. */
static bool is_weather(const struct error *error)
{
	return error->code == ERROR_UNAVAILABLE || error->code == ERROR_FULL ||
	       error->code == ERROR_UNKNOWN;
}

static void forget_fates(struct effect **items, size_t count)
{
	for (size_t i = 0; i < count; i++)
		items[i]->completion->fate = 0;
}

/* As commit_once, but an unanswered COMMIT is repeated: what it did shows as committed again. */
static int commit_known(struct committer *c, struct commit_round *round, struct effect **items,
			size_t count, enum completion_mode mode, struct error *err_r)
{
	int rc = -1;

	for (int i = 0; i < UNKNOWN_REPEATS && rc < 0; i++) {
		rc = commit_once(c, round, items, count, mode, err_r);
		if (rc < 0 && err_r->code != ERROR_UNKNOWN)
			break;
	}
	if (rc < 0 && is_weather(err_r))
		forget_fates(items, count);
	return rc;
}

static void pause_jittered(struct committer *c, int halvings)
{
	c->pause(1 + (int)random_below((uint64_t)JITTER_MS << halvings));
}

/* A job that was alone in its transaction is at fault itself. */
static int commit_alone(struct committer *c, struct commit_round *round, struct effect *item,
			struct error *err_r)
{
	struct completion *completion = item->completion;

	if (commit_known(c, round, &item, 1, COMPLETION_OPTIMISTIC, err_r) == 0)
		return 0;
	if (is_weather(err_r))
		return -1;
	if (err_r->code == ERROR_CONTENTION) {
		completion->fate = 0;
		pause_jittered(c, 0);
		if (++item->contentions < COMMIT_CONTENTIONS_MAX)
			return 0;
	}
	if (completion->fate != COMPLETION_UNMET) {
		completion->fate = COMPLETION_FAILED;
		if (!completion->error.code)
			completion->error = *err_r;
	}
	settle_items(c, &item, 1);
	return 0;
}

typedef int commit_span_fn(struct committer *c, struct commit_round *round, struct effect **items,
			   size_t count, int halvings, struct error *err_r);

/* Rows are fought for: less at once, and not at once. What is still contended at the end waits for
 * the next round. */
static int commit_halves(commit_span_fn *span, struct committer *c, struct commit_round *round,
			 struct effect **items, size_t count, int halvings, struct error *err_r)
{
	size_t half = count / 2;

	forget_fates(items, count);
	pause_jittered(c, halvings);
	if (count == 1)
		return commit_alone(c, round, items[0], err_r);
	if (halvings >= COMMIT_HALVINGS_MAX) {
		for (size_t i = 0; i < count; i++)
			items[i]->contentions++;
		return 0;
	}
	if (span(c, round, items, half, halvings + 1, err_r) < 0)
		return -1;
	return span(c, round, items + half, count - half, halvings + 1, err_r);
}

static int commit_one_by_one(struct committer *c, struct commit_round *round, struct effect **items,
			     size_t count, struct error *err_r)
{
	forget_fates(items, count);
	for (size_t i = 0; i < count; i++) {
		if (commit_alone(c, round, items[i], err_r) < 0)
			return -1;
	}
	return 0;
}

/* At most 50 of them, a savepoint each. */
static int commit_savepoints(struct committer *c, struct commit_round *round, struct effect **items,
			     size_t count, int halvings, struct error *err_r)
{
	if (commit_known(c, round, items, count, COMPLETION_CAREFUL, err_r) == 0)
		return 0;
	if (is_weather(err_r))
		return -1;
	if (err_r->code == ERROR_CONTENTION)
		return commit_halves(commit_savepoints, c, round, items, count, halvings, err_r);
	return commit_one_by_one(c, round, items, count, err_r);
}

static int commit_careful(struct committer *c, struct commit_round *round, struct effect **items,
			  size_t count, int halvings, struct error *err_r)
{
	forget_fates(items, count);
	for (size_t at = 0; at < count; at += COMMIT_CAREFUL_MAX) {
		size_t part = count - at < COMMIT_CAREFUL_MAX ? count - at : COMMIT_CAREFUL_MAX;

		if (commit_savepoints(c, round, items + at, part, halvings, err_r) < 0)
			return -1;
	}
	return 0;
}

/* Moves those whose fault is known to the end and keeps their fate. Returns how many are left in
 * front. */
static size_t put_faulty_last(struct effect **items, size_t count)
{
	size_t left = 0;

	for (size_t i = 0; i < count; i++) {
		struct effect *item = items[i];

		if (item->completion->fate == COMPLETION_FAILED ||
		    item->completion->fate == COMPLETION_UNMET)
			continue;
		items[i] = items[left];
		items[left++] = item;
	}
	return left;
}

static int commit_optimistic(struct committer *c, struct commit_round *round, struct effect **items,
			     size_t count, int halvings, struct error *err_r)
{
	if (count == 1)
		return commit_alone(c, round, items[0], err_r);
	for (int removals = 0; count > 0; removals++) {
		size_t left;

		if (commit_known(c, round, items, count, COMPLETION_OPTIMISTIC, err_r) == 0)
			return 0;
		if (is_weather(err_r))
			return -1;
		if (err_r->code == ERROR_CONTENTION)
			return commit_halves(commit_optimistic, c, round, items, count, halvings,
					     err_r);
		left = put_faulty_last(items, count);
		if (left == count || removals == REMOVALS_MAX)
			return commit_careful(c, round, items, count, halvings, err_r);
		settle_items(c, items + left, count - left);
		count = left;
	}
	return 0;
}

static void remember_failures(struct committer *c, const struct commit_round *round)
{
	size_t known = 0, faulty = 0;
	double weight;

	for (size_t i = 0; i < round->count; i++) {
		enum completion_fate fate = round->items[i]->completion->fate;

		known += fate != 0;
		faulty += fate == COMPLETION_FAILED || fate == COMPLETION_UNMET;
	}
	if (!known)
		return;
	weight = known < RATE_MEMORY ? (double)known / RATE_MEMORY : 1;
	c->failure_rate += ((double)faulty / (double)known - c->failure_rate) * weight;
}

int commit_round(struct committer *committer, struct commit_round *round, struct error *err_r)
{
	commit_span_fn *first =
		committer->failure_rate > CAREFUL_ABOVE ? commit_careful : commit_optimistic;
	int rc;

	CHECK(round->count > 0 && round->count <= COMMIT_ITEMS_MAX);
	forget_fates(round->items, round->count);
	rc = first(committer, round, round->items, round->count, 0, err_r);
	remember_failures(committer, round);
	return rc;
}
