/* SPDX-License-Identifier: Apache-2.0 */
/* One send to SQS: batches of up to ten, several under way at once. An entry that SQS confirms is
 * in its queue; whatever else happens to a batch, its messages may or may not be there, and are
 * sent again by whoever holds them. FIFO queues get one batch at a time, with at most one message
 * of a group in it: a group whose message was not confirmed is not gone on with, so that nothing
 * overtakes it. */
#include <stdlib.h>
#include <string.h>

#include "common/base/arena.h"
#include "common/base/clock.h"
#include "common/broker/sqs_batch.h"
#include "producers/publish/sqs_publisher_impl.h"

#define BATCHES_MAX  8
#define CONTENT_TYPE "application/cloudevents+json; charset=utf-8"

static int shorter(int a, int b)
{
	return a < b ? a : b;
}

enum slot_state { SLOT_WAITING, SLOT_SENT, SLOT_OVER };

struct slot {
	struct sqs_target *target;
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
	struct sqs_target *target;
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
	if (i < s->slots[i].target->next_item)
		s->slots[i].target->next_item = i;
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
		if (s->slots[i].state == SLOT_WAITING &&
		    s->slots[i].target == s->slots[at].target &&
		    same_group(&s->items[at], &s->items[i]))
			slot_over(s, i, NULL);
	}
}

static void slot_failed(struct sending *s, size_t i, const char *refused)
{
	slot_over(s, i, refused);
	if (sqs_queue_is_fifo(s->slots[i].target->name) && group_of(&s->items[i]))
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
	sqs_pause_over(&s->pub->pause);
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
	parcel->target->under_way--;
	switch (answer->fate) {
	case SQS_DONE:
		read_verdicts(parcel, answer);
		break;
	case SQS_THROTTLED: /* none of them was taken */
		sqs_publisher_fail(s->pub, "SQS asks for fewer requests");
		all_again(parcel);
		break;
	case SQS_NOT_FOUND:
		sqs_target_lose(parcel->target);
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
		sqs_publisher_fail(s->pub, answer->text);
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
	if (sqs_queue_is_fifo(parcel->target->name)) {
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
	struct sqs_target *target = parcel->target;
	bool fifo = sqs_queue_is_fifo(target->name), passed = false;

	for (size_t i = target->next_item; i < s->count; i++) {
		struct slot *slot = &s->slots[i];

		if (slot->target != target || slot->state != SLOT_WAITING)
			continue;
		if (fifo && has_group(s, parcel, i)) {
			passed = true;
			continue;
		}
		if ((slot->alone && parcel->count) || !put_in(s, parcel, batch, i))
			break;
		if (!passed)
			target->next_item = i + 1;
		if (slot->alone || parcel->count == SQS_BATCH_MAX)
			break;
	}
}

/* Sends one batch of what waits for the queue. False: nothing does, or not now. */
static bool send_batch(struct sending *s, struct sqs_target *target)
{
	struct parcel *parcel;
	struct sqs_batch batch;

	if (target->under_way && sqs_queue_is_fifo(target->name))
		return false;
	parcel = xcalloc(1, sizeof(*parcel));
	parcel->sending = s;
	parcel->target = target;
	sqs_batch_begin(&batch, target->url);
	fill(s, parcel, &batch);
	if (!parcel->count) {
		strbuf_release(&batch.text);
		free(parcel);
		return false;
	}
	sqs_batch_end(&batch);
	s->under_way++;
	target->under_way++;
	sqs_client_call(s->pub->client, "SendMessageBatch", &batch.text,
			shorter(sqs_left_ms(s->deadline_ms) + 1, SQS_CALL_MS), on_sent, parcel);
	return true;
}

static bool has_waiting(const struct sending *s, const struct sqs_target *target)
{
	for (size_t i = target->next_item; i < s->count; i++) {
		if (s->slots[i].target == target && s->slots[i].state == SLOT_WAITING)
			return true;
	}
	return false;
}

static void refuse_all(struct sending *s, const struct sqs_target *target, const char *why)
{
	for (size_t i = 0; i < s->count; i++) {
		if (s->slots[i].target == target && s->slots[i].state == SLOT_WAITING)
			slot_over(s, i, why);
	}
}

/* Finds or makes the queue, once a send. False: nothing can be sent to it now. */
static bool reach(struct sending *s, struct sqs_target *target)
{
	enum sqs_fate fate;
	struct error error;

	if (target->url)
		return true;
	if (target->renewed) {
		refuse_all(s, target, "the queue does not exist");
		return false;
	}
	target->renewed = true;
	if (sqs_target_open(s->pub, target,
			    shorter(sqs_left_ms(s->deadline_ms) + 1, SQS_QUEUE_CALL_MS), &fate,
			    &error) == 0)
		return true;
	if (fate == SQS_NOT_FOUND) {
		refuse_all(s, target, "the queue does not exist");
	} else if (fate == SQS_DENIED) {
		refuse_all(s, target, "no permission for the queue");
	} else if (fate == SQS_INVALID) {
		refuse_all(s, target, "SQS refused the queue");
	} else {
		s->away = true;
		sqs_publisher_fail(s->pub, error.message);
	}
	return false;
}

static void start_batches(struct sending *s)
{
	for (struct sqs_target *target = s->pub->targets; target; target = target->next) {
		bool more = s->under_way < BATCHES_MAX && !s->away && has_waiting(s, target);

		if (more && !reach(s, target))
			continue;
		while (more && s->under_way < BATCHES_MAX)
			more = send_batch(s, target);
	}
}

/* Until everything is over, or time is up and nothing is under way. */
static void send_all(struct sending *s)
{
	while (s->open) {
		int64_t now_ms = clock_mono_ms();
		int wait_ms = sqs_left_ms(s->deadline_ms);
		bool paused = now_ms < s->pub->pause.until_ms;

		if (!paused && !s->away && wait_ms > 0)
			start_batches(s);
		if (!s->under_way && (s->away || wait_ms <= 0))
			break;
		if (paused)
			wait_ms = shorter(wait_ms, (int)(s->pub->pause.until_ms - now_ms));
		if (s->open)
			sqs_client_poll(s->pub->client, wait_ms > 0 ? wait_ms : 50);
	}
}

static void prepare(struct sending *s)
{
	size_t body_max = s->pub->bytes_max - SQS_ATTRIBUTE_RESERVE;

	for (struct sqs_target *target = s->pub->targets; target; target = target->next) {
		target->next_item = 0;
		target->renewed = false;
	}
	for (size_t i = 0; i < s->count; i++) {
		s->items[i].confirmed = false;
		s->items[i].refused = NULL;
		s->slots[i].target = sqs_target_get(s->pub, s->items[i].topic);
		if (s->items[i].body_bytes > body_max)
			slot_over(s, i, "the message is larger than SQS takes");
	}
}

int sqs_sending_run(struct sqs_publisher *pub, struct publication *items, size_t count,
		    int timeout_ms, struct error *err_r)
{
	struct sending s = { .pub = pub,
			     .items = items,
			     .count = count,
			     .open = count,
			     .deadline_ms = clock_mono_ms() + timeout_ms };

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
