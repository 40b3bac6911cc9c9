/* SPDX-License-Identifier: Apache-2.0 */
/* What the SQS suites share: a publisher, feeds and raw calls on one server, which is the shared
 * one of TEST_SQS_URL or the stub that fails on request; and short words for what they do. A word
 * fails the case when what it says does not happen in time. */
#ifndef TESTS_INTEGRATION_SQS_FIXTURE_H
#define TESTS_INTEGRATION_SQS_FIXTURE_H
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

#include <cmocka.h>

#include "common/base/strbuf.h"
#include "common/broker/publisher.h"
#include "common/broker/sqs_client.h"
#include "consumers/subscribe/feed.h"
#include "tests/integration/pause.h"

struct reader { /* a feed and what its ring says */
	struct feed *feed;
	_Atomic int rings;
};

struct fixture {
	char url[256]; /* BROKER_URL */
	char name[48]; /* a queue of this case's own */
	struct metrics *metrics;
	struct arena *arena;
	struct publisher *publisher;
	struct sqs_client *client;
	struct reader reader, rival;
	pid_t stub;
	int stub_port;
	char *bodies; /* of publications made by `publications` */
};

void fixture_server(struct fixture *fx, const char *options); /* TEST_SQS_URL */
void fixture_stub(struct fixture *fx, const char *options);   /* the stub, with a static key */
void fixture_end(struct fixture *fx);

/* The stub's life, behaviour (JSON) and state; counts are paths such as "queues/name". */
void stub_start(struct fixture *fx); /* again on the same port, if it ran before */
void stub_kill(struct fixture *fx);
void stub_behave(struct fixture *fx, const char *behaviour);
int64_t stub_count(struct fixture *fx, const char *path);

/* One call that must be done; returns its answer. Takes the format of the body. */
json_t *raw_call(struct fixture *fx, const char *action, const char *fmt, ...) printf_like(3, 4);
char *queue_url(struct fixture *fx, const char *name); /* in the arena */
int64_t queue_depth(struct fixture *fx, const char *name, const char *attribute);
void send_raw(struct fixture *fx, const char *name, const char *body);

void declare_queue(struct fixture *fx, const char *topic, bool fifo, const char *dead);
/* count publications to topic with the bodies {"n":0} ...; key: "k<n % keys>", 0 keys: none. */
struct publication *publications(struct fixture *fx, const char *topic, size_t count, size_t keys);
void send_all(struct fixture *fx, struct publication *items, size_t count); /* all confirmed */
size_t confirmed(const struct publication *items, size_t count);

void reader_open(struct fixture *fx, struct reader *reader, size_t buffer_max);
void reader_serve(struct reader *reader, const char *topic, bool fifo, bool dead);
void reader_close(struct reader *reader);
/* Takes until there are `count`, or fails after timeout_ms. */
void reader_take(struct reader *reader, struct delivery **deliveries_r, size_t count,
		 int timeout_ms);
size_t reader_wait(struct reader *reader, struct delivery **deliveries_r, size_t max,
		   int timeout_ms); /* what comes until then */
void reader_ack(struct reader *reader, struct delivery **deliveries, size_t count);
void reader_ready(struct reader *reader, bool want, int timeout_ms);
int64_t number_of(const struct delivery *delivery); /* the n of {"n":…} */

#endif
