/* SPDX-License-Identifier: Apache-2.0 */
/* The made-up store, and what the effects thread does with a subscriber. */
#include "tests/unit/consumers/subscribe/subscriber_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/arena.h"
#include "common/broker/envelope.h"

struct subscriber_rig rig;

static const char yaml[] = "queues: {q: {broker: {topic: ours}}}\n"
			   "jobs: {x: {sql: SELECT 1, queue: q}}\n"
			   "sources:\n"
			   "  plain: {topic: plain, type: x}\n"
			   "  turns: {topic: turns, type: x, order: key}\n";

/* ---- a store that answers as the test says */

static struct claimed_job *stored_job(const struct admission *item)
{
	struct arena *arena = arena_new(0);
	struct claimed_job *job = ARENA_NEW(arena, struct claimed_job);

	job->arena = arena;
	job->id = item->id;
	job->batch = item->batch;
	job->attempt = item->attempt;
	job->type = "x";
	return job;
}

static int fake_admission(struct store *store, struct admission *items, size_t count,
			  int64_t keep_ms, struct error *err_r)
{
	(void)store;
	assert_int_equal(keep_ms, 1000);
	if (rig.weather)
		return error_set(err_r, rig.weather, "weather");
	for (size_t i = 0; i < count; i++) {
		for (size_t k = 0; k < i; k++)
			assert_false(uuid_equal(&items[i].id, &items[k].id));
		rig.keyed = items[i].order_key != NULL;
		items[i].verdict =
			idmap_get(rig.known, &items[i].id) ? ADMISSION_KNOWN : rig.verdict;
		if (items[i].verdict == ADMISSION_RUN && !uuid_is_nil(&items[i].batch))
			items[i].job = stored_job(&items[i]);
	}
	return 0;
}

static int fake_commit(struct store *store, const struct completion_batch *batch,
		       struct arena *arena, struct claim *claim_r, struct error *err_r)
{
	(void)store;
	(void)arena;
	(void)claim_r;
	(void)err_r;
	rig.leases += batch->finished_lease_count;
	return 0;
}

static int fake_save(struct store *store, const struct position *positions, size_t count,
		     struct error *err_r)
{
	(void)store;
	if (rig.weather)
		return error_set(err_r, rig.weather, "weather");
	assert_int_equal(count, 1);
	rig.saves++;
	rig.position = positions[0].offset;
	return 0;
}

static const struct store_ops fake_ops = { .scheme = "fake",
					   .admission_check = fake_admission,
					   .completion_commit = fake_commit,
					   .position_save = fake_save };

/* ---- the subscriber, with what came out of it */

static void ring(void *ctx)
{
	assert_ptr_equal(ctx, &rig.rings);
	rig.rings++;
}

void rig_serve(const char *text)
{
	struct definitions *defs = definitions_parse(text, strlen(text), "test.yaml", stderr);

	assert_non_null(defs);
	rig.subscriber->ops->serve(rig.subscriber, defs);
	definitions_unref(&defs);
}

static void begin(feed_new_fn *feed_new, enum broker_kind kind)
{
	struct broker_subscriber_options options = {
		.store = &rig.store,
		.kind = kind,
		.prefix = "windlass.",
		.keep_ms = 1000,
		.payload_bytes_max = 1000,
		.feed_new = feed_new,
	};
	struct error error;

	memset(&rig, 0, sizeof(rig));
	rig.store.ops = &fake_ops;
	rig.known = idmap_new();
	rig.verdict = ADMISSION_RUN;
	rig.arena = arena_new(0);
	rig.metrics = metrics_open("test");
	options.feed.metrics = rig.metrics;
	uuid_v7(&rig.session);
	options.session = rig.session;
	rig.subscriber = broker_subscriber_new(&options, &error);
	assert_non_null(rig.subscriber);
	rig.subscriber->ops->on_ready(rig.subscriber, ring, &rig.rings);
	rig.job_count = 0;
	rig_serve(yaml);
	rig_take(0);
}

int rig_setup(void **state)
{
	(void)state;
	begin(fake_feed_new, BROKER_AMQP);
	return 0;
}

int rig_setup_log(void **state)
{
	(void)state;
	begin(fake_log_new, BROKER_KAFKA);
	return 0;
}

int rig_teardown(void **state)
{
	(void)state;
	rig.subscriber->ops->on_ready(rig.subscriber, NULL, NULL);
	rig.subscriber->ops->free(rig.subscriber);
	assert_true(fake_feed->stopped && fake_feed->flushed && fake_feed->freed);
	for (size_t i = 0; i < rig.job_count; i++)
		arena_free(&(struct arena *){ rig.jobs[i]->arena });
	fake_feed_gone();
	idmap_free(&rig.known);
	metrics_close(&rig.metrics);
	arena_free(&rig.arena);
	return 0;
}

/* Takes what there is. */
void rig_take_max(size_t max, size_t want)
{
	struct claim claim;
	struct error error = { 0 };

	assert_int_equal(rig.subscriber->ops->take(rig.subscriber, max, rig.arena, &claim, &error),
			 0);
	for (size_t i = 0; i < claim.count; i++)
		rig.jobs[rig.job_count++] = claim.jobs[i];
	if (claim.count != want)
		fail_msg("%zu jobs came instead of %zu", claim.count, want);
}

void rig_take(size_t want)
{
	rig_take_max(1000, want);
}

void rig_tend_at(int64_t mono_ms)
{
	struct error error;
	int64_t next_ms;

	assert_int_equal(rig.subscriber->ops->tend(rig.subscriber, mono_ms, &next_ms, &error), 0);
	assert_in_range(next_ms, 0, 60000);
}

/* The store has the end of this job: commits, and settles like workers/effects. */
void rig_commit(size_t n, enum completion_kind kind, enum completion_fate fate,
		enum settle_verb verb)
{
	struct completion completion = { .kind = kind, .job = rig.jobs[n] }, *item = &completion;
	struct completion_batch batch = { .items = &item, .count = 1 };
	struct claim claim = { 0 };

	uuid_v7(&completion.adopted);
	if (kind != COMPLETION_NOTHING) {
		rig.subscriber->ops->ride(rig.subscriber, &batch, 100);
		assert_null(batch.claim);
		assert_true(uuid_equal(&batch.session, &rig.session));
		completion.fate = fate;
		rig.leases += batch.finished_lease_count;
		if (batch.position_count)
			rig.position = batch.positions[0].offset;
		rig.subscriber->ops->rode(rig.subscriber, &batch, &claim, NULL);
	}
	if (kind == COMPLETION_ADOPT && fate == COMPLETION_COMMITTED)
		rig.jobs[n]->batch = completion.adopted;
	rig.subscriber->ops->settle(rig.subscriber, rig.jobs[n], verb);
}

void rig_finish(size_t n)
{
	rig_commit(n, COMPLETION_FINISH, COMPLETION_COMMITTED, SETTLE_ACK);
}

enum fake_fate rig_fate(size_t message)
{
	return fake_feed->messages[message]->fate;
}

/* What a dispatcher sends. */
size_t rig_put_ours(const char *topic, const struct uuid *id, const struct uuid *batch)
{
	struct envelope_job job = { .id = *id,
				    .batch = *batch,
				    .attempt = 3,
				    .queue = "q",
				    .type = "x",
				    .payload = "{}",
				    .payload_bytes = 2 };
	struct strbuf body;
	size_t n;

	strbuf_init(&body);
	envelope_add_job(&body, &job, 1000);
	n = fake_feed_put(topic, body.data, NULL, NULL);
	strbuf_release(&body);
	return n;
}

void rig_mark(struct idmap *map, const struct claimed_job *job)
{
	idmap_put(map, &job->id, map);
}
