/* SPDX-License-Identifier: Apache-2.0 */
/* See amqp_queue.h. Since RabbitMQ 4 a quorum queue gives up a message after 20 returns unless told
 * otherwise, and without a dead-letter exchange that is the end of it; and every message that a
 * worker holds when it crashes counts as returned. So the limit is always said. */
#include "common/broker/amqp_queue.h"

#include <string.h>

#include <amqp.h>

#include "common/base/check.h"

#define RETURNS_MAX   100     /* the store blames crashes long before (3 strikes) */
#define RETURNS_NEVER 1000000 /* where giving up would lose the message */
#define ARGUMENTS_MAX 7

struct arguments {
	amqp_table_entry_t list[ARGUMENTS_MAX];
	int count;
};

static void add_text(struct arguments *args, const char *name, const char *value)
{
	CHECK(args->count < ARGUMENTS_MAX);
	args->list[args->count++] = (amqp_table_entry_t){
		.key = amqp_text(name),
		.value = { .kind = AMQP_FIELD_KIND_UTF8, .value.bytes = amqp_text(value) },
	};
}

static void add_number(struct arguments *args, const char *name, int32_t value)
{
	CHECK(args->count < ARGUMENTS_MAX);
	args->list[args->count++] = (amqp_table_entry_t){
		.key = amqp_text(name),
		.value = { .kind = AMQP_FIELD_KIND_I32, .value.i32 = value },
	};
}

static void add_true(struct arguments *args, const char *name)
{
	CHECK(args->count < ARGUMENTS_MAX);
	args->list[args->count++] = (amqp_table_entry_t){
		.key = amqp_text(name),
		.value = { .kind = AMQP_FIELD_KIND_BOOLEAN, .value.boolean = 1 },
	};
}

static void put(struct strbuf *out, uint16_t channel, const char *name, bool passive,
		struct arguments *args)
{
	amqp_queue_declare_t declare = {
		.queue = amqp_text(name),
		.passive = passive,
		.durable = 1,
		.arguments = { .num_entries = args->count, .entries = args->list },
	};

	CHECK(declare.queue.len <= AMQP_NAME_BYTES_MAX);
	amqp_put_method(out, channel, AMQP_QUEUE_DECLARE_METHOD, &declare);
}

void amqp_put_declare(struct strbuf *out, uint16_t channel, const struct amqp_queue *queue)
{
	struct arguments args = { .count = 0 };

	add_text(&args, "x-queue-type", queue->classic ? "classic" : "quorum");
	if (queue->dead) {
		add_text(&args, "x-dead-letter-exchange", "");
		add_text(&args, "x-dead-letter-routing-key", queue->dead);
	}
	if (!queue->classic)
		add_number(&args, "x-delivery-limit", queue->dead ? RETURNS_MAX : RETURNS_NEVER);
	if (!queue->classic && queue->dead) {
		/* Else a crash in between loses the dead letter; it needs the overflow policy. */
		add_text(&args, "x-dead-letter-strategy", "at-least-once");
		add_text(&args, "x-overflow", "reject-publish");
	}
	if (queue->single)
		add_true(&args, "x-single-active-consumer");
	put(out, channel, queue->name, false, &args);
}

void amqp_put_probe(struct strbuf *out, uint16_t channel, const char *name)
{
	struct arguments none = { .count = 0 };

	put(out, channel, name, true, &none);
}
