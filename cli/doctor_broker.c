/* SPDX-License-Identifier: Apache-2.0 */
/* What `windlass doctor` says about the broker: does it answer, may we come in, and are the places
 * there that others have to make. Makes nothing. */
#include <stdlib.h>
#include <string.h>

#include "common/base/arena.h"
#include "common/broker/kafka_admin.h"
#include "common/broker/publisher.h"
#include "common/broker/sqs_queue.h"
#include "common/service/metrics.h"

#include "cli/doctor.h"

#define BROKER_MS 5000

static const char *ca_file(const struct doctor *doctor)
{
	return *doctor->settings.broker_ca_file ? doctor->settings.broker_ca_file : NULL;
}

static void say_away(struct doctor *doctor, const struct error *error)
{
	doctor->server_away = doctor->server_away || error->code != ERROR_INVALID;
	doctor_say(doctor, WRONG, "%s: is the broker up, and BROKER_URL right?", error->message);
}

static void say_missing(struct doctor *doctor, const struct source_definition *source)
{
	doctor_say(doctor, DOUBTFUL,
		   "source %s: %s is not there yet; the first worker makes it, if it may",
		   source->name, source->topic);
}

static size_t source_count(const struct doctor *doctor)
{
	return doctor->defs ? definitions_source_count(doctor->defs) : 0;
}

/* ---- Kafka */

static void examine_topics(struct doctor *doctor, struct kafka_admin *admin)
{
	for (size_t i = 0; i < source_count(doctor); i++) {
		const struct source_definition *source = definitions_source_at(doctor->defs, i);
		struct error error;
		int count;

		if (kafka_admin_partitions(admin, source->topic, BROKER_MS, &count, &error) == 0)
			doctor_say(doctor, FINE, "source %s: %s has %d partitions", source->name,
				   source->topic, count);
		else if (error.code == ERROR_NOT_FOUND)
			say_missing(doctor, source);
		else
			doctor_say(doctor, WRONG, "source %s: %s", source->name, error.message);
	}
}

static void examine_kafka(struct doctor *doctor, const char *label)
{
	struct kafka_admin *admin = NULL;
	struct error error;
	int brokers;

	if (kafka_admin_open(doctor->settings.broker_url, "windlass-doctor", ca_file(doctor),
			     &admin, &error) < 0 ||
	    kafka_admin_check(admin, BROKER_MS, &brokers, &error) < 0) {
		say_away(doctor, &error);
	} else {
		doctor_say(doctor, FINE, "%s answers, %d brokers", label, brokers);
		examine_topics(doctor, admin);
	}
	kafka_admin_close(&admin);
}

/* ---- RabbitMQ */

/* Nothing is declared; being let in is what there is to see. */
static void examine_amqp(struct doctor *doctor, const char *label)
{
	struct metrics *metrics = metrics_open("doctor");
	struct publisher_options options = { .broker_url = doctor->settings.broker_url,
					     .client = "windlass-doctor",
					     .ca_file = ca_file(doctor),
					     .metrics = metrics };
	struct error error;
	struct publisher *publisher = amqp_publisher_new(&options, &error);
	struct strbuf why;

	strbuf_init(&why);
	if (!publisher || publisher->ops->declare(publisher, NULL, 0, BROKER_MS, &error) < 0)
		say_away(doctor, &error);
	else if (!publisher->ops->ready(publisher, &why))
		doctor_say(doctor, WRONG, "%s takes no messages now: %s", label, why.data);
	else
		doctor_say(doctor, FINE, "%s lets us in", label);
	strbuf_release(&why);
	if (publisher)
		publisher->ops->free(&publisher);
	metrics_close(&metrics);
}

/* ---- SQS */

/* *answers_r: false when the service is away, and there is no use in asking on. */
static void examine_queue(struct doctor *doctor, struct sqs_client *client,
			  const struct source_definition *source, bool *answers_r)
{
	char name[SQS_QUEUE_NAME], *url = NULL;
	enum sqs_fate fate = SQS_INVALID;
	struct error error;

	if (sqs_queue_name(source->topic, source->fifo, name, &error) == 0 &&
	    sqs_queue_find(client, name, BROKER_MS, &url, &fate, &error) == 0)
		doctor_say(doctor, FINE, "source %s: %s is there", source->name, name);
	else if (fate == SQS_NOT_FOUND)
		say_missing(doctor, source);
	else
		doctor_say(doctor, WRONG, "source %s: %s", source->name, error.message);
	*answers_r = fate != SQS_AWAY;
	free(url);
}

static void examine_sqs(struct doctor *doctor, const struct broker_url *url, const char *label)
{
	struct sqs_client_options options = { .url = url, .ca_file = ca_file(doctor) };
	struct error error;
	struct sqs_client *client = sqs_client_new(&options, &error);
	enum sqs_fate fate = SQS_DONE;
	char *found = NULL;
	bool answers;

	if (!client) {
		say_away(doctor, &error);
		return;
	}
	answers =
		sqs_queue_find(client, "windlass-doctor", BROKER_MS, &found, &fate, &error) == 0 ||
		fate == SQS_NOT_FOUND;
	if (answers)
		doctor_say(doctor, FINE, "%s answers", label);
	else
		say_away(doctor, &error);
	for (size_t i = 0; answers && i < source_count(doctor); i++)
		examine_queue(doctor, client, definitions_source_at(doctor->defs, i), &answers);
	free(found);
	sqs_client_free(&client);
}

void doctor_examine_broker(struct doctor *doctor)
{
	struct arena *arena = arena_new(0);
	struct broker_url url;
	struct error error;
	const char *label;

	CHECK(broker_url_parse(doctor->settings.broker_url, arena, &url, &error) == 0);
	label = broker_url_label(&url, arena);
	switch (url.kind) {
	case BROKER_NONE:
		if (source_count(doctor))
			doctor_say(doctor, DOUBTFUL, "sources are not read: BROKER_URL is not set");
		break;
	case BROKER_AMQP:
		examine_amqp(doctor, label);
		break;
	case BROKER_KAFKA:
		examine_kafka(doctor, label);
		break;
	case BROKER_SQS:
		examine_sqs(doctor, &url, label);
		break;
	}
	if (url.password)
		explicit_bzero((char *)url.password, strlen(url.password));
	arena_free(&arena);
}
