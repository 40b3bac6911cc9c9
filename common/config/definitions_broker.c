/* SPDX-License-Identifier: Apache-2.0 */
/* What a definitions file means on a broker: every place has a name that is one there, and no two
 * places share one, since whoever reads the one would get the messages of the other. */
#include <string.h>

#include "common/config/definitions_hooks.h"
#include "common/config/settings.h"
#include "common/config/yaml_reader.h"

#define LETTERS   "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-"
#define AMQP_MAX  255
#define KAFKA_MAX 249
#define SQS_MAX   80

struct place { /* one name on the broker, and who gave it */
	const char *what, *name, *topic;
	struct yaml_place at;
};

struct checking {
	enum broker_kind kind;
	struct problems problems;
	struct place *places;
	size_t count;
};

/* What a name had to be, or NULL when it is one. */
static const char *topic_fault(enum broker_kind kind, const char *topic, bool fifo)
{
	size_t bytes = strlen(topic);

	switch (kind) {
	case BROKER_NONE:
		break;
	case BROKER_AMQP:
		if (bytes > AMQP_MAX || strncmp(topic, "amq.", 4) == 0)
			return "at most 255 bytes that do not begin with amq.";
		break;
	case BROKER_KAFKA:
		if (bytes > KAFKA_MAX || strspn(topic, LETTERS ".") != bytes ||
		    strcmp(topic, ".") == 0 || strcmp(topic, "..") == 0)
			return "at most 249 letters, digits and . _ -";
		break;
	case BROKER_SQS: {
		bool suffix = bytes > 5 && strcmp(topic + bytes - 5, ".fifo") == 0;

		bytes -= suffix ? 5 : 0;
		if (bytes > (suffix || fifo ? SQS_MAX - 5 : SQS_MAX) ||
		    strspn(topic, LETTERS) < bytes)
			return "at most 80 letters, digits and _ -, a .fifo at the end included";
		break;
	}
	}
	return NULL;
}

static void add_place(struct checking *c, struct place place, bool fifo)
{
	const char *expected = topic_fault(c->kind, place.topic, fifo);

	if (expected)
		problem_add(&c->problems, place.at,
			    "%s `%s`: `%s` is not a name on the broker; expected %s", place.what,
			    place.name, place.topic, expected);
	for (size_t i = 0; i < c->count; i++) {
		if (strcmp(c->places[i].topic, place.topic) == 0)
			problem_add(&c->problems, place.at,
				    "%s `%s` and %s `%s` are both `%s` on the broker", place.what,
				    place.name, c->places[i].what, c->places[i].name, place.topic);
	}
	c->places[c->count++] = place;
}

static void add_result(struct checking *c, const struct job_type *type)
{
	struct yaml_place at = { type->line, type->column };
	const char *expected = type->result_topic && !type->result_exchange
				       ? topic_fault(c->kind, type->result_topic, false)
				       : NULL;

	if (expected)
		problem_add(&c->problems, at,
			    "results of `%s`: `%s` is not a name on the broker; expected %s",
			    type->name, type->result_topic, expected);
	if (type->result_exchange && c->kind != BROKER_AMQP && c->kind != BROKER_NONE)
		problem_add(&c->problems, at,
			    "results of `%s`: only RabbitMQ has exchanges; expected no `exchange`",
			    type->name);
}

/* A queue's name on a broker that is not known is its own affair, unless the file says it. */
static void add_queues(struct checking *c, const struct definitions *defs, const char *prefix,
		       struct arena *arena)
{
	for (size_t i = 0; i < definitions_queue_count(defs); i++) {
		const struct queue_definition *queue = definitions_queue_at(defs, i);

		if (c->kind == BROKER_NONE && !queue->topic)
			continue;
		add_place(c,
			  (struct place){ .what = "queue",
					  .name = queue->name,
					  .topic = broker_topic(c->kind, prefix, queue->name,
								queue->topic, arena),
					  .at = { queue->line ? queue->line : 1,
						  queue->line ? queue->column : 1 } },
			  queue->fifo);
	}
}

int definitions_check_broker(const struct definitions *defs, enum broker_kind kind,
			     const char *prefix, FILE *errors)
{
	struct checking c = { .kind = kind,
			      .problems = { .file = definitions_file(defs), .out = errors } };
	struct arena *arena = arena_new(0);

	c.places = ARENA_ARRAY(arena, struct place,
			       definitions_queue_count(defs) + definitions_source_count(defs) + 1);
	if (kind != BROKER_NONE)
		c.places[c.count++] =
			(struct place){ .what = "the place of",
					.name = "dead letters",
					.topic = broker_topic(kind, prefix, BROKER_DEAD_QUEUE, NULL,
							      arena) };
	add_queues(&c, defs, prefix, arena);
	for (size_t i = 0; i < definitions_source_count(defs); i++) {
		const struct source_definition *source = definitions_source_at(defs, i);

		add_place(&c,
			  (struct place){ .what = "source",
					  .name = source->name,
					  .topic = source->topic,
					  .at = { source->line, source->column } },
			  source->fifo);
	}
	for (size_t i = 0; i < definitions_type_count(defs); i++)
		add_result(&c, definitions_type_at(defs, i));
	problems_end(&c.problems);
	arena_free(&arena);
	return c.problems.count ? -1 : 0;
}

static enum broker_kind kind_of(const struct settings *settings)
{
	struct arena *arena = arena_new(0);
	struct broker_url url;
	struct error error;

	CHECK(broker_url_parse(settings->broker_url, arena, &url, &error) == 0);
	if (url.password)
		explicit_bzero((char *)url.password, strlen(url.password));
	arena_free(&arena);
	return url.kind;
}

/* What is not signed is not sent. */
static int add_webhooks(struct definitions *defs, const struct settings *settings, FILE *errors)
{
	struct problems problems = { .file = definitions_file(defs), .out = errors };

	if (*settings->webhook_secret) {
		definitions_add_webhooks(defs, *settings->remote_allow);
		return 0;
	}
	for (size_t i = 0; i < definitions_type_count(defs); i++) {
		const struct job_type *type = definitions_type_at(defs, i);

		if (type->hooks.count)
			problem_add(&problems, (struct yaml_place){ type->line, type->column },
				    "`%s` has hooks, and WINDLASS_WEBHOOK_SECRET, which signs "
				    "them, is not set",
				    type->name);
	}
	problems_end(&problems);
	return problems.count ? -1 : 0;
}

struct definitions *definitions_open(const struct settings *settings, FILE *errors)
{
	struct definitions *defs = definitions_load(settings->jobs_path, errors);
	enum broker_kind kind = kind_of(settings);

	if (defs && add_webhooks(defs, settings, errors) < 0)
		definitions_unref(&defs);
	if (defs && kind != BROKER_NONE &&
	    definitions_check_broker(defs, kind, settings->broker_prefix, errors) < 0)
		definitions_unref(&defs);
	return defs;
}

void definitions_say_idle(const struct definitions *defs, FILE *out)
{
	const char *file = definitions_file(defs);

	for (size_t i = 0; i < definitions_source_count(defs); i++) {
		const struct source_definition *source = definitions_source_at(defs, i);

		fprintf(out, "%s:%d:%d: source `%s` is not read: BROKER_URL is not set\n", file,
			source->line, source->column, source->name);
	}
	for (size_t i = 0; i < definitions_type_count(defs); i++) {
		const struct job_type *type = definitions_type_at(defs, i);

		if (type->result_topic)
			fprintf(out,
				"%s:%d:%d: results of `%s` wait in the store: BROKER_URL is not set\n",
				file, type->line, type->column, type->name);
	}
}
