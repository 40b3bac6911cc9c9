/* SPDX-License-Identifier: Apache-2.0 */
/* What a consumer group's coordinator and a partition's leader may answer, each by a mock cluster
 * of its own, all at once since most of it is waiting for a session to run out: every message
 * comes, and in the end all of them are stored. */
#include "tests/integration/kafka_mock.h"

#include <string.h>

#include "common/base/clock.h"

#define MESSAGES 400

static const struct group_case {
	const char *name;
	enum kafka_api api;
	rd_kafka_resp_err_t code;
	bool early; /* before there is a feed */
} cases[] = {
	{ "heartbeat: coordinator elsewhere", API_HEARTBEAT, RD_KAFKA_RESP_ERR_NOT_COORDINATOR,
	  false },
	{ "heartbeat: old generation", API_HEARTBEAT, RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION, false },
	{ "heartbeat: not a member", API_HEARTBEAT, RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID, false },
	{ "heartbeat: rebalance", API_HEARTBEAT, RD_KAFKA_RESP_ERR_REBALANCE_IN_PROGRESS, false },
	{ "commit: coordinator elsewhere", API_OFFSET_COMMIT, RD_KAFKA_RESP_ERR_NOT_COORDINATOR,
	  false },
	{ "commit: old generation", API_OFFSET_COMMIT, RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION,
	  false },
	{ "fetch: leader elsewhere", API_FETCH, RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION, false },
	{ "fetch: timed out", API_FETCH, RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT, false },
	{ "join: coordinator elsewhere", API_JOIN_GROUP, RD_KAFKA_RESP_ERR_NOT_COORDINATOR, true },
	{ "sync: not a member", API_SYNC_GROUP, RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID, true },
	{ "offsets: coordinator elsewhere", API_OFFSET_FETCH, RD_KAFKA_RESP_ERR_NOT_COORDINATOR,
	  true },
};
#define CASES ARRAY_LEN(cases)

static struct trial {
	struct kafka_mock *mock;
	struct feed *feed;
	bool seen[3 * MESSAGES];
	int have;
} trials[CASES];

static void begin(struct trial *trial, const struct group_case *c)
{
	trial->mock = kafka_mock_new(1);
	if (c->early)
		kafka_mock_push(trial->mock, c->api, c->code, 1);
	kafka_send(trial->mock->fx, 0, MESSAGES, 20);
	trial->feed = kafka_feed_of(trial->mock->fx, 100, false);
}

static void take_some(struct trial *trial)
{
	struct delivery *got[100];
	size_t count = trial->feed->ops->take(trial->feed, got, 100);

	for (size_t i = 0; i < count; i++) {
		int number = kafka_number(got[i]);

		trial->have += !trial->seen[number];
		trial->seen[number] = true;
		trial->feed->ops->ack(trial->feed, got[i]);
	}
}

/* `all`: also those that meet their error while they join. */
static void take_all(int until, bool all)
{
	int64_t until_ms = clock_mono_ms() + 2 * WAIT_MS;
	size_t complete = 0;

	while (complete < CASES && clock_mono_ms() < until_ms) {
		complete = 0;
		for (size_t i = 0; i < CASES; i++) {
			take_some(&trials[i]);
			complete += trials[i].have >= until || (!all && cases[i].early);
		}
		pause_ms(2);
	}
	for (size_t i = 0; i < CASES; i++) {
		if (trials[i].have < until && (all || !cases[i].early))
			fail_msg("%s: %d of %d messages", cases[i].name, trials[i].have, until);
	}
}

static void every_answer(void **state)
{
	(void)state;
	for (size_t i = 0; i < CASES; i++)
		begin(&trials[i], &cases[i]);
	take_all(MESSAGES, false);
	for (size_t i = 0; i < CASES; i++) {
		if (!cases[i].early)
			kafka_mock_push(trials[i].mock, cases[i].api, cases[i].code, 1);
		kafka_send(trials[i].mock->fx, MESSAGES, MESSAGES, 20);
	}
	take_all(2 * MESSAGES, false);
	pause_ms(2500); /* the answer may have come after these messages: to a heartbeat */
	for (size_t i = 0; i < CASES; i++)
		kafka_send(trials[i].mock->fx, 2 * MESSAGES, MESSAGES, 20);
	take_all(3 * MESSAGES, true);
	for (size_t i = 0; i < CASES; i++) {
		trials[i].feed->ops->flush(trials[i].feed, WAIT_MS);
		kafka_await(kafka_committed(trials[i].mock->fx, 0) +
				    kafka_committed(trials[i].mock->fx, 1) ==
			    3 * MESSAGES);
		kafka_feed_end(trials[i].mock->fx, &trials[i].feed);
		kafka_mock_free(&trials[i].mock);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(every_answer) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
