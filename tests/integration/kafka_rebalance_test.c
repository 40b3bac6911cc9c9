/* SPDX-License-Identifier: Apache-2.0 */
/* Partitions that change hands with work open: nothing is lost, and nothing is stored or told by
 * whoever has them no more. */
#include <stdlib.h>
#include <string.h>

#include "tests/integration/kafka_mock.h"

#include "common/base/arena.h"
#include "common/base/clock.h"

#define PARTITIONS 4
#define MESSAGES   4000

static int set_up(void **state)
{
	*state = kafka_fixture_new(NULL, PARTITIONS); /* TEST_KAFKA_URL */
	return 0;
}

static int tear_down(void **state)
{
	struct kafka_fixture *fx = *state;

	kafka_fixture_free(&fx);
	return 0;
}

struct count {
	int seen[3 * MESSAGES];
	int different, doubled;
};

static void count_and_ack(struct count *count, struct feed *feed, int wait_ms)
{
	struct delivery *got[200];
	size_t taken = kafka_take_some(feed, got, 200, wait_ms);

	for (size_t i = 0; i < taken; i++) {
		int number = kafka_number(got[i]);

		count->different += count->seen[number] == 0;
		count->doubled += count->seen[number]++ == 1;
		feed->ops->ack(feed, got[i]);
	}
}

static int64_t committed_sum(struct kafka_fixture *fx)
{
	int64_t sum = 0;

	for (int32_t i = 0; i < PARTITIONS; i++) {
		int64_t offset = kafka_committed(fx, i);

		sum += offset > 0 ? offset : 0;
	}
	return sum;
}

/* The second feed's first messages say which partitions it has. */
static void partitions_of(struct feed *feed, struct delivery **got, size_t count, bool *has_r)
{
	kafka_take(feed, got, count);
	for (size_t i = 0; i < count; i++) {
		int32_t partition;
		int64_t offset;

		kafka_identity(got[i], &partition, &offset);
		has_r[partition] = true;
	}
}

static void a_second_feed_takes_its_share(void **state)
{
	struct kafka_fixture *fx = *state;
	struct count *count = xcalloc(1, sizeof(*count));
	struct delivery *mine[1500], *others[800];
	bool gone[PARTITIONS] = { false };
	const struct position *positions;
	struct feed *first, *second;
	size_t told;

	kafka_send(fx, 0, MESSAGES, 64);
	first = kafka_feed_of(fx, 2000, false);
	kafka_take(first, mine, 1500);
	second = kafka_feed_of(fx, 2000, false);
	partitions_of(second, others, 800, gone);
	kafka_ack_all(first, mine, 1500); /* also of partitions that are gone */
	first->ops->flush(first, WAIT_MS);
	told = first->ops->positions(first, &positions);
	assert_true(told > 0);
	for (size_t i = 0; i < told; i++)
		assert_false(gone[positions[i].partition]);
	for (int32_t i = 0; i < PARTITIONS; i++)
		assert_true(!gone[i] || kafka_committed(fx, i) < 0);

	kafka_ack_all(second, others, 800);
	for (int tries = 0; tries < 400 && committed_sum(fx) < MESSAGES; tries++) {
		count_and_ack(count, first, 10);
		count_and_ack(count, second, 10);
	}
	assert_int_equal(committed_sum(fx), MESSAGES);
	free(count);
}

/* What one took and did not end, the other gets. */
static void an_end_leaves_open_work_to_others(void **state)
{
	struct kafka_fixture *fx = *state;
	struct count *count = xcalloc(1, sizeof(*count));
	struct feed *first = kafka_feed_of(fx, 2000, false), *second;
	struct delivery *mine[MESSAGES];
	size_t got = 0;

	kafka_send(fx, 0, MESSAGES, 64);
	got = kafka_take_some(first, mine, 500, WAIT_MS);
	assert_true(got > 0);
	first->ops->stop(first);
	kafka_feed_end(fx, &first);
	second = kafka_feed_of(fx, 2000, false);
	for (int tries = 0; tries < 2000 && count->different < MESSAGES; tries++)
		count_and_ack(count, second, 10);
	assert_int_equal(count->different, MESSAGES);
	assert_int_equal(count->doubled, 0);
	free(count);
}

/* At every moment of joining. */
static void ends_while_joining(void **state)
{
	struct kafka_fixture *fx = *state;

	for (int ms = 0; ms < 200; ms += 8) {
		struct feed *feed = kafka_feed_of(fx, 100, false);
		int64_t began_ms = clock_mono_ms();

		pause_ms(ms);
		kafka_feed_end(fx, &feed);
		assert_true(clock_mono_ms() - began_ms < 5000 + ms);
	}
}

/* A member whose end came while it joined, and that the library left behind, is waited for by the
 * group for max.poll.interval.ms, in each of the two rounds in which partitions change hands. */
#define LEFT_BEHIND_MS (2 * 30000)

static void members_come_and_go(void **state)
{
	struct kafka_fixture *fx = *state;
	struct count *count = xcalloc(1, sizeof(*count));
	struct feed *stays = kafka_feed_of(fx, 500, false), *guest = NULL;
	int64_t until_ms = clock_mono_ms() + 4500, turn_ms = 0;
	int sent = 0;

	while (clock_mono_ms() < until_ms || count->different < sent) {
		if (clock_mono_ms() >= turn_ms) {
			if (guest)
				kafka_feed_end(fx, &guest);
			else if (clock_mono_ms() < until_ms)
				guest = kafka_feed_of(fx, 500, false);
			turn_ms = clock_mono_ms() + 600;
		}
		if (sent < 3 * MESSAGES && clock_mono_ms() < until_ms) {
			kafka_send(fx, sent, 50, 50);
			sent += 50;
		}
		count_and_ack(count, stays, 5);
		if (guest)
			count_and_ack(count, guest, 5);
		assert_true(clock_mono_ms() < until_ms + WAIT_MS + LEFT_BEHIND_MS);
	}
	print_message("# %d messages, %d of them more than once\n", sent, count->doubled);
	stays->ops->flush(stays, WAIT_MS);
	kafka_await(committed_sum(fx) == sent);
	free(count);
}

/* Thrown out of the group with work in hand: what ends afterwards moves nothing. */
static void ends_after_a_lost_assignment_store_nothing(void **state)
{
	struct kafka_mock *mock = kafka_mock_new(3);
	struct feed *feed = kafka_feed_of(mock->fx, 1000, false);
	struct delivery *got[100], *again[100];
	const struct position *positions;

	(void)state;
	kafka_send_to(mock->fx, 0, 0, 100, 1);
	kafka_take(feed, got, 100);
	kafka_mock_push(mock, API_HEARTBEAT, RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID, 1);
	kafka_take(feed, again, 100); /* after a new assignment */
	assert_int_equal(kafka_number(again[0]), 0);
	kafka_ack_all(feed, got, 100); /* of the old one */
	feed->ops->flush(feed, WAIT_MS);
	assert_int_equal(feed->ops->positions(feed, &positions), 0);
	assert_true(kafka_committed(mock->fx, 0) < 0);
	kafka_ack_all(feed, again, 100);
	feed->ops->flush(feed, WAIT_MS);
	assert_int_equal(feed->ops->positions(feed, &positions), 1);
	assert_int_equal(positions[0].offset, 100);
	kafka_await(kafka_committed(mock->fx, 0) == 100);
	kafka_feed_end(mock->fx, &feed);
	kafka_mock_free(&mock);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_second_feed_takes_its_share, set_up, tear_down),
		cmocka_unit_test_setup_teardown(an_end_leaves_open_work_to_others, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(ends_while_joining, set_up, tear_down),
		cmocka_unit_test_setup_teardown(members_come_and_go, set_up, tear_down),
		cmocka_unit_test(ends_after_a_lost_assignment_store_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
