/* SPDX-License-Identifier: Apache-2.0 */
/* BROKER_URL made into librdkafka's configuration, and what its three users (the publisher, the
 * feed, the admin) share besides: errors, topics that are missing, an end that cannot hang. Only
 * for files named kafka_*: the library's types stay among them. */
#ifndef COMMON_BROKER_KAFKA_CONFIG_H
#define COMMON_BROKER_KAFKA_CONFIG_H
#include <stdbool.h>
#include <stddef.h>

#include <librdkafka/rdkafka.h>

#include "common/base/error.h"

struct kafka_config_options {
	const char *broker_url;
	const char *client;  /* client.id */
	const char *ca_file; /* or NULL: the system's */
};

/* A configuration with brokers, security, time-outs and logging into common/base/log; the caller
 * adds what it needs and gives it to rd_kafka_new. NULL: ERROR_INVALID, without any secret. */
rd_kafka_conf_t *kafka_config_new(const struct kafka_config_options *options,
				  struct error *err_r) must_check;

struct kafka_setting {
	const char *name, *value; /* name NULL ends a table */
};
/* Settings that are ours: a wrong one is a bug. */
void kafka_config_set(rd_kafka_conf_t *conf, const struct kafka_setting *settings);
/* rd_kafka_new; takes the configuration whatever happens. NULL: ERROR_INVALID (a file that cannot
 * be read, a mechanism that the library was built without). */
rd_kafka_t *kafka_client_new(rd_kafka_type_t type, rd_kafka_conf_t *conf,
			     struct error *err_r) must_check;

/* Would the same again be of no use? Then why, else NULL. Static text. */
const char *kafka_refusal(rd_kafka_resp_err_t code);
/* ERROR_INVALID for what kafka_refusal knows, else ERROR_UNAVAILABLE. Returns -1. */
int kafka_error(struct error *err_r, rd_kafka_resp_err_t code, const char *doing);

struct kafka_topic {
	const char *name;
	int partitions; /* 0: the broker's default */
};
/* Makes those that are missing; the others stay as they are. 0; -1: ERROR_UNAVAILABLE, or
 * ERROR_INVALID (it is missing and may not be made). Blocks up to timeout_ms. */
int kafka_topics_create(rd_kafka_t *rk, const struct kafka_topic *topics, size_t count,
			int timeout_ms, struct error *err_r) must_check;
/* Partitions of a topic. 0; -1: ERROR_NOT_FOUND, ERROR_UNAVAILABLE, ERROR_INVALID (forbidden). */
int kafka_topic_partitions(rd_kafka_t *rk, const char *topic, int timeout_ms, int *count_r,
			   struct error *err_r) must_check;

/* Destroys the client, waiting at most timeout_ms; one that hangs is left behind and logged. A
 * consumer must have been closed, or gives up its partitions by its session's time-out. */
void kafka_client_free(rd_kafka_t **rk, int timeout_ms);

#endif
