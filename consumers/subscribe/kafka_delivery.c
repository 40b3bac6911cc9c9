/* SPDX-License-Identifier: Apache-2.0 */
/* Copies messages into blocks that are measured first and filled second, by the same function: what
 * is measured is what is written. Keys and headers are text for everybody above; a key that is none
 * is written in hex, a header that is none is left out. */
#include "consumers/subscribe/kafka_delivery.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/base/arena.h"
#include "common/base/digest.h"
#include "common/base/utf8.h"

#define ROOM_SMALL  1024
#define SPARE_MAX   16384
#define HEADERS_MAX 64
#define OFFSET_TEXT 24
#define REASON_TEXT 96

void kafka_pool_init(struct kafka_pool *pool)
{
	*pool = (struct kafka_pool){ 0 };
	list_init(&pool->all);
}

void kafka_pool_release(struct kafka_pool *pool)
{
	while (!list_empty(&pool->all)) {
		struct kafka_delivery *delivery =
			list_first(&pool->all, struct kafka_delivery, all);

		list_remove(&delivery->all);
		free(delivery);
	}
	kafka_pool_init(pool);
}

static struct kafka_delivery *pool_take(struct kafka_pool *pool, size_t room_bytes)
{
	struct kafka_delivery *delivery = pool->spare;
	size_t room = room_bytes > ROOM_SMALL ? room_bytes : ROOM_SMALL;

	if (delivery && room == ROOM_SMALL) {
		pool->spare = delivery->next;
		pool->spare_count--;
		return delivery;
	}
	delivery = xmalloc(sizeof(*delivery) + room);
	delivery->room_bytes = room;
	list_append(&pool->all, &delivery->all);
	return delivery;
}

void kafka_delivery_free(struct kafka_pool *pool, struct kafka_delivery *delivery)
{
	if (delivery->room_bytes == ROOM_SMALL && pool->spare_count < SPARE_MAX) {
		delivery->next = pool->spare;
		pool->spare = delivery;
		pool->spare_count++;
		return;
	}
	list_remove(&delivery->all);
	free(delivery);
}

/* ---- what a message has */

struct parts {
	const char *body, *key;
	size_t body_bytes, key_bytes;
	bool key_is_text, too_large;
	struct {
		const char *name, *value;
		size_t value_bytes;
	} header[HEADERS_MAX];
	size_t header_count, header_bytes; /* with a NUL behind each text */
	bool too_many;
};

static void read_headers(const rd_kafka_message_t *message, struct parts *parts)
{
	rd_kafka_headers_t *headers;
	const char *name;
	const void *value;
	size_t bytes;

	if (rd_kafka_message_headers(message, &headers) != RD_KAFKA_RESP_ERR_NO_ERROR)
		return;
	for (size_t i = 0; !rd_kafka_header_get_all(headers, i, &name, &value, &bytes); i++) {
		size_t n = parts->header_count;

		if (!value)
			value = "";
		if (!utf8_text(name, strlen(name)) || !utf8_text(value, bytes))
			continue;
		parts->too_many = n == HEADERS_MAX;
		if (parts->too_many)
			return;
		parts->header[n].name = name;
		parts->header[n].value = value;
		parts->header[n].value_bytes = bytes;
		parts->header_bytes += strlen(name) + 1 + bytes + 1;
		parts->header_count++;
	}
}

static void read_parts(const rd_kafka_message_t *message, size_t bytes_max, struct parts *parts_r)
{
	parts_r->body = message->payload;
	parts_r->body_bytes = message->len;
	parts_r->key = message->key;
	parts_r->key_bytes = message->key_len;
	parts_r->key_is_text = message->key && utf8_text(message->key, message->key_len);
	parts_r->header_count = parts_r->header_bytes = 0;
	parts_r->too_many = false;
	parts_r->too_large = message->len > bytes_max;
	if (parts_r->too_large)
		parts_r->body_bytes = 0;
	read_headers(message, parts_r);
}

static size_t measure(const struct parts *parts, size_t prefix_bytes)
{
	return parts->header_count * sizeof(struct message_header) + parts->header_bytes +
	       prefix_bytes + OFFSET_TEXT + REASON_TEXT + 2 * parts->key_bytes + 1 +
	       parts->body_bytes;
}

/* ---- writing it down */

static char *put(char **at, const void *data, size_t bytes)
{
	char *text = *at;

	if (bytes > 0)
		memcpy(text, data, bytes);
	text[bytes] = '\0';
	*at += bytes + 1;
	return text;
}

static void put_headers(char **at, const struct parts *parts, struct message *message)
{
	struct message_header *headers = (struct message_header *)(void *)*at;

	*at += parts->header_count * sizeof(*headers);
	for (size_t i = 0; i < parts->header_count; i++) {
		const char *name = parts->header[i].name;

		headers[i].name = put(at, name, strlen(name));
		headers[i].value = put(at, parts->header[i].value, parts->header[i].value_bytes);
		if (strcasecmp(name, "content-type") == 0)
			message->content_type = headers[i].value;
	}
	message->headers = headers;
	message->header_count = parts->header_count;
}

static const char *put_identity(char **at, const char *prefix, int64_t offset)
{
	char digits[OFFSET_TEXT], *digit = digits + sizeof(digits), *text = *at;
	size_t prefix_bytes = strlen(prefix);

	do {
		*--digit = (char)('0' + offset % 10);
		offset /= 10;
	} while (offset > 0);
	memcpy(text, prefix, prefix_bytes);
	*at += prefix_bytes;
	put(at, digit, (size_t)(digits + sizeof(digits) - digit));
	return text;
}

static const char *put_key(char **at, const struct parts *parts)
{
	char *text = *at;

	if (!parts->key)
		return NULL;
	if (parts->key_is_text)
		return put(at, parts->key, parts->key_bytes);
	digest_hex((const uint8_t *)parts->key, parts->key_bytes, text);
	*at += 2 * parts->key_bytes + 1;
	return text;
}

static const char *put_reason(char **at, const struct parts *parts, size_t bytes, size_t bytes_max)
{
	char *text = *at;
	int length = 0;

	if (parts->too_large)
		length = snprintf(text, REASON_TEXT,
				  "a message of %zu bytes; %zu are the most taken", bytes,
				  bytes_max);
	else if (parts->too_many)
		length = snprintf(text, REASON_TEXT, "a message of more than %d headers",
				  HEADERS_MAX);
	if (length == 0)
		return NULL;
	*at += length + 1;
	return text;
}

static int64_t message_time_ms(const rd_kafka_message_t *message)
{
	rd_kafka_timestamp_type_t type;
	int64_t time_ms = rd_kafka_message_timestamp(message, &type);

	return type == RD_KAFKA_TIMESTAMP_NOT_AVAILABLE || time_ms < 0 ? 0 : time_ms;
}

struct kafka_delivery *kafka_delivery_new(struct kafka_pool *pool,
					  const rd_kafka_message_t *message, const char *prefix,
					  size_t bytes_max)
{
	struct kafka_delivery *delivery;
	struct message *to;
	struct parts parts;
	char *at;

	read_parts(message, bytes_max, &parts);
	delivery = pool_take(pool, measure(&parts, strlen(prefix)));
	delivery->next = NULL;
	delivery->verdict = 0;
	delivery->delivery = (struct delivery){ .feed_data = delivery };
	to = &delivery->delivery.message;
	at = delivery->room;
	put_headers(&at, &parts, to);
	to->identity = put_identity(&at, prefix, message->offset);
	to->key = put_key(&at, &parts);
	to->dead_reason = put_reason(&at, &parts, message->len, bytes_max);
	to->time_ms = message_time_ms(message);
	if (parts.body_bytes > 0)
		memcpy(at, parts.body, parts.body_bytes);
	to->body = at;
	to->body_bytes = parts.body_bytes;
	CHECK((size_t)(at + parts.body_bytes - delivery->room) <= delivery->room_bytes);
	return delivery;
}

/* ---- queues */

void kafka_queue_init(struct kafka_queue *queue)
{
	queue->head = NULL;
	queue->tail = &queue->head;
	queue->count = 0;
}

void kafka_queue_add(struct kafka_queue *queue, struct kafka_delivery *delivery)
{
	delivery->next = NULL;
	*queue->tail = delivery;
	queue->tail = &delivery->next;
	queue->count++;
}

struct kafka_delivery *kafka_queue_take(struct kafka_queue *queue)
{
	struct kafka_delivery *delivery = queue->head;

	if (!delivery)
		return NULL;
	queue->head = delivery->next;
	if (!queue->head)
		queue->tail = &queue->head;
	queue->count--;
	return delivery;
}

void kafka_queue_join(struct kafka_queue *queue, struct kafka_queue *from)
{
	if (!from->head)
		return;
	*queue->tail = from->head;
	queue->tail = from->tail;
	queue->count += from->count;
	kafka_queue_init(from);
}
