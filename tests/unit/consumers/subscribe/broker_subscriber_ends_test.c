/* SPDX-License-Identifier: Apache-2.0 */
/* The other half of broker_subscriber_test.c: dead letters, bad weather, long jobs, positions, and
 * the end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/arena.h"
#include "common/base/clock.h"
#include "tests/unit/consumers/subscribe/subscriber_rig.h"

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
		rig_take(1);
		if (!rig.jobs[i]->refusal || !rig.jobs[i]->source ||
		    strcmp(rig.jobs[i]->type, cases[i].type) != 0 ||
		    strncmp(rig.jobs[i]->payload, cases[i].payload, strlen(cases[i].payload)) != 0)
			fail_msg("case %zu: type %s payload %s refusal %s", i, rig.jobs[i]->type,
				 rig.jobs[i]->payload,
				 rig.jobs[i]->refusal ? rig.jobs[i]->refusal : "-");
		assert_true(rig.jobs[i]->payload_bytes == strlen(rig.jobs[i]->payload));
		rig_commit(i, COMPLETION_FINISH, COMPLETION_COMMITTED, SETTLE_DEAD);
		assert_int_equal(rig_fate(i), FAKE_ACKED);
	}
}

static void too_old_is_a_refusal(void **state)
{
	(void)state;
	rig.verdict = ADMISSION_TOO_OLD;
	fake_feed_put("plain", "{}", "m1", NULL);
	rig_take(1);
	assert_memory_equal(rig.jobs[0]->refusal, "too-old", 7);
	assert_string_equal(rig.jobs[0]->payload, "{}");
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
	rig_put_ours("windlass.dead", &id, &batch);
	fake_feed->messages[0]->delivery.message.dead_reason = reason;
	fake_feed_put("windlass.dead", "{\"a\":1}", "m1", NULL); /* once from a source */
	fake_feed->messages[1]->delivery.message.headers = &header;
	fake_feed->messages[1]->delivery.message.header_count = 1;
	fake_feed_put("plain", "", "m2", NULL);
	fake_feed->messages[2]->delivery.message.dead_reason = "larger than 1 MiB\xff";
	fake_feed_put("plain", "{\"a\":1}", "m1", NULL);
	rig_take(3);
	assert_string_equal(rig.jobs[0]->refusal, reason);
	assert_true(rig.jobs[0]->refusal != reason); /* it outlives the message */
	assert_null(rig.jobs[0]->source);
	assert_string_equal(rig.jobs[1]->source, "plain");
	assert_string_equal(rig.jobs[1]->payload, "{\"a\":1}");
	assert_non_null(rig.jobs[1]->refusal);
	assert_non_null(strstr(rig.jobs[2]->refusal, "no text"));
	rig_commit(1, COMPLETION_FINISH, COMPLETION_COMMITTED, SETTLE_DEAD);
	assert_int_equal(rig_fate(3), FAKE_ACKED); /* the same job as it was at its source */
}

/* ---- weather */

static void weather_keeps_messages(void **state)
{
	struct claim claim;
	struct error error = { 0 };

	(void)state;
	fake_feed_put("plain", "{}", "m1", NULL);
	fake_feed_put("turns", "{}", "m2", "k");
	rig.weather = ERROR_UNAVAILABLE;
	for (int i = 0; i < 3; i++) {
		assert_int_equal(
			rig.subscriber->ops->take(rig.subscriber, 10, rig.arena, &claim, &error),
			-1);
		assert_int_equal(error.code, ERROR_UNAVAILABLE);
	}
	assert_int_equal(fake_feed_fates(FAKE_TAKEN), 2);
	rig.weather = 0;
	rig_take(2);
}

static void without_room_others_get_them(void **state)
{
	int64_t now_ms = clock_mono_ms();

	(void)state;
	fake_feed_put("plain", "{}", "m1", NULL);
	rig_tend_at(now_ms + 1000);
	assert_int_equal(rig_fate(0), FAKE_BUFFERED);
	rig_tend_at(now_ms + 60000);
	assert_int_equal(rig_fate(0), FAKE_RETURNED);
}

/* ---- long jobs */

/* A broker gives up what is returned too often. */
static void without_room_returned_ones_stay(void **state)
{
	size_t again = fake_feed_put("plain", "{}", "m1", NULL);
	int64_t now_ms = clock_mono_ms();

	(void)state;
	fake_feed->messages[again]->delivery.message.redelivered = true;
	for (int i = 1; i < 20; i++) {
		size_t first = fake_feed_put("plain", "{}", NULL, NULL);

		rig_tend_at(now_ms + i * 31000);
		assert_int_equal(rig_fate(first), FAKE_RETURNED);
		assert_int_equal(rig_fate(again), FAKE_TAKEN);
	}
	rig_tend_at(now_ms + 20 * 31000);
	assert_int_equal(rig_fate(again), FAKE_RETURNED);
	again = fake_feed_put("plain", "{}", "m1", NULL);
	fake_feed->messages[again]->delivery.message.redelivered = true;
	rig_tend_at(now_ms + 21 * 31000);
	rig_take(1); /* there is room */
	assert_int_equal(rig_fate(again), FAKE_TAKEN);
}

static void adopted_jobs_have_a_lease(void **state)
{
	int64_t now_ms = clock_mono_ms();

	(void)state;
	fake_feed_put("plain", "{}", "m1", NULL);
	rig_take(1);
	rig_commit(0, COMPLETION_ADOPT, COMPLETION_COMMITTED, SETTLE_LATER);
	assert_int_equal(rig_fate(0), FAKE_ACKED);
	assert_int_equal(rig.leases, 0);
	rig_finish(0);
	assert_int_equal(rig.leases, 1); /* goes with its only job */
	rig_tend_at(now_ms + 5000);
	assert_int_equal(rig.leases, 1);
}

static void lost_adoptions_end_quietly(void **state)
{
	(void)state;
	fake_feed_put("plain", "{}", "m1", NULL);
	rig_take(1);
	rig_commit(0, COMPLETION_ADOPT, COMPLETION_LOST, SETTLE_ACK);
	assert_int_equal(rig_fate(0), FAKE_ACKED);
	rig_commit(0, COMPLETION_NOTHING, COMPLETION_COMMITTED, SETTLE_ACK);
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
	rig_take(3);
	rig_finish(0); /* acknowledged after its commit: not in it */
	assert_int_equal(rig.position, 0);
	rig.subscriber->ops->ride(rig.subscriber, &batch, 0);
	assert_int_equal(batch.position_count, 1);
	assert_int_equal(batch.positions[0].offset, 1);
	rig.subscriber->ops->rode(rig.subscriber, &batch, &claim,
				  &error); /* and not this time either */
	rig_finish(1);
	assert_int_equal(rig.position, 1);
	rig_finish(2);
	assert_int_equal(rig.position, 2);
}

static void idle_positions_are_stored(void **state)
{
	int64_t now_ms = clock_mono_ms(), next_ms;
	struct error error;

	(void)state;
	fake_feed_put("plain", "{}", "m1", NULL);
	rig_take(1);
	rig_finish(0);
	rig_tend_at(now_ms);
	assert_int_equal(rig.saves, 0);
	rig.weather = ERROR_UNAVAILABLE;
	assert_int_equal(rig.subscriber->ops->tend(rig.subscriber, now_ms + 1000, &next_ms, &error),
			 -1);
	assert_true(next_ms > 0);
	rig.weather = 0;
	rig_tend_at(now_ms + 2000);
	assert_int_equal(rig.saves, 1);
	assert_int_equal(rig.position, 1);
	rig_tend_at(now_ms + 4000);
	rig_tend_at(now_ms + 6000);
	assert_int_equal(rig.saves, 1);
}

static void the_last_positions_are_stored_at_the_end(void **state)
{
	(void)state;
	fake_feed_put("plain", "{}", "m1", NULL);
	rig_take(1);
	rig_finish(0);
	rig.subscriber->ops->free(rig.subscriber);
	assert_int_equal(rig.position, 1);
	arena_free(&(struct arena *){ rig.jobs[0]->arena });
	arena_free(&rig.arena);
	idmap_free(&rig.known);
	metrics_close(&rig.metrics);
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
	rig_take(1);
	rig.weather = ERROR_UNAVAILABLE;
	fake_feed_put("turns", "{}", "m3", "b"); /* waits for the store */
	assert_int_equal(rig.subscriber->ops->take(rig.subscriber, 10, rig.arena,
						   &(struct claim){ 0 }, &(struct error){ 0 }),
			 -1);
	rig.subscriber->ops->drain(rig.subscriber);
	assert_false(fake_feed->stopped); /* on the thread that it belongs to */
	rig_tend_at(now_ms);
	assert_true(fake_feed->stopped);
	assert_int_equal(fake_feed_fates(FAKE_RETURNED), 4);
	rig.weather = 0;
	rig_take(0);
	rig_commit(0, COMPLETION_NOTHING, COMPLETION_COMMITTED, SETTLE_RETURN);
	assert_int_equal(rig_fate(0), FAKE_RETURNED);
	rig_take(0);
}

static void returned_ones_take_their_twins_along(void **state)
{
	(void)state;
	fake_feed_put("plain", "{}", "m1", NULL);
	fake_feed_put("plain", "{}", "m1", NULL);
	rig_take(1);
	rig_commit(0, COMPLETION_NOTHING, COMPLETION_COMMITTED, SETTLE_RETURN);
	assert_int_equal(fake_feed_fates(FAKE_RETURNED), 2);
}

static void readiness_is_the_feeds(void **state)
{
	struct strbuf why;

	(void)state;
	strbuf_init(&why);
	assert_true(rig.subscriber->ops->ready(rig.subscriber, &why));
	fake_feed->place_count = 0;
	assert_false(rig.subscriber->ops->ready(rig.subscriber, &why));
	assert_non_null(strstr(why.data, "away"));
	strbuf_release(&why);
}

#define AMQP(test)  cmocka_unit_test_setup_teardown(test, rig_setup, rig_teardown)
#define KAFKA(test) cmocka_unit_test_setup_teardown(test, rig_setup_log, rig_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		AMQP(refusals_become_jobs),
		AMQP(too_old_is_a_refusal),
		AMQP(the_brokers_reason_is_kept),
		AMQP(weather_keeps_messages),
		AMQP(without_room_others_get_them),
		AMQP(without_room_returned_ones_stay),
		AMQP(adopted_jobs_have_a_lease),
		AMQP(lost_adoptions_end_quietly),
		KAFKA(positions_follow_commits),
		KAFKA(idle_positions_are_stored),
		cmocka_unit_test_setup_teardown(the_last_positions_are_stored_at_the_end,
						rig_setup_log, NULL),
		AMQP(a_drain_gives_back_what_waits),
		AMQP(returned_ones_take_their_twins_along),
		AMQP(readiness_is_the_feeds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
