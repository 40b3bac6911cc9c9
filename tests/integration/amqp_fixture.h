/* SPDX-License-Identifier: Apache-2.0 */
/* What tests against a real RabbitMQ share: our publisher and feed, and beside them a stock client
 * (rabbitmq-c's own connection) that makes, fills, looks into and deletes queues. Names are of one
 * test alone, so that tests may share a server. */
#ifndef TESTS_INTEGRATION_AMQP_FIXTURE_H
#define TESTS_INTEGRATION_AMQP_FIXTURE_H
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <amqp.h>
#include <cmocka.h>

#include "common/base/arena.h"
#include "common/base/clock.h"
#include "common/broker/publisher.h"
#include "consumers/subscribe/feed.h"
#include "tests/integration/pause.h"

struct rig {
	struct arena *arena;
	const char *url, *ca_file;
	char prefix[64];
	struct metrics *metrics;
	struct publisher *publisher; /* or NULL */
	struct feed *feed;           /* or NULL */
	int bell;                    /* eventfd that the feed rings */
	amqp_connection_state_t client;
	struct error error;
};

/* NULL: there is no server for this run. */
const char *rig_server_url(void);
struct rig *rig_new(const char *url);
void rig_free(struct rig *rig);
/* cmocka's: with rig_server_url. */
int rig_set_up(void **state);
int rig_tear_down(void **state);

const char *rig_name(struct rig *rig, const char *name);
/* ---- the stock client */
void client_open(struct rig *rig);
void client_close(struct rig *rig);
void client_declare(struct rig *rig, const char *queue, bool exclusive, amqp_table_t arguments);
void client_delete(struct rig *rig, const char *queue);
/* id NULL: no message-id. */
void client_publish(struct rig *rig, const char *queue, const char *id, const char *body,
		    size_t bytes);
/* Messages ready in the queue; -1: there is no such queue. */
int client_depth(struct rig *rig, const char *queue);
/* The next message, acknowledged; false: there is none. The envelope must be destroyed. */
bool client_get(struct rig *rig, const char *queue, amqp_message_t *message_r);

/* ---- ours */
void publisher_open(struct rig *rig);
struct publication a_publication(const char *topic, const char *body);
void publisher_send(struct rig *rig, struct publication *items, size_t count);
/* Sends `count` bodies "0", "1" ... to a queue, all confirmed. */
void publisher_fill(struct rig *rig, const char *queue, int count);

void feed_open(struct rig *rig, size_t message_bytes_max);
void feed_serve(struct rig *rig, const struct feed_place *places, size_t count);
/* Takes exactly count deliveries, else the test fails. */
void feed_take(struct rig *rig, struct delivery **deliveries_r, size_t count, int timeout_ms);
struct delivery *feed_take_one(struct rig *rig);
void feed_take_none(struct rig *rig, int ms); /* nothing comes in that time */
void feed_ack(struct rig *rig, struct delivery *delivery);
void feed_flush(struct rig *rig);
bool feed_ready_within(struct rig *rig, int timeout_ms);
const char *body_of(struct rig *rig, const struct delivery *delivery);

#endif
