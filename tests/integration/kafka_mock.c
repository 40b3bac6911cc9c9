/* SPDX-License-Identifier: Apache-2.0 */
/* See kafka_mock.h. */
#include "tests/integration/kafka_mock.h"

#include <stdio.h>
#include <stdlib.h>

#include "common/base/arena.h"

struct kafka_mock *kafka_mock_new(int brokers)
{
	static const struct kafka_setting quiet[] = { { "log_level", "3" }, { NULL, NULL } };
	struct kafka_mock *mock = xcalloc(1, sizeof(*mock));
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	struct error error;
	char url[512];

	kafka_config_set(conf, quiet);
	mock->rk = kafka_client_new(RD_KAFKA_PRODUCER, conf, &error);
	assert_non_null(mock->rk);
	mock->brokers = brokers;
	mock->cluster = rd_kafka_mock_cluster_new(mock->rk, brokers);
	assert_non_null(mock->cluster);
	snprintf(url, sizeof(url), "kafka://%s", rd_kafka_mock_cluster_bootstraps(mock->cluster));
	mock->fx = kafka_fixture_new(url, 0);
	assert_int_equal(
		rd_kafka_mock_topic_create(mock->cluster, mock->fx->topic, MOCK_PARTITIONS, 1), 0);
	return mock;
}

void kafka_mock_free(struct kafka_mock **mock)
{
	kafka_fixture_free(&(*mock)->fx);
	rd_kafka_mock_cluster_destroy((*mock)->cluster);
	rd_kafka_destroy((*mock)->rk);
	free(*mock);
	*mock = NULL;
}

void kafka_mock_push(struct kafka_mock *mock, enum kafka_api api, rd_kafka_resp_err_t code,
		     int times)
{
	for (int i = 0; i < times; i++)
		rd_kafka_mock_push_request_errors(mock->cluster, (int16_t)api, 1, code);
}

void kafka_mock_down(struct kafka_mock *mock)
{
	for (int broker = 1; broker <= mock->brokers; broker++)
		rd_kafka_mock_broker_set_down(mock->cluster, broker);
}

void kafka_mock_up(struct kafka_mock *mock)
{
	for (int broker = 1; broker <= mock->brokers; broker++)
		rd_kafka_mock_broker_set_up(mock->cluster, broker);
}

void kafka_mock_rtt(struct kafka_mock *mock, int ms)
{
	for (int broker = 1; broker <= mock->brokers; broker++)
		rd_kafka_mock_broker_set_rtt(mock->cluster, broker, ms);
}
