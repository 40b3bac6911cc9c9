/* SPDX-License-Identifier: Apache-2.0 */
/* Publishes to SQS in batches of up to ten, several of them under way at once. An entry that SQS
 * confirms is in its queue; whatever else happens to a batch, its messages may or may not be there,
 * and are sent again by whoever holds them. FIFO queues get one batch at a time, with at most one
 * message of a group in it: a group whose message was not confirmed is not gone on with, so that
 * nothing overtakes it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/arena.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/broker/publisher.h"
#include "common/broker/sqs_batch.h"
#include "common/broker/sqs_client.h"
#include "common/broker/sqs_queue.h"

#define BATCHES_MAX       8
#define ATTRIBUTE_RESERVE 1024 /* of a message's size, for what goes beside its body */
#define QUEUE_CALL_MS     5000
#define PAUSE_FIRST_MS    100
#define PAUSE_MAX_MS      10000
#define CONTENT_TYPE      "application/cloudevents+json; charset=utf-8"

struct queue {
	struct queue *next;
	char *topic; /* as publications name it */
	char name[SQS_QUEUE_NAME];
	char *url;  /* NULL: not known yet */
	bool ours;  /* declared: made again when it is missing */
	char *dead; /* its dead-letter queue's topic, or NULL */
	/* during one send */
	size_t next_item; /* nothing before it is to be sent */
	size_t under_way; /* batches */
	bool renewed;     /* looked for again after it was missing */
	const char *refused;
};

struct sqs_publisher {
	struct publisher publisher;
	struct sqs_client *client;
	struct queue *queues;
	size_t bytes_max;
	int64_t pause_until_ms; /* monotonic; nothing is sent before */
	int pauses;             /* in a row */
	struct error trouble;   /* why it pauses */
	bool probing;
};

static struct sqs_publisher *self(struct publisher *publisher)
{
	return (struct sqs_publisher *)publisher;
}

/* ---- pauses */

/* Full jitter below a bound that doubles. */
static void pause_sending(struct sqs_publisher *pub)
{
	int64_t bound_ms = PAUSE_FIRST_MS << (pub->pauses < 7 ? pub->pauses : 7);

	if (bound_ms > PAUSE_MAX_MS)
		bound_ms = PAUSE_MAX_MS;
	pub->pauses++;
	pub->pause_until_ms = clock_mono_ms() + bound_ms / 4 +
			      (int64_t)random_below((uint64_t)bound_ms * 3 / 4 + 1);
}

static void fail(struct sqs_publisher *pub, const char *why)
{
	error_set(&pub->trouble, ERROR_UNAVAILABLE, "%s", why);
	pause_sending(pub);
}

/* ---- queues */

static struct queue *queue_get(struct sqs_publisher *pub, const char *topic)
{
	struct queue *queue = pub->queues;

	while (queue && strcmp(queue->topic, topic) != 0)
		queue = queue->next;
	if (!queue) {
		queue = xcalloc(1, sizeof(*queue));
		queue->topic = xstrdup(topic);
		queue->next = pub->queues;
		pub->queues = queue;
	}
	return queue;
}

static void queue_lose(struct queue *queue)
{
	free(queue->url);
	queue->url = NULL;
}

/* 0, or -1 and the fate. */
static int queue_open(struct sqs_publisher *pub, struct queue *queue, int timeout_ms,
		      enum sqs_fate *fate_r, struct error *err_r)
{
	*fate_r = SQS_INVALID;
	if (!queue->name[0] && sqs_queue_name(queue->topic, false, queue->name, err_r) < 0)
		return -1;
	if (queue->ours)
		return sqs_queue_make(pub->client, queue->name, queue->dead, timeout_ms,
				      &queue->url, fate_r, err_r);
	return sqs_queue_find(pub->client, queue->name, timeout_ms, &queue->url, fate_r, err_r);
}

static int declare_one(struct sqs_publisher *pub, const struct publisher_place *place,
		       int timeout_ms, struct error *err_r)
{
	struct queue *queue = queue_get(pub, place->topic);
	enum sqs_fate fate;

	if (sqs_queue_name(place->topic, place->fifo, queue->name, err_r) < 0)
		return -1;
	queue->ours = true;
	free(queue->dead);
	queue->dead = place->dispatched && place->dead ? xstrdup(place->dead) : NULL;
	if (queue->url)
		return 0;
	return queue_open(pub, queue, timeout_ms, &fate, err_r);
}

static int left_ms(int64_t deadline_ms)
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
		int left = left_ms(deadline_ms);

		if (!left)
			return error_set(err_r, ERROR_UNAVAILABLE, "no time left to declare %s",
					 places[i].topic);
		if (declare_one(pub, &places[i], shorter(left, QUEUE_CALL_MS), err_r) < 0) {
			/* A queue that is gone would be made by a declaration. */
			if (err_r->code == ERROR_NOT_FOUND)
				err_r->code = ERROR_UNAVAILABLE;
			return -1;
		}
	}
	return 0;
}

/* ---- sending */

enum slot_state { SLOT_WAITING, SLOT_SENT, SLOT_OVER };

struct slot {
	struct queue *queue;
	enum slot_state state;
	bool alone; /* the batch it was in was refused as a whole */
};

struct sending {
	struct sqs_publisher *pub;
	struct publication *items;
	struct slot *slots;
	size_t count, open; /* items; those not over */
	size_t under_way;   /* batches */
	int64_t deadline_ms;
	bool away; /* start nothing more */
	struct error error;
};

struct parcel { /* one batch under way */
	struct sending *sending;
	struct queue *queue;
	size_t items[SQS_BATCH_MAX];
	size_t count;
};

static void slot_over(struct sending *s, size_t i, const char *refused)
{
	s->slots[i].state = SLOT_OVER;
	s->items[i].refused = refused;
	s->open--;
}

static void slot_again(struct sending *s, size_t i)
{
	s->slots[i].state = SLOT_WAITING;
	if (i < s->slots[i].queue->next_item)
		s->slots[i].queue->next_item = i;
}

static const char *group_of(const struct publication *item)
{
	return item->key;
}

static bool same_group(const struct publication *a, const struct publication *b)
{
	return group_of(a) && group_of(b) && !strcmp(group_of(a), group_of(b));
}

/* What comes after it in its group must not overtake it. */
static void close_group(struct sending *s, size_t at)
{
	for (size_t i = at + 1; i < s->count; i++) {
		if (s->slots[i].state == SLOT_WAITING && s->slots[i].queue == s->slots[at].queue &&
		    same_group(&s->items[at], &s->items[i]))
			slot_over(s, i, NULL);
	}
}

static void slot_failed(struct sending *s, size_t i, const char *refused)
{
	slot_over(s, i, refused);
	if (sqs_queue_is_fifo(s->slots[i].queue->name) && group_of(&s->items[i]))
		close_group(s, i);
}

static void read_verdicts(struct parcel *parcel, const struct sqs_answer *answer)
{
	enum sqs_verdict verdicts[SQS_BATCH_MAX];
	struct sending *s = parcel->sending;

	sqs_batch_read(answer->json, parcel->count, verdicts);
	for (size_t i = 0; i < parcel->count; i++) {
		size_t at = parcel->items[i];

		s->items[at].confirmed = verdicts[i] == SQS_ENTRY_DONE;
		if (s->items[at].confirmed)
			slot_over(s, at, NULL);
		else
			slot_failed(s, at,
				    verdicts[i] == SQS_ENTRY_REFUSED ? "SQS refused the message"
								     : NULL);
	}
	s->pub->pauses = 0;
}

/* One that SQS does not like spoils the batch: each of them tries alone. */
static void separate(struct parcel *parcel)
{
	struct sending *s = parcel->sending;

	for (size_t i = 0; i < parcel->count; i++) {
		s->slots[parcel->items[i]].alone = true;
		slot_again(s, parcel->items[i]);
	}
}

static void all_again(struct parcel *parcel)
{
	for (size_t i = 0; i < parcel->count; i++)
		slot_again(parcel->sending, parcel->items[i]);
}

static void all_failed(struct parcel *parcel, const char *refused)
{
	for (size_t i = 0; i < parcel->count; i++)
		slot_failed(parcel->sending, parcel->items[i], refused);
}

static void on_sent(void *ctx, const struct sqs_answer *answer)
{
	struct parcel *parcel = ctx;
	struct sending *s = parcel->sending;

	s->under_way--;
	parcel->queue->under_way--;
	switch (answer->fate) {
	case SQS_DONE:
		read_verdicts(parcel, answer);
		break;
	case SQS_THROTTLED: /* none of them was taken */
		fail(s->pub, "SQS asks for fewer requests");
		all_again(parcel);
		break;
	case SQS_NOT_FOUND:
		queue_lose(parcel->queue);
		all_again(parcel);
		break;
	case SQS_INVALID:
		if (parcel->count > 1)
			separate(parcel);
		else
			all_failed(parcel, "SQS refused the message");
		break;
	case SQS_DENIED:
		all_failed(parcel, "no permission to send to the queue");
		break;
	case SQS_AWAY:
		all_failed(parcel, NULL);
		s->away = true;
		fail(s->pub, answer->text);
		break;
	}
	free(parcel);
}

static bool has_group(const struct sending *s, const struct parcel *parcel, size_t item)
{
	for (size_t i = 0; i < parcel->count; i++) {
		if (same_group(&s->items[parcel->items[i]], &s->items[item]))
			return true;
	}
	return false;
}

/* Adds an item to the batch. False: no room for it. */
static bool put_in(struct sending *s, struct parcel *parcel, struct sqs_batch *batch, size_t at)
{
	const struct publication *item = &s->items[at];
	struct sqs_outgoing message = { .body = item->body,
					.body_bytes = item->body_bytes,
					.content_type = CONTENT_TYPE,
					.traceparent = item->traceparent };
	char id[UUID_TEXT], group[129];

	uuid_format(&item->id, id);
	if (sqs_queue_is_fifo(parcel->queue->name)) {
		/* Without a key nothing orders it: a group of its own. */
		sqs_group_id(item->key ? item->key : id, group);
		message.group = group;
		message.deduplication = id;
	}
	if (!sqs_batch_fits(batch, sqs_message_size(&message), s->pub->bytes_max))
		return false;
	sqs_batch_add_message(batch, &message);
	parcel->items[parcel->count++] = at;
	s->slots[at].state = SLOT_SENT;
	return true;
}

/* Fills a batch with what waits for the queue, in order. */
static void fill(struct sending *s, struct parcel *parcel, struct sqs_batch *batch)
{
	struct queue *queue = parcel->queue;
	bool fifo = sqs_queue_is_fifo(queue->name), passed = false;

	for (size_t i = queue->next_item; i < s->count; i++) {
		struct slot *slot = &s->slots[i];

		if (slot->queue != queue || slot->state != SLOT_WAITING)
			continue;
		if (fifo && has_group(s, parcel, i)) {
			passed = true;
			continue;
		}
		if ((slot->alone && parcel->count) || !put_in(s, parcel, batch, i))
			break;
		if (!passed)
			queue->next_item = i + 1;
		if (slot->alone || parcel->count == SQS_BATCH_MAX)
			break;
	}
}

/* Sends one batch of what waits for the queue. False: nothing does, or not now. */
static bool send_batch(struct sending *s, struct queue *queue)
{
	struct parcel *parcel;
	struct sqs_batch batch;

	if (queue->under_way && sqs_queue_is_fifo(queue->name))
		return false;
	parcel = xcalloc(1, sizeof(*parcel));
	parcel->sending = s;
	parcel->queue = queue;
	sqs_batch_begin(&batch, queue->url);
	fill(s, parcel, &batch);
	if (!parcel->count) {
		strbuf_release(&batch.text);
		free(parcel);
		return false;
	}
	sqs_batch_end(&batch);
	s->under_way++;
	queue->under_way++;
	sqs_client_call(s->pub->client, "SendMessageBatch", &batch.text,
			shorter(left_ms(s->deadline_ms) + 1, SQS_CALL_MS), on_sent, parcel);
	return true;
}

static bool has_waiting(const struct sending *s, const struct queue *queue)
{
	for (size_t i = queue->next_item; i < s->count; i++) {
		if (s->slots[i].queue == queue && s->slots[i].state == SLOT_WAITING)
			return true;
	}
	return false;
}

static void refuse_all(struct sending *s, const struct queue *queue, const char *why)
{
	for (size_t i = 0; i < s->count; i++) {
		if (s->slots[i].queue == queue && s->slots[i].state == SLOT_WAITING)
			slot_over(s, i, why);
	}
}

/* Finds or makes the queue, once a send. False: nothing can be sent to it now. */
static bool reach(struct sending *s, struct queue *queue)
{
	enum sqs_fate fate;
	struct error error;

	if (queue->url)
		return true;
	if (queue->renewed) {
		refuse_all(s, queue, "the queue does not exist");
		return false;
	}
	queue->renewed = true;
	if (queue_open(s->pub, queue, shorter(left_ms(s->deadline_ms) + 1, QUEUE_CALL_MS), &fate,
		       &error) == 0)
		return true;
	if (fate == SQS_NOT_FOUND) {
		refuse_all(s, queue, "the queue does not exist");
	} else if (fate == SQS_DENIED) {
		refuse_all(s, queue, "no permission for the queue");
	} else if (fate == SQS_INVALID) {
		refuse_all(s, queue, "SQS refused the queue");
	} else {
		s->away = true;
		fail(s->pub, error.message);
	}
	return false;
}

static void start_batches(struct sending *s)
{
	for (struct queue *queue = s->pub->queues; queue; queue = queue->next) {
		bool more = s->under_way < BATCHES_MAX && !s->away && has_waiting(s, queue);

		if (more && !reach(s, queue))
			continue;
		while (more && s->under_way < BATCHES_MAX)
			more = send_batch(s, queue);
	}
}

/* Until everything is over, or time is up and nothing is under way. */
static void send_all(struct sending *s)
{
	while (s->open) {
		int64_t now_ms = clock_mono_ms();
		int wait_ms = left_ms(s->deadline_ms);
		bool paused = now_ms < s->pub->pause_until_ms;

		if (!paused && !s->away && wait_ms > 0)
			start_batches(s);
		if (!s->under_way && (s->away || wait_ms <= 0))
			break;
		if (paused)
			wait_ms = shorter(wait_ms, (int)(s->pub->pause_until_ms - now_ms));
		if (s->open)
			sqs_client_poll(s->pub->client, wait_ms > 0 ? wait_ms : 50);
	}
}

static void prepare(struct sending *s)
{
	size_t body_max = s->pub->bytes_max - ATTRIBUTE_RESERVE;

	for (struct queue *queue = s->pub->queues; queue; queue = queue->next) {
		queue->next_item = 0;
		queue->renewed = false;
	}
	for (size_t i = 0; i < s->count; i++) {
		s->items[i].confirmed = false;
		s->items[i].refused = NULL;
		s->slots[i].queue = queue_get(s->pub, s->items[i].topic);
		if (s->items[i].body_bytes > body_max)
			slot_over(s, i, "the message is larger than SQS takes");
	}
}

static int sqs_send(struct publisher *publisher, struct publication *items, size_t count,
		    int timeout_ms, struct error *err_r)
{
	struct sqs_publisher *pub = self(publisher);
	struct sending s = { .pub = pub,
			     .items = items,
			     .count = count,
			     .open = count,
			     .deadline_ms = clock_mono_ms() + timeout_ms };

	if (clock_mono_ms() < pub->pause_until_ms) {
		*err_r = pub->trouble;
		return -1;
	}
	error_set(&pub->trouble, ERROR_UNAVAILABLE, "SQS did not confirm all messages in time");
	s.slots = xcalloc(count ? count : 1, sizeof(*s.slots));
	prepare(&s);
	send_all(&s);
	CHECK(!s.under_way);
	free(s.slots);
	if (!s.open && !s.away)
		return 0;
	*err_r = pub->trouble;
	return -1;
}

/* ---- the rest */

static size_t sqs_body_bytes_max(const struct publisher *publisher)
{
	return ((const struct sqs_publisher *)publisher)->bytes_max - ATTRIBUTE_RESERVE;
}

static void on_probed(void *ctx, const struct sqs_answer *answer)
{
	struct sqs_publisher *pub = ctx;

	pub->probing = false;
	if (answer->fate == SQS_AWAY)
		fail(pub, answer->text);
	else
		pub->pauses = 0;
}

/* Any answer will do: is there somebody again? */
static void probe(struct sqs_publisher *pub)
{
	struct strbuf body;

	strbuf_init(&body);
	strbuf_printf(&body, "{\"QueueName\":\"%s\"}",
		      pub->queues && pub->queues->name[0] ? pub->queues->name : "windlass");
	pub->probing = true;
	sqs_client_call(pub->client, "GetQueueUrl", &body, QUEUE_CALL_MS, on_probed, pub);
}

static void sqs_tend(struct publisher *publisher)
{
	struct sqs_publisher *pub = self(publisher);

	if (!pub->probing && sqs_client_trouble(pub->client) &&
	    clock_mono_ms() >= pub->pause_until_ms)
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
	while (pub->queues) {
		struct queue *queue = pub->queues;

		pub->queues = queue->next;
		free(queue->topic);
		free(queue->url);
		free(queue->dead);
		free(queue);
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

struct publisher *sqs_publisher_new(const struct publisher_options *options, struct error *err_r)
{
	struct arena *arena = arena_new(0);
	struct sqs_publisher *pub = xcalloc(1, sizeof(*pub));
	struct broker_url url;
	struct sqs_client_options client = { .url = &url,
					     .ca_file = options->ca_file,
					     .metrics = options->metrics,
					     .side = "publish" };

	pub->publisher.ops = &ops;
	if (broker_url_parse(options->broker_url, arena, &url, err_r) == 0)
		pub->client = sqs_client_new(&client, err_r);
	arena_free(&arena);
	if (!pub->client) {
		free(pub);
		return NULL;
	}
	pub->bytes_max = sqs_client_message_bytes(pub->client);
	CHECK(pub->bytes_max > ATTRIBUTE_RESERVE);
	return &pub->publisher;
}
