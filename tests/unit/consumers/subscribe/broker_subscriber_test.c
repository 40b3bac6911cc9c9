/* SPDX-License-Identifier: Apache-2.0 */
/* Messages into jobs and back, between a made-up feed and a made-up store: what is handed out, what
 * is acknowledged and when, and what becomes of messages that come twice or out of turn. */
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
	rig_serve(fewer);
	rig_take(1);
	assert_string_equal(rig.jobs[0]->source, "turns");
	assert_int_equal(rig_fate(n), FAKE_RETURNED);
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
	struct broker_subscriber_options options = { .store = &rig.store,
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
	ours = rig_put_ours("ours", &id, &batch);
	foreign = fake_feed_put("plain", "{\"a\":1}", "m1", "k");
	assert_true(rig.rings >= 2);
	rig_take(2);
	assert_true(uuid_equal(&rig.jobs[0]->id, &id) && uuid_equal(&rig.jobs[0]->batch, &batch));
	assert_int_equal(rig.jobs[0]->attempt, 3);
	assert_true(rig.jobs[0]->delivered && !rig.jobs[0]->source && !rig.jobs[0]->refusal);
	assert_string_equal(rig.jobs[1]->source, "plain");
	assert_string_equal(rig.jobs[1]->owner, "source:plain");
	assert_string_equal(rig.jobs[1]->queue, "q");
	assert_string_equal(rig.jobs[1]->payload, "{\"a\":1}");
	assert_string_equal(rig.jobs[1]->order_key, "k");
	assert_int_equal(rig.jobs[1]->attempt, 1);
	assert_true(rig.jobs[1]->delivered && rig.jobs[1]->unchecked &&
		    !uuid_is_nil(&rig.jobs[1]->batch));
	assert_int_equal(fake_feed_fates(FAKE_TAKEN), 2);
	rig_finish(1);
	assert_int_equal(rig_fate(foreign), FAKE_ACKED);
	assert_int_equal(rig_fate(ours), FAKE_TAKEN);
	rig_commit(0, COMPLETION_LATER, COMPLETION_COMMITTED, SETTLE_LATER);
	assert_int_equal(rig_fate(ours), FAKE_ACKED);
}

static void no_more_are_taken_than_there_is_room(void **state)
{
	(void)state;
	for (int i = 0; i < 10; i++)
		fake_feed_put("plain", "{}", (char[]){ (char)('a' + i), 0 }, NULL);
	rig_take_max(4, 4);
	assert_int_equal(fake_feed_fates(FAKE_BUFFERED), 6);
	rig_take_max(100, 6);
	rig_take(0);
}

static void what_the_store_knows_does_not_run(void **state)
{
	size_t again;

	(void)state;
	fake_feed_put("plain", "{}", "m1", NULL);
	rig_take(1);
	rig_mark(rig.known, rig.jobs[0]);
	rig_finish(0);
	again = fake_feed_put("plain", "{}", "m1", NULL);
	fake_feed_put("plain", "{}", "m2", NULL);
	rig_take(1);
	assert_int_equal(rig_fate(again), FAKE_ACKED);
	assert_false(uuid_equal(&rig.jobs[0]->id, &rig.jobs[1]->id));
	again = fake_feed_put("plain", "{}", "m1", NULL); /* and when nothing else is there */
	rig_take(0);
	assert_int_equal(rig_fate(again), FAKE_ACKED);
}

/* ---- twice in hand */

static void a_redelivery_waits_for_the_first(void **state)
{
	size_t first, second, third;

	(void)state;
	first = fake_feed_put("plain", "{}", "m1", NULL);
	second = fake_feed_put("plain", "{}", "m1", NULL); /* in one take */
	rig_take(1);
	third = fake_feed_put("plain", "{}", "m1", NULL); /* while it runs */
	rig_take(0);
	assert_int_equal(fake_feed_fates(FAKE_TAKEN), 3);
	rig_finish(0);
	assert_int_equal(rig_fate(first), FAKE_ACKED);
	assert_int_equal(rig_fate(second), FAKE_ACKED);
	assert_int_equal(rig_fate(third), FAKE_ACKED);
	rig_take(0);
}

/* The store keeps nothing of what is done and records failures only: memory must do. */
static void a_redelivery_does_not_run_what_is_not_recorded(void **state)
{
	(void)state;
	fake_feed_put("plain", "{}", "m1", NULL);
	rig_take(1);
	fake_feed_put("plain", "{}", "m1", NULL);
	rig_take(0);
	rig_commit(0, COMPLETION_NOTHING, COMPLETION_COMMITTED, SETTLE_ACK);
	rig_take(0);
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
	rig_put_ours("ours", &id, &old_batch);
	rig_take(1);
	second = rig_put_ours("ours", &id, &new_batch);
	rig_take(0);
	rig.rings = 0;
	rig_commit(0, COMPLETION_LATER, COMPLETION_LOST, SETTLE_ACK);
	assert_int_equal(rig_fate(second), FAKE_TAKEN);
	assert_true(rig.rings > 0);
	rig_take(1);
	assert_true(uuid_equal(&rig.jobs[1]->batch, &new_batch));
	rig_finish(1);
	assert_int_equal(fake_feed_fates(FAKE_ACKED), 2);
}

/* An adopted job is still running when a new message of it comes: each is settled by itself. */
static void settling_one_leaves_the_other(void **state)
{
	struct uuid id, batch;

	(void)state;
	uuid_v7(&id);
	uuid_v7(&batch);
	rig_put_ours("ours", &id, &batch);
	rig_take(1);
	rig_commit(0, COMPLETION_ADOPT, COMPLETION_COMMITTED, SETTLE_LATER);
	rig_put_ours("ours", &id, &batch);
	rig_take(1);
	rig_commit(0, COMPLETION_FINISH, COMPLETION_LOST, SETTLE_ACK);
	assert_int_equal(fake_feed_fates(FAKE_ACKED), 1);
	rig_commit(1, COMPLETION_LATER, COMPLETION_COMMITTED, SETTLE_LATER);
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
	rig_take(3);
	assert_string_equal(rig.jobs[0]->payload, "{\"n\":1}");
	assert_string_equal(rig.jobs[1]->payload, "{\"n\":3}");
	assert_string_equal(rig.jobs[2]->payload, "{\"n\":4}");
	rig_finish(1);
	rig_take(0);
	rig.rings = 0;
	rig_finish(0);
	assert_true(rig.rings > 0);
	rig_take(1);
	assert_true(rig.keyed);
	assert_string_equal(rig.jobs[3]->payload, "{\"n\":2}");
	rig_finish(3);
	rig_take(1);
	assert_string_equal(rig.jobs[4]->payload, "{\"n\":5}");
}

static void behind_a_failed_head_they_are_stored(void **state)
{
	(void)state;
	fake_feed_put("turns", "{\"n\":1}", "m1", "a");
	fake_feed_put("turns", "{\"n\":2}", "m2", "a");
	rig_take(1);
	rig_commit(0, COMPLETION_LATER, COMPLETION_COMMITTED, SETTLE_LATER);
	rig.verdict = ADMISSION_BEHIND;
	rig_take(1);
	assert_true(rig.jobs[1]->behind && !rig.jobs[1]->refusal);
	rig_commit(1, COMPLETION_LATER, COMPLETION_COMMITTED, SETTLE_LATER);
	assert_int_equal(fake_feed_fates(FAKE_ACKED), 2);
}

static void known_ones_give_their_turn_on(void **state)
{
	(void)state;
	for (int i = 0; i < 3; i++)
		fake_feed_put("turns", "{}", (char[]){ (char)('a' + i), 0 }, "k");
	rig_take(1);
	rig_mark(rig.known, rig.jobs[0]);
	rig_finish(0);
	rig_take(1);
	rig_mark(rig.known, rig.jobs[1]);
	rig_finish(1);
	rig_take(1);
	for (int i = 0; i < 3; i++) /* all of them again, in the order of before */
		fake_feed_put("turns", "{}", (char[]){ (char)('a' + i), 0 }, "k");
	rig_take(0); /* the third is a twin, and the others wait for it */
	assert_int_equal(fake_feed_fates(FAKE_ACKED), 2);
	rig_finish(2);
	assert_int_equal(fake_feed_fates(FAKE_ACKED), 4);
	rig_take(0);
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
	rig_take(1);
	for (int i = 0; i < 10; i++)
		rig_take(0);
	assert_in_range(fake_feed_fates(FAKE_TAKEN), 1000, 3001);
	for (size_t i = 0; i < 4000; i++) {
		rig.rings = 0;
		rig_finish(i);
		if (i + 1 < 4000) {
			assert_true(rig.rings > 0);
			rig_take(1);
		}
	}
	assert_int_equal(fake_feed_fates(FAKE_ACKED), 4000);
}

#define AMQP(test)  cmocka_unit_test_setup_teardown(test, rig_setup, rig_teardown)
#define KAFKA(test) cmocka_unit_test_setup_teardown(test, rig_setup_log, rig_teardown)

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
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
