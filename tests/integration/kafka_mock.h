/* SPDX-License-Identifier: Apache-2.0 */
/* librdkafka's mock cluster with a fixture on it: brokers that answer with the errors they are
 * told. */
#ifndef TESTS_INTEGRATION_KAFKA_MOCK_H
#define TESTS_INTEGRATION_KAFKA_MOCK_H
#include "tests/integration/kafka_fixture.h"

#include <librdkafka/rdkafka_mock.h>

#define MOCK_PARTITIONS 2

/* Of the protocol. */
enum kafka_api {
	API_PRODUCE = 0,
	API_FETCH = 1,
	API_OFFSET_COMMIT = 8,
	API_OFFSET_FETCH = 9,
	API_JOIN_GROUP = 11,
	API_HEARTBEAT = 12,
	API_SYNC_GROUP = 14,
};

struct kafka_mock {
	rd_kafka_t *rk; /* the cluster lives in it */
	rd_kafka_mock_cluster_t *cluster;
	int brokers;
	struct kafka_fixture *fx; /* with a topic of MOCK_PARTITIONS */
};

struct kafka_mock *kafka_mock_new(int brokers);
void kafka_mock_free(struct kafka_mock **mock);
/* The next requests of this kind are answered so. */
void kafka_mock_push(struct kafka_mock *mock, enum kafka_api api, rd_kafka_resp_err_t code,
		     int times);
void kafka_mock_down(struct kafka_mock *mock);
void kafka_mock_up(struct kafka_mock *mock);
void kafka_mock_rtt(struct kafka_mock *mock, int ms);

#endif
