/* SPDX-License-Identifier: Apache-2.0 */
/* BROKER_URL, taken apart. What all brokers share: which one, where, who; the rest are options that
 * each broker names.
 *
 *   amqp://user:password@host:port/vhost     amqps://…  (TLS, host name checked)
 *
 *   kafka://host:port,host:port
 *
 *   kafka://user:password@host:port?security=sasl_ssl&mechanism=SCRAM-SHA-512
 *
 *   sqs://region
 *
 *   sqs://region?endpoint=http://127.0.0.1:9324&account=000000000000
 *
 * User, password and vhost are percent-decoded. */
#ifndef COMMON_CONFIG_BROKER_URL_H
#define COMMON_CONFIG_BROKER_URL_H
#include <stdbool.h>
#include <stddef.h>

#include "common/base/arena.h"
#include "common/base/error.h"

enum broker_kind { BROKER_NONE, BROKER_AMQP, BROKER_KAFKA, BROKER_SQS };

struct broker_host {
	const char *host; /* without brackets */
	int port;
};

struct broker_option { /* after the "?" */
	const char *name, *value;
};

struct broker_url {
	enum broker_kind kind;
	bool tls;                    /* amqps; kafka with security=ssl or sasl_ssl */
	const char *user, *password; /* or NULL */
	struct broker_host *hosts;   /* AMQP: one; Kafka: one or more; SQS: none */
	size_t host_count;
	const char *path; /* AMQP: vhost ("/" when absent); SQS: region (its host part) */
	struct broker_option *options;
	size_t option_count;
};

/* Options allowed: Kafka security (plaintext, ssl, sasl_plaintext, sasl_ssl), mechanism (PLAIN,
 * SCRAM-SHA-256, SCRAM-SHA-512); AMQP heartbeat (seconds), max_message (bytes); SQS endpoint (http
 * or https), account, max_message (bytes), visibility (seconds, 30). Plain http and unencrypted
 * AMQP or Kafka with a password are allowed to loopback hosts only, unless the option insecure=true
 * is given. 0; -1: ERROR_INVALID, the message says what is wrong without any secret. "" is
 * BROKER_NONE. Texts live in the arena. */
int broker_url_parse(const char *text, struct arena *arena, struct broker_url *url_r,
		     struct error *err_r) must_check;
/* The same for one kind of broker: another one's URL, or none, is ERROR_INVALID as well. */
int broker_url_parse_as(enum broker_kind kind, const char *text, struct arena *arena,
			struct broker_url *url_r, struct error *err_r) must_check;
const char *broker_url_option(const struct broker_url *url, const char *name); /* NULL: not given */
/* "amqp://host:5672/vhost": for logs and metrics, without secrets. In the arena. */
const char *broker_url_label(const struct broker_url *url, struct arena *arena);
/* The broker's name for a queue of ours: the queue's own `topic`, else prefix + queue, with the
 * characters that the broker does not allow made "-". In the arena. */
#define BROKER_DEAD_QUEUE "dead" /* "queue" of what the broker gives up of ours; Kafka has none */
const char *broker_topic(enum broker_kind kind, const char *prefix, const char *queue,
			 const char *topic, struct arena *arena);

#endif
