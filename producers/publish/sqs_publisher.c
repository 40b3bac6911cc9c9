/* SPDX-License-Identifier: Apache-2.0 */
/* The publisher of SQS: its queues, which are found or made once and again when they are gone, and
 * its pauses after failures. How one send goes about is in sqs_sending.c. */
#include "producers/publish/sqs_publisher_impl.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/arena.h"
#include "common/base/clock.h"

static struct sqs_publisher *self(struct publisher *publisher)
{
	return (struct sqs_publisher *)publisher;
}

void sqs_publisher_fail(struct sqs_publisher *pub, const char *why)
{
	error_set(&pub->trouble, ERROR_UNAVAILABLE, "%s", why);
	sqs_pause_more(&pub->pause, clock_mono_ms());
}

/* ---- queues */

struct sqs_target *sqs_target_get(struct sqs_publisher *pub, const char *topic)
{
	struct sqs_target *target = pub->targets;

	while (target && strcmp(target->topic, topic) != 0)
		target = target->next;
	if (!target) {
		target = xcalloc(1, sizeof(*target));
		target->topic = xstrdup(topic);
		target->next = pub->targets;
		pub->targets = target;
	}
	return target;
}

void sqs_target_lose(struct sqs_target *target)
{
	free(target->url);
	target->url = NULL;
}

int sqs_target_open(struct sqs_publisher *pub, struct sqs_target *target, int timeout_ms,
		    enum sqs_fate *fate_r, struct error *err_r)
{
	*fate_r = SQS_INVALID;
	if (!target->name[0] && sqs_queue_name(target->topic, false, target->name, err_r) < 0)
		return -1;
	if (target->ours)
		return sqs_queue_make(pub->client, target->name, target->dead, timeout_ms,
				      &target->url, fate_r, err_r);
	return sqs_queue_find(pub->client, target->name, timeout_ms, &target->url, fate_r, err_r);
}

static int declare_one(struct sqs_publisher *pub, const struct publisher_place *place,
		       int timeout_ms, struct error *err_r)
{
	struct sqs_target *target = sqs_target_get(pub, place->topic);
	enum sqs_fate fate;

	if (sqs_queue_name(place->topic, place->fifo, target->name, err_r) < 0)
		return -1;
	target->ours = true;
	free(target->dead);
	target->dead = place->dispatched && place->dead ? xstrdup(place->dead) : NULL;
	if (target->url)
		return 0;
	return sqs_target_open(pub, target, timeout_ms, &fate, err_r);
}

int sqs_left_ms(int64_t deadline_ms)
{
	int64_t left = deadline_ms - clock_mono_ms();

	return left < 0 ? 0 : (int)left;
}

static int shorter(int a, int b)
{
	return a < b ? a : b;
}

static int sqs_declare(struct publisher *publisher, const struct publisher_place *places,
		       size_t count, int timeout_ms, struct error *err_r)
{
	struct sqs_publisher *pub = self(publisher);
	int64_t deadline_ms = clock_mono_ms() + timeout_ms;

	for (size_t i = 0; i < count; i++) {
		int left = sqs_left_ms(deadline_ms);

		if (!left)
			return error_set(err_r, ERROR_UNAVAILABLE, "no time left to declare %s",
					 places[i].topic);
		if (declare_one(pub, &places[i], shorter(left, SQS_QUEUE_CALL_MS), err_r) < 0) {
			/* A queue that is gone would be made by a declaration. */
			if (err_r->code == ERROR_NOT_FOUND)
				err_r->code = ERROR_UNAVAILABLE;
			return -1;
		}
	}
	return 0;
}

static int sqs_send(struct publisher *publisher, struct publication *items, size_t count,
		    int timeout_ms, struct error *err_r)
{
	struct sqs_publisher *pub = self(publisher);

	if (clock_mono_ms() < pub->pause.until_ms) {
		*err_r = pub->trouble;
		return -1;
	}
	return sqs_sending_run(pub, items, count, timeout_ms, err_r);
}

static size_t sqs_body_bytes_max(const struct publisher *publisher)
{
	return ((const struct sqs_publisher *)publisher)->bytes_max - SQS_ATTRIBUTE_RESERVE;
}

static void on_probed(void *ctx, const struct sqs_answer *answer)
{
	struct sqs_publisher *pub = ctx;

	pub->probing = false;
	if (answer->fate == SQS_AWAY)
		sqs_publisher_fail(pub, answer->text);
	else
		sqs_pause_over(&pub->pause);
}

/* Any answer will do: is there somebody again? */
static void probe(struct sqs_publisher *pub)
{
	struct strbuf body;

	strbuf_init(&body);
	strbuf_printf(&body, "{\"QueueName\":\"%s\"}",
		      pub->targets && pub->targets->name[0] ? pub->targets->name : "windlass");
	pub->probing = true;
	sqs_client_call(pub->client, "GetQueueUrl", &body, SQS_QUEUE_CALL_MS, on_probed, pub);
}

static void sqs_tend(struct publisher *publisher)
{
	struct sqs_publisher *pub = self(publisher);

	if (!pub->probing && sqs_client_trouble(pub->client) &&
	    clock_mono_ms() >= pub->pause.until_ms)
		probe(pub);
	if (sqs_client_open(pub->client))
		sqs_client_poll(pub->client, 0);
}

static bool sqs_ready(struct publisher *publisher, struct strbuf *why_r)
{
	const char *trouble = sqs_client_trouble(self(publisher)->client);

	if (trouble)
		strbuf_addstr(why_r, trouble);
	return !trouble;
}

static void sqs_free(struct publisher **publisher)
{
	struct sqs_publisher *pub;

	if (!*publisher)
		return;
	pub = self(*publisher);
	sqs_client_free(&pub->client);
	while (pub->targets) {
		struct sqs_target *target = pub->targets;

		pub->targets = target->next;
		free(target->topic);
		free(target->url);
		free(target->dead);
		free(target);
	}
	free(pub);
	*publisher = NULL;
}

static const struct publisher_ops ops = {
	.name = "sqs",
	.declare = sqs_declare,
	.send = sqs_send,
	.body_bytes_max = sqs_body_bytes_max,
	.tend = sqs_tend,
	.ready = sqs_ready,
	.free = sqs_free,
};

static void on_changed(void *ctx, bool up, bool again)
{
	struct sqs_publisher *pub = ctx;

	metric_move(pub->connected, up ? 1 : -1);
	if (again)
		metric_add(pub->reconnects, 1);
}

struct publisher *sqs_publisher_new(const struct publisher_options *options, struct error *err_r)
{
	struct arena *arena = arena_new(0);
	struct sqs_publisher *pub = xcalloc(1, sizeof(*pub));
	struct broker_url url;
	struct sqs_client_options client = {
		.url = &url, .ca_file = options->ca_file, .changed = on_changed, .ctx = pub
	};

	pub->publisher.ops = &ops;
	pub->connected = metrics_series(options->metrics, METRIC_BROKER_CONNECTED, "publish", NULL);
	pub->reconnects =
		metrics_series(options->metrics, METRIC_BROKER_RECONNECTS, "publish", NULL);
	if (broker_url_parse_as(BROKER_SQS, options->broker_url, arena, &url, err_r) == 0)
		pub->client = sqs_client_new(&client, err_r);
	arena_free(&arena);
	if (!pub->client) {
		free(pub);
		return NULL;
	}
	pub->bytes_max = sqs_client_message_bytes(pub->client);
	CHECK(pub->bytes_max > SQS_ATTRIBUTE_RESERVE);
	return &pub->publisher;
}
