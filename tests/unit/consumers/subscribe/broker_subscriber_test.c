/* SPDX-License-Identifier: Apache-2.0 */
/* Messages into jobs and back, between a made-up feed and a made-up store: what is handed out, what
 * is acknowledged and when, and what becomes of messages that come twice, out of turn, in bad
 * weather or at the end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/arena.h"
#include "common/base/clock.h"
#include "common/base/idmap.h"
#include "common/broker/envelope.h"
#include "common/store/store_impl.h"
#include "consumers/subscribe/broker_subscriber.h"
#include "tests/unit/consumers/subscribe/fake_feed.h"

static const char yaml[] = "queues: {q: {broker: {topic: ours}}}\n"
			   "jobs: {x: {sql: SELECT 1, queue: q}}\n"
			   "sources:\n"
			   "  plain: {topic: plain, type: x}\n"
			   "  turns: {topic: turns, type: x, order: key}\n";

/* ---- a store that answers as the test says */

static struct {
	struct store store;
	struct idmap *known;            /* ids that it has: ADMISSION_KNOWN */
	struct idmap *behind;           /* ADMISSION_BEHIND */
	enum admission_verdict verdict; /* of all others */
	bool keyed;                     /* the last question named a key */
	enum error_code weather;
	int asked, commits, saves;
	int64_t position; /* stored last */
	size_t leases;    /* deleted */
} fake;

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
	fake.asked++;
	if (fake.weather)
		return error_set(err_r, fake.weather, "weather");
	for (size_t i = 0; i < count; i++) {
		for (size_t k = 0; k < i; k++)
			assert_false(uuid_equal(&items[i].id, &items[k].id));
		fake.keyed = items[i].order_key != NULL;
		items[i].verdict = idmap_get(fake.known, &items[i].id)    ? ADMISSION_KNOWN
				   : idmap_get(fake.behind, &items[i].id) ? ADMISSION_BEHIND
									  : fake.verdict;
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
	fake.commits++;
	fake.leases += batch->finished_lease_count;
	return 0;
}

static int fake_save(struct store *store, const struct position *positions, size_t count,
		     struct error *err_r)
{
	(void)store;
	if (fake.weather)
		return error_set(err_r, fake.weather, "weather");
	assert_int_equal(count, 1);
	fake.saves++;
	fake.position = positions[0].offset;
	return 0;
}

static const struct store_ops fake_ops = { .scheme = "fake",
					   .admission_check = fake_admission,
					   .completion_commit = fake_commit,
					   .position_save = fake_save };

/* ---- the subscriber, with what came out of it */

static struct subscriber *subscriber;
static struct metrics *metrics;
static struct arena *arena;
static struct uuid session;
static struct claimed_job *jobs[4096]; /* in hand, in the order in which they came */
static size_t job_count;
static int rings;

static void ring(void *ctx)
{
	assert_ptr_equal(ctx, &rings);
	rings++;
}

static void serve(const char *text)
{
	struct definitions *defs = definitions_parse(text, strlen(text), "test.yaml", stderr);

	assert_non_null(defs);
	subscriber->ops->serve(subscriber, defs);
	definitions_unref(&defs);
}

static void take(size_t want);

static void begin(feed_new_fn *feed_new, enum broker_kind kind)
{
	struct broker_subscriber_options options = {
		.store = &fake.store,
		.kind = kind,
		.prefix = "windlass.",
		.keep_ms = 1000,
		.payload_bytes_max = 1000,
		.feed_new = feed_new,
	};
	struct error error;

	memset(&fake, 0, sizeof(fake));
	fake.store.ops = &fake_ops;
	fake.known = idmap_new();
	fake.behind = idmap_new();
	fake.verdict = ADMISSION_RUN;
	arena = arena_new(0);
	metrics = metrics_open("test");
	options.feed.metrics = metrics;
	uuid_v7(&session);
	options.session = session;
	subscriber = broker_subscriber_new(&options, &error);
	assert_non_null(subscriber);
	subscriber->ops->on_ready(subscriber, ring, &rings);
	job_count = 0;
	serve(yaml);
	take(0);
}

static int setup(void **state)
{
	(void)state;
	begin(fake_feed_new, BROKER_AMQP);
	return 0;
}

static int setup_log(void **state)
{
	(void)state;
	begin(fake_log_new, BROKER_KAFKA);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	subscriber->ops->on_ready(subscriber, NULL, NULL);
	subscriber->ops->free(subscriber);
	assert_true(fake_feed->stopped && fake_feed->flushed && fake_feed->freed);
	for (size_t i = 0; i < job_count; i++)
		arena_free(&(struct arena *){ jobs[i]->arena });
	fake_feed_gone();
	idmap_free(&fake.known);
	idmap_free(&fake.behind);
	metrics_close(&metrics);
	arena_free(&arena);
	return 0;
}

/* Takes what there is. */
static void take_max(size_t max, size_t want)
{
	struct claim claim;
	struct error error = { 0 };

	assert_int_equal(subscriber->ops->take(subscriber, max, arena, &claim, &error), 0);
	for (size_t i = 0; i < claim.count; i++)
		jobs[job_count++] = claim.jobs[i];
	if (claim.count != want)
		fail_msg("%zu jobs came instead of %zu", claim.count, want);
}

static void take(size_t want)
{
	take_max(1000, want);
}

static void tend_at(int64_t mono_ms)
{
	struct error error;
	int64_t next_ms;

	assert_int_equal(subscriber->ops->tend(subscriber, mono_ms, &next_ms, &error), 0);
	assert_in_range(next_ms, 0, 60000);
}

/* The store has the end of this job: commits, and settles like workers/effects. */
static void commit(size_t n, enum completion_kind kind, enum completion_fate fate,
		   enum settle_verb verb)
{
	struct completion completion = { .kind = kind, .job = jobs[n] }, *item = &completion;
	struct completion_batch batch = { .items = &item, .count = 1 };
	struct claim claim = { 0 };

	uuid_v7(&completion.adopted);
	if (kind != COMPLETION_NOTHING) {
		subscriber->ops->ride(subscriber, &batch, 100);
		assert_null(batch.claim);
		assert_true(uuid_equal(&batch.session, &session));
		completion.fate = fate;
		fake.leases += batch.finished_lease_count;
		if (batch.position_count)
			fake.position = batch.positions[0].offset;
		subscriber->ops->rode(subscriber, &batch, &claim, NULL);
	}
	if (kind == COMPLETION_ADOPT && fate == COMPLETION_COMMITTED)
		jobs[n]->batch = completion.adopted;
	subscriber->ops->settle(subscriber, jobs[n], verb);
}

static void finish(size_t n)
{
	commit(n, COMPLETION_FINISH, COMPLETION_COMMITTED, SETTLE_ACK);
}

static enum fake_fate fate_of(size_t message)
{
	return fake_feed->messages[message]->fate;
}

/* What a dispatcher sends. */
static size_t put_ours(const char *topic, const struct uuid *id, const struct uuid *batch)
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

static void mark(struct idmap *map, const struct claimed_job *job)
{
	idmap_put(map, &job->id, map);
}

/* ---- places */

static bool serves(const char *topic, bool dispatched, bool dead)
{
	for (size_t i = 0; i < fake_feed->place_count; i++) {
		const struct feed_place *place = &fake_feed->places[i];

		if (!strcmp(place->topic, topic) && place->dispatched == dispatched &&
		    place->dead == dead)
			return true;
	}
	return false;
}

static void definitions_become_places(void **state)
{
	static const char fewer[] = "jobs: {x: {sql: SELECT 1, queue: r}}\n"
				    "sources: {turns: {topic: turns, type: x, order: key}}\n";
	size_t n;

	(void)state;
	assert_true(serves("ours", true, false));
	assert_true(serves("plain", false, false));
	assert_true(serves("turns", false, false));
	assert_true(serves("windlass.dead", true, true));
	n = fake_feed_put("plain", "{}", "m1", NULL); /* delivered before the file was read again */
	fake_feed_put("turns", "{}", "m2", NULL);
	serve(fewer);
	take(1);
	assert_string_equal(jobs[0]->source, "turns");
	assert_int_equal(fate_of(n), FAKE_RETURNED);
	assert_true(serves("windlass.r", true, false));
	assert_false(serves("ours", true, false));
	assert_false(serves("plain", false, false));
}

static void a_log_has_no_dead_letters_of_its_own(void **state)
{
	(void)state;
	assert_false(serves("windlass.dead", true, true));
	assert_true(serves("ours", true, false));
}

static void a_bad_url_is_said(void **state)
{
	struct broker_subscriber_options options = { .store = &fake.store,
						     .prefix = "windlass.",
						     .feed_new = fake_feed_refuses };
	struct error error;

	(void)state;
	options.feed.metrics = metrics_open("test");
	assert_null(broker_subscriber_new(&options, &error));
	assert_int_equal(error.code, ERROR_INVALID);
	metrics_close(&options.feed.metrics);
}

/* ---- the everyday */

static void a_message_is_acknowledged_after_its_end(void **state)
{
	struct uuid id, batch;
	size_t ours, foreign;

	(void)state;
	uuid_v7(&id);
	uuid_v7(&batch);
	ours = put_ours("ours", &id, &batch);
	foreign = fake_feed_put("plain", "{\"a\":1}", "m1", "k");
	assert_true(rings >= 2);
	take(2);
	assert_true(uuid_equal(&jobs[0]->id, &id) && uuid_equal(&jobs[0]->batch, &batch));
	assert_int_equal(jobs[0]->attempt, 3);
	assert_true(jobs[0]->delivered && !jobs[0]->source && !jobs[0]->refusal);
	assert_string_equal(jobs[1]->source, "plain");
	assert_string_equal(jobs[1]->owner, "source:plain");
	assert_string_equal(jobs[1]->queue, "q");
	assert_string_equal(jobs[1]->payload, "{\"a\":1}");
	assert_string_equal(jobs[1]->order_key, "k");
	assert_int_equal(jobs[1]->attempt, 1);
	assert_true(jobs[1]->delivered && jobs[1]->unchecked && !uuid_is_nil(&jobs[1]->batch));
	assert_int_equal(fake_feed_fates(FAKE_TAKEN), 2);
	finish(1);
	assert_int_equal(fate_of(foreign), FAKE_ACKED);
	assert_int_equal(fate_of(ours), FAKE_TAKEN);
	commit(0, COMPLETION_LATER, COMPLETION_COMMITTED, SETTLE_LATER);
	assert_int_equal(fate_of(ours), FAKE_ACKED);
}

static void no_more_are_taken_than_there_is_room(void **state)
{
	(void)state;
	for (int i = 0; i < 10; i++)
		fake_feed_put("plain", "{}", (char[]){ (char)('a' + i), 0 }, NULL);
	take_max(4, 4);
	assert_int_equal(fake_feed_fates(FAKE_BUFFERED), 6);
	take_max(100, 6);
	take(0);
}

static void what_the_store_knows_does_not_run(void **state)
{
	size_t again;

	(void)state;
	fake_feed_put("plain", "{}", "m1", NULL);
	take(1);
	mark(fake.known, jobs[0]);
	finish(0);
	again = fake_feed_put("plain", "{}", "m1", NULL);
	fake_feed_put("plain", "{}", "m2", NULL);
	take(1);
	assert_int_equal(fate_of(again), FAKE_ACKED);
	assert_false(uuid_equal(&jobs[0]->id, &jobs[1]->id));
	again = fake_feed_put("plain", "{}", "m1", NULL); /* and when nothing else is there */
	take(0);
	assert_int_equal(fate_of(again), FAKE_ACKED);
}

/* ---- twice in hand */

static void a_redelivery_waits_for_the_first(void **state)
{
	size_t first, second, third;

	(void)state;
	first = fake_feed_put("plain", "{}", "m1", NULL);
	second = fake_feed_put("plain", "{}", "m1", NULL); /* in one take */
	take(1);
	third = fake_feed_put("plain", "{}", "m1", NULL); /* while it runs */
	take(0);
	assert_int_equal(fake_feed_fates(FAKE_TAKEN), 3);
	finish(0);
	assert_int_equal(fate_of(first), FAKE_ACKED);
	assert_int_equal(fate_of(second), FAKE_ACKED);
	assert_int_equal(fate_of(third), FAKE_ACKED);
	take(0);
}

/* The store keeps nothing of what is done and records failures only: memory must do. */
static void a_redelivery_does_not_run_what_is_not_recorded(void **state)
{
	(void)state;
	fake_feed_put("plain", "{}", "m1", NULL);
	take(1);
	fake_feed_put("plain", "{}", "m1", NULL);
	take(0);
	commit(0, COMPLETION_NOTHING, COMPLETION_COMMITTED, SETTLE_ACK);
	take(0);
	assert_int_equal(fake_feed_fates(FAKE_ACKED), 2);
}

/* The lease ran out while it ran, and it was dispatched again: its new message is the live one. */
static void a_newer_message_of_ours_is_asked_about(void **state)
{
	struct uuid id, old_batch, new_batch;
	size_t second;

	(void)state;
	uuid_v7(&id);
	uuid_v7(&old_batch);
	uuid_v7(&new_batch);
	put_ours("ours", &id, &old_batch);
	take(1);
	second = put_ours("ours", &id, &new_batch);
	take(0);
	rings = 0;
	commit(0, COMPLETION_LATER, COMPLETION_LOST, SETTLE_ACK);
	assert_int_equal(fate_of(second), FAKE_TAKEN);
	assert_true(rings > 0);
	take(1);
	assert_true(uuid_equal(&jobs[1]->batch, &new_batch));
	finish(1);
	assert_int_equal(fake_feed_fates(FAKE_ACKED), 2);
}

/* An adopted job is still running when a new message of it comes: each is settled by itself. */
static void settling_one_leaves_the_other(void **state)
{
	struct uuid id, batch;

	(void)state;
	uuid_v7(&id);
	uuid_v7(&batch);
	put_ours("ours", &id, &batch);
	take(1);
	commit(0, COMPLETION_ADOPT, COMPLETION_COMMITTED, SETTLE_LATER);
	put_ours("ours", &id, &batch);
	take(1);
	commit(0, COMPLETION_FINISH, COMPLETION_LOST, SETTLE_ACK);
	assert_int_equal(fake_feed_fates(FAKE_ACKED), 1);
	commit(1, COMPLETION_LATER, COMPLETION_COMMITTED, SETTLE_LATER);
	assert_int_equal(fake_feed_fates(FAKE_ACKED), 2);
}

/* ---- one of a key at a time */

static void a_key_takes_turns(void **state)
{
	(void)state;
	fake_feed_put("turns", "{\"n\":1}", "m1", "a");
	fake_feed_put("turns", "{\"n\":2}", "m2", "a");
	fake_feed_put("turns", "{\"n\":3}", "m3", "b");
	fake_feed_put("turns", "{\"n\":4}", "m4", NULL);
	fake_feed_put("turns", "{\"n\":5}", "m5", "a");
	take(3);
	assert_string_equal(jobs[0]->payload, "{\"n\":1}");
	assert_string_equal(jobs[1]->payload, "{\"n\":3}");
	assert_string_equal(jobs[2]->payload, "{\"n\":4}");
	finish(1);
	take(0);
	rings = 0;
	finish(0);
	assert_true(rings > 0);
	take(1);
	assert_true(fake.keyed);
	assert_string_equal(jobs[3]->payload, "{\"n\":2}");
	finish(3);
	take(1);
	assert_string_equal(jobs[4]->payload, "{\"n\":5}");
}

static void behind_a_failed_head_they_are_stored(void **state)
{
	(void)state;
	fake_feed_put("turns", "{\"n\":1}", "m1", "a");
	fake_feed_put("turns", "{\"n\":2}", "m2", "a");
	take(1);
	commit(0, COMPLETION_LATER, COMPLETION_COMMITTED, SETTLE_LATER);
	fake.verdict = ADMISSION_BEHIND;
	take(1);
	assert_true(jobs[1]->behind && !jobs[1]->refusal);
	commit(1, COMPLETION_LATER, COMPLETION_COMMITTED, SETTLE_LATER);
	assert_int_equal(fake_feed_fates(FAKE_ACKED), 2);
}

static void known_ones_give_their_turn_on(void **state)
{
	(void)state;
	for (int i = 0; i < 3; i++)
		fake_feed_put("turns", "{}", (char[]){ (char)('a' + i), 0 }, "k");
	take(1);
	mark(fake.known, jobs[0]);
	finish(0);
	take(1);
	mark(fake.known, jobs[1]);
	finish(1);
	take(1);
	for (int i = 0; i < 3; i++) /* all of them again, in the order of before */
		fake_feed_put("turns", "{}", (char[]){ (char)('a' + i), 0 }, "k");
	take(0); /* the third is a twin, and the others wait for it */
	assert_int_equal(fake_feed_fates(FAKE_ACKED), 2);
	finish(2);
	assert_int_equal(fake_feed_fates(FAKE_ACKED), 4);
	take(0);
	assert_int_equal(fake_feed_fates(FAKE_ACKED), 6);
}

/* A hot key must not let messages pile up here. */
static void waiting_is_bounded(void **state)
{
	char identity[16];

	(void)state;
	for (int i = 0; i < 4000; i++) {
		snprintf(identity, sizeof(identity), "m%d", i);
		fake_feed_put("turns", "{}", identity, "k");
	}
	take(1);
	for (int i = 0; i < 10; i++)
		take(0);
	assert_in_range(fake_feed_fates(FAKE_TAKEN), 1000, 3001);
	for (size_t i = 0; i < 4000; i++) {
		rings = 0;
		finish(i);
		if (i + 1 < 4000) {
			assert_true(rings > 0);
			take(1);
		}
	}
	assert_int_equal(fake_feed_fates(FAKE_ACKED), 4000);
}

/* ---- what is no job */

static void refusals_become_jobs(void **state)
{
	static const struct {
		const char *topic, *body, *identity, *type, *payload; /* payload: how it begins */
	} cases[] = {
		{ "plain", "no json", "m1", "x", "{\"text\":\"no json\"" },
		{ "plain", "\xff\xfe", "m2", "x", "{\"base64\":\"//4=\"" },
		{ "plain", "{\"a\":1}", NULL, "x", "{\"a\":1}" }, /* nothing names it */
		{ "ours", "{\"a\":1}", "m3", "windlass.undecodable", "{\"a\":1}" },
		{ "windlass.dead", "gone", "m4", "windlass.undecodable", "{\"text\":\"gone\"" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		fake_feed_put(cases[i].topic, cases[i].body, cases[i].identity, NULL);
		take(1);
		if (!jobs[i]->refusal || !jobs[i]->source ||
		    strcmp(jobs[i]->type, cases[i].type) != 0 ||
		    strncmp(jobs[i]->payload, cases[i].payload, strlen(cases[i].payload)) != 0)
			fail_msg("case %zu: type %s payload %s refusal %s", i, jobs[i]->type,
				 jobs[i]->payload, jobs[i]->refusal ? jobs[i]->refusal : "-");
		assert_true(jobs[i]->payload_bytes == strlen(jobs[i]->payload));
		commit(i, COMPLETION_FINISH, COMPLETION_COMMITTED, SETTLE_DEAD);
		assert_int_equal(fate_of(i), FAKE_ACKED);
	}
}

static void too_old_is_a_refusal(void **state)
{
	(void)state;
	fake.verdict = ADMISSION_TOO_OLD;
	fake_feed_put("plain", "{}", "m1", NULL);
	take(1);
	assert_memory_equal(jobs[0]->refusal, "too-old", 7);
	assert_string_equal(jobs[0]->payload, "{}");
}

static void the_brokers_reason_is_kept(void **state)
{
	static const char reason[] = "delivery_limit";
	static const struct message_header header = { .name = "x-first-death-queue",
						      .value = "plain" };
	struct uuid id, batch;

	(void)state;
	uuid_v7(&id);
	uuid_v7(&batch);
	put_ours("windlass.dead", &id, &batch);
	fake_feed->messages[0]->delivery.message.dead_reason = reason;
	fake_feed_put("windlass.dead", "{\"a\":1}", "m1", NULL); /* once from a source */
	fake_feed->messages[1]->delivery.message.headers = &header;
	fake_feed->messages[1]->delivery.message.header_count = 1;
	fake_feed_put("plain", "", "m2", NULL);
	fake_feed->messages[2]->delivery.message.dead_reason = "larger than 1 MiB\xff";
	fake_feed_put("plain", "{\"a\":1}", "m1", NULL);
	take(3);
	assert_string_equal(jobs[0]->refusal, reason);
	assert_true(jobs[0]->refusal != reason); /* it outlives the message */
	assert_null(jobs[0]->source);
	assert_string_equal(jobs[1]->source, "plain");
	assert_string_equal(jobs[1]->payload, "{\"a\":1}");
	assert_non_null(jobs[1]->refusal);
	assert_non_null(strstr(jobs[2]->refusal, "no text"));
	commit(1, COMPLETION_FINISH, COMPLETION_COMMITTED, SETTLE_DEAD);
	assert_int_equal(fate_of(3), FAKE_ACKED); /* the same job as it was at its source */
}

/* ---- weather */

static void weather_keeps_messages(void **state)
{
	struct claim claim;
	struct error error = { 0 };

	(void)state;
	fake_feed_put("plain", "{}", "m1", NULL);
	fake_feed_put("turns", "{}", "m2", "k");
	fake.weather = ERROR_UNAVAILABLE;
	for (int i = 0; i < 3; i++) {
		assert_int_equal(subscriber->ops->take(subscriber, 10, arena, &claim, &error), -1);
		assert_int_equal(error.code, ERROR_UNAVAILABLE);
	}
	assert_int_equal(fake_feed_fates(FAKE_TAKEN), 2);
	fake.weather = 0;
	take(2);
}

static void without_room_others_get_them(void **state)
{
	int64_t now_ms = clock_mono_ms();

	(void)state;
	fake_feed_put("plain", "{}", "m1", NULL);
	tend_at(now_ms + 1000);
	assert_int_equal(fate_of(0), FAKE_BUFFERED);
	tend_at(now_ms + 60000);
	assert_int_equal(fate_of(0), FAKE_RETURNED);
}

/* ---- long jobs */

static void adopted_jobs_have_a_lease(void **state)
{
	int64_t now_ms = clock_mono_ms();

	(void)state;
	fake_feed_put("plain", "{}", "m1", NULL);
	take(1);
	commit(0, COMPLETION_ADOPT, COMPLETION_COMMITTED, SETTLE_LATER);
	assert_int_equal(fate_of(0), FAKE_ACKED);
	assert_int_equal(fake.leases, 0);
	finish(0);
	assert_int_equal(fake.leases, 1); /* goes with its only job */
	tend_at(now_ms + 5000);
	assert_int_equal(fake.leases, 1);
}

static void lost_adoptions_end_quietly(void **state)
{
	(void)state;
	fake_feed_put("plain", "{}", "m1", NULL);
	take(1);
	commit(0, COMPLETION_ADOPT, COMPLETION_LOST, SETTLE_ACK);
	assert_int_equal(fate_of(0), FAKE_ACKED);
	commit(0, COMPLETION_NOTHING, COMPLETION_COMMITTED, SETTLE_ACK);
	assert_int_equal(fake_feed_fates(FAKE_ACKED), 1);
}

/* ---- positions */

static void positions_follow_commits(void **state)
{
	struct completion_batch batch = { 0 };
	struct error error = { .code = ERROR_CONTENTION };
	struct claim claim = { 0 };

	(void)state;
	for (int i = 0; i < 3; i++)
		fake_feed_put("plain", "{}", (char[]){ (char)('a' + i), 0 }, NULL);
	take(3);
	finish(0); /* acknowledged after its commit: not in it */
	assert_int_equal(fake.position, 0);
	subscriber->ops->ride(subscriber, &batch, 0);
	assert_int_equal(batch.position_count, 1);
	assert_int_equal(batch.positions[0].offset, 1);
	subscriber->ops->rode(subscriber, &batch, &claim, &error); /* and not this time either */
	finish(1);
	assert_int_equal(fake.position, 1);
	finish(2);
	assert_int_equal(fake.position, 2);
}

static void idle_positions_are_stored(void **state)
{
	int64_t now_ms = clock_mono_ms(), next_ms;
	struct error error;

	(void)state;
	fake_feed_put("plain", "{}", "m1", NULL);
	take(1);
	finish(0);
	tend_at(now_ms);
	assert_int_equal(fake.saves, 0);
	fake.weather = ERROR_UNAVAILABLE;
	assert_int_equal(subscriber->ops->tend(subscriber, now_ms + 1000, &next_ms, &error), -1);
	assert_true(next_ms > 0);
	fake.weather = 0;
	tend_at(now_ms + 2000);
	assert_int_equal(fake.saves, 1);
	assert_int_equal(fake.position, 1);
	tend_at(now_ms + 4000);
	tend_at(now_ms + 6000);
	assert_int_equal(fake.saves, 1);
}

static void the_last_positions_are_stored_at_the_end(void **state)
{
	(void)state;
	fake_feed_put("plain", "{}", "m1", NULL);
	take(1);
	finish(0);
	subscriber->ops->free(subscriber);
	assert_int_equal(fake.position, 1);
	arena_free(&(struct arena *){ jobs[0]->arena });
	arena_free(&arena);
	idmap_free(&fake.known);
	idmap_free(&fake.behind);
	metrics_close(&metrics);
	fake_feed_gone();
}

/* ---- the end */

static void a_drain_gives_back_what_waits(void **state)
{
	int64_t now_ms = clock_mono_ms();

	(void)state;
	fake_feed_put("turns", "{}", "m1", "a"); /* will be in hand */
	fake_feed_put("turns", "{}", "m2", "a"); /* waits for its turn */
	fake_feed_put("turns", "{}", "m1", "a"); /* a twin */
	fake_feed_put("turns", "{}", "m2", "a"); /* a twin of one that waits */
	take(1);
	fake.weather = ERROR_UNAVAILABLE;
	fake_feed_put("turns", "{}", "m3", "b"); /* waits for the store */
	assert_int_equal(subscriber->ops->take(subscriber, 10, arena, &(struct claim){ 0 },
					       &(struct error){ 0 }),
			 -1);
	subscriber->ops->drain(subscriber);
	assert_false(fake_feed->stopped); /* on the thread that it belongs to */
	tend_at(now_ms);
	assert_true(fake_feed->stopped);
	assert_int_equal(fake_feed_fates(FAKE_RETURNED), 4);
	fake.weather = 0;
	take(0);
	commit(0, COMPLETION_NOTHING, COMPLETION_COMMITTED, SETTLE_RETURN);
	assert_int_equal(fate_of(0), FAKE_RETURNED);
	take(0);
}

static void returned_ones_take_their_twins_along(void **state)
{
	(void)state;
	fake_feed_put("plain", "{}", "m1", NULL);
	fake_feed_put("plain", "{}", "m1", NULL);
	take(1);
	commit(0, COMPLETION_NOTHING, COMPLETION_COMMITTED, SETTLE_RETURN);
	assert_int_equal(fake_feed_fates(FAKE_RETURNED), 2);
}

static void readiness_is_the_feeds(void **state)
{
	struct strbuf why;

	(void)state;
	strbuf_init(&why);
	assert_true(subscriber->ops->ready(subscriber, &why));
	fake_feed->place_count = 0;
	assert_false(subscriber->ops->ready(subscriber, &why));
	assert_non_null(strstr(why.data, "away"));
	strbuf_release(&why);
}

#define AMQP(test)  cmocka_unit_test_setup_teardown(test, setup, teardown)
#define KAFKA(test) cmocka_unit_test_setup_teardown(test, setup_log, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		AMQP(definitions_become_places),
		KAFKA(a_log_has_no_dead_letters_of_its_own),
		cmocka_unit_test(a_bad_url_is_said),
		AMQP(a_message_is_acknowledged_after_its_end),
		AMQP(no_more_are_taken_than_there_is_room),
		AMQP(what_the_store_knows_does_not_run),
		AMQP(a_redelivery_waits_for_the_first),
		AMQP(a_redelivery_does_not_run_what_is_not_recorded),
		AMQP(a_newer_message_of_ours_is_asked_about),
		AMQP(settling_one_leaves_the_other),
		AMQP(a_key_takes_turns),
		AMQP(behind_a_failed_head_they_are_stored),
		AMQP(known_ones_give_their_turn_on),
		AMQP(waiting_is_bounded),
		AMQP(refusals_become_jobs),
		AMQP(too_old_is_a_refusal),
		AMQP(the_brokers_reason_is_kept),
		AMQP(weather_keeps_messages),
		AMQP(without_room_others_get_them),
		AMQP(adopted_jobs_have_a_lease),
		AMQP(lost_adoptions_end_quietly),
		KAFKA(positions_follow_commits),
		KAFKA(idle_positions_are_stored),
		cmocka_unit_test_setup_teardown(the_last_positions_are_stored_at_the_end, setup_log,
						NULL),
		AMQP(a_drain_gives_back_what_waits),
		AMQP(returned_ones_take_their_twins_along),
		AMQP(readiness_is_the_feeds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
