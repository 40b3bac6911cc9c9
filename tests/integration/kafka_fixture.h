/* SPDX-License-Identifier: Apache-2.0 */
/* A Kafka cluster for the tests of the feed and the publisher: the real one of TEST_KAFKA_URL, or
 * librdkafka's mock cluster. Each test has topics and a group of its own; a store that answers
 * position_load as the test wants; a taker that counts. */
#ifndef TESTS_INTEGRATION_KAFKA_FIXTURE_H
#define TESTS_INTEGRATION_KAFKA_FIXTURE_H
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/broker/kafka_config.h"
#include "common/broker/publisher.h"
#include "consumers/subscribe/feed.h"
#include "tests/integration/pause.h"

#define KAFKA_PARTS_MAX 8
#define WAIT_MS         20000

struct kafka_store; /* a store of positions only */

struct kafka_fixture {
	char url[512];
	char topic[64], group[64];
	struct metrics *metrics;
	struct publisher *publisher;
	struct kafka_store *store;
	rd_kafka_t *plain; /* a client of the test's own, not ours */
	_Atomic uint64_t rings;
	struct feed *feeds[4]; /* freed with it, if a test has failed before it did so */
	struct error error;
};

/* NULL url: of the environment. Makes a topic when partitions > 0. */
struct kafka_fixture *kafka_fixture_new(const char *url, int partitions);
void kafka_fixture_free(struct kafka_fixture **fixture);

/* What position_load says: -1 nothing is stored. `failures`: so often it says "away" first. */
void kafka_store_says(struct kafka_fixture *fx, int32_t partition, int64_t offset);
void kafka_store_fails(struct kafka_fixture *fx, int failures);
int kafka_store_asked(const struct kafka_fixture *fx);

struct feed *kafka_feed_of(struct kafka_fixture *fx, size_t buffer_max, bool latest);
void kafka_feed_end(struct kafka_fixture *fx, struct feed **feed);
/* Sends `count` messages "KEY NUMBER" with keys k0..k(keys-1) and numbers from `first`; fails the
 * test unless all are confirmed. */
void kafka_send(struct kafka_fixture *fx, int first, int count, int keys);
/* To one partition, by the test's own client; `bytes` of filler behind the number. */
void kafka_send_to(struct kafka_fixture *fx, int32_t partition, int first, int count, int bytes);
/* Takes exactly `count` messages within WAIT_MS. */
void kafka_take(struct feed *feed, struct delivery **deliveries_r, size_t count);
size_t kafka_take_some(struct feed *feed, struct delivery **deliveries_r, size_t max, int wait_ms);
/* Nothing comes for so long. */
void kafka_quiet(struct feed *feed, int ms);
void kafka_ack_all(struct feed *feed, struct delivery **deliveries, size_t count);
/* Asks until it is ready, or until it is not and says this. */
void kafka_ready(struct feed *feed);
void kafka_not_ready(struct feed *feed, const char *why);
int kafka_number(const struct delivery *delivery); /* of the message */
void kafka_identity(const struct delivery *delivery, int32_t *partition_r, int64_t *offset_r);
/* What the group has committed. */
int64_t kafka_committed(struct kafka_fixture *fx, int32_t partition);
/* Asks again and again until it is true; fails after WAIT_MS. */
#define kafka_await(condition)                                                 \
	do {                                                                   \
		for (int waited_ms = 0; !(condition); waited_ms += 5) {        \
			if (waited_ms > WAIT_MS)                               \
				fail_msg("waited in vain for %s", #condition); \
			pause_ms(5);                                           \
		}                                                              \
	} while (0)

#endif
