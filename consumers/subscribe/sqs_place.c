/* SPDX-License-Identifier: Apache-2.0 */
/* Four kinds of rounds with SQS: receive, renew, delete, return. Deletes and returns are gathered
 * without a timer: a batch that is not full waits only while another one is under way. Whatever
 * fails for weather is tried again after a pause; a handle that SQS does not know any more means
 * that the message is somebody else's or comes again, and admission decides about that one. */
#include "consumers/subscribe/sqs_place.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/arena.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/broker/sqs_batch.h"

#define ENDS_MAX  4 /* batches of deletes and returns under way for one queue */
#define TRIES_MAX 10
#define FIND_MS   3000

enum round_kind { ROUND_RENEW, ROUND_DELETE, ROUND_RETURN };

struct round { /* a batch about messages, under way */
	struct sqs_place *place;
	enum round_kind kind;
	int64_t since_ms;
	struct sqs_message *messages[SQS_BATCH_MAX];
	size_t count;
};

struct receive { /* under way */
	struct sqs_place *place;
	size_t asked;
};

/* ---- messages */

static void settle(struct sqs_message *message)
{
	struct sqs_place *place = message->place;

	place->held--;
	sqs_message_free(&message);
	place->link->settled(place->link, 1);
}

void sqs_place_end(struct sqs_message *message)
{
	struct sqs_place *place = message->place;

	CHECK(message->ending != SQS_HELD);
	if (message->renewing) /* its answer comes first: it must not undo a return */
		return;
	sqs_visibility_drop(&message->visible);
	list_append(message->ending == SQS_DELETE ? &place->deletes : &place->returns,
		    &message->link);
}

static void tell_lost(struct sqs_place *place)
{
	if (!place->told_lost)
		log_line(LOG_WARN, "sqs-handle-expired", LOG_S("queue", place->name));
	place->told_lost = true;
}

/* ---- rounds about messages */

static void after_renewal(struct round *round, struct sqs_message *message,
			  enum sqs_verdict verdict, int64_t now_ms)
{
	struct sqs_place *place = round->place;

	message->renewing = false;
	if (message->ending != SQS_HELD) {
		sqs_place_end(message);
	} else if (verdict == SQS_ENTRY_DONE) {
		sqs_visibility_hold(&place->visibility, &message->visible, round->since_ms);
	} else if (verdict == SQS_ENTRY_LATER) {
		sqs_visibility_again(&place->visibility, &message->visible, now_ms);
	} else {
		tell_lost(place);
		list_append(&place->lost, &message->visible.link);
	}
}

static void after_ending(struct round *round, struct sqs_message *message, enum sqs_verdict verdict)
{
	struct sqs_place *place = round->place;

	if (verdict == SQS_ENTRY_LATER && ++message->tries < TRIES_MAX) {
		list_append(round->kind == ROUND_DELETE ? &place->deletes : &place->returns,
			    &message->link);
		return;
	}
	if (verdict != SQS_ENTRY_DONE)
		tell_lost(place);
	settle(message);
}

/* The same for all of a batch, unless the answer speaks of each. */
static void read_answer(const struct round *round, const struct sqs_answer *answer,
			enum sqs_verdict verdicts_r[SQS_BATCH_MAX])
{
	sqs_batch_read(answer->fate == SQS_DONE ? answer->json : NULL, round->count, verdicts_r);
	if (answer->fate == SQS_NOT_FOUND) { /* the queue, with all its messages */
		for (size_t i = 0; i < round->count; i++)
			verdicts_r[i] = SQS_ENTRY_REFUSED;
	}
}

static bool is_weather(enum sqs_fate fate)
{
	return fate == SQS_AWAY || fate == SQS_THROTTLED;
}

/* Nothing is renewed or ended for a while, unless all went well. */
static void hold_back(struct sqs_place *place, const struct round *round, bool well, int64_t now_ms)
{
	int64_t span_ms = place->link->visible_s * 1000LL / 12;

	if (round->kind == ROUND_RENEW && !well)
		sqs_visibility_pause(&place->visibility,
				     now_ms + (int64_t)random_below((uint64_t)span_ms + 1));
	else if (round->kind != ROUND_RENEW && !well)
		sqs_pause_more(&place->ending, now_ms);
	else if (round->kind != ROUND_RENEW)
		sqs_pause_over(&place->ending);
}

static void on_round(void *ctx, const struct sqs_answer *answer)
{
	struct round *round = ctx;
	struct sqs_place *place = round->place;
	enum sqs_verdict verdicts[SQS_BATCH_MAX];
	int64_t now_ms = clock_mono_ms();
	bool well = true;

	*(round->kind == ROUND_RENEW ? &place->renewals : &place->ends) -= 1;
	read_answer(round, answer, verdicts);
	for (size_t i = 0; i < round->count; i++) {
		struct sqs_message *message = round->messages[i];

		well &= verdicts[i] != SQS_ENTRY_LATER;
		/* Weather is no message's fault and does not count. */
		if (is_weather(answer->fate) && round->kind != ROUND_RENEW)
			message->tries--;
		if (round->kind == ROUND_RENEW)
			after_renewal(round, message, verdicts[i], now_ms);
		else
			after_ending(round, message, verdicts[i]);
	}
	hold_back(place, round, well, now_ms);
	free(round);
}

static struct round *round_new(struct sqs_place *place, enum round_kind kind, int64_t now_ms)
{
	struct round *round = xcalloc(1, sizeof(*round));

	round->place = place;
	round->kind = kind;
	round->since_ms = now_ms;
	return round;
}

static void round_start(struct round *round)
{
	struct sqs_place *place = round->place;
	struct sqs_batch batch;

	sqs_batch_begin(&batch, place->url);
	for (size_t i = 0; i < round->count; i++) {
		const struct sqs_message *message = round->messages[i];

		if (round->kind == ROUND_DELETE)
			sqs_batch_add_handle(&batch, message->handle);
		else
			sqs_batch_add_visibility(&batch, message->handle,
						 round->kind == ROUND_RENEW ? place->link->visible_s
									    : message->return_s);
	}
	sqs_batch_end(&batch);
	sqs_client_call(place->link->client,
			round->kind == ROUND_DELETE ? "DeleteMessageBatch"
						    : "ChangeMessageVisibilityBatch",
			&batch.text, SQS_CALL_MS, on_round, round);
}

static void renew(struct sqs_place *place, int64_t now_ms)
{
	struct sqs_visible *due[SQS_BATCH_MAX];
	size_t count;

	while ((count = sqs_visibility_due(&place->visibility, now_ms, due, SQS_BATCH_MAX))) {
		struct round *round = round_new(place, ROUND_RENEW, now_ms);

		for (size_t i = 0; i < count; i++) {
			struct sqs_message *message =
				list_entry(due[i], struct sqs_message, visible);

			message->renewing = true;
			round->messages[round->count++] = message;
		}
		place->renewals++;
		round_start(round);
	}
}

static bool is_full(const struct list *list)
{
	size_t count = 0;

	for (const struct list *at = list->next; at != list && count < SQS_BATCH_MAX; at = at->next)
		count++;
	return count == SQS_BATCH_MAX;
}

static void end_some(struct sqs_place *place, struct list *list, enum round_kind kind,
		     int64_t now_ms)
{
	while (!list_empty(list) && place->ends < ENDS_MAX && (!place->ends || is_full(list))) {
		struct round *round = round_new(place, kind, now_ms);

		while (!list_empty(list) && round->count < SQS_BATCH_MAX) {
			struct sqs_message *message = list_first(list, struct sqs_message, link);

			list_remove(&message->link);
			round->messages[round->count++] = message;
		}
		place->ends++;
		round_start(round);
	}
}

/* A queue that is gone has taken its messages along. */
static void forget_endings(struct list *list)
{
	while (!list_empty(list)) {
		struct sqs_message *message = list_first(list, struct sqs_message, link);

		list_remove(&message->link);
		settle(message);
	}
}

void sqs_place_tend(struct sqs_place *place, int64_t now_ms)
{
	if (!place->url) {
		forget_endings(&place->deletes);
		forget_endings(&place->returns);
		return;
	}
	renew(place, now_ms);
	if (now_ms < place->ending.until_ms)
		return;
	end_some(place, &place->returns, ROUND_RETURN, now_ms);
	end_some(place, &place->deletes, ROUND_DELETE, now_ms);
}

/* ---- receiving */

static void take_messages(struct sqs_place *place, const json_t *answer, size_t asked)
{
	json_t *list = json_object_get(answer, "Messages");
	struct sqs_message *messages[SQS_BATCH_MAX];
	size_t count = 0;
	int64_t now_ms = clock_mono_ms();

	for (size_t i = 0; i < json_array_size(list) && count < SQS_BATCH_MAX; i++) {
		struct sqs_message *message = sqs_message_new(json_array_get(list, i), place->dead,
							      place->link->body_bytes_max);

		if (!message)
			continue;
		message->place = place;
		place->held++;
		sqs_visibility_hold(&place->visibility, &message->visible, now_ms);
		messages[count++] = message;
	}
	if (count == asked && place->receives_wanted < SQS_RECEIVES_MAX)
		place->receives_wanted++;
	else if (count == 0)
		place->receives_wanted = 1;
	if (!count || place->link->arrived(place->link, messages, count))
		return;
	for (size_t i = 0; i < count; i++) {
		messages[i]->ending = SQS_RETURN;
		sqs_place_end(messages[i]);
	}
}

static void note_trouble(struct sqs_place *place, const char *why)
{
	if (strcmp(place->trouble, why) != 0 && *why)
		log_line(LOG_WARN, "sqs-queue-trouble", LOG_S("queue", place->name),
			 LOG_S("why", why));
	snprintf(place->trouble, sizeof(place->trouble), "%s", why);
}

static void on_received(void *ctx, const struct sqs_answer *answer)
{
	struct receive *receive = ctx;
	struct sqs_place *place = receive->place;

	place->receives--;
	place->reserved -= receive->asked;
	place->link->reserved -= receive->asked;
	if (answer->fate == SQS_DONE) {
		sqs_pause_over(&place->receiving);
		note_trouble(place, "");
		take_messages(place, answer->json, receive->asked);
	} else {
		sqs_pause_more(&place->receiving, clock_mono_ms());
		place->receives_wanted = 1;
	}
	if (answer->fate == SQS_NOT_FOUND) {
		free(place->url);
		place->url = NULL;
	}
	if (answer->fate != SQS_DONE && !is_weather(answer->fate))
		note_trouble(place, answer->text);
	free(receive);
}

size_t sqs_place_receive(struct sqs_place *place, size_t room, int wait_s, int64_t now_ms)
{
	size_t used = place->held + place->reserved, ask = SQS_BATCH_MAX;
	struct receive *receive;
	struct strbuf body;

	if (!place->served || !place->url || place->receives >= place->receives_wanted ||
	    now_ms < place->receiving.until_ms || (place->prefetch && used >= place->prefetch))
		return 0;
	if (place->prefetch && ask > place->prefetch - used)
		ask = place->prefetch - used;
	if (ask > room)
		ask = room;
	if (!ask)
		return 0;
	receive = xcalloc(1, sizeof(*receive));
	receive->place = place;
	receive->asked = ask;
	place->receives++;
	place->reserved += ask;
	place->link->reserved += ask;
	strbuf_init(&body);
	strbuf_addstr(&body, "{\"QueueUrl\":");
	strbuf_json(&body, place->url);
	strbuf_printf(&body,
		      ",\"MaxNumberOfMessages\":%zu,\"WaitTimeSeconds\":%d,"
		      "\"VisibilityTimeout\":%d,\"AttributeNames\":[\"All\"],"
		      "\"MessageAttributeNames\":[\"All\"]}",
		      ask, wait_s, place->link->visible_s);
	sqs_client_call(place->link->client, "ReceiveMessage", &body, wait_s * 1000 + SQS_CALL_MS,
			on_received, receive);
	return ask;
}

/* ---- the queue itself */

bool sqs_place_open(struct sqs_place *place, int64_t now_ms)
{
	enum sqs_fate fate;
	struct error error;
	int rc;

	if (place->url || !place->served || now_ms < place->finding.until_ms)
		return false;
	rc = place->ours ? sqs_queue_make(place->link->client, place->name, place->dead_topic,
					  FIND_MS, &place->url, &fate, &error)
			 : sqs_queue_find(place->link->client, place->name, FIND_MS, &place->url,
					  &fate, &error);
	if (rc < 0) {
		sqs_pause_more(&place->finding, clock_mono_ms());
		note_trouble(place, error.message);
		return true;
	}
	sqs_pause_over(&place->finding);
	sqs_pause_over(&place->receiving);
	note_trouble(place, "");
	return true;
}

static int64_t sooner(int64_t a, int64_t b)
{
	return a < 0 || (b >= 0 && b < a) ? b : a;
}

int64_t sqs_place_next(const struct sqs_place *place)
{
	bool ends = !list_empty(&place->deletes) || !list_empty(&place->returns);
	int64_t next_ms = -1;

	if (!place->url)
		return place->served ? place->finding.until_ms : -1;
	next_ms = sooner(next_ms, sqs_visibility_next(&place->visibility));
	if (ends && !place->ends)
		next_ms = sooner(next_ms, place->ending.until_ms);
	if (place->served && place->receiving.until_ms)
		next_ms = sooner(next_ms, place->receiving.until_ms);
	return next_ms;
}

struct sqs_place *sqs_place_new(struct sqs_link *link, const char *name)
{
	struct sqs_place *place = xcalloc(1, sizeof(*place));

	CHECK(strlen(name) < sizeof(place->name));
	place->link = link;
	memcpy(place->name, name, strlen(name));
	sqs_visibility_init(&place->visibility, link->visible_s);
	list_init(&place->lost);
	list_init(&place->deletes);
	list_init(&place->returns);
	place->receives_wanted = 1;
	return place;
}

static void free_ended(struct list *list)
{
	while (!list_empty(list)) {
		struct sqs_message *message = list_first(list, struct sqs_message, link);

		list_remove(&message->link);
		sqs_message_free(&message);
	}
}

static void free_held(struct list *list)
{
	while (!list_empty(list)) {
		struct sqs_visible *node = list_first(list, struct sqs_visible, link);
		struct sqs_message *message = list_entry(node, struct sqs_message, visible);

		list_remove(&node->link);
		list_remove(&message->link);
		sqs_message_free(&message);
	}
}

void sqs_place_free(struct sqs_place **place)
{
	struct sqs_place *p = *place;

	CHECK(!p->receives && !p->renewals && !p->ends);
	free_held(&p->visibility.held);
	free_held(&p->lost);
	free_ended(&p->deletes);
	free_ended(&p->returns);
	free(p->url);
	free(p->dead_topic);
	free(p);
	*place = NULL;
}
