/* SPDX-License-Identifier: Apache-2.0 */
/* Copies messages, since those given are gone after the call. */
#include "tests/unit/producers/dispatch/fake_publisher.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct fake_publisher *fake_of(const struct publisher *publisher)
{
	return (struct fake_publisher *)publisher;
}

static int fake_declare(struct publisher *publisher, const struct publisher_place *places,
			size_t count, int timeout_ms, struct error *err_r)
{
	struct fake_publisher *fake = fake_of(publisher);

	(void)timeout_ms;
	if (fake->away)
		return error_set(err_r, ERROR_UNAVAILABLE, "away");
	for (size_t i = 0; i < count; i++) {
		if (fake->wrong_place && strcmp(places[i].topic, fake->wrong_place) == 0)
			return error_set(err_r, ERROR_INVALID, "%s is otherwise", places[i].topic);
		CHECK(fake->declared_count < FAKE_PLACES_MAX);
		snprintf(fake->declared[fake->declared_count++], sizeof(fake->declared[0]), "%s",
			 places[i].topic);
	}
	return 0;
}

static int fake_send(struct publisher *publisher, struct publication *items, size_t count,
		     int timeout_ms, struct error *err_r)
{
	struct fake_publisher *fake = fake_of(publisher);

	(void)timeout_ms;
	fake->sends++;
	if (fake->away)
		return error_set(err_r, ERROR_UNAVAILABLE, "away");
	for (size_t i = 0; i < count; i++) {
		struct publication *item = &items[i];
		struct fake_sent *sent = &fake->sent[fake->sent_count++];

		CHECK(fake->sent_count < FAKE_SENT_MAX);
		CHECK(item->body_bytes <= fake->body_bytes_max);
		if (fake->refused_topic && strcmp(fake->refused_topic, item->topic) == 0)
			item->refused = "no route";
		if (fake->refused_bytes && item->body_bytes >= fake->refused_bytes)
			item->refused = "too large";
		item->confirmed =
			!item->refused && !(fake->unconfirmed_every &&
					    fake->sent_count % fake->unconfirmed_every == 0);
		sent->id = item->id;
		snprintf(sent->topic, sizeof(sent->topic), "%s", item->topic);
		snprintf(sent->key, sizeof(sent->key), "%s", item->key ? item->key : "");
		sent->body = strndup(item->body, item->body_bytes);
		sent->confirmed = item->confirmed;
	}
	return 0;
}

static size_t fake_bytes_max(const struct publisher *publisher)
{
	return fake_of(publisher)->body_bytes_max;
}

static void fake_tend(struct publisher *publisher)
{
	(void)publisher;
}

static bool fake_ready(struct publisher *publisher, struct strbuf *why_r)
{
	if (fake_of(publisher)->blocked)
		strbuf_addstr(why_r, "blocked");
	return !fake_of(publisher)->blocked;
}

static void fake_free(struct publisher **publisher)
{
	*publisher = NULL;
}

static const struct publisher_ops fake_ops = { .name = "fake",
					       .declare = fake_declare,
					       .send = fake_send,
					       .body_bytes_max = fake_bytes_max,
					       .tend = fake_tend,
					       .ready = fake_ready,
					       .free = fake_free };

void fake_publisher_init(struct fake_publisher *fake)
{
	*fake = (struct fake_publisher){ .base = { .ops = &fake_ops }, .body_bytes_max = 1 << 20 };
}

void fake_publisher_release(struct fake_publisher *fake)
{
	for (size_t i = 0; i < fake->sent_count; i++)
		free(fake->sent[i].body);
	fake->sent_count = 0;
}
