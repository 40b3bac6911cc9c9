/* SPDX-License-Identifier: Apache-2.0 */
/* See amqp_frame.h. A frame: type, channel (2), size (4), payload, 0xCE; all big-endian. A method's
 * payload: its id (4) and arguments. A header's: class (2), weight (2), body size (8), properties.
 */
#include "common/broker/amqp_frame.h"

#include <endian.h>
#include <string.h>

#include <amqp.h>

#define PREFIX_BYTES    7
#define FRAME_END       0xCE
#define ARGUMENTS_BYTES 16384 /* more than any method of ours has */

static void put_prefix(struct strbuf *out, char type, uint16_t channel)
{
	uint16_t number = htobe16(channel);

	strbuf_addch(out, type);
	strbuf_add(out, &number, sizeof(number));
	strbuf_add(out, "\0\0\0\0", 4);
}

/* Fills in the size of the frame that begins at `start` and ends it. */
static void put_end(struct strbuf *out, size_t start)
{
	uint32_t size = htobe32((uint32_t)(out->len - start - PREFIX_BYTES));

	memcpy(out->data + start + 3, &size, sizeof(size));
	strbuf_addch(out, (char)FRAME_END);
}

/* Room for encoded arguments behind what is there; `used` of them are added. */
static amqp_bytes_t put_room(struct strbuf *out)
{
	strbuf_reserve(out, ARGUMENTS_BYTES);
	return (amqp_bytes_t){ .len = ARGUMENTS_BYTES, .bytes = out->data + out->len };
}

static void put_used(struct strbuf *out, int used)
{
	CHECK(used >= 0 && used <= ARGUMENTS_BYTES);
	out->len += (size_t)used;
	out->data[out->len] = '\0';
}

void amqp_put_method(struct strbuf *out, uint16_t channel, amqp_method_number_t id, void *method)
{
	uint32_t number = htobe32(id);
	size_t start = out->len;

	put_prefix(out, AMQP_FRAME_METHOD, channel);
	strbuf_add(out, &number, sizeof(number));
	put_used(out, amqp_encode_method(id, method, put_room(out)));
	put_end(out, start);
}

static void put_header(struct strbuf *out, uint16_t channel,
		       const amqp_basic_properties_t *properties, size_t bytes)
{
	uint16_t class[2] = { htobe16(AMQP_BASIC_CLASS), 0 };
	uint64_t size = htobe64(bytes);
	size_t start = out->len;

	put_prefix(out, AMQP_FRAME_HEADER, channel);
	strbuf_add(out, class, sizeof(class));
	strbuf_add(out, &size, sizeof(size));
	put_used(out, amqp_encode_properties(AMQP_BASIC_CLASS, (void *)(uintptr_t)properties,
					     put_room(out)));
	put_end(out, start);
}

void amqp_put_content(struct strbuf *out, uint16_t channel,
		      const amqp_basic_properties_t *properties, const char *body, size_t bytes,
		      size_t frame_max)
{
	size_t max = frame_max - PREFIX_BYTES - 1;

	put_header(out, channel, properties, bytes);
	for (size_t at = 0; at < bytes; at += max) {
		size_t start = out->len;

		put_prefix(out, AMQP_FRAME_BODY, channel);
		strbuf_add(out, body + at, bytes - at < max ? bytes - at : max);
		put_end(out, start);
	}
}

void amqp_put_heartbeat(struct strbuf *out)
{
	size_t start = out->len;

	put_prefix(out, AMQP_FRAME_HEARTBEAT, 0);
	put_end(out, start);
}

static int get_method(amqp_bytes_t payload, amqp_pool_t *pool, amqp_frame_t *frame_r)
{
	uint32_t id;

	if (payload.len < sizeof(id))
		return -1;
	memcpy(&id, payload.bytes, sizeof(id));
	payload.bytes = (char *)payload.bytes + sizeof(id);
	payload.len -= sizeof(id);
	frame_r->payload.method.id = be32toh(id);
	return amqp_decode_method(frame_r->payload.method.id, pool, payload,
				  &frame_r->payload.method.decoded);
}

static int get_header(amqp_bytes_t payload, amqp_pool_t *pool, amqp_frame_t *frame_r)
{
	uint16_t class_id;
	uint64_t size;

	if (payload.len < 12)
		return -1;
	memcpy(&class_id, payload.bytes, sizeof(class_id));
	memcpy(&size, (char *)payload.bytes + 4, sizeof(size));
	payload.bytes = (char *)payload.bytes + 12;
	payload.len -= 12;
	frame_r->payload.properties.class_id = be16toh(class_id);
	frame_r->payload.properties.body_size = be64toh(size);
	frame_r->payload.properties.raw = payload;
	if (frame_r->payload.properties.class_id != AMQP_BASIC_CLASS)
		return -1;
	return amqp_decode_properties(AMQP_BASIC_CLASS, pool, payload,
				      &frame_r->payload.properties.decoded);
}

static int get_payload(amqp_bytes_t payload, amqp_pool_t *pool, amqp_frame_t *frame_r)
{
	switch (frame_r->frame_type) {
	case AMQP_FRAME_METHOD:
		return get_method(payload, pool, frame_r);
	case AMQP_FRAME_HEADER:
		return get_header(payload, pool, frame_r);
	case AMQP_FRAME_BODY:
		frame_r->payload.body_fragment = payload;
		return 0;
	case AMQP_FRAME_HEARTBEAT:
		return 0;
	default:
		return -1;
	}
}

ssize_t amqp_get_frame(const char *data, size_t bytes, size_t frame_max, amqp_pool_t *pool,
		       amqp_frame_t *frame_r, struct error *err_r)
{
	uint16_t channel;
	uint32_t size;

	if (bytes < PREFIX_BYTES)
		return 0;
	memcpy(&channel, data + 1, sizeof(channel));
	memcpy(&size, data + 3, sizeof(size));
	size = be32toh(size);
	if (memcmp(data, "AMQP", 4) == 0)
		return error_set(err_r, ERROR_INVALID, "the server speaks another AMQP than 0-9-1");
	if (size > frame_max - PREFIX_BYTES - 1)
		return error_set(err_r, ERROR_INVALID, "a frame of %u bytes", size);
	if (bytes < PREFIX_BYTES + (size_t)size + 1)
		return 0;
	if ((uint8_t)data[PREFIX_BYTES + size] != FRAME_END)
		return error_set(err_r, ERROR_INVALID, "a frame without its end");
	*frame_r = (amqp_frame_t){ .frame_type = (uint8_t)data[0], .channel = be16toh(channel) };
	if (get_payload((amqp_bytes_t){ .len = size,
					.bytes = (void *)(uintptr_t)(data + PREFIX_BYTES) },
			pool, frame_r) < 0)
		return error_set(err_r, ERROR_INVALID, "a frame that cannot be read");
	return PREFIX_BYTES + (ssize_t)size + 1;
}

amqp_bytes_t amqp_text(const char *text)
{
	return text ? amqp_cstring_bytes(text) : amqp_empty_bytes;
}

bool amqp_text_is(amqp_bytes_t bytes, const char *text)
{
	return bytes.len == strlen(text) && memcmp(bytes.bytes, text, bytes.len) == 0;
}

const amqp_field_value_t *amqp_table_find(const amqp_table_t *table, const char *name)
{
	for (int i = 0; i < table->num_entries; i++)
		if (amqp_text_is(table->entries[i].key, name))
			return &table->entries[i].value;
	return NULL;
}
